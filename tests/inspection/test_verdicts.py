import math

import pytest

from sknorm.inspection._probe import UNKNOWN, LayerSignal, Table
from sknorm.inspection._verdicts import (
    LIMIT,
    TRAINED_LIMIT,
    Setting,
    judge_inputs,
    judge_layer,
    judge_target,
)
from sknorm.nn.activations import ACTIVATIONS


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


def setting(activation="relu", rows=64, is_fitted=False, n_rows=100):
    return Setting({}, ACTIVATIONS[activation], rows, 2, is_fitted, n_rows)


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
    found = judge_inputs(table, setting())
    assert (found and found.verdict) == verdict


@pytest.mark.parametrize(("n_rows", "is_known"), [(2, False), (8, False), (9, True)])
def test_of_few_rows_some_things_are_not_known(n_rows, is_known):
    context = setting(n_rows=n_rows)
    assert (judge_inputs(signal(offset=10.0), context) is not None) == is_known
    for sick in (layer(dead=1.0), layer(signal=signal(mean=4.0))):
        assert (judge_layer(sick, LAST, context) is not None) == is_known
    assert judge_inputs(signal(std=30.0), context).verdict == "exploding"
    assert judge_layer(layer(flat=0.9), LAST, setting("tanh", n_rows=n_rows)).verdict


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
