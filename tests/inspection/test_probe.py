import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from sknorm.inspection._probe import flat_share, probe
from sknorm.neural_network._losses import CrossEntropy, SquaredError
from sknorm.nn.activations import resolve_activation
from sknorm.nn.mlp import MLP
from sknorm.nn.norms import BatchRenorm, GhostBatchNorm
from sknorm.nn.tabular import TabularNetwork


def mlp(*sizes, inputs=2, outputs=1, activation="relu", dtype=torch.float64, **params):
    return MLP(
        inputs,
        outputs,
        hidden_layer_sizes=sizes,
        activation=activation,
        dtype=dtype,
        generator=torch.Generator().manual_seed(0),
        **params,
    )


def measure(network, X, y=None, criterion=None, activation="relu", **options):
    return probe(
        network,
        torch.as_tensor(X, dtype=next(network.parameters()).dtype),
        y,
        SquaredError() if criterion is None else criterion,
        resolve_activation(activation),
        **options,
    )


@pytest.fixture
def by_hand():
    """A network of two units of which one is dead."""
    network = mlp(2)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        network[0].bias.copy_(torch.tensor([0.0, -10.0]))
        network[2].weight.copy_(torch.tensor([[3.0, 5.0]]))
        network[2].bias.zero_()
    return network


ROWS = [[1.0, 0.0], [-1.0, 0.0], [2.0, 1.0], [-2.0, -1.0]]


class TestByHand:
    def test_inputs(self, by_hand):
        inputs, _ = measure(by_hand, ROWS)
        assert inputs.units == 2
        assert inputs.mean == 0
        assert inputs.mean_square == pytest.approx(12 / 8)
        assert inputs.std == pytest.approx(math.sqrt(12 / 8))
        assert inputs.offset == 0

    def test_signal(self, by_hand):
        _, (hidden, output) = measure(by_hand, ROWS)
        z = np.add(ROWS, [0, -10])
        assert hidden.signal.mean == pytest.approx(z.mean())
        assert hidden.signal.std == pytest.approx(z.std())
        assert hidden.signal.mean_square == pytest.approx((z**2).mean())
        assert hidden.sweet_spot == 2 / 8
        assert hidden.flat == 6 / 8
        assert hidden.dead == 1 / 2
        out = 3 * np.maximum(z[:, 0], 0)
        assert output.signal.mean == pytest.approx(out.mean())
        assert output.signal.std == pytest.approx(out.std())
        assert math.isnan(output.sweet_spot)
        assert math.isnan(output.dead)

    def test_gradient(self, by_hand):
        y = torch.zeros(4, 1, dtype=torch.float64)
        _, (hidden, output) = measure(by_hand, ROWS, y)
        # (f - y)^2 has the derivative 2 f.
        back = 2 * 3 * np.array([1.0, 0, 2, 0])
        assert output.grad_norm == pytest.approx(math.sqrt((back**2).mean()))
        assert output.grad_std == pytest.approx(back.std())
        first = np.stack([3 * back, 0 * back], axis=1)
        assert hidden.grad_norm == pytest.approx(
            math.sqrt((first**2).sum(axis=1).mean())
        )
        assert hidden.grad_std == pytest.approx(first.std())

    def test_weights(self, by_hand):
        _, (hidden, output) = measure(by_hand, ROWS)
        assert hidden.weight_std == pytest.approx(0.5)
        assert hidden.sigma_w == pytest.approx(math.sqrt(2 * 0.5))
        assert hidden.sigma_b == pytest.approx(math.sqrt(50))
        assert output.sigma_w == pytest.approx(math.sqrt(34))
        assert (hidden.name, output.name) == ("0", "2")

    def test_step(self, by_hand):
        def optimizer():
            return torch.optim.SGD(by_hand.parameters(), lr=0.1)

        y = torch.zeros(4, 1, dtype=torch.float64)
        _, (hidden, output) = measure(by_hand, ROWS, y, optimizer=optimizer)
        # Of the last weights: mean of 2 f relu(z), of which only the first is not 0.
        grad = np.mean(2 * 3 * np.array([1.0, 0, 2, 0]) * np.array([1.0, 0, 2, 0]))
        assert output.update == pytest.approx(0.1 * grad / math.sqrt(34))
        assert hidden.update > 0

    def test_no_targets_no_step(self, by_hand):
        _, layers = measure(by_hand, ROWS, optimizer=lambda: None)
        assert all(math.isnan(layer.update) for layer in layers)
        # Directions of length 1, of a single output.
        assert layers[-1].grad_norm == pytest.approx(1.0, rel=0.8)

    def test_some_rows(self, by_hand):
        _, (hidden, _) = measure(by_hand, ROWS, keep=True)
        np.testing.assert_array_equal(hidden.sample, np.add(ROWS, [0, -10]))
        assert measure(by_hand, ROWS)[1][0].sample is None


