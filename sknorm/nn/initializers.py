"""The table of initialisation schemes.

A scheme is a small frozen dataclass: it compares, hashes, clones and pickles, so
``Normal(mean=10, std=5)`` can be a value in a grid search. It fills a weight of shape
``(out_features, in_features)``, one model's view, in place and from one generator.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from sknorm._registry import Registry
from sknorm.nn._quadrature import gaussian_expectation, slope

__all__ = [
    "INITIALIZERS",
    "LSUV",
    "Auto",
    "Constant",
    "Custom",
    "EdgeOfChaos",
    "Initializer",
    "KaimingNormal",
    "KaimingUniform",
    "LecunNormal",
    "LecunUniform",
    "Normal",
    "Orthogonal",
    "Sparse",
    "StandardNormal",
    "TorchDefault",
    "TruncatedNormal",
    "Uniform",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "resolve_initializer",
]

Position = Literal["input", "hidden", "output"]
Phi = Callable[[Tensor], Tensor]

INITIALIZERS: Registry[type[Initializer]] = Registry("initializer")

# Standard deviation of N(0, 1) cut at -2 and 2.
TRUNCATED_STD = 0.8796256610342398


def _require(condition: bool, scheme: Initializer, rule: str) -> None:
    if not condition:
        raise ValueError(f"{rule} Got {scheme!r}.")


class Initializer:
    """A rule that fills weights; base class of all schemes.

    Subclasses define ``fill_``. Those that fit biases too set ``fills_bias``.
    """

    fills_bias: ClassVar[bool] = False
    data_dependent: ClassVar[bool] = False

    @torch.no_grad()
    def __call__(
        self,
        weight: Tensor,
        *,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Fill a tensor in place.

        Parameters
        ----------
        weight : Tensor of shape (out_features, in_features)
            What is filled; schemes with ``fills_bias`` take a vector as well.
        gain : float, default=1.0
            The activation's gain, for schemes that follow the activation.
        generator : torch.Generator, default=None
            What is drawn from; torch's global generator if None.

        Returns
        -------
        Tensor
            The tensor given.
        """
        self.fill_(weight, gain, generator)
        return weight

    def fill_(
        self, weight: Tensor, gain: float, generator: torch.Generator | None
    ) -> None:
        """Fill a tensor in place; called without gradients."""
        raise TypeError(f"{type(self).__name__} has to define fill_().")

    @torch.no_grad()
    def init_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Fill the bias that goes with a weight of this scheme: zeros by default."""
        return bias.zero_()

    def fill_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Fill a bias when the scheme is chosen as ``bias_init``."""
        return self(bias, generator=generator)

    def bind(
        self, *, phi: Phi, gain: float, position: Position, normalized: bool
    ) -> Initializer:
        """Return the scheme for one layer of one network; most don't care.

        Parameters
        ----------
        phi : callable
            The activation, a function of tensors.
        gain : float
            Its gain.
        position : {"input", "hidden", "output"}
            ``"input"`` if the layer is fed standardized numbers, else whether its own
            output is a hidden signal or the network's.
        normalized : bool
            Whether the network has norm layers.

        Returns
        -------
        Initializer
        """
        return self


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
        _require(self.std >= 0, self, "The 'std' of an initializer must be >= 0.")

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
        _require(self.low <= self.high, self, "Uniform needs low <= high.")

    def fill_(self, weight, gain, generator):
        """Draw uniform numbers."""
        weight.uniform_(self.low, self.high, generator=generator)


def _normal_(weight: Tensor, std: float, generator: torch.Generator | None) -> None:
    weight.normal_(0.0, std, generator=generator)


def _uniform_(weight: Tensor, std: float, generator: torch.Generator | None) -> None:
    bound = math.sqrt(3.0) * std
    weight.uniform_(-bound, bound, generator=generator)


