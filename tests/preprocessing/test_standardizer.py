import pickle
from fractions import Fraction

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknorm.preprocessing import Standardizer
from sknorm.statistics import Moments

EPS = float(np.finfo(np.float64).eps)
FITTED = ["mean_", "var_", "scale_", "n_samples_seen_"]

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=100)
# Of tables that hypothesis makes some have a column without values.
empty_columns = pytest.mark.filterwarnings("ignore:Standardizer found no values")


def tables(min_rows=1):
    """Tables of whole numbers and of any others, with NaN, some columns constant."""
    shape = st.tuples(st.integers(min_rows, 12), st.just(3))
    numbers = st.one_of(
        st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)
    )
    return hnp.arrays(np.float64, shape, elements=numbers)


def assert_same_fit(a, b, rtol=1e-12):
    for name in FITTED:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol)


def exact(column):
    """Return mean and variance in rational arithmetic."""
    values = [Fraction(float(v)) for v in column]
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


class TestKnownValues:
    X = np.array([[1.0, 7.0, 1.0], [3.0, 7.0, np.nan], [8.0, 7.0, 5.0]])

    def test_statistics(self):
        scaler = Standardizer().fit(self.X)
        np.testing.assert_array_equal(scaler.mean_, [4, 7, 3])
        np.testing.assert_allclose(scaler.var_, [26 / 3, 0, 4], rtol=1e-15)
        np.testing.assert_allclose(scaler.scale_, [(26 / 3) ** 0.5, 1, 2], rtol=1e-15)
        np.testing.assert_array_equal(scaler.n_samples_seen_, [3, 3, 2])
        assert isinstance(scaler.statistics_, Moments)

    def test_weighted_statistics(self):
        scaler = Standardizer().fit(self.X, sample_weight=[2, 0, 6])
        np.testing.assert_array_equal(scaler.mean_, [6.25, 7, 4])
        np.testing.assert_allclose(scaler.var_, [147 / 16, 0, 3], rtol=1e-15)
        assert scaler.n_samples_seen_ == 2

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({}, [[-1, 0], [1, 0], [np.nan, 2]]),
            ({"with_mean": False}, [[0, 7], [2, 7], [np.nan, 9]]),
            ({"with_std": False}, [[-4, 0], [4, 0], [np.nan, 2]]),
            ({"with_mean": False, "with_std": False}, [[0, 7], [8, 7], [np.nan, 9]]),
        ],
    )
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_transform(self, parameters, expected, dtype):
        X = np.array([[0, 7], [8, 7], [np.nan, 9]], dtype=dtype)
        scaler = Standardizer(**parameters).fit(X[:2])
        Z = scaler.transform(X)
        np.testing.assert_array_equal(Z, expected)
        np.testing.assert_array_equal(scaler.inverse_transform(Z), X)
        assert Z.dtype == dtype

    def test_one_row(self):
        scaler = Standardizer().fit([[3.0, -1.0]])
        np.testing.assert_array_equal(scaler.scale_, [1, 1])
        np.testing.assert_array_equal(scaler.transform([[4.0, -1.0]]), [[1, 0]])
        assert type(scaler.n_samples_seen_) is int

    def test_a_column_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match="found no values in 1 column: 0, only"):
            scaler = Standardizer().fit(X)
        np.testing.assert_array_equal(scaler.mean_, [np.nan, 2])
        np.testing.assert_array_equal(scaler.scale_, [np.nan, 1])
        np.testing.assert_array_equal(scaler.n_samples_seen_, [0, 2])
        np.testing.assert_array_equal(scaler.transform(X), [[np.nan, -1], [np.nan, 1]])

    def test_such_a_column_may_get_values_later(self):
        with pytest.warns(UserWarning, match="found no values"):
            scaler = Standardizer().fit([[np.nan], [np.nan]])
        scaler.partial_fit([[1.0], [3.0]])
        np.testing.assert_array_equal(scaler.transform([[1.0], [5.0]]), [[-1], [3]])
        assert scaler.n_samples_seen_ == 2


