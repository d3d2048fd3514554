"""What each column of a table is, by what it holds and by what parameters say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sknorm.preprocessing._table_columns import Column
from sknorm.preprocessing._table_numbers import STANDARDIZERS

__all__ = [
    "alike",
    "counted",
    "families_of",
    "kinds_of",
    "listed",
    "named_positions",
    "told_apart",
    "wanted_standardizers",
]

_OWNER = "TableStandardizer"
# What a message calls a column of a family.
_CALLED = {
    "number": "a number",
    "boolean": "a boolean",
    "date": "a date",
    "text": "a category",
    "mixed": "a category",
}
# Others that it may be of later: pandas makes numbers of booleans with gaps.
_ALIKE = {
    "number": {"number", "boolean"},
    "boolean": {"number", "boolean"},
    "mixed": {"text"},
}
_ALLOWED = ["auto", *sorted(STANDARDIZERS)]
# A message names so many things before it only says that there are more.
_NAMED = 10


def kinds_of(columns: Sequence[Column], named: Collection[int]) -> list[str]:
    """Return what is made of each column.

    Parameters
    ----------
    columns : sequence of Column
        The columns.
    named : collection of int
        Positions of those that are categories whatever they hold.

    Returns
    -------
    list of str
        "number", "boolean", "date", "category", or "empty" without values.
    """
    kinds = []
    for j, column in enumerate(columns):
        if column.missing().all():
            kinds.append("empty")
        elif j in named or column.family == "text":
            kinds.append("category")
        else:
            kinds.append(column.family)
    return kinds


def families_of(columns: Sequence[Column]) -> list[str | None]:
    """Return of what family each column is, for :func:`alike` to know later.

    Parameters
    ----------
    columns : sequence of Column
        The columns.

    Returns
    -------
    list of str or None
        That of the column, "mixed" for categories that aren't strings alone, None
        without values.
    """
    families: list[str | None] = []
    for column in columns:
        if column.missing().all():
            families.append(None)
        elif all(isinstance(value, str) for value in column.distinct):
            families.append(column.family)
        else:
            families.append("mixed")
    return families


def named_positions(given: Any, labels: Sequence[Any]) -> set[int]:
    """Return the positions of columns that a parameter calls categories.

    Parameters
    ----------
    given : str or array-like
        "auto" for none, or names, positions or a mask.
    labels : sequence
        Names of all columns, or their positions.

    Returns
    -------
    set of int

    Raises
    ------
    ValueError
        If it names columns that aren't there.
    """
    if isinstance(given, str):
        return set()
    given, n_columns = np.asarray(given), len(labels)
    if given.dtype.kind == "b":
        if given.shape != (n_columns,):
            raise ValueError(
                f"A mask as the 'categorical_features' parameter of {_OWNER} must have "
                f"an entry for each of the {n_columns} columns. Got one of shape "
                f"{given.shape!r}."
            )
        return set(np.flatnonzero(given).tolist())
    places = {label: j for j, label in enumerate(labels)}
    if given.dtype.kind in "iu":
        places = {j: j % n_columns for j in range(-n_columns, n_columns)}
    unknown = [name for name in given.tolist() if name not in places]
    if unknown:
        raise ValueError(
            f"The 'categorical_features' parameter of {_OWNER} names "
            f"{listed(unknown)}, which X doesn't have. Its columns are "
            f"{listed(labels)}."
        )
    return {places[name] for name in given.tolist()}


def wanted_standardizers(numeric: Any, kinds: Mapping[Any, str]) -> list[Any]:
    """Return what each column is to be standardized with, None for a category.

    Parameters
    ----------
    numeric : str, transformer or dict
        The parameter.
    kinds : dict
        By the name or position of a column what is made of it.

    Returns
    -------
    list of str or transformer

    Raises
    ------
    ValueError
        If it names what isn't a column of numbers, or no standardizer.
    """
    by_column = numeric if isinstance(numeric, dict) else {}
    rest = "auto" if isinstance(numeric, dict) else numeric
    if not _is_standardizer(rest):
        raise ValueError(
            f"The 'numeric' parameter of {_OWNER} must be one of {listed(_ALLOWED)}, a "
            f"transformer, or a dict of these by column. Got {numeric!r}."
        )
    for label, what in by_column.items():
        _check_entry(label, what, kinds)
    return [
        None
        if kind == "category"
        else by_column.get(label, "boolean" if kind == "boolean" else rest)
        for label, kind in kinds.items()
    ]


def _check_entry(label: Any, what: Any, kinds: Mapping[Any, str]) -> None:
    names = f"The 'numeric' parameter of {_OWNER} names the column {label!r}, which"
    if label not in kinds:
        raise ValueError(f"{names} X doesn't have. Its columns are {listed(kinds)}.")
    if kinds[label] == "category":
        raise ValueError(
            f"{names} is a category. Leave it out there, or make numbers of it."
        )
    if not _is_standardizer(what):
        raise ValueError(
            f"The 'numeric' parameter of {_OWNER} must have one of {listed(_ALLOWED)} "
            f"or a transformer for a column. Got {what!r} for {label!r}."
        )


def _is_standardizer(what: Any) -> bool:
    return what in _ALLOWED if isinstance(what, str) else hasattr(what, "fit")


def alike(
    columns: Sequence[Column], families: Sequence[str | None], labels: Sequence[Any]
) -> list[Column]:
    """Return columns as what they were, or raise if one can't be.

    Parameters
    ----------
    columns : sequence of Column
        The columns now.
    families : sequence of str or None
        Of what family they were, as :func:`families_of` has it.
    labels : sequence
        Their names or positions.

    Returns
    -------
    list of Column
        Those given, but for objects that were categories, and are again in rows in
        which all happen to be numbers.

    Raises
    ------
    ValueError
        Naming the first one.
    """
    found = []
    for column, family, label in zip(columns, families, labels, strict=True):
        if family == "mixed" and column.objects is not None:
            column = column.objects
        found.append(column)
        if family is None or column.family in _ALIKE.get(family, {family}):
            continue
        if not column.missing().all():
            raise ValueError(
                f"Column {label!r} was {_CALLED[family]} when {_OWNER} was fitted, and "
                f"is {_CALLED[column.family]} now. Cast it to the dtype it had then, "
                "or fit again."
            )
    return found


def listed(names: Iterable[Any]) -> str:
    """Return what things are called, as far as a message has room for it."""
    names = list(names)
    more = " and more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def counted(labels: Collection[Any]) -> str:
    """Return how many columns there are and what they are called."""
    return f"{len(labels)} column{'s' if len(labels) > 1 else ''}: {listed(labels)}"


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names with numbers appended to those that others before them have."""
    taken, apart = set(names), list[str]()
    seen: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique in seen or (number > 1 and unique in taken):
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique)
        apart.append(unique)
    return apart
