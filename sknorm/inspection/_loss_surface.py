"""The loss along two directions of the weights: a valley, and what makes it a bowl."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.linalg import eigh, svd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sknorm._validation import take_rows
from sknorm.inspection._standardization import _import_matplotlib, _make_axes
from sknorm.inspection._tables import TransformedTable
from sknorm.preprocessing import Standardizer
from sknorm.statistics import Moments

__all__ = ["LossSurfaceDisplay"]

# Told apart with any kind of colour vision (Okabe and Ito), and from all of the blues.
_VERMILLION, _GREY = "#d55e00", "#444444"
# Inches, and points: legible where a page shows the picture 900 pixels wide.
_WIDTH, _HEIGHT, _BAR = 4.1, 4.3, 0.8
_TITLE, _TEXT, _PAD = 12.0, 10.0, 6.0
# Steps that get a dot each, and vertices that a path has at most.
_DOTS, _VERTICES = 60, 1000
# How far the picture goes beyond the level of the start.
_MARGIN = 1.25
# Part of a semi-axis around the minimum in which points of a grid are evenly spaced.
_FINE = 1 / 8
# A loss that no weight makes smaller still gets a start this far above it.
_LEAST_EXCESS = 1e-6
_NEWTON_STEPS, _NEWTON_TOL = 100, 1e-14
# Numbers whose squares, and those of their inverses, are far from where doubles end.
_LARGEST = 1e140
# Weights up to which their Hessian is made whole.
_SMALL_HESSIAN = 40
_EIGENVALUE_TOL = 1e-5
# Levels by the start of descent, two a decade, where it ends by default among them; and
# how many a network has, from the highest loss down.
_HALF_DECADES = 10.0 ** (np.arange(-5, 7) / 2)
_NETWORK_LEVELS = 9


# -- what is drawn ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Descent:
    """Gradient descent with a constant step, until it is near enough."""

    path: np.ndarray
    """Where it comes by, in the coordinates of the picture, of shape (n, 2)."""
    steps: np.ndarray
    """After how many steps each of these is reached: not all, if they are many."""
    n_steps: int | None
    """How many it takes; None if they are more than it was let take."""
    step_size: float
    """What the gradient is multiplied by."""
    start_excess: float
    """Loss above the minimum where it starts."""
    tol: float
    """The share of this at which it is near enough."""


@dataclass(frozen=True, eq=False)
class LossSurface:
    """The loss over a plane of weights."""

    name: str
    """What it is called in titles."""
    labels: tuple[str, str]
    """What the two axes are."""
    grid: np.ndarray
    """Coordinates of the points, of shape (2, n_points, n_points)."""
    excess: np.ndarray
    """Loss above ``lowest`` at these, of shape (n_points, n_points)."""
    lowest: float
    """The loss at the minimum; of a network the smallest on the grid."""
    center: np.ndarray
    """Coordinates of the minimum; of a network those of the trained weights."""
    center_loss: float
    """The loss there."""
    reach: float
    """How far the picture goes from there to each side."""
    curvatures: np.ndarray | None = None
    """Two eigenvalues of the Hessian there, the larger first; None if not asked for."""
    directions: Any = None
    """What the axes are in terms of the weights, the first and the second."""
    descent: Descent | None = None
    """Gradient descent on it, if there was one."""

    @property
    def loss(self) -> np.ndarray:
        """The loss at the points of the grid."""
        return self.lowest + self.excess

    @property
    def condition_number(self) -> float:
        """Ratio of the two curvatures by their size; NaN without any."""
        if self.curvatures is None:
            return np.nan
        larger, smaller = np.abs(self.curvatures)
        return float(larger / smaller) if smaller > 0 else np.inf


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
        _import_matplotlib(f"{cls.__name__}.from_data")
        _check_choice("loss", loss, _LINEAR_LOSSES)
        _check_choice("directions", directions, ("weights", "principal"))
        _check_choice("intercept", intercept, ("held", "learned"))
        _check_positive("tol", tol, below=1)
        _check_whole("max_steps", max_steps, 1)
        _check_whole("n_points", n_points, 3)
        X, y = _draw_rows(X, y, max_rows, _generator(random_state))
        target = _targets(y, loss)
        standardizer = Standardizer() if standardizer is None else clone(standardizer)
        standardizer.fit(copy.deepcopy(X), y)
        table = TransformedTable.make(standardizer, X, {})
        after = f"after {type(standardizer).__name__}"
        surfaces = []
        for name, values, names, note in (
            ("as they come", table.before, table.inputs, ""),
            (after, table.after, table.outputs, ", standardized"),
        ):
            columns = _numbers(values, names, name)
            if intercept == "learned":
                names = ["intercept", *names]
            linear = _LINEAR_LOSSES[loss](columns, target, held=intercept == "held")
            labels = _linear_labels(names, directions, note)
            surface = _linear_surface(
                linear, name, labels, directions, n_points, tol, max_steps
            )
            surfaces.append(surface)
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
        _import_matplotlib(f"{cls.__name__}.from_estimator")
        _check_choice("directions", directions, ("random", "principal"))
        _check_whole("n_points", n_points, 3)
        _check_positive("radius", radius)
        rng = _generator(random_state)
        X, y = _draw_rows(X, y, max_rows, rng)
        surface = _network_surface(
            _open(estimator, X, y), name, directions, n_points, radius, rng
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
        _import_matplotlib(f"{type(self).__name__}.plot")
        shape = (1, len(self.surfaces))
        levels = self._levels() if levels is None else np.asarray(levels, dtype=float)
        self.figure_, self.bounding_ax_, axes = _panels(ax, shape, colorbar)
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


# -- linear models ---------------------------------------------------------------------


class _SquaredError:
    """Mean squared error of a linear model as a function of its weights.

    They are given as offsets from the best ones.
    """

    def __init__(self, columns, target, *, held):
        design = columns - columns.mean(axis=0) if held else _with_ones(columns)
        target = target - target.mean() if held else target
        left, sizes, self.directions = svd(design, full_matrices=False)
        _check_sizes(sizes, design)
        self.curvatures = 2 * np.square(sizes) / len(design)
        self.steepest = self.curvatures[0]
        self.best = self.directions.T @ (left.T @ target / sizes)
        self.lowest = float(np.mean(np.square(target - design @ self.best)))

    def excess(self, offsets):
        """Return the loss above the minimum."""
        return 0.5 * np.square(offsets @ self.directions.T) @ self.curvatures

    def scale(self, ray, excess):
        """Return by what a ray is multiplied to end on a level."""
        return float(np.sqrt(excess / self.excess(ray)))

    def descend(self, start, step_size, tol, max_steps):
        """Return how many steps it takes, some of these, and where they lead.

        A step multiplies the offset along each eigenvector by a number of its own.
        """
        rates = 1 - step_size * self.curvatures
        along = self.directions @ start
        n_steps = _steps_needed(self.curvatures[0] / self.curvatures[-1], tol)
        steps = _thinned(n_steps)
        return n_steps, steps, (along * rates ** steps[:, None]) @ self.directions


class _LogLoss:
    """Mean logistic loss of a linear model as a function of its weights."""

    def __init__(self, columns, target, *, held):
        means = columns.mean(axis=0)
        centred = _with_ones(columns - means)
        intercept, *best = _fit_logistic(centred, target)
        self.best = np.array(best)
        if held:
            self._design, self._base = centred[:, 1:], intercept
        else:
            self._design, self._base = _with_ones(columns), 0.0
            self.best = np.array([intercept - means @ self.best, *best])
        self._target = target
        probability = expit(self._base + self._design @ self.best)
        spread = np.sqrt(probability * (1 - probability))[:, None]
        _, sizes, self.directions = svd(spread * self._design, full_matrices=False)
        _check_sizes(sizes, self._design)
        self.curvatures = np.square(sizes) / len(target)
        largest = svd(self._design, compute_uv=False)[0]
        self.steepest = largest**2 / (4 * len(target))
        self.lowest = float(self._loss(self.best))

    def _logits(self, weights):
        return self._base + weights @ self._design.T

    def _loss(self, weights):
        logits = self._logits(weights)
        return np.mean(np.logaddexp(0, logits) - self._target * logits, axis=-1)

    def excess(self, offsets):
        """Return the loss above the minimum."""
        weights = self.best + offsets
        if weights.ndim < 3:
            return np.maximum(self._loss(weights) - self.lowest, 0)
        # A line of the grid at a time: rows times points don't fit in memory.
        return np.array([self.excess(line) for line in offsets])

    def scale(self, ray, excess):
        """Return by what a ray is multiplied to end on a level."""
        far = 1.0
        while self.excess(far * ray) < excess:
            far *= 2
        return brentq(lambda t: self.excess(t * ray) - excess, 0, far, xtol=1e-14 * far)

    def descend(self, start, step_size, tol, max_steps):
        """Return how many steps it takes, some of these, and where they lead."""
        weights, path = self.best + start, [start]
        goal = self.lowest + tol * self.excess(start)
        while (loss := self._loss(weights)) > goal and len(path) <= max_steps:
            error = expit(self._logits(weights)) - self._target
            weights = weights - step_size * (error @ self._design) / len(error)
            path.append(weights - self.best)
        steps = _thinned(len(path) - 1)
        n_steps = len(path) - 1 if loss <= goal else None
        return n_steps, steps, np.array(path)[steps.astype(int)]


_LINEAR_LOSSES = {"squared_error": _SquaredError, "log_loss": _LogLoss}


def _with_ones(columns):
    return np.column_stack([np.ones(len(columns)), columns])


def _check_sizes(sizes, design):
    """Raise a ValueError if the least singular value can't be told from 0."""
    rounding = np.finfo(float).eps * max(design.shape) * sizes[0]
    if (
        len(sizes) < design.shape[1]
        or not sizes[-1] > max(rounding, 1 / _LARGEST)
        or sizes[0] > _LARGEST
    ):
        raise ValueError(
            "The loss has no single minimum that can be told: columns are collinear, "
            "more than the rows, too far apart in size, or beyond what can be squared. "
            "Leave columns out, or bring them to other units."
        )