class TestDirections:
    def test_rank_and_correlation(self, rng):
        X = torch.from_numpy(rng.normal(size=(500, 1))) * torch.tensor([[1.0, -2.0]])
        inputs, _ = measure(mlp(4), X)
        assert inputs.effective_rank == pytest.approx(1.0)
        assert inputs.correlation == pytest.approx(1.0)

    def test_two_that_are_independent(self, rng):
        X = rng.normal(size=(512, 2))
        X -= X.mean(axis=0)
        X, _ = np.linalg.qr(X)
        inputs, _ = measure(mlp(4), X)
        assert inputs.effective_rank == pytest.approx(2.0)
        assert inputs.correlation == pytest.approx(0.0, abs=1e-12)

    def test_pairs_can_be_left_out(self):
        inputs, (hidden, _) = measure(mlp(4), ROWS, pairs=False)
        assert math.isnan(inputs.effective_rank)
        assert math.isnan(hidden.signal.correlation)
        assert hidden.signal.std > 0

    def test_constants(self):
        inputs, _ = measure(mlp(4), np.ones((10, 2)))
        assert inputs.effective_rank == 0
        assert math.isnan(inputs.correlation)
        assert (inputs.mean, inputs.std) == (1, 0)
        assert inputs.shift == math.inf
        assert inputs.offset == 0

    def test_columns_far_from_zero(self, rng):
        inputs, _ = measure(mlp(4), 100 + rng.normal(size=(4000, 2)))
        assert inputs.offset == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], 0.5),
        ([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], 1.0),
        ([[1.0, 2.0], [2.0, 1.0], [-1.0, -2.0], [1.0, 3.0]], 0.0),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], 1.0),
    ],
)
def test_twins(rows, share):
    network = mlp(4)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(rows))
        network[0].bias.zero_()
    _, (hidden, _) = measure(network, ROWS)
    assert hidden.twins == share
    assert hidden.blank == (not np.any(rows))


def test_twins_differ_by_their_biases():
    network = mlp(2)
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.copy_(torch.tensor([0.0, 1.0]))
    assert measure(network, ROWS)[1][0].twins == 0


@pytest.mark.parametrize(
    ("activation", "share", "both"),
    [
        ("relu", 0.5, False),
        ("identity", 0.0, False),
        ("tanh", 0.0291, True),  # P(|z| > artanh(sqrt(.95)))
        ("sigmoid", 0.0, True),
        ("leaky_relu", 0.5, False),  # Its slope of .01 is below 5 %.
    ],
)
def test_flat_share(activation, share, both):
    got = flat_share(resolve_activation(activation))
    assert got[0] == pytest.approx(share, abs=2e-3)
    assert got[1] == both


class TestNorms:
    def test_before_the_activation(self, rng):
        X = 5 + 3 * rng.normal(size=(200, 2))
        network = mlp(8, norm="batch")
        _, (hidden, _) = measure(network, X, batch_statistics=True)
        assert hidden.norm == "BatchNorm1d"
        assert hidden.norm_is_before
        assert hidden.batch_statistics == -1
        gamma, beta = network[1].weight.detach(), network[1].bias.detach()
        expected = float((gamma**2 + beta**2).mean())
        assert hidden.signal.mean_square == pytest.approx(expected, rel=1e-3)

    def test_learned_statistics(self, rng):
        X = 5 + 3 * rng.normal(size=(200, 2))
        network = mlp(8, norm="batch")
        _, (hidden, _) = measure(network, X)
        z = network[1].eval()(network[0](torch.as_tensor(X))).detach()
        assert hidden.signal.mean == pytest.approx(float(z.mean()))

    def test_after_the_activation(self):
        network = mlp(8, norm="layer", norm_position="after")
        _, (hidden, _) = measure(network, ROWS)
        assert hidden.norm == "LayerNorm"
        assert not hidden.norm_is_before
        assert hidden.batch_statistics == 0

    def test_parts_of_a_batch(self):
        _, (hidden, _) = measure(mlp(8, norm="ghost_batch"), ROWS)
        assert hidden.batch_statistics == 32

    @pytest.mark.parametrize(
        ("warm_up", "n_batches", "rows"), [(1000, 0, -1), (10, 19, -1), (10, 20, 0)]
    )
    def test_one_that_corrects_its_batches(self, warm_up, n_batches, rows):
        network = mlp(8, norm=functools.partial(BatchRenorm, warm_up=warm_up))
        network[1].num_batches_tracked.fill_(n_batches)
        _, (hidden, _) = measure(network, ROWS)
        assert hidden.norm == "BatchRenorm"
        assert hidden.batch_statistics == rows

    @pytest.mark.parametrize("norm", ["weight", "spectral"])
    def test_of_the_weight(self, norm):
        network = mlp(8, norm=norm)
        _, (hidden, _) = measure(network, ROWS)
        weight = network[0].normalized_weight().detach()
        assert hidden.weight_std == pytest.approx(float(weight.std(correction=0)))
        assert hidden.norm == ""


