import builtins
import copy
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping

from sknorm.exceptions import DivergenceError, SignalWarning
from sknorm.inspection import SignalMonitor, SignalReport, _look, _signal_monitor
from sknorm.inspection._look import STATISTICS
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.neural_network._mapped import MappedTable
from sknorm.neural_network._rows import Rows, StreamedRows
from sknorm.preprocessing import Standardizer

N = 80


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    return X, (X[:, 0] > 0).astype(int)


def classifier(*monitors, cls=NormMLPClassifier, **params):
    defaults = {"max_epochs": 3, "random_state": 0, "device": "cpu"}
    return cls(4, **defaults | params, callbacks=list(monitors))


def epochs(network):
    return SignalMonitor.of(network).epochs_


def of_epoch(monitor, epoch):
    return [row for row in monitor.history_ if row["epoch"] == epoch]


class Clock:
    """Time that stands still unless it is moved on."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(_signal_monitor, "perf_counter", lambda: self.now)

    def ticking(self, function, seconds):
        def ticks(*args, **kwargs):
            self.now += seconds
            return function(*args, **kwargs)

        return ticks


class EachEpoch(Callback):
    """Calls a function at the end of each epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, net, **kwargs):
        self.function()


class Spoiler(Callback):
    """Makes weights that aren't finite."""

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_[0].weight.fill_(math.nan)


class TakesBack(Callback):
    """Ends training and goes back to an earlier epoch, as early stopping does."""

    load_best = True

    def __init__(self, best, end):
        self.best, self.end = best, end

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.best:
            self.best_epoch_ = self.best
            self.weights_ = copy.deepcopy(net.module_.state_dict())
        if len(net.history) == self.end:
            raise KeyboardInterrupt

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(self.weights_)


