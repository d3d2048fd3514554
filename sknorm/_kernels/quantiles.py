"""Location and spread of columns by their order statistics.

A few quantiles don't need a column sorted: those of a sample bracket them, and only
what is between the brackets is sorted. What is below them is weighed. Should a bracket
miss its quantile, which is rare and noticed, the column is sorted after all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sknorm._array_api import is_foreign, to_numpy
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.knots import is_constant
from sknorm._kernels.moments import column_moments
from sknorm._kernels.sorting import by_column, column_groups, sort_rows
from sknorm._kernels.threads import in_threads
from sknorm._kernels.tiles import frozen

__all__ = ["OrderStatistics", "Stretch", "order_statistics"]

_EPS = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float64).max)
# A spread of so many units in the last place of the median is none.
_ROUNDING_UNITS = 4.0
# Values that are sorted faster than bracketed.
_FEW = 3_000
# One value out of so many is in the sample, and no more than so many are.
_SAMPLED, _SAMPLE = 8, 16_384
# Standard deviations of a sample quantile between it and each end of its bracket.
_MARGIN = 2.5
# Numbers of a table, and rows, from which on compiled code pays for loading it.
_WORTH_COMPILING, _MANY_ROWS = 500_000, 5_000
# Numbers that a thread looks through at once, with room for twice as many doubles.
_PART = 400_000
# A number takes so many times longer than in a plain pass over memory.
_EFFORT = 8

# Count, smallest and largest value, quantiles.
_Known = tuple[int, float, float, list[float]]
_UNKNOWN: _Known = (0, np.nan, np.nan, [])


@dataclass(frozen=True)
class OrderStatistics:
    """What there is to know of columns, arrays of shape (n_features,)."""

    count: np.ndarray
    """Number of values that are not NaN and have a weight over 0, int64."""
    infinite: np.ndarray
    """Whether one of them is infinite; the rest of such a column is NaN."""
    center: np.ndarray
    """Median."""
    spread: np.ndarray
    """A range of quantiles, or the median absolute deviation, in the unit asked for;
    the largest double where it is more."""
    std: np.ndarray
    """Standard deviation where the spread is zero up to rounding, else NaN."""
    constant: np.ndarray
    """Whether all values are the same up to rounding."""


def order_statistics(
    X: Any,
    weight: np.ndarray | None,
    quantile_range: tuple[float, float] | None,
    unit: float = 1.0,
) -> OrderStatistics:
    """Compute the median and a spread of each column, exactly.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_features)
        float32 or float64; NaN is a missing value. Arrays of other libraries than NumPy
        are sorted on their device, if there are no weights.
    weight : ndarray of shape (n_rows,) or None
        Weights, at least 0; an integer one is the same as repeating a row.
    quantile_range : tuple of two floats in [0, 1], or None
        Between which quantiles the range is taken; None for the median absolute
        deviation from the median.
    unit : float, default=1.0
        What the spread is divided by, though without that no double may hold it.

    Returns
    -------
    OrderStatistics
    """
    if issparse(X):
        X = _canonical(X)
    elif not is_foreign(X):
        X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    elif weight is not None:
        X = to_numpy(X)
    weight = None if weight is None else _tamed(weight)
    probabilities = (0.5, *(quantile_range or ()))
    known = _columns(X, weight, probabilities)
    count = np.array([column[0] for column in known], dtype=np.int64)
    low, high = np.array([column[1:3] for column in known]).T
    infinite = np.isinf(low) | np.isinf(high)
    usable = (count > 0) & ~infinite
    with np.errstate(over="ignore", invalid="ignore"):
        constant = usable & is_constant(low, high)
    center, *ends = _rows(known, usable, len(probabilities))
    if quantile_range is None:
        deviation = _columns(X, weight, (0.5,), center)
        ends = [np.zeros(len(count)), *_rows(deviation, usable, 1)]
    with np.errstate(over="ignore"):
        whole = ends[1] - ends[0]
        flat = whole <= _ROUNDING_UNITS * _EPS * np.abs(center)
        # Halves don't overflow, but those of subnormal numbers lose a digit.
        half = (0.5 * ends[1] - 0.5 * ends[0]) / unit
        spread = np.where(half < 0.25 * _LARGEST, whole / unit, 2.0 * half)
    spread = np.where(constant, 0.0, np.minimum(spread, _LARGEST))
    std = np.full(len(count), np.nan)
    flat &= usable & ~constant
    for j in np.flatnonzero(flat):
        std[j] = column_moments(X[:, j : j + 1], weight).std[0]
    return OrderStatistics(count, infinite, center, spread, std, constant)


@dataclass(frozen=True)
class Stretch:
    """Values of a column that follow each other in ascending order."""

    values: np.ndarray
    """Shape (n,), without NaN. With weights below 1, all that are equal are one."""
    weight: np.ndarray | None
    """How many rows each stands for, over 0; None for one each."""
    below: float
    """What all lower values of the column weigh."""
    total: float
    """What all of its values weigh."""
    is_last: bool = True
    """Whether the column ends here."""

    def quantile(self, p: float) -> float:
        """Return a quantile, interpolated between neighbours; NaN if it isn't here.

        Notes
        -----
        Without weights the value of rank ``p * (n - 1)`` from 0. With them a value of
        weight w has w ranks, the ones repetition gives it, and one of w < 1 has the
        middle of its share, so that ranks stay in order.
        """
        rank = p * (self.total - 1.0) - self.below
        if self.weight is None:
            i = math.floor(rank)
            share, end = rank - i, len(self.values) - 1
            if not 0 <= i <= end or (i == end and share > 0):
                return np.nan
            return _between(self.values[i], self.values[min(i + 1, end)], share)
        first, last = self._ranks
        i = int(last.searchsorted(rank))
        if i == len(last):
            # At the end of the column up to rounding.
            return float(self.values[-1]) if i and self.is_last else np.nan
        if rank >= first[i]:
            return float(self.values[i])
        if i == 0:
            return np.nan if self.below else float(self.values[0])
        share = (rank - last[i - 1]) / (first[i] - last[i - 1])
        return _between(self.values[i - 1], self.values[i], share)

    @functools.cached_property
    def _ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last rank of each value."""
        weight = np.ones(len(self.values)) if self.weight is None else self.weight
        through = np.cumsum(weight)
        first, last = through - weight, through - 1.0
        light = last < first
        middle = 0.5 * (first + last)
        return np.where(light, middle, first), np.where(light, middle, last)


