"""Normal scores of ranks: learned from sorted columns, then looked up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from sknorm._array_api import is_foreign, to_numpy
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.sorting import as_counts, map_sorted
from sknorm._kernels.threads import in_threads

__all__ = [
    "ScoreTable",
    "bridged",
    "by_column",
    "infinite_columns",
    "interpolate_columns",
    "is_constant",
    "learn_scores",
    "normal_scores",
    "segment_sums",
    "side_by_side",
]

# Numbers from which on compiled code pays for loading it.
_LARGE = 500_000
# Numbers that are looked up together, with a handful of temporary arrays in cache.
_TILE = 16_384
# Numbers of a thread's part of a large table.
_PART = 1_000_000
# Probabilities stay this far from 0 and 1, where the score is infinite; scikit-learn's
# QuantileTransformer has the same bound.
_SMALLEST_PROBABILITY = 1e-7
# A column is constant if its values differ by so many units in the last place: then its
# standard deviation is at most half as many, which is the bound of ``Moments``.
_ROUNDING_UNITS = 4
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class ScoreTable:
    """What a column's values are mapped to, at some of them.

    Attributes
    ----------
    quantiles : ndarray of shape (n_knots, n_features)
        Values of each column, ascending. A column with fewer than others repeats its
        last one. NaN for a column without values.
    scores : ndarray of shape (n_knots, n_features)
        Their scores. Over the column, with the values between interpolated, they have
        mean 0 and variance 1.
    count : ndarray of int64 of shape (n_features,)
        Number of values with a weight over 0.
    infinite : ndarray of bool of shape (n_features,)
        True for a column with infinite values, of which nothing is learned.
    """

    quantiles: np.ndarray
    scores: np.ndarray
    count: np.ndarray
    infinite: np.ndarray


@dataclass(frozen=True)
class _Column:
    """Values that are kept of a column, with what their scores follow from.

    ``before`` and ``through`` are the weights of all lower values, and of all up to the
    same; ``mass`` is the weight from one that is kept to the next, and ``sums`` tell
    how far on the way it is, see ``segment_sums``.
    """

    knots: np.ndarray
    before: np.ndarray
    through: np.ndarray
    mass: np.ndarray
    sums: np.ndarray
    count: int
    infinite: bool = False


def learn_scores(
    X: np.ndarray,
    weight: np.ndarray | None,
    n_quantiles: int,
    offset: float,
) -> ScoreTable:
    """Learn the standardized normal scores of each column's values.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64, with NaN for missing values. Arrays of other libraries than
        NumPy are sorted on their device, if there are no weights.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows. Those of a column that are below 1 on average are measured
        in units of their mean.
    n_quantiles : int
        How many values of a column are kept at most, but for a few beside heavy ties.
        A column of no more distinct values keeps them all.
    offset : float
        The plotting position, c in (r - c) / (n - 2c + 1).

    Returns
    -------
    ScoreTable
    """
    if is_foreign(X):
        if weight is None:
            return array_kernels("ranks").learn_scores(X, n_quantiles, offset)
        X = to_numpy(X)
    compiled = _compiled(X.size)

    def learn_group(
        _: slice, values: np.ndarray, weights: np.ndarray | None
    ) -> ScoreTable:
        every = [None] * len(values) if weights is None else weights
        columns = [
            _learn_column(v, w, n_quantiles, offset, compiled)
            for v, w in zip(values, every, strict=True)
        ]
        return _score_table(columns, offset)

    groups = map_sorted(X, learn_group, weight)
    return ScoreTable(
        side_by_side([column for g in groups for column in g.quantiles.T]),
        side_by_side([column for g in groups for column in g.scores.T]),
        np.concatenate([g.count for g in groups]),
        np.concatenate([g.infinite for g in groups]),
    )


def interpolate_columns(
    X: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Look a table up, on straight lines between the knots and constant beyond them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64. NaN gives NaN.
    knots : ndarray of shape (n_knots, n_features)
        Where the values are known: ascending in each column, the last one may be
        repeated. Neighbours are less than the largest double apart.
    values : ndarray of shape (n_knots, n_features)
        The values there, ascending too.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.

    Returns
    -------
    out : ndarray of the shape and dtype of X
        The result, computed in float64 and rounded once.
    infinite : ndarray of bool of shape (n_features,)
        True for a column of ``X`` with infinite values. If there is one, nothing has
        been written into an ``out`` that was given.
    """
    if is_foreign(X):
        return array_kernels("ranks").interpolate_columns(X, knots, values, out)
    X = np.asarray(X)
    if out is None:
        out = np.empty_like(X)
    elif (infinite := infinite_columns(X)).any():
        return out, infinite
    tables = by_column(knots, np.inf), by_column(values, None)
    # Contiguous, as the compiled version asks for.
    last = knots[-1].copy()
    compiled = _compiled(X.size)

    def look_up(rows: slice) -> np.ndarray:
        infinite = np.zeros(X.shape[1], dtype=bool)
        work = _interpolate_rows if compiled is None else compiled.interpolate_rows
        work(X[rows], *tables, last, out[rows], infinite)
        return infinite

    numbers = _TILE if compiled is None else _PART
    found = in_threads(look_up, _row_parts(X.shape, numbers), X.size)
    return out, np.logical_or.reduce([np.zeros(X.shape[1], dtype=bool), *found])


