import pickle
import warnings
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import kstest
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import get_tags

from sknorm.preprocessing import QuantileStandardizer

POSITIONS = {
    "blom": 3 / 8,
    "tukey": 1 / 3,
    "rankit": 1 / 2,
    "van_der_waerden": 0,
    "linear": 1,
}

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
        return QuantileStandardizer(**parameters).fit(X, sample_weight=sample_weight)


def assert_same_fit(a, b, atol=0.0):
    np.testing.assert_array_equal(a.quantiles_, b.quantiles_)
    np.testing.assert_allclose(a.scores_, b.scores_, rtol=0, atol=atol)


@pytest.fixture
def data(rng):
    """Heavy tails, heavy ties, half of it zeros, and a constant column."""
    X = rng.standard_t(2, size=(500, 5)) * [1, 1e-9, 1e9, 1, 1]
    X[:, 1] = np.rint(1e9 * X[:, 1])
    X[:, 3] = np.where(X[:, 3] < 0, 0.0, X[:, 3])
    X[:, 4] = 3.0
    return X


class TestKnownValues:
    @pytest.mark.parametrize("name", POSITIONS)
    def test_plotting_positions(self, name):
        c, n = POSITIONS[name], 5
        scores = [
            NormalDist().inv_cdf(min(max((r - c) / (n + 1 - 2 * c), 1e-7), 1 - 1e-7))
            for r in range(1, n + 1)
        ]
        X = np.array([[3.0], [1.0], [2.0], [50.0], [4.0]])
        expected = (np.array(scores) / np.std(scores))[[2, 0, 1, 4, 3]]
        for position in (name, c):
            Z = QuantileStandardizer(plotting_position=position).fit_transform(X)
            np.testing.assert_allclose(Z[:, 0], expected, rtol=1e-9, atol=1e-15)

    def test_attributes(self):
        X = [[10.0, 7.0, 1.0], [30.0, 7.0, np.nan], [20.0, 7.0, 1.0], [20.0, 7.0, 5.0]]
        scaler = QuantileStandardizer().fit(X)
        np.testing.assert_array_equal(
            scaler.quantiles_, [[10, 7, 1], [20, 7, 5], [30, 7, 5]]
        )
        root = np.sqrt(2)
        np.testing.assert_allclose(
            scaler.scores_,
            [[-root, 0, -1 / root], [0, 0, root], [root, 0, root]],
            atol=1e-15,
        )
        assert scaler.n_quantiles_ == 3
        np.testing.assert_array_equal(scaler.n_samples_seen_, [4, 4, 3])
        assert scaler.n_features_in_ == 3

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_transform(self, dtype):
        scaler = QuantileStandardizer().fit([[0.0], [1.0], [5.0]])
        X = np.array([[0.0], [0.5], [1], [3], [5], [-9], [9], [np.nan]], dtype=dtype)
        Z = scaler.transform(X)
        end = np.sqrt(1.5)
        expected = [-end, -end / 2, 0, end / 2, end, -end, end, np.nan]
        rtol = 1e-15 if dtype == np.float64 else 1e-7
        np.testing.assert_allclose(Z[:, 0], expected, rtol=rtol, atol=1e-15)
        assert Z.dtype == dtype
        back = scaler.inverse_transform(Z)
        np.testing.assert_allclose(
            back[:, 0], [0, 0.5, 1, 3, 5, 0, 5, np.nan], rtol=2 * rtol, atol=1e-15
        )
        assert back.dtype == dtype

    def test_one_row(self):
        scaler = QuantileStandardizer().fit([[3.0, -1.0]])
        np.testing.assert_array_equal(scaler.transform([[4.0, -1.0]]), [[0, 0]])
        np.testing.assert_array_equal(scaler.inverse_transform([[1.0, 0]]), [[3, -1]])
        assert type(scaler.n_samples_seen_) is int

    def test_a_column_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match=r"no values in 1 column: 0, only NaN"):
            scaler = QuantileStandardizer().fit(X)
        np.testing.assert_array_equal(scaler.n_samples_seen_, [0, 2])
        Z = scaler.transform([[np.nan, 1.0], [5.0, 3.0]])
        np.testing.assert_allclose(Z, [[np.nan, -1], [np.nan, 1]])
        np.testing.assert_allclose(scaler.inverse_transform(Z), X)

    @pytest.mark.parametrize("missing", [False, True])
    def test_constant_columns_become_zero(self, missing):
        X = np.tile([14.62, 0.1 + 0.2, 1e12], (100, 1))
        if missing:
            X[::3] = np.nan
        Z = QuantileStandardizer().fit(X).transform(X)
        np.testing.assert_array_equal(Z, np.where(np.isnan(X), np.nan, 0.0))


