"""Moments on other devices: those of NumPy, to the digits that a device has."""

from fractions import Fraction

import numpy as np
import pytest

import sknorm._kernels.moments
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.moments import column_moments


def tolerance(abroad):
    """Return what sums are right to, relative to the spread."""
    return 2e-15 if abroad.has_float64 else 3e-7


def assert_alike(found, expected, tol):
    """Compare moments; the mean relative to the spread."""
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_allclose(found.weight, expected.weight, rtol=tol)
    np.testing.assert_allclose(found.std, expected.std, rtol=tol)
    apart = (found.mean - expected.mean) + (found.remainder - expected.remainder)
    np.testing.assert_array_equal(np.isnan(apart), np.isnan(expected.mean))
    bound = tol * np.maximum(np.nan_to_num(expected.std), 1e-300)
    assert (np.abs(np.nan_to_num(apart)) <= bound).all()


def as_stored(values, abroad):
    """Return the numbers that an array has after it went there."""
    with np.errstate(over="ignore", under="ignore"):
        return values if abroad.has_float64 else values.astype(np.float32)


def test_by_hand(abroad):
    moments = column_moments(abroad(np.array([[1.0, 7], [3, 7], [8, np.nan]])))
    assert moments.count.tolist() == [3, 2]
    assert moments.mean.tolist() == [4, 7]
    np.testing.assert_allclose(moments.std, [np.sqrt(26 / 3), 0], rtol=1e-6)
    assert moments.std[1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [1, 2, 63, 1000])
def test_as_numpy(abroad, rng, n_rows, weighted, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 1300)
    values = rng.standard_t(3, size=(n_rows, 5)) * [1, 1e-3, 1e5, 1, 1]
    values = (values + np.array([0, 1, 1e6, 0, 0])).astype(dtype)
    values[rng.random(n_rows) < 0.3, 3] = np.nan
    values[:, 4] = 0.1
    values = as_stored(values, abroad)
    weight = rng.exponential(size=n_rows) * (rng.random(n_rows) < 0.8)
    weight = weight + (weight.sum() == 0) if weighted else None
    expected = sknorm._kernels.moments.column_moments(values, weight)
    assert_alike(column_moments(abroad(values), weight), expected, tolerance(abroad))


@pytest.mark.parametrize("offset", [1e6, 1e12, -1e15])
def test_offsets_cost_no_digits(abroad, offset, rng):
    if not abroad.has_float64:
        offset /= 1e5
    values = as_stored(rng.normal(size=(500, 1)) + offset, abroad)
    exact = [Fraction(float(x)) for x in values[:, 0]]
    mean = sum(exact) / len(exact)
    variance = float(sum((x - mean) ** 2 for x in exact) / len(exact))
    moments = column_moments(abroad(values))
    found = Fraction(float(moments.mean[0])) + Fraction(float(moments.remainder[0]))
    tol = tolerance(abroad)
    assert abs(float(found - mean)) <= tol * np.sqrt(variance)
    np.testing.assert_allclose(moments.std**2, variance, rtol=4 * tol)


@pytest.mark.parametrize("exponent", [-300, -200, 200, 300])
def test_squares_do_not_leave_the_range_of_floats(abroad, exponent, rng):
    exponent = exponent if abroad.has_float64 else exponent // 10
    values = as_stored(rng.normal(size=(200, 2)) * 10.0**exponent, abroad)
    expected = sknorm._kernels.moments.column_moments(values)
    assert_alike(column_moments(abroad(values)), expected, tolerance(abroad))


def test_the_largest_and_the_smallest_numbers(abroad):
    info = np.finfo(np.float64 if abroad.has_float64 else np.float32)
    low, high = float(info.smallest_subnormal), float(info.max)
    moments = column_moments(abroad(np.array([[low, -high], [3 * low, high]])))
    assert moments.mean.tolist() == [2 * low, 0]
    np.testing.assert_allclose(moments.std, [low, high], rtol=tolerance(abroad))


@pytest.mark.parametrize("scale", [1e-300, 1e-10, 1e15, 1e300])
def test_only_ratios_of_weights_matter(abroad, scale, rng):
    values, weight = rng.normal(size=(100, 2)), rng.random(100) + 0.1
    values[3, 1] = np.nan
    X = abroad(values)
    one, other = column_moments(X, weight), column_moments(X, weight * scale)
    tol = tolerance(abroad)
    np.testing.assert_allclose(other.mean, one.mean, rtol=0, atol=tol)
    np.testing.assert_allclose(other.std, one.std, rtol=tol)
    np.testing.assert_allclose(other.weight, one.weight * scale, rtol=tol)


def test_weights_are_repetitions(abroad):
    X = np.array([[1.0], [5.0], [np.nan], [2.0]])
    weight = np.array([2.0, 1.0, 4.0, 0.0])
    repeated = column_moments(abroad(np.repeat(X, weight.astype(int), axis=0)))
    weighted = column_moments(abroad(X), weight)
    assert weighted.count.tolist() == [2]
    assert weighted.weight.tolist() == [3]
    assert_alike(
        weighted, type(weighted)(weighted.count, *list(vars(repeated).values())[1:]),
        tolerance(abroad),
    )  # fmt: skip


def test_an_outlier_in_the_sample_does_not_spoil_the_bulk(abroad, rng):
    values = rng.normal(size=(1000, 1))
    values[0] = 1e15
    weight = np.ones(1000)
    weight[0] = 1e-30
    expected = sknorm._kernels.moments.column_moments(as_stored(values, abroad), weight)
    found = column_moments(abroad(values), weight)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-6)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=1e-6)


def test_values_that_the_sample_misses(abroad):
    values = np.full((1000, 1), np.nan)
    values[[501, 503]] = [[3.0], [5.0]]
    moments = column_moments(abroad(values))
    assert (moments.mean[0], moments.std[0], moments.count[0]) == (4, 1, 2)


def test_infinite_and_empty_columns(abroad):
    values = np.array([[np.inf, np.nan, 1], [1, np.nan, 2], [-np.inf, np.nan, 3]])
    moments = column_moments(abroad(values))
    assert moments.infinite.tolist() == [True, False, False]
    assert moments.count.tolist() == [3, 0, 3]
    assert np.isnan(moments.mean[:2]).all()
    assert np.isnan(moments.std[:2]).all()
    assert moments.mean[2] == 2


def test_no_rows_that_count(abroad):
    moments = column_moments(abroad(np.ones((2, 3))), np.zeros(2))
    assert moments.count.tolist() == [0, 0, 0]


def test_it_is_what_numpys_kernel_calls(abroad):
    X = abroad(np.array([[1.0], [3.0]]))
    assert sknorm._kernels.moments.column_moments(X).mean.tolist() == [2]
