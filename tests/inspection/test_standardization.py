import builtins
import pickle
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknorm import preprocessing
from sknorm.inspection import StandardizationDisplay
from sknorm.preprocessing import QuantileStandardizer, Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

draw = StandardizationDisplay.from_estimator


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def X(rng):
    X = rng.lognormal(3, 0.8, size=(500, 3))
    X[::10, 2] = np.nan
    return pd.DataFrame(X, columns=["income", "age", "visits"])


@pytest.fixture
def scaler(X):
    return Standardizer().fit(X)


def shown(axes):
    """Return all that is written in a panel."""
    legend = axes.get_legend()
    return [
        axes.get_title(loc="left"),
        axes.get_xlabel(),
        axes.get_ylabel(),
        *(text.get_text() for text in axes.texts),
        *(text.get_text() for text in (legend.get_texts() if legend else ())),
    ]


class TestPicture:
    def test_a_row_of_three_panels_for_each_column(self, scaler, X):
        display = draw(scaler, X)
        assert isinstance(display, StandardizationDisplay)
        assert display.axes_.shape == display.bars_.shape == (3, 3)
        assert display.axes_[1, 2].figure is display.figure_
        assert display.bounding_ax_ is None
        titles = [axes.get_title(loc="left") for axes in display.axes_.ravel()]
        assert titles == [
            *("income", "after Standardizer", "QQ plot"),
            *("age", "after Standardizer", "QQ plot"),
            *("visits", "after Standardizer", "QQ plot"),
        ]

    def test_histograms(self, scaler, X):
        display = draw(scaler, X, columns="income")
        after = scaler.transform(X)[:, 0]
        for k, values in enumerate([X["income"], after]):
            density, edges, _ = display.bars_[0, k].get_data()
            inside = np.mean((values >= edges[0]) & (values <= edges[-1]))
            assert np.sum(density * np.diff(edges)) == pytest.approx(inside, rel=1e-12)
            expected, _ = np.histogram(values, edges)
            np.testing.assert_allclose(density * np.diff(edges) * 500, expected)
            assert display.axes_[0, k].get_xlim() == (edges[0], edges[-1])

    def test_normal_densities(self, scaler, X):
        display = draw(scaler, X, columns="income")
        for k, (mean, std) in enumerate(
            [(X["income"].mean(), scaler.scale_[0]), (0, 1)]
        ):
            (line,) = display.lines_[0, k]
            x, y = line.get_data()
            peak = 1 / (std * np.sqrt(2 * np.pi))
            expected = peak * np.exp(-(((x - mean) / std) ** 2) / 2)
            np.testing.assert_allclose(y, expected, rtol=1e-12)
            assert y.max() == pytest.approx(peak, rel=1e-3)

    def test_quantiles(self, X):
        scaler = QuantileStandardizer().fit(X)
        display = draw(scaler, X, columns="age")
        diagonal, before, after = display.lines_[0, 2]
        np.testing.assert_array_equal(*diagonal.get_data())
        scores, quantiles = after.get_data()
        np.testing.assert_allclose(quantiles, scores, atol=0.02)
        scores, quantiles = before.get_data()
        values = np.sort((X["age"] - X["age"].mean()) / X["age"].std(ddof=0))
        assert set(quantiles.round(9)) <= set(values.round(9))
        assert quantiles[-1] == pytest.approx(values[-1], rel=1e-12)
        # The same as in the histogram, so that both have the same out of view.
        assert display.axes_[0, 2].get_ylim() == display.axes_[0, 1].get_xlim()

    def test_scaling_leaves_the_points_on_the_line(self, scaler, X):
        _, before, after = draw(scaler, X, columns="visits").lines_[0, 2]
        np.testing.assert_allclose(after.get_data(), before.get_data(), atol=1e-12)

    def test_what_is_written(self, scaler, X):
        display = draw(scaler, X, columns="visits")
        before, after, qq = (shown(axes) for axes in display.axes_[0])
        row = display.statistics[0]
        numbers = (
            f"mean {row['mean']:.1f}   std {row['std']:.1f}\n"
            f"skew {row['skewness']:.2f}   "
            f"excess kurtosis {row['excess_kurtosis']:.2f}\n"
            f"beyond 3 sigma {100 * row['beyond_3_sigma']:.2g} %   missing 10 %"
        )
        assert numbers in before
        assert any(text.startswith("mean 0.00   std 1.00\n") for text in after)
        outside = row["outside_view"]
        assert outside > 0
        note = f"\n{outside} ({100 * outside / 450:.2g} %) out of view"
        assert f"visits (own units){note}" in before
        assert any(text.startswith("visits (standard deviations)") for text in after)
        assert "normal fit" in before
        assert "N(0, 1)" in after
        assert {"quantiles of N(0, 1)", "quantiles of the column"} <= set(qq)
        assert qq[-3:] == ["N(0, 1)", "before, rescaled", "after"]

    def test_a_long_name_is_cut(self, X):
        X = X.rename(columns={"age": "a" * 50})
        display = draw(Standardizer().fit(X), X, columns=1, name="s" * 50)
        assert [axes.get_title(loc="left") for axes in display.axes_[0, :2]] == [
            "a" * 29 + "…",
            "after " + "s" * 23 + "…",
        ]

    @pytest.mark.parametrize(
        ("mean", "std", "expected"),
        [
            (49748.1, 45324.2, "mean 49,700   std 45,300"),
            (49748.1, 0.9996, "mean 49,748.10   std 1.00"),
            (-1e-9, 0.9996, "mean 0.00   std 1.00"),
            (3e-8, 2e-9, "mean 3.00e-08   std 2.00e-09"),
            (1e12, 0.5, "mean 1.00e+12   std 0.500"),
        ],
    )
    def test_numbers_are_rounded_by_the_spread(self, mean, std, expected):
        X = np.array([[-1.0], [1.0]] * 5) * std + mean
        display = draw(Standardizer().fit(X), X)
        assert any(text.startswith(expected) for text in shown(display.axes_[0, 0]))

    def test_it_draws_and_saves(self, scaler, X, tmp_path):
        draw(scaler, X).figure_.savefig(tmp_path / "picture.png", dpi=100)
        pixels = plt.imread(tmp_path / "picture.png")[..., :3]
        assert pixels.shape[:2] == (900, 930)
        colors = {to_hex(color) for color in np.unique(pixels.reshape(-1, 3), axis=0)}
        assert {"#ffffff", "#0072b2", "#000000"} <= colors

    def test_text_stays_within_its_panel(self, X):
        # The widest there is: all numbers are long and a tenth is missing.
        X = X.to_numpy()[:, [2, 2]] * 1e8 - 1e15
        display = draw(Standardizer().fit(X), X)
        display.figure_.canvas.draw()
        boxes = [
            [text.get_window_extent() for text in axes.texts]
            for axes in display.axes_[0, :2]
        ]
        assert boxes[0][0].x1 < boxes[1][0].x0
        assert boxes[1][0].x1 < display.axes_[0, 2].get_window_extent().x0
        for row, below in zip(display.axes_[:-1], display.axes_[1:], strict=True):
            top = below[0].get_tightbbox().y1
            assert all(axes.get_tightbbox().y0 > top for axes in row)