class TestAnyColumnBecomesNormal:
    @pytest.mark.parametrize("n_quantiles", [100, 1_000])
    @pytest.mark.parametrize("draw", ["standard_cauchy", "standard_exponential"])
    def test_new_rows(self, rng, draw, n_quantiles):
        scaler = QuantileStandardizer(n_quantiles=n_quantiles)
        scaler.fit(getattr(rng, draw)(size=(100_000, 1)))
        Z = scaler.transform(getattr(rng, draw)(size=(20_000, 1)))
        # Of the 1 % that normal data would fail at, with 1.63 / sqrt(n).
        assert kstest(Z[:, 0], "norm").statistic < 0.0115

    def test_fitted_rows_are_standard(self, data):
        for n_quantiles in (5, 50, 1_000):
            Z = QuantileStandardizer(n_quantiles=n_quantiles).fit_transform(data)
            np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-13)
            np.testing.assert_allclose(Z.std(axis=0), [1, 1, 1, 1, 0], rtol=1e-12)

    def test_fewer_quantiles_change_little(self, rng):
        X = rng.standard_t(2, size=(20_000, 2))
        every = QuantileStandardizer(n_quantiles=20_000).fit_transform(X)
        # No more than the distance of two neighbours.
        for n_quantiles in (30, 300):
            Z = QuantileStandardizer(n_quantiles=n_quantiles).fit_transform(X)
            assert np.abs(Z - every).max() < np.ptp(every) / (n_quantiles - 1)

    def test_more_quantiles_than_rows_are_fine(self, data):
        few = QuantileStandardizer(n_quantiles=500).fit(data)
        many = QuantileStandardizer(n_quantiles=10**9).fit(data)
        assert_same_fit(few, many)
        assert many.n_quantiles_ == 500


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
class TestParityWithQuantileTransformer:
    @pytest.fixture
    def case(self, data, rng, missing, dtype, order):
        X = data.astype(dtype, order=order)
        X[rng.random(X.shape) < missing] = np.nan
        return X

    @pytest.mark.parametrize("j", [0, 2])
    def test_transform(self, case, j):
        # Theirs are probabilities of evenly spaced quantiles: the ranks, if there is
        # one for each row and there are no ties.
        present = ~np.isnan(case[:, j])
        column = case[present, j : j + 1]
        theirs = QuantileTransformer(
            n_quantiles=len(column), output_distribution="normal", subsample=None
        )
        expected = theirs.fit_transform(column).astype(np.float64)
        expected = (expected - expected.mean()) / expected.std()
        ours = QuantileStandardizer(plotting_position="linear").fit(case)
        # They round their bound, and probabilities to float32: half an ulp of 1, over
        # the density of 0.006 at the last but one score.
        atol = 1e-8 if case.dtype == np.float64 else 1e-5
        Z = ours.transform(case)[present, j]
        np.testing.assert_allclose(Z, expected[:, 0], atol=atol)

    def test_inverse_transform(self, case):
        ours = QuantileStandardizer(plotting_position="linear").fit(case)
        back = ours.inverse_transform(ours.transform(case))
        rtol = 0 if case.dtype == np.float64 else 1e-5
        # A float32 score near 0 has fewer digits than the value it stands for.
        atol = 0 if case.dtype == np.float64 else 1e-6 * np.nanstd(case, axis=0)
        for j in range(5):
            np.testing.assert_allclose(
                back[:, j], case[:, j], rtol=rtol, atol=np.broadcast_to(atol, 5)[j]
            )


