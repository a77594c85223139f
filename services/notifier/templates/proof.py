"""Proves of a text, before it is saved, that what a mail must hold comes out exactly once, whatever the values are.

A variable inside `{% if … %}` is mentioned and may never appear; so the text is rendered with a mark in place of each
value, once for every way in which the values that it asks about can be there or not.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import product
from typing import Any

from jinja2 import nodes

from services.notifier.templates import dates, language
from services.notifier.templates.catalog import MailKind
from services.notifier.templates.language import TemplateInvalid

MAX_ASKED = 6
"""Variables that one text may ask about: the ways double with each."""

_MISSING = {"list": [], "text": "", "name": ""}


def require_sound(kind: MailKind, *, subject: str, body: str) -> None:
    """Raises TemplateInvalid with field, line and message."""
    _require(kind, "subject", subject, {name: kind.variables[name] for name in kind.in_subject}, kind.in_subject)
    _require(kind, "body", body, kind.variables, kind.required)


def _require(
    kind: MailKind, field: str, source: str, variables: Mapping[str, language.Kind], required: tuple[str, ...]
) -> None:
    try:
        tree = language.check(source, variables)
        asked = sorted(_asked(tree))
        if len(asked) > MAX_ASKED:
            raise TemplateInvalid(line=1, message=f"asks about more than {MAX_ASKED} variables")
        for presence in product((True, False), repeat=len(asked)):
            rendered = language.render(source, _marks(variables, dict(zip(asked, presence, strict=True))))
            if not rendered.strip():
                raise TemplateInvalid(line=1, message="comes out empty")
            for name in required:
                _require_once(tree, source, name, rendered.count(_mark(name)))
    except TemplateInvalid as error:
        raise TemplateInvalid(**{"field": field, **error.params}) from error
    except language.RenderingTooLarge as error:
        raise TemplateInvalid(field=field, line=1, message="becomes too long") from error


def _require_once(tree: nodes.Template, source: str, name: str, times: int) -> None:
    if times == 1:
        return
    lines = language.lines_of(tree, name)
    if times == 0 and lines:
        raise TemplateInvalid(line=lines[0], message=f"{{{{ {name} }}}} does not come out in every case")
    if times == 0:
        raise TemplateInvalid(line=source.count("\n") + 1, message=f"{{{{ {name} }}}} is missing")
    raise TemplateInvalid(line=lines[-1], message=f"{{{{ {name} }}}} comes out {times} times")


def _asked(tree: nodes.Template) -> set[str]:
    """Variables on whose value it depends what comes out: conditions, lists."""
    tests = [node.test for node in tree.find_all(nodes.If)] + [node.iter for node in tree.find_all(nodes.For)]
    names = {name.name for test in tests for name in [test, *test.find_all(nodes.Name)] if isinstance(name, nodes.Name)}
    return names - {node.target.name for node in tree.find_all(nodes.For) if isinstance(node.target, nodes.Name)}


def _marks(variables: Mapping[str, language.Kind], present: Mapping[str, bool]) -> dict[str, Any]:
    return {
        name: _MISSING.get(kind, _value(name, kind)) if not present.get(name, True) else _value(name, kind)
        for name, kind in variables.items()
    }


def _value(name: str, kind: language.Kind) -> Any:
    if kind == "time":
        return dates.Local(datetime(2026, 1, 1, tzinfo=UTC), "UTC", "en")
    return [_mark(name), _mark(name)] if kind == "list" else _mark(name)


def _mark(name: str) -> str:
    return f"\ue002{name}\ue003"
