"""Dask collections in blocks of rows or columns, and trees of tasks over them.

Whoever has a collection at hand has imported Dask before, so that only functions
import it here: arrays in memory don't pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = [
    "column_groups",
    "is_dask",
    "is_frame",
    "map_rows",
    "reduce_tree",
    "row_blocks",
    "stand_in",
    "take_columns",
    "weight_blocks",
]

# Summaries that a task merges: fewer make more tasks, more of them wait for each other.
_FAN_IN = 8


def is_dask(X: Any) -> bool:
    """Tell if something is a Dask collection, without importing Dask."""
    return type(X).__module__.startswith("dask.")


def is_frame(X: Any) -> bool:
    """Tell if a Dask collection is a DataFrame or a column of one."""
    return type(X).__module__.startswith("dask.dataframe.")


def stand_in(X: Any) -> Any:
    """Return a small table in memory that has the columns of a collection.

    Parameters
    ----------
    X : Dask Array or DataFrame
        Any; nothing of it is computed.

    Returns
    -------
    ndarray or DataFrame
        One or two rows of made-up values.

    Raises
    ------
    TypeError
        If it is another kind of collection, or an Array of other blocks than NumPy's.
    ValueError
        If the number of columns isn't known.
    """
    if is_frame(X):
        from dask.dataframe.utils import meta_nonempty

        return meta_nonempty(X._meta)
    if not type(X).__module__.startswith("dask.array."):
        raise TypeError(
            "Of Dask's collections only Arrays and DataFrames are taken. Got "
            f"{type(X).__name__}."
        )
    if not isinstance(X._meta, np.ndarray):
        raise TypeError(
            "Dask Arrays are taken with blocks of NumPy arrays only. Got blocks of "
            f"{type(X._meta).__name__}."
        )
    width = X.shape[1:]
    if np.isnan(width).any():
        raise ValueError(
            "The number of columns of a Dask Array must be known. Call "
            "compute_chunk_sizes() on it."
        )
    return np.ones((1, *width) if X.ndim else (), X.dtype)


def row_blocks(X: Any) -> list[Any]:
    """Return the blocks of rows of a table, or of a vector, each a ``Delayed``.

    Parameters
    ----------
    X : Dask Array, DataFrame or Series
        If it is cut along columns, rows are put together first.

    Returns
    -------
    list of Delayed
        In the order of the rows.
    """
    if is_frame(X):
        return list(X.to_delayed())
    return list(_whole_rows(X).to_delayed().flat)


def weight_blocks(weight: Any, X: Any, blocks: list[Any]) -> list[Any]:
    """Cut weights as the rows are cut.

    Parameters
    ----------
    weight : None, float, array-like, Dask Array or Series of shape (n_samples,)
        Weights of the rows.
    X : Dask Array or DataFrame of shape (n_samples, n_features)
        The rows.
    blocks : list of Delayed
        Its blocks.

    Returns
    -------
    list
        Weights of each block: ``Delayed``, arrays, or the one that was given.

    Raises
    ------
    ValueError
        If there are not as many as rows, as far as that is known beforehand. Whether
        the lengths of blocks agree is for the one to see who has them.

    Notes
    -----
    Arrays in memory are cut by the lengths of the blocks. Those of a DataFrame aren't
    known: they are computed, which loads it once more.
    """
    if weight is None or np.isscalar(weight):
        return [weight] * len(blocks)
    lengths = None if is_frame(X) or np.isnan(X.shape[0]) else X.chunks[0]
    if not is_dask(weight):
        weight = np.asarray(weight)
        if lengths is None:
            from dask import compute, delayed

            lengths = compute([delayed(len)(block) for block in blocks])[0]
        _check_length(weight.shape, sum(lengths))
        return np.split(weight, np.cumsum(lengths)[:-1])
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D. Got a Dask collection of {weight.ndim} "
            "dimensions."
        )
    if lengths is not None and not is_frame(weight) and not np.isnan(weight.shape[0]):
        _check_length(weight.shape, sum(lengths))
        weight = weight.rechunk((lengths,))
    found = row_blocks(weight)
    if len(found) != len(blocks):
        raise ValueError(
            f"X has {len(blocks)} blocks of rows and sample_weight {len(found)}, and "
            "not all of their lengths are known. Cut both alike, or call "
            "compute_chunk_sizes() on Arrays."
        )
    return found


def _check_length(shape: tuple[int, ...], n_rows: int) -> None:
    if shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {shape}, expected {(n_rows,)}!")


def column_groups(X: Any, width: int) -> Iterator[slice]:
    """Yield slices that cut the columns into groups.

    Parameters
    ----------
    X : Dask Array or DataFrame
        A table. Where an Array is cut along columns, so are the groups: none needs
        more blocks than it has to.
    width : int
        How many columns a group has at most.

    Yields
    ------
    slice
        Consecutive columns.
    """
    start = 0
    for n_columns in [len(X.columns)] if is_frame(X) else X.chunks[1]:
        stop = start + n_columns
        for first in range(start, stop, width):
            yield slice(first, min(first + width, stop))
        start = stop


def take_columns(X: Any, columns: slice) -> Any:
    """Return some columns; from a file only these are read, if it allows for that."""
    return X.iloc[:, columns] if is_frame(X) else X[:, columns]


def reduce_tree(parts: list[Any], merge: Callable[[list[Any]], Any]) -> Any:
    """Compute parts and merge them, on the scheduler that is active.

    Parameters
    ----------
    parts : list of Delayed
        At least one.
    merge : callable
        Makes one value of a list of up to eight.

    Returns
    -------
    object
        The value of all. The tree depends on the number of parts only, so that the
        bits of the result don't tell who computed it.
    """
    from dask import config, delayed

    task = delayed(merge)
    while len(parts) > 1:
        parts = [
            task(parts[start : start + _FAN_IN])
            for start in range(0, len(parts), _FAN_IN)
        ]
    # A block is summarized by the task that loads it, and by no other worker later.
    with config.set({"optimization.fuse.delayed": True}):
        return parts[0].compute()


def map_rows(work: Callable[[Any], Any], X: Any, like: Any) -> Any:
    """Return what ``work`` makes of each block of rows, not computed yet.

    Parameters
    ----------
    work : callable
        Is given a block and returns as many rows.
    X : Dask Array or DataFrame
        The rows.
    like : ndarray or DataFrame
        What comes of no rows. A DataFrame comes of blocks that are DataFrames only.

    Returns
    -------
    Dask Array or DataFrame
        Of the kind that ``like`` is.
    """
    if is_frame(X):
        return X.map_partitions(work, meta=like)
    X = _whole_rows(X)
    chunks = (X.chunks[0], (like.shape[1],))
    return X.map_blocks(work, dtype=like.dtype, chunks=chunks, meta=like)


def _whole_rows(X: Any) -> Any:
    return X.rechunk({1: -1}) if X.ndim > 1 else X
