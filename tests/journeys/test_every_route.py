"""Every route of every service, found in the API reference: with no token, with too few rights, with a token of the
other kind, and with the ids of another tenant. A route that is added is swept without a line here.
"""

import copy
import uuid
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

import httpx
import msgspec
import pytest

from libs.common.events.subjects import SERVICES
from libs.common.permissions import GRANTED_BY_GROUP, GRANTED_BY_ROLE, Group, Role
from libs.common.stack.visitor import Visitor
from tests.journeys.world import Tenant, World

_METHODS = ("get", "post", "put", "patch", "delete")


class Operation(msgspec.Struct, frozen=True):
    method: str
    path: str
    security: str | None
    """bearer, operator, or None for a public door."""
    permission: str | None
    body: Any
    media_type: str | None
    words: Mapping[str, str]
    """What the path wants beside ids: a number, a locale, a name of ours."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names_something(self) -> bool:
        """A thing of some tenant's, by its id: not only a number, a locale or a kind, which every tenant has."""
        return {name for _, name, _, _ in Formatter().parse(self.path) if name} > set(self.words)

    def call(self, visitor: Visitor, ids: Mapping[str, str]) -> httpx.Response:
        options: dict[str, Any] = {"headers": {"If-Match": '"1"'}}
        if self.media_type == "application/json":
            options["json"] = _with_ids(self.body, ids)
        elif self.media_type == "multipart/form-data":
            options["files"] = {"file": ("a.txt", b"text")}
            options["data"] = {"member_id": ids["member_id"], "name": "a.txt"}
        elif self.media_type:
            options["content"] = b"text"
        return visitor.call(self.method, self.path.format_map(_Ids({**self.words, **ids})), **options)


class _Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return str(uuid.uuid4())


def _with_ids(body: Any, ids: Mapping[str, str]) -> Any:
    """The example with its ids replaced by these, by name."""
    if isinstance(body, dict):
        changed: dict[str, Any] = {}
        for name, value in body.items():
            if name == "ids":
                changed[name] = [ids["message_id" if "message" in str(body) else "member_id"]]
            elif name == "filter":
                continue  # ids or a filter
            else:
                changed[name] = ids.get(name, value) if name.endswith("_id") else _with_ids(value, ids)
        return changed
    return body


def _operations(visitor: Visitor) -> Iterator[Operation]:
    for service in SERVICES:
        document = visitor.ask("GET", f"/{service}/openapi.json")
        for path, item in document["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield _operation(document, method, path, item[method])


def _operation(document: Any, method: str, path: str, said: Any) -> Operation:
    schemes = [name for entry in said.get("security", []) for name in entry]
    content = said.get("requestBody", {}).get("content", {})
    media_type, body = next(iter(content), None), None
    if media_type:
        schema = content[media_type]["schema"]
        reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("oneOf", []) if "$ref" in one), None)
        if reference:
            [body, *_] = document["components"]["schemas"][reference.rsplit("/", 1)[1]].get("examples", [{}])
    security = schemes[0] if schemes else None
    words = {one["name"]: _word(one) for one in said.get("parameters", []) if one["in"] == "path" and _word(one)}
    return Operation(method.upper(), path, security, said.get("x-permission"), copy.deepcopy(body), media_type, words)


def _word(parameter: Any) -> str:
    """Empty for an id."""
    schema = parameter["schema"]
    if schema.get("type") in ("integer", "number"):
        return "1"
    if schema.get("enum"):
        return str(schema["enum"][0])
    return "" if schema.get("format") == "uuid" or parameter["name"].endswith("_id") else "de"


@pytest.fixture(scope="module")
def operations(world: World) -> list[Operation]:
    return list(_operations(world.visitor()))


@pytest.fixture(scope="module")
def acme(world: World) -> Tenant:
    return world.tenant("acme", seats=20)


@pytest.fixture(scope="module")
def globex(world: World) -> Tenant:
    return world.tenant("globex", seats=20)


@pytest.fixture(scope="module")
def ids(world: World, acme: Tenant) -> dict[str, str]:
    """Real things of acme's, one of each kind that a route may name."""
    bob, _ = world.bring_in(acme, "bob", permission_groups=["counsellor"])
    message = acme.owner.wait(
        lambda: acme.owner.ask("GET", f"/notifier/v1/messages?member_id={bob['id']}")["items"], "the message"
    )[0]
    session = acme.owner.ask("GET", "/identity/v1/sessions")
    job = acme.owner.ask("POST", "/members/v1/bulk/invite", {"ids": [bob["id"]]})
    upload = acme.owner.ask(
        "POST", "/documents/v1/uploads", {"member_id": bob["id"], "name": "a.txt", "size": 4, "sha256": "0" * 64}
    )
    document = acme.owner.call(
        "POST", "/documents/v1/documents", files={"file": ("a.txt", b"text")}, data={"member_id": bob["id"]}
    )
    assert document.status_code in (201, 202), document.text
    suppression = acme.owner.ask(
        "POST", "/notifier/v1/suppressions", {"email": f"gone@{acme.slug}.example.org", "detail": "asked for"}
    )
    sessions = session["items"] if isinstance(session, dict) else session
    return {
        "member_id": bob["id"],
        "successor_id": bob["id"],
        "message_id": message["id"],
        "session_id": sessions[0]["id"],
        "job_id": job["id"],
        "upload_id": upload["id"],
        "document_id": document.json()["id"],
        "suppression_id": suppression["id"],
        "tenant_id": acme.id,
    }


