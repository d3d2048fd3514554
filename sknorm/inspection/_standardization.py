"""How a transformer changes the distribution of columns."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from sknorm.inspection._distribution import describe
from sknorm.inspection._drawing import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    check_count,
    import_matplotlib,
    make_axes,
    percent,
    rounded,
    shortened,
)
from sknorm.inspection._tables import TransformedTable

__all__ = ["StandardizationDisplay"]

PANELS = ("before", "after", "qq")
# Columns that are drawn if none are named, and the most that are.
_FEW, _MOST = 4, 20
# Inches, and points: legible where a page shows the picture 800 pixels wide.
_WIDTH, _HEIGHT = 3.1, 3.0
_TITLE, _TEXT, _LINE, _PAD = 10.5, 9.0, 12.0, 5.0
_NUMBERS = ("mean", "std", "skewness", "excess_kurtosis", "beyond_3_sigma", "missing")


class StandardizationDisplay:
    r"""Columns before and after a transformer, beside the normal distribution.

    Each column has a row of three panels: its histogram before, its histogram after
    with the density of N(0, 1), and a QQ plot of both. Make one with
    :meth:`from_estimator`.

    Parameters
    ----------
    before : list of Distribution or None
        What the chosen columns were before the transformer; None for one that isn't
        made of an input of the same name.
    after : list of Distribution
        What they are after it.
    name : str, default=None
        What the transformer is called in titles.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    axes_ : ndarray of Axes of shape (n_columns, n_panels)
        Its panels.
    bounding_ax_ : Axes or None
        The one whose place the panels were given.
    bars_ : ndarray of shape (n_columns, n_panels)
        The outline of each histogram, a ``StepPatch``; None elsewhere.
    lines_ : ndarray of shape (n_columns, n_panels)
        A list of the lines in each panel: the normal density or, in a QQ plot, the
        diagonal, the line before and the points after.

    See Also
    --------
    sknorm.preprocessing : The standardizers.

    Notes
    -----
    Skewness and excess kurtosis are :math:`\frac{1}{n} \sum z_i^3` and
    :math:`\frac{1}{n} \sum z_i^4 - 3` with :math:`z = (x - \bar x) / s`. Both are 0 for
    a normal column, of which 0.27 % lie beyond 3 sigma. These are 3 s from the mean
    before; after they are -3 and 3, as the comparison there is with N(0, 1) and not
    with any normal distribution.

    The view of a histogram ends five interquartile ranges beyond the quartiles, or at
    the extreme values if these are nearer. Bars have the area of the share of values
    that is in view, and a line above the panel says how many are not. The points of a
    QQ plot are quantiles against the normal scores of their ranks; those before are
    brought to mean 0 and standard deviation 1 first, so that a transformer that shifts
    and scales leaves them where they are.

    References
    ----------
    M. B. Wilk and R. Gnanadesikan, "Probability Plotting Methods for the Analysis of
    Data", Biometrika 55(1), 1968.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sknorm.inspection import StandardizationDisplay
    >>> from sknorm.preprocessing import Standardizer
    >>> X = np.random.default_rng(0).lognormal(size=(1000, 1))
    >>> display = StandardizationDisplay.from_estimator(Standardizer().fit(X), X)
    >>> [f"{row['stage']}: {row['skewness']:.1f}" for row in display.statistics]
    ['before: 3.9', 'after: 3.9']
    >>> plt.close(display.figure_)
    """

    def __init__(self, before, after, *, name=None):
        self.before = before
        self.after = after
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        columns=None,
        bins=None,
        subsample=100_000,
        random_state=None,
        transform_params=None,
        name=None,
        ax=None,
        panels=None,
        bar_kwargs=None,
        line_kwargs=None,
        point_kwargs=None,
    ):
        """Transform a table and draw what becomes of its columns.

        Parameters
        ----------
        estimator : transformer instance
            Any fitted transformer, or a pipeline of them. What comes out is compared
            with the input of the same name, so the names of
            ``get_feature_names_out`` decide if there is one.
        X : {array-like, data frame, sparse matrix} of shape (n_samples, n_features)
            Rows to transform. Of a sparse matrix the columns that are drawn are made
            dense.
        columns : str, int, slice or list of str or int, default=None
            Which outputs to draw, by name or position, or a slice of positions; None
            for the first four that are made of numbers.
        bins : int, default=None
            Number of bins of a histogram; None leaves it to the column.
        subsample : int, default=100_000
            How many rows quantiles are taken from at most, for the QQ plots and the
            limits of the view. All else comes from all rows.
        random_state : int, RandomState instance or None, default=None
            Draws these rows.
        transform_params : dict, default=None
            What ``transform`` is called with besides X, as ``{"groups": groups}``.
        name : str, default=None
            What the transformer is called in titles; None for the name of its class.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        panels : str or list of str, default=None
            Which panels to draw, see :meth:`plot`.
        bar_kwargs, line_kwargs, point_kwargs : dict, default=None
            Style of the histograms, the lines and the points, see :meth:`plot`.

        Returns
        -------
        StandardizationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        NotFittedError
            If the transformer isn't fitted.
        ValueError
            If a column isn't there or holds no numbers, or if they are too many to
            draw.
        """
        import_matplotlib(f"{cls.__name__}.from_estimator")
        check_count("bins", bins, optional=True)
        check_count("subsample", subsample)
        table = TransformedTable.make(estimator, X, transform_params or {})
        chosen = _choose(table, columns)
        n_rows = table.after.shape[0]
        rows = None
        if n_rows > subsample:
            random = check_random_state(random_state)
            rows = random.choice(n_rows, subsample, replace=False)
        before, after = zip(
            *(_describe_both(table, j, v, bins, rows) for j, v in chosen.items()),
            strict=True,
        )
        display = cls(list(before), list(after), name=name or type(estimator).__name__)
        return display.plot(
            ax,
            panels=panels,
            bar_kwargs=bar_kwargs,
            line_kwargs=line_kwargs,
            point_kwargs=point_kwargs,
        )

    @property
    def statistics(self):
        """The numbers of each column, a dict before and one after."""
        return [
            {"column": pair[1].name, "stage": stage}
            | {number: getattr(part, number) for number in _NUMBERS}
            | {"outside_view": part.outside, "n_values": part.count}
            for pair in zip(self.before, self.after, strict=True)
            for stage, part in zip(PANELS[:2], pair, strict=True)
            if part is not None
        ]

    def to_frame(self):
        """Return the numbers as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each column before and after, which ``statistics`` has as dicts.

        Raises
        ------
        ImportError
            If pandas isn't installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "StandardizationDisplay.to_frame needs pandas: "
                "`pip install sknorm[pandas]`, or read `statistics`."
            ) from error
        return pd.DataFrame(self.statistics).set_index(["column", "stage"])

    def plot(
        self,
        ax=None,
        *,
        panels=None,
        bar_kwargs=None,
        line_kwargs=None,
        point_kwargs=None,
    ):
        """Draw the columns.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each panel; or one whose place they divide among them; None for a
            figure of their own.
        panels : {"before", "after", "qq"} or list of them, default=None
            Which panels each column has, from left to right. None for all three, or
            without the first if no column was an input.
        bar_kwargs : dict, default=None
            Passed to ``Axes.stairs``, which draws the histograms.
        line_kwargs : dict, default=None
            Passed to ``Axes.plot`` for the normal densities and the diagonals.
        point_kwargs : dict, default=None
            Passed to ``Axes.plot`` for the points after in the QQ plots.

        Returns
        -------
        self : StandardizationDisplay
            The display.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        panels = self._panels(panels)
        shape = (len(self.after), len(panels))
        style = _Style(bar_kwargs, line_kwargs, point_kwargs)
        size = _WIDTH * shape[1], _HEIGHT * shape[0]
        self.figure_, self.bounding_ax_, self.axes_ = make_axes(ax, shape, size)
        if ax is None:
            # Rows stay apart: a title belongs to what is below it.
            self.figure_.get_layout_engine().set(h_pad=0.1)
        self.bars_ = np.full(shape, None, dtype=object)
        self.lines_ = np.full(shape, None, dtype=object)
        for i, pair in enumerate(zip(self.before, self.after, strict=True)):
            for k, panel in enumerate(panels):
                axes = self.axes_[i, k]
                if panel == "qq":
                    self.lines_[i, k] = _draw_quantiles(axes, *pair, style)
                else:
                    part = pair[PANELS.index(panel)]
                    self.bars_[i, k], self.lines_[i, k] = _draw_histogram(
                        axes, part, panel, style
                    )
                    _write_numbers(axes, part)
                axes.set_title(
                    self._title(panel, pair[1].name),
                    loc="left",
                    fontsize=_TITLE,
                    fontweight="bold",
                    pad=_PAD + 3 * _LINE,
                )
                _finish(axes, panel, legend=i == 0)
        return self

    def _panels(self, panels):
        if panels is None:
            return PANELS if any(self.before) else PANELS[1:]
        panels = (panels,) if isinstance(panels, str) else tuple(panels)
        if not panels or not set(panels) <= set(PANELS):
            raise ValueError(
                f"panels must be among {', '.join(map(repr, PANELS))}. Got {panels!r}."
            )
        return panels

    def _title(self, panel, column):
        if panel == "qq":
            return "QQ plot"
        if panel == "before":
            return shortened(column)
        return shortened(f"after {self.name}" if self.name else "after")


class _Style:
    """What the caller wants of bars, lines and points, over what they are by default.

    matplotlib knows most settings by two names, of which only one may be given.
    """

    def __init__(self, bar_kwargs, line_kwargs, point_kwargs):
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D
        from matplotlib.patches import StepPatch

        self._bar = normalize_kwargs(bar_kwargs, StepPatch)
        self._line = normalize_kwargs(line_kwargs, Line2D)
        self._point = normalize_kwargs(point_kwargs, Line2D)

    def bar(self, color):
        color = (
            {} if self._bar.keys() & {"facecolor", "edgecolor"} else {"color": color}
        )
        return {"fill": True, "alpha": 0.55} | color | self._bar

    def line(self, **defaults):
        return {"color": BLACK, "linewidth": 1.4} | defaults | self._line

    def point(self, **defaults):
        dots = {"linestyle": "none", "marker": ".", "markersize": 4, "color": BLUE}
        return dots | defaults | self._point


def _draw_histogram(axes, part, panel, style):
    """Draw bars and the normal density; return both."""
    if part is None:
        _say_nothing_is_there(axes)
        return None, []
    view = part.edges[0], part.edges[-1]
    color, label, unit = (
        (VERMILLION, "normal fit", "own units")
        if panel == "before"
        else (BLUE, "N(0, 1)", "standard deviations")
    )
    bars = axes.stairs(part.density, part.edges, **style.bar(color))
    lines = []
    mean, std = part.reference
    if std > 0:
        x = np.linspace(*view, 401)
        density = np.exp(-0.5 * np.square((x - mean) / std)) / (
            std * np.sqrt(2 * np.pi)
        )
        lines = axes.plot(x, density, **style.line(label=label))
    axes.set(xlim=view, ylim=(0, None))
    axes.locator_params(nbins=4, steps=[1, 2, 5, 10])
    # The default writes a power of ten above the axis, where the numbers are.
    axes.yaxis.set_major_formatter("{x:.3g}")
    label = f"{shortened(part.name, 18)} ({unit})"
    if part.outside:
        share = percent(part.outside / part.count)
        label += f"\n{part.outside:,} ({share}) out of view"
    axes.set_xlabel(label, fontsize=_TEXT)
    axes.set_ylabel("density", fontsize=_TEXT)
    return bars, lines


def _say_nothing_is_there(axes):
    axes.text(
        0.5,
        0.5,
        "no input of this name",
        ha="center",
        va="center",
        color=GREY,
        fontsize=_TEXT,
        transform=axes.transAxes,
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_quantiles(axes, before, after, style):
    """Draw the diagonal and the points before and after; return all three."""
    end = max(3.0, 1.05 * np.abs(after.scores).max(initial=0))
    lines = axes.plot([-end, end], [-end, end], **style.line(label="N(0, 1)"))
    if before is not None and before.std > 0:
        rescaled = (before.quantiles - before.mean) / before.std
        # Where a transformer keeps the shape, points lie on this from end to end.
        lines += axes.plot(
            before.scores,
            rescaled,
            color=VERMILLION,
            alpha=0.5,
            linewidth=5,
            solid_capstyle="round",
            label="before, rescaled",
        )
    lines += axes.plot(after.scores, after.quantiles, **style.point(label="after"))
    axes.set(xlim=(-end, end), ylim=(after.edges[0], after.edges[-1]))
    axes.set_xlabel("quantiles of N(0, 1)", fontsize=_TEXT)
    axes.set_ylabel("quantiles of the column", fontsize=_TEXT)
    return lines


def _write_numbers(axes, part):
    """Write the numbers between a panel and its title.

    The title keeps the place free, so panels needn't be as wide as the text.
    """
    if part is None:
        return
    text = "no values"
    if part.count:
        text = (
            f"mean {rounded(part.mean, part.std)}   "
            f"std {rounded(part.std, part.std)}\n"
            f"skew {_shape(part.skewness)}   "
            f"excess kurtosis {_shape(part.excess_kurtosis)}\n"
            f"beyond 3 sigma {percent(part.beyond_3_sigma)}"
        )
    if part.missing:
        text += f"   missing {percent(part.missing)}"
    axes.annotate(
        text,
        (0, 1),
        (0, _PAD),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=_TEXT,
        color=GREY,
        linespacing=1.15,
    ).set_in_layout(False)


def _finish(axes, panel, *, legend):
    axes.tick_params(labelsize=_TEXT - 1)
    axes.spines[["top", "right"]].set_visible(False)
    if not (legend and axes.lines):
        return
    # A QQ plot has room for it where the others have their numbers.
    place = (
        {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        if panel == "qq"
        else {"loc": "upper right", "borderaxespad": 0}
    )
    axes.legend(
        frameon=False,
        fontsize=_TEXT - (panel != "qq"),
        handlelength=1.3,
        borderpad=0,
        labelspacing=0.2,
        **place,
    ).set_in_layout(False)


def _shape(value):
    """Write a number without unit to hundredths, or to three digits if it is large."""
    return rounded(value, max(1.0, abs(value)))


def _describe_both(table, j, values, bins, rows):
    """Describe an output and its input, which may be none."""
    before = table.values_before(j)
    if before is not None:
        name = table.inputs[table.source(j)]
        before = describe(name, before, bins=bins, rows=rows)
    after = describe(table.outputs[j], values, standard=True, bins=bins, rows=rows)
    return before, after


def _choose(table, columns):
    """Return the values of the outputs to draw, by position."""
    if columns is None:
        chosen = {}
        for j in range(len(table.outputs)):
            values = table.values_after(j)
            if values is not None:
                chosen[j] = values
            if len(chosen) == _FEW:
                break
        if not chosen:
            raise ValueError("No column that comes out is made of numbers.")
        return chosen
    columns = _as_list(columns, len(table.outputs))
    if not 0 < len(columns) <= _MOST:
        raise ValueError(
            f"From 1 to {_MOST} columns can be drawn at once. Got {len(columns)}: name "
            "fewer in `columns`."
        )
    chosen = {j: table.values_after(j) for j in map(table.find, columns)}
    for j, values in chosen.items():
        if values is None:
            raise ValueError(
                f"The column {table.outputs[j]!r} is not made of numbers. Leave it out "
                "of `columns`."
            )
    return chosen


def _as_list(columns, n):
    if isinstance(columns, (str, Integral)):
        return [columns]
    try:
        return list(range(n)[columns] if isinstance(columns, slice) else columns)
    except TypeError as error:
        raise ValueError(
            "columns must be a name, a position, a list of these, or a slice of "
            f"positions. Got {columns!r}."
        ) from error