@pytest.fixture
def data(rng):
    X = rng.normal(size=(500, 6)) * [1, 1e-3, 1e3, 10, 1, 1] + [0, 1, -50, 1e3, 0, 3]
    X[:, 5] = 3.0
    return X


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
class TestParityWithStandardScaler:
    @pytest.fixture
    def case(self, data, rng, weighted, missing, dtype, order):
        X = data.astype(dtype, order=order)
        X[rng.random(X.shape) < missing] = np.nan
        return X, rng.integers(0, 4, len(X)) if weighted else None

    @staticmethod
    def assert_parity(ours, theirs, X):
        for name in ("mean_", "var_", "scale_"):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-12
            )
        # StandardScaler rounds its statistics to float32 before it uses them there:
        # half an ulp of the mean, over the standard deviation, is up to 1e-4 here.
        atol = 1e-11 if X.dtype == np.float64 else 1e-4
        Z = ours.transform(X)
        np.testing.assert_allclose(Z, theirs.transform(X), rtol=1e-11, atol=atol)
        assert Z.dtype == X.dtype
        np.testing.assert_allclose(
            ours.inverse_transform(Z),
            theirs.inverse_transform(theirs.transform(X)),
            rtol=1e-11 if X.dtype == np.float64 else 1e-6,
            atol=1e-12 if X.dtype == np.float64 else 1e-4,
        )

    def test_fit(self, case):
        X, weight = case
        self.assert_parity(
            Standardizer().fit(X, sample_weight=weight),
            StandardScaler().fit(X, sample_weight=weight),
            X,
        )

    def test_partial_fit(self, case):
        X, weight = case
        ours, theirs = Standardizer(), StandardScaler()
        for rows in np.array_split(np.arange(len(X)), 7):
            part = None if weight is None else weight[rows]
            ours.partial_fit(X[rows], sample_weight=part)
            theirs.partial_fit(X[rows], sample_weight=part)
        self.assert_parity(ours, theirs, X)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_without_weights_rows_are_counted_as_standard_scaler_does(data, rng, missing):
    data[rng.random(data.shape) < missing] = np.nan
    ours, theirs = Standardizer().fit(data), StandardScaler().fit(data)
    np.testing.assert_array_equal(ours.n_samples_seen_, theirs.n_samples_seen_)


class TestWhereStandardScalerIsWrong:
    """Cases that fail with scikit-learn 1.9.1's StandardScaler."""

    @pytest.mark.parametrize(("offset", "unit"), [(0, 1e15), (1e5, 1e10), (1e5, 1e15)])
    def test_large_weights_make_no_column_constant(self, rng, offset, unit):
        X = offset + rng.normal(size=(100, 2))
        scaler = Standardizer().fit(X, sample_weight=np.full(100, unit))
        np.testing.assert_allclose(scaler.scale_, X.std(axis=0), rtol=1e-9)

    @pytest.mark.parametrize("offset", [1e6, 1e12])
    def test_offsets_cost_no_digits(self, rng, offset):
        X = offset + rng.normal(size=(2_000, 2))
        scaler = Standardizer().fit(X)
        Z = scaler.transform(X)
        for j, column in enumerate(X.T):
            mean, variance = exact(column)
            assert scaler.mean_[j] == float(mean)
            assert abs(Fraction(scaler.var_[j]) / variance - 1) < 16 * EPS
            assert abs(Z[:, j].mean()) < 16 * EPS
            assert abs(Z[:, j].std() - 1) < 16 * EPS

    def test_float32_is_subtracted_from_before_it_is_rounded(self, rng):
        X = (1e6 + rng.normal(size=(500, 3))).astype(np.float32)
        wide = X.astype(np.float64)
        scaler = Standardizer().fit(X)
        expected = ((wide - wide.mean(axis=0)) / wide.std(axis=0)).astype(np.float32)
        Z = scaler.transform(X)
        assert Z.dtype == np.float32
        # Of the values themselves, not of the offset.
        np.testing.assert_allclose(Z, expected, rtol=1e-6)

    def test_values_up_to_the_largest_double(self):
        X = 1e300 * np.array([[1.0], [2.0], [6.0]])
        scaler = Standardizer().fit(X)
        np.testing.assert_allclose(scaler.scale_, 1e300 * (14 / 3) ** 0.5, rtol=1e-15)
        np.testing.assert_allclose(
            scaler.transform(X)[:, 0] * (14 / 3) ** 0.5, [-2, -1, 3], rtol=1e-15
        )


