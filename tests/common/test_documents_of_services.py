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
def test_what_a_handler_sends_by_itself_has_the_code_of_its_document(service: str, keys_dir: Path) -> None:
    for route in app_of(service, keys_dir).routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.include_in_schema:
                assert codes_sent(handler) <= {handler.status_code}, handler


def codes_sent(handler: HTTPRouteHandler) -> set[int]:
    """Those written in its body: `Response(…, status_code=202)`, `once.answer(…, 202)`."""
    function = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(handler.fn)))).body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    calls = [node for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    named = [word.value for call in calls for word in call.keywords if word.arg == "status_code"]
    placed = [call.args[1] for call in calls if ast.unparse(call.func).endswith(".answer") and len(call.args) > 1]
    return {ast.literal_eval(code) for code in (*named, *placed) if isinstance(code, ast.Constant)}


def test_one_page_shows_them_all(keys_dir: Path) -> None:
    documents = [document_of(service, keys_dir) for service in SERVICES]
    page = render_reference(documents)
    for document in documents:
        assert all(path in page for path in document["paths"])
