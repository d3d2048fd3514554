"""The loss along two directions of the weights: a valley, and what makes it a bowl."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.utils import check_consistent_length

from sknorm._validation import take_rows
from sknorm.inspection._drawing import (
    GREY,
    VERMILLION,
    check_count,
    import_matplotlib,
    make_axes,
)
from sknorm.inspection._linear_loss import LINEAR_LOSSES, linear_surfaces
from sknorm.inspection._network_loss import network_surface

__all__ = ["LossSurfaceDisplay"]

# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _HEIGHT, _BAR = 4.1, 4.3, 0.8
_TITLE, _TEXT, _PAD = 12.0, 10.0, 6.0
# Steps that get a dot each.
_DOTS = 60
# Levels by the start of descent, two a decade, where it ends by default among them; and
# how many a network has, from the highest loss down.
_HALF_DECADES = 10.0 ** (np.arange(-5, 7) / 2)
_NETWORK_LEVELS = 9


class LossSurfaceDisplay:
    r"""The loss along two directions of the weights: the valley and the bowl.

    Make one with :meth:`from_data`, which draws the loss of a linear model before and
    after its inputs are standardized, with the way that gradient descent takes; or with
    :meth:`from_estimator`, which draws the loss around the weights of a network.

    Parameters
    ----------
    surfaces : list of LossSurface
        What is drawn, a panel each.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure that was drawn in last.
    ax_ : Axes
        The first panel.
    axes_ : ndarray of Axes of shape (n_surfaces,)
        All panels.
    bounding_ax_ : Axes or None
        The one whose place the panels were given.
    contours_ : list of QuadContourSet
        The filled contours of each panel.
    lines_ : list of list of Line2D
        The lines of each panel: the path and its start, if there is one, and what
        marks the minimum or the trained weights.
    colorbar_ : Colorbar or None
        What tells the loss of a colour.

    See Also
    --------
    StandardizationDisplay : What a standardizer does to the columns.

    Notes
    -----
    **Linear models.** With the design :math:`Z` of n rows the loss is the mean squared
    error :math:`\frac{1}{n} |Z w - y|^2` with the Hessian :math:`H = \frac{2}{n}
    Z^\top Z`, or the mean logistic loss with :math:`H = \frac{1}{n} Z^\top S Z`, where
    :math:`S` holds :math:`p (1 - p)` at the minimum. With ``intercept="held"`` the
    columns of :math:`Z` are those of X less their means, and the intercept stays at its
    best value, in both panels alike: what is seen is the effect of scale and
    correlation alone. With ``intercept="learned"`` it is a weight as any other, of a
    column of ones beside X as it is: then means count too. The condition number is
    :math:`\kappa = \lambda_1 / \lambda_p` of H, the squared ratio of the extreme
    singular values of :math:`Z` or :math:`S^{1/2} Z`, all in float64.

    Descent has the constant step :math:`2 / (L + \mu)`, with :math:`\mu = \lambda_p`
    and :math:`L` the largest curvature there is anywhere: of the squared error
    :math:`\lambda_1`, of the logistic loss :math:`\sigma_1(Z)^2 / 4n`. For the squared
    error it is the best there is. It shrinks the loss above the minimum by
    :math:`((\kappa - 1) / (\kappa + 1))^2` a step in both directions, so from every
    start it takes

    .. math::

        \left\lceil \frac{\log(1 / tol)}{4 \, \mathrm{artanh}(1 / \kappa)} \right\rceil
        \approx \frac{\kappa}{4} \log \frac{1}{tol}

    steps. It starts on the side of zero weights, as far above the minimum as these are,
    with as much of it due to one direction as to the other. In the plane of principal
    directions the path of a logistic loss is a projection: it leaves the plane.

    Contours go by the loss above the minimum in units of its value at the start, the
    same in both panels, so an affine standardizer leaves a point and its model on the
    same level. A unit of one weight is as long as a unit of the other, as it is to
    gradient descent.

    **Networks.** The loss is the mean over rows that training made small, without
    weight decay, with the network in evaluation mode: batch statistics are the running
    ones. A random direction is drawn from N(0, 1), and each of its rows, along the last
    axis of a weight, is scaled to the norm of the same row of the weights; what weight
    decay spares, as biases, norms and scales of members, has none. The principal
    directions are the eigenvectors of the Hessian, over all that is trained, for the
    two eigenvalues of largest size: found in float64 by Lanczos iterations on products
    of it with vectors, it is never made. Each is scaled to the norm of the weights that
    a random direction has. So radius 1 is as far as the weights are from zero.

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", in Neural
    Networks: Tricks of the Trade, 1998.

    H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein, "Visualizing the Loss Landscape
    of Neural Nets", NeurIPS 2018.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from sknorm.inspection import LossSurfaceDisplay
    >>> rng = np.random.default_rng(0)
    >>> area, bedrooms = rng.normal(120, 50, 500), rng.integers(1, 6, 500)
    >>> X = np.column_stack([area, bedrooms])
    >>> price = 3 * area + 20 * bedrooms + rng.normal(0, 60, 500)
    >>> display = LossSurfaceDisplay.from_data(X, price)
    >>> display.n_steps
    [1521, 1]
    >>> plt.close(display.figure_)
    """

    def __init__(self, surfaces):
        self.surfaces = surfaces

    @classmethod
    def from_data(
        cls,
        X,
        y,
        *,
        standardizer=None,
        loss="squared_error",
        directions="weights",
        intercept="held",
        tol=0.01,
        max_steps=20_000,
        n_points=101,
        max_rows=2000,
        random_state=None,
        ax=None,
        levels=None,
        colorbar=True,
        contour_kwargs=None,
        path_kwargs=None,
    ):
        """Draw the loss of a linear model on X as it comes and standardized.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            Numbers, without missing values.
        y : array-like of shape (n_samples,)
            Targets, or with ``loss="log_loss"`` labels of two classes.
        standardizer : transformer instance, default=None
            A clone of it is fitted and applied for the second panel; None for a
            :class:`~sknorm.preprocessing.Standardizer`.
        loss : {"squared_error", "log_loss"}, default="squared_error"
            Of linear regression or of logistic regression, without a penalty.
        directions : {"weights", "principal"}, default="weights"
            What the axes are: the two weights that there are, or the directions in
            which the curvature is largest and smallest, of any number of weights.
        intercept : {"held", "learned"}, default="held"
            Whether the intercept stays at its best value, so that there is a weight for
            each column, or is a weight to be learned too. With a single column that
            makes two.
        tol : float, default=0.01
            Descent ends at this share of the loss above the minimum that it starts at.
        max_steps : int, default=20_000
            How many steps are taken at most on a logistic loss. On a squared error
            they are known without being taken.
        n_points : int, default=101
            Number of points on a side of the grid, at least 3.
        max_rows : int, default=2000
            So many rows are drawn if there are more.
        random_state : int, RandomState instance or None, default=None
            Draws these rows. None leaves NumPy's global state alone.
        ax : Axes or array-like of Axes, default=None
            Where to draw, see :meth:`plot`.
        levels : array-like of float, default=None
            Levels of the contours, see :meth:`plot`.
        colorbar : bool, default=True
            Whether a bar tells the loss of a colour.
        contour_kwargs, path_kwargs : dict, default=None
            Style of the contours and the path, see :meth:`plot`.

        Returns
        -------
        LossSurfaceDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        ValueError
            If a parameter is out of range, a column is constant, columns are collinear,
            there are not two weights to draw, or the logistic loss has no minimum.
        """
        import_matplotlib(f"{cls.__name__}.from_data")
        _check_choice("loss", loss, LINEAR_LOSSES)
        _check_choice("directions", directions, ("weights", "principal"))
        _check_choice("intercept", intercept, ("held", "learned"))
        _check_positive("tol", tol, below=1)
        check_count("max_steps", max_steps)
        check_count("n_points", n_points, 3)
        X, y = _draw_rows(X, y, max_rows, _generator(random_state))
        surfaces = linear_surfaces(
            X,
            y,
            standardizer,
            loss=loss,
            directions=directions,
            intercept=intercept,
            tol=tol,
            max_steps=max_steps,
            n_points=n_points,
        )
        return cls(surfaces).plot(
            ax,
            levels=levels,
            colorbar=colorbar,
            contour_kwargs=contour_kwargs,
            path_kwargs=path_kwargs,
        )

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        directions="random",
        n_points=31,
        radius=1.0,
        max_rows=2000,
        random_state=None,
        name=None,
        ax=None,
        levels=None,
        colorbar=True,
        contour_kwargs=None,
    ):
        """Draw the training loss of a fitted network around its weights.

        Parameters
        ----------
        estimator : estimator instance
            A fitted network of :mod:`sknorm.neural_network`, alone, last in a Pipeline,
            inside a TransformedTargetRegressor, or the best one of a fitted search.
            What stands around it is applied to X and y. It is left as it is.
        X : {array-like, data frame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        directions : {"random", "principal"}, default="random"
            Filter-normalised random directions, or the two in which the loss bends
            most, with their curvatures.
        n_points : int, default=31
            Number of points on a side of the grid, at least 3. The loss is computed for
            all rows at each point.
        radius : float, default=1.0
            How far the picture goes to each side, in units of the norm of the weights.
        max_rows : int, default=2000
            So many rows are drawn if there are more.
        random_state : int, RandomState instance or None, default=None
            Draws these rows and the directions. None leaves NumPy's global state alone.
        name : str, default=None
            What the network is called in the title; None for the name of its class.
        ax : Axes, default=None
            Where to draw, see :meth:`plot`.
        levels : array-like of float, default=None
            Levels of the contours, see :meth:`plot`. Networks are compared on the same.
        colorbar : bool, default=True
            Whether a bar tells the loss of a colour.
        contour_kwargs : dict, default=None
            Style of the contours, see :meth:`plot`.

        Returns
        -------
        LossSurfaceDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib isn't installed.
        TypeError
            If the estimator isn't a network of this library.
        NotFittedError
            If it isn't fitted.
        ValueError
            If a parameter is out of range, the rows aren't what it was fitted on or
            fewer than two, or its loss isn't finite or has no curvature.
        """
        import_matplotlib(f"{cls.__name__}.from_estimator")
        _check_choice("directions", directions, ("random", "principal"))
        check_count("n_points", n_points, 3)
        _check_positive("radius", radius)
        rng = _generator(random_state)
        X, y = _draw_rows(X, y, max_rows, rng)
        surface = network_surface(
            estimator,
            X,
            y,
            kind=directions,
            n_points=n_points,
            radius=radius,
            rng=rng,
            name=name,
        )
        return cls([surface]).plot(
            ax, levels=levels, colorbar=colorbar, contour_kwargs=contour_kwargs
        )

    @property
    def condition_numbers(self):
        """Of each surface the ratio of its two curvatures, NaN where there are none."""
        return [surface.condition_number for surface in self.surfaces]

    @property
    def n_steps(self):
        """Of each surface the number of steps of descent, None without or too many."""
        return [
            surface.descent and surface.descent.n_steps for surface in self.surfaces
        ]

    @property
    def paths(self):
        """Of each surface the way of descent, of shape (n, 2), None without."""
        return [surface.descent and surface.descent.path for surface in self.surfaces]

    def plot(
        self,
        ax=None,
        *,
        levels=None,
        colorbar=True,
        contour_kwargs=None,
        path_kwargs=None,
    ):
        """Draw the surfaces.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One for each surface; or one whose place they divide among them; None for a
            figure of their own.
        levels : array-like of float, default=None
            Levels of the contours, in the loss above the lowest; with a descent, in
            that above the minimum where it starts as 1. None for two a decade.
        colorbar : bool, default=True
            Whether a bar beside the panels tells the loss of a colour.
        contour_kwargs : dict, default=None
            Passed to ``Axes.contourf``.
        path_kwargs : dict, default=None
            Passed to ``Axes.plot`` for the path.

        Returns
        -------
        self : LossSurfaceDisplay
            The display.
        """
        import_matplotlib(f"{type(self).__name__}.plot")
        shape = (1, len(self.surfaces))
        levels = self._levels() if levels is None else np.asarray(levels, dtype=float)
        size = _WIDTH * len(self.surfaces) + _BAR * colorbar, _HEIGHT
        self.figure_, self.bounding_ax_, axes = make_axes(ax, shape, size)
        self.axes_ = axes.ravel()
        self.ax_ = self.axes_[0]
        self.contours_, self.lines_ = [], []
        for axes, surface in zip(self.axes_, self.surfaces, strict=True):
            self.contours_.append(
                _draw_contours(axes, surface, levels, contour_kwargs or {})
            )
            self.lines_.append(_draw_lines(axes, surface, path_kwargs))
            _write(axes, surface)
        _draw_legend(self.ax_, self.surfaces[0])
        self.colorbar_ = self._colorbar() if colorbar else None
        return self

    def _levels(self):
        if self.surfaces[0].descent is not None:
            return _HALF_DECADES
        excess = np.concatenate([surface.excess.ravel() for surface in self.surfaces])
        highest = excess[np.isfinite(excess)].max(initial=0)
        last = np.floor(2 * np.log10(highest)) if highest > 0 else 0.0
        return 10.0 ** ((np.arange(_NETWORK_LEVELS) - _NETWORK_LEVELS + 1 + last) / 2)

    def _colorbar(self):
        contours = self.contours_[0]
        bar = self.figure_.colorbar(contours, ax=list(self.axes_), shrink=0.85)
        # Not how much that is: panels of several networks may share the bar.
        has_descent = self.surfaces[0].descent is not None
        above = "the minimum (1 at the start)" if has_descent else "the lowest shown"
        label = f"loss above {above}"
        bar.set_label(label, fontsize=_TEXT)
        shown = [level for level in contours.levels if _is_power_of_ten(level)]
        bar.set_ticks(shown or list(contours.levels))
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=_TEXT - 1)
        return bar


# -- drawing ---------------------------------------------------------------------------


def _draw_contours(axes, surface, levels, contour_kwargs):
    unit = 1.0 if surface.descent is None else surface.descent.start_excess
    height = np.ma.masked_invalid(surface.excess / unit)
    style = {"cmap": "Blues_r", "norm": "log", "extend": "max"} | contour_kwargs
    # The minimum has no logarithm.
    filled = axes.contourf(
        *surface.grid, np.ma.maximum(height, levels[0]), levels=levels, **style
    )
    crossed = levels[(levels > height.min()) & (levels < height.max())]
    if len(crossed):
        style = {"colors": "black", "linewidths": 0.4, "alpha": 0.4}
        axes.contour(*surface.grid, height, levels=crossed, **style)
    low, high = surface.center - surface.reach, surface.center + surface.reach
    # A unit of one weight is as far as one of the other: so descent sees it.
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=_TEXT - 1)
    axes.set_xlabel(surface.labels[0], fontsize=_TEXT)
    axes.set_ylabel(surface.labels[1], fontsize=_TEXT)
    return filled


def _draw_lines(axes, surface, path_kwargs):
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    lines = []
    if surface.descent is not None:
        path = surface.descent.path
        dots = {"marker": "o", "markersize": 4} if len(path) <= _DOTS else {}
        style = {"color": VERMILLION, "linewidth": 1.8} | dots
        style |= {"label": f"descent to {100 * surface.descent.tol:.3g} %"}
        style |= normalize_kwargs(path_kwargs, Line2D)
        lines += axes.plot(*path.T, **style)
        lines += axes.plot(
            *path[0],
            linestyle="none",
            marker="o",
            markersize=9,
            color=lines[0].get_color(),
            markeredgecolor="white",
            label="start",
        )
    lines += axes.plot(
        *surface.center,
        linestyle="none",
        marker="*",
        markersize=14,
        color="white",
        markeredgecolor="black",
        label="trained weights" if surface.descent is None else "minimum",
    )
    return lines


def _write(axes, surface):
    """Write the numbers between a panel and its title, and how many steps into it."""
    descent, condition_number = surface.descent, _figure(surface.condition_number)
    if descent is not None:
        taken = int(descent.steps[-1])
        over = "over " if descent.n_steps is None else ""
        value = f"{over}{_figure(taken)} {'step' if taken == 1 else 'steps'}"
        text = f"condition number {condition_number}"
    else:
        value = f"loss {_figure(surface.center_loss)}"
        text = "1 is as long as the weights, row by row"
        if surface.curvatures is not None:
            first, second = map(_figure, surface.curvatures)
            text = f"curvatures {first} and {second}, ratio {condition_number}"
    axes.set_title(
        f"{surface.name}: {value}",
        loc="left",
        fontsize=_TITLE,
        fontweight="bold",
        pad=2 * _PAD + _TEXT,
    )
    axes.annotate(
        text,
        (0, 1),
        (0, _PAD),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=_TEXT,
        color=GREY,
    ).set_in_layout(False)


def _draw_legend(axes, surface):
    descent = surface.descent
    # Where the path isn't.
    low = descent is None or descent.path[0, 1] > surface.center[1]
    axes.legend(
        loc="lower left" if low else "upper left",
        fontsize=_TEXT - 1,
        framealpha=0.9,
        handlelength=1.3,
    ).set_in_layout(False)


def _figure(value):
    """Write a number to three digits, or to all before the point."""
    size = abs(value)
    if not np.isfinite(value) or size < 1000 or size >= 1e7:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def _is_power_of_ten(value):
    return value > 0 and np.isclose(np.log10(value), np.rint(np.log10(value)))


# -- arguments -------------------------------------------------------------------------


def _draw_rows(X, y, max_rows, rng):
    """Return at most so many rows, in the order they have."""
    check_count("max_rows", max_rows, 2)
    if y is None:
        raise ValueError("y must hold the target of each row of X. Got None.")
    check_consistent_length(X, y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows < 2:
        raise ValueError(f"A loss is drawn of at least two rows. Got {n_rows}.")
    if n_rows <= max_rows:
        return X, y
    rows = np.sort(rng.choice(n_rows, max_rows, replace=False))
    return take_rows(X, rows), take_rows(y, rows)


def _generator(random_state):
    """Return a generator; without a seed one that takes nothing from the global."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(np.iinfo(np.int32).max))
    return np.random.default_rng(random_state)


def _check_choice(name, value, allowed):
    if not isinstance(value, str) or value not in allowed:
        listed = " or ".join(map(repr, allowed))
        raise ValueError(f"{name} must be {listed}. Got {value!r}.")


def _check_positive(name, value, below=np.inf):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and 0 < value < below):
        end = "" if below == np.inf else f" and less than {below}"
        raise ValueError(
            f"{name} must be a finite number greater than 0{end}. Got {value!r}."
        )
