"""Where the pre-activations of each layer fall on its activation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from sknorm._registry import unknown_name_message
from sknorm.inspection._distribution import describe
from sknorm.inspection._drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    check_count,
    given_axes,
    import_matplotlib,
    make_axes,
    percent,
    rounded,
)
from sknorm.inspection._probe import probe
from sknorm.inspection._verdicts import Setting, judge_layer
from sknorm.neural_network._opened import open_estimator

__all__ = ["ActivationDisplay", "LayerHistogram"]

# Layers that are drawn if none are named, and the most that are.
_FEW, _MOST = 8, 20
# Panels side by side.
_COLUMNS = 4
# Points of a curve, and what is seen beyond the bins, so that an outermost one shows.
_POINTS, _MARGIN = 401, 0.03
# The normal density is in view as far as bars are at least so many times lower.
_TALLEST = 2.0
# Inches, and points: legible where a page shows the picture 900 pixels wide. Few panels
# are wider than many.
_WIDTHS, _HEIGHT, _LEGEND = {1: 4.8, 2: 3.6, 3: 3.0, 4: 2.25}, 2.35, 0.3
_TITLE, _TEXT, _LINE, _PAD = 10.0, 8.5, 11.5, 4.0
# Points a letter is wide, lines of numbers above a panel, and from where on there is no
# room for all of a number.
_LETTER, _LINES, _LONG = 4.0, 2, 1e4


@dataclass(frozen=True, eq=False)
class LayerHistogram:
    """Pre-activations of one hidden layer; what it has no such number of is NaN."""

    layer: str
    """``"hidden 1"``, ``"hidden 2"`` and so on."""
    module: str
    """Name of the linear layer in the network's ``named_modules()``."""
    mean: float
    """Mean over rows and units."""
    std: float
    """Standard deviation over rows and units."""
    sweet_spot: float
    """Share in the activation's sweet spot, in [0, 1]."""
    dead: float
    """Share of units that are where the activation is flat for every row."""
    verdict: str
    """As in :class:`SignalReport`."""
    why: str
    """The number behind the verdict."""
    count: int
    """Number of pre-activations that were looked at."""
    not_finite: int
    """How many of them are NaN or infinite."""
    outside: int
    """How many others are not in view."""
    edges: np.ndarray
    """Edges of the bins; what is beyond the first and the last is out of view."""
    density: np.ndarray
    """Height of each bin: all together have the area of the share that is in view."""
    grid: np.ndarray
    """Places the curve is known at, over the view, a little wider than the bins."""
    curve: np.ndarray | None
    """The activation there; None if it isn't elementwise."""