class TestNumbers:
    def test_by_hand(self, table):
        X, y = table
        monitor = SignalMonitor(every=1)
        model = classifier(monitor, norm="none", max_epochs=2).fit(X, y)
        first, last = model.net_.module_.linears
        W, b = (p.detach().double().numpy() for p in first.parameters())
        z = X.astype(np.float32).astype(float) @ W.T + b
        hidden, output = of_epoch(monitor, 2)
        expected = {
            "mean": z.mean(),
            "std": z.std(),
            "sweet_spot": (z >= 0).mean(),
            "saturated": (z < 0).mean(),
            "dead": (z < 0).all(axis=0).mean(),
            "weight_std": W.std(),
        }
        for name, value in expected.items():
            assert hidden[name] == pytest.approx(value, rel=1e-4), name
        assert (hidden["epoch"], hidden["layer"]) == (2, "hidden 1")
        assert (output["epoch"], output["layer"]) == (2, "output")
        assert all(
            math.isnan(output[name])
            for name in ("sweet_spot", "saturated", "dead", "grad_ratio")
        )
        assert list(hidden) == ["epoch", "layer", *STATISTICS, "verdict"]
        weight = last.weight.detach().numpy()
        assert output["weight_std"] == pytest.approx(weight.std(), rel=1e-4)

    def test_gradient_norm_by_hand(self, table):
        X, y = table
        model = classifier(SignalMonitor(every=1)).fit(X, y)
        module = copy.deepcopy(model.net_.module_).eval()
        output = module(torch.from_numpy(X.astype(np.float32)))
        torch.nn.functional.cross_entropy(output, torch.from_numpy(y)).backward()
        squares = [p.grad.double().square().sum() for p in module.parameters()]
        norm = float(sum(squares)) ** 0.5
        assert model.history_[-1, "grad_norm"] == pytest.approx(norm, rel=1e-5)

    @pytest.mark.parametrize("cls", [NormMLPClassifier, TabularNetClassifier])
    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"norm": "none", "optimizer": "sgd", "optimizer_params": {"momentum": 0.9}},
            {"optimizer": "rprop", "weight_decay": 0.0, "batch_size": N},
            {"optimizer": "lbfgs", "weight_decay": 0.0, "batch_size": N},
        ],
        ids=["adamw", "sgd", "rprop", "lbfgs"],
    )
    def test_the_last_epoch_is_what_the_report_says(self, table, cls, params):
        monitor = SignalMonitor(every=1)
        model = classifier(monitor, cls=cls, **params).fit(*table)
        report = SignalReport.from_estimator(model, *table)
        reported = {row.layer: row for row in report.layers}
        for row in of_epoch(monitor, 3):
            for name in (*STATISTICS, "verdict"):
                expected = getattr(reported[row["layer"]], name)
                assert row[name] == pytest.approx(expected, nan_ok=True), name

    def test_epoch_0_is_what_the_report_says_before_training(self, table):
        monitor = SignalMonitor(every=1)
        report = SignalReport.from_estimator(classifier(), *table)
        classifier(monitor).fit(*table)
        for row, expected in zip(of_epoch(monitor, 0), report.layers[1:], strict=True):
            assert row["layer"] == expected.layer
            assert row["std"] == pytest.approx(expected.std)
            assert row["grad_std"] == pytest.approx(expected.grad_std)
            assert row["update_ratio"] == pytest.approx(expected.update_ratio)

    def test_frame(self, table):
        monitor = SignalMonitor(every=1)
        classifier(monitor).fit(*table)
        frame = monitor.to_frame()
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.columns) == ["epoch", "layer", *STATISTICS, "verdict"]
        assert frame["epoch"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert set(frame["verdict"]) == {"healthy"}

    def test_frame_without_pandas(self, table, monkeypatch):
        real = builtins.__import__

        def fails(name, *args, **kwargs):
            if name == "pandas":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monitor = SignalMonitor()
        classifier(monitor).fit(*table)
        monkeypatch.setattr(builtins, "__import__", fails)
        with pytest.raises(ImportError, match=r"needs pandas: `pip install sknorm\[p"):
            monitor.to_frame()

    def test_frame_before_training(self):
        with pytest.raises(NotFittedError, match="No network was trained with this"):
            SignalMonitor().to_frame()

    def test_a_network_that_is_no_longer_finite(self, table):
        monitor = SignalMonitor(every=1)
        network = classifier(Spoiler(), monitor, norm="none", max_epochs=1)
        with pytest.raises(DivergenceError):
            network.fit(*table)
        hidden, output = of_epoch(monitor, 1)
        assert hidden["verdict"] == output["verdict"] == "exploding"
        assert math.isnan(hidden["std"])


class TestRows:
    @pytest.mark.parametrize("n_rows", [10, 80, 256])
    def test_how_many(self, table, n_rows):
        monitor = SignalMonitor(n_rows=n_rows)
        classifier(monitor).fit(*table)
        X, y, weight = monitor._rows_
        assert len(X) == len(y) == min(n_rows, N)
        assert weight is None

    def test_the_same_ones_by_seed(self, table):
        def drawn(seed):
            monitor = SignalMonitor(n_rows=10, random_state=seed)
            classifier(monitor).fit(*table)
            return monitor._rows_[0]

        assert torch.equal(drawn(0), drawn(0))
        assert not torch.equal(drawn(0), drawn(1))

    def test_each_with_its_target_and_weight(self, table):
        X, y = table
        monitor = SignalMonitor(n_rows=10)
        weight = np.arange(1.0, N + 1)
        classifier(monitor).fit(X, y, sample_weight=weight)
        rows = [part.numpy() for part in monitor._rows_]
        where = [np.flatnonzero((X.astype(np.float32) == x).all(1))[0] for x in rows[0]]
        np.testing.assert_array_equal(rows[1], y[where])
        np.testing.assert_allclose(rows[2], weight[where] / weight.mean(), rtol=1e-6)

    @pytest.mark.parametrize("in_file", [False, True])
    def test_of_a_table_that_streams(self, tmp_path, in_file, table):
        X = table[0].astype(np.float32)
        y = torch.arange(N)
        if in_file:
            np.save(tmp_path / "X.npy", X)
            source = MappedTable(np.load(tmp_path / "X.npy", mmap_mode="r"), "float32")
        else:
            source = torch.from_numpy(X)
        rows = StreamedRows(source, y, None, torch.device("cpu"))
        device = torch.device("cpu")
        streamed = _signal_monitor._draw(rows, 7, 0, device)
        plain = _signal_monitor._draw(Rows(torch.from_numpy(X), y), 7, 0, device)
        assert torch.equal(streamed[0], plain[0])
        assert torch.equal(streamed[1], plain[1])
        np.testing.assert_array_equal(streamed[0], X[streamed[1]])


NETWORKS = {
    "plain": {},
    "dropout": {"dropout": 0.3, "batch_size": 16},
    "ghost": {"norm": "ghost_batch", "batch_size": 40},
    "momentum": {"optimizer": "sgd", "optimizer_params": {"momentum": 0.9}},
    "average": {"averaging": "ema"},
    "early stopping": {"early_stopping": True, "max_epochs": 8, "n_iter_no_change": 2},
    "weight norm": {"norm": "weight"},
    "spectral norm": {"norm": "spectral"},
    "lbfgs": {"optimizer": "lbfgs", "weight_decay": 0.0},
    "float64": {"dtype": "float64"},
    "clipped": {"clip_grad_norm": 0.1},
}


class TestTrainingIsTheSame:
    @pytest.mark.parametrize("params", NETWORKS.values(), ids=NETWORKS)
    def test_to_the_last_bit(self, table, params):
        alone = classifier(**params).fit(*table)
        watched = classifier(SignalMonitor(every=1), **params).fit(*table)
        assert 0 in epochs(watched)
        assert len(epochs(watched)) >= 3
        compare(alone.net_, watched.net_)

    @pytest.mark.parametrize(
        "params",
        [{}, {"n_members": 2, "embedding": "ple", "dropout": 0.2}],
        ids=["plain", "members"],
    )
    def test_of_networks_for_tables(self, table, params):
        X, y = table
        X = pd.DataFrame(X, columns=list("abc")).assign(d=np.where(y, "x", None))
        alone = classifier(cls=TabularNetClassifier, **params).fit(X, y)
        watched = classifier(
            SignalMonitor(every=1), cls=TabularNetClassifier, **params
        ).fit(X, y)
        assert epochs(watched) == [0, 1, 2, 3]
        compare(alone.net_, watched.net_)

    def test_on_each_device(self, table, device):
        alone = classifier(device=device, dropout=0.2).fit(*table)
        monitor = SignalMonitor(every=1)
        watched = classifier(monitor, device=device, dropout=0.2).fit(*table)
        compare(alone.net_, watched.net_)
        assert monitor._rows_[0].device.type == torch.device(device).type
        loaded = SignalMonitor.of(pickle.loads(pickle.dumps(watched)))
        pd.testing.assert_frame_equal(loaded.to_frame(), monitor.to_frame())

    def test_state_during_training(self, table):
        seen = []

        class Spy(Callback):
            def on_epoch_end(self, net, **kwargs):
                part = net.module_
                grads = [
                    None if p.grad is None else p.grad.clone()
                    for p in part.parameters()
                ]
                hooks = sum(len(m._forward_hooks) for m in part.modules())
                seen.append((part.training, grads, hooks, torch.get_rng_state()))

        state, numpy_state = torch.get_rng_state(), global_numpy_state()
        classifier(Spy(), SignalMonitor(every=1), Spy(), dropout=0.5).fit(*table)
        for before, after in zip(seen[::2], seen[1::2], strict=True):
            assert before[0] == after[0]
            for a, b in zip(before[1], after[1], strict=True):
                assert (a is None and b is None) or torch.equal(a, b)
            assert before[2] == after[2] == 0
            assert torch.equal(before[3], after[3])
        assert torch.equal(state, torch.get_rng_state())
        np.testing.assert_array_equal(numpy_state, global_numpy_state())

    def test_the_loop_stays_fast(self, table):
        model = classifier(SignalMonitor(every=1)).fit(*table)
        assert not model.net_._listens


def global_numpy_state():
    return np.random.get_state()[1].copy()  # noqa: NPY002


def compare(one, other):
    """Compare two nets bit by bit."""
    for a, b in (
        (one.module_.state_dict(), other.module_.state_dict()),
        (flat(one.optimizer_.state_dict()), flat(other.optimizer_.state_dict())),
    ):
        assert a.keys() == b.keys()
        for name, value in a.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, b[name]), name
            else:
                assert value == b[name], name
    assert one.module_.training == other.module_.training
    losses = [net.history[:, "train_loss"] for net in (one, other)]
    assert losses[0] == losses[1]


