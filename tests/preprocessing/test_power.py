import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer
from sklearn.utils import get_tags

from sknorm.preprocessing import PowerStandardizer

METHODS = ["yeo-johnson", "box-cox"]
# What is shown to go wrong there was seen in these releases.
SEEN = sklearn.__version__.startswith("1.9")
YEARS = [2003, 1950, 1997, 2000, 2009, 2009, 1980, 1999, 2007, 1991]

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=50)


def column(values):
    return np.array(values, dtype=np.float64)[:, np.newaxis]


def tables(min_rows=1, lowest=-1e6):
    """Tables of whole numbers and of any others, with NaN, some columns constant."""
    shape = st.tuples(st.integers(min_rows, 12), st.just(3))
    numbers = st.one_of(
        st.just(np.nan),
        st.integers(max(1, int(lowest)) if lowest > 0 else -3, 3).map(float),
        st.floats(lowest, 1e6),
    )
    return hnp.arrays(np.float64, shape, elements=numbers)


def fit(X, *parameters, sample_weight=None, **named):
    """Fit without the warning of columns without values, which has its own test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found no values in")
        scaler = PowerStandardizer(*parameters, **named)
        return scaler.fit(X, sample_weight=sample_weight)


def theirs(X, method="yeo-johnson"):
    """Return scikit-learn's transformer, and what it makes of X and back again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaler = PowerTransformer(method).fit(X)
        Z = scaler.transform(X)
        return scaler, Z, scaler.inverse_transform(Z)


def likelihood(x, lam):
    """Return the mean log-likelihood of a power that nothing overflows at."""
    s = np.sign(x) * np.log1p(np.abs(x))
    rate = np.where(x < 0, lam - 2, lam)
    return (lam - 1) * s.mean() - 0.5 * np.log((np.expm1(rate * s) / rate).var())


def likelihood_far_out(x, lam):
    """Return it for values of one sign, up to the same constant for all powers."""
    sign = np.sign(x[0])
    t = np.log1p(np.abs(x)) - np.log1p(np.abs(x).min())
    rate = lam if sign > 0 else 2 - lam
    return rate * t.mean() - 0.5 * np.log((np.expm1(rate * t) / rate).var())


def assert_usable(X, Z, back):
    """Check that a result is finite, standard, and comes back."""
    assert np.isfinite(Z).all()
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(back, X, atol=1e-6 * np.ptp(X))


def assert_same_fit(a, b, rtol=0.0):
    np.testing.assert_allclose(a.lambdas_, b.lambdas_, rtol=rtol, atol=rtol)


@pytest.fixture
def data(rng):
    """Heavy tails, skewed, negative, and a constant column."""
    X = rng.standard_t(3, size=(500, 5)) * [1, 10, 1, 1, 1]
    X[:, 1] = np.exp(X[:, 1] / 10)
    X[:, 2] = -np.abs(X[:, 2])
    X[:, 3] = np.rint(2 * X[:, 3])
    X[:, 4] = 3.0
    return X


