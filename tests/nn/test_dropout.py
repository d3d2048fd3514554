"""Dropout: what is kept, how often, and what it is made up for with."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sknorm.nn._dropout import Dropout, random_bits


def test_known_masks():
    bits = torch.tensor([-32768, -16385, -16384, 0, 32767], dtype=torch.int16)
    mask = torch.empty(5, dtype=torch.float64)
    # A quarter of the values of 16 bits is dropped.
    Dropout(0.25).fill_mask(bits, mask)
    assert mask.tolist() == [0.0, 0.0, 4 / 3, 4 / 3, 4 / 3]
    Dropout(0.0).fill_mask(bits, mask)
    assert mask.tolist() == [1.0] * 5


@pytest.mark.parametrize("p", [1e-7, 0.1, 0.5, 1 - 1e-9])
def test_the_mean_is_kept(p):
    every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    mask = torch.empty(len(every), dtype=torch.float64)
    Dropout(p).fill_mask(every, mask)
    assert mask.mean().item() == pytest.approx(1.0, rel=1e-12)
    dropped = (mask == 0).double().mean().item()
    assert dropped == pytest.approx(min(p, 1 - 2**-16), abs=2**-17)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1000])
def test_bits_are_counted(count):
    bits = random_bits(count)
    assert (bits.shape, bits.dtype) == ((count,), torch.int16)


def test_bits_are_uniform_and_independent():
    torch.manual_seed(0)
    n = 1 << 20
    bits = random_bits(n).numpy()
    # Of 256 classes chi-square has mean 255 and standard deviation 22.6; five of it.
    for byte in (bits & 255, (bits >> 8) & 255):
        counts = np.bincount(byte, minlength=256)
        assert np.sum((counts - n / 256) ** 2) / (n / 256) < 255 + 5 * 22.6
    centred = bits / bits.std()
    for lag in (1, 4, 16, 256):
        correlation = np.mean(centred[lag:] * centred[:-lag])
        assert abs(correlation) < 5 / math.sqrt(n)


def test_draws_are_those_of_torchs_seed():
    x = torch.ones(4, 3)
    layer = Dropout(0.5)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    with torch.random.fork_rng():
        layer(x)
    assert torch.equal(layer(x), second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_go_where_values_went(dtype):
    x = torch.ones(50, 4, dtype=dtype, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert torch.equal(x.grad, y)


def test_off_and_elsewhere_it_is_torchs_own(monkeypatch):
    layer = Dropout(0.5)
    assert isinstance(layer, nn.Dropout)
    x = torch.ones(3, 2)
    assert layer.eval()(x) is x
    layer.train()
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: "torch's own")
    assert layer(x.to("meta")) == "torch's own"
    assert layer(x).shape == (3, 2)
