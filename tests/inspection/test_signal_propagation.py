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

from sknorm.inspection._signal_propagation import SignalPropagationDisplay
from sknorm.inspection._verdicts import LIMIT
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.neural_network._opened import open_estimator
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

draw = SignalPropagationDisplay.from_estimator
draw_all = SignalPropagationDisplay.from_estimators
draw_inits = SignalPropagationDisplay.from_inits


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(120, 8, random_state=0)
    return X.astype(np.float32), y


def network(depth=4, width=32, **params):
    defaults = {"norm": "none", "max_epochs": 1, "device": "cpu"}
    return NormMLPClassifier((width,) * depth, **defaults | params)


@pytest.fixture(scope="module")
def fitted(table):
    return network(random_state=0).fit(*table)


def by_hand(estimator, X, y):
    """Return stds of pre-activations, and norms of the loss's gradient there."""
    opened = open_estimator(estimator, X, y)
    signal, met = opened.X, []
    for part in opened.network:
        signal = part(signal)
        if isinstance(part, nn.Linear):
            signal.retain_grad()
            met.append(signal)
    nn.functional.cross_entropy(signal, opened.y).backward()
    stds = [float(z.detach().double().std(correction=0)) for z in [opened.X, *met]]
    norms = [float(z.grad.double().square().sum(1).mean().sqrt()) for z in met]
    return np.array(stds), np.array(norms) / norms[-1]


def legend_of(part):
    (legend,) = part.legends if hasattr(part, "legends") else [part.get_legend()]
    return [text.get_text() for text in legend.get_texts()]


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


class TestValues:
    @pytest.mark.parametrize("activation", ["relu", "tanh"])
    def test_are_those_of_networks_with_other_seeds(self, table, activation):
        model = network(activation=activation, random_state=7)
        display = draw(model, *table, seeds=3, gradient="loss")
        expected = [
            by_hand(network(activation=activation, random_state=seed), *table)
            for seed in range(3)
        ]
        stds, norms = map(np.array, zip(*expected, strict=True))
        forward = display.forward["NormMLPClassifier"]
        backward = display.backward["NormMLPClassifier"]
        np.testing.assert_allclose(forward, stds, rtol=1e-5)
        np.testing.assert_allclose(backward, norms, rtol=1e-5)

    def test_a_fitted_network_is_looked_at_alone(self, fitted, table):
        display = draw(fitted, *table, gradient="loss")
        stds, norms = by_hand(fitted, *table)
        np.testing.assert_allclose(display.forward["NormMLPClassifier"][0], stds, 1e-5)
        np.testing.assert_allclose(
            display.backward["NormMLPClassifier"][0], norms, 1e-5
        )
        assert display.bands_ == {"forward": {}, "backward": {}}

    def test_random_directions_need_no_target(self, fitted, table):
        X, _ = table
        ours = draw(fitted, X).backward["NormMLPClassifier"]
        with_target = draw(fitted, *table).backward["NormMLPClassifier"]
        np.testing.assert_array_equal(ours, with_target)

    def test_the_gradient_of_one_output_is_the_weight(self, table):
        # Any direction of it is a number times the same row of weights.
        X, y = table
        model = NormMLPRegressor(
            (16,), activation="identity", norm="none", max_epochs=1, random_state=0
        ).fit(X, y)
        display = draw(model, X, name="linear")
        weight = model.net_.module_.linears[-1].weight
        expected = [float(weight.detach().double().norm()), 1.0]
        np.testing.assert_allclose(display.backward["linear"][0], expected, rtol=1e-6)

    def test_deep_tanh_follows_theory(self):
        # Inputs of mean square 1, and weights of variance 1 / n without biases.
        X = np.random.default_rng(0).choice([-1.0, 1.0], (200, 64))
        y = np.arange(200) % 2
        model = network(20, 64, activation="tanh", dtype="float64")
        display = draw_inits(model, X, y, ["lecun_normal"])
        z, weight = np.polynomial.hermite_e.hermegauss(101)
        weight = weight / weight.sum()
        q, chi = [1.0], []
        for _ in range(20):
            phi = np.tanh(np.sqrt(q[-1]) * z)
            q.append(weight @ phi**2)
            chi.append(weight @ (1 - phi**2) ** 2)
        forward = np.sqrt(q)
        backward = np.sqrt(np.cumprod([1, *chi[::-1]])[::-1])
        theory = display.forward_theory["lecun_normal"]
        assert np.isnan(theory[0])
        # Of 64^2 weights the variance is off by sqrt(2) / 64 = 2 % a layer. The square
        # of a vector that goes through 64 units is by sqrt(2 / 64) = 18 %, its norm by
        # 9 %: tanh takes back some of it forward, and nothing does over 19 layers
        # backward, of which the median of five networks leaves 20 %.
        np.testing.assert_allclose(theory[1:-1], forward[:-1], rtol=0.05)
        measured = np.median(display.forward["lecun_normal"], axis=0)
        np.testing.assert_allclose(measured[1:-1], forward[:-1], rtol=0.2)
        # Beside the last hidden layer: two outputs have too few weights to be measured.
        backward /= backward[-2]
        theory = display.backward_theory["lecun_normal"]
        np.testing.assert_allclose((theory / theory[-2])[:-1], backward[:-1], rtol=0.05)
        measured = np.median(display.backward["lecun_normal"], axis=0)
        measured /= measured[-2]
        np.testing.assert_allclose(measured[:-1], backward[:-1], rtol=0.3)

    def test_no_theory_behind_norms_and_around_layers(self, table):
        display = draw_all(
            {
                "norm": network(norm="layer"),
                "weight": network(norm="weight"),
                "resnet": TabularNetClassifier(
                    (16, 16), architecture="resnet", norm="none"
                ),
            },
            *table,
            seeds=1,
        )
        assert display.theory_lines_["forward"].keys() == {"weight"}
        assert display.theory_lines_["backward"].keys() == {"weight"}
        assert "mean-field theory" in legend_of(display.figure_)
        assert "mean-field theory" not in legend_of(
            draw(network(norm="layer"), *table, seeds=1).figure_
        )


