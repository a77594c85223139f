"""Which text a mail is written from: the tenant's published version, or the shipped one."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.templates.catalog import Source, shipped
from services.notifier.templates.tables import TemplateVersion


async def published_source(session: AsyncSession, template: str, locale: str) -> Source:
    own = await session.scalar(
        select(TemplateVersion).where(
            TemplateVersion.template == template,
            TemplateVersion.locale == locale,
            TemplateVersion.state == "published",
        )
    )
    return source_of(own) if own else shipped(template, locale)


def source_of(version: TemplateVersion) -> Source:
    return Source(str(version.number), version.subject, version.body, version.action_label)
