"""Gradients in mixed precision, and played back."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

from sknorm.neural_network._gradient import (
    CapturedGradient,
    CudaRecorder,
    Gradient,
    check_amp,
)
from sknorm.neural_network._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Pinball,
    Poisson,
    SquaredError,
)
from sknorm.neural_network._net import LeanNet
from sknorm.neural_network._rows import Rows
from sknorm.nn.embeddings import EMBEDDINGS
from sknorm.nn.members import MemberLinear
from sknorm.nn.mlp import MLP
from sknorm.nn.norms import NORMS
from sknorm.nn.tabular import TabularNetwork

N_ROWS, N_COLUMNS, BATCH = 70, 5, 16


def table(seed=0):
    """Return four numbers and a code, labels and weights."""
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(N_ROWS, N_COLUMNS, generator=rng)
    X[:, -1] = torch.randint(20, (N_ROWS,), generator=rng)
    y = (X[:, 0] > 0).long()
    return X, y, torch.rand(N_ROWS, generator=rng) + 0.5


def mlp(norm="batch", **options):
    rng = torch.Generator().manual_seed(0)
    sizes = {"hidden_layer_sizes": (8, 8), "norm": norm}
    return MLP(N_COLUMNS, 2, **sizes, generator=rng, **options)


def tabular(norm="none", members="batch_ensemble", embedding="ple", **options):
    X, y, _ = table()
    return TabularNetwork(
        N_COLUMNS - 1, [20], 2, hidden_layer_sizes=(8, 8), norm=norm, n_members=3,
        members=members, embedding=embedding, sample=X, target=y,
        generator=torch.Generator().manual_seed(0), **options,
    )  # fmt: skip


def test_known_values():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    X, y = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [2.0]])
    loss, output = Gradient(module, SquaredError())(X, y, None)
    # Errors of 1 and 4: the mean of their squares, and of 2 * error * x.
    assert (loss.item(), output.ravel().tolist()) == (8.5, [2.0, 6.0])
    assert module.weight.grad.item() == 13.0
    compute = Gradient(module, SquaredError(), clip_grad_norm=0.5)
    compute(X, y, torch.tensor([2.0, 0.0]))
    assert module.weight.grad.item() == pytest.approx(0.5, rel=1e-5)


def test_who_listens_sees_gradients_before_they_are_clipped():
    module, seen = mlp(), []
    X, y, _ = table()

    def listen(*batch):
        grad = torch.cat([p.grad.ravel() for p in module.parameters()])
        seen.append((batch, float(grad.norm())))

    Gradient(module, CrossEntropy(), clip_grad_norm=1e-3, on_backward=listen)(
        X, y, None
    )
    [(batch, norm)] = seen
    assert batch[0] is X
    assert batch[1] is y
    assert norm > 1e-2


class Tape(TorchDispatchMode):
    """Does operations again on the memory of the first time, as a CUDA graph does."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in self.done:
            again = func(*args, **kwargs)
            pairs = zip(*map(tree.tree_leaves, (result, again)), strict=True)
            for old, new in pairs:
                # What has the same memory is a view, or was written into.
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapeRecorder:
    """Stands in for CUDA graphs where there is no such device."""

    def __init__(self, module):
        self.module = module

    def warm_up(self, work):
        return work()

    def record(self, work):
        """Do the work, as there is no other way to see it, and undo what it did."""
        before = copy.deepcopy(self.module.state_dict())
        tape = Tape()
        with torch.random.fork_rng(devices=[]), tape:
            result = work()
        self.module.load_state_dict(before)
        return tape.replay, result


def captured(module, criterion, n_rows=BATCH, **options):
    gradient = Gradient(module, criterion, **options)
    device = next(module.parameters()).device
    cuda = device.type == "cuda"
    recorder = CudaRecorder(device) if cuda else TapeRecorder(module)
    return CapturedGradient(gradient, n_rows, recorder)


def make_net(module, device, **parameters):
    net = LeanNet(
        module,
        CrossEntropy(),
        rng=np.random.default_rng(0),
        device=device,
        verbose=0,
        **{
            "optimizer": functools.partial(torch.optim.AdamW),
            "lr": 0.01,
            "max_epochs": 3,
            "batch_size": BATCH,
        }
        | parameters,
    )
    return net.initialize()


def train(module, device, capture, weighted=False, **parameters):
    net = make_net(module, device, **parameters)
    options = {name: getattr(net, name) for name in ("clip_grad_norm", "amp")}
    kind = captured if capture else Gradient
    net._make_gradient = lambda: kind(net.module_, net.criterion_, **options)
    X, y, weight = (part.to(device) for part in table())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net.partial_fit(Rows(X, y, weight if weighted else None))
    return net


