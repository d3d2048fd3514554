import math

import pytest

from sknorm.inspection._probe import LayerSignal
from sknorm.inspection._remedies import lower_rate, prescribe
from sknorm.inspection._verdicts import Finding, Setting
from sknorm.nn.activations import ACTIVATIONS

PARAMS = {
    "hidden_layer_sizes": (8, 8),
    "init": "auto",
    "bias_init": "auto",
    "norm": "none",
    "lr": 3e-3,
    "batch_size": "auto",
}


def layer(**changed):
    fields = {"sigma_w": 1.4, "sigma_b": 0.0, "input_mean_square": 1.0, "update": 0.01}
    return LayerSignal("0", 8, **{**fields, **changed})


def setting(activation="relu", rows=64, n_hidden=2, is_fitted=False, **params):
    return Setting(
        {**PARAMS, **params}, ACTIVATIONS[activation], rows, n_hidden, is_fitted
    )


def remedy(kind, changed=None, **context):
    where = layer(**(changed or {}))
    return prescribe(Finding("exploding", kind, ""), where, setting(**context))


@pytest.mark.parametrize(
    ("kind", "changed", "context", "params"),
    [
        ("symmetric", {}, {"init": "zeros"}, {"init": "auto"}),
        ("forward", {}, {"init": "normal"}, {"init": "auto"}),
        ("forward", {}, {}, {"norm": "batch"}),
        ("forward", {}, {"norm": None}, {"norm": "batch"}),
        ("forward", {}, {"norm": "batch"}, {"lr": 3e-4}),
        ("units", {"sigma_b": 10.0}, {"bias_init": "normal"}, {"bias_init": "auto"}),
        ("units", {"sigma_b": 10.0}, {"init": "normal"}, {"init": "auto"}),
        (
            "units",
            {"sigma_b": 1.1},
            {"bias_init": "normal", "init": "normal"},
            {"init": "auto"},
        ),
        ("step", {"update": 10.0}, {"lr": 1.0}, {"lr": 1e-3}),
        ("step", {"update": 34.0}, {"lr": 3.0}, {"lr": 9e-4}),
        ("step", {"update": math.inf}, {"lr": 1.0}, {"lr": 0.1}),
        ("batch", {}, {"batch_size": 2}, {"batch_size": "auto"}),
        ("batch", {}, {}, {"norm": "layer"}),
        ("backward", {}, {"init": "xavier_normal"}, {"init": "auto"}),
        # The gain that keeps tanh's signal lets gradients grow by 1.18 a layer.
        (
            "backward",
            {},
            {"init": "normal", "activation": "tanh", "n_hidden": 50},
            {"init": "edge_of_chaos"},
        ),
        (
            "backward",
            {},
            {"init": "normal", "activation": "tanh", "n_hidden": 10},
            {"init": "auto"},
        ),
        # Sigmoid's edge of chaos is far out of its sweet spot, softplus has none.
        (
            "backward",
            {},
            {"init": "normal", "activation": "sigmoid", "n_hidden": 20},
            {"norm": "batch"},
        ),
        (
            "backward",
            {},
            {"init": "normal", "activation": "softplus", "n_hidden": 20},
            {"norm": "batch"},
        ),
        ("backward", {}, {"norm": "batch"}, {"norm": "layer"}),
    ],
)
def test_remedies(kind, changed, context, params):
    got = remedy(kind, changed, **context)
    assert got.params == params
    name, value = next(iter(params.items()))
    assert f"{name}={value!r}" in got.text


@pytest.mark.parametrize(
    ("mean_square", "is_fed_columns", "standardizes"),
    [(4.1, True, True), (3.9, True, False), (0.24, True, True), (36.0, False, False)],
)
def test_columns_that_explain_an_illness(mean_square, is_fed_columns, standardizes):
    got = prescribe(
        Finding("saturated", "units", ""),
        layer(input_mean_square=mean_square),
        setting(),
        is_fed_columns=is_fed_columns,
    )
    assert got.standardize_inputs == standardizes


def test_remedies_around_the_network():
    assert remedy("inputs").standardize_inputs
    assert "Standardizer()" in remedy("inputs").text
    assert remedy("target").normalize_target
    assert "TransformedTargetRegressor" in remedy("target").text


@pytest.mark.parametrize(
    ("lr", "step", "expected"),
    [(1.0, math.nan, 0.1), (0.3, 0.3, 0.01), (0.123, 0.005, 0.01)],
)
def test_lower_rate(lr, step, expected):
    assert lower_rate(setting(lr=lr), step).params == {"lr": pytest.approx(expected)}
