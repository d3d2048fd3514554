"""Statistics of groups drawn toward those of all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import digamma, polygamma

from sknorm._kernels.merging import ColumnMoments, merge, two_sum

__all__ = ["add_rows", "empirical_bayes", "inverse_trigamma"]

# A prior of more rows than this is one of all rows that there can be.
_ALL_ROWS = 1e300
# Outside these the trigamma function is its leading term to all digits.
_SMALL_TRIGAMMA, _LARGE_TRIGAMMA = 1e-16, 1e16
# Degrees of freedom up to which values of special functions are looked up.
_TABLE = 1_000_000
_STEPS = 50


def add_rows(
    groups: ColumnMoments, total: ColumnMoments, n_rows: float
) -> ColumnMoments:
    """Return the moments of groups that got more rows, spread as all rows are.

    Parameters
    ----------
    groups : ColumnMoments
        Arrays of shape (n_groups, n_features).
    total : ColumnMoments
        Of all rows, arrays of shape (n_features,).
    n_rows : float
        How many rows, of weight 1.

    Returns
    -------
    ColumnMoments
        With no rows at all what the groups have themselves; in columns in which one
        has no values, what all rows have.
    """
    there = groups.count > 0
    if n_rows == 0 and there.all():
        return groups
    weight = np.full(len(total.mean), min(n_rows, _ALL_ROWS))
    merged = merge(groups, replace(total, weight=weight))
    # Rows of no weight leave a group that has none without a spread.
    return replace(merged, std=np.where(there, merged.std, total.std))


def empirical_bayes(
    groups: ColumnMoments, total: ColumnMoments, constant: np.ndarray
) -> ColumnMoments:
    """Return the moments of groups given a prior that is learned from all of them.

    Parameters
    ----------
    groups : ColumnMoments
        Arrays of shape (n_groups, n_features).
    total : ColumnMoments
        Of all rows, arrays of shape (n_features,): the mean of the prior.
    constant : ndarray of bool of shape (n_groups, n_features)
        Where the values of a group are equal.

    Returns
    -------
    ColumnMoments
        Posterior means, and standard deviations of new values, with what isn't known of
        the mean; 0 where no group has a spread, and groups differ. Nothing says how
        groups differ in a column in which fewer than two groups have values, or none
        has two: it has what all rows have, as has a group without values.

    Notes
    -----
    The model is that of :class:`sknorm.preprocessing.GroupStandardizer`. Computed in
    units of the standard deviation of all rows, so that no square leaves the range of
    doubles before the data do.
    """
    with np.errstate(all="ignore"):
        unit = np.where(total.std > 0, total.std, 1.0)
        there = groups.count > 0
        weight = np.where(there, groups.weight, 0.0)
        squares = np.where(there & ~constant, np.square(groups.std / unit), 0.0)
        gap = 2.0 * (
            (0.5 * groups.mean - 0.5 * total.mean)
            + 0.5 * (groups.remainder - total.remainder)
        )
        distance = np.where(there, gap / unit, 0.0)
        within = _moderate(weight, weight * squares, constant)
        between = _between(weight, distance, within)
        precision = weight * between
        several = (groups.count >= 2) | (weight > 1)
        telling = (there.sum(axis=0) >= 2) & several.any(axis=0)
        unknown = ~(there & telling & (within + precision > 0))
        # What the prior counts, and what the rows of the group do.
        prior = np.where(unknown, 1.0, within / (within + precision))
        own = np.where(unknown, 0.0, precision / (within + precision))
        near = own >= prior
        mean, remainder = two_sum(
            np.where(near, groups.mean, total.mean),
            np.where(
                near,
                groups.remainder - prior * gap,
                # No product with the gap to a mean that isn't there.
                total.remainder + own * np.where(there, gap, 0.0),
            ),
        )
        std = unit * np.sqrt(within + between * prior)
    return replace(
        groups,
        mean=mean,
        remainder=remainder,
        std=np.where(unknown, total.std, std),
    )


def _moderate(weight: np.ndarray, m2: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return the variance within each group, by the prior of Smyth (2004).

    A group of one row has what the prior says. Where the variances differ no more than
    chance makes them, all have the pooled one.
    """
    freedom = np.maximum(weight - 1.0, 0.0)
    squares = np.where(freedom > 0, m2, 0.0)
    pooled = _ratio(squares.sum(axis=0), freedom.sum(axis=0))
    # Of weights that don't count rows: without a correction for the means.
    pooled = np.where(
        (freedom > 0).any(axis=0), pooled, _ratio(m2.sum(axis=0), weight.sum(axis=0))
    )
    telling = (freedom >= 1) & (squares > 0)
    n = telling.sum(axis=0)
    half = _common(np.where(telling, 0.5 * freedom, 1.0), telling)
    logs = np.where(telling, np.log(np.where(telling, squares / freedom, 1.0)), 0.0)
    logs -= np.where(telling, _of_halves(digamma, half) - np.log(half), 0.0)
    center = _ratio(logs.sum(axis=0), n)
    spread = np.where(telling, np.square(logs - center), 0.0).sum(axis=0)
    by_chance = np.where(telling, _of_halves(_trigamma, half), 0.0).sum(axis=0)
    excess = np.where(n > 1, spread / np.maximum(n - 1, 1) - by_chance / n, 0.0)
    differ = excess > 0
    half_prior = inverse_trigamma(np.where(differ, excess, 1.0))
    location = np.exp(center + digamma(half_prior) - np.log(half_prior))
    strength = 2.0 * half_prior
    posterior = (strength * location + squares) / (strength + freedom)
    return np.where(differ, posterior, pooled)


