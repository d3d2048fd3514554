"""Moments of values that come column by column: of sparse tables, and of groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sknorm._kernels.merging import (
    FIELDS,
    LARGEST_SQUARE,
    SMALLEST_SQUARE,
    ColumnMoments,
    empty_moments,
    merge,
    rescaled,
    two_sum,
)

__all__ = ["segment_moments", "sparse_moments"]

# Entries of a sparse table that are looked at together.
_ENTRIES = 1_000_000
# A difference of sums that is a smaller share of them has lost digits.
_CANCELS = 0.1


def sparse_moments(X: Any, weight: np.ndarray | None) -> ColumnMoments:
    """Compute the moments of a sparse table, without making it dense.

    Notes
    -----
    Stored values are taken in parts, sorted by column, and merged. Then come the zeros
    that aren't stored, as if they were rows of their own.
    """
    X = X if X.format in ("csr", "csc") else X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    n_features = X.shape[1]
    values = empty_moments(n_features)
    # Of the entries of a column, NaN or not: how many, and the weight of their rows.
    n_stored, stored = np.zeros(n_features, dtype=np.int64), np.zeros(n_features)
    for columns, rows, x in _sparse_parts(X):
        w = None if weight is None else weight[rows]
        if w is not None and not w.all():
            columns, x, w = columns[w > 0], x[w > 0], w[w > 0]
        present, counts, sums = _segment_sums(columns, w)
        n_stored[present] += counts
        stored[present] += sums
        kept = ~np.isnan(x)
        w = None if w is None else w[kept]
        part = segment_moments(columns[kept], x[kept], w, n_features)
        values = merge(values, part)
    n_rows = X.shape[0] if weight is None else np.count_nonzero(weight)
    total = float(n_rows) if weight is None else weight.sum()
    absent = total - stored
    if weight is not None:
        lost = (absent < _CANCELS * total) & (n_stored < n_rows)
        absent = _sum_again(X, weight, absent, lost)
    return merge(values, _zeros(n_rows - n_stored, absent))


def _sparse_parts(X: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the columns in ascending order, rows and values of parts of the entries."""
    if X.format == "csc":
        for start in range(0, X.nnz, _ENTRIES):
            part = slice(start, min(start + _ENTRIES, X.nnz))
            entries = np.arange(part.start, part.stop)
            columns = np.searchsorted(X.indptr, entries, side="right") - 1
            yield columns, X.indices[part], X.data[part].astype(np.float64)
        return
    n_rows, start = X.shape[0], 0
    while start < n_rows:
        stop = np.searchsorted(X.indptr, X.indptr[start] + _ENTRIES, side="right") - 1
        stop = min(max(int(stop), start + 1), n_rows)
        part = X[start:stop].tocsc()
        columns = np.repeat(np.arange(X.shape[1]), np.diff(part.indptr))
        yield columns, part.indices + start, part.data.astype(np.float64)
        start = stop


def _segment_sums(
    columns: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns there are, and count and sum of the weights of each."""
    starts = _starts(columns)
    counts = np.diff(starts, append=len(columns))
    sums = counts.astype(np.float64) if weight is None else _reduce(weight, starts)
    return columns[starts], counts, sums


def _starts(columns: np.ndarray) -> np.ndarray:
    """Return where each run of equal numbers begins."""
    return np.flatnonzero(np.diff(columns, prepend=-1))


def _reduce(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the sums of runs of values; NumPy adds each pairwise."""
    # Which takes no runs at all for a mistake.
    return np.add.reduceat(values, starts) if len(starts) else np.empty(0)


def segment_moments(
    columns: np.ndarray, x: np.ndarray, weight: np.ndarray | None, n_features: int
) -> ColumnMoments:
    """Compute the moments of values sorted by column.

    Parameters
    ----------
    columns : ndarray of int of shape (n_values,)
        Columns of the values, ascending.
    x : ndarray of float64 of shape (n_values,)
        Values that are not NaN.
    weight : ndarray of shape (n_values,) or None
        Their weights, over 0.
    n_features : int
        Number of columns, of which some may have no values.

    Returns
    -------
    ColumnMoments
    """
    if not len(x):
        return empty_moments(n_features)
    starts = _starts(columns)
    ends = np.append(starts[1:], len(x))
    counts = np.diff(starts, append=len(x))
    w = np.ones(len(x)) if weight is None else weight
    total = _reduce(w, starts)
    a, b, c = x[starts], x[(starts + ends) // 2], x[ends - 1]
    origin = np.fmax(np.fmin(a, b), np.fmin(np.fmax(a, b), c))
    shifted = x - np.repeat(origin, counts)
    offset = _reduce(w * shifted, starts) / total
    shifted -= np.repeat(offset, counts)
    left = _reduce(w * shifted, starts)
    squares = _reduce(w * np.square(shifted), starts) - left * (left / total)
    mean, remainder = two_sum(origin, offset + left / total)
    std = np.sqrt(np.maximum(squares, 0.0) / total)
    scaled = np.minimum(squares, squares / total)
    varied = np.maximum.reduceat(np.abs(shifted), starts) > 0
    suspect = ~(scaled < LARGEST_SQUARE) | ((scaled < SMALLEST_SQUARE) & varied)
    for j in np.flatnonzero(suspect):
        run = slice(starts[j], ends[j])
        mean[j], remainder[j], std[j] = rescaled(x[run], w[run])
    whole = [np.array(getattr(empty_moments(n_features), name)) for name in FIELDS]
    for array, part in zip(whole, (counts, total, mean, remainder, std), strict=True):
        array[columns[starts]] = part
    return ColumnMoments(*whole)


def _sum_again(
    X: Any, weight: np.ndarray, absent: np.ndarray, cancelled: np.ndarray
) -> np.ndarray:
    """Return the weights of rows without an entry, where a difference won't do."""
    index = np.flatnonzero(cancelled)
    if len(index):
        absent = absent.copy()
        some = X[:, index].tocsc()
        for j, start, stop in zip(index, some.indptr, some.indptr[1:], strict=False):
            without = weight.copy()
            without[some.indices[start:stop]] = 0.0
            absent[j] = without.sum()
    return absent


def _zeros(count: np.ndarray, weight: np.ndarray) -> ColumnMoments:
    """Return the moments of so many zeros."""
    mean, remainder, std = np.where(count > 0, np.zeros((3, 1)), np.nan)
    weight = np.where(count > 0, weight, 0.0)
    return ColumnMoments(count, weight, mean, remainder, std)
