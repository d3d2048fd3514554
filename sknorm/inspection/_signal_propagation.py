"""How large the signal and its gradient are over the depth of networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from sknorm.inspection._drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    check_count,
    given_axes,
    import_matplotlib,
    make_axes,
    shortened,
)
from sknorm.inspection._probe import probe
from sknorm.inspection._surroundings import path_to_network
from sknorm.inspection._theory import predict_layers
from sknorm.inspection._verdicts import LIMIT
from sknorm.neural_network._opened import (
    _is_trained,
    _network_inside,
    open_estimator,
)
from sknorm.nn.activations import resolve_activation

__all__ = ["SignalPropagationDisplay"]

PANELS = {
    "forward": "std of pre-activations",
    "backward": "gradient norm (output layer: 1)",
}
GRADIENTS = ("random", "loss")
# The view reaches no further: what grows or shrinks more is lost either way, and
# what doesn't would be a flat line.
_REACH = 1e10
_COLORS = BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _HEIGHT, _LINE = 4.5, 3.1, 0.2
_TITLE, _TEXT = 10.5, 9.0
# Letters of a label, and of a line of the legend.
_LABEL, _LEGEND = 40, 140
_TICKS = 7


class SignalPropagationDisplay:
    r"""Size of the signal and of its gradient against depth, beside theory.

    The panel ``"forward"`` shows the standard deviation of what reaches each layer's
    units, ``"backward"`` the norm of the gradient with respect to it. Lines are medians
    over networks that differ in ``random_state``, bands go from the lowest to the
    highest of them, and dashed lines are what mean-field theory expects. Make one with
    :meth:`from_estimator`, :meth:`from_estimators` or :meth:`from_inits`.

    Parameters
    ----------
    forward : dict of str to ndarray of shape (n_networks, n_layers + 1)
        By label, the standard deviation of the inputs and of each layer's
        pre-activations.
    backward : dict of str to ndarray of shape (n_networks, n_layers)
        By label, root mean square over rows of the length of the gradient with respect
        to each layer's pre-activations, divided by that of the last layer.
    forward_theory : dict of str to ndarray of shape (n_layers + 1,), default=None
        What theory expects of ``forward``; NaN where it has nothing to say.
    backward_theory : dict of str to ndarray of shape (n_layers,), default=None
        What it expects of ``backward``.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        Its first panel.
    axes_ : dict of str to Axes
        Its panels, ``"forward"`` and ``"backward"``.
    lines_ : dict of str to dict of str to Line2D
        By panel and label, the median over networks.
    bands_ : dict of str to dict of str to PolyCollection
        From the lowest to the highest of several networks.
    theory_lines_ : dict of str to dict of str to Line2D
        What theory expects.
    edge_marks_ : dict of str to dict of str to Line2D
        A triangle at the edge, at the first layer the signal comes to that finds it 0,
        or not finite.

    See Also
    --------
    SignalReport : A verdict on each layer, and what to change.
    ActivationDisplay : The distribution of pre-activations in each layer.

    Notes
    -----
    Theory says of layers with independent weights of variance
    :math:`\sigma_w^2 / n_{in}` and biases of variance :math:`\sigma_b^2` that

    .. math::

        q_{l+1} = \sigma_w^2 E[\phi(\sqrt{q_l} z)^2] + \sigma_b^2, \qquad
        \chi_l = \sigma_w^2 E[\phi'(\sqrt{q_l} z)^2], \qquad z \sim N(0, 1),

    where :math:`q_l` is the mean square of pre-activations and :math:`\chi_l` the
    factor on the mean square of the gradient that goes from layer :math:`l + 1` to
    :math:`l`. Dashed lines are :math:`\sqrt{q_l}` and the product of
    :math:`\sqrt{\chi}` from the last layer down to :math:`l`, with the variances that
    the weights have. There are none where the theory isn't about: at layers with a norm
    layer, which hold the forward signal by themselves, and in residual networks.

    Sizes from :math:`e^{-3}` to :math:`e^3` are shaded. A signal changes by a factor of
    :math:`e` in variance over a depth scale, and networks train up to about six of them
    [1]_: beyond, it is lost or all there is.

    A norm layer of a network that isn't fitted takes its statistics over the rows
    given. Dropout is off.

    References
    ----------
    .. [1] S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
       Propagation", ICLR 2017.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_classification
    >>> from sknorm.inspection import SignalPropagationDisplay
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = make_classification(200, random_state=0)
    >>> network = NormMLPClassifier((64,) * 10, norm="none")
    >>> display = SignalPropagationDisplay.from_inits(
    ...     network, X, y, ["zeros", "xavier_normal", "auto"]
    ... )
    >>> {k: f"{v[:, -2].mean():.2g}" for k, v in display.forward.items()}
    {'zeros': '0', 'xavier_normal': '0.028', 'auto': '0.92'}
    >>> plt.close(display.figure_)
    """

    def __init__(self, forward, backward, *, forward_theory=None, backward_theory=None):
        self.forward = forward
        self.backward = backward
        self.forward_theory = forward_theory
        self.backward_theory = backward_theory

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        seeds=5,
        gradient="random",
        max_rows=2048,
        name=None,
        ax=None,
        panels=None,
        line_kwargs=None,
    ):
        """Measure and draw one network.

        The estimator stays as it is.

        Parameters
        ----------
        estimator : estimator
            A network of :mod:`sknorm.neural_network`: alone, last in a ``Pipeline``,
            inside a ``TransformedTargetRegressor``, or the best one of a fitted search.
            A fitted one is looked at as it is. One that isn't is built as ``fit`` would
            build it before the first step, for each of ``seeds``.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the estimator is given them, at least 2.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, which an estimator that isn't fitted needs.
        seeds : int, default=5
            How many networks are built if it isn't fitted, with ``random_state`` 0, 1
            and so on.
        gradient : {"random", "loss"}, default="random"
            What comes back from the last layer: random directions, which show what the
            layers do to any gradient, or the gradient of the loss, which needs ``y``.
        max_rows : int, default=2048
            Of more rows so many are looked at, evenly spaced.
        name : str, default=None
            Label in the legend; None for the name of the network's class.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : {"forward", "backward"} or list of them, default=None
            What to draw, see :meth:`plot`.
        line_kwargs : dict, default=None
            Style of the lines, see :meth:`plot`.

        Returns
        -------
        SignalPropagationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If there is no network of sknorm's in the estimator.
        ValueError
            If there are fewer than two rows, if X isn't what the estimator was fitted
            on, if there is no y where it is needed, or if a parameter is none of those
            allowed.
        """
        return cls.from_estimators(
            {name or _name_of(estimator): estimator},
            X,
            y,
            seeds=seeds,
            gradient=gradient,
            max_rows=max_rows,
            ax=ax,
            panels=panels,
            line_kwargs=line_kwargs,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators,
        X,
        y=None,
        *,
        seeds=5,
        gradient="random",
        max_rows=2048,
        ax=None,
        panels=None,
        line_kwargs=None,
    ):
        """Measure several networks on the same rows and draw them over one another.

        Parameters
        ----------
        estimators : dict of str to estimator, or list of estimator
            Networks as in :meth:`from_estimator`, by label. Those of a list are called
            by the name of the network's class, and numbered where these are the same.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the estimators are given them, at least 2.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets, which estimators that aren't fitted need.
        seeds : int, default=5
            How many networks are built of each that isn't fitted.
        gradient : {"random", "loss"}, default="random"
            What comes back from the last layer, see :meth:`from_estimator`.
        max_rows : int, default=2048
            Of more rows so many are looked at, evenly spaced.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : {"forward", "backward"} or list of them, default=None
            What to draw, see :meth:`plot`.
        line_kwargs : dict, default=None
            Style of the lines, see :meth:`plot`.

        Returns
        -------
        SignalPropagationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If there is no network of sknorm's in an estimator.
        ValueError
            As of :meth:`from_estimator`, or if there is no estimator.
        """
        import_matplotlib(f"{cls.__name__}.from_estimators")
        check_count("seeds", seeds)
        check_count("max_rows", max_rows, 2)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be 'random' or 'loss'. Got {gradient!r}.")
        if gradient == "loss" and y is None:
            raise ValueError("The gradient of the loss needs targets. Pass y too.")
        signals = {
            label: _measure(estimator, X, y, seeds, gradient, max_rows)
            for label, estimator in _labelled(estimators).items()
        }
        return cls(
            *(
                {
                    label: np.array([getattr(s, part) for s in of_seeds])
                    for label, of_seeds in signals.items()
                }
                for part in PANELS
            ),
            **{
                f"{part}_theory": {
                    label: np.median(
                        [getattr(s, f"{part}_theory") for s in of_seeds], 0
                    )
                    for label, of_seeds in signals.items()
                }
                for part in PANELS
            },
        ).plot(ax, panels=panels, line_kwargs=line_kwargs)

    @classmethod
    def from_inits(
        cls,
        estimator,
        X,
        y,
        inits,
        *,
        seeds=5,
        gradient="random",
        max_rows=2048,
        ax=None,
        panels=None,
        line_kwargs=None,
    ):
        """Draw a network as it starts from different schemes.

        Parameters
        ----------
        estimator : estimator
            A network as in :meth:`from_estimator`. Whether it is fitted doesn't matter:
            it is built anew.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the estimator is given them, at least 2.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        inits : list of str, Initializer or callable, or dict of str to these
            Values of the network's parameter ``init``, which are their own labels
            unless they are given some.
        seeds : int, default=5
            How many networks are built with each.
        gradient : {"random", "loss"}, default="random"
            What comes back from the last layer, see :meth:`from_estimator`.
        max_rows : int, default=2048
            Of more rows so many are looked at, evenly spaced.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : {"forward", "backward"} or list of them, default=None
            What to draw, see :meth:`plot`.
        line_kwargs : dict, default=None
            Style of the lines, see :meth:`plot`.

        Returns
        -------
        SignalPropagationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If there is no network of sknorm's in the estimator.
        ValueError
            As of :meth:`from_estimator`, or if there is no scheme, or none of its name.
        """
        if isinstance(inits, str) or callable(inits):
            inits = [inits]
        if not isinstance(inits, Mapping):
            inits = list(inits)
            inits = _numbered(map(_label_of_init, inits), inits)
        if not inits:
            raise ValueError("inits must hold at least one scheme. Got none.")
        estimator = _inside_search(estimator)
        return cls.from_estimators(
            {label: _changed(estimator, init=init) for label, init in inits.items()},
            X,
            y,
            seeds=seeds,
            gradient=gradient,
            max_rows=max_rows,
            ax=ax,
            panels=panels,
            line_kwargs=line_kwargs,
        )

    def plot(self, ax=None, *, panels=None, line_kwargs=None):
        """Draw the panels.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each panel, or a single one for the forward signal; None for a
            figure of their own.
        panels : {"forward", "backward"} or list of them, default=None
            What to draw, from left to right. None for both, or in a single ``ax`` the
            forward signal.
        line_kwargs : dict, default=None
            Passed to ``Axes.plot`` for the medians.

        Returns
        -------
        self : SignalPropagationDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        ValueError
            If a panel is unknown, or there are not as many axes as panels.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        from matplotlib.axes import Axes
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        if panels is None:
            panels = ("forward",) if isinstance(ax, Axes) else tuple(PANELS)
        panels = (panels,) if isinstance(panels, str) else tuple(panels)
        if not panels or not set(panels) <= set(PANELS):
            raise ValueError(
                f"panels must be among {', '.join(map(repr, PANELS))}. Got {panels!r}."
            )
        labels = {label: shortened(label, _LABEL) for label in self.forward}
        self.figure_, axes = _make_axes(ax, panels, labels)
        self.axes_ = dict(zip(panels, axes, strict=True))
        self.ax_ = axes[0]
        self.lines_, self.bands_ = {}, {}
        self.theory_lines_, self.edge_marks_ = {}, {}
        style = normalize_kwargs(line_kwargs, Line2D)
        for panel, panel_axes in self.axes_.items():
            curves = self._curves(panel)
            _set_limits(panel_axes, curves.values())
            self.lines_[panel], self.bands_[panel] = {}, {}
            self.theory_lines_[panel], self.edge_marks_[panel] = {}, {}
            for index, (label, curve) in enumerate(curves.items()):
                line_style = _style(index) | {"label": labels[label]} | style
                self._draw(panel, label, curve, line_style)
            _finish(panel_axes, panel)
            _write_losses(panel_axes, curves, self.edge_marks_[panel])
        self._add_legend(outside=ax is None)
        return self

    def _curves(self, panel):
        values = getattr(self, panel)
        theory = getattr(self, f"{panel}_theory") or {}
        # The inputs stand at 0, and have no gradient.
        start = 0 if panel == "forward" else 1
        return {
            label: _Curve.make(np.asarray(of_seeds), start, theory.get(label))
            for label, of_seeds in values.items()
        }

    def _draw(self, panel, label, curve, style):
        axes = self.axes_[panel]
        (line,) = axes.plot(curve.depth, curve.line, **style)
        self.lines_[panel][label] = line
        color = line.get_color()
        if curve.n_networks > 1:
            self.bands_[panel][label] = axes.fill_between(
                curve.depth, *curve.band, color=color, alpha=0.18, linewidth=0, zorder=1
            )
        if curve.theory is not None and np.isfinite(curve.theory).sum() > 1:
            (self.theory_lines_[panel][label],) = axes.plot(
                curve.depth,
                np.where(curve.theory > 0, curve.theory, np.nan),
                color=_darker(color),
                linestyle=(0, (4, 2)),
                linewidth=1.2,
                zorder=3,
            )
        if curve.lost_at is not None:
            self.edge_marks_[panel][label] = _mark_loss(axes, curve, color)

    def _add_legend(self, *, outside):
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        panel = next(iter(self.lines_))
        handles = list(self.lines_[panel].values())
        if any(self.theory_lines_.values()):
            dashed = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2}
            handles.append(Line2D([], [], label="mean-field theory", **dashed))
        counts = {len(self.forward[label]) for label in self.bands_[panel]}
        if counts:
            many = " or ".join(map(str, sorted(counts)))
            grey = {"facecolor": GREY, "alpha": 0.25}
            handles.append(Patch(label=f"range over {many} seeds", **grey))
        zone = {"facecolor": GREEN, "alpha": 0.15}
        handles.append(Patch(label="$e^{-3}$ to $e^3$, where signals live", **zone))
        style = {"frameon": False, "fontsize": _TEXT - 0.5, "handlelength": 1.8}
        if outside:
            self.figure_.legend(
                handles=handles,
                loc="outside lower center",
                ncols=_n_columns([handle.get_label() for handle in handles]),
                **style,
            )
        else:
            self.ax_.legend(handles=handles, loc="best", **style)


