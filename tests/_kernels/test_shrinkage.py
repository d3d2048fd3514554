import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

import sknorm._kernels.shrinkage as module
from sknorm._kernels.shrinkage import add_rows, empirical_bayes, inverse_trigamma
from sknorm.statistics import GroupedMoments, Moments


def shrunk(X, groups, weight=None):
    """Return what empirical Bayes makes of a table: mean and std of each group."""
    summary = GroupedMoments.from_array(X, groups, weight)
    total = summary.total()
    found = empirical_bayes(summary.columns, total.columns, summary.is_constant())
    return found.mean, found.std


def by_the_book(x, groups):
    """Do the same for a column, a group at a time, by the formulas of the docstring."""
    labels = sorted(set(groups))
    parts = [[v for v, g in zip(x, groups, strict=True) if g == k] for k in labels]
    n = [len(part) for part in parts]
    mean = [math.fsum(part) / len(part) for part in parts]
    q = [
        math.fsum((v - m) ** 2 for v in part)
        for part, m in zip(parts, mean, strict=True)
    ]
    overall = math.fsum(x) / len(x)
    told = [(qg, ng - 1) for qg, ng in zip(q, n, strict=True) if ng > 1 and qg > 0]
    e = [math.log(s / d) - digamma(d / 2) + math.log(d / 2) for s, d in told]
    center = sum(e) / len(e)
    excess = sum((v - center) ** 2 for v in e) / (len(e) - 1)
    excess -= sum(polygamma(1, d / 2) for _, d in told) / len(e)
    if excess > 0:
        half = brentq(lambda y: polygamma(1, y) - excess, 1e-6, 1e9, xtol=1e-14)
        s0 = math.exp(center + digamma(half) - math.log(half))
        within = [
            (2 * half * s0 + s) / (2 * half + g - 1) for s, g in zip(q, n, strict=True)
        ]
    else:
        within = [sum(q) / sum(g - 1 for g in n)] * len(n)
    share = [g / len(x) for g in n]
    between = sum(p * (m - overall) ** 2 for p, m in zip(share, mean, strict=True))
    between -= sum(w * (1 - p) for w, p in zip(within, share, strict=True)) / len(x)
    between = max(0, between / sum(p * (1 - p) for p in share))
    prior = [w / (w + g * between) for w, g in zip(within, n, strict=True)]
    return (
        [(1 - b) * m + b * overall for b, m in zip(prior, mean, strict=True)],
        [math.sqrt(w + b * between) for w, b in zip(within, prior, strict=True)],
    )


@pytest.mark.parametrize("y", [1e-300, 1e-17, 1e-8, 0.3, 1.6449340668482264, 1e9, 1e40])
def test_inverse_trigamma(y):
    found = float(inverse_trigamma(np.array([y]))[0])
    with mpmath.workdps(30):
        assert abs(mpmath.polygamma(1, mpmath.mpf(found)) / y - 1) < 4e-16 or (
            # Far out it is its leading term, which mpmath takes long for.
            y in (1e-300, 1e40)
        )
    if y == 1e-300:
        assert found == pytest.approx(1e300)
    if y == 1e40:
        assert found == pytest.approx(1e-20)


