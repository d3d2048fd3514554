import functools
import math

import pytest
import torch
from torch import nn

from sknorm.nn.activations import resolve_activation
from sknorm.nn.initializers import (
    Auto,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    TorchDefault,
    XavierNormal,
    XavierUniform,
)

GAIN = 1.5  # the one that `draw` gives


def bind(scheme, position, normalized=False):
    return scheme.bind(
        phi=torch.tanh, gain=GAIN, position=position, normalized=normalized
    )


@pytest.mark.parametrize(
    ("scheme", "mean", "var", "kurtosis"),
    [
        (XavierNormal(), 0, 2 / 250, 3),
        (XavierNormal(gain=3), 0, 9 * 2 / 250, 3),
        (XavierNormal(gain=None), 0, GAIN**2 * 2 / 250, 3),
        (XavierUniform(), 0, 2 / 250, 1.8),
        (KaimingNormal(), 0, GAIN**2 / 50, 3),
        (KaimingNormal("fan_out"), 0, GAIN**2 / 200, 3),
        (KaimingNormal(gain=1.0), 0, 1 / 50, 3),
        (KaimingUniform(), 0, GAIN**2 / 50, 1.8),
        (KaimingUniform("fan_out", gain=2.0), 0, 4 / 200, 1.8),
        (LecunNormal(), 0, 1 / 50, 3),
        (LecunUniform(), 0, 1 / 50, 1.8),
        (TorchDefault(), 0, 1 / 150, 1.8),
        (Auto(), 0, GAIN**2 / 50, 3),
        (bind(Auto(), "input"), 0, 1 / 50, 3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments(scheme, mean, var, kurtosis, dtype, assert_moments):
    assert_moments(scheme, mean, var, kurtosis, dtype)


@pytest.mark.parametrize(
    ("scheme", "low", "high"),
    [
        (XavierUniform(), -math.sqrt(6 / 250), math.sqrt(6 / 250)),
        (KaimingUniform(), -GAIN * math.sqrt(3 / 50), GAIN * math.sqrt(3 / 50)),
        (LecunUniform(), -math.sqrt(3 / 50), math.sqrt(3 / 50)),
        (TorchDefault(), -math.sqrt(1 / 50), math.sqrt(1 / 50)),
    ],
    ids=repr,
)
def test_bounds_are_kept_and_nearly_reached(scheme, low, high, assert_bounds):
    assert_bounds(scheme, low, high)


@pytest.mark.parametrize(
    ("scheme", "torch_init"),
    [
        (XavierNormal(2.0), functools.partial(nn.init.xavier_normal_, gain=2.0)),
        (XavierUniform(2.0), functools.partial(nn.init.xavier_uniform_, gain=2.0)),
        (
            KaimingNormal(gain=math.sqrt(2)),
            functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        ),
        (
            KaimingUniform("fan_out", gain=math.sqrt(2)),
            functools.partial(
                nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="relu"
            ),
        ),
        (
            LecunNormal(),
            functools.partial(nn.init.kaiming_normal_, nonlinearity="linear"),
        ),
        (Orthogonal(2.0), functools.partial(nn.init.orthogonal_, gain=2.0)),
        (TorchDefault(), functools.partial(nn.init.kaiming_uniform_, a=math.sqrt(5))),
    ],
    ids=lambda p: repr(p) if isinstance(p, Initializer) else "",
)
def test_parity_with_torch(scheme, torch_init, assert_as_torch):
    assert_as_torch(scheme, torch_init)


def test_torch_default_is_what_linear_draws():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        linear = nn.Linear(50, 200)
    scheme, generator = TorchDefault(), torch.Generator().manual_seed(3)
    weight, bias = torch.empty(200, 50), torch.empty(200)
    scheme(weight, generator=generator)
    scheme.init_bias(bias, fan_in=50, generator=generator)
    torch.testing.assert_close(weight, linear.weight.detach(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(bias, linear.bias.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(30, 30), (20, 50), (50, 20), (1, 7), (7, 1)])
@pytest.mark.parametrize(
    ("scheme", "gain"), [(Orthogonal(), 1), (Orthogonal(None), GAIN)]
)
def test_orthogonal(scheme, gain, shape, draw):
    weight = draw(scheme, shape, dtype=torch.float64)
    gram = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    eye = gain**2 * torch.eye(min(shape), dtype=torch.float64)
    torch.testing.assert_close(gram, eye, rtol=0, atol=1e-13)


def test_fill_bias(assert_fills_bias):
    assert_fills_bias(TorchDefault(), 0, 1 / 48)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(
    ("position", "gain"), [("input", 1.0), ("hidden", GAIN), ("output", GAIN)]
)
def test_auto_takes_the_gain_of_what_feeds_the_layer(position, gain, normalized):
    bound = bind(Auto(), position, normalized)
    assert bound == KaimingNormal(gain=gain)


def test_gain_of_an_activation_reaches_the_weights(draw):
    """What the network code does: GELU's own gain makes Kaiming's rule right for it."""
    gelu = resolve_activation("gelu")
    weight = draw(KaimingNormal(), (400, 400), gain=gelu.gain)
    assert weight.var() * 400 == pytest.approx(
        gelu.gain**2, rel=5 * math.sqrt(2 / 16e4)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: XavierNormal(gain=0), r"'gain' parameter of XavierNormal.*Got 0"),
        (lambda: XavierUniform(gain="relu"), r"'gain' parameter of XavierUniform"),
        (lambda: KaimingNormal(gain=-1), r"'gain' parameter of KaimingNormal.*Got -1"),
        (
            lambda: KaimingNormal("fan_it"),
            r"'mode'.*'fan_in' or 'fan_out'. Got 'fan_it'",
        ),
        (lambda: KaimingUniform(mode=None), r"'mode' parameter of KaimingUniform"),
        (lambda: Orthogonal(math.inf), r"'gain' parameter of Orthogonal.*Got inf"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
