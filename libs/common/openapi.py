"""The API reference as data: OpenAPI 3.1 from the handlers, with what Litestar leaves out.

- Every problem that can be answered is listed with its code and an example: those that a handler names by
  `responses=problems(…)`, and those that follow from what it is (a body, a path parameter, a permission, If-Match).
- Structs that refuse unknown fields say so (`additionalProperties: false`), and every schema has an example.
- OPTIONS lists all methods of a path, not only those of its first handler.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar._openapi.plugin import OpenAPIPlugin
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import License, Schema
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition

from libs.common.auth import AUTHENTICATED, PUBLIC
from libs.common.bodies import media_type_of
from libs.common.errors import (
    AppError,
    Forbidden,
    Malformed,
    NotFound,
    Outdated,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    VersionRequired,
)
from libs.common.examples import add_examples
from libs.common.idempotency import IdempotencyKeyReused

PROBLEM_JSON = "application/problem+json"
_METHODS = ("get", "post", "put", "patch", "delete")

# Problems that follow from a header which a handler reads.
_BY_HEADER: dict[str, tuple[type[AppError], ...]] = {
    "If-Match": (Outdated, VersionRequired),
    "Idempotency-Key": (IdempotencyKeyReused,),
}
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


class Problems(ResponseSpec):
    """The errors of one status that a handler names."""

    def __init__(self, errors: list[type[AppError]]) -> None:
        super().__init__(None, description=errors[0].title, media_type=PROBLEM_JSON)
        self.errors = errors


def also(status: int, shape: type, description: str, **options: Any) -> dict[int, ResponseSpec]:
    """A second way in which an operation succeeds, for its `responses`."""
    return {status: ResponseSpec(shape, generate_examples=False, description=description, **options)}


def problems(*errors: type[AppError]) -> dict[int, ResponseSpec]:
    """What a handler's rules may raise, for its `responses=`; several of one status are listed together."""
    by_status: dict[int, list[type[AppError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {status: Problems(found) for status, found in by_status.items()}


class Documented(InitPlugin, ReceiveRoutePlugin, StructSchemaPlugin):
    """Litestar(plugins=[Documented("members", Problem)], openapi_config=None): serves /{service}/openapi.json.

    problem: the struct of every problem's body.
    """

    def __init__(self, service: str, problem: type[msgspec.Struct]) -> None:
        self._service, self._problem = service, problem
        self._body = b""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        @get("/openapi.json", permission=PUBLIC, sync_to_thread=False)
        def read_openapi(request: Request) -> Response[bytes]:
            if not self._body:
                self._body = msgspec.json.encode(self.document(request.app))
            headers = {"ETag": f'"{hashlib.sha256(self._body).hexdigest()[:16]}"', "Cache-Control": "no-cache"}
            return Response(self._body, media_type="application/json", headers=headers)

        router = Router(f"/{self._service}", route_handlers=[read_openapi], include_in_schema=False)
        app_config.route_handlers.append(router)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Litestar's own OPTIONS answer knows only the handlers that were there when it was made."""
        if not isinstance(route, HTTPRoute):
            return
        handler, _ = route.route_handler_map.get("OPTIONS", (None, None))
        if handler is None or handler.handler_name != "options_handler":
            return
        methods = set(route.methods) | ({"HEAD"} if "GET" in route.methods else set())

        async def answer(_: Request) -> Response[None]:
            return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})

        handler.before_request = answer

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        schema = super().to_openapi_schema(field_definition, schema_creator)
        struct = field_definition.origin or field_definition.annotation
        if struct.__struct_config__.forbid_unknown_fields:
            schema.additional_properties = False
        return schema

    def document(self, app: Litestar) -> dict[str, Any]:
        """The whole OpenAPI document of an application with this plugin."""
        plugin = app.plugins.get(OpenAPIPlugin)
        plugin._openapi_config = OpenAPIConfig(
            title=f"Control Centre: {self._service}",
            version="1",
            use_handler_docstrings=True,
            license=License("Apache-2.0", identifier="Apache-2.0"),
        )
        document = plugin.provide_openapi().to_schema()
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        _, found = msgspec.json.schema_components([self._problem], ref_template="#/components/schemas/{name}")
        schemas.update({**found, "Problem": {**found[self._problem.__name__], "examples": [_example(NotFound)]}})
        shared: dict[str, Any] = {}
        operations = list(_operations(app, document))
        for handler, route, operation in operations:
            _complete(handler, route, operation, shared, schemas)
        _name([operation for _, _, operation in operations])
        components["responses"] = dict(sorted(shared.items()))
        components["securitySchemes"] = {**_SCHEMES, **components.get("securitySchemes", {})}
        add_examples(schemas)
        return _rename(document, schemas)


_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of identity (POST /identity/v1/token), 5 minutes long; or of an API key.",
    },
    "operator": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An operator's token; taken under /operator/ only, where nothing else is.",
    },
}


def _operations(
    app: Litestar, document: dict[str, Any]
) -> Iterable[tuple[HTTPRouteHandler, HTTPRoute, dict[str, Any]]]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        path = document["paths"].get(route.path_format, {})
        for method, (handler, _) in route.route_handler_map.items():
            if method.lower() in path:
                yield handler, route, path[method.lower()]


