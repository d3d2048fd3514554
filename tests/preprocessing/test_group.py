import pickle
import re

import array_api_strict
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.pipeline import make_pipeline

from sknorm.preprocessing import GroupStandardizer, Standardizer
from sknorm.statistics import GroupedMoments

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=60)
# Of tables that hypothesis makes some have a column without values.
empty_columns = pytest.mark.filterwarnings("ignore:.*Standardizer found no values")

FITTED = ["mean_", "scale_", "group_mean_", "group_scale_", "n_samples_seen_"]
SHRINKAGES = ["none", "empirical_bayes", 2.5]


@st.composite
def grouped(draw, min_rows=1):
    """Return a table with NaN and the labels of its rows."""
    n_rows = draw(st.integers(min_rows, 14))
    numbers = st.one_of(
        st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)
    )
    X = draw(hnp.arrays(np.float64, (n_rows, 2), elements=numbers))
    return X, draw(hnp.arrays(np.int64, n_rows, elements=st.integers(0, 3)))


@pytest.fixture
def groups(rng):
    return rng.choice(["a", "b", "c"], 500).astype(object)


@pytest.fixture
def data(rng, groups):
    X = rng.normal(size=(500, 4)) * [1, 1e-3, 1e3, 10] + [0, 1, -50, 1e3]
    return X + np.where(groups == "a", 3.0, 0.0)[:, None]


def assert_same_fit(a, b, rtol=1e-12):
    assert a.groups_.tolist() == b.groups_.tolist()
    for name in FITTED:
        ours, theirs = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


class TestKnownValues:
    X = np.array([[1.0, 7.0], [3.0, 7.0], [10.0, np.nan], [30.0, 9.0]])
    GROUPS = ("a", "a", "b", "b")

    def test_only_groups_of_one_row(self):
        X = self.X[:, :1]
        scaler = GroupStandardizer()
        Z = scaler.fit_transform(X, groups=range(4))
        np.testing.assert_allclose(Z, Standardizer().fit_transform(X), rtol=1e-15)

    def test_no_shrinkage(self):
        scaler = GroupStandardizer(shrinkage="none").fit(self.X, groups=self.GROUPS)
        assert scaler.groups_.tolist() == ["a", "b"]
        np.testing.assert_array_equal(scaler.group_mean_, [[2, 7], [20, 9]])
        np.testing.assert_array_equal(scaler.group_scale_, [[1, 1], [10, 1]])
        np.testing.assert_allclose(scaler.mean_, [11, 23 / 3], rtol=1e-15)
        np.testing.assert_allclose(
            scaler.scale_, [(526 / 4) ** 0.5, 8**0.5 / 3], rtol=1e-15
        )
        np.testing.assert_array_equal(scaler.n_samples_seen_, [4, 3])
        assert isinstance(scaler.statistics_, GroupedMoments)
        np.testing.assert_array_equal(
            scaler.transform(self.X, groups=self.GROUPS),
            [[-1, 0], [1, 0], [-1, np.nan], [1, 0]],
        )

    def test_a_number_of_rows(self):
        scaler = GroupStandardizer(shrinkage=2).fit(self.X, groups=self.GROUPS)
        # Two rows of the group's own, two with mean 11 and variance 526 / 4.
        np.testing.assert_allclose(scaler.group_mean_[:, 0], [6.5, 15.5], rtol=1e-15)
        np.testing.assert_allclose(
            scaler.group_scale_[:, 0] ** 2,
            [(2 + 263 + 81) / 4, (200 + 263 + 81) / 4],
            rtol=1e-15,
        )

    def test_empirical_bayes(self):
        X, groups = [[-1.0], [1.0], [5.0], [7.0]], [0, 0, 1, 1]
        scaler = GroupStandardizer().fit(X, groups=groups)
        # Variance 2 within. Means are 9 from the middle, squared, half of 1 by chance;
        # over 1/4 + 1/4 that is 17. The prior has a share of 2 / (2 + 2 * 17).
        prior, between = 1 / 18, 17
        np.testing.assert_allclose(
            scaler.group_mean_, [[3 * prior], [6 - 3 * prior]], rtol=1e-14
        )
        np.testing.assert_allclose(
            scaler.group_scale_, np.full((2, 1), (2 + prior * between) ** 0.5), 1e-14
        )
        assert (scaler.mean_, scaler.n_samples_seen_) == (3, 4)

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"with_mean": False}, [1, 3, 1, 3]),
            ({"with_std": False}, [-1, 1, -10, 10]),
            ({"with_mean": False, "with_std": False}, [1, 3, 10, 30]),
        ],
    )
    def test_one_of_the_two(self, parameters, expected):
        X = self.X[:, :1]
        scaler = GroupStandardizer(shrinkage="none", **parameters)
        Z = scaler.fit_transform(X, groups=self.GROUPS)
        np.testing.assert_array_equal(Z[:, 0], expected)
        np.testing.assert_array_equal(
            scaler.inverse_transform(Z, groups=self.GROUPS), X
        )

    def test_groups_that_are_constant_and_differ(self):
        X, groups = [[1.0], [1.0], [5.0]], [0, 0, 1]
        scaler = GroupStandardizer().fit(X, groups=groups)
        np.testing.assert_array_equal(scaler.group_mean_, [[1], [5]])
        np.testing.assert_array_equal(scaler.group_scale_, [scaler.scale_] * 2)
        alone = GroupStandardizer(shrinkage="none").fit(X, groups=groups)
        np.testing.assert_array_equal(alone.group_scale_, [[1], [1]])

    @pytest.mark.parametrize("shrinkage", SHRINKAGES)
    def test_a_constant_column(self, shrinkage):
        X = np.full((4, 1), 0.1)
        scaler = GroupStandardizer(shrinkage=shrinkage).fit(X, groups=[0, 0, 1, 1])
        np.testing.assert_array_equal(scaler.group_scale_, [[1], [1]])
        np.testing.assert_array_equal(scaler.transform(X, groups=[0, 1, 2, 0]), 0)

    @pytest.mark.parametrize("shrinkage", SHRINKAGES)
    def test_a_column_without_values(self, shrinkage):
        X = np.array([[np.nan, 1.0], [np.nan, 3.0], [np.nan, 5.0]])
        scaler = GroupStandardizer(shrinkage=shrinkage)
        with pytest.warns(UserWarning, match="found no values in 1 column: 0, only"):
            Z = scaler.fit_transform(X, groups=[0, 0, 1])
        assert np.isnan(Z[:, 0]).all()
        assert np.isfinite(Z[:, 1]).all()