class TestKnownValues:
    def test_a_geometric_column_is_the_logarithm(self):
        X = column([1, 10, 100, 1000])
        scaler = PowerStandardizer("box-cox").fit(X)
        np.testing.assert_allclose(scaler.lambdas_, 0, atol=1e-14)
        Z = scaler.transform(X)
        np.testing.assert_allclose(
            Z[:, 0], np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25), rtol=1e-13
        )
        # Up to a shift of 1, and with its sign.
        X = np.sign(np.arange(-3.0, 4))[:, None] * np.expm1(
            np.abs(np.arange(-3.0, 4))[:, None]
        )
        scaler = PowerStandardizer().fit(X)
        np.testing.assert_allclose(scaler.lambdas_, 1, atol=1e-14)

    @pytest.mark.parametrize("method", METHODS)
    def test_powers_that_were_applied_are_found(self, rng, method):
        # Rows of a normal distribution far from 0, undone by the inverse of a power.
        z = 10 + rng.normal(size=(100_000, 1))
        for power in (0.5, -0.2):
            x = np.maximum(power * z / (20 if power < 0 else 1) + 1, 0) ** (1 / power)
            scaler = PowerStandardizer(method).fit(x - (method == "yeo-johnson"))
            # More than four standard errors of the estimate.
            np.testing.assert_allclose(scaler.lambdas_, power, atol=0.1)

    def test_without_standardizing(self):
        X = column([1, 10, 100, 1000])
        scaler = PowerStandardizer("box-cox", standardize=False).fit(X)
        np.testing.assert_allclose(scaler.transform(X), np.log(X), atol=1e-12)
        np.testing.assert_allclose(
            scaler.inverse_transform([[0.0], [3]]), [[1], [np.exp(3)]]
        )

    def test_attributes(self):
        X = [[1.0, 7.0, 1.0], [2.0, 7.0, np.nan], [4.0, 7.0, 5.0]]
        scaler = PowerStandardizer().fit(X)
        assert scaler.lambdas_.shape == (3,)
        assert scaler.lambdas_[1] == 1
        np.testing.assert_array_equal(scaler.n_samples_seen_, [3, 3, 2])
        assert scaler.n_features_in_ == 3

    def test_one_row(self):
        scaler = PowerStandardizer().fit([[3.0, -1.0]])
        np.testing.assert_array_equal(scaler.transform([[4.0, -1.0]]), [[1, 0]])
        np.testing.assert_array_equal(scaler.inverse_transform([[1.0, 0]]), [[4, -1]])
        assert type(scaler.n_samples_seen_) is int

    def test_a_column_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match=r"no values in 1 column: 0, only NaN"):
            scaler = PowerStandardizer().fit(X)
        assert np.isnan(scaler.lambdas_).tolist() == [True, False]
        Z = scaler.transform([[np.nan, 1.0], [5.0, 3.0]])
        np.testing.assert_allclose(Z, [[np.nan, -1], [np.nan, 1]], rtol=1e-14)
        np.testing.assert_allclose(scaler.inverse_transform(Z), X)

    def test_beyond_what_any_value_is_mapped_to(self):
        # With a negative power results have an end, and with one above 2 below.
        scaler = PowerStandardizer().fit(column([0, 0, 0, 1, 1, 9, 99]))
        assert scaler.lambdas_ < 0
        assert scaler.inverse_transform([[1e3]]) == np.inf
        scaler = PowerStandardizer("box-cox").fit(column([9, 9, 9, 8, 2]))
        assert scaler.lambdas_ > 0
        assert scaler.inverse_transform([[-1e3]]) == 0


class TestParityWithPowerTransformer:
    @pytest.mark.parametrize("missing", [0.0, 0.2])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("standardize", [False, True])
    def test_all(self, data, rng, missing, dtype, order, method, standardize):
        X = data[:, :4].astype(dtype, order=order)
        X = np.abs(X) + dtype(0.5) if method == "box-cox" else X
        X[rng.random(X.shape) < missing] = np.nan
        ours = PowerStandardizer(method, standardize=standardize).fit(X)
        wide = X.astype(np.float64)
        expected = PowerTransformer(method, standardize=standardize).fit(wide)
        # Their search ends at 1.5e-8 of the power.
        np.testing.assert_allclose(ours.lambdas_, expected.lambdas_, atol=2e-7)
        rtol = 1e-6 if dtype == np.float64 else 2e-6
        Z = ours.transform(X)
        np.testing.assert_allclose(Z, expected.transform(wide), rtol=rtol, atol=rtol)
        assert Z.dtype == dtype
        back = ours.inverse_transform(Z)
        assert back.dtype == dtype
        if dtype == np.float32:
            # Where the map is flat, seven digits of a result are fewer of a value.
            back, X = np.delete(back, 1, axis=1), np.delete(X, 1, axis=1)
        atol = 1e-12 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(back, X, rtol=1e-11 + atol, atol=atol)