class TestWhereQuantileTransformerIsLess:
    """Cases that fail with scikit-learn 1.9.1's QuantileTransformer."""

    def test_the_variance_is_1(self, rng):
        X = rng.normal(size=(100, 1))
        theirs = QuantileTransformer(n_quantiles=100, output_distribution="normal")
        assert theirs.fit_transform(X).std() > 1.15
        assert QuantileStandardizer().fit_transform(X).std() == pytest.approx(1, 1e-14)

    def test_ties_at_an_end_get_their_average_rank(self):
        X = np.array([0.0] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0])[:, None]
        theirs = QuantileTransformer(n_quantiles=10, output_distribution="normal")
        assert theirs.fit_transform(X)[0] < -5
        Z = QuantileStandardizer().fit_transform(X)
        assert -1 < Z[0, 0] < -0.8

    def test_the_extremes_keep_their_distance(self, rng):
        X = rng.standard_t(2, size=(100_000, 1))
        z = np.sort(QuantileStandardizer().fit_transform(X)[:, 0])
        ranks = np.arange(1, 100_001)
        exact = [NormalDist().inv_cdf((r - 3 / 8) / 100_000.25) for r in ranks[:5]]
        np.testing.assert_allclose(z[:5], exact, rtol=1e-3)

    def test_weights(self, data, rng):
        weight = rng.integers(0, 4, len(data))
        weighted = QuantileStandardizer().fit(data, sample_weight=weight)
        repeated = QuantileStandardizer().fit(np.repeat(data, weight, axis=0))
        assert_same_fit(weighted, repeated, atol=1e-13)

    def test_more_quantiles_than_a_subsample(self, data):
        scaler = QuantileStandardizer(n_quantiles=1_000, subsample=50, random_state=0)
        assert scaler.fit(data).n_quantiles_ == 50


class TestFloat32:
    def test_it_is_computed_in_float64_and_rounded_once(self, data):
        X = data.astype(np.float32)
        wide = X.astype(np.float64)
        narrow, expected = (
            QuantileStandardizer().fit(X),
            QuantileStandardizer().fit(wide),
        )
        assert_same_fit(narrow, expected)
        assert narrow.quantiles_.dtype == narrow.scores_.dtype == np.float64
        Z = narrow.transform(X)
        np.testing.assert_array_equal(Z, expected.transform(wide).astype(np.float32))

    def test_ranks_beyond_its_digits(self):
        # Neighbours in float32, at an offset where it has no more digits.
        X = np.nextafter(np.float32(2**24), np.float32(np.inf), dtype=np.float32)
        X = (np.float32(2**24) + 2 * np.arange(5, dtype=np.float32))[:, None]
        Z = QuantileStandardizer().fit_transform(X)
        assert (np.diff(Z[:, 0]) > 0.5).all()


class TestWeights:
    def test_rows_of_weight_zero_are_as_if_absent(self, data):
        weight = np.arange(len(data)) % 3
        data[::3] = 1e300
        assert_same_fit(
            QuantileStandardizer().fit(data, sample_weight=weight),
            QuantileStandardizer().fit(
                data[weight > 0], sample_weight=weight[weight > 0]
            ),
        )

    def test_they_are_not_counted(self):
        X = [[1.0], [2.0], [9.0]]
        scaler = QuantileStandardizer().fit(X, sample_weight=[0.5, 0.5, 0])
        assert scaler.n_samples_seen_ == 2

    def test_a_column_with_values_in_such_rows_only(self):
        X = np.array([[np.nan, 1.0], [5.0, 2.0], [np.nan, 3.0]])
        with pytest.warns(UserWarning, match="no values in 1 column: 0"):
            scaler = QuantileStandardizer().fit(X, sample_weight=[1, 0, 1])
        assert np.isnan(scaler.quantiles_[:, 0]).all()

    def test_those_that_sum_to_1(self, data):
        weight = np.full(len(data), 1 / len(data))
        weighted = QuantileStandardizer().fit(data, sample_weight=weight)
        assert_same_fit(weighted, QuantileStandardizer().fit(data), atol=1e-13)

    def test_large_ones_make_no_column_constant(self, rng):
        X = 1e5 + rng.normal(size=(100, 2))
        Z = QuantileStandardizer().fit(X, sample_weight=np.full(100, 1e15)).transform(X)
        np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-12)


