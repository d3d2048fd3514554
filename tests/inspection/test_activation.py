import builtins
import pickle

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from sknorm.inspection import SignalReport
from sknorm.inspection._activation import ActivationDisplay
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.neural_network._opened import open_estimator
from sknorm.nn.initializers import Constant, Normal
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

draw = ActivationDisplay.from_estimator


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(120, 8, random_state=0)
    return X.astype(np.float32), y


def network(depth=3, width=32, **params):
    defaults = {
        "activation": "tanh",
        "norm": "none",
        "max_epochs": 1,
        "device": "cpu",
        "random_state": 0,
    }
    return NormMLPClassifier((width,) * depth, **defaults | params)


@pytest.fixture(scope="module")
def fitted(table):
    return network().fit(*table)


def pre_activations(estimator, X, y):
    """Return what reaches each activation, by hand."""
    opened = open_estimator(estimator, X, y)
    signal, met = opened.X, []
    with torch.no_grad():
        for part in opened.network:
            if isinstance(part, (nn.Tanh, nn.ReLU)):
                met.append(signal.double().numpy().ravel())
            signal = part(signal)
    return met


def title_of(axes):
    title = axes.get_title(loc="left")
    texts = axes.findobj(matplotlib.text.Text)
    return next(text for text in texts if text.get_text() == title)


def above(axes):
    """Return the lines between a panel and its title."""
    (text,) = axes.texts
    return text.get_text().split("\n")


class TestPicture:
    def test_a_panel_for_each_hidden_layer(self, fitted, table):
        display = draw(fitted, *table)
        assert isinstance(display, ActivationDisplay)
        assert display.axes_.shape == (3,)
        assert display.ax_ is display.axes_[0]
        assert {axes.figure for axes in display.axes_} == {display.figure_}
        titles = [axes.get_title(loc="left") for axes in display.axes_]
        assert titles == ["hidden 1", "hidden 2", "hidden 3"]
        assert [part.module for part in display.layers] == ["0", "2", "4"]
        assert display.figure_.get_suptitle() == "NormMLPClassifier"

    def test_histograms(self, fitted, table):
        display = draw(fitted, *table, bins=20)
        by_hand = pre_activations(fitted, *table)
        for bars, part, values in zip(
            display.bars_, display.layers, by_hand, strict=True
        ):
            density, edges, _ = bars.get_data()
            assert len(density) == 20
            expected = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
            np.testing.assert_allclose(density, expected, rtol=1e-9)
            assert part.count == 120 * 32
            assert part.mean == pytest.approx(values.mean(), abs=1e-9)
            assert part.std == pytest.approx(values.std(), rel=1e-9)
            assert part.sweet_spot == np.mean(np.abs(values) <= 1)

    def test_the_view_holds_the_standard_normal(self, fitted, table):
        display = draw(fitted, *table)
        for axes, part in zip(display.axes_, display.layers, strict=True):
            low, high = axes.get_xlim()
            assert low < part.edges[0] <= -4
            assert high > part.edges[-1] >= 4
            assert axes.get_ylim()[0] == 0
            assert axes.get_ylim()[1] > part.density.max()

    def test_curves(self, fitted, table):
        display = draw(fitted, *table)
        for axes, over, line in zip(
            display.axes_, display.curve_axes_, display.curve_lines_, strict=True
        ):
            z, phi = line.get_data()
            np.testing.assert_allclose(phi, np.tanh(z), rtol=1e-12)
            assert (z[0], z[-1]) == axes.get_xlim()
            assert line.axes is over
            assert over.get_shared_x_axes().joined(over, axes)

    def test_normal_density(self, fitted, table):
        for line in draw(fitted, *table).normal_lines_:
            z, density = line.get_data()
            expected = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
            np.testing.assert_allclose(density, expected, rtol=1e-12)
            assert density.max() == pytest.approx(0.3989, abs=1e-4)

    @pytest.mark.parametrize(
        ("activation", "ends", "text"),
        [
            ("tanh", (-1, 1), "sweet spot (-1, 1)"),
            ("relu", (0, None), "sweet spot (0, inf)"),
            ("identity", (None, None), "sweet spot (-inf, inf)"),
        ],
    )
    def test_sweet_spot(self, table, activation, ends, text):
        display = draw(network(1, activation=activation), *table)
        (spot,) = display.spots_
        shown = [
            view if end is None else end
            for end, view in zip(ends, display.ax_.get_xlim(), strict=True)
        ]
        assert [spot.get_x(), spot.get_x() + spot.get_width()] == pytest.approx(shown)
        (legend,) = display.figure_.legends
        assert [entry.get_text() for entry in legend.get_texts()] == [
            "pre-activations",
            "N(0, 1)",
            f"{activation} (right axis)",
            text,
        ]

    def test_what_is_written(self, fitted, table):
        display = draw(fitted, *table)
        part = display.layers[1]
        assert above(display.axes_[1]) == [
            f"mean {part.mean:.3f}  std {part.std:.3f}",
            f"in spot {100 * part.sweet_spot:.2g} %  dead 0 %",
        ]
        assert [axes.get_ylabel() for axes in display.axes_] == ["density", "", ""]
        assert {axes.get_xlabel() for axes in display.axes_} == {"pre-activation"}

    def test_a_row_has_four_panels(self, table):
        display = draw(network(6), *table)
        place = [axes.get_subplotspec() for axes in display.axes_]
        assert [p.rowspan.start for p in place] == [0, 0, 0, 1, 1, 1]
        assert [axes.get_xlabel() for axes in display.axes_] == [
            *([""] * 3),
            *(["pre-activation"] * 3),
        ]
        display = draw(network(5), *table)
        assert len(display.figure_.axes) == 10
        assert display.axes_[2].get_xlabel() == "pre-activation"

    def test_axes_that_are_given(self, fitted, table):
        figure, axes = plt.subplots(3)
        display = draw(fitted, *table, ax=axes)
        assert list(display.axes_) == list(axes)
        assert display.figure_ is figure
        assert axes[0].get_legend() is not None
        assert not figure.legends
        assert [a.get_xlabel() for a in axes] == ["pre-activation"] * 3
        assert [a.get_ylabel() for a in axes] == ["density"] * 3
        _, axes = plt.subplots()
        assert draw(fitted, *table, layers=0, ax=axes).ax_ is axes

    def test_style(self, fitted, table):
        display = draw(
            fitted, *table, bar_kwargs={"fc": "red"}, line_kwargs={"c": "lime"}
        )
        assert to_hex(display.bars_[0].get_facecolor()) == "#ff0000"
        assert to_hex(display.curve_lines_[0].get_color()) == "#00ff00"

    def test_can_be_drawn_again(self, fitted, table):
        display = draw(fitted, *table, name="mine")
        bare = ActivationDisplay(display.layers, activation="tanh")
        again = pickle.loads(pickle.dumps(bare)).plot()
        assert again.spots_ == [None] * 3
        for first, second in zip(display.bars_, again.bars_, strict=True):
            np.testing.assert_array_equal(first.get_data()[0], second.get_data()[0])


