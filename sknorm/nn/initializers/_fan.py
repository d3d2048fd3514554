"""Schemes whose spread follows from the number of inputs and outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sknorm.nn.initializers._scheme import (
    INITIALIZERS,
    Initializer,
    Phi,
    Position,
    Source,
    require,
    require_gain,
)

__all__ = [
    "Auto",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "TorchDefault",
    "XavierNormal",
    "XavierUniform",
]


def _normal_(weight: Tensor, std: float, generator: Source) -> None:
    weight.normal_(0.0, std, generator=generator)


def _uniform_(weight: Tensor, std: float, generator: Source) -> None:
    bound = math.sqrt(3.0) * std
    weight.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class _Xavier(Initializer):
    gain: float | None = 1.0

    def _validate(self) -> None:
        require_gain(self)

    def _std(self, weight: Tensor, gain: float) -> float:
        fan_out, fan_in = weight.shape
        gain = gain if self.gain is None else self.gain
        return gain * math.sqrt(2.0 / (fan_in + fan_out))


@INITIALIZERS.register("xavier_normal")
@dataclass(frozen=True)
class XavierNormal(_Xavier):
    """Draw from a normal distribution of variance 2 gain^2 / (in + out).

    Parameters
    ----------
    gain : float or None, default=1.0
        Factor on the standard deviation; None takes the activation's gain.

    Raises
    ------
    ValueError
        If ``gain`` isn't None or a finite number greater than 0.

    Notes
    -----
    A compromise between 1 / in, which keeps the signal, and 1 / out, which keeps the
    gradient, for activations that are linear near 0, such as tanh. With ReLU and equal
    widths it halves the mean square of the signal at every layer.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010.

    Examples
    --------
    >>> from sknorm.nn.initializers import XavierNormal
    >>> XavierNormal()
    XavierNormal(gain=1.0)
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw normal numbers."""
        _normal_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("xavier_uniform")
@dataclass(frozen=True)
class XavierUniform(_Xavier):
    """Draw from a uniform distribution of variance 2 gain^2 / (in + out).

    Parameters
    ----------
    gain : float or None, default=1.0
        Factor on the standard deviation; None takes the activation's gain.

    Raises
    ------
    ValueError
        If ``gain`` isn't None or a finite number greater than 0.

    See Also
    --------
    XavierNormal : The same variance, and what it is for.

    Notes
    -----
    The interval ends at -b and b, b = gain sqrt(6 / (in + out)).

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010.

    Examples
    --------
    >>> from sknorm.nn.initializers import XavierUniform
    >>> XavierUniform(gain=None)
    XavierUniform(gain=None)
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw uniform numbers."""
        _uniform_(weight, self._std(weight, gain), generator)


@dataclass(frozen=True)
class _Kaiming(Initializer):
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    gain: float | None = None

    def _validate(self) -> None:
        require_gain(self)
        known = self.mode in ("fan_in", "fan_out")
        require(known, self, "mode", "'fan_in' or 'fan_out'")

    def _std(self, weight: Tensor, gain: float) -> float:
        fan_out, fan_in = weight.shape
        gain = gain if self.gain is None else self.gain
        return gain / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


@INITIALIZERS.register("kaiming_normal")
@dataclass(frozen=True)
class KaimingNormal(_Kaiming):
    """Draw from a normal distribution of variance gain^2 / fan.

    Parameters
    ----------
    mode : {"fan_in", "fan_out"}, default="fan_in"
        Whether the signal on its way forward or the gradient on its way back keeps its
        size.
    gain : float or None, default=None
        Factor on the standard deviation; None takes the activation's gain, sqrt(2) for
        ReLU.

    Raises
    ------
    ValueError
        If ``mode`` is unknown, or ``gain`` isn't None or a finite number greater
        than 0.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers: Surpassing
    Human-Level Performance on ImageNet Classification", ICCV 2015.

    Examples
    --------
    >>> from sknorm.nn.initializers import KaimingNormal
    >>> KaimingNormal(mode="fan_out")
    KaimingNormal(mode='fan_out', gain=None)
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw normal numbers."""
        _normal_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("kaiming_uniform")
@dataclass(frozen=True)
class KaimingUniform(_Kaiming):
    """Draw from a uniform distribution of variance gain^2 / fan.

    Parameters
    ----------
    mode : {"fan_in", "fan_out"}, default="fan_in"
        Whether the signal on its way forward or the gradient on its way back keeps its
        size.
    gain : float or None, default=None
        Factor on the standard deviation; None takes the activation's gain, sqrt(2) for
        ReLU.

    Raises
    ------
    ValueError
        If ``mode`` is unknown, or ``gain`` isn't None or a finite number greater
        than 0.

    Notes
    -----
    The interval ends at -b and b, b = gain sqrt(3 / fan).

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers: Surpassing
    Human-Level Performance on ImageNet Classification", ICCV 2015.

    Examples
    --------
    >>> from sknorm.nn.initializers import KaimingUniform
    >>> KaimingUniform()
    KaimingUniform(mode='fan_in', gain=None)
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw uniform numbers."""
        _uniform_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(Initializer):
    """Draw from a normal distribution of variance 1 / in.

    Notes
    -----
    Keeps the signal of a linear layer, and of a SELU network, which is made for it
    [2]_. ``torch.nn.init.kaiming_normal_(..., nonlinearity="selu")`` is not the same:
    its gain of 3/4 lets the signal fade.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", in
       Neural Networks: Tricks of the Trade, Springer 1998.
    .. [2] G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter, "Self-Normalizing
       Neural Networks", NeurIPS 2017.

    Examples
    --------
    >>> from sknorm.nn.initializers import LecunNormal
    >>> LecunNormal()
    LecunNormal()
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw normal numbers."""
        _normal_(weight, 1.0 / math.sqrt(weight.shape[1]), generator)


@INITIALIZERS.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform(Initializer):
    """Draw from a uniform distribution of variance 1 / in.

    See Also
    --------
    LecunNormal : The same variance, and what it is for.

    Notes
    -----
    The interval ends at -b and b, b = sqrt(3 / in).

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", in Neural
    Networks: Tricks of the Trade, Springer 1998.

    Examples
    --------
    >>> from sknorm.nn.initializers import LecunUniform
    >>> LecunUniform()
    LecunUniform()
    """

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw uniform numbers."""
        _uniform_(weight, 1.0 / math.sqrt(weight.shape[1]), generator)


