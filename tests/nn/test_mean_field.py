"""Mean-field theory against closed forms, other people's numbers and wide networks."""

from __future__ import annotations

import functools
import math
import re

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import zeta
from torch import nn

from sknorm.nn.activations import ACTIVATIONS, gaussian_expectation
from sknorm.nn.mean_field import (
    DepthScales,
    chi,
    correlation_map,
    critical_sigma,
    fixed_point,
    trainable_depth,
    variance_map,
)

HE = math.sqrt(2)
CORRELATIONS = [-1.0, -0.999, -0.6, 0.0, 0.3, 0.9, 0.9999, 1 - 1e-9, 1.0]


class Erf:
    """What the theory says in closed form about the error function."""

    def __init__(self, sigma_w, sigma_b):
        self.w, self.b = sigma_w**2, sigma_b**2

    def variance(self, q):
        return self.w * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + self.b

    def correlation(self, c, q):
        covariance = self.w * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) + self.b
        return covariance / self.variance(q)

    def fixed_point(self):
        return brentq(lambda q: self.variance(q) - q, 1e-6, 1e6, xtol=1e-15)

    def chi(self, q):
        return self.w * 4 / math.pi / math.sqrt(1 + 4 * q)

    def variance_slope(self, q):
        return self.w * 4 / math.pi / (1 + 2 * q) / math.sqrt(1 + 4 * q)

    def correlation_slope(self, c, q):
        spread = (1 + 2 * q) ** 2 - (2 * q * c) ** 2
        return self.w * 4 / math.pi * q / math.sqrt(spread) / self.variance(q)

    def settled_correlation(self):
        q = self.fixed_point()
        if self.correlation_slope(1, q) <= 1:
            return 1.0
        return brentq(lambda c: self.correlation(c, q) - c, 0, 1 - 1e-6)


def arc_cosine(c, slope):
    """The next correlation after a leaky ReLU, at every variance, without biases.

    It is (1 + slope) / 2 of its argument and (1 - slope) / 2 of its absolute value.
    """
    linear, absolute = ((1 + slope) / 2) ** 2, ((1 - slope) / 2) ** 2
    of_absolute = 2 / math.pi * (math.sqrt(1 - c**2) + c * math.asin(c))
    return (linear * c + absolute * of_absolute) / (linear + absolute)


def leaky(slope):
    return functools.partial(nn.LeakyReLU, slope)


# --------------------------------------------------------------------------------------
# The variance
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 1.0, 50.0, 1e6])
def test_variance_in_closed_form(q):
    variance = functools.partial(variance_map, q, sigma_w=1.5, sigma_b=0.5)
    assert variance("identity") == pytest.approx(2.25 * q + 0.25, rel=1e-13)
    assert variance("relu") == pytest.approx(2.25 * q / 2 + 0.25, rel=1e-13)
    assert variance(torch.erf) == pytest.approx(Erf(1.5, 0.5).variance(q), rel=1e-13)
    sine = 2.25 * -math.expm1(-2 * q) / 2 + 0.25
    # A sine of thousands of radians turns too often to be followed.
    if q < 1e3:
        assert variance(torch.sin) == pytest.approx(sine, rel=1e-10)


def test_variance_of_nothing_is_that_of_the_activation_at_zero():
    assert variance_map(0.0, "sigmoid", sigma_w=2.0, sigma_b=3.0) == 10.0


@pytest.mark.parametrize(
    ("name", "sigma_w", "layers", "q"),
    [
        ("tanh", 1.0, 10, 0.0522),
        ("tanh", 1.0, 50, 0.01022),
        ("tanh", 1.0, 100, 0.00507),
        ("selu", 0.75, 10, 0.067),
        ("selu", 0.75, 100, 0.023),
        ("selu", 1.0, 10, 1.0),
    ],
)
def test_variance_layer_by_layer(name, sigma_w, layers, q):
    value = 1.0
    for _ in range(layers):
        value = variance_map(value, name, sigma_w)
    assert value == pytest.approx(q, rel=1e-2)


