import builtins
import os
import pickle
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from sknorm.inspection import LossSurfaceDisplay
from sknorm.neural_network import NormMLPRegressor, TabularNetRegressor

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from_data = LossSurfaceDisplay.from_data
from_estimator = LossSurfaceDisplay.from_estimator

# Covariance diag(1, 100): the Hessian of the mean squared error is diag(2, 200).
CORNERS = np.array([[1.0, 10.0], [1.0, -10.0], [-1.0, 10.0], [-1.0, -10.0]])
LINEAR_TARGET = CORNERS @ [3.0, 0.5] + 7.0


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def net(table):
    """A network without hidden layers, a linear model."""
    model = NormMLPRegressor((), dtype="float64", max_epochs=3, random_state=0)
    return model.fit(*table)


def shown(axes):
    """Return the title of a panel, the numbers under it, and the labels of its axes."""
    return [
        axes.get_title(loc="left"),
        axes.texts[0].get_text(),
        axes.get_xlabel(),
        axes.get_ylabel(),
    ]


class TestRows:
    def test_at_most_so_many_are_drawn(self, houses):
        X, y = houses
        few = {"max_rows": 50, "n_points": 3}
        first, same, other = (
            from_data(X, y, random_state=seed, **few) for seed in (0, 0, 1)
        )
        assert first.condition_numbers == same.condition_numbers
        assert first.condition_numbers != other.condition_numbers
        # All columns are standardized on the rows that are drawn.
        np.testing.assert_allclose(first.surfaces[1].curvatures.sum(), 4, rtol=1e-12)

    def test_a_random_state_instance(self, houses):
        first, same = (
            from_data(*houses, max_rows=9, random_state=np.random.RandomState(3))
            for _ in range(2)
        )
        assert first.condition_numbers == same.condition_numbers


