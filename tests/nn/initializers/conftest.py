"""How a scheme is drawn from, and what its draws are compared with."""

import math

import pytest
import torch

from sknorm.nn.initializers import EdgeOfChaos

SHAPE = 200, 50  # a weight: 10 000 numbers
GAIN = 1.5


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _draw(scheme, shape=SHAPE, *, gain=GAIN, seed=0, dtype=torch.float32):
    weight = torch.full(shape, math.nan, dtype=dtype)
    if isinstance(scheme, EdgeOfChaos):
        scheme = scheme.bind(
            phi=torch.tanh, gain=gain, position="hidden", normalized=False
        )
    assert scheme(weight, gain=gain, generator=_rng(seed)) is weight
    return weight


def _assert_moments(scheme, mean, var, kurtosis, dtype):
    weight = _draw(scheme, dtype=dtype).double()
    count = weight.numel()
    # Five standard errors of a mean and of a variance over so many independent numbers.
    assert weight.mean() == pytest.approx(mean, abs=5 * math.sqrt(var / count) + 1e-7)
    error = 5 * var * math.sqrt((kurtosis - 1) / count)
    assert weight.var() == pytest.approx(var, abs=error + 1e-12)


def _assert_bounds(scheme, low, high):
    weight, width = _draw(scheme).double(), high - low
    assert low - 1e-6 * width <= weight.min() < low + 0.01 * width
    assert high - 0.01 * width < weight.max() <= high + 1e-6 * width


def _assert_as_torch(scheme, torch_init):
    expected = torch.empty(SHAPE)
    if torch_init is torch.nn.init.zeros_:
        torch_init(expected)
    else:
        torch_init(expected, generator=_rng())
    # The same draws; bounds may differ in the last digit.
    torch.testing.assert_close(_draw(scheme), expected, rtol=1e-6, atol=1e-7)


def _assert_fills_bias(scheme, mean, var):
    assert scheme.fills_bias
    bias = torch.full((10_000,), math.nan)
    assert scheme.fill_bias(bias, fan_in=16, generator=_rng()) is bias
    bias = bias.double()
    assert bias.mean() == pytest.approx(mean, abs=5 * math.sqrt(var / 1e4) + 1e-7)
    assert bias.var() == pytest.approx(var, rel=5 * math.sqrt(2 / 1e4), abs=1e-12)


@pytest.fixture
def draw():
    """What a scheme fills a weight of shape (200, 50) with, at a gain of 1.5."""
    return _draw


@pytest.fixture
def assert_moments():
    """The comparison of a weight's mean and variance with those of a distribution."""
    return _assert_moments


@pytest.fixture
def assert_bounds():
    """The check that a weight keeps within bounds and nearly reaches them."""
    return _assert_bounds


@pytest.fixture
def assert_as_torch():
    """The comparison of a weight with the one that a function of torch fills."""
    return _assert_as_torch


@pytest.fixture
def assert_fills_bias():
    """The comparison of a bias's mean and variance with those of a distribution."""
    return _assert_fills_bias
