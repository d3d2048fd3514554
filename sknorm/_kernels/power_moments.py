"""Moments of what columns are transformed to, and of its derivatives to the power."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from sknorm._kernels.power_frame import Frame, signed_logs
from sknorm._kernels.tiles import frozen, row_tiles

__all__ = [
    "FIRST",
    "SECOND",
    "SERIES",
    "SMALL",
    "Moments",
    "Table",
    "gather",
    "moments_of",
]

# Exponents below which differences lose more digits than the terms of a series.
SMALL = 0.25
# 1 / (k! (k + 3)) from the last term that counts to the first.
SERIES = [
    1 / divisor
    for divisor in (
        558835200, 47174400, 4354560, 443520, 50400, 6480, 960, 168, 36, 10, 4, 3
    )
]  # fmt: skip
# Of the transform v and its derivatives v1 and v2: v v, v v1, v1 v1, v v2.
FIRST, SECOND = [0, 0, 1, 0], [0, 1, 1, 2]


@dataclass(frozen=True)
class Moments:
    """Moments of the transform of columns, and of its two derivatives to the rate.

    Attributes
    ----------
    mean : ndarray of shape (3, n_columns)
        Means of the three.
    products : ndarray of shape (4, n_columns)
        Variance of the transform, its covariance with the first derivative, the
        variance of that, and the covariance of the transform with the second.
    """

    mean: np.ndarray
    products: np.ndarray

    def slopes(self, mean_log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the two derivatives of the log-likelihood."""
        var, cov1, var1, cov2 = self.products
        ratio = cov1 / var
        return mean_log - ratio, 2.0 * ratio * ratio - (var1 + cov2) / var

    def moved(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of the transform a small step of the rate on."""
        mean, mean1, mean2 = self.mean
        var, cov1, var1, cov2 = self.products
        return (
            mean + step * (mean1 + 0.5 * step * mean2),
            var + step * (2.0 * cov1 + step * (var1 + cov2)),
        )


@dataclass
class Table:
    """Columns that lie end to end: their values, and later logarithms.

    Attributes
    ----------
    values : ndarray of shape (n_columns, n_rows)
        Without compiled code any number stands for one that is missing, with it those
        are left out, so that columns end after their ``count``.
    weights : ndarray of the same shape or None
        Weights of the values, 0 for one that is missing.
    count : ndarray of int64 of shape (n_columns,)
        How many values there are.
    low, high : ndarray of shape (n_columns,)
        The least and the largest, NaN for a column without values.
    kernels : module or None
        Compiled code.
    """

    values: np.ndarray
    weights: np.ndarray | None
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kernels: ModuleType | None = None

    def take_logs(self, frame: Frame) -> None:
        """Replace values by what ``signed_logs`` makes of them."""
        if self.kernels is None:
            self.values = signed_logs(self.values, frame)
            return
        scale = np.where(frame.mirrored, -frame.scale, frame.scale)
        for j in np.flatnonzero(~frame.constant):
            self.kernels.take_logs(
                self.values[j, : self.count[j]],
                frame.origin[j],
                frame.base[j],
                frame.shift,
                frame.less[j],
                scale[j],
            )

    def means(self, stride: int) -> np.ndarray:
        """Return the means of every so manieth value."""
        if self.kernels is None:
            values, weights = self._every(slice(None), stride)
            return _mean(values, weights, _totals(values, weights))
        means = np.empty(len(self.values))
        for j, n in enumerate(self.count):
            values = self.values[j, :n:stride]
            if self.weights is None:
                means[j] = values.mean() if n else np.nan
            else:
                weights = self.weights[j, :n:stride]
                # Not by BLAS, whose sums depend on its number of threads.
                total = np.einsum("i,i->", weights, values)
                means[j] = total / weights.sum()
        return means

    def moments(
        self, frame: Frame, rate: np.ndarray, chosen: np.ndarray, stride: int
    ) -> Moments:
        """Return moments of every so manieth value of chosen columns.

        Frame and rate are those of the chosen columns. Transforms are divided by the
        exponential of ``frame.over(rate).max(axis=0)``.
        """
        upper, lower = frame.sides(rate)
        over = frame.over(rate).max(axis=0)
        if self.kernels is None:
            t, w = self._every(chosen, stride)
            return moments_of(t, w, upper, lower, over, frame.extent)
        result = np.empty((len(chosen), 7))
        for i, j in enumerate(chosen):
            n = self.count[j]
            w = np.empty(0) if self.weights is None else self.weights[j, :n]
            self.kernels.power_moments(
                self.values[j, :n], w, stride, upper[i], lower[i], over[i], result[i]
            )
        return Moments(result.T[:3], result.T[3:])

    def _every(
        self, chosen: np.ndarray | slice, stride: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        weights = None if self.weights is None else self.weights[chosen, ::stride]
        return self.values[chosen, ::stride], weights


def gather(
    X: np.ndarray, weight: np.ndarray | None, kernels: ModuleType | None
) -> Table:
    """Copy columns of float64, one after the other.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        float32 or float64, with NaN for missing values.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows, at most 1. Those of weight 0 are not looked at.
    kernels : module or None
        Compiled code.

    Returns
    -------
    Table
    """
    if kernels is not None:
        return _gather_compiled(X, weight, kernels)
    if weight is not None and not weight.all():
        X, weight = X[weight > 0], weight[weight > 0]
    values = np.array(X.T, dtype=np.float64, order="C")
    low, high = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
    missing = np.isnan(values)
    count = values.shape[1] - missing.sum(axis=1)
    weights = None if weight is None else np.tile(weight, (len(values), 1))
    if missing.any():
        weights = np.ones_like(values) if weights is None else weights
        weights[missing] = 0.0
        # Any number that has a logarithm will do.
        np.copyto(values, high[:, np.newaxis], where=missing)
    return Table(values, weights, count, low, high)


def _gather_compiled(
    X: np.ndarray, weight: np.ndarray | None, kernels: ModuleType
) -> Table:
    n_rows, n_columns = X.shape
    values = np.empty((n_columns, n_rows))
    weights = np.empty((0, 0) if weight is None else values.shape)
    count, extremes = np.empty(n_columns, np.int64), np.empty((2, n_columns))
    row_weights = frozen(np.empty(0) if weight is None else weight)
    copy = kernels.gather(X.dtype)
    copy(frozen(X), row_weights, values, weights, count, extremes)
    extremes[:, count == 0] = np.nan
    kept = None if weight is None else weights
    return Table(values, kept, count, extremes[0], extremes[1], kernels)


def moments_of(
    t: np.ndarray,
    w: np.ndarray | None,
    upper: np.ndarray,
    lower: np.ndarray,
    over: np.ndarray,
    extent: np.ndarray,
) -> Moments:
    """Return the moments of transformed columns.

    Parameters
    ----------
    t : ndarray of shape (n_columns, n_values)
        Logarithms with their sign.
    w : ndarray of the same shape or None
        Their weights.
    upper, lower, over : ndarray of shape (n_columns,)
        Rates for t >= 0 and t < 0, and logarithms of what results are divided by.
    extent : ndarray of shape (2, n_columns)
        How far t goes up and down.

    Returns
    -------
    Moments
    """
    total, merged = np.zeros(len(t)), None
    for part in row_tiles(t.shape[1], len(t)):
        terms = _terms(t[:, part], upper, lower, over, extent)
        part_total, moments = _part_moments(terms, None if w is None else w[:, part])
        total = total + part_total
        if merged is None:
            merged = moments
        else:
            share = part_total / np.where(total > 0, total, 1.0)
            merged = _merged(merged, moments, share)
    assert merged is not None
    return merged


def _part_moments(
    terms: list[np.ndarray], w: np.ndarray | None
) -> tuple[np.ndarray, Moments]:
    """Return the weights of a part, and its moments."""
    unit = np.ones(len(terms[0]))
    if w is not None:
        # So that no product with them is too small.
        heaviest = w.max(axis=1)
        unit = np.where(heaviest > 0, heaviest, 1.0)
        w = w / unit[:, np.newaxis]
    total = _totals(terms[0], w)
    mean = np.stack([_mean(v, w, total) for v in terms])
    for v, center in zip(terms, mean, strict=True):
        v -= center[:, np.newaxis]
    pairs = zip(FIRST, SECOND, strict=True)
    products = np.stack([_mean(terms[a], w, total, terms[b]) for a, b in pairs])
    return unit * total, Moments(mean, products)


def _totals(a: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """Return what the values of each row weigh in all."""
    if w is None:
        return np.full(len(a), float(a.shape[1]))
    return w.sum(axis=1)


def _mean(
    a: np.ndarray, w: np.ndarray | None, total: np.ndarray, b: np.ndarray | None = None
) -> np.ndarray:
    """Return the means of each row, or those of products.

    Weights of 1 lead to the same bits as none: a column that lacks no value doesn't
    depend on whether others do.
    """
    if w is not None:
        a = a * w
    sums = a.sum(axis=1) if b is None else np.einsum("ij,ij->i", a, b)
    return sums / np.where(total > 0, total, 1.0)


def _merged(a: Moments, b: Moments, share: np.ndarray) -> Moments:
    """Return the moments of two parts together, the second of which is so much of it.

    See Chan, Golub & LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """
    d = b.mean - a.mean
    within = (1.0 - share) * a.products + share * b.products
    between = share * (1.0 - share) * d[FIRST] * d[SECOND]
    return Moments(a.mean + share * d, within + between)


def _terms(
    t: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    over: np.ndarray,
    extent: np.ndarray,
) -> list[np.ndarray]:
    """Return the transform and its first two derivatives to the rate."""
    kappa = np.exp(-over)
    below = t < 0
    rate = upper[:, np.newaxis]
    if (upper != lower).any():
        rate = np.where(below, lower[:, np.newaxis], rate)
    inverse = 1.0 / rate
    e = rate * t
    if over.any():
        e -= over[:, np.newaxis]
    np.exp(e, out=e)
    v = e - kappa[:, np.newaxis]
    v *= inverse
    e *= t
    v1 = e - v
    v1 *= inverse
    e *= t
    v2 = np.subtract(e, v1, out=e)
    v2 -= v1
    v2 *= inverse
    # Where all exponents of a side are small, differences lose too many digits.
    for side, rates, reach in ((~below, upper, extent[0]), (below, lower, extent[1])):
        for j in np.flatnonzero((np.abs(rates) * reach < SMALL) & (reach > 0)):
            there = side[j]
            series = _series(t[j, there], rates[j], kappa[j])
            v[j, there], v1[j, there], v2[j, there] = series
    return [v, v1, v2]


def _series(
    t: np.ndarray, rate: float, kappa: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what ``_terms`` does, for small exponents."""
    u = rate * t
    # The integral of s^2 exp(us) from 0 to 1, and the two below it by parts.
    p = np.zeros_like(u)
    for coefficient in SERIES:
        p *= u
        p += coefficient
    e = np.exp(u)
    q = 0.5 * (e - u * p)
    square = kappa * t * t
    return kappa * t * (e - u * q), square * q, square * t * p
