"""The scheme of mean-field theory: signals neither die nor explode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

from sknorm.nn._quadrature import gaussian_expectation, slope
from sknorm.nn.initializers._scheme import (
    INITIALIZERS,
    Initializer,
    Phi,
    Position,
    Source,
    is_number,
    require,
)

__all__ = [
    "EdgeOfChaos",
]


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
        If ``q_star`` isn't a finite number greater than 0, or, from ``bind``, if the
        activation has no edge of chaos.

    Notes
    -----
    With :math:`W \sim N(0, \sigma_w^2 / n_{in})` and :math:`b \sim N(0, \sigma_b^2)`,
    the variance :math:`q` of pre-activations has a fixed point
    :math:`q = \sigma_w^2 E[\phi(\sqrt q z)^2] + \sigma_b^2`, at which a gradient is
    multiplied by :math:`\chi = \sigma_w^2 E[\phi'(\sqrt q z)^2]` per layer. The scheme
    solves for :math:`\chi = 1` at ``q_star``. The first layer, which is fed
    standardized numbers instead of activations, gets :math:`\sigma_w^2 = q -
    \sigma_b^2`. The ReLU family has :math:`\sigma_b = 0` at every :math:`q`. Sigmoid,
    whose mean of 1/2 is more than a small :math:`q`, starts at :math:`q = 45.6`, far
    out of its sweet spot, and softplus has no edge of chaos.

    References
    ----------
    B. Poole, S. Lahiri, M. Raghu, J. Sohl-Dickstein and S. Ganguli, "Exponential
    expressivity in deep neural networks through transient chaos", NeurIPS 2016.

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

    def _validate(self) -> None:
        valid = is_number(self.q_star) and self.q_star > 0
        require(valid, self, "q_star", "a finite number greater than 0")

    def bind(
        self, *, phi: Phi, gain: float, position: Position, normalized: bool
    ) -> _MeanField:
        """Solve for the two variances."""
        q, weight_var, bias_var = _edge_of_chaos(phi, self.q_star)
        if position == "input":
            weight_var = q - bias_var
        return _MeanField(math.sqrt(weight_var), math.sqrt(bias_var))

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
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

    def fill_(self, weight: Tensor, gain: float, generator: Source) -> None:
        std = self.sigma_w / math.sqrt(weight.shape[1])
        weight.normal_(0.0, std, generator=generator)

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
        if squared_slope == 0:
            raise ValueError(
                "The activation is flat everywhere, so no weights keep a gradient. Use "
                "an activation that has a slope."
            )
        bias_var = q - second_moment / squared_slope
        # Exactly 0 for the ReLU family; rounding must not decide about its sign.
        return 1.0 / squared_slope, 0.0 if abs(bias_var) < 1e-9 * q else bias_var

    q = q_star
    while variances(q)[1] < 0:
        q *= 2.0
        if q > 1e6:
            raise ValueError(
                "The activation has no edge of chaos with a fixed point of at least "
                f"{q_star!r}. Use init='auto', init='lsuv' or another activation."
            )
    if q > q_star:
        q = brentq(lambda at: variances(at)[1], q / 2, q)
    weight_var, bias_var = variances(q)
    return q, weight_var, max(bias_var, 0.0)