class TestWherePowerTransformerIsWrong:
    """Cases that fail with scikit-learn 1.9.1's PowerTransformer."""

    @pytest.mark.parametrize("value", [5.0, -3.0, 0.1, 1e9])
    def test_a_constant_column_with_nan_keeps_the_power_one(self, value):
        X = column([value, np.nan, value, value])
        scaler = PowerStandardizer().fit(X)
        np.testing.assert_array_equal(scaler.lambdas_, 1)
        np.testing.assert_array_equal(
            scaler.transform(X), np.where(np.isnan(X), np.nan, 0.0)
        )
        if SEEN:
            # 59.9 for 5, -57.9 for -3.
            assert theirs(X)[0].lambdas_ != 1

    @pytest.mark.parametrize("method", METHODS)
    def test_two_values(self, method):
        X = column([500, 550, 500])
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))
        root = np.sqrt(0.5)
        np.testing.assert_allclose(Z[:, 0], [-root, 2 * root, -root], rtol=1e-13)
        if SEEN:
            _, Z, back = theirs(X, method)
            assert Z.std() < 1e-15
            assert not np.allclose(back, X, atol=5)

    @pytest.mark.parametrize("method", METHODS)
    def test_years(self, method):
        X = column(YEARS)
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))
        # In fifty digits: 99.260343038 and 99.210723937.
        expected = 99.260343038 if method == "yeo-johnson" else 99.210723937
        np.testing.assert_allclose(scaler.lambdas_, expected, rtol=1e-10)
        if SEEN:
            # 31.78, which is not the likeliest, and 92.71 with NaN in the result.
            other, Z, _ = theirs(X, method)
            assert other.lambdas_ < 93
            if method == "yeo-johnson":
                x = X[:, 0]
                best = likelihood_far_out(x, scaler.lambdas_[0])
                assert best > likelihood_far_out(x, other.lambdas_[0]) + 0.1
            else:
                assert np.isnan(Z).all()

    @pytest.mark.parametrize("n", range(350, 360))
    def test_all_the_same_but_one(self, n):
        X = column([1.0] * n + [0.0])
        scaler = PowerStandardizer().fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))
        if SEEN and n in (355, 356):
            # 1 becomes 0.56: (2^110.6 - 1) / 110.6 leaves no digit for the steep end.
            assert np.abs(theirs(X)[2] - X).max() > 0.4

    @pytest.mark.parametrize(
        ("draw", "least"),
        [
            # Theirs are 20.0 and -18.0, where ours are 76379 and -241.
            (lambda rng: 1e6 + rng.exponential(size=300), 0.001),
            (lambda rng: 1e6 + rng.normal(size=300), 0.0),
            (lambda rng: -1e6 + 100 * rng.normal(size=300), 0.0),
            (lambda rng: -1e6 - 1e4 * rng.exponential(size=300), 0.01),
        ],
    )
    def test_offsets(self, rng, draw, least):
        x = draw(rng)
        scaler = PowerStandardizer().fit(x[:, None])
        Z = scaler.transform(x[:, None])
        assert_usable(x[:, None], Z, scaler.inverse_transform(Z))
        other, _, _ = theirs(x[:, None])
        ours, others = (likelihood_far_out(x, s.lambdas_[0]) for s in (scaler, other))
        assert ours >= others - 1e-14
        if SEEN:
            assert abs(other.lambdas_[0] - 1) < 20
            assert ours > others + least

    def test_cauchy(self, rng):
        # A bare Newton's method ends at 1.844, where the likelihood is far less.
        X = rng.standard_cauchy((5_000, 4))
        scaler = PowerStandardizer().fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))
        other = PowerTransformer().fit(X)
        for x, lam, their in zip(X.T, scaler.lambdas_, other.lambdas_, strict=True):
            assert likelihood(x, lam) >= likelihood(x, their) - 1e-14

    @pytest.mark.parametrize("method", METHODS)
    def test_one_that_is_far_away(self, method):
        X = column([1, 1, 1e10])
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))

    @pytest.mark.parametrize(
        "values",
        [
            [1e308, 1.2e308, 1.7e308],
            [1e-310, 2e-310, 5e-310],
            [5e-324, 1e-323, 1e-322],
            [1e-320, 1e-310],
            [5e-324, 1.0, 1.7e308],
        ],
        ids=str,
    )
    @pytest.mark.parametrize("method", METHODS)
    def test_the_limits_of_floats(self, values, method):
        X = column(values)
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        assert_usable(X, Z, scaler.inverse_transform(Z))
        if SEEN and method == "yeo-johnson" and values[0] != 5e-324:
            _, Z, _ = theirs(X)
            assert not np.isclose(Z.std(), 1)

    @pytest.mark.parametrize("origin", [1e-310, 1e-300, 1e300, 1.5e308])
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("n", [50, 600_000], ids=["tiles", "compiled"])
    def test_far_from_0_beside_their_spread(self, rng, origin, method, n):
        if method == "yeo-johnson" and origin < 1:
            origin = -1 / origin if origin > 1 / sys.float_info.max else -1.5e308
        X = column(origin * (1 + 1e-10 * rng.normal(size=n)))
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        assert scaler.lambdas_ != 1
        assert_usable(X, Z, scaler.inverse_transform(Z))

    @pytest.mark.parametrize(
        "value", [5e-324, 1e-310, 1e-300, 1e300, sys.float_info.max]
    )
    @pytest.mark.parametrize("method", METHODS)
    def test_a_constant_comes_back(self, value, method):
        X = np.full((3, 1), value)
        scaler = PowerStandardizer(method).fit(X)
        Z = scaler.transform(X)
        np.testing.assert_array_equal(Z, 0)
        np.testing.assert_array_equal(scaler.inverse_transform(Z), X)

    @pytest.mark.parametrize(
        "values",
        [[-1.7e308, 1.7e308, 1e308], [-5e-324, 5e-324, 1e-323], [-1e-300, 0, 1e300]],
        ids=str,
    )
    def test_the_limits_of_floats_of_both_signs(self, values):
        X = column(values)
        scaler = PowerStandardizer().fit(X)
        Z = scaler.transform(X)
        assert np.isfinite(Z).all()
        np.testing.assert_allclose(Z.std(), 1, rtol=1e-12)
        back = scaler.inverse_transform(Z)
        # Halves, as the range is no double.
        allowed = 1e-6 * (X.max() / 2 - X.min() / 2)
        assert (np.abs(back / 2 - X / 2) <= allowed).all()

    def test_weights(self, data, rng):
        with pytest.raises(TypeError, match="sample_weight"):
            PowerTransformer().fit(data, sample_weight=np.ones(len(data)))