def flat(tree, prefix=""):
    if isinstance(tree, (dict, list)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {
            name: value
            for key, part in items
            for name, value in flat(part, f"{prefix}.{key}").items()
        }
    return {prefix: tree}


class TestWhen:
    @pytest.mark.parametrize(
        ("every", "expected"),
        [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])],
    )
    def test_every(self, table, every, expected):
        model = classifier(SignalMonitor(every=every), max_epochs=5).fit(*table)
        assert epochs(model) == expected

    def test_share(self, table, monkeypatch):
        clock = Clock(monkeypatch)
        monkeypatch.setattr(_signal_monitor, "probe", clock.ticking(PROBE, 1.0))
        monitor = SignalMonitor(max_share=0.1)
        callbacks = [EachEpoch(clock.ticking(int, 7.1)), monitor]
        classifier(*callbacks, max_epochs=12).fit(*table)
        # A look takes a second and an epoch 7.1. After n looks another one and the last
        # one can be paid for when n + 2 <= 0.1 * 7.1 * epoch.
        assert monitor.epochs_ == [0, 5, 6, 8, 9, 10, 12]
        assert monitor.share_ == pytest.approx(7 / (12 * 7.1))

    def test_share_that_is_too_small(self, table, monkeypatch):
        clock = Clock(monkeypatch)
        monkeypatch.setattr(_signal_monitor, "probe", clock.ticking(PROBE, 1.0))
        monitor = SignalMonitor()
        callbacks = [EachEpoch(clock.ticking(int, 1.0)), monitor]
        classifier(*callbacks, max_epochs=10).fit(*table)
        assert monitor.epochs_ == [0, 10]
        assert monitor.share_ == pytest.approx(0.2)

    def test_gradient_norm_only_where_recorded(self, table):
        model = classifier(SignalMonitor(every=2), max_epochs=4).fit(*table)
        norms = np.array(model.history_[:, "grad_norm"])
        assert np.isnan(norms).tolist() == [True, False, True, False]

    def test_early_stopping_ends_with_the_epoch_whose_weights_are_kept(self, table):
        X, y = table
        model = classifier(
            SignalMonitor(every=100),
            activation="tanh",
            early_stopping=True,
            n_iter_no_change=2,
            max_epochs=50,
            lr=0.3,
        ).fit(X, np.random.default_rng(0).permutation(y))
        stopper = dict(model.net_.callbacks_)["sknorm_fit_0"]
        assert epochs(model) == [0, stopper.best_epoch_]

    @pytest.mark.parametrize(
        ("every", "end", "expected"),
        [(100, 5, [0, 2]), (3, 5, [0, 2, 3]), (3, 8, [0, 2, 3, 6]), (2, 5, [0, 2, 4])],
    )
    def test_weights_taken_back_are_of_their_epoch(self, table, every, end, expected):
        monitor = SignalMonitor(every=every)
        model = classifier(TakesBack(2, end), monitor, max_epochs=9).fit(*table)
        assert monitor.epochs_ == expected
        weight = model.net_.module_[0].weight.detach().double().numpy()
        row, _ = of_epoch(monitor, 2)
        assert row["weight_std"] == pytest.approx(weight.std())

    def test_weights_taken_back_after_the_last_epoch(self, table):
        monitor = SignalMonitor(every=100)
        classifier(TakesBack(2, 100), monitor, max_epochs=4).fit(*table)
        assert monitor.epochs_ == [0, 2, 4]

    def test_a_callback_behind_has_taken_nothing_back_yet(self, table):
        stopper = EarlyStopping("train_loss", patience=1, load_best=True, sink=str)
        model = classifier(
            SignalMonitor(every=100), stopper, max_epochs=50, lr=3.0
        ).fit(*table)
        assert epochs(model) == [0, model.n_iter_]

    def test_training_that_is_interrupted(self, table):
        def interrupt():
            raise KeyboardInterrupt

        model = classifier(EachEpoch(interrupt), SignalMonitor(every=5)).fit(*table)
        assert epochs(model) == [0, 1]

    def test_each_fit_starts_anew(self, table):
        monitor = SignalMonitor(every=1)
        model = classifier(monitor, warm_start=True).fit(*table)
        before = monitor.history_
        model.fit(*table)
        assert len(model.history_) == 3
        assert monitor.epochs_ == [0, 1, 2, 3]
        assert monitor.history_ is not before
        last, first = before[-1], of_epoch(monitor, 0)[-1]
        assert last["weight_std"] == first["weight_std"]

    def test_partial_fit_goes_on(self, table):
        monitor = SignalMonitor(every=2)
        model = classifier(monitor)
        for _ in range(3):
            model.partial_fit(*table, classes=[0, 1])
        rows = monitor._rows_[0]
        assert monitor.epochs_ == [0, 2]
        model.partial_fit(table[0] + 1, table[1])
        assert monitor.epochs_ == [0, 2, 4]
        assert monitor._rows_[0] is rows

    def test_partial_fit_after_pickling(self, table):
        model = classifier(SignalMonitor(every=1)).partial_fit(*table, classes=[0, 1])
        loaded = pickle.loads(pickle.dumps(model)).partial_fit(*table)
        assert epochs(loaded) == [0, 1, 2]
        assert epochs(model) == [0, 1]

    def test_partial_fit_that_fails_is_taken_back(self, table):
        monitor = SignalMonitor(every=1)
        model = classifier(monitor).partial_fit(*table, classes=[0, 1])

        model.net_.callbacks_.insert(0, ("spoiler", Spoiler()))
        with pytest.raises(DivergenceError):
            model.partial_fit(*table)
        del model.net_.callbacks_[0]
        model.partial_fit(*table)
        assert monitor.epochs_ == [0, 1, 2]
        assert {row["verdict"] for row in monitor.history_} == {"healthy"}

    def test_it_keeps_no_second_network(self, table):
        monitor = SignalMonitor(every=1)
        classifier(monitor).fit(*table)
        assert monitor._twin_ is None


