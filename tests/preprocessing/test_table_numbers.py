"""The standardizer that suits a column, and what it makes of it."""

import numpy as np
import pytest
import scipy.stats
from sklearn.preprocessing import PowerTransformer, SplineTransformer, StandardScaler

from sknorm.preprocessing import Standardizer
from sknorm.preprocessing._table_numbers import Shape, choose, fit_groups, shape_of


class TestShape:
    def test_by_hand(self):
        # Mean 1, deviations -1, -1, -1, 3, variance 3.
        found = shape_of(np.array([0.0, 0.0, 0.0, 4.0, np.nan]), None)
        assert found.skewness == pytest.approx(24 / 4 / 3**1.5)
        assert found.kurtosis == pytest.approx(84 / 4 / 9 - 3)
        assert found.n_distinct == 2
        assert found.tied == 0.75

    def test_is_scipys(self, rng):
        x = rng.gamma(2.0, size=500)
        found = shape_of(x, None)
        assert found.skewness == pytest.approx(scipy.stats.skew(x), rel=1e-12)
        assert found.kurtosis == pytest.approx(scipy.stats.kurtosis(x), rel=1e-11)
        assert found.tied == 1 / 500

    def test_weights_are_repetitions(self, rng):
        x, weight = (
            rng.integers(0, 9, size=50).astype(float),
            rng.integers(1, 4, size=50),
        )
        x[3] = np.nan
        found, expected = shape_of(x, weight), shape_of(np.repeat(x, weight), None)
        for name in ("skewness", "kurtosis", "n_distinct", "tied"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name))

    @pytest.mark.parametrize("values", [[7.0, 7.0], [0.1 + 0.2, 0.3]])
    def test_a_constant(self, values):
        found = shape_of(np.array(values), None)
        assert (found.skewness, found.kurtosis) == (0, 0)

    def test_no_values(self):
        assert shape_of(np.array([np.nan]), None) == Shape(0, 0, 0, 0)

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_any_scale(self, rng, scale):
        x = rng.exponential(size=200)
        found, expected = shape_of(scale * x, None), shape_of(x, None)
        assert found.skewness == pytest.approx(expected.skewness)
        assert found.kurtosis == pytest.approx(expected.kurtosis)


class TestChoose:
    @pytest.mark.parametrize(
        ("shape", "name"),
        [
            (Shape(0, 0, 1000, 0), "standard"),
            (Shape(1, 3, 1000, 0), "standard"),
            (Shape(-1, -1.2, 2, 0.5), "standard"),
            (Shape(1.01, 0, 1000, 0), "quantile"),
            (Shape(-1.01, 0, 1000, 0), "quantile"),
            (Shape(0, 3.01, 100, 0.25), "quantile"),
            (Shape(0, 3.01, 99, 0.25), "robust"),
            (Shape(2, 3.01, 100, 0.26), "robust"),
        ],
    )
    def test_bounds(self, shape, name):
        assert choose(shape) == name

    @pytest.mark.parametrize(
        ("draw", "name"),
        [
            (lambda rng: rng.normal(1e6, 1, size=5000), "standard"),
            (lambda rng: rng.uniform(size=5000), "standard"),
            (lambda rng: rng.integers(0, 100, size=5000), "standard"),
            (lambda rng: rng.lognormal(size=5000), "quantile"),
            (lambda rng: -rng.exponential(size=5000), "quantile"),
            (lambda rng: rng.standard_t(2, size=5000), "quantile"),
            (lambda rng: rng.poisson(0.2, size=5000), "robust"),
            (lambda rng: rng.lognormal(size=5000) * (rng.random(5000) < 0.5), "robust"),
        ],
    )
    def test_distributions(self, rng, draw, name):
        assert choose(shape_of(draw(rng).astype(float), None)) == name


class TestGroups:
    X = np.array([[1.0, 5.0, 0.0], [np.nan, 6.0, 1.0], [3.0, 9.0, 1.0]])

    def test_one_for_all_that_have_the_same(self):
        own = StandardScaler()
        wanted = {0: "standard", 1: own, 2: "standard"}
        first, second = fit_groups(self.X, None, wanted)
        assert (first.kind, first.members) == ("standard", [0, 2])
        assert (second.kind, second.members) == ("StandardScaler", [1])
        assert second.transformer is not own
        Z = first.transform(self.X[:, [0, 2]])
        expected = Standardizer().fit_transform(self.X[:, [0, 2]])
        np.testing.assert_array_equal(Z, np.nan_to_num(expected))

    def test_equal_transformers_that_are_two(self):
        wanted = {0: StandardScaler(), 1: StandardScaler()}
        assert [group.members for group in fit_groups(self.X, None, wanted)] == [
            [0],
            [1],
        ]

    def test_columns_left_out(self):
        (group,) = fit_groups(self.X, None, {1: "boolean"})
        assert (group.kind, group.members) == ("boolean", [1])
        assert isinstance(group.transformer, Standardizer)

    @pytest.mark.parametrize(
        ("weight", "mean"), [(None, 2), (np.array([3.0, 1.0, 1.0]), 1.5)]
    )
    def test_what_gaps_become_without_standardizing(self, weight, mean):
        (group,) = fit_groups(self.X[:, :1], weight, {0: "none"})
        np.testing.assert_array_equal(group.transform(self.X[:, :1]).T, [[1, mean, 3]])

    def test_mistakes(self):
        X = self.X[:, 1:]
        with pytest.raises(
            ValueError, match=r"made an array of shape \(3, 7\) of 1 col"
        ):
            fit_groups(X, None, {0: SplineTransformer()})
        with pytest.raises(KeyError, match="quantle"):
            fit_groups(X, None, {0: "quantle"})
        with pytest.raises(ValueError, match="PowerTransformer takes no sample_weight"):
            fit_groups(X, np.ones(3), {0: PowerTransformer()})