@pytest.fixture
def recordable(device):
    """Return a device that records, or the one whose operations a test records."""
    return device if device in ("cpu", "cuda") else "cpu"


class TestCaptured:
    @pytest.mark.parametrize(
        ("make", "options"),
        [
            (mlp, {}),
            (mlp, {"clip_grad_norm": 0.1, "weighted": True}),
            (mlp, {"amp": True}),
            (functools.partial(mlp, "batch_renorm"), {}),
            (functools.partial(mlp, "spectral"), {}),
            (functools.partial(tabular, "batch"), {"clip_grad_norm": 1.0}),
            (functools.partial(tabular, "spectral", "independent"), {"weighted": True}),
            (functools.partial(tabular, "layer", "independent", "pbld"), {}),
        ],
    )
    def test_the_same_as_computed_step_by_step(self, recordable, make, options):
        plain = train(make(), recordable, capture=False, **options)
        played = train(make(), recordable, capture=True, **options)
        # On a GPU gradients of vectors are added up in no fixed order.
        tol = 0.0 if recordable == "cpu" else 1e-3
        for name, value in plain.module_.state_dict().items():
            found = played.module_.state_dict()[name]
            torch.testing.assert_close(found, value, rtol=tol, atol=tol, msg=name)
        expected = pytest.approx(plain.history[:, "train_loss"], rel=tol, abs=tol)
        assert played.history[:, "train_loss"] == expected

    @pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, torch.optim.SGD])
    def test_with_any_optimizer(self, recordable, optimizer):
        options = {"optimizer": functools.partial(optimizer), "batch_size": N_ROWS}
        net, played = (
            make_net(mlp("none"), recordable, max_epochs=5, **options) for _ in "ab"
        )
        played._make_gradient = lambda: captured(
            played.module_, played.criterion_, n_rows=N_ROWS
        )
        X, y, _ = (part.to(recordable) for part in table())
        for each in (net, played):
            each.partial_fit(Rows(X, y))
        found, expected = (each.history[:, "train_loss"] for each in (played, net))
        assert found == pytest.approx(expected, rel=1e-3)
        assert expected[-1] < expected[0]

    def test_python_runs_for_the_first_batches_and_for_tails(self, recordable):
        module = mlp("none").to(recordable)
        calls = []
        module.register_forward_pre_hook(lambda module, args: calls.append(args[0]))
        compute = captured(module, CrossEntropy())
        X, y, _ = (part.to(recordable) for part in table())
        for _ in range(10):
            compute(X[:BATCH], y[:BATCH], None)
        assert len(calls) == 4
        compute(X[:7], y[:7], None)
        assert [len(call) for call in calls[4:]] == [7]

    def test_dropout_is_drawn_anew(self, recordable):
        # On a device that records, the layer draws as torch's own does.
        layers = [
            nn.Dropout(part.p) if isinstance(part, nn.Dropout) else part
            for part in mlp(dropout=0.5)
        ]
        module = nn.Sequential(*layers).to(recordable).train()
        compute = captured(module, CrossEntropy())
        X, y, _ = (part.to(recordable) for part in table())
        with torch.random.fork_rng():
            losses = [float(compute(X[:BATCH], y[:BATCH], None)[0]) for _ in range(8)]
        assert len(set(losses)) == 8

    def test_gradients_of_a_tail_do_not_stay(self, recordable):
        module = mlp("none").to(recordable)
        compute = captured(module, CrossEntropy())
        X, y, _ = (part.to(recordable) for part in table())
        expected = None
        for rows in (BATCH, BATCH, BATCH, BATCH, 7, BATCH):
            compute(X[:rows], y[:rows], None)
            if expected is None:
                expected = [p.grad.clone() for p in module.parameters()]
        found = [p.grad for p in module.parameters()]
        torch.testing.assert_close(found, expected)

    def test_a_layer_that_looks_at_a_value(self, recordable):
        class Curious(nn.Linear):
            def forward(self, x):
                return super().forward(x if x.sum().item() > 0 else -x)

        compute = captured(Curious(N_COLUMNS, 2).to(recordable), CrossEntropy())
        X, y, _ = (part[:BATCH].to(recordable) for part in table())
        for _ in range(3):
            compute(X, y, None)
        with pytest.raises(RuntimeError, match=r"looks at a value.* compile=False"):
            compute(X, y, None)


# -- nothing waits for the device ------------------------------------------------------