class TestActivations:
    def test_one_that_works_in_place(self):
        plain = mlp(8, activation="relu")
        inplace = mlp(8, activation=nn.ReLU(inplace=True))
        one = measure(plain, ROWS, torch.ones(4, 1, dtype=torch.float64))[1][0]
        two = measure(
            inplace,
            ROWS,
            torch.ones(4, 1, dtype=torch.float64),
            activation=nn.ReLU(inplace=True),
        )[1][0]
        assert one.signal == two.signal
        assert one.grad_norm == pytest.approx(two.grad_norm)

    def test_one_that_is_not_elementwise(self):
        network = mlp(8, activation=nn.Softmax(dim=-1), init="xavier_normal")
        _, (hidden, _) = measure(network, ROWS, activation=nn.Softmax(dim=-1))
        assert hidden.activation == "Softmax"
        assert math.isnan(hidden.sweet_spot)
        assert math.isnan(hidden.dead)
        assert hidden.signal.finite

    def test_a_function_of_ones_own(self):
        network = mlp(8, activation=torch.sin)
        _, (hidden, _) = measure(network, ROWS, activation=torch.sin)
        assert hidden.activation == "sin"
        assert 0 < hidden.sweet_spot <= 1


class Scaled(nn.Module):
    """An activation that is made of layers."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Tanh(), nn.Hardtanh(-2.0, 2.0))

    def forward(self, x):
        return 1.5 * self.inner(x)


class Gated(nn.Module):
    """A norm that is made of layers, a linear one among them."""

    def __init__(self, n):
        super().__init__()
        self.gate = nn.Linear(n, n, dtype=torch.float64)
        self.norms = nn.Sequential(nn.LayerNorm(n), GhostBatchNorm(n))

    def forward(self, x):
        return self.norms(x * torch.sigmoid(self.gate(x)))


class TestLayersOfOnesOwn:
    @pytest.mark.parametrize("activation", [Scaled, Scaled()])
    def test_activation(self, activation):
        network = mlp(8, activation=activation)
        _, (hidden, _) = measure(network, ROWS, activation=activation)
        assert hidden.activation == "Scaled"
        assert hidden.norm == ""
        # Where 1.5 (1 - tanh^2) is 42 % of its largest.
        z = network[0](torch.tensor(ROWS, dtype=torch.float64))
        assert hidden.sweet_spot == float((z.abs() <= 1).double().mean())

    def test_a_chain_as_activation(self):
        activation = nn.Sequential(nn.Tanh(), nn.Softplus())
        _, layers = measure(mlp(8, activation=activation), ROWS, activation=activation)
        assert [layer.activation for layer in layers] == ["Sequential", ""]

    def test_pre_activations_are_behind_a_norm_before_it(self):
        network = mlp(8, activation=Scaled, norm="batch")
        _, (hidden, _) = measure(
            network, ROWS, activation=Scaled, batch_statistics=True
        )
        assert hidden.norm == "BatchNorm1d"
        assert hidden.norm_is_before
        z = network[1](network[0](torch.tensor(ROWS, dtype=torch.float64)))
        mean_square = float(z.detach().square().mean())
        assert hidden.signal.mean_square == pytest.approx(mean_square)

    def test_norm(self):
        _, layers = measure(mlp(8, norm=Gated), ROWS)
        assert [layer.name for layer in layers] == ["0", "3"]
        assert [layer.norm for layer in layers] == ["Gated", ""]
        assert layers[0].batch_statistics == 32

    @pytest.mark.parametrize("members", ["batch_ensemble", "mini", "independent"])
    @pytest.mark.parametrize("norm", ["batch", "layer"])
    def test_norms_of_members_have_their_own_names(self, members, norm):
        network = TabularNetwork(
            2, [], 1, hidden_layer_sizes=(8,), norm=norm, n_members=3, members=members
        )
        _, (hidden, _) = measure(network, ROWS)
        assert hidden.norm == {"batch": "BatchNorm1d", "layer": "LayerNorm"}[norm]
        assert hidden.batch_statistics == {"batch": -1, "layer": 0}[norm]

    @pytest.mark.parametrize("members", ["batch_ensemble", "mini", "independent"])
    def test_activation_of_members_that_is_not_elementwise(self, members):
        activation = nn.Softmax(dim=-1)
        network = TabularNetwork(
            2,
            [],
            1,
            hidden_layer_sizes=(8,),
            activation=activation,
            init="xavier_normal",
            n_members=3,
            members=members,
        )
        _, (hidden, _) = measure(network, ROWS, activation=activation)
        assert hidden.activation == "Softmax"
        assert hidden.norm == ""


@pytest.mark.parametrize("architecture", ["mlp", "resnet"])
@pytest.mark.parametrize("members", ["batch_ensemble", "mini", "independent"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "weight"])
@pytest.mark.parametrize("parametric", [False, True])
def test_networks_for_tables(rng, architecture, members, norm, parametric):
    network = TabularNetwork(
        2,
        [3],
        2,
        architecture=architecture,
        hidden_layer_sizes=(8, 8),
        norm=norm,
        n_members=3,
        members=members,
        parametric_activation=parametric,
        generator=torch.Generator().manual_seed(0),
    )
    X = np.column_stack([rng.normal(size=(40, 2)), rng.integers(0, 4, 40)])
    y = torch.from_numpy(rng.integers(0, 2, 40))
    _, layers = measure(
        network, X.astype(np.float32), y, CrossEntropy(), batch_statistics=True
    )
    assert [layer.name for layer in layers] == [
        name for name, _ in network.named_linears()
    ]
    assert all(layer.signal.finite and layer.grad_norm > 0 for layer in layers)
    assert all(layer.sigma_w > 0 for layer in layers)
    has_activation = [bool(layer.activation) for layer in layers]
    if architecture == "mlp":
        assert has_activation == [True, True, False]
    else:  # Entrance, and two blocks of two, of which the sum is bent at the end.
        assert has_activation == [False, True, False, True, True, False]


def test_effective_weights_of_a_batch_ensemble():
    network = TabularNetwork(3, [], 1, hidden_layer_sizes=(4,), n_members=2)
    _, layers = measure(network, np.zeros((2, 3), dtype=np.float32))
    layer = network.body[0]
    each = [
        (layer.shared.weight * torch.outer(layer.s[i], layer.r[i]))
        .detach()
        .square()
        .mean()
        for i in range(2)
    ]
    expected = math.sqrt(3 * float(sum(each)) / 2)
    assert layers[0].sigma_w == pytest.approx(expected, rel=1e-6)


class TestBadNumbers:
    def test_where_it_is_not_finite(self):
        network = mlp(4, 4)
        with torch.no_grad():
            network[2].weight[0, 0] = math.nan
        _, (first, second, output) = measure(
            network, ROWS, torch.ones(4, 1, dtype=torch.float64)
        )
        assert first.signal.finite
        assert first.finite_weights
        assert not second.finite_weights
        assert not second.signal.finite
        assert math.isnan(second.signal.std)
        assert not output.signal.finite
        assert math.isnan(first.grad_std)

    @pytest.mark.parametrize("power", range(100, 309, 26))
    def test_numbers_near_the_largest(self, power):
        # The square of a large number overflows long before it does.
        network = mlp(4, 4)
        with torch.no_grad():
            network[0].bias.fill_(10.0**power)
        y = torch.full((4, 1), -(10.0**power), dtype=torch.float64)
        inputs, layers = measure(network, ROWS, y)
        assert inputs.finite
        assert layers[0].signal.mean > 0 or not layers[0].signal.finite

    def test_hooks_are_gone_when_something_raises(self):
        network = mlp(4)
        with pytest.raises(RuntimeError):
            measure(network, np.zeros((3, 5)))
        hooks = [
            len(part._forward_hooks) + len(part._forward_pre_hooks)
            for part in network.modules()
        ]
        assert hooks == [0] * len(hooks)

    def test_no_linear_layer(self):
        with pytest.raises(ValueError, match="has no linear layer"):
            measure(nn.Sequential(nn.PReLU()), ROWS)


def test_hooks_are_gone_and_weights_stay():
    network = mlp(4)
    before = copy.deepcopy(network.state_dict())
    state = torch.get_rng_state()
    measure(network, ROWS, torch.ones(4, 1, dtype=torch.float64))
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks for part in network.modules())


@pytest.mark.parametrize("n_rows", [2049, 5000])
def test_statistics_of_some_rows(rng, n_rows):
    X = rng.normal(size=(n_rows, 2))
    inputs, (hidden, _) = measure(mlp(4), X, torch.zeros(n_rows, 1).double())
    step = -(-n_rows // 2048)
    assert inputs.mean == pytest.approx(X[::step].mean())
    assert hidden.grad_norm > 0