def _between(
    weight: np.ndarray, distance: np.ndarray, within: np.ndarray
) -> np.ndarray:
    """Return the variance between the means of groups, by its moments, at least 0."""
    all_rows = weight.sum(axis=0)
    share = _ratio(weight, all_rows)
    centered = distance - (share * distance).sum(axis=0)
    seen = (share * np.square(centered)).sum(axis=0)
    # Of means that differ by chance alone.
    by_chance = _ratio((within * (1.0 - share) * (share > 0)).sum(axis=0), all_rows)
    between = _ratio(seen - by_chance, (share * (1.0 - share)).sum(axis=0))
    return np.maximum(between, 0.0)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the quotient, 0 where the divisor is."""
    return np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0)


def _common(half: np.ndarray, telling: np.ndarray) -> np.ndarray:
    """Return one column for all if they are alike: special functions take long."""
    return half[:, :1] if (half == half[:, :1]).all() else half


def _of_halves(
    function: Callable[[np.ndarray], np.ndarray], half: np.ndarray
) -> np.ndarray:
    """Return a function of halves, which are few where weights are whole numbers."""
    double = 2.0 * half
    if half.size and double.max() < min(_TABLE, half.size):
        index = double.astype(np.int64)
        if (index == double).all():
            return function(0.5 * np.arange(index.max() + 1))[index]
    return function(half)


def _trigamma(x: np.ndarray) -> np.ndarray:
    return polygamma(1, x)


def inverse_trigamma(y: np.ndarray) -> np.ndarray:
    """Return the number whose trigamma is ``y``.

    Parameters
    ----------
    y : ndarray
        Numbers over 0.

    Returns
    -------
    ndarray

    Notes
    -----
    Newton's method for the reciprocal, which is convex and nearly linear: from below
    it comes monotonically (Smyth 2004, appendix).
    """
    bounded = np.clip(y, _SMALL_TRIGAMMA, _LARGE_TRIGAMMA)
    x = 0.5 + 1.0 / bounded
    for _ in range(_STEPS):
        value = _trigamma(x)
        step = value * (1.0 - value / bounded) / polygamma(2, x)
        x = x + step
        if (np.abs(step) <= 1e-15 * x).all():
            break
    x = np.where(y < _SMALL_TRIGAMMA, 1.0 / y, x)
    return np.where(y > _LARGE_TRIGAMMA, 1.0 / np.sqrt(y), x)
