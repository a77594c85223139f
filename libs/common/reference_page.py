"""The reference page of the API: one page of HTML from the services' OpenAPI documents, without any script.

`router(public_url)` serves it at /docs from whatever the services behind the public origin say of themselves; a service
that is away is left out. The one style on the page is allowed by its hash, nothing else is.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import jinja2
from litestar import Response, Router, get
from markupsafe import Markup, escape

from libs.common.auth import PUBLIC
from libs.common.examples import example
from libs.common.http_client import Rules, http_client

_HERE = Path(__file__).parent
_CSS = (_HERE / "reference_page.css").read_text()
_KEPT = 60.0
_METHODS = ("get", "post", "put", "patch", "delete")
_LIMITS = [
    ("minLength", "at least"),
    ("maxLength", "at most"),
    ("minimum", "from"),
    ("maximum", "to"),
    ("minItems", "at least"),
    ("maxItems", "at most"),
    ("pattern", "like"),
]

CSP = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def router(public_url: str, services: Sequence[str], rules: Rules | None = None) -> Router:
    """GET /docs; the documents are fetched again when they are older than a minute."""
    addresses = [f"{public_url.rstrip('/')}/{service}/openapi.json" for service in services]
    rules = rules or Rules(trusted=addresses)
    read: dict[str, dict[str, Any]] = {}
    until = 0.0

    @get("/docs", permission=PUBLIC)
    async def read_reference() -> Response[str]:
        nonlocal until
        if len(read) < len(addresses) or time.monotonic() > until:
            async with http_client(rules) as client:
                found = await asyncio.gather(*(_fetch(client, address) for address in addresses))
            read.update({address: document for address, document in zip(addresses, found, strict=True) if document})
            until = time.monotonic() + _KEPT
        page = render_reference([read[address] for address in addresses if address in read])
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": CSP})

    return Router("/", route_handlers=[read_reference], include_in_schema=False)


async def _fetch(client: httpx.AsyncClient, address: str) -> dict[str, Any] | None:
    try:
        answer = await client.get(address)
        return cast(dict[str, Any], answer.json()) if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None


def render_reference(documents: Sequence[Mapping[str, Any]]) -> str:
    """documents: as at /{service}/openapi.json, in the order in which they are to appear."""
    services = [_Service(document) for document in documents]
    return _page.render(services=services, css=Markup(_CSS), limit_words=_LIMITS, kind=_kind)  # noqa: S704 our own file


class _Service:
    """A document in the order in which it is read."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        components = document.get("components", {})
        self._schemas: dict[str, Any] = components.get("schemas", {})
        self._responses: dict[str, Any] = components.get("responses", {})
        self.title = document["info"]["title"]
        self.description = document["info"].get("description", "")
        self.anchor = _slug(self.title.rpartition(":")[2])
        self.schemas = sorted(self._schemas.items())
        self.groups = self._group(document.get("paths", {}))

    def example(self, schema: Mapping[str, Any]) -> Any:
        found = example(schema, self._schemas)
        return found if isinstance(found, dict | list) else None

    def _group(self, paths: Mapping[str, Any]) -> list[dict[str, Any]]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for path, item in paths.items():
            for method in _METHODS:
                if method in item:
                    tag = (item[method].get("tags") or ["Other"])[0]
                    groups.setdefault(tag, []).append(self._operation(path, method, item[method]))
        return [
            {"name": name, "anchor": f"{self.anchor}-{_slug(name)}", "operations": operations}
            for name, operations in sorted(groups.items())
        ]

    def _operation(self, path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
        security = operation.get("security", [])
        who = "public" if not security else operation.get("x-permission") or "operator" * ("operator" in security[0])
        return {
            "path": path,
            "method": method,
            "who": who or "any member",
            "anchor": f"{self.anchor}-{_slug(operation.get('operationId', method + path))}",
            "summary": operation.get("summary", ""),
            "description": operation.get("description", ""),
            "parameters": operation.get("parameters", []),
            "bodies": list(operation.get("requestBody", {}).get("content", {}).items()),
            "answers": [(status, self._answer(answer)) for status, answer in operation.get("responses", {}).items()],
        }

    def _answer(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        if "$ref" in answer:
            answer = self._responses[_name_of(answer)]
        content = answer.get("content", {})
        problem = content.get("application/problem+json", {})
        return {
            "description": answer.get("description", ""),
            "problems": list(problem.get("examples", {}).items()),
            "contents": [(media, found) for media, found in content.items() if media != "application/problem+json"],
        }


def _kind(anchor: str, schema: Mapping[str, Any]) -> Markup:
    """What a value is, in words; named schemas are links."""
    if "$ref" in schema:
        name = _name_of(schema)
        return Markup('<a href="#{}-schema-{}">{}</a>').format(anchor, name, name)
    for key, word in (("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")):
        if key in schema:
            return Markup(word).join(_kind(anchor, option) for option in schema[key])  # noqa: S704 a word of ours
    if "const" in schema or "enum" in schema:
        values: Iterable[Any] = schema.get("enum", [schema.get("const")])
        return Markup(", ").join(Markup("<code>{}</code>").format(value) for value in values)
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return Markup(" or ").join(_kind(anchor, {**schema, "type": one}) for one in kind)
    if kind == "array":
        return Markup("list of {}").format(_kind(anchor, schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(_kind(anchor, schema["additionalProperties"]))
    return escape(schema.get("format", kind))


def _words(text: str) -> Markup:
    """Plain text in which `this` is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 escaped the line before


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _name_of(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_environment = jinja2.Environment(autoescape=True, trim_blocks=True)
_environment.filters.update(words=_words, pretty=_pretty)
_page = _environment.from_string((_HERE / "reference_page.html").read_text())
