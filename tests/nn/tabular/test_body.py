import functools

import torch
from torch import nn

from sknorm.nn.tabular import ParametricActivation, TabularNetwork

# -- the residual one ------------------------------------------------------------------


def test_resnet_by_hand():
    made = TabularNetwork(1, [], 1, architecture="resnet", hidden_layer_sizes=(1,))
    with torch.no_grad():
        for _, linear in made.named_linears():
            linear.weight.fill_(2.0)
            linear.bias.fill_(1.0)
    # 3 -> 7; relu(15) -> 31 + 7 = 38; relu(38) -> 77.
    assert made(torch.tensor([[3.0]])).tolist() == [[77.0]]


def test_resnet_has_a_norm_before_each_block_and_one_at_the_end(network):
    made = network(
        architecture="resnet", norm="layer", dropout=0.1, hidden_layer_sizes=(8, 6, 4)
    )
    assert [type(p).__name__ for p in made.body] == [
        "Linear", "ResidualBlock", "ResidualBlock", "ResidualBlock", "LayerNorm",
        "ReLU",
    ]  # fmt: skip
    block = made.body[2]
    assert [type(p).__name__ for p in block.children()] == [
        "LayerNorm", "Linear", "ReLU", "Sequential", "Linear"
    ]  # fmt: skip
    assert (block.first.out_features, block.second.out_features) == (6, 8)
    assert block.dropout[0].p == 0.1
    bare = network(architecture="resnet", dropout=0.1)
    assert [type(p).__name__ for p in bare.body][-2:] == ["ResidualBlock", "ReLU"]


# -- activations -----------------------------------------------------------------------


def test_parametric_activation_starts_as_the_activation_itself(generator):
    x = torch.randn(50, 4, generator=generator)
    tanh = ParametricActivation(nn.Tanh(), (4,))
    assert torch.equal(tanh(x), x.tanh())
    tanh.alpha.data.fill_(0.25)
    torch.testing.assert_close(tanh(x), x + 0.25 * (x.tanh() - x))


def test_parametric_activation_of_members_is_of_each(network):
    made = network(n_members=3, parametric_activation=True)
    assert made.body[1].alpha.shape == (3, 8)
    assert network(parametric_activation=True).body[1].alpha.shape == (8,)


def test_activation_that_is_not_elementwise_sees_rows(table, network):
    softmax = functools.partial(nn.Softmax, dim=1)
    given = {"activation": softmax, "init": "xavier_normal", "norm": "none"}
    made = network(n_members=3, **given)
    sums = made.body[:2](made.inputs(table())).sum(-1)
    torch.testing.assert_close(sums, torch.ones(40, 3))
