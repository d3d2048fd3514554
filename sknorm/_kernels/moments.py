"""Mean and spread of columns in one pass over tiles.

The statistics of a set of rows are kept as numbers that merge without cancellation:
the mean as an ``offset`` from an ``origin`` that is itself a value of the column, and
the standard deviation instead of a sum of squares, which neither overflows nor
underflows where the data don't.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sknorm._kernels.tiles import row_tiles

__all__ = ["ColumnMoments", "column_moments", "empty_moments", "merge"]

# Outside these a sum of squares has lost digits to overflow or underflow.
_SMALLEST_SQUARE, _LARGEST_SQUARE = 1e-280, 1e300


@dataclass(frozen=True)
class ColumnMoments:
    """Statistics of each column, arrays of shape (n_features,)."""

    count: np.ndarray
    """Number of values that are not NaN and have a weight over zero, int64."""
    weight: np.ndarray
    """Sum of their weights."""
    origin: np.ndarray
    """A value of the column, from which the mean is measured; NaN without any."""
    offset: np.ndarray
    """Mean less origin."""
    std: np.ndarray
    """Root of the weighted mean of squared deviations from the mean."""


def empty_moments(n_features: int) -> ColumnMoments:
    """Return the moments of no rows at all."""
    zeros = np.zeros(n_features)
    return ColumnMoments(
        count=np.zeros(n_features, dtype=np.int64),
        weight=zeros,
        origin=np.full(n_features, np.nan),
        offset=zeros.copy(),
        std=zeros.copy(),
    )


def merge(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    """Return the moments of two sets of rows together (Chan, Golub & LeVeque)."""
    weight = a.weight + b.weight
    if not a.count.all() or not b.count.all():
        # A side without values of a column borrows the other's origin and offset, so
        # that nothing moves.
        a, b = _borrow(a, b), _borrow(b, a)
    seen = weight > 0
    share = np.divide(b.weight, weight, out=np.zeros_like(weight), where=seen)
    delta = np.where(seen, (b.origin - a.origin) + (b.offset - a.offset), 0.0)
    rest = np.where(seen, 1.0 - share, 0.0)
    within = np.hypot(a.std * np.sqrt(rest), b.std * np.sqrt(share))
    return ColumnMoments(
        count=a.count + b.count,
        weight=weight,
        origin=a.origin,
        offset=a.offset + delta * share,
        std=np.hypot(within, delta * np.sqrt(rest * share)),
    )


def _borrow(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    unseen = a.count == 0
    return replace(
        a,
        origin=np.where(unseen, b.origin, a.origin),
        offset=np.where(unseen, b.offset, a.offset),
    )


def column_moments(X: np.ndarray, weight: np.ndarray | None = None) -> ColumnMoments:
    """Compute the moments of the columns of a table.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Floating numbers; NaN is a missing value. Read a tile at a time.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    ColumnMoments

    Notes
    -----
    A tile is shifted by the column's origin, which loses nothing for values close to
    each other, and gone over twice: for its mean and, with what rounding left over, for
    its squared deviations. Tiles are merged in a fixed binary tree, so the same rows
    give the same bits, and rounding grows with the logarithm of their number.
    """
    if weight is not None and not weight.all():
        counted = weight > 0
        X, weight = X[counted], weight[counted]
    n_rows, n_features = X.shape
    if not n_rows:
        return empty_moments(n_features)
    # Whole subtrees by size, largest first: the carry of a binary counter.
    subtrees: list[tuple[int, ColumnMoments]] = []
    origin = np.full(n_features, np.nan)
    for rows in row_tiles(n_rows, n_features):
        origin = _origin(origin, X[rows])
        tile = _tile_moments(X[rows], origin, None if weight is None else weight[rows])
        level = 0
        while subtrees and subtrees[-1][0] == level:
            tile = merge(subtrees.pop()[1], tile)
            level += 1
        subtrees.append((level, tile))
    total = subtrees.pop()[1]
    while subtrees:
        total = merge(subtrees.pop()[1], total)
    return total


def _origin(origin: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Return each column's first value, kept from earlier tiles where there is one."""
    missing = np.isnan(origin)
    if not missing.any():
        return origin
    first = np.isnan(tile).argmin(axis=0)
    found = tile[first, np.arange(tile.shape[1])].astype(np.float64)
    return np.where(missing, found, origin)


def _tile_moments(
    tile: np.ndarray, origin: np.ndarray, weight: np.ndarray | None
) -> ColumnMoments:
    with np.errstate(over="ignore", invalid="ignore"):
        shifted = np.subtract(tile, origin, dtype=np.float64)
    present = ~np.isnan(tile)
    count = present.sum(axis=0)
    w = np.ones(len(tile)) if weight is None else weight
    if count.min() < len(tile):
        shifted[~present] = 0.0
        total = w @ present
    else:
        present = None
        total = np.full(tile.shape[1], w.sum())
    divisor = np.where(total > 0, total, 1.0)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        offset = (w @ shifted) / divisor
        shifted -= offset
        if present is not None:
            shifted *= present
        left = w @ shifted
        squares = w @ np.square(shifted) - left * (left / divisor)
        offset += left / divisor
        std = np.sqrt(np.maximum(squares, 0.0) / divisor)
        lost = ~(squares < _LARGEST_SQUARE)
        small = squares < _SMALLEST_SQUARE
        if small.any():
            # Zero is the true sum of a constant column, which has no deviations.
            lost |= small & shifted.any(axis=0)
    if lost.any():
        offset, std = _rescaled(tile, origin, w, lost, offset, std)
    return ColumnMoments(count, total, origin, offset, std)


def _rescaled(
    tile: np.ndarray,
    origin: np.ndarray,
    w: np.ndarray,
    lost: np.ndarray,
    offset: np.ndarray,
    std: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Recompute columns whose squares left the range of doubles, in units of 2^k."""
    for j in np.flatnonzero(lost):
        values = tile[:, j].astype(np.float64)
        here = ~np.isnan(values)
        values, weights = values[here], w[here]
        # An exponent of its own for the weights: they may be as large as the data.
        scale = np.frexp(np.max(np.abs(values), initial=0.0))[1] + 1
        unit = np.frexp(np.max(weights, initial=0.0))[1]
        x = np.ldexp(values, -scale) - np.ldexp(origin[j], -scale)
        step = np.frexp(np.max(np.abs(x), initial=0.0))[1]
        x, v = np.ldexp(x, -step), np.ldexp(weights, -unit)
        total = v.sum()
        if not total > 0:
            continue
        mean = (v @ x) / total
        x -= mean
        left = v @ x
        squares = max(v @ np.square(x) - left * left / total, 0.0)
        offset[j] = np.ldexp(mean + left / total, scale + step)
        std[j] = np.ldexp(np.sqrt(squares / total), scale + step)
    return offset, std
