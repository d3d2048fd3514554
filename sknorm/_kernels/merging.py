"""Moments of columns as values that merge without losing digits.

The statistics of a set of rows are kept as numbers that merge without cancellation:
the mean as two doubles that are not added up, and the standard deviation instead of a
sum of squares, which neither overflows nor underflows where the data don't.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

__all__ = [
    "FIELDS",
    "LARGEST_SQUARE",
    "SMALLEST_SQUARE",
    "ColumnMoments",
    "ReadOnly",
    "empty_moments",
    "merge",
    "quiet",
    "rescaled",
    "two_sum",
]

# Outside these a sum of squares may have lost digits to overflow or underflow.
SMALLEST_SQUARE, LARGEST_SQUARE = 1e-280, 1e300


class ReadOnly:
    """A dataclass whose arrays can't be written to, nor those of a copy of it."""

    def __post_init__(self) -> None:
        for value in self._values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied or unpickled, arrays can be written to until they are locked again.
        return type(self), self._values()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class ColumnMoments(ReadOnly):
    """Statistics of each column, read-only arrays of shape (..., n_features)."""

    count: np.ndarray
    """Number of values that are not NaN and have a weight over zero, int64."""
    weight: np.ndarray
    """Sum of their weights."""
    mean: np.ndarray
    """Weighted mean, NaN without values or with an infinite one."""
    remainder: np.ndarray
    """What rounding took off the mean: the two together have twice the digits."""
    std: np.ndarray
    """Root of the weighted mean of squared deviations from the mean."""

    @property
    def infinite(self) -> np.ndarray:
        """Mask of the columns that hold an infinite value."""
        # Nothing else makes the mean of a column with values not a number.
        return np.isnan(self.mean) & (self.count > 0)


FIELDS = tuple(field.name for field in fields(ColumnMoments))


def empty_moments(n_features: int) -> ColumnMoments:
    """Return the moments of no rows at all."""
    return ColumnMoments(
        count=np.zeros(n_features, dtype=np.int64),
        weight=np.zeros(n_features),
        mean=np.full(n_features, np.nan),
        remainder=np.full(n_features, np.nan),
        std=np.full(n_features, np.nan),
    )


def merge(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    """Return the moments of two sets of rows together (Chan, Golub & LeVeque).

    Notes
    -----
    The mean is reached from the heavier side, the shorter way, so that its error is a
    rounding of the step and not of the distance. Halves of the distance can't overflow.
    """
    if not (a.count.all() and b.count.all()):
        a, b = _borrow(a, b), _borrow(b, a)
    with quiet():
        weight = a.weight + b.weight
        divisor = np.where(weight > 0, weight, 1.0)
        share_a, share_b = a.weight / divisor, b.weight / divisor
        half = (0.5 * b.mean - 0.5 * a.mean) + 0.5 * (b.remainder - a.remainder)
        from_a = share_a >= share_b
        step = np.where(from_a, 2.0 * share_b, -2.0 * share_a) * half
        mean, remainder = two_sum(
            np.where(from_a, a.mean, b.mean),
            np.where(from_a, a.remainder, b.remainder) + step,
        )
        within = np.hypot(np.sqrt(share_a) * a.std, np.sqrt(share_b) * b.std)
        between = 2.0 * np.sqrt(share_a * share_b) * half
        std = np.hypot(within, between)
    return ColumnMoments(a.count + b.count, weight, mean, remainder, std)


def _borrow(a: ColumnMoments, b: ColumnMoments) -> ColumnMoments:
    """Give columns that are empty in ``a`` what ``b`` has, so that nothing moves."""
    empty = a.count == 0
    return ColumnMoments(
        count=a.count,
        weight=a.weight,
        mean=np.where(empty, b.mean, a.mean),
        remainder=np.where(empty, b.remainder, a.remainder),
        std=np.where(empty, b.std, a.std),
    )


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded sum and its rounding error, exactly (Knuth).

    Parameters
    ----------
    a, b : ndarray
        What is added.

    Returns
    -------
    total, error : ndarray
    """
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def rescaled(column: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return mean, remainder and std, computed in units of powers of two."""
    present = ~np.isnan(column)
    x, w = column[present].astype(np.float64), weight[present]
    if np.isinf(x).any():  # C leaves their exponent open.
        return np.full(3, np.nan)
    # Magnitudes of at most 1/2, so that differences are at most 1.
    unit = int(np.frexp(np.abs(x).max())[1]) + 1
    x, w = np.ldexp(x, -unit), np.ldexp(w, -int(np.frexp(w.max())[1]))
    origin = x[0]
    x -= origin
    total = w.sum()
    offset = (w @ x) / total
    x -= offset
    left = w @ x
    squares = max(w @ np.square(x) - left * (left / total), 0.0)
    mean, remainder = two_sum(origin, offset + left / total)
    return np.ldexp([mean, remainder, np.sqrt(squares / total)], unit)


def quiet() -> np.errstate:
    """Return a context for numbers that are looked at again if they overflow."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore")
