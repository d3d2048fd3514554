"""The scheme that looks at the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sknorm.nn.initializers._scheme import (
    INITIALIZERS,
    Initializer,
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
        require(
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
