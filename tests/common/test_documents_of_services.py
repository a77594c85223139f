"""The four services' documents as they are: valid, with an example that fits for every schema, on one page."""

import ast
import importlib
import inspect
import textwrap
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import openapi_spec_validator
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from libs.common.events.subjects import SERVICES
from libs.common.openapi import Documented
from libs.common.reference_page import render_reference

NOWHERE = "127.0.0.1:1"


def app_of(service: str, keys_dir: Path) -> Litestar:
    """create_app connects to nothing before its lifespan begins."""
    roles = ("", "RELAY_", "SWEEP_", "OPERATOR_", "MIGRATE_")
    environ = {f"DATABASE_{role}URL": f"postgresql://{service}@{NOWHERE}/none" for role in roles} | {
        "NATS_URL": f"nats://{service}:none@{NOWHERE}",
        "KEYS_DIR": str(keys_dir),
        "PUBLIC_URL": "http://control-centre.test",
        "IDENTITY_URL": f"http://{NOWHERE}",
        "SMTP_URL": f"smtp://{NOWHERE}",
        "S3_ENDPOINT": f"http://{NOWHERE}",
        "S3_KEY": "none-none-none",
        "S3_SECRET": "none-none-none",
        "S3_BUCKET": "none",
        "S3_REGION": "none",
    }
    settings = importlib.import_module(f"services.{service}.settings").load(environ)
    return importlib.import_module(f"services.{service}.app").create_app(settings)  # type: ignore[no-any-return]


def document_of(service: str, keys_dir: Path) -> dict[str, Any]:
    app = app_of(service, keys_dir)
    return app.plugins.get(Documented).document(app)


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_valid_and_its_examples_fit(service: str, keys_dir: Path) -> None:
    document = document_of(service, keys_dir)
    openapi_spec_validator.validate(document)
    for name, schema in document["components"]["schemas"].items():
        (example,) = schema["examples"]
        jsonschema.validate(example, {"$ref": f"#/components/schemas/{name}", **document})


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_handler_sends_by_itself_has_a_code_of_its_document(service: str, keys_dir: Path) -> None:
    for route in app_of(service, keys_dir).routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                declared = {handler.status_code, *(handler.responses or {})}
                assert codes_sent(inspect.unwrap(handler.fn)) <= declared, handler


def codes_sent(function: Any) -> set[int]:
    """Those written in it and in what it calls of its own module: `Response(…, status_code=202)`, `once.answer(…)`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    found: set[int] = set()
    for call in (node for statement in tree.body for node in ast.walk(statement) if isinstance(node, ast.Call)):
        called = function.__globals__.get(ast.unparse(call.func))
        if inspect.isfunction(called) and called.__module__ == function.__module__ and called is not function:
            found |= codes_sent(called)
        elif ast.unparse(call.func) == "once.answer":
            found |= _codes(call.args[1], tree) if len(call.args) > 1 else {200}
        for word in call.keywords:
            if word.arg == "status_code":
                found |= _codes(word.value, tree)
    return found


def _codes(value: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    match value:
        case ast.Constant(value=int(code)):
            return {code}
        case ast.IfExp(body=one, orelse=other):
            return _codes(one, function) | _codes(other, function)
        case ast.Name(id=name):
            set_to = [node.value for node in ast.walk(function) if isinstance(node, ast.Assign)
                      and ast.unparse(node.targets[0]) == name]  # fmt: skip
            assert set_to, f"where is {name} set?"
            return set().union(*(_codes(one, function) for one in set_to))
    raise AssertionError(f"no code can be read from {ast.unparse(value)}")


def test_one_page_shows_them_all(keys_dir: Path) -> None:
    documents = [document_of(service, keys_dir) for service in SERVICES]
    page = render_reference(documents)
    for document in documents:
        assert all(path in page for path in document["paths"])
