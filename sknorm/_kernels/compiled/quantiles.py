"""Inner loop of :mod:`sknorm._kernels.quantiles`, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from sknorm._kernels.compiled.dtypes import READ, for_dtype

__all__ = ["look_through"]

# Rows of a column that are looked at together, in buffers of the first-level cache.
_ROWS = 1024
_LARGEST = float(np.finfo(np.float64).max)

_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# For what only compiled code calls: less to compile.
_inner = {**_options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_LINE = types.Array(types.float64, 1, "C")
_TABLE = types.Array(types.float64, 2, "C")


@njit(
    # Sums in any order, so that they are vectorised; NaN keeps its sense.
    types.void(_LINE, _LINE, _LINE, _LINE, _LINE),
    fastmath={"reassoc"},
    **_inner,
)
def _weigh(x, weight, edges, less, equal):
    """Add up the weights of what is below each edge, and of what is on it."""
    for k in range(len(edges)):
        edge = edges[k]
        below = 0.0
        on = 0.0
        for i in range(len(x)):
            below += weight[i] if x[i] < edge else 0.0
            on += weight[i] if x[i] == edge else 0.0
        less[k] += below
        equal[k] += on


@njit(types.void(_LINE, _LINE, _LINE), fastmath={"reassoc"}, **_inner)
def _sum_up(x, weight, totals):
    """Keep count, weight and range of what is not NaN."""
    count = 0.0
    total = 0.0
    outside = 0.0
    low, high = totals[2], totals[3]
    for i in range(len(x)):
        count += 1.0 if x[i] == x[i] else 0.0
        total += weight[i] if x[i] == x[i] else 0.0
        outside += 1.0 if (x[i] < low) | (x[i] > high) else 0.0
    totals[0] += count
    totals[1] += total
    # As good as never, once some rows are through.
    if outside > 0.0:
        for i in range(len(x)):
            low = x[i] if x[i] < low else low
            high = x[i] if x[i] > high else high
        totals[2], totals[3] = low, high


@njit(types.int64(_LINE, _LINE, _LINE, _LINE, _LINE, types.int64), **_inner)
def _collect(x, weight, edges, values, weights, n):
    """Append what is between edges ``2 k`` and ``2 k + 1``."""
    inside = np.zeros(_ROWS, np.uint8)
    for k in range(0, len(edges), 2):
        low, high = edges[k], edges[k + 1]
        for i in range(len(x)):
            inside[i] |= (x[i] > low) & (x[i] < high)
    # Written in any case, kept if inside: the processor has nothing to guess.
    for i in range(len(x)):
        values[n] = x[i]
        weights[n] = weight[i]
        n += inside[i]
    return n


@for_dtype(
    READ,
    types.Array(types.float64, 1, "C", readonly=True),
    types.Array(types.float64, 1, "C", readonly=True),
    types.boolean,
    _TABLE,
    types.Array(types.float64, 3, "C"),
    _TABLE,
    _TABLE,
    _TABLE,
    types.Array(types.int64, 1, "C"),
)
def look_through(
    X, weight, center, deviate, edges, sums, totals, values, weights, n_inside
):
    """Weigh values of columns below and on edges, and collect those between them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.
    weight : ndarray of shape (n_rows,) or (0,)
        Weights of the rows; none for equal ones.
    center : ndarray of shape (n_features,)
        What deviations are measured from.
    deviate : bool
        Whether absolute deviations are looked at in place of values.
    edges : ndarray of shape (n_features, n_edges)
        Two for each bracket.
    sums : ndarray of shape (n_features, 2, n_edges)
        Weights below and on the edges, added to.
    totals : ndarray of shape (n_features, 4)
        Number of values, their weight, the smallest and the largest, updated.
    values, weights : ndarray of shape (n_features, n_rows + 1)
        Set to what is between the edges.
    n_inside : ndarray of int64 of shape (n_features,)
        Set to how many these are.
    """
    n_rows, n_features = X.shape
    x_line, w_line = np.empty(_ROWS), np.ones(_ROWS)
    for start in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - start)
        x, w = x_line[:n], w_line[:n]
        if len(weight):
            for i in range(n):
                w[i] = weight[start + i]
        for j in range(n_features):
            for i in range(n):
                x[i] = np.float64(X[start + i, j])
            if deviate:
                for i in range(n):
                    away = abs(x[i] - center[j])
                    x[i] = _LARGEST if away > _LARGEST else away
            if len(weight):
                for i in range(n):
                    x[i] = x[i] if w[i] > 0.0 else np.nan
            _sum_up(x, w, totals[j])
            _weigh(x, w, edges[j], sums[j, 0], sums[j, 1])
            n_inside[j] = _collect(x, w, edges[j], values[j], weights[j], n_inside[j])
