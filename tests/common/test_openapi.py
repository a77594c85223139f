"""The document that an application gives of itself, held against what it really answers."""

import uuid
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import openapi_spec_validator
import pytest
from litestar import Litestar, Response, Router, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, URLEncodedBody

from libs.common.app import CurrentActor, OnceOnly, Session, build_app, problems
from libs.common.auth import AUTHENTICATED, PUBLIC
from libs.common.errors import Conflict, NotFound, TooMany
from libs.common.etags import IfMatch
from libs.common.openapi import Documented
from libs.common.pages import Page
from libs.common.permissions import Permission
from libs.common.text import Line
from tests.conftest import ClientOf, CoreOf, TokenFor

THINGS = "/members/v1/things"


class ThingIn(msgspec.Struct, forbid_unknown_fields=True):
    name: Line
    colour: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")] | None = None
    weight: Annotated[int, msgspec.Meta(ge=3, le=9)] = 3


class ThingOut(msgspec.Struct):
    id: uuid.UUID
    name: str
    version: int


class Counted(msgspec.Struct):
    number: int
    headers: dict[str, str] = {}
    deprecated: bool = False


class NameTaken(Conflict):
    title = "Another thing has this name"


class TooHeavy(Conflict):
    title = "This is too heavy"


@get("/", permission=Permission.MEMBERS_READ)
async def list_things(
    cursor: FromQuery[str | None] = None, limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50
) -> Page[ThingOut]:
    """By name."""
    return Page([], cursor)


@post("/", permission=Permission.MEMBERS_WRITE, responses=problems(NameTaken, TooHeavy, TooMany))
async def add_thing(session: Session, once: OnceOnly, data: JSONBody[ThingIn]) -> Response[ThingOut]:
    if data.name == "taken":
        raise NameTaken
    return Response(ThingOut(uuid.uuid4(), data.name, 1), status_code=201)


@get("/{thing_id:uuid}", permission=AUTHENTICATED)
async def read_thing(actor: CurrentActor, thing_id: FromPath[uuid.UUID]) -> ThingOut:
    raise NotFound


@put("/{thing_id:uuid}", permission=Permission.MEMBERS_WRITE)
async def edit_thing(thing_id: FromPath[uuid.UUID], data: JSONBody[ThingIn], if_match: IfMatch = None) -> ThingOut:
    return ThingOut(thing_id, data.name, 2)


@delete("/{thing_id:uuid}", permission=Permission.MEMBERS_WRITE)
async def remove_thing(thing_id: FromPath[uuid.UUID], if_match: IfMatch = None) -> None: ...


@get("/count", permission=PUBLIC)
async def count_things() -> Counted:
    return Counted(0)


@post("/count", permission=PUBLIC, request_max_body_size=4096)
async def count_large(data: JSONBody[list[str]]) -> Counted:
    return Counted(len(data))


@post("/form", permission=PUBLIC)
async def count_form(data: URLEncodedBody[dict[str, str]]) -> Counted:
    return Counted(len(data))


@get("/tenants", permission=AUTHENTICATED, operator=True)
async def list_tenants() -> Counted:
    return Counted(0)


@pytest.fixture
async def app(core_of: CoreOf) -> Litestar:
    things = [list_things, add_thing, read_thing, edit_thing, remove_thing, count_things, count_large, count_form]
    return build_app(
        await core_of("members"),
        [
            Router(THINGS, route_handlers=things, tags=["Things"]),
            Router("/members/v1/operator", route_handlers=[list_tenants]),
        ],
    )


