"""Embeddings by waves of learned frequencies."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from sknorm.nn.embeddings._linear import FeatureLinear, Features, uniform_
from sknorm.nn.embeddings._scheme import (
    EMBEDDINGS,
    Embedding,
    require,
    require_count,
    require_flag,
)

__all__ = [
    "PBLD",
    "Periodic",
]


def _require_sigma(embedding: Periodic | PBLD) -> None:
    sigma = embedding.sigma
    is_number = isinstance(sigma, numbers.Real) and not isinstance(sigma, bool)
    valid = is_number and math.isfinite(sigma) and sigma > 0
    require(valid, embedding, "sigma", "a finite number greater than 0")


@EMBEDDINGS.register("plr")
@EMBEDDINGS.register("periodic")
@dataclass(frozen=True)
class Periodic(Embedding):
    r"""Sines and cosines of learned frequencies, a linear layer and a ReLU: PLR.

    Parameters
    ----------
    n_frequencies : int, default=48
        Number of frequencies for each column.
    sigma : float, default=0.01
        Standard deviation that frequencies start with, greater than 0; the parameter
        that matters most. Larger ones let the network bend more often.
    d_embedding : int or None, default=24
        Numbers made of each one; None leaves out linear layer and ReLU, and makes
        ``2 * n_frequencies``.
    linear : {"per_feature", "shared"}, default="per_feature"
        Whether each column has a linear layer of its own.
    activation : bool, default=True
        Whether a ReLU follows the linear layer.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    :math:`\mathrm{ReLU}(W [\sin(2 \pi c x), \cos(2 \pi c x)] + b)` with :math:`c \sim
    N(0, \sigma^2)`, and :math:`W` and :math:`b` starting at :math:`U(-1, 1)` over the
    square root of ``2 * n_frequencies``. The table has it under both of its names,
    ``"periodic"`` and the abbreviation ``"plr"``.

    References
    ----------
    Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> from sknorm.nn.embeddings import Periodic
    >>> Periodic(d_embedding=8, linear="shared").build(3).out_features
    24
    """

    n_frequencies: int = 48
    sigma: float = 0.01
    d_embedding: int | None = 24
    linear: Literal["per_feature", "shared"] = "per_feature"
    activation: bool = True

    def _validate(self) -> None:
        require_count(self, "n_frequencies")
        require_count(self, "d_embedding", optional=True)
        _require_sigma(self)
        known = self.linear in ("per_feature", "shared")
        require(known, self, "linear", "'per_feature' or 'shared'")
        require_flag(self, "activation")

    def build(
        self,
        n_features: int,
        *,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Draw the frequencies and make the layer."""
        n_waves = 2 * self.n_frequencies
        waves = _Waves(n_features, self.n_frequencies, self.sigma, generator, dtype)
        if self.d_embedding is None:
            return Features(waves, False, n_features * n_waves)
        linear = (
            FeatureLinear(n_features, n_waves, self.d_embedding, generator, dtype)
            if self.linear == "per_feature"
            else _shared_linear(n_waves, self.d_embedding, generator, dtype)
        )
        return Features(
            nn.Sequential(waves, linear),
            self.activation,
            n_features * self.d_embedding,
        )


class _Waves(nn.Module):
    """Sines, then cosines: (batch, n_features) to (batch, n_features, 2 n)."""

    undecayed: ClassVar[frozenset[str]] = frozenset({"frequencies"})

    def __init__(
        self,
        n_features: int,
        n_frequencies: int,
        sigma: float,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.frequencies = _normal(n_features, n_frequencies, sigma, generator, dtype)

    def forward(self, x: Tensor) -> Tensor:
        angles = (2 * math.pi) * (x.unsqueeze(-1) * self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _normal(
    n_features: int,
    n_frequencies: int,
    sigma: float,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> nn.Parameter:
    draw = torch.randn(n_features, n_frequencies, generator=generator, dtype=dtype)
    return nn.Parameter(sigma * draw)


def _shared_linear(
    n_waves: int,
    d_embedding: int,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> nn.Linear:
    """Make the one linear layer that every feature goes through."""
    # skip_init: nn.Linear's own draw would be thrown away and move the global RNG.
    shared = nn.utils.skip_init(nn.Linear, n_waves, d_embedding, dtype=dtype)
    with torch.no_grad():
        uniform_(shared.weight, n_waves, generator)
        uniform_(shared.bias, n_waves, generator)
    return shared


@EMBEDDINGS.register("pbld")
@dataclass(frozen=True)
class PBLD(Embedding):
    r"""Shifted cosines, a linear layer, and the number itself beside them.

    Parameters
    ----------
    n_frequencies : int, default=16
        Number of frequencies for each column.
    sigma : float, default=0.1
        Standard deviation that frequencies start with, greater than 0.
    d_embedding : int, default=4
        Numbers made of each one, itself among them: at least 2.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    "Periodic, bias, linear, dense": :math:`[x, W \cos(2 \pi c x + \phi) + b]` with
    :math:`c \sim N(0, \sigma^2)`, :math:`\phi \sim U(-\pi, \pi)`, and :math:`W` and
    :math:`b` starting at :math:`U(-1, 1)` over the square root of ``n_frequencies``.
    As in RealMLP, all of them learn at a tenth of the learning rate.

    References
    ----------
    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.

    Examples
    --------
    >>> from sknorm.nn.embeddings import PBLD
    >>> PBLD().build(3).out_features
    12
    """

    n_frequencies: int = 16
    sigma: float = 0.1
    d_embedding: int = 4

    def _validate(self) -> None:
        require_count(self, "n_frequencies")
        require_count(self, "d_embedding", at_least=2)
        _require_sigma(self)

    def build(
        self,
        n_features: int,
        *,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Draw the frequencies and make the layer."""
        return _PBLD(self, n_features, generator, dtype)


class _PBLD(nn.Module):
    undecayed: ClassVar[frozenset[str]] = frozenset({"frequencies", "phases"})
    lr_factor: ClassVar[float] = 0.1

    def __init__(
        self,
        choice: PBLD,
        n_features: int,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        n_waves = choice.n_frequencies
        self.frequencies = _normal(n_features, n_waves, choice.sigma, generator, dtype)
        self.phases = nn.Parameter(torch.empty(n_features, n_waves, dtype=dtype))
        with torch.no_grad():
            self.phases.uniform_(-math.pi, math.pi, generator=generator)
        self.linear = FeatureLinear(
            n_features, n_waves, choice.d_embedding - 1, generator, dtype
        )
        self.out_features = n_features * choice.d_embedding

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(-1)
        angles = torch.addcmul(self.phases, x, self.frequencies, value=2 * math.pi)
        return torch.cat([x, self.linear(angles.cos())], dim=-1).flatten(1)
