"""The contracts of all events as files: what one looks like on the wire, and its JSON schema.

    python -m tests.common.event_contracts            writes what is new: events, and fields with a default
    python -m tests.common.event_contracts --force    overwrites what was changed, which breaks whoever reads it

golden/<type>.json holds every form the event ever had: each must be readable for as long as the version lives, for it
may still stand in an outbox. golden/<type>.schema.json is the present schema.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

import libs.common.events
from libs.common.changes import Event

GOLDEN = Path(__file__).with_name("golden")


def contracts() -> dict[str, type[Event]]:
    """Every event of libs/common/events, by type. Raises ValueError when two share one."""
    found: dict[str, type[Event]] = {}
    for module in pkgutil.iter_modules(libs.common.events.__path__):
        for thing in vars(importlib.import_module(f"libs.common.events.{module.name}")).values():
            if isinstance(thing, type) and issubclass(thing, Event) and thing.__module__.endswith(module.name):
                if thing.type() in found:
                    raise ValueError(f"two events are {thing.type()}")
                found[thing.type()] = thing
    return dict(sorted(found.items()))


def schema(event: type[Event]) -> dict[str, Any]:
    """Without words: a better description is no change of the contract."""
    found: dict[str, Any] = _silent(msgspec.json.schema(event))
    return found


def sample(event: type[Event]) -> dict[str, Any]:
    """One event with every field set, always the same."""
    made = msgspec.convert(_example(inspect.type_info(event)), event)
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why readers of the old schema, or of old events, would stumble over the new one. Empty where it only grew."""
    was, now = _fields(old), _fields(new)
    return [
        *(f"{name} is gone" for name in was if name not in now),
        *(f"{name} was {was[name]}, is {now[name]}" for name in was if name in now and was[name] != now[name]),
        *(f"{name} is new and has no default" for name in _required(new) - _required(old)),
    ]


def forms(type: str) -> list[dict[str, Any]]:
    path = GOLDEN / f"{type}.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def known_schema(type: str) -> dict[str, Any] | None:
    path = GOLDEN / f"{type}.schema.json"
    return json.loads(path.read_text()) if path.exists() else None


def write(*, force: bool) -> list[str]:
    """Bring the files up to date; gives what was refused."""
    refused = []
    for type, event in contracts().items():
        old, new = known_schema(type), schema(event)
        if old and not force and (why := breaks(old, new)):
            refused.append(f"{type}: {'; '.join(why)}. Make it v{int(type.rsplit('.v', 1)[1]) + 1}.")
            continue
        kept = [] if force and old and breaks(old, new) else forms(type)
        if sample(event) not in kept:
            kept.append(sample(event))
        _save(GOLDEN / f"{type}.json", kept)
        _save(GOLDEN / f"{type}.schema.json", new)
    return refused


def _save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _silent(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _silent(value) for key, value in node.items() if key not in ("description", "title")}
    return [_silent(one) for one in node] if isinstance(node, list) else node


def _top(schema: dict[str, Any]) -> dict[str, Any]:
    top: dict[str, Any] = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return top


def _fields(schema: dict[str, Any]) -> dict[str, str]:
    """Each field with its type, references resolved, in a form that can be compared."""

    def resolved(node: Any) -> Any:
        if isinstance(node, dict) and "$ref" in node:
            return resolved(schema["$defs"][node["$ref"].removeprefix("#/$defs/")])
        if isinstance(node, dict):
            return {key: resolved(value) for key, value in node.items() if key != "default"}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    fields = _top(schema).get("properties", {})
    return {name: json.dumps(resolved(field), sort_keys=True) for name, field in fields.items()}


def _required(schema: dict[str, Any]) -> set[str]:
    return set(_top(schema).get("required", ()))


def _example(of: inspect.Type, name: str = "") -> Any:
    match of:
        case inspect.StructType(fields=fields):
            return {field.encode_name: _example(field.type, field.encode_name) for field in fields}
        case inspect.UnionType(types=types):
            return _example(next(one for one in types if not isinstance(one, inspect.NoneType)), name)
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.ListType(item_type=item) | inspect.SetType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [_example(item, name)]
        case inspect.DictType(value_type=value):
            return {"key": _example(value, name)}
        case inspect.EnumType(cls=kind):
            return next(iter(kind)).value
        case inspect.UUIDType():
            return "01a1ff00-0000-7000-8000-0000000000aa"
        case inspect.DateTimeType():
            return "2026-11-21T12:00:00Z"
        case inspect.DateType():
            return "2026-11-21"
        case inspect.BoolType():
            return True
        case inspect.IntType(ge=least):
            return max(7, least or 0)
        case inspect.FloatType():
            return 1.5
        case inspect.StrType(max_length=most):
            return name[:most]
        case inspect.AnyType() | inspect.RawType():
            return {}
    raise TypeError(f"no example for {of}: write one in tests/common/event_contracts.py")


if __name__ == "__main__":
    refused = write(force="--force" in sys.argv[1:])
    sys.exit("\n".join(refused) or 0)
