"""What notifier does beside HTTP: it hears what causes mail, sends it, and looks again at what time has changed."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

from libs.common.events.identity import (
    InvitationEnded,
    InvitationIssued,
    MembershipActivated,
    MembershipEnded,
    PasswordChanged,
    PasswordResetAsked,
)
from libs.common.events.members import AccessWanted, MemberErased, MemberErasing, MemberSaved, TenantSaved
from libs.common.inlets import Subscription, on, on_all
from libs.common.keys import KeyRing
from libs.common.links import Links, Purpose
from libs.common.worker import Task, Worker
from services.notifier.address_book import handlers as address_book
from services.notifier.messages import handlers as messages
from services.notifier.messages.house import House
from services.notifier.messages.sender import Sender
from services.notifier.messages.smtp import Relay
from services.notifier.settings import Settings
from services.notifier.suppressions import sweeps as suppressions
from services.notifier.tenants import handlers as tenants

HANDLERS: tuple[Subscription, ...] = (
    on(TenantSaved, tenants.keep_tenant),
    on(MemberSaved, address_book.keep_profile),
    on_all(AccessWanted, address_book.keep_access),
    on(MemberErasing, address_book.erase_member),
    on(MemberErased, messages.mail_member_erased),
    on(MembershipActivated, address_book.keep_activation),
    on(MembershipEnded, address_book.keep_end),
    on(MembershipEnded, messages.mail_access_removed),
    on_all(InvitationIssued, messages.mail_invitations),
    on(InvitationEnded, messages.withdraw_invitation),
    on(PasswordResetAsked, messages.mail_password_reset),
    on(PasswordChanged, messages.mail_password_changed),
)


def create_worker(settings: Settings) -> Worker:
    async def send(worker: Worker) -> None:
        sender = make_sender(settings, worker)
        sending = asyncio.create_task(sender.run())
        stopping = asyncio.create_task(worker.stopping.wait())
        try:
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            sender.stop()
            await sending
        finally:
            stopping.cancel()
            sending.cancel()

    return Worker("notifier", settings, handlers=HANDLERS, sweeps=[suppressions.SWEEP], tasks=[Task("send mail", send)])


def make_sender(settings: Settings, worker: Worker) -> Sender:
    return Sender(
        worker.database,
        worker.sweeper,
        Relay(settings.smtp_url, settings.smtp_seconds, settings.smtp_data_seconds, settings.smtp_ca_file),
        make_house(settings),
        (KeyRing(settings.keys_dir, "bounce"), settings.bounces_to),
        connections=settings.smtp_connections,
        lease=timedelta(seconds=settings.mail_lease_seconds),
        poll=settings.mail_poll_seconds,
    )


def make_house(settings: Settings) -> House:
    return House(
        public_url=settings.public_url,
        mail_from=settings.mail_from,
        links=Links.load(settings.keys_dir, Purpose.INVITATION, Purpose.PASSWORD_RESET),
        relay_host=urlsplit(settings.smtp_url).hostname or "",
    )