def test_tanh_and_sigmoid_to_the_last_digits():
    with mpmath.workdps(20):
        for name, phi in [
            ("tanh", mpmath.tanh),
            ("sigmoid", lambda z: 1 / (1 + mpmath.exp(-z))),
        ]:
            expected = mpmath.quad(
                lambda z, phi=phi: phi(mpmath.sqrt(2.5) * z) ** 2 * mpmath.npdf(z),
                [-12, -3, 0, 3, 12],
            )
            value = variance_map(2.5, name, sigma_w=1.0)
            assert value == pytest.approx(float(expected), rel=1e-14)


# --------------------------------------------------------------------------------------
# The correlation
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("q", [1e-4, 30.0])
@pytest.mark.parametrize("slope", [0.0, 0.5, -1.0])
def test_correlation_after_the_relu_family(slope, q):
    value = correlation_map(CORRELATIONS, leaky(slope), 1.5, q=q)
    expected = [arc_cosine(c, slope) for c in CORRELATIONS]
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("sigma_w", "sigma_b"), [(0.5, 0.0), (HE, 0.0), (HE, 0.3), (1.5, 0.0), (1.5, 0.3)]
)
def test_correlation_after_relu_at_its_fixed_point(sigma_w, sigma_b):
    """At 0, at 1, and at inf, where biases are nothing."""
    value = correlation_map(CORRELATIONS, "relu", sigma_w, sigma_b)
    assert value == pytest.approx([arc_cosine(c, 0.0) for c in CORRELATIONS], abs=1e-12)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("q", [1e-4, 1.0])
def test_correlation_after_erf(q, sigma_b):
    theory = Erf(1.5, sigma_b)
    value = correlation_map(CORRELATIONS, torch.erf, 1.5, sigma_b, q=q)
    expected = [theory.correlation(c, q) for c in CORRELATIONS]
    assert value == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_correlation_after_a_sine():
    value = correlation_map(CORRELATIONS, torch.sin, 1.0, q=2.0)
    expected = np.sinh(2 * np.array(CORRELATIONS)) / math.sinh(2)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_correlation_of_biases_is_one():
    value = correlation_map(CORRELATIONS, "identity", 0.5, 0.5, q=2.0)
    assert value == pytest.approx((0.5 * np.array(CORRELATIONS) + 0.25) / 0.75)
    assert correlation_map([-0.5, 0.5], "tanh", 0.0, 1.0).tolist() == [1.0, 1.0]


def test_correlation_at_the_limits_of_the_variance():
    """Near 0 tanh is linear, SELU a leaky ReLU; far out SiLU is a ReLU."""
    assert fixed_point("tanh", 0.5) == fixed_point("selu", 0.5) == 0
    assert correlation_map(0.3, "tanh", 0.5) == pytest.approx(0.3, rel=1e-14)
    small = correlation_map(0.3, "selu", 0.5)
    assert small == pytest.approx(arc_cosine(0.3, 1.6732632423543772), rel=1e-12)
    assert fixed_point("silu", 2.0) == math.inf
    large = correlation_map(0.3, "silu", 2.0)
    assert large == pytest.approx(arc_cosine(0.3, 0.0), rel=1e-10)
    # Two inputs that are both next to nothing are both next to what phi is at 0.
    assert correlation_map(-1.0, "sigmoid", 1.0, q=0) == 1.0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_correlation_is_convex_and_ends_at_one(name):
    c = np.linspace(0, 1, 6)
    value = correlation_map(c, name, 1.3, 0.2, q=1.5)
    assert value[-1] == 1
    assert (np.diff(value) > 0).all()
    assert (np.diff(value, 2) > -1e-12).all()
    assert value[0] > 0


@pytest.mark.parametrize("name", ["tanh", "relu", "selu", "gelu"])
def test_slope_of_the_correlation_at_one_is_chi(name):
    """At a variance that isn't kept, chi q / V(q)."""
    q, gap = 0.7, 1e-8
    expected = chi(name, 1.3, 0.2, q=q) * q / variance_map(q, name, 1.3, 0.2)
    slope = (1 - correlation_map(1 - gap, name, 1.3, 0.2, q=q)) / gap
    # Behind a kink 1 - C is off by as much as the square root of the gap.
    assert slope == pytest.approx(expected, rel=1e-4)


