"""Columns of frames and arrays."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sknorm.preprocessing._table_columns import (
    Column,
    as_frame,
    encode,
    from_objects,
    read_array,
    read_frame,
    to_frame,
)

DAY = dt.datetime(2020, 1, 2)
PARIS = dt.timezone(dt.timedelta(hours=1))


def only(frame):
    (column,) = read_frame(nw.from_native(frame))
    return column


def seen(column):
    """Return family and values as Python has them, None where missing."""
    there = ~column.missing()
    if column.family == "text":
        values = [column.distinct[code] for code in column.values[there]]
    elif column.family == "date":
        values = column.values[there].astype("M8[us]").tolist()
    else:
        values = column.values[there].tolist()
    values = iter(values)
    return column.family, [next(values) if found else None for found in there]


class TestPandas:
    @pytest.mark.parametrize(
        ("values", "dtype", "expected"),
        [
            ([1, 2], "int8", ("number", [1, 2])),
            ([1.5, None], "float32", ("number", [1.5, None])),
            ([1, None], "Int64", ("number", [1, None])),
            ([1.5, None], "Float32", ("number", [1.5, None])),
            ([1, None], "int64[pyarrow]", ("number", [1, None])),
            ([True, False], "bool", ("boolean", [True, False])),
            ([True, None], "boolean", ("boolean", [1, None])),
            ([True, None], "bool[pyarrow]", ("boolean", [1, None])),
            ([True, None], "object", ("boolean", [1, None])),
            (["b", None, "a"], "object", ("text", ["b", None, "a"])),
            (["b", None, "a"], "string", ("text", ["b", None, "a"])),
            (["b", None, "a"], "string[pyarrow]", ("text", ["b", None, "a"])),
            (["b", None, "a"], "category", ("text", ["b", None, "a"])),
            ([7, None, 3], "category", ("text", [7, None, 3])),
            ([DAY, None], "datetime64[ns]", ("date", [DAY, None])),
            ([DAY, None], "datetime64[s]", ("date", [DAY, None])),
            ([DAY, None], "timestamp[us][pyarrow]", ("date", [DAY, None])),
            ([dt.timedelta(hours=12), None], "m8[ns]", ("number", [0.5, None])),
            ([dt.date(9999, 1, 1), None], "object",
             ("date", [dt.datetime(9999, 1, 1), None])),
        ],
    )  # fmt: skip
    def test_dtypes(self, values, dtype, expected):
        frame = pd.DataFrame({"a": pd.Series(values, dtype=dtype)})
        assert seen(only(frame)) == expected

    def test_time_zones_leave_what_the_clock_showed(self):
        zoned = pd.Series([DAY, None], dtype="datetime64[us]").dt.tz_localize(PARIS)
        assert seen(only(pd.DataFrame({"a": zoned}))) == ("date", [DAY, None])

    def test_text_that_begins_late(self):
        values = ["a"] * 200 + [3, None]
        frame = pd.DataFrame({"a": pd.Series(values, dtype=object)})
        assert seen(only(frame)) == ("text", values)
        frame["a"] = pd.Series(["a"] * 200 + [[3], None], dtype=object)
        with pytest.raises(
            TypeError, match="Column 'a' holds something that is no val"
        ):
            only(frame)

    def test_text_without_values(self):
        values = pd.Series([None, None], dtype="category")
        assert seen(only(pd.DataFrame({"a": values}))) == ("text", [None, None])


class TestPolars:
    @pytest.mark.parametrize(
        ("values", "dtype", "expected"),
        [
            ([1, None], pl.Int8, ("number", [1, None])),
            ([1.5, None, float("nan")], pl.Float32, ("number", [1.5, None, None])),
            ([Decimal("1.5"), None], pl.Decimal(9, 2), ("number", [1.5, None])),
            ([True, None], pl.Boolean, ("boolean", [1, None])),
            (["b", None, "a"], pl.String, ("text", ["b", None, "a"])),
            (["b", None, "a"], pl.Categorical, ("text", ["b", None, "a"])),
            (["b", None, "a"], pl.Enum(["b", "a"]), ("text", ["b", None, "a"])),
            ([None, None], pl.String, ("text", [None, None])),
            ([None, None], pl.Categorical, ("text", [None, None])),
            ([DAY, None], pl.Datetime("ms"), ("date", [DAY, None])),
            ([DAY, None], pl.Datetime("us", "Asia/Tokyo"),
             ("date", [DAY + dt.timedelta(hours=9), None])),
            ([dt.date(9999, 1, 1), None], pl.Date,
             ("date", [dt.datetime(9999, 1, 1), None])),
            ([dt.timedelta(hours=12), None], pl.Duration, ("number", [0.5, None])),
            ([3, "a", None], pl.Object, ("text", [3, "a", None])),
            ([None, None], pl.Null, ("number", [None, None])),
        ],
    )  # fmt: skip
    def test_dtypes(self, values, dtype, expected):
        series = pl.Series(values, dtype=dtype)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            series = pl.Series(values, dtype=pl.Datetime("us", "UTC")).cast(dtype)
        assert seen(only(pl.DataFrame({"a": series}))) == expected

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ([[1]], "List"),
            ([{"b": 1}], "Struct"),
            ([b"x"], "Binary"),
            ([dt.time(1)], "Time"),
        ],
    )
    def test_what_is_no_value(self, values, name):
        message = rf"Column 'a' is of the dtype {name}.*neither a number nor a category"
        with pytest.raises(TypeError, match=message):
            only(pl.DataFrame({"a": values}))


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["b", None, "c"], ["c", "a", "b"], ordered=True),
        pl.Series(["b", None, "c"], dtype=pl.Enum(["c", "a", "b"])),
    ],
    ids=["pandas", "polars"],
)
def test_the_order_of_categories(values):
    library = pl if isinstance(values, pl.Series) else pd
    column = only(library.DataFrame({"a": values}))
    assert seen(column) == ("text", ["b", None, "c"])
    assert (column.distinct, column.has_order) == (("c", "a", "b"), True)


def test_wide_integers():
    wide = pl.DataFrame({"a": pl.Series([2**70, None], dtype=pl.Int128)})
    assert seen(only(wide)) == ("number", [float(2**70), None])


def test_an_arrow_table():
    text = pa.array(["x", None])
    table = pa.table({"a": [1.5, None], "b": text, "c": text.dictionary_encode()})
    found = [seen(column) for column in read_frame(as_frame(table, "Owner"))]
    assert found == [("number", [1.5, None]), *[("text", ["x", None])] * 2]


class TestObjects:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([True, None, np.False_], ("boolean", [1, None, 0])),
            ([1, 2.5, np.float32(3), pd.NA], ("number", [1, 2.5, 3, None])),
            ([Decimal("0.5"), Fraction(1, 4)], ("number", [0.5, 0.25])),
            ([DAY, dt.date(2020, 1, 2), pd.NaT], ("date", [DAY, DAY, None])),
            ([DAY.replace(tzinfo=PARIS), None], ("date", [DAY, None])),
            (
                [dt.timedelta(1), np.timedelta64(12, "h"), None],
                ("number", [1, 0.5, None]),
            ),
            ([np.datetime64("2020-01-02"), pd.Timestamp(DAY)], ("date", [DAY, DAY])),
            ([1, "a", None], ("text", [1, "a", None])),
            ([1, DAY], ("text", [1, DAY])),
            ([(1, 2), float("nan")], ("text", [(1, 2), None])),
        ],
    )
    def test_are_judged_by_what_they_are(self, values, expected):
        assert seen(from_objects(values, "a")) == expected

    def test_what_cannot_be_compared(self):
        message = "Column 'a' holds something that is no value: .*unhashable.*Drop the"
        with pytest.raises(TypeError, match=message):
            from_objects([[1], [2]], "a")


class TestArrays:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([1, 2], dtype="u1"), ("number", [1, 2])),
            (np.array([1.5, np.nan]), ("number", [1.5, None])),
            (np.array([True, False]), ("boolean", [True, False])),
            (np.array(["b", "a", "b"]), ("text", ["b", "a", "b"])),
            (np.array(["2020-01-02", "NaT"], dtype="M8[D]"), ("date", [DAY, None])),
            (np.array([36, "NaT"], dtype="m8[h]"), ("number", [1.5, None])),
            (np.array(["b", None], dtype=object), ("text", ["b", None])),
        ],
    )
    def test_dtypes(self, values, expected):
        assert [seen(c) for c in read_array(np.stack([values] * 2, axis=1))] == (
            [expected] * 2
        )

    def test_numbers_are_not_copied(self):
        X = np.ones((3, 2))
        assert all(np.shares_memory(column.values, X) for column in read_array(X))

    def test_complex_numbers(self):
        with pytest.raises(
            TypeError, match="Complex data not supported, as in column 0"
        ):
            read_array(np.array([[1j]]))


class TestEncode:
    def test_positions(self):
        codes, distinct = encode([None, "b", float("nan"), "a", pd.NaT, "b", pd.NA])
        assert codes.tolist() == [-1, 0, -1, 1, -1, 0, -1]
        assert distinct == ("b", "a")

    @pytest.mark.parametrize(
        "nothing",
        [None, float("nan"), np.float32("nan"), Decimal("nan"), pd.NA, pd.NaT,
         np.datetime64("NaT")],
    )  # fmt: skip
    def test_missing(self, nothing):
        codes, distinct = encode([nothing, 1])
        assert (codes.tolist(), distinct) == ([-1, 0], (1,))

    def test_equal_ones_are_one(self):
        assert encode([1, True, 1.0])[1] == (1,)

    def test_none_at_all(self):
        codes, distinct = encode([])
        assert (codes.dtype.kind, len(codes), distinct) == ("i", 0, ())


class TestAsText:
    def test_dates(self):
        values = np.array(["2020-01-02", "NaT", "2020-01-02"], dtype="M8[ns]")
        column = Column("date", values).as_text()
        assert seen(column) == ("text", [DAY, None, DAY])
        assert column.distinct == (DAY,)

    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame({"a": [2**60, None, 2**60 + 1]}, dtype="Int64"),
            pl.DataFrame({"a": [2**60, None, 2**60 + 1]}),
            pd.DataFrame({"a": [2**60, None, 2**60 + 1]}, dtype=object),
        ],
        ids=["pandas", "polars", "objects"],
    )
    def test_integers_with_gaps_are_exact(self, frame):
        ids = [2**60, None, 2**60 + 1]
        assert seen(only(frame).as_text()) == ("text", ids)
        taken = only(frame).take(np.array([1, 2]))
        assert seen(taken.as_text()) == ("text", ids[1:])

    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame({"a": [True, None]}, dtype="boolean"),
            pl.DataFrame({"a": [True, None]}),
        ],
        ids=["pandas", "polars"],
    )
    def test_booleans_with_gaps(self, frame):
        (value,) = only(frame).as_text().distinct
        assert value is True

    def test_text_is_itself(self):
        column = Column("text", np.array([0]), ("a",))
        assert column.as_text() is column


class TestAsFrame:
    def test_what_is_none(self):
        for X in ([[1]], np.ones((1, 1)), pd.Series([1]), "a"):
            assert as_frame(X, "Owner") is None

    def test_twins(self):
        twins = pd.DataFrame(np.ones((1, 5)), columns=list("abaca"))
        message = "X has more than one column of the name 'a'. Rename them, or drop all"
        with pytest.raises(ValueError, match=message):
            as_frame(twins, "Owner")
        with pytest.raises(ValueError, match=message):
            as_frame(pa.table([[1], [2], [3]], names=["a", "b", "a"]), "Owner")

    def test_lazy(self):
        message = r"Owner takes no lazy frames, and X is one of polars\.lazyframe"
        with pytest.raises(TypeError, match=message):
            as_frame(pl.LazyFrame({"a": [1]}), "Owner")


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("source", ["pandas", "polars", None])
def test_to_frame(library, source):
    column = Column("text", np.array([0, -1]), ("x",))
    frames = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
    like = frames[source]({"b": ["x", None]}) if source else None
    found = to_frame(
        ["n", "b"],
        np.array([[1.0], [2.0]]),
        {0: column},
        library,
        None if like is None else nw.from_native(like),
    )
    assert type(found) is frames[library]
    assert list(found.columns) == ["n", "b"]
    assert list(found["n"]) == [1, 2]
    assert next(iter(found["b"])) == "x"
    assert nw.from_native(found)["b"].is_null().to_list() == [False, True]
