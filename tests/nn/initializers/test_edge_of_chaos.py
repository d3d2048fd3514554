import math

import pytest
import torch

from sknorm.nn.activations import ACTIVATIONS
from sknorm.nn.initializers import EdgeOfChaos


def bind(scheme, phi=torch.tanh, position="hidden"):
    return scheme.bind(phi=phi, gain=1.5, position=position, normalized=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments(dtype, assert_moments):
    assert_moments(bind(EdgeOfChaos()), 0, 1.68798 / 50, 3, dtype)


@pytest.mark.parametrize(
    ("q", "weight_var", "bias_var"),
    [
        (0.1, 1.17757, 0.000832),
        (0.25, 1.39396, 0.008125),
        (0.5, 1.68798, 0.038041),
        (1.0, 2.15330, 0.150965),
        (2.0, 2.86116, 0.512265),
        (0.57005, 1.76095, 0.05),
    ],
)
def test_edge_of_chaos_of_tanh(q, weight_var, bias_var):
    hidden = bind(EdgeOfChaos(q))
    # The table is rounded to five and six places, and its last q to five.
    assert hidden.sigma_w**2 == pytest.approx(weight_var, abs=1e-5)
    assert hidden.sigma_b**2 == pytest.approx(bias_var, abs=3e-6)
    first = bind(EdgeOfChaos(q), position="input")
    assert first.sigma_w**2 + first.sigma_b**2 == pytest.approx(q, rel=1e-9)
    assert bind(EdgeOfChaos(q), position="output") == hidden


@pytest.mark.parametrize("q", [0.1, 0.5, 3.0])
@pytest.mark.parametrize(
    ("name", "weight_var"),
    [("relu", 2.0), ("identity", 1.0), ("leaky_relu", 2 / (1 + 0.01**2))],
)
def test_edge_of_chaos_of_homogeneous_activations(name, weight_var, q):
    bound = bind(EdgeOfChaos(q), phi=ACTIVATIONS[name].function)
    assert bound.sigma_w**2 == pytest.approx(weight_var, rel=1e-12)
    assert bound.sigma_b == 0


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softplus"])
def test_edge_of_chaos_solves_its_two_equations(name):
    """By a quadrature of its own: 400 000 equal steps, wherever the fixed point is."""
    phi = ACTIVATIONS[name].function
    bound = bind(EdgeOfChaos(), phi=phi)
    first = bind(EdgeOfChaos(), phi=phi, position="input")
    q = first.sigma_w**2 + first.sigma_b**2
    z = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    density /= density.sum()
    x = (math.sqrt(q) * z).requires_grad_()
    value = phi(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    weight_var, bias_var = bound.sigma_w**2, bound.sigma_b**2
    assert weight_var * float(density @ slope**2) == pytest.approx(1, rel=1e-4)
    second = float(density @ value.detach() ** 2)
    assert weight_var * second + bias_var == pytest.approx(q, rel=1e-4)
    if name == "sigmoid":
        assert q == pytest.approx(45.62, abs=0.01)
        assert bias_var == pytest.approx(0, abs=1e-6 * q)
    else:
        assert q == pytest.approx(0.5, rel=1e-9)


def test_edge_of_chaos_draws_biases(generator):
    bound = bind(EdgeOfChaos(1.0))
    bias = bound.init_bias(torch.empty(10_000), fan_in=3, generator=generator).double()
    assert bias.var() == pytest.approx(0.150965, rel=5 * math.sqrt(2 / 1e4))


def test_no_edge_of_chaos():
    with pytest.raises(
        ValueError, match=r"no edge of chaos.*at least 0.5. Use init='auto'"
    ):
        bind(EdgeOfChaos(), phi=ACTIVATIONS["softplus"].function)
    with pytest.raises(ValueError, match="flat everywhere"):
        bind(EdgeOfChaos(), phi=torch.sign)


def test_edge_of_chaos_has_to_be_bound():
    with pytest.raises(ValueError, match=r"depends on the activation: call bind\(phi="):
        EdgeOfChaos()(torch.empty(2, 2))


def test_wrong_parameter():
    with pytest.raises(ValueError, match=r"'q_star' parameter of EdgeOfChaos.*Got 0"):
        EdgeOfChaos(0)
