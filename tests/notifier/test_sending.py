"""R-25, R-12: the relay misbehaves in every way it can; each mail is sent once, or its end is explained."""

import asyncio
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import text

from libs.common.db import now
from tests.notifier.conftest import SenderOf
from tests.notifier.post import Catcher, Member, Post, in_
from tests.parts import free_port


async def _invited(post: Post, tenant: uuid.UUID, count: int = 1) -> list[Member]:
    members = [await post.add(tenant) for _ in range(count)]
    for member in members:
        await post.invite(member)
    return members


async def _until_sent(post: Post, members: list[Member], *, within: float = 20) -> None:
    """While a sender runs."""
    async with asyncio.timeout(within):
        for member in members:
            while (await post.message(member)).state != "sent":  # noqa: ASYNC110 another worker writes it
                await asyncio.sleep(0.05)


async def test_a_temporary_refusal_is_tried_again_later(post: Post, nord: uuid.UUID) -> None:
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "reply", "to": bob.email, "code": 451, "enhanced": "4.7.1", "text": "Greylisted"})
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason, message.tries) == ("deferred", "later", 1)
    assert message.due_at is not None
    assert timedelta(seconds=20) < message.due_at - now() < timedelta(seconds=40)
    assert await post.sender.send_due() == 0  # not yet
    post.catcher.behave()
    await post.make_due(message)
    await post.sender.send_due()
    assert (await post.message(bob)).state == "sent"
    assert [(one.outcome, one.code, one.enhanced) for one in await post.attempts(message)] == [
        ("deferred", 451, "4.7.1"),
        ("sent", 250, "2.0.0"),
    ]
    assert await post.told(bob) == [("queued", None), ("deferred", "later"), ("sent", None)]


async def test_a_mail_reaches_an_address_whose_local_part_is_beyond_ascii(post: Post, nord: uuid.UUID) -> None:
    """RFC 6531: where the relay speaks SMTPUTF8, and the address in the mail is the one that was typed."""
    kim = await post.add(nord, f"jürgen{uuid.uuid4().hex}@bücher.test")
    await post.invite(kim)
    await post.sender.send_due()
    assert (await post.message(kim)).state == "sent"
    (mail,) = post.catcher.messages(quote(kim.email.replace("bücher", "xn--bcher-kva")))
    assert f"To: {kim.email.replace('bücher', 'xn--bcher-kva')}\r\n".encode() in post.catcher.raw(mail["id"])