# --------------------------------------------------------------------------------------
# The fixed point
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "sigma_w", "q", "factor"),
    [
        ("tanh", 5 / 3, 1.17848, 1.2098),
        ("sigmoid", 1.0, 0.26469, 0.0557),
        ("selu", 1.0, 1.0, 0.96603**-2),
        ("relu", HE, 1.0, 1.0),
        ("identity", 1.0, 1.0, 1.0),
    ],
)
def test_known_fixed_points(name, sigma_w, q, factor):
    assert fixed_point(name, sigma_w) == pytest.approx(q, abs=6e-6)
    assert chi(name, sigma_w) == pytest.approx(factor, abs=6e-5)


def test_second_moment_of_tanh_with_the_gain_of_torch():
    assert fixed_point("tanh", 5 / 3) / (5 / 3) ** 2 == pytest.approx(0.4243, abs=5e-5)


@pytest.mark.parametrize("sigma_b", [1e-3, 0.3, 3.0])
@pytest.mark.parametrize("sigma_w", [0.3, 0.9, 1.5, 10.0])
def test_fixed_point_in_closed_form(sigma_w, sigma_b):
    theory = Erf(sigma_w, sigma_b)
    q = fixed_point(torch.erf, sigma_w, sigma_b)
    assert q == pytest.approx(theory.fixed_point(), rel=1e-11)
    assert chi(torch.erf, sigma_w, sigma_b) == pytest.approx(theory.chi(q), rel=1e-12)
    for name, share in [("identity", 1.0), ("relu", 0.5)]:
        kept = share * sigma_w**2
        expected = sigma_b**2 / (1 - kept) if kept < 1 else math.inf
        assert fixed_point(name, sigma_w, sigma_b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("spec", "sigma_w", "sigma_b", "q"),
    [
        ("tanh", 0.0, 0.0, 0.0),
        ("tanh", 0.0, 0.3, 0.09),
        ("tanh", 0.999, 0.0, 0.0),
        ("tanh", 1.0, 0.0, 0.0),
        (nn.Hardtanh, 1.0, 0.0, 0.0),
        (nn.Hardshrink, 1.0, 0.0, 0.0),
        ("relu", HE * (1 - 1e-9), 0.0, 0.0),
        ("relu", HE * (1 + 1e-9), 0.0, math.inf),
        ("relu", HE, 0.1, math.inf),
        ("relu", 1e200, 0.0, math.inf),
        ("silu", 2.0, 0.0, math.inf),
        ("softplus", HE, 0.0, math.inf),
        (torch.square, 0.5, 0.0, 0.0),
        (torch.square, 2.0, 0.0, math.inf),
        (torch.exp, 1.0, 0.0, math.inf),
        (lambda x: (x > 0).double(), 2.0, 0.0, 2.0),
    ],
    # Where functions are in memory differs from process to process.
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_limits_and_special_cases(spec, sigma_w, sigma_b, q):
    assert fixed_point(spec, sigma_w, sigma_b) == pytest.approx(q, rel=1e-12)


@pytest.mark.parametrize("excess", [1e-2, 1e-4, 1e-6])
def test_next_to_the_edge_tanh_keeps_a_little(excess):
    """V(q) = sigma_w^2 (q - 2 q^2 + 17 / 3 q^3 ...) from the series of tanh."""
    sigma_w = math.sqrt(1 + excess)
    q = fixed_point("tanh", sigma_w)
    expected = brentq(
        lambda q: (1 + excess) * (1 - 2 * q + 17 / 3 * q**2) - 1, 0, excess, xtol=1e-16
    )
    # The next term of the series is 19 q^3; rounding moves q by 1e-16.
    assert q == pytest.approx(expected, rel=20 * q**2 + 1e-8 * 1e-6 / excess)


def test_softplus_settles_far_out_if_at_all():
    """E[softplus^2] is q / 2 + 2 zeta(3) / sqrt(2 pi q), up to a share of 1 / q."""
    lost = 1e-6
    q = fixed_point("softplus", HE * math.sqrt(1 - lost))
    expected = (2 * 2 * zeta(3) / math.sqrt(2 * math.pi) / lost) ** (2 / 3)
    assert q == pytest.approx(expected, rel=1e-3)
    assert q > 1e4


@pytest.mark.parametrize(("name", "sigma_w"), [("silu", 1.45), ("mish", 1.42)])
def test_fixed_point_that_is_about_to_vanish(name, sigma_w):
    """With more bias it meets an unstable one, and both are gone."""

    def kept(log_q):
        return variance_map(math.exp(log_q), name, sigma_w) - math.exp(log_q)

    lowest = minimize_scalar(kept, bounds=(-2, 4), method="bounded")
    q, bias_var = math.exp(lowest.x), -lowest.fun
    assert q > 1
    few = fixed_point(name, sigma_w, math.sqrt(bias_var * (1 - 1e-6)))
    assert few == pytest.approx(q, rel=1e-2)
    assert few < q
    assert fixed_point(name, sigma_w, math.sqrt(bias_var * (1 + 1e-6))) == math.inf


@given(
    spec=st.sampled_from([*ACTIVATIONS, nn.Hardtanh, nn.Hardswish, torch.sin]),
    sigma_w=st.floats(0.1, 4),
    sigma_b=st.floats(0.05, 3),
)
@settings(deadline=None, max_examples=15)
def test_fixed_point_is_fixed_and_where_the_map_leads(spec, sigma_w, sigma_b):
    q = fixed_point(spec, sigma_w, sigma_b)
    if math.isfinite(q):
        assert variance_map(q, spec, sigma_w, sigma_b) == pytest.approx(q, rel=1e-11)
    values = [1.0]
    for _ in range(10):
        values.append(variance_map(values[-1], spec, sigma_w, sigma_b))
        # These maps grow with q, so the way to the fixed point knows no turning back.
        assert min(1, q) * (1 - 1e-9) <= values[-1] <= max(1, q) * (1 + 1e-9)
    way = np.diff(values) * (1 if q > 1 else -1)
    assert (way > -1e-9 * np.array(values[1:])).all()


@pytest.mark.parametrize("spec", [torch.cos, lambda x: torch.exp(-(x**2))])
def test_map_that_swings_about_its_fixed_point(spec):
    value = 1.0
    for _ in range(80):
        value = variance_map(value, spec, 3.0)
    assert fixed_point(spec, 3.0) == pytest.approx(value, rel=1e-10)


# --------------------------------------------------------------------------------------
# Gradients and the edge of chaos
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("q", [1e-4, 1.0, 100.0])
def test_chi_in_closed_form(q):
    factor = functools.partial(chi, sigma_w=1.5, q=q)
    assert factor("relu") == pytest.approx(1.125, rel=1e-13)
    assert factor(leaky(0.5)) == pytest.approx(2.25 * 0.625, rel=1e-13)
    assert factor(torch.erf) == pytest.approx(Erf(1.5, 0).chi(q), rel=1e-13)
    sine = 2.25 * (1 + math.exp(-2 * q)) / 2
    assert factor(torch.sin) == pytest.approx(sine, rel=1e-10)


def test_chi_at_the_limits_of_the_variance():
    assert chi("tanh", 1.5, q=0) == 2.25
    assert chi("relu", 1.5, q=0) == pytest.approx(1.125, rel=1e-13)
    assert chi("relu", math.sqrt(512)) == pytest.approx(256, rel=1e-13)
    assert chi("gelu", 2.0, q=math.inf) == pytest.approx(2.0, rel=1e-11)
    assert chi(torch.sign, 1.0) == 0  # as backpropagation has it


@pytest.mark.parametrize(
    ("q", "weight_var", "bias_var"),
    [
        (0.1, 1.17757, 0.000832),
        (0.25, 1.39396, 0.008125),
        (0.5, 1.68798, 0.038041),
        (0.57005, 1.76095, 0.05),
        (1.0, 2.15330, 0.150965),
        (2.0, 2.86116, 0.512265),
    ],
)
def test_edge_of_chaos_of_tanh(q, weight_var, bias_var):
    sigma_w = critical_sigma("tanh", math.sqrt(bias_var))
    # The biases are given to six places, the least of them to three digits.
    assert sigma_w**2 == pytest.approx(weight_var, rel=1e-4)
    assert fixed_point("tanh", sigma_w, math.sqrt(bias_var)) == pytest.approx(
        q, rel=5e-4
    )


@pytest.mark.parametrize(
    ("spec", "sigma_w"),
    [
        ("relu", HE),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        (torch.abs, 1.0),
        ("identity", 1.0),
        ("tanh", 1.0),
        ("softsign", 1.0),
        ("elu", 1.0),
        ("selu", math.sqrt(2 / (1 + 1.6732632423543772**2)) / 1.0507009873554805),
        (torch.erf, math.sqrt(math.pi) / 2),
        (lambda x: 3 * torch.sin(2 * x), 1 / 6),
    ],
)
def test_edge_of_chaos_without_biases(spec, sigma_w):
    assert critical_sigma(spec) == pytest.approx(sigma_w, rel=1e-13)


@pytest.mark.parametrize("sigma_b", [0.01, 0.5, 5.0])
def test_edge_of_chaos_of_erf(sigma_b):
    def excess(q):
        weight_var = math.pi / 4 * math.sqrt(1 + 4 * q)
        return Erf(math.sqrt(weight_var), sigma_b).variance(q) - q

    q = brentq(excess, 1e-4, 1e4, xtol=1e-14)
    expected = math.sqrt(math.pi / 4 * math.sqrt(1 + 4 * q))
    assert critical_sigma(torch.erf, sigma_b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "sigma_b"),
    [
        ("sigmoid", 0.0),
        ("elu", 0.3),
        ("selu", 1.0),
        ("softsign", 0.1),
        ("gelu", 0.43),
        ("silu", 0.77),
        ("mish", 0.32),
    ],
)
def test_at_the_edge_chi_is_one(name, sigma_b):
    sigma_w = critical_sigma(name, sigma_b)
    assert chi(name, sigma_w, sigma_b) == pytest.approx(1, abs=1e-9)
    if name == "sigmoid":
        assert sigma_w == pytest.approx(10.149, abs=1e-3)
        assert fixed_point(name, sigma_w) == pytest.approx(45.62, abs=5e-3)


