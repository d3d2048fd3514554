"""Normal scores of ranks, for arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np
from scipy.special import ndtr

from sknorm._array_api import beside, namespace, to_numpy
from sknorm._kernels.array_api.blocks import (
    as_reals,
    column_parts,
    infinite_columns,
    map_blocks,
    quiet,
    row_parts,
    take_in_columns,
)
from sknorm._kernels.array_api.moments import column_moments
from sknorm._kernels.array_api.quantiles import sort_columns
from sknorm._kernels.knots import is_constant, normal_scores
from sknorm._kernels.ranks import ScoreTable, bridged, by_column, side_by_side

__all__ = ["interpolate_columns", "learn_scores", "search_columns"]


def learn_scores(X: Any, n_quantiles: int, offset: float) -> ScoreTable:
    """Learn the standardized normal scores of each column's values.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64, with NaN for missing values.
    n_quantiles, offset
        As for :func:`sknorm._kernels.ranks.learn_scores`.

    Returns
    -------
    ScoreTable
        In NumPy.
    """
    with quiet():
        tables = [
            _learn_block(X[:, columns], n_quantiles, offset)
            for columns in column_parts(X.shape)
        ]
    return ScoreTable(
        side_by_side([column for table in tables for column in table.quantiles.T]),
        side_by_side([column for table in tables for column in table.scores.T]),
        np.concatenate([table.count for table in tables]),
        np.concatenate([table.infinite for table in tables]),
    )


def interpolate_columns(
    X: Any, knots: np.ndarray, values: np.ndarray, out: Any = None
) -> tuple[Any, np.ndarray]:
    """Look a table up, on straight lines between the knots and constant beyond them.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64. NaN gives NaN.
    knots, values, out
        As for :func:`sknorm._kernels.ranks.interpolate_columns`.

    Returns
    -------
    out : array like X
        The result.
    infinite : ndarray of bool of shape (n_features,)
        True for a column with infinite values; if there is one, nothing is computed.
    """
    infinite = infinite_columns(X)
    if infinite.any():
        return X if out is None else out, infinite
    return map_blocks(_look_up(X, knots, values), X, out, X.shape[1]), infinite


def search_columns(values: Any, wanted: np.ndarray, *, right: bool = False) -> Any:
    """Find where numbers belong in sorted columns.

    Parameters
    ----------
    values : array of shape (n_rows, n_columns)
        Ascending in each column, without NaN.
    wanted : ndarray of shape (n_wanted, n_columns)
        Numbers to find in each column.
    right : bool, default=False
        Whether to go behind those that are equal.

    Returns
    -------
    ndarray of int64 of shape (n_wanted, n_columns)
        How many values are below, or not above.
    """
    xp, n_rows = namespace(values), values.shape[0]
    wanted = xp.astype(beside(wanted, values), values.dtype, copy=False)
    at = beside(np.zeros(wanted.shape, dtype=np.int64), values)
    step = 1 << (n_rows.bit_length() - 1)
    # All take a step before the next one is taken.
    while step:
        ahead = at + step
        seen = xp.take_along_axis(values, xp.clip(ahead, 0, n_rows) - 1, axis=0)
        passed = seen <= wanted if right else seen < wanted
        at = xp.where(passed & (ahead <= n_rows), ahead, at)
        step >>= 1
    return to_numpy(at)


def _look_up(X: Any, knots: np.ndarray, values: np.ndarray) -> Callable[[Any], Any]:
    """Return what looks blocks of X up."""
    xp = namespace(X)
    lines, heights = by_column(knots, np.inf), by_column(values, None)
    n_padded = lines.shape[1]
    starts = beside(n_padded * np.arange(len(lines), dtype=np.int64), X)
    first, last = beside(knots[0].copy(), X), beside(knots[-1].copy(), X)
    lines, heights = (beside(table.ravel(), X) for table in (lines, heights))

    def take(table: Any, at: Any) -> Any:
        return xp.reshape(xp.take(table, xp.reshape(at, (-1,))), at.shape)

    def look_up(x: Any) -> Any:
        x = xp.minimum(xp.maximum(x, first), last)
        at = xp.zeros(x.shape, dtype=xp.int64, device=array_api_compat.device(X))
        at = at + starts
        step = n_padded >> 1
        while step:
            ahead = at + step
            at = xp.where(take(lines, ahead) <= x, ahead, at)
            step >>= 1
        left, low = take(lines, at), take(heights, at)
        at = at + 1
        right, high = take(lines, at), take(heights, at)
        x = (x - left) / (right - left) * (high - low) + low
        # What rounding adds must not lead past the next knot's value.
        return xp.minimum(x, high)

    return look_up


def _learn_block(X: Any, n_quantiles: int, offset: float) -> ScoreTable:
    values, count = sort_columns(X)
    last = np.maximum(count - 1, 0)
    low, high = take_in_columns(values, np.stack([np.zeros_like(last), last]))
    infinite = (count > 0) & (np.isinf(low) | np.isinf(high))
    low[(count == 0) | infinite] = np.nan
    single = np.isnan(low) | is_constant(low, high)
    quantiles, before, through = _knots(values, count, single, n_quantiles, offset)
    # A run of ties that is all there is has the score 0.
    quantiles[:, single], before[:, single], through[:, single] = low[single], 0.0, 2.0
    total = np.where(single, 2.0, count)
    scores = normal_scores(before, through, total, offset)
    scores[:, np.isnan(low)] = np.nan
    quantiles, scores = bridged(quantiles, scores)
    return ScoreTable(quantiles, _standardized(X, quantiles, scores), count, infinite)


def _knots(
    values: Any,
    count: np.ndarray,
    single: np.ndarray,
    n_quantiles: int,
    offset: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values to keep, how many are below each, and how many up to it."""
    xp = namespace(values)
    above = values[1:, :]
    changes = (above != values[:-1, :]) & (above < xp.inf)
    n_changes = to_numpy(xp.sum(xp.astype(changes, xp.int64), axis=0))
    few = (n_changes < n_quantiles) & ~single
    many = ~few & ~single
    columns = [np.full(1, np.nan)] * len(count)
    if few.any():
        for column, starts in _runs(changes, np.flatnonzero(few)).items():
            columns[column] = starts
        starts = side_by_side(columns)
        starts[:, ~few] = 0
        kept = take_in_columns(values, starts)
        for j in np.flatnonzero(few):
            columns[j] = kept[: len(columns[j]), j]
    if many.any():
        chosen = _evenly_scored(values, count, many, n_quantiles, offset)
        for j in np.flatnonzero(many):
            columns[j] = chosen[j]
    table = side_by_side(columns)
    wanted = np.where(single, 0.0, table)
    return (
        table,
        search_columns(values, wanted).astype(np.float64),
        search_columns(values, wanted, right=True).astype(np.float64),
    )