class TestFloat32:
    @pytest.mark.parametrize("method", METHODS)
    def test_it_is_computed_in_float64_and_rounded_once(self, data, method):
        X = data.astype(np.float32)
        X = np.abs(X) + np.float32(0.1) if method == "box-cox" else X
        wide = X.astype(np.float64)
        narrow, expected = (PowerStandardizer(method).fit(x) for x in (X, wide))
        assert_same_fit(narrow, expected)
        assert narrow.lambdas_.dtype == np.float64
        Z = narrow.transform(X)
        np.testing.assert_array_equal(Z, expected.transform(wide).astype(np.float32))

    def test_an_offset(self, rng):
        X = (1e6 + rng.normal(size=(1_000, 1))).astype(np.float32)
        Z = PowerStandardizer().fit_transform(X)
        np.testing.assert_allclose(Z.std(dtype=np.float64), 1, rtol=1e-7)

    @pytest.mark.parametrize("standardize", [False, True])
    def test_the_largest(self, standardize):
        X = np.array([[1e38], [2e38], [3.4e38]], dtype=np.float32)
        scaler = PowerStandardizer(standardize=standardize).fit(X)
        assert np.isfinite(scaler.transform(X)).all()


class TestWeights:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("missing", [0.0, 0.1])
    def test_they_are_repetitions(self, data, rng, method, missing):
        X = np.abs(data) + 0.1 if method == "box-cox" else data
        X[rng.random(X.shape) < missing] = np.nan
        weight = rng.integers(0, 4, len(X))
        weighted = PowerStandardizer(method).fit(X, sample_weight=weight)
        repeated = PowerStandardizer(method).fit(np.repeat(X, weight, axis=0))
        assert_same_fit(weighted, repeated, rtol=1e-10)
        np.testing.assert_allclose(
            weighted.transform(X), repeated.transform(X), rtol=1e-9, atol=1e-12
        )

    def test_rows_of_weight_zero_are_as_if_absent(self, data):
        weight = np.arange(len(data)) % 3
        data[::3] = -np.inf
        weighted = PowerStandardizer().fit(data, sample_weight=weight)
        there = weight > 0
        absent = PowerStandardizer().fit(data[there], sample_weight=weight[there])
        assert_same_fit(weighted, absent)
        assert weighted.n_samples_seen_ == there.sum()

    @pytest.mark.parametrize("size", [1e-300, 1e-3, 1e15, 1e305])
    def test_their_size_is_nothing(self, data, rng, size):
        weight = rng.random(len(data))
        scaled = PowerStandardizer().fit(data, sample_weight=size * weight)
        plain = PowerStandardizer().fit(data, sample_weight=weight)
        assert_same_fit(scaled, plain, rtol=1e-12)

    def test_a_column_with_values_in_such_rows_only(self):
        X = np.array([[np.nan, 1.0], [5.0, 2.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match="no values in 1 column: 0"):
            scaler = PowerStandardizer().fit(X, sample_weight=[1, 0, 1])
        assert np.isnan(scaler.lambdas_).tolist() == [True, False]


class TestAFailedFit:
    X = np.array([[1.0, 2.0], [3.0, 6.0]])

    @pytest.mark.parametrize(
        ("X", "weight", "message"),
        [
            ([[1.0, np.inf]], None, "infinity in 1 column: 1"),
            ([[1.0, 0.0]], None, "holds others in 1 column: 1"),
            ([["a", "b"]], None, "could not convert"),
            (X, [1.0], "sample_weight.shape"),
            (X, [-1.0, 1.0], "Negative values in data passed to `sample_weight`"),
            (X, [np.nan, 1.0], "sample_weight contains NaN"),
            (X, [0.0, 0.0], "at least one non-zero number"),
        ],
    )
    def test_leaves_the_one_before(self, X, weight, message):
        scaler = PowerStandardizer("box-cox").fit(self.X)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match=message):
            scaler.fit(X, sample_weight=weight)
        assert pickle.dumps(scaler) == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("method", "box-cocks", "'box-cox'"),
            ("standardize", "no", "'bool'"),
            ("copy", "no", "'bool'"),
        ],
    )
    def test_a_parameter(self, name, value, allowed):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of Power") as e:
            PowerStandardizer(**{name: value}).fit([[1.0]])
        assert allowed in str(e.value)
        assert f"Got {value!r} instead" in str(e.value)

    def test_parameters_after_the_first_go_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            PowerStandardizer("box-cox", True)

    @pytest.mark.parametrize(
        ("X", "error", "message"),
        [
            ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
            (np.array([[1j]]), ValueError, "Complex data not supported"),
            (np.empty((0, 2)), ValueError, r"Found array with 0 sample\(s\)"),
            (np.empty((2, 0)), ValueError, r"Found array with 0 feature\(s\)"),
            (scipy.sparse.eye(3, format="csr"), TypeError, "[Ss]parse"),
            ([[-np.inf]], ValueError, "infinity in 1 column: 0. Only NaN is taken"),
        ],
    )
    def test_a_table(self, X, error, message):
        with pytest.raises(error, match=message):
            PowerStandardizer().fit(X)

    @pytest.mark.parametrize("value", [0.0, -0.0, -1e-300, -7.0])
    @pytest.mark.parametrize("method", ["fit", "transform"])
    def test_box_cox_of_what_is_not_positive(self, value, method):
        frame = pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2], "c": [1.0, np.nan]})
        scaler = PowerStandardizer("box-cox").fit(frame)
        frame.loc[1, ["a", "c"]] = value
        message = (
            r"strictly positive values only, and X holds others in 2 columns: 'a', "
            r"'c'. Use method='yeo-johnson', or make them positive."
        )
        with pytest.raises(ValueError, match=message):
            getattr(scaler, method)(frame)

    def test_infinite_values_come_first(self):
        with pytest.raises(ValueError, match="infinity in 1 column: 0"):
            PowerStandardizer("box-cox").fit([[-np.inf, -1.0], [1.0, 1.0]])