def test_rows_of_weight_zero_are_not_counted():
    scaler = Standardizer().fit([[1.0], [2.0], [9.0]], sample_weight=[0.5, 0.5, 0])
    assert scaler.n_samples_seen_ == 2


@pytest.mark.parametrize("scale", [1e-13, 1e-16, 1e-150])
@pytest.mark.parametrize("unit", [1e-15, 1.0])
def test_tiny_columns_are_scaled(rng, scale, unit):
    X = scale * rng.normal(size=(100, 2))
    Z = Standardizer().fit(X, sample_weight=np.full(100, unit)).transform(X)
    np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-14)


@pytest.mark.parametrize("missing", [False, True])
def test_constant_columns_become_zero(missing):
    X = np.tile([14.62, 0.1 + 0.2, 1e12], (1_000, 1))
    if missing:
        X[::3] = np.nan
    scaler = Standardizer().fit(X)
    np.testing.assert_array_equal(scaler.scale_, [1, 1, 1])
    np.testing.assert_array_equal(
        scaler.transform(X), np.where(np.isnan(X), np.nan, 0.0)
    )


class TestPartialFit:
    def test_the_number_of_parts_is_nothing(self, data, rng):
        data[rng.random(data.shape) < 0.1] = np.nan
        weight = rng.random(len(data))
        whole = Standardizer().fit(data, sample_weight=weight)
        for n_parts in (1, 3, 500):
            parts = Standardizer()
            for rows in np.array_split(np.arange(len(data)), n_parts):
                parts.partial_fit(data[rows], sample_weight=weight[rows])
            assert_same_fit(parts, whole)

    def test_summaries_of_two_fits_merge(self, data):
        first, second = Standardizer().fit(data[:100]), Standardizer().fit(data[100:])
        merged = first.statistics_.merge(second.statistics_)
        whole = Standardizer().fit(data)
        np.testing.assert_allclose(merged.mean, whole.mean_, rtol=1e-14)
        np.testing.assert_allclose(merged.variance(), whole.var_, rtol=1e-13)


class TestAFailedFit:
    X = np.array([[1.0, 2.0], [3.0, 6.0]])
    MISTAKES = (
        ([[1.0, np.inf]], None, "contains infinity in 1 column: 1"),
        (X, [1e308, 1e308], "sum of sample_weight passes the largest double"),
        ([["a", "b"]], None, "could not convert"),
        (X, [1.0], "sample_weight.shape"),
        (X, [-1.0, 1.0], "Negative values in data passed to `sample_weight`"),
        (X, [0.0, 0.0], "at least one non-zero number"),
        (X, [1.0, np.nan], "NaN"),
    )

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    @pytest.mark.parametrize(("X", "weight", "message"), MISTAKES)
    def test_leaves_the_one_before(self, method, X, weight, message):
        scaler = Standardizer().fit(self.X)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match=message):
            getattr(scaler, method)(X, sample_weight=weight)
        assert pickle.dumps(scaler) == before

    def test_fit_of_another_table(self):
        scaler = Standardizer().fit(pd.DataFrame(self.X, columns=["a", "b"]))
        before = pickle.dumps(scaler)
        for X in (np.ones((1, 3)), pd.DataFrame({"c": [1.0]})):
            with pytest.raises(ValueError, match="Negative values"):
                scaler.fit(X, sample_weight=[-1.0])
            assert pickle.dumps(scaler) == before

    def test_partial_fit_of_another_width(self):
        scaler = Standardizer().fit(self.X)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match="X has 3 features, but Standardizer"):
            scaler.partial_fit(np.zeros((2, 3)))
        assert pickle.dumps(scaler) == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("with_mean", "no", "an instance of 'bool'"),
            ("with_std", "no", "an instance of 'bool'"),
            ("copy", "no", "an instance of 'bool'"),
            ("ddof", -1, r"a float in the range \[0.0, inf\)"),
            ("forgetting", 0.0, r"a float in the range \(0.0, 1.0\] or None"),
            ("forgetting", 1.5, r"a float in the range \(0.0, 1.0\] or None"),
            ("clip", "soft", "a str among {.*'hard'.*}"),
            ("clip_bound", 0, r"a float in the range \(0.0, inf\)"),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_a_parameter(self, name, value, allowed, method):
        message = (
            f"The '{name}' parameter of Standardizer must be {allowed}.*Got {value!r}"
        )
        with pytest.raises(ValueError, match=message):
            getattr(Standardizer(**{name: value}), method)([[1.0]])

    def test_parameters_go_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            Standardizer(False)

    @pytest.mark.parametrize(
        ("X", "error", "message"),
        [
            ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
            (np.array([[1j]]), ValueError, "Complex data not supported"),
            ([["a"]], ValueError, "could not convert string to float"),
            (np.empty((0, 2)), ValueError, r"Found array with 0 sample\(s\)"),
            (np.empty((2, 0)), ValueError, r"Found array with 0 feature\(s\)"),
            (
                scipy.sparse.eye(3, format="csr"),
                ValueError,
                "Cannot center sparse matrices: .* with_mean=False",
            ),
            ([[-np.inf, 1.0]], ValueError, "contains infinity in 1 column: 0"),
            (
                pd.DataFrame(
                    {"a": [np.inf, 1.0], "b": [np.nan, 2.0], "c": [3, -np.inf]}
                ),
                ValueError,
                "contains infinity in 2 columns: 'a', 'c'. Only NaN is",
            ),
        ],
    )
    def test_a_table(self, X, error, message):
        with pytest.raises(error, match=message):
            Standardizer().fit(X)


