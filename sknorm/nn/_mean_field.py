"""A wide random layer, seen through the normal numbers that leave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from sknorm.nn._quadrature import (
    gaussian_expectation,
    gaussian_pair_expectation,
    slope,
)

__all__ = ["WideLayer", "critical_variances", "settle", "settled_correlation_slope"]

# Variances beyond which a signal counts as gone, or as run away.
_GONE, _RUN_AWAY = 1e-16, 1e24
# Relative changes that quadrature can't tell from none.
_NOISE = 1e-12
# How far above 1 a slope has to be for the place where its effect ends to be found.
_STEEPER = 1e-6


@dataclass(frozen=True)
class WideLayer:
    """A wide layer: the activation before it, and the scales of weights and biases."""

    phi: Callable[[Tensor], Tensor]
    sigma_w: float
    sigma_b: float

    def variance(self, q: float) -> float:
        """Return V(q)."""
        if q == 0:
            squared = self.phi(torch.zeros(1, dtype=torch.float64)).item() ** 2
        else:
            squared = gaussian_expectation(lambda z: self.phi(z).square(), math.sqrt(q))
        # Products and not powers, which raise where they overflow.
        return self.sigma_w * self.sigma_w * squared + self.sigma_b * self.sigma_b

    def variance_slope(self, q: float) -> float:
        """Return V'(q), or what V multiplies q by in the limits 0 and inf."""
        layer, q = self._in_the_limit(q)

        # The derivative is taken of the density: phi may have kinks and jumps.
        def weighted(z: Tensor) -> Tensor:
            return layer.phi(z).square() * (z.square() / q - 1)

        change = gaussian_expectation(weighted, math.sqrt(q)) / (2 * q)
        return self.sigma_w * self.sigma_w * change

    def chi(self, q: float) -> float:
        """Return the factor on the variance of gradients."""
        layer, q = self._in_the_limit(q)
        squared = gaussian_expectation(
            lambda z: slope(layer.phi, z).square(), math.sqrt(q)
        )
        return self.sigma_w * self.sigma_w * squared

    def decorrelation(self, c: float, q: float) -> float:
        """Return 1 - C(c)."""
        if q == 0 and self.variance(0.0) > 0:
            return 0.0
        layer, at = self._in_the_limit(q)
        total = layer.variance(at)
        if total == 0:
            raise ValueError(
                f"Pre-activations in the next layer have no variance next to q={q:g}, "
                "and so no correlation. Choose a larger sigma_w or another q."
            )
        distance = gaussian_pair_expectation(
            lambda u, v: (layer.phi(u) - layer.phi(v)).square(), c, math.sqrt(at)
        )
        return self.sigma_w * self.sigma_w * distance / 2 / total

    def correlation_slope(self, c: float, q: float) -> float:
        """Return C'(c)."""
        layer, q = self._in_the_limit(q)
        product = gaussian_pair_expectation(
            lambda u, v: slope(layer.phi, u) * slope(layer.phi, v), c, math.sqrt(q)
        )
        return self.sigma_w * self.sigma_w * product * q / layer.variance(q)

    def _in_the_limit(self, q: float) -> tuple[WideLayer, float]:
        """Return a layer and a variance at which it is as this one at q, 0 or inf.

        There the activation is its tangents, and what it and biases add to them is 0.
        """
        if 0 < q < math.inf:
            return self, q
        ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        slopes = slope(self.phi, ends * (1e-100 if q == 0 else 1e100))
        steepens = not torch.allclose(slope(self.phi, ends * 1e50), slopes)
        if q > 0 and (steepens or not slopes.isfinite().all()):
            raise ValueError(
                "The activation steepens without end, so it does nothing definite to a "
                "variance that grows without bound. Choose a smaller sigma_w."
            )

        def tangents(z: Tensor) -> Tensor:
            return torch.where(z < 0, slopes[0], slopes[1]) * z

        return replace(self, phi=tangents, sigma_b=0.0), 1.0


