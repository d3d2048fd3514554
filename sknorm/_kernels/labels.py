"""Labels of groups as numbers: which there are, and where each row belongs."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

__all__ = ["as_labels", "factorize", "find_labels", "unite_labels"]

# Kinds of dtype that NumPy sorts faster than Python can look up.
_SORTABLE = "biufmM"
# Whole numbers from a range of so many times their number are looked up.
_DENSE = 4
# Whole numbers up to this one are doubles.
_EXACT = 2**53


def as_labels(groups: Any) -> np.ndarray:
    """Return labels as an array, of Python objects unless they are numbers or dates.

    Parameters
    ----------
    groups : array-like of shape (n_rows,)
        A list, an array, or a column of a frame. A table of one column is taken for
        that, with a warning.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If it is not one label for each row.
    """
    labels = np.asarray(groups)
    if labels.ndim == 2 and labels.shape[1] == 1:
        # Not before it is needed: scikit-learn imports pandas.
        from sklearn.exceptions import DataConversionWarning

        warnings.warn(
            f"groups of shape {labels.shape!r} were passed where one dimension is "
            f"expected. Their only column is taken: pass that.",
            DataConversionWarning,
            stacklevel=3,
        )
        return as_labels(_only_column(groups))
    if labels.dtype.kind == "f" and labels.ndim == 1 and _holds_integers(groups):
        # Beside a missing one or a fraction NumPy takes doubles, which can't tell
        # large ones apart.
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


def _only_column(groups: Any) -> Any:
    if hasattr(groups, "iloc"):
        return groups.iloc[:, 0]
    return groups[:, 0] if hasattr(groups, "shape") else [row[0] for row in groups]


def _holds_integers(groups: Any) -> bool:
    """Tell if it is a column of whole numbers, or a list with large ones."""
    if isinstance(groups, (list, tuple)):
        return any(_is_large(label) for label in groups)
    dtype: Any = getattr(groups, "dtype", None)
    if hasattr(dtype, "is_integer"):
        return bool(dtype.is_integer())
    return getattr(dtype, "kind", None) in ("i", "u")


def _is_large(label: Any) -> bool:
    return isinstance(label, (int, np.integer)) and abs(int(label)) > _EXACT


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
        ordered = sorted(there - missing, key=_plain)
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
    ordered = [_plain(label) for label in ordered]
    if ordered and all(isinstance(label, (int, float, np.number)) for label in ordered):
        numbers = np.array(ordered)
        # No number that NumPy has is equal to each of -1 and 2**63, for instance.
        if all(map(operator.eq, numbers.tolist(), ordered)):
            return numbers
    labels = np.empty(len(ordered), dtype=object)
    labels[:] = ordered
    return labels


def _plain(label: Any) -> Any:
    """Return a number of NumPy's as one of Python's, which compare exactly."""
    is_number = isinstance(label, (np.integer, np.floating))
    return label.item() if is_number and label.dtype.kind != "m" else label


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
    labels, among = _comparable(labels, among)
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
    a, b = _comparable(a, b)
    try:
        united = np.unique(np.concatenate([a, b]))
    except TypeError as error:
        raise _no_order(error) from error
    return _narrowed(united.tolist()) if united.dtype.kind == "O" else united


def _comparable(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as Python's numbers if NumPy would compare them as doubles.

    Among doubles 2**53 + 1 is 2**53.
    """
    numbers = all(labels.dtype.kind in "biuf" for labels in (a, b))
    if not numbers or np.result_type(a, b).kind != "f":
        return a, b
    whole = [labels for labels in (a, b) if labels.dtype.kind in "iu"]
    ends = [int(end) for labels in whole for end in (labels[0], labels[-1])]
    if all(abs(end) <= _EXACT for end in ends):
        return a, b
    return a.astype(object), b.astype(object)


def _no_order(error: TypeError) -> ValueError:
    return ValueError(
        "The labels of groups must be of one kind that has an order, such as numbers, "
        f"strings or dates, but two of them can't be compared: {error}."
    )
