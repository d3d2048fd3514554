"""Networks that are sick in a known way: the verdict, its place, and the cure."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline

from sknorm.inspection import SignalReport
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.nn.initializers import Constant, KaimingNormal, Normal
from sknorm.preprocessing import QuantileStandardizer, Standardizer

SEEDS = range(5)
COLUMNS = 6


@dataclass(frozen=True)
class Case:
    """A sick network, and the one it would be if nothing had gone wrong."""

    sick: Any
    healthy: Any
    layer: str
    verdict: str
    offset: float = 0.0
    stretch: float = 0.0


def classifier(*sizes, **params):
    params = {"norm": "none", "max_epochs": 20, **params}
    return functools.partial(NormMLPClassifier, sizes, **params)


def regressor(*sizes, **params):
    params = {"norm": "none", "max_epochs": 20, **params}
    return functools.partial(NormMLPRegressor, sizes, **params)


def of_normal_target(**params):
    return TransformedTargetRegressor(
        regressor(32, 32)(**params), transformer=QuantileStandardizer()
    )


def standardized(**params):
    return make_pipeline(Standardizer(), classifier(32, 32)(**params))


def in_pairs(weight, *, gain, generator):
    """Draw each unit twice, and give the two the same weights in the next layer."""
    n_out, n_in = weight.shape
    step = 1 if n_in == COLUMNS else 2
    drawn = torch.randn(-(-n_out // 2), n_in // step, generator=generator)
    both = drawn.repeat_interleave(2, dim=0)[:n_out].repeat_interleave(step, dim=1)
    with torch.no_grad():
        weight.copy_(both / math.sqrt(n_in))


plain = classifier(32, 32)
deep_tanh = {"activation": "tanh", "lr": 1e-3}
deep_selu = {"activation": "selu", "lr": 1e-3}
deep = (40,) * 40

SICK = {
    "all zero": Case(classifier(32, 32, init="zeros"), plain, "hidden 1", "symmetric"),
    "N(10, 5)": Case(
        classifier(32, 32, init=Normal(mean=10, std=5)), plain, "hidden 1", "exploding"
    ),
    "tiny": Case(
        classifier(32, 32, init=Normal(std=1e-3)), plain, "hidden 1", "vanishing"
    ),
    "20 layers of sigmoid": Case(
        classifier(*[32] * 20, activation="sigmoid", init="xavier_normal"),
        classifier(*[32] * 20, activation="tanh", norm="batch"),
        "hidden 1",
        "vanishing",
    ),
    "inputs at 100": Case(plain, standardized, "inputs", "shifted", offset=100.0),
    "lr too high": Case(classifier(32, 32, lr=3.0), plain, "hidden 1", "exploding"),
    "batches of two": Case(
        classifier(32, 32, norm="batch", batch_size=2),
        classifier(32, 32, norm="batch"),
        "hidden 1",
        "batch too small",
    ),
    "dead by their biases": Case(
        classifier(32, 32, bias_init=Constant(-10.0)), plain, "hidden 1", "dead"
    ),
    "deep tanh of gain 5/3": Case(
        classifier(*deep, init=Normal(std=5 / 3 / math.sqrt(deep[0])), **deep_tanh),
        classifier(*deep, init="edge_of_chaos", **deep_tanh),
        "hidden 1",
        "exploding",
    ),
    "He with SELU": Case(
        classifier(*[40] * 26, init=KaimingNormal(gain=math.sqrt(2)), **deep_selu),
        classifier(*[40] * 26, init="lecun_normal", **deep_selu),
        "hidden 1",
        "exploding",
    ),
    "exploding target": Case(
        regressor(32, 32), of_normal_target, "target", "exploding", stretch=8.0
    ),
    "units in pairs": Case(
        classifier(32, 32, init=in_pairs), plain, "hidden 1", "symmetric"
    ),
}

HEALTHY = {
    "default": functools.partial(NormMLPClassifier, max_epochs=10),
    "tanh": classifier(32, 32, activation="tanh"),
    "10 layers of ReLU": classifier(*[64] * 10, init="kaiming_normal"),
    "20 layers of SELU": classifier(
        *[64] * 20, activation="selu", init="lecun_normal", max_epochs=10
    ),
    "LayerNorm and GELU": classifier(32, 32, activation="gelu", norm="layer"),
    "for tables": functools.partial(
        TabularNetClassifier, (32, 32), n_members=4, max_epochs=10
    ),
}


def table(seed, case=None, n_rows=800):
    """Return inputs, labels and a target of the same smooth function."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, COLUMNS))
    f = X[:, 0] + X[:, 1] + X[:, 2] * X[:, 3] / 2
    offset = 0.0 if case is None else case.offset
    stretch = 0.0 if case is None else case.stretch
    y = np.exp(stretch * f) if stretch else (f > 0).astype(int)
    return X + offset, y


def agreement(model, X, y):
    """Return accuracy, or for a stretched target the correlation of ranks."""
    if isinstance(y[0], np.integer):
        return model.score(X, y)
    ranks = [np.argsort(np.argsort(v)) for v in (model.predict(X), y)]
    return np.corrcoef(*ranks)[0, 1]


@pytest.mark.parametrize("name", SICK)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_sick(name, seed):
    case = SICK[name]
    X, y = table(seed, case)
    report = SignalReport.from_estimator(case.sick(random_state=seed), X, y)
    assert report.first is not None, report
    assert (report.first.layer, report.verdict) == (case.layer, case.verdict), report


@pytest.mark.parametrize("name", SICK)
@pytest.mark.parametrize("seed", SEEDS)
def test_following_the_hint_cures(name, seed):
    case = SICK[name]
    X, y = table(seed, case)
    X_val, y_val = table(seed + 1000, case)
    sick = case.sick(random_state=seed)
    cured = SignalReport.from_estimator(sick, X, y).remedied(sick).fit(X, y)
    healthy = clone(case.healthy(random_state=seed)).fit(X, y)
    best = agreement(healthy, X_val, y_val)
    assert best > 0.75, "the healthy twin doesn't learn"
    assert agreement(cured, X_val, y_val) >= 0.95 * best


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_false_alarms(name, seed):
    X, y = table(seed)
    model = HEALTHY[name](random_state=seed)
    before = SignalReport.from_estimator(model, X, y)
    after = SignalReport.from_estimator(model.fit(X, y), X, y)
    new = SignalReport.from_estimator(model, table(seed + 1000)[0])
    assert [r.verdict for r in (before, after, new)] == ["healthy"] * 3, (
        before,
        after,
        new,
    )


def test_what_a_learning_rate_has_spoilt_is_told_after_training_too():
    X, y = table(0)
    model = SICK["lr too high"].sick(random_state=0).fit(X, y)
    report = SignalReport.from_estimator(model, X, y)
    assert report.is_fitted
    assert report.verdict != "healthy"
    assert list(report.suggested_params) == ["lr"]
    assert report.suggested_params["lr"] < 0.03