METHODS = ["fit", "partial_fit", "fit_transform", "transform", "inverse_transform"]


class TestCopy:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_a_copy_it_becomes_the_result(self, data, dtype, order):
        X = data.astype(dtype, order=order)
        scaler = Standardizer(copy=False).fit(X)
        np.testing.assert_array_equal(X, data.astype(dtype))
        expected = Standardizer().fit_transform(X)
        Z = scaler.transform(X)
        assert np.shares_memory(Z, X)
        np.testing.assert_array_equal(Z, expected)
        np.testing.assert_array_equal(X, expected)
        assert np.shares_memory(scaler.inverse_transform(X), X)
        rtol = 1e-12 if dtype == np.float64 else 1e-4
        np.testing.assert_allclose(X, data.astype(dtype), rtol=rtol, atol=1e-6)

    def test_editing_a_fitted_attribute_leaves_the_summary(self, data):
        scaler = Standardizer().fit(data)
        before = scaler.mean_.copy()
        scaler.mean_ += 1
        np.testing.assert_array_equal(scaler.statistics_.mean, before)


class TestInfiniteValues:
    """They are found in the pass that transforms, and nothing is written before."""

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    @pytest.mark.parametrize("n_rows", [5, 300_000])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("copy", [True, False])
    def test_the_input_survives(self, method, n_rows, order, copy):
        X = np.array(np.arange(3.0 * n_rows).reshape(n_rows, 3) % 7, order=order)
        scaler = Standardizer(copy=copy).fit(X)
        X[1, 0], X[-1, 2] = np.nan, -np.inf
        before = X.copy()
        with pytest.raises(ValueError, match="contains infinity in 1 column: 2"):
            getattr(scaler, method)(X)
        np.testing.assert_array_equal(X, before)

    @pytest.mark.parametrize("n_rows", [5, 300_000])
    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_fit(self, n_rows, value):
        X = np.arange(3.0 * n_rows).reshape(n_rows, 3)
        X[n_rows // 2, 1], X[0, 2] = value, np.nan
        with pytest.raises(ValueError, match="contains infinity in 1 column: 1"):
            Standardizer().fit(X)

    def test_where_the_weight_is_zero_they_are_not_looked_at(self):
        X = [[1.0], [3.0], [np.inf]]
        assert Standardizer().fit(X, sample_weight=[1, 1, 0]).mean_ == 2

    def test_many_columns_are_counted_and_some_are_named(self):
        X = np.full((2, 30), np.inf)
        message = "infinity in 30 columns: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and more"
        with pytest.raises(ValueError, match=message):
            Standardizer().fit(X)


class TestDdof:
    X = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])

    def test_by_hand(self):
        scaler = Standardizer(ddof=1).fit(self.X)
        np.testing.assert_allclose(scaler.var_, [13, 0], rtol=1e-15)
        np.testing.assert_allclose(scaler.scale_, [13**0.5, 1], rtol=1e-15)

    def test_integer_weights_count_repetitions(self):
        weighted = Standardizer(ddof=1).fit(self.X, sample_weight=[2, 0, 3])
        repeated = Standardizer(ddof=1).fit(self.X[[0, 0, 2, 2, 2]])
        np.testing.assert_allclose(weighted.scale_, repeated.scale_, rtol=1e-15)

    def test_one_row_is_constant_whatever_ddof(self):
        scaler = Standardizer(ddof=1).fit([[3.0]])
        assert (scaler.scale_, np.isnan(scaler.var_)) == (1, True)

    def test_too_few(self):
        message = (
            "ddof=2 needs weights that add up to more than that.*add up to 2 in "
            "1 column: 0. Lower ddof"
        )
        with pytest.raises(ValueError, match=message):
            Standardizer(ddof=2).fit(self.X[:2])
        with pytest.raises(ValueError, match=r"They add up to 0\.5 in 1 column: 0"):
            Standardizer(ddof=1).fit(self.X, sample_weight=[0.2, 0.2, 0.1])


