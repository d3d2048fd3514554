import builtins
import pickle
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sknorm.inspection import SearchHeatmapDisplay
from sknorm.neural_network import NormMLPClassifier
from sknorm.nn.initializers import Normal

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgba

draw = SearchHeatmapDisplay.from_search
NAN = float("nan")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def searched(cells, metric="score", **attributes):
    """Return what has the results of a search.

    It is made of the scores of folds by init, norm and pairs of other parameters and
    their values.
    """
    params = [
        {"net__init": init, "net__norm": norm} | dict(others)
        for init, norm, *others in cells
    ]
    folds = np.array(list(cells.values()), dtype=float)
    results = {"params": params, f"mean_test_{metric}": folds.mean(axis=1)}
    for k, scores in enumerate(folds.T):
        results[f"split{k}_test_{metric}"] = scores
    return SimpleNamespace(cv_results_=results, **attributes)


# Two values by three, of which one wasn't tried, one failed and one failed in part.
SEARCH = searched(
    {
        ("zeros", "none"): [0.1, 0.1, 0.1],
        ("zeros", "batch"): [0.2, 0.3, 0.4],
        ("auto", "none"): [0.5, NAN, 0.7],
        ("auto", "batch"): [0.91, 0.95, 0.99],
        ("huge", "none"): [NAN, NAN, NAN],
    },
    scoring="accuracy",
)


def words(display):
    """Return what is written in the cells."""
    return [[t and t.get_text() for t in row] for row in display.texts_]


def rectangle(patch):
    return (*patch.get_xy(), patch.get_width(), patch.get_height())


