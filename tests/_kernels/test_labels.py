import datetime
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import DataConversionWarning

from sknorm._kernels.labels import as_labels, factorize, find_labels, unite_labels

DAY = datetime.date(2020, 1, 1)
NO_ORDER = "must be of one kind that has an order.*can't be compared: "


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("groups", "found", "codes"),
    [
        ([3, 1, 3], [1, 3], [1, 0, 1]),
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        ([True, False], [False, True], [1, 0]),
        ([0.5, np.nan, -0.0, 0.0], [0.0, 0.5], [1, -1, 0, 0]),
        (["b", None, np.nan, "a"], ["a", "b"], [1, -1, -1, 0]),
        ([2, None, 1], [1, 2], [1, -1, 0]),
        ([None, None], [], [-1, -1]),
        ([], [], []),
        (np.array(["x", "y"]), ["x", "y"], [0, 1]),
        (np.array([b"x"]), [b"x"], [0]),
        (np.array(["2020", "NaT", "2019"], "M8[D]"), ["2019", "2020"], [1, -1, 0]),
        ([DAY, None], [DAY], [0, -1]),
        (pd.Series(["b", pd.NA, "a"], dtype="string"), ["a", "b"], [1, -1, 0]),
        (pd.Series([2, pd.NA, 1], dtype="Int64"), [1, 2], [1, -1, 0]),
        (pd.Series(["b", None], dtype="category"), ["b"], [0, -1]),
        (pd.Series(pd.to_datetime(["2020", None])), [np.datetime64("2020")], [0, -1]),
        (pl.Series(["b", None, "a"]), ["a", "b"], [1, -1, 0]),
        (pl.Series(["b", "a"], dtype=pl.Categorical), ["a", "b"], [1, 0]),
        (pl.Series([2, None, 1]), [1, 2], [1, -1, 0]),
    ],
    ids=str,
)
def test_factorize(groups, found, codes):
    labels, numbers = factorize(as_labels(groups))
    expected = np.array(found, labels.dtype) if labels.dtype.kind == "M" else found
    assert labels.tolist() == np.array(expected).tolist() or labels.tolist() == found
    assert numbers.tolist() == codes
    assert numbers.dtype == np.int64


@pytest.mark.parametrize(
    "labels",
    [
        np.array([127, -128, 5, 127], np.int8),
        np.array([255, 0, 7], np.uint8),
        np.array([2**64 - 1, 2**64 - 3], np.uint64),
        np.array([-(2**63), -(2**63) + 2], np.int64),
        np.array([-(2**63), 2**63 - 1], np.int64),
        np.array([10**12, 3, 10**12]),
    ],
    ids=str,
)
def test_whole_numbers_at_the_ends_of_their_range(labels):
    # Few of them are sorted, many looked up.
    for repeats in (1, 300):
        found, codes = factorize(np.repeat(labels, repeats))
        np.testing.assert_array_equal(found, np.unique(labels))
        assert found.dtype == labels.dtype
        np.testing.assert_array_equal(found[codes], np.repeat(labels, repeats))


@pytest.mark.parametrize(
    "make",
    [
        lambda values: pd.Series(values, dtype="Int64"),
        lambda values: pd.Series(values, dtype="int64[pyarrow]"),
        lambda values: pd.array(values, dtype="UInt64"),
        pl.Series,
    ],
    ids=["pandas", "pandas with Arrow", "pandas array", "Polars"],
)
def test_large_whole_numbers_beside_a_missing_one(make):
    # As doubles these two are one.
    first, second = 2**60 + 1, 2**60 + 2
    found, codes = factorize(as_labels(make([second, None, first])))
    assert found.tolist() == [first, second]
    assert found.dtype.kind in "iu"
    assert codes.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    "groups",
    [
        [2**53 + 1, 0.5, 2**53],
        (2**53 + 1, 0.5, 2**53),
        [np.int64(2**53 + 1), 0.5, np.float64(2**53)],
        objects(np.int64(2**53 + 1), 0.5, np.float64(2**53)),
    ],
    ids=["list", "tuple", "NumPy's in a list", "NumPy's objects"],
)
def test_large_whole_numbers_beside_a_fraction(groups):
    found, codes = factorize(as_labels(groups))
    assert found.tolist() == [0.5, 2**53, 2**53 + 1]
    assert codes.tolist() == [2, 0, 1]