class TestWithoutGroups:
    """It is a Standardizer, to the bit."""

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("n_rows", [500, 200_000])
    def test_as_standardizer(self, rng, dtype, weighted, n_rows):
        X = (1e6 + rng.normal(size=(n_rows, 4))).astype(dtype)
        X[rng.random(X.shape) < 0.1] = np.nan
        weight = rng.random(n_rows) if weighted else None
        ours = GroupStandardizer().fit(X, sample_weight=weight)
        theirs = Standardizer().fit(X, sample_weight=weight)
        for name in ("mean_", "scale_", "n_samples_seen_"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        Z = ours.transform(X)
        np.testing.assert_array_equal(Z, theirs.transform(X))
        np.testing.assert_array_equal(
            ours.inverse_transform(Z), theirs.inverse_transform(Z)
        )
        assert Z.dtype == dtype
        assert ours.groups_.shape == (0,)
        assert ours.group_mean_.shape == ours.group_scale_.shape == (0, 4)

    def test_every_label_is_unknown_then(self, data):
        scaler = GroupStandardizer().fit(data)
        np.testing.assert_array_equal(
            scaler.transform(data, groups=np.arange(500)), scaler.transform(data)
        )


class TestUnknownGroups:
    @pytest.mark.parametrize("shrinkage", SHRINKAGES)
    @pytest.mark.parametrize("label", ["z", None, np.nan, pd.NA, pd.NaT])
    def test_they_have_what_all_rows_have(self, data, groups, shrinkage, label):
        scaler = GroupStandardizer(shrinkage=shrinkage).fit(data, groups=groups)
        Z = scaler.transform(data, groups=[label] * 500)
        np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-12)
        np.testing.assert_allclose(
            Z, Standardizer().fit_transform(data), rtol=1e-11, atol=1e-11
        )

    def test_rows_without_a_label_count_for_all(self, data, groups):
        some = np.where(np.arange(500) % 3, groups, None)
        scaler = GroupStandardizer(shrinkage="none").fit(data, groups=some)
        plain = Standardizer().fit(data)
        np.testing.assert_allclose(scaler.mean_, plain.mean_, rtol=1e-12)
        assert scaler.groups_.tolist() == ["a", "b", "c"]
        own = Standardizer().fit(data[some == "b"])
        np.testing.assert_allclose(scaler.group_mean_[1], own.mean_, rtol=1e-12)
        Z = scaler.transform(data, groups=some)
        lacking = np.equal(some, None)
        np.testing.assert_allclose(
            Z[lacking], plain.transform(data[lacking]), rtol=1e-9, atol=1e-9
        )

    def test_a_group_without_values_in_a_column(self, data, groups):
        data[groups == "b", 2] = np.nan
        for shrinkage in SHRINKAGES:
            scaler = GroupStandardizer(shrinkage=shrinkage).fit(data, groups=groups)
            assert scaler.group_mean_[1, 2] == pytest.approx(scaler.mean_[2])
            assert scaler.group_scale_[1, 2] == pytest.approx(scaler.scale_[2])