class TestWhatIsDrawn:
    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            (None, ["income", "age", "visits"]),
            ("age", ["age"]),
            (1, ["age"]),
            (["visits", 0], ["visits", "income"]),
            (np.array([2, 1]), ["visits", "age"]),
            (pd.Index(["age"]), ["age"]),
            (slice(1, None), ["age", "visits"]),
            (slice(None, None, -2), ["visits", "income"]),
        ],
    )
    def test_columns(self, scaler, X, columns, expected):
        display = draw(scaler, X, columns=columns, panels="after")
        assert [part.name for part in display.after] == expected

    def test_the_first_four_that_hold_numbers(self, rng):
        X = pd.DataFrame(rng.normal(size=(9, 5)), columns=list("vwxyz"))
        X.insert(1, "word", "text")
        display = draw(FunctionTransformer().fit(X), X)
        assert [part.name for part in display.after] == ["v", "w", "x", "y"]

    def test_outputs_without_an_input(self, X):
        X = X.fillna(0)
        scaler = make_pipeline(StandardScaler(), PCA(2, whiten=True)).fit(X)
        display = draw(scaler, X)
        assert display.before == [None, None]
        assert display.axes_.shape == (2, 2)
        titles = [axes.get_title(loc="left") for axes in display.axes_[0]]
        assert titles == ["after Pipeline", "QQ plot"]
        assert display.axes_[0, 0].get_xlabel().startswith("pca0 (standard dev")
        assert [len(lines) for lines in display.lines_[0]] == [1, 2]
        assert [row["stage"] for row in display.statistics] == ["after", "after"]
        display.plot(panels=["before", "after"])
        assert "no input of this name" in shown(display.axes_[0, 0])
        assert display.bars_[0, 0] is None

    @pytest.mark.parametrize("panels", ["qq", ["after"], ("qq", "before")])
    def test_panels(self, scaler, X, panels):
        display = draw(scaler, X, columns=0, panels=panels)
        asked = [panels] if isinstance(panels, str) else list(panels)
        assert display.axes_.shape == (1, len(asked))
        drawn = [bars is not None for bars in display.bars_[0]]
        assert drawn == [panel != "qq" for panel in asked]

    def test_a_constant_column_and_one_without_values(self):
        X = np.array([[3.0, np.nan]] * 9)
        with pytest.warns(UserWarning, match="found no values"):
            scaler = Standardizer().fit(X)
        display = draw(scaler, X)
        display.figure_.canvas.draw()
        assert display.lines_[0, 0] == display.lines_[1, 0] == []
        assert "no values   missing 100 %" in shown(display.axes_[1, 1])
        text = "mean 3.00   std 0.00\nskew -   excess kurtosis -\nbeyond 3 sigma 0 %"
        assert text in shown(display.axes_[0, 0])

    def test_one_row(self):
        display = draw(Standardizer().fit([[1.0], [3.0]]), [[2.0]])
        display.figure_.canvas.draw()
        assert display.after[0].count == 1

    def test_values_that_a_map_makes_infinite(self, rng):
        X = rng.normal(size=(50, 1))
        X[3] = np.inf
        scaler = FunctionTransformer(feature_names_out="one-to-one").fit(X)
        display = draw(scaler, X)
        display.figure_.canvas.draw()
        assert "x0 (standard deviations)\n1 (2 %) out of view" in shown(
            display.axes_[0, 1]
        )

    @pytest.mark.parametrize("name", preprocessing.__all__)
    def test_every_standardizer(self, name, rng):
        X = pd.DataFrame(rng.lognormal(size=(60, 3)), columns=list("abc"))
        scaler = getattr(preprocessing, name)()
        groups = np.arange(60) % 3
        grouped = name == "GroupStandardizer"
        given = {"groups": groups} if grouped else {}
        display = draw(scaler.fit(X, **given), X, transform_params=given)
        assert len(display.after) == 3
        assert all(abs(part.mean) < 1 for part in display.after)


