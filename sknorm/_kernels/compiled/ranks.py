"""Inner loops of :mod:`sknorm._kernels.ranks`, compiled."""

from __future__ import annotations

import numpy as np
from numba import types

from sknorm._kernels.compiled.dtypes import READ, WRITE, for_dtype

__all__ = ["interpolate_rows"]

# Rows of a column that are looked up together, in buffers of the first-level cache.
_ROWS = 1024

_NUMBERS = types.Array(types.float64, 1, "C", readonly=True)
_TABLE = types.Array(types.float64, 2, "C", readonly=True)


@for_dtype(
    READ,
    _TABLE,
    _TABLE,
    _NUMBERS,
    WRITE,
    types.Array(types.boolean, 1, "C"),
)
def interpolate_rows(
    X: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    out: np.ndarray,
    infinite: np.ndarray,
) -> None:
    """Look rows up in the tables of their columns, see ``ranks.interpolate_columns``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.
    knots, values : ndarray of shape (n_features, n_padded)
        The tables, padded to a power of two: knots by infinity, values by the last.
    last : ndarray of shape (n_features,)
        The largest knot of each column.
    out : ndarray like X
        Where the result goes, which may be ``X`` itself.
    infinite : ndarray of bool of shape (n_features,)
        Set to True where a column holds an infinite value.
    """
    n_rows, n_features = X.shape
    x = np.empty(_ROWS)
    at = np.empty(_ROWS, np.int32)
    for start in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - start)
        for j in range(n_features):
            knot, value = knots[j], values[j]
            first_knot, last_knot = knot[0], last[j]
            found = False
            for i in range(n):
                v = np.float64(X[start + i, j])
                found |= abs(v) == np.inf
                v = first_knot if v < first_knot else v
                x[i] = last_knot if v > last_knot else v
                at[i] = 0
            if found:
                infinite[j] = True
            # One step for all rows before the next, and none of them a branch: the
            # processor looks several rows up at once and has nothing to guess.
            step = np.int32(len(knot) >> 1)
            while step > 0:
                for i in range(n):
                    ahead = at[i] + step
                    at[i] = ahead if knot[ahead] <= x[i] else at[i]
                step >>= 1
            for i in range(n):
                k = at[i]
                low, high = value[k], value[k + 1]
                part = (x[i] - knot[k]) / (knot[k + 1] - knot[k])
                y = low + part * (high - low)
                # What rounding adds must not lead past the next knot's value.
                out[start + i, j] = high if y > high else y
