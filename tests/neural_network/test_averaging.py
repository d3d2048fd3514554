"""Averages of weights, by hand."""

import math
import pickle

import pytest
import torch
from sklearn.datasets import load_iris
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


@pytest.mark.parametrize(
    "averaging", ["ema", "polynomial", "swa", lambda n, progress: None]
)
def test_in_an_estimator(averaging):
    X, y = load_iris(return_X_y=True)
    options = {"max_epochs": 4, "random_state": 0, "hidden_layer_sizes": 8}
    model = NormMLPClassifier(averaging=averaging, **options).fit(X, y)
    plain = NormMLPClassifier(**options).fit(X, y)
    ours, theirs = (m.net_.module_[0].weight for m in (model, plain))
    # The newest weights alone are those of a fit without an average.
    assert torch.equal(ours, theirs) == callable(averaging)
    if isinstance(averaging, str):
        pickle.loads(pickle.dumps(model)).predict(X)
