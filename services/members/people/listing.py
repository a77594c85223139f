"""The list of members: one filter grammar for the list and for bulk commands, one statement a page, read by index.

The wanted columns of the status matrix are each read in order from an index and merged, so that a page costs the same
whatever lies between. A column in which nobody can fit is not read at all, and a few people with the same guidance are
found by an index of their own. Statements are built once for each shape (which filters, which order); values are
parameters.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from libs.common.db import Database
from libs.common.errors import Forbidden
from libs.common.events.notifier import MailState
from libs.common.pages import decode_cursor, encode_cursor
from libs.common.permissions import Permission
from libs.common.text import Line, canonical_address
from libs.common.tokens import Actor
from services.members.facts import DEFAULT_LIST, Access, Column, GuidanceCode, combinations
from services.members.moments import Moment, in_utc
from services.members.people import names
from services.members.people.schemas import SHOWN
from services.members.people.tables import NEVER

Sort = Literal["name", "-name", "last_login", "-last_login", "created", "-created"]
_Key = Annotated[str, Meta(pattern=r"^[^\x00]*$(?!\n)")]


class MemberFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """All that is given must apply; of several values in one field, any."""

    column: list[Column] = []
    """Without it: the default list of the status matrix."""
    access: list[Access] = []
    guidance: list[GuidanceCode] = []
    mail_state: list[MailState] = []
    text: Line | None = None
    """The beginnings of words in names, and of addresses for those who may see them."""
    email: Line | None = None
    login_name: Line | None = None
    last_login_from: Moment | None = None
    last_login_to: Moment | None = None
    never_signed_in: bool = False


_KEYS: Final[dict[str, tuple[str, Any]]] = {
    "name": ("name_key", _Key),
    "last_login": ("last_login_at", Moment),
    "created": ("created_at", Moment),
}
_COLUMNS: Final = ", ".join(f'"{name}"' for name in (*SHOWN, "name_key"))
# Conditions by name. `{}` are parameters, one each, in order.
_CONDITIONS: Final = {
    "access": "access = ANY({})",
    "guidance": "guidance = ANY({})",
    "mail_state": "mail_state = ANY({})",
    "email": "email_key = {}",
    "login_name": "login_key = {}",
    "last_login_from": "last_login_at >= {}",
    "last_login_to": "last_login_at < {}",
}
# Of several words each finds its people, and only who is among all of these is read.
_WORDS: Final = {
    "word": "SELECT member_id FROM member_tokens WHERE token >= {} AND token < {} AND NOT contact",
    "any_word": "SELECT member_id FROM member_tokens WHERE token >= {} AND token < {}",
}
_FEW: Final = {"email", "login_name", *_WORDS}
_RARE: Final = frozenset({"fix_email", "invite_again", "wait_for_entry", "buy_seat"})
"""Guidance of a few among many in their column: ix_members_by_guidance holds these alone."""
_AFTER_NEVER: Final = datetime(1970, 1, 2, tzinfo=UTC)
_LAST: Final = "\U0010ffff"


class Wanted(NamedTuple):
    """A filter as statements need it: the columns, rare guidance, the names of the conditions, and their values in
    order.
    """

    columns: tuple[Column, ...]
    rare: tuple[GuidanceCode, ...]
    conditions: tuple[str, ...]
    values: tuple[object, ...]


def read_filter(filter: MemberFilter, actor: Actor) -> Wanted:
    """Raises Forbidden for a filter by address where the actor may not see addresses; AddressMalformed."""
    sees_contact = Permission.MEMBERS_CONTACT in actor.rights
    if filter.email is not None and not sees_contact:
        raise Forbidden(permission=Permission.MEMBERS_CONTACT)
    found: list[tuple[str, tuple[object, ...]]] = []
    rare = tuple(sorted(set(filter.guidance))) if _RARE.issuperset(filter.guidance) else ()
    for name in ("access", "guidance", "mail_state"):
        if (name != "guidance" or not rare) and (values := getattr(filter, name)):
            found.append((name, (sorted(set(values)),)))
    if filter.email is not None:
        found.append(("email", (canonical_address(filter.email),)))
    if filter.login_name is not None:
        found.append(("login_name", (names.login_key(filter.login_name),)))
    from_ = in_utc(filter.last_login_from, "last_login_from")
    to = in_utc(filter.last_login_to, "last_login_to")
    if from_ is not None or to is not None:
        found.append(("last_login_from", (max(from_ or NEVER, _AFTER_NEVER),)))
    if filter.never_signed_in:
        to = _AFTER_NEVER
    if to is not None:
        found.append(("last_login_to", (to,)))
    kind = "any_word" if sees_contact else "word"
    found += [(kind, (word, word + _LAST)) for word in names.words(filter.text or "")]
    return Wanted(
        columns=_columns(filter),
        rare=rare,
        conditions=tuple(name for name, _ in found),
        values=tuple(value for _, values in found for value in values),
    )


def _columns(filter: MemberFilter) -> tuple[Column, ...]:
    """Of those that are wanted the ones in which anybody can fit."""
    wanted = tuple(dict.fromkeys(filter.column or DEFAULT_LIST))
    if not filter.access and not filter.guidance:
        return wanted
    possible = {
        column
        for column, access, code in combinations()
        if access in (filter.access or (access,)) and code in (filter.guidance or (code,))
    }
    return tuple(column for column in wanted if column in possible)


async def list_page(
    database: Database, actor: Actor, filter: MemberFilter, *, sort: Sort, cursor: str | None, limit: int
) -> tuple[Sequence[Any], str | None]:
    """Rows with the columns SHOWN, and the cursor of the next page."""
    assert actor.tenant_id is not None  # noqa: S101 a member's token has one
    wanted = read_filter(filter, actor)
    key, kind = _KEYS[sort.lstrip("-")]
    name = f"members:{sort}:{_digest(wanted)}"
    after = _after(name, cursor, kind) if cursor else ()
    columns, rare, conditions, values = wanted
    statement = page_statement(columns, conditions, sort, limit + 1, after=bool(after), rare=rare)
    rows = await database.read(actor.tenant_id, statement, *after, *values)
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    value = last[key]
    return rows[:limit], encode_cursor(name, value if kind is _Key else value.isoformat(), str(last["id"]))


def _after(name: str, cursor: str, kind: Any) -> tuple[object, UUID]:
    key, id = decode_cursor(name, cursor, kind, UUID)
    return key, id


@lru_cache(512)
def page_statement(
    columns: tuple[Column, ...],
    conditions: tuple[str, ...],
    sort: Sort,
    limit: int,
    *,
    after: bool,
    rare: tuple[GuidanceCode, ...] = (),
) -> str:
    """Parameters: key and id of the last row seen (if after), then the conditions' values.

    Columns, guidance and limit are written out, so that the database keeps one plan and need not plan each page anew.
    """
    key, kind = _KEYS[sort.lstrip("-")]
    way, beyond = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    typed = "text" if kind is _Key else "timestamptz"
    rest = [f"({key}, id) {beyond} ($1::{typed}, $2::uuid)"] if after else []
    rest += where(conditions, 3 if after else 1)
    order = f"ORDER BY {key} {way}, id {way} LIMIT {limit:d}"
    if not columns or _FEW & set(conditions):
        # These find few rows by an index of their own, which are then sorted.
        return f"{_select(columns, rest + _guided(rare))} {order}"
    # Each arm ends by itself, so that the planner reads it in order by its index.
    parts = [(column, [*rest, *_guided(codes)]) for column, codes in _pairs(columns, rare)]
    arms = [f"({_select([column], conditions)} {order})" for column, conditions in parts]
    return f"SELECT * FROM ({' UNION ALL '.join(arms)}) AS page {order}"  # noqa: S608 our own words


@lru_cache(64)
def ids_statement(
    columns: tuple[Column, ...], conditions: tuple[str, ...], limit: int, rare: tuple[GuidanceCode, ...] = ()
) -> str:
    """For bulk commands. Parameters: the conditions' values."""
    chosen = _select(columns, where(conditions, 1) + _guided(rare))
    return f"SELECT id FROM ({chosen}) AS chosen ORDER BY id LIMIT {limit:d}"  # noqa: S608