class TestBy:
    """A column of X tells the groups, and is not in the result."""

    def frame(self, data, groups, module=pd):
        columns = {f"x{j}": column for j, column in enumerate(data.T)}
        names = ["x0", "x1", "site", "x2", "x3"]
        return module.DataFrame({**columns, "site": list(groups)})[names]

    @pytest.mark.parametrize("module", [pd, pl])
    @pytest.mark.parametrize("by", ["site", 2, -3])
    def test_frames(self, data, groups, module, by):
        X = self.frame(data, groups, module)
        expected = GroupStandardizer().fit_transform(data, groups=groups)
        scaler = GroupStandardizer(by=by)
        np.testing.assert_array_equal(scaler.fit_transform(X), expected)
        np.testing.assert_array_equal(scaler.transform(X), expected)
        assert scaler.n_features_in_ == 5
        assert scaler.feature_names_in_.tolist() == list(X.columns)
        assert scaler.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]

    @pytest.mark.parametrize(
        ("container", "cls"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
    )
    def test_set_output(self, data, groups, container, cls):
        X = self.frame(data, groups)
        X.index = X.index + 7
        scaler = GroupStandardizer(by="site").set_output(transform=container)
        for Z in (scaler.fit_transform(X), scaler.transform(X)):
            assert isinstance(Z, cls)
            assert list(Z.columns) == ["x0", "x1", "x2", "x3"]
        if container == "pandas":
            assert Z.index.equals(X.index)

    @pytest.mark.parametrize(
        "kind",
        [
            lambda groups: pd.Series(groups, dtype="category"),
            lambda groups: pd.Series(groups, dtype="string"),
            lambda groups: pd.Series(groups).map({"a": 7, "b": 8, "c": 9}),
            lambda groups: pd.Series(groups).map(
                {k: pd.Timestamp(f"202{i}-01-01") for i, k in enumerate("abc")}
            ),
        ],
        ids=["category", "string", "int", "date"],
    )
    def test_kinds_of_labels(self, data, groups, kind):
        X = self.frame(data, groups)
        X["site"] = kind(groups)
        np.testing.assert_array_equal(
            GroupStandardizer(by="site").fit_transform(X),
            GroupStandardizer().fit_transform(data, groups=groups),
        )

    def test_missing_labels_in_a_column(self, data, groups):
        X = self.frame(data, groups)
        X["site"] = X["site"].astype(object).where(np.arange(500) % 5 > 0, None)
        scaler = GroupStandardizer(by="site").fit(X)
        expected = Standardizer().fit(data).transform(data)[::5]
        np.testing.assert_allclose(scaler.transform(X)[::5], expected, rtol=1e-9)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, object])
    @pytest.mark.parametrize("by", [1, -2])
    def test_arrays(self, rng, dtype, by):
        X = rng.integers(0, 9, (60, 3)).astype(dtype)
        values, labels = np.delete(X, 1, axis=1), X[:, 1]
        scaler = GroupStandardizer(by=by)
        Z = scaler.fit_transform(X)
        np.testing.assert_array_equal(
            Z, GroupStandardizer().fit_transform(values, groups=labels)
        )
        assert Z.dtype == (np.float32 if dtype is np.float32 else np.float64)
        assert scaler.get_feature_names_out().tolist() == ["x0", "x2"]

    def test_lists_with_strings(self):
        X = [["a", 1.0], ["a", 3.0], ["b", 5.0], ["b", 9.0]]
        Z = GroupStandardizer(by=0, shrinkage="none").fit_transform(X)
        np.testing.assert_array_equal(Z, [[-1], [1], [-1], [1]])

    def test_inverse_transform_takes_groups(self, data, groups):
        X = self.frame(data, groups)
        scaler = GroupStandardizer(by="site").fit(X)
        back = scaler.inverse_transform(scaler.transform(X), groups=groups)
        np.testing.assert_allclose(back, data, rtol=1e-12, atol=1e-12)

    def test_the_frame_stays_as_it_is(self, data, groups):
        X = self.frame(data, groups)
        before = X.copy()
        GroupStandardizer(by="site").fit(X).transform(X)
        pd.testing.assert_frame_equal(X, before)

    def test_in_a_column_transformer(self, data, groups):
        X = self.frame(data, groups).assign(kept=1.0)
        table = make_column_transformer(
            (GroupStandardizer(by="site"), ["x0", "site", "x3"]),
            remainder="passthrough",
            verbose_feature_names_out=False,
        )
        table.fit(X)
        assert table.get_feature_names_out().tolist() == [
            "x0",
            "x3",
            "x1",
            "x2",
            "kept",
        ]

    def test_warnings_and_errors_name_columns_of_the_frame(self, data, groups):
        X = self.frame(data, groups)
        with pytest.warns(UserWarning, match="no values in 1 column: 'x2', only"):
            GroupStandardizer(by="site").fit(X.assign(x2=np.nan))
        with pytest.raises(ValueError, match="contains infinity in 1 column: 'x3'"):
            GroupStandardizer(by="site").fit(X.assign(x3=np.inf))
        with pytest.raises(ValueError, match="contains infinity in 1 column: 2"):
            GroupStandardizer(by=0).fit([[1.0, 1.0, np.inf]])


