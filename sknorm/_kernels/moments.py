"""Mean and spread of columns in one pass over tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.sparse import issparse

from sknorm._array_api import is_foreign
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.merging import (
    FIELDS,
    LARGEST_SQUARE,
    SMALLEST_SQUARE,
    ColumnMoments,
    empty_moments,
    merge,
    quiet,
    rescaled,
    two_sum,
)
from sknorm._kernels.segments import sparse_moments
from sknorm._kernels.threads import in_threads
from sknorm._kernels.tiles import column_blocks, frozen, row_tiles

__all__ = ["column_moments"]

# Rows that are added up in a row; their sums are added pairwise.
_RUN = 64
# Numbers below which a table isn't cut: tiles have a price of their own.
_UNCUT = 262_144
# Numbers in a row that are enough for NumPy not to lose time between rows: for a
# difference, and for a product with weights.
_DIFFERENCES, _WIDTH = 5_000, 1_024
# Rows from which to guess a mean.
_SAMPLE = 64
# Square of the distance, in variances, from which deviations may be measured.
_CLOSE = 0.25
# Compiled code is loaded for tables of more numbers than this.
_WORTH_COMPILING = 500_000
# Tiles that a thread takes at once: a power of two, for the tree to be that of all.
_TILES = 16
# From this many numbers on it takes more.
_LARGE = 20_000_000
# Rows of a tile in Fortran order, and columns that a thread takes at once.
_TALL, _BESIDE = 8_192, 8
# Numbers that compiled code adds to sums of their own side by side, at most.
_LINE = 512


def column_moments(X: np.ndarray, weight: np.ndarray | None = None) -> ColumnMoments:
    """Compute the moments of the columns of a table.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_features)
        Real numbers of any dtype and layout; NaN is a missing value. Arrays of other
        libraries than NumPy stay on their device.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    ColumnMoments

    Notes
    -----
    In a tile deviations are measured from a number near the mean: that of a sample, or
    the mean of the tile before. Where it turns out that they cancel, the tile is gone
    over again from one of its own values, which loses nothing for values close to each
    other, and from the mean that comes of that. Tiles are merged in a fixed binary
    tree, so the same rows give the same bits, whatever the number of threads, and
    rounding grows with the logarithm of their number.

    Compiled code does it for large tables, with sums in another order: the results are
    the same up to rounding.
    """
    if issparse(X):
        with quiet():
            return sparse_moments(X, weight)
    if is_foreign(X):
        return array_kernels("moments").column_moments(X, weight)
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    n_rows, n_features = X.shape
    if not n_rows or not n_features:
        return empty_moments(n_features)
    with quiet():
        kernels = compiled_kernels("moments") if _is_for_compiled(X) else None
        if kernels is not None:
            return _compiled_moments(X, weight, kernels)
        blocks = [
            _block_moments(X[:, columns], weight)
            for columns in column_blocks(n_features)
        ]
    return blocks[0] if len(blocks) == 1 else _zip(np.concatenate, blocks)


def _is_for_compiled(X: np.ndarray) -> bool:
    return (
        X.size > _WORTH_COMPILING
        and X.dtype in (np.float64, np.float32)
        and X.flags.aligned
    )


def _compiled_moments(
    X: np.ndarray, weight: np.ndarray | None, kernels: ModuleType
) -> ColumnMoments:
    """Compute the moments in threads, each a few tiles at a time."""
    n_rows, n_features = X.shape
    weight = np.empty(0) if weight is None else weight
    if X.flags.f_contiguous and not X.flags.c_contiguous:
        # A tile has one column there, as many rows as make it worth its overhead.
        step = min(n_rows, _TALL)
        blocks = [
            slice(j, min(j + _BESIDE, n_features))
            for j in range(0, n_features, _BESIDE)
        ]
    else:
        blocks = list(column_blocks(n_features))
        # The first block is as wide as any.
        step = next(row_tiles(n_rows, blocks[0].stop)).stop
    height = step * (_TILES if X.size < _LARGE else 4 * _TILES)
    starts = range(0, n_rows, height)
    parts = [
        (slice(start, min(start + height, n_rows)), columns)
        for columns in blocks
        for start in starts
    ]

    def work(part: tuple[slice, slice]) -> list[np.ndarray]:
        return _part_moments(X, weight, part, step, kernels)

    results = in_threads(work, parts, X.size)
    merged = []
    for i in range(0, len(results), len(starts)):
        stack = [
            np.array(arrays)
            for arrays in zip(*results[i : i + len(starts)], strict=True)
        ]
        kernels.merge_tree(*stack)
        merged.append(ColumnMoments(*(array[0] for array in stack)))
    return merged[0] if len(merged) == 1 else _zip(np.concatenate, merged)


def _part_moments(
    X: np.ndarray,
    weight: np.ndarray,
    part: tuple[slice, slice],
    step: int,
    kernels: ModuleType,
) -> list[np.ndarray]:
    """Return the moments of a few tiles of ``step`` rows, field by field."""
    rows, columns = part
    block, weight = X[part], weight[rows]
    n_rows, n_columns = block.shape
    by_column = X.flags.f_contiguous and not X.flags.c_contiguous
    if by_column:
        memory, start, row_stride = X.T.reshape(-1), columns.start * len(X), 1
        start += rows.start
    elif X.flags.c_contiguous:
        memory, start, row_stride = X.reshape(-1), rows.start * X.shape[1], X.shape[1]
        start += columns.start
    else:
        memory, start, row_stride = block.reshape(-1), 0, n_columns
    shape = (-(-n_rows // step), n_columns)
    lead = (n_columns, shape[0], 1) if by_column else (1, *shape)
    stack = [np.empty(lead, dtype=np.int64), *(np.empty(lead) for _ in range(4))]
    suspect = np.empty(lead, dtype=bool)
    # Lines of a row, of a few rows that lie end to end, or of values of a column.
    together = by_column or row_stride == n_columns
    per_line = 2 ** (max(1, _LINE // lead[2]).bit_length() - 1) if together else 1
    kernels.tile_moments(
        frozen(memory), start, len(X), row_stride, n_rows, per_line, step,
        frozen(weight), *stack, suspect,
    )  # fmt: skip
    if by_column:
        stack = [np.ascontiguousarray(array[:, :, 0].T) for array in stack]
        suspect = suspect[:, :, 0].T
    else:
        stack, suspect = [array[0] for array in stack], suspect[0]
    for tile, j in zip(*np.nonzero(suspect), strict=True):
        inside = slice(tile * step, (tile + 1) * step)
        x, w = block[inside, j], weight[inside]
        w, x = (w[w > 0], x[w > 0]) if len(w) else (np.ones(len(x)), x)
        for array, value in zip(stack[2:], rescaled(x, w), strict=True):
            array[tile, j] = value
    kernels.merge_tree(*stack)
    return [array[0] for array in stack]


def _block_moments(block: np.ndarray, weight: np.ndarray | None) -> ColumnMoments:
    n_rows, n_columns = block.shape
    small = block.size <= _UNCUT
    tiles, near = [], None
    # One for all tiles: fresh memory costs more than the arithmetic on it.
    work = np.empty((0, n_columns))
    for rows in [slice(0, n_rows)] if small else row_tiles(n_rows, n_columns):
        tile, w = block[rows], None if weight is None else weight[rows]
        if w is not None and not w.all():
            tile, w = tile[w > 0], w[w > 0]
        if len(tile) > len(work):
            work = np.empty(tile.shape)
        moments = _tile_moments(tile, w, near, work[: len(tile)])
        tiles.append(moments)
        near = moments.mean
    return _merge_all(tiles)


def _zip(
    join: Callable[[list[np.ndarray]], np.ndarray], parts: list[ColumnMoments]
) -> ColumnMoments:
    """Join the arrays of several moments, field by field."""
    return ColumnMoments(
        *(join([getattr(part, name) for part in parts]) for name in FIELDS)
    )


def _take(stack: ColumnMoments, index: int | slice) -> ColumnMoments:
    return ColumnMoments(*(getattr(stack, name)[index] for name in FIELDS))


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
    tile: np.ndarray,
    weight: np.ndarray | None,
    near: np.ndarray | None,
    work: np.ndarray,
) -> ColumnMoments:
    """Compute the moments of a tile.

    Parameters
    ----------
    tile : ndarray of shape (n_rows, n_columns)
        Its values.
    weight : ndarray of shape (n_rows,) or None
        Weights over 0.
    near : ndarray of shape (n_columns,) or None
        Numbers that may be near its means, NaN where none is known.
    work : ndarray of shape (n_rows, n_columns)
        float64 memory to work in.
    """
    if not len(tile):
        return empty_moments(tile.shape[1])
    if near is None:
        origin = _near(tile)
    else:
        lacking = np.isnan(near)
        origin = np.where(lacking, _origin(tile), near) if lacking.any() else near
    offset = None
    sums = _deviations(tile, weight, origin, offset, work)
    if sums.cancel():
        origin = _origin(tile)
        offset = _deviations(tile, weight, origin, None, work).mean()
        sums = _deviations(tile, weight, origin, offset, work)
    rest = sums.mean()
    mean, remainder = two_sum(origin, rest if offset is None else offset + rest)
    squares = sums.squares - sums.left * rest
    divisor = sums.divisor()
    std = np.sqrt(np.maximum(squares, 0.0) / divisor)
    least = np.minimum(squares, squares / divisor)
    if not (sums.count.all() and ((least > SMALLEST_SQUARE) & _fits(least)).all()):
        std[sums.count == 0] = np.nan
        w = np.ones(len(tile)) if weight is None else weight
        for j in _suspects(tile, origin, least):
            mean[j], remainder[j], std[j] = rescaled(tile[:, j], w)
    return ColumnMoments(sums.count, sums.total, mean, remainder, std)


def _fits(squares: np.ndarray) -> np.ndarray:
    """Tell which squares can't have lost digits to overflow."""
    return squares < LARGEST_SQUARE


