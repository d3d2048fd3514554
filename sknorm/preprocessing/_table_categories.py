"""Categories of a column, and the numbers that stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknorm.preprocessing._table_columns import Column

__all__ = ["Categories", "Coding", "learn_categories", "one_hot", "ordinal"]


@dataclass(frozen=True)
class Categories:
    """What was seen of a column of categories."""

    values: list[Any]
    """The categories, in the order of their dtype, or sorted."""
    weights: np.ndarray
    """Weight of the rows of each; their number without weights."""
    has_missing: bool
    """Whether a row had none."""


@dataclass(frozen=True)
class Coding:
    """Whole numbers for categories."""

    codes: dict[Any, int]
    """Of those that were seen."""
    unseen: int
    """Of all others."""
    missing: int
    """Of none."""
    labels: tuple[str, ...] = ()
    """Of the columns that are 1 where the code is their position, for one-hot."""

    def encode(self, column: Column) -> np.ndarray:
        """Return the codes of a column's values."""
        column = column.as_text()
        codes = [self.codes.get(value, self.unseen) for value in column.distinct]
        # The last one stands where the position is -1.
        return np.array([*codes, self.missing], dtype=np.intp)[column.values]


def learn_categories(column: Column, weight: np.ndarray | None) -> Categories:
    """Return the categories of a column.

    Parameters
    ----------
    column : Column
        Of any family.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows, over 0.

    Returns
    -------
    Categories
    """
    column = column.as_text()
    there = column.values >= 0
    weights = np.bincount(
        column.values[there],
        weights=None if weight is None else weight[there],
        minlength=len(column.distinct),
    )
    found = {v: w for v, w in zip(column.distinct, weights, strict=True) if w > 0}
    values = list(found) if column.has_order else _in_order(found)
    return Categories(
        values, np.array([found[value] for value in values]), not there.all()
    )


def ordinal(categories: Categories) -> Coding:
    """Return the coding by 1, 2, ... in order, with 0 for all that wasn't seen.

    Parameters
    ----------
    categories : Categories
        Of a column.

    Returns
    -------
    Coding
    """
    codes = {value: code for code, value in enumerate(categories.values, start=1)}
    return Coding(codes, unseen=0, missing=0)


def one_hot(categories: Categories, max_categories: int | None) -> Coding:
    """Return the coding by columns of their own, -1 where none is 1.

    Parameters
    ----------
    categories : Categories
        Of a column.
    max_categories : int or None
        How many columns they get at most, beside that of missing values. The rarest
        ones share the last of them.

    Returns
    -------
    Coding
        If there is one column only, it is never 1: a constant.
    """
    kept = _most_frequent(categories, max_categories)
    labels = [str(value) for value in kept]
    codes = {value: code for code, value in enumerate(kept)}
    unseen = missing = -1
    if len(kept) < len(categories.values):
        unseen = len(labels)
        labels.append("infrequent")
    if categories.has_missing:
        missing = len(labels)
        labels.append("missing")
    if len(labels) == 1:
        codes, unseen, missing = {}, -1, -1
    return Coding(codes, unseen, missing, tuple(labels))


def _most_frequent(categories: Categories, limit: int | None) -> list[Any]:
    values = categories.values
    if limit is None or len(values) <= limit:
        return values
    # The order of equally frequent ones is their own.
    order = np.argsort(-categories.weights, kind="stable")[: limit - 1]
    return [values[i] for i in np.sort(order)]


def _in_order(values: Iterable[Any]) -> list[Any]:
    values = list(values)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (str(value), type(value).__name__))