class TestRouting:
    def test_requests(self, data, groups):
        with config_context(enable_metadata_routing=True):
            scaler = GroupStandardizer()
            for method in ("fit", "partial_fit", "transform", "inverse_transform"):
                getattr(scaler, f"set_{method}_request")(groups=True)
            routing = scaler.get_metadata_routing()
            for method in ("fit", "transform", "fit_transform", "inverse_transform"):
                assert getattr(routing, method).requests["groups"] is True

    def test_in_a_pipeline(self, data, groups, rng):
        weight = rng.random(500)
        with config_context(enable_metadata_routing=True):
            scaler = (
                GroupStandardizer()
                .set_fit_request(groups=True, sample_weight=True)
                .set_transform_request(groups=True)
            )
            first = make_pipeline(
                scaler, Standardizer().set_fit_request(sample_weight=False)
            )
            last = make_pipeline(
                Standardizer().set_fit_request(sample_weight=False), clone(scaler)
            )
            alone = clone(scaler).fit(data, sample_weight=weight, groups=groups)
            expected = alone.transform(data, groups=groups)
            for pipeline in (first, last):
                pipeline.fit(data, sample_weight=weight, groups=groups)
                Z = pipeline.transform(data, groups=groups)
                again = clone(pipeline).fit_transform(
                    data, sample_weight=weight, groups=groups
                )
                np.testing.assert_allclose(again, Z, rtol=1e-12, atol=1e-12)
            assert_same_fit(first[0], alone)
            np.testing.assert_allclose(Z, expected, rtol=1e-9, atol=1e-9)

    def test_by_needs_none(self, data):
        X = np.column_stack([np.arange(500) % 7, data])
        Z = make_pipeline(GroupStandardizer(by=0), Standardizer()).fit_transform(X)
        assert Z.shape == (500, 4)