def _between(a: Any, b: Any, share: float) -> float:
    """Return the number at a share of the way from a to b."""
    a, b = float(a), float(b)
    if a == b or share == 0:
        return a
    if (a < 0) == (b < 0):
        return min(a + share * (b - a), b)
    # Their distance may pass the largest double.
    return (1 - share) * a + share * b


def _tamed(weight: np.ndarray) -> np.ndarray:
    """Return weights whose sums are doubles with all of their digits."""
    with np.errstate(over="ignore"):
        total = weight.sum()
    if np.isinf(total):  # Any lower power of two does: a row is nothing beside that.
        return weight * 2.0**-64
    return weight * 2.0**500 if total < 2.0**-500 else weight


def _rows(known: list[_Known], usable: np.ndarray, n_quantiles: int) -> np.ndarray:
    """Return each quantile of all columns as a row, NaN for columns that have none."""
    table = np.full((n_quantiles, len(known)), np.nan)
    for j in np.flatnonzero(usable):
        table[:, j] = known[j][3]
    return table


def _columns(
    X: Any,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    center: np.ndarray | None = None,
) -> list[_Known]:
    """Describe each column, or the absolute deviations from its center."""
    if issparse(X):
        return _sparse_columns(X, weight, probabilities, center)
    if is_foreign(X):
        return array_kernels("quantiles").describe_columns(X, probabilities, center)
    if X.size > _WORTH_COMPILING and len(X) > _MANY_ROWS:
        kernels = compiled_kernels("quantiles")
        if kernels is not None:
            return _compiled_columns(X, weight, probabilities, center, kernels)
    counted = None
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight)
        weight = weight[counted]

    def describe(columns: slice) -> list[_Known]:
        block = X[:, columns] if counted is None else X[counted, columns]
        return [
            _describe(_seen_from(center, j, x), weight, probabilities)
            for j, x in enumerate(by_column(block), columns.start)
        ]

    if X.size <= _WORTH_COMPILING:
        # Short columns are but microseconds' work between steps of the interpreter,
        # for which threads would only wait; and all are copied in one pass.
        return describe(slice(0, X.shape[1]))
    groups = in_threads(describe, column_groups(X.shape), X.size)
    return [column for group in groups for column in group]


def _seen_from(center: np.ndarray | None, j: int, x: np.ndarray) -> np.ndarray:
    if center is None:
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.abs(x.astype(np.float64) - center[j])
    return np.minimum(away, _LARGEST)


def _describe(
    x: np.ndarray,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    more: int = 0,
) -> _Known:
    """Describe a column of values with weights over 0, and ``more`` rows than those."""
    low = float(x.min()) if len(x) else math.nan
    if math.isnan(low):
        present = x == x
        x, weight = x[present], None if weight is None else weight[present]
        if not len(x):
            return _UNKNOWN
        low = float(x.min())
    high, count = float(x.max()), len(x) + more
    if math.isinf(low) or math.isinf(high):
        return count, low, high, []
    if weight is None:
        total = float(count)
    else:
        total = float(weight.sum())
        if total < count:
            weight, total = weight / total * count, float(count)
    quantiles = [math.nan]
    if len(x) > _FEW:
        quantiles = _find(_stretches(x, weight, probabilities, total), probabilities)
    if any(map(math.isnan, quantiles)):
        whole = _stretch(*_sorted(x, weight), 0.0, total, is_last=True)
        quantiles = _find([whole], probabilities)
    return count, low, high, quantiles