def _fit_logistic(design, target):
    """Return the weights of least logistic loss, by Newton's method.

    On orthonormal columns, whose conditioning is that of the weights of the rows alone.
    """
    left, sizes, right = svd(design, full_matrices=False)
    kept = sizes > np.finfo(float).eps * max(design.shape) * sizes[0]
    left, sizes, right = left[:, kept], sizes[kept], right[kept]
    sign = 2 * target - 1
    at = np.zeros(len(sizes))

    def loss(at):
        return np.sum(np.logaddexp(0, -sign * (left @ at)))

    for _ in range(_NEWTON_STEPS):
        logits = left @ at
        if np.all(sign * logits > 0):
            break
        probability = expit(logits)
        gradient = left.T @ (probability - target)
        hessian = (left.T * (probability * (1 - probability))) @ left
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        decrement, before = gradient @ step, loss(at)
        # Half steps while a whole one leads up, as long as there is a way down to see.
        while decrement > _NEWTON_TOL * len(target) and loss(at - step) > before:
            step = step / 2
        at = at - step
        if decrement <= _NEWTON_TOL * len(target):
            return right.T @ (at / sizes)
    raise ValueError(
        "loss='log_loss' has no minimum on these rows: a line through the columns "
        "parts the classes, and weights grow without end. Give more rows or others, or "
        "use loss='squared_error' on labels 0 and 1."
    )