class TestPartialFit:
    @pytest.mark.parametrize("shrinkage", SHRINKAGES)
    def test_parts_are_the_whole(self, data, groups, rng, shrinkage):
        # Sorted, so that groups come one after the other.
        groups = np.sort(groups)
        weight = rng.random(500)
        whole = GroupStandardizer(shrinkage=shrinkage)
        whole.fit(data, sample_weight=weight, groups=groups)
        parts = GroupStandardizer(shrinkage=shrinkage)
        for rows in np.array_split(np.arange(500), 7):
            parts.partial_fit(
                data[rows], sample_weight=weight[rows], groups=groups[rows]
            )
        assert_same_fit(parts, whole)
        first = clone(whole).fit(data[:200], None, weight[:200], groups[:200])
        second = clone(whole).fit(data[200:], None, weight[200:], groups[200:])
        assert_same_fit(first.merge(second), whole)

    def test_by(self, data, rng):
        X = np.column_stack([rng.integers(0, 5, 500), data])
        parts = GroupStandardizer(by=0)
        for rows in np.array_split(X, 5):
            parts.partial_fit(rows)
        assert_same_fit(parts, GroupStandardizer(by=0).fit(X))

    def test_parameters_that_differ(self, data, groups):
        a = GroupStandardizer().fit(data, groups=groups)
        b = GroupStandardizer(shrinkage=1.0).fit(data, groups=groups)
        with pytest.raises(ValueError, match="with different 'shrinkage' can't be mer"):
            a.merge(b)

    def test_one_that_fails_leaves_what_was_learned(self, data, groups):
        scaler = GroupStandardizer().fit(data, groups=groups)
        before = pickle.dumps(scaler)
        for mistake in (
            {"X": data, "groups": groups[:3]},
            {"X": data, "groups": np.arange(500)},
            {"X": data},
            {"X": data[:, :2], "groups": groups},
            {"X": np.where(data > 900, np.inf, data), "groups": groups},
        ):
            with pytest.raises(ValueError, match=r"groups|labels|infinity|features"):
                scaler.partial_fit(**mistake)
            assert pickle.dumps(scaler) == before


class TestMistakes:
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"by": 1.5}, r"'by' parameter .* 'str', .*'int' or None|'by' parameter"),
            ({"shrinkage": "some"}, "'shrinkage' parameter of GroupStandardizer must"),
            ({"shrinkage": -1}, "'shrinkage' parameter of GroupStandardizer must"),
            ({"shrinkage": np.nan}, "'shrinkage' parameter of GroupStandardizer must"),
            ({"by": "z"}, "by='z' is not a column of X. There are 2 columns: 'a', 'b'"),
            ({"by": 2}, "by=2 is not the position of a column: X has 2"),
            ({"by": -3}, "by=-3 is not the position of a column: X has 2"),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
    def test_a_parameter(self, parameters, message, method):
        with pytest.raises(ValueError, match=message):
            getattr(GroupStandardizer(**parameters), method)(self.X)

    def test_a_name_without_names(self):
        with pytest.raises(ValueError, match="by='a' names a column, but the columns"):
            GroupStandardizer(by="a").fit(self.X.to_numpy())

    @pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            ([1], "groups must have one label for each of the 2 rows. Got 1 labels"),
            ([1, 2, 3], "one label for each of the 2 rows. Got 3 labels"),
            ([[1, 2]], r"one label for each row, in one dimension.*\(1, 2\)"),
            ("ab", r"one label for each row, in one dimension.*\(\)"),
            ([1, "a"], "must be of one kind that has an order"),
        ],
    )
    def test_groups(self, method, groups, message):
        with pytest.raises(ValueError, match=message):
            getattr(GroupStandardizer(), method)(self.X, groups=groups)

    @pytest.mark.parametrize("by", [None, "a"])
    def test_a_query(self, by):
        with pytest.raises(TypeError, match=r"Got a 'LazyFrame'.*pass X.collect\(\)"):
            GroupStandardizer(by=by).fit(pl.LazyFrame({"a": [1], "b": [2.0]}))

    def test_groups_as_a_table_of_one_column(self):
        X, groups = [[1.0], [3.0], [9.0]], np.array([[1], [1], [2]])
        scaler = GroupStandardizer(shrinkage="none")
        with pytest.warns(DataConversionWarning, match=r"groups of shape \(3, 1\)"):
            Z = scaler.fit_transform(X, groups=groups)
        np.testing.assert_array_equal(scaler.groups_, [1, 2])
        np.testing.assert_array_equal(Z, scaler.transform(X, groups=groups[:, 0]))

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_groups_of_rows_that_are_transformed(self, method):
        scaler = GroupStandardizer().fit(self.X, groups=[1, 2])
        for arguments, message in [
            ({}, "knows 2 groups and must be told to which.*: pass groups"),
            ({"groups": [1]}, "for each of the 2 rows. Got 1 labels"),
            ({"groups": ["a", "b"]}, "must be of one kind that has an order"),
        ]:
            with pytest.raises(ValueError, match=message):
                getattr(scaler, method)(self.X, **arguments)

    @pytest.mark.parametrize(
        "method", ["fit", "partial_fit", "fit_transform", "transform"]
    )
    def test_groups_and_by(self, method):
        scaler = GroupStandardizer(by="a").fit(self.X)
        message = "groups can't be given together with by='a'.*Leave out one"
        with pytest.raises(ValueError, match=message):
            getattr(scaler, method)(self.X, groups=[1, 2])

    def test_inverse_transform_with_by(self):
        scaler = GroupStandardizer(by="a").fit(self.X)
        with pytest.raises(ValueError, match=r"pass groups, for the column by='a'"):
            scaler.inverse_transform([[0.0]])
        with pytest.raises(
            ValueError, match=r"X has 2 columns, but .* standardized 1:"
        ):
            scaler.inverse_transform(self.X, groups=[1, 2])

    @pytest.mark.parametrize("by", [None, 0])
    def test_sparse(self, by):
        X = scipy.sparse.csr_matrix(self.X.to_numpy())
        with pytest.raises(TypeError, match="Sparse data was passed"):
            GroupStandardizer(by=by).fit(X)

    def test_tables(self):
        for X, message in [
            ([1.0, 2.0], "Expected 2D array, got 1D array"),
            ([["a", "b"]], "could not convert string to float"),
            ([[1.0]], r"Found array with 0 feature\(s\)"),
            (np.empty((0, 2)), r"Found array with 0 sample\(s\)"),
        ]:
            with pytest.raises(ValueError, match=message):
                GroupStandardizer(by=0).fit(X)

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_infinite_values(self, method):
        scaler = GroupStandardizer().fit(self.X, groups=[1, 2])
        X = self.X.assign(b=[np.nan, -np.inf])
        with pytest.raises(ValueError, match="contains infinity in 1 column: 'b'"):
            getattr(scaler, method)(X, groups=[1, 2])

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_not_fitted(self, method):
        with pytest.raises(NotFittedError, match="This GroupStandardizer instance"):
            getattr(GroupStandardizer(), method)(self.X, groups=[1, 2])

    def test_other_columns(self):
        scaler = GroupStandardizer(by="a").fit(self.X)
        with pytest.raises(ValueError, match=re.escape("feature names should match")):
            scaler.transform(self.X[["b", "a"]])


