"""The lean loop: batches, hooks, inference."""

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sknorm.exceptions import DivergenceError
from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._losses import SquaredError
from sknorm.neural_network._net import LeanNet, forward_rows, stack_scalars
from sknorm.neural_network._rows import Rows
from sknorm.neural_network._sequence import SequenceGradient


def make_rows(n, rng, n_features=3, weight=None):
    X = torch.from_numpy(rng.standard_normal((n, n_features)).astype(np.float32))
    return Rows(X, X[:, :1].clone(), weight)


def make_net(module=None, **parameters):
    arguments = {
        "optimizer": functools.partial(torch.optim.SGD),
        "lr": 0.1,
        "max_epochs": 3,
        "batch_size": 4,
        "rng": np.random.default_rng(0),
        "verbose": 0,
    }
    net = LeanNet(
        nn.Linear(3, 1) if module is None else module,
        SquaredError(),
        **(arguments | parameters),
    )
    return net.initialize()


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 8192, 8200])
def test_forward_rows_gives_each_row_once(n_rows):
    module = nn.Linear(2, 1).eval()
    X = torch.arange(2.0 * n_rows).reshape(n_rows, 2) / n_rows
    output = torch.cat(list(forward_rows(module, X)))
    assert output.shape == (n_rows, 1)
    torch.testing.assert_close(output, module(X).detach())


@pytest.mark.parametrize(("width", "n_outputs"), [(64, 1), (16, 3), (48, 7)])
def test_a_row_does_not_depend_on_its_neighbours(rng, width, n_outputs):
    layers = nn.Linear(17, width), nn.Tanh(), nn.Linear(width, n_outputs)
    module = nn.Sequential(*layers).eval()
    X = torch.from_numpy(rng.standard_normal((100, 17)).astype(np.float32))
    together = torch.cat(list(forward_rows(module, X)))
    alone = torch.cat([next(forward_rows(module, X[i : i + 1])) for i in range(100)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_scalars_are_stacked_in_their_order(n):
    stacked = stack_scalars((torch.tensor(float(i)) for i in range(n)), n)
    assert stacked.dtype == torch.float32
    assert stacked.tolist() == list(range(n))


def test_epoch_loss_is_the_mean_over_rows_of_unequal_batches(rng):
    rows = make_rows(6, rng)
    net = make_net(lr=1e-30, max_epochs=1)
    net.partial_fit(rows)
    with torch.no_grad():
        expected = (net.module_(rows.X) - rows.y).square().mean().item()
    assert net.history[-1, "train_loss"] == pytest.approx(expected, rel=1e-6)
    assert net.history[-1, "train_batch_count"] == 2


class Listener(Callback):
    """Counts what it is told."""

    def initialize(self):
        self.seen = {"begin": 0, "grad": 0, "end": 0}
        return self

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        X, y = batch
        self.seen["begin"] += len(X) == len(y)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen["grad"] += all(p.grad is not None for _, p in named_parameters)

    def on_batch_end(self, net, y_pred=None, loss=None, **kwargs):
        self.seen["end"] += loss.ndim == 0 and y_pred is not None


def test_callbacks_hear_of_every_batch_if_one_listens(rng):
    listener = Listener()
    net = make_net(callbacks=[listener])
    net.partial_fit(make_rows(8, rng), make_rows(5, rng))
    assert listener.seen == {"begin": 9, "grad": 6, "end": 9}
    assert len(net.history[0, "batches"]) == 3
    assert net.history[-1, "valid_loss"] > 0


def test_of_batches_the_last_is_written_down_unless_one_listens(rng):
    net, listened_to = make_net(), make_net(callbacks=[Listener()])
    listened_to.module_.load_state_dict(net.module_.state_dict())
    for each in net, listened_to:
        each.partial_fit(make_rows(8, np.random.default_rng(0)))
    assert len(listened_to.history[0, "batches"]) == 2
    (last,) = net.history[0, "batches"]
    assert last == pytest.approx(listened_to.history[0, "batches", -1])


def test_the_history_says_which_loss_was_least(rng):
    net = make_net(lr=0.1)
    net.partial_fit(make_rows(8, rng), make_rows(5, rng), epochs=12)
    for loss in "train_loss", "valid_loss":
        curve = net.history[:, loss]
        expected = [x < min([*curve[:i], np.inf]) for i, x in enumerate(curve)]
        assert net.history[:, f"{loss}_best"] == expected


def test_schedule_moves_the_learning_rate_step_by_step(rng):
    asked = []

    def schedule(progress):
        asked.append(progress)
        return 1.0 - progress

    net = make_net(schedule=schedule, max_epochs=2)
    net.partial_fit(make_rows(8, rng))
    assert asked == [0.0, 0.25, 0.5, 0.75]
    assert net.history[:, "lr"] == pytest.approx([0.075, 0.025])


def test_gradient_is_clipped_to_the_norm(rng):
    rows = make_rows(8, rng)
    rows.y *= 1e6
    net = make_net(clip_grad_norm=1.0, lr=1.0, batch_size=8, max_epochs=1)
    before = torch.cat([p.detach().ravel().clone() for p in net.module_.parameters()])
    net.partial_fit(rows)
    after = torch.cat([p.detach().ravel() for p in net.module_.parameters()])
    assert (after - before).norm().item() == pytest.approx(1.0, rel=1e-4)


def test_one_row_uses_running_statistics(rng):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    net = make_net(module, max_epochs=2)
    net.partial_fit(make_rows(1, rng))
    assert int(module[1].num_batches_tracked) == 0
    assert np.isfinite(net.history[-1, "train_loss"])


def test_divergence_names_the_epoch(rng):
    rows = make_rows(8, rng)
    rows.X *= 1e18
    with pytest.raises(DivergenceError, match=r"became (nan|inf) in epoch 1"):
        make_net(lr=1e18).partial_fit(rows)


def test_skorchs_own_prediction_works(rng):
    net = make_net()
    rows = make_rows(6, rng)
    net.partial_fit(rows)
    net.module_.eval()
    expected = net.module_(rows.X).detach().numpy()
    np.testing.assert_allclose(net.predict(rows.X.numpy()), expected, rtol=1e-5)


def test_only_cuda_records_and_only_if_nobody_listens(rng):
    net = make_net(capture=True)
    net.partial_fit(make_rows(8, rng))
    assert type(net._make_gradient()) is Gradient
    net = make_net(capture=True, callbacks=[Listener()])
    net.partial_fit(make_rows(8, rng))
    assert net._make_gradient().on_backward is not None


def test_plain_layers_have_a_gradient_of_their_own_if_nobody_listens(rng):
    kinds = {
        SequenceGradient: make_net(nn.Sequential(nn.Linear(3, 1))),
        Gradient: make_net(),
    }
    listened = make_net(nn.Sequential(nn.Linear(3, 1)), callbacks=[Listener()])
    mixed = make_net(nn.Sequential(nn.Linear(3, 1)), amp=True)
    for kind, net in [*kinds.items(), (Gradient, listened), (Gradient, mixed)]:
        net.partial_fit(make_rows(8, rng))
        assert type(net._make_gradient()) is kind


def test_what_is_made_for_a_fit_is_not_pickled(rng):
    net = make_net()
    net.partial_fit(make_rows(8, rng))
    net._gradient = net._optimizer_step = lambda *batch: None
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert twin._gradient is twin._optimizer_step is None
        twin.partial_fit(make_rows(8, rng))


@pytest.mark.parametrize("steps", [4, 5])
def test_weights_that_fade_become_zero(steps, monkeypatch):
    monkeypatch.setattr("sknorm.neural_network._net._STEPS_BETWEEN_FLUSHES", 5)
    module = nn.Sequential(nn.Linear(2, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 1e-40]]))
    # A column of zeros has no gradient: its weight stays what it is.
    X = torch.tensor([[1.0, 0.0]]).repeat(4 * steps, 1)
    net = make_net(module, max_epochs=1)
    net.fit(Rows(X, torch.ones(4 * steps, 1)), None)
    assert bool(module[0].weight[0, 1] == 0) == (steps == 5)