def every_network():
    for norm in NORMS:
        yield pytest.param(functools.partial(mlp, norm), id=f"mlp-{norm}")
        for members in ("batch_ensemble", "independent"):
            make = functools.partial(tabular, norm, members)
            yield pytest.param(make, id=f"{members}-{norm}")
    for embedding in EMBEDDINGS:
        make = functools.partial(
            tabular, embedding=embedding, architecture="resnet", activation="gelu"
        )
        yield pytest.param(make, id=f"resnet-{embedding}")


@pytest.mark.parametrize("make", [*every_network()])
def test_no_network_reads_what_the_device_has_not_computed_yet(make):
    """On the meta device there are no values to read at all."""
    module = make().to("meta").train()
    X, y, weight = (part.to("meta") for part in table())
    Gradient(module, CrossEntropy(), clip_grad_norm=1.0)(X, y, weight)
    assert all(p.grad.is_meta for p in module.parameters())


@pytest.mark.parametrize(
    "loss",
    [BinaryCrossEntropy(0.1), Huber(), Pinball([0.1, 0.9]), Poisson(), SquaredError()],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("make", [mlp, tabular])
def test_no_loss_reads_a_value(make, loss):
    module = make().to("meta").train()
    X, _, weight = (part.to("meta") for part in table())
    y = torch.empty(N_ROWS, 2 // loss.outputs_per_target, device="meta")
    Gradient(module, loss.to("meta"))(X, y, weight)
    assert all(p.grad.is_meta for p in module.parameters())


class Watched:
    """Batches between which nothing may wait for the device."""

    def __init__(self, batches):
        self.batches, self.bounds = batches, batches.bounds

    def __iter__(self):
        for batch in self.batches:
            if batch[0].is_cuda:
                torch.cuda.set_sync_debug_mode("error")
            yield batch
        if batch[0].is_cuda:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("capture", [False, True])
@pytest.mark.parametrize("make", [mlp, tabular])
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "RMSprop"])
def test_an_epoch_never_waits(device, make, capture, optimizer):
    net = make_net(
        make(),
        device,
        capture=capture,
        optimizer=functools.partial(getattr(torch.optim, optimizer)),
        clip_grad_norm=1.0,
        schedule=lambda progress: 1 - progress,
        averaging=lambda n_averaged, progress: 0.1,
        max_epochs=2,
    )
    iterator, epochs = net.get_iterator, []

    def get_iterator(rows, training=False):
        # Recording a graph waits once.
        epochs.append(Watched(iterator(rows, training)))
        return epochs[-1] if len(epochs) > 1 else epochs[-1].batches

    net.get_iterator = get_iterator
    X, y, weight = (part.to(device) for part in table())
    try:
        net.partial_fit(Rows(X, y, weight))
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(net.history[:, "train_loss"]).all()


# -- mixed precision -------------------------------------------------------------------


@pytest.fixture
def mixed(device):
    """Return a device that multiplies in bfloat16."""
    return "cpu" if device == "mps" else device


@pytest.mark.parametrize("make", [*every_network()])
def test_only_products_are_short(make, mixed):
    module = make().to(mixed).train()
    seen = []
    for part in module.modules():
        if isinstance(part, (nn.Linear, MemberLinear)):
            part.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    X, y, weight = (part.to(mixed) for part in table())
    before = {name: value.dtype for name, value in module.state_dict().items()}
    loss, output = Gradient(module, CrossEntropy(), amp=True)(X, y, weight)
    assert set(seen) == {torch.bfloat16}
    assert loss.dtype == output.dtype == torch.float32
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32}
    after = {name: value.dtype for name, value in module.state_dict().items()}
    assert after == before


def test_gradients_are_those_of_float32_but_for_rounding(mixed):
    X, y, weight = (part.to(mixed) for part in table())
    grads = []
    for amp in (False, True):
        module = mlp("layer").to(mixed)
        Gradient(module, CrossEntropy(), amp=amp)(X, y, weight)
        grads.append(torch.cat([p.grad.ravel() for p in module.parameters()]))
    exact, rough = grads
    assert not torch.equal(exact, rough)
    # Eight bits of each factor, through three layers and back.
    assert (rough - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("cpu", "float64", r"keeps all else in float32\..* Got dtype='float64'"),
        ("mps", "float32", r"of the type 'cuda' or 'cpu'\. Got 'mps'"),
    ],
)
def test_where_there_is_no_mixed_precision(kind, dtype, message):
    with pytest.raises(ValueError, match=message):
        check_amp(torch.device(kind), dtype)