async def test_a_relay_that_answers_in_latin_1_is_heard(post: Post, nord: uuid.UUID, sender_of: SenderOf) -> None:
    """Its words go to the log as far as they can be read; the mail has its verdict, and is not tried for ever."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        async for line in reader:
            refused = line.upper().startswith(b"RCPT")
            writer.write(b"550 5.1.1 Empf\xe4nger \x00 unbekannt\r\n" if refused else b"250 2.0.0 gut\r\n")
        writer.close()

    (bob,) = await _invited(post, nord)
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        sender = sender_of(url=f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?starttls=no")
        await sender.send_due()
    assert (await post.message(bob)).state == "bounced"
    (attempt,) = await post.attempts(await post.message(bob))
    assert (attempt.code, attempt.reply) == (550, "5.1.1 Empf\ufffdnger \ufffd unbekannt")


async def test_a_storm_of_temporary_refusals_loses_and_doubles_nothing(post: Post, nord: uuid.UUID) -> None:
    members = await _invited(post, nord, 10)
    for _ in range(4):
        post.catcher.behave({"action": "reply", "code": 450, "enhanced": "4.3.0", "count": 6})
        await post.sender.send_due()
        for member in members:
            if (await post.message(member)).state == "deferred":
                await post.make_due(await post.message(member))
    post.catcher.behave()
    await post.sender.send_due()
    for member in members:
        assert len(post.catcher.messages(member.email)) == 1
        assert (await post.message(member)).state == "sent"


@pytest.mark.parametrize(
    ("enhanced", "words", "state", "reason"),
    [
        ("5.1.1", "User unknown", "bounced", "bad_address"),
        ("5.7.1", "Rejected as spam", "failed", "refused"),
        ("5.2.2", "Mailbox full", "deferred", "later"),
        ("5.3.4", "Too big", "failed", "refused"),
    ],
)
@pytest.mark.parametrize("at", ["rcpt", "data"])
async def test_a_refusal_is_judged_by_its_enhanced_code(
    post: Post, nord: uuid.UUID, at: str, enhanced: str, words: str, state: str, reason: str
) -> None:
    (bob,) = await _invited(post, nord)
    post.catcher.behave(
        {"action": "reply", "at": at, "to": bob.email, "code": 550, "enhanced": enhanced, "text": words}
    )
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason) == (state, reason)
    (attempt,) = await post.attempts(message)
    assert (attempt.code, attempt.reply) == (550, f"{enhanced} {words}")


async def test_mixed_refusals_are_each_its_own_mails(post: Post, nord: uuid.UUID) -> None:
    members = await _invited(post, nord, 6)
    codes = [(550, "5.1.1"), (451, "4.3.0"), (554, "5.7.1")] * 2
    post.catcher.behave(
        *(
            {"action": "reply", "to": member.email, "code": code, "enhanced": enhanced}
            for member, (code, enhanced) in zip(members[:3], codes, strict=False)
        )
    )
    await post.sender.send_due()
    states = [(await post.message(member)).state for member in members]
    assert states == ["bounced", "deferred", "failed", "sent", "sent", "sent"]


@pytest.mark.parametrize("record", [True, False])
async def test_a_lost_answer_gives_one_duplicate_at_most_with_the_same_message_id_and_says_so(
    post: Post, nord: uuid.UUID, record: bool
) -> None:
    """R-25: between the mail and its answer nobody can know; it is sent once more, flagged."""
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "drop", "to": bob.email, "count": 1, "record": record})
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason, message.uncertain) == ("sent", "maybe_twice", 1)
    mails = post.catcher.messages(bob.email)
    assert len(mails) == (2 if record else 1)
    assert {mail["message_id"] for mail in mails} == {f"<{message.id}@mail.control-centre.test>"}
    assert len({mail["text"] for mail in mails}) == 1
    assert [one.outcome for one in await post.attempts(message)] == ["uncertain", "sent"]
    assert await post.told(bob) == [("queued", None), ("unknown", "maybe_twice"), ("sent", "maybe_twice")]


async def test_an_answer_lost_twice_stays_unknown_and_is_not_sent_a_third_time(post: Post, nord: uuid.UUID) -> None:
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "drop", "to": bob.email})
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason, message.due_at) == ("unknown", "uncertain", None)
    assert len(post.catcher.messages(bob.email)) == 2


async def test_a_server_that_stalls_is_left_and_the_mail_flagged(
    post: Post, nord: uuid.UUID, sender_of: SenderOf
) -> None:
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "stall", "to": bob.email, "seconds": 30, "count": 1})
    await sender_of(data_seconds=0.5).send_due()
    message = await post.message(bob)
    assert (message.state, message.reason) == ("sent", "maybe_twice")


async def test_a_slow_server_keeps_its_mail_and_nobody_else_takes_it(
    post: Post, nord: uuid.UUID, sender_of: SenderOf
) -> None:
    """The lease is renewed while the server makes up its mind."""
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "stall", "to": bob.email, "seconds": 2, "count": 1})
    lease = timedelta(seconds=0.6)
    slow = asyncio.create_task(sender_of(lease=lease).send_due())
    await asyncio.sleep(1.2)
    assert await sender_of(lease=lease).send_due() == 0
    await slow
    message = await post.message(bob)
    assert (message.state, message.uncertain) == ("sent", 0)
    assert len(post.catcher.messages(bob.email)) == 1


@pytest.mark.parametrize("at", ["connect", "mail"])
async def test_a_relay_that_is_not_ready_costs_nobody_an_attempt(post: Post, nord: uuid.UUID, at: str) -> None:
    members = await _invited(post, nord, 3)
    post.catcher.behave({"action": "reply", "at": at, "code": 421 if at == "connect" else 530, "text": "Not now"})
    await post.sender.send_due()
    assert post.sender.circuit.is_open
    for member in members:
        message = await post.message(member)
        assert (message.state, message.tries, message.attempts) == ("queued", 0, 0)
        assert await post.attempts(message) == []


async def test_a_relay_that_is_away_for_a_while_costs_nobody_an_attempt(
    post: Post, nord: uuid.UUID, sender_of: SenderOf, catcher: Catcher
) -> None:
    members = await _invited(post, nord, 8)
    catcher.stop()
    sender = sender_of()
    running = asyncio.create_task(sender.run())
    try:
        async with asyncio.timeout(10):
            while not sender.circuit.is_open:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        catcher.start()
        await _until_sent(post, members)
    finally:
        sender.stop()
        await running
    for member in members:
        message = await post.message(member)
        assert (message.tries, message.uncertain) == (1, 0)
        assert [one.outcome for one in await post.attempts(message)] == ["sent"]
        assert len(catcher.messages(member.email)) == 1


async def test_one_mail_that_the_relay_will_not_relay_stops_no_other(post: Post, nord: uuid.UUID) -> None:
    members = await _invited(post, nord, 5)
    refusal = {"action": "reply", "code": 554, "enhanced": "5.7.1", "text": "Relay access denied"}
    post.catcher.behave({**refusal, "to": members[0].email})
    await post.sender.send_due()
    states = [(await post.message(member)).state for member in members]
    assert states == ["deferred", "sent", "sent", "sent", "sent"]
    message = await post.message(members[0])
    assert (message.reason, message.tries) == ("relay", 0)


async def test_a_relay_that_relays_nothing_any_more_opens_the_circuit(post: Post, nord: uuid.UUID) -> None:
    await _invited(post, nord, 5)
    post.catcher.behave({"action": "reply", "code": 554, "enhanced": "5.7.1", "text": "Relay access denied"})
    assert await post.sender.send_due() == 3
    assert post.sender.circuit.is_open


@pytest.fixture
def impostor(tmp_path: Path) -> tuple[int, str, subprocess.Popen[bytes]]:
    """A server that says STARTTLS and shows a certificate that nobody has signed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=somebody.else"]
    subprocess.run(["openssl", "req", *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    program = (
        "import asyncio, ssl, sys\n"
        "from aiosmtpd.smtp import SMTP\n"
        "from aiosmtpd.handlers import Sink\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[2], sys.argv[1])\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    make = lambda: SMTP(Sink(), tls_context=context, loop=loop)\n"
        "    await loop.create_server(make, '127.0.0.1', int(sys.argv[3]))\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, key, certificate, str(port)], stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    return port, str(certificate), process


async def test_a_wrong_certificate_gets_no_mail(
    post: Post, nord: uuid.UUID, sender_of: SenderOf, impostor: tuple[int, str, subprocess.Popen[bytes]]
) -> None:
    port, _, process = impostor
    (bob,) = await _invited(post, nord)
    try:
        sender = sender_of(url=f"smtp://127.0.0.1:{port}?starttls=require")
        await sender.send_due()
        assert sender.circuit.is_open
        assert (await post.message(bob)).tries == 0
    finally:
        process.kill()
        process.communicate()


async def test_two_workers_never_send_the_same_mail(post: Post, nord: uuid.UUID, sender_of: SenderOf) -> None:
    """T-14: compare-and-set; whoever loses goes on with the next."""
    members = await _invited(post, nord, 40)
    await asyncio.gather(*(sender_of().send_due() for _ in range(4)))
    await _until_sent(post, members)
    for member in members:
        assert len(post.catcher.transactions(member.email)) == 1
        assert len(await post.attempts(await post.message(member))) == 1


async def test_security_mail_goes_first_and_tenants_take_turns(post: Post, sender_of: SenderOf) -> None:
    big, small = uuid.uuid4(), uuid.uuid4()
    for tenant in (big, small):
        await post.open_tenant(tenant)
    crowd = await _invited(post, big, 20)
    few = await _invited(post, small, 3)
    sent: list[str] = []
    await post.sender.send_due()
    everybody = {member.email: ("big" if member in crowd else "small") for member in (*crowd, *few)}
    for one in post.catcher._call("GET", "/api/transactions"):
        for recipient in one["recipients"]:
            if recipient["address"] in everybody:
                sent.append(everybody[recipient["address"]])
    assert sorted(sent[:6]) == ["big"] * 3 + ["small"] * 3


async def test_what_a_dead_worker_had_in_hand_is_sent_once_more_and_flagged(post: Post, nord: uuid.UUID) -> None:
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "stall", "to": bob.email, "seconds": 30, "count": 1})
    dying = asyncio.create_task(post.sender.send_due())
    async with asyncio.timeout(10):
        while post.catcher.still_to_do():  # noqa: ASYNC110 until it stalls
            await asyncio.sleep(0.02)
    assert (await post.message(bob)).state == "sending"
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await post.make_due(await post.message(bob))  # the lease runs out
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason) == ("sent", "maybe_twice")
    assert [one.outcome for one in await post.attempts(message)] == ["uncertain", "sent"]