def settle(layer: WideLayer) -> float:
    """Return the first fixed point on the way that V sends a variance of 1."""

    def drift(log_q: float) -> float:
        q = math.exp(log_q)
        return math.log(max(layer.variance(q), 1e-300) / q)

    start = drift(0.0)
    if abs(start) < _NOISE:
        return 1.0
    sign = math.copysign(1.0, start)
    # A floor under V, biases for one, holds the signal however low it is.
    lowest = min(_GONE, layer.variance(0.0) or _GONE) / 2
    farthest = math.log(_RUN_AWAY) if start > 0 else -math.log(lowest)
    try:
        bracket = _first_below_zero(lambda d: sign * drift(sign * d), farthest)
    except ValueError:  # a mean too large for a float, far out on the way up
        bracket = None
    if bracket is None:
        return math.inf if start > 0 else 0.0
    return math.exp(brentq(drift, *sorted(sign * d for d in bracket), xtol=1e-14))


def _first_below_zero(
    fn: Callable[[float], float], farthest: float
) -> tuple[float, float] | None:
    """Bracket the first place after 0 where a function falls below 0, if it does."""
    trail = [(0.0, fn(0.0))]
    step = 0.2
    while trail[-1][0] < farthest:
        place = min(trail[-1][0] + step, farthest)
        trail.append((place, fn(place)))
        if trail[-1][1] < -_NOISE:
            return max(place for place, value in trail if value > 0), place
        dip = _dip(fn, *trail[-3:]) if len(trail) > 2 else None
        if dip is not None:
            return trail[-3][0], dip
        # What an activation does, it does near a variance of 1.
        step += 0.05
    return None


def _dip(
    fn: Callable[[float], float],
    left: tuple[float, float],
    middle: tuple[float, float],
    right: tuple[float, float],
) -> float | None:
    """Return where a function is below 0 between places where it isn't, if it is."""
    if not _NOISE < middle[1] < min(left[1], right[1]):
        return None
    lowest = minimize_scalar(fn, bounds=(left[0], right[0]), method="bounded")
    return lowest.x if lowest.fun < -_NOISE else None


def settled_correlation_slope(layer: WideLayer, q: float) -> float:
    """Return C' at the correlation that all pairs of inputs end up with."""
    if layer.chi(q) == 0:
        return 0.0
    steepest = layer.correlation_slope(1.0, q)
    if steepest < 1 + _STEEPER:
        return steepest
    # C is a power series without negative coefficients, so it is convex on [0, 1] and
    # meets the diagonal once below 1.
    if 1 - layer.decorrelation(0.0, q) < _NOISE:
        return layer.correlation_slope(0.0, q)

    def excess(log_gap: float) -> float:
        c = 1 - math.exp(log_gap)
        return layer.decorrelation(c, q) / (1 - c) - 1

    closest = math.log(1e-14)
    if excess(closest) < 0:
        return steepest
    c = 1 - math.exp(brentq(excess, closest, 0.0, xtol=1e-10))
    return layer.correlation_slope(c, q)


def critical_variances(layer: WideLayer) -> Iterator[float]:
    """Yield, from small to large, the variances kept by weights for which chi is 1.

    The layer's own weights have scale 1.
    """
    if layer.variance(0.0) == 0 and layer.chi(0.0) > 0:
        yield 0.0
    unbiased = replace(layer, sigma_b=0.0)

    def excess(log_q: float) -> float:
        """Return what is left to the biases, less what they bring, by q."""
        q = math.exp(log_q)
        squared_slope = layer.chi(q)
        if squared_slope == 0:
            return -1.0
        signal_var = unbiased.variance(q) / squared_slope
        return 1 - (signal_var + layer.sigma_b * layer.sigma_b) / q

    grid = np.arange(math.log(_GONE), math.log(_RUN_AWAY), 0.5)
    values = []
    with suppress(ValueError):  # a mean too large for a float, far out
        for log_q in grid:
            values.append(excess(log_q))
    for start, end, left, right in zip(
        grid, grid[1:], values, values[1:], strict=False
    ):
        if left * right < 0 and max(abs(left), abs(right)) > _NOISE:
            yield math.exp(brentq(excess, start, end, xtol=1e-14))