class TestPicture:
    def test_two_panels_on_the_same_levels(self, houses):
        display = from_data(*houses)
        assert isinstance(display, LossSurfaceDisplay)
        assert display.axes_.shape == (2,)
        assert display.ax_ is display.axes_[0]
        assert display.bounding_ax_ is None
        levels = [contours.levels.tolist() for contours in display.contours_]
        assert levels[0] == levels[1]
        assert any(np.isclose(levels[0], 0.01))
        ends = [contours.get_clim() for contours in display.contours_]
        assert ends[0] == ends[1]

    def test_what_is_written(self, houses):
        display = from_data(*houses)
        (n_steps, _), (kappa, kappa_after) = display.n_steps, display.condition_numbers
        assert shown(display.axes_[0]) == [
            f"as they come: {n_steps:,} steps",
            f"condition number {kappa:,.0f}",
            "weight of area",
            "weight of bedrooms",
        ]
        assert shown(display.axes_[1]) == [
            "after Standardizer: 1 step",
            f"condition number {kappa_after:.3g}",
            "weight of area, standardized",
            "weight of bedrooms, standardized",
        ]
        legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert legend == ["descent to 1 %", "start", "minimum"]
        label = display.colorbar_.ax.get_ylabel()
        assert label == "loss above the minimum (1 at the start)"

    def test_lines(self, houses):
        display = from_data(*houses)
        for surface, lines in zip(display.surfaces, display.lines_, strict=True):
            path, start, minimum = lines
            np.testing.assert_array_equal(
                np.transpose(path.get_data()), surface.descent.path
            )
            np.testing.assert_array_equal(
                np.ravel(start.get_data()), surface.descent.path[0]
            )
            np.testing.assert_array_equal(np.ravel(minimum.get_data()), surface.center)

    def test_units_are_as_long_on_both_axes(self, houses):
        for axes, surface in zip(
            (display := from_data(*houses)).axes_, display.surfaces, strict=True
        ):
            assert axes.get_aspect() == 1
            for limits, center in zip(
                (axes.get_xlim(), axes.get_ylim()), surface.center, strict=True
            ):
                np.testing.assert_allclose(
                    limits, [center - surface.reach, center + surface.reach]
                )
            # The whole picture is covered by the grid.
            corners = np.abs(surface.grid - surface.center[:, None, None])
            assert (corners.max(axis=(1, 2)) >= surface.reach).all()
            # The level of the start is in view, on all sides.
            inside = surface.excess <= surface.descent.start_excess
            assert (corners[:, inside] <= surface.reach).all()

    def test_a_narrow_valley_is_resolved(self, houses):
        surface = from_data(*houses).surfaces[0]
        inside = surface.excess <= 0.1 * surface.descent.start_excess
        assert np.count_nonzero(inside) > 100

    def test_of_a_network(self, net, table):
        display = from_estimator(net, *table, n_points=5, name="linear")
        (surface,) = display.surfaces
        assert display.axes_.tolist() == [display.ax_]
        assert shown(display.ax_) == [
            f"linear: loss {surface.center_loss:.3g}",
            "1 is as long as the weights, row by row",
            "random direction 1",
            "random direction 2",
        ]
        assert display.paths == display.n_steps == [None]
        assert display.colorbar_.ax.get_ylabel() == "loss above the lowest shown"
        assert display.ax_.get_xlim() == (-1, 1)
        display = from_estimator(net, *table, n_points=3, directions="principal")
        first, second = display.surfaces[0].curvatures
        assert shown(display.ax_)[1:] == [
            f"curvatures {first:.3g} and {second:.3g}, ratio {first / second:.3g}",
            "direction of largest curvature",
            "direction of second largest curvature",
        ]

    def test_losses_that_overflow_are_left_blank(self, table):
        X, y = table
        net = TabularNetRegressor(
            (),
            loss="poisson",
            embedding=None,
            n_members=1,
            max_epochs=1,
            random_state=0,
        ).fit(X, np.exp(y / 4))
        display = from_estimator(net, X, np.exp(y / 4), n_points=5, radius=1e4)
        assert np.isinf(display.surfaces[0].excess).any()
        display.figure_.canvas.draw()

    def test_levels(self, net, table):
        display = from_estimator(net, *table, n_points=5, levels=[0.1, 1, 10])
        assert display.contours_[0].levels.tolist() == [0.1, 1, 10]
        ticks = display.colorbar_.ax.get_yticklabels()
        assert [tick.get_text() for tick in ticks] == ["0.1", "1", "10"]

    def test_style(self, houses):
        display = from_data(
            *houses,
            colorbar=False,
            contour_kwargs={"cmap": "cividis"},
            path_kwargs={"c": "red", "lw": 5, "label": "down"},
        )
        path, start, _ = display.lines_[0]
        assert (path.get_color(), path.get_linewidth()) == ("red", 5)
        assert start.get_color() == "red"
        assert display.contours_[0].get_cmap().name == "cividis"
        assert display.colorbar_ is None
        assert display.ax_.get_legend().get_texts()[0].get_text() == "down"

    def test_it_draws_and_saves(self, houses, tmp_path):
        from_data(*houses).figure_.savefig(tmp_path / "picture.png", dpi=100)
        pixels = plt.imread(tmp_path / "picture.png")[..., :3]
        assert pixels.shape[:2] == (430, 900)
        colors = {to_hex(color) for color in np.unique(pixels.reshape(-1, 3), axis=0)}
        assert {"#ffffff", "#d55e00", "#000000"} <= colors

    def test_text_stays_within_its_panel(self, houses):
        X, y = houses
        display = from_data(X * [1e3, 1], y)
        display.figure_.canvas.draw()
        left, right = display.axes_
        assert left.title.get_window_extent().x1 < right.get_window_extent().x0
        assert left._left_title.get_window_extent().x1 < right.get_tightbbox().x0
        legend = left.get_legend().get_window_extent()
        path = left.transData.transform(display.paths[0])
        assert not legend.count_contains(path)