def _runs(changes: Any, columns: np.ndarray) -> dict[int, np.ndarray]:
    """Return where the runs of equal values of some columns start."""
    xp = namespace(changes)
    some = xp.take(changes, beside(columns, changes), axis=1)
    which, where = (
        to_numpy(index) for index in xp.nonzero(xp.permute_dims(some, (1, 0)))
    )
    bounds = np.searchsorted(which, np.arange(len(columns) + 1))
    return {
        int(j): np.append(0, where[bounds[i] : bounds[i + 1]] + 1)
        for i, j in enumerate(columns)
    }


def _evenly_scored(
    values: Any, count: np.ndarray, many: np.ndarray, n_quantiles: int, offset: float
) -> list[np.ndarray]:
    """Return values whose scores are about equally far apart, of columns with many."""
    last = np.maximum(count - 1, 0)
    ends = take_in_columns(values, np.stack([np.zeros_like(last), last]))
    ends[:, ~many] = 0.0
    before, through = (
        search_columns(values, ends, right=right) for right in (False, True)
    )
    lowest, highest = normal_scores(before, through, count.astype(np.float64), offset)
    probability = ndtr(np.linspace(lowest, highest, n_quantiles))
    rank = probability * (count + 1.0 - 2.0 * offset) + offset
    rank[:, ~many] = 0.5
    at = (rank - 0.5).astype(np.int64).clip(0, last)
    at[0], at[-1] = 0, last
    chosen = take_in_columns(values, at)
    beside_runs = _beside_runs(values, chosen, many, last)
    return [
        np.unique(np.append(chosen[:, j], beside_runs[j])) for j in range(len(last))
    ]


def _beside_runs(
    values: Any, chosen: np.ndarray, many: np.ndarray, last: np.ndarray
) -> list[np.ndarray]:
    """Return the values next to runs that were chosen three times or more."""
    # The score jumps on both sides of such a run, which only these can tell.
    equal = chosen[1:] == chosen[:-1]
    inside = equal[1:] & equal[:-1] & many
    runs = [np.unique(chosen[1:-1, j][inside[:, j]]) for j in range(len(last))]
    if not inside.any():
        return runs
    table = side_by_side(
        [run if len(run) else chosen[:1, j] for j, run in enumerate(runs)]
    )
    table[:, ~many] = 0.0
    before = search_columns(values, table) - 1
    after = search_columns(values, table, right=True)
    neighbours = take_in_columns(values, np.concatenate([before, after]).clip(0, last))
    return [neighbours[:, j] if len(run) else run for j, run in enumerate(runs)]


def _standardized(X: Any, quantiles: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return scores such that over the columns they have mean 0 and variance 1."""
    xp, look_up = namespace(X), _look_up(X, quantiles, scores)
    found = [look_up(as_reals(X[rows, :])) for rows in row_parts(X.shape)]
    moments = column_moments(found[0] if len(found) == 1 else xp.concat(found, axis=0))
    # Of a constant column.
    std = np.where(moments.std == 0, 1.0, moments.std)
    return (scores - moments.mean - moments.remainder) / std