class TestPicture:
    def test_the_image_holds_the_means(self):
        display = draw(SEARCH, x="norm", y="init")
        assert isinstance(display, SearchHeatmapDisplay)
        assert display.image_.axes is display.ax_
        assert display.ax_.figure is display.figure_
        expected = [[0.1, 0.3], [0.6, 0.95], [NAN, NAN]]
        np.testing.assert_allclose(display.mean, expected)
        np.testing.assert_allclose(display.image_.get_array().filled(NAN), expected)
        assert display.image_.get_cmap().name == "viridis"
        assert display.image_.get_clim() == pytest.approx((0.1, 0.95))

    def test_axes_have_names_and_values(self):
        axes = draw(SEARCH, x="norm", y="init").ax_
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("net__norm", "net__init")
        assert [t.get_text() for t in axes.get_xticklabels()] == ["none", "batch"]
        assert [t.get_text() for t in axes.get_yticklabels()] == [
            *("zeros", "auto", "huge")
        ]
        assert axes.get_xlim() == (-0.5, 1.5)
        # The first value is on top.
        assert axes.get_ylim() == (2.5, -0.5)

    def test_what_is_written(self):
        display = draw(SEARCH, x="norm", y="init")
        assert words(display) == [
            ["0.100\n± 0.000", "0.300\n± 0.082"],
            ["0.600\n± 0.100\n1/3 failed", "0.950\n± 0.033"],
            ["3 failed", None],
        ]
        assert display.texts_[1, 0].get_position() == (0, 1)

    def test_values(self):
        display = draw(SEARCH, x="norm", y="init")
        assert (display.x, display.y) == ("net__norm", "net__init")
        np.testing.assert_allclose(display.std[1], [0.1, 0.0326599], rtol=1e-5)
        np.testing.assert_array_equal(display.n_failed, [[0, 0], [1, 0], [3, 0]])
        np.testing.assert_array_equal(display.n_fits, [[3, 3], [3, 3], [3, 0]])
        np.testing.assert_array_equal(display.candidates, [[0, 1], [2, 3], [-1, -1]])
        assert (display.metric, display.n_folds) == ("accuracy", 3)

    def test_the_best_cell_is_outlined(self):
        display = draw(SEARCH, x="norm", y="init")
        assert display.best == (1, 1)
        np.testing.assert_allclose(
            rectangle(display.best_), (0.53, 0.53, 0.94, 0.94), rtol=1e-12
        )
        assert not display.best_.get_fill()
        weights = [[t and t.get_weight() for t in row] for row in display.texts_]
        assert sum(row.count("bold") for row in weights) == 1
        assert weights[1][1] == "bold"

    def test_a_cell_that_failed_is_hatched(self):
        (patch,) = draw(SEARCH, x="norm", y="init").failed_
        assert patch.get_hatch()
        assert rectangle(patch) == (-0.5, 1.5, 1.0, 1.0)

    def test_color_bar(self):
        display = draw(SEARCH, x="norm", y="init")
        label = display.colorbar_.ax.get_ylabel()
        assert label == "accuracy, mean over 3 folds"
        assert draw(SEARCH, x="norm", y="init", colorbar=False).colorbar_ is None

    def test_a_negative_scorer(self):
        cells = {("a", "b"): [-3.0], ("a", "c"): [-4000.0]}
        search = searched(cells, scoring="neg_log_loss")
        display = draw(search, x="norm", y="init")
        assert display.colorbar_.ax.get_ylabel() == "neg_log_loss (higher is better)"
        assert words(display) == [["-3", "-4000"]]
        assert display.best == (0, 0)

    def test_letters_stand_out_from_their_cell(self):
        display = draw(SEARCH, x="norm", y="init")
        low, high = display.texts_[0, 0], display.texts_[1, 1]
        assert (low.get_color(), high.get_color()) == ("white", "black")
        for cmap in ("cividis", "Greys", "coolwarm"):
            display.plot(image_kwargs={"cmap": cmap})
            for text, value in zip(display.texts_[:2].flat, display.mean[:2].flat,
                                   strict=True):  # fmt: skip
                cell = display.image_.cmap(display.image_.norm(value))
                contrasts = [contrast(cell, ink) for ink in ("black", "white")]
                assert contrast(cell, text.get_color()) == max(contrasts) >= 4.5

    def test_it_draws_and_saves(self, tmp_path):
        display = draw(SEARCH, x="norm", y="init")
        display.figure_.savefig(tmp_path / "picture.png", dpi=100)
        pixels = plt.imread(tmp_path / "picture.png")[..., :3]
        colors = {to_hex(color) for color in np.unique(pixels.reshape(-1, 3), axis=0)}
        viridis = plt.get_cmap("viridis")
        assert {
            "#ffffff",
            "#d55e00",
            to_hex(viridis(0)),
            to_hex(viridis(1.0)),
        } <= colors

    def test_letters_fit_into_twelve_by_ten_cells(self):
        rng = np.random.default_rng(0)
        cells = {
            (f"scheme {i}", 10.0**-j): [*rng.uniform(size=4), NAN]
            for i in range(10)
            for j in range(12)
        }
        display = draw(searched(cells), x="norm", y="init")
        assert display.texts_[0, 0].get_text().endswith("\n1/5 failed")
        assert display.figure_.get_size_inches()[0] < 13
        display.figure_.canvas.draw()
        to_pixels = display.ax_.transData.transform
        (left, bottom), (right, top) = to_pixels([[-0.5, 0.5], [0.5, -0.5]])
        for text in display.texts_.flat:
            box = text.get_window_extent()
            assert box.width < right - left
            assert box.height < top - bottom
            assert text.get_fontsize() > 8
        ticks = [t.get_window_extent() for t in display.ax_.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in pairwise(ticks))

    def test_long_values_are_slanted(self):
        cells = {("a", Normal(mean=10, std=k)): [0.5] for k in range(3)}
        (first, *_) = draw(searched(cells), x="norm", y="init").ax_.get_xticklabels()
        assert first.get_text() == "Normal(mean=10, std=0)"
        assert first.get_rotation() == 30
        (first, *_) = draw(SEARCH, x="norm", y="init").ax_.get_xticklabels()
        assert first.get_rotation() == 0