def test_numbers_that_no_dtype_holds():
    found, codes = factorize(as_labels([2**64 - 1, -1, 2**64 - 2]))
    assert found.tolist() == [-1, 2**64 - 2, 2**64 - 1]
    assert codes.tolist() == [2, 0, 1]


def test_numbers_among_objects_are_numbers_again():
    labels, _ = factorize(as_labels([2, None, 1]))
    assert labels.dtype.kind == "i"


@pytest.mark.parametrize(
    ("groups", "shape"),
    [(3, "()"), ([[1, 2]], "(1, 2)"), (np.ones((2, 2)), "(2, 2)")],
)
def test_not_one_label_for_each_row(groups, shape):
    message = f"one label for each row, in one dimension.*shape {re.escape(shape)}"
    with pytest.raises(ValueError, match=message):
        as_labels(groups)


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        lambda rows: pd.DataFrame(rows, dtype="Int64"),
        lambda rows: pl.DataFrame(rows, schema=["g"], orient="row"),
    ],
    ids=["list", "array", "pandas", "Polars"],
)
def test_a_table_of_one_column(make):
    groups = make([[2**53 + 1], [2**53]])
    with pytest.warns(DataConversionWarning, match=r"\(2, 1\).*only column is taken"):
        labels = as_labels(groups)
    assert labels.tolist() == [2**53 + 1, 2**53]


@pytest.mark.parametrize("groups", [["a", 1], [1, DAY], [{}, {}], [object(), object()]])
def test_labels_without_an_order(groups):
    with pytest.raises(ValueError, match=NO_ORDER):
        factorize(as_labels(groups))


@pytest.mark.parametrize(
    ("labels", "among", "expected"),
    [
        (np.array([1, 4, 9]), np.array([0, 4, 8]), [-1, 1, -1]),
        (np.array([1.0, 1.5]), np.array([1, 2]), [0, -1]),
        (objects("a", "z"), objects("a", "b"), [0, -1]),
        (objects("a"), np.empty(0), [-1]),
        (np.empty(0), objects("a"), []),
        (np.array([2.0**53]), np.array([2**53, 2**53 + 1]), [0]),
        (np.array([2**53, 2**53 + 1]), np.array([2.0**53]), [0, -1]),
        (np.array([-(2**53) - 1, 3]), np.array([-(2.0**53), 3.0]), [-1, 1]),
        (np.array([2**63 - 1]), np.array([2**63], np.uint64), [-1]),
        (np.array([5, 2**63], np.uint64), np.array([-1, 5]), [1, -1]),
    ],
)
def test_find_labels(labels, among, expected):
    assert find_labels(labels, among).tolist() == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (np.array([1, 3]), np.array([2, 3]), [1, 2, 3]),
        (np.array([1]), np.array([0.5]), [0.5, 1]),
        (objects("b"), objects("a", "b"), ["a", "b"]),
        (objects("b"), np.empty(0), ["b"]),
        (np.empty(0), objects("b"), ["b"]),
        (np.array([2**53 + 1]), np.array([2.0**53]), [2**53, 2**53 + 1]),
        (np.array([2**53 + 1]), np.array([0.5]), [0.5, 2**53 + 1]),
        (np.array([2**60]), np.array([2**60 + 1], np.uint64), [2**60, 2**60 + 1]),
        (np.array([-1]), np.array([2**64 - 1], np.uint64), [-1, 2**64 - 1]),
    ],
)
def test_unite_labels(a, b, expected):
    assert unite_labels(a, b).tolist() == expected


@pytest.mark.parametrize("function", [find_labels, unite_labels])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (objects("a"), np.array([1])),
        (np.array([1]), objects("a")),
        (np.array(["2020"], "M8[D]"), objects("a")),
    ],
)
def test_kinds_that_do_not_compare(function, a, b):
    with pytest.raises(ValueError, match=NO_ORDER):
        function(a, b)
