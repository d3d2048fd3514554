"""How the signal in each layer fares while a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import NotFittedError

from sknorm._registry import unknown_name_message
from sknorm.inspection._drawing import import_matplotlib
from sknorm.inspection._look import STATISTICS
from sknorm.inspection._signal_monitor import SignalMonitor
from sknorm.inspection._verdicts import LIMIT

__all__ = ["TrainingSignalDisplay"]


@dataclass(frozen=True)
class _Kind:
    """What a statistic is called, and what its colours mean."""

    label: str
    scale: str
    cmap: str


# White is well: 1 between blue and red, which any kind of colour vision tells apart,
# and no share of what is bad.
_KINDS = {
    "mean": _Kind("pre-activation mean", "around 0", "RdBu_r"),
    "std": _Kind("pre-activation std", "around 1", "RdBu_r"),
    "sweet_spot": _Kind("sweet spot share", "share", "Blues"),
    "saturated": _Kind("flat share", "share", "Oranges"),
    "dead": _Kind("dead share", "share", "Oranges"),
    "grad_std": _Kind("gradient std", "log", "viridis"),
    "grad_ratio": _Kind("gradient ratio", "around 1", "RdBu_r"),
    "weight_std": _Kind("weight std", "log", "viridis"),
    "update_ratio": _Kind("update ratio", "log", "viridis"),
}
# Where the colours around 1 end, and what is written there: LIMIT is 20.
_TICKS_AROUND_1 = (0.05, 0.2, 1, 5, 20)
# A scale by logarithms ends so far below its largest number.
_DECADES = 8
# What is behind cells without a number, and the color of the rest.
_NOTHING, _INK = "#d9d9d9", "#444444"
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _AROUND, _ROW, _SMALLEST, _LARGEST = 9.0, 0.75, 0.26, 1.3, 4.5
_TITLE, _TEXT, _PAD = 10.5, 9.0, 10.0
# Of a line of a layer's name, and of a colour bar's width.
_LINE, _BAR = 10.5, 8.0


class TrainingSignalDisplay:
    """Statistics of each layer over the epochs of a training, as heat maps.

    Epochs go from left to right, layers from top to bottom in the order in which rows
    meet them. Make one with :meth:`from_estimator` or :meth:`from_monitor`.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        The epochs that were recorded, ascending.
    layers : list of str
        Names of the layers.
    values : dict of str to array-like of shape (n_layers, n_epochs)
        Statistics by the names that :class:`SignalMonitor` has for them. Among them
        must be ``"std"``, which tells where numbers are no longer finite.
    name : str, default=None
        What was trained, for the title.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        Its first panel.
    axes_ : ndarray of Axes of shape (n_panels,)
        Its panels.
    statistics_ : list of str
        What each of them shows.
    meshes_ : list of QuadMesh
        The cells of each panel.
    colorbars_ : list of Colorbar
        The colour bar of each panel.
    marks_ : list of Line2D
        In each panel the crosses on cells that aren't finite, if there are any.

    See Also
    --------
    SignalMonitor : Records the statistics.
    SignalPropagationDisplay : The signal over the depth of networks.
    TrainingHistoryDisplay : Losses and scores over epochs.

    Notes
    -----
    An epoch that wasn't recorded has the colour of the last one before it that was;
    triangles above then tell which were. Epoch 0 is the state before training.

    ``"std"`` and ``"grad_ratio"`` are coloured by their logarithm around 1, which is
    white: blue is too small, red too large. Colours end at e^-3 = 0.05 and e^3 = 20,
    where :class:`SignalReport` says that a signal has vanished or exploded. ``"mean"``
    is coloured around 0, up to the largest that is there. Shares go from 0 to 1, and
    all else by logarithm over the numbers that are there, of which those below 1e-8 of
    the largest look the same.

    A cell with a cross is one whose pre-activations, or the number itself, are no
    longer finite. A layer that has no such number, as the last one has no sweet spot,
    is left out.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sknorm.inspection import SignalMonitor, TrainingSignalDisplay
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> monitor = SignalMonitor(every=1)
    >>> model = NormMLPClassifier(
    ...     (8, 8), max_epochs=5, callbacks=[monitor], random_state=0
    ... )
    >>> display = TrainingSignalDisplay.from_estimator(
    ...     model.fit(X, y), statistic=["std", "grad_std"]
    ... )
    >>> display.layers
    ['hidden 1', 'hidden 2', 'output']
    >>> display.values["std"].shape
    (3, 6)
    >>> plt.close(display.figure_)
    """

    def __init__(self, epochs, layers, values, *, name=None):
        self.epochs = epochs
        self.layers = layers
        self.values = values
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, *, statistic="std", name=None, ax=None, mesh_kwargs=None
    ):
        """Draw what a network's monitor recorded.

        Parameters
        ----------
        estimator : estimator instance
            A network fitted with ``callbacks=[SignalMonitor()]``: alone, last in a
            pipeline, in a ``TransformedTargetRegressor``, or the best one of a fitted
            search.
        statistic : str or list of str, default="std"
            What to draw, see :meth:`plot`.
        name : str, default=None
            What was trained, for the title; None for the name of its class.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        mesh_kwargs : dict, default=None
            Style of the cells, see :meth:`plot`.

        Returns
        -------
        TrainingSignalDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If there is no network of sknorm's in the estimator.
        NotFittedError
            If it isn't fitted.
        ValueError
            If it was fitted without a monitor, or no such statistic was recorded.
        """
        import_matplotlib(f"{cls.__name__}.from_estimator")
        return cls.from_monitor(
            SignalMonitor.of(estimator),
            statistic=statistic,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            mesh_kwargs=mesh_kwargs,
        )

    @classmethod
    def from_monitor(
        cls, monitor, *, statistic="std", name=None, ax=None, mesh_kwargs=None
    ):
        """Draw what a monitor recorded, also of a training that diverged.

        Parameters
        ----------
        monitor : SignalMonitor
            One that a network was trained with.
        statistic : str or list of str, default="std"
            What to draw, see :meth:`plot`.
        name : str, default=None
            What was trained, for the title.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        mesh_kwargs : dict, default=None
            Style of the cells, see :meth:`plot`.

        Returns
        -------
        TrainingSignalDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        NotFittedError
            If no network was trained with the monitor.
        ValueError
            If nothing was recorded, or no such statistic.
        """
        import_matplotlib(f"{cls.__name__}.from_monitor")
        if not hasattr(monitor, "history_"):
            raise NotFittedError(
                f"A SignalMonitor that a network was trained with is needed. Got "
                f"{monitor!r}. If a copy was, `SignalMonitor.of(estimator)` finds it."
            )
        epochs, layers, values = _table(monitor.history_)
        return cls(epochs, layers, values, name=name).plot(
            ax, statistic=statistic, mesh_kwargs=mesh_kwargs
        )

    def plot(self, ax=None, *, statistic="std", mesh_kwargs=None):
        """Draw a panel for each statistic.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each panel; None for a figure of their own.
        statistic : str or list of str, default="std"
            What to draw, from top to bottom: ``"mean"`` and ``"std"`` of the
            pre-activations, ``"sweet_spot"``, ``"saturated"``, ``"dead"``,
            ``"grad_std"``, ``"grad_ratio"``, ``"weight_std"``, ``"update_ratio"``.
        mesh_kwargs : dict, default=None
            Passed to ``Axes.pcolormesh``, as ``{"cmap": "PuOr_r"}``.

        Returns
        -------
        self : TrainingSignalDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        ValueError
            If a statistic is unknown or no layer has it, or there are not as many axes
            as panels.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        names = [statistic] if isinstance(statistic, str) else list(statistic)
        if not names:
            raise ValueError("Name at least one statistic. Got an empty list.")
        panels = [self._panel(name) for name in names]
        self.figure_, self.axes_ = _make_axes(ax, panels)
        self.ax_ = self.axes_[0]
        self.statistics_ = names
        self.meshes_, self.colorbars_, self.marks_ = [], [], []
        for axes, panel in zip(self.axes_, panels, strict=True):
            mesh = _draw_cells(axes, self.epochs, panel, mesh_kwargs or {})
            self.meshes_.append(mesh)
            self.colorbars_.append(_draw_colorbar(axes, mesh, panel))
            self.marks_ += _mark_lost(axes, self.epochs, panel)
            _name_layers(axes, panel.layers)
        _label_epochs(self.axes_)
        _explain(self.ax_, self.epochs, has_lost=bool(self.marks_))
        if self.name:
            self.ax_.set_title(
                self.name, loc="left", fontsize=_TITLE, fontweight="bold", pad=_PAD
            )
        return self

    def _panel(self, statistic):
        if statistic not in _KINDS or statistic not in self.values:
            known = [name for name in _KINDS if name in self.values]
            raise ValueError(unknown_name_message("statistic", statistic, known))
        values = np.asarray(self.values[statistic], float)
        is_lost = ~np.isfinite(np.asarray(self.values["std"], float))
        shown = is_lost.all(axis=1) | ~np.isnan(values).all(axis=1)
        if not shown.any():
            raise ValueError(
                f"No layer has a number for the statistic {statistic!r}. An activation "
                "that isn't elementwise has no sweet spot and no flat places, and "
                "L-BFGS takes no single step."
            )
        values = values[shown]
        return _Panel(
            kind=_KINDS[statistic],
            layers=[
                name
                for name, is_shown in zip(self.layers, shown, strict=True)
                if is_shown
            ],
            values=values,
            lost=np.isinf(values) | (is_lost[shown] & np.isnan(values)),
        )


