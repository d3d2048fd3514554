"""Activations: the numbers of each, and what a user may give as one."""

from __future__ import annotations

import copy
import functools
import math
import pickle

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import norm
from sklearn.base import clone
from torch import nn

from sknorm.nn.activations import (
    ACTIVATIONS,
    Activation,
    Elementwise,
    gaussian_expectation,
    resolve_activation,
)

# phi: E phi, Var phi, 1 / sqrt(E phi^2), 1 / sqrt(E phi'^2) for z ~ N(0, 1)
NUMBERS = {
    "identity": (0.0, 1.0, 1.0, 1.0),
    "sigmoid": (0.5, 0.04338, 1.84623, 4.72265),
    "tanh": (0.0, 0.39429, 1.59254, 1.46741),
    "relu": (0.39894, 0.34085, 1.41421, 1.41421),
    "leaky_relu": (0.39495, 0.34406, 1.41414, 1.41414),
    "elu": (0.16052, 0.61918, 1.24520, 1.22343),
    "selu": (0.0, 1.0, 1.0, 0.96603),
    "gelu": (0.28209, 0.34564, 1.53353, 1.48111),
    "silu": (0.20662, 0.31308, 1.67653, 1.62332),
    "mish": (0.24040, 0.39455, 1.48685, 1.44476),
    "softplus": (0.80606, 0.27151, 1.04187, 1.84623),
    "softsign": (0.0, 0.18301, 2.33753, 2.09578),
}
SHARE = 1 - math.tanh(1) ** 2
SWEET_SPOTS = {
    "identity": (-math.inf, math.inf),
    "sigmoid": (-2.0, 2.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "leaky_relu": (0.0, math.inf),
    "elu": (math.log(SHARE), math.inf),
    "selu": (math.log(SHARE), math.inf),
    "softplus": (math.log(SHARE / (1 - SHARE)), math.inf),
    "softsign": (1 - SHARE**-0.5, SHARE**-0.5 - 1),
}


def wrapped(fn):
    return resolve_activation(fn)


class Counting(nn.Module):
    """Counts how often it is built."""

    built = 0

    def __init__(self):
        super().__init__()
        type(self).built += 1

    def forward(self, x):
        return torch.tanh(x)


class Steep:
    """A callable object, as a user may write one."""

    def __call__(self, x):
        return 3 * x


class Scaled(nn.Module):
    """A module of one float32 parameter."""

    def __init__(self, scale=2.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x):
        return self.scale * x


# --------------------------------------------------------------------------------------
# Numbers
# --------------------------------------------------------------------------------------
def test_table_is_complete():
    assert set(ACTIVATIONS) == set(NUMBERS)
    assert all(activation.name == name for name, activation in ACTIVATIONS.items())


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name):
    phi = ACTIVATIONS[name]
    # The table is rounded to five places.
    assert (phi.mean, phi.var, phi.gain, phi.grad_gain) == pytest.approx(
        NUMBERS[name], abs=6e-6
    )


@pytest.mark.parametrize(
    ("fn", "mean", "gain", "grad_gain"),
    [
        (torch.square, 1.0, 3**-0.5, 0.5),
        (torch.abs, math.sqrt(2 / math.pi), 1.0, 1.0),
        (
            torch.sin,
            0.0,
            ((1 - math.exp(-2)) / 2) ** -0.5,
            ((1 + math.exp(-2)) / 2) ** -0.5,
        ),
        (torch.exp, math.exp(0.5), math.exp(-1), math.exp(-1)),
        (
            nn.Hardtanh,
            0.0,
            (1 - 2 * norm.pdf(1)) ** -0.5,
            (1 - 2 * norm.sf(1)) ** -0.5,
        ),
        (nn.PReLU, 0.75 / math.sqrt(2 * math.pi), *[(17 / 32) ** -0.5] * 2),
    ],
    ids=["square", "abs", "sin", "exp", "hardtanh", "prelu"],
)
def test_closed_forms(fn, mean, gain, grad_gain):
    phi = wrapped(fn)
    assert (phi.mean, phi.gain, phi.grad_gain) == pytest.approx(
        (mean, gain, grad_gain), abs=1e-9
    )


def test_relu_and_selu_to_the_last_digits():
    assert ACTIVATIONS["relu"].gain == pytest.approx(math.sqrt(2), rel=1e-13)
    assert ACTIVATIONS["selu"].mean == pytest.approx(0, abs=1e-12)
    assert ACTIVATIONS["selu"].var == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("gelu", lambda z: z * norm.cdf(z)),
        ("silu", lambda z: z / (1 + np.exp(-z))),
        ("mish", lambda z: z * np.tanh(np.log1p(np.exp(z)))),
    ],
)
def test_parity_with_scipy_quadrature(name, phi):
    second, _ = integrate.quad(
        lambda z: phi(z) ** 2 * norm.pdf(z), -14, 14, epsabs=1e-13, limit=200
    )
    assert ACTIVATIONS[name].gain == pytest.approx(second**-0.5, rel=1e-10)


