import builtins
import pickle
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.history import History

from sknorm.exceptions import DivergenceError
from sknorm.inspection import TrainingHistoryDisplay
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

draw = TrainingHistoryDisplay.from_estimator
draw_history = TrainingHistoryDisplay.from_history
NAN = float("nan")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    return X, (X[:, 0] > 0).astype(int)


def classifier(**params):
    return NormMLPClassifier(4, **{"max_epochs": 3, "random_state": 0} | params)


@pytest.fixture(scope="module")
def fitted(table):
    return classifier(early_stopping=True).fit(*table)


def rows(train_loss, **columns):
    """Return a history of which each argument is a column; None isn't recorded."""
    columns = {
        "epoch": range(1, len(train_loss) + 1),
        "train_loss": train_loss,
        **columns,
    }
    history = History()
    for values in zip(*columns.values(), strict=True):
        history.new_epoch()
        for key, value in zip(columns, values, strict=True):
            if value is not None:
                history.record(key, value)
    return history


# What four epochs may hold.
FULL = rows(
    [2.0, 1.0, 0.5, 0.1],
    valid_loss=[2.5, 1.5, 1.0, 1.25],
    valid_loss_best=[True, True, True, False],
    train_loss_best=[True] * 4,
    accuracy=[0.5, 0.75, 1.0, 0.875],
    accuracy_best=[True, True, True, False],
    lr=[0.1, 0.1, 0.01, 0.01],
    grad_norm=[3.0, 2.0, 1.0, 0.5],
    dur=[0.1] * 4,
    train_batch_count=[3] * 4,
    signal=[{"layer": 1.0}] * 4,
)