class TestSubsample:
    def test_numbers_come_from_all_rows(self, scaler, X):
        whole = draw(scaler, X)
        part = draw(scaler, X, subsample=50, random_state=0)
        keep = [key for key in whole.statistics[0] if key != "outside_view"]
        for a, b in zip(whole.statistics, part.statistics, strict=True):
            assert [a[key] for key in keep] == [b[key] for key in keep]
        assert len(part.after[0].quantiles) == 50
        assert len(whole.after[0].quantiles) > 200

    def test_random_state(self, scaler, X):
        first, same, other = (
            draw(scaler, X, columns=0, subsample=50, random_state=seed).after[0]
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first.quantiles, same.quantiles)
        assert (first.quantiles != other.quantiles).any()

    def test_rows_before_and_after_are_the_same(self, scaler, X):
        display = draw(scaler, X, columns=0, subsample=50, random_state=0)
        moved = scaler.transform(
            pd.DataFrame(dict.fromkeys(X, display.before[0].quantiles))
        )[:, 0]
        np.testing.assert_allclose(display.after[0].quantiles, moved, rtol=1e-12)


class TestNumbers:
    def test_statistics(self, scaler, X):
        display = draw(scaler, X, columns=["visits", "age"])
        assert [(row["column"], row["stage"]) for row in display.statistics] == [
            *(("visits", "before"), ("visits", "after")),
            *(("age", "before"), ("age", "after")),
        ]
        row = display.statistics[0]
        assert row["mean"] == pytest.approx(X["visits"].mean(), rel=1e-12)
        assert row["std"] == pytest.approx(X["visits"].std(ddof=0), rel=1e-12)
        assert row["skewness"] == pytest.approx(X["visits"].skew(), rel=0.02)
        assert (row["missing"], row["n_values"]) == (0.1, 450)

    def test_to_frame(self, scaler, X):
        display = draw(scaler, X)
        frame = display.to_frame()
        assert frame.index.tolist() == [
            (name, stage) for name in X for stage in ("before", "after")
        ]
        assert frame.columns.tolist() == [
            *("mean", "std", "skewness", "excess_kurtosis", "beyond_3_sigma"),
            *("missing", "outside_view", "n_values"),
        ]
        assert frame.loc[("age", "after"), "std"] == pytest.approx(1, rel=1e-12)


