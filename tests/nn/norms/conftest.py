"""Numbers, linear layers and gradients that norms are tried on."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close


def _draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def _linear_layer(out_features, in_features, *, seed=0, bias=True):
    linear = nn.utils.skip_init(
        nn.Linear, in_features, out_features, bias=bias, dtype=torch.float64
    )
    with torch.no_grad():
        linear.weight.copy_(_draw(out_features, in_features, seed=seed))
        if bias:
            linear.bias.copy_(_draw(out_features, seed=seed + 1))
    return linear


def _gradients(module, x):
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    grads = {name: p.grad for name, p in module.named_parameters()}
    return y.detach(), x.grad, grads


def _with_gamma_and_beta(norm):
    gamma = torch.arange(2.0, 2.0 + norm.weight.numel(), dtype=torch.float64)
    norm.weight.data.copy_(gamma)
    beta = torch.zeros_like(gamma)
    if getattr(norm, "bias", None) is not None:
        beta = 1 - gamma
        norm.bias.data.copy_(beta)
    return gamma, beta


def _assert_as_torch(ours, reference):
    ours, reference = ours.double(), reference.double()
    for parameter, other in zip(ours.parameters(), reference.parameters(), strict=True):
        parameter.data.copy_(_draw(12, seed=parameter.numel()))
        other.data.copy_(parameter.data)
    for seed in range(3):
        x = 3 + 2 * _draw(9, 12, seed=seed)
        assert_close(_gradients(ours, x), _gradients(reference, x))
    assert_close(dict(ours.state_dict()), dict(reference.state_dict()))
    assert_close(ours.eval()(x), reference.eval()(x))


@pytest.fixture
def draw():
    """Numbers from N(0, 1), the same for the same shape and seed."""
    return _draw


@pytest.fixture
def linear_layer():
    """A linear layer of (out_features, in_features) in float64."""
    return _linear_layer


@pytest.fixture
def gradients():
    """Outputs, and gradients of a sum that weighs each differently."""
    return _gradients


@pytest.fixture
def with_gamma_and_beta():
    """What sets gamma to 2, 3, ... and beta to -1, -2, ..., and returns both."""
    return _with_gamma_and_beta


@pytest.fixture
def assert_as_torch():
    """The comparison of a norm of 12 features with one of torch, through training."""
    return _assert_as_torch
