"""Moments of the transform and its derivatives, in many digits."""

import mpmath
import numpy as np
import pytest

from sknorm._kernels import power_moments
from sknorm._kernels.compiled import power as kernels
from sknorm._kernels.power_frame import Frame
from sknorm._kernels.power_map import quiet
from sknorm._kernels.power_moments import Moments, gather, moments_of


def exact(t, upper, lower, w=None):
    """Return the moments of one column, in many digits."""
    w = np.ones(len(t)) if w is None else w
    # Differences by a rate of 1e-20 take away twenty digits each.
    with mpmath.workdps(120):
        columns = [[], [], []]
        for x in t:
            rate = mpmath.mpf(float(upper if x >= 0 else lower))
            x = mpmath.mpf(float(x))
            e = mpmath.exp(rate * x)
            v = (e - 1) / rate
            v1 = (x * e - v) / rate
            v2 = (x * x * e - 2 * v1) / rate
            for column, value in zip(columns, (v, v1, v2), strict=True):
                column.append(value)
        w = [mpmath.mpf(float(v)) for v in w]
        total = mpmath.fsum(w)

        def average(values):
            return mpmath.fsum(a * b for a, b in zip(w, values, strict=True)) / total

        means = [average(column) for column in columns]

        def covariance(a, b):
            pairs = zip(columns[a], columns[b], strict=True)
            return average([(x - means[a]) * (y - means[b]) for x, y in pairs])

        products = [covariance(*pair) for pair in ((0, 0), (0, 1), (1, 1), (0, 2))]
        return Moments(
            *(np.array([[float(v)] for v in part]) for part in (means, products))
        )


def assert_close(moments, expected, rtol=1e-12):
    for part in ("mean", "products"):
        np.testing.assert_allclose(
            getattr(moments, part), getattr(expected, part), rtol=rtol, atol=1e-15
        )


class TestMoments:
    @pytest.mark.parametrize("rate", [3.0, 0.2, 1e-3, 1e-7, 1e-12, 1e-20])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_series_and_differences(self, rng, rate, weighted):
        t = rng.uniform(-1, 1, 200)
        w = rng.random(200) if weighted else None
        rates = np.array([rate]), np.array([-rate])
        moments = moments_of(
            t[None],
            None if w is None else w[None],
            *rates,
            np.zeros(1),
            np.ones((2, 1)),
        )
        assert_close(moments, exact(t, rate, -rate, w))

    def test_a_side_without_values(self):
        # The exponent is 0 for all that are at least 0, whatever is divided by it.
        t = np.array([0.0, -0.3, -1.0])
        rates = np.array([1e-20]), np.array([-2.0])
        moments = moments_of(t[None], None, *rates, np.zeros(1), np.array([[0.0], [1]]))
        assert_close(moments, exact(t, 1e-20, -2.0))

    def test_of_what_would_be_too_large(self):
        # exp(900 t - 900): all but the last are 0 beside it.
        t = np.linspace(0, 1, 5)
        over = np.array([900.0])
        moments = moments_of(t[None], None, over, over, over, np.array([[1.0], [0]]))
        v = np.array([0, 0, 0, 0, 1 / 900])
        np.testing.assert_allclose(moments.mean[0], v.mean(), rtol=1e-12)
        np.testing.assert_allclose(moments.products[0], v.var(), rtol=1e-12)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_parts_are_merged(self, monkeypatch, rng, weighted):
        t = rng.normal(size=(3, 1_000))
        w = rng.random(t.shape) * (np.arange(1_000) > 300) if weighted else None
        upper, lower = np.array([0.5, 2.0, -1.0]), np.array([-1.5, 1e-20, -1.0])
        extent = np.stack([t.max(axis=1), -t.min(axis=1)])
        whole = moments_of(t, w, upper, lower, np.zeros(3), extent)
        monkeypatch.setattr("sknorm._kernels.tiles._TILE", 300)
        parts = moments_of(t, w, upper, lower, np.zeros(3), extent)
        assert_close(parts, whole)


