"""Expectations under the normal distribution, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from sknorm.nn._quadrature import gaussian_expectation, slope

STDS = [0.01, 0.3, 1.0, 2.7, 40.0]


@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (torch.ones_like, lambda s: 1.0),
        (lambda x: x, lambda s: 0.0),
        (torch.square, lambda s: s**2),
        (lambda x: x**4, lambda s: 3 * s**4),
        (torch.abs, lambda s: s * math.sqrt(2 / math.pi)),
        (torch.relu, lambda s: s / math.sqrt(2 * math.pi)),
        (torch.cos, lambda s: math.exp(-(s**2) / 2)),
        (lambda x: (x > 0.75).double(), lambda s: norm.sf(0.75 / s)),
        (torch.special.ndtr, lambda s: 0.5),
    ],
    ids=["one", "x", "x^2", "x^4", "abs", "relu", "cos", "step", "ndtr"],
)
def test_closed_forms(fn, expected, std):
    value = gaussian_expectation(fn, std)
    assert value == pytest.approx(expected(std), rel=1e-9, abs=1e-9 * max(std, 1))


@pytest.mark.parametrize("std", STDS[:-1])
def test_kinks_are_exact_at_every_std(std):
    """Hardtanh bends at -1 and 1, which are no round numbers of std."""
    a = 1 / std
    inner = std**2 * (norm.cdf(a) - norm.cdf(-a) - 2 * a * norm.pdf(a))
    expected = inner + 2 * norm.sf(a)
    value = gaussian_expectation(lambda x: x.clamp(-1, 1) ** 2, std)
    assert value == pytest.approx(expected, rel=1e-11)


def test_exponential_growth():
    assert gaussian_expectation(torch.exp) == pytest.approx(math.exp(0.5), rel=1e-12)


@given(std=st.floats(0.05, 8), shift=st.floats(-3, 3))
@settings(deadline=None, max_examples=30)
def test_scaling_the_variable_or_the_function_is_the_same(std, shift):
    direct = gaussian_expectation(lambda x: torch.tanh(x + shift), std)
    scaled = gaussian_expectation(lambda x: torch.tanh(std * x + shift))
    # Where tanh turns within 1 / 8, panels of 1 / 4 leave it ten digits.
    assert direct == pytest.approx(scaled, abs=1e-9)


def test_function_may_write_into_its_argument():
    gaussian_expectation(lambda x: x.zero_(), 1.5)
    assert gaussian_expectation(torch.square, 1.5) == pytest.approx(2.25, rel=1e-12)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_wrong_std(std):
    with pytest.raises(ValueError, match=rf"'std' parameter.*Got {std!r}"):
        gaussian_expectation(torch.tanh, std)


@pytest.mark.parametrize("fn", [torch.log, lambda x: 1 / (x * 0)])
def test_no_finite_mean(fn):
    with pytest.raises(ValueError, match=r"no finite mean over N\(0, 1\^2\)"):
        gaussian_expectation(fn)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (torch.square, [-4.0, 1.0, 6.0]),
        (torch.relu, [0.0, 1.0, 1.0]),
        (torch.round, [0.0, 0.0, 0.0]),
        (lambda x: (x > 0).double(), [0.0, 0.0, 0.0]),
        (lambda x: torch.ones(3, requires_grad=True), [0.0, 0.0, 0.0]),
    ],
    ids=["square", "relu", "round", "step", "constant"],
)
@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode]
)
def test_slope(fn, expected, mode):
    z = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    with mode():
        result = slope(fn, z)
    assert result.tolist() == expected
    assert not z.requires_grad