PROBE = _signal_monitor.probe


class TestWarning:
    def sick(self, *monitors, **params):
        return classifier(*monitors, norm="none", init="zeros", **params)

    def test_says_where_since_when_why_and_what_to_do(self, table):
        monitor = SignalMonitor(every=1)
        with pytest.warns(SignalWarning) as caught:
            self.sick(monitor).fit(*table)
        assert [str(warning.message) for warning in caught] == [monitor.message_]
        assert monitor.message_ == (
            "The signal is not healthy while the network is trained. hidden 1: "
            "symmetric in epochs 0 and 1, 100 % of the units have the weights of "
            "another one. Set init='auto': start from weights that keep the signal's "
            "size."
        )

    def test_of_two_recorded_epochs(self, table):
        monitor = SignalMonitor(every=2)
        with pytest.warns(SignalWarning, match="in epochs 0 and 2"):
            self.sick(monitor).fit(*table)

    def test_not_of_one(self, table):
        monitor = SignalMonitor(every=1)
        with pytest.raises(DivergenceError):
            classifier(Spoiler(), monitor, max_epochs=1).fit(*table)
        assert {row["verdict"] for row in of_epoch(monitor, 1)} == {"exploding"}
        assert monitor.message_ == ""

    def test_inputs_come_first(self, table):
        X, y = table
        with pytest.warns(SignalWarning, match=r"Put Standardizer\(\) in front"):
            self.sick(SignalMonitor(every=1)).fit(X + 100, y)

    def test_large_inputs_that_saturate_the_first_layer(self, table):
        X, y = table
        monitor = SignalMonitor(every=1)
        network = classifier(monitor, norm="none", activation="tanh", lr=1e-5)
        message = r"hidden 1: saturated .* Put Standardizer\(\) in front"
        with pytest.warns(SignalWarning, match=message):
            network.fit(18 * X, y)

    @pytest.mark.parametrize("n_rows", [1, 2, 3])
    def test_none_of_a_few_rows(self, table, n_rows):
        X, y = table
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for start in range(0, 60, n_rows):
                rows = slice(start, start + n_rows)
                monitor = SignalMonitor(every=1)
                classifier(monitor, norm="none").fit(X[rows], y[rows])

    def test_learning_rate(self, table):
        network = NormMLPClassifier(
            (32, 32, 32),
            norm="none",
            optimizer="adam",
            lr=0.3,
            max_epochs=6,
            random_state=0,
            device="cpu",
            callbacks=[SignalMonitor(every=1)],
        )
        with pytest.warns(SignalWarning, match=r"Set lr=0\.\d+: take smaller steps"):
            network.fit(*table)

    def test_batches(self, table):
        with pytest.warns(SignalWarning, match="batch too small .* Set batch_size='a"):
            classifier(SignalMonitor(every=1), batch_size=2).fit(*table)

    def test_none_of_a_healthy_network(self, table):
        monitor = SignalMonitor(every=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classifier(monitor).fit(*table)
        assert monitor.message_ == ""


class TestTrouble:
    def test_a_network_that_cannot_be_copied_is_trained_all_the_same(self, table):
        alone = classifier(activation=Uncopyable).fit(*table)
        monitor = SignalMonitor(every=1)
        watched = classifier(monitor, activation=Uncopyable)
        with pytest.warns(SignalWarning) as caught:
            watched.fit(*table)
        (warning,) = caught
        assert str(warning.message) == (
            "SignalMonitor can't look into the network and stops: no copies"
        )
        assert monitor.history_ == []
        assert monitor.share_ == 0
        assert np.isnan(watched.history_[:, "grad_norm"]).all()
        compare(alone.net_, watched.net_)

    def test_trouble_in_the_midst_of_training(self, table, monkeypatch):
        monitor = SignalMonitor(every=1)

        def break_():
            monkeypatch.setattr(_look, "judge_layer", None)

        with pytest.warns(SignalWarning, match="stops: 'NoneType' object is not calla"):
            model = classifier(EachEpoch(break_), monitor).fit(*table)
        assert monitor.epochs_ == [0]
        assert len(model.history_) == 3

    def test_it_recovers_with_the_next_fit(self, table):
        monitor = SignalMonitor(every=1)
        with pytest.warns(SignalWarning):
            classifier(monitor, activation=Uncopyable).fit(*table)
        classifier(monitor).fit(*table)
        assert monitor.epochs_ == [0, 1, 2, 3]

    def test_a_single_row(self, table):
        with pytest.warns(SignalWarning, match="can't look into the network"):
            classifier(SignalMonitor(), cls=NormMLPRegressor).fit(
                table[0][:1], table[0][:1, 0]
            )

    def test_another_library(self, table):
        net = NeuralNetClassifier(
            torch.nn.Linear(3, 2),
            criterion=torch.nn.CrossEntropyLoss,
            callbacks=[SignalMonitor()],
            train_split=None,
            verbose=0,
        )
        with pytest.raises(TypeError, match=r"of sknorm.*Got a NeuralNetClassifier"):
            net.fit(table[0].astype(np.float32), table[1])

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"n_rows": 1}, "'n_rows' .* whole number from 2 on. Got 1"),
            ({"n_rows": 2.5}, "'n_rows' .* whole number from 2 on. Got 2.5"),
            ({"every": 0}, "'every' .* whole number from 1 on or None. Got 0"),
            ({"every": True}, "'every' .* Got True"),
            ({"random_state": None}, "'random_state' .* from 0 on. Got None"),
            ({"max_share": 0}, "'max_share' .* greater than 0 and at most 1. Got 0"),
            ({"max_share": 1.5}, "'max_share' .* Got 1.5"),
            ({"max_share": "3%"}, "'max_share' .* Got '3%'"),
            ({"max_share": math.nan}, "'max_share' .* Got nan"),
        ],
    )
    def test_parameters(self, table, params, message):
        with pytest.raises(ValueError, match=f"The {message}"):
            classifier(SignalMonitor(**params)).fit(*table)


