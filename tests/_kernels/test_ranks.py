import subprocess
import sys
import tracemalloc
from statistics import NormalDist

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtri
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from sknorm._kernels import ranks
from sknorm._kernels.ranks import infinite_columns, interpolate_columns, learn_scores

BLOM = 3 / 8
LARGEST = float(np.finfo(np.float64).max)

several = settings(derandomize=True, deadline=None, max_examples=100)


def standardized(scores, weight):
    """Return scores shifted and scaled to mean 0 and variance 1."""
    scores, weight = np.asarray(scores), np.asarray(weight) / np.sum(weight)
    scores = scores - weight @ scores
    return scores / np.sqrt(weight @ scores**2)


def normal(probabilities):
    return [NormalDist().inv_cdf(p) for p in probabilities]


@pytest.fixture
def one_thread():
    """Work in one thread: each has columns in work of its own, which memory counts."""
    with threadpool_limits(1):
        yield


def moments(table, X, weight=None):
    """Return mean and variance of the scores that the rows of a table get."""
    Z, _ = interpolate_columns(X, table.quantiles, table.scores)
    weight = np.ones(len(X)) if weight is None else weight
    w = weight[:, None] * ~np.isnan(Z)
    Z = np.nan_to_num(Z)
    mean = (w * Z).sum(axis=0) / w.sum(axis=0)
    return mean, (w * (Z - mean) ** 2).sum(axis=0) / w.sum(axis=0)


class TestScoresByHand:
    @pytest.mark.parametrize("offset", [0.0, 1 / 3, BLOM, 0.5])
    def test_ranks(self, offset):
        X = np.array([[30.0], [10.0], [20.0], [40.0], [np.nan]])
        table = learn_scores(X, None, 100, offset)
        expected = normal((r - offset) / (5 - 2 * offset) for r in (1, 2, 3, 4))
        np.testing.assert_array_equal(table.quantiles[:, 0], [10, 20, 30, 40])
        np.testing.assert_allclose(
            table.scores[:, 0], standardized(expected, [1] * 4), rtol=1e-14
        )
        assert table.count.tolist() == [4]

    def test_ties_get_their_average_rank(self):
        X = np.array([[2.0], [1.0], [2.0], [2.0], [9.0]])
        table = learn_scores(X, None, 100, BLOM)
        expected = normal((r - BLOM) / (6 - 2 * BLOM) for r in (1, 3, 5))
        np.testing.assert_array_equal(table.quantiles[:, 0], [1, 2, 9])
        np.testing.assert_allclose(
            table.scores[:, 0], standardized(expected, [1, 3, 1]), atol=1e-15
        )

    def test_weights_are_counts(self):
        X = np.array([[5.0], [1.0], [9.0], [1.0], [-3.0]])
        weight = np.array([2.5, 1.0, 4.0, 0.5, 0.0])
        table = learn_scores(X, weight, 100, BLOM)
        # Ranks: 0 + (1.5 + 1) / 2, 1.5 + (2.5 + 1) / 2, 4 + (4 + 1) / 2, out of 8.
        expected = normal((r - BLOM) / (9 - 2 * BLOM) for r in (1.25, 3.25, 6.5))
        np.testing.assert_array_equal(table.quantiles[:, 0], [1, 5, 9])
        np.testing.assert_allclose(
            table.scores[:, 0], standardized(expected, [1.5, 2.5, 4]), rtol=1e-14
        )
        assert table.count.tolist() == [4]

    def test_from_0_to_1(self):
        table = learn_scores(np.array([[1.0], [2.0], [3.0]]), None, 100, 1.0)
        end = NormalDist().inv_cdf(1e-7)
        np.testing.assert_allclose(
            table.scores[:, 0], standardized([end, 0, -end], [1, 1, 1]), atol=1e-15
        )

    def test_the_tails_to_the_last_digits(self):
        n = 2_001
        X = np.arange(float(n))[:, None]
        scores = learn_scores(X, None, n, BLOM).scores[:, 0]
        np.testing.assert_array_equal(scores, -scores[::-1])
        with mpmath.workdps(40):
            exact = [
                mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
                for p in (
                    (mpmath.mpf(r) - mpmath.mpf(3) / 8) / (n + mpmath.mpf(1) / 4)
                    for r in range(1, n + 1)
                )
            ]
            std = mpmath.sqrt(sum(z**2 for z in exact) / n)
            expected = np.array([float(z / std) for z in exact])
        np.testing.assert_allclose(scores, expected, rtol=1e-14, atol=1e-16)


