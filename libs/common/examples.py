"""An example for every schema of an OpenAPI document, made from the schema itself: valid, and the same each time."""

import re
from collections.abc import Mapping
from typing import Any

_BY_FORMAT = {
    "uuid": "01937b1e-7c00-7a3b-8f5e-3d2c1b0a9f8e",
    "date-time": "2026-11-21T09:30:00Z",
    "date": "2026-11-21",
    "time": "09:30:00Z",
    "duration": "PT15M",
    "email": "ada@example.org",
    "uri": "https://example.org/",
    "uri-reference": "/members/v1",
    "binary": "…",
}
_BY_NAME = {
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "address": "ada@example.org",
    "login_name": "ada",
    "login": "ada",
    "slug": "acme",
    "locale": "de",
    "time_zone": "Europe/Berlin",
    "reason": "Asked for by phone",
    "title": "Title",
    "cursor": "WyJ0YWdzIl0",
    "next": "WyJ0YWdzIl0",
}
# Tried in turn where a pattern or a length refuses the first.
_TEXTS = ("Example", "example", "acme", "de", "A1", "1", "2026-11-21", "#336699", "a.example.org", "example-example-1")
_DEPTH = 8


def add_examples(schemas: dict[str, Any]) -> None:
    """Give each component schema that has none an `examples` of one."""
    for schema in schemas.values():
        if "examples" not in schema:
            found = example(schema, schemas)
            if found is not None:
                schema["examples"] = [found]


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that the schema takes, or None where none can be made up."""
    if depth > _DEPTH:
        return None
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    for given in ("const", "default", "example"):
        if given in schema and schema[given] is not None:
            return schema[given]
    if "$ref" in schema:
        return example(schemas.get(schema["$ref"].rpartition("/")[2], {}), schemas, name, depth + 1)
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            told = [option for option in schema[choice] if option.get("type") != "null"]
            beside = {key: value for key, value in schema.items() if key != choice}  # a nullable text's pattern
            return example({**beside, **told[0]}, schemas, name, depth + 1) if told else None
    if "allOf" in schema:
        parts = [example(part, schemas, name, depth + 1) for part in schema["allOf"]]
        objects = [part for part in parts if isinstance(part, dict)]
        return {key: value for part in objects for key, value in part.items()} if objects else parts[0]
    return _of_type(schema, schemas, name, depth)


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), None)
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {key: example(value, schemas, key, depth + 1) for key, value in properties.items()}
    if kind == "array":
        item = example(schema.get("items", {}), schemas, name.removesuffix("s"), depth + 1)
        return [] if item is None else [item]
    if kind == "boolean":
        return True
    if kind in {"integer", "number"}:
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    return _text(schema, name) if kind == "string" else None


def _text(schema: Mapping[str, Any], name: str) -> str | None:
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    pattern = re.compile(schema.get("pattern", ""))
    for text in (_BY_NAME.get(name, "Example"), *_TEXTS, "example-" * 8, "A1b2" * 16):
        text = text[: schema["maxLength"]] if len(text) > 60 and "maxLength" in schema else text
        if schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 1000) and pattern.search(text):
            return text
    return None
