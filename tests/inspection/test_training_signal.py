import builtins
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_hex
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sknorm.inspection import SignalMonitor, TrainingSignalDisplay
from sknorm.inspection._signal_monitor import STATISTICS
from sknorm.neural_network import NormMLPClassifier
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

draw = TrainingSignalDisplay.from_estimator
LAYERS = ["hidden 1", "hidden 2", "output"]
NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    return X, (X[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def fitted(table):
    return NormMLPClassifier(
        (4, 4),
        max_epochs=3,
        random_state=0,
        device="cpu",
        callbacks=[SignalMonitor(every=1)],
    ).fit(*table)


def display(values, epochs=None, **others):
    """Return a display of three layers whose values are given by name."""
    values = {name: np.array(rows, float) for name, rows in values.items()}
    n_epochs = next(iter(values.values())).shape[1]
    values = {"std": np.ones((3, n_epochs))} | values
    epochs = np.arange(n_epochs) if epochs is None else epochs
    return TrainingSignalDisplay(epochs, LAYERS, values, **others)


def names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def cells(mesh):
    """Return the numbers of the cells, None where there is none."""
    array = np.ma.masked_invalid(mesh.get_array())
    return [[None if v is np.ma.masked else float(v) for v in row] for row in array]


class TestPicture:
    def test_cells_are_the_recorded_numbers(self, fitted):
        shown = draw(fitted)
        assert isinstance(shown, TrainingSignalDisplay)
        assert shown.layers == LAYERS
        assert shown.epochs.tolist() == [0, 1, 2, 3]
        frame = SignalMonitor.of(fitted).to_frame()
        for name in STATISTICS:
            by_layer = frame.pivot(index="layer", columns="epoch", values=name)
            np.testing.assert_array_equal(shown.values[name], by_layer.to_numpy())
        (mesh,) = shown.meshes_
        np.testing.assert_array_equal(mesh.get_array(), shown.values["std"])
        assert shown.figure_ is shown.ax_.figure
        assert shown.statistics_ == ["std"]

    def test_first_layer_on_top_and_epochs_from_left_to_right(self, fitted):
        shown = draw(fitted)
        assert names(shown.ax_) == LAYERS
        assert shown.ax_.get_yticks().tolist() == [0, 1, 2]
        assert shown.ax_.get_ylim() == (2.5, -0.5)
        assert shown.ax_.get_xlim() == (-0.5, 3.5)
        assert shown.ax_.get_xlabel() == "epoch"
        assert shown.ax_.get_title(loc="left") == "NormMLPClassifier"
        x = shown.meshes_[0].get_coordinates()[0, :, 0]
        assert x.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]

    def test_panels(self, fitted):
        shown = draw(fitted, statistic=["std", "grad_ratio", "sweet_spot"])
        assert shown.statistics_ == ["std", "grad_ratio", "sweet_spot"]
        assert shown.axes_.shape == (3,)
        assert shown.ax_ is shown.axes_[0]
        labels = [bar.ax.get_ylabel() for bar in shown.colorbars_]
        assert labels == ["pre-activation std", "gradient ratio", "sweet spot share"]
        assert [axes.get_xlabel() for axes in shown.axes_] == ["", "", "epoch"]
        # The last layer has no next one, and no activation.
        assert [names(axes) for axes in shown.axes_] == [
            LAYERS,
            LAYERS[:2],
            LAYERS[:2],
        ]

    def test_every_statistic_can_be_drawn(self, fitted):
        shown = draw(fitted, statistic=list(STATISTICS))
        shown.figure_.draw_without_rendering()
        assert len({bar.ax.get_ylabel() for bar in shown.colorbars_}) == len(STATISTICS)

    def test_epochs_that_were_not_recorded_hold(self):
        shown = display({"std": np.ones((3, 3))}, [0, 4, 10]).plot()
        x = shown.meshes_[0].get_coordinates()[0, :, 0]
        assert x.tolist() == [-0.5, 3.5, 9.5, 10.5]
        (points,) = shown.ax_.lines
        assert points.get_xdata().tolist() == [0, 4, 10]
        title = shown.ax_.get_title(loc="right")
        assert title == "\N{BLACK DOWN-POINTING SMALL TRIANGLE} recorded"

    def test_no_signs_if_there_is_nothing_to_explain(self, fitted):
        shown = draw(fitted)
        assert not shown.ax_.lines
        assert not shown.marks_
        assert shown.ax_.get_title(loc="right") == ""

    def test_a_monitor_of_a_pipeline_is_found(self, table):
        model = make_pipeline(
            Standardizer(),
            NormMLPClassifier(
                4, max_epochs=2, device="cpu", callbacks=[SignalMonitor(every=1)]
            ),
        ).fit(*table)
        assert draw(model).ax_.get_title(loc="left") == "Pipeline"
        assert draw(model, name="mine").ax_.get_title(loc="left") == "mine"

    def test_from_monitor(self, fitted):
        monitor = SignalMonitor.of(fitted)
        shown = TrainingSignalDisplay.from_monitor(monitor, statistic="dead")
        np.testing.assert_array_equal(
            shown.meshes_[0].get_array(), shown.values["dead"][:2]
        )
        assert shown.ax_.get_title(loc="left") == ""

    def test_plot_again(self, fitted):
        shown = draw(fitted)
        first = shown.figure_
        assert shown.plot(statistic="mean") is shown
        assert shown.figure_ is not first
        assert shown.statistics_ == ["mean"]

    def test_many_layers_are_named_as_far_as_there_is_room(self):
        layers = [f"hidden {i}" for i in range(1, 60)]
        shown = TrainingSignalDisplay([0, 1], layers, {"std": np.ones((59, 2))}).plot()
        named = names(shown.ax_)
        assert 10 < len(named) < 40
        assert named == layers[:: layers.index(named[1])]
        assert shown.figure_.get_figheight() < 6


class TestColours:
    @pytest.mark.parametrize("statistic", ["std", "grad_ratio"])
    def test_1_is_white_between_two_colours(self, statistic):
        shown = display({statistic: [[1, 0.05, 20]] * 3}).plot(statistic=statistic)
        (mesh,) = shown.meshes_
        assert isinstance(mesh.norm, LogNorm)
        assert mesh.norm.vmin == pytest.approx(math.exp(-3))
        assert mesh.norm.vmax == pytest.approx(math.exp(3))
        well, small, large = mesh.to_rgba(np.array([1, 0.05, 20]))[:, :3]
        assert well.min() > 0.95
        assert small[2] > 2 * small[0]  # Blue.
        assert large[0] > 2 * large[2]  # Red.
        (bar,) = shown.colorbars_
        assert bar.get_ticks().tolist() == [0.05, 0.2, 1, 5, 20]
        assert bar.extend == "neither"

    def test_beyond_the_ends(self):
        shown = display({"std": [[1e-9, 0], [1, 1], [1, 1]]}).plot()
        assert shown.colorbars_[0].extend == "min"
        assert cells(shown.meshes_[0])[0] == pytest.approx([math.exp(-3)] * 2)
        assert display({"std": [[1, 1e9]] * 3}).plot().colorbars_[0].extend == "max"
        assert display({"std": [[0, 1e9]] * 3}).plot().colorbars_[0].extend == "both"

    def test_mean_is_around_0(self):
        shown = display({"mean": [[0, 1], [-4, 2], [0, 0]]}).plot(statistic="mean")
        assert shown.meshes_[0].get_clim() == (-4, 4)
        flat = display({"mean": np.zeros((3, 2))}).plot(statistic="mean")
        assert flat.meshes_[0].get_clim() == (-1, 1)

    @pytest.mark.parametrize("statistic", ["sweet_spot", "saturated", "dead"])
    def test_shares(self, statistic):
        shown = display({statistic: np.full((3, 2), 0.5)}).plot(statistic=statistic)
        assert shown.meshes_[0].get_clim() == (0, 1)

    @pytest.mark.parametrize(
        ("values", "limits", "extend"),
        [
            ([0.01, 1.0], (0.01, 1.0), "neither"),
            ([0.0, 0.01, 1.0], (0.01, 1.0), "min"),
            ([1e-12, 0.01, 1.0], (0.01, 1.0), "min"),
            ([0.5, 0.5], (0.25, 1.0), "neither"),
            ([0.0, 0.0], (0.1, 1.0), "min"),
        ],
    )
    def test_logarithms_of_what_is_there(self, values, limits, extend):
        shown = display({"grad_std": [values] * 3}).plot(statistic="grad_std")
        assert shown.meshes_[0].get_clim() == limits
        assert shown.colorbars_[0].extend == extend
        shown.figure_.draw_without_rendering()

    def test_style(self, fitted):
        shown = draw(fitted, mesh_kwargs={"cmap": "PuOr_r", "alpha": 0.5})
        assert shown.meshes_[0].get_cmap().name == "PuOr_r"
        assert shown.meshes_[0].get_alpha() == 0.5


class TestNotFinite:
    def test_cells_have_a_cross(self):
        std = [[1, INF], [1, NAN], [1, 1]]
        shown = display({"std": std}).plot()
        assert cells(shown.meshes_[0]) == [[1, None], [1, None], [1, 1]]
        (marks,) = shown.marks_
        assert marks.get_xdata().tolist() == [1, 1]
        assert marks.get_ydata().tolist() == [0, 1]
        title = shown.ax_.get_title(loc="right")
        assert title == "\N{MULTIPLICATION SIGN} not finite"
        assert to_hex(shown.ax_.get_facecolor()) == "#d9d9d9"

    def test_what_a_layer_does_not_have_is_no_loss(self):
        std = [[1, NAN], [1, NAN], [1, NAN]]
        spot = [[0.5, NAN], [0.4, NAN], [NAN, NAN]]
        shown = display({"std": std, "sweet_spot": spot}).plot(statistic="sweet_spot")
        assert names(shown.ax_) == LAYERS[:2]
        assert shown.marks_[0].get_ydata().tolist() == [0, 1]

    def test_a_number_that_is_missing_once(self):
        ratio = [[1, NAN], [1, 1], [NAN, NAN]]
        shown = display({"grad_ratio": ratio}).plot(statistic="grad_ratio")
        assert cells(shown.meshes_[0]) == [[1, None], [1, 1]]
        assert not shown.marks_

    def test_nothing_but_losses(self):
        std = np.full((3, 2), NAN)
        shown = display({"std": std, "grad_std": std}).plot(
            statistic=["std", "grad_std"]
        )
        assert [len(marks.get_xdata()) for marks in shown.marks_] == [6, 6]
        shown.figure_.draw_without_rendering()


class TestAxes:
    def test_one(self, fitted):
        figure, ax = plt.subplots()
        shown = draw(fitted, ax=ax)
        assert shown.ax_ is ax
        assert shown.figure_ is figure

    def test_several(self, fitted):
        figure, axes = plt.subplots(1, 2)
        shown = draw(fitted, statistic=["std", "dead"], ax=axes)
        assert shown.axes_.tolist() == axes.tolist()
        assert [ax.get_xlabel() for ax in axes] == ["epoch", "epoch"]
        assert shown.figure_ is figure

    def test_too_few(self, fitted):
        _, ax = plt.subplots()
        with pytest.raises(ValueError, match=r"the 2 statistics\. Got 1"):
            draw(fitted, statistic=["std", "dead"], ax=ax)


class TestBadInput:
    def test_unknown_statistic(self, fitted):
        with pytest.raises(ValueError, match=r"Unknown statistic 'stdd'\. Did you"):
            draw(fitted, statistic="stdd")

    def test_a_statistic_that_no_layer_has(self):
        none = np.full((3, 2), NAN)
        with pytest.raises(ValueError, match=r"No layer has .* 'update_ratio'"):
            display({"update_ratio": none}).plot(statistic="update_ratio")

    def test_no_statistic(self, fitted):
        with pytest.raises(ValueError, match="Name at least one statistic"):
            draw(fitted, statistic=[])

    def test_without_a_monitor(self, table):
        model = NormMLPClassifier(4, max_epochs=1, device="cpu").fit(*table)
        with pytest.raises(ValueError, match="was fitted without a monitor"):
            draw(model)

    def test_a_monitor_that_saw_nothing(self):
        monitor = SignalMonitor()
        with pytest.raises(NotFittedError, match="that a network was trained with"):
            TrainingSignalDisplay.from_monitor(monitor)
        with pytest.raises(ValueError, match="recorded nothing"):
            TrainingSignalDisplay.from_monitor(monitor.initialize())

    def test_without_matplotlib(self, fitted, monkeypatch):
        real = builtins.__import__

        def fails(name, *args, **kwargs):
            if name.startswith("matplotlib"):
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", fails)
        with pytest.raises(ImportError, match=r"draws with matplotlib: `pip install"):
            draw(fitted)