class TestColumns:
    def test_constant_ones_become_zero(self):
        X = np.tile([14.62, 0.3, 1e12, 0.0], (50, 1))
        X[::3, 1] = 0.1 + 0.2
        table = learn_scores(X, None, 10, BLOM)
        np.testing.assert_array_equal(table.quantiles, [[14.62, 0.3, 1e12, 0.0]])
        np.testing.assert_array_equal(table.scores, np.zeros((1, 4)))

    @pytest.mark.parametrize(("units", "constant"), [(4, True), (5, False)])
    @pytest.mark.parametrize("scale", [-(2.0**500), 2.0**-500, 1.0])
    def test_constant_is_up_to_rounding(self, units, constant, scale):
        eps = np.finfo(np.float64).eps
        X = scale * np.array([[1.0], [1.0 + units * eps], [1.0]])
        scores = learn_scores(X, None, 10, BLOM).scores
        assert (len(scores) == 1) == constant

    @pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-16, 1.0, 1e300])
    def test_small_ones_are_not_constant(self, scale):
        X = scale * np.array([[1.0], [2.0], [3.0]])
        scores = learn_scores(X, None, 10, BLOM).scores[:, 0]
        np.testing.assert_allclose(scores, np.sqrt(1.5) * np.array([-1, 0, 1]))

    def test_one_that_is_shorter_repeats_its_last(self):
        X = np.array([[1.0, 7.0], [2.0, 8.0], [3.0, 7.0]])
        table = learn_scores(X, None, 10, BLOM)
        np.testing.assert_array_equal(table.quantiles, [[1, 7], [2, 8], [3, 8]])
        assert table.scores[1, 1] == table.scores[2, 1] > 0

    def test_they_do_not_depend_on_what_stands_beside(self, rng):
        X = rng.normal(size=(100, 3))
        X[:30, 1] = np.nan
        together = learn_scores(X, None, 100, BLOM).scores
        for j, n_knots in enumerate([100, 70, 100]):
            alone = learn_scores(X[:, [j]], None, 100, BLOM).scores[:, 0]
            assert len(alone) == n_knots
            np.testing.assert_array_equal(together[:n_knots, j], alone)

    def test_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 2.0]])
        table = learn_scores(X, None, 10, BLOM)
        assert np.isnan(table.quantiles[:, 0]).all()
        assert np.isnan(table.scores[:, 0]).all()
        assert table.count.tolist() == [0, 2]
        np.testing.assert_allclose(table.scores[:, 1], [-1, 1])

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    @pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 3.0])])
    def test_with_infinite_values(self, value, weight):
        X = np.array([[1.0, 1.0, 1.0], [np.nan, value, 2.0], [3.0, np.nan, 3.0]])
        assert learn_scores(X, weight, 10, BLOM).infinite.tolist() == [0, 1, 0]

    def test_float32_is_learned_from_as_it_is(self, rng):
        X = rng.normal(size=(3_000, 2)).astype(np.float32)
        narrow = learn_scores(X, None, 50, BLOM)
        wide = learn_scores(X.astype(np.float64), None, 50, BLOM)
        np.testing.assert_array_equal(narrow.quantiles, wide.quantiles)
        np.testing.assert_array_equal(narrow.scores, wide.scores)


