"""Moments of the runs of rows of a tile, see ``_kernels/groups.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["run_moments"]

_SMALLEST_SQUARE, _LARGEST_SQUARE = 1e-280, 1e300

# Nothing is reordered: rounding errors are computed here.
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_options)
def run_moments(tile, starts, weight, count, total, mean, remainder, std):
    """Compute the moments of each column in each run of rows.

    Parameters
    ----------
    tile : array of shape (n_rows, n_columns)
        Values, NaN for missing ones.
    starts : array of int of shape (n_runs + 1,)
        Where each run begins, and the last one ends.
    weight : array of shape (n_rows,) or (0,)
        Weights of the rows, over 0; none for equal ones.
    count, total, mean, remainder, std : arrays of shape (n_runs, n_columns)
        Where the results go.

    Returns
    -------
    bool
        Whether there may be squares that left the range of doubles.

    Notes
    -----
    Deviations are measured from one of the run's own values, and then from the mean
    that comes of that.
    """
    n_columns = tile.shape[1]
    origin, offset = np.empty(n_columns), np.empty(n_columns)
    left, squares = np.empty(n_columns), np.empty(n_columns)
    number = np.empty(n_columns)
    suspect = False
    for run in range(len(starts) - 1):
        first, last = starts[run], starts[run + 1]
        sums = total[run]
        # The middle of a run is as likely near its bulk as any place.
        middle = (first + last) // 2
        for j in range(n_columns):
            origin[j] = tile[middle, j]
            if origin[j] != origin[j]:
                for i in range(first, last):
                    if tile[i, j] == tile[i, j]:
                        origin[j] = tile[i, j]
                        break
            left[j] = number[j] = sums[j] = 0.0
        for i in range(first, last):
            w = weight[i] if len(weight) else 1.0
            for j in range(n_columns):
                value = np.float64(tile[i, j])
                there = value == value
                left[j] += w * (value - origin[j]) if there else 0.0
                number[j] += 1.0 if there else 0.0
                sums[j] += w if there else 0.0
        for j in range(n_columns):
            offset[j] = left[j] / sums[j]
            left[j] = squares[j] = 0.0
        for i in range(first, last):
            w = weight[i] if len(weight) else 1.0
            for j in range(n_columns):
                value = np.float64(tile[i, j])
                there = value == value
                d = (value - origin[j]) - offset[j]
                wd = w * d
                left[j] += wd if there else 0.0
                squares[j] += wd * d if there else 0.0
        for j in range(n_columns):
            count[run, j] = np.int64(number[j])
            if number[j] == 0.0:
                mean[run, j] = remainder[run, j] = std[run, j] = np.nan
                continue
            rest = left[j] / sums[j]
            square = squares[j] - left[j] * rest
            step = offset[j] + rest
            middle_of = origin[j] + step
            seen = middle_of - origin[j]
            mean[run, j] = middle_of
            remainder[run, j] = (origin[j] - (middle_of - seen)) + (step - seen)
            std[run, j] = math.sqrt(max(square, 0.0) / sums[j])
            least = min(square, square / sums[j])
            if not least < _LARGEST_SQUARE:
                suspect = True
            elif least < _SMALLEST_SQUARE:
                # Zero is the true sum of equal values.
                for i in range(first, last):
                    if tile[i, j] == tile[i, j] and tile[i, j] != origin[j]:
                        suspect = True
    return suspect
