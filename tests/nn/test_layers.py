"""What networks share, by hand."""

import pytest
import torch
from torch import nn

from sknorm.nn import _layers
from sknorm.nn._dropout import Dropout
from sknorm.nn._layers import Site
from sknorm.nn.activations import ACTIVATIONS
from sknorm.nn.initializers import LSUV, resolve_initializer
from sknorm.nn.members import BatchEnsembleLinear, MemberLinear
from sknorm.nn.norms import NORMS


def fill(layer, init, position="hidden", bias_init=None, seed=0):
    _layers.fill(
        [Site(layer, position)],
        resolve_initializer(init),
        None if bias_init is None else resolve_initializer(bias_init),
        phi=ACTIVATIONS["relu"],
        norm=NORMS["none"],
        generator=torch.Generator().manual_seed(seed),
    )
    return layer


def test_an_empty_layer_draws_nothing():
    before = torch.get_rng_state()
    assert _layers.empty_linear(3, 2, torch.float64).weight.dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("index", "normalized", "expected"),
    [(0, False, "input"), (1, False, "hidden"), (2, False, "output"),
     (1, True, "input"), (2, True, "input")],
)  # fmt: skip
def test_position_of_three_layers(index, normalized, expected):
    assert _layers.position(index, 3, normalized) == expected


def test_norm_stands_on_the_side_asked_for():
    phi, norm = nn.ReLU(), nn.LayerNorm(2)
    assert list(_layers.block(phi, norm, "before")) == [norm, phi]
    assert list(_layers.block(phi, norm, "after")) == [phi, norm]
    assert list(_layers.block(phi, None, "after")) == [phi]


def test_dropout_follows_the_activation():
    assert _layers.dropout_after(nn.ReLU(), 0) == []
    assert type(_layers.dropout_after(nn.ReLU(), 0.1)[0]) is Dropout
    assert type(_layers.dropout_after(nn.SELU(), 0.1)[0]) is nn.AlphaDropout


def test_each_member_is_filled_as_a_layer_of_its_own():
    generator = torch.Generator().manual_seed(0)
    members = fill(MemberLinear(3, 2, 2), "kaiming_normal")
    for weight in members.weight:
        alone = nn.Linear(3, 2)
        scheme = resolve_initializer("kaiming_normal")
        scheme(alone.weight, gain=2**0.5, generator=generator)
        torch.testing.assert_close(weight, alone.weight)


def test_a_shared_weight_is_filled_once_and_biases_are_alike():
    layer = fill(BatchEnsembleLinear(3, 2, 4), "torch_default")
    alone = fill(nn.Linear(3, 2), "torch_default")
    assert torch.equal(layer.shared.weight, alone.weight)
    assert torch.equal(layer.bias, alone.bias.expand(4, 2))


def test_bias_scheme_fills_biases():
    assert fill(nn.Linear(3, 2), "auto", bias_init="constant").bias.tolist() == (
        pytest.approx([0.1, 0.1])
    )


def test_hinges_go_to_the_norm_layer_if_there_is_one(generator):
    linear, norm = nn.Linear(2, 1000), nn.LayerNorm(1000)
    kept = linear.bias.clone()
    _layers.spread_hinges(linear.weight, linear.bias, norm, generator)
    assert torch.equal(linear.bias, kept)
    torch.testing.assert_close(norm.weight, torch.full((1000,), 0.5**0.5))
    # 1000 draws leave 1 / sqrt(2000) of a standard deviation; four of it.
    assert float(norm.bias.detach().var()) == pytest.approx(
        0.5, abs=0.5 * 8 / 2000**0.5
    )


def test_hinges_go_to_the_layer_if_the_norm_has_no_bias(generator):
    linear, norm = nn.Linear(2, 3), nn.RMSNorm(3)
    weight = linear.weight.detach().clone()
    _layers.spread_hinges(linear.weight, linear.bias, norm, generator)
    torch.testing.assert_close(linear.weight, weight * 0.5**0.5)
    assert norm.weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("make", [MemberLinear, BatchEnsembleLinear])
def test_scaling_by_data_reaches_every_member_and_leaves_the_network_alone(
    make, generator
):
    layers = [make(4, 6, 3), make(6, 2, 3)]
    # Biases add to the variance that is left; without them one rescaling does it.
    for layer in layers:
        nn.init.zeros_(layer.bias)
    network = nn.Sequential(layers[0], nn.Dropout(0.5), nn.Tanh(), layers[1])
    rows = 5 * torch.randn(200, 3, 4, generator=generator)
    _layers.scale_by_data(network, layers, LSUV(tol=0.01), rows)
    assert all(part.training for part in network.modules())
    hidden = layers[0](rows)
    for signal in (hidden, layers[1](hidden.tanh())):
        of_each = signal if make is BatchEnsembleLinear else signal.transpose(0, 1)
        variances = (
            [float(signal.detach().var())]
            if make is BatchEnsembleLinear
            else [float(member.detach().var()) for member in of_each]
        )
        assert variances == pytest.approx([1] * len(variances), abs=0.02)