class TestSubsample:
    def test_as_many_rows_are_learned_from(self, data):
        scaler = QuantileStandardizer(subsample=100, random_state=0).fit(data)
        assert scaler.n_samples_seen_ == 100
        assert np.isin(scaler.quantiles_[:, 0], data[:, 0]).all()
        assert len(np.unique(scaler.quantiles_[:, 0])) == 100

    def test_rows_stay_together(self, rng):
        X = np.repeat(rng.permutation(1_000)[:, None], 2, axis=1)
        scaler = QuantileStandardizer(subsample=50, random_state=0).fit(X)
        np.testing.assert_array_equal(scaler.quantiles_[:, 0], scaler.quantiles_[:, 1])

    @pytest.mark.parametrize("subsample", [500, 501])
    def test_of_all_rows_is_none(self, data, subsample):
        scaler = QuantileStandardizer(subsample=subsample, random_state=0)
        assert_same_fit(scaler.fit(data), QuantileStandardizer().fit(data))

    def test_it_is_drawn_by_random_state(self, data):
        first, again, other = (
            QuantileStandardizer(subsample=100, random_state=seed).fit(data)
            for seed in (0, np.random.RandomState(0), 1)
        )
        assert_same_fit(first, again)
        assert (first.quantiles_[:, 0] != other.quantiles_[:, 0]).any()

    def test_rows_of_weight_zero_are_not_drawn(self, data):
        weight = np.zeros(500)
        weight[100:160] = 2.0
        data[:100] = np.inf
        scaler = QuantileStandardizer(subsample=50, random_state=0)
        scaler.fit(data, sample_weight=weight)
        assert scaler.n_samples_seen_ == 50
        assert np.isin(scaler.quantiles_[:, 0], data[100:160, 0]).all()

    def test_weights_go_with_their_rows(self):
        X = np.arange(100.0)[:, None]
        weight = 1.0 + np.arange(100)
        scaler = QuantileStandardizer(subsample=30, random_state=0)
        scaler.fit(X, sample_weight=weight)
        drawn = scaler.quantiles_[:, 0].astype(int)
        expected = QuantileStandardizer().fit(X[drawn], sample_weight=weight[drawn])
        assert_same_fit(scaler, expected)

    @pytest.mark.parametrize("row", range(0, 500, 50))
    def test_infinite_values_are_refused_in_any_row(self, data, row):
        data[row, 2] = np.inf
        scaler = QuantileStandardizer(subsample=10, random_state=0)
        with pytest.raises(ValueError, match="infinity in 1 column: 2"):
            scaler.fit(data)


class TestAFailedFit:
    X = np.array([[1.0, 2.0], [3.0, 6.0]])

    @pytest.mark.parametrize(
        ("X", "weight", "message"),
        [
            ([[1.0, np.inf]], None, "infinity in 1 column: 1"),
            ([["a", "b"]], None, "could not convert"),
            (X, [1.0], "sample_weight.shape"),
            (X, [-1.0, 1.0], "Negative values in data passed to `sample_weight`"),
            (X, [0.0, 0.0], "at least one non-zero number"),
        ],
    )
    def test_leaves_the_one_before(self, X, weight, message):
        scaler = QuantileStandardizer().fit(self.X)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match=message):
            scaler.fit(X, sample_weight=weight)
        assert pickle.dumps(scaler) == before


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("n_quantiles", 1, "an int in the range [2, inf)"),
            ("n_quantiles", 10.0, "an int in the range [2, inf)"),
            ("plotting_position", "blum", "'blom'"),
            ("plotting_position", 1.5, "a float in the range [0.0, 1.0]"),
            ("subsample", 0, "an int in the range [1, inf) or None"),
            ("random_state", "no", "RandomState"),
            ("copy", "no", "'bool'"),
        ],
    )
    def test_a_parameter(self, name, value, allowed):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of Quanti") as e:
            QuantileStandardizer(**{name: value}).fit([[1.0]])
        assert allowed in str(e.value)
        assert f"Got {value!r} instead" in str(e.value)

    def test_parameters_go_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            QuantileStandardizer(100)

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
            QuantileStandardizer().fit(X)


class TestCopy:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_a_copy_it_becomes_the_result(self, data, dtype, order):
        X = data.astype(dtype, order=order)
        scaler = QuantileStandardizer(copy=False).fit(X)
        np.testing.assert_array_equal(X, data.astype(dtype))
        expected = QuantileStandardizer().fit_transform(X)
        Z = scaler.transform(X)
        assert np.shares_memory(Z, X)
        np.testing.assert_array_equal(X, expected)
        assert np.shares_memory(scaler.inverse_transform(X), X)
        # Rounded between, float32 comes back to 6 digits of what is near by.
        rtol, atol = (0, 0) if dtype == np.float64 else (1e-4, 1e-6)
        np.testing.assert_allclose(X, data.astype(dtype), rtol=rtol, atol=atol)

    def test_without_a_copy_a_refused_table_stays(self, data):
        scaler = QuantileStandardizer(copy=False).fit(data)
        data[400, 1] = np.inf
        before = data.copy()
        for method in (scaler.transform, scaler.inverse_transform):
            with pytest.raises(ValueError, match="infinity in 1 column: 1"):
                method(data)
            np.testing.assert_array_equal(data, before)