def _state(tenant: Tenant) -> str:
    """What a tenant's owner sees of it, without what changes by itself."""
    rows = [
        tenant.owner.ask("GET", path)
        for path in (
            "/members/v1/members?column=added&column=invited&column=active&column=revoked&column=locked",
            "/members/v1/tenant",
            "/members/v1/seats",
            "/documents/v1/settings",
            "/notifier/v1/suppressions",
        )
    ]
    for row in rows[0]["items"]:
        row.pop("last_login_at")
        row.pop("invitation")
    return str(rows)


def test_nobody_comes_in_without_a_token_or_with_one_of_the_other_kind(
    world: World, operations: list[Operation], acme: Tenant, ids: dict[str, str]
) -> None:
    """R-07: anonymous is 401 everywhere but at the public doors; operators' and members' tokens are not mixed."""
    assert len(operations) > 90
    anonymous = world.visitor()
    for operation in operations:
        if operation.security is None:
            continue
        assert operation.call(anonymous, ids).status_code == 401, operation
        other = acme.owner if operation.security == "operator" else world.operator.visitor
        assert operation.call(other, ids).status_code == 401, operation


@pytest.mark.parametrize("who", [Role.MEMBER, *Group, Role.ADMIN])
def test_whoever_lacks_the_right_is_refused(
    world: World, operations: list[Operation], acme: Tenant, ids: dict[str, str], who: Role | Group
) -> None:
    """A-41, E-16: for each role and permission group, 403 at every route whose right it does not have."""
    preset = {"roles": [who]} if who in list(Role) else {"permission_groups": [who]}
    _, somebody = world.bring_in(acme, f"{who}-{uuid.uuid4().hex[:4]}", **preset)
    given = GRANTED_BY_ROLE[Role(who)] if who in list(Role) else GRANTED_BY_GROUP[Group(who)]
    assert set(somebody.ask("GET", "/members/v1/me")["rights"]) == {str(right) for right in given}
    for operation in operations:
        if operation.permission and operation.permission not in given:
            assert operation.call(somebody, ids).status_code == 403, operation


def test_the_other_tenants_ids_are_like_ids_that_never_were(
    world: World, operations: list[Operation], acme: Tenant, globex: Tenant, ids: dict[str, str]
) -> None:
    """R-07: with every role of globex, each id of acme gets the very answer of a random one, and nothing of acme
    changes.
    """
    before = _state(acme)
    _, admin = world.bring_in(globex, "admin", roles=["admin"])
    _, counsellor = world.bring_in(globex, "counsellor", permission_groups=["counsellor"])
    for operation in operations:
        if operation.security != "bearer" or not operation.names_something:
            continue
        for stranger in (globex.owner, admin, counsellor):
            answer = operation.call(stranger, ids)
            nothing = operation.call(stranger, {name: _of_the_same_time(id) for name, id in ids.items()})
            assert 400 <= answer.status_code < 500, (operation, answer.text)
            assert _told(answer) == _told(nothing), operation
            if operation.permission is None or operation.permission in _rights(stranger):
                assert answer.status_code in (404, 409), (operation, answer.text)
    assert _state(acme) == before


def test_ids_of_another_tenant_in_a_body_reach_nothing(
    operations: list[Operation], acme: Tenant, globex: Tenant, ids: dict[str, str]
) -> None:
    """R-07: neither a bulk command nor an upload can name somebody else's people."""
    before = _state(acme)
    for operation in operations:
        if operation.security == "bearer" and "{" not in operation.path and operation.body is not None:
            if operation.path == "/members/v1/tenant" or operation.path.endswith("/settings"):
                continue  # one's own tenant; there is no id in it
            answer = operation.call(globex.owner, ids)
            assert answer.status_code < 500, (operation, answer.text)
            assert acme.slug not in answer.text, operation
    assert _state(acme) == before


def _of_the_same_time(id: str) -> str:
    """An id that nobody has, made in the same millisecond: ids tell their time (UUIDv7), and nothing else."""
    return id[:15] + str(uuid.uuid4())[15:]


def _told(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    if body["code"] == "member_not_known_yet":  # said of any id that was made just now, there or not
        return 404, "not_found"
    return answer.status_code, body["code"]


def _rights(visitor: Visitor) -> set[str]:
    return set(visitor.ask("GET", "/members/v1/me")["rights"])
