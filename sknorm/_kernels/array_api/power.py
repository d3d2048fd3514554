"""The likeliest powers of the columns of arrays of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

import sknorm._kernels.power as in_memory
from sknorm._array_api import float_dtypes, namespace, to_numpy
from sknorm._kernels.array_api.blocks import column_parts, quiet
from sknorm._kernels.array_api.power_moments import gather
from sknorm._kernels.power import PowerFit, fit_table, join_fits

__all__ = ["fit_powers"]


def fit_powers(
    X: Any, weight: np.ndarray | None, *, box_cox: bool, standardize: bool
) -> PowerFit:
    """Find the likeliest power of each column.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64, with NaN for missing values.
    weight, box_cox, standardize
        As for :func:`sknorm._kernels.power.fit_powers`.

    Returns
    -------
    PowerFit
        In NumPy. It is learned in main memory if the device has no doubles, which
        powers need.
    """
    if len(float_dtypes(X)) == 1:
        return in_memory.fit_powers(
            to_numpy(X), weight, box_cox=box_cox, standardize=standardize
        )
    if weight is not None:
        weight = weight / weight.max()  # So that no sum of them is too large.
    shift = 0.0 if box_cox else 1.0
    # What a result without standardizing has to fit in.
    largest = np.inf if standardize else float(namespace(X).finfo(X.dtype).max)
    with quiet():
        fits = [
            fit_table(gather(X[:, columns], weight), shift, standardize, largest)
            for columns in column_parts(X.shape)
        ]
    return join_fits(fits)