class TestWhere:
    def test_given_axes(self, scaler, X):
        figure, axes = plt.subplots(2, 3)
        display = draw(scaler, X, columns=[0, 1], ax=axes)
        assert display.figure_ is figure
        np.testing.assert_array_equal(display.axes_, axes)
        display = draw(scaler, X, columns=[0, 1], ax=list(axes.ravel()))
        np.testing.assert_array_equal(display.axes_, axes)

    def test_one_panel_takes_the_axes(self, scaler, X):
        _, ax = plt.subplots()
        display = draw(scaler, X, columns=0, panels="after", ax=ax)
        assert display.axes_.tolist() == [[ax]]

    def test_several_divide_the_place_of_one(self, scaler, X):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
        display = draw(scaler, X, columns=0, ax=left)
        assert display.bounding_ax_ is left
        assert display.figure_ is figure
        assert not left.axison
        figure.canvas.draw()
        place = right.get_position()
        assert all(axes.get_position().x1 < place.x0 for axes in display.axes_[0])

    def test_a_wrong_number_of_axes(self, scaler, X):
        _, axes = plt.subplots(1, 2)
        message = r"ax must hold 6 axes: 2 columns of 3 panels\. Got 2\."
        with pytest.raises(ValueError, match=message):
            draw(scaler, X, columns=[0, 1], ax=axes)

    def test_axes_that_stand_free(self, scaler, X):
        ax = plt.figure().add_axes((0, 0, 1, 1))
        with pytest.raises(
            ValueError, match=r"stand free in their figure, and 9 panels"
        ):
            draw(scaler, X, ax=ax)

    def test_plot_again(self, scaler, X):
        display = draw(scaler, X)
        first = display.figure_
        assert display.plot(panels="qq") is display
        assert display.figure_ is not first
        assert display.axes_.shape == (3, 1)

    def test_pickle_of_the_numbers(self, scaler, X):
        display = draw(scaler, X)
        bare = StandardizationDisplay(display.before, display.after, name="scaled")
        again = pickle.loads(pickle.dumps(bare)).plot()
        assert again.statistics == display.statistics
        assert again.axes_[0, 1].get_title(loc="left") == "after scaled"


