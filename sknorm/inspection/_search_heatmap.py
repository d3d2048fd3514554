"""How the score of a search depends on two of its parameters."""

from __future__ import annotations

import numpy as np

from sknorm.inspection._drawing import (
    GREY,
    VERMILLION,
    check_count,
    import_matplotlib,
    shortened,
)
from sknorm.inspection._search_results import SearchCells

__all__ = ["SearchHeatmapDisplay"]

# What a cell shows of its candidates, in the title.
_REDUCTIONS = {"max": "best", "mean": "mean", "min": "worst"}
# Behind the hatching where every fit failed.
_PALE = "#e8e8e8"
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_CELL_WIDTH, _CELL_HEIGHT, _LETTER = 0.86, 0.58, 0.085
_TITLE, _TEXT, _LEAST_TEXT = 11.0, 10.0, 4.0
# Letters of names in the title.
_NAMED = 40


class SearchHeatmapDisplay:
    """Scores of a search as a heat map over two of its parameters.

    A cell says the mean over folds of the best candidate with its two values, how far
    folds are apart, and how many fits failed. Make one with :meth:`from_search`.

    Parameters
    ----------
    mean : ndarray of shape (n_y, n_x)
        Mean score of each cell over the folds that succeeded; NaN if there is none.
    std : ndarray of shape (n_y, n_x)
        Standard deviation over these folds; NaN if they are less than two.
    n_failed, n_fits : ndarray of int of shape (n_y, n_x)
        How many fits of the cell's candidates have no finite score, and how many there
        are: 0 where the combination wasn't tried.
    x, y : str
        The two parameters.
    x_labels, y_labels : list of str
        Their values, as they are written at the axes.
    metric : str, default="score"
        What the scores are called.
    n_folds : int, default=None
        How many folds there are.
    candidates : ndarray of int of shape (n_y, n_x), default=None
        Which candidate each cell shows, a position in ``cv_results_["params"]``; -1 for
        none or several.
    best : tuple of int, default=None
        Row and column of the cell to outline.
    over : list of str, default=()
        Other parameters that the candidates of a cell may differ in.
    reduce : {"max", "mean", "min"}, default="max"
        What was made of several candidates in a cell.
    resources : ndarray of shape (n_y, n_x), default=None
        What candidates of a halving search were given.
    resource : str, default=None
        What that is.
    name : str, default=None
        What was searched, for the title.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        The axes of the heat map.
    image_ : AxesImage
        The heat map.
    texts_ : ndarray of shape (n_y, n_x)
        The ``Text`` in each cell, None where nothing was tried.
    failed_ : list of Rectangle
        The hatched cells, in which every fit failed.
    best_ : Rectangle or None
        The outline of the best cell.
    colorbar_ : Colorbar or None
        The bar beside the heat map.

    See Also
    --------
    TrainingHistoryDisplay : How the best candidate was trained.

    Notes
    -----
    A fit has failed if its score is NaN or infinite: with ``error_score=nan``, which is
    the default of scikit-learn, these are the fits that raised, as networks do whose
    training diverges. A candidate of which some fits failed has the mean over the
    others here and NaN in ``mean_test_score``, so it is shown, and can be best, only
    where there is no candidate of which none failed.

    Candidates of a halving search that went on for more rounds were trained with more
    resources, and scores are compared only among the last: a cell shows those of its
    candidates that came furthest, and the best cell is one of the last round.

    The values of a parameter are sorted if they are numbers and else stand in the order
    in which they were tried. More than 12 different numbers, as draws from a
    distribution are, are divided into ranges.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sknorm.inspection import SearchHeatmapDisplay
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> grid = {"init": ["zeros", "auto"], "norm": ["none", "batch"]}
    >>> model = NormMLPClassifier(8, max_epochs=2, random_state=0)
    >>> search = GridSearchCV(model, grid, cv=2).fit(X, y)
    >>> display = SearchHeatmapDisplay.from_search(search, x="norm", y="init")
    >>> display.y_labels, display.x_labels
    (['zeros', 'auto'], ['none', 'batch'])
    >>> bool(display.candidates[display.best] == search.best_index_)
    True
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        mean,
        std,
        n_failed,
        n_fits,
        x,
        y,
        x_labels,
        y_labels,
        metric="score",
        n_folds=None,
        candidates=None,
        best=None,
        over=(),
        reduce="max",
        resources=None,
        resource=None,
        name=None,
    ):
        self.mean = mean
        self.std = std
        self.n_failed = n_failed
        self.n_fits = n_fits
        self.x = x
        self.y = y
        self.x_labels = x_labels
        self.y_labels = y_labels
        self.metric = metric
        self.n_folds = n_folds
        self.candidates = candidates
        self.best = best
        self.over = over
        self.reduce = reduce
        self.resources = resources
        self.resource = resource
        self.name = name

    @classmethod
    def from_search(
        cls,
        search,
        *,
        x,
        y,
        metric=None,
        reduce="max",
        bins=8,
        name=None,
        ax=None,
        colorbar=True,
        values_format=None,
        image_kwargs=None,
        text_kwargs=None,
    ):
        """Draw the scores of a fitted search.

        Parameters
        ----------
        search : search instance
            A fitted ``GridSearchCV``, ``RandomizedSearchCV``, halving search, or
            anything else with their ``cv_results_``.
        x, y : str
            The two parameters: their names, or what these end in if that is clear, as
            ``"init"`` for ``"net__init"``.
        metric : str, default=None
            Name of the scorer in a search with several. None for the one it refits by.
        reduce : {"max", "mean", "min"}, default="max"
            What becomes of candidates that agree in x and y: the best and the worst of
            them alone, or their mean.
        bins : int, default=8
            Into how many ranges a parameter with more than 12 different numbers is
            divided: of equal width, or of equal ratio if all are positive and the
            largest is at least a hundred times the smallest.
        name : str, default=None
            What was searched, for the title.
        ax : Axes, default=None
            Where to draw; None for a figure of its own.
        colorbar : bool, default=True
            Whether to draw a colour bar beside the heat map.
        values_format : str, default=None
            How scores are written, see :meth:`plot`.
        image_kwargs, text_kwargs : dict, default=None
            Style of the heat map and of what is written in it, see :meth:`plot`.

        Returns
        -------
        SearchHeatmapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If it is no search.
        NotFittedError
            If it isn't fitted.
        ValueError
            If a parameter or the metric is unknown, x and y are the same, or ``reduce``
            or ``bins`` is something else.
        """
        import_matplotlib(f"{cls.__name__}.from_search")
        check_count("bins", bins)
        cells = SearchCells.read(search, x, y, metric=metric, reduce=reduce, bins=bins)
        display = cls(**vars(cells), name=name)
        return display.plot(
            ax,
            colorbar=colorbar,
            values_format=values_format,
            image_kwargs=image_kwargs,
            text_kwargs=text_kwargs,
        )

    def plot(
        self,
        ax=None,
        *,
        colorbar=True,
        values_format=None,
        image_kwargs=None,
        text_kwargs=None,
    ):
        """Draw the heat map.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None for a figure of its own, as large as the cells need.
        colorbar : bool, default=True
            Whether to draw a colour bar beside the heat map.
        values_format : str, default=None
            How scores are written, as ``".2f"``; None for three digits of the largest.
        image_kwargs : dict, default=None
            Passed to ``Axes.imshow``, as ``{"cmap": "cividis", "vmin": 0.5}``.
        text_kwargs : dict, default=None
            Passed to ``Axes.text``.

        Returns
        -------
        self : SearchHeatmapDisplay
            The display.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        title = self._title()
        self.figure_, self.ax_ = _make_axes(ax, self.x_labels, self.y_labels, title)
        finite = np.ma.masked_invalid(self.mean)
        self.image_ = self.ax_.imshow(
            finite,
            **{"cmap": "viridis", "aspect": "auto", "interpolation": "nearest"}
            | (image_kwargs or {}),
        )
        _label_axes(self.ax_, self.x, self.x_labels, self.y, self.y_labels)
        self.ax_.set_title(title, loc="left", fontsize=_TITLE)
        self.colorbar_ = self._draw_colorbar() if colorbar and finite.count() else None
        self.failed_ = [
            self._draw_patch(
                cell, 0, facecolor=_PALE, edgecolor="#9a9a9a", hatch="////", linewidth=0
            )
            for cell in zip(*np.nonzero(self._is_failed), strict=True)
        ]
        self.texts_ = self._write_cells(values_format, text_kwargs)
        self.best_ = self.best and self._draw_patch(
            self.best, 0.03, fill=False, edgecolor=VERMILLION, linewidth=3, zorder=3
        )
        return self

    @property
    def _is_failed(self):
        return np.isnan(self.mean) & (np.asarray(self.n_fits) > 0)

    def _draw_patch(self, cell, inset, **style):
        from matplotlib.patches import Rectangle

        i, j = cell
        size = 1 - 2 * inset
        corner = (j - 0.5 + inset, i - 0.5 + inset)
        return self.ax_.add_patch(Rectangle(corner, size, size, **style))

    def _write_cells(self, values_format, text_kwargs):
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.text import Text

        texts = np.full(self.mean.shape, None, dtype=object)
        write = _formatter(self.mean, values_format)
        given = normalize_kwargs(text_kwargs, Text)
        size = _font_size(self.ax_, self.mean.shape)
        for i, j in zip(*np.nonzero(self.n_fits), strict=True):
            failed = self._is_failed[i, j]
            style = {
                "horizontalalignment": "center",
                "verticalalignment": "center",
                "fontsize": size,
                "linespacing": 1.1,
                "color": GREY if failed else _ink(self.image_, self.mean[i, j]),
                "fontweight": "bold" if (i, j) == self.best else "normal",
            }
            if failed:
                # Letters are not to be read through the hatching.
                style["bbox"] = {"facecolor": _PALE, "linewidth": 0, "pad": 1.5}
            words = self._words(i, j, write)
            texts[i, j] = self.ax_.text(j, i, words, **style | given)
        return texts

    def _words(self, i, j, write):
        """Return what a cell says, a line for each thing."""
        failed, fits = self.n_failed[i, j], self.n_fits[i, j]
        if self._is_failed[i, j]:
            return f"{failed} failed"
        lines = [write(self.mean[i, j])]
        if np.isfinite(self.std[i, j]):
            lines.append(f"± {write(self.std[i, j])}")
        if self.resources is not None:
            lines.append(f"n = {self.resources[i, j]:.6g}")
        if failed:
            lines.append(f"{failed}/{fits} failed")
        return "\n".join(lines)

    def _draw_colorbar(self):
        bar = self.figure_.colorbar(self.image_, ax=self.ax_, pad=0.02, aspect=25)
        folds = f", mean over {self.n_folds} folds" if (self.n_folds or 1) > 1 else ""
        sign = " (higher is better)" if self.metric.startswith("neg_") else ""
        bar.set_label(f"{self.metric}{sign}{folds}", fontsize=_TEXT)
        bar.ax.tick_params(labelsize=_TEXT - 1)
        bar.outline.set_visible(False)
        return bar

    def _title(self):
        words = [self.name] if self.name else []
        if self.over:
            words.append(f"{_REDUCTIONS[self.reduce]} over {_joined(self.over)}")
        if self.resources is not None:
            words.append(f"n: {self.resource or 'resources'} in its last round")
        return "; ".join(words)


