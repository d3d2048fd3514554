import copy
import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknorm.inspection import SignalReport
from sknorm.inspection._signal_report import LayerReport
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
    TabularNetRegressor,
)
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import QuantileStandardizer, Standardizer


@pytest.fixture
def data(rng):
    X = rng.normal(size=(120, 4))
    return X, (X[:, 0] > 0).astype(int)


def small(**params):
    params = {"norm": "none", "max_epochs": 3, "random_state": 0, **params}
    return NormMLPClassifier((8, 8), **params)


class TestRows:
    def test_what_they_are(self, data):
        report = SignalReport.from_estimator(small(), *data)
        assert [row.layer for row in report.layers] == [
            "inputs",
            "hidden 1",
            "hidden 2",
            "output",
        ]
        assert [row.module for row in report.layers] == ["", "0", "2", "4"]
        assert [row.units for row in report.layers] == [4, 8, 8, 2]
        assert report.verdict == "healthy"
        assert report.first is None
        assert report.hint == ""
        assert report.suggested_params == {}
        assert not report.is_fitted

    def test_numbers(self, data):
        X, y = data
        report = SignalReport.from_estimator(small(), X, y)
        inputs, first, second, output = report.layers
        assert inputs.mean == pytest.approx(X.mean(), abs=1e-6)
        assert inputs.std == pytest.approx(X.std(), rel=1e-6)
        assert inputs.q == pytest.approx((X**2).mean(), rel=1e-6)
        assert first.q == pytest.approx(first.mean**2 + first.std**2)
        assert first.chi == pytest.approx(first.grad_ratio**2)
        assert math.isnan(output.grad_ratio)
        norms = [row.grad_std * math.sqrt(row.units) for row in (first, second)]
        assert first.grad_ratio == pytest.approx(norms[0] / norms[1], rel=0.05)
        assert first.q_theory == pytest.approx(
            first.sigma_w**2 * inputs.q + first.sigma_b**2
        )
        assert 0 < first.update_ratio < 1

    def test_a_target_has_a_row(self, data):
        X, _ = data
        model = NormMLPRegressor((8,), max_epochs=2, random_state=0)
        report = SignalReport.from_estimator(model, X, 5 + 3 * X[:, 0])
        row = report.layers[-1]
        assert (row.layer, row.units) == ("target", 1)
        assert row.mean == pytest.approx(0, abs=1e-6)
        assert row.std == pytest.approx(1, rel=1e-6)

    def test_a_target_that_a_logarithm_is_taken_of_may_be_large(self, rng):
        X = rng.normal(size=(500, 2))
        y = np.floor(np.exp(3 * X[:, 0]))
        model = TabularNetRegressor((8,), loss="poisson", n_members=2, random_state=0)
        report = SignalReport.from_estimator(model, X, y)
        assert report.verdict == "healthy"
        assert report.layers[-1].mean == pytest.approx(1, rel=1e-6)

    def test_labels_of_several_columns_have_none(self, data):
        X, _ = data
        report = SignalReport.from_estimator(small(), X, (X[:, :2] > 0).astype(int))
        assert report.layers[-1].layer == "output"

    def test_a_frame(self, data):
        report = SignalReport.from_estimator(small(), *data)
        frame = report.to_frame()
        assert frame.index.tolist() == [row.layer for row in report.layers]
        fields = [f for f in LayerReport.__dataclass_fields__ if f != "layer"]
        assert sorted(frame.columns) == sorted([*fields, "fixed_point"])
        assert frame.loc["hidden 1", "std"] == report.layers[1].std

    def test_fixed_points(self, data):
        model = small(activation="tanh", init=Normal(std=5 / 3 / math.sqrt(8)))
        report = SignalReport.from_estimator(
            model.set_params(hidden_layer_sizes=(8, 8, 8)), *data
        )
        known = [not math.isnan(value) for value in report.fixed_points]
        assert known == [False, False, True, True, False]
        row, value = report.layers[2], report.fixed_points[2]
        z = np.random.default_rng(0).normal(size=1_000_000) * math.sqrt(value)
        expected = row.sigma_w**2 * (np.tanh(z) ** 2).mean() + row.sigma_b**2
        assert value == pytest.approx(expected, rel=0.01)

    def test_columns_of_a_table_are_standardized_inside(self, data):
        X, y = data
        frame = pd.DataFrame({"a": 1e4 + X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v")})
        for model in (
            TabularNetClassifier((8, 8), n_members=2, max_epochs=2, random_state=0),
            TabularNetRegressor((8, 8), n_members=2, max_epochs=2, random_state=0),
        ):
            target = y if isinstance(model, TabularNetClassifier) else X[:, 0]
            before = SignalReport.from_estimator(model, frame, target)
            after = SignalReport.from_estimator(model.fit(frame, target), frame, target)
            assert before.verdict == after.verdict == "healthy"
            assert before.layers[1].units == 16

    def test_theory_knows_no_way_round_a_layer(self, data):
        model = TabularNetClassifier(
            (8, 8), architecture="resnet", norm="none", n_members=1, random_state=0
        )
        frame = SignalReport.from_estimator(model, *data).to_frame()
        assert frame[["q_theory", "chi_theory", "fixed_point"]].isna().all(axis=None)
        assert frame["std"].notna().all()


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_few_rows_raise_no_false_alarm(data, n_rows):
    X, y = data
    model = small().set_params(hidden_layer_sizes=(8,) * 6).fit(X, y)
    for start in range(0, 100, n_rows):
        report = SignalReport.from_estimator(model, X[start : start + n_rows])
        assert report.verdict == "healthy", report


class TestWhatIsFirst:
    def test_the_signal_before_the_gradient(self, data):
        # Gradients die on their way to the first layer, but from the fifth on the
        # signal has died first.
        model = small(init=Normal(std=0.12)).set_params(hidden_layer_sizes=(8,) * 8)
        report = SignalReport.from_estimator(model, *data)
        rows = report.layers
        assert rows[1].verdict == "vanishing"
        assert "gradient" in rows[1].why
        assert "standard deviation" in report.first.why
        assert report.first is not rows[1]
        assert rows[1].hint == f"first mend {report.first.layer}"
        assert report.first.hint == report.hint

    def test_what_training_has_spoilt(self, data):
        X, y = data
        model = small(lr=0.1).fit(X, y)
        with torch.no_grad():
            model.net_.module_[0].bias.fill_(-100.0)
        report = SignalReport.from_estimator(model, X, y)
        assert (report.first.layer, report.verdict) == ("hidden 1", "dead")
        # The start was well.
        assert list(report.suggested_params) == ["lr"]
        assert report.suggested_params["lr"] < 0.1
        # Without y that isn't known.
        blind = SignalReport.from_estimator(model, X)
        assert blind.verdict == "dead"
        assert blind.suggested_params == {"norm": "batch"}

    def test_what_was_sick_before_training(self, data):
        model = small(init="zeros").fit(*data)
        report = SignalReport.from_estimator(model, *data)
        assert report.is_fitted
        assert report.verdict == "symmetric"
        assert report.suggested_params == {"init": "auto"}


class TestNotFinite:
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_it_says_where_it_began(self, data, value):
        model = small().fit(*data)
        with torch.no_grad():
            model.net_.module_[2].weight[0, 0] = value
        report = SignalReport.from_estimator(model, *data)
        assert (report.first.layer, report.verdict) == ("hidden 2", "exploding")
        assert report.first.why == "weights are not finite"
        assert report.layers[1].verdict == "healthy"
        assert "hidden 2: exploding" in repr(report)
        assert report.to_frame().loc["output", "verdict"] == "exploding"
        assert "exploding" in report._repr_html_()

    def test_numbers_too_large_for_the_precision(self, data):
        model = small(init=Normal(std=1e13)).set_params(hidden_layer_sizes=(8,) * 5)
        report = SignalReport.from_estimator(model, *data)
        assert report.verdict == "exploding"
        assert report.suggested_params == {"init": "auto"}


class TestRemedied:
    def test_a_parameter_wherever_the_network_is(self, data):
        network = small(init="zeros")
        X, y = data
        for model, path in (
            (network, "init"),
            (make_pipeline(Standardizer(), network), "normmlpclassifier__init"),
            (
                TransformedTargetRegressor(NormMLPRegressor((8,), init="zeros")),
                "regressor__init",
            ),
        ):
            report = SignalReport.from_estimator(model, X, y)
            better = report.remedied(model)
            assert better is not model
            assert better.get_params()[path] == "auto"
            assert model.get_params()[path] == "zeros"
        search = GridSearchCV(network, {"lr": [1e-3]}, cv=2).fit(X, y)
        better = SignalReport.from_estimator(search, X, y).remedied(search)
        assert better.estimator.init == "auto"

    def test_a_standardizer(self, data):
        X, y = data
        network = small()
        far = X + 1000
        report = SignalReport.from_estimator(network, far, y)
        assert (report.first.layer, report.verdict) == ("inputs", "shifted")
        better = report.remedied(network)
        assert isinstance(better, Pipeline)
        assert isinstance(better[0], Standardizer)
        pipeline = Pipeline([("impute", "passthrough"), ("net", network)])
        better = SignalReport.from_estimator(pipeline, far, y).remedied(pipeline)
        assert [name for name, _ in better.steps] == ["impute", "standardizer", "net"]
        target = TransformedTargetRegressor(NormMLPRegressor((8,)))
        better = SignalReport.from_estimator(target, far, X[:, 0]).remedied(target)
        assert isinstance(better.regressor, Pipeline)
        assert SignalReport.from_estimator(better, far, X[:, 0]).verdict == "healthy"

    def test_a_target(self, rng):
        X = rng.normal(size=(500, 2))
        y = np.exp(8 * X[:, 0])
        model = NormMLPRegressor((8,), random_state=0)
        report = SignalReport.from_estimator(model, X, y)
        assert (report.first.layer, report.verdict) == ("target", "exploding")
        better = report.remedied(model)
        assert isinstance(better.transformer, QuantileStandardizer)
        assert SignalReport.from_estimator(better, X, y).verdict == "healthy"
        again = TransformedTargetRegressor(clone(model))
        assert isinstance(report.remedied(again).transformer, QuantileStandardizer)

    def test_a_second_standardizer(self, data):
        X, y = data
        larger = FunctionTransformer(lambda X: 1000 * X)
        model = make_pipeline(Standardizer(), larger, small())
        report = SignalReport.from_estimator(model, X, y)
        assert (report.first.layer, report.verdict) == ("inputs", "exploding")
        better = report.remedied(model).fit(X, y)
        assert SignalReport.from_estimator(better, X, y).verdict == "healthy"

    def test_rows_that_drifted(self, data):
        X, y = data
        model = make_pipeline(Standardizer(), small()).fit(X, y)
        report = SignalReport.from_estimator(model, X + 1000, y)
        assert (report.first.layer, report.verdict) == ("inputs", "shifted")
        assert "fit it anew" in report.hint
        better = report.remedied(model)
        assert len(better.steps) == 2
        assert SignalReport.from_estimator(better, X + 1000, y).verdict == "healthy"

    def test_it_comes_to_an_end(self, data):
        model = small(activation="softplus").set_params(hidden_layer_sizes=(8,) * 30)
        seen = []
        while (report := SignalReport.from_estimator(model, *data)).first is not None:
            assert report.suggested_params not in seen
            seen.append(report.suggested_params)
            model = report.remedied(model)
        assert 0 < len(seen) < 6

    def test_the_healthy_stay_as_they_are(self, data):
        model = small()
        better = SignalReport.from_estimator(model, *data).remedied(model)
        assert better.get_params() == model.get_params()


class TestNothingChanges:
    @pytest.mark.parametrize("params", [{}, {"norm": "batch", "dropout": 0.5}])
    @pytest.mark.parametrize("with_y", [True, False])
    def test_the_estimator(self, data, params, with_y):
        X, y = data
        model = small(**params).fit(X, y)
        module = model.net_.module_
        weights = copy.deepcopy(module.state_dict())
        steps = copy.deepcopy(model.net_.optimizer_.state_dict())
        modes = [part.training for part in module.modules()]
        random = np.random.get_state()[1].copy()  # noqa: NPY002
        torch_random = torch.get_rng_state()
        before = model.predict_proba(X)
        SignalReport.from_estimator(model, X, y if with_y else None)
        after = module.state_dict()
        assert all(torch.equal(weights[name], after[name]) for name in weights)
        assert [part.training for part in module.modules()] == modes
        assert not any(part._forward_hooks for part in module.modules())
        for old, new in zip(
            steps["state"].values(),
            model.net_.optimizer_.state_dict()["state"].values(),
            strict=True,
        ):
            assert all(torch.equal(old[key], new[key]) for key in old)
        np.testing.assert_array_equal(np.random.get_state()[1], random)  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torch_random)
        np.testing.assert_array_equal(model.predict_proba(X), before)

    def test_when_something_raises(self, data):
        X, y = data
        model = small().fit(X, y)
        weights = copy.deepcopy(model.net_.module_.state_dict())
        with pytest.raises(ValueError, match="expecting 4 features"):
            SignalReport.from_estimator(model, X[:, :3], y)
        after = model.net_.module_.state_dict()
        assert all(torch.equal(weights[name], after[name]) for name in weights)
        assert not any(part._forward_hooks for part in model.net_.module_.modules())

    def test_one_that_is_not_fitted(self, data):
        model = make_pipeline(StandardScaler(), small(callbacks=[]))
        before = repr(model.get_params())
        SignalReport.from_estimator(model, *data)
        assert repr(model.get_params()) == before
        assert not hasattr(model[-1], "net_")
        assert not hasattr(model[0], "mean_")


class TestBadInput:
    @pytest.mark.parametrize("other", [LogisticRegression(), None, "network"])
    def test_not_ours(self, other, data):
        with pytest.raises(TypeError, match=r"must be a network of sknorm"):
            SignalReport.from_estimator(other, *data)

    def test_not_fitted_and_no_targets(self, data):
        with pytest.raises(ValueError, match="Pass y too, or fit it first"):
            SignalReport.from_estimator(small(), data[0])

    @pytest.mark.parametrize("n_rows", [0, 1])
    def test_too_few_rows(self, data, n_rows):
        model = small().fit(*data)
        with pytest.raises(ValueError, match="at least 2 rows"):
            SignalReport.from_estimator(model, data[0][:n_rows])

    @pytest.mark.parametrize("max_rows", [0, 1, 2.5, None])
    def test_too_few_rows_to_look_at(self, data, max_rows):
        with pytest.raises(ValueError, match="max_rows must be a whole number from 2"):
            SignalReport.from_estimator(small(), *data, max_rows=max_rows)

    def test_nan_in_the_rows(self, data):
        X, y = data
        model = small().fit(X, y)
        with pytest.raises(ValueError, match="NaN"):
            SignalReport.from_estimator(model, np.where(X > 2, np.nan, X), y)

    def test_a_label_it_does_not_know(self, data):
        X, y = data
        model = small().fit(X, y)
        with pytest.raises(ValueError, match="contains the classes"):
            SignalReport.from_estimator(model, X, y + 1)


class Odd(torch.nn.Module):
    """A norm of a user's own, with a layer inside."""

    def __init__(self, n):
        super().__init__()
        self.inner = torch.nn.LayerNorm(n)

    def forward(self, x):
        return self.inner(x) * 2


def test_layers_of_ones_own(data):
    model = small(norm=Odd, activation=torch.nn.Hardtanh)
    report = SignalReport.from_estimator(model, *data)
    assert [row.layer for row in report.layers][1:] == [
        "hidden 1",
        "hidden 2",
        "output",
    ]
    assert report.layers[1].std == pytest.approx(2.0, rel=0.01)
    assert 0 < report.layers[1].saturated < 1
    frame = report.to_frame()
    assert frame["norm"].tolist() == ["", "Odd", "Odd", ""]
    assert frame["activation"].tolist() == ["", "Hardtanh", "Hardtanh", ""]


class TestText:
    def test_the_summary_names_layer_verdict_and_remedy(self, data):
        report = SignalReport.from_estimator(small(init="zeros"), *data)
        assert report.summary == (
            "hidden 1: symmetric, 100 % of the units have the weights of another one "
            "(before training). Set init='auto': start from weights that keep the "
            "signal's size."
        )
        assert repr(report).splitlines()[0] == report.summary

    def test_of_the_healthy(self, data):
        report = SignalReport.from_estimator(small().fit(*data), *data)
        assert report.summary == "The signal is healthy in all 4 rows (trained)."

    def test_columns_stand_in_line(self, data):
        report = SignalReport.from_estimator(small(), *data)
        lines = repr(report).splitlines()[2:]
        assert len(lines) == 5
        end = lines[0].index("verdict")
        assert all(line[end:].startswith("healthy") for line in lines[1:])
        assert re.search(r"hidden 1 +8 ", lines[2])
        assert "nan" not in repr(report)

    def test_a_page(self, data, tmp_path):
        report = SignalReport.from_estimator(small(init="zeros"), *data)
        report.save(tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert page.lower().startswith("<!doctype html>")
        assert "symmetric" in page
        assert "hidden 2" in report._repr_html_()


def test_it_pickles(data):
    report = SignalReport.from_estimator(small(init="zeros"), *data)
    twin = pickle.loads(pickle.dumps(report))
    assert repr(twin) == repr(report)
    assert twin.suggested_params == report.suggested_params


def test_of_many_rows_some_are_looked_at(rng):
    X = rng.normal(size=(3000, 4))
    y = (X[:, 0] > 0).astype(int)
    model = small().fit(X, y)
    chosen = np.linspace(0, 2999, 500).astype(int)
    some = SignalReport.from_estimator(model, X[chosen], y[chosen])
    assert repr(SignalReport.from_estimator(model, X, y, max_rows=500)) == repr(some)


def test_a_network_of_another_device_that_came_to_this_one(device, data):
    X, y = data
    model = small(device=str(device)).fit(X, y)
    there = SignalReport.from_estimator(model, X, y)
    model.net_.module_.to("cpu")
    here = SignalReport.from_estimator(pickle.loads(pickle.dumps(model)), X, y)
    assert here.verdict == there.verdict
    assert here.layers[1].std == pytest.approx(there.layers[1].std, rel=1e-4)