class TestClip:
    X = np.array([[-1.0], [1.0]])  # mean 0, standard deviation 1
    VALUES = np.array([[0.0], [1.5], [-2.0], [4.0], [1e200], [np.nan]])

    def test_hard_by_hand(self):
        scaler = Standardizer(clip="hard", clip_bound=2.0).fit(self.X)
        Z = scaler.transform(self.VALUES)
        np.testing.assert_array_equal(Z[:, 0], [0, 1.5, -2, 2, 2, np.nan])
        np.testing.assert_array_equal(scaler.inverse_transform(Z), Z)

    def test_smooth_by_hand(self):
        scaler = Standardizer(clip="smooth", clip_bound=2.0).fit(self.X)
        Z = scaler.transform(self.VALUES)
        expected = [0, 1.2, -(2**0.5), 4 / 5**0.5, 2, np.nan]
        np.testing.assert_allclose(Z[:, 0], expected, rtol=1e-15)
        back = scaler.inverse_transform(Z)[:, 0]
        np.testing.assert_allclose(back[:4], self.VALUES[:4, 0], rtol=1e-14)
        # On the bound and beyond.
        assert back[4] == np.inf
        assert scaler.inverse_transform([[-2.5]]) == -np.inf
        assert np.isnan(back[5])

    def test_the_default_bound_is_that_of_the_literature(self):
        Z = Standardizer(clip="smooth").fit(self.X).transform([[4.0]])
        np.testing.assert_allclose(Z, 4 / (1 + (4 / 3) ** 2) ** 0.5, rtol=1e-15)

    def test_none_is_the_default(self):
        assert Standardizer().fit(self.X).transform([[1e9]]) == 1e9

    @pytest.mark.parametrize("clip", ["hard", "smooth"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_nothing_passes_the_bound(self, rng, clip, dtype):
        X = rng.standard_cauchy((2_000, 3)).astype(dtype)
        Z = Standardizer(clip=clip, clip_bound=0.1, with_std=False).fit(X).transform(X)
        assert np.abs(Z).max() <= dtype(0.1)
        assert Z.dtype == dtype

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_smooth_round_trip(self, rng, dtype):
        X = (5 + rng.standard_t(3, (2_000, 3))).astype(dtype)
        scaler = Standardizer(clip="smooth").fit(X)
        back = scaler.inverse_transform(scaler.transform(X))
        # Rounding z near the bound B is magnified by (1 + (x/B)^2)^(3/2).
        eps = np.finfo(dtype).eps
        z = (X - scaler.mean_) / scaler.scale_
        error = 4 * eps * scaler.scale_ * 3 * (1 + (z / 3) ** 2) ** 1.5
        assert (np.abs(back - X) <= error + 4 * eps * np.abs(X)).all()

    def test_smooth_keeps_order(self, rng):
        X = np.sort(rng.standard_t(2, (500, 1)), axis=0)
        Z = Standardizer(clip="smooth").fit(X).transform(X)
        assert (np.diff(Z[:, 0]) >= 0).all()


class TestForgetting:
    def test_by_hand(self):
        scaler = Standardizer(forgetting=0.5)
        for x in (0.0, 4.0, 4.0):
            scaler.partial_fit([[x]])
        # Weights 1/4, 1/2 and 1.
        np.testing.assert_allclose(scaler.mean_, 24 / 7, rtol=1e-15)
        assert scaler.statistics_.weight_sum == 1.75
        assert scaler.n_samples_seen_ == 3

    def test_it_is_weighing_by_age_of_batches(self, data):
        scaler = Standardizer(forgetting=0.7)
        for rows in np.split(data, 5):
            scaler.partial_fit(rows)
        weight = np.repeat(0.7 ** np.arange(4, -1, -1), 100)
        assert_same_fit(scaler, Standardizer().fit(data, sample_weight=weight))

    @pytest.mark.parametrize("forgetting", [None, 1.0])
    def test_nothing_is_forgotten(self, data, forgetting):
        scaler = Standardizer(forgetting=forgetting)
        scaler.partial_fit(data[:100]).partial_fit(data[100:])
        assert_same_fit(scaler, Standardizer().fit(data))

    def test_a_fit_starts_anew(self, data):
        scaler = Standardizer(forgetting=0.5).partial_fit(1e6 + data).fit(data)
        assert_same_fit(scaler, Standardizer().fit(data), rtol=0)

    def test_the_present_wins(self, rng):
        scaler = Standardizer(forgetting=0.1)
        for offset in (100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
            scaler.partial_fit(offset + rng.normal(size=(100, 1)))
        assert abs(scaler.mean_[0]) < 0.5


class TestMerge:
    @empty_columns
    @pytest.mark.parametrize("cut", [1, 137, 499])
    def test_as_if_fitted_on_both(self, data, rng, cut):
        data[rng.random(data.shape) < 0.1] = np.nan
        weight = rng.random(len(data)) + 0.1
        first = Standardizer().partial_fit(data[:cut], sample_weight=weight[:cut])
        second = Standardizer().partial_fit(data[cut:], sample_weight=weight[cut:])
        before = pickle.dumps(second)
        assert first.merge(second) is first
        assert_same_fit(first, Standardizer().fit(data, sample_weight=weight), 1e-11)
        assert pickle.dumps(second) == before

    def test_counts_pass_those_of_float32(self):
        # scikit-learn counts the rows of sparse float32 input in float32, where
        # 2^24 + 1 is 2^24. Doubling makes so many rows of a single one.
        row = scipy.sparse.csr_matrix(np.array([[2.0, 0.0]], dtype=np.float32))
        scaler = Standardizer(with_mean=False).fit(row)
        for _ in range(24):
            scaler.merge(scaler)
        scaler.partial_fit(row)
        assert scaler.n_samples_seen_ == 2**24 + 1
        assert scaler.statistics_.count.dtype == np.int64
        np.testing.assert_array_equal(scaler.mean_, [2, 0])


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
class TestSparse:
    @pytest.fixture
    def case(self, make, dtype, rng):
        dense = np.where(rng.random((300, 5)) < 0.3, rng.normal(3, 2, (300, 5)), 0.0)
        dense[:, 1] = 0.0
        dense[rng.random(dense.shape) < 0.05] = np.nan
        return make(dense.astype(dtype)), dense.astype(dtype)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_as_dense(self, case, rng, weighted):
        X, dense = case
        weight = rng.integers(0, 4, len(dense)) if weighted else None
        ours = Standardizer(with_mean=False).fit(X, sample_weight=weight)
        expected = Standardizer(with_mean=False).fit(dense, sample_weight=weight)
        assert_same_fit(ours, expected, rtol=1e-14)
        Z = ours.transform(X)
        assert type(Z) is type(X)
        assert Z.dtype == X.dtype
        assert Z.nnz == X.nnz
        # Statistics of the two may differ in the last digit.
        np.testing.assert_allclose(Z.toarray(), expected.transform(dense), rtol=2e-7)
        back = ours.inverse_transform(Z).toarray()
        np.testing.assert_allclose(back, dense, rtol=3e-7)

    @pytest.mark.parametrize("method", METHODS)
    def test_the_input_stays_as_it_is(self, case, method):
        X, _ = case
        before = X.copy()
        getattr(Standardizer(with_mean=False).fit(X), method)(X)
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(X, part), getattr(before, part))

    def test_without_a_copy_it_becomes_the_result(self, case):
        X, _ = case
        scaler = Standardizer(with_mean=False, copy=False).fit(X)
        expected = clone(scaler).set_params(copy=True).fit(X).transform(X).toarray()
        Z = scaler.transform(X)
        assert np.shares_memory(Z.data, X.data)
        np.testing.assert_array_equal(X.toarray(), expected)

    @pytest.mark.parametrize("clip", ["hard", "smooth"])
    def test_clip(self, case, clip):
        X, dense = case
        parameters = {"with_mean": False, "clip": clip, "clip_bound": 1.0}
        Z = Standardizer(**parameters).fit_transform(X).toarray()
        expected = Standardizer(**parameters).fit_transform(dense)
        np.testing.assert_allclose(Z, expected, rtol=2e-7)

    def test_statistics_keep_float64(self, make, dtype, rng):
        # scikit-learn rounds those of float32 to float32.
        dense = (1000 + rng.normal(size=(1_000, 2))).astype(dtype)
        scaler = Standardizer(with_mean=False).fit(make(dense))
        for j, column in enumerate(dense.T):
            mean, variance = exact(column)
            assert scaler.mean_[j] == pytest.approx(float(mean), rel=2 * EPS, abs=0)
            assert abs(Fraction(scaler.var_[j]) / variance - 1) < 16 * EPS

    def test_infinite_values(self, case):
        X, _ = case
        scaler = Standardizer(with_mean=False, copy=False).fit(X)
        X[2, 3] = np.inf
        before = X.toarray()
        for method in METHODS:
            with pytest.raises(ValueError, match="infinity in 1 column: 3"):
                getattr(scaler, method)(X)
            np.testing.assert_array_equal(X.toarray(), before)

    def test_centering_is_refused(self, case):
        X, dense = case
        for method in METHODS:
            with pytest.raises(ValueError, match=r"sparse matrices.*with_mean=False"):
                getattr(Standardizer().fit(dense), method)(X)


@parametrize_with_checks(
    [
        Standardizer(with_mean=False),
        Standardizer(ddof=1, clip="smooth", forgetting=0.5),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class TestFrames:
    FRAME = pd.DataFrame({"area": [50.0, 150.0], "rooms": [1, 5]}, index=[7, 3])

    def test_names(self):
        scaler = Standardizer().fit(self.FRAME)
        names = ["area", "rooms"]
        assert scaler.feature_names_in_.tolist() == names
        assert scaler.get_feature_names_out().tolist() == names

    def test_names_without_names(self):
        scaler = Standardizer().fit([[1.0, 2.0]])
        assert scaler.get_feature_names_out().tolist() == ["x0", "x1"]
        assert scaler.get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]

    def test_pandas(self):
        scaler = Standardizer().set_output(transform="pandas")
        expected = pd.DataFrame({"area": [-1.0, 1.0], "rooms": [-1.0, 1.0]}, [7, 3])
        pd.testing.assert_frame_equal(scaler.fit_transform(self.FRAME), expected)

    def test_polars(self):
        scaler = Standardizer().set_output(transform="polars")
        Z = scaler.fit_transform(self.FRAME)
        assert isinstance(Z, pl.DataFrame)
        assert Z.to_dict(as_series=False) == {"area": [-1, 1], "rooms": [-1, 1]}

    def test_polars_in(self):
        scaler = Standardizer().set_output(transform="polars")
        Z = scaler.fit_transform(pl.DataFrame(self.FRAME.to_dict("list")))
        # Without names: scikit-learn 1.6 doesn't find those of polars 2.
        assert Z.rows() == [(-1, -1), (1, 1)]

    def test_a_frame_stays_as_it_is(self):
        before = self.FRAME.copy()
        Standardizer().fit_transform(self.FRAME)
        pd.testing.assert_frame_equal(self.FRAME, before)

    def test_other_names(self):
        scaler = Standardizer().fit(self.FRAME)
        with pytest.raises(ValueError, match="feature names should match"):
            scaler.transform(self.FRAME[["rooms", "area"]])


class TestAsAnEstimator:
    def test_tags(self):
        tags = get_tags(Standardizer())
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert get_tags(Standardizer(with_mean=False)).input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]

    def test_clone_and_repr(self):
        scaler = Standardizer(with_mean=False, copy=False)
        assert repr(clone(scaler)) == "Standardizer(copy=False, with_mean=False)"

    def test_persistence(self, data, tmp_path):
        scaler = Standardizer().fit(data)
        joblib.dump(scaler, tmp_path / "scaler.joblib")
        loaded = joblib.load(tmp_path / "scaler.joblib")
        np.testing.assert_array_equal(loaded.transform(data), scaler.transform(data))
        assert_same_fit(loaded.partial_fit(data), scaler.partial_fit(data), rtol=0)

    def test_sample_weight_is_routed(self, data, rng):
        weight = rng.random(len(data))
        with config_context(enable_metadata_routing=True):
            scaler = Standardizer().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(scaler).fit(data, sample_weight=weight)
        assert_same_fit(pipeline[0], Standardizer().fit(data, sample_weight=weight), 0)

    def test_sample_weight_can_be_asked_for_in_parts(self):
        with config_context(enable_metadata_routing=True):
            scaler = Standardizer().set_partial_fit_request(sample_weight=True)
            requests = scaler.get_metadata_routing()
        assert requests.partial_fit.requests == {"sample_weight": True}


@empty_columns
@several
@given(tables())
def test_round_trip(X):
    scaler = Standardizer().fit(X)
    back = scaler.inverse_transform(scaler.transform(X))
    size = np.abs(np.nan_to_num(X)).max(axis=0)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(X))
    assert (np.abs(np.nan_to_num(back - X)) <= 8 * EPS * size).all()


@empty_columns
@several
@given(tables(min_rows=2))
def test_the_result_is_standard(X):
    assume(not np.isnan(X).all(axis=0).any())
    scaler = Standardizer().fit(X)
    Z = scaler.transform(X)
    constant = scaler.statistics_.is_constant()
    np.testing.assert_allclose(np.nanmean(Z, axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.nanstd(Z, axis=0)[~constant], 1, rtol=1e-13)
    assert (np.nanmax(np.abs(Z[:, constant]), initial=0) <= 4 * EPS * 1e6).all()


@empty_columns
@several
@given(tables(), st.integers(-60, 60), st.integers(-(2**20), 2**20))
def test_units_are_nothing(X, exponent, shift):
    # A power of two and whole numbers, so that the change of unit rounds nothing.
    X = np.rint(X)
    scale = 2.0**exponent
    plain, moved = Standardizer().fit(X), Standardizer().fit((X + shift) * scale)
    np.testing.assert_allclose(
        moved.mean_ / scale, plain.mean_ + shift, rtol=2 * EPS, atol=2 * EPS * 2**21
    )
    np.testing.assert_allclose(
        moved.transform((X + shift) * scale), plain.transform(X), rtol=1e-13, atol=1e-13
    )


@empty_columns
@several
@given(tables(min_rows=2), st.integers(1, 5))
def test_parts_are_the_whole(X, n_parts):
    parts = Standardizer()
    for rows in np.array_split(X, min(n_parts, len(X))):
        parts.partial_fit(rows)
    whole = Standardizer().fit(X)
    np.testing.assert_array_equal(parts.n_samples_seen_, whole.n_samples_seen_)
    np.testing.assert_allclose(parts.mean_, whole.mean_, rtol=1e-14, atol=1e-9)
    np.testing.assert_allclose(parts.scale_, whole.scale_, rtol=1e-14, atol=1e-9)


@empty_columns
@several
@given(tables(), st.data())
def test_integer_weights_are_repetition(X, data):
    weight = data.draw(
        hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)), label="weight"
    )
    assume(weight.any())
    weighted = Standardizer().fit(X, sample_weight=weight)
    repeated = Standardizer().fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.mean_, repeated.mean_, rtol=1e-14, atol=1e-9)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_, rtol=1e-14, atol=1e-9)


@empty_columns
@several
@given(tables())
def test_fitting_again_changes_nothing(X):
    scaler = Standardizer().fit(X)
    again = pickle.loads(pickle.dumps(scaler)).fit(X)
    assert_same_fit(again, scaler, rtol=0)