class TestAddRows:
    X = np.array([[0.0], [2.0], [10.0]])
    GROUPS = ("a", "a", "b")

    def added(self, k):
        summary = GroupedMoments.from_array(self.X, self.GROUPS)
        return add_rows(summary.columns, summary.total().columns, k)

    def test_none(self):
        found = self.added(0.0)
        np.testing.assert_array_equal(found.mean, [[1], [10]])
        np.testing.assert_array_equal(found.std, [[1], [0]])

    def test_as_many_as_all_rows_are_all_rows(self):
        found = self.added(3.0)
        for g, rows in enumerate([[0, 1], [2]]):
            both = Moments.from_array(self.X).update(self.X[rows])
            np.testing.assert_allclose(found.mean[g], both.mean, rtol=1e-15)
            np.testing.assert_allclose(found.std[g], both.std(), rtol=1e-15)

    @pytest.mark.parametrize("k", [1e17, 1e308, np.inf])
    def test_very_many_leave_all_alike(self, k):
        total = Moments.from_array(self.X)
        found = self.added(k)
        np.testing.assert_allclose(found.mean, np.tile(total.mean, (2, 1)), rtol=1e-15)
        np.testing.assert_allclose(found.std, np.tile(total.std(), (2, 1)), rtol=1e-15)

    @pytest.mark.parametrize("k", [0.0, 2.0])
    def test_a_group_without_values_has_what_all_have(self, k):
        X = np.array([[0.0, 1.0], [2.0, 1.0], [np.nan, 4.0]])
        summary = GroupedMoments.from_array(X, self.GROUPS)
        found = add_rows(summary.columns, summary.total().columns, k)
        assert (found.mean[1, 0], found.std[1, 0]) == (1, 1)


