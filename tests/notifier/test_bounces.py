"""What comes back: reports by SMTP to a return path of our own (RFC 3464, VERP), and what they do to a message."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.keys import KeyRing
from services.notifier.bounces.receiver import Receiver
from services.notifier.bounces.reports import Report, read_report
from services.notifier.bounces.verp import read_return_path, return_path
from tests.notifier.conftest import As
from tests.notifier.post import Member, Post

REPORTS = Path(__file__).with_name("reports")


def _mail(name: str) -> bytes:
    return (REPORTS / f"{name}.eml").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind", "status", "said"),
    [
        (
            "postfix-failed",
            "failed",
            "5.1.1",
            "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown",
        ),
        ("exchange-failed", "failed", "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
        ("full-failed", "failed", "4.2.2", "452 4.2.2 The email account"),
        ("delayed", "delayed", "4.4.1", "connect to mx.example.test"),
        ("delivered", "delivered", "2.0.0", "250 2.0.0 Ok"),
        ("complaint", "complained", "", "abuse"),
    ],
)
def test_reports_of_the_field_are_read(name: str, kind: str, status: str, said: str) -> None:
    report = read_report(_mail(name))
    assert report is not None
    assert (report.kind, report.status) == (kind, status)
    assert report.diagnostic.startswith(said)


@pytest.mark.parametrize("name", ["vacation", "relayed"])
def test_what_is_no_news_is_no_report(name: str) -> None:
    assert read_report(_mail(name)) is None


@given(st.binary(max_size=2000), st.integers(0, 1500))
def test_no_bytes_break_the_reader(noise: bytes, at: int) -> None:
    mail = _mail("postfix-failed")
    for raw in (noise, mail[:at] + noise, mail[:at] + noise + mail[at:]):
        assert read_report(raw) is None or isinstance(read_report(raw), Report)


def test_a_return_path_names_its_message_and_cannot_be_guessed(keys_dir: Path) -> None:
    ring, tenant, message = KeyRing(keys_dir, "bounce"), uuid.uuid4(), uuid.uuid4()
    path = return_path(ring, tenant, message, "bounces.test")
    assert len(path.partition("@")[0]) <= 64
    assert read_return_path(ring, path) == (tenant, message)
    assert read_return_path(ring, path.upper().replace("B+", "b+")) == (tenant, message)
    other = return_path(ring, tenant, uuid.uuid4(), "bounces.test")
    forged = path[:40] + other[40:]
    assert read_return_path(ring, forged) is None
    assert [read_return_path(ring, wrong) for wrong in ("", "b+@x", "b+a@x", "postmaster@x", "b+é@x")] == [None] * 5


@pytest.fixture
async def bounce_port(post: Post, keys_dir: Path) -> AsyncIterator[int]:
    async with await Receiver(post.database, KeyRing(keys_dir, "bounce")).listen("127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def bob(post: Post, nord: uuid.UUID) -> Member:
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    return bob


async def _bounce(post: Post, port: int, member: Member, name: str, *, times: int = 1) -> None:
    """As the relay would bring it, to the return path that the mail was sent with."""
    path = post.catcher.messages(member.email)[-1]["envelope"]["from"]
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as server:
        for _ in range(times):
            await server.sendmail("", [path], _mail(name))


async def test_a_hard_bounce_by_report_marks_the_mail_and_suppresses_the_address(
    as_: As, post: Post, bob: Member, bounce_port: int
) -> None:
    """R-24, D-32, C-12: the members' row shows *Fix e-mail* by this event."""
    await _bounce(post, bounce_port, bob, "postfix-failed", times=3)
    message = await post.message(bob)
    assert (message.state, message.reason) == ("bounced", "bad_address")
    assert await post.told(bob) == [("queued", None), ("sent", None), ("bounced", "bad_address")]
    admin = as_("admin", bob.tenant_id)
    (listed,) = (await admin.get("/notifier/v1/suppressions")).json()["items"]
    assert (listed["email"], listed["reason"], listed["message_id"]) == (bob.email, "hard_bounce", str(message.id))
    (report,) = (await admin.get(f"/notifier/v1/messages/{message.id}")).json()["reports"]
    assert (report["kind"], report["status"], report["server"]) == ("failed", "5.1.1", "mx.example.test")


@pytest.mark.parametrize("nul", [b"\x00", b"=?utf-8?q?=00?="])
async def test_a_report_with_a_nul_is_taken_and_not_sent_for_ever(
    post: Post, bob: Member, bounce_port: int, nul: bytes
) -> None:
    """Its text is another server's; `451 come again` would be said to it until it gives up, and the bounce be lost."""
    path = post.catcher.messages(bob.email)[-1]["envelope"]["from"]
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=bounce_port, start_tls=False) as server:
        await server.sendmail("", [path], _mail("postfix-failed").replace(b"smtp; 550", b"smtp; " + nul + b" 550"))
    assert (await post.message(bob)).state == "bounced"


async def test_a_full_mailbox_bounces_the_mail_and_not_the_address(
    as_: As, post: Post, bob: Member, bounce_port: int
) -> None:
    await _bounce(post, bounce_port, bob, "full-failed")
    message = await post.message(bob)
    assert (message.state, message.reason) == ("bounced", "refused")
    assert (await as_("admin", bob.tenant_id).get("/notifier/v1/suppressions")).json()["items"] == []


async def test_a_report_of_arrival_makes_it_delivered(post: Post, bob: Member, bounce_port: int) -> None:
    """T-14: delivered where a report says so, and only there."""
    await _bounce(post, bounce_port, bob, "delivered")
    assert (await post.message(bob)).state == "delivered"


async def test_a_delay_is_shown_and_changes_nothing(as_: As, post: Post, bob: Member, bounce_port: int) -> None:
    await _bounce(post, bounce_port, bob, "delayed")
    message = await post.message(bob)
    assert message.state == "sent"
    detail = (await as_("admin", bob.tenant_id).get(f"/notifier/v1/messages/{message.id}")).json()
    assert [report["kind"] for report in detail["reports"]] == ["delayed"]


async def test_a_complaint_stops_what_is_not_needed_for_security(
    as_: As, post: Post, bob: Member, bounce_port: int
) -> None:
    await _bounce(post, bounce_port, bob, "delivered")
    await _bounce(post, bounce_port, bob, "complaint")
    assert (await post.message(bob)).state == "complained"
    await post.invite(bob)
    await post.sender.send_due()
    assert (await post.message(bob)).state == "sent"  # an invitation is for security


async def test_an_answering_machine_says_nothing(post: Post, bob: Member, bounce_port: int) -> None:
    await _bounce(post, bounce_port, bob, "vacation")
    assert (await post.message(bob)).state == "sent"


async def test_a_stranger_is_refused(post: Post, bob: Member, bounce_port: int) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=bounce_port, start_tls=False) as server:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await server.sendmail("", ["b+aaaaaaaa@bounces.test"], _mail("postfix-failed"))


async def test_a_report_about_a_mail_that_is_gone_is_taken(post: Post, bob: Member, bounce_port: int) -> None:
    from libs.common.events.members import MemberErasing

    await post.tell(bob.tenant_id, MemberErasing(certificate_id=uuid.uuid4()), row=bob.id, version=9)
    await _bounce(post, bounce_port, bob, "postfix-failed")
    assert await post.messages(bob) == []