class ActivationDisplay:
    r"""Pre-activations of each hidden layer over the curve of its activation.

    Each hidden layer has a panel with the histogram of what reaches its activation, the
    curve of the activation on an axis of its own at the right, and the density of
    N(0, 1). The sweet spot is shaded. Make one with :meth:`from_estimator`.

    Parameters
    ----------
    layers : list of LayerHistogram
        What is drawn, in the order in which rows reach the layers.
    activation : str
        Name of the activation.
    sweet_spot : tuple of float, default=None
        Ends of its sweet spot, which may be infinite; None if it isn't elementwise.
    name : str, default=None
        What the network is called above the panels.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        Its first panel.
    axes_ : ndarray of Axes of shape (n_layers,)
        Its panels.
    curve_axes_ : list of Axes or None
        The axis at the right of each panel, which the curve belongs to; None without a
        curve.
    bars_ : list of StepPatch
        The outline of each histogram.
    curve_lines_ : list of Line2D or None
        The curve in each panel.
    normal_lines_ : list of Line2D
        The density of N(0, 1) in each panel.
    spots_ : list of Rectangle or None
        The sweet spot in each panel, None where it isn't in view.

    See Also
    --------
    SignalReport : The numbers of all layers, and what to change.
    SignalPropagationDisplay : How the signal grows or shrinks from layer to layer.

    Notes
    -----
    The sweet spot is the interval around the steepest point of an activation where its
    slope is at least :math:`1 - \tanh^2(1)`, 42 %, of its largest: (-1, 1) for tanh,
    (-2, 2) for sigmoid and :math:`(0, \infty)` for ReLU. A unit is dead if it is where
    the slope is below 5 % for every row.

    The view holds at least -4 to 4, where N(0, 1) is, and ends five interquartile
    ranges beyond the quartiles, or at the extreme values if these are nearer. Bars have
    the area of the share of pre-activations that is in view, and a line below the panel
    says how many are not.

    A network that isn't fitted is looked at as training would start, and its norm
    layers take their statistics over the rows given. Dropout is off.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_classification
    >>> from sknorm.inspection import ActivationDisplay
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = make_classification(200, random_state=0)
    >>> network = NormMLPClassifier(
    ...     (64, 64), activation="tanh", norm="none", init="standard_normal",
    ...     random_state=0,
    ... )
    >>> display = ActivationDisplay.from_estimator(network, X, y)
    >>> [(part.layer, part.verdict) for part in display.layers]
    [('hidden 1', 'saturated'), ('hidden 2', 'saturated')]
    >>> plt.close(display.figure_)
    """

    def __init__(self, layers, *, activation, sweet_spot=None, name=None):
        self.layers = layers
        self.activation = activation
        self.sweet_spot = sweet_spot
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        layers=None,
        bins=60,
        max_rows=2048,
        name=None,
        ax=None,
        bar_kwargs=None,
        line_kwargs=None,
    ):
        """Send rows through a network and draw what reaches its activations.

        The estimator stays as it is.

        Parameters
        ----------
        estimator : estimator
            A network of :mod:`sknorm.neural_network`, fitted or not: alone, last in a
            ``Pipeline``, inside a ``TransformedTargetRegressor``, or the best one of a
            fitted search.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the estimator is given them, at least 2.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, which an estimator that isn't fitted needs, and without which
            a verdict can't look at steps.
        layers : str, int, slice or list of str or int, default=None
            Which hidden layers to draw: by name, ``"hidden 1"`` or that of its module,
            by position from 0 on, or a slice of positions. None for all, or eight of
            more, evenly spaced with the first and the last.
        bins : int, default=60
            Number of bins of a histogram.
        max_rows : int, default=2048
            Of more rows so many are sent through, evenly spaced.
        name : str, default=None
            What the network is called above the panels; None for the name of its class.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        bar_kwargs, line_kwargs : dict, default=None
            Style of the histograms and of the curve, see :meth:`plot`.

        Returns
        -------
        ActivationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If there is no network of sknorm's in the estimator.
        ValueError
            If there are fewer than two rows, if X isn't what the estimator was fitted
            on, if there is no y and it isn't fitted, if there is no hidden layer, none
            of that name or position, or if they are too many to draw.
        """
        import_matplotlib(f"{cls.__name__}.from_estimator")
        check_count("bins", bins)
        check_count("max_rows", max_rows, 2)
        opened = open_estimator(estimator, X, y, max_rows=max_rows)
        setting = Setting.of(opened)
        _, signals = probe(
            opened.network,
            opened.X,
            opened.y,
            opened.criterion,
            setting.activation,
            weight=opened.weight,
            optimizer=opened.optimizer,
            batch_statistics=not opened.is_fitted,
            keep=True,
            pairs=False,
        )
        hidden = {
            f"hidden {i}": signal for i, signal in enumerate(signals[:-1], start=1)
        }
        phi, sweet_spot = _elementwise(setting.activation)
        chosen = [
            _histogram(
                layer,
                hidden[layer],
                judge_layer(hidden[layer], signals[-1], setting),
                phi,
                bins,
            )
            for layer in _choose(hidden, layers)
        ]
        return cls(
            chosen,
            activation=setting.activation.name,
            sweet_spot=sweet_spot,
            name=name or type(opened.estimator).__name__,
        ).plot(ax, bar_kwargs=bar_kwargs, line_kwargs=line_kwargs)

    def plot(self, ax=None, *, bar_kwargs=None, line_kwargs=None):
        """Draw a panel for each layer.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each layer; None for a figure of their own.
        bar_kwargs : dict, default=None
            Passed to ``Axes.stairs`` for the histograms.
        line_kwargs : dict, default=None
            Passed to ``Axes.plot`` for the curve of the activation.

        Returns
        -------
        self : ActivationDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        ValueError
            If there are not as many axes as layers.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D
        from matplotlib.patches import StepPatch

        self.figure_, self.axes_, n_columns = _make_axes(ax, len(self.layers))
        self.ax_ = self.axes_[0]
        self.curve_axes_, self.bars_ = [], []
        self.curve_lines_, self.normal_lines_, self.spots_ = [], [], []
        bars = normalize_kwargs(bar_kwargs, StepPatch)
        line = normalize_kwargs(line_kwargs, Line2D)
        for axes, part in zip(self.axes_, self.layers, strict=True):
            self.spots_.append(_shade(axes, part, self.sweet_spot))
            self.bars_.append(_draw_bars(axes, part, bars))
            self.normal_lines_.append(_draw_normal(axes, part))
            curve_axes, curve = _draw_curve(axes, part, self.activation, line)
            self.curve_axes_.append(curve_axes)
            self.curve_lines_.append(curve)
        extra = self._write(n_columns)
        if ax is None:
            height = self.figure_.get_figheight()
            self.figure_.set_figheight(height + extra * _LINE / 72)
        self._add_legend(outside=ax is None)
        return self

    def _write(self, n_columns):
        """Write what there is to say, and return how many lines it is above usual."""
        extra = 0
        for first in range(0, len(self.layers), n_columns):
            row = slice(first, first + n_columns)
            extra += _write_above(self.axes_[row], self.layers[row]) - _LINES
            self.axes_[first].set_ylabel("density", fontsize=_TEXT)
        for i, (axes, part) in enumerate(zip(self.axes_, self.layers, strict=True)):
            is_last = n_columns == 1 or i + n_columns >= len(self.layers)
            _write_below(axes, part, is_last=is_last)
        return extra

    def _add_legend(self, *, outside):
        from matplotlib.patches import Patch

        # The first of each kind, whichever panel has it.
        drawn = [self.bars_, self.normal_lines_, self.curve_lines_]
        handles = [next((part for part in kind if part), None) for kind in drawn]
        if any(self.spots_):
            low, high = self.sweet_spot
            label = f"sweet spot ({low:.3g}, {high:.3g})"
            handles.append(Patch(facecolor=GREEN, alpha=0.15, label=label))
        style = {"frameon": False, "fontsize": _TEXT, "handlelength": 1.6}
        handles = [handle for handle in handles if handle]
        if outside:
            self.figure_.legend(
                handles=handles,
                loc="outside lower center",
                ncols=len(handles) if len(self.layers) > 2 else 2,
                **style,
            )
            if self.name:
                self.figure_.suptitle(
                    self.name, x=0.01, ha="left", fontsize=_TITLE, fontweight="bold"
                )
        else:
            self.ax_.legend(handles=handles, loc="best", **style)


# -- what is drawn ---------------------------------------------------------------------


def _elementwise(activation):
    """Return an activation's function and its sweet spot, None twice without."""
    try:
        return activation.function, activation.sweet_spot
    except ValueError:
        return None, None