@pytest.mark.parametrize(
    ("spec", "sigma_b", "reason"),
    [
        ("softplus", 0.0, "weights for which chi is 1 keep no variance"),
        ("relu", 0.1, "weights for which chi is 1 keep no variance"),
        (torch.sign, 0.1, "weights for which chi is 1 keep no variance"),
        (torch.exp, 0.0, "chi is 1 at a variance of 1, but others move away"),
        ("gelu", 0.0, "chi is 1 at a variance of 0, but a variance of 1 goes to inf"),
        ("silu", 0.3, "at a variance of 1.4, but a variance of 1 goes to 0.361"),
        ("gelu", 0.4, "a variance of 1 goes to"),
        ("silu", 0.73, "a variance of 1 goes to"),
        ("mish", 0.29, "a variance of 1 goes to"),
        (torch.square, 0.0, "a variance of 1 goes to inf"),
    ],
)
def test_no_edge_of_chaos(spec, sigma_b, reason):
    with pytest.raises(
        ValueError,
        match=rf"has no edge of chaos at sigma_b={sigma_b}: .*{reason}.*Choose another "
        "sigma_b or another activation",
    ):
        critical_sigma(spec, sigma_b)


# --------------------------------------------------------------------------------------
# Depths
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("sigma_b", [0.05, 0.5])
@pytest.mark.parametrize("sigma_w", [0.5, 1.2, 2.5])
def test_depths_in_closed_form(sigma_w, sigma_b):
    theory = Erf(sigma_w, sigma_b)
    q, c = theory.fixed_point(), theory.settled_correlation()
    expected = DepthScales(
        variance=-1 / math.log(theory.variance_slope(q)),
        correlation=-1 / math.log(theory.correlation_slope(c, q)),
        gradient=1 / abs(math.log(theory.chi(q))),
    )
    scales = trainable_depth(torch.erf, sigma_w, sigma_b)
    assert scales == pytest.approx(expected, rel=1e-8)
    if c == 1:
        assert scales.correlation == pytest.approx(scales.gradient, rel=1e-12)
    else:
        assert sigma_w > 1


