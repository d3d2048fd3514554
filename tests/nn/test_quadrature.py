"""Expectations under the normal distribution, against closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.special import ndtr
from scipy.stats import norm

from sknorm.nn._quadrature import (
    gaussian_expectation,
    gaussian_pair_expectation,
    slope,
)

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


def by_pieces(fn, ends):
    """Integrate a smooth function from each end to the next."""
    return sum(
        integrate.quad(fn, low, high, epsabs=1e-15, epsrel=1e-13)[0]
        for low, high in itertools.pairwise(ends)
    )


def density(x, std):
    return math.exp(-((x / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("std", [33.0, 100.0, 1e3, 1e4, 1e6])
def test_heavy_tails_at_every_std(std):
    """A panel of std may reach from where softsign bends to where it is flat."""
    value = gaussian_expectation(lambda x: (x / (1 + x.abs())) ** 2, std)
    ends = [0, *(2.0**k for k in range(-2, 24) if 2.0**k < 14 * std), 14 * std]
    expected = by_pieces(lambda x: 2 * (x / (1 + x)) ** 2 * density(x, std), ends)
    assert value == pytest.approx(expected, rel=1e-12)


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


# --------------------------------------------------------------------------------------
# Two variables
# --------------------------------------------------------------------------------------
NEAR = [1e-3, 1e-6, 1e-12]
CORRELATIONS = [0.1, 0.6, 0.9, 1.0, *(1 - gap for gap in NEAR)]
CORRELATIONS += [0.0, -0.0, *(-c for c in CORRELATIONS)]


def product_of(fn):
    return lambda u, v: fn(u) * fn(v)


def step(x):
    return (x > 0).double()


@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (torch.ones_like, lambda c, s: 1.0),
        (lambda x: x, lambda c, s: c * s**2),
        (torch.square, lambda c, s: (1 + 2 * c**2) * s**4),
        (
            torch.relu,
            lambda c, s: (
                (math.sqrt(1 - c**2) + math.acos(-c) * c) / (2 * math.pi) * s**2
            ),
        ),
        (
            torch.abs,
            lambda c, s: (math.sqrt(1 - c**2) + math.asin(c) * c) * 2 / math.pi * s**2,
        ),
        (step, lambda c, s: 1 / 4 + math.asin(c) / (2 * math.pi)),
        (
            torch.erf,
            lambda c, s: math.asin(2 * s**2 * c / (1 + 2 * s**2)) * 2 / math.pi,
        ),
    ],
    ids=["one", "x", "x^2", "relu", "abs", "step", "erf"],
)
def test_closed_forms_of_pairs(fn, expected, std):
    scale = expected(1.0, std)
    for c in CORRELATIONS:
        value = gaussian_pair_expectation(product_of(fn), c, std)
        # asin loses eight digits of its own next to 1.
        near = 1e-8 if 0 < 1 - abs(c) < 1e-3 else 1e-13
        assert value == pytest.approx(expected(c, std), rel=1e-13, abs=near * scale), c


def clipped(x):
    return x.clamp(-1, 1)


def mean_clipped(mean, std):
    """E[max(-1, min(1, x))] for x ~ N(mean, std^2)."""
    low, high = (-1 - mean) / std, (1 - mean) / std
    inner = mean * (ndtr(high) - ndtr(low))
    return inner + std * (density(low, 1) - density(high, 1)) + ndtr(-high) - ndtr(low)


@pytest.mark.parametrize("std", [0.3, 2.7, 40.0])
@pytest.mark.parametrize("c", [0.0, 0.4, 0.9, 0.9999, -0.4, -0.99])
def test_several_kinks(c, std):
    """Both bends of one variable meet both of the other."""
    rest = std * math.sqrt(1 - c**2)

    def integrand(u):
        return max(-1, min(1, u)) * mean_clipped(c * u, rest) * density(u, std)

    # One variable given the other bends within a few of what is left of its std.
    bends = [-1 / c, 1 / c] if c else []
    turns = [bend + k * rest for bend in bends for k in (-8, -4, -2, -1, 0, 1, 2, 4, 8)]
    reach = 12 * std
    ends = [end for end in (-1, 1, *turns) if abs(end) < reach]
    expected = by_pieces(integrand, sorted([-reach, *ends, reach]))
    value = gaussian_pair_expectation(product_of(clipped), c, std)
    assert value == pytest.approx(expected, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("gap", NEAR)
def test_difference_keeps_its_digits_next_to_one(gap):
    """For two numbers that differ in their last digits, as a mean of squares."""
    c = 1 - gap
    value = gaussian_pair_expectation(lambda u, v: (u - v).square(), c, 3.0)
    # Digits are lost where u - v is formed: it is sqrt(gap) of u.
    lost = 1e-15 / math.sqrt(gap)
    assert value == pytest.approx(18 * (1 - c), rel=1e-13 + lost)


@given(
    c=st.floats(-1, 1),
    std=st.floats(0.05, 2000),
    fn=st.sampled_from([torch.tanh, torch.relu, torch.nn.functional.softsign]),
)
@settings(deadline=None, max_examples=15)
def test_pairs_agree_with_single_numbers(c, std, fn):
    """What depends on one of two numbers has the mean that it has alone."""
    pair = gaussian_pair_expectation(
        lambda u, v: fn(u).square() + fn(v).square(), c, std
    )
    alone = gaussian_expectation(lambda z: fn(z).square(), std)
    assert pair == pytest.approx(2 * alone, rel=1e-12)


def test_no_finite_mean_of_pairs():
    with pytest.raises(ValueError, match=r"no finite mean over N\(0, 2\^2\)"):
        gaussian_pair_expectation(product_of(torch.log), 0.5, 2.0)


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