class TestEmpiricalBayes:
    @pytest.fixture
    def data(self, rng):
        groups = np.repeat(np.arange(30), rng.integers(1, 12, 30))
        spread = np.sqrt(4 / rng.chisquare(4, 30))[groups]
        x = rng.normal(size=30)[groups] + spread * rng.normal(size=len(groups))
        return x, groups

    def test_by_the_book(self, data):
        x, groups = data
        mean, std = shrunk(x[:, None], groups)
        expected_mean, expected_std = by_the_book(x, groups)
        np.testing.assert_allclose(mean[:, 0], expected_mean, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(std[:, 0], expected_std, rtol=1e-11)

    def test_variances_that_differ_by_chance_are_pooled(self):
        # Two groups with the same spread around 0 and 6: all by hand.
        x, groups = np.array([-1.0, 1.0, 5.0, 7.0]), np.array([0, 0, 1, 1])
        within, between = 2.0, 9.0 / 0.5 - 2.0 * (0.5 + 0.5) / 4 / 0.5
        prior = within / (within + 2 * between)
        mean, std = shrunk(x[:, None], groups)
        np.testing.assert_allclose(mean[:, 0], [3 * prior, 6 - 3 * prior], rtol=1e-15)
        np.testing.assert_allclose(
            std[:, 0], [math.sqrt(within + prior * between)] * 2, rtol=1e-15
        )
        np.testing.assert_allclose(std[:, 0], by_the_book(x, groups)[1], rtol=1e-15)

    def test_groups_that_do_not_differ_have_the_mean_of_all(self):
        x = np.array([-1.0, 1.0, -3.0, 3.0, -2.0, 2.0])
        mean, _ = shrunk(x[:, None], np.repeat([0, 1, 2], 2))
        np.testing.assert_array_equal(mean, 0)

    def test_large_groups_keep_their_own(self, rng):
        groups = np.repeat([0, 1, 2], 20_000)
        own = np.array([1.0, 5.0, 30.0])
        x = 10.0 * groups + own[groups] * rng.normal(size=60_000)
        mean, std = shrunk(x[:, None], groups)
        for g in range(3):
            part = x[groups == g]
            assert mean[g, 0] == pytest.approx(part.mean(), abs=0.01 * own[g])
            assert std[g, 0] == pytest.approx(part.std(), rel=2e-3)

    def test_it_finds_the_truth_better_than_the_groups_alone(self, rng):
        groups = np.repeat(np.arange(2_000), rng.integers(2, 6, 2_000))
        variance = 8 / rng.chisquare(8, 2_000)
        means = rng.normal(size=2_000)
        x = means[groups] + np.sqrt(variance[groups]) * rng.normal(size=len(groups))
        mean, std = shrunk(x[:, None], groups)
        own = GroupedMoments.from_array(x[:, None], groups)

        def error(a, b):
            return np.mean(np.square(a - b))

        assert error(mean[:, 0], means) < 0.8 * error(own.mean[:, 0], means)
        truth = np.log(variance) / 2
        # Of two rows a standard deviation says little.
        assert error(np.log(std[:, 0]), truth) < 0.3 * error(
            np.log(own.std()[:, 0]), truth
        )

    def test_new_values_are_standard_whatever_the_size_of_the_group(self, rng):
        sizes = np.tile([1, 2, 5, 30], 2_000)
        groups = np.repeat(np.arange(8_000), sizes)
        means = 2 * rng.normal(size=8_000)
        x = means[groups] + rng.normal(size=len(groups))
        mean, std = shrunk(x[:, None], groups)
        z = (means + rng.normal(size=8_000) - mean[:, 0]) / std[:, 0]
        for size in (1, 2, 5, 30):
            assert np.mean(np.square(z[sizes == size])) == pytest.approx(1, abs=0.1)
        assert std[sizes == 1].max() < x.std()

    def test_the_smaller_a_group_the_nearer_it_is_to_all(self):
        x = np.r_[np.tile([-1.0, 1.0], 50), 10.0 + np.tile([-1.0, 1.0], [8]), 9.0, 11.0]
        groups = np.r_[np.zeros(100), np.ones(16), np.full(2, 2)].astype(int)
        mean, std = shrunk(x[:, None], groups)
        assert 10 > mean[1, 0] > mean[2, 0] > x.mean()
        assert std[1, 0] < std[2, 0] < x.std()

    def test_one_row_has_the_prior(self, data):
        x, groups = data
        x, groups = np.append(x, 2.5), np.append(groups, 30)
        mean, std = shrunk(x[:, None], groups)
        assert x.mean() < mean[-1, 0] < 2.5
        expected_mean, expected_std = by_the_book(x, groups)
        assert mean[-1, 0] == pytest.approx(expected_mean[-1], rel=1e-11)
        assert std[-1, 0] == pytest.approx(expected_std[-1], rel=1e-11)

    def test_a_constant_group_has_the_prior(self, data):
        x, groups = data
        x, groups = np.append(x, [0.3] * 5), np.append(groups, [30] * 5)
        _, std = shrunk(x[:, None], groups)
        assert std[-1, 0] == pytest.approx(by_the_book(x, groups)[1][-1], rel=1e-11)

    @pytest.mark.parametrize(
        ("x", "groups"),
        [
            ([1.0, 2.0, 6.0], [0, 0, 0]),
            ([1.0, 2.0, 6.0, np.nan], [0, 0, 0, 1]),
            ([3.0, 3.0, 3.0], [0, 0, 1]),
            ([np.nan, np.nan], [0, 1]),
        ],
        ids=["one group", "one with values", "constant", "no values"],
    )
    def test_nothing_says_how_groups_differ(self, x, groups):
        X = np.array(x)[:, None]
        mean, std = shrunk(X, groups)
        total = Moments.from_array(X)
        np.testing.assert_array_equal(mean, np.tile(total.mean, (len(mean), 1)))
        np.testing.assert_array_equal(std, np.tile(total.std(), (len(mean), 1)))

    def test_groups_that_are_constant_and_differ_have_no_spread(self):
        mean, std = shrunk(np.array([[1.0], [1.0], [5.0]]), [0, 0, 1])
        np.testing.assert_array_equal(mean, [[1], [5]])
        np.testing.assert_array_equal(std, [[0], [0]])

    def test_only_groups_of_one_row(self):
        # The second column has a group of two values.
        X = np.array([[1.0, 1.0], [2.0, 2.0], [6.0, 6.0], [np.nan, 4.0]])
        mean, std = shrunk(X, [0, 1, 2, 2])
        total = Moments.from_array(X)
        # What is within groups and what is between them can't be told apart.
        np.testing.assert_allclose(mean[:, 0], total.mean[0], rtol=1e-15)
        np.testing.assert_allclose(std[:, 0], total.std()[0], rtol=1e-15)
        expected = shrunk(X[:, 1:], [0, 1, 2, 2])
        np.testing.assert_array_equal(mean[:, 1], expected[0][:, 0])
        np.testing.assert_array_equal(std[:, 1], expected[1][:, 0])
        assert len(set(mean[:, 1])) == 3
        # A row of weight 2 is two rows.
        mean, _ = shrunk(X[:3, :1], [0, 1, 2], np.array([1.0, 1.0, 2.0]))
        assert len(set(mean[:, 0])) == 3

    def test_columns_are_on_their_own(self, data, rng):
        x, groups = data
        X = np.stack([x, 7 * x + 3, np.where(rng.random(len(x)) < 0.2, np.nan, x)], 1)
        mean, std = shrunk(X, groups)
        np.testing.assert_allclose(mean[:, 1], 7 * mean[:, 0] + 3, rtol=1e-12)
        np.testing.assert_allclose(std[:, 1], 7 * std[:, 0], rtol=1e-12)
        there = ~np.isnan(X[:, 2])
        alone = shrunk(X[there, 2:], groups[there])
        labels = np.unique(groups[there])
        np.testing.assert_allclose(mean[labels, 2], alone[0][:, 0], rtol=1e-12)
        np.testing.assert_allclose(std[labels, 2], alone[1][:, 0], rtol=1e-12)

    def test_integer_weights_are_repetition(self, data, rng):
        x, groups = data
        weight = rng.integers(0, 4, len(x))
        weighted = shrunk(x[:, None], groups, weight)
        repeated = shrunk(np.repeat(x, weight)[:, None], np.repeat(groups, weight))
        for a, b in zip(weighted, repeated, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)

    @pytest.mark.parametrize("unit", [1e-9, 0.37])
    def test_weights_too_small_to_count_rows(self, data, unit):
        x, groups = data
        mean, std = shrunk(x[:, None], groups, np.full(len(x), unit))
        assert np.isfinite(mean).all()
        assert (std > 0).all()

    @pytest.mark.parametrize("unit", [2.0**-900, 2.0**900])
    def test_units_are_nothing(self, data, unit):
        x, groups = data
        mean, std = shrunk(x[:, None], groups)
        scaled_mean, scaled_std = shrunk(unit * x[:, None], groups)
        np.testing.assert_allclose(scaled_mean, unit * mean, rtol=1e-13)
        np.testing.assert_allclose(scaled_std, unit * std, rtol=1e-13)

    def test_offsets_of_groups_cost_no_digits(self, rng):
        groups = np.repeat(np.arange(50), 20)
        # Whole multiples of 2^-20, so that the offset rounds nothing.
        x = np.rint(rng.normal(size=1_000) * 2**20) / 2**20
        far = x + 2.0**20 * groups
        mean, std = shrunk(far[:, None], groups)
        with mpmath.workdps(50):
            for g in (0, 17, 49):
                part = [mpmath.mpf(float(v)) for v in x[groups == g]]
                own = mpmath.fsum(part) / 20
                # So far apart, a group is all but on its own.
                assert abs(mean[g, 0] - 2.0**20 * g - own) < 1e-6
        near = shrunk((x + 2.0**14 * groups)[:, None], groups)
        # What is still unknown of means so far apart is the same to 10 digits.
        np.testing.assert_allclose(std, near[1], rtol=1e-9)

    def test_special_functions_are_looked_up(self, data, monkeypatch):
        x, groups = data
        X = np.repeat(x[:, None], 40, axis=1)
        X[::7, 3] = np.nan
        found = shrunk(X, groups)
        monkeypatch.setattr(module, "_TABLE", 0)
        for a, b in zip(found, shrunk(X, groups), strict=True):
            np.testing.assert_array_equal(a, b)


def test_moments_are_left_alone(rng):
    summary = GroupedMoments.from_array(rng.normal(size=(20, 2)), np.arange(20) // 5)
    columns = replace(summary.columns)
    before = columns.mean.copy()
    empirical_bayes(columns, summary.total().columns, summary.is_constant())
    np.testing.assert_array_equal(columns.mean, before)
