"""Layers of many networks in one, and slices of a batch: as by autograd."""

import numpy as np
import pytest
import torch
from torch import nn

from sknorm.neural_network import TabularNetRegressor, _sequence
from sknorm.neural_network._derivatives import Chain, is_known
from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._losses import BinaryCrossEntropy, CrossEntropy, SquaredError
from sknorm.neural_network._sequence import SequenceGradient, is_plain
from sknorm.nn._dropout import Dropout
from sknorm.nn.members import BatchEnsembleLinear, MemberLinear, MemberScale
from sknorm.nn.tabular import TabularNetwork

N_ROWS = 11
MEMBERS = ["batch_ensemble", "mini", "independent"]


def columns(n_rows=N_ROWS, dtype=torch.float64):
    """Return two numbers, a category of few values and one of many."""
    rng = torch.Generator().manual_seed(1)
    numbers = torch.randn(n_rows, 2, generator=rng, dtype=dtype)
    few = torch.randint(3, (n_rows, 1), generator=rng)
    many = torch.randint(20, (n_rows, 1), generator=rng)
    return torch.cat([numbers, few.to(dtype), many.to(dtype)], dim=1)


def network(n_outputs=3, dtype=torch.float64, **options):
    X = columns(60, dtype)
    made = TabularNetwork(
        2,
        [3, 20],
        n_outputs,
        sample=X,
        target=X[:, 0],
        generator=torch.Generator().manual_seed(0),
        dtype=dtype,
        **{"hidden_layer_sizes": (7, 4), "n_members": 3, "bias_init": "normal"}
        | options,
    )
    # Scales that start at 1 would hide a factor that is left out.
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=dtype)
            parameter.add_(noise, alpha=0.2)
    return made.train()


def batches(n_outputs=3):
    X = columns()
    rng = torch.Generator().manual_seed(3)
    y = torch.randint(n_outputs, (N_ROWS,), generator=rng)
    weight = torch.rand(N_ROWS, generator=rng, dtype=torch.float64) + 0.5
    return [(X, y, weight), (X[:5], y[:5], None), (X.flip(0), y, weight)]


@pytest.fixture(params=[1 << 19, 3 * 20 * 8 * 4], ids=["whole", "sliced"])
def slice_bytes(request, monkeypatch):
    """Slices of all rows, and of no more than four where three members are 20 wide."""
    monkeypatch.setattr(_sequence, "_SLICE_BYTES", request.param)
    monkeypatch.setattr(_sequence, "_SLICE_ROWS", 1)


# -- known values ----------------------------------------------------------------------


def test_known_values_of_a_batch_ensemble():
    layer = BatchEnsembleLinear(1, 1, 2)
    for parameter, values in (
        (layer.shared.weight, [[3.0]]),
        (layer.r, [[1.0], [2.0]]),
        (layer.s, [[1.0], [-1.0]]),
        (layer.bias, [[0.0], [5.0]]),
    ):
        parameter.data = torch.tensor(values)
    chain = Chain([layer], [(0, 1)], 2, asks_inputs=True)
    with torch.no_grad():
        # 3 * 1 * 4, and -(3 * 2 * 4) + 5.
        assert chain.forward(torch.tensor([[4.0]])).tolist() == [[[12.0], [-19.0]]]
        by_input = chain.backward(torch.tensor([[[1.0], [10.0]]]))
    # 1 * 3 * 1 - 10 * 3 * 2.
    assert by_input.tolist() == [[-57.0]]
    # 1 * 4 * 1 - 10 * 4 * 2.
    assert layer.shared.weight.grad.tolist() == [[-76.0]]
    assert layer.r.grad.tolist() == [[12.0], [-120.0]]
    assert layer.s.grad.tolist() == [[12.0], [240.0]]
    assert layer.bias.grad.tolist() == [[1.0], [10.0]]


