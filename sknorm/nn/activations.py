"""The table of activations: each with what theory says about it, computed."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sknorm._registry import Registry
from sknorm.nn._quadrature import gaussian_expectation, slope

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Elementwise",
    "gaussian_expectation",
    "resolve_activation",
]

# The one threshold for which the sweet spot of sigmoid is exactly (-2, 2) and that of
# tanh (-1, 1): both keep 1 - tanh(1)^2 = 42 % of their steepest slope there.
SWEET_SPOT_SLOPE = 1.0 - math.tanh(1.0) ** 2

# Where slopes are compared; past it a function is taken to go on as it does there.
_SCAN_REACH, _SCAN_STEP = 24.0, 1.0 / 64.0


class Elementwise(nn.Module):
    """A tensor function as a module, so that it can stand between layers.

    Parameters
    ----------
    fn : callable
        Function of a tensor that returns a tensor of the same shape.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.activations import Elementwise
    >>> Elementwise(torch.sin)(torch.zeros(2))
    tensor([0., 0.])
    """

    def __init__(self, fn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """Return ``fn(x)``."""
        return self.fn(x)

    def extra_repr(self) -> str:
        """Name the function."""
        return _name(self.fn)


def _name(fn: Any) -> str:
    """Name a function as a report should; a partial by what it is a partial of."""
    bare = fn.func if isinstance(fn, functools.partial) else fn
    return getattr(bare, "__name__", type(bare).__name__)


@dataclass(frozen=True)
class Activation:
    r"""An activation, with the numbers that initialisation and inspection need.

    Parameters
    ----------
    name : str
        What it is called in the table and in reports.
    factory : callable
        Makes a fresh ``nn.Module``; called without arguments.

    Notes
    -----
    With :math:`z \sim N(0, 1)`, what a pre-activation should look like, and
    :math:`\phi` the activation:

    * ``mean`` and ``var`` are :math:`E[\phi(z)]` and :math:`Var[\phi(z)]`;
    * ``gain`` is :math:`1 / \sqrt{E[\phi(z)^2]}`: weights of variance
      :math:`\text{gain}^2 / n_{in}` keep the variance of pre-activations;
    * ``grad_gain`` is :math:`1 / \sqrt{E[\phi'(z)^2]}`: the same for gradients;
    * ``sweet_spot`` is the interval around the steepest point where :math:`|\phi'|`
      is at least :math:`1 - \tanh^2(1)`, 42 %, of its largest value.

    They are computed from the function itself by quadrature, when first asked for.
    ``gain`` and ``grad_gain`` agree for the ReLU family alone: weights that keep the
    signal multiply the variance of the gradient by
    :math:`(\text{gain} / \text{grad\_gain})^2` at each layer, 1.18 for tanh and 0.15
    for sigmoid. ``torch.nn.init.calculate_gain`` differs: its 5/3 for tanh and 3/4 for
    SELU come from experience, and it knows no ELU, GELU, SiLU or Mish.

    The share of 42 % is the one for which the sweet spot of sigmoid is exactly
    (-2, 2) and that of tanh (-1, 1); that of ReLU is (0, inf) with any. An end is
    infinite if the slope is still large 24 standard deviations out.

    References
    ----------
    S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
    Propagation", ICLR 2017.

    Examples
    --------
    >>> from sknorm.nn.activations import ACTIVATIONS
    >>> round(ACTIVATIONS["tanh"].gain, 4)
    1.5925
    >>> ACTIVATIONS["relu"].sweet_spot
    (0.0, inf)
    """

    name: str
    factory: Callable[[], nn.Module]

    def module(self) -> nn.Module:
        """Return a fresh module.

        Raises
        ------
        ValueError
            If the factory needs arguments, or makes something that isn't a module.
        """
        try:
            module = self.factory()
        except TypeError as error:
            raise ValueError(
                f"The activation {self.name!r} can't be made without arguments: "
                f"{error}. Bind them with functools.partial, or pass a module."
            ) from error
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"The activation {self.name!r} must be made as an nn.Module. Got "
                f"{module!r}."
            )
        return module

    @property
    def function(self) -> Callable[[Tensor], Tensor]:
        """The activation as a function of a 1-D float64 tensor.

        Raises
        ------
        ValueError
            If an output depends on anything but the number at its own place. The
            numbers below are computed from this function and raise the same error.
        """
        return _function(self)

    @property
    def mean(self) -> float:
        """Mean of the activation at N(0, 1)."""
        return self._numbers.mean

    @property
    def var(self) -> float:
        """Variance of the activation at N(0, 1)."""
        return self._numbers.second_moment - self._numbers.mean**2

    @property
    def gain(self) -> float:
        """Factor on the weights that keeps the variance of the signal."""
        return 1.0 / math.sqrt(self._numbers.second_moment)

    @property
    def grad_gain(self) -> float:
        """Factor on the weights that keeps the variance of the gradient."""
        return 1.0 / math.sqrt(self._numbers.squared_slope)

    @cached_property
    def sweet_spot(self) -> tuple[float, float]:
        """Interval of pre-activations in which the slope is large."""
        return _sweet_spot(self.function)

    @cached_property
    def _numbers(self) -> _Numbers:
        fn = self.function
        numbers = _Numbers(
            mean=gaussian_expectation(fn),
            second_moment=gaussian_expectation(lambda z: fn(z).square()),
            squared_slope=gaussian_expectation(lambda z: slope(fn, z).square()),
        )
        if not (numbers.second_moment > 0 and numbers.squared_slope > 0):
            raise ValueError(
                f"The activation {self.name!r} lets nothing through at N(0, 1): "
                f"E[phi^2] = {numbers.second_moment!r}, E[phi'^2] = "
                f"{numbers.squared_slope!r}. Choose one that is neither 0 nor flat."
            )
        return numbers


@dataclass(frozen=True)
class _Numbers:
    mean: float
    second_moment: float
    squared_slope: float


# Dataclasses, not closures or partials, so that activations made of the same part
# pickle and are equal.
@dataclass(frozen=True)
class _Copies:
    original: nn.Module

    def __call__(self) -> nn.Module:
        return copy.deepcopy(self.original)


@dataclass(frozen=True)
class _Wraps:
    fn: Callable[[Tensor], Tensor]

    def __call__(self) -> nn.Module:
        return Elementwise(self.fn)


def _function(activation: Activation) -> Callable[[Tensor], Tensor]:
    """Return the activation as a function of a 1-D float64 tensor."""
    module = activation.module().to(device="cpu", dtype=torch.float64).eval()
    _check_elementwise(module, activation.name)

    def fn(z: Tensor) -> Tensor:
        # A column, so that a module with parameters takes it for many rows of one unit;
        # a copy, because nn.ReLU(inplace=True) writes into what it is given.
        return module(z[:, None].clone())[:, 0]

    return fn


def _check_elementwise(module: nn.Module, name: str) -> None:
    """Compare a table of numbers sent through at once with each one sent alone."""
    rule = (
        f"The activation {name!r} is not elementwise, so it has no gain and no sweet "
        "spot: each output must be a function of the one number at its place."
    )
    # In no order, so that a sort shows.
    table = 2 * torch.cos(torch.arange(12, dtype=torch.float64)).reshape(3, 4)
    together = _sent(module, table, rule)
    if not isinstance(together, Tensor) or together.shape != table.shape:
        got = getattr(together, "shape", type(together).__name__)
        raise ValueError(f"{rule} A tensor of shape (3, 4) came out as {got!r}.")
    alone = [_sent(module, number.reshape(1, 1), rule) for number in table.ravel()]
    if not torch.allclose(torch.cat(alone).reshape(3, 4), together, equal_nan=True):
        raise ValueError(f"{rule} Its outputs change with the rest of the batch.")


def _sent(module: nn.Module, x: Tensor, rule: str) -> Any:
    try:
        with torch.no_grad():
            return module(x.clone())
    except Exception as error:  # a user's own code may raise anything
        raise ValueError(f"{rule} It failed with {error!r}.") from error


def _sweet_spot(fn: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    grid = torch.arange(-_SCAN_REACH, _SCAN_REACH, _SCAN_STEP, dtype=torch.float64)
    # A hair to either side of each point: at a kink itself the slope is a convention.
    z = torch.stack([grid - 1e-9, grid + 1e-9], dim=1).ravel()
    steepness = slope(fn, z).abs()
    steepest = float(steepness.max())
    threshold = SWEET_SPOT_SLOPE * steepest
    steep = (steepness >= threshold).tolist()
    # Of several equally steep places, the one where pre-activations are.
    peaks = torch.nonzero(steepness >= steepest * (1 - 1e-6)).ravel()
    low = high = int(peaks[z[peaks].abs().argmin()])
    count = len(z)
    while low > 0 and steep[low - 1]:
        low -= 1
    while high < count - 1 and steep[high + 1]:
        high += 1

    def edge(inside: int, outside: int) -> float:
        if not 0 <= outside < count:
            return math.copysign(math.inf, outside - inside)
        a, b = float(z[inside]), float(z[outside])
        for _ in range(60):
            middle = torch.tensor([(a + b) / 2], dtype=torch.float64)
            is_steep = float(slope(fn, middle).abs()) >= threshold
            a, b = ((a + b) / 2, b) if is_steep else (a, (a + b) / 2)
        # The scan knows the steepest slope no better; + 0.0 makes -0.0 a plain zero.
        return round(b, 6) + 0.0

    return edge(low, low - 1), edge(high, high + 1)


ACTIVATIONS: Registry[Activation] = Registry("activation")


def _add(name: str, factory: Callable[[], nn.Module]) -> None:
    ACTIVATIONS.register(name)(Activation(name, factory))


_add("identity", nn.Identity)
_add("sigmoid", nn.Sigmoid)
_add("tanh", nn.Tanh)
_add("relu", nn.ReLU)
_add("leaky_relu", nn.LeakyReLU)
_add("elu", nn.ELU)
_add("selu", nn.SELU)
_add("gelu", nn.GELU)
_add("silu", nn.SiLU)
_add("mish", nn.Mish)
_add("softplus", nn.Softplus)
_add("softsign", nn.Softsign)


def resolve_activation(
    spec: Any, *, parameter: str = "activation", owner: str = "MLP"
) -> Activation:
    """Turn what a user gave into an activation.

    Parameters
    ----------
    spec : str, nn.Module, class, functools.partial or callable
        A name in :data:`ACTIVATIONS`; a module class, or a partial of one, called
        without arguments for each layer; a module, copied for each layer; or an
        elementwise function of a tensor, such as ``torch.sin``.
    parameter, owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    Activation
        An entry of the table, or one made for what was given.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is none of the above.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.activations import resolve_activation
    >>> round(resolve_activation(torch.nn.Hardtanh).gain, 3)
    1.392
    >>> round(resolve_activation(torch.sin).gain ** -2, 4)  # (1 - exp(-2)) / 2
    0.4323
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        return ACTIVATIONS.get_named(spec, parameter=parameter, owner=owner)
    if isinstance(spec, nn.Module):
        return Activation(type(spec).__name__, _Copies(spec))
    made = spec.func if isinstance(spec, functools.partial) else spec
    if inspect.isclass(made) and issubclass(made, nn.Module):
        return Activation(made.__name__, spec)
    if callable(spec) and not inspect.isclass(spec):
        return Activation(_name(spec), _Wraps(spec))
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(ACTIVATIONS)}, an nn.Module or its class, or an elementwise "
        f"tensor function. Got {spec!r}."
    )
