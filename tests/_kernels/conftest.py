"""Exact arithmetic that moments are compared with."""

import math
from fractions import Fraction

import numpy as np
import pytest

EPS = Fraction(1, 2**52)


def exact_sqrt(square):
    """Return a root that is right to at least 100 digits in binary."""
    shift = 128 + max(
        0, square.denominator.bit_length() - square.numerator.bit_length()
    )
    root = math.isqrt((square.numerator << (2 * shift)) // square.denominator)
    return Fraction(root, 1 << shift)


def _exact(column, weight=None):
    """Return mean and std of the stored numbers, in rational arithmetic."""
    weights = np.ones(len(column)) if weight is None else weight
    pairs = [
        (Fraction(float(x)), Fraction(float(w)))
        for x, w in zip(column, weights, strict=True)
        if not np.isnan(x) and w
    ]
    total = sum(w for _, w in pairs)
    mean = sum(w * x for x, w in pairs) / total
    square = sum(w * (x - mean) ** 2 for x, w in pairs) / total
    return mean, exact_sqrt(square)


def _assert_exact(moments, X, weight=None, ulps=8):
    """Compare with rational arithmetic: errors in units of the last place of std."""
    for j, column in enumerate(X.T):
        mean, std = _exact(column, weight)
        both = Fraction(moments.mean[j]) + Fraction(moments.remainder[j])
        assert abs(both - mean) <= ulps * EPS * std
        assert abs(Fraction(moments.std[j]) - std) <= ulps * EPS * std


def _assert_close(a, b, rtol=1e-14):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.weight, b.weight, rtol=rtol)
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol)


@pytest.fixture
def exact():
    """Mean and std of a column in rational arithmetic."""
    return _exact


@pytest.fixture
def assert_exact():
    """The comparison of moments with those in rational arithmetic."""
    return _assert_exact


@pytest.fixture
def assert_close():
    """The comparison of two moments, up to rounding."""
    return _assert_close