def test_depth_of_chaos_without_biases():
    """An odd function sends all to 0, where C' is the square of the mean slope."""
    sigma_w = 2.0
    q = fixed_point("tanh", sigma_w)
    mean_slope = gaussian_expectation(lambda z: 1 - torch.tanh(z) ** 2, math.sqrt(q))
    expected = -1 / math.log(sigma_w**2 * mean_slope**2)
    assert trainable_depth("tanh", sigma_w).correlation == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "sigma_w", "sigma_b", "expected"),
    [
        # The relative size changes by sigma_w^2 / 2 a layer, angles in no such way.
        ("relu", HE, 0.0, (math.inf, math.inf, math.inf)),
        ("relu", HE, 0.1, (math.inf, math.inf, math.inf)),
        ("relu", 2.0, 0.0, (1 / math.log(2), math.inf, 1 / math.log(2))),
        ("silu", 2.0, 0.3, (1 / math.log(2), math.inf, 1 / math.log(2))),
        ("relu", 1.0, 0.0, (1 / math.log(2), math.inf, 1 / math.log(2))),
        ("relu", 1.0, 0.5, (1 / math.log(2),) * 3),
        ("identity", 0.5, 0.5, (1 / math.log(4),) * 3),
        ("tanh", 0.5, 0.0, (1 / math.log(4), math.inf, 1 / math.log(4))),
        ("tanh", 1.0, 0.0, (math.inf, math.inf, math.inf)),
        ("tanh", 0.0, 0.0, (0.0, 0.0, 0.0)),
        ("tanh", 0.0, 0.3, (0.0, 0.0, 0.0)),
        (nn.Hardshrink, 0.5, 0.0, (0.0, 0.0, 0.0)),
    ],
)
def test_depths_in_special_cases(spec, sigma_w, sigma_b, expected):
    scales = trainable_depth(spec, sigma_w, sigma_b)
    assert scales == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("spec", [torch.square, torch.exp])