def _histogram(name, signal, finding, phi, bins):
    values = signal.sample.cpu().numpy().ravel()
    finite = np.isfinite(values)
    # What isn't has no place in a histogram: it goes the way of a missing value.
    column = np.where(finite, values, np.nan)
    part = describe(name, column, standard=True, bins=bins)
    low, high = part.edges[0], part.edges[-1]
    margin = _MARGIN * (high - low)
    grid = np.linspace(low - margin, high + margin, _POINTS)
    curve = None
    if phi is not None:
        with torch.no_grad():
            curve = phi(torch.from_numpy(grid)).numpy()
    return LayerHistogram(
        layer=name,
        module=signal.name,
        mean=signal.signal.mean,
        std=signal.signal.std,
        sweet_spot=signal.sweet_spot,
        dead=signal.dead,
        verdict="healthy" if finding is None else finding.verdict,
        why="" if finding is None else finding.why,
        count=len(values),
        not_finite=int((~finite).sum()),
        outside=part.outside,
        edges=part.edges,
        # Of all, finite or not.
        density=part.density * finite.mean(),
        grid=grid,
        curve=curve,
    )


def _choose(hidden, layers):
    """Return the names of the hidden layers to draw."""
    names = list(hidden)
    if not names:
        raise ValueError(
            "The network has no hidden layer, and so no activation to look at."
        )
    if layers is None:
        places = np.linspace(0, len(names) - 1, min(_FEW, len(names)))
        return [names[place] for place in places.round().astype(int)]
    if isinstance(layers, slice):
        chosen = names[layers]
    elif isinstance(layers, (str, Integral)):
        chosen = [_find(hidden, layers)]
    elif isinstance(layers, Iterable):
        chosen = [_find(hidden, layer) for layer in layers]
    else:
        raise ValueError(
            "layers must be a name, a position, a list of these, or a slice of "
            f"positions. Got {layers!r}."
        )
    if not 0 < len(chosen) <= _MOST:
        raise ValueError(
            f"From 1 to {_MOST} layers can be drawn at once. Got {len(chosen)}: name "
            "others in `layers`."
        )
    return chosen