class TestPicture:
    def test_lines_and_bands(self, table):
        display = draw_inits(network(), *table, ["auto", "xavier_normal"], seeds=4)
        assert isinstance(display, SignalPropagationDisplay)
        assert list(display.axes_) == ["forward", "backward"]
        assert display.ax_ is display.axes_["forward"]
        assert display.ax_.figure is display.figure_
        for panel, start in (("forward", 0), ("backward", 1)):
            values = getattr(display, panel)
            assert list(display.lines_[panel]) == ["auto", "xavier_normal"]
            for label, of_seeds in values.items():
                assert of_seeds.shape == (4, 6 - start)
                x, y = display.lines_[panel][label].get_data()
                np.testing.assert_array_equal(x, np.arange(start, 6))
                np.testing.assert_allclose(y, np.median(of_seeds, axis=0))
                (path,) = display.bands_[panel][label].get_paths()
                corners = {tuple(corner) for corner in path.vertices}
                for depth, at_depth in zip(x, of_seeds.T, strict=True):
                    assert (depth, at_depth.min()) in corners
                    assert (depth, at_depth.max()) in corners

    def test_theory_is_dashed(self, table):
        display = draw(network(), *table, seeds=1, name="net")
        for panel in display.axes_:
            line = display.theory_lines_[panel]["net"]
            assert line.is_dashed()
            theory = getattr(display, f"{panel}_theory")["net"]
            np.testing.assert_array_equal(line.get_ydata(), theory)

    def test_what_is_written(self, table):
        display = draw_inits(network(), *table, ["auto", "zeros"], seeds=3)
        forward, backward = display.axes_.values()
        assert forward.get_title(loc="left") == "forward"
        assert backward.get_title(loc="left") == "backward"
        assert forward.get_xlabel() == "layer (0: inputs)"
        assert backward.get_xlabel() == "layer"
        assert forward.get_ylabel() == "std of pre-activations"
        assert backward.get_ylabel() == "gradient norm (output layer: 1)"
        assert legend_of(display.figure_) == [
            "auto",
            "zeros",
            "mean-field theory",
            "range over 3 seeds",
            "$e^{-3}$ to $e^3$, where signals live",
        ]

    def test_the_zone_where_signals_live(self, table):
        display = draw(network(), *table, seeds=1)
        for axes in display.axes_.values():
            assert axes.get_yscale() == "log"
            (zone,) = axes.patches
            low, high = zone.get_y(), zone.get_y() + zone.get_height()
            assert (low, high) == pytest.approx((1 / LIMIT, LIMIT))
            bottom, top = axes.get_ylim()
            assert bottom < low
            assert high < top

    def test_zeros_leave_a_mark_at_the_edge(self, table):
        display = draw_inits(network(), *table, ["zeros", "auto"], seeds=2)
        for panel, layer in (("forward", 1), ("backward", 4)):
            axes = display.axes_[panel]
            assert display.edge_marks_[panel].keys() == {"zeros"}
            mark = display.edge_marks_[panel]["zeros"]
            assert mark.get_marker() == "v"
            np.testing.assert_array_equal(mark.get_xydata(), [[layer, 0]])
            assert texts_of(axes) == [f"0 at layer {layer}"]
            line = display.lines_[panel]["zeros"].get_ydata()
            # Inputs before the first layer, and the gradient at the last.
            assert np.isfinite(line).sum() == 1
        display.figure_.draw_without_rendering()

    def test_what_overflows_leaves_a_mark_and_the_view_ends(self, table):
        model = network(30, 64, init="standard_normal")
        display = draw_inits(model, *table, [Normal(std=20.0)], seeds=2)
        forward, backward = display.axes_.values()
        (label,) = display.forward
        assert label == "Normal(mean=0.0, std=20.0)"
        lost = np.flatnonzero(~np.isfinite(display.forward[label]).all(axis=0))[0]
        mark = display.edge_marks_["forward"][label]
        assert mark.get_marker() == "^"
        np.testing.assert_array_equal(mark.get_xydata(), [[lost, 1]])
        assert texts_of(forward) == [f"not finite at layer {lost}"]
        # No gradient has come through.
        assert texts_of(backward) == ["not finite at layer 31"]
        assert forward.get_ylim()[1] < 1e12
        # Theory doesn't overflow.
        assert np.isfinite(display.forward_theory[label][1:]).all()

    def test_texts_of_marks_stand_apart(self, table):
        display = draw_inits(network(), *table, {"a": "zeros", "b": "zeros"}, seeds=1)
        first, second = display.ax_.texts
        assert first.get_position()[1] < second.get_position()[1]

    def test_a_signal_lost_for_few_seeds_is_a_band(self):
        display = SignalPropagationDisplay(
            {"a": np.array([[1.0, 1.0], [1.0, np.nan], [1.0, 2.0]])},
            {"a": np.array([[0.0, 1.0], [3.0, 1.0], [3.0, 1.0]])},
        ).plot()
        np.testing.assert_array_equal(
            display.lines_["forward"]["a"].get_ydata(), [1, 2]
        )
        np.testing.assert_array_equal(
            display.lines_["backward"]["a"].get_ydata(), [3, 1]
        )
        assert display.edge_marks_ == {"forward": {}, "backward": {}}
        display.figure_.draw_without_rendering()
        assert display.ax_.get_ylim()[1] < 100

    def test_axes_that_are_given(self, table):
        figure, (left, right) = plt.subplots(1, 2)
        display = draw(network(), *table, seeds=1, name="net", ax=[left, right])
        assert display.axes_ == {"forward": left, "backward": right}
        assert display.figure_ is figure
        assert legend_of(left)[0] == "net"
        assert right.get_legend() is None

    def test_one_axes_is_for_the_forward_signal(self, table):
        _, axes = plt.subplots()
        display = draw(network(), *table, seeds=1, ax=axes)
        assert display.axes_ == {"forward": axes}
        display.plot(axes, panels="backward")
        assert display.axes_ == {"backward": axes}

    def test_style(self, table):
        display = draw(network(), *table, seeds=1, name="net", line_kwargs={"c": "red"})
        assert to_hex(display.lines_["forward"]["net"].get_color()) == "#ff0000"
        bands = draw(network(), *table, seeds=2, line_kwargs={"lw": 5}).bands_
        assert len(bands["forward"]) == 1

    def test_more_labels_than_colors(self):
        values = {f"{'long ' * 10}{i}": np.ones((1, 2)) for i in range(9)}
        display = SignalPropagationDisplay(values, values).plot(panels="forward")
        looks = {
            (line.get_color(), line.get_marker())
            for line in display.lines_["forward"].values()
        }
        assert len(looks) == 9
        assert len(legend_of(display.figure_)[0]) == 40

    def test_can_be_drawn_again_from_values(self, table):
        display = draw(network(), *table, seeds=2, name="net")
        bare = SignalPropagationDisplay(display.forward, display.backward)
        again = pickle.loads(pickle.dumps(bare)).plot()
        assert again.theory_lines_ == {"forward": {}, "backward": {}}
        np.testing.assert_array_equal(
            again.lines_["forward"]["net"].get_ydata(),
            display.lines_["forward"]["net"].get_ydata(),
        )


