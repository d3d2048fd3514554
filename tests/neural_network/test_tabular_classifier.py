"""The classifier for tables: spread of members, calibration."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit, softmax
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sknorm.neural_network import TabularNetClassifier
from sknorm.neural_network._losses import CrossEntropy
from sknorm.neural_network._tabular_classifier import find_temperature

SMALL = {
    "hidden_layer_sizes": (16,),
    "n_members": 4,
    "max_epochs": 6,
    "batch_size": 32,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture
def noisy(rng):
    """Return labels that a number tells in four of five rows."""
    x = rng.normal(size=400)
    y = np.where(rng.random(400) < 0.8, x > 0, x <= 0).astype(int)
    return pd.DataFrame({"x": x}), y


def test_probabilities_are_the_mean_over_members(noisy):
    X, y = noisy
    model = TabularNetClassifier(**SMALL).fit(X, y)
    with torch.inference_mode():
        members = model.net_.module_(model._inputs(X)).numpy().astype(float)
    each = softmax(members, axis=2)
    proba, std = model.predict_proba(X, return_std=True)
    np.testing.assert_allclose(proba, each.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(proba, model.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(std, each.std(axis=1), atol=1e-6)
    assert (std > 0).any()


def test_one_member_has_no_spread(noisy):
    X, y = noisy
    model = TabularNetClassifier(**{**SMALL, "n_members": 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"predict_proba\(X, return_std=True\) needs"):
        model.predict_proba(X, return_std=True)


def test_calibration_makes_validation_rows_likelier(noisy):
    X, y = noisy
    options = {**SMALL, "max_epochs": 60, "dropout": 0.0, "lr": 1e-2}
    validation = {"X_val": X[200:], "y_val": y[200:]}
    plain, calibrated = (
        TabularNetClassifier(calibration=how, **options).fit(
            X[:200], y[:200], **validation
        )
        for how in ("none", "temperature")
    )
    before, after = (
        log_loss(y[200:], model.predict_proba(X[200:])) for model in (plain, calibrated)
    )
    assert plain.temperature_ == 1.0
    assert calibrated.temperature_ > 1.0, "it was trained to be sure of noise"
    assert after < before
    # No other temperature is better, with ten rows that say it is 1.
    logits = plain.decision_function(X[200:])

    def objective(temperature):
        prior = 10 * (1 / temperature - 1 + np.log(temperature))
        return 200 * log_loss(y[200:], expit(logits / temperature)) + prior

    best = calibrated.temperature_
    assert objective(best) < min(objective(0.95 * best), objective(1.05 * best))
    np.testing.assert_array_equal(plain.predict(X), calibrated.predict(X))


def temperature(logit, right, wrong, weight=None):
    """Return that of rows which all have the same logit, for or against the label."""
    target = torch.tensor([1] * right + [0] * wrong)
    output = torch.tensor([[0.0, logit]]).repeat(right + wrong, 1)
    return find_temperature(output, target, weight, CrossEntropy())


def test_temperatures_by_hand():
    # Three in four are right, and so says a logit of log 3: many rows or few.
    sure = float(np.log(3))
    assert temperature(sure, 3, 1) == pytest.approx(1.0, abs=1e-4)
    # Logits of twice as much are twice too sure, and of half as much half.
    assert temperature(2 * sure, 75_000, 25_000) == pytest.approx(2.0, rel=1e-3)
    assert temperature(sure / 2, 75_000, 25_000) == pytest.approx(0.5, rel=1e-3)
    # A few rows that say so are heard in part.
    assert 1.05 < temperature(2 * sure, 15, 5) < 1.95


@pytest.mark.parametrize("logit", [0.1, 1.0, 10.0, 100.0])
def test_rows_that_are_all_right_make_no_network_sure(logit):
    # Where the slope by 1 / T is 0: 20 of the log loss against 10 of the prior.
    sureness = brentq(
        lambda s: 10 * (1 - 1 / s) - 20 * logit * expit(-s * logit), 0.5, 5.0
    )
    found = temperature(logit, 20, 0)
    assert found == pytest.approx(1 / sureness, rel=1e-4)
    assert 0.5 < found <= 1.0 + 1e-4


def test_a_heavy_row_is_evidence_of_one():
    weight = torch.tensor([1e-6] * 99 + [1.0])
    one = temperature(3.0, 1, 0)
    assert temperature(3.0, 100, 0, weight / weight.mean()) == pytest.approx(
        one, rel=1e-3
    )


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
@pytest.mark.parametrize("seed", range(3))
def test_a_few_rows_told_apart_do_not_spoil_others(load, seed):
    X, y = load(return_X_y=True)
    X, X_new, y, y_new = train_test_split(X, y, test_size=0.4, random_state=seed)
    model = TabularNetClassifier(
        calibration="temperature",
        early_stopping=True,
        **{**SMALL, "max_epochs": 40, "random_state": seed},
    ).fit(X, y)
    logs = model.predict_log_proba(X_new)
    before = log_loss(y_new, softmax(model.temperature_ * logs, axis=1))
    assert log_loss(y_new, softmax(logs, axis=1)) < before + 0.02
    assert 0.5 < model.temperature_ < 2.0


def test_calibration_needs_rows_to_look_at(noisy):
    X, y = noisy
    model = TabularNetClassifier(calibration="temperature", **SMALL)
    with pytest.raises(ValueError, match=r"calibration='temperature' fits.*X_val"):
        model.fit(X, y)
    with pytest.raises(ValueError, match=r"partial_fit has none"):
        model.partial_fit(X, y, classes=[0, 1])
    model.set_params(early_stopping=True).fit(X, y)
    assert model.temperature_ != 1.0


def test_several_labels_a_row(rng):
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    Y = (X[["a", "b"]].to_numpy() > 0).astype(int)
    model = TabularNetClassifier(**{**SMALL, "max_epochs": 40}).fit(X, Y)
    assert model.score(X, Y) > 0.8
    proba, std = model.predict_proba(X, return_std=True)
    assert proba.shape == std.shape == (200, 2)


def test_class_weights_and_smoothing_reach_the_loss(noisy):
    X, y = noisy
    heavy = TabularNetClassifier(class_weight={0: 1.0, 1: 1000.0}, **SMALL).fit(X, y)
    assert heavy.predict(X).mean() > 0.9
    smooth = TabularNetClassifier(label_smoothing=0.9, **SMALL).fit(X, y)
    assert np.abs(smooth.predict_proba(X) - 0.5).max() < 0.2
