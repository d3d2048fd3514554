"""Charts of the signal over the depth of a network, as SVG inside HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sknorm.inspection._html import Html, number, tag
from sknorm.inspection._verdicts import LIMIT, TRAINED_LIMIT

__all__ = ["charts"]

# In units of the picture, which is as wide as a phone.
_WIDTH, _HEIGHT = 360, 224
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 350, 24, 186
# Between the frame and the first and last layer.
_INSET = 10
_MOST_TICKS = 5
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def charts(report: Any) -> Html:
    """Draw a report's standard deviations and gradients over depth, with a key.

    Parameters
    ----------
    report : SignalReport
        What to draw.

    Returns
    -------
    Html
        An element for a page or a notebook.
    """
    rows = [row for row in report.layers if row.layer != "target"]
    trained = TRAINED_LIMIT if report.is_fitted else LIMIT
    last = len(rows) - 1
    forward = _Chart(
        "Forward: the signal",
        "standard deviation of pre-activations",
        rows,
        [row.std for row in rows],
        [_root(row.q_theory) for row in rows],
        # The last layer may start at nothing.
        [(1 / LIMIT, LIMIT) if i < last else (0.0, trained) for i in range(last + 1)],
    )
    backward = _Chart(
        "Backward: the gradient",
        "its length beside that at the output",
        rows,
        _carried_back([row.grad_ratio for row in rows], rows),
        _carried_back([_root(row.chi_theory) for row in rows], rows),
        [
            (math.nan, math.nan) if row.layer == "inputs" else (1 / trained, trained)
            for row in rows
        ],
    )
    return tag("div", forward.draw(), backward.draw(), _key(), class_="sknorm-charts")


@dataclass(frozen=True)
class _Chart:
    """A number over the depth of a network, on a logarithmic scale."""

    title: str
    axis: str
    rows: list[Any]
    measured: list[float]
    theory: list[float]
    zone: list[tuple[float, float]]
    """Where it is healthy, for each row; NaN where nothing is."""

    def draw(self) -> Html:
        low, high = self._decades()
        scale = _Scale(low, high, len(self.rows))
        picture = tag(
            "svg",
            *_zone(self.zone, scale),
            *_grid(scale),
            *_depths(self.rows, scale),
            _text(_LEFT, 12, self.axis, anchor="start"),
            *_lines(self.theory, scale, "sknorm-theory", dashed=True),
            *_lines(self.measured, scale, "sknorm-measured"),
            *self._points(scale),
            viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
            role="img",
            aria_label=self._description(),
        )
        return tag("figure", tag("figcaption", self.title), picture)

    def _decades(self) -> tuple[int, int]:
        """Return the powers of ten between which everything lies."""
        values = [*self.measured, *self.theory, 1 / LIMIT, LIMIT]
        values += [limit for limits in self.zone for limit in limits]
        logs = [math.log10(value) for value in values if _fits(value)]
        return math.floor(min(logs)), math.ceil(max(logs))

    def _points(self, scale: _Scale) -> Iterator[Html]:
        for i, (row, value) in enumerate(zip(self.rows, self.measured, strict=True)):
            if math.isnan(value):
                continue
            x, y = scale.x(i), scale.y(value)
            ill = row.verdict != "healthy"
            name = tag("title", f"{row.layer}: {number(value)}, {row.verdict}")
            if not _fits(value):
                yield _arrow(x, y, name, up=value > 0)
            elif ill:
                cross = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
                yield tag("path", name, class_="sknorm-sick-point", d=cross, **_STROKE)
            else:
                yield tag(
                    "circle",
                    name,
                    class_="sknorm-point",
                    cx=f"{x:.1f}",
                    cy=f"{y:.1f}",
                    r=2.5,
                )

    def _description(self) -> str:
        known = [
            (row.layer, value)
            for row, value in zip(self.rows, self.measured, strict=True)
            if not math.isnan(value)
        ]
        if not known:
            return f"{self.title}: nothing is known"
        ends = known[:1] + known[1:][-1:]
        said = ", ".join(f"{number(value)} at {name}" for name, value in ends)
        return f"{self.title}: {said}"


@dataclass(frozen=True)
class _Scale:
    """Where layers and values are in the picture."""

    low: int
    high: int
    count: int

    def x(self, index: float) -> float:
        """Return where a layer is; between two of them at halves."""
        width = _RIGHT - _LEFT - 2 * _INSET
        return _LEFT + _INSET + width * index / max(self.count - 1, 1)

    def y(self, value: float) -> float:
        """Return where a value is; what has no logarithm is at an edge."""
        if not _fits(value):
            return float(_TOP if value > 0 else _BOTTOM)
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return _BOTTOM - (_BOTTOM - _TOP) * share


def _fits(value: float) -> bool:
    """Tell whether a value has a place on a logarithmic scale."""
    return 0 < value < math.inf


def _root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def _carried_back(ratios: list[float], rows: list[Any]) -> list[float]:
    """Return the product of the ratios from each layer on to the last, which has 1."""
    if not rows or math.isnan(rows[-1].grad_std):
        return [math.nan] * len(rows)
    products = [1.0]
    for ratio in ratios[-2::-1]:
        products.append(products[-1] * ratio)
    return products[::-1]


# What a picture is where a viewer drops its styles.
_STROKE = {"fill": "none", "stroke": "currentColor"}


def _zone(limits: list[tuple[float, float]], scale: _Scale) -> Iterator[Html]:
    """Yield a rectangle for each run of layers with the same limits."""
    start = 0
    for (low, high), run in groupby(limits):
        stop = start + len(list(run))
        left = max(scale.x(start - 0.5), _LEFT)
        right = min(scale.x(stop - 0.5), _RIGHT)
        start = stop
        if math.isnan(high):
            continue
        top, bottom = scale.y(high), scale.y(low)
        yield tag(
            "rect",
            class_="sknorm-zone",
            x=f"{left:.1f}",
            y=f"{top:.1f}",
            width=f"{right - left:.1f}",
            height=f"{bottom - top:.1f}",
            shape_rendering="crispEdges",  # No seam between neighbours.
            fill="currentColor",
            fill_opacity=0.12,
        )


def _grid(scale: _Scale) -> Iterator[Html]:
    """Yield lines at powers of ten, few enough to be read, and what they stand for."""
    step = next(s for s in _STEPS if (scale.high - scale.low) / s <= _MOST_TICKS)
    for power in range(-(-scale.low // step) * step, scale.high + 1, step):
        y = _BOTTOM - (_BOTTOM - _TOP) * (power - scale.low) / (scale.high - scale.low)
        yield tag(
            "path", class_="sknorm-grid", d=f"M{_LEFT} {y:.1f}H{_RIGHT}", **_STROKE
        )
        label = f"{10.0**power:g}" if abs(power) < 4 else f"1e{power:+03d}"
        yield _text(_LEFT - 6, y + 4, label, anchor="end")


def _depths(rows: list[Any], scale: _Scale) -> Iterator[Html]:
    """Yield what stands below the layers."""
    last = scale.count - 1
    step = next(s for s in _STEPS if last / s <= 2 * _MOST_TICKS)
    for i in [*range(0, last, step), last]:
        if i < last and last - i < step:
            continue  # Too near.
        label = {"inputs": "in", "output": "out"}.get(rows[i].layer, str(i))
        yield _text(scale.x(i), _BOTTOM + 16, label, anchor="middle")
    yield _text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, "layer", anchor="middle")


def _text(x: float, y: float, text: str, *, anchor: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _lines(
    values: list[float], scale: _Scale, class_: str, *, dashed: bool = False
) -> Iterator[Html]:
    """Yield a line for each run of values that have a place."""
    for fits, run in groupby(enumerate(values), key=lambda pair: _fits(pair[1])):
        points = [f"{scale.x(i):.1f},{scale.y(v):.1f}" for i, v in run if fits]
        if len(points) > 1:
            yield tag(
                "polyline",
                class_=class_,
                points=" ".join(points),
                stroke_dasharray="6 4" if dashed else None,
                **_STROKE,
            )


def _arrow(x: float, y: float, name: Html, *, up: bool) -> Html:
    """Return a triangle at an edge that points to what lies beyond."""
    inward = 8 if up else -8
    d = f"M{x:.1f} {y:.1f}l5 {inward}h-10z"
    return tag("path", name, class_="sknorm-beyond", d=d)


def _key() -> Html:
    samples = {
        "measured": tag("path", class_="sknorm-measured", d="M0 7H28", **_STROKE),
        "expected by mean-field theory": tag(
            "path",
            class_="sknorm-theory",
            d="M0 7H28",
            stroke_dasharray="6 4",
            **_STROKE,
        ),
        "healthy": tag(
            "path",
            class_="sknorm-zone",
            d="M0 0H28V14H0z",
            fill="currentColor",
            fill_opacity=0.12,
        ),
        "a layer that is sick": tag(
            "path", class_="sknorm-sick-point", d="M10 3l8 8m0 -8l-8 8", **_STROKE
        ),
        "zero below, infinite above": tag(
            "path", class_="sknorm-beyond", d="M14 11l5 -8h-10z"
        ),
    }
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("svg", shape, viewBox="0 0 28 14", aria_hidden="true"),
                tag("span", text),
            )
            for text, shape in samples.items()
        ),
        class_="sknorm-key",
    )
