"""Moments of what the columns of arrays of other libraries are transformed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknorm._array_api import beside, namespace, take_rows, to_numpy
from sknorm._kernels.array_api.blocks import as_reals
from sknorm._kernels.array_api.power_map import log_ratio
from sknorm._kernels.power_frame import Frame
from sknorm._kernels.power_moments import FIRST, SECOND, SERIES, SMALL, Moments, Table

__all__ = ["ArrayTable", "gather"]


@dataclass
class ArrayTable(Table):
    """Columns on their device: their values, and later logarithms.

    It does for them what :class:`~sknorm._kernels.power_moments.Table` does.

    Attributes
    ----------
    values : array of shape (n_columns, n_rows)
        float64; any number stands for one that is missing.
    weights : array that can be broadcast to it, or None
        Weights of the values, 0 for one that is missing.
    count : ndarray of int64 of shape (n_columns,)
        How many values there are.
    low, high : ndarray of shape (n_columns,)
        The least and the largest, NaN for a column without values.
    """

    values: Any
    weights: Any
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def take_logs(self, frame: Frame) -> None:
        """Replace values by their logarithms, as the frame says."""
        xp, x = namespace(self.values), self.values
        origin, base, less, scale, mixed = (
            beside(array[:, np.newaxis], x)
            for array in (
                frame.origin, frame.base, frame.less, frame.scale, frame.mixed
            )
        )  # fmt: skip
        t = (log_ratio(xp.abs(x), frame.shift, origin, base) - less) / scale
        self.values = xp.where((x < 0) & mixed, -t, t)

    def means(self, stride: int) -> np.ndarray:
        """Return the means of every so manieth value."""
        xp = namespace(self.values)
        t, w = self._chosen(np.arange(len(self.count)), stride)
        if w is None:
            return to_numpy(xp.mean(t, axis=1))
        return to_numpy(xp.sum(t * w, axis=1) / _total(t, w))

    def moments(
        self, frame: Frame, rate: np.ndarray, chosen: np.ndarray, stride: int
    ) -> Moments:
        """Return moments of every so manieth value of chosen columns."""
        xp = namespace(self.values)
        t, w = self._chosen(chosen, stride)
        share = (
            1.0 / t.shape[1] if w is None else w / xp.expand_dims(_total(t, w), axis=1)
        )
        terms = _terms(t, frame, rate)
        means = [xp.sum(v * share, axis=1) for v in terms]
        terms = [
            v - xp.expand_dims(mean, axis=1)
            for v, mean in zip(terms, means, strict=True)
        ]
        products = [
            xp.sum(terms[a] * terms[b] * share, axis=1)
            for a, b in zip(FIRST, SECOND, strict=True)
        ]
        found = to_numpy(xp.stack(means + products))
        return Moments(found[:3], found[3:])

    def _chosen(self, chosen: np.ndarray, stride: int) -> tuple[Any, Any]:
        t, w = self.values[:, ::stride], self.weights
        w = None if w is None else w[:, ::stride]
        if len(chosen) < len(self.count):
            t = take_rows(t, chosen)
            if w is not None and w.shape[0] > 1:
                w = take_rows(w, chosen)
        return t, w


def gather(X: Any, weight: np.ndarray | None) -> ArrayTable:
    """Take columns as they lie on their device.

    Parameters
    ----------
    X : array of shape (n_rows, n_columns)
        float32 or float64, with NaN for missing values.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows, at most 1. Those of weight 0 are not looked at.

    Returns
    -------
    ArrayTable
    """
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight)
        X, weight = take_rows(X, counted), weight[counted]
    xp = namespace(X)
    values = as_reals(xp.permute_dims(X, (1, 0)))
    missing = xp.isnan(values)
    low = xp.min(xp.where(missing, xp.full_like(values, xp.inf), values), axis=1)
    high = xp.max(xp.where(missing, xp.full_like(values, -xp.inf), values), axis=1)
    lacking = to_numpy(xp.sum(xp.astype(missing, xp.int64), axis=1))
    weights = None if weight is None else beside(weight[np.newaxis], X)
    if lacking.any():
        weights = xp.ones_like(values) if weights is None else weights
        weights = xp.where(missing, 0.0 * weights, weights)
        # Any number that has a logarithm will do.
        values = xp.where(missing, xp.expand_dims(high, axis=1), values)
    count = X.shape[0] - lacking
    low, high = (np.where(count > 0, to_numpy(end), np.nan) for end in (low, high))
    return ArrayTable(values, weights, count, low, high)


def _total(t: Any, w: Any) -> Any:
    """Return the weight of each column, 1 for one without values."""
    xp = namespace(t)
    total = xp.sum(w, axis=1)
    return xp.where(total > 0, total, xp.ones_like(total))


def _terms(t: Any, frame: Frame, rate: np.ndarray) -> list[Any]:
    """Return the transform and its first two derivatives to the rate."""
    xp = namespace(t)
    rates = frame.sides(rate)
    over = frame.over(rate).max(axis=0)
    small = [
        (np.abs(r) * reach < SMALL) & (reach > 0)
        for r, reach in zip(rates, frame.extent, strict=True)
    ]
    upper, lower, over, kappa, small_upper, small_lower = (
        beside(array[:, np.newaxis], t)
        for array in (*rates, over, np.exp(-over), *small)
    )
    below = t < 0
    r = xp.where(below, lower, upper)
    e = xp.exp(r * t - over)
    v = (e - kappa) / r
    e = e * t
    v1 = (e - v) / r
    v2 = (e * t - 2.0 * v1) / r
    if not np.any(small):
        return [v, v1, v2]
    # Where all exponents of a side are small, differences lose too many digits.
    series = _series(t, r, kappa)
    there = xp.where(below, small_lower, small_upper)
    return [xp.where(there, s, v) for s, v in zip(series, (v, v1, v2), strict=True)]


def _series(t: Any, rate: Any, kappa: Any) -> tuple[Any, Any, Any]:
    """Return what ``_terms`` does, for small exponents."""
    xp = namespace(t)
    u = rate * t
    # The integral of s^2 exp(us) from 0 to 1, and the two below it by parts.
    p = xp.zeros_like(u)
    for coefficient in SERIES:
        p = p * u + coefficient
    e = xp.exp(u)
    q = 0.5 * (e - u * p)
    square = kappa * t * t
    return kappa * t * (e - u * q), square * q, square * t * p
