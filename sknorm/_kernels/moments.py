"""Mean and spread of columns in one pass over tiles.

The statistics of a set of rows are kept as numbers that merge without cancellation:
the mean as two doubles that are not added up, and the standard deviation instead of a
sum of squares, which neither overflows nor underflows where the data don't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from sknorm._kernels.tiles import column_blocks, row_tiles

__all__ = ["ColumnMoments", "column_moments", "empty_moments", "merge"]

# Outside these a sum of squares may have lost digits to overflow or underflow.
_SMALLEST_SQUARE, _LARGEST_SQUARE = 1e-280, 1e300
# Rows that are added up in a row; their sums are added pairwise.
_RUN = 64


@dataclass(frozen=True)
class ColumnMoments:
    """Statistics of each column, read-only arrays of shape (..., n_features)."""

    count: np.ndarray
    """Number of values that are not NaN and have a weight over zero, int64."""
    weight: np.ndarray
    """Sum of their weights."""
    mean: np.ndarray
    """Weighted mean, NaN without values or with an infinite one."""
    remainder: np.ndarray
    """What rounding took off the mean: the two together have twice the digits."""
    std: np.ndarray
    """Root of the weighted mean of squared deviations from the mean."""

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).setflags(write=False)


def empty_moments(n_features: int) -> ColumnMoments:
    """Return the moments of no rows at all."""
    return ColumnMoments(
        count=np.zeros(n_features, dtype=np.int64),
        weight=np.zeros(n_features),
        mean=np.full(n_features, np.nan),
        remainder=np.full(n_features, np.nan),
        std=np.full(n_features, np.nan),
    )


def merge(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    """Return the moments of two sets of rows together (Chan, Golub & LeVeque).

    Notes
    -----
    The mean is reached from the heavier side, the shorter way, so that its error is a
    rounding of the step and not of the distance. Halves of the distance can't overflow.
    """
    if not (a.count.all() and b.count.all()):
        a, b = _borrow(a, b), _borrow(b, a)
    with _quiet():
        weight = a.weight + b.weight
        divisor = np.where(weight > 0, weight, 1.0)
        share_a, share_b = a.weight / divisor, b.weight / divisor
        half = (0.5 * b.mean - 0.5 * a.mean) + 0.5 * (b.remainder - a.remainder)
        from_a = share_a >= share_b
        step = np.where(from_a, 2.0 * share_b, -2.0 * share_a) * half
        mean, remainder = _two_sum(
            np.where(from_a, a.mean, b.mean),
            np.where(from_a, a.remainder, b.remainder) + step,
        )
        within = np.hypot(np.sqrt(share_a) * a.std, np.sqrt(share_b) * b.std)
        between = 2.0 * np.sqrt(share_a * share_b) * half
        std = np.hypot(within, between)
    return ColumnMoments(a.count + b.count, weight, mean, remainder, std)


def _borrow(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    """Give columns that are empty in ``a`` what ``b`` has, so that nothing moves."""
    empty = a.count == 0
    return ColumnMoments(
        count=a.count,
        weight=a.weight,
        mean=np.where(empty, b.mean, a.mean),
        remainder=np.where(empty, b.remainder, a.remainder),
        std=np.where(empty, b.std, a.std),
    )


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded sum and its rounding error, exactly (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def column_moments(X: np.ndarray, weight: np.ndarray | None = None) -> ColumnMoments:
    """Compute the moments of the columns of a table.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Real numbers of any dtype and layout; NaN is a missing value.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    ColumnMoments

    Notes
    -----
    A tile is shifted by one of each column's own values, which loses nothing for values
    close to each other, and gone over twice: for its mean and, with what rounding left
    over, for its squared deviations. Tiles are merged in a fixed binary tree, so the
    same rows give the same bits, and rounding grows with the logarithm of their number.
    """
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    n_rows, n_features = X.shape
    if not n_rows or not n_features:
        return empty_moments(n_features)
    with _quiet():
        blocks = [
            _block_moments(X[:, columns], weight)
            for columns in column_blocks(n_features)
        ]
    return blocks[0] if len(blocks) == 1 else _zip(np.concatenate, blocks)


def _quiet() -> np.errstate:
    """Return a context for numbers that are looked at again if they overflow."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore")


def _block_moments(block: np.ndarray, weight: np.ndarray | None) -> ColumnMoments:
    tiles = []
    # One for all tiles: fresh memory costs more than the arithmetic on it.
    work = np.empty((0, block.shape[1]))
    for rows in row_tiles(*block.shape):
        tile, w = block[rows], None if weight is None else weight[rows]
        if w is not None and not w.all():
            tile, w = tile[w > 0], w[w > 0]
        if len(tile) > len(work):
            work = np.empty(tile.shape)
        tiles.append(_tile_moments(tile, w, work[: len(tile)]))
    return _merge_all(tiles)


def _zip(
    join: Callable[[list[np.ndarray]], np.ndarray], parts: list[ColumnMoments]
) -> ColumnMoments:
    """Join the arrays of several moments, field by field."""
    return ColumnMoments(
        *(join([getattr(part, f.name) for part in parts]) for f in fields(parts[0]))
    )


