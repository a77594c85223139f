"""The one layout of all mails, HTML and text from the same words; tenants fill it and cannot change it.

It holds what must not be lost: the action's link, who sends this, imprint and privacy. A body is plain text:
paragraphs, line breaks, list items that begin with a dash; a paragraph that is the action becomes the button. So there
is no HTML of tenants, and the text part always reads well.
"""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from jinja2 import Environment, FileSystemLoader

from services.notifier.strings import words

ACTION = "\ue000action\ue001"
"""Stands for the action while a body is rendered. No value can hold it: these characters are taken out of values."""

CODE = "\ue000code\ue001"
"""Stands for the code in a stored mail's link."""

DEFAULT_COLOUR = "#2456a6"
_WIDTH = 72
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_env = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


class Brand(msgspec.Struct, frozen=True):
    """Whose mail it is. sender: the address that all mail comes from (D-33). logo: the picture's content id."""

    title: str
    sender: str
    colour: str = DEFAULT_COLOUR
    logo: str | None = None
    imprint_url: str | None = None
    privacy_url: str | None = None


class Block(msgspec.Struct, frozen=True):
    kind: Literal["text", "list", "action"]
    lines: Sequence[str] = ()


class Laid(msgspec.Struct, frozen=True):
    text: str
    html: str


def lay_out(
    brand: Brand, locale: str, *, subject: str, body: str, action_label: str = "", url: str | None = None
) -> Laid:
    """body: rendered, with ACTION where the action goes. url: its whole address; the code in it may still be CODE."""
    blocks = list(_blocks(body))
    return Laid(
        _text(brand, locale, blocks, action_label, url), _html(brand, locale, blocks, subject, action_label, url)
    )


def _blocks(body: str) -> Sequence[Block]:
    found: list[Block] = []
    for paragraph in re.split(r"\n\s*\n", body.strip()):
        before, action, after = paragraph.partition(ACTION)
        found += _plain(before)
        if action:
            found.append(Block("action"))
        found += _plain(after)
    return found


def _plain(text: str) -> Sequence[Block]:
    """Runs of list items and of other lines, each a block."""
    found: list[tuple[Literal["text", "list"], list[str]]] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        kind: Literal["text", "list"] = "list" if line.startswith("- ") else "text"
        if not found or found[-1][0] != kind:
            found.append((kind, []))
        found[-1][1].append(line.removeprefix("- ") if kind == "list" else line)
    return [Block(kind, lines) for kind, lines in found]


def _text(brand: Brand, locale: str, blocks: Sequence[Block], action_label: str, url: str | None) -> str:
    parts = []
    for block in blocks:
        match block.kind:
            case "action":
                parts.append(f"{action_label}:\n{url}")
            case "list":
                parts.append("\n".join(_wrap(line, "- ", "  ") for line in block.lines))
            case _:
                parts.append("\n".join(_wrap(line) for line in block.lines))
    legal = [f"{label}: {link}" for label, link in _legal(brand, locale)]
    parts.append("\n".join(["-- ", *_footer(brand, locale), *legal]))
    return "\n\n".join(parts) + "\n"


def _wrap(line: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        line, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _html(brand: Brand, locale: str, blocks: Sequence[Block], subject: str, action_label: str, url: str | None) -> str:
    colour = brand.colour if _HEX.fullmatch(brand.colour) else DEFAULT_COLOUR
    dark = _luminance(colour) < 0.4
    return _env.get_template("layout.html").render(
        locale=locale,
        subject=subject,
        title=brand.title,
        logo=brand.logo,
        preheader=" ".join(line for block in blocks for line in block.lines)[:140],
        blocks=blocks,
        url=url,
        action_label=action_label,
        copy_link=words(locale)["layout.copy_link"],
        colour=colour,
        on_colour="#ffffff" if dark else "#111111",
        edge=colour if _luminance(colour) < 0.8 else "#8a929c",
        footer=_footer(brand, locale),
        legal=_legal(brand, locale),
    )


def _footer(brand: Brand, locale: str) -> list[str]:
    return [brand.title, words(locale)["layout.sender"].format(sender=brand.sender)]


def _legal(brand: Brand, locale: str) -> list[tuple[str, str]]:
    """Only web addresses: nothing else may become a link."""
    links = (("layout.imprint", brand.imprint_url), ("layout.privacy", brand.privacy_url))
    return [(words(locale)[key], link) for key, link in links if link and re.match(r"https?://", link)]


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance: 0 is black, 1 is white."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