def _joined(names):
    """Name one or two parameters, or one of more."""
    if len(names) > 2:
        return f"{shortened(names[0], _NAMED)} and {len(names) - 1} others"
    return shortened(", ".join(names), _NAMED)


def _make_axes(ax, x_labels, y_labels, title):
    """Return the figure and the axes."""
    from matplotlib import pyplot as plt

    if ax is not None:
        return ax.figure, ax
    beside = 1.6 + _LETTER * max(map(len, y_labels))
    inside = max(_CELL_WIDTH * len(x_labels), 1.1 * _LETTER * len(title))
    width = max(4.5, inside + beside)
    below = 1.0 + 0.5 * _LETTER * max(map(len, x_labels))
    height = max(2.0, _CELL_HEIGHT * len(y_labels) + below)
    return plt.subplots(figsize=(width, height), layout="constrained")


def _label_axes(axes, x, x_labels, y, y_labels):
    axes.set_xlabel(x, fontsize=_TEXT)
    axes.set_ylabel(y, fontsize=_TEXT)
    cell = axes.get_window_extent().width / axes.figure.dpi / len(x_labels)
    crowded = max(map(len, x_labels)) * _LETTER > cell
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(
        range(len(x_labels)), x_labels, fontsize=_TEXT, **(slanted if crowded else {})
    )
    axes.set_yticks(range(len(y_labels)), y_labels, fontsize=_TEXT)
    # White lines between the cells.
    axes.set_xticks(np.arange(0.5, len(x_labels) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(y_labels) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _font_size(axes, shape):
    """Return the size of letters that lets four lines of ten stand in a cell."""
    box = axes.get_window_extent()
    points = 72 / axes.figure.dpi
    high, wide = box.height * points / shape[0], box.width * points / shape[1]
    return float(np.clip(min(high / 4.0, wide / 5.5), _LEAST_TEXT, _TEXT))


def _ink(image, value):
    """Return black or white, whichever stands out from the color of a value."""
    rgb = np.array(image.cmap(image.norm(value))[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # Where both have the same contrast, (L + 0.05) / 0.05 = 1.05 / (L + 0.05), by the
    # W3C's Web Content Accessibility Guidelines.
    return "black" if luminance > np.sqrt(0.05 * 1.05) - 0.05 else "white"


def _formatter(mean, values_format):
    """Return how to write a score: with as many decimals as the largest has digits."""
    if values_format is not None:
        return lambda value: f"{value:{values_format}}"
    sizes = np.abs(mean[np.isfinite(mean) & (mean != 0)])
    if not sizes.size:
        return lambda value: f"{value:.3f}"
    largest = int(np.ceil(np.log10(sizes.max())))
    # Most scores may be near -0.5 and some, where training nearly diverged, -1e5.
    is_odd = not -3 <= largest <= 6 or np.median(sizes) < 10.0 ** (largest - 2)

    def write(value):
        if is_odd or abs(value) > 10.0 ** (largest + 1):
            return f"{value:.3g}"
        return f"{value:.{max(0, 3 - largest)}f}"

    return write
