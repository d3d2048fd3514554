"""The size of a signal over depth as a curve, which ends where the signal does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sknorm.inspection._verdicts import LIMIT

__all__ = ["Curve", "darker", "mark_loss", "set_limits", "write_losses"]

# The view reaches no further: what grows or shrinks more is lost either way, and
# what doesn't would be a flat line.
_REACH = 1e10
_TICKS = 7
# Points: of a text, and from one to the next.
_TEXT, _LINE = 8.0, 11.7


@dataclass(frozen=True, eq=False)
class Curve:
    """One label's values in a panel, as they are drawn."""

    n_networks: int
    depth: np.ndarray
    """Number of each layer, from 1 on; that of the inputs is 0."""
    line: np.ndarray
    """Median over networks, NaN where it has no logarithm."""
    band: tuple[np.ndarray, np.ndarray]
    """Lowest and highest, at most 300 decades from 1."""
    theory: np.ndarray | None
    lost_at: int | None
    """Place where the signal is first 0 or not finite, on its way."""
    loss: str
    """This in words, or nothing."""
    is_zero: bool

    @classmethod
    def make(cls, of_networks, start, theory):
        """Sum up an array of shape (n_networks, n_places), the first at a depth."""
        # What isn't a number any more has been too large before.
        of_networks = np.where(np.isnan(of_networks), np.inf, of_networks)
        median = np.median(of_networks, axis=0)
        lost = np.flatnonzero((median == 0) | np.isinf(median))
        first, loss, is_zero = None, "", False
        if lost.size:
            # A gradient comes from the last layer.
            first = int(lost[0] if start == 0 else lost[-1])
            is_zero = median[first] == 0
            what = "0" if is_zero else "not finite"
            loss = f"{what} at layer {first + start}"
        median[lost] = np.nan
        extremes = of_networks.min(axis=0), of_networks.max(axis=0)
        return cls(
            n_networks=len(of_networks),
            depth=np.arange(len(median)) + start,
            line=median,
            band=tuple(np.clip(part, 1e-300, 1e300) for part in extremes),
            theory=theory,
            lost_at=first,
            loss=loss,
            is_zero=bool(is_zero),
        )

    @property
    def before_loss(self):
        """The place that the signal came from to where it was lost."""
        step = -1 if self.depth[0] == 0 else 1
        place = self.lost_at + step
        return place if 0 <= place < len(self.line) else None


def mark_loss(axes, curve, color):
    """Draw a triangle at the edge, and a dotted line that leads to it."""
    depth = curve.depth[curve.lost_at]
    before = curve.before_loss
    if before is not None:
        edge = axes.get_ylim()[0 if curve.is_zero else 1]
        axes.plot(
            [curve.depth[before], depth],
            [curve.line[before], edge],
            color=color,
            linestyle=":",
            linewidth=1.5,
        )
    (mark,) = axes.plot(
        [depth],
        [0 if curve.is_zero else 1],
        color=color,
        linestyle="none",
        marker="v" if curve.is_zero else "^",
        markersize=8,
        clip_on=False,
        zorder=4,
        transform=axes.get_xaxis_transform(),
    )
    return mark


def write_losses(axes, curves, marks):
    """Write beside each triangle what it says, one below the other."""
    written = {True: 0, False: 0}
    for label, mark in marks.items():
        curve = curves[label]
        at_bottom = curve.is_zero
        depth = curve.depth[curve.lost_at]
        is_left = depth < np.mean(axes.get_xlim())
        away = 4 + _LINE * written[at_bottom]
        written[at_bottom] += 1
        axes.annotate(
            curve.loss,
            (depth, 0 if at_bottom else 1),
            (8 if is_left else -8, away if at_bottom else -away),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if is_left else "right",
            va="bottom" if at_bottom else "top",
            fontsize=_TEXT,
            color=darker(mark.get_color()),
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
            zorder=5,
        )


def darker(color):
    """Return a color that a dashed line of it can be told by."""
    from matplotlib.colors import to_rgb

    return tuple(0.55 * np.array(to_rgb(color)))


def set_limits(axes, curves):
    """Let curves be in view as far as there is something to see."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    curves = list(curves)
    # Theory goes on where nothing could be measured.
    values = np.concatenate(
        [curve.line for curve in curves]
        + [curve.theory for curve in curves if curve.theory is not None]
    )
    values = values[np.isfinite(values) & (values > 0)]
    low = max(min(1 / LIMIT, values.min(initial=1)), 1 / _REACH)
    high = min(max(LIMIT, values.max(initial=1)), _REACH)
    pad = (high / low) ** 0.05
    axes.set_yscale("log")
    axes.set_ylim(low / pad, high * pad)
    decades = np.log10(high / low)
    # One of the ticks is 1.
    axes.yaxis.set_major_locator(LogLocator(base=10 ** np.ceil(decades / _TICKS)))
    axes.yaxis.set_minor_locator(NullLocator())
    last = max(curve.depth[-1] for curve in curves)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
