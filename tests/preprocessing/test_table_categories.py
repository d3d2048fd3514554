"""Categories and the numbers that stand for them."""

import numpy as np
import pytest

from sknorm.preprocessing._table_categories import (
    Categories,
    learn_categories,
    one_hot,
    ordinal,
)
from sknorm.preprocessing._table_columns import Column, from_objects


def text(*values):
    return from_objects(values, "a")


class TestLearn:
    def test_order_weights_and_gaps(self):
        found = learn_categories(text("b", "a", "b", None), None)
        assert found.values == ["a", "b"]
        assert found.weights.tolist() == [1, 2]
        assert found.has_missing
        found = learn_categories(text("b", "a", "b"), np.array([0.5, 2.0, 3.0]))
        assert found.weights.tolist() == [2, 3.5]
        assert not found.has_missing

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["b", "B", "a"], ["B", "a", "b"]),
            # As numbers 2 comes before 10, as strings after it; 1 before "1" in both.
            ([2, "1", 10, 1, "x"], [1, "1", 10, 2, "x"]),
            (["1", 1, "x"], [1, "1", "x"]),
            ([(1, "a"), (1, 2)], [(1, "a"), (1, 2)]),
        ],
    )
    def test_values_that_cannot_be_ordered_are_by_name(self, values, expected):
        assert learn_categories(text(*values), None).values == expected

    def test_what_no_row_has_is_none(self):
        column = text("a", "b", "c").take(np.array([True, False, True]))
        assert learn_categories(column, None).values == ["a", "c"]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.array([3.0, np.nan, 1.0]), [1.0, 3.0]),
            (np.array([3, 1, 1]), [1, 3]),
            (np.array([True, False, True]), [False, True]),
        ],
    )
    def test_of_numbers(self, values, expected):
        assert learn_categories(Column("number", values), None).values == expected


def seen(*weights, has_missing=False):
    values = [chr(ord("a") + i) for i in range(len(weights))]
    return Categories(values, np.array(weights), has_missing)


def test_categories_with_an_order_keep_it():
    column = Column("text", np.array([2, 0]), ("low", "mid", "high"), has_order=True)
    assert learn_categories(column, None).values == ["low", "high"]


def test_ordinal():
    coding = ordinal(seen(1, 1, has_missing=True))
    codes = coding.encode(text("b", None, "a", "never"))
    assert codes.tolist() == [2, 0, 1, 0]


@pytest.mark.parametrize(
    ("categories", "limit", "labels", "codes"),
    [
        (seen(1, 2), None, ("a", "b"), [0, 1, -1, -1, -1]),
        (seen(1, 2), 2, ("a", "b"), [0, 1, -1, -1, -1]),
        (seen(1, 2, 3), 2, ("c", "infrequent"), [1, 1, 0, 1, -1]),
        # Of equally frequent ones those come first that are first in order.
        (seen(1, 1, 1), 2, ("a", "infrequent"), [0, 1, 1, 1, -1]),
        (seen(1, 2, has_missing=True), None, ("a", "b", "missing"), [0, 1, -1, -1, 2]),
        (
            seen(2, 1, 1, has_missing=True),
            2,
            ("a", "infrequent", "missing"),
            [0, 1, 1, 1, 2],
        ),
        # One column would hold ones only.
        (seen(1), None, ("a",), [-1, -1, -1, -1, -1]),
        (seen(1, has_missing=True), None, ("a", "missing"), [0, -1, -1, -1, 1]),
    ],
)
def test_one_hot(categories, limit, labels, codes):
    coding = one_hot(categories, limit)
    assert coding.labels == labels
    assert coding.encode(text("a", "b", "c", "never", None)).tolist() == codes


def test_codes_of_other_dtypes():
    coding = ordinal(Categories([1, 3], np.array([1, 1]), False))
    for values in (np.array([3.0, 2.0, np.nan, 1.0]), np.array([3, 2, 0, 1])):
        assert coding.encode(Column("number", values)).tolist() == [2, 0, 0, 1]
