"""Schemes whose spread the user sets, whatever the width of the layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from sknorm.nn.initializers._scheme import INITIALIZERS, Initializer, require

__all__ = [
    "Constant",
    "Normal",
    "Sparse",
    "StandardNormal",
    "TruncatedNormal",
    "Uniform",
    "Zeros",
]

# Standard deviation of N(0, 1) cut at -2 and 2.
TRUNCATED_STD = 0.8796256610342398


@INITIALIZERS.register("zeros")
@dataclass(frozen=True)
class Zeros(Initializer):
    """All weights 0: hidden units can never become different.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Zeros
    >>> Zeros()(torch.ones(1, 2))
    tensor([[0., 0.]])
    """

    fills_bias: ClassVar[bool] = True

    def fill_(self, weight, gain, generator):
        """Fill with zeros."""
        weight.zero_()


@INITIALIZERS.register("constant")
@dataclass(frozen=True)
class Constant(Initializer):
    """All weights the same: hidden units of a layer stay copies of each other.

    Parameters
    ----------
    value : float, default=0.1
        The weight.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Constant
    >>> Constant(0.5)(torch.empty(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    value: float = 0.1
    fills_bias: ClassVar[bool] = True

    def fill_(self, weight, gain, generator):
        """Fill with the value."""
        weight.fill_(self.value)


@INITIALIZERS.register("normal")
@dataclass(frozen=True)
class Normal(Initializer):
    r"""Draw from :math:`N(\text{mean}, \text{std}^2)`, whatever the width.

    Parameters
    ----------
    mean : float, default=0.0
        Mean of the weights.
    std : float, default=0.01
        Standard deviation, at least 0. The default is the small one of early vision
        networks (Krizhevsky et al. 2012); deep nets lose their signal with it.

    Raises
    ------
    ValueError
        If ``std`` is negative.

    Examples
    --------
    >>> from sknorm.nn.initializers import Normal
    >>> Normal(mean=10, std=5)
    Normal(mean=10, std=5)
    """

    mean: float = 0.0
    std: float = 0.01
    fills_bias: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.std >= 0, self, "The 'std' of an initializer must be >= 0.")

    def fill_(self, weight, gain, generator):
        """Draw normal numbers."""
        weight.normal_(self.mean, self.std, generator=generator)


@INITIALIZERS.register("standard_normal")
@dataclass(frozen=True)
class StandardNormal(Initializer):
    """Draw from N(0, 1), as ``torch.randn``: the signal grows by the width.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import StandardNormal
    >>> weight = StandardNormal()(
    ...     torch.empty(100, 100), generator=torch.Generator().manual_seed(0)
    ... )
    >>> bool((weight.std() - 1).abs() < 0.05)
    True
    """

    fills_bias: ClassVar[bool] = True

    def fill_(self, weight, gain, generator):
        """Draw standard normal numbers."""
        weight.normal_(generator=generator)


@INITIALIZERS.register("uniform")
@dataclass(frozen=True)
class Uniform(Initializer):
    """Draw from U(low, high), whatever the width.

    Parameters
    ----------
    low, high : float, default=-0.05 and 0.05
        Ends of the interval.

    Raises
    ------
    ValueError
        If ``low`` is above ``high``.

    Examples
    --------
    >>> from sknorm.nn.initializers import Uniform
    >>> Uniform(0, 1)
    Uniform(low=0, high=1)
    """

    low: float = -0.05
    high: float = 0.05
    fills_bias: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.low <= self.high, self, "Uniform needs low <= high.")

    def fill_(self, weight, gain, generator):
        """Draw uniform numbers."""
        weight.uniform_(self.low, self.high, generator=generator)


@INITIALIZERS.register("truncated_normal")
@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Draw normal numbers, none farther than two standard deviations from the mean.

    Parameters
    ----------
    mean : float, default=0.0
        Mean of the weights.
    std : float or None, default=None
        Standard deviation of what is drawn, after the cut. None takes the gain of the
        activation over the root of the number of inputs; for biases 0.02.

    Raises
    ------
    ValueError
        If ``std`` is negative.

    Notes
    -----
    Cutting N(0, 1) at two leaves a standard deviation of 0.8796, so the numbers are
    drawn wider by as much. The farthest are at 2 / 0.8796 = 2.27 of the final ``std``.

    Examples
    --------
    >>> from sknorm.nn.initializers import TruncatedNormal
    >>> TruncatedNormal(std=0.02)
    TruncatedNormal(mean=0.0, std=0.02)
    """

    mean: float = 0.0
    std: float | None = None
    fills_bias: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            self.std is None or self.std >= 0,
            self,
            "The 'std' of an initializer must be >= 0.",
        )

    def fill_(self, weight, gain, generator):
        """Draw truncated normal numbers."""
        std = self.std
        if std is None:
            std = gain / math.sqrt(weight.shape[1]) if weight.ndim == 2 else 0.02
        nn.init.trunc_normal_(weight, 0.0, 1.0, -2.0, 2.0, generator=generator)
        weight.mul_(std / TRUNCATED_STD).add_(self.mean)


@INITIALIZERS.register("sparse")
@dataclass(frozen=True)
class Sparse(Initializer):
    """Draw few weights of a unit and set the others to zero.

    Parameters
    ----------
    sparsity : float, default=0.9
        Share of the inputs of a unit whose weight is zero, in [0, 1).
    std : float or None, default=None
        Standard deviation of the others. None takes what keeps the variance of the
        signal: the activation's gain over the root of the number of others.

    Raises
    ------
    ValueError
        If ``sparsity`` isn't in [0, 1) or ``std`` is negative.

    References
    ----------
    J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Sparse
    >>> int((Sparse(0.75)(torch.empty(2, 8)) != 0).sum())
    4
    """

    sparsity: float = 0.9
    std: float | None = None

    def __post_init__(self) -> None:
        require(
            0 <= self.sparsity < 1, self, "The 'sparsity' of Sparse must be in [0, 1)."
        )
        require(
            self.std is None or self.std >= 0,
            self,
            "The 'std' of an initializer must be >= 0.",
        )

    def fill_(self, weight, gain, generator):
        """Draw normal numbers and keep the same number for every unit."""
        fan_out, fan_in = weight.shape
        kept = max(1, fan_in - math.ceil(self.sparsity * fan_in))
        std = gain / math.sqrt(kept) if self.std is None else self.std
        weight.normal_(0.0, std, generator=generator)
        order = torch.rand(fan_out, fan_in, generator=generator).argsort(dim=1)
        weight.scatter_(1, order[:, kept:], 0.0)
