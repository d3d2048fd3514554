"""Callbacks that a fit adds, and those that the user gave."""

import functools

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sknorm.neural_network import NormMLPClassifier
from sknorm.neural_network._callbacks import (
    added,
    back_to_best,
    check_callbacks,
    replace_callbacks,
)
from sknorm.neural_network._losses import SquaredError
from sknorm.neural_network._net import LeanNet


class Counter(Callback):
    """Counts what it is told."""

    def initialize(self):
        self.starts = 0
        return self

    def on_train_begin(self, net, *args, **kwargs):
        self.starts += 1


def make_net(callbacks):
    optimizer = functools.partial(torch.optim.SGD)
    net = LeanNet(
        nn.Linear(1, 1), SquaredError(), optimizer=optimizer, callbacks=callbacks
    )
    return net.initialize()


def names(net):
    return [name for name, _ in net.callbacks_]


@pytest.mark.parametrize("given", [3, ("name", 3), (), nn.Linear])
def test_what_is_no_callback(given):
    message = r"'callbacks' parameter of Owner must hold callbacks of skorch.*Got .* in"
    with pytest.raises(TypeError, match=message):
        check_callbacks([Counter(), given], owner="Owner")
    with pytest.raises(TypeError, match="parameter of NormMLPClassifier must hold"):
        NormMLPClassifier(callbacks=[given]).fit([[0.0], [1.0]], [0, 1])


def test_what_is_one():
    check_callbacks(None, owner="Owner")
    check_callbacks([Counter(), Counter, ("name", Counter())], owner="Owner")


def test_what_a_fit_adds_goes_and_what_is_there_stays():
    counter = Counter()
    net = make_net([*added([back_to_best(1, 0.0)]), counter])
    counter.starts = 5
    replace_callbacks(net, [counter])
    assert names(net) == ["epoch_timer", "Counter"]
    assert counter.starts == 5, "begun anew"


def test_others_take_the_place():
    first, second = Counter(), Counter()
    net = make_net([*added([back_to_best(1, 0.0)]), first])
    replace_callbacks(net, [("mine", second)])
    assert names(net) == ["epoch_timer", "mine"]
    replace_callbacks(net, [])
    assert names(net) == ["epoch_timer"]


def test_endless_patience_goes_back_to_the_best(capsys):
    losses = [3.0, 1.0, 2.0, 1.0]
    net, stop = make_net([]), back_to_best(np.inf, 0.0).initialize()
    stop.on_train_begin(net)
    for weight, loss in enumerate(losses):
        with torch.no_grad():
            net.module_.weight.fill_(weight)
        net.history.new_epoch()
        net.history.record("epoch", weight + 1)
        net.history.record("valid_loss", loss)
        stop.on_epoch_end(net)
    stop.on_train_end(net)
    assert net.module_.weight.item() == losses.index(min(losses))
    assert capsys.readouterr().out == ""