@pytest.mark.parametrize(
    ("spec", "torch_name", "param"),
    [
        ("identity", "linear", None),
        ("relu", "relu", None),
        ("leaky_relu", "leaky_relu", 0.01),
        (functools.partial(nn.LeakyReLU, 0.3), "leaky_relu", 0.3),
    ],
)
def test_parity_with_calculate_gain(spec, torch_name, param):
    expected = nn.init.calculate_gain(torch_name, param)
    assert resolve_activation(spec).gain == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
def test_function_is_the_module(name):
    phi, z = ACTIVATIONS[name], torch.linspace(-5, 5, 41, dtype=torch.float64)
    torch.testing.assert_close(phi.function(z), phi.module()(z), rtol=0, atol=0)


# --------------------------------------------------------------------------------------
# Sweet spots
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SWEET_SPOTS)
def test_sweet_spots(name):
    assert ACTIVATIONS[name].sweet_spot == pytest.approx(SWEET_SPOTS[name], abs=1e-5)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (torch.sin, (-math.acos(SHARE), math.acos(SHARE))),
        (lambda x: torch.tanh(x - 3), (2, 4)),
        (lambda x: -torch.tanh(x / 2), (-2, 2)),
        (lambda x: -torch.relu(-x), (-math.inf, 0)),
        (nn.Hardtanh, (-1, 1)),
        (torch.abs, (-math.inf, math.inf)),  # where torch says the slope at 0 is 0
        (
            functools.partial(nn.Softplus, beta=2.0),
            (math.log(SHARE / (1 - SHARE)) / 2, math.inf),
        ),
    ],
    ids=["sin", "shifted", "falling", "mirrored", "hardtanh", "abs", "softplus2"],
)
def test_sweet_spots_of_users_functions(fn, expected):
    assert wrapped(fn).sweet_spot == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", NUMBERS)
def test_slope_falls_below_its_share_at_the_ends(name):
    phi = ACTIVATIONS[name]
    z = torch.linspace(-20, 20, 40001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(phi.function(z).sum(), z)
    share = slope.abs() / slope.abs().max()
    low, high = phi.sweet_spot
    step = 1e-3
    inside = (z > low + step) & (z < high - step)
    just_outside = ((z < low - step) & (z > low - 0.1)) | (
        (z > high + step) & (z < high + 0.1)
    )
    # The threshold's own last digits move by the spacing of the grid.
    assert (share[inside] >= SHARE - 1e-4).all()
    assert (share[just_outside] < SHARE + 1e-4).all()


# --------------------------------------------------------------------------------------
# What may be given
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spec", "name", "kind"),
    [
        ("tanh", "tanh", nn.Tanh),
        (nn.Tanh, "Tanh", nn.Tanh),
        (functools.partial(nn.LeakyReLU, 0.2), "LeakyReLU", nn.LeakyReLU),
        (nn.LeakyReLU(0.2), "LeakyReLU", nn.LeakyReLU),
        (torch.sin, "sin", Elementwise),
        (nn.functional.silu, "silu", Elementwise),
        (functools.partial(torch.clamp, min=-1, max=1), "clamp", Elementwise),
        (Steep(), "Steep", Elementwise),
        (ACTIVATIONS["relu"], "relu", nn.ReLU),
    ],
)
def test_resolve(spec, name, kind):
    phi = resolve_activation(spec)
    assert phi.name == name
    module = phi.module()
    assert type(module) is kind
    assert module is not phi.module()
    assert phi.gain > 0


def test_partial_keeps_its_arguments():
    module = resolve_activation(functools.partial(nn.LeakyReLU, 0.2)).module()
    assert module.negative_slope == 0.2


def test_module_is_copied_for_every_layer():
    original = Scaled(3.0)
    phi = resolve_activation(original)
    first, second = phi.module(), phi.module()
    assert first is not original
    assert first.scale is not second.scale
    assert first.scale == second.scale == 3.0


