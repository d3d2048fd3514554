"""The one place that touches scikit-learn's validation machinery.

Everything private in scikit-learn that the library depends on is imported here, so a
change upstream is mended in this file alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    Options,
    StrOptions,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    _get_feature_names,
    _num_samples,
    check_is_fitted,
    validate_data,
)

from sknorm._array_api import float_dtypes, is_dispatched, namespace, to_numpy

__all__ = [
    "HasMethods",
    "Hidden",
    "Interval",
    "Options",
    "StrOptions",
    "_fit_context",
    "_num_samples",
    "check_is_fitted",
    "check_sample_weight",
    "check_target",
    "column_names",
    "output_container",
    "restore_on_failure",
    "take_rows",
    "validate_data",
]


def check_sample_weight(
    sample_weight: Any, X: Any, *, dtype: Any = np.float64
) -> np.ndarray | None:
    """Validate weights against ``X`` and return them as a 1-D float64 array.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,), float or None
        ``None`` stands for equal weights and is returned as it is, so that the
        unweighted path costs nothing.
    X : array-like of shape (n_samples, n_features)
        The rows that are weighted. Neither it nor the weights have to be NumPy's.
    dtype : numpy dtype, default=np.float64
        Precision of the result.

    Returns
    -------
    ndarray of shape (n_samples,) or None

    Raises
    ------
    ValueError
        If a weight is negative, NaN or infinite, all are zero, or there are not as
        many as there are rows.
    """
    if sample_weight is None:
        return None
    if is_dispatched(sample_weight):
        sample_weight = _weights_in_numpy(sample_weight)
    if is_dispatched(X):
        # Weights would follow it, to where doubles may be missing.
        X = np.empty((X.shape[0], 0))
    weight = _check_sample_weight(
        sample_weight, X, dtype=dtype, ensure_non_negative=True
    )
    if not weight.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number, but all "
            f"{_num_samples(X)} weights are zero."
        )
    return weight


def _weights_in_numpy(weight: Any) -> np.ndarray:
    xp, dtypes = namespace(weight), float_dtypes(weight)
    if xp.isdtype(weight.dtype, "real floating") and weight.dtype not in dtypes:
        weight = xp.astype(weight, dtypes[0])  # NumPy lacks bfloat16.
    return to_numpy(weight)


def column_names(X: Any) -> np.ndarray | None:
    """Return the names of the columns of a table, None unless all are strings.

    Parameters
    ----------
    X : object
        What was passed as a table.

    Returns
    -------
    ndarray of object of shape (n_features,) or None
    """
    return _get_feature_names(X)


def output_container(estimator: BaseEstimator) -> str:
    """Return what ``transform`` puts its result in, by ``set_output`` or by default.

    Parameters
    ----------
    estimator : BaseEstimator
        A transformer.

    Returns
    -------
    str
        "default", "pandas" or "polars".
    """
    return _get_output_config("transform", estimator)["dense"]


def check_target(estimator: BaseEstimator, y: Any) -> np.ndarray:
    """Validate ``y`` by itself: one or more finite numbers, or labels, a row.

    Parameters
    ----------
    estimator : estimator
        Whose ``fit`` it was passed to.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If it is missing, or holds what is no target.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but "
            "the target y is None."
        )
    return _check_y(y, multi_output=True, estimator=estimator)


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Return some rows of a table.

    Parameters
    ----------
    X : array or DataFrame of shape (n_samples, n_features)
        The table.
    rows : ndarray of int
        Which of them.

    Returns
    -------
    array or DataFrame
        Of the kind that X is.
    """
    return _safe_indexing(X, rows)


@contextmanager
def restore_on_failure(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator its attributes back if the block raises.

    A ``fit`` that fails half way must leave a previously fitted estimator usable.
    Attributes are restored by reference: the block has to replace fitted objects and
    not edit them in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