async def test_a_day_of_refusals_ends_with_a_reason(post: Post, nord: uuid.UUID) -> None:
    """R-12: retried for a day, then set aside with a reason and a button (resend)."""
    (bob,) = await _invited(post, nord)
    post.catcher.behave({"action": "reply", "to": bob.email, "code": 451})
    await post.sender.send_due()
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE messages SET first_try_at = now() - interval '25 hours', due_at = now()"))
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason, message.due_at) == ("failed", "gave_up", None)


async def test_no_try_comes_after_the_end_of_the_link(post: Post, nord: uuid.UUID) -> None:
    bob = await post.add(nord)
    await post.invite(bob, deadline=in_(seconds=20))
    post.catcher.behave({"action": "reply", "to": bob.email, "code": 451})
    await post.sender.send_due()
    message = await post.message(bob)
    assert (message.state, message.reason) == ("expired", "link_expired")


async def test_a_mail_that_our_own_mistake_spoils_fails_and_keeps_no_other(post: Post, nord: uuid.UUID) -> None:
    members = await _invited(post, nord, 3)
    spoilt = await post.message(members[0])
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE messages SET data = '{}' WHERE id = :id"), {"id": spoilt.id})
    await post.sender.send_due()
    message = await post.message(members[0])
    assert (message.state, message.reason, message.attempts) == ("failed", "not_rendered", 0)
    assert [(await post.message(member)).state for member in members[1:]] == ["sent", "sent"]


async def test_lanes_outlive_a_database_that_goes_away_and_mails_that_break(
    post: Post, nord: uuid.UUID, sender_of: SenderOf
) -> None:
    members = await _invited(post, nord, 3)
    broken = await post.message(members[0])
    async with post.database.session(nord) as session:
        await session.execute(text("UPDATE messages SET template = 'no_such_kind' WHERE id = :id"), {"id": broken.id})
    sender = sender_of()
    running = asyncio.create_task(sender.run())
    try:
        await _until_sent(post, members[1:])
        assert (await post.message(members[0])).state == "queued"  # looked at again in ten minutes
        await post.database.engine.dispose()
        (late,) = await _invited(post, nord)
        await _until_sent(post, [late])
    finally:
        sender.stop()
        await running
