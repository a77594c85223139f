"""The language of templates: text, names, `if`, `for` over a list, six filters. Nothing can be called or computed.

    {{ name }}   {{ deadline|date }}   {% if name %} … {% elif not name %} … {% else %} … {% endif %}
    {% for service in services %} … {% endfor %}

A source is parsed by Jinja2 and its syntax tree is compared with a list of what is allowed; what is not on it is
refused with its line. So nothing reaches the sandbox below that could leave it, and no source can run for long: its
output is at most (length of source) x (longest list), and both are limited.
"""

import re
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, cast

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from libs.common.errors import Unprocessable
from services.notifier.templates import dates

Kind = Literal["text", "name", "time", "list", "action"]
"""What a variable holds. A name was typed by a person and is kept out of headers; an action is the mail's one link."""

MAX_SOURCE = 20_000  # characters
MAX_DEPTH = 12  # blocks inside blocks
MAX_ITEMS = 50
MAX_OUTPUT = 200_000  # characters
MAX_SECONDS = 1.0

_MARKS = re.compile("[\ue000-\ue003]")
"""What stands for the action and its code while a mail is made: a text that held it would be given the secret."""


class TemplateInvalid(Unprocessable):
    """Raised with line (from 1) and message."""

    title = "This template cannot be saved as it is"


class RenderingTooLarge(Exception):
    """More output or time than any mail needs."""


_env = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)
_env.globals.clear()
_env.tests.clear()
_env.filters = {
    "date": dates.date,
    "time": dates.time,
    "upper": str.upper,
    "lower": str.lower,
    "trim": str.strip,
    "default": lambda value, instead: value or instead,
}
FILTERS = tuple(_env.filters)
_TIMES = {"date", "time"}


def check(source: str, variables: Mapping[str, Kind]) -> nodes.Template:
    """The syntax tree. Raises TemplateInvalid for the first thing that is not allowed."""
    if len(source) > MAX_SOURCE:
        raise TemplateInvalid(line=1, message=f"longer than {MAX_SOURCE} characters")
    require_no_marks(source)
    try:
        tree = _env.parse(source)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(line=error.lineno, message=error.message or "cannot be read") from error
    except RecursionError as error:
        raise TemplateInvalid(line=1, message="nested too deeply") from error
    _Checker(variables).block(tree.body, depth=0)
    return tree


def require_no_marks(source: str, *, line: int = 1) -> None:
    """Raises TemplateInvalid for characters that only the product may write. line: where the source begins."""
    if found := _MARKS.search(source):
        line += source.count("\n", 0, found.start())
        raise TemplateInvalid(line=line, message="holds a character of the private use area, which nobody can read")


class _Checker:
    def __init__(self, variables: Mapping[str, Kind]) -> None:
        self._variables = dict(variables)

    def block(self, body: list[nodes.Node], depth: int) -> None:
        for node in body:
            match node:
                case nodes.Output():
                    for part in node.nodes:
                        if not isinstance(part, nodes.TemplateData):
                            self._value(part)
                case nodes.If():
                    self._deeper(node, depth)
                    self._condition(node.test)
                    self.block([*node.body, *node.elif_, *node.else_], depth + 1)
                case nodes.For():
                    self._deeper(node, depth)
                    self._loop(node, depth)
                case _:
                    raise _refused(node)

    def _loop(self, node: nodes.For, depth: int) -> None:
        if (
            not isinstance(node.target, nodes.Name)
            or node.test
            or node.recursive
            or node.target.name in self._variables
        ):
            raise _refused(node)
        if not isinstance(node.iter, nodes.Name) or self._kind(node.iter) != "list":
            raise TemplateInvalid(line=node.lineno, message="`for` goes over a list")
        if next(node.find_all(nodes.For), None):
            raise TemplateInvalid(line=node.lineno, message="a `for` holds no other")  # lengths would multiply
        self._variables[node.target.name] = "text"
        self.block(node.body, depth + 1)
        del self._variables[node.target.name]
        self.block(node.else_, depth + 1)

    def _condition(self, node: nodes.Node) -> None:
        while isinstance(node, nodes.Not):
            node = node.node
        if not isinstance(node, nodes.Name):
            raise _refused(node)
        self._kind(node)

    def _value(self, node: nodes.Node) -> None:
        used = []
        while isinstance(node, nodes.Filter):
            used.append(self._filter(node))
            node = node.node or nodes.Const(None)
        if not isinstance(node, nodes.Name):
            raise _refused(node)
        kind = self._kind(node)
        if kind == "list":
            raise TemplateInvalid(line=node.lineno, message=f"{node.name} is a list: go over it with `for`")
        if kind == "action" and used:
            raise TemplateInvalid(line=node.lineno, message=f"{node.name} is used as it is, without a filter")
        if (kind == "time") != bool(used and used[-1] in _TIMES) or any(name in _TIMES for name in used[:-1]):
            raise TemplateInvalid(
                line=node.lineno, message="`date` and `time` show a time, the other filters show text"
            )

    def _filter(self, node: nodes.Filter) -> str:
        if node.name not in FILTERS:
            raise TemplateInvalid(line=node.lineno, message=f"there is no filter {node.name}: {', '.join(FILTERS)}")
        wanted = 1 if node.name == "default" else 0
        constant = all(isinstance(arg, nodes.Const) and isinstance(arg.value, str) for arg in node.args)
        if len(node.args) != wanted or not constant or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise TemplateInvalid(line=node.lineno, message=f"{node.name} takes {wanted or 'no'} text")
        for arg in node.args:
            require_no_marks(cast(nodes.Const, arg).value, line=node.lineno)  # written as an escape, perhaps
        return node.name

    def _kind(self, name: nodes.Name) -> Kind:
        if name.name not in self._variables:
            known = ", ".join(sorted(self._variables))
            raise TemplateInvalid(line=name.lineno, message=f"there is no {name.name} here: {known}")
        return self._variables[name.name]

    @staticmethod
    def _deeper(node: nodes.Node, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise TemplateInvalid(line=node.lineno, message="nested too deeply")


def _refused(node: nodes.Node) -> TemplateInvalid:
    said = type(node).__name__.lower()
    lines = [inner.lineno for inner in node.find_all(nodes.Node) if inner.lineno]  # some nodes have none of their own
    return TemplateInvalid(
        line=node.lineno or min(lines, default=1),
        message=f"`{said}` is not part of the language: names, if, for, six filters",
    )


def lines_of(tree: nodes.Template, name: str) -> list[int]:
    """Where a variable is written out."""
    return [node.lineno for node in tree.find_all(nodes.Name) if node.name == name]


def render(source: str, values: Mapping[str, Any]) -> str:
    """values: text, aware datetimes (dates.Local), lists of text. The source was checked when it was saved.

    Raises RenderingTooLarge, or jinja2's UndefinedError where a value is missing.
    """
    ends = time.monotonic() + MAX_SECONDS
    pieces, length = [], 0
    for piece in _generate(source, values):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_OUTPUT or time.monotonic() > ends:
            raise RenderingTooLarge
    return "".join(pieces)


def _generate(source: str, values: Mapping[str, Any]) -> Iterator[str]:
    limited = {key: value[:MAX_ITEMS] if isinstance(value, list) else value for key, value in values.items()}
    return cast(Iterator[str], _compiled(source).generate(**limited))


@lru_cache(500)
def _compiled(source: str) -> Any:
    return _env.from_string(source)
