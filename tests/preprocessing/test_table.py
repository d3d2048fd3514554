"""Tables as they come, and what is made of them."""

import copy
import datetime as dt
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

from sknorm.preprocessing import (
    PowerStandardizer,
    QuantileStandardizer,
    RobustStandardizer,
    Standardizer,
    TableStandardizer,
)

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
every_library = pytest.mark.parametrize("frame", LIBRARIES.values(), ids=LIBRARIES)


def table(frame=pd.DataFrame):
    """Return a small table of everything."""
    return frame(
        {
            "size": [1.0, None, 3.0, 2.0],
            "color": ["red", "blue", None, "red"],
            "old": [True, False, False, True],
            "count": [10, 20, 30, 40],
            "when": [
                dt.datetime(2024, 1, 1),
                dt.datetime(2024, 1, 2),
                None,
                dt.datetime(2024, 1, 3),
            ],
        }
    )


ROOT = np.sqrt(1.5)
DAYS = 2 * np.pi / 7 * np.arange(3)  # From a Monday.
# Column by column: what they are called, and what they hold.
NUMBERS = {
    "size": [-ROOT, 0, ROOT, 0],
    "count": np.array([-3, -1, 1, 3]) / np.sqrt(5),
    "old": [1, -1, -1, 1],
    "when_elapsed": [-ROOT, 0, 0, ROOT],
    "when_weekday_sin": [*np.sin(DAYS[:2]), 0, np.sin(DAYS[2])],
    "when_weekday_cos": [*np.cos(DAYS[:2]), 0, np.cos(DAYS[2])],
    "size_missing": [0, 1, 0, 0],
    "when_missing": [0, 0, 1, 0],
}
ONE_HOT = {
    "color_blue": [0, 1, 0, 0],
    "color_red": [1, 0, 0, 1],
    "color_missing": [0, 0, 1, 0],
}
ORDINAL = {"color": [2, 1, 0, 2]}


def assert_columns(Z, names, expected):
    assert list(names) == list(expected)
    np.testing.assert_allclose(Z, np.array([*expected.values()]).T, atol=1e-14)


class TestKnownValues:
    @every_library
    @pytest.mark.parametrize(
        ("categories", "expected", "cardinalities"),
        [("one_hot", ONE_HOT, []), ("ordinal", ORDINAL, [3])],
    )
    def test_everything(self, frame, categories, expected, cardinalities):
        scaler = TableStandardizer(categories=categories)
        Z = scaler.fit_transform(table(frame))
        assert type(Z) is np.ndarray
        assert Z.dtype == np.float64
        assert_columns(Z, scaler.get_feature_names_out(), NUMBERS | expected)
        np.testing.assert_array_equal(scaler.transform(table(frame)), Z)
        assert scaler.n_numeric_out_ == len(NUMBERS)
        assert scaler.cardinalities_ == cardinalities
        assert scaler.categories_ == {"color": ["blue", "red"]}
        assert scaler.n_features_in_ == 5
        assert scaler.feature_names_in_.tolist() == list(table().columns)
        assert scaler.kinds_ == {
            "size": "standard",
            "color": "category",
            "old": "boolean",
            "count": "standard",
            "when": "date",
        }

    def test_objects_in_an_array(self):
        X = table(pl.DataFrame).to_numpy()
        assert X.dtype == object
        scaler = TableStandardizer()
        Z = scaler.fit_transform(X)
        places = dict(zip(table().columns, ["x0", "x1", "x2", "x3", "x4"], strict=True))
        names = {
            name.replace(name.split("_")[0], places[name.split("_")[0]], 1): values
            for name, values in (NUMBERS | ONE_HOT).items()
        }
        assert_columns(Z, scaler.get_feature_names_out(), names)
        assert set(scaler.kinds_) == {0, 1, 2, 3, 4}

    def test_numbers_only_are_what_a_standardizer_makes_of_them(self, rng):
        X = rng.normal(5, 3, size=(50, 3))
        np.testing.assert_array_equal(
            TableStandardizer().fit_transform(X), Standardizer().fit_transform(X)
        )

    def test_lists_keep_their_numbers(self):
        Z = TableStandardizer().fit_transform([["a", 1], ["b", 3]])
        np.testing.assert_array_equal(Z, [[-1, 1, 0], [1, 0, 1]])
        Z = (
            TableStandardizer()
            .fit(X := np.array([["a", "1"], ["b", "3"]]))
            .transform(X)
        )
        np.testing.assert_array_equal(Z, [[1, 0, 1, 0], [0, 1, 0, 1]])

    def test_float32(self):
        for dtype in ("float32", np.float32):
            Z = TableStandardizer(dtype=dtype).fit_transform(table())
            assert Z.dtype == np.float32
        exact = TableStandardizer().fit_transform(table())
        np.testing.assert_array_equal(Z, exact.astype(np.float32))

    @every_library
    def test_new_rows(self, frame):
        scaler = TableStandardizer().fit(table(frame))
        new = frame(
            {
                "size": [2.0 + ROOT**-1],
                "color": ["green"],
                "old": [None],
                "count": [None],
                "when": [dt.datetime(2024, 6, 3)],
            }
        )
        Z = dict(
            zip(scaler.get_feature_names_out(), scaler.transform(new)[0], strict=True)
        )
        assert Z["size"] == pytest.approx(1.0)
        # Neither seen nor missing, and gaps in columns that had none.
        assert [Z[name] for name in ONE_HOT] == [0, 0, 0]
        assert Z["old"] == Z["count"] == 0
        assert [Z[f"when_weekday_{f}"] for f in ("sin", "cos")] == [0, 1]


