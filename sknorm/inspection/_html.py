"""HTML, written so that all text is escaped and every element closed."""

from __future__ import annotations

import math
from html import escape
from typing import Any

__all__ = ["Html", "joined", "number", "tag"]


class Html(str):
    """Text that is HTML already. All other text is escaped."""


# Elements in which line breaks mean nothing.
_BLOCKS = frozenset(
    {"html", "head", "body", "main", "section", "div", "figure", "svg", "ul", "dl"}
    | {"table", "thead", "tbody", "tr"}
)


def tag(name: str, *content: str | None, **attributes: Any) -> Html:
    """Return an element; ``class_`` is an attribute too, and None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    parts = [
        part if isinstance(part, Html) else escape(part, quote=False)
        for part in content
        if part is not None
    ]
    gap = "\n" if name in _BLOCKS else ""
    inner = gap.join(["", *parts, ""]) if parts else ""
    return Html(f"<{name}{given}>{inner}</{name}>")


def joined(*parts: str) -> Html:
    """Return elements and text in a row."""
    return Html(
        "".join(p if isinstance(p, Html) else escape(p, quote=False) for p in parts)
    )


def number(value: float, *, is_share: bool = False) -> str:
    """Return a number as people read it, empty for NaN."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{100 * value:.0f} %" if is_share else f"{value:.3g}"