class TestFewQuantiles:
    def test_their_scores_are_their_own(self, rng):
        X = rng.standard_t(2, size=(5_000, 1))
        every = learn_scores(X, None, 5_000, BLOM)
        some = learn_scores(X, None, 200, BLOM)
        assert len(some.quantiles) <= 200
        at = every.quantiles[:, 0].searchsorted(some.quantiles[:, 0])
        np.testing.assert_array_equal(every.quantiles[at], some.quantiles)
        # Up to shift and scale, which come from the interpolated scores.
        slope, shift = np.polyfit(every.scores[at, 0], some.scores[:, 0], 1)
        np.testing.assert_allclose(
            some.scores[:, 0], slope * every.scores[at, 0] + shift, rtol=1e-12
        )
        assert slope == pytest.approx(1, abs=1e-3)

    def test_which_they_are(self):
        X = np.arange(101.0)[:, None]
        for offset in (0.0, BLOM, 0.5, 1.0):
            table = learn_scores(X, None, 3, offset)
            np.testing.assert_array_equal(table.quantiles[:, 0], [0, 50, 100])

    def test_the_extremes_are_kept_whatever_they_weigh(self):
        X = np.arange(50.0)[:, None]
        weight = np.full(50, 2.0)
        weight[[0, -1]] = 0.01
        table = learn_scores(X, weight, 5, 1.0)
        assert table.quantiles[[0, -1], 0].tolist() == [0, 49]

    def test_they_are_about_equally_far_apart(self, rng):
        X = rng.lognormal(sigma=3, size=(100_000, 1))
        scores = learn_scores(X, None, 100, BLOM).scores[:, 0]
        step = (scores[-1] - scores[0]) / 99
        # Towards the ends no two values are as close as that.
        middle = np.diff(scores[np.abs(scores) < 3])
        np.testing.assert_allclose(middle, step, rtol=0.1)
        assert len(scores) > 90

    @pytest.mark.parametrize("weighted", [False, True])
    def test_a_long_run_of_ties_keeps_its_neighbours(self, rng, weighted):
        x = rng.normal(size=4_000)
        x[:2_000] = 0.0
        weight = rng.uniform(1, 2, size=4_000) if weighted else None
        table = learn_scores(x[:, None], weight, 30, BLOM)
        quantiles = table.quantiles[:, 0]
        k = quantiles.searchsorted(0.0)
        assert quantiles[k - 1] == x[x < 0].max()
        assert quantiles[k + 1] == x[x > 0].min()
        # Half of the mass: from -0.67 to 0.67 nothing else has a score.
        assert table.scores[k + 1, 0] - table.scores[k - 1, 0] > 1.2

    @pytest.mark.parametrize("end", [0, -1])
    def test_a_long_run_of_ties_at_an_end(self, rng, end):
        x = np.sort(rng.normal(size=4_000))
        x = np.maximum(x, x[1_000]) if end == 0 else np.minimum(x, x[-1_000])
        quantiles = learn_scores(x[:, None], None, 30, BLOM).quantiles[:, 0]
        assert quantiles[end] == x[end]
        assert quantiles[1 if end == 0 else -2] == np.unique(x)[1 if end == 0 else -2]

    @pytest.mark.parametrize("n_quantiles", [2, 3, 10, 1_000])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_the_fitted_column_is_standard(self, rng, n_quantiles, weighted):
        X = rng.standard_t(2, size=(5_000, 4))
        X[rng.random(X.shape) < 0.1] = np.nan
        X[:, 1] = np.rint(10 * X[:, 1])
        X[:, 2] = np.where(rng.random(5_000) < 0.7, 0.0, X[:, 2])
        weight = rng.exponential(size=5_000) if weighted else None
        table = learn_scores(X, weight, n_quantiles, BLOM)
        mean, variance = moments(table, X, weight)
        np.testing.assert_allclose(mean, 0, atol=1e-13)
        np.testing.assert_allclose(variance, 1, rtol=1e-12)