# -- measuring -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Signal:
    """What one network does to a signal, and what theory expects of it."""

    forward: np.ndarray
    backward: np.ndarray
    forward_theory: np.ndarray
    backward_theory: np.ndarray


def _measure(estimator, X, y, seeds, gradient, max_rows):
    """Return the signal in a fitted network, or in fresh ones."""
    networks = (
        [estimator]
        if _is_trained(estimator)
        else (_changed(estimator, random_state=seed) for seed in range(seeds))
    )
    return [_measure_one(network, X, y, gradient, max_rows) for network in networks]


def _measure_one(estimator, X, y, gradient, max_rows):
    opened = open_estimator(estimator, X, y, max_rows=max_rows)
    activation = resolve_activation(opened.estimator.activation)
    inputs, layers = probe(
        opened.network,
        opened.X,
        opened.y if gradient == "loss" else None,
        opened.criterion,
        activation,
        weight=opened.weight,
        batch_statistics=not opened.is_fitted,
        pairs=False,
    )
    # Theory takes a signal behind a norm as it is, and knows no way round a layer.
    is_chain = getattr(opened.estimator, "architecture", "mlp") == "mlp"
    expected = [
        (prediction.q, prediction.chi) if is_chain and not layer.norm else (np.nan,) * 2
        for layer, prediction in zip(
            layers, predict_layers(inputs, layers, activation), strict=True
        )
    ]
    q, chi = np.array(expected).T
    tables = [inputs, *(layer.signal for layer in layers)]
    forward = np.array([np.nan if table is None else table.std for table in tables])
    norms = np.array([layer.grad_norm for layer in layers])
    # Slopes aren't known where pre-activations aren't numbers, whatever torch takes
    # them for: nothing that went through there is a gradient.
    if not np.isfinite(forward).all():
        norms[:] = np.nan
    return _Signal(
        forward=forward,
        backward=norms / norms[-1] if norms[-1] else norms,
        forward_theory=np.sqrt([np.nan, *q]),
        backward_theory=np.sqrt(np.cumprod([1.0, *chi[-2::-1]])[::-1]),
    )