def _find(hidden, layer):
    names = list(hidden)
    if isinstance(layer, str):
        of_modules = {signal.name: name for name, signal in hidden.items()}
        if layer not in hidden and layer not in of_modules:
            raise ValueError(unknown_name_message("layer", layer, names))
        return layer if layer in hidden else of_modules[layer]
    if not isinstance(layer, Integral) or isinstance(layer, bool):
        raise ValueError(
            "layers must be a name, a position, a list of these, or a slice of "
            f"positions. Got {layer!r}."
        )
    if not -len(names) <= layer < len(names):
        raise ValueError(
            f"There is no hidden layer at position {layer}: there are {len(names)}, "
            f"from 0 to {len(names) - 1}."
        )
    return names[layer]


# -- drawing ---------------------------------------------------------------------------


def _shade(axes, part, sweet_spot):
    """Shade the sweet spot as far as it is in view."""
    if sweet_spot is None:
        return None
    low, high = np.clip(sweet_spot, part.grid[0], part.grid[-1])
    if low >= high:
        return None
    return axes.axvspan(low, high, color=GREEN, alpha=0.13, linewidth=0, zorder=0)


def _draw_bars(axes, part, style):
    defaults = {"fill": True, "alpha": 0.6, "label": "pre-activations"}
    if not style.keys() & {"facecolor", "edgecolor", "color"}:
        defaults["color"] = BLUE
    bars = axes.stairs(part.density, part.edges, **defaults | style)
    axes.set_xlim(part.grid[0], part.grid[-1])
    tallest = part.density.max()
    peak = 1 / np.sqrt(2 * np.pi)
    axes.set_ylim(0, 1.08 * (max(tallest, min(peak, _TALLEST * tallest)) or peak))
    return bars


def _draw_normal(axes, part):
    # Where the view is wide, its bell would fall between the points of the grid.
    z = np.union1d(part.grid, np.linspace(-4, 4, _POINTS))
    # Far out it is 0 however far, and squares overflow.
    density = np.exp(-0.5 * np.clip(z, -99, 99) ** 2) / np.sqrt(2 * np.pi)
    style = {"color": VERMILLION, "linewidth": 1.0, "linestyle": (0, (3, 2))}
    (line,) = axes.plot(z, density, label="N(0, 1)", **style)
    return line