def where(conditions: Sequence[str], first: int) -> list[str]:
    """The conditions as SQL, their parameters numbered from first."""
    found: list[str] = []
    words: list[str] = []
    for name in conditions:
        text = _CONDITIONS.get(name) or _WORDS[name]
        count = text.count("{}")
        (words if name in _WORDS else found).append(text.format(*(f"${first + n}" for n in range(count))))
        first += count
    return [*found, f"id IN ({' INTERSECT '.join(words)})"] if words else found


def _pairs(columns: Sequence[Column], rare: Sequence[GuidanceCode]) -> list[tuple[Column, tuple[GuidanceCode, ...]]]:
    """The arms: a column each, or where rare guidance is wanted a column and one of these."""
    if not rare:
        return [(column, ()) for column in columns]
    together = {(column, code) for column, _, code in combinations()}
    return [(column, (code,)) for code in rare for column in columns if (column, code) in together]


def _guided(rare: Sequence[GuidanceCode]) -> list[str]:
    return [f"guidance IN ({_named(rare)})"] if rare else []


def _select(columns: Sequence[Column], conditions: Sequence[str]) -> str:
    within = f'"column" IN ({_named(columns)})' if columns else "false"
    return f"SELECT {_COLUMNS} FROM members WHERE {' AND '.join([within, *conditions])}"  # noqa: S608


def _named(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _digest(wanted: Wanted) -> str:
    """A cursor serves only the filter that it was made for."""
    return hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]