def _check_gain(scheme: Any) -> None:
    _require(
        scheme.gain is None or scheme.gain > 0,
        scheme,
        "The 'gain' of an initializer must be > 0, or None for the activation's own.",
    )


@dataclass(frozen=True)
class _Xavier(Initializer):
    gain: float | None = 1.0

    def __post_init__(self) -> None:
        _check_gain(self)

    def _std(self, weight: Tensor, gain: float) -> float:
        fan_out, fan_in = weight.shape
        gain = gain if self.gain is None else self.gain
        return gain * math.sqrt(2.0 / (fan_in + fan_out))


_XAVIER_DOC = r"""Draw from a {kind} distribution of variance 2 gain^2 / (in + out).

    Parameters
    ----------
    gain : float or None, default=1.0
        Factor on the standard deviation; None takes the activation's gain.

    Raises
    ------
    ValueError
        If ``gain`` isn't positive.

    Notes
    -----
    A compromise between keeping the signal, :math:`1 / n_{{in}}`, and keeping the
    gradient, :math:`1 / n_{{out}}`, for activations that are linear near 0. With ReLU
    it halves the signal at every layer.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010.

    Examples
    --------
    >>> from sknorm.nn.initializers import {name}
    >>> {name}()
    {name}(gain=1.0)
    """


@INITIALIZERS.register("xavier_normal")
@dataclass(frozen=True)
class XavierNormal(_Xavier):
    __doc__ = _XAVIER_DOC.format(kind="normal", name="XavierNormal")

    def fill_(self, weight, gain, generator):
        """Draw normal numbers."""
        _normal_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("xavier_uniform")
@dataclass(frozen=True)
class XavierUniform(_Xavier):
    __doc__ = _XAVIER_DOC.format(kind="uniform", name="XavierUniform")

    def fill_(self, weight, gain, generator):
        """Draw uniform numbers."""
        _uniform_(weight, self._std(weight, gain), generator)


@dataclass(frozen=True)
class _Kaiming(Initializer):
    mode: str = "fan_in"
    gain: float | None = None

    def __post_init__(self) -> None:
        _check_gain(self)
        _require(
            self.mode in ("fan_in", "fan_out"),
            self,
            "The 'mode' of Kaiming schemes must be 'fan_in' or 'fan_out'.",
        )

    def _std(self, weight: Tensor, gain: float) -> float:
        fan_out, fan_in = weight.shape
        gain = gain if self.gain is None else self.gain
        return gain / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


_KAIMING_DOC = r"""Draw from a {kind} distribution of variance gain^2 / fan.

    Parameters
    ----------
    mode : {{"fan_in", "fan_out"}}, default="fan_in"
        Whether the signal or the gradient keeps its size.
    gain : float or None, default=None
        Factor on the standard deviation; None takes the activation's gain, which for
        ReLU is :math:`\sqrt 2`.

    Raises
    ------
    ValueError
        If ``mode`` is unknown or ``gain`` isn't positive.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers: Surpassing
    Human-Level Performance on ImageNet Classification", ICCV 2015.

    Examples
    --------
    >>> from sknorm.nn.initializers import {name}
    >>> {name}(mode="fan_out")
    {name}(mode='fan_out', gain=None)
    """


@INITIALIZERS.register("kaiming_normal")
@dataclass(frozen=True)
class KaimingNormal(_Kaiming):
    __doc__ = _KAIMING_DOC.format(kind="normal", name="KaimingNormal")

    def fill_(self, weight, gain, generator):
        """Draw normal numbers."""
        _normal_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("kaiming_uniform")
@dataclass(frozen=True)
class KaimingUniform(_Kaiming):
    __doc__ = _KAIMING_DOC.format(kind="uniform", name="KaimingUniform")

    def fill_(self, weight, gain, generator):
        """Draw uniform numbers."""
        _uniform_(weight, self._std(weight, gain), generator)


