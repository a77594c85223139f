"""C-*/D-13, D-14, R-27: a tenant's own texts: drafted, proven, published, compared, rolled back."""

import uuid
from typing import Any

import pytest
from sqlalchemy import select

from libs.common.changes import Audit
from services.notifier.templates import layout
from services.notifier.templates.catalog import KINDS
from tests.notifier.conftest import As
from tests.notifier.post import Post

TEMPLATES = "/notifier/v1/templates"
INVITATION = f"{TEMPLATES}/invitation/de/versions"
TEXT = {"subject": "Komm vorbei", "body": "Hallo {{ name }},\n\n{{ action }}\n\nBis bald!", "action_label": "Hin da"}


async def _draft(as_: As, tenant: uuid.UUID, **changed: str) -> int:
    answer = await as_("admin", tenant).post(INVITATION, json={**TEXT, **changed})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["number"])


async def _publish(as_: As, tenant: uuid.UUID, number: int) -> None:
    assert (await as_("admin", tenant).post(f"{INVITATION}/{number}/publish")).status_code == 200


async def _mail(post: Post, tenant: uuid.UUID, **fields: Any) -> dict[str, Any]:
    bob = await post.add(tenant)
    await post.invite(bob, **fields)
    await post.sender.send_due()
    return {**post.catcher.messages(bob.email)[0], "version": (await post.message(bob)).template_version}


@pytest.mark.parametrize(
    ("who", "read", "write"),
    [(None, 401, 401), ("member", 403, 403), ("counsellor", 403, 403), ("coordinator", 200, 403), ("admin", 200, 201)],
)
async def test_templates_are_for_those_who_may(
    as_: As, nord: uuid.UUID, who: str | None, read: int, write: int
) -> None:
    number, caller = await _draft(as_, nord), as_(who, nord)
    for path in (TEMPLATES, INVITATION, f"{INVITATION}/{number}", f"{INVITATION}/{number}/preview"):
        assert (await caller.get(path)).status_code == read
    assert (await caller.get(f"{INVITATION}/compare", params={"old": 0, "new": number})).status_code == read
    assert (await caller.post(INVITATION, json=TEXT)).status_code == write
    allowed = write == 201
    preview = await caller.post(f"{TEMPLATES}/invitation/de/preview", json=TEXT)
    assert preview.status_code == (200 if allowed else write)
    match = {"If-Match": '"1"'}
    rewritten = await caller.put(f"{INVITATION}/{number}", json=TEXT, headers=match)
    assert rewritten.status_code == (200 if allowed else write)
    assert (await caller.post(f"{INVITATION}/{number}/test")).status_code == (409 if allowed else write)
    gone = await caller.delete(f"{INVITATION}/{number}", headers={"If-Match": '"2"'})
    assert gone.status_code == (204 if allowed else write)
    assert (await caller.post(f"{INVITATION}/0/publish")).status_code == (200 if allowed else write)


@pytest.mark.parametrize("field", ["subject", "body", "action_label"])
@pytest.mark.parametrize("mark", [layout.CODE, layout.ACTION])
async def test_no_text_can_ask_for_the_links_code(as_: As, nord: uuid.UUID, field: str, mark: str) -> None:
    """R-07: what stands for the code in a stored mail is put in by the product alone; `https://evil.example/?<code>`
    would lead whoever clicks it, and her invitation, to somebody else.
    """
    text = {**TEXT, field: f"{TEXT[field]} https://evil.example/?{mark}"}
    refused = await as_("admin", nord).post(INVITATION, json=text)
    assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_no_text_can_ask_for_the_links_code_by_an_escape(as_: As, nord: uuid.UUID) -> None:
    body = TEXT["body"] + r"https://evil.example/?{{ name|default('\ue000code\ue001') }}"
    refused = await as_("admin", nord).post(INVITATION, json={**TEXT, "body": body})
    assert (refused.status_code, refused.json()["line"]) == (422, 5)


async def test_another_tenants_versions_do_not_exist(as_: As, nord: uuid.UUID) -> None:
    """R-07"""
    number, globex = await _draft(as_, nord), as_("admin", uuid.uuid4())
    assert [one["number"] for one in (await globex.get(INVITATION)).json()] == [0]
    path = f"{INVITATION}/{number}"
    for answer in (
        await globex.get(path),
        await globex.put(path, json=TEXT, headers={"If-Match": '"1"'}),
        await globex.delete(path, headers={"If-Match": '"1"'}),
        await globex.post(f"{path}/publish"),
        await globex.post(f"{path}/test"),
        await globex.get(f"{path}/preview"),
        await globex.get(f"{INVITATION}/compare", params={"old": 0, "new": number}),
    ):
        assert answer.status_code == 404


