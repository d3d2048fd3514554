"""Columns in ascending order, a few at a time, so that copies stay small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.threads import in_threads, thread_count

__all__ = [
    "as_counts",
    "by_column",
    "column_groups",
    "each_sorted",
    "map_sorted",
    "sort_rows",
]

_Result = TypeVar("_Result")

# Neighbouring columns share cache lines; more of them only make the copies larger.
_WIDTH = 8
# Rows whose part of a few columns stays in cache.
_TILE = 4_096
# Share of the columns that may be copied at any time, over all threads.
_COPIED = 0.25
# Of doubles: values, weights, and what is worked in.
_COPIES_WITH_WEIGHTS = 3
# A number takes so many times longer than in a plain pass over memory.
_EFFORT = 16
# Numbers from which on threads share the work: that is so many units of it.
_WORTH_SHARING = 1_000_000 // _EFFORT
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

    def sorted_group(columns: slice) -> tuple[np.ndarray, np.ndarray | None]:
        block = X[:, columns] if counted is None else X[counted, columns]
        values = by_column(block)
        weights = None if weight is None else np.tile(weight, (len(values), 1))
        sort_rows(values, weights, is_large=X.size > _WORTH_COMPILING)
        return values, weights

    copies = 1
    if weight is not None:
        copies = _COPIES_WITH_WEIGHTS * (8 // X.itemsize)
    groups = column_groups(X.shape, copies)
    if X.size > _WORTH_COMPILING:
        return in_threads(lambda g: work(g, *sorted_group(g)), groups, X.size)
    # Threads pay for the sorting of a small table already, but what comes after is
    # microseconds' work between steps of the interpreter.
    arrays = in_threads(sorted_group, groups, _EFFORT * X.size)
    return [work(g, *a) for g, a in zip(groups, arrays, strict=True)]


def each_sorted(
    block: np.ndarray, weight: np.ndarray | None, columns: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Yield some columns of a large block, each sorted when its turn comes.

    Parameters
    ----------
    block : ndarray of shape (n_rows, n_columns)
        float32 or float64, of any layout.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows. Rows of weight 0 are left out.
    columns : sequence of int
        Which columns.

    Yields
    ------
    int, ndarray, ndarray or None
        Which column it is, its values in ascending order with NaN at the end, and the
        weights beside them.
    """
    if not columns:
        return
    counted = None
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight > 0)
        weight = weight[counted]
    values = by_column(block, counted)
    for j in columns:
        beside = None if weight is None else weight[None].copy()
        sort_rows(values[j : j + 1], beside, is_large=True)
        yield j, values[j], None if beside is None else beside[0]


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


def sort_rows(
    values: np.ndarray, weights: np.ndarray | None = None, *, is_large: bool
) -> None:
    """Sort the rows of a table in place, and weights beside their values.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_values)
        float32 or float64 in C order. NaN goes last.
    weights : ndarray of float64 of shape (n_rows, n_values), default=None
        Weights, in C order.
    is_large : bool
        Whether there is enough to sort in all to load compiled code.
    """
    compiled = None
    if is_large and values.shape[1] > _WORTH_RADIX:
        compiled = compiled_kernels("sorting")
    if compiled is not None:
        infinity = np.array(np.inf, values.dtype).view(f"u{values.itemsize}")
        bits = values.view(infinity.dtype)
        spare = np.empty_like(bits[0])
        none = np.empty(0)
        spare_weights = none if weights is None else np.empty_like(weights[0])
        for j, row in enumerate(bits):
            beside = none if weights is None else weights[j]
            compiled.sort_bits(
                row, beside, spare, spare_weights,
                values.itemsize * 8, np.uint64(infinity),
            )  # fmt: skip
    elif weights is None:
        values.sort(axis=1)
    else:
        for row, beside in zip(values, weights, strict=True):
            order = row.argsort()
            row[...], beside[...] = row[order], beside[order]


def by_column(block: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Return a copy of a few columns, each of them contiguous.

    Parameters
    ----------
    block : ndarray of shape (n_rows, n_columns)
        The columns, of any layout.
    counted : ndarray of int of shape (n_counted,), default=None
        Which rows are copied; None for all.

    Returns
    -------
    ndarray of shape (n_columns, n_counted)
    """
    n_rows = len(block) if counted is None else len(counted)
    copy = np.empty((block.shape[1], n_rows), dtype=block.dtype)
    # NumPy goes over all rows for each column: a few rows stay in cache meanwhile.
    for start in range(0, n_rows, _TILE):
        rows = slice(start, start + _TILE)
        copy[:, rows] = block[rows if counted is None else counted[rows]].T
    return copy


def column_groups(shape: tuple[int, int], copies: int = 1) -> list[slice]:
    """Cut the columns into groups that threads may copy.

    Parameters
    ----------
    shape : tuple of two ints
        Number of rows and of columns.
    copies : int, default=1
        How many arrays of the size of a group a thread needs.

    Returns
    -------
    list of slice
    """
    n_rows, n_features = shape
    width = _WIDTH
    if n_rows * n_features > _WORTH_COMPILING:
        width = max(1, int(_COPIED * n_features / (copies * thread_count())))
    width = min(width, _WIDTH)
    if n_rows * n_features > _WORTH_SHARING:
        # As many for each thread.
        threads = thread_count()
        n_groups = -(-n_features // (width * threads)) * threads
        width = -(-n_features // n_groups)
    return [
        slice(start, min(start + width, n_features))
        for start in range(0, n_features, width)
    ]
