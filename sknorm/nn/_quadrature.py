"""Expectations under the normal distribution, by quadrature."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["gaussian_expectation", "gaussian_pair_expectation", "slope"]

# Past 14 standard deviations a normal density is below 1e-43.
_REACH, _PANEL, _NODES = 14.0, 0.25, 12
# In the plane, where every panel is paid for many times, there are fewer and wider.
_PAIR_REACH, _PAIR_PANEL, _PAIR_NODES = 12.0, 1.5, 10
# How far out, in the function's own units, kinks are looked after, and how close.
_KINK_REACH, _KINK_GAP, _PAIR_KINK_GAP = 8.0, 0.25, 0.5


def _bends(
    std: float, *, panel: float, gap: float, reach: float = _KINK_REACH
) -> np.ndarray:
    """Return where a function may bend, in units of std."""
    kinks = np.arange(-reach, reach + gap, gap)
    # Where the first panel past the kinks is wider than it is far out, a tail such as
    # 1 / x still turns within it.
    doublings = math.ceil(math.log2(std / reach)) if panel * std > reach else 0
    tail = reach * 2.0 ** np.arange(1, doublings)
    return np.concatenate([-tail[::-1], kinks, tail]) / std


_gauss = functools.cache(np.polynomial.legendre.leggauss)


def _nodes(edges: np.ndarray, per_panel: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points between the edges on the last axis, and weights under N(0, 1)."""
    nodes, weights = _gauss(per_panel)
    half = np.diff(edges)[..., None] / 2
    flat = (*edges.shape[:-1], -1)
    z = (edges[..., :-1, None] + half * (nodes + 1)).reshape(flat)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z, (half * weights).reshape(flat) * density


@functools.lru_cache(maxsize=16)
def _rule(std: float) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of the expectation under N(0, std^2)."""
    own = np.arange(-_REACH, _REACH + _PANEL, _PANEL)
    bends = _bends(std, panel=_PANEL, gap=_KINK_GAP)
    edges = np.union1d(own, bends[abs(bends) < _REACH])
    z, weight = _nodes(edges, _NODES)
    return torch.from_numpy(std * z), torch.from_numpy(weight)


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
    numbers, and between panels quadrature does not see them. Where ``std`` is over 32
    they end at powers of two as well, for tails such as that of softsign. Exact to
    rounding for functions that are smooth elsewhere and grow slower than
    :math:`e^{10 |z|}`.

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
        return _finite(float((fn(z.clone()) * weight).sum()), std)


def _finite(mean: float, std: float) -> float:
    if not math.isfinite(mean):
        raise ValueError(
            f"The function has no finite mean over N(0, {std:g}^2): got {mean!r}. It "
            "must be finite for every number and grow slower than a normal density "
            "falls."
        )
    return mean


def gaussian_pair_expectation(
    fn: Callable[[Tensor, Tensor], Tensor], correlation: float, std: float = 1.0
) -> float:
    r"""Return the mean of a symmetric function of two correlated normal variables.

    Parameters
    ----------
    fn : callable
        Elementwise function of two float64 tensors of shape (n_points,), the same when
        they change places.
    correlation : float
        Correlation of the two, from -1 to 1.
    std : float, default=1.0
        Standard deviation of each, greater than 0; their mean is 0.

    Returns
    -------
    float
        :math:`E[f(u, v)]`.

    Raises
    ------
    ValueError
        If the mean isn't finite.

    Notes
    -----
    With :math:`u, v = \text{std}\, (a x \pm b y)`, where x and y are independent and
    :math:`a^2, b^2 = (1 \pm c) / 2`, the panels of x end wherever u or v meets a
    multiple of a half. What is left to integrate over y is smooth except where a kink
    of u meets one of v, which is where :math:`2 b y\, \text{std}` is a multiple of a
    half: a grid that needs no search, and that moves out of reach as c nears 1, where
    quadrature over u and v themselves fails. A negative c is the positive one with v
    turned round. Exact to rounding where kinks stand at such places and the function
    turns no faster than within 1 / 4.

    Examples
    --------
    >>> from sknorm.nn._quadrature import gaussian_pair_expectation
    >>> round(gaussian_pair_expectation(lambda u, v: u * v, 0.3, std=2.0), 5)
    1.2
    """
    a, b = math.sqrt((1 + abs(correlation)) / 2), math.sqrt((1 - abs(correlation)) / 2)
    turned = correlation < 0
    # By symmetry half the plane will do: y > 0, or x > 0 where v is turned round.
    low_x, low_y = (0.0, -_PAIR_REACH) if turned else (-_PAIR_REACH, 0.0)
    own = np.arange(-_PAIR_REACH, _PAIR_REACH + _PAIR_PANEL, _PAIR_PANEL)

    spread = std * max(2 * b, 1e-100)
    meetings = _bends(
        spread, panel=_PAIR_PANEL, gap=_PAIR_KINK_GAP, reach=2 * _KINK_REACH
    )
    edges = np.concatenate([own, meetings]).clip(low_y, _PAIR_REACH)
    y, weight_y = _nodes(np.unique(edges), _PAIR_NODES)

    bends = _bends(std, panel=_PAIR_PANEL, gap=_PAIR_KINK_GAP)
    bends = bends[abs(bends) < (a + b) * _PAIR_REACH]
    shift = b * y[:, None]
    rows = [np.tile(own, (len(y), 1)), (bends - shift) / a, (bends + shift) / a]
    edges = np.sort(np.concatenate(rows, axis=1).clip(low_x, _PAIR_REACH), axis=1)
    x, weight_x = _nodes(edges, _PAIR_NODES)

    u, v = std * (a * x + shift), (-std if turned else std) * (a * x - shift)
    weight = torch.from_numpy((2 * weight_x * weight_y[:, None]).ravel())
    with torch.no_grad():
        values = fn(torch.from_numpy(u.ravel()), torch.from_numpy(v.ravel()))
        return _finite(float((values * weight).sum()), std)


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
