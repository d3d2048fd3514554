"""Inner loops of :mod:`sknorm._kernels.knots` and ``unsorted``, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from sknorm._kernels.compiled.dtypes import READ, for_dtype

__all__ = ["segment_sums", "weigh_segments"]

# Rows of a column that are looked at together, in buffers of the first-level cache.
_ROWS = 1024

_NUMBERS = types.Array(types.float64, 1, "C", readonly=True)
_LINE = types.Array(types.float64, 1, "C")
_TABLE = types.Array(types.float64, 2, "C")
_COUNTS = types.Array(types.int64, 1, "C")
_CELLS = types.Array(types.int16, 1, "C")

_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# For what only compiled code calls: less to compile.
_inner = {**_options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


# Compiled for the types it is called with: float32 only comes from sorted columns.
@njit(
    # Sums in any order, so that they are vectorised; NaN and infinity keep their sense.
    fastmath={"reassoc"},
    **_options,
)
def segment_sums(
    values: np.ndarray,
    weight: np.ndarray,
    starts: np.ndarray,
    knots: np.ndarray,
    unit: float,
    sums: np.ndarray,
) -> None:
    """Sum how far values are on their way between knots, see ``knots.segment_sums``.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        float32 or float64, ascending.
    weight : ndarray of shape (n_values,) or (0,)
        Weights of the values; none for equal ones.
    starts : ndarray of shape (n_knots,)
        Where the segment of each knot begins.
    knots : ndarray of shape (n_knots,)
        The knots, in units of ``1 / unit``.
    unit : float
        What values are multiplied by.
    sums : ndarray of shape (2, n_knots)
        Set to the sums of parts and of their squares.
    """
    n_knots = len(knots)
    sums[:, n_knots - 1] = 0.0
    for k in range(n_knots - 1):
        left = knots[k]
        width = knots[k + 1] - left
        if width == 0.0:
            width = 1.0
        first = 0.0
        second = 0.0
        if len(weight):
            for i in range(starts[k], starts[k + 1]):
                part = (values[i] * unit - left) / width
                weighted = weight[i] * part
                first += weighted
                second += weighted * part
        else:
            for i in range(starts[k], starts[k + 1]):
                part = (values[i] * unit - left) / width
                first += part
                second += part * part
        sums[0, k] = first
        sums[1, k] = second


@njit(
    types.void(
        _LINE, _LINE, _NUMBERS, _NUMBERS, _CELLS, _COUNTS, _NUMBERS,
        _TABLE, _LINE, _LINE, _COUNTS, _LINE,
    ),
    **_inner,
)  # fmt: skip
def _weigh(
    x, weight, knots, inverse, first, cells, grid, sums, beyond, beside, counts, along
):
    """Do what ``weigh_segments`` does, with some rows of a column."""
    n_knots, below, shift, base, largest_step = cells
    center, unit = grid
    low, high = knots[0], knots[n_knots - 1]
    n = len(x)
    present = 0
    for i in range(n):
        present += x[i] == x[i]
    counts[0] += present
    # Written in any case, kept if outside: the processor has nothing to guess.
    k = np.uint64(counts[1])
    if len(beside):
        for i in range(n):
            beyond[k] = x[i]
            beside[k] = weight[i]
            k += np.uint64((x[i] < low) | (x[i] > high))
    else:
        for i in range(n):
            beyond[k] = x[i]
            k += np.uint64((x[i] < low) | (x[i] > high))
    counts[1] = k
    at = np.empty(_ROWS, np.uint32)
    w = np.empty(_ROWS)
    # The bits of positive numbers are in the same order, and on a scale that is linear
    # up to the unit and logarithmic beyond it.
    bits = along.view(np.int64)
    for i in range(n):
        inside = (x[i] >= low) & (x[i] <= high)
        w[i] = weight[i] if inside else 0.0
        x[i] = x[i] if inside else low
        along[i] = abs(x[i] - center) + unit
    for i in range(n):
        cell = (bits[i] >> shift) - base
        bits[i] = below + cell if x[i] >= center else below - 1 - cell
    # Indices are unsigned, since from signed ones numba makes room for negative ones.
    for i in range(n):
        at[i] = first[np.uint64(bits[i])]
    # One step for all before the next, and none of them a branch: the processor looks
    # several numbers up at once and has nothing to guess.
    step = np.uint32(largest_step)
    while step > np.uint32(0):
        for i in range(n):
            ahead = np.uint64(at[i] + step)
            at[i] = ahead if knots[ahead] <= x[i] else at[i]
        step = step >> np.uint32(1)
    for i in range(n):
        k = np.uint64(at[i])
        away = x[i] - knots[k]
        part = away * inverse[k]
        weighted = w[i] * part
        own = sums[k]
        mass = own[0] + w[i]
        equal = own[1] + (w[i] if away == 0.0 else 0.0)
        first_sum = own[2] + weighted
        second_sum = own[3] + weighted * part
        # Read before one is written, they are added to four at once.
        own[0], own[1], own[2], own[3] = mass, equal, first_sum, second_sum


@for_dtype(
    READ,
    _NUMBERS,
    types.Array(types.float64, 2, "C", readonly=True),
    types.Array(types.float64, 2, "C", readonly=True),
    types.Array(types.int16, 2, "C"),
    types.Array(types.int64, 2, "C"),
    types.Array(types.float64, 2, "C", readonly=True),
    types.Array(types.float64, 3, "C"),
    _TABLE,
    _TABLE,
    types.Array(types.int64, 2, "C"),
)
def weigh_segments(
    X, weight, knots, inverse, first, cells, grid, sums, beyond, beyond_weight, counts
):
    """Weigh what is between knots, and collect what is beyond them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        float32 or float64.
    weight : ndarray of shape (n_rows,) or (0,)
        Weights of the rows; none for equal ones.
    knots, inverse : ndarray of shape (n_columns, n_padded)
        The knots, and one by the distance to the next, 0 for the last. Padded by
        infinity for more than the largest step.
    first : ndarray of int16 of shape (n_columns, n_cells)
        The last knot before each cell, or the first of all.
    cells : ndarray of int64 of shape (n_columns, 5)
        Number of knots, 0 for a column to be left out; number of cells below the
        center; how far bits are shifted to give a cell, and what is subtracted; half a
        power of two beyond the number of knots in any cell.
    grid : ndarray of shape (n_columns, 2)
        Center and unit of the cells.
    sums : ndarray of shape (n_columns, n_knots, 4)
        The weight from each knot to the next, that of what equals the knot, and the
        sums of parts of the way and of their squares, added to.
    beyond, beyond_weight : ndarray of shape (n_columns, n) or (n_columns, 0)
        Set to what is beyond the first and the last knot; with room for a block of rows
        more than are wanted.
    counts : ndarray of int64 of shape (n_columns, 2)
        Number of values, and of those beyond, which is more than there is room for if
        some were left out.
    """
    n_rows, n_columns = X.shape
    x_line, w_line, along = np.empty(_ROWS), np.ones(_ROWS), np.empty(_ROWS)
    room = beyond.shape[1] - _ROWS
    for start in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - start)
        x, w = x_line[:n], w_line[:n]
        if len(weight):
            for i in range(n):
                w[i] = weight[start + i]
        for j in range(n_columns):
            if cells[j, 0] == 0 or counts[j, 1] >= room:
                continue
            for i in range(n):
                x[i] = np.float64(X[start + i, j])
            if len(weight):
                for i in range(n):
                    x[i] = x[i] if w[i] > 0.0 else np.nan
            _weigh(
                x, w, knots[j], inverse[j], first[j], cells[j], grid[j], sums[j],
                beyond[j], beyond_weight[j], counts[j], along,
            )  # fmt: skip