def _draw_curve(axes, part, name, style):
    """Draw the activation on an axis of its own."""
    if part.curve is None:
        return None, None
    curve_axes = axes.twinx()
    defaults = {"color": BLACK, "linewidth": 1.3, "label": f"{name} (right axis)"}
    (line,) = curve_axes.plot(part.grid, part.curve, **defaults | style)
    curve_axes.locator_params(axis="y", nbins=3)
    curve_axes.yaxis.set_major_formatter("{x:.3g}")
    curve_axes.tick_params(
        axis="y", labelsize=_TEXT - 1.5, colors=line.get_color(), length=2, pad=2
    )
    curve_axes.spines[["top", "left"]].set_visible(False)
    curve_axes.spines["right"].set_color(line.get_color())
    return curve_axes, line


def _write_above(row, parts):
    """Write above panels that stand side by side, and return how many lines it is."""
    letters = min(int(_width(axes) / _LETTER) for axes in row)
    texts = [_text(part, letters) for part in parts]
    n_lines = max(map(len, texts))
    for axes, part, lines in zip(row, parts, texts, strict=True):
        is_well = part.verdict == "healthy"
        axes.set_title(
            part.layer if is_well else f"{part.layer}: {part.verdict}",
            loc="left",
            fontsize=_TITLE,
            fontweight="bold",
            color=BLACK if is_well else VERMILLION,
            pad=_PAD + n_lines * _LINE,
        )
        axes.annotate(
            "\n".join(lines),
            (0, 1),
            (0, _PAD),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            fontsize=_TEXT,
            color=GREY,
            linespacing=1.15,
        ).set_in_layout(False)
    return n_lines


def _width(axes):
    """Return the width of a panel in points, before the layout is made."""
    return 72 * axes.get_window_extent().width / axes.figure.dpi


def _text(part, letters):
    """Return the lines above a panel: why it isn't healthy, and its numbers."""
    lines = textwrap.wrap(part.why, letters)
    lines.append(f"mean {_mean(part)}  std {_std(part)}")
    if np.isfinite(part.mean + part.sweet_spot):
        lines.append(f"in spot {percent(part.sweet_spot)}  dead {percent(part.dead)}")
    return lines


def _mean(part):
    is_long = abs(part.mean) >= _LONG or part.std >= _LONG
    return f"{part.mean:.0e}" if is_long else rounded(part.mean, part.std)


def _std(part):
    is_long = part.std >= _LONG or 0 < part.std < 1 / _LONG
    return f"{part.std:.1e}" if is_long else rounded(part.std, part.std)


def _write_below(axes, part, *, is_last):
    """Write what the axis is, and what isn't seen."""
    notes = [
        f"{percent(number / part.count)} {what}"
        for number, what in (
            (part.outside, "out of view"),
            (part.not_finite, "not finite"),
        )
        if number
    ]
    lines = ["pre-activation", *notes] if is_last else notes
    axes.set_xlabel("\n".join(lines), fontsize=_TEXT)
    axes.locator_params(axis="x", nbins=4 if part.grid[-1] < _LONG else 2)
    axes.locator_params(axis="y", nbins=4)
    # The default writes a power of ten above the axis, where the numbers are.
    axes.xaxis.set_major_formatter("{x:.3g}")
    axes.yaxis.set_major_formatter("{x:.3g}")
    axes.tick_params(labelsize=_TEXT - 1)
    axes.spines[["top", "right"]].set_visible(False)


def _make_axes(ax, n):
    """Return the figure, an axes for each layer, and how many are in a row."""
    if ax is not None:
        remedy = "Choose layers with `layers`."
        return *given_axes(ax, n, "layers", remedy), 1
    n_rows = -(-n // _COLUMNS)
    n_columns = -(-n // n_rows)
    size = _WIDTHS[n_columns] * n_columns, _HEIGHT * n_rows + _LEGEND
    figure, _, axes = make_axes(None, (n_rows, n_columns), size)
    for spare in axes.ravel()[n:]:
        spare.remove()
    return figure, axes.ravel()[:n], n_columns