def test_known_values_of_scales_and_of_layers_that_share_nothing():
    scale, linear = MemberScale(1, 2), MemberLinear(1, 1, 2)
    scale.r.data = torch.tensor([[2.0], [-1.0]])
    linear.weight.data = torch.tensor([[[3.0]], [[5.0]]])
    linear.bias.data = torch.tensor([[0.0], [1.0]])
    chain = Chain([scale, linear], [(0, 1)], 2, asks_inputs=True)
    with torch.no_grad():
        assert chain.forward(torch.tensor([[4.0]])).tolist() == [[[24.0], [-19.0]]]
        by_input = chain.backward(torch.tensor([[[1.0], [10.0]]]))
    assert by_input.tolist() == [[6.0 - 50.0]]
    assert scale.r.grad.tolist() == [[12.0], [200.0]]
    assert linear.weight.grad.tolist() == [[[8.0]], [[-40.0]]]
    assert linear.bias.grad.tolist() == [[1.0], [10.0]]


# -- autograd --------------------------------------------------------------------------


@pytest.mark.usefixtures("slice_bytes")
@pytest.mark.parametrize("embedding", ["none", "ple", "plr"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("n_members", [1, 3])
def test_networks_for_tables(n_members, members, activation, embedding, assert_same):
    module = network(
        n_members=n_members,
        members=members,
        activation=activation,
        embedding=embedding,
    )
    assert_same(module, CrossEntropy(0.1), batches(), clip_grad_norm=0.5)


@pytest.mark.usefixtures("slice_bytes")
@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("hidden_layer_sizes", [(), (6,), (5, 9, 5)])
def test_any_depth(members, hidden_layer_sizes, assert_same):
    module = network(members=members, hidden_layer_sizes=hidden_layer_sizes)
    assert_same(module, CrossEntropy(), batches())


@pytest.mark.usefixtures("slice_bytes")
@pytest.mark.parametrize("criterion", [SquaredError(), BinaryCrossEntropy()])
def test_losses_of_members(criterion, assert_same):
    X, _, weight = batches()[0]
    y = (X[:, :2] > 0).double()
    assert_same(network(2), criterion, [(X, y, weight)])


@pytest.mark.usefixtures("slice_bytes")
@pytest.mark.parametrize("members", MEMBERS)
def test_without_parameters_in_front(members, assert_same):
    module = TabularNetwork(
        4, [], 2, hidden_layer_sizes=(6,), n_members=3, members=members,
        dtype=torch.float64,
    )  # fmt: skip
    assert_same(module.train(), CrossEntropy(), batches(2))


def test_batch_norm_of_all_members_rows_is_never_sliced(monkeypatch, assert_same):
    monkeypatch.setattr(_sequence, "_SLICE_BYTES", 1)
    monkeypatch.setattr(_sequence, "_SLICE_ROWS", 1)
    assert_same(network(members="mini", norm="batch"), CrossEntropy(), batches())


@pytest.mark.usefixtures("slice_bytes")
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("members", ["batch_ensemble", "mini"])
def test_dropout_draws_what_autograd_would(members, activation):
    options = {"members": members, "activation": activation, "dropout": 0.4}
    X, y, weight = batches()[0]
    results = []
    for kind in (SequenceGradient, Gradient):
        module = network(**options)
        torch.manual_seed(5)
        compute = kind(module, CrossEntropy())
        for _ in range(2):
            loss, output = compute(X, y, weight)
        results.append((loss, output, [p.grad for p in module.parameters()]))
        assert (module.eval()(X) - output).abs().max() > 0.01
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(3, 4), Dropout(0.3), nn.Tanh(), nn.Linear(4, 2)],
        [nn.Linear(3, 4), nn.Sigmoid(), Dropout(0.3), nn.ReLU(), nn.Linear(4, 2)],
        [nn.Linear(3, 4), nn.ReLU(), Dropout(0.3), nn.Sigmoid(), nn.Linear(4, 2)],
        [nn.Linear(3, 4), nn.BatchNorm1d(4), Dropout(0.3), nn.GELU(), Dropout(0.2)],
    ],
)
def test_who_writes_over_whose_memory(layers):
    module = nn.Sequential(*layers).double()
    X, y, _ = batches(2)[0]
    results = []
    for kind in (SequenceGradient, Gradient):
        torch.manual_seed(5)
        loss, output = kind(module, CrossEntropy())(X[:, :3].contiguous(), y, None)
        grads = [p.grad.clone() for p in module.parameters()]
        results.append((loss, output.clone(), grads))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_dropout_that_is_off(assert_same):
    module = network(dropout=0.4)
    for part in module.modules():
        if isinstance(part, Dropout):
            part.eval()
    assert_same(module, CrossEntropy(), batches())