def _steps_needed(condition_number, tol):
    """Return in how many steps of the best constant size a quadratic is descended."""
    if condition_number <= 1:
        return 1
    # log((k + 1) / (k - 1)) without the rounding of a quotient near 1.
    rate = 4 * np.arctanh(1 / condition_number)
    return max(1, int(np.ceil(np.log(1 / tol) / rate)))


def _thinned(n_steps):
    """Return numbers of steps from 0 to the last, not too many to draw."""
    return np.unique(np.rint(np.linspace(0, n_steps, min(n_steps, _VERTICES) + 1)))


def _linear_labels(names, directions, note):
    if directions == "principal":
        return "steepest direction", "flattest direction"
    if len(names) != 2:
        how = "Choose two columns of X" if len(names) > 2 else "Add a column to X"
        other = (
            "directions='principal' to draw the steepest and the flattest direction"
            if len(names) > 2
            else "intercept='learned' to draw it beside the weight"
        )
        raise ValueError(
            f"directions='weights' draws two weights, and there are {len(names)}: "
            f"{', '.join(map(repr, names[:10]))}. {how}, or set {other}."
        )
    return tuple(
        name if name == "intercept" else f"weight of {name}{note}" for name in names
    )


def _linear_surface(linear, name, labels, directions, n_points, tol, max_steps):
    """Return a linear model's loss around the minimum, with the descent to it."""
    if len(linear.curvatures) < 2:
        raise ValueError(
            "directions='principal' needs at least two weights, and there is one. Add "
            "a column to X, or set intercept='learned'."
        )
    curvatures, basis = linear.curvatures[[0, -1]], linear.directions[[0, -1]]
    # Toward zero weights, so that the start is on their side.
    basis = basis * np.where(basis @ linear.best > 0, -1.0, 1.0)[:, None]
    start_excess = max(float(linear.excess(-linear.best)), _LEAST_EXCESS)
    ray = np.sqrt(1 / curvatures) @ basis
    scale = linear.scale(ray, start_excess)
    start = scale * ray
    step_size = 2 / (linear.steepest + linear.curvatures[-1])
    n_steps, steps, offsets = linear.descend(start, step_size, tol, max_steps)

    in_weights = directions == "weights"
    center = linear.best if in_weights else np.zeros(2)
    show = np.eye(2) if in_weights else basis.T
    semi_axes = scale * np.sqrt(2 / curvatures)
    extent = np.sqrt(np.square(semi_axes) @ np.square(basis @ show))
    reach = _MARGIN * max(extent.max(), np.abs(start @ show).max())
    along = [_stretched(axis, np.sqrt(2) * reach, n_points) for axis in semi_axes]
    plane = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1) @ basis
    return LossSurface(
        name=name,
        labels=labels,
        grid=np.moveaxis(center + plane @ show, -1, 0),
        excess=linear.excess(plane),
        lowest=linear.lowest,
        center=center,
        center_loss=linear.lowest,
        reach=float(reach),
        curvatures=curvatures,
        directions=basis,
        descent=Descent(
            path=center + offsets @ show,
            steps=steps,
            n_steps=n_steps,
            step_size=float(step_size),
            start_excess=float(linear.excess(start)),
            tol=tol,
        ),
    )