async def test_a_published_text_is_what_people_get_and_the_log_names_its_version(
    as_: As, post: Post, nord: uuid.UUID
) -> None:
    """D-13: the content of the invitation can be adapted."""
    number = await _draft(as_, nord)
    assert (await _mail(post, nord))["version"] == "shipped 1"  # a draft changes nothing
    await _publish(as_, nord, number)
    mail = await _mail(post, nord)
    assert (mail["subject"], mail["version"]) == ("Komm vorbei", str(number))
    assert "Hallo Kim Vogt,\n\nHin da:\nhttp://control-centre.test/t/nord/invitation/" in mail["text"].replace("\r", "")
    english = await _mail(post, nord, locale="en")
    assert english["version"] == "shipped 1"


async def test_a_published_version_never_changes(as_: As, nord: uuid.UUID) -> None:
    number, admin = await _draft(as_, nord), as_("admin", nord)
    await _publish(as_, nord, number)
    for state in ("published", "retired"):
        version = await admin.get(f"{INVITATION}/{number}")
        assert version.json()["state"] == state
        match = {"If-Match": version.headers["ETag"]}
        refused = [
            await admin.put(f"{INVITATION}/{number}", json=TEXT, headers=match),
            await admin.delete(f"{INVITATION}/{number}", headers=match),
        ]
        assert [(one.status_code, one.json()["code"]) for one in refused] == [(409, "version_published")] * 2
        await _publish(as_, nord, await _draft(as_, nord))


async def test_rolling_back_brings_the_older_version_again(as_: As, post: Post, nord: uuid.UUID) -> None:
    first, second = await _draft(as_, nord), await _draft(as_, nord, subject="Neuer")
    await _publish(as_, nord, first)
    await _publish(as_, nord, second)
    assert (await _mail(post, nord))["subject"] == "Neuer"
    await _publish(as_, nord, first)
    assert (await _mail(post, nord))["version"] == str(first)
    await _publish(as_, nord, 0)
    assert (await _mail(post, nord))["version"] == "shipped 1"
    states = {one["number"]: one["state"] for one in (await as_("admin", nord).get(INVITATION)).json()}
    assert states == {second: "retired", first: "retired", 0: "shipped"}
    async with post.database.session(nord) as session:
        noted = (await session.scalars(select(Audit.type).where(Audit.type.startswith("notifier.template")))).all()
    assert noted.count("notifier.template.published") == 3
    assert noted.count("notifier.template.retired") == 1


async def test_versions_are_compared_line_by_line(as_: As, nord: uuid.UUID) -> None:
    first, second = await _draft(as_, nord), await _draft(as_, nord, body=TEXT["body"].replace("bald", "morgen"))
    compared = await as_("admin", nord).get(f"{INVITATION}/compare", params={"old": first, "new": second})
    assert compared.json()["subject"] == compared.json()["action_label"] == []
    assert compared.json()["body"][-2:] == ["-Bis bald!", "+Bis morgen!"]


async def test_a_draft_is_edited_by_who_has_read_it(as_: As, nord: uuid.UUID) -> None:
    number, admin = await _draft(as_, nord), as_("admin", nord)
    for if_match, status in ((None, 428), ('"7"', 412), ('"1"', 200), ('"1"', 412)):
        headers = {"If-Match": if_match} if if_match else {}
        answer = await admin.put(f"{INVITATION}/{number}", json={**TEXT, "subject": "Anders"}, headers=headers)
        assert answer.status_code == status
    assert (await admin.get(f"{INVITATION}/{number}")).json()["subject"] == "Anders"


@pytest.mark.parametrize("locale", ["de", "en"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"template_test"}))
async def test_every_kind_is_previewed_with_sample_data_in_each_language(
    as_: As, nord: uuid.UUID, kind: str, locale: str
) -> None:
    seen = (await as_("admin", nord).get(f"{TEMPLATES}/{kind}/{locale}/versions/0/preview")).json()
    assert seen["subject"]
    assert "{{" not in seen["text"] + seen["html"]
    assert "\ue000" not in seen["text"] + seen["html"]
    assert f'<html lang="{locale}"' in seen["html"]
    assert ("http://control-centre.test/…" in seen["text"]) == ("action" in KINDS[kind].variables)


