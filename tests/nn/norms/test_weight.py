import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from sknorm.nn.norms import SpectralNormLinear, WeightNormLinear


@pytest.fixture
def linear_of(linear_layer):
    """A linear layer with just these weights."""

    def make(rows):
        weight = torch.tensor(rows, dtype=torch.float64)
        linear = linear_layer(*weight.shape, bias=False)
        linear.weight.data.copy_(weight)
        return linear

    return make


# -- both ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [WeightNormLinear, SpectralNormLinear])
@pytest.mark.parametrize("bias", [True, False])
def test_norms_of_the_weight_take_over_the_layers_parameters(
    cls, bias, draw, linear_layer
):
    linear = linear_layer(4, 3, bias=bias).eval()
    layer = cls(linear)
    assert isinstance(layer, nn.Linear)
    assert layer.weight is linear.weight
    assert layer.bias is linear.bias
    assert not layer.training
    assert ("bias" in layer.state_dict()) == bias
    assert layer(draw(2, 3)).shape == (2, 4)


@pytest.mark.parametrize("cls", [WeightNormLinear, SpectralNormLinear])
def test_norms_of_the_weight_evaluate_as_they_last_trained(cls, draw, linear_layer):
    layer, x = cls(linear_layer(4, 3)), draw(5, 3)
    trained = layer.train()(x)
    assert torch.equal(layer.eval()(x), trained)
    assert torch.equal(layer(x), trained)


# -- weight ----------------------------------------------------------------------------


def test_weight_norm_known_values(linear_of):
    layer = WeightNormLinear(linear_of([[3.0, 4.0], [0.0, -2.0]]))
    assert layer.weight_g.tolist() == [5.0, 2.0]
    layer.weight_g.data.copy_(torch.tensor([10.0, 1.0]))
    expected = torch.tensor([[6.0, 8.0], [0.0, -1.0]], dtype=torch.float64)
    assert_close(layer.normalized_weight().detach(), expected)


def test_weight_norm_is_torchs_through_training(draw, linear_layer, gradients):
    ours = WeightNormLinear(linear_layer(5, 3))
    theirs = parametrizations.weight_norm(linear_layer(5, 3))
    for step in range(4):
        x = draw(7, 3, seed=10 + step)
        y, x_grad, grads = gradients(ours, x)
        y_theirs, x_grad_theirs, grads_theirs = gradients(theirs, x)
        assert_close((y, x_grad), (y_theirs, x_grad_theirs))
        assert_close(
            (grads["bias"], grads["weight_g"][:, None], grads["weight"]),
            (
                grads_theirs["bias"],
                grads_theirs["parametrizations.weight.original0"],
                grads_theirs["parametrizations.weight.original1"],
            ),
        )
        for module in (ours, theirs):
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            module.zero_grad()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (7, 4)])
def test_weight_norm_leaves_the_function_as_it_was(shape, draw, linear_layer):
    linear, x = linear_layer(*shape), draw(9, shape[1], seed=3)
    expected = linear(x)
    assert_close(WeightNormLinear(linear)(x), expected, rtol=1e-14, atol=1e-14)


def test_weight_norm_does_not_see_the_scale_of_directions(
    draw, linear_layer, gradients
):
    layer, x = WeightNormLinear(linear_layer(4, 3)), draw(5, 3)
    expected, _, grads = gradients(layer, x)
    # What does not change the function has no gradient: v moves at right angles to v.
    assert_close((grads["weight"] * layer.weight).sum(dim=1), torch.zeros(4).double())
    layer.weight.data.mul_(torch.tensor([[1e-3], [0.5], [7.0], [1e6]]))
    assert_close(layer(x), expected)


def test_weight_norm_keeps_a_row_of_zeros_without_nan(draw, gradients, linear_of):
    layer = WeightNormLinear(linear_of([[0.0, 0.0], [3.0, 4.0]]))
    y, x_grad, grads = gradients(layer, draw(5, 2))
    assert y[:, 0].tolist() == [0.0] * 5
    assert all(g.isfinite().all() for g in (x_grad, *grads.values()))


def test_weight_norm_learns_lengths_that_are_no_matrix(linear_layer):
    # Weight decay is for matrices: lengths, like every gamma, must not be among them.
    layer = WeightNormLinear(linear_layer(4, 3))
    assert {name: p.ndim for name, p in layer.named_parameters()} == {
        "weight": 2,
        "weight_g": 1,
        "bias": 1,
    }


