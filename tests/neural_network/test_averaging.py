"""Averages of weights, by hand."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from skorch.callbacks import Callback
from torch import nn

from sknorm.neural_network import NormMLPClassifier
from sknorm.neural_network._averaging import (
    AVERAGES,
    WeightAverage,
    ema,
    polynomial,
    resolve_averaging,
    swa,
)


def weights(average, values):
    """Return the average after the one weight of a module took some values."""
    module = nn.Linear(1, 1, bias=False)
    kept = WeightAverage(module, average)
    for i, value in enumerate(values):
        module.weight.data.fill_(value)
        kept.update(i / len(values))
    kept.show(True)
    return float(module.weight.detach())


def test_the_first_steps_of_ema_count_alike():
    assert weights(ema, [1.0, 2.0, 6.0]) == pytest.approx(3.0)


def test_ema_forgets():
    module = nn.Linear(1, 1, bias=False)
    kept = WeightAverage(module, ema)
    module.weight.data.fill_(1.0)
    for _ in range(1_000):
        kept.update(0.0)
    module.weight.data.fill_(0.0)
    for _ in range(200):
        kept.update(0.0)
    kept.show(True)
    assert float(module.weight.detach()) == pytest.approx((1 - 1 / 200) ** 200)


def test_polynomial_weighs_by_a_power_of_the_number():
    # After i steps one counts (i + 8)! / i!, about its number to the power of 8.
    values = [5.0, 3.0, 2.0]
    counts = [math.perm(i + 8, 8) for i in range(3)]
    expected = sum(c * v for c, v in zip(counts, values, strict=True)) / sum(counts)
    assert weights(polynomial, values) == pytest.approx(expected, rel=1e-6)


def test_polynomial_is_a_tenth_of_training_old():
    # The value of a step is its number, so the average is that of the numbers.
    assert weights(polynomial, range(2_000)) == pytest.approx(1_800, rel=1e-3)


def test_swa_averages_the_last_quarter():
    assert weights(swa, [100.0, 50.0, 7.0, 3.0]) == 3.0
    assert weights(swa, [9.0] * 6 + [2.0, 4.0]) == 3.0


def test_showing_is_undone_to_the_bit(generator):
    module = nn.Linear(3, 2)
    kept = WeightAverage(module, ema)
    kept.update(0.0)
    module.weight.data.normal_(generator=generator)
    kept.update(0.5)
    before = module.weight.detach().clone()
    kept.show(True)
    assert not torch.equal(module.weight, before)
    kept.show(True)
    kept.show(False)
    assert torch.equal(module.weight, before)


def test_nothing_is_shown_before_the_first_step():
    module = nn.Linear(3, 2)
    kept = WeightAverage(module, ema)
    module.weight.data.fill_(5.0)
    kept.show(True)
    assert bool((module.weight == 5.0).all())


def test_names():
    assert resolve_averaging("none", owner="E") is None
    assert resolve_averaging("ema", owner="E") is ema
    assert set(AVERAGES) == {"ema", "polynomial", "swa"}
    with pytest.raises(ValueError, match=r"'averaging' parameter of E.*'swaa'"):
        resolve_averaging("swaa", owner="E")


class Weights(Callback):
    """Writes down the weights after each step."""

    def initialize(self):
        self.seen = []
        return self

    def on_batch_end(self, net, training, **options):
        if training:
            self.seen.append([p.detach().double() for p in net.module_.parameters()])


# What each of n steps counts, but for a factor.
COUNTS = {
    # All steps are so few that each counts alike.
    "ema": np.ones,
    "polynomial": lambda n: [float(math.perm(i + 8, 8)) for i in range(n)],
    "swa": lambda n: np.arange(n) >= 0.75 * n,
    "newest": lambda n: np.arange(n) == n - 1,
}


@pytest.mark.parametrize("name", COUNTS)
def test_in_an_estimator(name):
    X, y = load_iris(return_X_y=True)
    options = {"max_epochs": 4, "random_state": 0, "hidden_layer_sizes": 8}
    averaging = name if name in AVERAGES else lambda n, progress: None
    model = NormMLPClassifier(averaging=averaging, **options).fit(X, y)
    # The average has no part in training: without one the steps are the same.
    steps = Weights()
    NormMLPClassifier(callbacks=[steps], **options).fit(X, y)
    counts = np.asarray(COUNTS[name](len(steps.seen)), dtype=float)
    found = list(model.net_.module_.parameters())
    assert 16 <= len(steps.seen) < 200
    for parameter, *values in zip(found, *steps.seen, strict=True):
        expected = np.average(torch.stack(values), axis=0, weights=counts)
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-5, atol=1e-6)
    if name in AVERAGES:
        pickle.loads(pickle.dumps(model)).predict(X)
