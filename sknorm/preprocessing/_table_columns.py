"""Columns of frames and arrays, each as the one NumPy array that says it all.

Frames of pandas, polars and others come through narwhals, so that neither is imported
for the other, and nothing beyond this module knows of any of them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError

__all__ = [
    "Column",
    "as_frame",
    "encode",
    "from_objects",
    "read_array",
    "read_frame",
    "to_frame",
]

# Objects that stand for a missing value, by type: their packages may not be there.
_ABSENT = {"NoneType", "NAType", "NaTType"}
_TEXT = (nw.String, nw.Categorical, nw.Enum)
_UNUSABLE = (nw.List, nw.Array, nw.Struct, nw.Binary, nw.Time)
_DAY = np.timedelta64(1, "D")
_REMEDY = "Drop the column, or make numbers, strings or dates of it."


@dataclass(frozen=True, eq=False)
class Column:
    """The values of a column."""

    family: str
    """"number", "boolean", "date" or "text"."""
    values: np.ndarray
    """Real numbers or booleans, NaN where missing; of a date datetime64, NaT where
    missing; of text the positions in ``distinct``, -1 where missing."""
    distinct: tuple[Any, ...] = ()
    """What there is in a column of text, each once."""
    has_order: bool = False
    """Whether ``distinct`` is in an order that the column's dtype gives."""
    exact: np.ndarray | None = None
    """Integers or booleans that became floats for want of a missing value, with
    anything where that is."""
    objects: Column | None = None
    """The same as text, where the family is but what these objects happen to be."""

    def missing(self) -> np.ndarray:
        """Return a mask of the missing values."""
        if self.family == "text":
            return self.values < 0
        if self.family == "date":
            return np.isnat(self.values)
        if self.values.dtype.kind == "f":
            return np.isnan(self.values)
        return np.zeros(len(self.values), dtype=bool)

    def as_text(self) -> Column:
        """Return the values as positions in those that are distinct."""
        if self.objects is not None:
            return self.objects
        if self.family == "text":
            return self
        there = ~self.missing()
        values = (self.values if self.exact is None else self.exact)[there]
        if self.family == "date":
            values = values.astype("M8[us]")  # NumPy makes whole numbers of others.
        codes = np.full(len(self.values), -1)
        distinct, codes[there] = np.unique(values, return_inverse=True)
        return Column("text", codes, tuple(distinct.tolist()))

    def take(self, rows: np.ndarray) -> Column:
        """Return the values of some rows; what is distinct may be in none of them."""
        exact = None if self.exact is None else self.exact[rows]
        objects = None if self.objects is None else self.objects.take(rows)
        return replace(self, values=self.values[rows], exact=exact, objects=objects)


def as_frame(X: Any, owner: str) -> nw.DataFrame[Any] | None:
    """Return a frame as narwhals sees it, or None for anything else.

    Parameters
    ----------
    X : object
        A frame of pandas, polars or another library, or no frame.
    owner : str
        Name of the estimator, for messages.

    Returns
    -------
    narwhals DataFrame or None

    Raises
    ------
    TypeError
        If the rows of the frame are yet to be computed.
    ValueError
        If some of its columns have the same name.
    """
    try:
        frame = nw.from_native(X, pass_through=True)
    except DuplicateError as error:
        names = getattr(X, "column_names", None) or list(X.columns)
        twins = [name for name, count in Counter(names).items() if count > 1]
        raise ValueError(
            f"X has more than one column of the name {', '.join(map(repr, twins))}. "
            "Rename them, or drop all but one."
        ) from error
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(
            f"{owner} takes no lazy frames, and X is one of {type(X).__module__}. "
            "Pass X.collect() if it fits in memory."
        )
    return frame if isinstance(frame, nw.DataFrame) else None


def read_frame(frame: nw.DataFrame[Any]) -> list[Column]:
    """Return the columns of a frame.

    Parameters
    ----------
    frame : narwhals DataFrame
        Any.

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError
        If a column holds lists, structs or the like.
    """
    return [_read_series(series) for series in frame.iter_columns()]


def read_array(X: np.ndarray) -> list[Column]:
    """Return the columns of an array.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Of numbers, booleans, dates, strings or objects. The columns are views of it
        where that is possible.

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError
        If a column holds objects that are no values.
    """
    return [_read_values(X[:, j], j) for j in range(X.shape[1])]


def to_frame(
    names: Sequence[str],
    numbers: np.ndarray,
    passed: Mapping[int, Column],
    library: Literal["pandas", "polars"],
    like: nw.DataFrame[Any] | None,
) -> Any:
    """Return a frame of columns of numbers, and after them of what was passed on.

    Parameters
    ----------
    names : sequence of str
        Names of all columns.
    numbers : ndarray of shape (n_samples, n_numbers)
        The numbers.
    passed : dict
        By its position a column that is passed on.
    library : {"pandas", "polars"}
        What makes the frame.
    like : narwhals DataFrame or None
        What the columns are of. If that is of the library, they keep their dtype, and
        the rows their index.

    Returns
    -------
    DataFrame
        Of the library.
    """
    theirs = [] if like is None else list(like.iter_columns())
    n_numbers = numbers.shape[1]
    text = []
    for name, (j, column) in zip(names[n_numbers:], passed.items(), strict=True):
        if theirs and theirs[j].implementation.value == library:
            text.append(nw.maybe_reset_index(theirs[j]).alias(name))
        else:
            column = column.as_text()
            values = [*column.distinct, None]  # The last one where the code is -1.
            objects = [values[code] for code in column.values.tolist()]
            text.append(nw.new_series(name, objects, backend=library))
    parts: list[Any] = [series.to_frame() for series in text]
    if n_numbers:
        data = dict(zip(names[:n_numbers], numbers.T, strict=True))
        parts.insert(0, nw.from_dict(data, backend=library))
    frame = nw.concat(parts, how="horizontal").to_native()
    index = None if like is None else nw.maybe_get_index(like)
    if index is not None and library == "pandas":
        frame.index = index
    return frame