def _complete(
    handler: HTTPRouteHandler,
    route: HTTPRoute,
    operation: dict[str, Any],
    shared: dict[str, Any],
    schemas: dict[str, Any],
) -> None:
    permission = handler.opt["permission"]
    if handler.summary is None:
        operation["summary"] = handler.handler_name.replace("_", " ").capitalize()
    if permission == PUBLIC:
        operation.setdefault("security", [])
    else:
        operation.setdefault("security", [{"operator" if handler.opt.get("operator") else "bearer": []}])
        if permission != AUTHENTICATED:
            operation["x-permission"] = str(permission)
            described = operation.get("description", "")
            operation["description"] = f"{described}\n\nNeeds the right `{permission}`.".strip()
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _without_null(parameter["schema"])
    responses = operation["responses"]
    if handler.response_description is None:
        responses[str(handler.status_code)]["description"] = HTTPStatus(handler.status_code).phrase
    for status, answer in responses.items():
        if status.startswith("2") and _has_version(answer, schemas):
            etag = {"description": "the version, for If-Match", "schema": {"type": "string"}}
            answer.setdefault("headers", {})["ETag"] = etag
    for status, errors in _errors(handler, route, operation).items():
        responses[str(status)] = _response(status, errors, shared)
    operation["responses"] = dict(sorted(responses.items()))
    _tidy(operation)


def _errors(handler: HTTPRouteHandler, route: HTTPRoute, operation: dict[str, Any]) -> dict[int, list[type[AppError]]]:
    """By status: what the handler names, and what follows from what it is."""
    parameters = operation.get("parameters", [])
    implied: list[type[AppError]] = [Unavailable, Malformed]  # a query can be malformed where none is read
    if handler.opt["permission"] != PUBLIC:
        implied.append(Unauthenticated)
        if handler.opt["permission"] != AUTHENTICATED:
            implied.append(Forbidden)
    if route.path_parameters:
        implied.append(NotFound)
    if media_type_of(handler):
        implied += [TooLarge, UnsupportedMediaType]
    for parameter in parameters:
        implied += _BY_HEADER.get(parameter["name"], ()) if parameter["in"] == "header" else ()
    found: dict[int, list[type[AppError]]] = {}
    for spec in (handler.responses or {}).values():
        for error in spec.errors if isinstance(spec, Problems) else ():
            found.setdefault(error.status, []).append(error)
    for error in implied:
        if error not in found.setdefault(error.status, []):
            found[error.status].append(error)
    return found


def _response(status: int, errors: list[type[AppError]], shared: dict[str, Any]) -> dict[str, Any]:
    """One that stands in many places is written once."""
    codes = [error.code() for error in errors]
    answer: dict[str, Any] = {
        "description": "\n".join(f"`{error.code()}`: {error.title}." for error in errors),
        "content": {
            PROBLEM_JSON: {
                "schema": {"$ref": "#/components/schemas/Problem", "properties": {"code": {"enum": codes}}},
                "examples": {error.code(): {"summary": error.title, "value": _example(error)} for error in errors},
            }
        },
    }
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    if len(errors) > 1 or errors[0].__module__ != AppError.__module__:
        return answer
    shared[errors[0].__name__] = answer
    return {"$ref": f"#/components/responses/{errors[0].__name__}"}


def _example(error: type[AppError]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": f"urn:control-centre:{error.code()}",
        "title": error.title,
        "status": error.status,
        "code": error.code(),
        "instance": "/the/path/asked/for",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    if issubclass(error, Malformed):
        found |= {"field": "name", "errors": [{"field": "name", "message": "Expected `str`, got `int`"}]}
    if error.status in {429, 503}:
        found["retry_after"] = 2
    return found


def _has_version(answer: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """A struct with a version is a mutable resource; its version is its ETag."""
    content = answer.get("content") or {}
    ref = next((kind.get("schema", {}).get("$ref", "") for kind in content.values()), "")
    return "version" in cast(dict[str, Any], schemas.get(ref.rpartition("/")[2], {})).get("properties", {})


def _name(operations: list[dict[str, Any]]) -> None:
    """Operation ids that a generated client can bear: list_tags; with the tag in front where two would be alike."""
    names = [operation["summary"].lower().replace(" ", "_") for operation in operations]
    often = Counter(names)
    for operation, name in zip(operations, names, strict=True):
        if often[name] == 1 and name.isidentifier():
            operation["operationId"] = name


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter may be left out; it cannot be null."""
    told = [option for option in schema.get("oneOf", []) if option.get("type") != "null"]
    if len(told) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "oneOf"}, **told[0]}


def _rename(document: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """PageOfTagOut rather than Page_services.members.tags.schemas.TagOut_."""
    text = msgspec.json.encode(document).decode()
    for name, schema in schemas.items():
        short = schema.get("title", name).replace("[", "Of").replace("]", "").replace(", ", "And")
        if "[" in schema.get("title", "") and short.isidentifier() and short not in schemas:
            text = text.replace(f'schemas/{name}"', f'schemas/{short}"').replace(f'"{name}":', f'"{short}":')
    return cast(dict[str, Any], msgspec.json.decode(text))


def _tidy(operation: dict[str, Any]) -> None:
    """Without what says nothing: defaults written out, empty headers."""
    for part in (operation, *operation.get("parameters", [])):
        for name in ("deprecated", "allowEmptyValue", "allowReserved"):
            if part.get(name) is False:
                del part[name]
    for answer in operation["responses"].values():
        if answer.get("headers") == {}:
            del answer["headers"]
