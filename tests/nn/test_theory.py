"""The theory's claims as numbers, on plain stacks of matrices.

A signal of variance q leaves a wide random layer with a variance that depends on q
alone, up to a relative error of variance (k - 1) / n, where n is the width and k the
kurtosis E[phi^4] / E[phi^2]^2: 5 / n for ReLU. Over L layers these add up, so the
logarithm of one network's signal has a variance of about 5 L / n and a mean of minus
half of that. Every tolerance below is four such standard deviations over the networks
drawn. The seeds are fixed: what passes once passes always.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sknorm.nn.activations import ACTIVATIONS, gaussian_expectation
from sknorm.nn.initializers import (
    LSUV,
    Auto,
    Constant,
    EdgeOfChaos,
    KaimingNormal,
    LecunNormal,
    Normal,
    Orthogonal,
    StandardNormal,
    TorchDefault,
    XavierNormal,
    Zeros,
)

WIDTH = 512


def rng(seed):
    return torch.Generator().manual_seed(seed)


def standard_inputs(rows, width, seed, dtype=torch.float32):
    return torch.randn(rows, width, generator=rng(1000 + seed), dtype=dtype)


def draw_layers(scheme, phi, depth, width, generator, dtype=torch.float32):
    """Return (weight, bias) of each layer; the first is fed standardized numbers."""
    layers = []
    for index in range(depth):
        bound = scheme.bind(
            phi=phi.function,
            gain=phi.gain,
            position="input" if index == 0 else "hidden",
            normalized=False,
        )
        weight, bias = torch.empty(2, width, width, dtype=dtype).unbind()
        bias = bias[0].clone()
        bound(weight, gain=phi.gain, generator=generator)
        bound.init_bias(bias, fan_in=width, generator=generator)
        layers.append((weight, bias))
    return layers


def signal_sizes(scheme, name, depth, *, seed, width=WIDTH, rows=8, biases=True):
    """Return the mean squares of inputs and pre-activations: 1 + depth numbers."""
    phi = ACTIVATIONS[name]
    activation, signal = phi.module(), standard_inputs(rows, width, seed)
    sizes = [float(signal.double().square().mean())]
    for weight, bias in draw_layers(scheme, phi, depth, width, rng(seed)):
        preactivation = signal @ weight.T + (bias if biases else 0)
        sizes.append(float(preactivation.double().square().mean()))
        signal = activation(preactivation)
    return sizes


def factor_per_layer(scheme, name, depth, seeds, **kwargs):
    """Return the geometric mean of what a hidden layer multiplies the signal by."""
    logs = []
    for seed in range(seeds):
        sizes = signal_sizes(scheme, name, depth, seed=seed, **kwargs)
        logs.append(math.log(sizes[-1] / sizes[1]) / (depth - 1))
    return math.exp(sum(logs) / seeds)


def kurtosis(phi):
    fourth = gaussian_expectation(lambda z: phi.function(z) ** 4)
    return fourth * phi.gain**4


def signal_slope(phi):
    """How much of a deviation of q from 1 a layer with the right gain hands on."""

    def q_after(q):
        return phi.gain**2 * gaussian_expectation(
            lambda z: phi.function(z) ** 2, math.sqrt(q)
        )

    step = 1e-4
    return (q_after(1 + step) - q_after(1 - step)) / (2 * step)


# --------------------------------------------------------------------------------------
# ReLU: the right gain keeps the signal, every other one is a geometric series
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scheme", "factor"),
    [
        (KaimingNormal(), 1.0),
        (Auto(), 1.0),
        (XavierNormal(), 1 / 2),
        (LecunNormal(), 1 / 2),
        (TorchDefault(), 1 / 6),
        (Normal(0, 0.01), WIDTH / 2 * 1e-4),
        (StandardNormal(), WIDTH / 2),
    ],
    ids=repr,
)
def test_relu_factor_per_layer(scheme, factor):
    depth, seeds = 10, 8
    assert depth * 10 <= WIDTH
    measured = factor_per_layer(scheme, "relu", depth, seeds, biases=False)
    sd = math.sqrt(5 / WIDTH / (depth - 1) / seeds)
    bias = 5 / WIDTH / 2
    assert math.log(measured / factor) == pytest.approx(-bias, abs=4 * sd)


def test_he_keeps_the_signal_and_xavier_loses_it_in_fifty_layers():
    """At n = 10 L, where one network may be off by a factor of two and ten are not."""
    depth, seeds = 50, 10
    sd = math.sqrt(5 * depth / WIDTH / seeds)
    logs = {
        scheme: sum(
            math.log(signal_sizes(scheme, "relu", depth, seed=s, rows=2)[-1])
            for s in range(seeds)
        )
        / seeds
        for scheme in (Auto(), XavierNormal())
    }
    bias = 5 * depth / WIDTH / 2
    assert logs[Auto()] == pytest.approx(-bias, abs=4 * sd)
    expected = -(depth - 1) * math.log(2) - bias
    assert logs[XavierNormal()] == pytest.approx(expected, abs=4 * sd)
    assert logs[XavierNormal()] < math.log(1e-13)


def test_standard_normal_leaves_float32_at_about_layer_32():
    """Magnitudes grow by sqrt(512 / 2) = 16 a layer, and 16^32 = 2^128."""
    for seed in range(3):
        signal, generator = standard_inputs(4, WIDTH, seed), rng(seed)
        finite = 0
        while torch.isfinite(signal).all():
            finite += 1
            weight = StandardNormal()(torch.empty(WIDTH, WIDTH), generator=generator)
            signal = torch.relu(signal @ weight.T)
        # Layer number `finite` is the first with an infinity.
        assert 31 <= finite <= 33


def test_tiny_weights_silence_a_deep_tanh_net():
    """Near 0 tanh is linear: the factor is n std^2."""
    sizes = signal_sizes(Normal(0, 0.01), "tanh", 20, seed=0)
    assert sizes[-1] < 1e-24
    measured = (sizes[-1] / sizes[1]) ** (1 / 19)
    # Linear layers have kurtosis 3 and so 2 / n each.
    assert measured == pytest.approx(WIDTH * 1e-4, rel=4 * math.sqrt(2 / WIDTH / 19))


# --------------------------------------------------------------------------------------
# "auto": every activation keeps pre-activations at variance 1
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_auto_keeps_variance_one(name):
    depth, seeds, phi = 10, 8, ACTIVATIONS[name]
    handed_on = signal_slope(phi)
    # An error made in a layer is handed on by the layers after it; the last layer's
    # own n normal numbers are known to 2 / n.
    variance = 2 / WIDTH + sum(
        handed_on ** (2 * k) * (kurtosis(phi) - 1) / WIDTH for k in range(depth)
    )
    sizes = [signal_sizes(Auto(), name, depth, seed=s)[-1] for s in range(seeds)]
    log_mean = sum(math.log(size) for size in sizes) / seeds
    assert log_mean == pytest.approx(-variance / 2, abs=4 * math.sqrt(variance / seeds))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_auto_turns_a_standard_normal_signal_into_one(name):
    """The sharp form of the claim: one layer, fed exactly what it is made for."""
    phi, n, rows = ACTIVATIONS[name], 2000, 200
    bound = Auto().bind(
        phi=phi.function, gain=phi.gain, position="hidden", normalized=False
    )
    weight = bound(torch.empty(n, n), gain=phi.gain, generator=rng(0))
    z = phi.module()(standard_inputs(rows, n, 0)) @ weight.T
    second = float(z.double().square().mean())
    # Independent: n * rows activations; and n units with a pre-activation each, whose
    # squares have variance 2 and, in the worst case, are the same for every row.
    sd = math.sqrt((kurtosis(phi) - 1) / (n * rows) + 2 / n)
    assert second == pytest.approx(1, abs=4 * sd)


def test_selu_and_lecun_stay_at_variance_one():
    phi, depth = ACTIVATIONS["selu"], 50
    handed_on = signal_slope(phi)
    assert handed_on < 1
    variance = (kurtosis(phi) - 1) / WIDTH / (1 - handed_on**2)
    for seed in range(3):
        sizes = signal_sizes(LecunNormal(), "selu", depth, seed=seed)
        assert all(
            size == pytest.approx(1, abs=4 * math.sqrt(variance)) for size in sizes[1:]
        )


# --------------------------------------------------------------------------------------
# tanh and sigmoid: the sweet spot is necessary, not sufficient
# --------------------------------------------------------------------------------------
def test_tanh_with_gain_one_fades_as_one_over_two_l():
    for depth, q in [(10, 0.0522), (50, 0.01022)]:
        sizes = [
            signal_sizes(XavierNormal(), "tanh", depth, seed=s)[-1] for s in range(4)
        ]
        # Near 0 tanh is linear, with an error of 2 / n in each layer.
        sd = math.sqrt(2 * depth / WIDTH / 4)
        assert math.log(sum(sizes) / 4 / q) == pytest.approx(0, abs=4 * sd)


def gradient_factor(scheme, name, depth, *, seed, skip=3):
    """Return what a layer multiplies the mean square of the gradient by, on its way."""
    phi = ACTIVATIONS[name]
    activation = phi.module()
    signal = standard_inputs(8, WIDTH, seed, torch.float64)
    preactivations = []
    layers = draw_layers(scheme, phi, depth, WIDTH, rng(seed), torch.float64)
    for weight, bias in layers:
        z = (signal @ weight.T + bias).requires_grad_()
        preactivations.append(z)
        signal = activation(z)
    probe = torch.randn(signal.shape, generator=rng(seed), dtype=torch.float64)
    gradients = torch.autograd.grad((signal * probe).sum(), preactivations[skip:])
    sizes = [float(gradient.square().mean()) for gradient in gradients]
    return (sizes[0] / sizes[-1]) ** (1 / (len(sizes) - 1)), preactivations


@pytest.mark.parametrize(
    ("scheme", "name", "factor"),
    [
        (XavierNormal(), "sigmoid", 0.0557),
        (XavierNormal(gain=5 / 3), "tanh", 1.2098),
        (KaimingNormal(), "relu", 1.0),
        (LecunNormal(), "selu", 1 / 0.96603**2),
        (Auto(), "tanh", (1.59254 / 1.46741) ** 2),
        (Auto(), "sigmoid", (1.84623 / 4.72265) ** 2),
        (EdgeOfChaos(), "tanh", 1.0),
        (EdgeOfChaos(2.0), "softsign", 1.0),
        (EdgeOfChaos(), "elu", 1.0),
    ],
    ids=lambda value: repr(value),
)
def test_gradient_factor_per_layer(scheme, name, factor):
    depth, seeds, skip = 12, 4, 3
    logs = [
        math.log(gradient_factor(scheme, name, depth, seed=s, skip=skip)[0])
        for s in range(seeds)
    ]
    steps = depth - 1 - skip
    # A layer's error has variance 5 / n for ReLU, the most unequal slope here.
    sd = math.sqrt(5 / WIDTH / steps / seeds)
    assert sum(logs) / seeds == pytest.approx(math.log(factor), abs=4 * sd)


def test_sigmoid_with_xavier_sits_in_its_sweet_spot_and_has_no_gradient():
    low, high = ACTIVATIONS["sigmoid"].sweet_spot
    factor, preactivations = gradient_factor(XavierNormal(), "sigmoid", 12, seed=0)
    for z in preactivations[1:]:
        assert ((z > low) & (z < high)).double().mean() > 0.99
    assert factor**10 < 1e-12


@pytest.mark.parametrize(("name", "q"), [("tanh", 0.5), ("tanh", 2.0), ("elu", 1.0)])
def test_edge_of_chaos_stays_at_its_fixed_point(name, q):
    sizes = torch.tensor(
        [signal_sizes(EdgeOfChaos(q), name, 20, seed=s)[1:] for s in range(8)]
    )
    # Between a linear layer's 2 / n and ReLU's 5 / n, adding up over 20 layers at most.
    sd = math.sqrt(5 * 20 / WIDTH / 8)
    assert sizes.log().mean(dim=0) == pytest.approx(
        torch.full((20,), math.log(q)), abs=4 * sd
    )


# --------------------------------------------------------------------------------------
# LSUV and orthogonal
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_lsuv_is_within_a_tenth_for_each_activation(name):
    phi, scheme, generator = ACTIVATIONS[name].module(), LSUV(), rng(0)
    signal = standard_inputs(256, 64, 0)
    for _ in range(20):
        weight = scheme(torch.empty(64, 64), generator=generator)
        scheme.scale_(weight, lambda s=signal, w=weight: s @ w.T)
        preactivation = signal @ weight.T
        assert abs(float(preactivation.var(correction=0)) - 1) < 0.1
        signal = phi(preactivation)


def test_orthogonal_keeps_every_length_in_a_linear_net():
    signal, generator = standard_inputs(8, 64, 0, torch.float64), rng(0)
    lengths = signal.norm(dim=1)
    for _ in range(100):
        weight = torch.empty(64, 64, dtype=torch.float64)
        signal = signal @ Orthogonal()(weight, generator=generator).T
    torch.testing.assert_close(signal.norm(dim=1), lengths, rtol=1e-12, atol=0)


# --------------------------------------------------------------------------------------
# Symmetry
# --------------------------------------------------------------------------------------
class Units(nn.ModuleList):
    """A linear layer whose units are computed one by one, by the same arithmetic.

    A matrix product may add up the units at the edge of its tiles in another order, and
    so let two equal units drift apart by rounding.
    """

    def __init__(self, fan_in, width):
        super().__init__(nn.Linear(fan_in, 1) for _ in range(width))

    def forward(self, x):
        return torch.cat([unit(x) for unit in self], dim=1)

    @property
    def weight(self):
        return torch.cat([unit.weight.detach() for unit in self])

    @property
    def bias(self):
        return torch.cat([unit.bias.detach() for unit in self])


def trained(scheme, activation, steps):
    """Train a network of two hidden layers by plain gradient descent."""
    net = nn.Sequential(Units(5, 8), activation, Units(8, 8), activation, Units(8, 1))
    generator = rng(0)
    for unit in (*net[0], *net[2], *net[4]):
        scheme(unit.weight, generator=generator)
        scheme.init_bias(unit.bias, fan_in=unit.in_features)
    X = standard_inputs(64, 5, 0)
    y = X[:, :1] * X[:, 1:2] + X[:, 2:3] + 1
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


def spread(parameter):
    """Return the largest difference between a unit and the first one."""
    return float((parameter - parameter[:1]).abs().max())


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU(), nn.Sigmoid()])
@pytest.mark.parametrize("scheme", [Zeros(), Constant(0.3)], ids=repr)
def test_equal_weights_stay_equal(scheme, activation):
    net, losses = trained(scheme, activation, steps=50)
    assert losses[-1] < losses[0]
    for layer in (net[0], net[2]):
        assert spread(layer.weight) == 0.0
        assert spread(layer.bias) == 0.0


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()])
def test_zeros_learn_the_mean_and_nothing_else(activation):
    net, _ = trained(Zeros(), activation, steps=1)
    *others, output_bias = [float(p.grad.norm()) for p in net.parameters()]
    assert not any(others)
    assert output_bias > 0.1
    net, losses = trained(Zeros(), activation, steps=300)
    X = standard_inputs(64, 5, 0)
    y = X[:, :1] * X[:, 1:2] + X[:, 2:3] + 1
    assert net(X).detach() == pytest.approx(float(y.mean()), abs=1e-5)
    assert losses[-1] == pytest.approx(float(y.var(correction=0)), rel=1e-5)


def test_random_weights_break_symmetry():
    """The test above could fail: the same training separates random units."""
    net, _ = trained(Normal(0, 0.3), nn.Tanh(), steps=50)
    assert spread(net[0].weight) > 0.1