def _take(stack: ColumnMoments, index: int | slice) -> ColumnMoments:
    return ColumnMoments(*(getattr(stack, f.name)[index] for f in fields(stack)))


def _merge_all(parts: list[ColumnMoments]) -> ColumnMoments:
    """Merge neighbours, then neighbours of those, a level of the tree at once."""
    if len(parts) == 1:
        return parts[0]
    stack = _zip(np.stack, parts)
    while (n := len(stack.count)) > 1:
        pairs = n - n % 2
        merged = merge(
            _take(stack, slice(0, pairs, 2)), _take(stack, slice(1, pairs, 2))
        )
        odd_one = _take(stack, slice(pairs, None))
        stack = _zip(np.concatenate, [merged, odd_one]) if n % 2 else merged
    return _take(stack, 0)


def _tile_moments(
    tile: np.ndarray, weight: np.ndarray | None, shifted: np.ndarray
) -> ColumnMoments:
    """Compute the moments of a tile, with a float64 array of its shape to work in."""
    n_rows, n_columns = tile.shape
    if not n_rows:
        return empty_moments(n_columns)
    ones = np.ones(n_rows)
    w = ones if weight is None else weight
    origin = _origin(tile)
    shifted[...] = tile
    shifted -= origin
    count = np.full(n_columns, n_rows, dtype=np.int64)
    total = np.full(n_columns, w.sum())
    first = w @ shifted
    present = None
    if np.isnan(first).any() and (missing := np.isnan(tile)).any():
        np.copyto(shifted, 0.0, where=missing)
        # Floats, for the products with them that count and mask.
        present = (~missing).astype(np.float64)
        count = (ones @ present).astype(np.int64)
        total = w @ present
        first = w @ shifted
    divisor = np.where(count > 0, total, 1.0)
    offset = first / divisor
    shifted -= offset
    if present is not None:
        shifted *= present
    left = _sums(w, shifted)
    squares = _sums(w, np.square(shifted, out=shifted)) - left * (left / divisor)
    mean, remainder = _two_sum(origin, offset + left / divisor)
    std = np.sqrt(np.maximum(squares, 0.0) / divisor)
    std[count == 0] = np.nan
    for j in _suspects(tile, origin, np.minimum(squares, squares / divisor)):
        mean[j], remainder[j], std[j] = _rescaled(tile[:, j], w)
    return ColumnMoments(count, total, mean, remainder, std)


def _sums(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``weight @ values``, with an error that hardly grows with the rows."""
    n_rows, n_columns = values.shape
    n_runs = n_rows // _RUN
    rest = n_runs * _RUN
    runs = np.matmul(
        weight[:rest].reshape(n_runs, 1, _RUN),
        values[:rest].reshape(n_runs, _RUN, n_columns),
    )
    # NumPy adds pairwise along contiguous axes only.
    by_column = np.ascontiguousarray(runs[:, 0].T)
    return by_column.sum(axis=1) + weight[rest:] @ values[rest:]


def _origin(tile: np.ndarray) -> np.ndarray:
    """Return a value of each column near its bulk: the median of three, if present."""
    a, b, c = tile[[0, len(tile) // 2, -1]].astype(np.float64)
    origin = np.fmax(np.fmin(a, b), np.fmin(np.fmax(a, b), c))
    lacking = np.flatnonzero(np.isnan(origin))
    if len(lacking):
        values = tile[:, lacking]
        first = np.isnan(values).argmin(axis=0)
        origin[lacking] = values[first, np.arange(len(lacking))]
    return origin


def _suspects(tile: np.ndarray, origin: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the columns whose squares left the range of doubles, by index."""
    suspect = ~(squares < _LARGEST_SQUARE)
    small = np.flatnonzero(squares < _SMALLEST_SQUARE)
    if len(small):
        # Zero is the true sum of a constant column.
        values = tile[:, small]
        differs = (values != origin[small]) & ~np.isnan(values)
        suspect[small] = differs.any(axis=0)
    return np.flatnonzero(suspect)


def _rescaled(column: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return mean, remainder and std, computed in units of powers of two."""
    present = ~np.isnan(column)
    x, w = column[present].astype(np.float64), weight[present]
    if np.isinf(x).any():  # C leaves their exponent open.
        return np.full(3, np.nan)
    # Magnitudes of at most 1/2, so that differences are at most 1.
    unit = int(np.frexp(np.abs(x).max())[1]) + 1
    x, w = np.ldexp(x, -unit), np.ldexp(w, -int(np.frexp(w.max())[1]))
    origin = x[0]
    x -= origin
    total = w.sum()
    offset = (w @ x) / total
    x -= offset
    left = w @ x
    squares = max(w @ np.square(x) - left * (left / total), 0.0)
    mean, remainder = _two_sum(origin, offset + left / total)
    return np.ldexp([mean, remainder, np.sqrt(squares / total)], unit)
