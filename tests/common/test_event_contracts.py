"""Events are promises: each round-trips, every form it ever had stays readable, its schema only grows."""

import re
from typing import Any, ClassVar

import msgspec
import pytest

from libs.common.changes import Event
from libs.common.events.subjects import SERVICES, event_subject, stream_of
from libs.common.scrub import is_secret_name
from tests.common.event_contracts import GOLDEN, breaks, contracts, forms, known_schema, sample, schema

CONTRACTS = contracts()
UP_TO_DATE = "run `python -m tests.common.event_contracts` and commit what it writes"

each = pytest.mark.parametrize("type", CONTRACTS)


@each
def test_the_newest_form_is_kept_and_round_trips(type: str) -> None:
    event = CONTRACTS[type]
    assert sample(event) in forms(type), UP_TO_DATE
    decoded = msgspec.json.decode(msgspec.json.encode(sample(event)), type=event)
    assert msgspec.to_builtins(decoded) == sample(event)
    assert set(sample(event)) == {field.encode_name for field in msgspec.structs.fields(event)}


@each
def test_every_form_it_ever_had_can_be_read(type: str) -> None:
    for form in forms(type):
        msgspec.json.decode(msgspec.json.encode(form), type=CONTRACTS[type])


@each
def test_fields_that_a_later_version_adds_are_ignored(type: str) -> None:
    grown = sample(CONTRACTS[type]) | {"added_later": {"a": [1]}}
    msgspec.json.decode(msgspec.json.encode(grown), type=CONTRACTS[type])


@each
def test_the_schema_only_grows(type: str) -> None:
    old = known_schema(type)
    assert old is not None, UP_TO_DATE
    assert breaks(old, schema(CONTRACTS[type])) == [], "this breaks who reads it: make it a new version"
    assert old == schema(CONTRACTS[type]), UP_TO_DATE


@each
def test_names_say_where_it_comes_from(type: str) -> None:
    event = CONTRACTS[type]
    assert re.fullmatch(r"[a-z]+\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*", type)
    assert type.split(".")[0] == event.__module__.rsplit(".", 1)[1], "an event belongs to its service's file"
    assert type.split(".")[0] in SERVICES
    assert stream_of(event_subject(type, "tenant", "row")) == f"EV_{type.split('.')[0].upper()}"
    assert event.counter.isidentifier()


@each
def test_it_carries_no_secret(type: str) -> None:
    """Streams are kept 14 days and republished: links are derived, never sent."""
    assert not [field.name for field in msgspec.structs.fields(CONTRACTS[type]) if is_secret_name(field.name)]


def test_no_file_is_left_of_an_event_that_is_gone() -> None:
    known = {path.name.removesuffix(".schema.json").removesuffix(".json") for path in GOLDEN.iterdir()}
    assert known == set(CONTRACTS)


class _Old(Event, frozen=True):
    name: ClassVar[str] = "members.thing.changed.v1"
    a: int
    b: str | None = None


def _changed(**fields: Any) -> dict[str, Any]:
    made: Any = msgspec.defstruct("_New", [(name, *what) for name, what in fields.items()], bases=(Event,), frozen=True)
    return schema(made)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"a": (int,), "b": (str | None, None)}, []),
        ({"a": (int,), "b": (str | None, None), "c": (int, 0)}, []),
        ({"a": (int,)}, ["b is gone"]),
        ({"a": (int,), "c": (int,), "b": (str | None, None)}, ["c is new and has no default"]),
        ({"a": (int, 0), "b": (str | None, None)}, []),
        ({"a": (str,), "b": (str | None, None)}, ['a was {"type": "integer"}, is {"type": "string"}']),
    ],
)
def test_what_counts_as_growing(new: dict[str, Any], said: list[str]) -> None:
    assert breaks(schema(_Old), _changed(**new)) == said