@pytest.fixture
async def document(app: Litestar, client_of: ClientOf) -> dict[str, Any]:
    answer = await client_of(app).get("/members/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["etag"]
    found: dict[str, Any] = answer.json()
    return found


def _codes(document: dict[str, Any], path: str, method: str) -> dict[str, list[str]]:
    """By status: the codes of the problems that are promised, references followed."""
    found = {}
    for status, answer in document["paths"][path][method]["responses"].items():
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        problem = answer.get("content", {}).get("application/problem+json")
        if problem:
            found[status] = problem["schema"]["properties"]["code"]["enum"]
            assert list(problem["examples"]) == found[status]
    return found


async def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    openapi_spec_validator.validate(document)
    assert document["info"]["title"] == "Control Centre: members"
    assert not any(path in document["paths"] for path in ("/livez", "/metrics", "/members/openapi.json"))


async def test_problems_are_those_that_are_named_and_those_that_follow(document: dict[str, Any]) -> None:
    assert _codes(document, THINGS, "get") == {
        "400": ["malformed"],
        "401": ["unauthenticated"],
        "403": ["forbidden"],
        "503": ["unavailable"],
    }
    assert _codes(document, THINGS, "post") == {
        "400": ["malformed"],
        "401": ["unauthenticated"],
        "403": ["forbidden"],
        "409": ["name_taken", "too_heavy"],
        "413": ["too_large"],
        "415": ["unsupported_media_type"],
        "422": ["idempotency_key_reused"],
        "429": ["too_many"],
        "503": ["unavailable"],
    }
    assert _codes(document, THINGS + "/{thing_id}", "get").keys() == {"400", "401", "404", "503"}
    assert _codes(document, THINGS + "/{thing_id}", "delete").keys() == {
        "400",
        "401",
        "403",
        "404",
        "412",
        "428",
        "503",
    }
    assert _codes(document, THINGS + "/count", "get") == {"400": ["malformed"], "503": ["unavailable"]}


async def test_a_problem_that_stands_in_many_places_is_written_once(document: dict[str, Any]) -> None:
    answer = document["paths"][THINGS]["get"]["responses"]["401"]
    assert answer == {"$ref": "#/components/responses/Unauthenticated"}
    assert "WWW-Authenticate" in document["components"]["responses"]["Unauthenticated"]["headers"]
    assert "Retry-After" in document["components"]["responses"]["Unavailable"]["headers"]
    assert "Retry-After" in document["components"]["responses"]["TooMany"]["headers"]


async def test_who_may_come_in_is_said(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert paths[THINGS]["post"]["security"] == [{"bearer": []}]
    assert paths[THINGS]["post"]["x-permission"] == "members:write"
    assert paths[THINGS + "/{thing_id}"]["get"]["security"] == [{"bearer": []}]
    assert paths[THINGS + "/count"]["get"]["security"] == []
    assert paths["/members/v1/operator/tenants"]["get"]["security"] == [{"operator": []}]
    assert document["components"]["securitySchemes"].keys() == {"bearer", "operator"}


async def test_structs_say_whether_they_take_unknown_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ThingIn"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["ThingOut"]


async def test_names_are_such_that_a_client_can_be_generated(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"].keys() == {"ThingIn", "ThingOut", "PageOfThingOut", "Counted", "Problem"}
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)
    assert {"list_things", "add_thing", "edit_thing"} <= set(ids)
    assert document["paths"][THINGS]["get"]["summary"] == "List things"
    assert "By name." in document["paths"][THINGS]["get"]["description"]
    ref = document["paths"][THINGS]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert ref == "#/components/schemas/PageOfThingOut"


async def test_parameters_cannot_be_null_and_keep_their_limits(document: dict[str, Any]) -> None:
    cursor, limit = document["paths"][THINGS]["get"]["parameters"]
    assert cursor["schema"] == {"type": "string"}
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 200)


async def test_a_resource_with_a_version_has_an_etag(document: dict[str, Any]) -> None:
    assert "ETag" in document["paths"][THINGS]["post"]["responses"]["201"]["headers"]
    assert "headers" not in document["paths"][THINGS]["get"]["responses"]["200"]


async def test_every_schema_has_an_example_that_it_takes(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Counted"]["examples"] == [{"number": 1, "headers": {}, "deprecated": False}]
    assert schemas["ThingIn"]["examples"] == [{"name": "Ada Lovelace", "colour": "#336699", "weight": 3}]
    for name, schema in schemas.items():
        (example,) = schema["examples"]
        jsonschema.validate(example, {"$ref": f"#/components/schemas/{name}", **document})
    for answer in document["components"]["responses"].values():
        content = answer["content"]["application/problem+json"]
        for example in content["examples"].values():
            jsonschema.validate(example["value"], {**content["schema"], "components": document["components"]})


async def test_options_and_405_list_all_methods_of_a_path(app: Litestar, client_of: ClientOf) -> None:
    client = client_of(app)
    answer = await client.options(THINGS)
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    refused = await client.patch(THINGS)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert set(refused.headers["allow"].split(", ")) >= {"GET", "POST", "OPTIONS"}
    assert (await client.options(f"{THINGS}/{uuid.uuid4()}")).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("Application/JSON", 201),
        (None, 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/msgpack", 415),
    ],
)
async def test_a_body_of_another_kind_is_refused(
    app: Litestar, client_of: ClientOf, media_type: str | None, status: int
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await client_of(app).post(f"{THINGS}/count", content=b'["a"]', headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert (answer.json()["code"], answer.json()["taken"]) == ("unsupported_media_type", "application/json")


async def test_a_form_is_taken_where_a_form_is_read(app: Litestar, client_of: ClientOf) -> None:
    client = client_of(app)
    assert (await client.post(f"{THINGS}/form", data={"a": "b"})).json()["number"] == 1
    assert (await client.post(f"{THINGS}/form", json={"a": "b"})).status_code == 415


async def test_a_body_ends_at_the_limit_and_a_handler_may_set_its_own(
    app: Litestar, client_of: ClientOf, token_for: TokenFor
) -> None:
    client = client_of(app)
    assert (await client.post(f"{THINGS}/count", json=["x" * 4000])).status_code == 201
    refused = await client.post(f"{THINGS}/count", json=["x" * 4096])
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    writer = client_of(app, token_for("admin", uuid.uuid4()))
    refused = await writer.post(THINGS, json={"name": "x" * 1024 * 1024})
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")

    async def unannounced() -> Any:
        for _ in range(5):
            yield b"x" * 1000

    assert (await client.post(f"{THINGS}/count", content=unannounced())).status_code == 413


async def test_the_limit_of_a_parameter_is_kept(app: Litestar, client_of: ClientOf, token_for: TokenFor) -> None:
    client = client_of(app, token_for("admin", uuid.uuid4()))
    for limit, status in ((0, 400), (1, 200), (200, 200), (201, 400)):
        assert (await client.get(THINGS, params={"limit": limit})).status_code == status


async def test_the_same_application_gives_the_same_document(app: Litestar, document: dict[str, Any]) -> None:
    assert app.plugins.get(Documented).document(app) == document
