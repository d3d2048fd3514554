"""The classifier for tables: spread of members, calibration."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from sknorm.neural_network import TabularNetClassifier

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
    # No other temperature is better.
    logits = plain.decision_function(X[200:])
    for factor in (0.9, 1.1):
        p = 1 / (1 + np.exp(-logits / (factor * calibrated.temperature_)))
        assert log_loss(y[200:], p) >= after - 1e-9
    np.testing.assert_array_equal(plain.predict(X), calibrated.predict(X))


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
