"""Derivatives that are written down: those of autograd, and never in its way."""

import numpy as np
import pytest
import torch
from torch import nn

from sknorm.neural_network import NormMLPClassifier
from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Pinball,
    Poisson,
    SquaredError,
)
from sknorm.neural_network._sequence import SequenceGradient, is_plain
from sknorm.nn.activations import ACTIVATIONS
from sknorm.nn.mlp import MLP
from sknorm.nn.norms import NORMS
from sknorm.nn.tabular import TabularNetwork

N_ROWS, N_COLUMNS = 12, 5
KNOWN = ["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"]


def mlp(activation="relu", norm="batch", n_outputs=3, **options):
    network = MLP(
        N_COLUMNS,
        n_outputs,
        hidden_layer_sizes=(7, 4),
        activation=activation,
        norm=norm,
        generator=torch.Generator().manual_seed(0),
        **{"dtype": torch.float64, "bias_init": "normal"} | options,
    )
    return network.train()


def table(dtype=torch.float64, n_rows=N_ROWS):
    rng = torch.Generator().manual_seed(1)
    X = torch.randn(n_rows, N_COLUMNS, generator=rng, dtype=dtype)
    weight = torch.rand(n_rows, generator=rng, dtype=dtype) + 0.5
    return X, torch.randint(3, (n_rows,), generator=rng), weight


def forbidden(*args):
    """Stand in for autograd where nobody may ask it."""
    raise AssertionError("autograd was asked")


@pytest.fixture
def no_autograd(monkeypatch):
    monkeypatch.setattr(Gradient, "_backward", forbidden)


def test_known_values(no_autograd):
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1, bias=False))
    for parameter, value in zip(module.parameters(), (2.0, -1.0, 3.0), strict=True):
        nn.init.constant_(parameter, value)
    X, y = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.0]])
    loss, output = SequenceGradient(module, SquaredError())(X, y, None)
    # 2 * 1 - 1 = 1 passes the ReLU and becomes 3, an error of 2; -1 does not.
    assert (loss.item(), output.ravel().tolist()) == (2.0, [3.0, 0.0])
    # 2 * error / 2 rows = 2, times the factor 3 before the ReLU.
    assert [p.grad.item() for p in module.parameters()] == [6.0, 6.0, 2.0]


@pytest.mark.parametrize("norm_position", ["before", "after"])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("activation", [*KNOWN, nn.GELU("tanh"), nn.LeakyReLU(0.3)])
def test_every_layer_is_that_of_autograd(activation, norm, norm_position, assert_same):
    X, y, weight = table()
    batches = [(X, y, weight), (X[:8], y[:8], None), (X, y, None)]
    module = mlp(activation, norm, norm_position=norm_position)
    assert_same(module, CrossEntropy(), batches)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("criterion", "n_outputs"),
    [
        (CrossEntropy(), 3),
        (CrossEntropy(label_smoothing=0.1), 3),
        (SquaredError(), 1),
        (SquaredError(), 3),
        (BinaryCrossEntropy(0.1), 3),
        (Huber(), 2),
        (Pinball([0.1, 0.5, 0.9]), 3),
        (Poisson(), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_loss_is_that_of_autograd(criterion, n_outputs, weighted, assert_same):
    X, y, weight = table()
    if not isinstance(criterion, CrossEntropy):
        columns = n_outputs // criterion.outputs_per_target
        y = (X[:, :columns] > 0).double()
    batch = (X, y, weight if weighted else None)
    assert_same(mlp(n_outputs=n_outputs), criterion, [batch])


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(N_COLUMNS, 3)),
        nn.Sequential(nn.Linear(N_COLUMNS, 3, bias=False), nn.BatchNorm1d(3)),
        nn.Sequential(nn.Linear(N_COLUMNS, 3), nn.Tanh(), nn.ReLU()),
        nn.Sequential(nn.Linear(N_COLUMNS, 3), nn.GELU(), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Linear(N_COLUMNS, 3), nn.BatchNorm1d(3, momentum=0.7)),
    ],
)
def test_sequences_of_a_users_own(module, assert_same):
    X, y, _ = table()
    assert_same(module.double(), CrossEntropy(), [(X, y, None)])


def test_gradients_are_clipped_and_shown_to_who_listens(assert_same):
    X, y, _ = table()
    batch = (X, y, None)
    assert_same(mlp(), CrossEntropy(), [batch], clip_grad_norm=0.01)
    seen = []
    listening = SequenceGradient(
        mlp(), CrossEntropy(), on_backward=lambda *batch: seen.append(batch)
    )
    listening(*batch)
    assert seen == [(X, y)]


def test_inputs_are_left_alone(no_autograd):
    X, y, weight = table()
    kept = [part.clone() for part in (X, y, weight)]
    SequenceGradient(mlp(), CrossEntropy())(X, y, weight)
    for part, before in zip((X, y, weight), kept, strict=True):
        assert torch.equal(part, before)
        assert not part.requires_grad