@INITIALIZERS.register("lecun_normal")
@dataclass(frozen=True)
class LecunNormal(Initializer):
    """Draw from a normal distribution of variance 1 / in: for SELU and linear units.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter, "Self-Normalizing Neural
    Networks", NeurIPS 2017.

    Examples
    --------
    >>> from sknorm.nn.initializers import LecunNormal
    >>> LecunNormal()
    LecunNormal()
    """

    def fill_(self, weight, gain, generator):
        """Draw normal numbers."""
        _normal_(weight, 1.0 / math.sqrt(weight.shape[1]), generator)


@INITIALIZERS.register("lecun_uniform")
@dataclass(frozen=True)
class LecunUniform(Initializer):
    """Draw from a uniform distribution of variance 1 / in.

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

    def fill_(self, weight, gain, generator):
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
        If ``gain`` isn't positive.

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

    def __post_init__(self) -> None:
        _check_gain(self)

    def fill_(self, weight, gain, generator):
        """Draw an orthogonal matrix."""
        factor = gain if self.gain is None else self.gain
        nn.init.orthogonal_(weight, gain=factor, generator=generator)


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
        _require(
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
        _require(
            0 <= self.sparsity < 1, self, "The 'sparsity' of Sparse must be in [0, 1)."
        )
        _require(
            self.std is None or self.std >= 0,
            self,
            "The 'std' of an initializer must be >= 0.",
        )

    def fill_(self, weight, gain, generator):
        """Draw normal numbers and keep the same number for every unit."""
        fan_out, fan_in = weight.shape
        kept = max(1, fan_in - math.ceil(self.sparsity * fan_in))
        std = gain / math.sqrt(kept) if self.std is None else self.std
        _normal_(weight, std, generator)
        order = torch.rand(fan_out, fan_in, generator=generator).argsort(dim=1)
        weight.scatter_(1, order[:, kept:], 0.0)


@INITIALIZERS.register("torch_default")
@dataclass(frozen=True)
class TorchDefault(Initializer):
    """Draw weights and biases as ``torch.nn.Linear`` does: U(-1, 1) / sqrt(in).

    Notes
    -----
    A variance of 1 / (3 in): with ReLU the signal falls to a sixth at every layer. It
    is torch's default for the sake of old code, not of deep networks.

    Examples
    --------
    >>> from sknorm.nn.initializers import TorchDefault
    >>> TorchDefault()
    TorchDefault()
    """

    fills_bias: ClassVar[bool] = True

    def fill_(self, weight, gain, generator):
        """Draw uniform numbers."""
        bound = 1.0 / math.sqrt(weight.shape[1])
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


@INITIALIZERS.register("edge_of_chaos")
@dataclass(frozen=True)
class EdgeOfChaos(Initializer):
    r"""Draw weights and biases for which deep signals neither die nor explode.

    Parameters
    ----------
    q_star : float, default=0.5
        Variance at which pre-activations should stay, over 0. Where an activation has
        no such point, the smallest larger one is taken.

    Raises
    ------
    ValueError
        If ``q_star`` isn't positive, or the activation has no edge of chaos.

    Notes
    -----
    With :math:`W \sim N(0, \sigma_w^2 / n_{in})` and :math:`b \sim N(0, \sigma_b^2)`,
    the variance :math:`q` of pre-activations has a fixed point
    :math:`q = \sigma_w^2 E[\phi(\sqrt q z)^2] + \sigma_b^2`, at which a gradient is
    multiplied by :math:`\chi = \sigma_w^2 E[\phi'(\sqrt q z)^2]` per layer. The scheme
    solves for :math:`\chi = 1` at ``q_star``. The first layer, which is fed
    standardized numbers and not activations, gets :math:`\sigma_w^2 = q - \sigma_b^2`.

    References
    ----------
    S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
    Propagation", ICLR 2017.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import EdgeOfChaos
    >>> scheme = EdgeOfChaos().bind(
    ...     phi=torch.tanh, gain=1.59, position="hidden", normalized=False
    ... )
    >>> round(scheme.sigma_w**2, 4), round(scheme.sigma_b**2, 4)
    (1.688, 0.038)
    """

    q_star: float = 0.5

    def __post_init__(self) -> None:
        _require(self.q_star > 0, self, "The 'q_star' of EdgeOfChaos must be > 0.")

    def bind(self, *, phi: Phi, gain: float, position: Position, normalized: bool):
        """Solve for the two variances."""
        q, variance_w, variance_b = _edge_of_chaos(phi, self.q_star)
        if position == "input":
            variance_w = q - variance_b
        return _MeanField(math.sqrt(variance_w), math.sqrt(variance_b))

    def fill_(self, weight, gain, generator):
        """Refuse: the scheme depends on the activation."""
        raise ValueError(
            "EdgeOfChaos depends on the activation: call bind(phi=...) first, as MLP "
            "does."
        )


@dataclass(frozen=True)
class _MeanField(Initializer):
    """Weights N(0, sigma_w^2 / in), biases N(0, sigma_b^2)."""

    sigma_w: float
    sigma_b: float

    def fill_(self, weight, gain, generator):
        _normal_(weight, self.sigma_w / math.sqrt(weight.shape[1]), generator)

    @torch.no_grad()
    def init_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        return bias.normal_(0.0, self.sigma_b, generator=generator)


def _edge_of_chaos(phi: Phi, q_star: float) -> tuple[float, float, float]:
    """Return the fixed point and the variances of weights and biases at chi = 1."""

    def variances(q: float) -> tuple[float, float]:
        std = math.sqrt(q)
        squared_slope = gaussian_expectation(lambda z: slope(phi, z).square(), std)
        second_moment = gaussian_expectation(lambda z: phi(z).square(), std)
        return 1.0 / squared_slope, q - second_moment / squared_slope

    # Homogeneous functions have a bias variance of exactly 0; rounding may be below.
    slack, q = 1e-9, q_star
    while variances(q)[1] < -slack * q:
        q *= 2.0
        if q > 1e6:
            raise ValueError(
                "The activation has no edge of chaos with a fixed point of at least "
                f"{q_star!r}. Use init='auto' or another activation."
            )
    if q > q_star:
        q = brentq(lambda at: variances(at)[1], q / 2, q)
    variance_w, variance_b = variances(q)
    return q, variance_w, max(variance_b, 0.0)


@INITIALIZERS.register("lsuv")
@dataclass(frozen=True)
class LSUV(Initializer):
    """Scale each layer until its pre-activations on real data have variance 1.

    Parameters
    ----------
    tol : float, default=0.1
        How far from 1 the variance may stay.
    max_iter : int, default=10
        Number of rescalings after which a layer is left as it is.
    base : str or Initializer, default="orthogonal"
        The scheme whose weights are rescaled.

    Raises
    ------
    ValueError
        If ``tol`` isn't positive or ``max_iter`` less than 1.

    References
    ----------
    D. Mishkin and J. Matas, "All you need is a good init", ICLR 2016.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import LSUV
    >>> weight, x = torch.full((4, 3), 7.0), torch.randn(200, 3)
    >>> weight = LSUV().scale_(weight, lambda: x @ weight.T)
    >>> bool(((x @ weight.T).var() - 1).abs() < 0.1)
    True
    """

    tol: float = 0.1
    max_iter: int = 10
    base: Any = "orthogonal"
    data_dependent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require(
            self.tol > 0 and self.max_iter >= 1,
            self,
            "LSUV needs tol > 0 and max_iter >= 1.",
        )

    def fill_(self, weight, gain, generator):
        """Fill with the base scheme."""
        resolve_initializer(self.base)(weight, gain=gain, generator=generator)

    @torch.no_grad()
    def scale_(self, weight: Tensor, preactivation_of: Callable[[], Tensor]) -> Tensor:
        """Rescale a weight in place.

        Parameters
        ----------
        weight : Tensor
            What is rescaled.
        preactivation_of : callable
            Returns what the layer makes of the data with the weight as it is.

        Returns
        -------
        Tensor
            The weight.
        """
        for _ in range(self.max_iter):
            variance = float(preactivation_of().double().var(correction=0))
            # A layer that says nothing about the data can't be scaled into speaking.
            if not variance > 0 or abs(variance - 1.0) < self.tol:
                break
            weight.div_(math.sqrt(variance))
        return weight


@INITIALIZERS.register("auto")
@dataclass(frozen=True)
class Auto(Initializer):
    r"""Draw what keeps every pre-activation at standard deviation 1.

    Notes
    -----
    :math:`W \sim N(0, g^2 / n_{in})` with zero biases. A layer that is fed activations
    takes the gain :math:`g = 1 / \sqrt{E[\phi(z)^2]}` of the activation, computed by
    quadrature: for ReLU this is Kaiming's :math:`\sqrt 2`, for SELU LeCun's 1. A layer
    that is fed standardized numbers, the first one or one behind a norm layer, takes
    1. The last layer is one of those fed activations, so outputs start at standard
    deviation 1 too. Norm layers before the activation make the scale of the weights
    immaterial to the function, yet not to the effective learning rate, so it stays.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Auto
    >>> Auto().bind(phi=torch.relu, gain=1.414, position="input", normalized=False)
    KaimingNormal(mode='fan_in', gain=1.0)
    """

    def bind(self, *, phi: Phi, gain: float, position: Position, normalized: bool):
        """Choose the gain by what feeds the layer."""
        return KaimingNormal(gain=1.0 if position == "input" else gain)

    def fill_(self, weight, gain, generator):
        """Fill as a layer that is fed activations."""
        KaimingNormal().fill_(weight, gain, generator)


@dataclass(frozen=True)
class Custom(Initializer):
    """A user's function as a scheme.

    Parameters
    ----------
    fn : callable
        Fills a tensor in place. It is given ``generator`` if its signature has that
        name, and ``gain``, the activation's, if it has no default of its own for it.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Custom
    >>> Custom(torch.nn.init.ones_)(torch.empty(1, 2))
    tensor([[1., 1.]])
    """

    fn: Callable[..., Any]
    fills_bias: ClassVar[bool] = True

    def fill_(self, weight, gain, generator):
        """Call the function with what it asks for."""
        asked = _parameters(self.fn)
        given: dict[str, Any] = {}
        if "generator" in asked:
            given["generator"] = generator
        if "gain" in asked and asked["gain"].default is inspect.Parameter.empty:
            given["gain"] = gain
        self.fn(weight, **given)


def _parameters(fn: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(fn).parameters)
    except ValueError:  # builtins that have no signature take the tensor alone
        return {}


def resolve_initializer(
    spec: Any, *, parameter: str = "init", owner: str = "MLP"
) -> Initializer:
    """Turn what a user gave into a scheme.

    Parameters
    ----------
    spec : str, Initializer, class or callable
        A name in :data:`INITIALIZERS`; a scheme; a class of one; or a function that
        fills a tensor in place, such as ``torch.nn.init.kaiming_normal_``.
    parameter, owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    Initializer

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is none of the above.

    Examples
    --------
    >>> from sknorm.nn.initializers import resolve_initializer
    >>> resolve_initializer("xavier_uniform")
    XavierUniform(gain=1.0)
    """
    if isinstance(spec, Initializer):
        return spec
    if isinstance(spec, str):
        return INITIALIZERS.get_named(spec, parameter=parameter, owner=owner)()
    if inspect.isclass(spec):
        made = spec()
        return made if isinstance(made, Initializer) else Custom(made)
    if callable(spec):
        return Custom(spec)
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(INITIALIZERS)}, an initializer such as Normal(mean=0, std=0.01), "
        f"or a function that fills a tensor in place. Got {spec!r}."
    )