async def test_a_test_mail_goes_to_the_caller_and_to_nobody_else(as_: As, post: Post, nord: uuid.UUID) -> None:
    ada, number = await post.active(nord), await _draft(as_, nord)
    caller = as_("admin", nord, id=ada.id)
    answer = await caller.post(f"{INVITATION}/{number}/test")
    assert answer.status_code == 202
    await post.sender.send_due()
    (mail,) = post.catcher.messages(ada.email)
    assert mail["subject"] == "[Test] Komm vorbei"
    assert "Hallo Kim Vogt," in mail["text"]
    assert "invitation/" not in mail["text"]
    message = await post.message(ada)
    assert (str(message.id), message.template, message.state) == (answer.json()["message_id"], "template_test", "sent")


async def test_who_has_no_address_gets_no_test_mail(as_: As, nord: uuid.UUID) -> None:
    answer = await as_("admin", nord).post(f"{INVITATION}/0/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "caller_has_no_address")


@pytest.mark.parametrize(
    ("changed", "field", "line", "words"),
    [
        ({"body": "Hallo"}, "body", 1, "missing"),
        ({"body": "a\nb\n{% if name %}\n{{ action }}\n{% endif %}"}, "body", 4, "not come out in every case"),
        ({"body": "{{ action }}\n\n{{ action }}"}, "body", 3, "2 times"),
        ({"body": "{{ action }}\n{{ secret }}"}, "body", 2, "there is no secret"),
        ({"body": "{{ action }}\n\n{{ name.x }}"}, "body", 3, "not part of the language"),
        ({"subject": "Für {{ name }}"}, "subject", 1, "there is no name"),
        ({"action_label": ""}, "action_label", 1, "missing"),
    ],
)
async def test_a_text_that_would_fail_people_is_refused_with_the_line(
    as_: As, nord: uuid.UUID, changed: dict[str, str], field: str, line: int, words: str
) -> None:
    """D-14: the link cannot be lost, hidden or doubled."""
    body = {key: value for key, value in {**TEXT, **changed}.items() if value}
    number = await _draft(as_, nord)
    for answer in (
        await as_("admin", nord).post(INVITATION, json=body),
        await as_("admin", nord).put(f"{INVITATION}/{number}", json=body, headers={"If-Match": '"1"'}),
        await as_("admin", nord).post(f"{TEMPLATES}/invitation/de/preview", json=body),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "template_invalid")
        assert (answer.json()["field"], answer.json()["line"]) == (field, line)
        assert words in answer.json()["message"]


async def test_a_persons_mail_is_no_tenants_to_change(as_: As, nord: uuid.UUID) -> None:
    answer = await as_("admin", nord).post(f"{TEMPLATES}/password_reset/de/versions", json=TEXT)
    assert (answer.status_code, answer.json()["code"]) == (422, "template_fixed")


@pytest.mark.parametrize("path", ["nonsense/de", "invitation/fr", "template_test/de"])
async def test_there_is_no_other_kind_or_language(as_: As, nord: uuid.UUID, path: str) -> None:
    assert (await as_("admin", nord).get(f"{TEMPLATES}/{path}/versions")).status_code in (400, 404)


async def test_the_list_says_what_a_text_may_name_and_must(as_: As, nord: uuid.UUID) -> None:
    number = await _draft(as_, nord)
    await _publish(as_, nord, number)
    kinds = {(one["template"], one["locale"]): one for one in (await as_("admin", nord).get(TEMPLATES)).json()}
    assert len(kinds) == 2 * (len(KINDS) - 1)
    german = kinds["invitation", "de"]
    assert (german["title"], german["number"], german["required"]) == ("Einladung", number, ["action"])
    assert german["variables"] == {"tenant_name": "name", "name": "name", "action": "action", "deadline": "time"}
    assert kinds["invitation", "en"]["number"] == 0
    assert kinds["direct_message", "en"]["subject_variables"] == ["subject"]


async def test_two_who_draft_at_once_get_two_numbers(as_: As, nord: uuid.UUID) -> None:
    import asyncio

    numbers = await asyncio.gather(*(_draft(as_, nord) for _ in range(6)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


async def test_the_recipients_language_decides(post: Post, nord: uuid.UUID) -> None:
    """R-27: invitation, person, tenant, system; what there are no words for is skipped."""
    english = uuid.uuid4()
    await post.open_tenant(english, locale="en")
    for tenant, wanted, expected in (
        (nord, "en", "Your invitation"),
        (nord, "en-GB", "Your invitation"),
        (english, "de_AT", "Ihre Einladung"),
        (nord, "fr", "Ihre Einladung"),
        (english, "fr", "Your invitation"),
        (uuid.uuid4(), "fr", "Your invitation"),
    ):
        assert (await _mail(post, tenant, locale=wanted))["subject"] == expected
    bob = await post.add(english, locale="de")
    await post.invite(bob, locale="fr")
    assert (await post.message(bob)).locale == "de"  # the person's comes before the tenant's