class TestCopy:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_a_copy_it_becomes_the_result(self, data, groups, dtype, order):
        X = data.astype(dtype, order=order)
        expected = GroupStandardizer().fit_transform(X, groups=groups)
        np.testing.assert_array_equal(X, data.astype(dtype))
        assert expected.dtype == dtype
        Z = GroupStandardizer(copy=False).fit(X, groups=groups).transform(X, groups)
        assert Z is X
        np.testing.assert_array_equal(X, expected)

    def test_read_only_input(self, data, groups):
        data.setflags(write=False)
        Z = GroupStandardizer(copy=False).fit_transform(data, groups=groups)
        assert not np.shares_memory(Z, data)


class TestPrecision:
    def test_offsets_of_groups_cost_no_digits(self, rng):
        labels = rng.integers(0, 20, 2_000)
        X = rng.normal(size=(2_000, 3)) + 1e6 * labels[:, None]
        Z = GroupStandardizer(shrinkage="none").fit_transform(X, groups=labels)
        for label in range(20):
            part = Z[labels == label]
            np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-14)
            np.testing.assert_allclose(part.std(axis=0), 1, rtol=1e-14)

    def test_what_rounding_took_off_a_mean_is_subtracted_too(self, rng):
        labels = np.repeat([0, 1], 500)
        X = rng.normal(size=(1_000, 2)) + 1e12 * (1 + labels[:, None])
        scaler = GroupStandardizer(shrinkage="none").fit(X, groups=labels)
        Z = scaler.transform(X, groups=labels)
        for label in (0, 1):
            own = Standardizer().fit_transform(X[labels == label])
            np.testing.assert_allclose(Z[labels == label], own, rtol=1e-13, atol=1e-14)
            assert abs(Z[labels == label].mean()) < 1e-14
        back = scaler.inverse_transform(Z, groups=labels)
        np.testing.assert_allclose(back, X, rtol=4e-16)

    def test_float32_is_subtracted_from_before_it_is_rounded(self, rng):
        labels = rng.integers(0, 3, 500)
        X = (1e6 * (1 + labels[:, None]) + rng.normal(size=(500, 2))).astype(np.float32)
        Z = GroupStandardizer().fit_transform(X, groups=labels)
        wide = GroupStandardizer().fit_transform(X.astype(np.float64), groups=labels)
        assert Z.dtype == np.float32
        np.testing.assert_array_equal(Z, wide.astype(np.float32))