def _inside_search(estimator):
    """Return the best estimator of a fitted search, else what is given."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def _changed(estimator, **params):
    """Return a fresh copy with other parameters of its network."""
    _network_inside(estimator)
    prefix = path_to_network(estimator)
    return clone(estimator).set_params(**{f"{prefix}{k}": v for k, v in params.items()})


# -- naming ----------------------------------------------------------------------------


def _name_of(estimator):
    return type(_network_inside(estimator)).__name__


def _labelled(estimators):
    """Return estimators by label."""
    if hasattr(estimators, "fit"):
        raise TypeError(
            "estimators must be a dict or a list of estimators. Got one: "
            f"{estimators!r}. Draw it with from_estimator."
        )
    if isinstance(estimators, Mapping):
        labelled = {str(label): part for label, part in estimators.items()}
    else:
        estimators = list(estimators)
        labelled = _numbered(map(_name_of, estimators), estimators)
    if not labelled:
        raise ValueError("estimators must hold at least one estimator. Got none.")
    return labelled


def _numbered(names, parts):
    """Return parts by name, those of one name with their numbers in all."""
    names = list(names)
    return {
        f"{name} {i}" if names.count(name) > 1 else name: part
        for i, (name, part) in enumerate(zip(names, parts, strict=True), start=1)
    }


def _label_of_init(init):
    return init if isinstance(init, str) else getattr(init, "__name__", repr(init))


# -- drawing ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Curve:
    """One label's values in a panel, as they are drawn."""

    n_networks: int
    depth: np.ndarray
    """Number of each layer, from 1 on; that of the inputs is 0."""
    line: np.ndarray
    """Median over networks, NaN where it has no logarithm."""
    band: tuple[np.ndarray, np.ndarray]
    """Lowest and highest, at most 300 decades from 1."""
    theory: np.ndarray | None
    lost_at: int | None
    """Place where the signal is first 0 or not finite, on its way."""
    loss: str
    """This in words, or nothing."""
    is_zero: bool

    @classmethod
    def make(cls, of_networks, start, theory):
        # What isn't a number any more has been too large before.
        of_networks = np.where(np.isnan(of_networks), np.inf, of_networks)
        median = np.median(of_networks, axis=0)
        lost = np.flatnonzero((median == 0) | np.isinf(median))
        first, loss, is_zero = None, "", False
        if lost.size:
            # A gradient comes from the last layer.
            first = int(lost[0] if start == 0 else lost[-1])
            is_zero = median[first] == 0
            what = "0" if is_zero else "not finite"
            loss = f"{what} at layer {first + start}"
        median[lost] = np.nan
        extremes = of_networks.min(axis=0), of_networks.max(axis=0)
        return cls(
            n_networks=len(of_networks),
            depth=np.arange(len(median)) + start,
            line=median,
            band=tuple(np.clip(part, 1e-300, 1e300) for part in extremes),
            theory=theory,
            lost_at=first,
            loss=loss,
            is_zero=bool(is_zero),
        )

    @property
    def before_loss(self):
        """The place that the signal came from to where it was lost."""
        step = -1 if self.depth[0] == 0 else 1
        place = self.lost_at + step
        return place if 0 <= place < len(self.line) else None


