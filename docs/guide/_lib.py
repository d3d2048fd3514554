"""What the guide draws that no display of the library does."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

__all__ = ["draw_averages"]

# Told apart with any kind of colour vision (Okabe and Ito).
_BLUE, _VERMILLION = "#0072b2", "#d55e00"


def draw_averages(table: np.ndarray) -> Figure:
    """Draw what BatchNorm and LayerNorm take the mean and standard deviation of.

    Parameters
    ----------
    table : ndarray of shape (n_rows, n_units)
        Pre-activations of a small batch.

    Returns
    -------
    Figure
        Two panels: one with a column outlined, and the mean and standard deviation of
        each column below; and one with a row outlined, and those of each row beside.
    """
    figure, (batch, layer) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    n_rows, n_units = table.shape
    for axes in (batch, layer):
        axes.imshow(table, cmap="Greys", vmin=-4, vmax=10, aspect="auto")
        for (row, unit), value in np.ndenumerate(table):
            axes.text(unit, row, f"{value:.1f}", ha="center", va="center", fontsize=10)
        axes.set_xticks(range(n_units), [f"unit {i + 1}" for i in range(n_units)])
        axes.set_yticks(range(n_rows), [f"row {i + 1}" for i in range(n_rows)])
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=10)
        axes.spines[:].set_visible(False)
    batch.set_title("BatchNorm: down a column", color=_BLUE, loc="left", weight="bold")
    layer.set_title(
        "LayerNorm: along a row", color=_VERMILLION, loc="left", weight="bold"
    )
    _outline(batch, (-0.5, -0.5), 1, n_rows, _BLUE)
    _outline(layer, (-0.5, -0.5), n_units, 1, _VERMILLION)
    for unit, column in enumerate(table.T):
        _write(batch, unit, n_rows - 0.35, column, _BLUE, ha="center", va="top")
    for row, line in enumerate(table):
        _write(layer, n_units - 0.4, row, line, _VERMILLION, ha="left", va="center")
    return figure


def _outline(axes, corner, width, height, color):
    box = Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=3)
    # Half of the line is outside of the table.
    axes.add_patch(box).set_clip_on(False)


def _write(axes, x, y, numbers, color, **style):
    text = f"mean {numbers.mean():.1f}\nstd {numbers.std():.1f}"
    axes.text(x, y, text, color=color, fontsize=9, **style)