def test_no_depth_where_the_signal_runs_away_ever_faster(spec):
    with pytest.raises(ValueError, match="steepens without end"):
        trainable_depth(spec, 2.0)


@pytest.mark.parametrize("name", ["tanh", "elu", "selu"])
def test_depth_has_no_end_at_the_edge(name):
    sigma_w = critical_sigma(name, 0.3)
    scales = trainable_depth(name, sigma_w, 0.3)
    assert scales.correlation == scales.gradient == math.inf
    assert scales.variance < 20
    # Above it the depth is that of the gradient for a smooth function and, since
    # 1 - C then ends with (1 - c)^(3 / 2), twice that for one with a kink.
    above = trainable_depth(name, sigma_w * (1 + 1e-5), 0.3)
    ratio = 2 if name == "selu" else 1
    assert above.correlation / above.gradient == pytest.approx(ratio, rel=1e-2)


def test_correlations_decay_as_the_depth_says():
    """The map itself, iterated, loses a factor e in as many layers."""
    scales, q = trainable_depth("tanh", 3.0, 0.5), fixed_point("tanh", 3.0, 0.5)
    values = [0.9]
    for _ in range(25):
        values.append(correlation_map(values[-1], "tanh", 3.0, 0.5, q=q))
    steps = np.diff(values)
    per_layer = (steps[-1] / steps[-6]) ** (1 / 5)
    assert -1 / math.log(per_layer) == pytest.approx(scales.correlation, rel=1e-2)


# --------------------------------------------------------------------------------------
# Wide networks
# --------------------------------------------------------------------------------------
WIDTH, PAIRS, LAYERS, SEEDS = 4096, 32, 2, 3


@pytest.fixture(scope="module")
def draws():
    """Draw standard normal weights and biases once: it is what takes longest."""
    generator = torch.Generator().manual_seed(0)
    return [
        [
            torch.randn(WIDTH, WIDTH + 1, generator=generator).split([WIDTH, 1], dim=1)
            for _ in range(LAYERS)
        ]
        for _ in range(SEEDS)
    ]


