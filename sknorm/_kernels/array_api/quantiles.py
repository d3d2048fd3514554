"""Order statistics of the columns of arrays of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sknorm._array_api import beside, float_dtypes, namespace
from sknorm._kernels.array_api.blocks import (
    as_reals,
    column_parts,
    count_present,
    quiet,
    take_in_columns,
)

__all__ = ["describe_columns", "sort_columns"]


def describe_columns(
    X: Any, probabilities: Sequence[float], center: np.ndarray | None = None
) -> list[tuple[int, float, float, list[float]]]:
    """Describe each column, or the absolute deviations from its center.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64; NaN is a missing value.
    probabilities : sequence of float
        Which quantiles to find.
    center : ndarray of shape (n_features,), default=None
        What deviations are from; None to describe the values themselves.

    Returns
    -------
    list of tuples
        Count, smallest and largest value, and quantiles of each column. There are no
        quantiles without values or with infinite ones.
    """
    found = []
    with quiet():
        for columns in column_parts(X.shape):
            block = X[:, columns]
            if center is not None:
                block = _deviations(block, center[columns])
            found += _describe(block, probabilities)
    return found


def sort_columns(X: Any) -> tuple[Any, np.ndarray]:
    """Sort columns, with what is missing at the end as an infinite number.

    Parameters
    ----------
    X : array of shape (n_rows, n_columns)
        Values.

    Returns
    -------
    values : array like X
        In ascending order.
    count : ndarray of int64 of shape (n_columns,)
        How many are not missing.
    """
    xp = namespace(X)
    missing = xp.isnan(X)
    values = xp.where(missing, xp.full_like(X, xp.inf), X)
    return xp.sort(values, axis=0), count_present(X)


def _deviations(X: Any, center: np.ndarray) -> Any:
    xp, dtypes = namespace(X), float_dtypes(X)
    away = as_reals(X)
    high = center
    if len(dtypes) == 1:
        # What is close to the center is so without rounding, and then comes its rest.
        high = center.astype(np.float32).astype(np.float64)
        away = away - beside(high, X)
    away = xp.abs(away - beside(center - high if len(dtypes) == 1 else center, X))
    largest = xp.full_like(away, xp.finfo(away.dtype).max)
    return xp.where(xp.isnan(away), away, xp.minimum(away, largest))


def _describe(
    X: Any, probabilities: Sequence[float]
) -> list[tuple[int, float, float, list[float]]]:
    values, count = sort_columns(X)
    last = np.maximum(count - 1, 0)
    rank = np.multiply.outer(np.asarray(probabilities, dtype=np.float64), last)
    below = np.floor(rank).astype(np.int64)
    index = [np.zeros((1, len(count)), np.int64), last[np.newaxis], below]
    index.append(np.minimum(below + 1, last))
    low, high, *ends = take_in_columns(values, np.concatenate(index))
    n = len(probabilities)
    quantiles = _between(np.array(ends[:n]), np.array(ends[n:]), rank - below)
    usable = (count > 0) & np.isfinite(low) & np.isfinite(high)
    return [
        (
            int(count[j]),
            float(low[j]) if count[j] else np.nan,
            float(high[j]) if count[j] else np.nan,
            quantiles[:, j].tolist() if usable[j] else [],
        )
        for j in range(len(count))
    ]


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the numbers at a share of the way from a to b."""
    near = np.minimum(a + share * (b - a), b)
    # The distance of numbers of different sign may pass the largest double.
    far = (1.0 - share) * a + share * b
    between = np.where((a < 0) == (b < 0), near, far)
    return np.where((a == b) | (share == 0), a, between)
