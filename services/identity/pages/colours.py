"""A tenant's colour, and black or white on it, whichever is read more easily (WCAG 2.2, relative luminance)."""

import re

_DEFAULT = "#1f4e79"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def stylesheet(colour: str | None) -> str:
    brand = colour if colour and _COLOUR.fullmatch(colour) else _DEFAULT
    return f":root {{ --brand: {brand}; --on-brand: {on(brand)}; }}\n"


def on(colour: str) -> str:
    light = luminance(colour)
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


def luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