@pytest.mark.parametrize("shrinkage", SHRINKAGES)
def test_large_tables_as_small_ones(rng, shrinkage):
    labels = rng.integers(0, 30, 40_000)
    X = rng.normal(size=(40_000, 20)) + labels[:, None]
    scaler = GroupStandardizer(shrinkage=shrinkage).fit(X, groups=labels)
    parts = GroupStandardizer(shrinkage=shrinkage)
    for rows in np.array_split(np.arange(len(X)), 4):
        parts.partial_fit(X[rows], groups=labels[rows])
    assert_same_fit(parts, scaler)
    Z = scaler.transform(X, groups=labels)
    some = np.arange(0, 40_000, 997)
    np.testing.assert_array_equal(
        scaler.transform(X[some], groups=labels[some]), Z[some]
    )


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("library", [torch, array_api_strict])
class TestArraysOfOtherLibraries:
    def test_groups(self, data, rng, library):
        labels = rng.integers(0, 4, 500)
        X = library.asarray(data)
        scaler = GroupStandardizer()
        Z = scaler.fit_transform(X, groups=library.asarray(labels))
        assert type(Z) is type(X)
        assert type(scaler.group_mean_) is type(X)
        expected = GroupStandardizer().fit_transform(data, groups=labels)
        np.testing.assert_array_equal(np.asarray(Z), expected)
        back = scaler.inverse_transform(Z, groups=labels)
        np.testing.assert_allclose(np.asarray(back), data, rtol=1e-11, atol=1e-11)

    def test_by(self, data, rng, library):
        table = np.column_stack([data, rng.integers(0, 4, 500)])
        Z = GroupStandardizer(by=-1).fit_transform(library.asarray(table))
        assert type(Z) is type(library.asarray(table))
        expected = GroupStandardizer(by=-1).fit_transform(table)
        np.testing.assert_array_equal(np.asarray(Z), expected)


@empty_columns
@several
@given(grouped())
def test_without_shrinkage_each_group_is_standardized_on_its_own(table):
    X, labels = table
    scaler = GroupStandardizer(shrinkage="none").fit(X, groups=labels)
    Z = scaler.transform(X, groups=labels)
    for label in np.unique(labels):
        rows = labels == label
        there = ~np.isnan(X[rows]).all(axis=0)
        alone = Standardizer().fit(X[rows])
        np.testing.assert_allclose(
            Z[rows][:, there], alone.transform(X[rows])[:, there], rtol=1e-9, atol=1e-9
        )


@empty_columns
@several
@given(grouped(), st.sampled_from(SHRINKAGES), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(table, shrinkage, random):
    X, labels = table
    order = list(range(len(X)))
    random.shuffle(order)
    scaler = GroupStandardizer(shrinkage=shrinkage).fit(X, groups=labels)
    shuffled = clone(scaler).fit(X[order], groups=labels[order])
    np.testing.assert_array_equal(scaler.groups_, shuffled.groups_)
    for name in FITTED:
        np.testing.assert_allclose(
            getattr(shuffled, name), getattr(scaler, name), rtol=1e-9, atol=1e-8
        )


@empty_columns
@several
@given(grouped(), st.sampled_from(SHRINKAGES), st.data())
def test_integer_weights_are_repetition(table, shrinkage, data):
    X, labels = table
    weight = data.draw(hnp.arrays(np.int64, len(X), elements=st.integers(0, 4)))
    assume(weight.any())
    weighted = GroupStandardizer(shrinkage=shrinkage)
    weighted.fit(X, sample_weight=weight, groups=labels)
    repeated = clone(weighted).fit(
        np.repeat(X, weight, axis=0), groups=np.repeat(labels, weight)
    )
    np.testing.assert_array_equal(weighted.groups_, repeated.groups_)
    for name in FITTED[:-1]:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-9, atol=1e-8
        )


@empty_columns
@several
@given(grouped(), st.sampled_from(SHRINKAGES))
def test_round_trip(table, shrinkage):
    X, labels = table
    scaler = GroupStandardizer(shrinkage=shrinkage).fit(X, groups=labels)
    Z = scaler.transform(X, groups=labels)
    np.testing.assert_array_equal(np.isnan(Z), np.isnan(X))
    back = scaler.inverse_transform(Z, groups=labels)
    np.testing.assert_allclose(back, X, rtol=1e-12, atol=1e-8)
