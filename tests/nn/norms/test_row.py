import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sknorm.nn.norms import NORMS, DynamicTanh, group_norm

PARITY = {
    "layer": (NORMS["layer"].build(12), nn.LayerNorm(12)),
    "rms": (NORMS["rms"].build(12), nn.RMSNorm(12, eps=1e-5)),
    "group": (NORMS["group"].build(12), nn.GroupNorm(6, 12)),
}


@pytest.mark.parametrize("case", PARITY)
def test_same_values_and_gradients_as_torch(case, assert_as_torch):
    assert_as_torch(*map(copy.deepcopy, PARITY[case]))


@pytest.mark.parametrize(
    ("name", "scale", "shift"),
    [("layer", 100.0, -7.0), ("group", 100.0, -7.0), ("rms", 100.0, 0.0)],
)
def test_norms_of_a_row_do_not_see_its_scale_and_shift(name, scale, shift, draw):
    norm, x = NORMS[name].build(12).double(), draw(6, 12)
    expected = norm(scale * x + shift)
    norm.eps /= scale**2  # the one thing that does not scale with the row
    assert_close(norm(x), expected)


@pytest.mark.parametrize("name", ["layer", "rms", "group", "dynamic_tanh"])
def test_norms_without_batch_statistics_train_as_they_evaluate(name, draw):
    norm, x = NORMS[name].build(6).double(), draw(5, 6)
    assert torch.equal(norm.train()(x), norm.eval()(x))


# -- group -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_features", "groups"),
    [
        (2, 1),
        (3, 1),
        (4, 2),
        (6, 3),
        (7, 1),
        (8, 4),
        (12, 6),
        (16, 8),
        (97, 1),
        (100, 5),
        (128, 8),
    ],
)
def test_group_norm_takes_as_many_groups_as_it_can(num_features, groups):
    assert group_norm(num_features).num_groups == groups


def test_group_norm_of_a_prime_width_is_layer_norm(draw):
    x = draw(5, 7, dtype=torch.float32)
    assert_close(group_norm(7)(x), nn.LayerNorm(7)(x))


@pytest.mark.parametrize(("num_features", "max_groups"), [(1, 8), (0, 8), (4, 0)])
def test_group_norm_needs_two_features(num_features, max_groups):
    with pytest.raises(
        ValueError, match=f"num_features={num_features}, max_groups={max_groups}"
    ):
        group_norm(num_features, max_groups=max_groups)


# -- dynamic_tanh ----------------------------------------------------------------------


def test_dynamic_tanh_has_one_slope_and_squashes_between_gamma():
    norm = DynamicTanh(3, alpha_init=2.0)
    assert norm.alpha.tolist() == [2.0]
    norm.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert_close(norm(torch.full((1, 3), 1e6)).tolist(), [[1.0, 2.0, 3.0]])
