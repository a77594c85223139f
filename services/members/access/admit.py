"""SSO first login: identity asks whether somebody may come in whom the tenant's own provider vouches for."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import Database
from libs.common.events.rpc import ADMIT, Admit, AdmitAnswer, Admitted, NoSeat, Refused
from libs.common.permissions import Role
from libs.common.text import AddressMalformed, canonical_address, plain_name
from libs.common.tokens import Actor
from libs.common.worker import Task, Worker
from services.members import hold
from services.members.access import presets as grants
from services.members.access.presets import Presets
from services.members.access.rules import open_invitation
from services.members.hold import Held
from services.members.people import names
from services.members.people.rules import Profile, add_member
from services.members.people.tables import Member
from services.members.seats.rules import SeatLimitReached, lock_tenant
from services.members.tasks.rules import open_task, open_task_about_stranger, settle_tasks

LASTS: Final = timedelta(minutes=15)
SEAT_MISSING: Final = "seat_missing"


async def listen(worker: Worker) -> None:
    async def answer(body: bytes) -> bytes:
        return msgspec.json.encode(await admit(worker.database, msgspec.json.decode(body, type=Admit)))

    await worker.bus.connected()
    await worker.bus.respond(ADMIT, answer)
    await worker.stopping.wait()


TASK = Task("admit", listen)


async def admit(database: Database, asked: Admit) -> AdmitAnswer:
    """R-08, R-11, R-14. Asked again with the same key, the answer is the same. Without a seat nothing is changed, and a
    task tells staff.
    """
    try:
        async with database.session(asked.tenant_id) as session:
            try:
                async with session.begin_nested():
                    return await _admit(session, Actor.system(asked.tenant_id), asked)
            except SeatLimitReached:
                await _tell_staff(session, asked)
                return NoSeat()
    except AddressMalformed:
        return Refused("malformed")


async def _admit(session: AsyncSession, system: Actor, asked: Admit) -> AdmitAnswer:
    await lock_tenant(session)
    member_id = await _find(session, asked)
    if member_id is None:
        held = await add_member(session, system, await _profile(session, asked))
    else:
        held = await hold.hold(session, system, member_id)
        if (state := _refused(held.member)) is not None:
            return Refused(state)
        if held.member.access == "invited":
            return _admitted(held)
    held.member.sso_key = asked.key
    grants.clear(held.member)
    grants.stand_for(system, held.member, Presets(roles=[Role.MEMBER]))
    open_invitation(held.member, "sso", LASTS)
    await hold.save(session, system, held, "admitted")
    await settle_tasks(session, held.member, SEAT_MISSING)
    await settle_tasks(session, None, SEAT_MISSING)  # a seat was free; whoever still waits for one will ask again
    return _admitted(held)


async def _tell_staff(session: AsyncSession, asked: Admit) -> None:
    member_id = await _find(session, asked)
    member = await hold.lock_member(session, member_id) if member_id else None
    if member is not None:
        await open_task(session, member, SEAT_MISSING)
    else:
        await open_task_about_stranger(session, asked.tenant_id, asked.email, SEAT_MISSING)


def _refused(member: Member) -> str | None:
    """Who was sent away stays away (R-11); an owner's invitation is accepted by its link alone."""
    if member.life != "present":
        return member.life
    if member.access in ("active", "revoked"):
        return member.access
    if member.locked or member.deactivated or member.outside == "after":
        return "blocked"
    if member.access == "invited" and Role.OWNER in member.preset_roles:
        return "owner_preset"
    return None


def _admitted(held: Held) -> Admitted:
    member = held.member
    return Admitted(member.id, member.epoch, member.generation)


async def _find(session: AsyncSession, asked: Admit) -> UUID | None:
    """By the key first: the provider may have changed her address since."""
    same = or_(Member.sso_key == asked.key, Member.email_key == canonical_address(asked.email))
    query = select(Member.id).where(same).order_by((Member.sso_key == asked.key).desc().nulls_last()).limit(1)
    found: UUID | None = await session.scalar(query)
    return found


async def _profile(session: AsyncSession, asked: Admit) -> Profile:
    """Her login name is what stands before the @, with a number where somebody has it already."""
    wanted = canonical_address(asked.email).partition("@")[0]
    taken = set(
        await session.scalars(select(Member.login_key).where(Member.login_key.startswith(wanted, autoescape=True)))
    )
    free = (
        name for n in range(1, len(taken) + 2) if names.login_key(name := f"{wanted}{n if n > 1 else ''}") not in taken
    )
    login_name = next(free)
    display_name = plain_name(asked.display_name)[:200] or login_name
    return Profile(login_name=login_name, display_name=display_name, email=asked.email, locale=asked.locale)