class TestEstimators:
    def test_a_list_is_numbered_where_names_are_the_same(self, table):
        models = [network(), TabularNetClassifier(8), network(2)]
        display = draw_all(models, *table, seeds=1)
        assert list(display.forward) == [
            "NormMLPClassifier 1",
            "TabularNetClassifier",
            "NormMLPClassifier 3",
        ]
        assert [v.shape[1] for v in display.forward.values()] == [6, 3, 4]
        assert display.ax_.get_xlim()[1] == pytest.approx(5, abs=0.2)

    def test_schemes_are_their_labels(self, table):
        inits = ["auto", Normal(std=0.5)]
        display = draw_inits(network(1), *table, inits, seeds=1)
        assert list(display.forward) == ["auto", "Normal(mean=0.0, std=0.5)"]

    @pytest.mark.parametrize("is_fitted", [False, True])
    def test_inside_others(self, table, is_fitted):
        X, y = table
        X, y = 100 * X, y.astype(float)
        inner = NormMLPRegressor(
            (8, 8), norm="none", max_epochs=1, init="zeros", random_state=0
        )
        model = TransformedTargetRegressor(
            make_pipeline(Standardizer(), inner), transformer=Standardizer()
        )
        model = model.fit(X, y) if is_fitted else model
        values = draw(model, X, y, seeds=2).forward["NormMLPRegressor"]
        assert len(values) == (1 if is_fitted else 2)
        np.testing.assert_allclose(values[:, 0], 1, rtol=1e-6)
        # The last bias alone has learned.
        np.testing.assert_array_equal(values[:, 1:], 0)
        display = draw_inits(model, X, y, ["auto"], seeds=2)
        assert (display.forward["auto"] > 0.1).all()

    def test_the_best_of_a_search(self, table):
        search = GridSearchCV(
            network(1, random_state=0), {"init": ["zeros"]}, cv=2
        ).fit(*table)
        display = draw(search, *table)
        assert display.forward["NormMLPClassifier"].shape == (1, 3)
        assert display.forward["NormMLPClassifier"][0, 1] == 0
        display = draw_inits(search, *table, ["auto", "zeros"], seeds=2)
        assert display.forward["auto"].shape == (2, 3)

    def test_what_diverged_is_drawn_from_where_it_began(self, table):
        model = network(random_state=0).fit(*table)
        with torch.no_grad():
            model.net_.module_.linears[2].weight[0, 0] = float("nan")
        display = draw(model, *table)
        assert texts_of(display.axes_["forward"]) == ["not finite at layer 3"]
        assert texts_of(display.axes_["backward"]) == ["not finite at layer 5"]
        line = display.lines_["forward"]["NormMLPClassifier"].get_ydata()
        np.testing.assert_array_equal(np.isfinite(line), [1, 1, 1, 0, 0, 0])
        display.figure_.draw_without_rendering()

    @pytest.mark.parametrize("n_members", [1, 3])
    def test_networks_for_tables(self, table, n_members):
        model = TabularNetClassifier(
            (16, 16), n_members=n_members, max_epochs=1, random_state=0
        )
        for estimator in (model, model.fit(*table)):
            display = draw(estimator, *table, seeds=2)
            assert np.isfinite(display.forward["TabularNetClassifier"]).all()
            assert np.isfinite(display.backward["TabularNetClassifier"]).all()

    def test_everything_stays_as_it_was(self, fitted, table):
        models = {"fitted": fitted, "fresh": network(init="lsuv")}
        module = fitted.net_.module_
        before = [p.clone() for p in module.state_dict().values()]
        grads = [p.grad.clone() for p in module.parameters()]
        torch_state = torch.get_rng_state()
        numpy_state = np.random.get_state()  # noqa: NPY002
        params = models["fresh"].get_params()
        draw_all(models, *table, seeds=2, gradient="loss")
        assert torch.equal(torch_state, torch.get_rng_state())
        np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002
        after = list(module.state_dict().values())
        assert all(map(torch.equal, before, after))
        assert all(map(torch.equal, grads, [p.grad for p in module.parameters()]))
        assert not any(part._forward_hooks for part in module.modules())
        assert models["fresh"].get_params() == params
        assert not hasattr(models["fresh"], "net_")

    def test_no_more_rows_than_asked_for(self, table):
        X, y = table
        every_second = draw(network(1), X[::2], y[::2], seeds=1)
        # Rows that are evenly spaced from first to last.
        odd = draw(network(1), X[:119], y[:119], seeds=1, max_rows=60)
        np.testing.assert_array_equal(
            odd.forward["NormMLPClassifier"], every_second.forward["NormMLPClassifier"]
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"seeds": 0}, "seeds must be a whole number from 1 on. Got 0"),
            ({"seeds": 2.0}, "seeds must be a whole number from 1 on. Got 2.0"),
            ({"max_rows": True}, "max_rows must be a whole number from 2 on. Got True"),
            ({"gradient": "los"}, "gradient must be 'random' or 'loss'. Got 'los'"),
            ({"panels": "back"}, r"panels must be among 'forward', 'backward'. Got"),
            ({"panels": ()}, r"panels must be among 'forward', 'backward'. Got \(\)"),
        ],
    )
    def test_parameters(self, table, params, message):
        with pytest.raises(ValueError, match=message):
            draw(network(1), *table, **{"seeds": 1} | params)

    def test_number_of_axes(self, table):
        _, axes = plt.subplots(1, 3)
        message = "an axes for each of the 2 panels: forward, backward. Got 3"
        with pytest.raises(ValueError, match=message):
            draw(network(1), *table, seeds=1, ax=axes)

    def test_targets(self, fitted, table):
        with pytest.raises(ValueError, match=r"isn't fitted.* Pass y too, or fit it"):
            draw(network(), table[0])
        with pytest.raises(ValueError, match=r"of the loss needs targets. Pass y too"):
            draw(fitted, table[0], gradient="loss")

    @pytest.mark.parametrize(
        "use",
        [
            lambda X, y: draw(LogisticRegression(), X, y),
            lambda X, y: draw_all([LogisticRegression()], X, y),
            lambda X, y: draw_all({"a": LogisticRegression()}, X, y),
            lambda X, y: draw_inits(LogisticRegression(), X, y, ["auto"]),
        ],
    )
    def test_estimators_that_are_not_ours(self, table, use):
        message = r"must be a network of sknorm.neural_network.* Got LogisticRegr"
        with pytest.raises(TypeError, match=message):
            use(*table)

    def test_one_where_several_are_expected(self, table):
        with pytest.raises(
            TypeError, match=r"(?s)Got one: NormMLP.*with from_estimator"
        ):
            draw_all(network(), *table)

    def test_nothing_to_draw(self, table):
        with pytest.raises(ValueError, match=r"at least one estimator\. Got none"):
            draw_all([], *table)
        with pytest.raises(ValueError, match=r"at least one scheme\. Got none"):
            draw_inits(network(), *table, [])

    def test_an_unknown_scheme(self, table):
        with pytest.raises(ValueError, match=r"'zeroes'. Did you mean 'zeros'\?"):
            draw_inits(network(), *table, ["zeroes"])

    def test_matplotlib_is_asked_for_by_name(self, table, monkeypatch):
        display = SignalPropagationDisplay({}, {})
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        for use in (display.plot, lambda: draw(network(), *table)):
            message = r"SignalPropagationDisplay\.\w+ draws with matplotlib: `pip inst"
            with pytest.raises(ImportError, match=message):
                use()