def test_hooks_of_what_holds_the_layers_are_called():
    X, y, _ = batches()[0]
    for name in ("", "inputs.0", "inputs.1", "inputs", "body", "body.0.shared", "head"):
        module, seen = network(), []
        compute = SequenceGradient(module, CrossEntropy())
        part = module.get_submodule(name)
        part.register_forward_hook(lambda *args, seen=seen: seen.append(args))
        compute(X, y, None)
        assert seen, name


def test_parameters_that_are_left_out():
    X, y, _ = batches()[0]
    module = network(embedding="ple")
    for parameter in module.inputs.parameters():
        parameter.requires_grad_(False)
    SequenceGradient(module, CrossEntropy())(X, y, None)
    assert all(p.grad is None for p in module.inputs.parameters())
    assert all(p.grad is not None for p in module.body.parameters())


def test_memory_is_used_again():
    X, y, _ = batches()[0]
    module = network()
    compute = SequenceGradient(module, CrossEntropy())
    compute(X, y, None)
    places = [p.grad.data_ptr() for p in module.body.parameters()]
    compute(X, y, None)
    assert [p.grad.data_ptr() for p in module.body.parameters()] == places


@pytest.mark.parametrize(
    ("n_members", "width", "expected"),
    [(1, 64, [1000]), (16, 256, [32] * 31 + [8]), (16, 4096, [16] * 62 + [8])],
)
def test_how_batches_are_sliced(n_members, width, expected, monkeypatch):
    seen = []

    def slices(parts, bounds, *args, **kwargs):
        seen.extend(stop - start for start, stop in bounds)

    monkeypatch.setattr(_sequence, "Chain", slices)
    module = network(
        n_members=n_members, hidden_layer_sizes=(width,), dtype=torch.float32
    )
    SequenceGradient(module, CrossEntropy())._chain(1000)
    assert sum(seen) == 1000
    assert max(seen) == seen[0] == max(expected)
    assert len(seen) == len(expected)


def test_a_fit_is_that_of_autograd(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    fits = []
    for plain in (True, False):
        if not plain:
            monkeypatch.setattr(
                "sknorm.neural_network._net.is_plain", lambda module: False
            )
        model = TabularNetRegressor(
            (16, 16), n_members=4, max_epochs=5, batch_size=32, dropout=0.2,
            dtype="float64", random_state=0, device="cpu",
        )  # fmt: skip
        fits.append(model.fit(X, y))
    found, expected = fits
    # Adam divides gradients of a rounding's size by their own.
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-7)
    np.testing.assert_allclose(found.predict(X), expected.predict(X), rtol=1e-5)


# -- which layers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"dropout": 0.1}, True),
        ({"members": "mini", "norm": "batch"}, True),
        ({"n_members": 1, "norm": "batch"}, True),
        ({"n_members": 1, "embedding": "pbld"}, True),
        ({"norm": "batch"}, False),
        ({"norm": "layer"}, False),
        ({"norm": "weight"}, False),
        ({"activation": "selu", "dropout": 0.1}, False),
        ({"parametric_activation": True}, False),
        ({"architecture": "resnet"}, False),
        ({"members": "independent", "activation": nn.PReLU}, False),
    ],
    ids=str,
)
def test_which_networks_are_plain(options, known):
    assert is_plain(network(**options)) == known


def test_a_dropout_of_torchs_own_is_drawn_otherwise():
    assert is_known(Dropout(0.5))
    assert not is_known(nn.Dropout(0.5))
