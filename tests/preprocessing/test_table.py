"""Tables as they come, and what is made of them."""

import datetime as dt
import pickle
import subprocess
import sys
import warnings

import dask.array
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
)
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


SCHEMA = {
    "a": pl.Float64,
    "b": pl.Int64,
    "c": pl.String,
    "d": pl.Datetime("us"),
    "e": pl.Boolean,
}
PANDAS = {"a": "f8", "b": "Int64", "c": "str", "d": "M8[us]", "e": "boolean"}


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
        for dtype in ("float32", np.float32, np.dtype("float32")):
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

    def test_rare_ones_share_a_column(self):
        X = np.array([list("aaabbcd")], dtype=object).T
        scaler = TableStandardizer(max_categories=3).fit(X)
        assert scaler.get_feature_names_out().tolist() == [
            "x0_a",
            "x0_b",
            "x0_infrequent",
        ]
        new = np.array([["a"], ["d"], ["never seen"], [None]], dtype=object)
        np.testing.assert_array_equal(
            scaler.transform(new), [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
        )
        # Weights make other ones rare; a row without weight is not there.
        scaler.fit(X, sample_weight=[1, 1, 1, 0, 0, 5, 9])
        assert scaler.get_feature_names_out().tolist() == ["x0_a", "x0_c", "x0_d"]

    def test_ten_thousand(self, rng):
        names = np.array([f"item {j}" for j in range(10_000)], dtype=object)
        X = pd.DataFrame({"item": rng.permutation(names)})
        scaler = TableStandardizer(categories="ordinal")
        codes = scaler.fit_transform(X)[:, 0]
        assert scaler.cardinalities_ == [10_001]
        np.testing.assert_array_equal(np.sort(codes), np.arange(1, 10_001))
        assert scaler.categories_["item"][int(codes[0]) - 1] == X["item"][0]
        Z = TableStandardizer(max_categories=10).fit_transform(X)
        assert Z.sum(axis=0).tolist() == [1] * 9 + [9991]

    @pytest.mark.parametrize("categories", ["one_hot", "ordinal"])
    def test_a_single_one(self, categories):
        scaler = TableStandardizer(categories=categories)
        Z = scaler.fit_transform(pd.DataFrame({"a": ["x", "x"]}))
        np.testing.assert_array_equal(Z, [[float(categories == "ordinal")]] * 2)
        # Beside gaps it says something.
        Z = TableStandardizer().fit_transform(pd.DataFrame({"a": ["x", None]}))
        np.testing.assert_array_equal(Z, [[1, 0], [0, 1]])

    @every_library
    def test_mixed_types(self, frame):
        mixed = {
            "pandas": pd.Series,
            "polars": lambda v, dtype: pl.Series(v, dtype=pl.Object),
        }
        library = "pandas" if frame is pd.DataFrame else "polars"
        values = [2, "b", None, 10, (1, 2), "a"]
        X = frame({"a": mixed[library](values, dtype=object)})
        scaler = TableStandardizer(categories="ordinal").fit(X)
        assert scaler.categories_ == {"a": [(1, 2), 10, 2, "a", "b"]}
        np.testing.assert_array_equal(scaler.transform(X).T, [[3, 5, 0, 2, 1, 4]])

    def test_equal_values_are_one_category(self):
        scaler = TableStandardizer(categories="ordinal", categorical_features=["a"])
        scaler.fit(pd.DataFrame({"a": [3, 1]}))
        Z = scaler.transform(pd.DataFrame({"a": [1.0, None, 3.0, 2.0]}))
        np.testing.assert_array_equal(Z.T, [[1, 0, 2, 0]])

    @pytest.mark.parametrize("dtype", ["category", "string", object])
    def test_dtypes_of_pandas(self, dtype):
        X = pd.DataFrame({"a": pd.Series(["b", None, "a"]).astype(dtype)})
        scaler = TableStandardizer(categories="ordinal")
        np.testing.assert_array_equal(scaler.fit_transform(X).T, [[2, 0, 1]])

    @pytest.mark.parametrize(
        ("dtype", "codes"),
        [
            (pl.Categorical, [2, 0, 1]),
            (pl.String, [2, 0, 1]),
            (pl.Enum(["b", "a"]), [1, 0, 2]),
        ],
    )
    def test_dtypes_of_polars(self, dtype, codes):
        X = pl.DataFrame({"a": pl.Series(["b", None, "a"], dtype=dtype)})
        scaler = TableStandardizer(categories="ordinal")
        np.testing.assert_array_equal(scaler.fit_transform(X).T, [codes])

    def test_numbers_of_a_categorical_dtype(self):
        X = pd.DataFrame({"a": pd.Categorical([30, None, 7])})
        scaler = TableStandardizer(categories="ordinal")
        np.testing.assert_array_equal(scaler.fit_transform(X).T, [[2, 0, 1]])
        assert scaler.categories_ == {"a": [7, 30]}

    @every_library
    def test_unknown_ones_refused(self, frame):
        scaler = TableStandardizer(handle_unknown="error").fit(table(frame))
        scaler.transform(table(frame))
        old = {name: list(table(frame)[name]) for name in table().columns}
        new = frame(old | {"color": ["red", "green", None, "pink"]})
        with pytest.raises(
            ValueError, match=r"Column 'color' has .*: 'green', 'pink'\. S"
        ):
            scaler.transform(new)


class TestPassthrough:
    @every_library
    @pytest.mark.parametrize("library", LIBRARIES)
    def test_frames(self, frame, library):
        scaler = TableStandardizer(categories="passthrough")
        Z = scaler.set_output(transform=library).fit_transform(table(frame))
        assert type(Z) is LIBRARIES[library]
        assert_columns(np.array(Z[list(NUMBERS)]), NUMBERS, NUMBERS)
        assert list(Z.columns) == [*NUMBERS, "color"]
        assert [c if isinstance(c, str) else None for c in Z["color"]] == [
            "red",
            "blue",
            None,
            "red",
        ]
        assert scaler.n_numeric_out_ == len(NUMBERS)

    @every_library
    @pytest.mark.parametrize("library", LIBRARIES)
    def test_nothing_else(self, frame, library):
        scaler = TableStandardizer(categories="passthrough")
        Z = scaler.set_output(transform=library).fit_transform(frame({"a": ["x", "y"]}))
        assert Z.shape == (2, 1)
        assert list(Z["a"]) == ["x", "y"]

    def test_dtype_and_index_are_kept(self):
        X = table().astype({"color": "category"}).set_index([[7, 7, 1, 2]])
        scaler = TableStandardizer(categories="passthrough")
        Z = scaler.set_output(transform="pandas").fit_transform(X)
        pd.testing.assert_series_equal(Z["color"], X["color"])

    def test_an_array_in(self):
        X = np.array([[1, "a"], [3, None]], dtype=object)
        scaler = TableStandardizer(categories="passthrough")
        Z = scaler.set_output(transform="polars").fit_transform(X)
        assert Z.to_dict(as_series=False) == {"x0": [-1, 1], "x1": ["a", None]}

    def test_without_a_frame(self):
        scaler = TableStandardizer(categories="passthrough").fit(table())
        with pytest.raises(
            ValueError, match=r"needs a frame to return: call Table.*'pol"
        ):
            scaler.transform(table())


class TestNothingToLearn:
    @every_library
    def test_constants_are_zeros(self, frame):
        X = frame({"a": [7.0, 7.0], "b": [True, True], "d": [dt.date(2020, 1, 1)] * 2})
        Z = TableStandardizer().fit_transform(X)
        np.testing.assert_array_equal(Z, np.zeros((2, 3)))

    @every_library
    def test_columns_without_values(self, frame):
        X = frame({"a": [None, None], "b": [1.0, 3.0], "c": [float("nan")] * 2})
        scaler = TableStandardizer()
        message = (
            r"TableStandardizer found no values in 2 columns: 'a', 'c'\. All that is "
            "made of them is 0."
        )
        with pytest.warns(UserWarning, match=message):
            scaler.fit(X)
        assert scaler.kinds_ == {"a": "empty", "b": "standard", "c": "empty"}
        new = frame({"a": ["x", "y"], "b": [5.0, 2.0], "c": [1.0, 2.0]})
        for Y, b in ((X, [-1, 1]), (new, [3, 0])):
            Z = scaler.transform(Y)
            np.testing.assert_array_equal(Z, np.array([[0, 0], b, [0, 0]]).T)
        assert scaler.get_feature_names_out().tolist() == ["a", "b", "c"]

    def test_where_the_warning_points(self):
        X = pd.DataFrame({"a": [None], "b": [1]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            TableStandardizer().fit_transform(X)
        assert [w.filename for w in caught] == [__file__]

    @every_library
    def test_gaps_only_at_transform(self, frame):
        scaler = TableStandardizer(missing="fill").fit(table(frame))
        dtypes = [None, float("nan")]
        for nothing in dtypes:
            Z = scaler.transform(frame({name: [nothing] for name in table().columns}))
            expected = [0] * 6 + [0, 0, 1]
            np.testing.assert_array_equal(Z, [expected])


class TestFrames:
    @settings(derandomize=True, deadline=None, max_examples=30)
    @given(st.data())
    def test_libraries_agree_on_any_rows(self, data):
        cells = {
            "a": st.floats(-1e6, 1e6) | st.none(),
            "b": st.integers(-5, 5) | st.none(),
            "c": st.text("xyz", max_size=2) | st.none(),
            "d": st.datetimes() | st.none(),
            "e": st.booleans() | st.none(),
        }
        n_rows = data.draw(st.integers(1, 12))
        columns = st.fixed_dictionaries(
            {
                name: st.lists(v, min_size=n_rows, max_size=n_rows)
                for name, v in cells.items()
            }
        )
        polars = pl.DataFrame(data.draw(columns), schema=SCHEMA)
        pandas = pd.DataFrame(
            {c: pd.Series(polars[c].to_list(), dtype=PANDAS[c]) for c in cells}
        )
        results = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Of columns without values.
            for X in (polars, pandas):
                scaler = TableStandardizer(categories="ordinal")
                results.append(scaler.fit_transform(X))
                # A row says of itself what it says among others.
                alone = scaler.transform(X[-1:])
                np.testing.assert_allclose(alone, results[-1][-1:], rtol=1e-12)
        assert np.isfinite(results[0]).all()
        np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("library", LIBRARIES)
    @every_library
    def test_set_output(self, frame, library):
        scaler = TableStandardizer().set_output(transform=library)
        Z = scaler.fit_transform(table(frame))
        assert type(Z) is LIBRARIES[library]
        assert_columns(Z.to_numpy(), Z.columns, NUMBERS | ONE_HOT)

    def test_names_that_meet(self):
        X = pd.DataFrame({"a_x": [1, 3], "a": ["x", "y"], "a_x_2": [3, 1]})
        scaler = TableStandardizer().set_output(transform="polars")
        names = ["a_x", "a_x_2", "a_x_3", "a_y"]
        assert scaler.fit_transform(X).columns == names

    def test_names_without_names(self):
        scaler = TableStandardizer().fit([["a", 1.0], ["b", 2.0]])
        assert scaler.get_feature_names_out().tolist() == ["x1", "x0_a", "x0_b"]
        given = scaler.get_feature_names_out(["color", "size"])
        assert given.tolist() == ["size", "color_a", "color_b"]
        with pytest.raises(
            ValueError, match=r"should have length equal .*\(2\), got 1"
        ):
            scaler.get_feature_names_out(["size"])
        scaler = TableStandardizer().fit(table())
        with pytest.raises(ValueError, match="is not equal to feature_names_in_"):
            scaler.get_feature_names_out(["a", "b", "c", "d", "e"])

    def test_names_that_are_no_strings(self):
        X = pd.DataFrame({2020: [1.0, 3.0], 2021: ["a", "b"]})
        scaler = TableStandardizer(categorical_features=[1])
        np.testing.assert_array_equal(scaler.fit_transform(X), [[-1, 1, 0], [1, 0, 1]])
        assert scaler.kinds_ == {0: "standard", 1: "category"}

    def test_polars_without_pandas(self):
        code = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import polars as pl
from sknorm.preprocessing import TableStandardizer
X = pl.DataFrame({"a": [1.0, None, 3.0], "b": ["x", None, "y"]})
print(TableStandardizer().fit_transform(X).tolist())
print(TableStandardizer().fit_transform(X.to_numpy()).shape)
print(any(n.partition(".")[0] == "torch" for n in sys.modules))
"""
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.splitlines() == [
            str([[-1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0],
                 [1.0, 0.0, 0.0, 1.0, 0.0]]),
            "(3, 5)",
            "False",
        ]  # fmt: skip

    @every_library
    def test_input_is_left_alone(self, frame):
        X = table(frame)
        before = pickle.dumps(X)
        TableStandardizer().fit(X).transform(X)
        assert pickle.dumps(X) == before

    @pytest.mark.parametrize("dtype", ["i4", "u1", "f2", "f4", "f8", "?", "O"])
    def test_arrays(self, dtype):
        X = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
        before = X.copy()
        Z = TableStandardizer().fit_transform(X)
        np.testing.assert_allclose(Z, Standardizer().fit_transform(X.astype(float)))
        np.testing.assert_array_equal(X, before)


class TestWeights:
    def test_are_repetitions(self, rng):
        X = table().sample(60, replace=True, random_state=0).reset_index(drop=True)
        X["skewed"] = rng.lognormal(size=60)
        weight = rng.integers(0, 4, size=60)
        repeated = X.loc[X.index.repeat(weight)]
        for numeric in ("auto", "standard", "quantile", "robust"):
            scaler = TableStandardizer(numeric=numeric)
            weighted = scaler.fit(X, sample_weight=weight).transform(X)
            expected = TableStandardizer(numeric=numeric).fit(repeated).transform(X)
            np.testing.assert_allclose(weighted, expected, atol=1e-12)

    def test_a_row_without_weight_is_not_there(self):
        X = table()
        scaler = TableStandardizer(categories="ordinal").fit(
            X, sample_weight=[1, 0, 0, 1]
        )
        assert scaler.categories_ == {"color": ["red"]}
        assert scaler.get_feature_names_out().tolist() == [
            "size",
            "count",
            "old",
            "when_elapsed",
            "when_weekday_sin",
            "when_weekday_cos",
            "color",
        ]
        np.testing.assert_array_equal(scaler.transform(X)[:, -1], [1, 0, 0, 1])

    def test_a_transformer_that_takes_none(self):
        with pytest.raises(
            ValueError, match="PowerTransformer takes no sample_weight, wh"
        ):
            TableStandardizer(numeric=PowerTransformer()).fit(
                [[1.0], [2.0]], sample_weight=[1, 1]
            )


class TestLaterColumns:
    """What a column turns to between fit and transform."""

    @pytest.mark.parametrize(
        ("name", "values", "was", "is_now"),
        [
            ("color", [1, 2], "a category", "a number"),
            ("color", [True, False], "a category", "a boolean"),
            ("color", [dt.date(2020, 1, 1)] * 2, "a category", "a date"),
            ("size", ["1", "2"], "a number", "a category"),
            ("size", [dt.date(2020, 1, 1)] * 2, "a number", "a date"),
            ("old", ["yes", "no"], "a boolean", "a category"),
            ("when", [1, 2], "a date", "a number"),
            ("when", ["2020", None], "a date", "a category"),
        ],
    )
    @every_library
    def test_refused(self, frame, name, values, was, is_now):
        scaler = TableStandardizer().fit(table(frame))
        new = table(frame)[:2]
        new = {c: list(new[c]) for c in new.columns} | {name: values}
        message = (
            f"Column {name!r} was {was} when TableStandardizer was fitted, and is "
            f"{is_now} now. Cast it to the dtype it had then, or fit again."
        )
        with pytest.raises(ValueError) as info:  # noqa: PT011
            scaler.transform(frame(new))
        assert str(info.value) == message

    def test_objects_of_all_kinds_row_by_row(self):
        day = dt.date(2020, 1, 1)
        X = pd.DataFrame({"a": pd.Series([1, "x", day, True, 2, "x"], dtype=object)})
        scaler = TableStandardizer().fit(X)
        alone = [scaler.transform(X[i : i + 1]) for i in range(len(X))]
        np.testing.assert_array_equal(np.vstack(alone), scaler.transform(X))

    def test_a_gap_does_not_touch_other_rows(self):
        X = pl.DataFrame({"id": [2**60, 2**60 + 1, 2**60 + 2]})
        gap = pl.DataFrame({"id": [None]}, schema=X.schema)
        scaler = TableStandardizer(categorical_features=["id"]).fit(X)
        Z = scaler.transform(pl.concat([X, gap]))
        np.testing.assert_array_equal(Z, np.eye(4)[:, :3])

    @pytest.mark.parametrize("numeric", ["standard", "power", "none", "auto"])
    def test_numbers_too_large_for_the_dtype(self, numeric):
        X = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 5.0, 4.0]})
        scaler = TableStandardizer(numeric=numeric, dtype="float32").fit(X)
        message = r"too large for dtype\('float32'\) once .*in 1 column: 'b'\. Replace"
        with pytest.raises(ValueError, match=message):
            scaler.transform(X.assign(b=[1e300, 1.0, -1e300]))

    def test_numbers_and_booleans_are_alike(self):
        scaler = TableStandardizer().fit(pd.DataFrame({"a": [True, False]}))
        Z = scaler.transform(pd.DataFrame({"a": [1.0, np.nan, 0.0]}))
        np.testing.assert_array_equal(Z.T, [[1, 0, -1]])
        scaler = TableStandardizer().fit(pd.DataFrame({"a": [1, 0]}))
        Z = scaler.transform(pd.DataFrame({"a": [True, False]}))
        np.testing.assert_array_equal(Z.T, [[1, -1]])

    def test_other_columns(self):
        scaler = TableStandardizer().fit(table())
        with pytest.raises(ValueError, match=r"unseen at fit time:\n- new\n.*\n- old"):
            scaler.transform(table().rename(columns={"old": "new"}))
        with pytest.raises(ValueError, match="yet now missing:\n- old"):
            scaler.transform(table().drop(columns="old"))
        with pytest.raises(ValueError, match="same order as they were in fit"):
            scaler.transform(table()[table().columns[::-1]])
        scaler.fit([[1.0, 2.0]])
        with pytest.raises(
            ValueError, match="X has 1 features, but TableStandardizer is"
        ):
            scaler.transform([[1.0]])


class TestRefused:
    LATER = (
        (
            pl.LazyFrame({"a": [1]}),
            TypeError,
            r"no lazy frames, and X .*X\.collect\(\)",
        ),
        (
            dask.array.ones((2, 2)),
            TypeError,
            "TableStandardizer takes no Dask collections. Compute them",
        ),
        (
            pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
            ValueError,
            r"more than one column of the name 'a'\. Rename them, or drop all but one",
        ),
        (
            pd.DataFrame({"a": [np.inf, -np.inf], "b": [1, 2], "c": [1, np.inf]}),
            ValueError,
            r"infinity, 3 values in 2 columns: 'a', 'c'\. Only NaN and None",
        ),
        (
            pl.DataFrame({"a": [[1], [2]]}),
            TypeError,
            r"Column 'a' is of the dtype List\(Int64\), which is neither",
        ),
        (
            pd.DataFrame({"a": [{"b": 1}]}),
            TypeError,
            "Column 'a' holds something that is no value: .*Drop the column",
        ),
        (
            pd.DataFrame({"a": [1j]}),
            TypeError,
            "Complex data not supported, as in column",
        ),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\)"),
        (pl.DataFrame(), ValueError, r"0 sample\(s\) \(shape=\(0, 0\)\)"),
        (pd.DataFrame(index=[1, 2]), ValueError, r"0 feature\(s\) \(shape=\(2, 0\)\)"),
        (pd.Series([1, 2]), ValueError, "Expected a 2-dimensional container"),
        (np.ones(3), ValueError, "Expected 2D array, got 1D array"),
        (scipy.sparse.eye(3, format="csr"), TypeError, "Sparse data was passed"),
    )

    @pytest.mark.parametrize(("X", "error", "message"), LATER)
    def test_tables(self, X, error, message):
        with pytest.raises(error, match=message):
            TableStandardizer().fit(X)

    def test_infinity_at_transform(self):
        scaler = TableStandardizer().fit([[1.0], [2.0]])
        with pytest.raises(ValueError, match="infinity, 1 value in 1 column: 0"):
            scaler.transform([[-np.inf]])

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"numeric": "nne"}, "'numeric' parameter .* must be a str among"),
            (
                {"numeric": {"z": "none"}},
                r"names the column 'z', which X doesn't have\. It",
            ),
            ({"numeric": {"color": "none"}}, "the column 'color', which is a category"),
            (
                {"numeric": {"size": "nne"}},
                r"must have one of 'auto', .*'nne' for 'size'",
            ),
            (
                {"numeric": {"size": 3}},
                "or a transformer for a column. Got 3 for 'size'",
            ),
            (
                {"numeric": {"size": SplineTransformer()}, "missing": "fill"},
                "SplineTransformer made an array of shape .* of 1 columns",
            ),
            ({"categories": "hash"}, "'categories' parameter .* must be a str among"),
            ({"categorical_features": ["z"]}, r"names 'z', which X doesn't have"),
            ({"categorical_features": [5]}, "names 5, which X doesn't have"),
            ({"categorical_features": [True]}, r"each of the 5 columns.* shape \(1,\)"),
            ({"max_categories": 1}, "'max_categories' parameter .* must be an int"),
            ({"dates": "all"}, "'dates' parameter .* must be a str among"),
            ({"missing": "drop"}, "'missing' parameter .* must be a str among"),
            ({"handle_unknown": "warn"}, "'handle_unknown' parameter .* must be a str"),
            ({"dtype": int}, "'dtype' parameter .* must be a str among"),
            ({"dtype": np.dtype("f2")}, "a numpy.dtype among"),
        ],
    )
    def test_parameters(self, parameters, message):
        X = table().assign(size=[1.0, 2.0, 3.0, 4.0])
        with pytest.raises(ValueError, match=message):
            TableStandardizer(**parameters).fit(X)

    def test_weights(self):
        with pytest.raises(ValueError, match="Negative values in data"):
            TableStandardizer().fit(table(), sample_weight=[1, -1, 1, 1])

    def test_not_fitted(self):
        for method in ("transform", "get_feature_names_out"):
            with pytest.raises(
                NotFittedError, match="TableStandardizer instance is not"
            ):
                getattr(TableStandardizer(), method)(None)


class TestEstimator:
    @pytest.mark.parametrize("wrong", [{"a": [np.inf]}, {"b": [{}]}])
    def test_a_fit_that_fails_keeps_the_one_before(self, wrong):
        scaler = TableStandardizer().fit(table())
        expected = scaler.transform(table())
        before = pickle.dumps(scaler)
        with pytest.raises((ValueError, TypeError)):
            scaler.fit(pd.DataFrame(wrong))
        assert pickle.dumps(scaler) == before
        np.testing.assert_array_equal(scaler.transform(table()), expected)

    @pytest.mark.parametrize("categories", ["one_hot", "ordinal"])
    def test_clone_and_pickle(self, categories):
        scaler = TableStandardizer(
            numeric={"size": "power", "count": StandardScaler()}, categories=categories
        ).fit(table())
        expected = scaler.transform(table())
        twin = pickle.loads(pickle.dumps(scaler))
        np.testing.assert_array_equal(twin.transform(table()), expected)
        twin = clone(scaler)
        assert not hasattr(twin, "kinds_")
        np.testing.assert_array_equal(twin.fit_transform(table()), expected)

    def test_a_parameter_set_later_waits_for_the_next_fit(self):
        scaler = TableStandardizer().fit(table())
        expected = scaler.transform(table())
        for categories in ("ordinal", "passthrough"):
            scaler.set_params(categories=categories)
            np.testing.assert_array_equal(scaler.transform(table()), expected)

    def test_in_a_pipeline(self):
        model = make_pipeline(TableStandardizer(), LogisticRegression())
        y = [0, 1, 1, 0]
        assert model.fit(table(), y).score(table(), y) == 1

    @pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32")])
    def test_tags(self, dtype):
        tags = get_tags(TableStandardizer(dtype=dtype))
        assert tags.input_tags.allow_nan
        assert tags.input_tags.string
        assert tags.input_tags.categorical
        assert not tags.input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float32"]

    def test_under_a_global_output(self):
        with sklearn.config_context(transform_output="polars"):
            Z = TableStandardizer().fit_transform(table())
        assert_columns(Z.to_numpy(), Z.columns, NUMBERS | ONE_HOT)

    @pytest.mark.usefixtures("dispatch")
    def test_arrays_of_other_libraries_become_numpys(self):
        X = pytest.importorskip("torch").tensor([[1.0], [3.0]])
        np.testing.assert_array_equal(TableStandardizer().fit_transform(X), [[-1], [1]])