class TestLayers:
    def test_few_of_many(self, table):
        display = draw(network(20, 8), *table)
        chosen = [int(part.layer.removeprefix("hidden ")) for part in display.layers]
        assert len(chosen) == 8
        assert (chosen[0], chosen[-1]) == (1, 20)
        assert set(np.diff(chosen)) <= {2, 3}

    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            ("hidden 2", ["hidden 2"]),
            ("4", ["hidden 3"]),
            (0, ["hidden 1"]),
            ([-1, "hidden 1"], ["hidden 3", "hidden 1"]),
            (slice(1, None), ["hidden 2", "hidden 3"]),
            (range(2), ["hidden 1", "hidden 2"]),
            (np.array([2]), ["hidden 3"]),
        ],
    )
    def test_are_chosen_by_name_or_position(self, fitted, table, layers, expected):
        display = draw(fitted, *table, layers=layers)
        assert [part.layer for part in display.layers] == expected

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("hiden 2", r"Unknown layer 'hiden 2'\. Did you mean 'hidden 2'\?"),
            (["output"], r"Unknown layer 'output'\. Allowed names: hidden 1, hidden 2"),
            (3, r"no hidden layer at position 3: there are 3, from 0 to 2"),
            (-4, r"no hidden layer at position -4: there are 3, from 0 to 2"),
            (2.0, r"layers must be a name, .* or a slice of positions\. Got 2\.0"),
            ([2.0], r"layers must be a name, .* or a slice of positions\. Got 2\.0"),
            (True, r"layers must be a name, .* or a slice of positions\. Got True"),
            ([], r"From 1 to 20 layers can be drawn at once\. Got 0"),
            ([0] * 21, r"From 1 to 20 layers can be drawn at once\. Got 21"),
        ],
    )
    def test_errors(self, fitted, table, layers, message):
        with pytest.raises(ValueError, match=message):
            draw(fitted, *table, layers=layers)

    def test_a_linear_model_has_none(self, table):
        with pytest.raises(ValueError, match="has no hidden layer, and so no activ"):
            draw(NormMLPClassifier((), norm="none", random_state=0), *table)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("params", "verdict"),
        [
            ({}, "healthy"),
            ({"init": "standard_normal"}, "saturated"),
            ({"init": "zeros"}, "symmetric"),
            ({"init": Normal(std=1e-4)}, "vanishing"),
            ({"activation": "relu", "bias_init": Constant(-10.0)}, "dead"),
        ],
    )
    def test_are_those_of_the_report(self, table, params, verdict):
        model = network(2, 64, **params)
        report = SignalReport.from_estimator(model, *table)
        display = draw(model, *table)
        assert verdict in {part.verdict for part in display.layers}
        for axes, part, row in zip(
            display.axes_, display.layers, report.layers[1:], strict=False
        ):
            assert (part.layer, part.module) == (row.layer, row.module)
            assert (part.verdict, part.why) == (row.verdict, row.why)
            assert (part.dead, part.sweet_spot) == (row.dead, row.sweet_spot)
            is_well = row.verdict == "healthy"
            title = row.layer if is_well else f"{row.layer}: {row.verdict}"
            assert axes.get_title(loc="left") == title
            assert " ".join(above(axes)).startswith(row.why)
        display.figure_.draw_without_rendering()

    def test_titles_side_by_side_are_at_one_height(self, table):
        display = draw(network(2, 64, init="standard_normal"), *table)
        assert [part.verdict for part in display.layers] == ["healthy", "saturated"]
        display.figure_.draw_without_rendering()
        first, second = (title_of(axes) for axes in display.axes_)
        assert first.get_window_extent().y0 == second.get_window_extent().y0
        assert len(above(display.axes_[0])) < len(above(display.axes_[1]))