def shown(axes):
    """Return what the legend of a panel says."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


class TestPicture:
    def test_a_panel_for_each_kind(self):
        display = draw_history(FULL)
        assert isinstance(display, TrainingHistoryDisplay)
        assert display.panels_ == ["loss", "score", "lr", "grad_norm"]
        assert display.axes_.shape == (4,)
        assert display.ax_ is display.axes_[0]
        assert {axes.figure for axes in display.axes_} == {display.figure_}
        assert [axes.get_ylabel() for axes in display.axes_] == [
            *("loss", "accuracy", "learning rate", "gradient norm")
        ]
        assert [axes.get_xlabel() for axes in display.axes_] == ["", "", "", "epoch"]

    def test_lines(self):
        lines = draw_history(FULL).lines_
        expected = {
            "train_loss": [2.0, 1.0, 0.5, 0.1],
            "valid_loss": [2.5, 1.5, 1.0, 1.25],
            "accuracy": [0.5, 0.75, 1.0, 0.875],
            "lr": [0.1, 0.1, 0.01, 0.01],
            "grad_norm": [3.0, 2.0, 1.0, 0.5],
        }
        assert lines.keys() == expected.keys()
        for name, values in expected.items():
            x, y = lines[name].get_data()
            np.testing.assert_array_equal(x, [1, 2, 3, 4])
            np.testing.assert_array_equal(y, values)

    def test_values(self):
        display = draw_history(FULL)
        np.testing.assert_array_equal(display.epochs, [1, 2, 3, 4])
        assert list(display.losses) == ["train_loss", "valid_loss"]
        assert list(display.scores) == ["accuracy"]
        np.testing.assert_array_equal(display.scores["accuracy"], [0.5, 0.75, 1, 0.875])
        np.testing.assert_array_equal(display.learning_rate, [0.1, 0.1, 0.01, 0.01])
        np.testing.assert_array_equal(display.grad_norm, [3, 2, 1, 0.5])

    def test_panels_share_the_epochs(self):
        display = draw_history(FULL)
        first, *others = display.axes_
        assert all(first.get_shared_x_axes().joined(first, axes) for axes in others)
        assert first.get_xlim() == (0.5, 4.5)
        display.figure_.canvas.draw()
        ticks = [tick for tick in others[-1].get_xticks() if 0.5 <= tick <= 4.5]
        assert ticks == [1, 2, 3, 4]

    def test_the_best_epoch(self):
        display = draw_history(FULL)
        assert (display.best_epoch, display.best_reason) == (
            *(3, "lowest validation loss"),
        )
        assert len(display.best_lines_) == 4
        assert all(set(line.get_xdata()) == {3} for line in display.best_lines_)
        assert display.diverged_lines_ == []
        assert shown(display.ax_) == [
            *("training", "validation", "epoch 3, lowest validation loss")
        ]

    def test_colors_are_those_of_the_rows(self):
        history = rows(
            [1.0, 0.9],
            valid_loss=[1.0, 0.9],
            valid_f1=[0.5, 0.6],
            valid_f1_best=[True, True],
            train_f1=[0.5, 0.6],
            train_f1_best=[True, True],
        )
        color = {
            name: to_hex(line.get_color())
            for name, line in draw_history(history).lines_.items()
        }
        assert color["train_loss"] == color["train_f1"] == "#0072b2"
        assert color["valid_loss"] == color["valid_f1"] == "#d55e00"

    def test_it_draws_and_saves(self, tmp_path):
        draw_history(FULL).figure_.savefig(tmp_path / "picture.png", dpi=100)
        pixels = plt.imread(tmp_path / "picture.png")[..., :3]
        assert pixels.shape[1] == 750
        colors = {to_hex(color) for color in np.unique(pixels.reshape(-1, 3), axis=0)}
        assert {"#ffffff", "#0072b2", "#d55e00"} <= colors

    def test_a_legend_stands_above_its_panel(self):
        display = draw_history(FULL, name="NormMLPClassifier")
        display.figure_.canvas.draw()
        legend = display.ax_.get_legend().get_window_extent()
        assert legend.y0 >= display.ax_.get_window_extent().y1
        title = display.ax_._left_title.get_window_extent()
        assert title.x1 < legend.x0
        assert legend.x1 <= display.figure_.bbox.x1

    def test_many_epochs_have_no_dots(self):
        lines = draw_history(rows(np.linspace(1, 0.5, 31))).lines_
        assert lines["train_loss"].get_marker() == "None"
        assert draw_history(FULL).lines_["train_loss"].get_marker() == "."

    def test_a_long_name_is_cut(self):
        title = draw_history(FULL, name="n" * 50).ax_.get_title(loc="left")
        assert title == "n" * 29 + "…"


class TestScale:
    @pytest.mark.parametrize(
        ("losses", "expected"),
        [
            ([1.0, 0.1], "log"),
            ([1.0, 0.11], "linear"),
            ([1e30, 1.0, NAN], "log"),
            ([1.0, float("inf"), 0.5], "linear"),
            ([1.0, 0.0], "linear"),
            ([1.0, -10.0], "linear"),
            ([1.0], "linear"),
        ],
    )
    def test_losses(self, losses, expected):
        display = draw_history(rows(losses))
        display.figure_.canvas.draw()
        assert display.ax_.get_yscale() == expected

    def test_both_losses_count(self):
        history = rows([1.0, 0.5], valid_loss=[0.05, 0.1])
        assert draw_history(history).ax_.get_yscale() == "log"

    def test_of_each_panel(self):
        scales = [axes.get_yscale() for axes in draw_history(FULL).axes_]
        assert scales == ["log", "linear", "linear", "linear"]
        history = rows([1.0, 0.9], lr=[1.0, 1e-3], grad_norm=[1.0, 100.0])
        scales = [axes.get_yscale() for axes in draw_history(history).axes_]
        assert scales == ["linear", "linear", "log"]

    @pytest.mark.parametrize("yscale", ["linear", "log"])
    def test_is_what_is_asked_for(self, yscale):
        display = draw_history(FULL, yscale=yscale)
        scales = [axes.get_yscale() for axes in display.axes_]
        assert scales == [yscale, "linear", "linear", yscale]

    def test_logarithms_have_plain_labels(self):
        display = draw_history(rows([1.0, 0.1]))
        display.figure_.canvas.draw()
        ticks = {text.get_text() for text in display.ax_.get_yticklabels()}
        assert {"0.1", "0.2", "0.5", "1"} <= ticks

    def test_a_learning_rate_is_drawn_from_zero(self):
        display = draw_history(rows([1.0, 0.9], lr=[0.1, 0.1]), panels="lr")
        low, high = display.ax_.get_ylim()
        assert low == 0
        assert high > 0.1


class TestScores:
    def test_those_of_a_size_share_a_panel(self):
        scores = {
            "valid_accuracy": [0.5, 0.75],
            "r2": [-0.5, 0.5],
            "neg_log_loss": [-0.9, -0.5],
            "train_mse": [9.0, 3.0],
            "valid_mse": [10.0, 4.0],
        }
        display = draw_history(
            rows([1.0, 0.9], **scores), scores=list(scores), panels="score"
        )
        assert display.panels_ == ["score"] * 3
        assert [axes.get_ylabel() for axes in display.axes_] == [
            *("score", "neg_log_loss", "mse")
        ]
        assert shown(display.axes_[0]) == ["valid_accuracy", "r2"]
        assert display.axes_[1].get_legend() is None
        assert shown(display.axes_[2]) == ["train_mse", "valid_mse"]

    def test_some_can_be_left_out_and_others_named(self):
        history = rows(
            [1.0, 0.9], a=[1.0, 2.0], a_best=[True, False], b=[3, 4], flag=[True, True]
        )
        assert list(draw_history(history).scores) == ["a"]
        assert list(draw_history(history, scores="b").scores) == ["b"]
        assert draw_history(history, scores=[]).panels_ == ["loss"]

    def test_one_computed_every_other_epoch_is_one_line(self):
        history = rows(
            [1.0, 0.9, 0.8], acc=[0.5, None, 0.7], acc_best=[True, None, True]
        )
        display = draw_history(history)
        np.testing.assert_array_equal(display.scores["acc"], [0.5, NAN, 0.7])
        x, y = display.lines_["acc"].get_data()
        assert (x.tolist(), y.tolist()) == ([1, 3], [0.5, 0.7])

    def test_of_a_callback_that_knows_no_best(self, table):
        scoring = EpochScoring("neg_log_loss", lower_is_better=None, on_train=True)
        model = classifier(callbacks=[scoring]).fit(*table)
        display = draw(model)
        assert list(display.scores) == ["neg_log_loss"]
        recorded = model.history_[:, "neg_log_loss"]
        np.testing.assert_array_equal(
            display.lines_["neg_log_loss"].get_ydata(), recorded
        )


class TestHistories:
    def test_a_learning_rate_of_skorch(self):
        display = draw_history(rows([1.0, 0.9], event_lr=[0.1, 0.01]))
        np.testing.assert_array_equal(display.lines_["lr"].get_ydata(), [0.1, 0.01])

    def test_one_epoch(self):
        display = draw_history(FULL[:1])
        display.figure_.canvas.draw()
        assert display.ax_.get_xlim() == (0.5, 1.5)
        assert display.lines_["train_loss"].get_marker() == "."
        assert display.best_epoch == 1

    def test_without_validation_none_is_best(self):
        display = draw_history(rows([1.0, 0.5]))
        assert display.best_epoch is None
        assert display.best_lines_ == []
        assert shown(display.ax_) == ["training"]

    def test_a_loss_that_is_no_longer_finite(self):
        history = rows([1.0, 5.0, float("inf"), NAN], lr=[0.1] * 4)
        display = draw_history(history)
        display.figure_.canvas.draw()
        assert display.diverged_epoch == 3
        assert [set(line.get_xdata()) for line in display.diverged_lines_] == [{3}] * 2
        assert shown(display.ax_) == ["training", "epoch 3, diverged"]
        y = display.lines_["train_loss"].get_ydata()
        np.testing.assert_array_equal(y, [1, 5, NAN, NAN])
        assert display.ax_.get_xlim() == (0.5, 4.5)

    def test_no_finite_loss_at_all(self):
        display = draw_history(rows([NAN], valid_loss=[NAN]))
        display.figure_.canvas.draw()
        assert [text.get_text() for text in display.ax_.texts] == ["no finite value"]
        assert (display.diverged_epoch, display.best_epoch) == (1, None)

    def test_an_epoch_cut_short_is_left_out(self):
        display = draw_history(rows([1.0, 0.5, None], lr=[0.1, 0.1, None]))
        np.testing.assert_array_equal(display.epochs, [1, 2])
        assert display.diverged_epoch is None

    def test_validation_of_some_epochs(self):
        # partial_fit after a fit that had validation rows.
        history = rows([1.0, 0.9, 0.8], valid_loss=[1.0, 0.7, None])
        display = draw_history(history)
        y = display.lines_["valid_loss"].get_ydata()
        np.testing.assert_array_equal(y, [1.0, 0.7, NAN])
        assert display.best_epoch == 2

    def test_a_best_epoch_of_ones_own(self):
        display = draw_history(FULL, best_epoch=4)
        assert shown(display.ax_)[-1] == "epoch 4, best"

    def test_saved_and_loaded(self, fitted, tmp_path):
        fitted.history_.to_file(str(tmp_path / "history.json"))
        again = draw_history(History.from_file(str(tmp_path / "history.json")))
        display = draw(fitted)
        for name, line in display.lines_.items():
            np.testing.assert_array_equal(
                line.get_ydata(), again.lines_[name].get_ydata()
            )


class TestEstimators:
    def test_what_is_recorded_is_drawn(self, fitted):
        display = draw(fitted)
        lines = display.lines_
        assert display.panels_ == ["loss", "lr"]
        np.testing.assert_array_equal(
            lines["train_loss"].get_ydata(), fitted.loss_curve_
        )
        np.testing.assert_array_equal(
            lines["valid_loss"].get_ydata(), fitted.validation_loss_curve_
        )
        assert display.ax_.get_title(loc="left") == "NormMLPClassifier"
        assert display.ax_.get_ylabel() == "loss (nats)"

    def test_early_stopping_tells_the_best_epoch(self, table):
        X, y = table
        # No epoch after the first improves by that much.
        model = classifier(early_stopping=True, tol=10.0, n_iter_no_change=2)
        display = draw(model.fit(X, y))
        assert np.argmin(model.validation_loss_curve_) > 0
        assert display.best_epoch == 1
        assert display.best_reason == "kept by early stopping"
        assert len(display.epochs) == 3

    def test_early_stopping_of_ones_own(self, table):
        stop = EarlyStopping(monitor="train_loss", patience=9, threshold=10.0)
        display = draw(classifier(callbacks=[stop]).fit(*table))
        assert (display.best_epoch, display.best_reason) == (
            *(1, "best for early stopping"),
        )

    def test_a_callback_that_has_seen_another_fit(self, table):
        X, y = table
        stop = EarlyStopping(monitor="train_loss", patience=9)
        short = classifier(callbacks=[stop], max_epochs=1).fit(X, y, X_val=X, y_val=y)
        classifier(callbacks=[stop], max_epochs=3).fit(X, y)
        assert stop.best_epoch_ > 1
        assert draw(short).best_reason == "lowest validation loss"

    def test_after_partial_fit_the_lowest_loss_is_marked(self, table):
        X, y = table
        model = classifier(early_stopping=True, tol=10.0).fit(X, y)
        lowest = 1 + int(np.argmin(model.validation_loss_curve_))
        display = draw(model.partial_fit(X, y))
        assert len(display.epochs) == 4
        assert (display.best_epoch, display.best_reason) == (
            *(lowest, "lowest validation loss"),
        )

    def test_partial_fit_alone(self, table):
        model = classifier()
        for _ in range(2):
            model.partial_fit(*table, classes=[0, 1])
        display = draw(model)
        display.figure_.canvas.draw()
        np.testing.assert_array_equal(display.epochs, [1, 2])

    def test_last_in_a_pipeline(self, table):
        model = make_pipeline(Standardizer(), classifier()).fit(*table)
        assert draw(model).ax_.get_title(loc="left") == "NormMLPClassifier"

    def test_in_a_search(self, table):
        model = make_pipeline(Standardizer(), classifier(max_epochs=1))
        grid = {"normmlpclassifier__max_epochs": [1, 2]}
        search = GridSearchCV(model, grid, cv=2).fit(*table)
        (name,) = search.best_params_.values()
        assert len(draw(search, name="best").epochs) == name

    def test_a_regressor_in_a_transformed_target(self, table):
        X, y = table
        model = TransformedTargetRegressor(
            NormMLPRegressor(4, max_epochs=1), func=np.exp, inverse_func=np.log
        )
        display = draw(model.fit(X, y))
        assert display.ax_.get_title(loc="left") == "NormMLPRegressor"
        assert display.ax_.get_ylabel() == "loss (target variances)"

    def test_a_tabular_net(self, table):
        X, y = table
        model = TabularNetClassifier(4, n_members=2, max_epochs=2, random_state=0)
        display = draw(model.fit(X, y, X_val=X, y_val=y))
        assert list(display.losses) == ["train_loss", "valid_loss"]

    def test_a_skorch_net(self, table):
        import torch

        X, y = table
        net = NeuralNetClassifier(
            torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(dim=-1)),
            max_epochs=2,
            verbose=0,
        )
        display = draw(net.fit(X.astype("float32"), y))
        assert display.panels_ == ["loss", "score"]
        assert list(display.scores) == ["valid_acc"]
        assert display.ax_.get_ylabel() == "loss"

    def test_a_fit_that_diverged(self, table):
        class Keep(Callback):
            def on_train_begin(self, net, **kwargs):
                kept.append(net.history)

        X, y = table
        kept = []
        model = NormMLPRegressor(
            4, norm="none", optimizer="sgd", lr=1e6, max_epochs=50, callbacks=[Keep()]
        )
        with pytest.raises(DivergenceError):
            model.fit(X, y.astype(float))
        display = draw_history(kept[0])
        display.figure_.canvas.draw()
        assert display.diverged_epoch == len(kept[0])


class TestWhere:
    def test_a_single_axes_holds_the_losses(self):
        _, ax = plt.subplots()
        display = draw_history(FULL, ax=ax)
        assert display.panels_ == ["loss"]
        assert display.axes_.tolist() == [ax]
        assert ax.get_xlabel() == "epoch"

    def test_or_another_panel(self):
        _, ax = plt.subplots()
        assert draw_history(FULL, ax=ax, panels="lr").panels_ == ["lr"]
        assert shown(ax) == ["lr", "epoch 3, lowest validation loss"]

    def test_given_axes(self):
        figure, axes = plt.subplots(2, 2)
        display = draw_history(FULL, ax=axes)
        assert display.figure_ is figure
        assert display.axes_.tolist() == axes.ravel().tolist()
        assert {panel.get_xlabel() for panel in display.axes_} == {"epoch"}

    def test_axes_that_share_the_epochs_name_them_once(self):
        _, axes = plt.subplots(2, 1, sharex=True)
        display = draw_history(FULL, ax=axes, panels=["lr", "loss"])
        assert display.panels_ == ["lr", "loss"]
        assert [panel.get_xlabel() for panel in axes] == ["", "epoch"]

    @pytest.mark.parametrize("ax_for", [1, 3])
    def test_a_wrong_number_of_axes(self, ax_for):
        _, axes = plt.subplots(1, ax_for, squeeze=False)
        message = rf"each of the 2 panels: loss, lr\. Got {ax_for}\. Choose panels"
        with pytest.raises(ValueError, match=message):
            draw_history(FULL, ax=axes, panels=["loss", "lr"])

    def test_plot_again(self):
        display = draw_history(FULL)
        first = display.figure_
        assert display.plot(panels=["grad_norm"]) is display
        assert display.figure_ is not first
        assert list(display.lines_) == ["grad_norm"]

    def test_pickle_of_the_numbers(self):
        display = draw_history(FULL)
        bare = TrainingHistoryDisplay(
            display.epochs, display.losses, best_epoch=2, name="mine"
        )
        again = pickle.loads(pickle.dumps(bare)).plot()
        assert shown(again.ax_) == ["training", "validation", "epoch 2"]
        assert again.panels_ == ["loss"]

    def test_lists_will_do(self):
        display = TrainingHistoryDisplay(
            [1, 2], {"train_loss": [1.0, 0.1]}, scores={"acc": [0.5, 0.6]}
        ).plot()
        assert display.diverged_epoch is None
        assert display.ax_.get_yscale() == "log"


def test_style():
    display = draw_history(FULL, line_kwargs={"ls": ":", "lw": 5})
    line = display.lines_["lr"]
    assert (line.get_linestyle(), line.get_linewidth()) == (":", 5)
    # What isn't said stays as it is.
    assert line.get_marker() == "."


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"panels": "losses"}, r"panels must be among 'loss', .*\('losses',\)"),
            ({"panels": []}, r"panels must be among 'loss', .*\. Got \(\)"),
            (
                {"panels": ["loss", "grad_norm"]},
                r"nothing for the panel 'grad_norm', which callbacks=\[SignalMonitor",
            ),
            ({"panels": "score"}, r"panel 'score', which callbacks=\[EpochScoring"),
            ({"scores": ["vlaid_mse"]}, "Unknown score 'vlaid_mse'. Did you mean"),
            ({"scores": "signal"}, "Unknown score 'signal'"),
            ({"yscale": "symlog"}, "yscale must be 'linear', 'log' or None. Got 'sym"),
            ({"best_epoch": 3}, "one of the epochs, from 1 to 2. Got 3"),
        ],
    )
    def test_arguments(self, arguments, message):
        history = rows([1.0, 0.9], valid_mse=[3.0, 2.0], signal=[{}, {}])
        with pytest.raises(ValueError, match=message):
            draw_history(history, **arguments)
        assert not plt.get_fignums()

    @pytest.mark.parametrize(
        "history", [[], None, rows([None]), [{"train_loss": "1.0"}]]
    )
    def test_no_epoch(self, history):
        with pytest.raises(ValueError, match="no epoch with a number as 'train_loss'"):
            draw_history(history)

    def test_no_history(self):
        with pytest.raises(TypeError, match=r"a dict for each epoch.*Got \[1.0, 0.5\]"):
            draw_history([1.0, 0.5])

    @pytest.mark.parametrize(
        "model",
        [
            classifier(),
            make_pipeline(Standardizer(), classifier()),
            GridSearchCV(classifier(), {"lr": [0.1]}),
        ],
        ids=["alone", "pipeline", "search"],
    )
    def test_not_fitted(self, model):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            draw(model)

    def test_estimators_that_keep_no_history(self, table):
        message = r"keeps its `history_` is needed: .*Got LogisticRegression\(\)"
        with pytest.raises(TypeError, match=message):
            draw(LogisticRegression().fit(*table))
        with pytest.raises(TypeError, match=r"keeps its `history_` is needed"):
            draw("model")

    def test_a_search_that_keeps_no_estimator(self, table):
        search = GridSearchCV(
            classifier(max_epochs=1), {"lr": [0.1]}, cv=2, refit=False
        )
        with pytest.raises(TypeError, match=r"over these with refit=True\. Got GridS"):
            draw(search.fit(*table))

    def test_a_skorch_net_that_was_not_trained(self):
        import torch

        with pytest.raises(ValueError, match="no epoch with a number as 'train_loss'"):
            draw(NeuralNetClassifier(torch.nn.Linear(3, 2)).initialize())


class TestImports:
    def test_neither_torch_nor_matplotlib_is_imported_by_the_module(self):
        code = (
            "import sys, sknorm.inspection._training_history;"
            "print([name for name in ('matplotlib', 'torch') if name in sys.modules])"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == "[]"

    @pytest.mark.parametrize("method", ["from_estimator", "from_history", "plot"])
    def test_matplotlib_is_asked_for_by_name(self, fitted, monkeypatch, method):
        display = draw_history(FULL)
        use = {
            "from_estimator": lambda: draw(fitted),
            "from_history": lambda: draw_history(FULL),
            "plot": display.plot,
        }[method]
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        message = rf"TrainingHistoryDisplay.{method} draws with matplotlib: `pip inst"
        with pytest.raises(ImportError, match=message):
            use()