class TestCopy:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_a_copy_it_becomes_the_result(self, data, dtype, order):
        X = data.astype(dtype, order=order)
        scaler = PowerStandardizer(copy=False).fit(X)
        np.testing.assert_array_equal(X, data.astype(dtype))
        expected = PowerStandardizer().fit_transform(X)
        Z = scaler.transform(X)
        assert np.shares_memory(Z, X)
        np.testing.assert_array_equal(X, expected)
        assert np.shares_memory(scaler.inverse_transform(X), X)
        # Rounded between, float32 comes back to 6 digits of what is near by.
        rtol, atol = (1e-12, 1e-13) if dtype == np.float64 else (1e-5, 1e-6)
        np.testing.assert_allclose(X, data.astype(dtype), rtol=rtol, atol=atol)

    def test_without_a_copy_a_refused_table_stays(self, data):
        scaler = PowerStandardizer(copy=False).fit(data)
        data[400, 1] = np.inf
        before = data.copy()
        for method in (scaler.transform, scaler.inverse_transform):
            with pytest.raises(ValueError, match="infinity in 1 column: 1"):
                method(data)
            np.testing.assert_array_equal(data, before)

    @pytest.mark.parametrize("layout", ["rows", "columns", "reversed"])
    def test_strides(self, data, layout):
        X = {
            "rows": lambda: np.repeat(data, 2, axis=0)[::2],
            "columns": lambda: np.repeat(data, 3, axis=1)[:, ::3],
            "reversed": lambda: data[::-1].copy()[::-1],
        }[layout]()
        expected = PowerStandardizer().fit(data)
        scaler = PowerStandardizer().fit(X)
        assert_same_fit(scaler, expected)
        np.testing.assert_array_equal(scaler.transform(X), expected.transform(data))


