"""A tenant's own texts: drafts that are edited, versions that never change once published, and the way back to any.

The mail log names the version that a mail was written from, so a published version stays as it is for good.
"""

import difflib
from collections.abc import Sequence

import msgspec
from sqlalchemy import Select, func, select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.db import now
from libs.common.errors import Conflict, NotFound, Outdated, Unprocessable
from libs.common.tokens import Actor
from services.notifier.tables import tenant_of
from services.notifier.templates.catalog import KINDS, MailKind, Source, shipped
from services.notifier.templates.language import TemplateInvalid, require_no_marks
from services.notifier.templates.proof import require_sound
from services.notifier.templates.published import source_of
from services.notifier.templates.tables import TemplateVersion

SHIPPED = 0
"""The number of the shipped text among a tenant's versions."""


class TemplateFixed(Unprocessable):
    title = "This mail is not any tenant's: its text cannot be changed"


class VersionPublished(Conflict):
    title = "A version that was published never changes; make a new draft"


class Text(msgspec.Struct, frozen=True):
    """action_label: of the button; empty for kinds without one."""

    subject: str
    body: str
    action_label: str = ""

    def source(self) -> Source:
        return Source("unsaved", self.subject, self.body, self.action_label)


class Compared(msgspec.Struct, frozen=True):
    """Unified differences, line by line; empty where nothing differs."""

    subject: list[str]
    body: list[str]
    action_label: list[str]


def require_text(kind: MailKind, text: Text) -> None:
    """Raises TemplateInvalid with field, line and message; TemplateFixed."""
    if not kind.own_text:
        raise TemplateFixed
    require_sound(kind, subject=text.subject, body=text.body)
    _require_label(kind, text.action_label)


async def list_versions(session: AsyncSession, kind: str, locale: str) -> Sequence[TemplateVersion]:
    """Newest first."""
    found = _of(kind, locale).order_by(TemplateVersion.number.desc())
    return (await session.scalars(found)).all()


async def numbers_in_use(session: AsyncSession) -> dict[tuple[str, str], int]:
    """By kind and locale, where the tenant has published a text of its own."""
    used = select(TemplateVersion.template, TemplateVersion.locale, TemplateVersion.number).where(
        TemplateVersion.state == "published"
    )
    return {(row.template, row.locale): row.number for row in await session.execute(used)}


async def get_version(session: AsyncSession, kind: str, locale: str, number: int) -> TemplateVersion:
    """Raises NotFound."""
    version = await session.scalar(_of(kind, locale).where(TemplateVersion.number == number).with_for_update())
    if version is None:
        raise NotFound
    return version


async def get_source(session: AsyncSession, kind: str, locale: str, number: int) -> Source:
    """Of the tenant's version, or of the shipped one. Raises NotFound."""
    if number == SHIPPED:
        return shipped(kind, locale)
    return source_of(await get_version(session, kind, locale, number))


async def draft(session: AsyncSession, actor: Actor, *, kind: str, locale: str, text: Text) -> TemplateVersion:
    """Raises TemplateInvalid, TemplateFixed."""
    require_text(KINDS[kind], text)
    await _lock(session, kind, locale)
    newest = await session.scalar(
        select(func.max(TemplateVersion.number)).where(
            TemplateVersion.template == kind, TemplateVersion.locale == locale
        )
    )
    version = TemplateVersion(
        tenant_id=tenant_of(session),
        template=kind,
        locale=locale,
        number=(newest or SHIPPED) + 1,
        state="draft",
        subject=text.subject,
        body=text.body,
        action_label=text.action_label,
        created_by=actor.id,
        version=1,
    )
    session.add(version)
    await session.flush()
    _note(session, actor, version, "drafted")
    return version


async def edit_draft(
    session: AsyncSession, actor: Actor, *, kind: str, locale: str, number: int, text: Text, version: int
) -> TemplateVersion:
    """Raises NotFound, VersionPublished, Outdated, TemplateInvalid."""
    found = await _get_draft(session, kind, locale, number, version)
    require_text(KINDS[kind], text)
    found.subject, found.body, found.action_label = text.subject, text.body, text.action_label
    found.version += 1
    await session.flush()
    _note(session, actor, found, "edited")
    return found


async def discard_draft(
    session: AsyncSession, actor: Actor, *, kind: str, locale: str, number: int, version: int
) -> None:
    """Raises NotFound, VersionPublished, Outdated."""
    found = await _get_draft(session, kind, locale, number, version)
    _note(session, actor, found, "discarded")
    await session.delete(found)


async def publish(session: AsyncSession, actor: Actor, *, kind: str, locale: str, number: int) -> TemplateVersion:
    """A draft, or an older version again: that is how to roll back. Raises NotFound, TemplateInvalid."""
    await _lock(session, kind, locale)
    version = await get_version(session, kind, locale, number)
    require_text(KINDS[kind], Text(version.subject, version.body, version.action_label))
    if version.state != "published":
        await _retire(session, kind, locale)
        version.state, version.published_at, version.published_by = "published", now(), actor.id
        version.version += 1
        await session.flush()
        _note(session, actor, version, "published")
    return version


async def publish_shipped(session: AsyncSession, actor: Actor, *, kind: str, locale: str) -> None:
    """Back to the text that the product brings. Nothing happens where it is in use already."""
    await _lock(session, kind, locale)
    if retired := await _retire(session, kind, locale):
        _note(session, actor, retired, "retired")


async def compare(session: AsyncSession, *, kind: str, locale: str, old: int, new: int) -> Compared:
    """Raises NotFound."""
    before, after = await get_source(session, kind, locale, old), await get_source(session, kind, locale, new)
    lines = {
        name: list(
            difflib.unified_diff(
                getattr(before, name).splitlines(), getattr(after, name).splitlines(), str(old), str(new), lineterm=""
            )
        )
        for name in ("subject", "body", "action_label")
    }
    return Compared(**lines)


def _require_label(kind: MailKind, label: str) -> None:
    try:
        require_no_marks(label)
    except TemplateInvalid as error:
        raise TemplateInvalid(**{"field": "action_label", **error.params}) from error
    if bool(label.strip()) != ("action" in kind.variables):
        wanted = "is missing" if "action" in kind.variables else "is not for this mail: it has no button"
        raise TemplateInvalid(field="action_label", line=1, message=wanted)


async def _get_draft(session: AsyncSession, kind: str, locale: str, number: int, version: int) -> TemplateVersion:
    found = await get_version(session, kind, locale, number)
    if found.state != "draft":
        raise VersionPublished(number=number)
    if found.version != version:
        raise Outdated(version=found.version)
    return found


async def _retire(session: AsyncSession, kind: str, locale: str) -> TemplateVersion | None:
    current = await session.scalar(_of(kind, locale).where(TemplateVersion.state == "published").with_for_update())
    if current is not None:
        current.state = "retired"
        current.version += 1
        await session.flush()
    return current


async def _lock(session: AsyncSession, kind: str, locale: str) -> None:
    """One at a time numbers or publishes the versions of a text."""
    key = {"key": f"template {tenant_of(session)} {kind} {locale}"}
    await session.execute(sql("SELECT pg_advisory_xact_lock(4250, hashtext(:key))"), key)


def _of(kind: str, locale: str) -> Select[TemplateVersion]:
    return select(TemplateVersion).where(TemplateVersion.template == kind, TemplateVersion.locale == locale)


def _note(session: AsyncSession, actor: Actor, version: TemplateVersion, what: str) -> None:
    about = {"template": version.template, "locale": version.locale, "number": version.number}
    note(session, actor, version, f"notifier.template.{what}", **about)