def measure(layers, name, sigma_w, sigma_b, *, q, c, seed):
    """Send pairs of inputs through a network and a gradient back.

    Returns, for each layer after the first, the logarithm of the variance of
    pre-activations, the correlation of the pairs, and the logarithm of what the layer
    multiplies the variance of the gradient by.
    """
    phi, generator = ACTIVATIONS[name].module(), torch.Generator().manual_seed(seed)
    one, other = math.sqrt(q) * torch.randn(2, PAIRS, WIDTH, generator=generator)
    pair = torch.stack([one, c * one + math.sqrt(1 - c**2) * other])
    preactivations = [pair.requires_grad_()]
    for weight, bias in layers:
        signal = phi(preactivations[-1]) @ weight.T
        scaled = sigma_w / math.sqrt(WIDTH) * signal
        preactivations.append(scaled + sigma_b * bias.T)
    probe = torch.randn(pair.shape, generator=generator)
    gradients = torch.autograd.grad((preactivations[-1] * probe).sum(), preactivations)
    sizes = [float(gradient.double().square().mean()) for gradient in gradients]
    results = []
    for index, z in enumerate(preactivations[1:]):
        size = float(z.detach().double().square().mean())
        correlation = float(z[0].detach().double().mul(z[1].detach()).mean()) / size
        factor = sizes[index] / sizes[index + 1]
        results.append((math.log(size), correlation, math.log(factor)))
    return results


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [
        ("tanh", 5 / 3, 0.0),
        ("relu", HE, 0.0),
        ("selu", 1.0, 0.0),
        ("gelu", 1.5, 0.3),
        ("sigmoid", 3.0, 0.5),
    ],
)
def test_wide_networks(draws, name, sigma_w, sigma_b):
    """The mean over three networks is within four standard deviations of theory.

    A layer's variance is a mean over its units and, for each unit, over inputs. Given
    the layer before, the units are independent and each one's square has variance 2,
    of which averaging over inputs leaves the square of their correlation, and 1 / PAIRS
    of the rest. The squares of what the layer is fed, or of gradients, have a variance
    of 5 at most, and as many independent numbers as there are units and inputs. Errors
    of the layers before are handed on with a factor of at most 1.
    """
    q, c, unrelated, variance = 1.0, 0.6, 0.0, 0.0
    measured = np.mean(
        [
            measure(layers, name, sigma_w, sigma_b, q=q, c=c, seed=seed)
            for seed, layers in enumerate(draws)
        ],
        axis=0,
    )
    for size, correlation, factor in measured:
        expected_factor = chi(name, sigma_w, sigma_b, q=q)
        c, unrelated = correlation_map([c, unrelated], name, sigma_w, sigma_b, q=q)
        q = variance_map(q, name, sigma_w, sigma_b)
        variance += 2 / WIDTH * (unrelated**2 + 1 / PAIRS) + 5 / (2 * PAIRS * WIDTH)
        tolerance = 4 * math.sqrt(variance / SEEDS)
        assert tolerance < 0.07
        assert size == pytest.approx(math.log(q), abs=tolerance)
        assert correlation == pytest.approx(c, abs=tolerance)
        assert factor == pytest.approx(math.log(expected_factor), abs=tolerance)


# --------------------------------------------------------------------------------------
# What is given and what comes back
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "spec",
    [
        "tanh",
        nn.Tanh,
        nn.Tanh(),
        torch.tanh,
        ACTIVATIONS["tanh"],
        lambda x: 2 * torch.sigmoid(2 * x) - 1,
    ],
)
def test_any_form_of_an_activation(spec):
    assert fixed_point(spec, 1.5, 0.1) == pytest.approx(
        fixed_point("tanh", 1.5, 0.1), rel=1e-12
    )
    assert critical_sigma(spec, 0.3) == pytest.approx(critical_sigma("tanh", 0.3))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: variance_map(x, "relu", 1.5, 0.5),
        lambda x: correlation_map(x, "relu", 1.5, 0.5, q=2.0),
        lambda x: chi("tanh", 1.5, 0.5, q=x),
    ],
    ids=["variance_map", "correlation_map", "chi"],
)
def test_numbers_in_numbers_out_and_arrays_in_arrays_out(function):
    values = [[0.0, 0.5], [1.0, 0.25]]
    result = function(values)
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float64
    assert result.shape == (2, 2)
    assert isinstance(function(0.5), float)
    assert function(0.5) == function(np.float32(0.5)) == result[0, 1]
    assert (function(torch.tensor(values)) == result).all()
    assert function(1) == result[1, 0]
    assert function(np.empty((0, 2))).shape == (0, 2)


def test_modules_are_left_alone_and_grad_mode_does_not_matter():
    module = nn.PReLU()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    rng = torch.get_rng_state()
    with torch.inference_mode():
        inference = trainable_depth(module, 1.3, 0.1)
    assert inference == trainable_depth(module, 1.3, 0.1)
    assert module.training
    assert all(p.grad is None for p in module.parameters())
    torch.testing.assert_close(module.state_dict(), state)
    assert torch.equal(torch.get_rng_state(), rng)


