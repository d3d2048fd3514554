import math

import pytest
import torch

from sknorm.nn.embeddings import PBLD, Periodic, resolve_embedding


def test_waves_by_hand():
    layer = Periodic(n_frequencies=2, d_embedding=None).build(1)
    layer.by_feature.frequencies.data.copy_(torch.tensor([[0.25, 1.0]]))
    # A quarter and a whole turn: sines, then cosines.
    torch.testing.assert_close(
        layer(torch.tensor([[1.0]])), torch.tensor([[1.0, 0, 0, 1]]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("linear", ["per_feature", "shared"])
def test_plr_is_a_linear_layer_of_waves(linear, generator):
    layer = Periodic(5, 0.5, 4, linear=linear).build(3, generator=generator)
    waves, linears = layer.by_feature
    x = torch.randn(6, 3, generator=generator)
    for j in range(3):
        angles = 2 * math.pi * x[:, [j]] * waves.frequencies[j]
        of_feature = torch.cat([angles.sin(), angles.cos()], dim=1)
        if linear == "shared":
            expected = linears(of_feature)
        else:
            expected = of_feature @ linears.weight[j] + linears.bias[j]
        torch.testing.assert_close(
            layer(x)[:, 4 * j : 4 * j + 4], expected.relu(), atol=1e-5, rtol=1e-5
        )


def test_frequencies_start_with_the_spread_asked_for(generator):
    waves = Periodic(100, 0.3).build(40, generator=generator).by_feature[0]
    std = float(waves.frequencies.detach().std())
    assert std == pytest.approx(0.3, rel=5 / 8000**0.5)


def test_plr_and_periodic_are_one():
    assert resolve_embedding("plr") == resolve_embedding("periodic") == Periodic()


def test_pbld_keeps_the_number_and_adds_shifted_waves():
    layer = PBLD(n_frequencies=1, d_embedding=2).build(1)
    with torch.no_grad():
        layer.frequencies.fill_(0.25)
        layer.phases.fill_(math.pi / 2)
        layer.linear.weight.fill_(3.0)
        layer.linear.bias.fill_(1.0)
    # 3 cos(pi / 2 x + pi / 2) + 1 at 1 is -2.
    y = layer(torch.tensor([[1.0], [-1.0]])).detach()
    torch.testing.assert_close(y, torch.tensor([[1.0, -2.0], [-1.0, 4.0]]))


def test_pbld_starts_and_learns_as_realmlp_does(generator):
    layer = PBLD().build(200, generator=generator)
    assert float(layer.frequencies.detach().std()) == pytest.approx(0.1, rel=0.07)
    assert 3.1 < float(layer.phases.detach().abs().max()) <= math.pi
    assert layer.linear.weight.shape == (200, 16, 3)
    assert 0.24 < float(layer.linear.weight.detach().abs().max()) <= 0.25
    assert layer.lr_factor == 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Periodic(0), "'n_frequencies' parameter of Periodic"),
        (lambda: Periodic(sigma=0), "'sigma' parameter of Periodic.*greater than 0"),
        (lambda: Periodic(linear="lite"), "'per_feature' or 'shared'. Got 'lite'"),
        (lambda: Periodic(d_embedding=0), "at least 1, or None. Got 0"),
        (lambda: PBLD(d_embedding=1), "'d_embedding' parameter of PBLD.*at least 2"),
        (lambda: PBLD(sigma=math.inf), "'sigma' parameter of PBLD"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