class TestWhere:
    def test_given_axes(self, houses):
        figure, axes = plt.subplots(1, 2)
        display = from_data(*houses, ax=axes)
        assert display.figure_ is figure
        assert display.axes_.tolist() == axes.tolist()

    def test_two_divide_the_place_of_one(self, houses):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
        display = from_data(*houses, ax=left)
        assert display.bounding_ax_ is left
        figure.canvas.draw()
        place = right.get_position()
        assert all(axes.get_position().x1 < place.x0 for axes in display.axes_)

    def test_networks_side_by_side(self, net, table):
        _, axes = plt.subplots(1, 2)
        for ax in axes:
            display = from_estimator(net, *table, n_points=3, ax=ax, levels=[0.1, 1])
            assert display.ax_ is ax

    def test_a_wrong_number_of_axes(self, houses):
        _, axes = plt.subplots(1, 3)
        with pytest.raises(ValueError, match=r"ax must hold 2 axes: .*\. Got 3\."):
            from_data(*houses, ax=axes)

    def test_plot_again(self, houses):
        display = from_data(*houses)
        first = display.figure_
        assert display.plot(colorbar=False) is display
        assert display.figure_ is not first

    def test_pickle_of_the_numbers(self, houses):
        display = from_data(*houses)
        bare = pickle.loads(pickle.dumps(LossSurfaceDisplay(display.surfaces))).plot()
        assert bare.n_steps == display.n_steps
        assert shown(bare.ax_) == shown(display.ax_)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"loss": "hinge"},
                r"loss must be 'squared_error' or 'log_loss'\. Got 'hinge'\.",
            ),
            (
                {"directions": "random"},
                r"directions must be 'weights' or 'principal'\. Got 'random'\.",
            ),
            (
                {"intercept": True},
                r"intercept must be 'held' or 'learned'\. Got True\.",
            ),
            ({"tol": 0}, r"tol must be a .* greater than 0 and less than 1\. Got 0\."),
            ({"tol": 1.0}, r"greater than 0 and less than 1\. Got 1\.0\."),
            ({"n_points": 2}, r"n_points must be a whole number from 3 on\. Got 2\."),
            ({"n_points": 9.0}, r"n_points must be .* from 3 on\. Got 9\.0\."),
            ({"max_rows": 1}, r"max_rows must be a whole number from 2 on\. Got 1\."),
            ({"max_steps": 0}, r"max_steps must be a whole .* from 1 on\. Got 0\."),
        ],
    )
    def test_arguments_of_data(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            from_data(CORNERS, LINEAR_TARGET, **arguments)
        assert not plt.get_fignums()

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (CORNERS[:1], [1.0], r"at least two rows\. Got 1\."),
            (CORNERS, [1.0, 2.0], "inconsistent numbers of samples"),
            (CORNERS, None, r"y must hold the target of each row of X\. Got None\."),
        ],
    )
    def test_rows_and_targets_of_data(self, X, y, message):
        with pytest.raises(ValueError, match=message):
            from_data(X, y)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"directions": "weights"},
                r"directions must be 'random' or 'principal'\. Got 'weights'\.",
            ),
            ({"n_points": True}, r"n_points must be .* from 3 on\. Got True\."),
            ({"radius": 0}, r"radius must be a .* greater than 0\. Got 0\."),
            ({"radius": np.inf}, r"radius must be a finite .* than 0\. Got inf\."),
            ({"max_rows": None}, r"max_rows must be .* from 2 on\. Got None\."),
        ],
    )
    def test_arguments_of_a_network(self, net, table, arguments, message):
        with pytest.raises(ValueError, match=message):
            from_estimator(net, *table, **arguments)

    def test_rows_and_targets_of_a_network(self, net, table):
        X, y = table
        with pytest.raises(ValueError, match=r"at least two rows\. Got 1\."):
            from_estimator(net, X[:1], y[:1])
        with pytest.raises(ValueError, match="y must hold the target of each row"):
            from_estimator(net, X, None)


class TestImports:
    def test_what_linear_models_do_not_need(self):
        code = (
            "import sys, numpy as np;"
            "from sknorm.inspection import LossSurfaceDisplay as D;"
            "print('matplotlib' in sys.modules);"
            "D.from_data(np.array([[1., 2], [3, 1], [0, 0]]), [1., 2, 3]);"
            "print('torch' in sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"MPLBACKEND": "Agg"},
        )
        assert result.stdout.split() == ["False", "False"]

    def test_what_is_missing_is_named(self, houses, monkeypatch):
        display = from_data(*houses)
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        for use, name in [
            (lambda: from_data(*houses), "from_data"),
            (lambda: from_estimator(None, *houses), "from_estimator"),
            (display.plot, "plot"),
        ]:
            message = rf"LossSurfaceDisplay.{name} draws with matplotlib: `pip install"
            with pytest.raises(ImportError, match=message):
                use()
