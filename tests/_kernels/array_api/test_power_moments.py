"""Moments of transforms on other devices that have doubles: those of NumPy."""

import numpy as np
import pytest

import sknorm._kernels.power_moments
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api.power_moments import gather
from sknorm._kernels.power_frame import Frame
from sknorm._kernels.power_map import quiet


def table(rng):
    values = rng.normal(size=(200, 5))
    values[:, 1] = np.exp(values[:, 1])
    values[:, 2] = -np.exp(3 * values[:, 2]) - 3
    values[::7, 3] = np.nan
    values[:, 4] += 1e6
    return values


def both(X, weight, wide_abroad):
    return gather(wide_abroad(X), weight), sknorm._kernels.power_moments.gather(
        X, weight, None
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lacking", [False, True])
def test_gathered_as_by_numpy(wide_abroad, rng, weighted, lacking):
    X = table(rng)
    X = np.column_stack([X, np.full(200, np.nan)]) if lacking else X[:, [0, 1]]
    weight = rng.random(200) * (rng.random(200) < 0.8) if weighted else None
    found, expected = both(X, weight, wide_abroad)
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_array_equal(found.low, expected.low)
    np.testing.assert_array_equal(found.high, expected.high)
    assert (found.weights is None) == (expected.weights is None)
    if found.weights is not None:
        np.testing.assert_array_equal(
            *np.broadcast_arrays(to_numpy(found.weights), expected.weights)
        )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("power", [1.0, 0.0, 2.0, -3.0, 1e-9, 60.0])
def test_moments_as_by_numpy(wide_abroad, rng, weighted, stride, power):
    X = table(rng)
    weight = rng.random(200) + 0.1 if weighted else None
    found, expected = both(X, weight, wide_abroad)
    frame = Frame.of(expected.low, expected.high, 1.0)
    with quiet():
        for each in (found, expected):
            each.take_logs(frame)
        np.testing.assert_allclose(
            to_numpy(found.values), expected.values, rtol=1e-13, atol=1e-15
        )
        np.testing.assert_allclose(
            found.means(stride), expected.means(stride), rtol=1e-12
        )
        for chosen in (np.arange(5), np.array([1, 3])):
            some = frame.take(chosen)
            rate = power * some.scale
            a = found.moments(some, rate, chosen, stride)
            b = expected.moments(some, rate, chosen, stride)
            np.testing.assert_allclose(a.mean, b.mean, rtol=1e-10, atol=1e-300)
            np.testing.assert_allclose(a.products, b.products, rtol=1e-9, atol=1e-300)