@dataclass(frozen=True)
class _Sums:
    """Sums over the rows of a tile, for each column."""

    count: np.ndarray
    total: np.ndarray
    left: np.ndarray
    squares: np.ndarray

    def divisor(self) -> np.ndarray:
        return np.where(self.count > 0, self.total, 1.0)

    def mean(self) -> np.ndarray:
        return self.left / self.divisor()

    def cancel(self) -> bool:
        """Tell if deviations were measured from too far off to get a variance."""
        near = self.left * self.left <= _CLOSE * self.squares * self.total
        return not near.all()


def _deviations(
    tile: np.ndarray,
    weight: np.ndarray | None,
    origin: np.ndarray,
    offset: np.ndarray | None,
    work: np.ndarray,
) -> _Sums:
    """Add up deviations from ``origin + offset`` and their squares."""
    n_rows, n_columns = tile.shape
    _subtract(tile, origin, work)
    if offset is not None:
        _subtract(work, offset, work)
    count = np.full(n_columns, n_rows, dtype=np.int64)
    total = np.full(n_columns, float(n_rows) if weight is None else weight.sum())
    left = _sums(weight, work)
    if np.isnan(left).any() and (missing := np.isnan(tile)).any():
        np.copyto(work, 0.0, where=missing)
        count = n_rows - np.count_nonzero(missing, axis=0)
        # Floats, for the product with them.
        present = count if weight is None else weight @ (~missing).astype(np.float64)
        total = present.astype(np.float64)
        left = _sums(weight, work)
    return _Sums(count, total, left, _sums(weight, np.square(work, out=work)))


