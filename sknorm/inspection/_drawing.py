"""What displays have in common: colours, where they draw, and what they write."""

from __future__ import annotations

from numbers import Integral

import numpy as np

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "check_count",
    "given_axes",
    "import_matplotlib",
    "make_axes",
    "percent",
    "rounded",
    "shortened",
]

# Told apart with any kind of colour vision (Okabe and Ito), but for the grey of notes.
BLACK, BLUE, SKY, GREEN = "#000000", "#0072b2", "#56b4e9", "#009e73"
VERMILLION, PURPLE, ORANGE = "#d55e00", "#cc79a7", "#e69f00"
GREY = "#444444"


# -- where -----------------------------------------------------------------------------


def import_matplotlib(caller):
    """Raise an ImportError that says how to install what is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} draws with matplotlib: `pip install sknorm[plot]`."
        ) from error


def make_axes(ax, shape, figsize):
    """Return the figure, the axes whose place was taken, and those of the panels.

    Panels are as many as their shape says: in a figure of their own, in the place of
    one axes, or in as many axes.
    """
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes

    if ax is None:
        figure, axes = plt.subplots(
            *shape, figsize=figsize, layout="constrained", squeeze=False
        )
        return figure, None, axes
    if isinstance(ax, Axes) and shape != (1, 1):
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError(
                f"These axes stand free in their figure, and {shape[0] * shape[1]} "
                "panels can't divide their place. Make them with `plt.subplots`, or "
                "give as many axes as there are panels."
            )
        ax.set_axis_off()
        grid = place.subgridspec(*shape)
        axes = [
            [ax.figure.add_subplot(grid[i, k]) for k in range(shape[1])]
            for i in range(shape[0])
        ]
        return ax.figure, ax, np.array(axes, dtype=object)
    axes = np.array(ax, dtype=object).ravel()
    if len(axes) != shape[0] * shape[1]:
        raise ValueError(
            f"ax must hold {shape[0] * shape[1]} axes: {shape[0]} columns of "
            f"{shape[1]} panels. Got {len(axes)}."
        )
    return axes[0].figure, None, axes.reshape(shape)


def given_axes(ax, n, what, remedy=""):
    """Return the figure and the axes that a user gave, one for each of n things."""
    axes = np.array(ax, dtype=object).ravel()
    if len(axes) != n:
        message = f"ax must hold an axes for each of the {n} {what}. Got {len(axes)}."
        raise ValueError(f"{message} {remedy}".rstrip())
    return axes[0].figure, axes


# -- what is written -------------------------------------------------------------------


def shortened(name, length=30):
    """Return a name, or as much of it as there is room for."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def rounded(value, unit):
    """Write a number to a hundredth of the leading digit of a unit."""
    if not np.isfinite(value):
        return "-" if np.isnan(value) else str(value)
    # As it is written itself: 1 for 0.9999.
    size = float(f"{unit:.2e}") if np.isfinite(unit) and unit > 0 else 1.0
    largest = max(abs(value), size)
    decimals = 2 - int(np.floor(np.log10(size)))
    if decimals > 5 or largest >= 1e7:
        return f"{value:.2e}"
    # Adding 0 makes a negative zero positive.
    value = round(value, decimals) + 0.0
    return f"{value:,.{max(0, decimals)}f}"


def percent(share):
    """Write a share in percent, to two digits or as a whole number near 100 %."""
    if np.isnan(share):
        return "-"
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


# -- arguments -------------------------------------------------------------------------


def check_count(name, value, least=1, *, optional=False):
    """Raise a ValueError for what is no whole number, or too small a one."""
    if value is None and optional:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name} must be a whole number from {least} on. Got {value!r}."
        )
