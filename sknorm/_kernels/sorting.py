"""Columns in ascending order, a few at a time, so that copies stay small."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.threads import in_threads, thread_count

__all__ = ["as_counts", "map_sorted"]

_Result = TypeVar("_Result")

# Neighbouring columns share cache lines; more of them only make the copies larger.
_WIDTH = 8
# Share of the columns that may be copied at any time, over all threads.
_COPIED = 0.25
# Values, their order, and both of them sorted.
_COPIES_WITH_WEIGHTS = 4
# Compiled code is loaded for tables of more numbers than this, and sorts columns of
# more rows than that.
_WORTH_COMPILING = 500_000
_WORTH_RADIX = 5_000


def map_sorted(
    X: np.ndarray,
    work: Callable[[slice, np.ndarray, np.ndarray | None], _Result],
    weight: np.ndarray | None = None,
) -> list[_Result]:
    """Return what ``work`` makes of the sorted columns, a group of them at a time.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64, of any layout.
    work : callable
        Is given the slice of columns that a group is, its values of shape (n_columns,
        n_rows) in ascending order with NaN at the end, and the weights beside them, or
        None. The arrays are its to change; it runs in threads.
    weight : ndarray of shape (n_rows,), default=None
        Weights of the rows. Rows of weight 0 are left out.

    Returns
    -------
    list
        One result for each group, in the order of the columns.
    """
    X = np.asarray(X)
    counted = None
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight > 0)
        weight = weight[counted]

    def sort_group(columns: slice) -> _Result:
        block = X[:, columns] if counted is None else X[counted, columns]
        values = np.ascontiguousarray(block.T)
        if weight is None:
            # Of one group of Fortran order this is the caller's own memory.
            if np.shares_memory(values, X):
                values = values.copy()
            _sort(values, X.size)
            return work(columns, values, None)
        order = np.argsort(values, axis=1, kind="stable")
        return work(columns, np.take_along_axis(values, order, axis=1), weight[order])

    groups = _groups(X.shape[1], 1 if weight is None else _COPIES_WITH_WEIGHTS)
    return in_threads(sort_group, groups, X.size)


def as_counts(weight: np.ndarray) -> np.ndarray:
    """Return weights such that 1 stands for a row.

    Parameters
    ----------
    weight : ndarray of shape (n_rows,)
        Weights over 0.

    Returns
    -------
    ndarray of shape (n_rows,)
        The same, but in units of their mean where that is below 1, lest there be fewer
        rows than there are.
    """
    with np.errstate(over="ignore"):
        total = weight.sum()
    if np.isinf(total):  # Any lower power of two does: a row is nothing beside that.
        return weight * 2.0**-64
    if total >= len(weight):
        return weight
    share = weight / weight.max()
    return share * (len(weight) / share.sum())


def _groups(n_features: int, copies: int) -> list[slice]:
    fitting = int(_COPIED * n_features / (copies * thread_count()))
    width = max(1, min(_WIDTH, fitting))
    return [
        slice(start, min(start + width, n_features))
        for start in range(0, n_features, width)
    ]


def _sort(values: np.ndarray, size: int) -> None:
    """Sort the rows of a C-ordered array in place, out of ``size`` numbers in all."""
    compiled = None
    if size > _WORTH_COMPILING and values.shape[1] > _WORTH_RADIX:
        compiled = compiled_kernels("sorting")
    if compiled is None:
        values.sort(axis=1)
        return
    width = values.itemsize * 8
    bits = values.view(f"u{values.itemsize}")
    infinity = np.array(np.inf, values.dtype).view(bits.dtype)
    spare = np.empty_like(bits[0])
    for row in bits:
        compiled.sort_bits(row, spare, width, np.uint64(infinity))