class TestNumbersOutOfView:
    def test_outliers(self, table):
        X, y = table
        X = X.copy()
        X[0] = 1e4
        part = draw(network(1, activation="relu"), X, y).layers[0]
        (values,) = pre_activations(network(1, activation="relu"), X, y)
        inside = (values >= part.edges[0]) & (values <= part.edges[-1])
        assert part.outside == np.sum(~inside) > 0
        assert part.not_finite == 0
        area = np.sum(part.density * np.diff(part.edges))
        assert area == pytest.approx(inside.mean())
        display = draw(network(1, activation="relu"), X, y)
        share = f"{100 * part.outside / part.count:.2g} %"
        assert display.ax_.get_xlabel() == f"pre-activation\n{share} out of view"

    def test_what_explodes_is_seen_whole(self, table):
        model = network(4, activation="relu", init=Normal(std=100.0))
        display = draw(model, *table)
        part = display.layers[-1]
        assert part.std > 1e8
        assert part.edges[-1] > part.std
        assert np.sum(part.density * np.diff(part.edges)) > 0.99
        # The normal density is as good as a line there, and the bars are still seen.
        assert display.axes_[-1].get_ylim()[1] < 3 * part.density.max()
        assert (
            above(display.axes_[-1])[-2] == f"mean {part.mean:.0e}  std {part.std:.1e}"
        )
        # All of the spot beside zero is too narrow to be seen, but not to be drawn.
        assert draw(model.set_params(activation="tanh"), *table).spots_[-1] is not None

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_what_is_not_finite(self, table, bad):
        model = network(activation="relu").fit(*table)
        with torch.no_grad():
            model.net_.module_.linears[1].bias[0] = bad
        display = draw(model, *table)
        first, second, third = display.layers
        assert first.not_finite == 0
        assert second.not_finite == 120
        assert second.verdict == "exploding"
        assert third.not_finite == third.count
        notes = [axes.get_xlabel().split("\n")[1:] for axes in display.axes_]
        assert notes == [[], ["3.1 % not finite"], ["100 % not finite"]]
        area = np.sum(second.density * np.diff(second.edges))
        assert area == pytest.approx(31 / 32)
        assert not third.density.any()
        assert above(display.axes_[2])[-1] == "mean -  std -"
        display.figure_.draw_without_rendering()

    def test_one_value_alone(self, table):
        model = network(1, init="zeros", bias_init=Constant(-10.0))
        display = draw(model, *table)
        part = display.layers[0]
        assert np.sum(part.density * np.diff(part.edges)) == pytest.approx(1)
        assert display.ax_.get_xlim()[0] < -10.3
        display.figure_.draw_without_rendering()


