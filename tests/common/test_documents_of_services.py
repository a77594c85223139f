"""The four services' documents as they are: valid, with an example that fits for every schema, on one page."""

import importlib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import openapi_spec_validator
import pytest

from libs.common.events.subjects import SERVICES
from libs.common.openapi import Documented
from libs.common.reference_page import render_reference

NOWHERE = "127.0.0.1:1"


def document_of(service: str, keys_dir: Path) -> dict[str, Any]:
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
    app = importlib.import_module(f"services.{service}.app").create_app(settings)
    return app.plugins.get(Documented).document(app)  # type: ignore[no-any-return]


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_valid_and_its_examples_fit(service: str, keys_dir: Path) -> None:
    document = document_of(service, keys_dir)
    openapi_spec_validator.validate(document)
    for name, schema in document["components"]["schemas"].items():
        (example,) = schema["examples"]
        jsonschema.validate(example, {"$ref": f"#/components/schemas/{name}", **document})


def test_one_page_shows_them_all(keys_dir: Path) -> None:
    documents = [document_of(service, keys_dir) for service in SERVICES]
    page = render_reference(documents)
    for document in documents:
        assert all(path in page for path in document["paths"])
