"""What a scheme is, the table of them, and how a user's choice becomes one."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sknorm._registry import Registry

__all__ = [
    "INITIALIZERS",
    "Custom",
    "Initializer",
    "resolve_initializer",
]
Position = Literal["input", "hidden", "output"]
Phi = Callable[[Tensor], Tensor]
Source = torch.Generator | None

INITIALIZERS: Registry[type[Initializer]] = Registry("initializer")


class Initializer:
    """A rule that fills weights; base class of all schemes.

    Subclasses define ``fill_`` and, if they have parameters, are frozen dataclasses.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Initializer
    >>> class Identity(Initializer):
    ...     def fill_(self, weight, gain, generator):
    ...         torch.nn.init.eye_(weight)
    >>> Identity()(torch.empty(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    fills_bias: ClassVar[bool] = False
    """Whether the scheme fills vectors too, and so can be a ``bias_init``."""

    data_dependent: ClassVar[bool] = False
    """Whether the weights still have to be rescaled by what data makes of them."""

    spreads_hinges: ClassVar[bool] = False
    """Whether the first hidden units get biases as wide as the data are."""

    def __post_init__(self) -> None:
        """Check the parameters of a dataclass as soon as it has them."""
        self._validate()

    def _validate(self) -> None:
        """Raise a ValueError if a parameter is out of range."""

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

        Raises
        ------
        ValueError
            If the tensor is no matrix, or vector where one is taken.
        """
        if not (weight.ndim == 2 or (weight.ndim == 1 and self.fills_bias)):
            raise ValueError(
                f"{self!r} fills a weight of shape (out_features, in_features)"
                f"{' or a bias' if self.fills_bias else ''}, of one model at a time. "
                f"Got a tensor of shape {tuple(weight.shape)}."
            )
        self.fill_(weight, gain, generator)
        return weight

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
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
            The activation, an elementwise function of float64 tensors.
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
            The scheme to fill that layer's weight with.
        """
        return self


def is_number(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def require(condition: bool, scheme: Initializer, parameter: str, rule: str) -> None:
    if not condition:
        raise ValueError(
            f"The {parameter!r} parameter of {type(scheme).__name__} must be {rule}. "
            f"Got {getattr(scheme, parameter)!r}."
        )


def require_number(scheme: Initializer, parameter: str) -> None:
    value = getattr(scheme, parameter)
    require(is_number(value), scheme, parameter, "a finite number")


def require_std(scheme: Any, *, optional: bool = False) -> None:
    valid = is_number(scheme.std) and scheme.std >= 0
    rule = "a finite number of at least 0" + (", or None" if optional else "")
    require(valid or (optional and scheme.std is None), scheme, "std", rule)


def require_gain(scheme: Any) -> None:
    valid = scheme.gain is None or (is_number(scheme.gain) and scheme.gain > 0)
    rule = "a finite number greater than 0, or None for the activation's own gain"
    require(valid, scheme, "gain", rule)


@dataclass(frozen=True, repr=False)
class Custom(Initializer):
    """A user's function as a scheme.

    Parameters
    ----------
    fn : callable
        Fills a tensor in place, or returns one of the same shape that is copied into
        it. It is given ``generator`` if its signature has that name, and ``gain``, the
        activation's, if it has no default of its own for it.

    Raises
    ------
    ValueError
        From the call, if what the function returns has another shape.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.initializers import Custom
    >>> Custom(torch.nn.init.ones_)(torch.empty(1, 2))
    tensor([[1., 1.]])
    """

    fn: Callable[..., Any]
    fills_bias: ClassVar[bool] = True

    def __repr__(self) -> str:
        """Name the function without its address, which changes from run to run."""
        bare = self.fn.func if isinstance(self.fn, functools.partial) else self.fn
        return f"Custom({getattr(bare, '__name__', repr(bare))})"

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Call the function with what it asks for."""
        asked = _parameters(self.fn)
        given: dict[str, Any] = {}
        if "generator" in asked:
            given["generator"] = generator
        if "gain" in asked and asked["gain"].default is inspect.Parameter.empty:
            given["gain"] = gain
        result = self.fn(weight, **given)
        if isinstance(result, Tensor) and result is not weight:
            if result.shape != weight.shape:
                raise ValueError(
                    f"{self!r} must fill the tensor it is given, of shape "
                    f"{tuple(weight.shape)}, in place or return one of that shape. It "
                    f"returned one of shape {tuple(result.shape)}."
                )
            weight.copy_(result)


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
        The scheme; a user's function is wrapped in :class:`Custom`.

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
    if inspect.isclass(spec) and issubclass(spec, Initializer):
        return spec()
    if callable(spec) and not (inspect.isclass(spec) or isinstance(spec, nn.Module)):
        return Custom(spec)
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(INITIALIZERS)}, an initializer such as Normal(mean=0, std=0.01), "
        f"or a function that fills a tensor in place. Got {spec!r}."
    )