class TestNetworks:
    @pytest.mark.parametrize("position", ["before", "after"])
    def test_norms(self, table, position):
        model = network(norm="layer", norm_position=position).fit(*table)
        display = draw(model, *table)
        by_hand = pre_activations(model, *table)
        for part, values in zip(display.layers, by_hand, strict=True):
            assert part.mean == pytest.approx(values.mean(), abs=1e-9)
            assert part.std == pytest.approx(values.std(), rel=1e-9)

    def test_activations_that_are_not_elementwise(self, table):
        model = network(2, activation=nn.Softmax(dim=-1), init="torch_default")
        display = draw(model, *table)
        assert display.sweet_spot is None
        assert display.curve_lines_ == display.curve_axes_ == [None, None]
        assert display.spots_ == [None, None]
        assert np.isnan(display.layers[0].sweet_spot)
        assert display.bars_[0].get_data()[0].any()
        assert "in spot" not in " ".join(above(display.ax_))
        assert display.layers[0].curve is None

    def test_an_activation_of_ones_own(self, table):
        display = draw(network(1, activation=torch.sin, init="lecun_normal"), *table)
        z, phi = display.curve_lines_[0].get_data()
        np.testing.assert_allclose(phi, np.sin(z), atol=1e-12)
        assert display.activation == "sin"

    @pytest.mark.parametrize("members", ["batch_ensemble", "independent"])
    def test_members(self, table, members):
        model = TabularNetClassifier(
            (16, 16), n_members=3, members=members, max_epochs=1, random_state=0
        )
        for estimator in (model, model.fit(*table)):
            display = draw(estimator, *table)
            assert [part.count for part in display.layers] == [120 * 3 * 16] * 2
            assert display.layers[0].module.startswith("body")

    @pytest.mark.parametrize("is_fitted", [False, True])
    def test_inside_others(self, table, is_fitted):
        X, y = table
        X, y = 100 * X, y.astype(float)
        inner = NormMLPRegressor((8, 8), norm="none", max_epochs=1, random_state=0)
        model = TransformedTargetRegressor(
            make_pipeline(Standardizer(), inner), transformer=Standardizer()
        )
        display = draw(model.fit(X, y) if is_fitted else model, X, y)
        assert [part.verdict for part in display.layers] == ["healthy"] * 2
        assert display.figure_.get_suptitle() == "NormMLPRegressor"

    def test_the_best_of_a_search(self, table):
        search = GridSearchCV(network(1), {"init": ["auto"]}, cv=2).fit(*table)
        assert len(draw(search, table[0]).layers) == 1

    def test_everything_stays_as_it_was(self, fitted, table):
        fresh = network(init="lsuv", random_state=None)
        module = fitted.net_.module_
        before = [p.clone() for p in module.state_dict().values()]
        grads = [p.grad.clone() for p in module.parameters()]
        torch_state = torch.get_rng_state()
        numpy_state = np.random.get_state()  # noqa: NPY002
        for estimator in (fitted, fresh):
            draw(estimator, *table)
        assert torch.equal(torch_state, torch.get_rng_state())
        np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002
        assert all(map(torch.equal, before, module.state_dict().values()))
        assert all(map(torch.equal, grads, [p.grad for p in module.parameters()]))
        assert not any(part._forward_pre_hooks for part in module.modules())
        assert not hasattr(fresh, "net_")

    def test_no_more_rows_than_asked_for(self, fitted, table):
        part = draw(fitted, *table, max_rows=50).layers[0]
        assert part.count == 50 * 32


class TestErrors:
    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"bins": 0}, "bins must be a whole number from 1 on. Got 0"),
            ({"bins": "auto"}, "bins must be a whole number from 1 on. Got 'auto'"),
            ({"max_rows": 1.5}, "max_rows must be a whole number from 2 on. Got 1.5"),
        ],
    )
    def test_parameters(self, fitted, table, params, message):
        with pytest.raises(ValueError, match=message):
            draw(fitted, *table, **params)

    def test_number_of_axes(self, fitted, table):
        _, axes = plt.subplots(1, 2)
        message = (
            r"an axes for each of the 3 layers. Got 2. Choose layers with `layers`"
        )
        with pytest.raises(ValueError, match=message):
            draw(fitted, *table, ax=axes)

    def test_a_fresh_network_needs_targets(self, table):
        with pytest.raises(ValueError, match=r"isn't fitted.* Pass y too, or fit it"):
            draw(network(), table[0])

    def test_estimators_that_are_not_ours(self, table):
        with pytest.raises(TypeError, match=r"must be a network of sknorm.* Got Logis"):
            draw(LogisticRegression(), *table)

    def test_matplotlib_is_asked_for_by_name(self, fitted, table, monkeypatch):
        display = draw(fitted, *table)
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        for use in (display.plot, lambda: draw(fitted, *table)):
            message = r"ActivationDisplay\.\w+ draws with matplotlib: `pip install"
            with pytest.raises(ImportError, match=message):
                use()