def _stretched(semi_axis, end, n_points):
    """Return coordinates around 0, evenly spaced near it and by ratio farther out.

    So a valley is seen in all its width, however narrow it is beside its length.
    """
    fine = _FINE * semi_axis
    return fine * np.sinh(np.linspace(-1, 1, n_points) * np.arcsinh(end / fine))


def _numbers(columns, names, stage):
    """Return a table of numbers, none of whose columns is constant."""
    values = check_array(
        columns, dtype=np.float64, ensure_min_samples=2, input_name="X"
    )
    constant = np.flatnonzero(Moments.from_array(values).is_constant())
    if len(constant):
        listed = ", ".join(repr(names[j]) for j in constant)
        raise ValueError(
            f"There are constant columns in X {stage}: {listed}. The loss is the same "
            "whatever their weight is: leave them out."
        )
    return values


def _targets(y, loss):
    """Return the target of a linear model as float64."""
    y = column_or_1d(y, warn=True)
    if loss == "squared_error":
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        if np.abs(y).max() > _LARGEST:
            raise ValueError(
                f"y must hold numbers up to {_LARGEST:.0e}, whose squares are numbers "
                f"too. The largest is {np.abs(y).max():.3g}."
            )
        return y
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) != 2:
        raise ValueError(
            "loss='log_loss' takes labels of two classes. The rows have "
            f"{len(classes)}: {classes[:10].tolist()!r}."
        )
    return codes.astype(np.float64)


# -- networks --------------------------------------------------------------------------

