"""The HTTP application that every service is: one guard, one session per request, problems for every error."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import msgspec
import structlog
from asyncpg.exceptions import PostgresConnectionError, QueryCanceledError
from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.openapi import ResponseSpec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from libs.common import health, openapi
from libs.common.auth import require_permission, require_stated_permissions
from libs.common.bodies import require_media_type, require_plain_query
from libs.common.bus import Bus
from libs.common.db import Database
from libs.common.errors import AppError, Malformed, TooLarge, Unavailable
from libs.common.idempotency import Once, Replayed, provide_once
from libs.common.request_context import BODY_LIMIT, RequestContext
from libs.common.revocation import Revocations
from libs.common.tokens import Actor, TokenVerifier
from libs.common.traces import current_trace_id

PROBLEM_JSON = "application/problem+json"
_log = structlog.get_logger()

# What a handler asks for, by these names: session, actor, once.
Session = NamedDependency[AsyncSession]
CurrentActor = NamedDependency[Actor]
OnceOnly = NamedDependency[Once]

# Too many at once, a lock that was not to be had, a part that restarts: all pass, none is the caller's fault.
_PASSING = {"40001", "40P01", "55P03", "57014", "53300", "57P01", "57P02", "57P03", "08000", "08003", "08006", "25P03"}


class Problem(msgspec.Struct):
    """RFC 9457, plus the code that clients switch on, the trace to quote, and the error's own parameters."""

    type: str
    title: str
    status: int
    code: str
    instance: str
    trace_id: str


def problems(*errors: type[AppError]) -> dict[int, ResponseSpec]:
    """What a handler's rules may raise, for the API reference."""
    return openapi.problems(*errors)


class Core(msgspec.Struct, frozen=True):
    """What every application stands on; tests bring their own."""

    service: str
    database: Database
    verifier: TokenVerifier
    revocations: Revocations
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    """Asked by /readyz, by name; raises when the part is not there."""
    told: Mapping[str, Callable[[], Awaitable[None]]] = msgspec.field(default_factory=dict)
    """The same for parts that only some requests need: /readyz names them and stays ready."""
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = ()
    trusted_proxies: str = "127.0.0.1/32,::1/128"
    bus: Bus | None = None
    """For the few who ask another service (rpc); events go through the outbox."""


def build_app(core: Core, routers: Sequence[Router], *, state: Mapping[str, Any] | None = None) -> Litestar:
    """Put a service together. Refuses to start if a handler states no permission."""

    async def provide_session(actor: NamedDependency[Actor]) -> AsyncIterator[AsyncSession]:
        async with core.database.session(cast(Any, actor.tenant_id)) as session:
            yield session

    heart = health.Heart()
    app = Litestar(
        route_handlers=[*routers, *health.routes(core.service, core.checks, heart=heart, told=core.told)],
        guards=[require_permission, require_media_type, require_plain_query],
        dependencies={
            "actor": Provide(_provide_actor, sync_to_thread=False),
            "session": Provide(provide_session),
            "once": Provide(provide_once),
        },
        exception_handlers={
            AppError: _app_error,
            Replayed: _replayed,
            HTTPException: _http_error,
            SerializationException: _not_readable,
            UnicodeDecodeError: _not_readable,
            Exception: _unexpected,
        },
        openapi_config=None,
        plugins=[openapi.Documented(core.service, Problem)],
        request_max_body_size=BODY_LIMIT,
        lifespan=[*core.lifespan, heart.running],
        state=State(
            {"database": core.database, "verifier": core.verifier, "revocations": core.revocations, **(state or {})}
        ),
        logging_config=None,
        pdb_on_exception=False,
    )
    require_stated_permissions(app)
    # Around the router, so that a path that no handler takes is surrounded too.
    app.asgi_handler = RequestContext(app.asgi_handler, core.service, core.trusted_proxies)
    return app


def _provide_actor(request: Request) -> Actor:
    return cast(Actor, request.scope["user"])


def _problem(
    request: Request,
    status: int,
    title: str,
    code: str,
    params: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> Response[bytes]:
    problem = Problem(
        f"urn:control-centre:{code}", title, status, code, instance=request.url.path, trace_id=current_trace_id()
    )
    body = msgspec.json.encode(msgspec.structs.asdict(problem) | dict(params))
    return Response(body, status_code=status, media_type=PROBLEM_JSON, headers=dict(headers or {}))


def _app_error(request: Request, error: AppError) -> Response[bytes]:
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after" in error.params:
        headers["Retry-After"] = str(error.params["retry_after"])
    return _problem(request, error.status, error.title, error.code(), error.params, headers)


def _replayed(_: Request, replayed: Replayed) -> Response[bytes]:
    return replayed.response()


def _http_error(request: Request, error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals, in our words."""
    if isinstance(error.__cause__, msgspec.ValidationError) and not error.extra:
        # A field that has a dependency's name: Litestar takes the caller's mistake for ours.
        message = str(error.__cause__).replace("$.data.", "$.")
        return _app_error(request, Malformed(**_fields(ValidationException(message))))
    if isinstance(error, ValidationException) or error.status_code == 400:
        return _app_error(request, Malformed(**_fields(error)))
    if error.status_code == 413:
        return _app_error(request, TooLarge())
    codes = {404: "not_found", 405: "method_not_allowed", 415: "unsupported_media_type"}
    code = codes.get(error.status_code, "http_error")
    title = "There is no such thing" if error.status_code == 404 else error.detail
    return _problem(request, error.status_code, title, code, {}, error.headers)


def _fields(error: HTTPException) -> dict[str, object]:
    """The name of the field and what is wrong with it, from msgspec's and Litestar's messages."""
    extra = error.extra if isinstance(error.extra, list) else []
    found = [
        {
            "field": _field_of(str(item.get("key") or ""), str(item.get("message", ""))),
            "message": str(item.get("message", "")),
        }
        for item in extra
        if isinstance(item, dict)
    ]
    if not found:
        found = [{"field": _field_in(error.detail), "message": error.detail}]
    return {"field": found[0]["field"], "errors": found}


def _field_of(key: str, message: str) -> str:
    """Litestar calls the whole body `data`; where a field of it is unknown, the message says which."""
    unknown = re.search(r"unknown field `([^`]+)`", message)
    return unknown.group(1) if unknown else key or _field_in(message)


def _field_in(message: str) -> str:
    named = re.search(r"(?:field `|at `\$\.?)([^`]+)`", message)
    return named.group(1) if named else "body"


def _not_readable(request: Request, error: SerializationException | UnicodeDecodeError) -> Response[bytes]:
    return _app_error(request, Malformed(field="body", message=str(error)))


def _unexpected(request: Request, error: Exception) -> Response[bytes]:
    return _app_error(request, unexpected(error))


class Internal(AppError):
    """A defect of ours. Never raised: it is what the caller is told."""


def unexpected(error: Exception) -> AppError:
    """What the caller is told of an error that no rule has raised: that it passes, or, once it is logged, no more."""
    if _passes(error):
        _log.warning("part_unavailable", error=type(error).__name__)
        return Unavailable(retry_after=2)
    _log.exception("unexpected_error", exc_info=error)
    return Internal()


def _passes(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _PASSING
    return isinstance(
        error, PoolTimeout | ConnectionError | PostgresConnectionError | QueryCanceledError | TimeoutError | OSError
    )
