"""Arrays of other libraries than NumPy: which they are, and how to move them.

scikit-learn's own helpers for this are private, and other in each of its releases.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

__all__ = [
    "beside",
    "detached",
    "float_dtypes",
    "is_dispatched",
    "is_foreign",
    "is_writeable",
    "namespace",
    "on_host",
    "take_rows",
    "to_numpy",
]


def is_foreign(X: Any) -> bool:
    """Tell if something is a dense array of another library than NumPy.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
    """
    return (
        type(X) is not np.ndarray
        and array_api_compat.is_array_api_obj(X)
        and not array_api_compat.is_numpy_array(X)
        and not array_api_compat.is_dask_array(X)
        and not array_api_compat.is_pydata_sparse_array(X)
    )


def is_dispatched(X: Any) -> bool:
    """Tell if something is such an array and is to stay one.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    bool
        False if scikit-learn is not configured for it: then it becomes NumPy's.
    """
    if type(X) is np.ndarray or not is_foreign(X):
        return False
    from sklearn import get_config  # It imports pandas, which kernels don't need.

    return get_config()["array_api_dispatch"]


def namespace(X: Any) -> Any:
    """Return the functions for an array.

    Parameters
    ----------
    X : array
        Of any library.

    Returns
    -------
    module
        With the names of the array API standard.
    """
    return array_api_compat.array_namespace(X)


def float_dtypes(X: Any) -> list[Any]:
    """Return the dtypes that there are on the device of an array, the widest first.

    Parameters
    ----------
    X : array
        Of any library.

    Returns
    -------
    list of dtypes
        float64, where the device has it, and float32.
    """
    xp = namespace(X)
    found = xp.__array_namespace_info__().dtypes(
        device=array_api_compat.device(X), kind="real floating"
    )
    return [found[name] for name in ("float64", "float32") if name in found]


def is_writeable(X: Any) -> bool:
    """Tell if an array may be written to.

    Parameters
    ----------
    X : array
        Of any library.

    Returns
    -------
    bool
    """
    return array_api_compat.is_writeable_array(X)


def on_host(X: Any) -> Any:
    """Return the NumPy view of an array whose memory NumPy can use.

    Parameters
    ----------
    X : array
        Of any library.

    Returns
    -------
    ndarray or array
        The view, or ``X`` itself if it lies on another device.
    """
    if array_api_compat.is_torch_array(X) and X.device.type == "cpu":
        return to_numpy(X)
    return X


def to_numpy(X: Any) -> np.ndarray:
    """Return an array as NumPy's, from whatever device it lies on.

    Parameters
    ----------
    X : array
        Of any library.

    Returns
    -------
    ndarray
        The same memory where that can be.
    """
    if array_api_compat.is_torch_array(X):
        return X.numpy(force=True)
    if is_foreign(X):
        if array_api_compat.is_array_api_strict_namespace(namespace(X)):
            # Its devices are but names, between which it copies with NumPy 2 only.
            return np.array(np.from_dlpack(X))
        X = array_api_compat.to_device(X, "cpu")
    return np.asarray(X)


def beside(values: np.ndarray, X: Any) -> Any:
    """Return numbers as an array of the library of another, on its device.

    Parameters
    ----------
    values : ndarray
        The numbers.
    X : array
        Of any library.

    Returns
    -------
    array
        ``values`` itself for NumPy. It may have their memory. float64 becomes float32
        where the device has nothing wider.
    """
    if not is_foreign(X):
        return values
    if values.dtype == np.float64 and len(float_dtypes(X)) == 1:
        with np.errstate(over="ignore", under="ignore"):
            values = values.astype(np.float32)
    return namespace(X).asarray(values, device=array_api_compat.device(X))


def detached(X: Any) -> Any:
    """Return an array that no gradients pass through.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    object
        ``X`` itself unless it is a tensor that asks for gradients. What is written into
        an array in place has none.
    """
    return X.detach() if getattr(X, "requires_grad", False) is True else X


def take_rows(X: Any, index: np.ndarray) -> Any:
    """Return some of the rows of a table.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Of any library.
    index : ndarray of int
        Which ones.

    Returns
    -------
    array of shape (len(index), n_features)
    """
    if not is_foreign(X):
        return X[index]
    return namespace(X).take(X, beside(index, X), axis=0)
