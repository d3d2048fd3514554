"""The loss over a plane of weights, whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Descent", "LossSurface", "stretched"]

# Part of a semi-axis around the minimum in which points of a grid are evenly spaced.
_FINE = 1 / 8


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


def stretched(semi_axis, end, n_points):
    """Return coordinates around 0, evenly spaced near it and by ratio farther out.

    So a valley is seen in all its width, however narrow it is beside its length.
    """
    fine = _FINE * semi_axis
    return fine * np.sinh(np.linspace(-1, 1, n_points) * np.arcsinh(end / fine))