def contrast(color, other):
    """Return how two colors stand out from one another, from 1 to 21."""

    def luminance(color):
        rgb = np.array(to_rgba(color)[:3])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(color), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class TestNumbers:
    @pytest.mark.parametrize(
        ("means", "expected"),
        [
            ([0.95, 1.0], ["0.950", "1.000"]),
            ([0.95, -0.0001], ["0.950", "-0.000"]),
            ([12.34, 5.0], ["12.3", "5.0"]),
            ([-12345.6, -2000.0], ["-12346", "-2000"]),
            ([0.0123, 0.02], ["0.0123", "0.0200"]),
            ([1e-7, 2e-7], ["1e-07", "2e-07"]),
            ([-1e12, -0.5], ["-1e+12", "-0.5"]),
            ([0.0, 0.0], ["0.000", "0.000"]),
        ],
    )
    def test_have_the_digits_of_the_largest(self, means, expected):
        cells = {("a", k): [mean] for k, mean in enumerate(means)}
        assert words(draw(searched(cells), x="norm", y="init")) == [expected]

    def test_a_fold_that_is_far_out(self):
        cells = {("a", "a"): [-2e9, 2e9], ("a", "b"): [0.75, 0.75]}
        display = draw(searched(cells), x="norm", y="init")
        assert words(display) == [["0.000\n± 2e+09", "0.750\n± 0.000"]]

    def test_a_format_of_ones_own(self):
        display = draw(SEARCH, x="norm", y="init", values_format=".0%")
        assert words(display)[1] == ["60%\n± 10%\n1/3 failed", "95%\n± 3%"]

    def test_of_a_halving_search(self):
        search = searched({("a", 1): [0.5], ("a", 2): [0.7]}, resource="max_epochs")
        search.cv_results_ |= {"iter": [0, 1], "n_resources": [10, 30]}
        display = draw(search, x="norm", y="init")
        assert words(display) == [["0.500\nn = 10", "0.700\nn = 30"]]
        title = display.ax_.get_title(loc="left")
        assert title == "n: max_epochs in its last round"


class TestTitle:
    @pytest.mark.parametrize(
        ("others", "reduce", "expected"),
        [
            ([], "max", "Digits"),
            (["lr"], "max", "Digits; best over lr"),
            (["lr", "tol"], "mean", "Digits; mean over lr, tol"),
            (["lr", "tol", "eps"], "min", "Digits; worst over lr and 2 others"),
        ],
    )
    def test_says_what_else_was_varied(self, others, reduce, expected):
        cells = {("a", "b", *((name, k) for name in others)): [k] for k in (0, 1)}
        display = draw(
            searched(cells), x="norm", y="init", reduce=reduce, name="Digits"
        )
        assert display.ax_.get_title(loc="left") == expected

    def test_fits_into_the_figure(self):
        names = ["a" * 25, "b" * 25]
        cells = {("a", "b", *((name, k) for name in names)): [k] for k in (0, 1)}
        display = draw(searched(cells), x="norm", y="init")
        display.figure_.canvas.draw()
        title = display.ax_._left_title.get_window_extent()
        assert title.x1 < display.figure_.bbox.x1


class TestUnusual:
    def test_one_cell(self):
        display = draw(searched({("a", "b"): [0.5]}), x="norm", y="init")
        display.figure_.canvas.draw()
        assert words(display) == [["0.500"]]
        assert display.best == (0, 0)

    def test_all_fits_failed(self):
        cells = {("a", "b"): [NAN, NAN], ("a", "c"): [NAN, NAN]}
        display = draw(searched(cells), x="norm", y="init")
        display.figure_.canvas.draw()
        assert words(display) == [["2 failed", "2 failed"]]
        assert (display.best_, display.colorbar_) == (None, None)
        assert len(display.failed_) == 2

    def test_all_scores_are_the_same(self):
        cells = {("a", k): [0.5, 0.5] for k in range(3)}
        display = draw(searched(cells), x="norm", y="init")
        display.figure_.canvas.draw()
        assert display.best == (0, 0)

    def test_draws_from_a_distribution(self):
        cells = {("a", k / 100): [0.5] for k in range(101)}
        display = draw(searched(cells), x="norm", y="init", bins=5)
        assert display.x_labels == [
            *("0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1")
        ]


class TestWhere:
    def test_given_axes(self):
        figure, (left, right) = plt.subplots(1, 2, layout="constrained")
        display = draw(SEARCH, x="norm", y="init", ax=right)
        assert display.ax_ is right
        assert display.figure_ is figure
        figure.canvas.draw()
        assert not left.images
        assert list(right.images) == [display.image_]

    def test_letters_are_small_in_small_axes(self):
        _, axes = plt.subplots(3, 3)
        display = draw(SEARCH, x="norm", y="init", ax=axes[0, 0])
        assert display.texts_[0, 0].get_fontsize() < 8

    def test_plot_again(self):
        display = draw(SEARCH, x="norm", y="init")
        first = display.figure_
        assert display.plot(colorbar=False) is display
        assert display.figure_ is not first
        assert display.colorbar_ is None

    def test_pickle_of_the_numbers(self):
        display = draw(SEARCH, x="norm", y="init")
        kept = {
            key: value for key, value in vars(display).items() if not key.endswith("_")
        }
        bare = SearchHeatmapDisplay(**kept)
        again = pickle.loads(pickle.dumps(bare)).plot()
        assert words(again) == words(display)

    def test_numbers_of_ones_own(self):
        display = SearchHeatmapDisplay(
            mean=np.array([[0.5, NAN]]),
            std=np.array([[0.1, NAN]]),
            n_failed=np.array([[0, 2]]),
            n_fits=np.array([[2, 2]]),
            x="init",
            y="norm",
            x_labels=["a", "b"],
            y_labels=["c"],
        ).plot()
        assert words(display) == [["0.500\n± 0.100", "2 failed"]]
        assert display.best_ is None
        assert display.colorbar_.ax.get_ylabel() == "score"


