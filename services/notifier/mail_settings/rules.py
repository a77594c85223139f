"""A tenant's sender name, reply-to, colour and logo, and which mail a state still gets (T-07)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.changes import note
from libs.common.errors import NotFound, Outdated, Unprocessable
from libs.common.text import AddressMalformed, canonical_address, plain_name
from libs.common.tokens import Actor
from services.notifier.address_book.matrix import FIXED, Overrides
from services.notifier.mail_settings.tables import Logo, MailSettings
from services.notifier.strings import words
from services.notifier.tables import tenant_of

LARGEST_LOGO = 100_000  # bytes: it goes with every mail
_MAGIC = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class SenderNameNotPlain(Unprocessable):
    """R-28: a name in a header is no place for links."""

    title = "A sender name holds no links, addresses or control characters"


class CellFixed(Unprocessable):
    title = "Nobody writes to anonymised or erased members: this cell is the same for every tenant"


class LogoNotAPicture(Unprocessable):
    title = "A logo is a PNG or JPEG picture of at most 100 kB"


async def find_settings(session: AsyncSession) -> MailSettings | None:
    return await session.scalar(select(MailSettings).where(MailSettings.tenant_id == tenant_of(session)))


def sender_name_of(settings: MailSettings | None, locale: str) -> str:
    return plain_name((settings and settings.sender_name) or "") or words(locale)["layout.product"]


async def edit_settings(
    session: AsyncSession, actor: Actor, changed: Mapping[str, Any], *, version: int
) -> MailSettings:
    """changed: fields with their new values. Raises Outdated, SenderNameNotPlain, CellFixed, AddressMalformed."""
    settings = await _hold(session, version)
    if (name := changed.get("sender_name")) and plain_name(name) != name:
        raise SenderNameNotPlain
    if changed.get("reply_to"):
        changed = {**changed, "reply_to": _in_ascii(changed["reply_to"])}
    _require_free_cells(changed.get("matrix", {}))
    for field, value in changed.items():
        setattr(settings, field, value)
    return await _save(session, actor, settings, "changed", **changed)


async def set_logo(session: AsyncSession, actor: Actor, *, type: str, data: bytes, version: int) -> MailSettings:
    """A new picture each time: mails that were sent keep theirs. Raises Outdated, LogoNotAPicture."""
    if len(data) > LARGEST_LOGO or not data.startswith(_MAGIC[type]):
        raise LogoNotAPicture
    settings = await _hold(session, version)
    logo = Logo(tenant_id=tenant_of(session), type=type, data=data)
    session.add(logo)
    await session.flush()
    settings.logo_id = logo.id
    return await _save(session, actor, settings, "logo_set", logo_id=logo.id)


async def remove_logo(session: AsyncSession, actor: Actor, *, version: int) -> MailSettings:
    """Raises Outdated."""
    settings = await _hold(session, version)
    settings.logo_id = None
    return await _save(session, actor, settings, "logo_removed")


async def get_logo(session: AsyncSession) -> Logo:
    """Raises NotFound."""
    settings = await find_settings(session)
    logo = await session.scalar(select(Logo).where(Logo.id == settings.logo_id)) if settings else None
    if logo is None:
        raise NotFound
    return logo


def overrides(settings: MailSettings | None) -> Overrides:
    return settings.matrix if settings else {}


async def _hold(session: AsyncSession, version: int) -> MailSettings:
    """The tenant's row, locked; made where this is the first change (version 0). Raises Outdated."""
    new = insert(MailSettings).values(tenant_id=tenant_of(session), version=0, matrix={})
    await session.execute(new.on_conflict_do_nothing())
    found = select(MailSettings).where(MailSettings.tenant_id == tenant_of(session)).with_for_update()
    settings = (await session.scalars(found)).one()
    if settings.version != version:
        raise Outdated(version=settings.version)
    return settings


async def _save(
    session: AsyncSession, actor: Actor, settings: MailSettings, what: str, **details: object
) -> MailSettings:
    settings.version += 1
    await session.flush()
    note(session, actor, settings, f"notifier.settings.{what}", **details)
    return settings


def _in_ascii(email: str) -> str:
    """As it may stand in a header that every server understands. Raises AddressMalformed."""
    local, domain = email.strip().rpartition("@")[0], canonical_address(email).rpartition("@")[2]
    if not local.isascii():
        raise AddressMalformed(field="reply_to")
    return f"{local}@{domain}"


def _require_free_cells(matrix: Overrides) -> None:
    for category, cells in matrix.items():
        for column in cells:
            if column in FIXED:
                raise CellFixed(category=category, column=column)