def encode(values: Iterable[Any]) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return each value's position among the distinct ones, and these.

    Parameters
    ----------
    values : iterable
        Anything that can be hashed. Those that are equal are one, as 1 and 1.0 are.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
        Positions, -1 for None, NaN, NaT and pandas' NA.
    distinct : tuple
        In the order in which they come.
    """
    known: dict[Any, int] = {}
    codes = np.array([known.setdefault(v, len(known)) for v in values], dtype=np.intp)
    there = np.array([not _is_absent(value) for value in known], dtype=bool)
    position = np.where(there, np.cumsum(there) - 1, -1)
    distinct = tuple(v for v, kept in zip(known, there.tolist(), strict=True) if kept)
    return position[codes], distinct


def from_objects(values: Sequence[Any], label: Any) -> Column:
    """Return the column that Python objects make, judged by what they are.

    Parameters
    ----------
    values : sequence
        Objects of any types.
    label : str or int
        Name of the column, for messages.

    Returns
    -------
    Column
        Of text unless all that isn't missing are booleans, numbers, durations or
        dates. Fewer rows may make another one.
    """
    try:
        codes, distinct = encode(values)
    except TypeError as error:
        raise TypeError(
            f"Column {label!r} holds something that is no value: {error}. {_REMEDY}"
        ) from error
    types = set(map(type, distinct))
    # The last one stands where the code is -1.
    text = Column("text", codes, distinct)
    guessed = functools.partial(Column, objects=text)
    if _all(types, bool, np.bool_):
        return guessed("boolean", np.array([*distinct, np.nan], dtype=float)[codes])
    if _all(types, timedelta, np.timedelta64):  # NumPy's are integers to Python.
        durations = np.array([*distinct, None], dtype="m8[us]")
        return guessed("number", (durations / _DAY)[codes])
    if _all(types, Real, Decimal):
        numbers = [*map(float, distinct), np.nan]
        return guessed("number", np.array(numbers)[codes])
    if _all(types, date, np.datetime64):
        dates = [*map(_without_zone, distinct), None]
        return guessed("date", np.array(dates, dtype="M8[us]")[codes])
    return text


def _read_series(series: Any) -> Column:
    dtype = series.dtype
    if isinstance(dtype, nw.Enum):
        return _read_ordered(series)
    if isinstance(dtype, _TEXT):
        return _read_text(series)
    if isinstance(dtype, _UNUSABLE):
        raise TypeError(
            f"Column {series.name!r} is of the dtype {dtype}, which is neither a "
            f"number nor a category nor a date. {_REMEDY}"
        )
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        series = series.dt.replace_time_zone(None)
    if isinstance(dtype, (nw.Int128, nw.UInt128)):  # NumPy knows of none.
        return from_objects(series.to_list(), series.name)
    if (dtype.is_integer() or isinstance(dtype, nw.Boolean)) and series.null_count():
        return _read_with_gaps(series, dtype)
    return _read_values(series.to_numpy(), series.name)


def _read_with_gaps(series: Any, dtype: Any) -> Column:
    """Return a column of integers or booleans, some of them missing."""
    is_boolean = isinstance(dtype, nw.Boolean)
    exact = series.fill_null(False if is_boolean else 0).to_numpy()
    values = exact.astype(np.float64)
    values[series.is_null().to_numpy()] = np.nan
    return Column("boolean" if is_boolean else "number", values, exact=exact)


def _read_ordered(series: Any) -> Column:
    """Return a column of categories whose order its dtype gives."""
    column, order = _read_text(series), series.dtype.categories
    places = {value: place for place, value in enumerate(order)}
    # The last one stands where the position is -1.
    to_place = np.array([*(places[value] for value in column.distinct), -1])
    return Column("text", to_place[column.values], tuple(order), has_order=True)


def _read_text(series: Any) -> Column:
    """Return a column of text without making a Python object of each value."""
    native = series.to_native()
    if hasattr(native, "factorize"):  # Of pandas, where it is the fastest by far.
        try:
            codes, found = native.factorize()
        except TypeError:  # Strings at first, and then what has no hash.
            return from_objects(series.to_list(), series.name)
        return Column("text", np.asarray(codes), tuple(found.tolist()))
    distinct = series.drop_nulls().unique().to_list()
    codes = np.full(len(series), -1)
    if distinct:
        places = list(range(len(distinct)))
        series = series.replace_strict(distinct, places, return_dtype=nw.Int64)
        codes = series.fill_null(-1).to_numpy()
    return Column("text", codes, tuple(distinct))


def _read_values(values: np.ndarray, label: Any) -> Column:
    kind = values.dtype.kind
    if kind == "b":
        return Column("boolean", values)
    if kind in "iuf":
        return Column("number", values)
    if kind == "M":
        return Column("date", values)
    if kind == "m":
        return Column("number", values / _DAY)
    if kind in "US":
        return Column("text", *encode(values.tolist()))
    if kind == "c":
        raise TypeError(f"Complex data not supported, as in column {label!r}.")
    return from_objects(values.tolist(), label)


def _is_absent(value: Any) -> bool:
    if isinstance(value, (Real, Decimal)):
        return bool(value != value)
    return type(value).__name__ in _ABSENT or (
        isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))
    )


def _all(types: set[type], *allowed: type) -> bool:
    return all(issubclass(each, allowed) for each in types)


def _without_zone(value: Any) -> Any:
    """Return a date as the clock showed it, for NumPy knows of no time zones."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
