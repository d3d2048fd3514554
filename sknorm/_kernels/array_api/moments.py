"""Mean and spread of the columns of arrays of other libraries."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from sknorm._array_api import beside, float_dtypes, namespace, take_rows, to_numpy
from sknorm._kernels.array_api.blocks import (
    as_reals,
    column_sums,
    count_present,
    quiet,
    row_parts,
)
from sknorm._kernels.merging import ColumnMoments, empty_moments, two_sum

__all__ = ["column_moments"]

# Rows from which to choose a value that the others are measured from.
_SAMPLE = 64
# Exponents of the largest magnitude of a column beyond which it is scaled by a power of
# two, and of the largest such power: for doubles, and for floats of half their size.
_WIDE, _NARROW = (300, 1000), (30, 120)


def column_moments(X: Any, weight: np.ndarray | None = None) -> ColumnMoments:
    """Compute the moments of the columns of a table.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64; NaN is a missing value.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.

    Returns
    -------
    ColumnMoments
        In NumPy.

    Notes
    -----
    Deviations are measured from a value of the column near its bulk, the median of a
    sample, and then from the mean that comes of that. Which power of two keeps their
    squares within the range of floats is known from the extremes.
    """
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight > 0)
        X, weight = take_rows(X, counted), weight[counted]
    n_rows, n_features = X.shape
    if not n_rows or not n_features:
        return empty_moments(n_features)
    with quiet():
        return _Pass(X, weight).moments()


class _Pass:
    """Passes over the rows of a table, some of them weighted."""

    def __init__(self, X: Any, weight: np.ndarray | None):
        self.X = X
        self.weight = weight
        self.weight_unit = 0
        if weight is not None:
            # Weights of at most 1: sums of products stay within the range of floats.
            self.weight_unit = int(np.frexp(weight.max())[1])
            self.weight = np.ldexp(weight, -self.weight_unit)
        self.limits = _WIDE if len(float_dtypes(X)) > 1 else _NARROW

    def moments(self) -> ColumnMoments:
        count, low, high = self._extremes()
        infinite = np.isinf(low) | np.isinf(high)
        none = infinite | (count == 0)
        largest = np.where(none, 0.0, np.maximum(-low, high))
        unit = self._unit(largest)
        origin = np.ldexp(self._origin(low), -unit)
        origin[none] = 0.0
        total = self._total(count)
        divisor = np.where(count > 0, total, 1.0)
        left, _ = self._sums(unit, origin, None)
        offset = np.where(none, 0.0, left / divisor)
        # As the device has it, for the sums to be of deviations from that.
        offset = to_numpy(beside(offset, self.X)).astype(np.float64)
        left, squares = self._sums(unit, origin, offset)
        rest = left / divisor
        mean, remainder = two_sum(origin, offset + rest)
        std = np.sqrt(np.maximum(squares - left * rest, 0.0) / divisor)
        mean, remainder, std = (
            np.where(none, np.nan, np.ldexp(part, unit))
            for part in (mean, remainder, std)
        )
        return ColumnMoments(
            count, np.ldexp(total, self.weight_unit), mean, remainder, std
        )

    def _extremes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number of values of each column, the lowest and the highest."""
        X, xp = self.X, namespace(self.X)
        device = array_api_compat.device(X)
        counts: list[np.ndarray] = []
        lows: list[Any] = []
        highs: list[Any] = []
        for rows in row_parts(X.shape):
            block = X[rows, :]
            missing = xp.isnan(block)
            counts.append(count_present(block))
            for found, function, fill in (
                (lows, xp.min, np.inf),
                (highs, xp.max, -np.inf),
            ):
                end = xp.asarray(fill, dtype=X.dtype, device=device)
                found.append(function(xp.where(missing, end, block), axis=0))
        low, high = (
            to_numpy(xp.stack(found)).astype(np.float64) for found in (lows, highs)
        )
        return np.sum(counts, axis=0), low.min(axis=0), high.max(axis=0)

    def _unit(self, largest: np.ndarray) -> np.ndarray:
        """Return exponents of the powers of two that columns are divided by."""
        harmless, limit = self.limits
        exponent = np.frexp(largest)[1].astype(np.int64)
        extreme = (np.abs(exponent) > harmless) & (largest > 0)
        return np.where(extreme, np.clip(exponent, -limit, limit), 0)

    def _origin(self, low: np.ndarray) -> np.ndarray:
        """Return a value of each column near its bulk."""
        step = -(-self.X.shape[0] // _SAMPLE)
        sample = np.sort(to_numpy(self.X[::step, :]).astype(np.float64), axis=0)
        middle = np.count_nonzero(~np.isnan(sample), axis=0) // 2
        origin = sample[middle.clip(max=len(sample) - 1), np.arange(len(low))]
        return np.where(np.isnan(origin), low, origin)

    def _total(self, count: np.ndarray) -> np.ndarray:
        """Return the sum of the weights of each column's values."""
        if self.weight is None:
            return count.astype(np.float64)
        total = np.full(len(count), self.weight.sum())
        lacking = np.flatnonzero(count < self.X.shape[0])
        if len(lacking):
            columns = beside(lacking, self.X)
            sums = np.zeros(len(lacking))
            for rows in row_parts(self.X.shape):
                xp = namespace(self.X)
                block = as_reals(xp.take(self.X[rows, :], columns, axis=1))
                w = beside(self.weight[rows, np.newaxis], self.X)
                sums += column_sums(xp.where(xp.isnan(block), 0.0 * w, w))
            total[lacking] = sums
        return total

    def _sums(
        self, unit: np.ndarray, origin: np.ndarray, offset: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add up deviations from ``origin + offset`` and their squares."""
        xp = namespace(self.X)
        factor = beside(np.ldexp(1.0, -unit), self.X) if unit.any() else None
        origin = beside(origin, self.X)
        offset = None if offset is None else beside(offset, self.X)
        sums = np.zeros((2, self.X.shape[1]))
        for rows in row_parts(self.X.shape):
            away = as_reals(self.X[rows, :])
            if factor is not None:
                away = away * factor
            away = away - origin
            if offset is not None:
                away = away - offset
            away = xp.where(xp.isnan(away), xp.zeros_like(away), away)
            weighted = away
            if self.weight is not None:
                weighted = away * beside(self.weight[rows, np.newaxis], self.X)
            sums[0] += column_sums(weighted)
            if offset is not None:
                sums[1] += column_sums(weighted * away)
        return sums[0], sums[1]