class Uncopyable(torch.nn.Tanh):
    def __deepcopy__(self, memo):
        raise ValueError("no copies")


class TestCopies:
    def test_fit_uses_the_object_itself(self, table):
        monitor = SignalMonitor()
        model = make_pipeline(Standardizer(), classifier(monitor)).fit(*table)
        assert SignalMonitor.of(model) is monitor

    def test_clone(self, table):
        monitor = SignalMonitor(n_rows=20, max_share=0.5, every=3, random_state=1)
        model = clone(classifier(("watch", monitor)).fit(*table))
        ((_, copied),) = model.callbacks
        assert copied is not monitor
        assert copied.get_params() == {
            "n_rows": 20,
            "max_share": 0.5,
            "every": 3,
            "random_state": 1,
        }
        assert not hasattr(copied, "history_")

    @pytest.mark.parametrize(
        "copy_", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
    )
    def test_copies_and_pickles_hold_no_rows(self, table, copy_):
        model = classifier(SignalMonitor(every=1)).fit(*table)
        found = SignalMonitor.of(copy_(model))
        assert found._rows_ is None
        assert found.epochs_ == [0, 1, 2, 3]
        assert found.share_ > 0

    def test_search(self, table):
        search = GridSearchCV(
            make_pipeline(Standardizer(), classifier(SignalMonitor(every=1))),
            {"normmlpclassifier__max_epochs": [1, 2]},
            cv=2,
        ).fit(*table)
        best = search.best_params_["normmlpclassifier__max_epochs"]
        assert epochs(search)[-1] == best

    def test_transformed_target(self, table):
        model = TransformedTargetRegressor(
            classifier(SignalMonitor(every=1), cls=NormMLPRegressor),
            transformer=Standardizer(),
        ).fit(table[0], table[0][:, 1])
        assert epochs(model) == [0, 1, 2, 3]

    def test_none_to_be_found(self, table):
        with pytest.raises(ValueError, match="NormMLPClassifier was fitted without"):
            SignalMonitor.of(classifier().fit(*table))
        with pytest.raises(NotFittedError):
            SignalMonitor.of(classifier(SignalMonitor()))
        with pytest.raises(NotFittedError):
            SignalMonitor.of(GridSearchCV(classifier(SignalMonitor()), {}))
        with pytest.raises(TypeError, match=r"must be a network of sknorm.*Got Logist"):
            SignalMonitor.of(LogisticRegression().fit(*table))
        with pytest.raises(TypeError, match="Got 3"):
            SignalMonitor.of(3)
