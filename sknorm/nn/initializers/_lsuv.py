"""The scheme that looks at the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sknorm.nn._counts import is_count
from sknorm.nn.initializers._scheme import (
    INITIALIZERS,
    Initializer,
    Phi,
    Position,
    Source,
    is_number,
    require,
    resolve_initializer,
)

__all__ = [
    "LSUV",
]


@INITIALIZERS.register("lsuv")
@dataclass(frozen=True)
class LSUV(Initializer):
    """Scale each layer until its pre-activations on real data have variance 1.

    Parameters
    ----------
    tol : float, default=0.1
        How far from 1 the variance may stay, greater than 0.
    max_iter : int, default=10
        Number of rescalings to try, at least 1. One is enough where biases are 0.
    base : str or Initializer, default="orthogonal"
        The scheme whose weights are rescaled; its biases are kept as they are.

    Raises
    ------
    ValueError
        If ``tol`` or ``max_iter`` is out of range, or ``base`` is unknown or itself
        data-dependent.

    Notes
    -----
    The variance is that over all rows and units together. The network is walked layer
    by layer, so that each one is fed what the layers before it, already scaled, make of
    the data: this works for any activation, also where no formula is known.

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

    def _validate(self) -> None:
        valid_tol = is_number(self.tol) and self.tol > 0
        require(valid_tol, self, "tol", "a finite number greater than 0")
        require(is_count(self.max_iter), self, "max_iter", "an integer of at least 1")
        rule = "a scheme that needs no data, such as 'orthogonal'"
        require(not self._scheme.data_dependent, self, "base", rule)

    @property
    def _scheme(self) -> Initializer:
        return resolve_initializer(self.base, parameter="base", owner="LSUV")

    def bind(
        self, *, phi: Phi, gain: float, position: Position, normalized: bool
    ) -> LSUV:
        """Let the base scheme adapt to the layer."""
        base = self._scheme.bind(
            phi=phi, gain=gain, position=position, normalized=normalized
        )
        return dataclasses.replace(self, base=base)

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        """Fill with the base scheme."""
        self._scheme(weight, gain=gain, generator=generator)

    def init_bias(
        self, bias: Tensor, *, fan_in: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Fill with what goes with the base scheme."""
        return self._scheme.init_bias(bias, fan_in=fan_in, generator=generator)

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
            The weight. It stays as it is if the layer says nothing about the data: if
            the variance is 0, as for zero weights or a single row and unit.

        Raises
        ------
        ValueError
            If the pre-activations aren't finite, or no scale gives them variance 1
            because the biases alone have more.
        """
        for _ in range(self.max_iter):
            variance = float(preactivation_of().double().var(correction=0))
            if not math.isfinite(variance):
                raise ValueError(
                    "LSUV met pre-activations that aren't finite. Standardize the "
                    "inputs, or use another base than "
                    f"base={self.base!r}."
                )
            if variance == 0 or abs(variance - 1.0) < self.tol:
                return weight
            weight.div_(math.sqrt(variance))
        variance = float(preactivation_of().double().var(correction=0))
        if not abs(variance - 1.0) < self.tol:
            raise ValueError(
                f"LSUV could not bring pre-activations to variance 1 +- {self.tol} in "
                f"{self.max_iter} steps; they are at {variance:.3g}. Biases spread "
                "wider than 1 make it impossible: use bias_init='zeros'."
            )
        return weight
