"""A report on a network as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["text_table"]

_SHOWN = {
    "layer": "layer",
    "units": "units",
    "mean": "mean",
    "std": "std",
    "sweet_spot": "in spot",
    "saturated": "flat",
    "dead": "dead",
    "effective_rank": "rank",
    "grad_std": "grad std",
    "grad_ratio": "ratio",
    "update_ratio": "update",
    "verdict": "verdict",
}
_SHARES = {"sweet_spot", "saturated", "dead"}


def text_table(rows: Iterable[Any]) -> list[str]:
    """Return the lines of a table of what is most telling in a report's rows."""
    cells = [list(_SHOWN.values())]
    cells += [[_shown(name, getattr(row, name)) for name in _SHOWN] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        first, *middle, last = (
            text.ljust(width) if i in (0, len(line) - 1) else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *middle, last]).rstrip())
    return lines


def _shown(name: str, value: Any) -> str:
    """Return a cell as people read it, empty for NaN."""
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{100 * value:.0f} %" if name in _SHARES else f"{value:.3g}"
