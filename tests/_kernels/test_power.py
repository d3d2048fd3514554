"""The likeliest power, against the likelihood in fifty digits."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import PowerTransformer
from threadpoolctl import threadpool_limits

from sknorm._kernels import power
from sknorm._kernels.power import fit_powers

YEARS = [2003, 1950, 1997, 2000, 2009, 2009, 1980, 1999, 2007, 1991]


def fit(x, weight=None, *, box_cox=False, standardize=True):
    X = np.asarray(x, dtype=np.float64)
    X = X[:, np.newaxis] if X.ndim == 1 else X
    return fit_powers(X, weight, box_cox=box_cox, standardize=standardize)


def slope(x, lam, box_cox):
    """Return the derivative of the mean log-likelihood, in fifty digits."""
    x = np.asarray(x, dtype=np.float64)
    with mpmath.workdps(50):
        lam = mpmath.mpf(float(lam))
        if box_cox:
            s = [mpmath.log(mpmath.mpf(v)) for v in x]
            rates = [lam] * len(x)
        else:
            s = [mpmath.sign(v) * mpmath.log1p(abs(mpmath.mpf(v))) for v in x]
            rates = [lam if v >= 0 else lam - 2 for v in x]
        if len(set(rates)) == 1:
            # With one rate, all logarithms may be moved: it multiplies y by a number,
            # which leaves the rest of the digits to y where the power is large.
            s = [v - s[0] for v in s]
        pairs = [integral(v, rate) for v, rate in zip(s, rates, strict=True)]
        n = len(s)
        mean, dmean = (mpmath.fsum(p[k] for p in pairs) / n for k in (0, 1))
        var = mpmath.fsum((p[0] - mean) ** 2 for p in pairs)
        cov = mpmath.fsum((p[0] - mean) * (p[1] - dmean) for p in pairs)
        return mpmath.fsum(s) / n - cov / var


def integral(s, rate):
    """Return the integral of exp(rate * t) from 0 to s, and its derivative."""
    if abs(rate * s) < mpmath.mpf(10) ** -12:
        terms = [rate**k * s ** (k + 1) / mpmath.factorial(k) for k in range(5)]
        y = mpmath.fsum(term / (k + 1) for k, term in enumerate(terms))
        return y, s * mpmath.fsum(term / (k + 2) for k, term in enumerate(terms))
    e = mpmath.exp(rate * s)
    y = (e - 1) / rate
    return y, (s * e - y) / rate


def assert_likeliest(x, lam, box_cox, digits=1e-9):
    """Check that the likelihood, which is concave, turns next to a power."""
    s = np.log(x) if box_cox else np.sign(x) * np.log1p(np.abs(x))
    # Of the power, or of what the logarithms are multiplied by.
    step = digits * max(1.0, abs(lam)) + 1e-13 / np.ptp(s)
    assert slope(x, lam - step, box_cox) > 0
    assert slope(x, lam + step, box_cox) < 0


def case(name):
    rng = np.random.default_rng(7)
    signs = rng.choice([-1, 1], 150)
    return {
        "normal": lambda: rng.normal(size=200),
        "lognormal": lambda: rng.lognormal(size=200),
        "negative": lambda: -rng.lognormal(size=200),
        "cauchy": lambda: rng.standard_cauchy(200),
        "skewed": lambda: rng.lognormal(size=200) - 0.5,
        "ties": lambda: rng.poisson(1.5, 200) + 1.0,
        "large mean": lambda: 1e6 + rng.normal(size=150),
        "larger mean": lambda: 1e12 + rng.normal(size=150) ** 2,
        "large negative mean": lambda: -1e6 + 100 * rng.normal(size=150),
        "years": lambda: np.array(YEARS, dtype=float),
        "three": lambda: np.array([500.0, 550.0, 500.0]),
        "ten": lambda: np.array([10.0, 10.0, 10.0, 9.9]),
        "far": lambda: np.array([1.0, 1.0, 1e10]),
        "all magnitudes": lambda: np.exp(rng.uniform(-690, 690, 150)),
        "of both signs": lambda: signs * np.exp(rng.uniform(-690, 690, 150)),
        "tiny": lambda: 1e-300 * rng.lognormal(size=150),
        "huge": lambda: 1e300 * rng.lognormal(size=150),
        "float32": lambda: rng.lognormal(size=150).astype(np.float32),
        "neighbours": lambda: 1 + 1e-13 * rng.integers(0, 60, 150),
        "two": lambda: np.array([-4.8e-10, -5.8e-10]),
        "up to 0": lambda: -rng.poisson(1.0, 150).astype(float),
    }[name]()


NAMES = [
    "normal", "lognormal", "negative", "cauchy", "skewed", "ties", "large mean",
    "larger mean", "large negative mean", "years", "three", "ten", "far",
    "all magnitudes", "of both signs", "tiny", "huge", "float32", "neighbours", "two",
    "up to 0",
]  # fmt: skip


class TestItIsTheLikeliest:
    @pytest.mark.parametrize("name", NAMES)
    def test_yeo_johnson(self, name):
        x = case(name)
        assert_likeliest(x, fit(x).powers[0], box_cox=False)

    @pytest.mark.parametrize("name", NAMES)
    def test_box_cox(self, name):
        x = case(name)
        if x.min() <= 0:
            assert fit(x, box_cox=True).nonpositive.tolist() == [True]
        else:
            assert_likeliest(x, fit(x, box_cox=True).powers[0], box_cox=True)

    def test_columns_side_by_side(self, monkeypatch):
        columns = [case(name)[:10] for name in NAMES if len(case(name)) >= 10]
        together = fit(np.column_stack(columns)).powers
        apart = [fit(x).powers[0] for x in columns]
        np.testing.assert_array_equal(together, apart)
        monkeypatch.setattr(power, "_GROUP", 30)
        np.testing.assert_array_equal(fit(np.column_stack(columns)).powers, apart)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_missing_values_of_other_columns_are_nothing(self, rng, weighted):
        X = rng.lognormal(size=(300, 3))
        X[:9, 1] = np.nan
        weight = rng.random(300) if weighted else None
        apart = [fit(x, weight).powers[0] for x in X.T]
        np.testing.assert_array_equal(fit(X, weight).powers, apart)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_the_number_of_threads_is_nothing(self, rng, weighted):
        # Which decides how many columns are learned together, and how BLAS adds.
        X = rng.lognormal(size=(60_000, 10))
        X[rng.random(60_000) < 0.1, 0] = np.nan
        weight = rng.random(60_000) if weighted else None
        found = []
        for limit in (1, 2):
            with threadpool_limits(limit):
                found.append(fit(X, weight))
        np.testing.assert_array_equal(found[0].powers, found[1].powers)
        np.testing.assert_array_equal(found[0].mapped.sides, found[1].mapped.sides)

    @pytest.mark.parametrize("n", [30_000, 100_000])
    def test_more_rows_than_are_looked_at_first(self, rng, n):
        X = np.column_stack(
            [
                rng.standard_cauchy(n),
                np.sort(rng.lognormal(size=n)),
                # What is looked at first is another distribution than the rest.
                np.where(np.arange(n) % 8, rng.normal(size=n), rng.lognormal(size=n)),
                np.where(np.arange(n) % 8, rng.normal(size=n), 1.0),
            ]
        )
        powers = fit(X).powers
        for j, lam in enumerate(powers):
            # By differences of the likelihood in doubles, whose top is flat to 1e-6.
            near = [likelihood(X[:, j], lam + d) for d in (-1e-3, -1e-4, 0, 1e-4, 1e-3)]
            assert np.argmax(near) == 2
            # A parabola through three of them.
            low, top, high = near[0], near[2], near[4]
            vertex = 1e-3 * (low - high) / (2 * (low - 2 * top + high))
            assert abs(vertex) < 1e-6

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(
        hnp.arrays(
            np.float64,
            st.integers(5, 12),
            elements=st.floats(-1e4, 1e4, allow_subnormal=False),
        )
    )
    def test_any(self, x):
        fitted = fit(x)
        if np.ptp(x) <= 1e-12 * np.abs(x).max():
            return
        lam = fitted.powers[0]
        # The likelihood rises from the power 1 to this one, and on only if it is bound.
        if abs(lam - 1) > 1e-9:
            toward_one = lam + np.sign(1 - lam) * 1e-9 * max(1, abs(lam))
            assert slope(x, toward_one, False) * (lam - 1) > 0


def likelihood(x, lam):
    s = np.sign(x) * np.log1p(np.abs(x))
    rate = np.where(x < 0, lam - 2, lam)
    return -0.5 * np.log((np.expm1(rate * s) / rate).var()) + (lam - 1) * s.mean()


class TestKnownValues:
    def test_two_values(self):
        # An exponential tilt of [0, 1] has the mean 1 / (1 - exp(-t)) - 1 / t, which
        # is 1/3 at t; the logarithms of the values are so far apart.
        t = float(
            mpmath.findroot(lambda t: 1 / (1 - mpmath.exp(-t)) - 1 / t - 1 / 3, -2)
        )
        x = [500.0, 550.0, 500.0]
        np.testing.assert_allclose(fit(x).powers, t / np.log(551 / 501), rtol=1e-12)
        np.testing.assert_allclose(
            fit(x, box_cox=True).powers, t / np.log(1.1), rtol=1e-12
        )

    def test_symmetric_ones(self, rng):
        z = rng.normal(size=100)
        z = np.concatenate([z, -z])
        np.testing.assert_allclose(fit(z).powers, 1, atol=1e-12)
        np.testing.assert_allclose(fit(np.exp(z), box_cox=True).powers, 0, atol=1e-12)
        np.testing.assert_allclose(fit(np.expm1(np.abs(z)) * np.sign(z)).powers, 1)

    def test_published_ones(self):
        # The example of Xu & Cormode for overflow: 10^357 is no double.
        fitted = fit([10.0, 10.0, 10.0, 9.9], box_cox=True)
        np.testing.assert_allclose(fitted.powers, 357.55, atol=0.005)

    def test_a_constant_column_keeps_the_power_one(self):
        X = np.tile([3.0, 0.0, -1e300, 1e-310, 0.1 + 0.2], (5, 1))
        X[2, 4] = 0.3
        X[3] = np.nan
        np.testing.assert_array_equal(fit(X).powers, 1)
        np.testing.assert_array_equal(fit(X[:, [0, 3, 4]], box_cox=True).powers, 1)

    def test_counts(self):
        X = np.array([[1.0, np.nan, np.nan], [2, np.nan, 4], [5, np.nan, 6]])
        fitted = fit(X)
        np.testing.assert_array_equal(fitted.count, [3, 0, 2])
        np.testing.assert_array_equal(np.isnan(fitted.powers), [False, True, False])
        assert fit(X[:, [0]], np.array([1.0, 0, 2])).count[0] == 2


class TestInvariances:
    @pytest.mark.parametrize("scale", [1e-250, 1e-3, 7.0, 1e250])
    def test_of_box_cox_to_scale(self, rng, scale):
        x = rng.gamma(0.7, size=300) + 1e-3
        np.testing.assert_allclose(
            fit(scale * x, box_cox=True).powers, fit(x, box_cox=True).powers, atol=1e-11
        )

    @pytest.mark.parametrize("name", ["lognormal", "skewed", "years", "cauchy"])
    def test_of_yeo_johnson_to_the_sign(self, name):
        x = case(name)
        np.testing.assert_allclose(fit(-x).powers, 2 - fit(x).powers, rtol=1e-11)

    @pytest.mark.parametrize("n", [60, 20_000])
    def test_weights_are_repetitions(self, rng, n):
        X = np.column_stack([rng.lognormal(size=n), rng.standard_cauchy(n)])
        X[rng.random(X.shape) < 0.1] = np.nan
        weight = rng.integers(0, 4, n).astype(float)
        repeated = np.repeat(X, weight.astype(int), axis=0)
        for standardize in (True, False):
            np.testing.assert_allclose(
                fit(X, weight, standardize=standardize).powers,
                fit(repeated, standardize=standardize).powers,
                rtol=1e-10,
            )
        np.testing.assert_allclose(
            fit(X, 1e-200 * weight).powers, fit(X, weight).powers, rtol=1e-10
        )

    def test_missing_values_are_as_if_absent(self, rng):
        x = rng.lognormal(size=400)
        with_gaps = np.insert(x, [0, 17, 399], np.nan)
        np.testing.assert_allclose(fit(with_gaps).powers, fit(x).powers, rtol=1e-12)


def test_it_is_no_less_likely_than_scikit_learns(rng):
    X = rng.standard_t(2, size=(500, 6)) * np.exp(rng.normal(size=6) * 3)
    theirs = PowerTransformer().fit(X).lambdas_
    for x, ours, other in zip(X.T, fit(X).powers, theirs, strict=True):
        assert likelihood(x, ours) >= likelihood(x, other) - 1e-14
        assert abs(ours - other) < 1e-6