class TestAsAnEstimator:
    FRAME = pd.DataFrame({"area": [50.0, 150.0], "rooms": [1, 5]}, index=[7, 3])

    def test_names(self):
        scaler = PowerStandardizer().fit(self.FRAME)
        assert scaler.feature_names_in_.tolist() == ["area", "rooms"]
        assert scaler.get_feature_names_out().tolist() == ["area", "rooms"]

    def test_pandas(self):
        scaler = PowerStandardizer().set_output(transform="pandas")
        expected = pd.DataFrame({"area": [-1.0, 1.0], "rooms": [-1.0, 1.0]}, [7, 3])
        pd.testing.assert_frame_equal(scaler.fit_transform(self.FRAME), expected)

    def test_tags(self):
        tags = get_tags(PowerStandardizer())
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert not tags.input_tags.positive_only
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
        assert get_tags(PowerStandardizer("box-cox")).input_tags.positive_only

    def test_clone_and_repr(self):
        scaler = PowerStandardizer("box-cox", standardize=False)
        assert repr(clone(scaler)) == (
            "PowerStandardizer(method='box-cox', standardize=False)"
        )

    def test_sample_weight_is_routed(self, data, rng):
        weight = rng.random(len(data))
        with config_context(enable_metadata_routing=True):
            scaler = PowerStandardizer().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(scaler).fit(data, sample_weight=weight)
        assert_same_fit(
            pipeline[0], PowerStandardizer().fit(data, sample_weight=weight)
        )