ALL = {
    "variance_map": lambda phi="tanh", **kwargs: variance_map(
        1.0, phi, **{"sigma_w": 1.0, **kwargs}
    ),
    "correlation_map": lambda phi="tanh", **kwargs: correlation_map(
        0.5, phi, **{"sigma_w": 1.0, **kwargs}
    ),
    "fixed_point": lambda phi="tanh", **kwargs: fixed_point(
        phi, **{"sigma_w": 1.0, **kwargs}
    ),
    "chi": lambda phi="tanh", **kwargs: chi(phi, **{"sigma_w": 1.0, **kwargs}),
    "trainable_depth": lambda phi="tanh", **kwargs: trainable_depth(
        phi, **{"sigma_w": 1.0, **kwargs}
    ),
    "critical_sigma": lambda phi="tanh", **kwargs: critical_sigma(phi, **kwargs),
}


@pytest.mark.parametrize("owner", ALL)
@pytest.mark.parametrize(
    "value", [-0.1, math.nan, math.inf, -math.inf, "1", None, True, [1.0], 1j]
)
def test_wrong_sigma(owner, value):
    parameters = ["sigma_b"] if owner == "critical_sigma" else ["sigma_w", "sigma_b"]
    for parameter in parameters:
        message = (
            f"The {parameter!r} parameter of {owner} must be a number, finite and at "
            f"least 0. Got {value!r}."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            ALL[owner](**{parameter: value})


@pytest.mark.parametrize("q", [-1e-9, math.nan, math.inf, "1", None, [1.0, -1.0]])
def test_wrong_variance(q):
    with pytest.raises(
        ValueError,
        match=r"'q' parameter of variance_map must be a number or an array of numbers, "
        r"finite and at least 0. Got",
    ):
        variance_map(q, "tanh", 1.0)


@pytest.mark.parametrize("q", [-1e-9, math.nan, -math.inf, "1"])
def test_wrong_variance_where_it_may_be_infinite(q):
    rule = rf"numbers?, at least 0. Got {q!r}"
    with pytest.raises(ValueError, match=rf"'q' parameter of chi .*{rule}"):
        chi("tanh", 1.0, q=q)
    with pytest.raises(ValueError, match=rf"'q' parameter of correlation_map .*{rule}"):
        correlation_map(0.5, "tanh", 1.0, q=q)


def test_correlation_map_takes_one_variance():
    with pytest.raises(ValueError, match=r"must be a number, at least 0. Got \[1, 2\]"):
        correlation_map(0.5, "tanh", 1.0, q=[1, 2])


@pytest.mark.parametrize("c", [-1 - 1e-9, 1 + 1e-9, math.nan, "1", None, [0.0, 2.0]])
def test_wrong_correlation(c):
    with pytest.raises(
        ValueError,
        match=r"'c' parameter of correlation_map must be a number or an array of "
        r"numbers, from -1 to 1. Got",
    ):
        correlation_map(c, "tanh", 1.0)


@pytest.mark.parametrize(
    ("spec", "sigma_w"), [("tanh", 0.0), (nn.Hardshrink, 0.5), (torch.zeros_like, 1.0)]
)
def test_nothing_has_no_correlation(spec, sigma_w):
    with pytest.raises(
        ValueError, match=r"have no variance next to q=.*, and so no correlation"
    ):
        correlation_map(0.5, spec, sigma_w)


@pytest.mark.parametrize("owner", ALL)
def test_wrong_activation(owner):
    with pytest.raises(
        ValueError,
        match=rf"'activation' parameter of {owner}: Unknown activation 'tahn'. Did you "
        r"mean 'tanh'\?",
    ):
        ALL[owner]("tahn")
    with pytest.raises(TypeError, match=rf"of {owner} must be a name among"):
        ALL[owner](3)
    with pytest.raises(ValueError, match="'Softmax' is not elementwise"):
        ALL[owner](functools.partial(nn.Softmax, dim=-1))
    with pytest.raises(ValueError, match="no finite mean"):
        ALL[owner](torch.log)
