"""The loss of linear and of logistic regression, and gradient descent on it."""

from __future__ import annotations

import copy

import numpy as np
from scipy.linalg import svd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.base import clone
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sknorm.inspection._loss_plane import Descent, LossSurface, stretched
from sknorm.inspection._tables import TransformedTable
from sknorm.preprocessing import Standardizer
from sknorm.statistics import Moments

__all__ = ["LINEAR_LOSSES", "linear_surfaces"]

# Vertices that a path has at most.
_VERTICES = 1000
# How far the picture goes beyond the level of the start.
_MARGIN = 1.25
# A loss that no weight makes smaller still gets a start this far above it.
_LEAST_EXCESS = 1e-6
_NEWTON_STEPS, _NEWTON_TOL = 100, 1e-14
# Numbers whose squares, and those of their inverses, are far from where doubles end.
_LARGEST = 1e140


def linear_surfaces(
    X,
    y,
    standardizer,
    *,
    loss,
    directions,
    intercept,
    tol,
    max_steps,
    n_points,
):
    """Return a linear model's loss on X as it comes, and on X standardized.

    What the parameters mean is said where users meet them, in
    :meth:`~sknorm.inspection.LossSurfaceDisplay.from_data`.
    """
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
        linear = LINEAR_LOSSES[loss](columns, target, held=intercept == "held")
        labels = _labels(names, directions, note)
        surface = _surface(linear, name, labels, directions, n_points, tol, max_steps)
        surfaces.append(surface)
    return surfaces


def _labels(names, directions, note):
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


def _surface(linear, name, labels, directions, n_points, tol, max_steps):
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
    along = [stretched(axis, np.sqrt(2) * reach, n_points) for axis in semi_axes]
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


# -- losses ----------------------------------------------------------------------------


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


LINEAR_LOSSES = {"squared_error": _SquaredError, "log_loss": _LogLoss}


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


# -- data ------------------------------------------------------------------------------


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