def _subtract(values: np.ndarray, row: np.ndarray, out: np.ndarray) -> None:
    """Subtract a row from each, in float64."""
    if values.dtype != np.float64:
        # In a step of its own: NumPy is slow where the dtypes of operands differ.
        out[...] = values
        values = out
    n_rows, n_columns = values.shape
    per_line = max(1, min(_DIFFERENCES // n_columns, n_rows))
    if per_line > 1 and values.flags.c_contiguous:
        # NumPy takes its time for every row. A few short ones, end to end, are one.
        stop = n_rows - n_rows % per_line
        wide = -1, per_line * n_columns
        source, target = values[:stop].reshape(wide), out[:stop].reshape(wide)
        np.subtract(source, np.tile(row, per_line), out=target)
        values, out = values[stop:], out[stop:]
    np.subtract(values, row, out=out)


def _sums(weight: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    """Return ``weight @ values``, with an error that hardly grows with the rows."""
    n_rows, n_columns = values.shape
    w = np.ones(n_rows) if weight is None else weight
    n_runs = n_rows // _RUN
    rest = n_runs * _RUN
    if weight is None and n_columns * _RUN <= _WIDTH:
        # Place by place over lines of many rows, of which there are few.
        runs = w[:n_runs] @ values[:rest].reshape(n_runs, _RUN * n_columns)
        runs = runs.reshape(_RUN, n_columns)
    else:
        runs = np.matmul(
            w[:rest].reshape(n_runs, 1, _RUN),
            values[:rest].reshape(n_runs, _RUN, n_columns),
        )[:, 0]
    # NumPy adds pairwise along contiguous axes only.
    by_column = np.ascontiguousarray(runs.T)
    return by_column.sum(axis=1) + w[rest:] @ values[rest:]


def _near(tile: np.ndarray) -> np.ndarray:
    """Return numbers near the means: from a sample, seen from a value of its own."""
    sample = tile[:: -(-len(tile) // _SAMPLE)]
    origin = _origin(tile)
    offset = (sample - origin).mean(axis=0)
    # Equal values have the offset 0, and their own value stays what they are seen from.
    return origin + np.where(np.isfinite(offset), offset, 0.0)


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
    suspect = ~(squares < LARGEST_SQUARE)
    small = np.flatnonzero(squares < SMALLEST_SQUARE)
    if len(small):
        # Zero is the true sum of a constant column.
        values = tile[:, small]
        differs = (values != origin[small]) & ~np.isnan(values)
        suspect[small] = differs.any(axis=0)
    return np.flatnonzero(suspect)