_RANDOM_LABELS = "random direction 1", "random direction 2"
_PRINCIPAL_LABELS = (
    "direction of largest curvature",
    "direction of second largest curvature",
)


def _open(estimator, X, y):
    from sknorm.neural_network._opened import open_estimator

    opened = open_estimator(estimator, X, y)
    if not opened.is_fitted:
        raise NotFittedError(
            f"This {type(opened.estimator).__name__} instance is not fitted yet. Call "
            "'fit' first: the loss is drawn around trained weights."
        )
    if len(opened.X) < 2:
        raise ValueError(
            "A loss is drawn of at least two rows that count. Of those in X only one "
            "belongs to a class whose class_weight isn't 0."
        )
    return opened


def _network_surface(opened, name, kind, n_points, radius, rng):
    """Return a network's loss around the weights it has."""
    from sknorm._device import local_rng

    module, criterion = opened.network, copy.deepcopy(opened.criterion)
    rows, device = (opened.X, opened.y, opened.weight), opened.X.device
    # A layer of the user's own may draw numbers even in evaluation.
    with local_rng(0, device):
        trained = _mean_loss(module, criterion, rows)
        if not np.isfinite(trained):
            raise ValueError(
                f"The loss of the trained network on these rows is {trained}: there is "
                "no surface around it. Train it anew, or look at X for values that it "
                "wasn't trained on."
            )
        weights = _Weights(module)
        if kind == "random":
            labels, curvatures = _RANDOM_LABELS, None
            directions = weights.random_directions(rng)
        else:
            labels = _PRINCIPAL_LABELS
            curvatures, directions = _principal(module, criterion, rows, rng)
            directions = directions * weights.norm
        along = _stretched(radius, radius, n_points)
        loss = _loss_on_plane(module, criterion, rows, weights, directions, along)
    lowest = min(trained, float(np.nanmin(loss)))
    return LossSurface(
        name=name or type(opened.estimator).__name__,
        labels=labels,
        grid=np.array(np.meshgrid(along, along, indexing="ij")),
        excess=loss - lowest,
        lowest=lowest,
        center=np.zeros(2),
        center_loss=trained,
        reach=radius,
        curvatures=curvatures,
        directions=[weights.by_name(direction) for direction in directions],
    )


class _Weights:
    """All trained numbers of a network as one vector."""

    def __init__(self, module):
        from torch.nn.utils import parameters_to_vector

        from sknorm.neural_network._optimizers import _parameter_groups

        self._parameters = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        groups = _parameter_groups(module)
        # What weight decay acts on are the weights proper.
        self._proper = {
            id(p) for group in groups if group["decay_factor"] for p in group["params"]
        }
        self.vector = parameters_to_vector(self._parameters.values()).detach()
        self.norm = float(
            np.sqrt(
                sum(
                    float(p.detach().cpu().double().square().sum())
                    for p in self._parameters.values()
                    if id(p) in self._proper
                )
            )
        )

    def random_directions(self, rng):
        """Draw two, each row of which is as long as that of the weight it is for."""
        return np.stack([self._random_direction(rng) for _ in range(2)])

    def _random_direction(self, rng):
        parts = []
        for parameter in self._parameters.values():
            part = np.zeros(parameter.shape)
            if id(parameter) in self._proper:
                weight = parameter.detach().cpu().double().numpy()
                part = rng.standard_normal(weight.shape)
                part *= _row_norms(weight) / _row_norms(part)
            parts.append(part.ravel())
        return np.concatenate(parts)

    def by_name(self, vector):
        """Return a vector in parts as the parameters are, by their names."""
        ends = np.cumsum([parameter.numel() for parameter in self._parameters.values()])
        parts = np.split(vector, ends[:-1])
        return {
            name: part.reshape(tuple(parameter.shape))
            for part, (name, parameter) in zip(
                parts, self._parameters.items(), strict=True
            )
        }

    def put(self, vector):
        """Give the network other values."""
        from torch.nn.utils import vector_to_parameters

        vector_to_parameters(vector, self._parameters.values())


def _row_norms(weight):
    return np.linalg.norm(weight, axis=-1, keepdims=True)


