from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.stats
from scipy.special import ndtri

from sknorm.inspection._distribution import describe


def area(part):
    return float(np.sum(part.density * np.diff(part.edges)))


class TestNumbers:
    def test_by_hand(self):
        # Deviations -1, -1, -1, 3: variance 3, m3 = 6, m4 = 21.
        part = describe("a", np.array([1.0, 1, 1, 5, np.nan]))
        assert (part.name, part.count, part.missing) == ("a", 4, 0.2)
        assert part.mean == 2
        assert part.std == pytest.approx(3**0.5, rel=1e-15)
        assert part.skewness == pytest.approx(6 / 3**1.5, rel=1e-15)
        assert part.excess_kurtosis == pytest.approx(21 / 9 - 3, rel=1e-14)
        assert part.beyond_3_sigma == 0
        assert part.reference == (part.mean, part.std)

    def test_beyond_3_sigma_of_the_column_or_of_the_standard_normal(self):
        values = np.r_[np.zeros(98), 10.0, -10.0]
        # std is the root of 2, so both tens are 7 of them away.
        assert describe("a", values).beyond_3_sigma == 0.02
        assert describe("a", values / 5, standard=True).beyond_3_sigma == 0
        assert describe("a", values + 4, standard=True).beyond_3_sigma == 1

    def test_parity_with_scipy(self, rng):
        values = rng.gamma(2, 3, size=5000)
        part = describe("a", values)
        assert part.skewness == pytest.approx(scipy.stats.skew(values), rel=1e-12)
        kurtosis = scipy.stats.kurtosis(values)
        assert part.excess_kurtosis == pytest.approx(kurtosis, rel=1e-12)

    @pytest.mark.parametrize(
        ("scale", "offset"), [(1, 1e6), (1, 1e12), (1e-170, 0), (1e150, 0)]
    )
    def test_any_units(self, rng, scale, offset):
        values = rng.exponential(size=200) * scale + offset
        exact = [Fraction(v) for v in values]
        mean = sum(exact) / len(exact)
        second, third, fourth = (
            sum((v - mean) ** k for v in exact) / len(exact) for k in (2, 3, 4)
        )
        part = describe("a", values)
        with mpmath.workdps(40):
            second = mpmath.mpf(second.numerator) / second.denominator
            third = mpmath.mpf(third.numerator) / third.denominator
            skewness = float(third / second ** mpmath.mpf(1.5))
            fourth = mpmath.mpf(fourth.numerator) / fourth.denominator
            kurtosis = float(fourth / second**2) - 3
        assert part.skewness == pytest.approx(skewness, rel=1e-13)
        assert part.excess_kurtosis == pytest.approx(kurtosis, rel=1e-13)

    @pytest.mark.parametrize("value", [0.0, 7.0, 1e17, -1e-300])
    def test_a_constant(self, value):
        part = describe("a", np.full(9, value))
        assert (part.mean, part.std, part.beyond_3_sigma) == (value, 0, 0)
        assert np.isnan([part.skewness, part.excess_kurtosis]).all()
        assert part.edges[0] < value < part.edges[-1]
        assert (np.diff(part.edges) > 0).all()
        assert part.outside == 0

    def test_a_constant_but_for_rounding(self):
        part = describe("a", np.array([0.1 + 0.2, 0.3, 0.3]))
        assert (part.std, part.beyond_3_sigma) == (0, 0)
        assert part.outside == 0

    @pytest.mark.parametrize("standard", [False, True])
    def test_no_values(self, standard):
        part = describe("a", np.full(3, np.nan), standard=standard)
        assert (part.count, part.missing, part.outside) == (0, 1, 0)
        numbers = [part.mean, part.std, part.skewness, part.beyond_3_sigma]
        assert np.isnan(numbers).all()
        assert not part.density.any()
        assert len(part.scores) == len(part.quantiles) == 0

    def test_infinite_values_are_out_of_view(self, rng):
        values = np.r_[rng.normal(size=98), np.inf, -np.inf]
        part = describe("a", values, standard=True)
        assert np.isnan([part.mean, part.std, part.skewness]).all()
        assert part.outside == 2
        assert part.beyond_3_sigma >= 0.02
        assert np.isfinite(part.edges).all()
        assert np.isnan(describe("a", values).beyond_3_sigma)