def test_style():
    display = draw(
        SEARCH,
        x="norm",
        y="init",
        image_kwargs={"cmap": "cividis", "vmin": 0, "vmax": 1},
        text_kwargs={"size": 5, "c": "red", "ha": "left"},
    )
    assert display.image_.get_cmap().name == "cividis"
    assert display.image_.get_clim() == (0, 1)
    text = display.texts_[0, 0]
    assert (text.get_fontsize(), text.get_color()) == (5, "red")
    # What isn't said stays as it is.
    assert (text.get_ha(), text.get_va()) == ("left", "center")


def test_a_search_over_networks():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)
    network = NormMLPClassifier(
        4, max_epochs=2, optimizer="sgd", random_state=0, lr=0.1
    )
    model = Pipeline([("scale", StandardScaler()), ("net", network)])
    grid = {
        "net__init": ["zeros", "auto", Normal(mean=0, std=1e20)],
        "net__norm": ["none", "layer"],
    }
    search = GridSearchCV(model, grid, cv=2)
    # Weights of 1e20 overflow without a norm layer.
    with (
        pytest.warns(FitFailedWarning),
        pytest.warns(UserWarning, match="One or more of the test scores are non-fin"),
    ):
        search.fit(X, y)
    display = draw(search, x="init", y="norm")
    display.figure_.canvas.draw()
    assert display.x_labels == ["zeros", "auto", "Normal(mean=0, std=1e+20)"[:23] + "…"]
    assert display.y_labels == ["none", "layer"]
    means = search.cv_results_["mean_test_score"].reshape(3, 2).T
    np.testing.assert_array_equal(display.mean, means)
    stds = search.cv_results_["std_test_score"].reshape(3, 2).T
    np.testing.assert_allclose(display.std, stds, atol=1e-15)
    assert words(display)[0][2] == "2 failed"
    assert display.candidates[display.best] == search.best_index_


class TestErrors:
    def test_not_fitted(self):
        search = GridSearchCV(NormMLPClassifier(), {"init": ["auto"]})
        with pytest.raises(NotFittedError, match="This GridSearchCV instance is not"):
            draw(search, x="init", y="norm")

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"x": "inti"}, ValueError, "Unknown .* 'inti'. Did you mean 'init'"),
            ({"x": "net__init"}, ValueError, "x and y are both 'net__init'"),
            ({"metric": "f1"}, ValueError, "Unknown metric 'f1'"),
            ({"reduce": "median"}, ValueError, "reduce must be 'max', 'mean', 'min'"),
            ({"bins": 0}, ValueError, "bins must be a whole number from 1 on. Got 0"),
            ({"search": "search"}, TypeError, "A fitted search is needed"),
        ],
    )
    def test_arguments(self, arguments, error, message):
        arguments = {"search": SEARCH, "x": "norm", "y": "init"} | arguments
        with pytest.raises(error, match=message):
            draw(**arguments)
        assert not plt.get_fignums()


class TestImports:
    def test_neither_torch_nor_matplotlib_is_imported_by_the_module(self):
        code = (
            "import sys, sknorm.inspection._search_heatmap;"
            "print([name for name in ('matplotlib', 'torch') if name in sys.modules])"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == "[]"

    @pytest.mark.parametrize("method", ["from_search", "plot"])
    def test_matplotlib_is_asked_for_by_name(self, monkeypatch, method):
        display = draw(SEARCH, x="norm", y="init")
        use = {
            "from_search": lambda: draw(SEARCH, x="norm", y="init"),
            "plot": display.plot,
        }[method]
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        message = rf"SearchHeatmapDisplay.{method} draws with matplotlib: `pip install"
        with pytest.raises(ImportError, match=message):
            use()