class TestWeights:
    @pytest.mark.parametrize("unit", [5e-324, 1e-308, 1e-3, 0.5, 1.0])
    def test_equal_ones_are_none(self, rng, unit):
        X = rng.normal(size=(200, 2))
        X[::7, 1] = np.nan
        plain = learn_scores(X, None, 20, BLOM)
        weighted = learn_scores(X, np.full(200, unit), 20, BLOM)
        np.testing.assert_array_equal(weighted.quantiles, plain.quantiles)
        np.testing.assert_allclose(weighted.scores, plain.scores, rtol=1e-12)

    def test_below_1_only_ratios_matter(self, rng):
        X, weight = rng.normal(size=(200, 1)), rng.random(200)
        first = learn_scores(X, weight, 20, BLOM)
        second = learn_scores(X, weight / 1024, 20, BLOM)
        np.testing.assert_array_equal(first.quantiles, second.quantiles)
        np.testing.assert_array_equal(first.scores, second.scores)

    @pytest.mark.parametrize("weight", [[1e300, 1.0, 1.0], [1e308, 1e308, 1e308]])
    def test_of_any_size(self, weight):
        X = np.array([[1.0], [2.0], [3.0]])
        scores = learn_scores(X, np.array(weight), 10, BLOM).scores[:, 0]
        assert np.isfinite(scores).all()
        assert scores[0] < scores[1] <= scores[2]

    @pytest.mark.parametrize("n_quantiles", [5, 100])
    def test_are_repetition(self, rng, n_quantiles):
        X = rng.normal(size=(300, 3))
        X[:, 1] = np.rint(2 * X[:, 1])
        X[rng.random(X.shape) < 0.1] = np.nan
        weight = rng.integers(0, 5, size=300)
        weighted = learn_scores(X, weight.astype(float), n_quantiles, BLOM)
        repeated = learn_scores(np.repeat(X, weight, axis=0), None, n_quantiles, BLOM)
        np.testing.assert_array_equal(weighted.quantiles, repeated.quantiles)
        np.testing.assert_allclose(weighted.scores, repeated.scores, atol=1e-13)


KNOTS = np.array([[0.0, -1.0], [1.0, 0.0], [3.0, 0.0]])
VALUES = np.array([[-2.0, 5.0], [0.0, 7.0], [1.0, 7.0]])


class TestInterpolation:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_by_hand(self, dtype, order):
        X = [[0, -1], [0.5, -0.5], [2, 0], [3, np.nan], [-9, -9], [9, 9]]
        expected = [[-2, 5], [-1, 6], [0.5, 7], [1, np.nan], [-2, 5], [1, 7]]
        X = np.array(X, dtype=dtype, order=order)
        Z, infinite = interpolate_columns(X, KNOTS, VALUES)
        np.testing.assert_array_equal(Z, expected)
        assert Z.dtype == dtype
        assert Z.flags.c_contiguous == X.flags.c_contiguous
        assert infinite.tolist() == [False, False]

    def test_of_one_knot(self):
        X = np.array([[-1.0], [2.0], [LARGEST], [-LARGEST], [np.nan]])
        for knot in (2.0, LARGEST, -LARGEST, 0.0):
            Z, _ = interpolate_columns(X, np.array([[knot]]), np.array([[3.0]]))
            np.testing.assert_array_equal(Z[:, 0], [3, 3, 3, 3, np.nan])

    def test_of_no_knot(self):
        nothing = np.full((1, 2), np.nan)
        Z, infinite = interpolate_columns(np.array([[1.0, np.nan]]), nothing, nothing)
        assert np.isnan(Z).all()
        assert not infinite.any()

    @pytest.mark.parametrize("n_knots", [1, 2, 3, 4, 5, 7, 8, 9, 1023, 1024, 1025])
    def test_it_is_exact_at_the_knots(self, rng, n_knots):
        knots = np.sort(rng.standard_cauchy(size=(n_knots, 3)), axis=0)
        values = np.sort(rng.normal(size=(n_knots, 3)), axis=0)
        Z, _ = interpolate_columns(knots, knots, values)
        np.testing.assert_array_equal(Z, values)

    def test_as_numpy_does(self, rng):
        knots = np.sort(rng.standard_t(2, size=(300, 2)), axis=0)
        values = np.sort(rng.normal(size=(300, 2)), axis=0)
        X = rng.standard_t(2, size=(20_000, 2))
        Z, _ = interpolate_columns(X, knots, values)
        for j in range(2):
            expected = np.interp(X[:, j], knots[:, j], values[:, j])
            np.testing.assert_allclose(Z[:, j], expected, rtol=1e-13, atol=1e-15)

    def test_it_is_rounded_once(self, rng):
        knots = np.sort(rng.normal(size=(30, 1)), axis=0)
        values = np.sort(rng.normal(size=(30, 1)), axis=0)
        X = rng.normal(size=(1_000, 1)).astype(np.float32)
        wide, _ = interpolate_columns(X.astype(np.float64), knots, values)
        Z, _ = interpolate_columns(X, knots, values)
        np.testing.assert_array_equal(Z, wide.astype(np.float32))

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_infinite_values(self, value, dtype):
        X = np.array([[0.5, 0.5], [np.nan, value]], dtype=dtype)
        assert interpolate_columns(X, KNOTS, VALUES)[1].tolist() == [False, True]
        before = X.copy()
        assert interpolate_columns(X, KNOTS, VALUES, X)[1].tolist() == [False, True]
        np.testing.assert_array_equal(X, before)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_in_place(self, rng, order):
        X = np.asarray(rng.normal(size=(30_000, 2)), order=order)
        expected, _ = interpolate_columns(X, KNOTS, VALUES)
        Z, _ = interpolate_columns(X, KNOTS, VALUES, X)
        assert Z is X
        np.testing.assert_array_equal(X, expected)

    def test_a_memory_map(self, rng, tmp_path):
        X = rng.normal(size=(50, 2))
        np.save(tmp_path / "X.npy", X)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        Z, _ = interpolate_columns(mapped, KNOTS, VALUES)
        assert type(Z) is np.ndarray
        np.testing.assert_array_equal(Z, interpolate_columns(X, KNOTS, VALUES)[0])

    @several
    @given(st.data())
    def test_it_is_monotone_between_its_ends(self, data):
        numbers = st.floats(-LARGEST / 2, LARGEST / 2)
        knots = sorted(data.draw(st.sets(numbers, min_size=1, max_size=9)))
        values = sorted(
            data.draw(st.lists(numbers, min_size=len(knots), max_size=len(knots)))
        )
        x = sorted(data.draw(st.lists(st.floats(allow_nan=False), min_size=1)) + knots)
        Z, _ = interpolate_columns(
            np.array(x)[:, None], np.array(knots)[:, None], np.array(values)[:, None]
        )
        assert (Z[1:] >= Z[:-1]).all()
        assert Z[0, 0] == values[0]
        assert Z[-1, 0] == values[-1]