@dataclass(frozen=True)
class _Panel:
    """What stands in one panel."""

    kind: _Kind
    layers: list
    values: np.ndarray
    lost: np.ndarray

    @property
    def finite(self):
        """The numbers that can be drawn."""
        return self.values[np.isfinite(self.values)]

    @property
    def limits(self):
        """Where the colours end."""
        largest = np.abs(self.finite).max(initial=0.0)
        if self.kind.scale == "around 1":
            return 1 / LIMIT, LIMIT
        if self.kind.scale == "around 0":
            return (-largest, largest) if largest else (-1.0, 1.0)
        if self.kind.scale == "share":
            return 0.0, 1.0
        if not largest:
            return 0.1, 1.0
        smallest = self.finite[self.finite > largest * 10.0**-_DECADES].min()
        return (smallest, largest) if smallest < largest else (largest / 2, 2 * largest)


def _table(history):
    """Return the epochs, the layers and a table for each statistic of a history."""
    if not history:
        raise ValueError(
            "The monitor recorded nothing: it couldn't look into the network."
        )
    epochs = list(dict.fromkeys(row["epoch"] for row in history))
    layers = list(dict.fromkeys(row["layer"] for row in history))
    values = {name: np.full((len(layers), len(epochs)), np.nan) for name in STATISTICS}
    for row in history:
        place = layers.index(row["layer"]), epochs.index(row["epoch"])
        for name, table in values.items():
            table[place] = row[name]
    return np.array(epochs), layers, values