class Interrupted(Callback):
    """Presses Ctrl-C before a step."""

    def __init__(self, step):
        self.step = step

    def on_batch_begin(self, net, training=False, **kwargs):
        self.step -= 1
        if self.step < 0:
            raise KeyboardInterrupt


def test_an_interrupted_epoch_leaves_the_average(rng):
    rows = make_rows(8, rng)

    def first_share(n_averaged, progress):
        # The weights after the first step, for good.
        return 1.0 if n_averaged == 0 else 0.0

    module = nn.Linear(3, 1)
    one = make_net(copy.deepcopy(module), max_epochs=1, batch_size=8).partial_fit(rows)
    stop = Interrupted(2)
    net = make_net(module, averaging=first_share, batch_size=8, callbacks=[stop])
    net.partial_fit(rows)
    assert len(net.history) == 3
    torch.testing.assert_close(net.module_.weight, one.module_.weight)


@pytest.mark.parametrize("planned", [0, 8])
def test_progress_of_an_average_and_of_a_schedule(rng, planned):
    heard = {"average": [], "schedule": []}

    def average(n_averaged, progress):
        heard["average"].append(progress)

    def schedule(progress):
        heard["schedule"].append(progress)
        return 1.0

    net = make_net(averaging=average, schedule=schedule, max_epochs=2)
    net.planned_epochs = planned
    net.partial_fit(make_rows(8, rng))
    # An average is of what is trained, wherever the schedule would have ended.
    assert heard["average"] == [0.0, 0.25, 0.5, 0.75]
    assert heard["schedule"] == [step / (16 if planned else 4) for step in range(4)]


def test_a_pickle_holds_the_network_once(rng):
    module = nn.Linear(100_000, 1)
    net = make_net(module)
    assert 400_000 < len(pickle.dumps(net)) < 410_000
    twin = pickle.loads(pickle.dumps(net))
    assert twin.module is twin.module_
    assert twin.criterion is twin.criterion_
    assert net.module is net.module_ is module, "the net that was pickled changed"
