"""R-27, D-33: sender name, reply-to, logo and colour of a tenant's mails; the one address they all come from."""

import base64
import email
import uuid
from email.message import Message
from email.policy import default
from typing import Any

import pytest

from tests.notifier.conftest import MAIL_FROM, As
from tests.notifier.post import Post

SETTINGS = "/notifier/v1/settings"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _logo(data: bytes = PNG, type: str = "image/png") -> dict[str, str]:
    return {"type": type, "data": base64.b64encode(data).decode()}


async def _change(as_: As, tenant: uuid.UUID, who: Any = "admin", **changed: object) -> Any:
    caller = as_(who, tenant)
    version = (await as_("admin", tenant).get(SETTINGS)).headers["ETag"]
    return await caller.patch(SETTINGS, json=changed, headers={"If-Match": version})


@pytest.mark.parametrize(
    ("who", "read", "write"),
    [(None, 401, 401), ("member", 403, 403), ("counsellor", 403, 403), ("coordinator", 200, 403), ("admin", 200, 200)],
)
async def test_settings_are_for_those_who_may(as_: As, nord: uuid.UUID, who: str | None, read: int, write: int) -> None:
    assert (await as_(who, nord).get(SETTINGS)).status_code == read
    assert (await as_(who, nord).get(f"{SETTINGS}/logo")).status_code == (404 if read == 200 else read)
    assert (await _change(as_, nord, who, sender_name="Nord")).status_code == write
    headers = {"If-Match": (await as_("admin", nord).get(SETTINGS)).headers["ETag"]}
    assert (await as_(who, nord).put(f"{SETTINGS}/logo", json=_logo(), headers=headers)).status_code == write
    headers = {"If-Match": (await as_("admin", nord).get(SETTINGS)).headers["ETag"]}
    assert (await as_(who, nord).delete(f"{SETTINGS}/logo", headers=headers)).status_code == write


async def test_the_sender_address_is_one_and_shown(as_: As, post: Post, nord: uuid.UUID) -> None:
    """D-33: so that a recipient can put it on a whitelist; it stands in every mail."""
    shown = (await as_("admin", nord).get(SETTINGS)).json()
    assert shown["sender_address"] == MAIL_FROM
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    (mail,) = post.catcher.messages(bob.email)
    assert MAIL_FROM in mail["from"]
    assert f"Unsere E-Mails kommen immer von {MAIL_FROM}." in mail["text"]


async def test_a_tenants_mails_look_like_the_tenant(as_: As, post: Post, nord: uuid.UUID) -> None:
    """R-27"""
    fields = {"sender_name": "Beratung Nord", "reply_to": "hallo@nord.example", "colour": "#aa3311"}
    assert (await _change(as_, nord, **fields)).status_code == 200
    version = (await as_("admin", nord).get(SETTINGS)).headers["ETag"]
    await as_("admin", nord).put(f"{SETTINGS}/logo", json=_logo(), headers={"If-Match": version})
    bob = await post.add(nord)
    await post.invite(bob)
    await post.sender.send_due()
    (mail,) = post.catcher.messages(bob.email)
    assert mail["from"] == f"Beratung Nord <{MAIL_FROM}>"
    assert mail["headers"]["Reply-To"] == "hallo@nord.example"
    assert "background-color:#aa3311" in mail["html"]
    assert 'src="cid:logo"' in mail["html"]
    parts = _parts(post.catcher.raw(mail["id"]))
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html", "image/png"]
    assert (parts[2]["Content-ID"], parts[2].get_payload(decode=True)) == ("<logo>", PNG)
    shown = await as_("admin", nord).get(f"{SETTINGS}/logo")
    assert (shown.content, shown.headers["content-type"]) == (PNG, "image/png")


def _parts(raw: bytes) -> list[Message]:
    return [part for part in email.message_from_bytes(raw, policy=default).walk() if not part.is_multipart()]


async def test_another_tenant_keeps_its_own_look(as_: As, post: Post, nord: uuid.UUID) -> None:
    """R-07"""
    globex = uuid.uuid4()
    await _change(as_, nord, sender_name="Beratung Nord")
    shown = (await as_("admin", globex).get(SETTINGS)).json()
    assert (shown["sender_name"], shown["has_logo"]) == (None, False)


async def test_who_changes_says_which_version_was_read(as_: As, nord: uuid.UUID) -> None:
    admin = as_("admin", nord)
    assert (await admin.get(SETTINGS)).headers["ETag"] == '"0"'
    for if_match, status in ((None, 428), ("x", 400), ('"3"', 412), ('"0"', 200), ('"0"', 412), ('"1"', 200)):
        headers = {"If-Match": if_match} if if_match else {}
        answer = await admin.patch(SETTINGS, json={"colour": "#112233"}, headers=headers)
        assert answer.status_code == status, if_match


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"sender_name": "Win at http://evil.example"}, 422, "sender_name_not_plain"),
        ({"sender_name": "a\nBcc: x@y.z"}, 400, "malformed"),
        ({"reply_to": "nobody"}, 400, "malformed"),
        ({"reply_to": "a@b"}, 400, "address_malformed"),
        ({"colour": "red"}, 400, "malformed"),
        ({"colour": "#12345g"}, 400, "malformed"),
        ({"matrix": {"security": {"erased": "all"}}}, 422, "cell_fixed"),
        ({"matrix": {"security": {"active": "everything"}}}, 400, "malformed"),
        ({"nonsense": 1}, 400, "malformed"),
    ],
)
async def test_what_does_not_fit_is_refused(
    as_: As, nord: uuid.UUID, changed: dict[str, Any], status: int, code: str
) -> None:
    answer = await _change(as_, nord, **changed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "logo", [_logo(b"<svg onload=alert(1)>"), _logo(PNG, "image/jpeg"), _logo(PNG + b"x" * 100_000)]
)
async def test_a_logo_is_a_small_picture(as_: As, nord: uuid.UUID, logo: dict[str, str]) -> None:
    answer = await as_("admin", nord).put(f"{SETTINGS}/logo", json=logo, headers={"If-Match": '"0"'})
    assert answer.status_code in (400, 422)


async def test_the_matrix_is_shown_as_it_is_in_force(as_: As, nord: uuid.UUID) -> None:
    """T-07"""
    await _change(as_, nord, matrix={"transactional": {"inactive": "all"}})
    shown = (await as_("admin", nord).get(SETTINGS)).json()
    assert shown["matrix"]["transactional"]["inactive"] == "all"
    assert shown["matrix"]["transactional"]["locked"] == "none"
    assert shown["fixed_columns"] == ["anonymised", "erased"]
