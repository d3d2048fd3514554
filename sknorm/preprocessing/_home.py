"""Where a standardizer was fitted: what it learned goes there, its code sees NumPy.

By scikit-learn's convention fitted attributes are arrays of the library of X, on its
device. Families neither know nor care: they learn NumPy arrays, which are kept beside
the attributes, and are handed them again when rows come to be transformed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from sknorm._array_api import beside, is_foreign, namespace, on_host, to_numpy

__all__ = ["Home", "carry_out", "check_home", "home_of", "rows_for", "settle"]


@dataclass(frozen=True)
class Home:
    """The library and the device of the rows that an estimator was fitted on."""

    like: Any
    """An array there, of no numbers."""
    learned: dict[str, np.ndarray]
    """Fitted attributes by name, with all their digits."""


def settle(estimator, X):
    """Turn fitted attributes into arrays of the library of X, on its device.

    Parameters
    ----------
    estimator : BaseStandardizer
        It has just learned what it knows; all arrays among that are NumPy's.
    X : array
        What it was fitted on, or anything that lives there.
    """
    vars(estimator).pop("_home", None)
    if not is_foreign(X):
        return
    learned = {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_")
        and isinstance(value, np.ndarray)
        and value.dtype.kind in "biuf"
    }
    for name, value in learned.items():
        # A copy: libraries may take the memory as theirs, to be written to.
        setattr(estimator, name, beside(value.copy(), X))
    xp = namespace(X)
    like = xp.empty((0,), dtype=xp.float32, device=array_api_compat.device(X))
    estimator._home = Home(like, learned)


def home_of(estimator):
    """Return an array that lives where an estimator was fitted, of no numbers."""
    return np.empty(0) if estimator._home is None else estimator._home.like


def carry_out(estimator, method, X, *more):
    """Return what a family makes of validated rows, where these live.

    Parameters
    ----------
    estimator : BaseStandardizer
        Fitted.
    method : {"transform", "inverse_transform"}
        What is done.
    X : array or sparse matrix of shape (n_samples, n_features)
        Validated rows.
    *more
        What else the family needs to know of them.

    Returns
    -------
    array or sparse matrix of shape (n_samples, n_features)
    """
    if estimator._home is None and not is_foreign(X):
        return getattr(estimator, f"_{method}")(X, estimator._target(X), *more)
    check_home(estimator, X, method)
    worker = copy.copy(estimator)
    vars(worker).update(estimator._home.learned)
    rows = rows_for(estimator, X)
    out = rows if is_copy(rows, X) else estimator._target(rows)
    result = getattr(worker, f"_{method}")(rows, out, *more)
    if result is rows and not is_copy(rows, X):
        return X  # It was written to, be it by way of a view.
    return beside(result, X) if type(result) is np.ndarray else result


def rows_for(estimator, X):
    """Return rows in the form that a family takes them.

    Parameters
    ----------
    estimator : BaseStandardizer
        Of the family.
    X : array or sparse matrix of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    array of the shape of X
        NumPy's view of it where there is one. If not, X itself for a family whose
        kernels run on its device, else a copy in main memory.
    """
    if not is_foreign(X):
        return X
    rows = on_host(X)
    return rows if estimator._on_device or rows is not X else np.array(to_numpy(X))


def is_copy(rows, X):
    """Tell if rows were brought to main memory from where X lies."""
    return rows is not X and on_host(X) is X


def check_home(estimator, X, method):
    """Raise if rows live elsewhere than those that an estimator was fitted on."""
    home = estimator._home
    if home is None and not is_foreign(X):
        return
    like = home_of(estimator)
    if _place(X) != _place(like):
        raise ValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
            "namespace and the same device as those passed to fit(). It was fitted on "
            f"{_described(like)}, and X is {_described(X)}. Move X there, or fit again "
            "on what is here; arrays of other libraries need "
            "sklearn.set_config(array_api_dispatch=True)."
        )


def _place(X):
    if not is_foreign(X):
        return None
    return namespace(X), array_api_compat.device(X)


def _described(X):
    if not is_foreign(X):
        return "a NumPy array"
    name = namespace(X).__name__.removeprefix("array_api_compat.")
    return f"an array of {name} on {array_api_compat.device(X)}"
