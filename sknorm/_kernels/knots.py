"""Which values of a column are kept, and what the scores of all follow from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from sknorm._kernels.sorting import as_counts
from sknorm._kernels.tiles import frozen

__all__ = [
    "Knots",
    "Ranks",
    "is_constant",
    "kept_runs",
    "knots_of_rows",
    "knots_of_sorted",
    "normal_scores",
    "ranks_of_scores",
    "segment_sums",
]

# Probabilities stay this far from 0 and 1, where the score is infinite; scikit-learn's
# QuantileTransformer has the same bound.
_SMALLEST_PROBABILITY = 1e-7
# A column is constant if its values differ by so many units in the last place: then its
# standard deviation is at most half as many, which is the bound of ``Moments``.
_ROUNDING_UNITS = 4
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Knots:
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


def knots_of_rows(
    values: np.ndarray,
    weights: np.ndarray | None,
    n_quantiles: int,
    offset: float,
    compiled: ModuleType | None = None,
) -> list[Knots]:
    """Choose what to keep of sorted columns, each of them a row here.

    Parameters
    ----------
    values : ndarray of shape (n_columns, n_values)
        float32 or float64, ascending, with NaN at the end.
    weights : ndarray of shape (n_columns, n_values) or None
        Weights of the values.
    n_quantiles, offset, compiled
        As for :func:`knots_of_sorted`.

    Returns
    -------
    list of Knots
        Those of each column, and of each as if it were alone.
    """
    every = [None] * len(values) if weights is None else weights
    alike = np.zeros(len(values), dtype=bool)
    if weights is None and compiled is None:
        alike = _are_alike(values, n_quantiles)
    found: list[Knots] = []
    if alike.any():
        rows = values if alike.all() else values[alike]
        found = _knots_of_alike(rows, n_quantiles, offset)
    together = iter(found)
    return [
        next(together) if a else knots_of_sorted(v, w, n_quantiles, offset, compiled)
        for v, w, a in zip(values, every, alike, strict=True)
    ]


def _are_alike(values: np.ndarray, n_quantiles: int) -> np.ndarray:
    """Tell which columns have no ties, nor anything else of their own but values."""
    ends = values[:, [0, -1]].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        alike = np.isfinite(ends[:, 1] - ends[:, 0]) & ~is_constant(*ends.T)
    if values.shape[1] <= n_quantiles:
        alike[:] = False
    alike[alike] = (values[alike, 1:] != values[alike, :-1]).all(axis=1)
    return alike


def _knots_of_alike(values: np.ndarray, n_quantiles: int, offset: float) -> list[Knots]:
    """Choose what to keep of such columns, by the same ranks in all."""
    ranks = Ranks(values.shape[1], None)
    starts = _untied_starts(ranks.count, n_quantiles, offset)
    knots = values[:, starts].astype(np.float64)
    sums = _segment_sums(values, None, starts, knots)
    shared = ranks.below(starts), ranks.below(starts + 1), ranks.mass(starts)
    return [Knots(row, *shared, sums[:, j], ranks.count) for j, row in enumerate(knots)]


def knots_of_sorted(
    values: np.ndarray,
    weight: np.ndarray | None,
    n_quantiles: int,
    offset: float,
    compiled: ModuleType | None = None,
) -> Knots:
    """Choose what to keep of a sorted column.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        float32 or float64, ascending, with NaN at the end.
    weight : ndarray of shape (n_values,) or None
        Weights of the values.
    n_quantiles, offset
        As for :func:`sknorm._kernels.ranks.learn_scores`.
    compiled : module, default=None
        The compiled functions, to be used.

    Returns
    -------
    Knots
    """
    count = int(values.searchsorted(values.dtype.type(np.nan)))
    if not count:
        return _one_knot(np.nan, 0)
    values = values[:count]
    first, last = float(values[0]), float(values[-1])
    if np.isinf(first) or np.isinf(last):
        return replace(_one_knot(np.nan, count), infinite=True)
    if is_constant(first, last):
        return _one_knot(first, count)
    ranks = Ranks(count, None if weight is None else as_counts(weight[:count]))
    starts, ends, complete = _choose_knots(values, ranks, n_quantiles, offset)
    knots = values[starts].astype(np.float64)
    if complete:
        sums = np.zeros((2, len(knots)))
    else:
        sums = segment_sums(values, ranks.weight, starts, knots, compiled)
    before, through = ranks.below(starts), ranks.below(ends)
    return Knots(knots, before, through, ranks.mass(starts), sums, count)


def _one_knot(value: float, count: int) -> Knots:
    # A run of ties that is all there is has the score 0, of whatever weight it is.
    weight = np.array([2.0])
    return Knots(np.array([value]), 0 * weight, weight, weight, np.zeros((2, 1)), count)


class Ranks:
    """Ranks of sorted values, from the weight of those below.

    Parameters
    ----------
    count : int
        Number of values.
    weight : ndarray of shape (count,) or None
        Their weights, in counts.
    """

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
    values: np.ndarray, ranks: Ranks, n_quantiles: int, offset: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return where runs of equal values start and end, and if these are all runs."""
    changes = values[1:] != values[:-1]
    n_changes = np.count_nonzero(changes)
    if n_changes < n_quantiles:
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        return starts, np.append(starts[1:], len(values)), True
    if ranks.weight is None and n_changes == len(changes):
        # No ties, nor rows that stand for some.
        starts = _untied_starts(ranks.count, n_quantiles, offset)
        return starts, starts + 1, False
    ends = values[[0, -1]]
    before = ranks.below(values.searchsorted(ends))
    through = ranks.below(values.searchsorted(ends, side="right"))
    wanted = _even_ranks(before, through, ranks.total, n_quantiles, offset)
    at = ranks.at(wanted - 0.5)
    at[0], at[-1] = 0, len(values) - 1
    return *kept_runs(values, at), False