def _mark_loss(axes, curve, color):
    """Draw a triangle at the edge, and a dotted line that leads to it."""
    depth = curve.depth[curve.lost_at]
    before = curve.before_loss
    if before is not None:
        edge = axes.get_ylim()[0 if curve.is_zero else 1]
        axes.plot(
            [curve.depth[before], depth],
            [curve.line[before], edge],
            color=color,
            linestyle=":",
            linewidth=1.5,
        )
    (mark,) = axes.plot(
        [depth],
        [0 if curve.is_zero else 1],
        color=color,
        linestyle="none",
        marker="v" if curve.is_zero else "^",
        markersize=8,
        clip_on=False,
        zorder=4,
        transform=axes.get_xaxis_transform(),
    )
    return mark


def _write_losses(axes, curves, marks):
    """Write beside each triangle what it says, one below the other."""
    written = {True: 0, False: 0}
    for label, mark in marks.items():
        curve = curves[label]
        at_bottom = curve.is_zero
        depth = curve.depth[curve.lost_at]
        is_left = depth < np.mean(axes.get_xlim())
        away = 4 + _TEXT * 1.3 * written[at_bottom]
        written[at_bottom] += 1
        axes.annotate(
            curve.loss,
            (depth, 0 if at_bottom else 1),
            (8 if is_left else -8, away if at_bottom else -away),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if is_left else "right",
            va="bottom" if at_bottom else "top",
            fontsize=_TEXT - 1,
            color=_darker(mark.get_color()),
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
            zorder=5,
        )