# -- spectral --------------------------------------------------------------------------


def largest_singular_value(weight):
    return float(torch.linalg.matrix_norm(weight.detach(), ord=2))


@pytest.mark.parametrize(
    ("rows", "sigma"),
    [
        ([[8.0, 0.0], [0.0, 2.0]], 8.0),
        ([[3.0, 4.0]], 5.0),
        ([[3.0], [4.0]], 5.0),
        ([[1.0, 1.0], [1.0, 1.0]], 2.0),
        # The longest row is at right angles to the leading direction.
        ([[0.0, 0.0, 1.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], math.sqrt(2)),
        ([[-0.25]], 0.25),
    ],
    ids=str,
)
def test_spectral_norm_known_values(rows, sigma, linear_of):
    layer = SpectralNormLinear(linear_of(rows))
    expected = torch.tensor(rows, dtype=torch.float64) / sigma
    assert_close(layer.normalized_weight().detach(), expected, rtol=1e-9, atol=1e-12)


def test_spectral_norm_is_torchs_through_training(draw, linear_layer, gradients):
    ours = SpectralNormLinear(linear_layer(5, 3))
    with torch.random.fork_rng(devices=[]):  # torch starts its vectors by random
        theirs = parametrizations.spectral_norm(linear_layer(5, 3))
    vectors = theirs.parametrizations.weight[0]
    ours.u, ours.v = vectors._u.clone(), vectors._v.clone()
    for step in range(4):
        x = draw(7, 3, seed=10 + step)
        y, x_grad, grads = gradients(ours, x)
        y_theirs, x_grad_theirs, grads_theirs = gradients(theirs, x)
        assert_close((y, x_grad), (y_theirs, x_grad_theirs))
        assert_close(grads["weight"], grads_theirs["parametrizations.weight.original"])
        for module in (ours, theirs):
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            module.zero_grad()
    assert_close((ours.u, ours.v), (vectors._u, vectors._v))
    assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (10, 3), (64, 20), (30, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_spectral_norm_finds_the_largest_singular_value(shape, seed, linear_layer):
    layer = SpectralNormLinear(linear_layer(*shape, seed=seed), n_power_iterations=5)
    for _ in range(40):
        normalized = layer.normalized_weight()
    # The power method comes from below, so what it leaves is never shorter than 1.
    assert 1 - 1e-12 < largest_singular_value(normalized) < 1 + 1e-3


def test_spectral_norm_of_a_wide_random_layer_starts_within_a_percent(linear_layer):
    layer = SpectralNormLinear(linear_layer(256, 128)).eval()
    assert largest_singular_value(layer.normalized_weight()) < 1.01


def test_spectral_norm_follows_the_weight_in_training_only(draw, linear_layer):
    layer, x = SpectralNormLinear(linear_layer(4, 3)), draw(5, 3)
    layer.weight.data.copy_(draw(4, 3, seed=7))
    u, v = layer.u, layer.v
    layer.eval()(x)
    assert layer.u is u
    assert layer.v is v
    for _ in range(100):
        layer.train()(x)
    assert largest_singular_value(layer.normalized_weight()) == pytest.approx(1.0)


def test_spectral_norm_can_go_backward_through_two_forward_passes(draw, linear_layer):
    layer, x = SpectralNormLinear(linear_layer(4, 3)), draw(5, 3)
    (layer(x).sum() + layer(2 * x).square().sum()).backward()
    assert layer.weight.grad.isfinite().all()


def test_spectral_norm_of_zeros_is_zero_until_they_change(draw, gradients, linear_of):
    layer, x = SpectralNormLinear(linear_of([[0.0, 0.0], [0.0, 0.0]])), draw(5, 2)
    y, x_grad, grads = gradients(layer, x)
    assert not y.any()
    assert not x_grad.any()
    assert grads["weight"].isfinite().all()
    assert grads["weight"].any()
    layer.weight.data.copy_(torch.tensor([[8.0, 0.0], [0.0, 2.0]]))
    for _ in range(30):
        layer(x)
    assert largest_singular_value(layer.normalized_weight()) == pytest.approx(1.0)


@pytest.mark.parametrize("steps", [0, -1])
def test_spectral_norm_needs_a_step(steps, linear_layer):
    with pytest.raises(
        ValueError, match=rf"'n_power_iterations' .*at least 1.*{steps}"
    ):
        SpectralNormLinear(linear_layer(4, 3), n_power_iterations=steps)