class TestNumeric:
    X = pd.DataFrame(
        {"a": [1.0, 2.0, 3.0, 4.0, 1000.0], "b": [0.0, 1.0, 2.0, 3.0, 4.0]}
    )

    @pytest.mark.parametrize(
        ("name", "standardizer"),
        [
            ("standard", Standardizer()),
            ("robust", RobustStandardizer(clip="smooth")),
            ("quantile", QuantileStandardizer()),
            ("power", PowerStandardizer()),
            ("none", Standardizer(with_mean=False, with_std=False)),
            (StandardScaler(), StandardScaler()),
        ],
    )
    def test_by_name(self, name, standardizer):
        scaler = TableStandardizer(numeric=name).fit(self.X)
        expected = standardizer.fit_transform(self.X.to_numpy())
        np.testing.assert_allclose(scaler.transform(self.X), expected, atol=1e-14)
        kind = name if isinstance(name, str) else "StandardScaler"
        assert scaler.kinds_ == {"a": kind, "b": kind}
        ((called, fitted, columns),) = scaler.transformers_
        assert (called, columns) == (kind, ["a", "b"])
        assert isinstance(fitted, type(standardizer))

    def test_by_column(self):
        own = StandardScaler()
        scaler = TableStandardizer(numeric={"a": "quantile", "b": own}).fit(self.X)
        assert scaler.kinds_ == {"a": "quantile", "b": "StandardScaler"}
        assert not hasattr(own, "mean_")
        scaler = TableStandardizer(numeric={"a": "none"}).fit(self.X)
        assert scaler.kinds_ == {"a": "none", "b": "standard"}
        scaler = TableStandardizer(numeric={0: "power"}).fit(self.X.to_numpy())
        assert scaler.kinds_ == {0: "power", 1: "standard"}

    def test_auto_looks_at_each_column(self, rng):
        X = pd.DataFrame(
            {
                "normal": rng.normal(size=1000),
                "lognormal": rng.lognormal(size=1000),
                "zeros": np.where(rng.random(1000) < 0.9, 0, rng.lognormal(size=1000)),
                "few": rng.geometric(0.5, size=1000),
            }
        )
        assert TableStandardizer().fit(X).kinds_ == {
            "normal": "standard",
            "lognormal": "quantile",
            "zeros": "robust",
            "few": "robust",
        }

    def test_a_boolean_by_column(self):
        X = pd.DataFrame({"old": [True, False, None, True]}, dtype="boolean")
        scaler = TableStandardizer(numeric={"old": "none"})
        np.testing.assert_allclose(
            scaler.fit_transform(X), [[1, 0], [0, 0], [2 / 3, 1], [1, 0]]
        )

    @pytest.mark.parametrize("name", ["none", StandardScaler(with_mean=False)])
    def test_gaps_get_the_mean_of_what_is_made(self, name):
        X = np.array([[1.0], [np.nan], [3.0]])
        Z = TableStandardizer(numeric=name, missing="fill").fit_transform(X)
        np.testing.assert_allclose(Z, [[1], [2], [3]])

    def test_weights_are_handed_on(self):
        X, weight = [[1.0], [2.0], [7.0]], [1, 2, 0]
        Z = TableStandardizer(numeric=StandardScaler()).fit(X, sample_weight=weight)
        np.testing.assert_allclose(
            Z.transform(X), Standardizer().fit(X, sample_weight=weight).transform(X)
        )


class TestCategories:
    def test_one_hot_is_scikit_learns(self, rng):
        X = rng.choice(["a", "b", "c", "d"], size=(30, 3))
        np.testing.assert_array_equal(
            TableStandardizer().fit_transform(X),
            OneHotEncoder(sparse_output=False).fit_transform(X),
        )

    @pytest.mark.parametrize("named", [["b"], [1], [-1], [False, True], np.array([1])])
    @every_library
    def test_named(self, frame, named):
        X = frame({"a": [1, 2], "b": [7, 5]})
        scaler = TableStandardizer(categories="ordinal", categorical_features=named)
        np.testing.assert_array_equal(scaler.fit_transform(X), [[-1, 2], [1, 1]])
        assert scaler.categories_ == {"b": [5, 7]}