def infinite_columns(X: np.ndarray) -> np.ndarray:
    """Tell which columns hold infinite values.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.

    Returns
    -------
    ndarray of bool of shape (n_features,)
    """
    if is_foreign(X):
        return array_kernels("blocks").infinite_columns(X)

    def look(rows: slice) -> np.ndarray:
        part = X[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = ~np.isfinite(part.sum(axis=0))
        infinite = np.zeros(X.shape[1], dtype=bool)
        if suspect.any():
            infinite[suspect] = np.isinf(part[:, suspect]).any(axis=0)
        return infinite

    found = in_threads(look, _row_parts(X.shape, _TILE), X.size)
    return np.logical_or.reduce([np.zeros(X.shape[1], dtype=bool), *found])


def is_constant(low: Any, high: Any) -> Any:
    """Tell if a column holds one value only, up to rounding.

    Parameters
    ----------
    low, high : float or ndarray
        Its smallest and its largest value.

    Returns
    -------
    bool or ndarray of bool
    """
    rounding = _ROUNDING_UNITS * _EPS * np.maximum(np.abs(low), np.abs(high))
    return high - low <= rounding


def segment_sums(
    values: np.ndarray,
    weight: np.ndarray | None,
    starts: np.ndarray,
    knots: np.ndarray,
    compiled: ModuleType | None = None,
) -> np.ndarray:
    """Sum how far values are on their way from a knot to the next.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        float32 or float64, ascending.
    weight : ndarray of shape (n_values,) or None
        Weights of the values.
    starts : ndarray of shape (n_knots,)
        Where the values from each knot on begin, the knot itself among them.
    knots : ndarray of shape (n_knots,)
        The knots, ascending.
    compiled : module, default=None
        The compiled functions, to be used.

    Returns
    -------
    ndarray of shape (2, n_knots)
        Weighted sums of t and of t squared with t = (x - knot) / (next - knot).
    """
    # Halves where differences would pass the largest double.
    unit = 0.5 if np.isinf(float(knots[-1]) - float(knots[0])) else 1.0
    knots = knots * unit
    if compiled is not None:
        sums = np.empty((2, len(knots)))
        weight = np.empty(0) if weight is None else weight
        compiled.segment_sums(values, weight, starts, knots, unit, sums)
        return sums
    lengths = np.append(starts[1:], len(values)) - starts
    width = np.ones(len(knots))
    np.subtract(knots[1:], knots[:-1], out=width[:-1])
    # Halving may make subnormal neighbours equal.
    width[width == 0.0] = 1.0
    part = values * unit - np.repeat(knots, lengths)
    part /= np.repeat(width, lengths)
    weighted = part if weight is None else weight * part
    return np.stack(
        [np.add.reduceat(weighted, starts), np.add.reduceat(weighted * part, starts)]
    )


def _compiled(size: int) -> ModuleType | None:
    return compiled_kernels("ranks") if size >= _LARGE else None


def _row_parts(shape: tuple[int, ...], numbers: int) -> list[slice]:
    n_rows, n_features = shape
    step = max(1, numbers // max(1, n_features))
    return [slice(start, start + step) for start in range(0, n_rows, step)]


def side_by_side(
    columns: list[np.ndarray], *, padding: float | None = None
) -> np.ndarray:
    """Return columns as a table, the shorter ones padded.

    Parameters
    ----------
    columns : list of ndarrays of shape (n,)
        Columns of any length but 0.
    padding : float, default=None
        What is put below; None for the last number of the column.

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_columns)
    """
    table = np.empty((max(map(len, columns)), len(columns)))
    for j, column in enumerate(columns):
        table[: len(column), j] = column
        table[len(column) :, j] = column[-1] if padding is None else padding
    return table


def by_column(table: np.ndarray, padding: float | None) -> np.ndarray:
    """Return a table column by column, padded to a power of two beyond its length.

    Parameters
    ----------
    table : ndarray of shape (n_knots, n_features)
        The table.
    padding : float or None
        What it is padded with; None for the last number of the column.

    Returns
    -------
    ndarray of shape (n_features, n_padded)
    """
    n_knots, n_features = table.shape
    padded = np.empty((n_features, 1 << n_knots.bit_length()))
    padded[:, :n_knots] = table.T
    padded[:, n_knots:] = table[-1:].T if padding is None else padding
    return padded


def _interpolate_rows(
    X: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    out: np.ndarray,
    infinite: np.ndarray,
) -> None:
    """Do what the compiled function of that name does."""
    n_padded = knots.shape[1]
    x = np.maximum(X, knots[:, 0], dtype=np.float64)
    np.minimum(x, last, out=x)
    at = np.zeros(x.shape, dtype=np.intp)
    at += n_padded * np.arange(len(knots))
    step = n_padded >> 1
    # One step for all before the next: searchsorted is slower on numbers in no order,
    # since the processor guesses where each one goes, and guesses wrong.
    while step:
        at += step * (knots.take(at + step) <= x)
        step >>= 1
    left, low = knots.take(at), values.take(at)
    at += 1
    right, high = knots.take(at), values.take(at)
    x -= left
    right -= left
    x /= right
    x *= high - low
    x += low
    # What rounding adds must not lead past the next knot's value.
    np.minimum(x, high, out=x)
    infinite |= np.isinf(X).any(axis=0)
    out[...] = x


def _learn_column(
    values: np.ndarray,
    weight: np.ndarray | None,
    n_quantiles: int,
    offset: float,
    compiled: ModuleType | None,
) -> _Column:
    """Choose what to keep of sorted values, which have NaN at the end."""
    count = int(values.searchsorted(values.dtype.type(np.nan)))
    if not count:
        return _one_knot(np.nan, 0)
    values = values[:count]
    first, last = float(values[0]), float(values[-1])
    if np.isinf(first) or np.isinf(last):
        return replace(_one_knot(np.nan, count), infinite=True)
    if is_constant(first, last):
        return _one_knot(first, count)
    ranks = _Ranks(count, None if weight is None else as_counts(weight[:count]))
    starts, ends, complete = _choose_knots(values, ranks, n_quantiles, offset)
    knots = values[starts].astype(np.float64)
    if complete:
        sums = np.zeros((2, len(knots)))
    else:
        sums = segment_sums(values, ranks.weight, starts, knots, compiled)
    before, through = ranks.below(starts), ranks.below(ends)
    return _Column(knots, before, through, ranks.mass(starts), sums, count)


def _one_knot(value: float, count: int) -> _Column:
    # A run of ties that is all there is has the score 0, of whatever weight it is.
    weight = np.array([2.0])
    return _Column(
        np.array([value]), 0 * weight, weight, weight, np.zeros((2, 1)), count
    )


class _Ranks:
    """Ranks of sorted values, from the weight of those below."""

    def __init__(self, count: int, weight: np.ndarray | None):
        self.count = count
        self.weight = weight
        self._sums = None
        self.total = float(count)
        if weight is not None:
            self._sums = np.concatenate([[0.0], np.cumsum(weight)])
            self.total = float(self._sums[-1])

    def below(self, index: np.ndarray) -> np.ndarray:
        """Return the weight of the values before an index."""
        if self._sums is None:
            return index.astype(np.float64)
        return self._sums[index]

    def mass(self, starts: np.ndarray) -> np.ndarray:
        """Return the weight of the values from each start to the next."""
        if self.weight is None:
            ends = np.append(starts[1:], self.count)
            return (ends - starts).astype(np.float64)
        # Not from differences of sums, in which a small weight is lost.
        return np.add.reduceat(self.weight, starts)

    def at(self, below: np.ndarray) -> np.ndarray:
        """Return the index of the value with so much weight before it."""
        if self._sums is None:
            index = below.astype(np.intp)
        else:
            index = self._sums.searchsorted(below, side="right") - 1
        return index.clip(0, self.count - 1)


def _choose_knots(
    values: np.ndarray, ranks: _Ranks, n_quantiles: int, offset: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return where runs of equal values start and end, and if these are all runs."""
    changes = values[1:] != values[:-1]
    n_changes = np.count_nonzero(changes)
    if n_changes < n_quantiles:
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        return starts, np.append(starts[1:], len(values)), True
    at = _evenly_scored(values, ranks, n_quantiles, offset)
    if ranks.weight is None and n_changes == len(changes):
        # No ties, nor rows that stand for some.
        starts = _distinct(at)
        return starts, starts + 1, False
    chosen = values[at]
    equal = chosen[1:] == chosen[:-1]
    inside = equal[1:] & equal[:-1]
    if inside.any():
        # Many levels in one run of ties: the score jumps on both sides of it, which
        # only the values next to it can tell.
        runs = chosen[1:-1][inside]
        before = values.searchsorted(runs) - 1
        after = values.searchsorted(runs, side="right")
        beside = np.concatenate([before, after]).clip(0, len(values) - 1)
        chosen = np.unique(np.concatenate([chosen, values[beside]]))
    else:
        chosen = _distinct(chosen)
    return values.searchsorted(chosen), values.searchsorted(chosen, "right"), False


def _distinct(ascending: np.ndarray) -> np.ndarray:
    return ascending[np.append(True, ascending[1:] != ascending[:-1])]


def _evenly_scored(
    values: np.ndarray, ranks: _Ranks, n_quantiles: int, offset: float
) -> np.ndarray:
    """Return indices of values whose scores are about equally far apart."""
    ends = values[[0, -1]]
    before = ranks.below(values.searchsorted(ends))
    through = ranks.below(values.searchsorted(ends, side="right"))
    lowest, highest = normal_scores(before, through, ranks.total, offset)
    probability = ndtr(np.linspace(lowest, highest, n_quantiles))
    rank = probability * (ranks.total + 1.0 - 2.0 * offset) + offset
    at = ranks.at(rank - 0.5)
    at[0], at[-1] = 0, len(values) - 1
    return at


def normal_scores(
    before: np.ndarray, through: np.ndarray, total: float | np.ndarray, offset: float
) -> np.ndarray:
    """Return the scores of runs of ties, of their average ranks.

    Parameters
    ----------
    before, through : ndarray
        Weights of what is below each run, and of that and the run itself.
    total : float or ndarray
        Weight of the column.
    offset : float
        The plotting position.

    Returns
    -------
    ndarray like before
    """
    lower = (before + through) / 2 + (0.5 - offset)
    upper = ((total - through) + (total - before)) / 2 + (0.5 - offset)
    span = total + (1.0 - 2.0 * offset)
    smallest = np.minimum(_SMALLEST_PROBABILITY, 0.5 / span)
    # From the nearer end: symmetric, and a tail keeps its digits.
    tail = ndtri(np.maximum(np.minimum(lower, upper) / span, smallest))
    return np.where(lower <= upper, tail, -tail)


def _score_table(columns: list[_Column], offset: float) -> ScoreTable:
    count = np.array([column.count for column in columns], dtype=np.int64)
    infinite = np.array([column.infinite for column in columns])
    quantiles = side_by_side([column.knots for column in columns])
    scores = _column_scores(columns, offset)
    scores[:, (count == 0) | infinite] = np.nan
    return ScoreTable(*bridged(quantiles, scores), count, infinite)


def _column_scores(columns: list[_Column], offset: float) -> np.ndarray:
    """Return scores such that over each column they have mean 0 and variance 1.

    A value a part t of the way from knot k to the next has the score z_k + t d_k.
    """
    total = np.array([column.through[-1] for column in columns])
    before = side_by_side([column.before for column in columns])
    through = side_by_side([column.through for column in columns])
    mass = side_by_side([column.mass for column in columns], padding=0.0)
    first, second = (
        side_by_side([column.sums[i] for column in columns], padding=0.0)
        for i in (0, 1)
    )
    scores = normal_scores(before, through, total, offset)
    rise = np.zeros_like(scores)
    np.subtract(scores[1:], scores[:-1], out=rise[:-1])
    scores -= _column_sums(mass * scores + first * rise, columns) / total
    squares = mass * scores**2 + 2.0 * first * scores * rise + second * rise**2
    std = np.sqrt(_column_sums(squares, columns) / total)
    # Of a constant column, or if weights are too far apart for a double to tell.
    std[std == 0] = 1.0
    return scores / std


def _column_sums(table: np.ndarray, columns: list[_Column]) -> np.ndarray:
    """Return sums without padding: the same bits whatever columns stand beside."""
    return np.array(
        [table[: len(column.knots), j].sum() for j, column in enumerate(columns)]
    )


def bridged(quantiles: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add a knot at 0 where neighbours are further apart than the largest double.

    Parameters
    ----------
    quantiles, scores : ndarray of shape (n_knots, n_features)
        A table.

    Returns
    -------
    quantiles, scores : ndarray
        The same, or one with more knots.
    """
    with np.errstate(over="ignore"):
        wide = np.isinf(quantiles[1:] - quantiles[:-1])
    if not wide.any():
        return quantiles, scores
    knots, values = list(quantiles.T), list(scores.T)
    # One in a column at most, since they differ in sign.
    for k, j in np.argwhere(wide):
        x, z = knots[j], values[j]
        part = 1.0 / (1.0 - x[k + 1] / x[k])
        knots[j] = np.insert(x, k + 1, 0.0)
        values[j] = np.insert(z, k + 1, z[k] + part * (z[k + 1] - z[k]))
    return side_by_side(knots), side_by_side(values)
