"""What the array versions share: blocks, sums, and masks of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import array_api_extra as xpx
import numpy as np

from sknorm._array_api import (
    beside,
    float_dtypes,
    is_writeable,
    namespace,
    to_numpy,
)

__all__ = [
    "as_reals",
    "column_parts",
    "column_sums",
    "count_present",
    "infinite_columns",
    "map_blocks",
    "quiet",
    "row_parts",
    "take_in_columns",
]

# Numbers in a block: enough to keep any device busy, and few beside its memory.
_BLOCK = 16_777_216
# Numbers that are added up in a row; their sums are added again.
_RUN = 64


def quiet() -> np.errstate:
    """Return a context for libraries that compute in NumPy, and warn as it does."""
    return np.errstate(all="ignore")


def row_parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices that cut the rows of a table into blocks.

    Parameters
    ----------
    shape : tuple of two ints
        Rows and columns.

    Yields
    ------
    slice
        Consecutive rows.
    """
    yield from _parts(shape[0], shape[1])


def column_parts(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices that cut the columns of a table into blocks.

    Parameters
    ----------
    shape : tuple of two ints
        Rows and columns.

    Yields
    ------
    slice
        Consecutive columns.
    """
    yield from _parts(shape[1], shape[0])


def _parts(length: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def map_blocks(
    work: Callable[..., Any], X: Any, out: Any, width: int, *more: np.ndarray
) -> Any:
    """Return what ``work`` makes of blocks of rows, one below the other.

    Parameters
    ----------
    work : callable
        Is given a block as the widest floats that there are, with what there is more of
        its rows, and returns as many.
    X : array of shape (n_rows, n_features)
        The rows.
    out : array of shape (n_rows, width) or None
        Where the result goes, which may be ``X`` itself.
    width : int
        Columns of the result.
    *more : ndarrays of shape (n_rows,)
        What else ``work`` is given of the rows of a block.

    Returns
    -------
    array of shape (n_rows, width), of the dtype of X
    """
    xp = namespace(X)
    parts = list(row_parts((X.shape[0], max(X.shape[1], width))))

    def done(rows: slice) -> Any:
        result = work(as_reals(X[rows, :]), *(each[rows] for each in more))
        return xp.astype(result, X.dtype, copy=False)

    with quiet():
        if out is None and (len(parts) == 1 or not is_writeable(X)):
            found = [done(rows) for rows in parts]
            return found[0] if len(found) == 1 else xp.concat(found, axis=0)
        if out is None:
            device = array_api_compat.device(X)
            out = xp.empty((X.shape[0], width), dtype=X.dtype, device=device)
        for rows in parts:
            out = xpx.at(out)[rows, :].set(done(rows))
    return out


def as_reals(X: Any) -> Any:
    """Return an array in the widest floats of its device.

    Parameters
    ----------
    X : array
        float32 or float64.

    Returns
    -------
    array
        ``X`` itself if there are no wider ones.
    """
    return namespace(X).astype(X, float_dtypes(X)[0], copy=False)


def column_sums(values: Any) -> np.ndarray:
    """Add up columns, with an error that hardly grows with the rows.

    Parameters
    ----------
    values : array of shape (n_rows, n_columns)
        The numbers.

    Returns
    -------
    ndarray of float64 of shape (n_columns,)

    Notes
    -----
    Sums of runs are added up in runs again. Those of float32, which has no digits for
    more, are brought to main memory and added up as doubles.
    """
    xp = namespace(values)
    narrow = values.dtype == xp.float32
    n_rows, n_columns = values.shape
    while n_rows >= _RUN:
        n_runs = n_rows // _RUN
        stop = n_runs * _RUN
        runs = xp.reshape(values[:stop, :], (n_runs, _RUN, n_columns))
        sums = xp.sum(runs, axis=1)
        if stop < n_rows:
            sums = xp.concat([sums, values[stop:, :]], axis=0)
        values, n_rows = sums, sums.shape[0]
        if narrow:
            break
    if not narrow:
        return to_numpy(xp.sum(values, axis=0))
    # Contiguous columns, along which NumPy adds pairwise.
    return np.array(to_numpy(values).T, dtype=np.float64, order="C").sum(axis=1)


def count_present(X: Any) -> np.ndarray:
    """Count the values of each column that are not NaN.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Values.

    Returns
    -------
    ndarray of int64 of shape (n_features,)
    """
    xp = namespace(X)
    missing = xp.astype(xp.isnan(X), xp.int64)
    return X.shape[0] - to_numpy(xp.sum(missing, axis=0))


def infinite_columns(X: Any) -> np.ndarray:
    """Tell which columns hold infinite values.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Values.

    Returns
    -------
    ndarray of bool of shape (n_features,)
    """
    xp = namespace(X)
    return to_numpy(xp.any(xp.isinf(X), axis=0))


def take_in_columns(X: Any, index: np.ndarray) -> np.ndarray:
    """Return some values of each column.

    Parameters
    ----------
    X : array of shape (n_rows, n_columns)
        Values.
    index : ndarray of int of shape (n_taken, n_columns)
        In which rows they stand.

    Returns
    -------
    ndarray of float64 of shape (n_taken, n_columns)
    """
    index = beside(index.astype(np.int64), X)
    taken = namespace(X).take_along_axis(X, index, axis=0)
    return to_numpy(taken).astype(np.float64)
