"""What each column of a table is."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from sknorm.preprocessing._table_columns import Column, from_objects
from sknorm.preprocessing._table_kinds import (
    alike,
    counted,
    families_of,
    kinds_of,
    listed,
    named_positions,
    told_apart,
    wanted_standardizers,
)

NUMBER = Column("number", np.array([1.0, np.nan]))
BOOLEAN = Column("boolean", np.array([True, False]))
DATE = Column("date", np.array(["2020", "NaT"], dtype="M8[s]"))
TEXT = Column("text", np.array([0, -1]), ("a",))
EMPTY = Column("number", np.array([np.nan, np.nan]))


def test_kinds():
    columns = [NUMBER, BOOLEAN, DATE, TEXT, EMPTY]
    kinds = ["number", "boolean", "date", "category", "empty"]
    assert kinds_of(columns, set()) == kinds
    # What has no values is nothing, named or not.
    assert kinds_of(columns, {0, 1, 2, 4}) == ["category"] * 4 + ["empty"]


@pytest.mark.parametrize(
    ("given", "positions"),
    [
        ("auto", set()),
        ([], set()),
        (["b"], {1}),
        ([0, 2], {0, 2}),
        ([-1], {2}),
        (np.array([True, False, True]), {0, 2}),
    ],
)
def test_named_positions(given, positions):
    assert named_positions(given, ["a", "b", "c"]) == positions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["b", "z"], r"names 'z', which X doesn't have\. Its columns are 'a', 'b'\."),
        ([2], "names 2, which X doesn't have"),
        ([True], r"an entry for each of the 2 columns\. Got one of shape \(1,\)"),
    ],
)
def test_named_positions_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        named_positions(given, ["a", "b"])


class TestWanted:
    KINDS = {"a": "number", "b": "boolean", "c": "category", "d": "date", "e": "empty"}  # noqa: RUF012

    @pytest.mark.parametrize("numeric", ["auto", "power", StandardScaler()])
    def test_for_all(self, numeric):
        wanted = wanted_standardizers(numeric, self.KINDS)
        assert wanted == [numeric, "boolean", None, numeric, numeric]

    def test_by_column(self):
        own = StandardScaler()
        wanted = wanted_standardizers({"b": "none", "d": own, "e": "power"}, self.KINDS)
        assert wanted == ["auto", "none", None, own, "power"]

    @pytest.mark.parametrize(
        ("numeric", "message"),
        [
            (
                {"z": "none"},
                "the column 'z', which X doesn't have. Its columns are 'a'",
            ),
            ({"c": "none"}, "the column 'c', which is a category. Leave it out there"),
            (
                {"a": "nne"},
                "one of 'auto', .*'standard' or a transformer .*'nne' for 'a'",
            ),
            ({"a": None}, "Got None for 'a'"),
            ("quantle", "one of 'auto', .*'quantile'.*, a transformer.* Got 'quantle'"),
            ("boolean", "Got 'boolean'"),
            (None, "a transformer, or a dict of these by column. Got None"),
        ],
    )
    def test_mistakes(self, numeric, message):
        with pytest.raises(ValueError, match=message):
            wanted_standardizers(numeric, self.KINDS)


class TestAlike:
    @pytest.mark.parametrize(
        ("family", "column"),
        [
            ("number", NUMBER),
            ("number", BOOLEAN),
            ("boolean", NUMBER),
            ("text", EMPTY),
            ("date", EMPTY),
            (None, TEXT),
        ],
    )
    def test_taken(self, family, column):
        assert alike([column], [family], ["a"]) == [column]

    def test_objects_that_happen_to_be_numbers(self):
        column = from_objects([1, 2], "a")
        assert column.family == "number"
        assert families_of([from_objects([1, "x"], "a")]) == ["mixed"]
        assert alike([column], ["mixed"], ["a"]) == [column.objects]
        assert alike([column], ["number"], ["a"]) == [column]

    @pytest.mark.parametrize(
        ("family", "column", "message"),
        [
            ("text", NUMBER, "Column 'a' was a category when .* and is a number now"),
            ("number", TEXT, "was a number when .* and is a category now"),
            ("boolean", DATE, "was a boolean when .* and is a date now"),
            ("date", BOOLEAN, "was a date when .* and is a boolean now"),
        ],
    )
    def test_refused(self, family, column, message):
        with pytest.raises(ValueError, match=message):
            alike([column], [family], ["a"])


def test_names_in_messages():
    assert listed(["a", 3]) == "'a', 3"
    assert listed(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and more"
    assert counted(["a"]) == "1 column: 'a'"
    assert counted(["a", "b"]) == "2 columns: 'a', 'b'"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], ["a", "a_3", "a_2"]),
        (["a_2", "a", "a"], ["a_2", "a", "a_3"]),
        ([], []),
    ],
)
def test_told_apart(names, expected):
    assert told_apart(names) == expected