class TestHistogram:
    @pytest.mark.parametrize("standard", [False, True])
    @pytest.mark.parametrize("n", [1, 2, 5, 1000])
    def test_area_is_1(self, rng, n, standard):
        part = describe("a", rng.normal(size=n), standard=standard)
        assert part.outside == 0
        assert area(part) == pytest.approx(1, rel=1e-12)

    def test_area_is_the_share_in_view(self, rng):
        part = describe("a", rng.standard_cauchy(10_000))
        assert area(part) == pytest.approx(1 - part.outside / 10_000, rel=1e-12)

    def test_a_heavy_tail_does_not_widen_the_view(self, rng):
        # The quartiles are -1 and 1, so it ends at -11 and 11, beyond which lie
        # 2 arctan(1 / 11) / pi = 5.77 % of the values.
        part = describe("a", rng.standard_cauchy(100_000))
        np.testing.assert_allclose(part.edges[[0, -1]], [-11, 11], rtol=0.03)
        assert part.outside / 100_000 == pytest.approx(0.0577, rel=0.05)

    def test_a_normal_is_seen_whole(self, rng):
        values = rng.normal(5, 2, size=10_000)
        part = describe("a", values)
        assert tuple(part.edges[[0, -1]]) == (values.min(), values.max())

    def test_the_view_of_a_standard_normal_is_not_narrow(self):
        part = describe("a", np.linspace(-0.1, 0.2, 100), standard=True)
        assert tuple(part.edges[[0, -1]]) == (-4, 4)

    def test_number_of_bins(self, rng):
        values = rng.normal(size=100_000)
        assert len(describe("a", values, bins=7).density) == 7
        assert len(describe("a", values).density) == 60
        assert len(describe("a", values[:4]).density) == 5

    def test_few_values_get_a_bin_each(self, rng):
        values = rng.integers(0, 4, size=1000).astype(float)
        part = describe("a", values)
        np.testing.assert_array_equal(part.edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
        np.testing.assert_allclose(part.density, np.bincount(values.astype(int)) / 1000)
        part = describe("a", values / 2, standard=True)
        np.testing.assert_allclose(
            part.edges, [-4, -0.25, 0.25, 0.75, 1.25, 1.75, 4], rtol=1e-15
        )
        assert part.density[0] == part.density[-1] == 0
        assert area(part) == pytest.approx(1, rel=1e-12)

    def test_a_rare_value_far_away(self):
        # The quartiles are the same, and so are the outer hundredths.
        values = np.r_[np.zeros(998), 1.0, 1e6]
        part = describe("a", values)
        assert part.outside == 0
        assert area(part) == pytest.approx(1, rel=1e-12)


class TestQuantiles:
    def test_scores_are_those_of_blom(self):
        part = describe("a", np.array([3.0, np.nan, 1.0, 2.0]))
        np.testing.assert_array_equal(part.quantiles, [1, 2, 3])
        expected = ndtri((np.array([1, 2, 3]) - 3 / 8) / (3 + 1 / 4))
        np.testing.assert_allclose(part.scores, expected, rtol=1e-15, atol=1e-15)

    def test_of_many_some_are_kept_with_both_ends(self, rng):
        values = rng.normal(size=50_001)
        part = describe("a", values)
        assert len(part.scores) <= 300
        assert part.quantiles[[0, -1]].tolist() == [values.min(), values.max()]
        assert (np.diff(part.scores) > 0).all()
        assert np.diff(part.scores).max() < 0.3
        # They lie on the diagonal but for sampling.
        middle = np.abs(part.scores) < 2
        np.testing.assert_allclose(
            part.quantiles[middle], part.scores[middle], atol=0.03
        )

    def test_a_sample_of_rows_is_for_quantiles_alone(self, rng):
        values = rng.normal(size=1000)
        rows = np.arange(100)
        part, whole = describe("a", values, rows=rows), describe("a", values)
        np.testing.assert_array_equal(part.quantiles, np.sort(values[:100]))
        for name in ("mean", "std", "skewness", "excess_kurtosis", "count"):
            assert getattr(part, name) == getattr(whole, name)
        assert area(part) == pytest.approx(1 - part.outside / 1000, rel=1e-12)