def test_memory_is_used_again_and_the_loss_is_kept(no_autograd):
    X, y, _ = table()
    compute = SequenceGradient(mlp(), CrossEntropy())
    first, output = compute(X, y, None)
    value = first.item()
    for parameter in compute.parameters:
        parameter.grad = None
    second, again = compute(-X, y, None)
    assert output.data_ptr() == again.data_ptr()
    assert first.item() == value != second.item()
    assert all(p.grad is not None for p in compute.parameters)


# -- which networks --------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_which_networks_are_plain(activation, norm):
    known = activation in KNOWN and norm in ("batch", "none")
    assert is_plain(mlp(activation, norm)) == known


class OwnForward(MLP):
    def forward(self, x):
        return super().forward(x) + 1.0


def patched():
    module = mlp()
    module[1].forward = lambda x: x
    return module


def tied():
    module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(2)))
    module[1].weight = module[0].weight
    return module


def of_two_precisions():
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).double())


@pytest.mark.parametrize(
    "module",
    [
        OwnForward(3, 2),
        patched(),
        tied(),
        of_two_precisions(),
        nn.Sequential(*2 * [nn.Linear(3, 3)]),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, momentum=None)),
        nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False)),
        nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=1)),
        nn.Sequential(),
        nn.Linear(3, 3),
        mlp(dropout=0.5, activation="selu"),
        mlp().to("meta"),
        mlp(dtype=torch.bfloat16, bias_init="zeros"),
        TabularNetwork(3, [], 2, architecture="resnet"),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_is_not_plain(module):
    assert not is_plain(module)


# -- when autograd is asked ------------------------------------------------------------


def see(seen):
    """Return a hook that takes any arguments."""
    return lambda *args: seen.append(args)


@pytest.mark.parametrize(
    "register",
    [
        lambda module, hook: module.register_forward_hook(hook),
        lambda module, hook: module[0].register_forward_hook(hook),
        lambda module, hook: module[1].register_forward_pre_hook(hook),
        lambda module, hook: module[2].register_full_backward_hook(hook),
        lambda module, hook: module[2].register_full_backward_pre_hook(hook),
        lambda module, hook: module[0].weight.register_hook(hook),
        lambda module, hook: (
            module[0].bias.register_post_accumulate_grad_hook(hook)
        ),
        lambda module, hook: nn.modules.module.register_module_forward_hook(hook),
    ],
)  # fmt: skip
def test_hooks_are_called_for_as_long_as_they_are_there(register, monkeypatch):
    X, y, _ = table()
    module, seen = mlp(), []
    compute = SequenceGradient(module, CrossEntropy())
    compute(X, y, None)
    expected = [p.grad.clone() for p in module.parameters()]
    handle = register(module, see(seen))
    try:
        compute(X, y, None)
        assert seen
        torch.testing.assert_close([p.grad for p in module.parameters()], expected)
        monkeypatch.setattr(Gradient, "_backward", forbidden)
        with pytest.raises(AssertionError, match="autograd was asked"):
            compute(X, y, None)
    finally:
        handle.remove()
    compute(X, y, None)


def test_frozen_parameters_get_no_gradient():
    X, y, _ = table()
    module = mlp()
    compute = SequenceGradient(module, CrossEntropy())
    compute(X, y, None)
    module[0].weight.requires_grad_(False)
    compute(X, y, None)
    assert module[0].weight.grad is None
    assert module[3].weight.grad is not None


def test_running_statistics_where_they_are_asked_for(assert_same):
    X, y, _ = table()
    module = mlp()
    module[1].eval()
    before = module[1].running_mean.clone()
    assert_same(module, CrossEntropy(), [(X, y, None)])
    assert torch.equal(module[1].running_mean, before)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        SequenceGradient(mlp(), CrossEntropy())(X[:1], y[:1], None)


def test_mixed_precision_is_autograds():
    X, y, _ = table(torch.float32)
    found, expected = (
        kind(mlp(norm="none", dtype=torch.float32), CrossEntropy(), amp=True)(
            X, y, None
        )
        for kind in (SequenceGradient, Gradient)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# -- a whole fit -----------------------------------------------------------------------


def test_a_fit_is_that_of_autograd(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(70, N_COLUMNS))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    fits = []
    for plain in (True, False):
        if not plain:
            monkeypatch.setattr(
                "sknorm.neural_network._net.is_plain", lambda module: False
            )
        fits.append(
            NormMLPClassifier(
                (8, 8), max_epochs=5, batch_size=16, dtype="float64", random_state=0,
                device="cpu",
            ).fit(X, y)
        )  # fmt: skip
    found, expected = fits
    # Adam divides gradients of biases before a norm, rounded zeros, by their own size.
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), rtol=1e-6
    )