def test_style(scaler, X):
    display = draw(
        scaler,
        X,
        columns=0,
        bar_kwargs={"fc": "red", "alpha": 1},
        line_kwargs={"ls": ":", "c": "green"},
        point_kwargs={"marker": "x", "ms": 9},
    )
    assert to_hex(display.bars_[0, 0].get_facecolor()) == to_hex("red")
    line, points = display.lines_[0, 2][0], display.lines_[0, 2][2]
    assert (line.get_linestyle(), line.get_color()) == (":", "green")
    assert (points.get_marker(), points.get_markersize()) == ("x", 9)
    # What isn't said stays as it is.
    assert to_hex(points.get_color()) == "#0072b2"


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"columns": "weight"}, "There is no column 'weight' among the 3"),
            (
                {"columns": slice("age", None)},
                r"a slice of positions. Got slice\('age'",
            ),
            ({"columns": 0.5}, r"columns must be a name, a position, .*Got 0.5\."),
            ({"columns": slice(9, None)}, r"can be drawn at once. Got 0"),
            ({"columns": []}, r"From 1 to 20 columns can be drawn at once. Got 0"),
            ({"columns": [0] * 21}, r"drawn at once. Got 21: name fewer in `columns`"),
            (
                {"panels": "qqplot"},
                r"panels must be among 'before', 'after', 'qq'. Got",
            ),
            ({"panels": []}, r"among 'before', 'after', 'qq'\. Got \(\)"),
            ({"bins": 0}, "bins must be a whole number from 1 on. Got 0"),
            ({"bins": True}, "bins must be a whole number from 1 on. Got True"),
            (
                {"subsample": None},
                "subsample must be a whole number from 1 on. Got None",
            ),
            ({"subsample": 0.5}, "subsample must be a whole number from 1 on. Got 0.5"),
        ],
    )
    def test_arguments(self, scaler, X, arguments, message):
        with pytest.raises(ValueError, match=message):
            draw(scaler, X, **arguments)

    def test_not_fitted(self, X):
        with pytest.raises(NotFittedError, match="This Standardizer instance is not"):
            draw(Standardizer(), X)

    def test_other_columns(self, scaler, X):
        with pytest.raises(ValueError, match="feature names should match"):
            draw(scaler, X[["age", "income"]])

    def test_columns_without_numbers(self):
        X = pd.DataFrame({"word": ["a", "b"], "n": [1, 2]})
        same = FunctionTransformer().fit(X)
        with pytest.raises(
            ValueError, match="The column 'word' is not made of numbers"
        ):
            draw(same, X, columns=["n", "word"])
        with pytest.raises(ValueError, match="No column that comes out is made of"):
            draw(FunctionTransformer().fit(X[["word"]]), X[["word"]])

    def test_a_failed_picture_leaves_no_figure(self, scaler, X):
        with pytest.raises(ValueError, match="There is no column"):
            draw(scaler, X, columns="weight")
        assert not plt.get_fignums()


class TestImports:
    def test_matplotlib_is_imported_by_drawing_alone(self):
        code = (
            "import sys, sknorm.inspection;"
            "print('matplotlib' in sys.modules, 'sklearn' in sys.modules);"
            "sknorm.inspection.StandardizationDisplay;"
            "print('matplotlib' in sys.modules, 'torch' in sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == ["False"] * 4

    @pytest.mark.parametrize(
        ("missing", "use", "message"),
        [
            (
                "matplotlib",
                lambda display, scaler, X: draw(scaler, X),
                r"StandardizationDisplay.from_estimator draws with matplotlib: `pip "
                r"install sknorm\[plot\]`",
            ),
            (
                "matplotlib",
                lambda display, scaler, X: display.plot(),
                r"StandardizationDisplay.plot draws with matplotlib",
            ),
            (
                "pandas",
                lambda display, scaler, X: display.to_frame(),
                r"to_frame needs pandas: `pip install sknorm\[pandas\]`",
            ),
        ],
    )
    def test_what_is_missing_is_named(
        self, scaler, X, monkeypatch, missing, use, message
    ):
        display = draw(scaler, X)
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == missing:
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match=message):
            use(display, scaler, X)

    def test_unknown_name(self):
        import sknorm.inspection

        with pytest.raises(AttributeError, match="has no attribute 'Display'"):
            sknorm.inspection.Display  # noqa: B018
        assert dir(sknorm.inspection) == sorted(sknorm.inspection.__all__)