def _make_axes(ax, panels):
    """Return the figure and an axes for each panel."""
    from matplotlib import pyplot as plt

    if ax is None:
        heights = [
            float(np.clip(_ROW * len(panel.layers), _SMALLEST, _LARGEST))
            for panel in panels
        ]
        figure, axes = plt.subplots(
            len(panels),
            1,
            figsize=(_WIDTH, sum(heights) + _AROUND),
            height_ratios=heights,
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        return figure, axes[:, 0]
    axes = np.array(ax, dtype=object).ravel()
    if len(axes) != len(panels):
        raise ValueError(
            f"ax must hold an axes for each of the {len(panels)} statistics. Got "
            f"{len(axes)}."
        )
    return axes[0].figure, axes


def _draw_cells(axes, epochs, panel, style):
    from matplotlib.colors import LogNorm, Normalize

    low, high = panel.limits
    norm = (LogNorm if panel.kind.scale in ("around 1", "log") else Normalize)(
        low, high
    )
    axes.set_facecolor(_NOTHING)
    n = len(panel.layers)
    mesh = axes.pcolormesh(
        # An epoch holds until the next one that was recorded.
        np.append(epochs, epochs[-1] + 1) - 0.5,
        np.arange(n + 1) - 0.5,
        # Zero has no logarithm.
        np.clip(np.ma.masked_invalid(panel.values), low, high),
        **{"cmap": panel.kind.cmap, "norm": norm} | style,
    )
    axes.set_ylim(n - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    return mesh


def _draw_colorbar(axes, mesh, panel):
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    low, high = panel.limits
    beyond = bool((panel.finite < low).any()), bool((panel.finite > high).any())
    extend = {(1, 1): "both", (1, 0): "min", (0, 1): "max"}.get(beyond, "neither")
    bar = axes.figure.colorbar(
        mesh, ax=axes, extend=extend, pad=0.015, aspect=_height(axes) / _BAR
    )
    bar.set_label(panel.kind.label, fontsize=_TEXT)
    if panel.kind.scale == "around 1":
        bar.set_ticks(_TICKS_AROUND_1)
    elif panel.kind.scale == "log":
        many = high < 100 * low
        bar.ax.yaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if many else (1,), numticks=5)
        )
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.tick_params(labelsize=_TEXT - 1)
    bar.outline.set_visible(False)
    return bar


