import pickle
import warnings
from fractions import Fraction
from statistics import NormalDist, median

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
from sklearn.preprocessing import RobustScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknorm.preprocessing import RobustStandardizer

# Of N(0, 1).
IQR, MAD = 2 * NormalDist().inv_cdf(0.75), NormalDist().inv_cdf(0.75)
METHODS = ["fit", "fit_transform", "transform", "inverse_transform"]
LARGEST = float(np.finfo(np.float64).max)

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=100)


def tables(min_rows=1):
    """Tables of whole numbers and of any others, with NaN, some columns constant."""
    shape = st.tuples(st.integers(min_rows, 12), st.just(3))
    numbers = st.one_of(
        st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)
    )
    return hnp.arrays(np.float64, shape, elements=numbers)


def fit(X, *, sample_weight=None, **parameters):
    """Fit without the warning of columns without values, which has its own test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found no values in")
        return RobustStandardizer(**parameters).fit(X, sample_weight=sample_weight)


def assert_same_fit(a, b, rtol=0.0, atol=0.0):
    for name in ("center_", "scale_"):
        ours, theirs = getattr(a, name), getattr(b, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


@pytest.fixture
def data(rng):
    """Heavy tails at several scales, ties, and a constant column."""
    X = rng.standard_t(2, size=(500, 5)) * [1, 1e-9, 1e9, 1, 1] + [0, 0, 1e12, 0, 0]
    X[:, 3] = np.rint(X[:, 3])
    X[:, 4] = 3.0
    return X


class TestKnownValues:
    X = np.array([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0], [8.0, 3.0], [100.0, 3.0]])

    @pytest.mark.parametrize(
        ("parameters", "scale"),
        [
            ({}, 6 / IQR),
            ({"unit_variance": False}, 6),
            ({"quantile_range": (0.0, 75.0), "unit_variance": False}, 7),
            ({"quantile_range": (50, 75)}, 5 / MAD),
            ({"spread": "mad"}, 2 / MAD),
            ({"spread": "mad", "unit_variance": False}, 2),
        ],
    )
    def test_statistics(self, parameters, scale):
        scaler = RobustStandardizer(**parameters).fit(self.X)
        np.testing.assert_array_equal(scaler.center_, [3, 3])
        np.testing.assert_allclose(scaler.scale_, [scale, 1], rtol=1e-15)
        assert scaler.n_samples_seen_ == 5
        assert type(scaler.n_samples_seen_) is int
        Z = scaler.transform(self.X)
        np.testing.assert_allclose(Z, (self.X - 3) / scaler.scale_, rtol=1e-15)
        np.testing.assert_allclose(scaler.inverse_transform(Z), self.X, rtol=1e-15)

    def test_the_constants_of_the_textbooks(self):
        mad, iqr = (
            RobustStandardizer(spread=spread).fit(self.X).scale_[0]
            for spread in ("mad", "iqr")
        )
        assert mad / 2 == pytest.approx(1.4826, abs=1e-4)
        assert 6 / iqr == pytest.approx(1.349, abs=1e-4)

    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    def test_a_normal_column_gets_std_1(self, rng, spread):
        X = 7 + 5 * rng.normal(size=(100_000, 1))
        Z = RobustStandardizer(spread=spread).fit_transform(X)
        assert Z.std() == pytest.approx(1, abs=0.02)
        assert Z.mean() == pytest.approx(0, abs=0.02)

    def test_without_parts(self):
        scaler = RobustStandardizer(with_centering=False).fit(self.X)
        assert scaler.center_ is None
        np.testing.assert_allclose(scaler.transform(self.X)[:, 1], 3)
        scaler = RobustStandardizer(with_scaling=False).fit(self.X)
        assert scaler.scale_ is None
        np.testing.assert_array_equal(scaler.transform(self.X), self.X - 3)

    def test_weights(self):
        scaler = RobustStandardizer(unit_variance=False)
        scaler.fit(self.X, sample_weight=[2, 0, 1, 1, 1])
        # 1, 1, 3, 8, 100.
        np.testing.assert_array_equal(scaler.center_, [3, 3])
        np.testing.assert_array_equal(scaler.scale_, [7, 1])
        assert scaler.n_samples_seen_ == 4

    def test_missing_values(self):
        X = np.array([[1.0, np.nan], [np.nan, 5.0], [3.0, 7.0], [5.0, np.nan]])
        scaler = RobustStandardizer(unit_variance=False).fit(X)
        np.testing.assert_array_equal(scaler.center_, [3, 6])
        np.testing.assert_array_equal(scaler.scale_, [2, 1])
        np.testing.assert_array_equal(scaler.n_samples_seen_, [3, 2])
        Z = scaler.transform(X)
        np.testing.assert_array_equal(
            Z, [[-1, np.nan], [np.nan, -1], [0, 1], [1, np.nan]]
        )

    def test_one_row(self):
        scaler = RobustStandardizer().fit([[3.0, -1.0]])
        np.testing.assert_array_equal(scaler.transform([[4.0, -1.0]]), [[1, 0]])

    def test_a_column_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match=r"no values in 1 column: 0, only NaN"):
            scaler = RobustStandardizer(unit_variance=False).fit(X)
        np.testing.assert_array_equal(scaler.n_samples_seen_, [0, 2])
        np.testing.assert_array_equal(scaler.center_, [np.nan, 2])
        np.testing.assert_array_equal(scaler.scale_, [np.nan, 1])
        np.testing.assert_array_equal(scaler.transform(X), [[np.nan, -1], [np.nan, 1]])

    def test_such_columns_are_named(self):
        X = pd.DataFrame({"area": [np.nan, np.nan], "rooms": [1.0, 2.0]})
        with pytest.warns(UserWarning, match="no values in 1 column: 'area'"):
            RobustStandardizer().fit(X)

    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    def test_most_of_a_column_is_one_value(self, spread):
        X = np.array([[0.0]] * 9 + [[5.0]])
        scaler = RobustStandardizer(spread=spread).fit(X)
        assert scaler.scale_[0] == pytest.approx(X.std(), rel=1e-15)
        assert scaler.transform(X).std() == pytest.approx(1)


class TestParityWithRobustScaler:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("n_rows", [3, 200, 5_000, 60_000])
    @pytest.mark.parametrize("unit_variance", [False, True])
    def test_fit_and_transform(self, rng, dtype, n_rows, unit_variance):
        X = rng.standard_t(3, size=(n_rows, 10)).astype(dtype)
        X[rng.random(X.shape) < 0.1] = np.nan
        # Three rows may all be missing in a column.
        X[:2, :] = [[-1.0], [2.0]]
        parameters = {
            "quantile_range": (10.0, 80.0), "unit_variance": unit_variance
        }  # fmt: skip
        ours = RobustStandardizer(**parameters).fit(X)
        # It takes float32 for the precision of statistics.
        expected = RobustScaler(**parameters).fit(X.astype(np.float64))
        # Rounding of the range, where both ends nearly cancel.
        assert_same_fit(ours, expected, rtol=1e-12, atol=1e-15)
        Z = ours.transform(X)
        assert Z.dtype == dtype
        rtol = 1e-12 if dtype == np.float64 else 1e-6
        np.testing.assert_allclose(Z, expected.transform(X), rtol=rtol, atol=rtol)


class TestWhereRobustScalerIsWrong:
    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    @pytest.mark.parametrize("unit", [1e-16, 1e-30, 1e-300])
    def test_small_values_are_scaled(self, rng, unit, spread):
        X = unit * rng.normal(size=(1_000, 2))
        theirs = RobustScaler().fit(X)
        np.testing.assert_array_equal(theirs.scale_, 1)
        ours = RobustStandardizer(spread=spread).fit(X)
        np.testing.assert_allclose(ours.transform(X).std(axis=0), 1, rtol=0.1)

    def test_a_constant_column_has_scale_1_under_unit_variance(self):
        X = np.full((20, 1), 14.62)
        theirs = RobustScaler(unit_variance=True).fit(X)
        assert theirs.scale_[0] == pytest.approx(0.7413, abs=1e-4)
        ours = RobustStandardizer(unit_variance=True).fit(X)
        assert ours.scale_[0] == 1

    def test_a_constant_is_judged_by_its_own_size(self):
        # Neighbours in float64, but for rounding the same value.
        X = 1e12 * np.array([[1.0], [1 + 2.0**-52], [1 + 2.0**-51], [1.0]])
        assert RobustScaler().fit(X).scale_[0] < 1e-3
        scaler = RobustStandardizer().fit(X)
        assert scaler.scale_[0] == 1

    def test_the_median_of_float32_may_be_between_two(self):
        X = np.array([[2.0**24], [2.0**24 + 2]], dtype=np.float32)
        theirs = RobustScaler(with_scaling=False).fit_transform(X)
        assert (theirs != [[-1], [1]]).any()
        ours = RobustStandardizer(with_scaling=False).fit_transform(X)
        np.testing.assert_array_equal(ours, [[-1], [1]])


class TestRange:
    @pytest.mark.parametrize("unit", [1e-300, 1e300])
    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    def test_tiny_and_huge_values(self, rng, unit, spread):
        X = rng.normal(size=(500, 2))
        plain = RobustStandardizer(spread=spread).fit_transform(X)
        Z = RobustStandardizer(spread=spread).fit_transform(unit * X)
        np.testing.assert_allclose(Z, plain, rtol=1e-12)

    def test_distances_beyond_the_largest_double(self):
        X = np.array([[-LARGEST], [-LARGEST / 2], [0.0], [LARGEST / 2], [LARGEST]])
        scaler = RobustStandardizer(spread="mad").fit(X)
        np.testing.assert_array_equal(scaler.center_, 0)
        Z = scaler.transform(X)
        np.testing.assert_allclose(Z[:, 0], MAD * np.array([-2, -1, 0, 1, 2]))

    @pytest.mark.parametrize("unit", [1e308, 1.7e308])
    def test_ranges_beyond_the_largest_double(self, rng, unit):
        X = rng.uniform(-1, 1, (250, 2))
        X = np.concatenate([X, -X])
        plain = RobustStandardizer().fit_transform(X)
        scaler = RobustStandardizer().fit(unit * X)
        Z = scaler.transform(unit * X)
        np.testing.assert_allclose(Z, plain, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            scaler.inverse_transform(Z), unit * X, rtol=1e-12, atol=1e-12 * unit
        )

    def test_a_spread_that_no_double_holds(self):
        X = LARGEST * np.array([[-1.0], [-0.5], [0.0], [0.5], [1.0]])
        whole = RobustStandardizer(quantile_range=(0, 100), unit_variance=False)
        np.testing.assert_array_equal(whole.fit_transform(X), X / LARGEST)
        np.testing.assert_array_equal(whole.scale_, LARGEST)

    @pytest.mark.parametrize("offset", [1e6, 1e12])
    def test_offsets_cost_no_digits(self, rng, offset):
        x = offset + rng.normal(size=301)
        scaler = RobustStandardizer(spread="mad", unit_variance=False).fit(x[:, None])
        values = [Fraction(v) for v in x]
        center = median(values)
        assert scaler.center_[0] == center
        assert scaler.scale_[0] == median(abs(v - center) for v in values)


class TestClip:
    X = np.array([[-1.0], [0.0], [1.0], [1000.0], [-2.0]])

    def test_hard_by_hand(self):
        scaler = RobustStandardizer(unit_variance=False, clip="hard", clip_bound=2.5)
        Z = scaler.fit_transform(self.X)
        np.testing.assert_array_equal(Z[:, 0], [-0.5, 0, 0.5, 2.5, -1])

    def test_smooth_by_hand(self):
        scaler = RobustStandardizer(unit_variance=False, clip="smooth")
        z = self.X / 2
        expected = z / np.sqrt(1 + (z / 3) ** 2)
        Z = scaler.fit_transform(self.X)
        np.testing.assert_allclose(Z, expected, rtol=1e-15)
        assert np.abs(Z).max() < 3
        np.testing.assert_allclose(scaler.inverse_transform(Z), self.X, rtol=1e-10)


@pytest.mark.parametrize("spread", ["iqr", "mad"])
@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
class TestSparse:
    @pytest.fixture
    def case(self, make, rng):
        dense = np.where(rng.random((300, 5)) < 0.6, rng.normal(3, 2, (300, 5)), 0.0)
        dense[:, 1] = 0.0
        dense[:, 2] *= rng.random(300) < 0.2
        dense[rng.random(dense.shape) < 0.05] = np.nan
        X = make(dense)
        X.data[::7] = 0.0
        return X, X.toarray()

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_as_dense(self, case, rng, weighted, spread, dtype):
        X, dense = (part.astype(dtype) for part in case)
        weight = rng.integers(0, 4, len(dense)) if weighted else None
        scaler = RobustStandardizer(with_centering=False, spread=spread)
        ours = clone(scaler).fit(X, sample_weight=weight)
        expected = clone(scaler).fit(dense, sample_weight=weight)
        assert_same_fit(ours, expected, rtol=1e-14)
        np.testing.assert_array_equal(ours.n_samples_seen_, expected.n_samples_seen_)
        Z = ours.transform(X)
        assert type(Z) is type(X)
        assert Z.dtype == dtype
        assert Z.nnz == X.nnz
        # Statistics of the two may differ in the last digit.
        np.testing.assert_allclose(Z.toarray(), expected.transform(dense), rtol=2e-7)
        back = ours.inverse_transform(Z).toarray()
        np.testing.assert_allclose(back, dense, rtol=3e-7)

    @pytest.mark.parametrize("method", METHODS)
    def test_the_input_stays_as_it_is(self, case, method, spread):
        X, _ = case
        before = X.copy()
        scaler = RobustStandardizer(with_centering=False, spread=spread).fit(X)
        getattr(scaler, method)(X)
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(X, part), getattr(before, part))

    def test_without_a_copy_it_becomes_the_result(self, case, spread):
        X, _ = case
        scaler = RobustStandardizer(with_centering=False, copy=False, spread=spread)
        expected = clone(scaler).set_params(copy=True).fit_transform(X).toarray()
        Z = scaler.fit(X).transform(X)
        assert np.shares_memory(Z.data, X.data)
        np.testing.assert_array_equal(X.toarray(), expected)

    def test_infinite_values(self, case, spread):
        X, _ = case
        scaler = RobustStandardizer(with_centering=False, spread=spread).fit(X)
        X[2, 3] = np.inf
        for method in METHODS:
            with pytest.raises(ValueError, match="infinity in 1 column: 3"):
                getattr(scaler, method)(X)

    def test_centering_is_refused(self, case, spread):
        X, dense = case
        for method in METHODS:
            with pytest.raises(
                ValueError, match=r"sparse matrices.*with_centering=False"
            ):
                getattr(RobustStandardizer(spread=spread).fit(dense), method)(X)


class TestWeights:
    def test_rows_of_weight_zero_are_as_if_absent(self, data):
        weight = np.arange(len(data)) % 3
        data[::3] = np.inf
        assert_same_fit(
            RobustStandardizer().fit(data, sample_weight=weight),
            RobustStandardizer().fit(
                data[weight > 0], sample_weight=weight[weight > 0]
            ),
        )

    @pytest.mark.parametrize("total", [1.0, 1e15])
    def test_equal_ones_are_none(self, data, total):
        weight = np.full(len(data), total / len(data))
        weighted = RobustStandardizer().fit(data, sample_weight=weight)
        # Large weights have so many ranks that the middle is a value, or two's mean.
        if total == 1:
            assert_same_fit(weighted, RobustStandardizer().fit(data), rtol=1e-12)
        assert (weighted.scale_[:4] != 1).all()

    def test_a_column_with_values_in_such_rows_only(self):
        X = np.array([[np.nan, 1.0], [5.0, 2.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match="no values in 1 column: 0"):
            scaler = RobustStandardizer().fit(X, sample_weight=[1, 0, 1])
        assert np.isnan(scaler.center_[0])


class TestAFailedFit:
    X = np.array([[1.0, 2.0], [3.0, 6.0]])

    @pytest.mark.parametrize(
        ("X", "weight", "message"),
        [
            ([[1.0, np.inf]], None, "infinity in 1 column: 1"),
            ([["a", "b"]], None, "could not convert"),
            (X, [1.0], "sample_weight.shape"),
            (X, [-1.0, 1.0], "Negative values in data passed to `sample_weight`"),
            (X, [np.nan, 1.0], "NaN"),
            (X, [0.0, 0.0], "at least one non-zero number"),
        ],
    )
    def test_leaves_the_one_before(self, X, weight, message):
        scaler = RobustStandardizer().fit(self.X)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match=message):
            scaler.fit(X, sample_weight=weight)
        assert pickle.dumps(scaler) == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("with_centering", "no", "'bool'"),
            ("with_scaling", None, "'bool'"),
            ("spread", "std", "'iqr'"),
            ("unit_variance", "no", "'bool'"),
            ("clip", "soft", "'smooth'"),
            ("clip_bound", 0, "a float in the range (0.0, inf)"),
            ("copy", "no", "'bool'"),
        ],
    )
    def test_a_parameter(self, name, value, allowed):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of Robust") as e:
            RobustStandardizer(**{name: value}).fit([[1.0]])
        assert allowed in str(e.value)
        assert f"Got {value!r} instead" in str(e.value)

    @pytest.mark.parametrize(
        "value",
        [
            (75.0, 25.0), (25.0, 25.0), (-1.0, 75.0), (25.0, 101.0), (25.0,),
            (25.0, 50.0, 75.0), ("a", "b"), (np.nan, 75.0), None, 25.0,
        ],
    )  # fmt: skip
    def test_a_range(self, value):
        with pytest.raises(
            ValueError, match="'quantile_range' parameter of Robust"
        ) as e:
            RobustStandardizer(quantile_range=value).fit([[1.0], [2.0]])
        assert f"Got {value!r}" in str(e.value)

    @pytest.mark.parametrize("value", [(0, 75), (25.0, 100.0)])
    def test_a_range_without_a_normal_counterpart(self, value):
        with pytest.raises(ValueError, match=r"a normal distribution has no end\. Got"):
            RobustStandardizer(quantile_range=value).fit([[1.0], [2.0]])
        RobustStandardizer(quantile_range=value, unit_variance=False).fit([[1.0], [2]])

    def test_arrays_are_ranges_too(self):
        given = RobustStandardizer(quantile_range=np.array([5.0, 95.0]))
        plain = RobustStandardizer(quantile_range=(5.0, 95.0))
        X = np.arange(9.0)[:, None]
        np.testing.assert_array_equal(given.fit(X).scale_, plain.fit(X).scale_)

    def test_lists_are_ranges_too(self):
        X = [[1.0], [2.0], [4.0]]
        listed = RobustStandardizer(quantile_range=[10, 90]).fit(X)
        assert_same_fit(listed, RobustStandardizer(quantile_range=(10, 90)).fit(X))

    def test_parameters_go_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            RobustStandardizer(False)

    @pytest.mark.parametrize(
        ("X", "error", "message"),
        [
            ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
            (np.array([[1j]]), ValueError, "Complex data not supported"),
            (np.empty((0, 2)), ValueError, r"Found array with 0 sample\(s\)"),
            (np.empty((2, 0)), ValueError, r"Found array with 0 feature\(s\)"),
            ([[-np.inf]], ValueError, "infinity in 1 column: 0. Only NaN is taken"),
        ],
    )
    def test_a_table(self, X, error, message):
        with pytest.raises(error, match=message):
            RobustStandardizer().fit(X)

    @pytest.mark.parametrize("n_rows", [5, 5_000, 60_000])
    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    def test_infinite_values(self, rng, n_rows, spread):
        X = rng.normal(size=(n_rows, 10))
        scaler = RobustStandardizer(spread=spread, copy=False).fit(X)
        X[n_rows // 2, [2, 7]] = np.inf, -np.inf
        before = X.copy()
        for method in METHODS:
            with pytest.raises(ValueError, match="infinity in 2 columns: 2, 7"):
                getattr(scaler, method)(X)
            np.testing.assert_array_equal(X, before)


class TestCopy:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("spread", ["iqr", "mad"])
    def test_the_input_stays_as_it_is(self, rng, method, dtype, order, spread):
        # One column of Fortran order is the caller's own memory as it is.
        X = np.rint(9 * rng.normal(size=(100, 1))).astype(dtype, order=order)
        weight = rng.random(100)
        before, weight_before = X.copy(), weight.copy()
        scaler = RobustStandardizer(spread=spread).fit(X, sample_weight=weight)
        getattr(scaler, method)(X)
        np.testing.assert_array_equal(X, before)
        np.testing.assert_array_equal(weight, weight_before)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_a_copy_it_becomes_the_result(self, data, dtype, order):
        X = data.astype(dtype, order=order)
        scaler = RobustStandardizer(copy=False).fit(X)
        np.testing.assert_array_equal(X, data.astype(dtype))
        expected = RobustStandardizer().fit_transform(X)
        Z = scaler.transform(X)
        assert np.shares_memory(Z, X)
        np.testing.assert_array_equal(X, expected)
        assert np.shares_memory(scaler.inverse_transform(X), X)

    def test_a_strided_table(self, data):
        X = np.repeat(np.repeat(data, 2, axis=0), 3, axis=1)[::2, ::3]
        scaler = RobustStandardizer().fit(X)
        assert_same_fit(scaler, RobustStandardizer().fit(data))
        np.testing.assert_array_equal(scaler.transform(X), scaler.transform(data))


class TestAsAnEstimator:
    FRAME = pd.DataFrame({"area": [50.0, 150.0], "rooms": [1, 5]}, index=[7, 3])

    def scaler(self):
        return RobustStandardizer(unit_variance=False)

    def test_names(self):
        scaler = self.scaler().fit(self.FRAME)
        assert scaler.feature_names_in_.tolist() == ["area", "rooms"]
        assert scaler.get_feature_names_out().tolist() == ["area", "rooms"]

    def test_pandas(self):
        scaler = self.scaler().set_output(transform="pandas")
        expected = pd.DataFrame({"area": [-1.0, 1.0], "rooms": [-1.0, 1.0]}, [7, 3])
        pd.testing.assert_frame_equal(scaler.fit_transform(self.FRAME), expected)

    def test_polars(self):
        Z = self.scaler().set_output(transform="polars").fit_transform(self.FRAME)
        assert isinstance(Z, pl.DataFrame)
        assert Z.to_dict(as_series=False) == {"area": [-1, 1], "rooms": [-1, 1]}

    def test_tags(self):
        tags = get_tags(RobustStandardizer())
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert get_tags(RobustStandardizer(with_centering=False)).input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]

    def test_clone_and_repr(self):
        scaler = RobustStandardizer(spread="mad", clip="smooth")
        assert repr(clone(scaler)) == "RobustStandardizer(clip='smooth', spread='mad')"

    def test_sample_weight_is_routed(self, data, rng):
        weight = rng.random(len(data))
        with config_context(enable_metadata_routing=True):
            scaler = RobustStandardizer().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(scaler).fit(data, sample_weight=weight)
        assert_same_fit(
            pipeline[0], RobustStandardizer().fit(data, sample_weight=weight)
        )


@parametrize_with_checks(
    [
        RobustStandardizer(with_centering=False),
        RobustStandardizer(spread="mad", clip="smooth"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@several
@given(tables(), st.sampled_from(["iqr", "mad"]))
def test_round_trip(X, spread):
    scaler = fit(X, spread=spread)
    back = scaler.inverse_transform(scaler.transform(X))
    np.testing.assert_allclose(back, X, rtol=1e-12, atol=1e-9)


@several
@given(tables(), st.sampled_from(["iqr", "mad"]), st.integers(-200, 200))
def test_units_are_nothing(X, spread, exponent):
    # As large as doubles that are not subnormal, for a product to be exact.
    assume((np.nan_to_num(np.abs(X[X != 0]), nan=1.0) > 1e-200).all())
    Z = fit(X, spread=spread).transform(X)
    other = fit(np.ldexp(X, exponent), spread=spread).transform(np.ldexp(X, exponent))
    constant = fit(X, spread=spread).scale_ == 1
    np.testing.assert_array_equal(Z[:, ~constant], other[:, ~constant])


@several
@given(tables(), st.sampled_from(["iqr", "mad"]))
def test_a_change_of_sign_changes_the_sign(X, spread):
    Z, other = fit(X, spread=spread), fit(-X, spread=spread)
    np.testing.assert_allclose(
        other.transform(-X), -Z.transform(X), rtol=1e-9, atol=1e-9
    )


@several
@given(tables(), st.sampled_from(["iqr", "mad"]), st.data())
def test_integer_weights_are_repetition(X, spread, data):
    weight = data.draw(
        hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)), label="weight"
    )
    assume(weight.any())
    weighted = fit(X, spread=spread, sample_weight=weight)
    repeated = fit(np.repeat(X, weight, axis=0), spread=spread)
    assert_same_fit(weighted, repeated, rtol=1e-9, atol=1e-9)


@several
@given(tables(min_rows=2), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(X, random):
    order = random.sample(range(len(X)), len(X))
    assert_same_fit(fit(X[order]), fit(X), rtol=1e-12)


@several
@given(tables())
def test_fitting_again_changes_nothing(X):
    scaler = fit(X)
    again = pickle.loads(pickle.dumps(scaler))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found no values in")
        assert_same_fit(again.fit(X), scaler)
