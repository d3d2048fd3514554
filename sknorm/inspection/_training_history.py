"""How the losses, scores, learning rate and gradient of a fit went."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sknorm.inspection._drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    given_axes,
    import_matplotlib,
    shortened,
)
from sknorm.inspection._history import (
    LOSSES,
    best_of_early_stopping,
    choose_scores,
    find_network,
    finished,
    lowest,
    names_of_scores,
    recorded,
    unit_of_loss,
)

__all__ = ["TrainingHistoryDisplay"]

PANELS = ("loss", "score", "lr", "grad_norm")
# What brings a panel about, for the message when it isn't there.
_SOURCES = {
    "score": "callbacks=[EpochScoring(...)] of skorch",
    "lr": "the networks of sknorm, or an LRScheduler of skorch,",
    "grad_norm": "callbacks=[SignalMonitor()]",
}
# Positive values that reach so many times the smallest are drawn by their logarithm.
_DECADE = 10.0
# As many epochs have a dot each: a line alone does not show a value between gaps.
_DOTTED = 30
_ON_TRAINING_ROWS = (BLUE, SKY)
_ON_OTHERS = (VERMILLION, PURPLE, ORANGE, BLACK)
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _LOSS_HEIGHT, _HEIGHT = 7.5, 2.7, 1.5
_TITLE, _TEXT = 10.5, 9.0
# Letters of a name that leave room for the legend beside it.
_NAME = 30


class TrainingHistoryDisplay:
    r"""Losses, scores, learning rate and gradient norm of each epoch.

    Panels stand above one another and share the axis of epochs. One vertical line marks
    the best epoch in all of them, another where training diverged. Make one with
    :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Number of each epoch, from 1 on.
    losses : dict of str to array-like of shape (n_epochs,)
        ``"train_loss"`` and perhaps ``"valid_loss"``. NaN where it isn't known.
    scores : dict of str to array-like of shape (n_epochs,), default=None
        Scores by name, NaN where one wasn't computed.
    learning_rate : array-like of shape (n_epochs,), default=None
        Learning rate at the end of each epoch.
    grad_norm : array-like of shape (n_epochs,), default=None
        Norm of the gradient over all parameters.
    best_epoch : int, default=None
        The epoch to mark.
    best_reason : str, default=None
        What it is the best by, for the legend.
    loss_unit : str, default=None
        Unit of the losses.
    name : str, default=None
        What was trained, for the title.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        Its first panel, which has the legend of the vertical lines.
    axes_ : ndarray of Axes of shape (n_panels,)
        Its panels.
    panels_ : list of str
        What each of them shows, among "loss", "score", "lr" and "grad_norm".
    lines_ : dict of str to Line2D
        The lines by what is recorded under that name: ``"train_loss"``,
        ``"valid_loss"``, ``"lr"``, ``"grad_norm"`` or a score.
    best_lines_ : list of Line2D
        The line at the best epoch in each panel; empty if there is none.
    diverged_lines_ : list of Line2D
        The line where the training loss was no longer finite, likewise.

    See Also
    --------
    StandardizationDisplay : Columns before and after a transformer.

    Notes
    -----
    The best epoch is the one that early stopping found, whose weights the estimators of
    sknorm go back to. Without early stopping it is the one of the lowest validation
    loss, and without validation rows none is marked: the training loss falls longer
    than the network gets better.

    Losses are drawn by their logarithm if all that are finite are positive and the
    largest is at least ten times the smallest, and so is the gradient norm.

    Scores that reach above 0 and stay within [-1, 1], as accuracy and :math:`R^2` do,
    share a panel. Others have one each, with their twins on other rows: ``train_mse``
    and ``valid_mse`` stand together.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sknorm.inspection import TrainingHistoryDisplay
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NormMLPClassifier(8, max_epochs=5, early_stopping=True, random_state=0)
    >>> display = TrainingHistoryDisplay.from_estimator(model.fit(X, y))
    >>> display.panels_
    ['loss', 'lr']
    >>> display.best_epoch, display.best_reason
    (5, 'kept by early stopping')
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        epochs,
        losses,
        *,
        scores=None,
        learning_rate=None,
        grad_norm=None,
        best_epoch=None,
        best_reason=None,
        loss_unit=None,
        name=None,
    ):
        self.epochs = epochs
        self.losses = losses
        self.scores = scores
        self.learning_rate = learning_rate
        self.grad_norm = grad_norm
        self.best_epoch = best_epoch
        self.best_reason = best_reason
        self.loss_unit = loss_unit
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        scores=None,
        name=None,
        ax=None,
        panels=None,
        yscale=None,
        line_kwargs=None,
    ):
        """Draw how a network was trained.

        Parameters
        ----------
        estimator : estimator instance
            A fitted ``NormMLP*`` or ``TabularNet*``, or a skorch net; alone, last in a
            pipeline, in a ``TransformedTargetRegressor``, or the best one of a fitted
            search.
        scores : list of str, default=None
            Which scores to draw, by their names in ``history_``. None for all that
            scoring callbacks recorded.
        name : str, default=None
            What was trained, for the title; None for the name of its class.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : str or list of str, default=None
            Which panels to draw, see :meth:`plot`.
        yscale : {"linear", "log"}, default=None
            Scale of losses and gradient norm, see :meth:`plot`.
        line_kwargs : dict, default=None
            Style of the lines, see :meth:`plot`.

        Returns
        -------
        TrainingHistoryDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If the estimator keeps no history.
        NotFittedError
            If it isn't fitted.
        ValueError
            If no epoch was finished, or what is asked for wasn't recorded.
        """
        import_matplotlib(f"{cls.__name__}.from_estimator")
        network = find_network(estimator)
        net = getattr(network, "net_", network)
        return cls._from_rows(
            network.history_,
            scores=scores,
            scored=names_of_scores(net),
            best=best_of_early_stopping(net, network.history_),
            loss_unit=unit_of_loss(network),
            name=name or type(network).__name__,
        ).plot(ax, panels=panels, yscale=yscale, line_kwargs=line_kwargs)

    @classmethod
    def from_history(
        cls,
        history,
        *,
        scores=None,
        best_epoch=None,
        name=None,
        ax=None,
        panels=None,
        yscale=None,
        line_kwargs=None,
    ):
        """Draw a history, as one that was saved, or that of a fit that diverged.

        Parameters
        ----------
        history : skorch.history.History or list of dict
            A row for each epoch.
        scores : list of str, default=None
            Which scores to draw, by name. None for all that come with a column of the
            same name and ``_best``, as those of skorch's scoring callbacks do.
        best_epoch : int, default=None
            The epoch to mark; None for the one of the lowest validation loss.
        name : str, default=None
            What was trained, for the title.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : str or list of str, default=None
            Which panels to draw, see :meth:`plot`.
        yscale : {"linear", "log"}, default=None
            Scale of losses and gradient norm, see :meth:`plot`.
        line_kwargs : dict, default=None
            Style of the lines, see :meth:`plot`.

        Returns
        -------
        TrainingHistoryDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If the history isn't made of dicts.
        ValueError
            If no epoch was finished, or what is asked for wasn't recorded.
        """
        import_matplotlib(f"{cls.__name__}.from_history")
        best = None if best_epoch is None else (best_epoch, "best")
        return cls._from_rows(history, scores=scores, best=best, name=name).plot(
            ax, panels=panels, yscale=yscale, line_kwargs=line_kwargs
        )

    @classmethod
    def _from_rows(
        cls, history, *, scores, best, name, scored=frozenset(), loss_unit=None
    ):
        rows = finished(history)
        epochs = np.array([row.get("epoch", i) for i, row in enumerate(rows, start=1)])
        losses = {
            key: series for key in LOSSES if (series := recorded(rows, key)) is not None
        }
        if best is None:
            best = lowest(epochs, losses.get("valid_loss"))
        elif best[0] not in epochs:
            raise ValueError(
                f"best_epoch must be one of the epochs, from {epochs[0]} to "
                f"{epochs[-1]}. Got {best[0]!r}."
            )
        learning_rate = recorded(rows, "lr")
        if learning_rate is None:
            # What skorch's own LRScheduler writes.
            learning_rate = recorded(rows, "event_lr")
        return cls(
            epochs,
            losses,
            scores={
                key: recorded(rows, key) for key in choose_scores(rows, scores, scored)
            },
            learning_rate=learning_rate,
            grad_norm=recorded(rows, "grad_norm"),
            best_epoch=best[0],
            best_reason=best[1],
            loss_unit=loss_unit,
            name=name,
        )

    @property
    def diverged_epoch(self):
        """The first epoch whose training loss isn't finite, or None."""
        bad = np.flatnonzero(~np.isfinite(self.losses["train_loss"]))
        return int(self.epochs[bad[0]]) if bad.size else None

    def plot(self, ax=None, *, panels=None, yscale=None, line_kwargs=None):
        """Draw the panels.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each panel, or a single one for the losses; None for a figure of
            their own.
        panels : {"loss", "score", "lr", "grad_norm"} or list of them, default=None
            What to draw, from top to bottom. None for all that was recorded, or in a
            single ``ax`` the losses. Scores take as many panels as they need.
        yscale : {"linear", "log"}, default=None
            Scale of losses and gradient norm; None for what suits the values.
        line_kwargs : dict, default=None
            Passed to ``Axes.plot``.

        Returns
        -------
        self : TrainingHistoryDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        ValueError
            If a panel is unknown or wasn't recorded, there are not as many axes as
            panels, or the scale is another.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        from matplotlib.axes import Axes
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        if yscale not in (None, "linear", "log"):
            raise ValueError(f"yscale must be 'linear', 'log' or None. Got {yscale!r}.")
        if panels is None and isinstance(ax, Axes):
            panels = "loss"
        chosen = self._choose_panels(panels)
        style = normalize_kwargs(line_kwargs, Line2D)
        self.figure_, self.axes_ = _make_axes(ax, chosen)
        self.ax_ = self.axes_[0]
        self.panels_ = [panel.kind for panel in chosen]
        self.lines_, self.best_lines_, self.diverged_lines_ = {}, [], []
        for axes, panel in zip(self.axes_, chosen, strict=True):
            self.lines_ |= _draw_curves(axes, self.epochs, panel, style)
            _set_limits(axes, self.epochs, panel, yscale)
            self._mark_epochs(axes)
            _finish(axes, panel, marks=axes is self.ax_, above=ax is None)
        _label_epochs(self.axes_)
        if self.name:
            self.ax_.set_title(
                shortened(self.name, _NAME),
                loc="left",
                fontsize=_TITLE,
                fontweight="bold",
            )
        return self

    def _mark_epochs(self, axes):
        if self.best_epoch is not None:
            reason = f", {self.best_reason}" if self.best_reason else ""
            self.best_lines_.append(
                axes.axvline(
                    self.best_epoch,
                    color=GREEN,
                    linestyle=(0, (5, 2)),
                    linewidth=1.4,
                    zorder=1,
                    label=f"epoch {self.best_epoch}{reason}",
                )
            )
        if self.diverged_epoch is not None:
            self.diverged_lines_.append(
                axes.axvline(
                    self.diverged_epoch,
                    color=GREY,
                    linestyle=":",
                    linewidth=1.8,
                    zorder=1,
                    label=f"epoch {self.diverged_epoch}, diverged",
                )
            )

    def _choose_panels(self, kinds):
        there = self._all_panels()
        if kinds is None:
            return there
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if not kinds or not set(kinds) <= set(PANELS):
            raise ValueError(
                f"panels must be among {', '.join(map(repr, PANELS))}. Got {kinds!r}."
            )
        for kind in kinds:
            if kind not in {panel.kind for panel in there}:
                raise ValueError(
                    f"The history holds nothing for the panel {kind!r}, which "
                    f"{_SOURCES[kind]} would record."
                )
        return [panel for kind in kinds for panel in there if panel.kind == kind]

    def _all_panels(self):
        unit = f" ({self.loss_unit})" if self.loss_unit else ""
        panels = [
            _Panel("loss", f"loss{unit}", self.losses, LOSSES),
            *_score_panels(self.scores or {}),
        ]
        if self.learning_rate is not None:
            panels.append(_Panel("lr", "learning rate", {"lr": self.learning_rate}))
        if self.grad_norm is not None:
            panels.append(
                _Panel("grad_norm", "gradient norm", {"grad_norm": self.grad_norm})
            )
        return panels


@dataclass(frozen=True)
class _Panel:
    """What stands in one panel: curves by the name they are recorded under."""

    kind: str
    label: str
    curves: dict
    legend: Mapping | None = None

    @property
    def is_scalable(self):
        """Whether there may be logarithms: sizes by nature, and not rates."""
        return self.kind in ("loss", "grad_norm")

    @property
    def scale(self):
        """The scale that suits the values."""
        values = np.concatenate([np.asarray(v, float) for v in self.curves.values()])
        values = values[np.isfinite(values)]
        spans = values.size and values.min() > 0
        return "log" if spans and values.max() >= _DECADE * values.min() else "linear"


def _score_panels(scores):
    """Put scores of one size into one panel."""
    groups = {}
    for name, values in scores.items():
        finite = np.asarray(values)[np.isfinite(values)]
        bare = name.removeprefix("train_").removeprefix("valid_")
        shares = finite.size and finite.min() >= -1 and 0 < finite.max() <= 1
        groups.setdefault("score" if shares else bare, {})[name] = values
    return [
        _Panel("score", next(iter(curves)) if len(curves) == 1 else label, curves)
        for label, curves in groups.items()
    ]


def _draw_curves(axes, epochs, panel, style):
    """Draw the lines of a panel, and return them by name."""
    lines = {}
    dots = {"marker": ".", "markersize": 6} if len(epochs) <= _DOTTED else {}
    for name, color in zip(panel.curves, _colors(panel), strict=True):
        values = np.asarray(panel.curves[name], float)
        known = np.isfinite(values)
        # What is computed every few epochs is one line all the same. A loss has gaps
        # only where there was none.
        shown = slice(None) if panel.kind == "loss" else known
        x, y = np.asarray(epochs)[shown], np.where(known, values, np.nan)[shown]
        label = (panel.legend or {}).get(name, name)
        defaults = {"color": color, "linewidth": 1.7, "label": label} | dots
        (lines[name],) = axes.plot(x, y, **defaults | style)
    return lines


def _colors(panel):
    """Return a color for each curve: blue on the rows that are trained on."""
    if panel.kind not in ("loss", "score"):
        return [GREY] * len(panel.curves)
    training, others = itertools.cycle(_ON_TRAINING_ROWS), itertools.cycle(_ON_OTHERS)
    return [
        next(training if name.startswith("train_") else others) for name in panel.curves
    ]


def _set_limits(axes, epochs, panel, yscale):
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    pad = max(0.5, 0.02 * len(epochs))
    axes.set_xlim(epochs[0] - pad, epochs[-1] + pad)
    axes.xaxis.set_major_locator(
        MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    if not np.isfinite(np.concatenate(list(panel.curves.values()))).any():
        axes.text(
            0.5,
            0.5,
            "no finite value",
            ha="center",
            va="center",
            color=GREY,
            backgroundcolor="white",
            fontsize=_TEXT,
            transform=axes.transAxes,
        )
        axes.set_yticks([])
    elif panel.kind == "lr":
        axes.set_ylim(bottom=0)
    elif (yscale or panel.scale) == "log" and panel.is_scalable:
        axes.set_yscale("log")
        # A range of little more than a decade holds one power of ten.
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=7))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())


def _finish(axes, panel, *, marks, above):
    """Label a panel; its legend tells the vertical lines too if ``marks``."""
    axes.set_ylabel(panel.label, fontsize=_TEXT)
    axes.tick_params(labelsize=_TEXT - 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    handles = axes.lines if marks else axes.lines[: len(panel.curves)]
    if len(handles) == 1 and panel.kind != "loss":
        return
    place = {"ncols": len(handles), "loc": "lower right", "bbox_to_anchor": (1, 1)}
    axes.legend(
        handles=list(handles),
        frameon=False,
        fontsize=_TEXT - 0.5,
        handlelength=1.8,
        borderaxespad=0.2,
        **(place if above else {}),
    )


def _label_epochs(axes):
    """Write what the horizontal axis is, once for panels that share it."""
    last = axes[-1]
    for panel in axes:
        shared = panel.get_shared_x_axes().joined(panel, last)
        if panel is last or not shared:
            panel.set_xlabel("epoch", fontsize=_TEXT)


def _make_axes(ax, panels):
    """Return the figure and an axes for each panel."""
    from matplotlib import pyplot as plt

    if ax is None:
        heights = [_LOSS_HEIGHT if p.kind == "loss" else _HEIGHT for p in panels]
        figure, axes = plt.subplots(
            len(panels),
            1,
            figsize=(_WIDTH, sum(heights) + 0.4),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        figure.align_ylabels(axes[:, 0])
        return figure, axes[:, 0]
    kinds = ", ".join(panel.kind for panel in panels)
    return given_axes(
        ax, len(panels), f"panels: {kinds}", "Choose panels with `panels`."
    )
