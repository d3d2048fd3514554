"""Schemes whose spread the user sets, whatever the width of the layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sknorm.nn.initializers._scheme import (
    INITIALIZERS,
    Initializer,
    Source,
    is_number,
    require,
    require_number,
    require_std,
)

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

    Notes
    -----
    With every weight 0 only the bias of the last layer has a gradient, and the network
    learns the mean of the target. Made for biases, and to be seen failing.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Zeros
    >>> Zeros()(torch.ones(1, 2))
    tensor([[0., 0.]])
    """

    fills_bias: ClassVar[bool] = True

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Fill with zeros."""
        weight.zero_()


@INITIALIZERS.register("constant")
@dataclass(frozen=True)
class Constant(Initializer):
    """All weights the same: hidden units of a layer stay copies of each other.

    Parameters
    ----------
    value : float, default=0.1
        The weight. As a bias, the default keeps most ReLU units on at the start.

    Raises
    ------
    ValueError
        If ``value`` isn't a finite number.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Constant
    >>> Constant(0.5)(torch.empty(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    value: float = 0.1
    fills_bias: ClassVar[bool] = True

    def _validate(self) -> None:
        require_number(self, "value")

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
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
        networks [1]_; deep nets lose their signal with it. N(0, 1), what
        ``torch.nn.init.normal_`` draws, has a name of its own: ``"standard_normal"``.

    Raises
    ------
    ValueError
        If ``mean`` isn't a finite number, or ``std`` not one of at least 0.

    References
    ----------
    .. [1] A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet Classification with
       Deep Convolutional Neural Networks", NeurIPS 2012.

    Examples
    --------
    >>> from sknorm.nn.initializers import Normal
    >>> Normal(mean=10, std=5)
    Normal(mean=10, std=5)
    """

    mean: float = 0.0
    std: float = 0.01
    fills_bias: ClassVar[bool] = True

    def _validate(self) -> None:
        require_number(self, "mean")
        require_std(self)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw normal numbers."""
        weight.normal_(self.mean, self.std, generator=generator)


@INITIALIZERS.register("standard_normal")
@dataclass(frozen=True)
class StandardNormal(Initializer):
    """Draw from N(0, 1), as ``torch.randn``: the signal grows by the width.

    Notes
    -----
    With ReLU the mean square of the signal is multiplied by half the fan-in at every
    layer; at width 512 that leaves the range of float32 after 32 layers.

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

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw standard normal numbers."""
        weight.normal_(generator=generator)


@INITIALIZERS.register("uniform")
@dataclass(frozen=True)
class Uniform(Initializer):
    """Draw from U(low, high), whatever the width.

    Parameters
    ----------
    low, high : float, default=-0.05 and 0.05
        Ends of the interval. Not the U(0, 1) of ``torch.nn.init.uniform_``, which
        gives all weights one sign.

    Raises
    ------
    ValueError
        If an end isn't a finite number, or ``low`` is above ``high``.

    Examples
    --------
    >>> from sknorm.nn.initializers import Uniform
    >>> Uniform(0, 1)
    Uniform(low=0, high=1)
    """

    low: float = -0.05
    high: float = 0.05
    fills_bias: ClassVar[bool] = True

    def _validate(self) -> None:
        require_number(self, "low")
        require_number(self, "high")
        require(self.low <= self.high, self, "low", f"at most high={self.high!r}")

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw uniform numbers."""
        weight.uniform_(self.low, self.high, generator=generator)


@INITIALIZERS.register("truncated_normal")
@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Draw normal numbers without the tails.

    Parameters
    ----------
    mean : float, default=0.0
        Mean of the weights.
    std : float or None, default=None
        Standard deviation of what is drawn, after the cut. None takes the gain of the
        activation over the root of the number of inputs.

    Raises
    ------
    ValueError
        If ``mean`` isn't a finite number, or ``std`` not None or one of at least 0.

    Notes
    -----
    A normal distribution is cut at two of its standard deviations, which leaves 0.8796
    of it, so it is drawn wider by as much: the farthest numbers are 2 / 0.8796 = 2.27
    times ``std`` from the mean. ``torch.nn.init.trunc_normal_`` cuts at absolute
    bounds instead, which at a small ``std`` cut nothing, and corrects nothing.

    Examples
    --------
    >>> from sknorm.nn.initializers import TruncatedNormal
    >>> TruncatedNormal(std=0.02)
    TruncatedNormal(mean=0.0, std=0.02)
    """

    mean: float = 0.0
    std: float | None = None
    fills_bias: ClassVar[bool] = True

    def _validate(self) -> None:
        require_number(self, "mean")
        require_std(self, optional=True)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw truncated normal numbers."""
        self._draw(weight, gain / math.sqrt(weight.shape[-1]), generator)

    @torch.no_grad()
    def fill_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw truncated normal numbers; None scales by the layer's inputs."""
        self._draw(bias, 1.0 / math.sqrt(fan_in), generator)
        return bias

    def _draw(self, tensor: Tensor, default_std: float, generator: Source) -> None:
        std = default_std if self.std is None else self.std
        nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator=generator)
        tensor.mul_(std / TRUNCATED_STD).add_(self.mean)


@INITIALIZERS.register("sparse")
@dataclass(frozen=True)
class Sparse(Initializer):
    """Draw few weights of a unit and set the others to zero.

    Parameters
    ----------
    sparsity : float, default=0.9
        Share of the inputs of a unit whose weight is zero, in [0, 1). At least one
        input is left.
    std : float or None, default=None
        Standard deviation of the others. None takes what keeps the variance of the
        signal: the activation's gain over the root of the number of others.

    Raises
    ------
    ValueError
        If ``sparsity`` isn't in [0, 1), or ``std`` not None or a finite number of at
        least 0.

    Notes
    -----
    Every unit keeps the same number of inputs, as in [1]_, so none starts deaf.
    ``torch.nn.init.sparse_`` counts over outputs instead and can leave such units.

    References
    ----------
    .. [1] J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Sparse
    >>> int((Sparse(0.75)(torch.empty(2, 8)) != 0).sum())
    4
    """

    sparsity: float = 0.9
    std: float | None = None

    def _validate(self) -> None:
        valid = is_number(self.sparsity) and 0 <= self.sparsity < 1
        require(valid, self, "sparsity", "a number in [0, 1)")
        require_std(self, optional=True)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw normal numbers and keep the same number for every unit."""
        fan_in = weight.shape[1]
        kept = max(1, fan_in - round(self.sparsity * fan_in))
        std = gain / math.sqrt(kept) if self.std is None else self.std
        weight.normal_(0.0, std, generator=generator)
        order = torch.rand(
            weight.shape, generator=generator, device=weight.device
        ).argsort(dim=1)
        weight.scatter_(1, order[:, kept:], 0.0)