@pytest.mark.parametrize(
    "spec", [Scaled(3.0), nn.ReLU(inplace=True), nn.RReLU(), nn.PReLU()]
)
def test_asking_for_numbers_leaves_the_users_module_alone(spec):
    before = copy.deepcopy(spec.state_dict())
    phi = resolve_activation(spec)
    assert phi.gain > 0
    assert len(phi.sweet_spot) == 2
    assert spec.training
    for key, value in spec.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert all(p.grad is None and p.dtype == torch.float32 for p in spec.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_numbers_do_not_depend_on_the_grad_mode(mode):
    with mode():
        phi = Activation("tanh", nn.Tanh)
        numbers = phi.grad_gain, phi.sweet_spot
    assert numbers == (ACTIVATIONS["tanh"].grad_gain, ACTIVATIONS["tanh"].sweet_spot)


def test_numbers_are_computed_when_asked_for_and_once():
    before = Counting.built
    phi = resolve_activation(Counting)
    assert Counting.built == before
    assert phi.gain == ACTIVATIONS["tanh"].gain
    built = Counting.built
    assert built > before
    assert all(math.isfinite(n) for n in (phi.gain, phi.mean, phi.var, phi.grad_gain))
    assert Counting.built == built
    spot = phi.sweet_spot
    built = Counting.built
    assert phi.sweet_spot is spot
    assert Counting.built == built


def test_numbers_do_not_touch_the_global_generator():
    state = torch.get_rng_state()
    assert resolve_activation(nn.RReLU).gain > 0
    assert torch.equal(torch.get_rng_state(), state)


# torch 2.4 warns about its own way of unpickling a tensor.
@pytest.mark.filterwarnings("ignore:You are using .torch.load.:FutureWarning")
@pytest.mark.parametrize(
    "spec",
    ["gelu", nn.Tanh, functools.partial(nn.ELU, 0.5), Scaled(), torch.sin, Steep()],
)
def test_activation_pickles_and_copies(spec):
    phi = resolve_activation(spec)
    numbers = phi.gain, phi.sweet_spot
    for twin in (pickle.loads(pickle.dumps(phi)), copy.deepcopy(phi)):
        assert (twin.gain, twin.sweet_spot) == numbers
        assert type(twin.module()) is type(phi.module())
        # Computed anew, from what was pickled and not from what was remembered.
        assert Activation(twin.name, twin.factory).gain == numbers[0]


@pytest.mark.parametrize(
    "spec",
    ["gelu", nn.Tanh, functools.partial(nn.ELU, 0.5), Scaled(), torch.sin, Steep()],
)
def test_equal_if_made_from_the_same_part(spec):
    one, other = resolve_activation(spec), resolve_activation(spec)
    assert one == other
    assert hash(one) == hash(other)
    assert one.gain  # what is remembered makes no difference
    assert one == other
    assert one != resolve_activation(torch.cos)


def test_scikit_learn_clones_what_a_user_gives():
    cloned = clone(Scaled(3.0), safe=False)
    assert resolve_activation(cloned).gain == pytest.approx(1 / 3)


def test_elementwise():
    module = Elementwise(torch.sin)
    x = torch.tensor([0.0, 1.0])
    assert torch.equal(module(x), torch.sin(x))
    assert repr(module) == "Elementwise(sin)"
    assert (
        repr(Elementwise(functools.partial(torch.clamp, min=0))) == "Elementwise(clamp)"
    )
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), torch.sin(x))


def test_gaussian_expectation_is_public():
    assert gaussian_expectation(torch.square, 2.0) == pytest.approx(4.0)


# --------------------------------------------------------------------------------------
# Errors
# --------------------------------------------------------------------------------------
def test_unknown_name():
    with pytest.raises(
        ValueError,
        match=r"'activation' parameter of MLP: Unknown activation 'rleu'. Did you mean "
        r"'relu'\? Allowed names: elu, gelu, identity",
    ):
        resolve_activation("rleu")


@pytest.mark.parametrize("spec", [3, None, int, ["relu"]])
def test_nothing_that_could_be_an_activation(spec):
    with pytest.raises(TypeError, match=r"'phi' parameter of Net must be a name among"):
        resolve_activation(spec, parameter="phi", owner="Net")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (functools.partial(nn.Softmax, dim=-1), "change with the rest of the batch"),
        (functools.partial(nn.Softmax, dim=0), "change with the rest of the batch"),
        (lambda x: x - x.mean(), "change with the rest of the batch"),
        (functools.partial(nn.LayerNorm, 1), "failed with RuntimeError"),
        (functools.partial(nn.PReLU, 128), "failed with RuntimeError"),
        (nn.GLU, r"shape \(3, 4\) came out as torch.Size\(\[3, 2\]\)"),
        (torch.sum, r"came out as torch.Size\(\[\]\)"),
        (lambda x: None, "came out as 'NoneType'"),
        (torch.msort, "change with the rest of the batch"),
    ],
    ids=[
        "softmax",
        "softmax0",
        "center",
        "layer_norm",
        "prelu",
        "glu",
        "sum",
        "none",
        "sort",
    ],
)
@pytest.mark.parametrize("number", ["gain", "mean", "sweet_spot", "function"])
def test_not_elementwise(spec, reason, number):
    phi = resolve_activation(spec)
    with pytest.raises(ValueError, match=rf"is not elementwise.*{reason}"):
        getattr(phi, number)


@pytest.mark.parametrize("fn", [torch.zeros_like, torch.sign, torch.ones_like])
def test_nothing_passes(fn):
    with pytest.raises(ValueError, match="lets nothing through"):
        _ = wrapped(fn).gain


def test_not_finite():
    with pytest.raises(ValueError, match="no finite mean"):
        _ = wrapped(torch.log).gain


def test_class_that_needs_arguments():
    with pytest.raises(
        ValueError, match=r"'Threshold' can't be made without arguments"
    ):
        resolve_activation(nn.Threshold).module()


def test_factory_that_makes_no_module():
    with pytest.raises(
        ValueError, match=r"'odd' must be made as an nn.Module. Got \{\}"
    ):
        Activation("odd", dict).module()
