"""Labels of groups as numbers: which there are, and where each row belongs."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_labels", "factorize", "find_labels", "unite_labels"]

# Kinds of dtype that NumPy sorts faster than Python can look up.
_SORTABLE = "biufmM"
# Whole numbers from a range of so many times their number are looked up.
_DENSE = 4


def as_labels(groups: Any) -> np.ndarray:
    """Return labels as an array, of Python objects unless they are numbers or dates.

    Parameters
    ----------
    groups : array-like of shape (n_rows,)
        A list, an array, or a column of a frame.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If it is not one label for each row.
    """
    labels = np.asarray(groups)
    if labels.dtype.kind == "f" and _holds_integers(groups):
        # Some are missing, so that NumPy takes doubles, which can't tell large ones.
        labels = np.array(list(groups), dtype=object)
    if labels.ndim != 1:
        raise ValueError(
            "groups must hold one label for each row, in one dimension. Got an array "
            f"of shape {labels.shape!r}."
        )
    if labels.dtype.kind in _SORTABLE:
        return labels
    # Of a list with numbers and strings NumPy makes strings.
    return np.array(groups if isinstance(groups, list) else labels, dtype=object)


def _holds_integers(groups: Any) -> bool:
    """Tell if it is a column of whole numbers, by what pandas or Polars say."""
    dtype: Any = getattr(groups, "dtype", None)
    if hasattr(dtype, "is_integer"):
        return bool(dtype.is_integer())
    return getattr(dtype, "kind", None) in ("i", "u")


def factorize(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find out which labels there are, and which of them each row has.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        From :func:`as_labels`. None, NaN, NaT and pandas' NA are missing ones.

    Returns
    -------
    found : ndarray of shape (n_groups,)
        Each label once, ascending.
    codes : ndarray of int64 of shape (n_rows,)
        Where in it the row's label stands; -1 for a missing one.

    Raises
    ------
    ValueError
        If the labels have no order.
    """
    if labels.dtype.kind == "O":
        return _factorize_objects(labels)
    if labels.dtype.kind in "iu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if high - low < _DENSE * len(labels):
            return _factorize_dense(labels, low, high)
    missing = np.isnan(labels) if labels.dtype.kind in "fmM" else None
    if missing is None or not missing.any():
        found, codes = np.unique(labels, return_inverse=True)
        return found, codes.reshape(-1).astype(np.int64, copy=False)
    codes = np.full(len(labels), -1, dtype=np.int64)
    found, codes[~missing] = np.unique(labels[~missing], return_inverse=True)
    return found, codes


def _factorize_dense(
    labels: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Look up whole numbers from a range, where that takes less than to sort them."""
    # Narrow integers don't hold their differences.
    wide = np.uint64 if labels.dtype.kind == "u" else np.int64
    places = (labels.astype(wide, copy=False) - wide(low)).astype(np.int64)
    seen = np.zeros(high - low + 1, dtype=bool)
    seen[places] = True
    found = (np.flatnonzero(seen).astype(wide) + wide(low)).astype(labels.dtype)
    return found, (np.cumsum(seen) - 1)[places]


def _factorize_objects(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        there = set(labels)
        missing = {label for label in there if _is_missing(label)}
        ordered = sorted(there - missing)
    except TypeError as error:
        raise _no_order(error) from error
    where = {label: code for code, label in enumerate(ordered)}
    where |= dict.fromkeys(missing, -1)
    codes = np.fromiter(map(where.__getitem__, labels), np.int64, len(labels))
    return _narrowed(ordered), codes


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA says neither yes nor no.
        return True


def _narrowed(ordered: list) -> np.ndarray:
    """Return labels as an array of numbers if they are, else of objects."""
    if ordered and all(isinstance(label, (int, float, np.number)) for label in ordered):
        return np.array(ordered)
    labels = np.empty(len(ordered), dtype=object)
    labels[:] = ordered
    return labels


def find_labels(labels: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return where labels stand among others.

    Parameters
    ----------
    labels, among : ndarray
        Each label once, ascending, as of :func:`factorize`.

    Returns
    -------
    ndarray of int64 of the shape of ``labels``
        -1 for a label that isn't there.

    Raises
    ------
    ValueError
        If they can't be compared, as strings and numbers.
    """
    if not len(labels) or not len(among):
        return np.full(len(labels), -1, dtype=np.int64)
    try:
        place = np.searchsorted(among, labels)
    except TypeError as error:
        raise _no_order(error) from error
    place = np.minimum(place, len(among) - 1)
    return np.where(among[place] == labels, place, -1)


def unite_labels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the labels of both, each once and ascending.

    Parameters
    ----------
    a, b : ndarray
        Each label once, ascending.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If they can't be compared.
    """
    if not len(a) or not len(b):
        return a if len(a) else b
    try:
        return np.unique(np.concatenate([a, b]))
    except TypeError as error:
        raise _no_order(error) from error


def _no_order(error: TypeError) -> ValueError:
    return ValueError(
        "The labels of groups must be of one kind that has an order, such as numbers, "
        f"strings or dates, but two of them can't be compared: {error}."
    )
