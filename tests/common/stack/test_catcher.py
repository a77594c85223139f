"""The catcher keeps what it is given, shows it without running it, and misbehaves as it is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx
import pytest

from libs.common.stack.group import Group
from libs.common.stack.mail import Mail

pytestmark = pytest.mark.xdist_group("stack-catcher")


@pytest.fixture
async def api(mail: Mail) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mail.page) as client:
        await client.delete("/api/behaviour")
        await client.delete("/api/messages")
        yield client


def make(to: str = "bob@acme.test", **headers: str) -> EmailMessage:
    message = EmailMessage()
    fields = {"From": "Acme <post@acme.test>", "To": to, "Subject": "Einladung für Bob", "Message-ID": "<1@acme.test>"}
    for name, value in (fields | headers).items():
        message[name.replace("_", "-")] = value
    message.set_content("Grüße: https://acme.test/t/acme?a=1&b=2.\n")
    message.add_alternative(
        '<html><head></head><body><a href="https://acme.test">Los</a></body></html>', subtype="html"
    )
    return message


async def send(mail: Mail, message: EmailMessage | None = None, to: list[str] | None = None) -> Any:
    host, port = mail.smtp.removeprefix("smtp://").split(":")
    return await aiosmtplib.send(
        message or make(), recipients=to, hostname=host, port=int(port), start_tls=False, timeout=5
    )


async def outcomes(api: httpx.AsyncClient) -> list[str]:
    return [one["outcome"] for one in (await api.get("/api/transactions")).json()]


async def messages(api: httpx.AsyncClient, to: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/api/messages", params={"to": to} if to else {})).json()
    return found


async def test_a_mail_is_kept_with_everything_it_says(mail: Mail, api: httpx.AsyncClient) -> None:
    await send(mail, to=["bob@acme.test", "Hidden@acme.test"])
    [message] = await messages(api, "BOB@acme.test")
    assert message["envelope"] == {"from": "post@acme.test", "to": ["bob@acme.test", "Hidden@acme.test"]}
    assert message["message_id"] == message["headers"]["Message-ID"] == "<1@acme.test>"
    assert message["subject"] == "Einladung für Bob"
    assert message["from"] == "Acme <post@acme.test>"
    assert message["text"] == "Grüße: https://acme.test/t/acme?a=1&b=2.\n"
    assert "Los" in message["html"]
    assert message["received_at"].endswith("Z")
    assert (await api.get(f"/api/messages/{message['id']}")).json() == message
    assert b"Subject:" in (await api.get(f"/api/messages/{message['id']}/raw")).content
    assert len(await messages(api, "hidden@acme.test")) == 1
    assert await messages(api, "nobody@acme.test") == []


async def test_newest_first_and_gone_when_deleted(mail: Mail, api: httpx.AsyncClient) -> None:
    for number in "12":
        await send(mail, make(Subject=number))
    found = await messages(api)
    assert [message["subject"] for message in found] == ["2", "1"]
    assert len((await api.get("/api/messages", params={"limit": "1"})).json()) == 1
    assert (await api.delete(f"/api/messages/{found[0]['id']}")).status_code == 204
    assert (await api.get(f"/api/messages/{found[0]['id']}")).status_code == 404
    assert [message["subject"] for message in await messages(api)] == ["1"]
    assert (await api.delete("/api/messages")).status_code == 204
    assert await messages(api) == []


async def test_refuses_as_told_as_often_as_told(mail: Mail, api: httpx.AsyncClient) -> None:
    rule = {"action": "reply", "code": 550, "enhanced": "5.1.1", "text": "No such user", "count": 2}
    assert (await api.put("/api/behaviour", json=rule)).status_code == 200
    for left in (1, None):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refusal:
            await send(mail)
        [recipient] = refusal.value.recipients
        assert (recipient.code, recipient.message) == (550, "5.1.1 No such user")
        assert [one["count"] for one in (await api.get("/api/behaviour")).json()] == ([left] if left else [])
    await send(mail)
    assert await outcomes(api) == ["refused", "refused", "accepted"]
    assert len(await messages(api)) == 1


async def test_refuses_some_recipients_only(mail: Mail, api: httpx.AsyncClient) -> None:
    await api.put("/api/behaviour", json=[{"action": "reply", "code": 452, "enhanced": "4.2.2", "to": "*@globex.test"}])
    refused, _ = await send(mail, to=["bob@acme.test", "bob@globex.test"])
    assert list(refused) == ["bob@globex.test"]
    assert len(await messages(api, "bob@acme.test")) == 1
    assert await messages(api, "bob@globex.test") == []
    [transaction] = (await api.get("/api/transactions")).json()
    assert [one["reply"][:3] for one in transaction["recipients"]] == ["250", "452"]


@pytest.mark.parametrize(
    ("moment", "error"),
    [
        ("connect", aiosmtplib.SMTPConnectError),
        ("mail", aiosmtplib.SMTPSenderRefused),
        ("data", aiosmtplib.SMTPDataError),
    ],
)
async def test_refuses_at_any_moment(
    mail: Mail, api: httpx.AsyncClient, moment: str, error: type[aiosmtplib.SMTPException]
) -> None:
    await api.put("/api/behaviour", json={"action": "reply", "at": moment, "code": 421, "text": "Away"})
    with pytest.raises(error):
        await send(mail)
    assert await messages(api) == []
    assert await outcomes(api) == ([] if moment == "connect" else ["refused"])


@pytest.mark.parametrize("record", [True, False])
async def test_drops_the_connection_after_the_body(mail: Mail, api: httpx.AsyncClient, record: bool) -> None:
    await api.put("/api/behaviour", json={"action": "drop", "record": record, "count": 1})
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(mail)
    assert len(await messages(api)) == int(record)
    [transaction] = (await api.get("/api/transactions")).json()
    assert (transaction["outcome"], transaction["reply"]) == ("dropped", "")
    assert transaction["size"] > 100
    await send(mail)
    assert len(await messages(api)) == 1 + int(record)


async def test_stalls_and_then_accepts(mail: Mail, api: httpx.AsyncClient) -> None:
    await api.put("/api/behaviour", json={"action": "stall", "seconds": 0.5})
    since = time.monotonic()
    await send(mail)
    assert time.monotonic() - since >= 0.5
    assert len(await messages(api)) == 1


async def test_a_client_that_gives_up_has_delivered_nothing(mail: Mail, api: httpx.AsyncClient) -> None:
    await api.put("/api/behaviour", json={"action": "stall", "seconds": 60})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(send(mail), 0.3)
    async with asyncio.timeout(5):
        while await outcomes(api) != ["abandoned"]:  # noqa: ASYNC110, it happens in another process
            await asyncio.sleep(0.01)
    assert await messages(api) == []


@pytest.mark.parametrize(
    "rule",
    [{"action": "reply", "code": 250}, {"action": "reply", "text": "a\r\nb"}, {"action": "x"}, {"acton": "drop"}],
)
async def test_a_rule_that_means_nothing_is_refused(api: httpx.AsyncClient, rule: dict[str, object]) -> None:
    assert (await api.put("/api/behaviour", json=rule)).status_code == 400


async def test_everything_outlives_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Group(tmp_path_factory.mktemp("mail")) as group:
        mail = Mail(group.state)
        group.bring_up(mail)
        await send(mail)
        await asyncio.to_thread(group.kill, "mail")
        await asyncio.to_thread(group.restart, "mail")
        async with httpx.AsyncClient(base_url=mail.page) as api:
            [first] = await messages(api)
            assert first["subject"] == "Einladung für Bob"
            await send(mail)
            assert len({message["id"] for message in await messages(api)}) == 2


async def test_the_page_shows_a_mail_without_running_it(mail: Mail, api: httpx.AsyncClient) -> None:
    hostile = make(Subject="<script>alert(1)</script>")
    hostile.clear_content()
    hostile.set_content("<b>not markup</b> https://acme.test/x<y>\n")
    hostile.add_alternative("<script>alert(2)</script><a href='https://acme.test'>x</a>", subtype="html")
    await send(mail, hostile)
    [message] = await messages(api)
    listing = await api.get("/")
    assert "&lt;script&gt;alert(1)" in listing.text
    assert "<script>alert" not in listing.text
    assert "script-src 'self'" in listing.headers["Content-Security-Policy"]
    page = await api.get(f"/messages/{message['id']}")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "alert(2)" not in page.text
    body = await api.get(f"/messages/{message['id']}/body")
    assert body.headers["Content-Security-Policy"].startswith("sandbox allow-popups")
    assert "default-src 'none'" in body.headers["Content-Security-Policy"]
    assert '<base target="_blank">' in body.text
    text = await api.get(f"/messages/{message['id']}", params={"view": "text"})
    assert "&lt;b&gt;not markup" in text.text
    assert '<a href="https://acme.test/x"' in text.text
    for view in ("headers", "source"):
        assert "alert(1)" in (await api.get(f"/messages/{message['id']}", params={"view": view})).text
    for missing in ("/messages/999999", "/messages/../page.html", "/messages/x/body", "/api/nothing"):
        assert (await api.get(missing)).status_code == 404


async def test_no_other_name_leads_here(api: httpx.AsyncClient) -> None:
    """A page elsewhere could give its own name our address, and read the links in the mails."""
    assert (await api.get("/api/messages", headers={"Host": "evil.test"})).status_code == 421
    assert (await api.get("/api/messages", headers={"Host": "localhost:1"})).status_code == 200