@INITIALIZERS.register("orthogonal")
@dataclass(frozen=True)
class Orthogonal(Initializer):
    """Draw a matrix with orthonormal rows or columns, times a gain.

    Parameters
    ----------
    gain : float or None, default=1.0
        Factor on the matrix; None takes the activation's gain.

    Raises
    ------
    ValueError
        If ``gain`` isn't None or a finite number greater than 0.

    Notes
    -----
    W W^T = gain^2 I if the layer has no more outputs than inputs, and W^T W = gain^2 I
    otherwise. A square matrix keeps the length of every signal exactly, where random
    ones keep it on average. A weight has the variance gain^2 / max(in, out), so a layer
    that widens lets the variance of its outputs fall by in / out.

    References
    ----------
    A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks", ICLR 2014.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Orthogonal
    >>> w = Orthogonal()(torch.empty(3, 5))
    >>> bool(torch.allclose(w @ w.T, torch.eye(3), atol=1e-6))
    True
    """

    gain: float | None = 1.0

    def _validate(self) -> None:
        require_gain(self)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw an orthogonal matrix."""
        factor = gain if self.gain is None else self.gain
        nn.init.orthogonal_(weight, gain=factor, generator=generator)


@INITIALIZERS.register("torch_default")
@dataclass(frozen=True)
class TorchDefault(Initializer):
    """Draw weights and biases as ``torch.nn.Linear`` does: U(-1, 1) / sqrt(in).

    Notes
    -----
    A variance of 1 / (3 in): with ReLU the mean square of the signal falls to a sixth
    at every layer. It is torch's default for the sake of old code, not of deep
    networks. A vector filled without a layer around it counts as fed by as many inputs
    as it is long.

    Examples
    --------
    >>> from sknorm.nn.initializers import TorchDefault
    >>> TorchDefault()
    TorchDefault()
    """

    fills_bias: ClassVar[bool] = True

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Draw uniform numbers."""
        bound = 1.0 / math.sqrt(weight.shape[-1])
        weight.uniform_(-bound, bound, generator=generator)

    @torch.no_grad()
    def init_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw from the same interval as the weights."""
        bound = 1.0 / math.sqrt(fan_in)
        return bias.uniform_(-bound, bound, generator=generator)

    def fill_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw from the same interval as the weights."""
        return self.init_bias(bias, fan_in=fan_in, generator=generator)


@INITIALIZERS.register("auto")
@dataclass(frozen=True)
class Auto(Initializer):
    r"""Draw what keeps every pre-activation at standard deviation 1.

    Notes
    -----
    :math:`W \sim N(0, g^2 / n_{in})`. A layer that is fed activations takes the gain
    :math:`g = 1 / \sqrt{E[\phi(z)^2]}` of the activation, computed by quadrature: for
    ReLU this is Kaiming's :math:`\sqrt 2`, for SELU LeCun's 1. A layer that is fed
    standardized numbers, the first one or any one behind a norm layer, takes 1. The
    last layer is one of those fed activations, so outputs start at standard deviation 1
    too. Norm layers before the activation make the scale of the weights immaterial to
    the function, yet not to the effective learning rate, so it stays.

    Biases are zero but for the first of several layers. With zeros there too, all its
    units bend along planes through the mean of the data, and a small table takes many
    steps to move them. So half of the variance of these pre-activations comes from the
    data and half from biases drawn from :math:`N(0, 1/2)`: together they are N(0, 1),
    and the units bend all over the data. Where a norm layer follows, its beta is the
    bias, which it would else centre away, and its gamma is :math:`\sqrt{1/2}`. A
    ``bias_init`` other than ``"auto"`` leaves the norm layer alone.

    The distribution is normal because only its variance matters in a wide layer, and
    not orthogonal because a layer that widens would then lose variance. It is the
    signal that keeps its size; the gradient keeps its own only where ``gain`` and
    ``grad_gain`` agree (the ReLU family) and otherwise changes by their squared ratio
    at each layer. A very deep network without norm layers is better served by
    ``"edge_of_chaos"``.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Auto
    >>> Auto().bind(phi=torch.relu, gain=1.414, position="input", normalized=False)
    KaimingNormal(mode='fan_in', gain=1.0)
    """

    spreads_hinges: ClassVar[bool] = True

    def bind(
        self, *, phi: Phi, gain: float, position: Position, normalized: bool
    ) -> KaimingNormal:
        """Choose the gain by what feeds the layer."""
        return KaimingNormal(gain=1.0 if position == "input" else gain)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Fill as a layer that is fed activations."""
        KaimingNormal().fill_(weight, gain, generator)