def _mark_lost(axes, epochs, panel):
    """Put a cross on cells that aren't finite, and say so; return the line or none."""
    rows, columns = np.nonzero(panel.lost)
    if not len(rows):
        return []
    return axes.plot(
        np.asarray(epochs)[columns],
        rows,
        linestyle="none",
        marker="x",
        markersize=5,
        color=_INK,
        label="not finite",
    )


def _height(axes):
    """Return the height of a panel in points, before a layout engine moves it."""
    return axes.get_position().height * axes.figure.get_figheight() * 72


def _name_layers(axes, layers):
    step = math.ceil(len(layers) * _LINE / _height(axes))
    axes.set_yticks(range(0, len(layers), step), layers[::step])
    axes.tick_params(labelsize=_TEXT - 1)
    axes.tick_params(axis="y", length=0)


def _label_epochs(axes):
    """Write what the horizontal axis is, once for panels that share it."""
    from matplotlib.ticker import MaxNLocator

    last = axes[-1]
    for panel in axes:
        panel.xaxis.set_major_locator(
            MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
        )
        if panel is last or not panel.get_shared_x_axes().joined(panel, last):
            panel.set_xlabel("epoch", fontsize=_TEXT)


def _explain(axes, epochs, *, has_lost):
    """Point at the epochs that were recorded, unless all were; say what signs mean."""
    from matplotlib.transforms import offset_copy

    said = []
    if (np.diff(epochs) > 1).any():
        place = axes.get_xaxis_transform()
        axes.plot(
            epochs,
            np.ones(len(epochs)),
            transform=offset_copy(place, axes.figure, y=3, units="points"),
            linestyle="none",
            marker="v",
            markersize=4,
            color=_INK,
            clip_on=False,
            label="recorded",
        )
        said.append("\N{BLACK DOWN-POINTING SMALL TRIANGLE} recorded")
    if has_lost:
        said.append("\N{MULTIPLICATION SIGN} not finite")
    axes.set_title("   ".join(said), loc="right", fontsize=_TEXT, color=_INK, pad=_PAD)
