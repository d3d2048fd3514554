"""Expectations under the normal distribution, by quadrature."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["gaussian_expectation", "slope"]

# Past 14 standard deviations a normal density is below 1e-43.
_REACH, _PANEL, _NODES = 14.0, 0.25, 12
# How far out, in the function's own units, kinks are looked after.
_KINK_REACH = 8.0


@functools.lru_cache(maxsize=16)
def _rule(std: float) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the expectation under N(0, std^2)."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    own = np.arange(-_REACH, _REACH + _PANEL, _PANEL)
    kinks = np.arange(-_KINK_REACH, _KINK_REACH + _PANEL, _PANEL) / std
    edges = np.union1d(own, kinks[abs(kinks) < _REACH])
    half = np.diff(edges)[:, None] / 2
    z = (edges[:-1, None] + half * (nodes + 1)).ravel()
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(std * z), torch.from_numpy(
        (half * weights).ravel() * density
    )


def gaussian_expectation(fn: Callable[[Tensor], Tensor], std: float = 1.0) -> float:
    r"""Return the mean of a function of a normal variable.

    Parameters
    ----------
    fn : callable
        Elementwise function from a float64 tensor of shape (n_points,) to one of the
        same shape.
    std : float, default=1.0
        Standard deviation of the variable, greater than 0; its mean is 0.

    Returns
    -------
    float
        :math:`E[f(z)]` for :math:`z \sim N(0, \text{std}^2)`.

    Raises
    ------
    ValueError
        If ``std`` isn't a finite number greater than 0, or the mean isn't finite.

    Notes
    -----
    Gauss-Legendre quadrature on panels that end at every quarter, of ``std`` and of the
    function's own unit: piecewise functions have their kinks and jumps at such round
    numbers, and between panels quadrature does not see them. Exact to rounding for
    functions that are smooth elsewhere and grow slower than :math:`e^{10 |z|}`.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.activations import gaussian_expectation
    >>> round(gaussian_expectation(torch.relu), 5)
    0.39894
    >>> round(gaussian_expectation(torch.square, std=3.0), 5)
    9.0
    """
    if not (math.isfinite(std) and std > 0):
        raise ValueError(
            "The 'std' parameter of gaussian_expectation must be finite and greater "
            f"than 0. Got {std!r}."
        )
    z, weight = _rule(std)
    with torch.no_grad():
        mean = float((fn(z.clone()) * weight).sum())
    if not math.isfinite(mean):
        raise ValueError(
            f"The function has no finite mean over N(0, {std:g}^2): got {mean!r}. It "
            "must be finite for every number and grow slower than a normal density "
            "falls."
        )
    return mean


def slope(fn: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the derivative of an elementwise function at each point.

    It is 0 where torch passes no gradient, as through ``torch.round``.
    """
    # A caller may sit in no_grad or inference_mode, which this derivative outlives.
    with torch.inference_mode(False), torch.enable_grad():
        at = z.detach().clone().requires_grad_()
        value = fn(at)
        if not value.requires_grad:
            return torch.zeros_like(at)
        (result,) = torch.autograd.grad(value.sum(), at, materialize_grads=True)
    return result
