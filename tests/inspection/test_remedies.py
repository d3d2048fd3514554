import math

import pytest
from torch import nn

from sknorm.inspection._probe import LayerSignal
from sknorm.inspection._remedies import lower_rate, prescribe
from sknorm.inspection._verdicts import Finding, Setting
from sknorm.nn.activations import resolve_activation

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


def setting(
    activation="relu",
    rows=64,
    n_hidden=2,
    is_fitted=False,
    is_standardized=False,
    **params,
):
    return Setting(
        {**PARAMS, **params},
        resolve_activation(activation),
        rows,
        n_hidden,
        is_fitted,
        n_rows=100,
        is_standardized=is_standardized,
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
        ("forward", {}, {"norm": "batch", "is_fitted": True}, {"lr": 3e-4}),
        # A smaller step does nothing to a network that hasn't taken one.
        ("forward", {}, {"norm": "rms"}, {"norm": "batch"}),
        ("forward", {}, {"norm": "batch"}, {"norm": "layer"}),
        ("units", {}, {"norm": "layer", "activation": "tanh"}, {"activation": "relu"}),
        ("forward", {}, {"norm": "layer"}, {"hidden_layer_sizes": (8,)}),
        ("forward", {}, {"norm": "layer", "hidden_layer_sizes": 8}, {"lr": 3e-4}),
        # A row of one unit can't be normalized.
        (
            "forward",
            {},
            {"norm": "batch", "hidden_layer_sizes": (4, 1, 5)},
            {"hidden_layer_sizes": (4,)},
        ),
        # Softmax isn't elementwise, and "auto" can't be asked for its gain.
        (
            "forward",
            {},
            {"init": "normal", "activation": nn.Softmax(dim=-1)},
            {"init": "xavier_normal"},
        ),
        (
            "forward",
            {},
            {"init": "xavier_normal", "activation": nn.Softmax(dim=-1)},
            {"norm": "batch"},
        ),
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
        ("batch", {"batch_statistics": 32}, {"batch_size": 2}, {"batch_size": "auto"}),
        ("batch", {"batch_statistics": 4}, {"batch_size": 64}, {"norm": "layer"}),
        ("batch", {}, {"hidden_layer_sizes": (4, 1)}, {"norm": "none"}),
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
        ("backward", {}, {"norm": "layer", "init": "normal"}, {"init": "auto"}),
        (
            "backward",
            {},
            {"norm": "layer", "activation": "softplus"},
            {"activation": "relu"},
        ),
        ("backward", {}, {"norm": "layer"}, {"hidden_layer_sizes": (8,)}),
        ("backward", {}, {"norm": "layer", "is_fitted": True}, {"lr": 3e-4}),
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
    again = prescribe(
        Finding("saturated", "units", ""),
        layer(input_mean_square=mean_square),
        setting(is_standardized=True),
        is_fed_columns=is_fed_columns,
    )
    assert not again.standardize_inputs


def test_half_the_layers():
    got = remedy("backward", norm="layer", hidden_layer_sizes=[32] * 41)
    assert got.params == {"hidden_layer_sizes": (32,) * 20}
    assert got.text.startswith("set hidden_layer_sizes=(32,) * 20: ")
    got = remedy("backward", norm="layer", hidden_layer_sizes=[32, 16, 8, 4])
    assert got.text.startswith("set hidden_layer_sizes=(32, 16): ")


def test_remedies_around_the_network():
    assert remedy("inputs").standardize_inputs
    assert "Standardizer()" in remedy("inputs").text
    got = remedy("inputs", is_standardized=True)
    assert "constant columns" in got.text
    assert not got.standardize_inputs
    got = remedy("inputs", is_standardized=True, is_fitted=True)
    assert "fit it anew" in got.text
    assert not got.standardize_inputs
    assert remedy("target").normalize_target
    assert "TransformedTargetRegressor" in remedy("target").text


@pytest.mark.parametrize(
    ("lr", "step", "expected"),
    [(1.0, math.nan, 0.1), (0.3, 0.3, 0.01), (0.123, 0.005, 0.01)],
)
def test_lower_rate(lr, step, expected):
    assert lower_rate(setting(lr=lr), step).params == {"lr": pytest.approx(expected)}