@several
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 30), st.just(2)),
        elements=st.one_of(
            st.just(np.nan),
            st.integers(-2, 2).map(float),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
    ),
    st.integers(2, 12),
    st.sampled_from([0.0, BLOM, 0.5, 1.0]),
)
def test_any_column(X, n_quantiles, offset):
    assume(not np.isnan(X).all(axis=0).any())
    table = learn_scores(X, None, n_quantiles, offset)
    assert np.isfinite(table.scores).all()
    mean, variance = moments(table, X)
    constant = (table.scores == 0).all(axis=0)
    np.testing.assert_allclose(mean, 0, atol=1e-13)
    np.testing.assert_allclose(variance, ~constant, rtol=1e-12)
    back, _ = interpolate_columns(table.scores, table.scores, table.quantiles)
    np.testing.assert_array_equal(back[:, ~constant], table.quantiles[:, ~constant])


def test_neighbours_further_apart_than_the_largest_double():
    X = np.array([[-LARGEST], [-LARGEST / 2], [LARGEST]])
    table = learn_scores(X, None, 10, BLOM)
    np.testing.assert_array_equal(
        table.quantiles[:, 0], [-LARGEST, -LARGEST / 2, 0, LARGEST]
    )
    np.testing.assert_allclose(
        table.scores[:, 0], np.sqrt(1.5) * np.array([-1, 0, 1 / 3, 1]), atol=1e-15
    )
    Z, _ = interpolate_columns(np.array([[LARGEST / 2]]), table.quantiles, table.scores)
    np.testing.assert_allclose(Z, np.sqrt(1.5) * 2 / 3)


class TestInfiniteColumns:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_they_are_found(self, dtype, order):
        X = np.zeros((20_000, 5), dtype=dtype, order=order)
        X[19_999, 1] = np.inf
        X[0, 2] = -np.inf
        X[3, 2] = np.inf
        X[5, 3] = np.nan
        X[:, 4] = np.finfo(dtype).max
        assert infinite_columns(X).tolist() == [False, True, True, False, False]

    def test_no_rows(self):
        assert infinite_columns(np.empty((0, 2))).tolist() == [False, False]


