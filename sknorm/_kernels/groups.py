"""Moments of the columns within groups of rows, and scaling by them.

Rows are sorted by group and gathered a tile at a time, so that a tile holds a part of
one group, or many small ones. What a group has in several tiles is merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from types import ModuleType

import numpy as np

from sknorm._array_api import is_foreign, to_numpy
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.labels import factorize
from sknorm._kernels.merging import ColumnMoments, empty_moments, merge
from sknorm._kernels.moments import column_moments
from sknorm._kernels.segments import segment_moments
from sknorm._kernels.threads import in_threads
from sknorm._kernels.tiles import column_blocks, row_tiles

__all__ = [
    "each_field",
    "group_moments",
    "label_moments",
    "merge_groups",
    "merge_rows",
    "scale_groups",
]

# What is done to numbers: an operation, and what with, in each group.
_Step = tuple[np.ufunc, np.ndarray]

# Bits of the numbers for which NumPy's stable sort is a radix sort.
_DIGIT_BITS = 16
# Compiled code is loaded for tables of more numbers than this.
_WORTH_COMPILING = 500_000
# Rows of a tile, at most.
_TALL = 4_096


def group_moments(
    X: np.ndarray,
    codes: np.ndarray,
    n_groups: int,
    weight: np.ndarray | None = None,
) -> ColumnMoments:
    """Compute the moments of the columns of a table in each group of its rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Real numbers of any dtype and layout; NaN is a missing value.
    codes : ndarray of int of shape (n_rows,)
        Groups of the rows, from 0 on.
    n_groups : int
        How many groups there are, some perhaps without rows.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    ColumnMoments
        Arrays of shape (n_groups, n_features).
    """
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    if n_groups == 1:
        return each_field(lambda a: a[None], column_moments(X, weight))
    order = _sort(codes, n_groups)
    if weight is not None:
        order = order[weight[order] > 0]
    whole = _no_values(n_groups, X.shape[1])
    for columns in column_blocks(X.shape[1]):
        _block(X[:, columns], codes, order, weight, whole, columns)
    return ColumnMoments(*whole)


def label_moments(
    X: np.ndarray, labels: np.ndarray | None, weight: np.ndarray | None = None
) -> tuple[np.ndarray, ColumnMoments, ColumnMoments]:
    """Compute the moments of the columns in each group of rows with the same label.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Real numbers of any dtype and layout; NaN is a missing value. Arrays of other
        libraries than NumPy are brought to main memory, if rows have labels.
    labels : ndarray of shape (n_rows,) or None
        Labels of the rows; None if none has one.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    found : ndarray of shape (n_groups,)
        Each label of a row with a weight over 0, ascending.
    columns : ColumnMoments
        Moments of their groups, arrays of shape (n_groups, n_features).
    rest : ColumnMoments
        Moments of the rows without a label, arrays of shape (n_features,).
    """
    if labels is None:
        rest = column_moments(X, weight)
        return np.empty(0), each_field(lambda a: a[None][:0], rest), rest
    X = to_numpy(X)
    found, codes = factorize(labels)
    # Rows without a label are the last group.
    codes[codes < 0] = len(found)
    if weight is not None and not weight.all():
        seen = np.bincount(codes[weight > 0], minlength=len(found) + 1) > 0
        seen[-1] = True
        codes, found = (np.cumsum(seen) - 1)[codes], found[seen[:-1]]
    moments = group_moments(X, codes, len(found) + 1, weight)
    columns = each_field(lambda a: a[:-1], moments)
    return found, columns, each_field(lambda a: a[-1], moments)


def _sort(codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the order that sorts rows by group and otherwise leaves them."""
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    shift = _DIGIT_BITS
    while n_groups - 1 >> shift:
        digit = (codes[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
        shift += _DIGIT_BITS
    return order


def _no_values(n_groups: int, n_features: int) -> list[np.ndarray]:
    """Return the fields of the moments of no rows, to be filled."""
    return [
        np.tile(getattr(empty_moments(n_features), field.name), (n_groups, 1))
        for field in fields(ColumnMoments)
    ]


def _block(
    X: np.ndarray,
    codes: np.ndarray,
    order: np.ndarray,
    weight: np.ndarray | None,
    whole: list[np.ndarray],
    columns: slice,
) -> None:
    """Compute the moments of a block of columns and put them where they belong."""
    kernels = compiled_kernels("groups") if _is_for_compiled(X) else None

    def work(rows: slice) -> tuple[np.ndarray, ColumnMoments]:
        taken = order[rows]
        # In Fortran order it is the columns that lie in one piece.
        tile = _rows(X.T, taken, axis=1).T if X.flags.f_contiguous else _rows(X, taken)
        w = None if weight is None else weight[taken]
        if kernels is not None:
            return _compiled_moments(tile, codes[taken], w, kernels)
        return _tile_moments(tile, codes[taken], w)

    tiles = list(_tiles(len(order), X.shape[1]))
    if tiles:
        found, parts = zip(*in_threads(work, tiles, X.size), strict=True)
        stack = each_field(lambda *arrays: np.concatenate(arrays), *parts)
        present, moments = merge_groups(np.concatenate(found), stack)
        for array, field in zip(whole, fields(ColumnMoments), strict=True):
            array[present, columns] = getattr(moments, field.name)


def _tile_moments(
    tile: np.ndarray, codes: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, ColumnMoments]:
    """Return the groups in a tile that is sorted by them, and their moments.

    Parameters
    ----------
    tile : ndarray of shape (n_rows, n_columns)
        Values.
    codes : ndarray of int of shape (n_rows,)
        Groups of the rows, ascending.
    weight : ndarray of shape (n_rows,) or None
        Weights over 0.
    """
    n_columns = tile.shape[1]
    first = np.diff(codes, prepend=-1) != 0
    groups = codes[first]
    # Each group in each column is one segment of the values, column after column.
    segments = np.cumsum(first) - 1 + len(groups) * np.arange(n_columns)[:, None]
    segments, values = segments.reshape(-1), tile.T.astype(np.float64).reshape(-1)
    w = None if weight is None else np.tile(weight, n_columns)
    if (missing := np.isnan(values)).any():
        segments, values = segments[~missing], values[~missing]
        w = None if w is None else w[~missing]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        moments = segment_moments(segments, values, w, len(groups) * n_columns)
    return groups, each_field(lambda a: a.reshape(n_columns, -1).T, moments)


def _compiled_moments(
    tile: np.ndarray, codes: np.ndarray, weight: np.ndarray | None, kernels: ModuleType
) -> tuple[np.ndarray, ColumnMoments]:
    """Do in compiled code what :func:`_tile_moments` does."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    shape = len(starts), tile.shape[1]
    results = np.empty(shape, dtype=np.int64), *(np.empty(shape) for _ in range(4))
    suspect = kernels.run_moments(
        np.ascontiguousarray(tile),
        np.append(starts, len(codes)),
        np.empty(0) if weight is None else weight,
        *results,
    )
    if suspect:
        return _tile_moments(tile, codes, weight)
    return codes[starts], ColumnMoments(*results)


def _is_for_compiled(X: np.ndarray) -> bool:
    return X.size > _WORTH_COMPILING and X.dtype in (np.float64, np.float32)


def _tiles(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield tiles that are low enough for sums to keep their digits."""
    for rows in row_tiles(n_rows, n_columns):
        for start in range(rows.start, rows.stop, _TALL):
            yield slice(start, min(start + _TALL, rows.stop))


def merge_groups(
    codes: np.ndarray, stack: ColumnMoments
) -> tuple[np.ndarray, ColumnMoments]:
    """Merge the moments of the same group.

    Parameters
    ----------
    codes : ndarray of int of shape (n_parts,)
        Groups, ascending.
    stack : ColumnMoments
        Moments of parts of them, arrays of shape (n_parts, n_features).

    Returns
    -------
    codes : ndarray of int of shape (n_groups,)
        Each group once, ascending.
    moments : ColumnMoments
        Arrays of shape (n_groups, n_features).

    Notes
    -----
    Neighbours are merged, then neighbours of those: rounding grows with the logarithm
    of the number of parts. A level of the tree is one operation for all groups.
    """
    arrays = [getattr(stack, field.name).copy() for field in fields(ColumnMoments)]
    alive = np.arange(len(codes))
    while (follows := np.diff(codes[alive]) == 0).any():
        # Of a run of parts of one group the first, the third, and so on.
        place = np.arange(len(alive))
        place -= np.maximum.accumulate(np.append(0, np.where(follows, 0, place[1:])))
        first = np.flatnonzero((place[:-1] % 2 == 0) & follows)
        left, right = alive[first], alive[first + 1]
        merged = merge(_take(arrays, left), _take(arrays, right))
        for array, field in zip(arrays, fields(ColumnMoments), strict=True):
            array[left] = getattr(merged, field.name)
        alive = np.delete(alive, first + 1)
    return codes[alive], _take(arrays, alive)


def merge_rows(stack: ColumnMoments) -> ColumnMoments:
    """Merge the moments of all parts of the same rows.

    Parameters
    ----------
    stack : ColumnMoments
        Moments of one part or more, arrays of shape (n_parts, n_features).

    Returns
    -------
    ColumnMoments
        Arrays of shape (n_features,).
    """
    if stack.count.size > _WORTH_COMPILING:
        kernels = compiled_kernels("moments")
        if kernels is not None:
            # The same tree, which needs less memory there.
            arrays = [getattr(stack, field.name).copy() for field in fields(stack)]
            kernels.merge_tree(*arrays)
            return ColumnMoments(*(array[0].copy() for array in arrays))
    _, merged = merge_groups(np.zeros(len(stack.count), dtype=np.int64), stack)
    return each_field(lambda a: a[0], merged)


def _take(arrays: list[np.ndarray], index: np.ndarray) -> ColumnMoments:
    return ColumnMoments(*(array[index] for array in arrays))


def scale_groups(
    X: np.ndarray,
    codes: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: np.ndarray | None = None,
    *,
    undo: bool = False,
    on_infinite: Callable[[np.ndarray], None] | None = None,
) -> np.ndarray:
    """Return ``(X - center) / scale`` with the numbers of each row's group.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64. Arrays of other libraries than NumPy stay on their device.
    codes : ndarray of int of shape (n_rows,)
        Rows of ``center`` and ``scale``, from the end where they are negative.
    center : tuple of ndarrays of shape (n_groups, n_features)
        What is subtracted, one after the other.
    scale : ndarray of shape (n_groups, n_features) or None
        What is divided by; None to leave the scale.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.
    undo : bool, default=False
        Whether to return ``X * scale + center``.
    on_infinite : callable, default=None
        Is given a mask of the columns that hold an infinite value, if any does, before
        anything is written. It may raise.

    Returns
    -------
    ndarray of the shape and dtype of X
        Computed in float64 and rounded once.
    """
    if is_foreign(X):
        kernel = array_kernels("groups").scale_groups
        return kernel(X, codes, center, scale, out, undo=undo, on_infinite=on_infinite)
    X = np.asarray(X)
    if on_infinite is not None and (infinite := _infinite_columns(X)).any():
        on_infinite(infinite)
    out = np.empty_like(X) if out is None else out
    steps: list[_Step] = [(np.subtract, part) for part in center]
    if scale is not None:
        steps.append((np.divide, scale))
    if undo:
        # Small parts of a center first, so that they are not lost against the large.
        inverse: dict[np.ufunc, np.ufunc]
        inverse = {np.subtract: np.add, np.divide: np.multiply}
        steps = [(inverse[ufunc], part) for ufunc, part in reversed(steps)]
    for columns in _columns_at_once(X):
        tables = [
            (ufunc, np.ascontiguousarray(part[:, columns])) for ufunc, part in steps
        ]
        _scale_block(X[:, columns], codes, tables, out[:, columns])
    return out


def _scale_block(
    source: np.ndarray, codes: np.ndarray, steps: list[_Step], target: np.ndarray
) -> None:
    def work(rows: slice) -> None:
        tile = source[rows].astype(np.float64)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for ufunc, table in steps:
                ufunc(tile, _rows(table, codes[rows]), out=tile)
            target[rows] = tile

    in_threads(work, list(row_tiles(*source.shape)), source.size)


def _infinite_columns(X: np.ndarray) -> np.ndarray:
    """Return a mask of the columns that hold an infinite value."""
    infinite = [_infinite_in(X[:, columns]) for columns in _columns_at_once(X)]
    return np.concatenate(infinite)


def _infinite_in(block: np.ndarray) -> np.ndarray:
    def look(rows: slice) -> np.ndarray:
        tile = block[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            # A finite sum rules them out at once.
            if np.isfinite(tile.sum()):
                return np.zeros(tile.shape[1], dtype=bool)
        return np.isinf(tile).any(axis=0)

    return np.any(in_threads(look, list(row_tiles(*block.shape)), block.size), axis=0)


def _rows(table: np.ndarray, index: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return rows of a table, or columns, by indices that are in range."""
    if not table.flags.c_contiguous:
        return table[index]  # Of which ``take`` would copy the whole.
    # Any mode but the one that checks indices is twice as fast.
    return np.take(table, index, axis=axis, mode="wrap")


def _columns_at_once(X: np.ndarray) -> Iterator[slice]:
    """Yield blocks of columns whose tiles lie in few pieces."""
    by_column = X.flags.f_contiguous and not X.flags.c_contiguous
    return column_blocks(X.shape[1], 1) if by_column else column_blocks(X.shape[1])


def each_field(
    function: Callable[..., np.ndarray], *moments: ColumnMoments
) -> ColumnMoments:
    """Apply a function to the arrays of moments, field by field.

    Parameters
    ----------
    function : callable
        Takes as many arrays as there are moments, and returns one.
    *moments : ColumnMoments
        Whose arrays it is given.

    Returns
    -------
    ColumnMoments
    """
    return ColumnMoments(
        *(
            function(*(getattr(part, field.name) for part in moments))
            for field in fields(ColumnMoments)
        )
    )
