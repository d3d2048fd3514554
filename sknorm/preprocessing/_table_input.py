"""Tables as they come, checked before anything looks at their columns."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from sknorm._array_api import is_dispatched, to_numpy
from sknorm._dask import is_dask
from sknorm._validation import validate_data
from sknorm.preprocessing._table_columns import as_frame

__all__ = ["check_table"]


def check_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Return a table in which each column keeps what it holds.

    Parameters
    ----------
    estimator : estimator
        What the number of columns and their names are taken down in, or compared with.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    reset : bool
        Whether they are taken down.

    Returns
    -------
    DataFrame or ndarray of shape (n_samples, n_features)
        A frame as it is. All else as an array: of objects if it came as lists that have
        strings in them.

    Raises
    ------
    TypeError
        If X is no table in memory.
    ValueError
        If it has no rows or no columns, or others than the estimator was fitted on.
    """
    owner = type(estimator).__name__
    if is_dask(X):
        raise TypeError(
            f"{owner} takes no Dask collections. Compute them, if they fit in memory."
        )
    frame = as_frame(X, owner)
    if frame is None:
        return _check_array(estimator, X, reset)
    for number, what in zip(frame.shape, ("sample", "feature"), strict=True):
        if not number:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={frame.shape}) while a minimum "
                f"of 1 is required by {owner}."
            )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    return X


def _check_array(estimator: BaseEstimator, X: Any, reset: bool) -> Any:
    if is_dispatched(X):
        X = to_numpy(X)
    checked = validate_data(
        estimator, X, reset=reset, dtype=None, ensure_all_finite=False
    )
    if checked.dtype.kind in "US" and not hasattr(X, "dtype"):
        # NumPy made strings of the numbers in lists.
        return check_array(X, dtype=object, ensure_all_finite=False)
    return checked