class TestLargeArrays:
    """The compiled version, on arrays that stand for large ones."""

    @pytest.fixture
    def case(self, rng):
        X = rng.standard_t(2, size=(6_000, 4))
        X[:, 1] = np.rint(X[:, 1])
        X[rng.random(X.shape) < 0.1] = np.nan
        X[:, 3] = 3.0
        return X

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_results_are_the_same(self, case, rng, monkeypatch, weighted, dtype):
        X = case.astype(dtype)
        weight = rng.random(len(X)) if weighted else None
        small = learn_scores(X, weight, 50, BLOM)
        Z, _ = interpolate_columns(X, small.quantiles, small.scores)
        monkeypatch.setattr(ranks, "_LARGE", 0)
        monkeypatch.setattr(ranks, "_PART", 7_000)
        large = learn_scores(X, weight, 50, BLOM)
        np.testing.assert_array_equal(large.quantiles, small.quantiles)
        np.testing.assert_allclose(large.scores, small.scores, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(
            interpolate_columns(X, small.quantiles, small.scores)[0], Z
        )

    def test_infinite_values(self, case, monkeypatch):
        table = learn_scores(case, None, 50, BLOM)
        case[5_000, 2] = np.inf
        monkeypatch.setattr(ranks, "_LARGE", 0)
        monkeypatch.setattr(ranks, "_PART", 7_000)
        _, infinite = interpolate_columns(case, table.quantiles, table.scores)
        assert infinite.tolist() == [False, False, True, False]

    def test_it_is_used_from_half_a_million_numbers_on(self):
        code = (
            "import sys, numpy as np;"
            "from sknorm._kernels.ranks import interpolate_columns, learn_scores;"
            "small, large = np.ones((10_000, 20)), np.ones((10_000, 50));"
            "table = learn_scores(small, None, 1_000, 0.5);"
            "interpolate_columns(small, table.quantiles, table.scores);"
            "print('numba' in sys.modules);"
            "learn_scores(large, None, 1_000, 0.5);"
            "print('numba' in sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == ["False", "True"], result.stdout

    def test_without_numba(self, case, monkeypatch):
        expected = learn_scores(case, None, 50, BLOM)
        monkeypatch.setattr(ranks, "_LARGE", 0)
        monkeypatch.setattr(ranks, "compiled_kernels", lambda family: None)
        table = learn_scores(case, None, 50, BLOM)
        np.testing.assert_array_equal(table.scores, expected.scores)
        Z, _ = interpolate_columns(case, table.quantiles, table.scores)
        assert np.isnan(Z).sum() == np.isnan(case).sum()

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_memory(self, rng, dtype, one_thread):
        X = rng.normal(size=(40_000, 50)).astype(dtype)
        out = np.empty_like(X)
        # Once before: loading what it needs isn't counted.
        table = learn_scores(X, None, 1_000, BLOM)
        interpolate_columns(X, table.quantiles, table.scores, out)
        tracemalloc.start()
        try:
            learn_scores(X, None, 1_000, BLOM)
            fit = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            base = tracemalloc.get_traced_memory()[0]
            interpolate_columns(X, table.quantiles, table.scores, out)
            transform = tracemalloc.get_traced_memory()[1] - base
        finally:
            tracemalloc.stop()
        assert fit < 0.35 * X.nbytes
        # Two tables of 50 columns padded to 1 024, 0.8 MB, and a tile.
        assert transform < 3e6


class TestLongColumns:
    """Columns of which a sample tells what to keep."""

    @pytest.fixture
    def case(self, rng):
        n = 200_000
        X = rng.standard_t(3, size=(n, 4))
        X[:, 1] = np.rint(X[:, 1])
        X[rng.random(n) < 0.1, 2] = np.nan
        X[:, 3] = 1e6 + 1e-3 * X[:, 3]
        return X

    @pytest.fixture
    def sorted_whole(self, monkeypatch):
        """Return a function that learns the old way."""

        def learn(*arguments):
            with monkeypatch.context() as patch:
                patch.setattr(ranks, "_MANY_ROWS", 10**9)
                return learn_scores(*arguments)

        return learn

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_scores_are_those_of_sorted_columns(
        self, case, rng, sorted_whole, dtype, weighted
    ):
        X, weight = case.astype(dtype), None
        if weighted:
            weight = rng.exponential(size=len(X)) * (rng.random(len(X)) < 0.95)
        table = learn_scores(X, weight, 500, BLOM)
        expected = sorted_whole(X, weight, 500, BLOM)
        np.testing.assert_array_equal(table.count, expected.count)
        np.testing.assert_array_equal(
            table.quantiles[[0, -1]], expected.quantiles[[0, -1]]
        )
        counted = slice(None) if weight is None else weight > 0
        Z, _ = interpolate_columns(X[counted], table.quantiles, table.scores)
        Y, _ = interpolate_columns(X[counted], expected.quantiles, expected.scores)
        assert np.nanmax(np.abs(Z - Y)) < np.ptp(expected.scores[:, 0]) / 499
        mean, variance = moments(table, X.astype(np.float64), weight)
        np.testing.assert_allclose(mean, 0, atol=1e-12)
        np.testing.assert_allclose(variance, 1, rtol=1e-12)

    def test_values_that_are_kept_have_their_own_scores(self, case):
        table = learn_scores(case, None, 500, BLOM)
        for j in range(case.shape[1]):
            x = case[~np.isnan(case[:, j]), j]
            values, first = np.unique(table.quantiles[:, j], return_index=True)
            kept = np.isin(x, values)
            probability = (rankdata(x)[kept] - BLOM) / (len(x) + 1 - 2 * BLOM)
            # Up to shift and scale, which come from the interpolated scores.
            own = table.scores[first, j][values.searchsorted(x[kept])]
            slope, shift = np.polyfit(ndtri(probability), own, 1)
            np.testing.assert_allclose(
                own, slope * ndtri(probability) + shift, atol=1e-11
            )
            # Ties take variance, which the scores of rounded values are given back.
            assert slope == pytest.approx(1, abs=0.05)

    def test_they_do_not_depend_on_what_stands_beside(self, case):
        together = learn_scores(case, None, 300, BLOM)
        for j in range(case.shape[1]):
            alone = learn_scores(case[:, [j]], None, 300, BLOM)
            n = len(alone.scores)
            np.testing.assert_array_equal(together.quantiles[:n, [j]], alone.quantiles)
            np.testing.assert_array_equal(together.scores[:n, [j]], alone.scores)

    @pytest.mark.parametrize("layout", ["F", "read-only", "strided"])
    def test_any_layout(self, case, layout):
        expected = learn_scores(case, None, 300, BLOM)
        X = np.array(case, order="F" if layout == "F" else "C")
        if layout == "strided":
            X = np.repeat(case[::-1], 2, axis=1)[::-1, ::2]
        X.setflags(write=layout != "read-only")
        table = learn_scores(X, None, 300, BLOM)
        np.testing.assert_array_equal(table.quantiles, expected.quantiles)
        np.testing.assert_array_equal(table.scores, expected.scores)

    def test_threads_change_nothing(self, case):
        expected = learn_scores(case, None, 300, BLOM)
        with threadpool_limits(1):
            table = learn_scores(case, None, 300, BLOM)
        np.testing.assert_array_equal(table.scores, expected.scores)

    def test_rows_of_weight_0_are_as_left_out(self, case, rng):
        weight = rng.integers(0, 3, size=len(case)).astype(float)
        more = np.append(case, np.full((len(case), 4), np.inf), axis=0)
        extended = np.append(weight, np.zeros(len(case)))
        table = learn_scores(more, extended, 300, BLOM)
        expected = learn_scores(case, weight, 300, BLOM)
        np.testing.assert_array_equal(table.quantiles, expected.quantiles)
        np.testing.assert_array_equal(table.scores, expected.scores)

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_infinite_values(self, case, value):
        case[123_456, 2] = value
        table = learn_scores(case, None, 300, BLOM)
        assert table.infinite.tolist() == [False, False, True, False]

    def test_without_numba(self, case, monkeypatch, sorted_whole):
        monkeypatch.setattr(ranks, "compiled_kernels", lambda family: None)
        table = learn_scores(case, None, 300, BLOM)
        expected = sorted_whole(case, None, 300, BLOM)
        np.testing.assert_array_equal(table.scores, expected.scores)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_memory(self, rng, dtype, weighted, one_thread):
        X = rng.normal(size=(200_000, 40)).astype(dtype)
        weight = rng.random(200_000) if weighted else None
        learn_scores(X, weight, 1_000, BLOM)
        tracemalloc.start()
        try:
            learn_scores(X, weight, 1_000, BLOM)
            used = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert used < 0.3 * X.nbytes
