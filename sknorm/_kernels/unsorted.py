"""Knots of long columns that aren't sorted.

A sample tells which values have scores at even distances. One pass over the column
then weighs what is between them, so that their own scores are exact, and collects the
few values beyond the outermost, which are sorted. Columns that a sample doesn't tell
enough of are left to be sorted whole: those with heavy ties, for instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.special import ndtr

from sknorm._kernels.knots import (
    Knots,
    Ranks,
    kept_runs,
    normal_scores,
    ranks_of_scores,
    segment_sums,
)
from sknorm._kernels.sorting import as_counts, sort_rows
from sknorm._kernels.tiles import frozen

__all__ = ["Sample"]

# Sampled values for each one that is kept, and how many there must be: neighbours on
# the table then differ from their distance wanted by less than a half, as a rule.
_SAMPLED, _FEWEST = 64, 16
# The sample is this large at least, and this share of the rows at most.
_SMALLEST_SAMPLE, _LARGEST_SHARE = 16_384, 8
# Scores beyond this one are those of values that are sorted: 2 % at either end, where
# a sample has few values for each one that is kept.
_TAIL = 2.05
# A table of few values has its outermost ones but for the extremes further inside.
_LARGEST_TAIL = 0.05
# Weights are divided by a power of two, of this exponent at most.
_LARGEST_EXPONENT = 960
# Room for what is beyond, times what is expected, and rows that are looked at together.
_MARGIN, _ROWS = 1.5, 1024
# Neighbours whose scores are so many times further apart than they should be tell that
# the sample is unlike the column.
_UNEVEN = 4.0
# Cells of a grid that is laid over the knots to find them, and knots that are numbered
# by 16 bits.
_CELLS, _MOST = 8192, 2**15
# Ends of numbers whose differences, and one by those, are doubles with all digits.
_WIDEST, _NARROWEST = 2.0**1000, 2.0**-1000


class Sample:
    """Rows of a table that tell what is kept of its columns.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows.
    n_quantiles, offset
        As for :func:`sknorm._kernels.ranks.learn_scores`.
    compiled : module
        The compiled functions.
    """

    def __init__(
        self,
        X: np.ndarray,
        weight: np.ndarray | None,
        n_quantiles: int,
        offset: float,
        compiled: ModuleType,
    ):
        self.X = X
        self.weight, self.unit = weight, 1.0
        if weight is not None:
            # By a power of two, so that sums are doubles with all of their digits.
            self.unit = 2.0 ** min(math.frexp(weight.max())[1], _LARGEST_EXPONENT)
            self.weight = weight / self.unit
        self.n_quantiles = n_quantiles
        self.offset = offset
        self.compiled = compiled
        counted = None
        if weight is not None and not weight.all():
            counted = np.flatnonzero(weight)
        self.n_rows = len(X) if counted is None else len(counted)
        size = min(
            max(_SAMPLED * n_quantiles, _SMALLEST_SAMPLE), self.n_rows // _LARGEST_SHARE
        )
        # One row out of each part, which is drawn: those at equal distances may be all
        # alike.
        drawn = np.arange(size) + np.random.default_rng(0).random(size)
        rows = (drawn * (self.n_rows / max(size, 1))).astype(np.intp)
        self.rows = rows if counted is None else counted[rows]

    def knots(self, columns: slice) -> list[Knots | None]:
        """Return what is kept of some columns, None for one that is to be sorted.

        Parameters
        ----------
        columns : slice
            The columns.

        Returns
        -------
        list of Knots or None
        """
        X = self.X[:, columns]
        plans = [self._plan(x) for x in X[self.rows].T]
        if not any(plans):
            return [None for _ in plans]
        return [
            None if plan is None else self._conclude(plan, *found)
            for plan, *found in zip(plans, *self._pass(X, plans), strict=True)
        ]

    def _plan(self, x: np.ndarray) -> _Plan | None:
        """Choose what to keep, from the sample of a column."""
        size = len(x)
        weight = None if self.weight is None else self.weight[self.rows]
        present = x == x
        if not present.all():
            x = x[present]
            weight = None if weight is None else weight[present]
        if len(x) < _FEWEST * self.n_quantiles or self.n_quantiles > _MOST:
            return None
        x = np.array(x)
        weight = None if weight is None else as_counts(weight).copy()
        sort_rows(x[None], None if weight is None else weight[None], is_large=True)
        if np.count_nonzero(x[1:] != x[:-1]) < self.n_quantiles:
            return None
        ranks = Ranks(len(x), weight)
        # The extremes of the column, taken to stand for one row each.
        total = ranks.total * (self.n_rows / size)
        (lowest,) = normal_scores(np.zeros(1), np.ones(1), total, self.offset)
        scores = np.linspace(lowest, -lowest, self.n_quantiles)
        inner = np.flatnonzero(np.abs(scores) <= _TAIL)
        if len(inner) < 2 or (tail := ndtr(scores[inner[0]])) > _LARGEST_TAIL:
            return None
        chosen = x[ranks.at(ndtr(scores[inner]) * ranks.total)].astype(np.float64)
        if not _is_plain(chosen):
            return None
        room = int(_MARGIN * 2.0 * tail * self.n_rows) + _ROWS
        outside = int(inner[0]), self.n_quantiles - 1 - int(inner[-1])
        return _Plan(chosen, outside, room, _best_grid(chosen))

    def _pass(
        self, X: np.ndarray, plans: list[_Plan | None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Weigh and collect values of columns: sums, values and weights, and counts."""
        used = [(j, plan) for j, plan in enumerate(plans) if plan is not None]
        n_knots = max(len(plan.knots) for _, plan in used)
        n_padded = n_knots + 2 * max(plan.grid.step for _, plan in used)
        n_columns = len(plans)
        knots = np.full((n_columns, n_padded), np.inf)
        inverse = np.zeros((n_columns, n_padded))
        first = np.zeros((n_columns, _CELLS), dtype=np.int16)
        cells = np.zeros((n_columns, 5), dtype=np.int64)
        grid = np.zeros((n_columns, 2))
        for j, plan in used:
            n = len(plan.knots)
            knots[j, :n] = plan.knots
            inverse[j, : n - 1] = 1.0 / np.diff(plan.knots)
            g = plan.grid
            first[j, : len(g.first)] = g.first
            cells[j] = n, g.below, g.shift, g.base, g.step
            grid[j] = g.center, g.unit
        room = max(plan.room for _, plan in used) + _ROWS
        sums = np.zeros((n_columns, n_knots, 4))
        beyond = np.empty((n_columns, room))
        beside = np.empty((n_columns, 0 if self.weight is None else room))
        counts = np.zeros((n_columns, 2), dtype=np.int64)
        self.compiled.weigh_segments(X.dtype)(
            X, frozen(np.empty(0) if self.weight is None else self.weight),
            knots, inverse, first, cells, grid, sums, beyond, beside, counts,
        )  # fmt: skip
        return sums, beyond, beside, counts

    def _conclude(
        self,
        plan: _Plan,
        sums: np.ndarray,
        beyond: np.ndarray,
        beside: np.ndarray,
        counts: np.ndarray,
    ) -> Knots | None:
        """Put together what is kept of a column, None if it isn't as expected."""
        count, n_beyond = int(counts[0]), int(counts[1])
        if n_beyond >= len(beyond) - _ROWS:
            return None
        x, w = beyond[:n_beyond], None if self.weight is None else beside[:n_beyond]
        sort_rows(x[None], None if w is None else w[None], is_large=True)
        if n_beyond and (np.isinf(x[0]) or np.isinf(x[-1])):
            return None
        mass, equal, *parts = sums[: len(plan.knots)].T
        if w is not None:
            # In counts, as ``as_counts`` has them.
            unit = max(self.unit, count / (float(mass.sum()) + float(w.sum())))
            w, mass, equal = unit * w, unit * mass, unit * equal
            parts = [unit * part for part in parts]
        n_low = int(x.searchsorted(plan.knots[0]))
        low, high = (
            _Tail(x[part], None if w is None else w[part])
            for part in (slice(n_low), slice(n_low, None))
        )
        before = low.total + np.concatenate([[0.0], np.cumsum(mass[:-1])])
        inner = Knots(plan.knots, before, before + equal, mass, np.stack(parts), count)
        return self._joined(low, inner, high, plan.outside)

    def _joined(
        self, low: _Tail, inner: Knots, high: _Tail, outside: tuple[int, int]
    ) -> Knots | None:
        """Add what is kept of the tails, None if what is between them is uneven."""
        inside = float(inner.before[-1] + inner.mass[-1])
        total = inside + high.total
        first = low.end_run(0) if len(low) else inner.through[0]
        last = high.end_run(-1) if len(high) else total - inner.before[-1]
        before, through = np.array([[0.0, total - last], [first, total]])
        lowest, highest = normal_scores(before, through, total, self.offset)
        scores = normal_scores(inner.before, inner.through, total, self.offset)
        step = (highest - lowest) / (self.n_quantiles - 1)
        if np.diff(scores).max() > _UNEVEN * step:
            return None
        n_low, n_high = outside
        lower = np.linspace(lowest, scores[0], n_low + 1)[:-1]
        upper = np.linspace(scores[-1], highest, n_high + 1)[1:]
        starts, ends = low.runs(ranks_of_scores(lower, total, self.offset), 0)
        knots = np.append(low.values[starts], inner.knots[0])
        corners = np.append(starts, len(low))
        left = low.kept(
            starts, ends, 0.0,
            segment_sums(low.values, low.weight, corners, knots, self.compiled)[:, :-1],
        )  # fmt: skip
        above = ranks_of_scores(upper, total, self.offset) - inside
        starts, ends = high.runs(above, -1)
        knots = np.append(inner.knots[-1], high.values[starts])
        corners = np.append(0, starts)
        sums = segment_sums(high.values, high.weight, corners, knots, self.compiled)
        right = high.kept(starts, ends, inside, sums[:, 1:])
        # The last segment in between ends at the first value kept beyond it.
        inner.mass[-1:] += high.below(starts[:1])
        inner.sums[:, -1] += sums[:, 0]
        parts = (left, inner, right)
        return Knots(
            knots=np.concatenate([part.knots for part in parts]),
            before=np.concatenate([part.before for part in parts]),
            through=np.concatenate([part.through for part in parts]),
            mass=np.concatenate([part.mass for part in parts]),
            sums=np.concatenate([part.sums for part in parts], axis=1),
            count=inner.count,
        )


