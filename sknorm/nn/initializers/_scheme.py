"""What a scheme is, the table of them, and how a user's choice becomes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sknorm._registry import Registry

__all__ = [
    "INITIALIZERS",
    "Custom",
    "Initializer",
    "resolve_initializer",
]

Position = Literal["input", "hidden", "output"]
Phi = Callable[[Tensor], Tensor]

INITIALIZERS: Registry[type[Initializer]] = Registry("initializer")


def require(condition: bool, scheme: Initializer, rule: str) -> None:
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
        made: Any = spec()
        return made if isinstance(made, Initializer) else Custom(made)
    if callable(spec):
        return Custom(spec)
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(INITIALIZERS)}, an initializer such as Normal(mean=0, std=0.01), "
        f"or a function that fills a tensor in place. Got {spec!r}."
    )
