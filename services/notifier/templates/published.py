"""Which text a mail is written from: the tenant's published version, or the shipped one."""

from collections.abc import Collection

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.notifier.templates.catalog import Source, shipped
from services.notifier.templates.tables import TemplateVersion


async def published_sources(
    session: AsyncSession, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Source]:
    """By kind and locale; one for each that is wanted."""
    if not wanted:
        return {}
    own = await session.scalars(
        select(TemplateVersion).where(
            tuple_(TemplateVersion.template, TemplateVersion.locale).in_(wanted), TemplateVersion.state == "published"
        )
    )
    return {one: shipped(*one) for one in wanted} | {(one.template, one.locale): source_of(one) for one in own}


def source_of(version: TemplateVersion) -> Source:
    return Source(str(version.number), version.subject, version.body, version.action_label)
