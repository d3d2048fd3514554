import math

import pytest

from sknorm.inspection._probe import UNKNOWN, LayerSignal, Table
from sknorm.inspection._verdicts import (
    LIMIT,
    TRAINED_LIMIT,
    Finding,
    Setting,
    judge_inputs,
    judge_layer,
    judge_target,
    lower_rate,
    prescribe,
)
from sknorm.nn.activations import ACTIVATIONS

PARAMS = {
    "init": "auto",
    "bias_init": "auto",
    "norm": "none",
    "lr": 3e-3,
    "batch_size": "auto",
}


def signal(mean=0.0, std=1.0, offset=0.0):
    shift = abs(mean) / std if std else 0.0
    return Table(8, mean, std, mean**2 + std**2, offset, shift, 8.0, 0.1, True)


def layer(**changed):
    fields = {
        "signal": signal(),
        "activation": "relu",
        "sigma_w": 1.4,
        "sigma_b": 0.0,
        "input_mean_square": 1.0,
        "sweet_spot": 0.5,
        "flat": 0.5,
        "dead": 0.0,
        "grad_norm": 1.0,
        "update": 0.01,
    }
    return LayerSignal("0", 8, **{**fields, **changed})


def setting(activation="relu", rows=64, n_hidden=2, is_fitted=False, **params):
    return Setting(
        {**PARAMS, **params}, ACTIVATIONS[activation], rows, n_hidden, is_fitted
    )


LAST = layer(activation="", flat=math.nan, dead=math.nan)


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (signal(), None),
        (signal(offset=3.1), "shifted"),
        (signal(offset=2.9), None),
        (signal(std=20.2), "exploding"),
        (signal(std=20.0), None),
        (signal(std=0.049), "vanishing"),
        (signal(std=0.051), None),
        (UNKNOWN, "exploding"),
    ],
)
def test_inputs(table, verdict):
    found = judge_inputs(table)
    assert (found and found.verdict) == verdict


@pytest.mark.parametrize(("largest", "sick"), [(20.0, False), (20.2, True)])
def test_target(largest, sick):
    assert (judge_target(largest) is not None) == sick


@pytest.mark.parametrize(
    ("changed", "context", "verdict", "kind"),
    [
        ({}, {}, None, None),
        ({"finite_weights": False}, {}, "exploding", "not finite"),
        ({"signal": UNKNOWN}, {}, "exploding", "not finite"),
        ({"batch_statistics": -1}, {"rows": 8}, "batch too small", "batch"),
        ({"batch_statistics": -1}, {"rows": 9}, None, None),
        ({"batch_statistics": 4}, {"rows": 64}, "batch too small", "batch"),
        ({"batch_statistics": 64}, {"rows": 4}, "batch too small", "batch"),
        ({"batch_statistics": 64}, {"rows": 64}, None, None),
        ({"twins": 0.51}, {}, "symmetric", "symmetric"),
        ({"twins": 0.5}, {}, None, None),
        ({"signal": signal(std=20.2)}, {}, "exploding", "forward"),
        ({"signal": signal(std=20.2)}, {"is_fitted": True}, "exploding", "forward"),
        ({"signal": signal(std=0.049)}, {}, "vanishing", "forward"),
        ({"dead": 0.51}, {}, "dead", "units"),
        ({"dead": 0.5}, {}, None, None),
        ({"dead": 1.0}, {"activation": "tanh"}, None, None),
        ({"flat": 0.53}, {"activation": "tanh"}, "saturated", "units"),
        ({"flat": 0.50}, {"activation": "tanh"}, None, None),
        ({"flat": 0.99}, {}, None, None),
        ({"signal": signal(mean=4.0)}, {}, "shifted", "units"),
        ({"signal": signal(mean=2.9)}, {}, None, None),
        ({"grad_norm": 20.2}, {}, "exploding", "backward"),
        ({"grad_norm": 20.2}, {"is_fitted": True}, None, None),
        ({"grad_norm": 404.0}, {"is_fitted": True}, "exploding", "backward"),
        ({"grad_norm": 0.049}, {}, "vanishing", "backward"),
        ({"update": 1.1}, {}, "exploding", "step"),
        ({"update": 1.1, "blank": True}, {}, None, None),
        ({"update": math.inf}, {}, "exploding", "step"),
        ({"update": math.nan, "grad_norm": math.nan, "flat": math.nan}, {}, None, None),
    ],
)
def test_layers(changed, context, verdict, kind):
    found = judge_layer(layer(**changed), LAST, setting(**context))
    assert (found and found.verdict, found and found.kind) == (verdict, kind)


class TestLastLayer:
    def judge(self, last, **context):
        found = judge_layer(last, last, setting(**context))
        return found and found.verdict

    def test_it_may_start_at_nothing(self):
        last = layer(activation="", signal=signal(std=0.0), blank=True, twins=1.0)
        assert self.judge(last) is None

    def test_outputs_may_grow_in_training(self):
        last = layer(activation="", signal=signal(std=2 * LIMIT))
        assert self.judge(last) == "exploding"
        assert self.judge(last, is_fitted=True) is None
        last = layer(activation="", signal=signal(std=1.01 * TRAINED_LIMIT))
        assert self.judge(last, is_fitted=True) == "exploding"

    def test_a_gradient_of_zero_says_nothing(self):
        last = layer(activation="", grad_norm=0.0)
        assert judge_layer(layer(grad_norm=0.0), last, setting()) is None
        blank = layer(activation="", blank=True)
        assert judge_layer(layer(grad_norm=0.0), blank, setting()) is None


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