def _style(index):
    """Return what a line looks like: colors go round, and then have dots."""
    dots = {"marker": "o", "markersize": 3} if index >= len(_COLORS) else {}
    return {"color": _COLORS[index % len(_COLORS)], "linewidth": 1.8} | dots


def _darker(color):
    from matplotlib.colors import to_rgb

    return tuple(0.55 * np.array(to_rgb(color)))


def _set_limits(axes, curves):
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    curves = list(curves)
    # Theory goes on where nothing could be measured.
    values = np.concatenate(
        [curve.line for curve in curves]
        + [curve.theory for curve in curves if curve.theory is not None]
    )
    values = values[np.isfinite(values) & (values > 0)]
    low = max(min(1 / LIMIT, values.min(initial=1)), 1 / _REACH)
    high = min(max(LIMIT, values.max(initial=1)), _REACH)
    pad = (high / low) ** 0.05
    axes.set_yscale("log")
    axes.set_ylim(low / pad, high * pad)
    decades = np.log10(high / low)
    # One of the ticks is 1.
    axes.yaxis.set_major_locator(LogLocator(base=10 ** np.ceil(decades / _TICKS)))
    axes.yaxis.set_minor_locator(NullLocator())
    last = max(curve.depth[-1] for curve in curves)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _finish(axes, panel):
    axes.axhspan(1 / LIMIT, LIMIT, color=GREEN, alpha=0.08, linewidth=0, zorder=0)
    axes.axhline(1, color=GREY, linewidth=0.6, zorder=0.5)
    axes.set_title(panel, loc="left", fontsize=_TITLE, fontweight="bold")
    inputs = " (0: inputs)" if panel == "forward" else ""
    axes.set_xlabel(f"layer{inputs}", fontsize=_TEXT)
    axes.set_ylabel(PANELS[panel], fontsize=_TEXT)
    axes.tick_params(labelsize=_TEXT - 1)
    axes.spines[["top", "right"]].set_visible(False)


def _n_columns(labels):
    """Return how many entries of a legend stand side by side."""
    return max(1, min(4, _LEGEND // (max(map(len, labels)) + 7)))


def _make_axes(ax, panels, labels):
    """Return the figure and an axes for each panel."""
    if ax is not None:
        remedy = "Choose panels with `panels`."
        return given_axes(ax, len(panels), f"panels: {', '.join(panels)}", remedy)
    rows = -(-(len(labels) + 3) // _n_columns(list(labels.values())))
    size = _WIDTH * len(panels), _HEIGHT + _LINE * rows
    figure, _, axes = make_axes(None, (1, len(panels)), size)
    return figure, axes[0]