def test_the_memory_it_takes():
    """The extra memory of a fit is no more than 35 % of its input."""
    code = """
import resource, numpy as np
from sknorm.preprocessing import PowerStandardizer
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rng = np.random.default_rng(0)
X = np.empty((300_000, 48), dtype=np.float64)
for x in X.T:
    x[:] = rng.standard_t(3, size=len(X))
PowerStandardizer().fit(X[:60_000])
before = peak()
PowerStandardizer().fit(X)
print((peak() - before) / (X.nbytes / 2**20))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 0.35


@several
@given(tables(), st.booleans())
def test_round_trip(X, standardize):
    scaler = fit(X, standardize=standardize)
    back = scaler.inverse_transform(scaler.transform(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All of a column is NaN.
        size = np.nanmax(np.abs(X), axis=0)
        allowed = 1e-6 * (np.nanmax(X, axis=0) - np.nanmin(X, axis=0)) + 1e-14 * size
    np.testing.assert_array_equal(np.isnan(back), np.isnan(X))
    assert not (np.abs(back - X) > allowed).any()


@several
@given(tables(lowest=1e-3), st.booleans())
def test_round_trip_of_box_cox(X, standardize):
    scaler = fit(X, "box-cox", standardize=standardize)
    back = scaler.inverse_transform(scaler.transform(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        size = np.nanmax(X, axis=0)
        allowed = 1e-6 * (size - np.nanmin(X, axis=0)) + 1e-14 * size
    np.testing.assert_array_equal(np.isnan(back), np.isnan(X))
    assert not (np.abs(back - X) > allowed).any()


@several
@given(tables(min_rows=2))
def test_the_result_is_standard(X):
    assume(not np.isnan(X).all(axis=0).any())
    Z = fit(X).transform(X)
    assert not np.isinf(Z).any()
    constant = (np.nan_to_num(Z) == 0).all(axis=0)
    np.testing.assert_allclose(np.nanmean(Z, axis=0)[~constant], 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(Z, axis=0)[~constant], 1, rtol=1e-12)


@several
@given(tables(min_rows=2), tables())
def test_order_is_kept(X, new):
    assume(not np.isnan(X).all(axis=0).any())
    # Far out they may be infinite, which has no difference.
    Z = np.clip(fit(X).transform(np.sort(new, axis=0)), -1e300, 1e300)
    there = ~np.isnan(Z[1:]) & ~np.isnan(Z[:-1])
    # Neighbours may round to the same, or the other way by their last digits.
    assert (Z[1:] >= Z[:-1] - 1e-13 * np.abs(Z[:-1]) - 1e-14)[there].all()


@several
@given(tables())
def test_a_change_of_sign_changes_the_sign(X):
    scaler, mirrored = fit(X), fit(-X)
    # The likelihood is so flat in the power that it has fewer digits than the result.
    np.testing.assert_allclose(
        mirrored.transform(-X), -scaler.transform(X), rtol=1e-9, atol=1e-9
    )


@several
@given(tables(min_rows=2), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(X, random):
    order = random.sample(range(len(X)), len(X))
    np.testing.assert_allclose(
        fit(X[order]).transform(X), fit(X).transform(X), rtol=1e-9, atol=1e-9
    )


@several
@given(tables(), st.data())
def test_integer_weights_are_repetition(X, data):
    weight = data.draw(
        hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)), label="weight"
    )
    assume(weight.any())
    repeated = np.repeat(X, weight, axis=0)
    a, b = fit(X, sample_weight=weight), fit(repeated)
    np.testing.assert_allclose(
        a.transform(repeated), b.transform(repeated), rtol=1e-9, atol=1e-9
    )


@several
@given(tables(lowest=1e-3), st.sampled_from([2.0**-20, 3.0, 1e10]))
def test_units_are_nothing_to_box_cox(X, unit):
    np.testing.assert_allclose(
        fit(unit * X, "box-cox").transform(unit * X),
        fit(X, "box-cox").transform(X),
        rtol=1e-6,
        atol=1e-6,
    )


@several
@given(tables())
def test_fitting_again_changes_nothing(X):
    scaler = fit(X)
    again = pickle.loads(pickle.dumps(scaler))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found no values in")
        assert_same_fit(again.fit(X), scaler)
