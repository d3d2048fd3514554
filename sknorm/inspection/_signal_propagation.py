"""How large the signal and its gradient are over the depth of networks."""

from __future__ import annotations

import numpy as np

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
from sknorm.inspection._propagation import (
    GRADIENTS,
    changed,
    inside_search,
    labelled,
    labelled_inits,
    measure,
    name_of,
)
from sknorm.inspection._propagation_curves import (
    Curve,
    darker,
    mark_loss,
    set_limits,
    write_losses,
)
from sknorm.inspection._verdicts import LIMIT

__all__ = ["SignalPropagationDisplay"]

PANELS = {
    "forward": "std of pre-activations",
    "backward": "gradient norm (output layer: 1)",
}
_COLORS = BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _HEIGHT, _LINE = 4.5, 3.1, 0.2
_TITLE, _TEXT = 10.5, 9.0
# Letters of a label, and of a line of the legend.
_LABEL, _LEGEND = 40, 140


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
            {name or name_of(estimator): estimator},
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
            label: measure(
                estimator, X, y, seeds=seeds, gradient=gradient, max_rows=max_rows
            )
            for label, estimator in labelled(estimators).items()
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
        inits = labelled_inits(inits)
        estimator = inside_search(estimator)
        return cls.from_estimators(
            {label: changed(estimator, init=init) for label, init in inits.items()},
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
            set_limits(panel_axes, curves.values())
            self.lines_[panel], self.bands_[panel] = {}, {}
            self.theory_lines_[panel], self.edge_marks_[panel] = {}, {}
            for index, (label, curve) in enumerate(curves.items()):
                line_style = _style(index) | {"label": labels[label]} | style
                self._draw(panel, label, curve, line_style)
            _finish(panel_axes, panel)
            write_losses(panel_axes, curves, self.edge_marks_[panel])
        self._add_legend(outside=ax is None)
        return self

    def _curves(self, panel):
        values = getattr(self, panel)
        theory = getattr(self, f"{panel}_theory") or {}
        # The inputs stand at 0, and have no gradient.
        start = 0 if panel == "forward" else 1
        return {
            label: Curve.make(np.asarray(of_seeds), start, theory.get(label))
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
                color=darker(color),
                linestyle=(0, (4, 2)),
                linewidth=1.2,
                zorder=3,
            )
        if curve.lost_at is not None:
            self.edge_marks_[panel][label] = mark_loss(axes, curve, color)

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


# -- drawing ---------------------------------------------------------------------------


def _style(index):
    """Return what a line looks like: colors go round, and then have dots."""
    dots = {"marker": "o", "markersize": 3} if index >= len(_COLORS) else {}
    return {"color": _COLORS[index % len(_COLORS)], "linewidth": 1.8} | dots


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