class TestAsAnEstimator:
    FRAME = pd.DataFrame({"area": [50.0, 150.0], "rooms": [1, 5]}, index=[7, 3])

    def test_names(self):
        scaler = QuantileStandardizer().fit(self.FRAME)
        assert scaler.feature_names_in_.tolist() == ["area", "rooms"]
        assert scaler.get_feature_names_out().tolist() == ["area", "rooms"]

    def test_pandas(self):
        scaler = QuantileStandardizer().set_output(transform="pandas")
        expected = pd.DataFrame({"area": [-1.0, 1.0], "rooms": [-1.0, 1.0]}, [7, 3])
        pd.testing.assert_frame_equal(scaler.fit_transform(self.FRAME), expected)

    def test_tags(self):
        tags = get_tags(QuantileStandardizer())
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]

    def test_clone_and_repr(self):
        scaler = QuantileStandardizer(n_quantiles=10, plotting_position="tukey")
        assert repr(clone(scaler)) == (
            "QuantileStandardizer(n_quantiles=10, plotting_position='tukey')"
        )

    def test_sample_weight_is_routed(self, data, rng):
        weight = rng.random(len(data))
        with config_context(enable_metadata_routing=True):
            scaler = QuantileStandardizer().set_fit_request(sample_weight=True)
            pipeline = make_pipeline(scaler).fit(data, sample_weight=weight)
        assert_same_fit(
            pipeline[0], QuantileStandardizer().fit(data, sample_weight=weight)
        )


@several
@given(tables())
def test_round_trip(X):
    scaler = fit(X)
    back = scaler.inverse_transform(scaler.transform(X))
    np.testing.assert_array_equal(back, X)


@several
@given(tables(min_rows=2), st.sampled_from(sorted(POSITIONS)))
def test_the_result_is_standard(X, position):
    assume(not np.isnan(X).all(axis=0).any())
    Z = fit(X, plotting_position=position).transform(X)
    constant = (np.nan_to_num(Z) == 0).all(axis=0)
    np.testing.assert_allclose(np.nanmean(Z, axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.nanstd(Z, axis=0)[~constant], 1, rtol=1e-13)


@several
@given(tables(min_rows=2), tables(), st.integers(2, 5))
def test_order_is_kept(X, new, n_quantiles):
    assume(not np.isnan(X).all(axis=0).any())
    Z = fit(X, n_quantiles=n_quantiles).transform(np.sort(new, axis=0))
    assert (np.diff(Z, axis=0) >= 0)[~np.isnan(np.diff(Z, axis=0))].all()


@several
@given(tables())
def test_only_order_matters(X):
    X = np.rint(X)
    for unit in (lambda x: 2 * x - 7, lambda x: x**3, lambda x: np.exp2(x / 2**20)):
        np.testing.assert_array_equal(fit(unit(X)).scores_, fit(X).scores_)


@several
@given(tables())
def test_a_change_of_sign_changes_the_sign(X):
    np.testing.assert_allclose(fit(-X).transform(-X), -fit(X).transform(X), atol=1e-14)


@several
@given(tables(min_rows=2), st.integers(2, 6), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(X, n_quantiles, random):
    order = random.sample(range(len(X)), len(X))
    assert_same_fit(
        fit(X[order], n_quantiles=n_quantiles), fit(X, n_quantiles=n_quantiles)
    )


@several
@given(tables(), st.integers(2, 6), st.data())
def test_integer_weights_are_repetition(X, n_quantiles, data):
    weight = data.draw(
        hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)), label="weight"
    )
    assume(weight.any())
    weighted = fit(X, n_quantiles=n_quantiles, sample_weight=weight)
    repeated = fit(np.repeat(X, weight, axis=0), n_quantiles=n_quantiles)
    assert_same_fit(weighted, repeated, atol=1e-12)


@several
@given(tables())
def test_fitting_again_changes_nothing(X):
    scaler = fit(X)
    again = pickle.loads(pickle.dumps(scaler))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found no values in")
        assert_same_fit(again.fit(X), scaler)