def _find(stretches: list[Stretch], probabilities: Sequence[float]) -> list[float]:
    """Return quantiles, NaN for one that is in none of the stretches."""

    def find(p: float) -> float:
        found = (stretch.quantile(p) for stretch in stretches)
        return next((x for x in found if not math.isnan(x)), math.nan)

    return [find(p) for p in probabilities]


def _sorted(
    x: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return values in ascending order, and weights beside them."""
    if weight is None:
        return np.sort(x), None
    order = x.argsort()
    return x[order], weight[order]


def _stretch(
    x: np.ndarray, weight: np.ndarray | None, below: float, total: float, is_last: bool
) -> Stretch:
    """Return sorted values as a stretch, with weights those that are equal as one."""
    if weight is not None:
        # So that splitting a row does nothing.
        differs = x[1:] != x[:-1]
        if not differs.all():
            starts = np.concatenate([[0], np.flatnonzero(differs) + 1])
            x, weight = x[starts], np.add.reduceat(weight, starts)
    return Stretch(x, weight, below, total, is_last)


def _stretches(
    x: np.ndarray,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    total: float,
) -> list[Stretch]:
    """Return the stretches of a column that quantiles should be in."""
    every = slice(None, None, max(_SAMPLED, len(x) // _SAMPLE))
    sample = _sorted(x[every], None if weight is None else weight[every])
    brackets = _brackets(*sample, probabilities)
    inside = np.zeros(len(x), dtype=bool)
    below = []
    for low, high in brackets:
        above = x >= low
        if weight is None:
            below.append(float(len(x) - np.count_nonzero(above)))
        else:
            below.append(float(weight.compress(~above).sum()))
        inside |= above & (x <= high)
    # Taken out and sorted together: each call has a price of its own.
    part = None if weight is None else weight.compress(inside)
    values, part = _sorted(x.compress(inside), part)
    stretches = []
    for (low, high), lighter in zip(brackets, below, strict=True):
        own = slice(values.searchsorted(low), values.searchsorted(high, "right"))
        w = None if part is None else part[own]
        stretches.append(_stretch(values[own], w, lighter, total, high == math.inf))
    return stretches


def _brackets(
    sample: np.ndarray, weight: np.ndarray | None, probabilities: Sequence[float]
) -> list[tuple[float, float]]:
    """Return where quantiles should be, going by a sorted sample, without overlap."""
    size, share = float(len(sample)), None
    if weight is not None:
        weight = weight / weight.sum()
        share = weight.cumsum()
        # Kish's number of rows that are worth as much.
        size = 1.0 / float(weight @ weight)

    def at(p: float) -> float:
        if not 0 < p < 1:
            return -math.inf if p <= 0 else math.inf
        i = int(p * size) if share is None else int(share.searchsorted(p))
        return float(sample[i]) if i < len(sample) else math.inf

    brackets: list[tuple[float, float]] = []
    for p in sorted(probabilities):
        margin = _MARGIN * math.sqrt(p * (1 - p) / size) + 2.0 / size
        low, high = at(p - margin), at(p + margin)
        if brackets and low <= brackets[-1][1]:
            before = brackets.pop()
            low, high = before[0], max(high, before[1])
        brackets.append((low, high))
    return brackets


def _compiled_columns(
    X: np.ndarray,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    center: np.ndarray | None,
    kernels: ModuleType,
) -> list[_Known]:
    """Describe columns in two passes: over a sample of rows, and over all."""
    n_rows, n_features = X.shape
    edges = _sampled_edges(X, weight, probabilities, center)
    weights = frozen(np.empty(0) if weight is None else weight)
    origin = frozen(np.zeros(n_features) if center is None else center)
    step = max(1, _PART // n_features)
    parts = [slice(i, min(i + step, n_rows)) for i in range(0, n_rows, step)]

    look_through = kernels.look_through(X.dtype)

    def look(rows: slice) -> tuple:
        n = rows.stop - rows.start
        sums = np.zeros((n_features, 2, edges.shape[1]))
        totals = np.tile([0.0, 0.0, np.inf, -np.inf], (n_features, 1))
        inside = np.zeros(n_features, dtype=np.int64)
        x, w = np.empty((2, n_features, n + 1))
        look_through(
            X[rows], weights[rows], origin, center is not None,
            edges, sums, totals, x, w, inside,
        )  # fmt: skip
        kept = [
            (x[j, :n].copy(), None if weight is None else w[j, :n].copy())
            for j, n in enumerate(inside)
        ]
        return sums, totals, kept

    looks = in_threads(look, parts, _EFFORT * X.size)
    sums = np.sum([part[0] for part in looks], axis=0)
    totals = np.array([part[1] for part in looks])

    def describe(j: int) -> _Known:
        count, total = totals[:, j, :2].sum(axis=0)
        low, high = totals[:, j, 2].min(), totals[:, j, 3].max()
        if not count:
            return _UNKNOWN
        if np.isinf(low) or np.isinf(high):
            return int(count), float(low), float(high), []
        x = np.concatenate([part[2][j][0] for part in looks])
        w = np.ones(len(x))
        if weight is not None:
            w = np.concatenate([part[2][j][1] for part in looks])
        unit = max(count / total, 1.0) if weight is not None else 1.0
        sort_rows(x[None], None if weight is None else w[None], is_large=True)
        stretches = _edged_stretches(
            x, unit * w, edges[j], unit * sums[j], unit * total
        )
        quantiles = _find(stretches, probabilities)
        if any(map(math.isnan, quantiles)):
            return _describe_sorted(X, weight, probabilities, center, j)
        return int(count), float(low), float(high), quantiles

    return in_threads(describe, range(n_features), X.size)


def _describe_sorted(
    X: np.ndarray,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    center: np.ndarray | None,
    j: int,
) -> _Known:
    """Describe a column whose quantiles aren't where they were expected."""
    x = X[:, j]
    if weight is not None:
        x, weight = x[weight > 0], weight[weight > 0]
    return _describe(_seen_from(center, j, x), weight, probabilities)


def _sampled_edges(
    X: np.ndarray,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    center: np.ndarray | None,
) -> np.ndarray:
    """Return the ends of the brackets of each column, NaN where two have become one."""
    counted = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
    size = min(-(-len(counted) // _SAMPLED), _SAMPLE)
    # Drawn: rows at equal distances may be all alike.
    rows = counted[np.random.default_rng(0).integers(0, len(counted), size)]
    rows.sort()
    sample = np.ascontiguousarray(X[rows].T, dtype=np.float64)
    edges = np.full((len(sample), 2 * len(probabilities)), np.nan)

    def bracket(j: int) -> None:
        x = _seen_from(center, j, sample[j])
        present = x == x
        x, w = x[present], None if weight is None else weight[rows][present]
        sort_rows(x[None], None if w is None else w[None], is_large=True)
        found = _brackets(x, w, probabilities) if len(x) else [(-np.inf, np.inf)]
        edges[j, : 2 * len(found)] = np.ravel(found)

    in_threads(bracket, range(len(sample)), _EFFORT * sample.size)
    return edges


def _edged_stretches(
    x: np.ndarray,
    weight: np.ndarray,
    edges: np.ndarray,
    sums: np.ndarray,
    total: float,
) -> list[Stretch]:
    """Make stretches of what is between edges, sorted, and what is on them."""
    stretches = []
    for k in range(0, len(edges), 2):
        low, high = edges[k : k + 2]
        if np.isnan(low):
            break
        inside = slice(*x.searchsorted([low, high]))
        values = np.concatenate([[low], x[inside], [high]])
        weights = np.concatenate(
            [sums[1, k : k + 1], weight[inside], sums[1, k + 1 : k + 2]]
        )
        if low == high:
            values, weights = values[:1], weights[:1]
        kept = weights > 0
        stretches.append(
            _stretch(
                values[kept], weights[kept], sums[0, k], total, bool(high == math.inf)
            )
        )
    return stretches


def _canonical(X: Any) -> Any:
    """Return a sparse table by columns, with one entry at a place."""
    X = X.tocsc()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def _sparse_columns(
    X: Any,
    weight: np.ndarray | None,
    probabilities: Sequence[float],
    center: np.ndarray | None,
) -> list[_Known]:
    """Describe the columns of a sparse table: one zero stands for all not stored."""
    n_rows, total = X.shape[0], 0.0
    if weight is not None:
        n_rows, total = np.count_nonzero(weight), weight.sum()

    def describe(j: int) -> _Known:
        stored = slice(X.indptr[j], X.indptr[j + 1])
        x = X.data[stored]
        if weight is None:
            w, absent = np.ones(len(x)), float(n_rows - len(x))
        else:
            w = weight[X.indices[stored]]
            x, w = x[w > 0], w[w > 0]
            absent = max(total - w.sum(), 0.0)
        more = n_rows - len(x)
        if more:
            x, w = np.append(x, x.dtype.type(0)), np.append(w, absent)
        x = _seen_from(center, j, x)
        return _describe(x, w, probabilities, max(more - 1, 0))

    return [describe(j) for j in range(X.shape[1])]
