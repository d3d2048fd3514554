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
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sknorm.preprocessing import Standardizer
from sknorm.statistics import Moments

EPS = float(np.finfo(np.float64).eps)
FITTED = ["mean_", "var_", "scale_", "n_samples_seen_"]

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=100)


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
        assert isinstance(scaler.moments_, Moments)

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
        scaler = Standardizer().fit(X)
        np.testing.assert_array_equal(scaler.mean_, [np.nan, 2])
        np.testing.assert_array_equal(scaler.scale_, [np.nan, 1])
        np.testing.assert_array_equal(scaler.n_samples_seen_, [0, 2])
        np.testing.assert_array_equal(scaler.transform(X), [[np.nan, -1], [np.nan, 1]])

    def test_such_a_column_may_get_values_later(self):
        scaler = Standardizer().fit([[np.nan], [np.nan]]).partial_fit([[1.0], [3.0]])
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

    def test_it_goes_on_from_a_fit(self, data):
        scaler = Standardizer().fit(data[:100]).partial_fit(data[100:])
        assert_same_fit(scaler, Standardizer().fit(data))

    def test_a_fit_starts_anew(self, data):
        scaler = Standardizer().fit(1e6 + data).partial_fit(data)
        assert_same_fit(scaler.fit(data[:, :2]), Standardizer().fit(data[:, :2]), 0)
        assert scaler.n_features_in_ == 2

    def test_summaries_of_two_fits_merge(self, data):
        first, second = Standardizer().fit(data[:100]), Standardizer().fit(data[100:])
        merged = first.moments_.merge(second.moments_)
        whole = Standardizer().fit(data)
        np.testing.assert_allclose(merged.mean, whole.mean_, rtol=1e-14)
        np.testing.assert_allclose(merged.variance(), whole.var_, rtol=1e-13)


class TestAFailedFit:
    X = np.array([[1.0, 2.0], [3.0, 6.0]])
    MISTAKES = (
        ([[1.0, np.inf]], None, "infinity"),
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

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_leaves_nothing_where_there_was_nothing(self, method):
        scaler = Standardizer()
        with pytest.raises(ValueError, match="infinity"):
            getattr(scaler, method)([[np.inf]])
        assert vars(scaler) == vars(Standardizer())

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
    @pytest.mark.parametrize("name", ["with_mean", "with_std", "copy"])
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_a_parameter(self, name, method):
        message = f"The '{name}' parameter of Standardizer must be.*Got 'no' instead"
        with pytest.raises(ValueError, match=message):
            getattr(Standardizer(**{name: "no"}), method)([[1.0]])

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
            (scipy.sparse.eye(3, format="csr"), TypeError, "[Ss]parse"),
            ([[-np.inf]], ValueError, "infinity"),
        ],
    )
    def test_a_table(self, X, error, message):
        with pytest.raises(error, match=message):
            Standardizer().fit(X)

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_a_table_of_another_kind(self, method):
        scaler = Standardizer().fit([[1.0, 2.0]])
        with pytest.raises(ValueError, match="X has 1 features, but Standardizer"):
            getattr(scaler, method)([[1.0]])
        with pytest.raises(ValueError, match="infinity"):
            getattr(scaler, method)([[1.0, np.inf]])

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_not_fitted(self, method):
        with pytest.raises(NotFittedError, match="This Standardizer instance is not"):
            getattr(Standardizer(), method)([[1.0]])


METHODS = ["fit", "partial_fit", "fit_transform", "transform", "inverse_transform"]


class TestCopy:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
    def test_the_input_stays_as_it_is(self, data, method, dtype):
        X = np.rint(data).astype(dtype)
        before = X.copy()
        getattr(Standardizer().fit(X), method)(X)
        np.testing.assert_array_equal(X, before)

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

    def test_without_a_copy_integers_and_read_only_arrays_stay(self, data):
        whole = np.rint(data).astype(np.int64)
        locked = data.copy()
        locked.setflags(write=False)
        for X in (whole, locked):
            before = X.copy()
            Z = Standardizer(copy=False).fit_transform(X)
            assert not np.shares_memory(Z, X)
            np.testing.assert_array_equal(X, before)

    def test_editing_a_fitted_attribute_leaves_the_summary(self, data):
        scaler = Standardizer().fit(data)
        scaler.mean_ += 1
        np.testing.assert_array_equal(scaler.moments_.mean, scaler.mean_ - 1)


def test_a_memory_map(data, tmp_path):
    np.save(tmp_path / "X.npy", data)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    scaler = Standardizer().fit(X)
    assert_same_fit(scaler, Standardizer().fit(data), rtol=0)
    Z = scaler.transform(X)
    assert type(Z) is np.ndarray
    np.testing.assert_array_equal(Z, scaler.transform(data))


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


@several
@given(tables())
def test_round_trip(X):
    scaler = Standardizer().fit(X)
    back = scaler.inverse_transform(scaler.transform(X))
    size = np.abs(np.nan_to_num(X)).max(axis=0)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(X))
    assert (np.abs(np.nan_to_num(back - X)) <= 8 * EPS * size).all()


@several
@given(tables(min_rows=2))
def test_the_result_is_standard(X):
    assume(not np.isnan(X).all(axis=0).any())
    scaler = Standardizer().fit(X)
    Z = scaler.transform(X)
    constant = scaler.moments_.is_constant()
    np.testing.assert_allclose(np.nanmean(Z, axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.nanstd(Z, axis=0)[~constant], 1, rtol=1e-13)
    assert (np.nanmax(np.abs(Z[:, constant]), initial=0) <= 4 * EPS * 1e6).all()


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


@several
@given(tables())
def test_fitting_again_changes_nothing(X):
    scaler = Standardizer().fit(X)
    again = pickle.loads(pickle.dumps(scaler)).fit(X)
    assert_same_fit(again, scaler, rtol=0)
