r"""Mean-field theory: what random layers do to signals and gradients, computed.

In a wide layer with weights of variance :math:`\sigma_w^2 / n_{in}` and biases of
variance :math:`\sigma_b^2`, pre-activations are normal, so what the layer does to their
variance and correlation is known before a network exists. Every function here computes
it from the activation itself, by quadrature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from sknorm.nn._mean_field import (
    WideLayer,
    critical_variances,
    settle,
    settled_correlation_slope,
)
from sknorm.nn.activations import resolve_activation

__all__ = [
    "DepthScales",
    "chi",
    "correlation_map",
    "critical_sigma",
    "fixed_point",
    "trainable_depth",
    "variance_map",
]

# Depths, in layers, beyond which a signal counts as kept.
_DEEPEST = 1e6
_LARGEST = float(np.finfo(np.float64).max)


def variance_map(
    q: Any, activation: Any, sigma_w: float, sigma_b: float = 0.0
) -> float | np.ndarray:
    r"""Return the variance of pre-activations in the next layer.

    Parameters
    ----------
    q : float or array-like
        Variance of pre-activations in one layer, at least 0.
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_w : float
        Scale of the weights, at least 0: each has standard deviation
        :math:`\sigma_w / \sqrt{n_{in}}`.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0.

    Returns
    -------
    float or ndarray
        The variance, of the shape of ``q``.

    Raises
    ------
    ValueError
        If a number is negative, NaN or infinite, or the activation is unknown or not
        elementwise.

    Notes
    -----
    :math:`V(q) = \sigma_w^2 E[\phi(\sqrt q z)^2] + \sigma_b^2` for
    :math:`z \sim N(0, 1)`: exact in the limit of wide layers. In one network of width n
    the mean square of pre-activations scatters around it with a relative variance of
    about 5 / n per layer at most.

    References
    ----------
    B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein and S. Ganguli, "Exponential
    expressivity in deep neural networks through transient chaos", NeurIPS 2016.

    Examples
    --------
    He's weights keep the variance that ReLU is fed, Xavier's halve it:

    >>> from sknorm.nn.mean_field import variance_map
    >>> round(variance_map(3.0, "relu", sigma_w=2**0.5), 6)
    3.0
    >>> variance_map([1.0, 2.0], "relu", sigma_w=1.0)
    array([0.5, 1. ])
    """
    layer = _layer(activation, sigma_w, sigma_b, "variance_map")
    return _each(layer.variance, _numbers(q, "q", "variance_map", high=_LARGEST))


def correlation_map(
    c: Any,
    activation: Any,
    sigma_w: float,
    sigma_b: float = 0.0,
    *,
    q: float | None = None,
) -> float | np.ndarray:
    r"""Return the correlation of two inputs' pre-activations in the next layer.

    Parameters
    ----------
    c : float or array-like
        Their correlation in one layer, from -1 to 1.
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_w : float
        Scale of the weights, at least 0: each has standard deviation
        :math:`\sigma_w / \sqrt{n_{in}}`.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0.
    q : float, default=None
        Variance of both inputs' pre-activations; None for the fixed point. 0 and
        ``inf`` stand for the limits.

    Returns
    -------
    float or ndarray
        The correlation, of the shape of ``c``.

    Raises
    ------
    ValueError
        If a number is out of range, the activation is unknown or not elementwise, or
        pre-activations in the next layer have no variance and so no correlation.

    Notes
    -----
    With u and v normal, of variance q and correlation c,

    .. math:: C(c) = \frac{\sigma_w^2 E[\phi(u) \phi(v)] + \sigma_b^2}{V(q)}
        = 1 - \frac{\sigma_w^2 E[(\phi(u) - \phi(v))^2]}{2 V(q)}

    where :math:`V` is :func:`variance_map`. The second form is the one computed: it
    loses nothing near c = 1, where both terms of the first are nearly V. Kinks such as
    ReLU's don't harm: it agrees with the arc-cosine formula to 14 digits.
    :math:`C(1)` is 1; the slope there, :math:`C'(1) = \chi q / V(q)`, says whether
    inputs that are nearly equal grow alike (below 1) or apart. :math:`C(0)` is above 0
    for an activation that has a mean, such as ReLU: there all inputs grow alike.

    References
    ----------
    Y. Cho and L. Saul, "Kernel Methods for Deep Learning", NeurIPS 2009.

    B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein and S. Ganguli, "Exponential
    expressivity in deep neural networks through transient chaos", NeurIPS 2016.

    Examples
    --------
    Inputs that have nothing in common, after a layer of ReLUs: 1 / pi.

    >>> from sknorm.nn.mean_field import correlation_map
    >>> round(correlation_map(0.0, "relu", sigma_w=2**0.5), 6)
    0.31831
    >>> correlation_map([-1.0, 0.0, 1.0], "tanh", sigma_w=1.5).round(6)
    array([-1.,  0.,  1.])
    """
    layer = _layer(activation, sigma_w, sigma_b, "correlation_map")
    values = _numbers(c, "c", "correlation_map", low=-1.0, high=1.0)
    at = _variance(q, layer, "correlation_map")
    return _each(lambda c: 1.0 - layer.decorrelation(c, at), values)


def fixed_point(activation: Any, sigma_w: float, sigma_b: float = 0.0) -> float:
    r"""Return the variance at which pre-activations settle in a deep network.

    Parameters
    ----------
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_w : float
        Scale of the weights, at least 0: each has standard deviation
        :math:`\sigma_w / \sqrt{n_{in}}`.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0.

    Returns
    -------
    float
        The fixed point of :func:`variance_map` that standardized pre-activations
        settle at: the first one on the way that the map sends a variance of 1. It is
        0.0 where the signal dies, ``inf`` where it explodes, and 1.0 where the map
        keeps 1, as with He's weights and ReLU, which keep every variance.

    Raises
    ------
    ValueError
        If a number is negative, NaN or infinite, or the activation is unknown or not
        elementwise.

    Notes
    -----
    The fixed point is found by bracketing and not by iterating the map, which for tanh
    and :math:`\sigma_w = 1` would still be at 1 / (2 L) after L layers. A variance over
    1e24 counts as infinite, one below 1e-16 as 0 unless biases hold it up.

    It is stable: there the map falls below the diagonal, and never so steeply as to
    swing about it. For :math:`\sqrt q\, E[\phi(\sqrt q z)^2]`, an integral over a
    density without its norm, grows with q, so :math:`V'` is at least -1/2 there.

    References
    ----------
    B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein and S. Ganguli, "Exponential
    expressivity in deep neural networks through transient chaos", NeurIPS 2016.

    Examples
    --------
    >>> from sknorm.nn.mean_field import fixed_point
    >>> round(fixed_point("tanh", sigma_w=5 / 3), 5)
    1.17848
    >>> fixed_point("tanh", sigma_w=1.0), fixed_point("relu", sigma_w=2.0)
    (0.0, inf)
    """
    return settle(_layer(activation, sigma_w, sigma_b, "fixed_point"))


def chi(
    activation: Any, sigma_w: float, sigma_b: float = 0.0, *, q: Any = None
) -> float | np.ndarray:
    r"""Return what a layer multiplies the variance of gradients by.

    Parameters
    ----------
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_w : float
        Scale of the weights, at least 0: each has standard deviation
        :math:`\sigma_w / \sqrt{n_{in}}`.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0; it counts through the fixed point
        alone.
    q : float or array-like, default=None
        Variance of pre-activations, at least 0; None for the fixed point. 0 and ``inf``
        stand for the limits.

    Returns
    -------
    float or ndarray
        The factor, of the shape of ``q``. Gradients vanish with depth if it is below 1
        and explode if it is above.

    Raises
    ------
    ValueError
        If a number is negative or NaN, the activation is unknown or not elementwise, or
        it steepens without end, as a square does, and the variance is infinite.

    Notes
    -----
    :math:`\chi = \sigma_w^2 E[\phi'(\sqrt q z)^2]`, with the slope that
    backpropagation sees: where a function jumps, that is 0.

    References
    ----------
    S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
    Propagation", ICLR 2017.

    Examples
    --------
    A sigmoid fed by Xavier's weights sits in its sweet spot, and still loses 94 % of
    the variance of the gradient at each layer:

    >>> from sknorm.nn.mean_field import chi
    >>> round(chi("sigmoid", sigma_w=1.0), 4)
    0.0557
    >>> round(chi("relu", sigma_w=2**0.5), 4)
    1.0
    """
    layer = _layer(activation, sigma_w, sigma_b, "chi")
    if q is None:
        return layer.chi(settle(layer))
    return _each(layer.chi, _numbers(q, "q", "chi", high=math.inf))


def critical_sigma(activation: Any, sigma_b: float = 0.0) -> float:
    r"""Return the scale of weights at the edge of chaos.

    Parameters
    ----------
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0.

    Returns
    -------
    float
        The smallest ``sigma_w`` for which :func:`chi` is 1 at a finite
        :func:`fixed_point`: neither the signal nor the gradient is lost with depth.

    Raises
    ------
    ValueError
        If there is none, ``sigma_b`` is negative, NaN or infinite, or the activation is
        unknown or not elementwise.

    Notes
    -----
    :math:`\chi = 1` gives :math:`\sigma_w^2 = 1 / E[\phi'(\sqrt q z)^2]` for each
    variance q, and keeping q then takes a variance of the biases of
    :math:`q - \sigma_w^2 E[\phi(\sqrt q z)^2]`. This is solved for q, and kept if it is
    where :func:`fixed_point` ends up:

    * tanh, softsign, ELU and SELU have an edge at every ``sigma_b``; at 0 the fixed
      point is 0, which the signal nears like 1 / L over L layers;
    * the ReLU family has one at ``sigma_b=0`` only, for every q; with biases the
      variance grows without end;
    * sigmoid has one at every ``sigma_b``, but far out of its sweet spot, at
      :math:`\sigma_w \ge 10.1` and :math:`q \ge 45.6`;
    * GELU, SiLU and Mish have one for a ``sigma_b`` over 0.42, 0.75 and 0.31 alone. For
      smaller ones the variance at which :math:`\chi = 1` is a fixed point, but not a
      stable one: it drives away signals a little larger or smaller;
    * softplus has none.

    References
    ----------
    S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
    Propagation", ICLR 2017.

    S. Hayou, A. Doucet and J. Rousseau, "On the Impact of the Activation Function on
    Deep Neural Networks Training", ICML 2019.

    Examples
    --------
    >>> from sknorm.nn.mean_field import critical_sigma
    >>> round(critical_sigma("relu"), 5), round(critical_sigma("tanh"), 5)
    (1.41421, 1.0)
    >>> round(critical_sigma("tanh", sigma_b=0.05**0.5) ** 2, 5)
    1.76095
    """
    owner = "critical_sigma"
    phi = resolve_activation(activation, owner=owner)
    layer = _layer(phi, 1.0, sigma_b, owner)
    reason = "weights for which chi is 1 keep no variance"
    for q in critical_variances(layer):
        sigma_w = 1 / math.sqrt(layer.chi(q))
        critical = replace(layer, sigma_w=sigma_w)
        end = settle(critical)
        is_critical = math.isfinite(end) and math.isinf(_depth(critical.chi(end)))
        if is_critical and critical.variance_slope(end) < 1 + 1 / _DEEPEST:
            return sigma_w
        fate = (
            "others move away" if is_critical else f"a variance of 1 goes to {end:.4g}"
        )
        reason = (
            f"with sigma_w={sigma_w:.4g} chi is 1 at a variance of {q:.4g}, but {fate}"
        )
    raise ValueError(
        f"The activation {phi.name!r} has no edge of chaos at sigma_b={sigma_b!r}: "
        f"{reason}. Choose another sigma_b or another activation."
    )


class DepthScales(NamedTuple):
    r"""The depths, in layers, over which a network forgets what it was fed.

    Each is the number of layers over which what is left of a difference, or of a
    gradient, changes by a factor of e: ``inf`` where it is kept, 0.0 where one layer is
    enough to lose it.

    Parameters
    ----------
    variance : float
        Of the variance of pre-activations on its way to the fixed point, called
        :math:`\xi_q`.
    correlation : float
        Of the correlation of two inputs on its way to the fixed point it has,
        :math:`\xi_c`.
    gradient : float
        Of the variance of gradients, which vanish or explode,
        :math:`\xi_\nabla`.

    Examples
    --------
    >>> from sknorm.nn.mean_field import DepthScales
    >>> min(DepthScales(variance=5.0, correlation=20.0, gradient=12.0))
    5.0
    """

    variance: float
    correlation: float
    gradient: float


def trainable_depth(
    activation: Any, sigma_w: float, sigma_b: float = 0.0
) -> DepthScales:
    r"""Return the depths over which random layers lose signal and gradient.

    Parameters
    ----------
    activation : str, nn.Module, class, functools.partial or callable
        Anything that :func:`~sknorm.nn.activations.resolve_activation` takes.
    sigma_w : float
        Scale of the weights, at least 0: each has standard deviation
        :math:`\sigma_w / \sqrt{n_{in}}`.
    sigma_b : float, default=0.0
        Standard deviation of the biases, at least 0.

    Returns
    -------
    DepthScales
        Named tuple of ``variance``, ``correlation`` and ``gradient``, in layers.

    Raises
    ------
    ValueError
        If a number is negative, NaN or infinite, the activation is unknown or not
        elementwise, or it steepens without end, as a square does, and the fixed point
        is infinite.

    Notes
    -----
    Near its fixed point a deviation of the variance is multiplied by :math:`V'(q^*)`
    in each layer, and one of the correlation by :math:`C'(c^*)`, where V and C are
    :func:`variance_map` and :func:`correlation_map`; the variance of a gradient is by
    :func:`chi`. The scales are :math:`1 / |\log V'|`, :math:`1 / |\log C'|` and
    :math:`1 / |\log \chi|`, and ``inf`` beyond a million layers, as at
    :func:`critical_sigma`.

    Where inputs grow alike, :math:`\chi < 1`, the correlation ends at 1 and, at a
    finite fixed point over 0, its scale is that of the gradient. Where they grow apart,
    :math:`\chi > 1`, it ends below 1. Networks without normalization were found to
    train up to a depth of about six of the scale of the correlation. Where the fixed
    point is 0 or infinite the relative deviation counts: ReLU keeps what inputs have to
    do with each other at every ``sigma_w``, and loses their size.

    References
    ----------
    S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
    Propagation", ICLR 2017.

    Examples
    --------
    >>> from sknorm.nn.mean_field import trainable_depth
    >>> scales = trainable_depth("tanh", sigma_w=1.0, sigma_b=0.3)
    >>> [round(scale, 2) for scale in scales]
    [1.34, 2.81, 2.81]
    >>> trainable_depth("relu", sigma_w=2**0.5)
    DepthScales(variance=inf, correlation=inf, gradient=inf)
    """
    layer = _layer(activation, sigma_w, sigma_b, "trainable_depth")
    q = settle(layer)
    return DepthScales(
        variance=_depth(layer.variance_slope(q)),
        correlation=_depth(settled_correlation_slope(layer, q)),
        gradient=_depth(layer.chi(q)),
    )


def _depth(factor: float) -> float:
    """Return over how many layers a factor per layer becomes one of e."""
    if factor == 0:
        return 0.0
    per_layer = abs(math.log(abs(factor)))
    return 1 / per_layer if per_layer * _DEEPEST > 1 else math.inf


# --------------------------------------------------------------------------------------
# What users give
# --------------------------------------------------------------------------------------
def _layer(activation: Any, sigma_w: Any, sigma_b: Any, owner: str) -> WideLayer:
    # A module copied in inference mode would lack gradients for good.
    with torch.inference_mode(False):
        phi = resolve_activation(activation, owner=owner).function
    layer = WideLayer(
        phi, _scale(sigma_w, "sigma_w", owner), _scale(sigma_b, "sigma_b", owner)
    )
    layer.variance(1.0)  # raises where a function has no mean square
    return layer


def _scale(value: Any, name: str, owner: str) -> float:
    return float(_numbers(value, name, owner, high=_LARGEST, scalar=True))


def _variance(value: Any, layer: WideLayer, owner: str) -> float:
    if value is None:
        return settle(layer)
    return float(_numbers(value, "q", owner, high=math.inf, scalar=True))


def _numbers(
    values: Any,
    name: str,
    owner: str,
    *,
    low: float = 0.0,
    high: float,
    scalar: bool = False,
) -> np.ndarray:
    """Return a parameter as float64 numbers, all between two bounds."""
    array = np.asarray(values)
    valid = array.dtype.kind in "iuf" and not (scalar and array.ndim)
    array = array.astype(np.float64) if valid else array
    if not (valid and ((array >= low) & (array <= high)).all()):
        kind = "a number" if scalar else "a number or an array of numbers"
        bounds = {
            _LARGEST: "finite and at least 0",
            math.inf: "at least 0",
        }.get(high, f"from {low:g} to {high:g}")
        raise ValueError(
            f"The {name!r} parameter of {owner} must be {kind}, {bounds}. Got "
            f"{values!r}."
        )
    return array


def _each(fn: Callable[[float], float], values: np.ndarray) -> float | np.ndarray:
    """Return the result for each number, as a float if there is but one, bare."""
    if values.ndim == 0:
        return fn(float(values))
    results = [fn(value) for value in values.ravel().tolist()]
    return np.array(results, dtype=np.float64).reshape(values.shape)
