import math

import pytest

from sknorm.inspection._look import STATISTICS, Case, Look, first_of
from sknorm.inspection._probe import LayerSignal, Table
from sknorm.inspection._verdicts import Finding, Setting
from sknorm.nn.activations import ACTIVATIONS

PARAMS = {
    "hidden_layer_sizes": (8,),
    "init": "auto",
    "norm": "none",
    "lr": 3e-3,
    "batch_size": "auto",
}


def layer(std=1.0, **changed):
    fields = {
        "signal": Table(8, 0.5, std, 0.25 + std**2, 0.0, 0.5, 8.0, 0.1, True),
        "activation": "relu",
        "input_mean_square": 1.0,
        "sweet_spot": 0.6,
        "flat": 0.4,
        "dead": 0.1,
        "grad_std": 0.2,
        "grad_norm": 3.0,
        "weight_std": 0.3,
        "update": 0.01,
    }
    return LayerSignal("0", 8, **{**fields, **changed})


OUTPUT = layer(activation="", grad_norm=2.0, flat=math.nan, dead=math.nan)


def look(*layers, inputs=None, takes_columns=True, is_fitted=False, **params):
    setting = Setting(
        {**PARAMS, **params}, ACTIVATIONS["relu"], 64, len(layers), is_fitted, 100
    )
    return Look(inputs, [*layers, OUTPUT], 1.0, setting, takes_columns)


def test_rows():
    hidden, output = look(layer()).rows(7)
    assert hidden == {
        "epoch": 7,
        "layer": "hidden 1",
        "mean": 0.5,
        "std": 1.0,
        "sweet_spot": 0.6,
        "saturated": 0.4,
        "dead": 0.1,
        "grad_std": 0.2,
        "grad_ratio": 1.5,
        "weight_std": 0.3,
        "update_ratio": 0.01,
        "verdict": "healthy",
    }
    assert list(output) == list(hidden) == ["epoch", "layer", *STATISTICS, "verdict"]
    assert output["layer"] == "output"
    assert math.isnan(output["grad_ratio"])


def test_of_a_layer_that_was_not_reached():
    hidden, _ = look(layer(signal=None)).rows(0)
    assert math.isnan(hidden["std"])
    assert hidden["verdict"] == "exploding"


def test_the_sick_are_named():
    seen = look(layer(), layer(std=100.0), layer(dead=0.9))
    assert [(case.layer, case.finding.verdict) for case in seen.sick()] == [
        ("hidden 2", "exploding"),
        ("hidden 3", "dead"),
    ]


def test_forward_comes_first():
    cases = [
        Case("hidden 1", layer(), Finding("vanishing", "backward", "")),
        Case("hidden 2", layer(), Finding("exploding", "forward", "")),
        Case("hidden 3", layer(), Finding("dead", "units", "")),
    ]
    assert first_of(cases) is cases[1]
    assert first_of(cases[:1]) is cases[0]


class TestRemedies:
    def test_of_the_first(self):
        assert look(layer()).first_remedy() is None
        assert look(layer(std=100.0)).first_remedy().params == {"norm": "batch"}
        bad = Finding("shifted", "inputs", "")
        assert look(layer(std=100.0), inputs=bad).first_remedy().standardize_inputs

    @pytest.mark.parametrize("takes_columns", [True, False])
    def test_of_a_layer_that_is_fed_large_columns(self, takes_columns):
        seen = look(
            layer(std=100.0, input_mean_square=50.0), takes_columns=takes_columns
        )
        assert seen.first_remedy().standardize_inputs == takes_columns
        behind = look(layer(), layer(std=100.0, input_mean_square=50.0))
        assert not behind.first_remedy().standardize_inputs

    def test_in_the_midst_of_training(self):
        seen = look(layer(std=100.0), is_fitted=True)
        (case,) = seen.sick()
        first = look(layer(), init="zeros").first_remedy()
        assert first is None
        assert seen.remedy(case, None).params == {"lr": 3e-4}
        before = look(layer(std=100.0), init="normal").first_remedy()
        assert seen.remedy(case, before).params == {"init": "auto"}

    def test_of_what_has_reasons_of_its_own(self):
        seen = look(layer(update=10.0), is_fitted=True)
        (case,) = seen.sick()
        before = look(layer(std=100.0)).first_remedy()
        assert list(seen.remedy(case, before).params) == ["lr"]