@functools.lru_cache(maxsize=8)
def _untied_starts(count: int, n_quantiles: int, offset: float) -> np.ndarray:
    """Return the indices that are kept of so many values without ties."""
    ends = np.array([0.0, count - 1.0])
    wanted = _even_ranks(ends, ends + 1.0, float(count), n_quantiles, offset)
    at = Ranks(count, None).at(wanted - 0.5)
    at[0], at[-1] = 0, count - 1
    return frozen(_distinct(at))


def _even_ranks(
    before: np.ndarray,
    through: np.ndarray,
    total: float,
    n_quantiles: int,
    offset: float,
) -> np.ndarray:
    """Return ranks whose scores are equally far apart, from first to last run."""
    lowest, highest = normal_scores(before, through, total, offset)
    scores = np.linspace(lowest, highest, n_quantiles)
    return ranks_of_scores(scores, total, offset)


def kept_runs(values: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of equal values to keep, given what is at even distances.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Ascending.
    at : ndarray of shape (n_knots,)
        Indices of values whose scores are about equally far apart, ascending.

    Returns
    -------
    starts, ends : ndarray
        The runs that values at these indices are part of. Where one of them takes many
        indices the score jumps on both sides of it, which only the values next to it
        can tell: then their runs are kept too.
    """
    chosen = values[at]
    equal = chosen[1:] == chosen[:-1]
    inside = equal[1:] & equal[:-1]
    if inside.any():
        runs = chosen[1:-1][inside]
        before = values.searchsorted(runs) - 1
        after = values.searchsorted(runs, side="right")
        beside = np.concatenate([before, after]).clip(0, len(values) - 1)
        chosen = np.unique(np.concatenate([chosen, values[beside]]))
    else:
        chosen = _distinct(chosen)
    return values.searchsorted(chosen), values.searchsorted(chosen, "right")


def _distinct(ascending: np.ndarray) -> np.ndarray:
    return ascending[np.append(True, ascending[1:] != ascending[:-1])]


def ranks_of_scores(scores: np.ndarray, total: float, offset: float) -> np.ndarray:
    """Return the ranks that scores stand for, which need not be whole.

    Parameters
    ----------
    scores : ndarray
        Normal scores.
    total : float
        Weight of the column.
    offset : float
        The plotting position.

    Returns
    -------
    ndarray like scores
    """
    return ndtr(scores) * (total + 1.0 - 2.0 * offset) + offset


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
    return _segment_sums(values * unit, weight, starts, knots)


def _segment_sums(
    values: np.ndarray,
    weight: np.ndarray | None,
    starts: np.ndarray,
    knots: np.ndarray,
) -> np.ndarray:
    """Do so in NumPy, on the last axis: there may be several columns, each a row."""
    lengths = np.append(starts[1:], values.shape[-1]) - starts
    width = np.ones(knots.shape)
    np.subtract(knots[..., 1:], knots[..., :-1], out=width[..., :-1])
    # Halving may make subnormal neighbours equal.
    width[width == 0.0] = 1.0
    part = values - np.repeat(knots, lengths, axis=-1)
    part /= np.repeat(width, lengths, axis=-1)
    weighted = part if weight is None else weight * part
    first = np.add.reduceat(weighted, starts, axis=-1)
    return np.stack([first, np.add.reduceat(weighted * part, starts, axis=-1)])