@dataclass(frozen=True)
class _Plan:
    """What the sample of a column says."""

    knots: np.ndarray
    """Values to keep between the tails."""
    outside: tuple[int, int]
    """How many of the values kept are below them, and how many above."""
    room: int
    """How many values the tails have at most, if all is as expected."""
    grid: _Grid


@dataclass(frozen=True)
class _Grid:
    """Cells laid over the knots, each with few of them at most.

    A number belongs to a cell by the bits of its distance from the center plus the
    unit, without the last ones: all cells are of one width within the unit, and beyond
    it they grow with the distance.
    """

    center: float
    unit: float
    shift: int
    """How many bits are left out."""
    base: int
    """The bits of the unit: those of the cells that begin at the center."""
    below: int
    """How many cells there are below the center."""
    first: np.ndarray
    """The index of the last knot before each cell, 0 if there is none."""
    step: int
    """The first step of a search in a cell, 0 if there is nothing to search."""


class _Tail(Ranks):
    """Sorted values beyond the others, and their ranks among themselves."""

    def __init__(self, values: np.ndarray, weight: np.ndarray | None):
        super().__init__(len(values), weight)
        self.values = values

    def __len__(self) -> int:
        return self.count

    def end_run(self, end: int) -> float:
        """Return the weight of all that equal the first or the last value."""
        value = self.values[end]
        run = [self.values.searchsorted(value, side) for side in ("left", "right")]
        below, through = self.below(np.array(run))
        return float(through - below)

    def runs(self, ranks: np.ndarray, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where runs to be kept start and end: of such ranks, and the end's."""
        if not self.count:
            none = np.empty(0, dtype=np.intp)
            return none, none
        at = self.at(ranks - 0.5)
        at[end] = self.count - 1 if end else 0
        return kept_runs(self.values, at)

    def kept(
        self, starts: np.ndarray, ends: np.ndarray, below: float, sums: np.ndarray
    ) -> Knots:
        """Return knots where runs start, with what is below this tail."""
        return Knots(
            self.values[starts],
            below + self.below(starts),
            below + self.below(ends),
            self.mass(starts),
            sums,
            self.count,
        )


def _is_plain(knots: np.ndarray) -> bool:
    """Tell if knots are distinct numbers, neither too close together nor too far."""
    return bool(
        max(abs(knots[0]), abs(knots[-1])) < _WIDEST
        and np.diff(knots).min() > _NARROWEST
    )


def _best_grid(knots: np.ndarray) -> _Grid:
    """Lay a grid over knots so that the fullest cell holds as few as possible."""
    n = len(knots)
    low, middle, high = knots[0], knots[n // 2], knots[-1]
    few, half = n // 16, n // 32
    # Even cells, and those that are narrow where knots may be dense.
    tries = [
        (low, 2.0 ** math.frexp(high - low)[1]),
        (middle, (knots[n // 2 + half] - knots[n // 2 - half]) / 2),
        (low, knots[few] - low),
        (high, high - knots[-1 - few]),
    ]
    grids = [_grid(knots, center, unit) for center, unit in tries if unit > 0]
    return min(grids, key=lambda grid: grid.step)


def _grid(knots: np.ndarray, center: float, unit: float) -> _Grid:
    bits = (np.abs(knots - center) + unit).view(np.int64)
    base = int(np.float64(unit).view(np.int64))
    span = int(bits[0]) + int(bits[-1]) - 2 * base
    shift = max(0, (span // (_CELLS - 4)).bit_length())
    cell = (bits >> shift) - (base >> shift)
    is_below = knots < center
    below = int(cell[0]) + 1 if is_below[0] else 0
    cell = np.where(is_below, below - 1 - cell, below + cell)
    held = np.bincount(cell)
    first = (np.cumsum(held) - held - 1).clip(0)
    fullest = int(held.max())
    return _Grid(
        center, unit, shift, base >> shift, below, first, 1 << fullest.bit_length() >> 1
    )
