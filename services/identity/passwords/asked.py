"""*Forgot password*: the door writes down what was typed, and answers everybody the same after the same work. The
worker finds out what it means: a person gets a link, a lapsed invitation is renewed (D-21, T-17), nobody else hears of
it.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common.db import PLATFORM
from services.identity.doors import Doors
from services.identity.invitations import rules as invitations
from services.identity.memberships.names import login_key
from services.identity.memberships.rules import herself
from services.identity.memberships.tables import Membership
from services.identity.passwords.resets import ask_reset
from services.identity.passwords.tables import ResetRequest
from services.identity.persons.tables import Person, PersonAddress
from services.identity.sessions.candidates import account_of, address_key
from services.identity.sessions.rules import tenant_of
from services.identity.tenants.rules import find_tenant
from services.identity.throttling import rules as throttling
from services.identity.throttling.rules import Browser, Limit

_HOUR = 60 * 60


async def forgot(doors: Doors, browser: Browser, *, slug: str | None, typed: str) -> None:
    """Raises NotFound for a tenant that is not there, TooManyTries whoever is meant."""
    tenant_id = PLATFORM if slug is None else await tenant_of(doors, slug)
    account = account_of("forgot", tenant_id, typed)
    network = throttling.digest("forgot", throttling.network_of(browser.ip))
    async with doors.database.session(tenant_id) as session:
        await throttling.admit(session, [Limit(account, 3, _HOUR), Limit(network, 30, _HOUR)])
        session.add(ResetRequest(tenant_id=tenant_id, typed=typed))


async def answer(session: AsyncSession, tenant_id: UUID, request_id: UUID) -> None:
    """The sweep's: one request, once."""
    request = await session.get(ResetRequest, (tenant_id, request_id), with_for_update=True)
    if request is None:
        return
    await session.delete(request)
    key = address_key(request.typed)
    address = await session.get(PersonAddress, key)
    membership = await _find_membership(session, request.typed, key)
    tenant = await find_tenant(session, tenant_id)
    if membership is not None:
        await invitations.ask_renewal(session, herself(membership), membership)
    person_id = address.person_id if address else (membership.person_id if membership else None)
    if person_id is not None and await session.get(Person, person_id) is not None:
        typed = address.address if address else None
        await ask_reset(session, person_id, address=typed, slug=tenant.slug if tenant else None)


async def _find_membership(session: AsyncSession, typed: str, key: str) -> Membership | None:
    """By login name, else by the address that staff have of her. In tenant zero there is none."""
    query = select(Membership).where(Membership.state != "gone").order_by(Membership.access_version.desc()).limit(1)
    by_name = await session.scalar(query.where(Membership.login_key == login_key(typed)))
    return by_name or await session.scalar(query.where(Membership.email_key == key))
