"""No embedding, the linear one, and the layer that others are made with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sknorm.nn.embeddings._scheme import (
    EMBEDDINGS,
    Embedding,
    require_count,
    require_flag,
)

__all__ = [
    "LinearReLU",
    "NoEmbedding",
]


@EMBEDDINGS.register("none")
@dataclass(frozen=True)
class NoEmbedding(Embedding):
    """Feed numbers to the network as they are.

    Examples
    --------
    >>> from sknorm.nn.embeddings import NoEmbedding
    >>> NoEmbedding().build(3).out_features
    3
    """

    def build(
        self,
        n_features: int,
        *,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Make the identity."""
        return _Same(n_features)


class _Same(nn.Identity):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.out_features = n_features


@EMBEDDINGS.register("linear")
@dataclass(frozen=True)
class LinearReLU(Embedding):
    r"""Give each column a linear layer of its own, and a ReLU.

    Parameters
    ----------
    d_embedding : int, default=16
        Numbers made of each one.
    activation : bool, default=True
        Whether a ReLU follows.

    Raises
    ------
    ValueError
        If ``d_embedding`` isn't a positive integer, or ``activation`` no bool.

    Notes
    -----
    :math:`\mathrm{ReLU}(w x + b)` with :math:`w` and :math:`b` starting at
    :math:`U(-1, 1) / \sqrt{d}`.

    References
    ----------
    Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> from sknorm.nn.embeddings import LinearReLU
    >>> LinearReLU(8).build(3).out_features
    24
    """

    d_embedding: int = 16
    activation: bool = True

    def _validate(self) -> None:
        require_count(self, "d_embedding")
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
        """Make the layer."""
        line = FeatureLine(n_features, self.d_embedding, generator, dtype)
        return Features(line, self.activation, line.weight.numel())


class Features(nn.Module):
    """What is made of each feature, after a ReLU or not, side by side."""

    def __init__(
        self, by_feature: nn.Module, activation: bool, out_features: int
    ) -> None:
        super().__init__()
        self.by_feature = by_feature
        self.activation = nn.ReLU() if activation else nn.Identity()
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.by_feature(x)).flatten(1)


def uniform_(tensor: Tensor, fan_in: int, generator: torch.Generator | None) -> None:
    """Fill with U(-1, 1) / sqrt(fan_in), as the papers do."""
    bound = 1.0 / math.sqrt(fan_in)
    tensor.uniform_(-bound, bound, generator=generator)


class FeatureLine(nn.Module):
    """A line for each feature: (batch, n_features) to (batch, n_features, d)."""

    # A slope for each column is a scale, not a weight matrix.
    undecayed: ClassVar[frozenset[str]] = frozenset({"weight", "bias"})

    def __init__(
        self,
        n_features: int,
        d_embedding: int,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_features, d_embedding, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_features, d_embedding, dtype=dtype))
        with torch.no_grad():
            uniform_(self.weight, d_embedding, generator)
            uniform_(self.bias, d_embedding, generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x.unsqueeze(-1), self.weight)


class FeatureLinear(nn.Module):
    """A linear layer for each feature: (batch, n_features, n) to (batch, ..., d)."""

    undecayed: ClassVar[frozenset[str]] = frozenset({"bias"})

    def __init__(
        self,
        n_features: int,
        in_features: int,
        out_features: int,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        shape = (n_features, in_features, out_features)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_features, out_features, dtype=dtype))
        with torch.no_grad():
            uniform_(self.weight, in_features, generator)
            uniform_(self.bias, in_features, generator)

    def forward(self, x: Tensor) -> Tensor:
        return add_products(self.bias, x, self.weight)


def add_products(base: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Add to ``base`` each feature's row of ``x`` times its matrix, in one pass."""
    by_feature = base.expand(len(x), -1, -1).transpose(0, 1)
    return torch.baddbmm(by_feature, x.transpose(0, 1), weight).transpose(0, 1)