class TestWhatFollows:
    @pytest.fixture
    def case(self, rng):
        t = rng.uniform(0, 1, (1, 400))

        def at(rate):
            rates = np.array([rate])
            extent = np.array([[1.0], [0.0]])
            return moments_of(t, None, rates, rates, np.zeros(1), extent)

        def likelihood(rate):
            return rate * t.mean() - 0.5 * np.log(at(rate).products[0, 0])

        return t, at, likelihood

    def test_slopes(self, case):
        t, at, likelihood = case
        first, second = at(1.5).slopes(t.mean(axis=1))
        h = 1e-4
        left, here, right = (likelihood(1.5 + d) for d in (-h, 0, h))
        # Differences are off by h^2, and by rounding over h and over h^2.
        np.testing.assert_allclose(first, (right - left) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(second, (left - 2 * here + right) / h**2, rtol=1e-5)
        assert second < 0

    def test_moved(self, case):
        _, at, _ = case
        mean, var = at(1.5).moved(np.array([1e-4]))
        there = at(1.5001)
        # Up to the cube of the step.
        np.testing.assert_allclose(mean, there.mean[0], rtol=1e-11)
        np.testing.assert_allclose(var, there.products[0], rtol=1e-11)


@pytest.mark.parametrize("compiled", [None, kernels])
class TestTable:
    X = np.array([[3.0, np.nan, -1], [1, np.nan, np.nan], [7, np.nan, 2], [5, 4, 8]])

    def test_counts_and_extremes(self, compiled):
        for X in (self.X, self.X.astype(np.float32)):
            table = gather(X, None, compiled)
            np.testing.assert_array_equal(table.count, [4, 1, 3])
            np.testing.assert_array_equal(table.low, [1, 4, -1])
            np.testing.assert_array_equal(table.high, [7, 4, 8])
            assert table.values.dtype == np.float64

    def test_rows_of_weight_zero_are_not_looked_at(self, compiled):
        table = gather(self.X, np.array([1.0, 0.5, 0.25, 0.0]), compiled)
        np.testing.assert_array_equal(table.count, [3, 0, 2])
        np.testing.assert_array_equal(table.low, [1, np.nan, -1])
        np.testing.assert_array_equal(table.high, [7, np.nan, 2])

    def test_means(self, compiled):
        X = self.X[:, [0, 2]]
        with quiet():
            np.testing.assert_allclose(gather(X, None, compiled).means(1), [4, 3])
            weighted = gather(X, np.array([0.25, 1, 0, 0.5]), compiled)
            np.testing.assert_allclose(weighted.means(1), [4.25 / 1.75, 5])
            every = gather(np.arange(12.0)[:, None], None, compiled)
            np.testing.assert_allclose(every.means(4), [4])

    @pytest.mark.parametrize("weighted", [False, True])
    def test_moments_of_chosen_columns(self, rng, compiled, weighted):
        X = rng.normal(size=(700, 4))
        X[:, 2] = np.abs(X[:, 2])
        X[rng.random(X.shape) < 0.2] = np.nan
        weight = rng.random(700) if weighted else None
        table = gather(X, weight, compiled)
        frame = Frame.of(table.low, table.high, 1.0)
        table.take_logs(frame)
        chosen = np.array([1, 2])
        rate = np.array([0.3, -1.0])
        part = frame.take(chosen)
        moments = table.moments(part, rate, chosen, 1)
        for i, j in enumerate(chosen):
            there = ~np.isnan(X[:, j])
            x = X[there, j]
            t = np.sign(x) * np.log1p(np.abs(x))
            if j == 2:
                t -= np.log1p(x.min())
            w = None if weight is None else weight[there]
            upper, lower = (side[i] for side in part.sides(rate))
            expected = exact(t / frame.scale[j], upper, lower, w)
            got = Moments(moments.mean[:, [i]], moments.products[:, [i]])
            assert_close(got, expected, rtol=1e-11)


def test_terms_of_the_series():
    expected = [1 / (mpmath.factorial(k) * (k + 3)) for k in range(12)]
    np.testing.assert_allclose(power_moments.SERIES[::-1], [float(e) for e in expected])
