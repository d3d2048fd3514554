from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sknorm.inspection._history import (
    best_of_early_stopping,
    choose_scores,
    find_network,
    finished,
    lowest,
    names_of_scores,
    recorded,
    unit_of_loss,
)
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetRegressor,
)

NAN = float("nan")
ROWS = [
    {"train_loss": 3.0, "valid_loss": None, "acc": 0.5, "acc_best": True, "dur": 1.0},
    {"train_loss": 2.0, "valid_loss": 4.0, "acc": 0.7, "acc_best": True, "dur": 1.0},
    {"train_loss": NAN, "dur": 2.0, "note": "x"},
]


def net(**callback):
    return SimpleNamespace(
        callbacks_=[("a", object()), ("b", SimpleNamespace(**callback))]
    )


class TestRows:
    def test_an_epoch_cut_short_is_left_out(self):
        assert finished([*ROWS, {"dur": 3.0}]) == ROWS

    @pytest.mark.parametrize("history", [None, [], [{}], [{"train_loss": "1"}]])
    def test_none(self, history):
        with pytest.raises(ValueError, match="has no epoch with a number as 'train_l"):
            finished(history)

    def test_something_else(self):
        with pytest.raises(TypeError, match=r"list with a dict for each .* Got \[1\]"):
            finished([1])

    def test_what_is_recorded(self):
        np.testing.assert_array_equal(recorded(ROWS, "train_loss"), [3, 2, NAN])
        np.testing.assert_array_equal(recorded(ROWS, "valid_loss"), [NAN, 4, NAN])
        assert recorded(ROWS, "note") is None
        assert recorded(ROWS, "acc_best") is None
        assert recorded(ROWS, "nothing") is None


class TestScores:
    def test_all_that_are_known_for_one(self):
        assert choose_scores(ROWS, None, set()) == ["acc"]
        assert choose_scores(ROWS, None, {"dur"}) == ["acc", "dur"]

    def test_those_asked_for(self):
        assert choose_scores(ROWS, "dur", set()) == ["dur"]
        assert choose_scores(ROWS, ["dur", "acc"], set()) == ["dur", "acc"]
        with pytest.raises(ValueError, match=r"Unknown score 'ac'. Did you mean 'acc'"):
            choose_scores(ROWS, "ac", set())

    def test_of_callbacks(self):
        assert names_of_scores(net(scoring="f1", name_="f1")) == {"f1"}
        assert names_of_scores(net(name_="f1")) == set()
        assert names_of_scores(object()) == set()


class TestBest:
    @pytest.mark.parametrize(
        ("callback", "expected"),
        [
            ({"best_epoch_": 2, "load_best": True}, (2, "kept by early stopping")),
            ({"best_epoch_": 1}, (1, "best for early stopping")),
            ({"best_epoch_": 0}, None),
            ({"best_epoch_": 4}, None),
            ({}, None),
        ],
    )
    def test_of_early_stopping(self, callback, expected):
        assert best_of_early_stopping(net(**callback), ROWS) == expected

    def test_of_the_losses(self):
        epochs = np.array([1, 2, 3])
        assert lowest(epochs, np.array([3, NAN, 1]))[0] == 3
        assert lowest(epochs, np.array([-np.inf, 2, NAN]))[0] == 2
        assert lowest(epochs, np.full(3, NAN)) == lowest(epochs, None) == (None, None)


class TestNetworks:
    def test_inside_others(self, rng):
        X, y = rng.normal(size=(20, 2)), np.arange(20) % 2
        model = make_pipeline(NormMLPClassifier(4, max_epochs=1, device="cpu"))
        assert find_network(model.fit(X, y)) is model[-1]

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            find_network(NormMLPClassifier())

    @pytest.mark.parametrize(
        "other", [None, LogisticRegression().fit([[0], [1]], [0, 1])]
    )
    def test_without_a_history(self, other):
        with pytest.raises(TypeError, match="keeps its `history_` is needed"):
            find_network(other)

    @pytest.mark.parametrize(
        ("network", "unit"),
        [
            (NormMLPClassifier(), "nats"),
            (NormMLPRegressor(), "target variances"),
            (TabularNetRegressor(), "target variances"),
            (TabularNetRegressor(loss="huber"), None),
        ],
    )
    def test_unit_of_the_loss(self, network, unit):
        assert unit_of_loss(network) is None
        network.net_ = object()
        assert unit_of_loss(network) == unit
