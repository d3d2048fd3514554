from fractions import Fraction

import numpy as np
import pytest

from sknorm._kernels.merging import (
    FIELDS,
    ColumnMoments,
    empty_moments,
    merge,
    quiet,
    rescaled,
    two_sum,
)
from sknorm._kernels.moments import column_moments


def moments_of(count, mean, std):
    """Return the moments of one column."""
    parts = [[count], [float(count)], [mean], [0.0], [std]]
    return ColumnMoments(np.array(parts[0]), *map(np.array, parts[1:]))


def test_merging_by_hand():
    # 1, 3 and 8: mean 4, squared deviations 9, 1 and 16.
    both = merge(moments_of(2, 2.0, 1.0), moments_of(1, 8.0, 0.0))
    assert both.count == 3
    assert both.weight == 3.0
    assert both.mean + both.remainder == 4.0
    assert both.std == pytest.approx((26 / 3) ** 0.5, rel=1e-15)


@pytest.mark.parametrize("cut", [0, 1, 137, 299, 300])
def test_merging_parts_is_the_whole(assert_exact, rng, cut):
    X, weight = 1e6 + rng.normal(size=(300, 3)), rng.random(300)
    X[:150, 1] = np.nan
    parts = [column_moments(X[:cut], weight[:cut])]
    parts.append(column_moments(X[cut:], weight[cut:]))
    assert_exact(merge(parts[0], parts[1]), X, weight)
    assert_exact(merge(parts[1], parts[0]), X, weight)


def test_merging_nothing_with_nothing():
    both = merge(empty_moments(2), empty_moments(2))
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(both, name), getattr(empty_moments(2), name)
        )


def test_a_sum_and_what_rounding_took_off_it():
    a, b = np.array([1.0, 1e16, -0.1]), np.array([2.0**-60, 1.0, 0.3])
    total, error = two_sum(a, b)
    np.testing.assert_array_equal(total, a + b)
    for exact in zip(a, b, total, error, strict=True):
        x, y, s, e = map(Fraction, exact)
        assert x + y == s + e


@pytest.mark.parametrize("unit", [1e-320, 1e-300, 1.0, 1e300])
def test_one_column_in_units_of_its_own(unit):
    x = np.array([1.0, 3.0, np.nan, 8.0]) * unit
    mean, remainder, std = rescaled(x, np.ones(4))
    # Below 1e-308 doubles have few digits themselves.
    digits = 1e-3 if unit < 1e-308 else 1e-15
    assert mean + remainder == pytest.approx(4 * unit, rel=digits)
    assert std == pytest.approx((26 / 3) ** 0.5 * unit, rel=digits)


def test_one_column_with_an_infinite_value():
    assert np.isnan(rescaled(np.array([1.0, np.inf]), np.ones(2))).all()


def test_infinite_columns_are_told():
    X = np.array([[1.0, np.inf, np.nan], [2.0, 1.0, np.nan]])
    assert column_moments(X).infinite.tolist() == [False, True, False]


def test_what_overflows_is_looked_at_again_silently():
    with np.errstate(all="raise"), quiet():
        assert np.isinf(np.float64(1e200) * np.float64(1e200))