def _mean_loss(module, criterion, rows):
    """Return the loss of a network, without keeping what a gradient needs."""
    import torch

    from sknorm.neural_network._net import inference_rows

    X, y, weight = rows
    step, total = inference_rows(module), 0.0
    with torch.no_grad():
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            share = None if weight is None else weight[part]
            loss = criterion(module(X[part]), y[part], share)
            total += float(loss) * len(X[part])
    return total / len(X)


def _loss_on_plane(module, criterion, rows, weights, directions, along):
    """Return the loss on a grid, and leave the copy with the weights it had."""
    import torch

    first, second = (
        torch.from_numpy(direction).to(weights.vector.dtype).to(weights.vector.device)
        for direction in directions
    )
    loss = np.empty((len(along), len(along)))
    with torch.no_grad():
        for i, a in enumerate(along):
            line = weights.vector + float(a) * first
            for j, b in enumerate(along):
                weights.put(line + float(b) * second)
                loss[i, j] = _mean_loss(module, criterion, rows)
        weights.put(weights.vector)
    return loss


def _principal(module, criterion, rows, rng):
    """Return the two eigenvalues of largest size of the Hessian, and eigenvectors."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    product, size = _hessian_product(module, criterion, rows)
    start = rng.standard_normal(size)
    if size < 2 or not product(start).any():
        raise ValueError(
            "The loss has no curvature in two directions at these weights. Use "
            "directions='random'."
        )
    if size <= _SMALL_HESSIAN:
        values, vectors = eigh(np.stack([product(row) for row in np.eye(size)]))
    else:
        hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
        values, vectors = eigsh(hessian, k=2, which="LM", tol=_EIGENVALUE_TOL, v0=start)
    order = np.argsort(-np.abs(values))[:2]
    return values[order], vectors.T[order]


def _hessian_product(module, criterion, rows):
    """Return what multiplies the Hessian with a vector, and its size.

    In float64 if the device has it: the second eigenvalue may be a millionth of the
    first.
    """
    import torch

    device = next(module.parameters()).device
    if device.type != "mps":
        module = copy.deepcopy(module).double()
        criterion = copy.deepcopy(criterion).double()
        rows = [
            part.double() if part is not None and part.is_floating_point() else part
            for part in rows
        ]
    parameters = [p for p in module.parameters() if p.requires_grad]
    dtype, sizes = parameters[0].dtype, [p.numel() for p in parameters]
    X, y, weight = rows
    with torch.enable_grad():
        loss = criterion(module(X), y, weight)
        slopes = torch.autograd.grad(
            loss, parameters, create_graph=True, materialize_grads=True
        )

    def product(vector):
        parts = torch.from_numpy(np.ravel(vector)).to(dtype).to(device).split(sizes)
        bent = [
            (slope, part.view_as(slope))
            for slope, part in zip(slopes, parts, strict=True)
            if slope.requires_grad
        ]
        if not bent:
            return np.zeros(sum(sizes))
        products = torch.autograd.grad(
            [slope for slope, _ in bent],
            parameters,
            [part for _, part in bent],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([part.ravel() for part in products]).cpu().double().numpy()

    return product, sum(sizes)


# -- drawing ---------------------------------------------------------------------------


def _panels(ax, shape, colorbar):
    from matplotlib import pyplot as plt

    if ax is not None:
        return _make_axes(ax, shape)
    figure, axes = plt.subplots(
        *shape,
        figsize=(_WIDTH * shape[1] + _BAR * colorbar, _HEIGHT),
        layout="constrained",
        squeeze=False,
    )
    return figure, None, axes


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
        style = {"color": _VERMILLION, "linewidth": 1.8} | dots
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
        color=_GREY,
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
    _check_whole("max_rows", max_rows, 2)
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


def _check_whole(name, value, least):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{name} must be a whole number from {least} on. Got {value!r}."
        )


def _check_positive(name, value, below=np.inf):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not (is_number and 0 < value < below):
        end = "" if below == np.inf else f" and less than {below}"
        raise ValueError(
            f"{name} must be a finite number greater than 0{end}. Got {value!r}."
        )
