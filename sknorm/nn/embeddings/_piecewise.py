"""Embeddings by bins: a function that is linear in each of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sknorm.nn.embeddings._linear import (
    FeatureLine,
    FeatureLinear,
    Features,
    add_products,
)
from sknorm.nn.embeddings._scheme import (
    EMBEDDINGS,
    Embedding,
    require,
    require_count,
    require_flag,
)

__all__ = [
    "PiecewiseLinear",
]

# What a leaf of a tree has to hold, where there are rows enough for it.
_LEAF_ROWS = 64


@EMBEDDINGS.register("ple")
@dataclass(frozen=True)
class PiecewiseLinear(Embedding):
    r"""Learn a function of each column that is linear between the edges of bins.

    Parameters
    ----------
    n_bins : int, default=48
        Largest number of bins for a column.
    d_embedding : int or None, default=16
        Numbers made of each one; None leaves out the linear layer, and makes as many
        as the column has bins.
    bins : {"quantile", "tree"}, default="quantile"
        Where the edges are: at quantiles of the sample, heavy ties counted apart, or
        where a decision tree on the column alone splits to predict the target.
    identity : bool, default=True
        Whether a line for each column is added, the bins starting at weight 0: the
        function starts straight and bends as it learns, "version B" of TabM.
    activation : bool, default=False
        Whether a ReLU follows.

    Raises
    ------
    ValueError
        If a parameter is out of range; from ``build``, if there is no sample, or no
        target for the trees, or they don't fit together.

    Notes
    -----
    With edges :math:`e_0 < \dots < e_m` a number is encoded as the share of each bin
    that lies below it, :math:`t_j = \mathrm{clip}((x - e_{j-1}) / (e_j - e_{j-1}), 0,
    1)`: all the bins below it are 1, its own is between, all above are 0. What is made
    of it is :math:`W t + v x + b`. Beyond the outermost edges :math:`t` stays as it is
    there, unlike in the paper, where a far outlier in a narrow last bin becomes a huge
    number; the line goes on.

    A column of at most ``n_bins + 1`` distinct values has its edges at each of them,
    a constant one has no bins. Otherwise a value with more rows than a bin should hold
    has an edge of its own, and the other edges are quantiles of the rest, unlike in the
    paper, where quantiles that coincide are lost: of a column that is 0 in nine rows
    out of ten nearly all. Columns with fewer bins than others are filled up with bins
    of which every share is 0. Rows of the sample count alike, whatever they weigh in
    the loss.

    References
    ----------
    Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning", NeurIPS 2022.

    Y. Gorishniy, A. Kotelnikov and A. Babenko, "TabM: Advancing Tabular Deep Learning
    with Parameter-Efficient Ensembling", ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.embeddings import PiecewiseLinear
    >>> column = torch.tensor([[0.0], [1.0], [3.0]])
    >>> shares = PiecewiseLinear(d_embedding=None).build(1, sample=column)
    >>> shares(torch.tensor([[0.5], [2.0], [9.0]]))
    tensor([[0.5000, 0.0000],
            [1.0000, 0.5000],
            [1.0000, 1.0000]])
    """

    n_bins: int = 48
    d_embedding: int | None = 16
    bins: Literal["quantile", "tree"] = "quantile"
    identity: bool = True
    activation: bool = False

    def _validate(self) -> None:
        require_count(self, "n_bins")
        require_count(self, "d_embedding", optional=True)
        require(self.bins in ("quantile", "tree"), self, "bins", "'quantile' or 'tree'")
        require_flag(self, "identity")
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
        """Find the edges and make the layer."""
        rows = self._check_sample(sample, n_features)
        labels = self._check_target(target, len(rows))
        edges = [_edges(column, self.n_bins, labels, dtype) for column in rows.T]
        shares = _BinShares(edges, dtype)
        if self.d_embedding is None:
            return _Encoding(shares)
        width = n_features * self.d_embedding
        if self.identity:
            line = _BentLine(shares, self.d_embedding, generator, dtype)
            return Features(line, self.activation, width)
        linear = FeatureLinear(
            n_features, shares.n_bins, self.d_embedding, generator, dtype
        )
        return Features(nn.Sequential(shares, linear), self.activation, width)

    def _check_sample(self, sample: Tensor | None, n_features: int) -> np.ndarray:
        if sample is None or sample.ndim != 2 or sample.shape[1] != n_features:
            got = None if sample is None else tuple(sample.shape)
            raise ValueError(
                f"{self!r} finds its bins in a sample of training inputs of shape "
                f"(n_rows, {n_features}). Got {got!r}."
            )
        return sample.detach().cpu().double().numpy()

    def _check_target(self, target: Tensor | None, n_rows: int) -> np.ndarray | None:
        if self.bins == "quantile":
            return None
        if target is None or target.ndim not in (1, 2) or len(target) != n_rows:
            got = None if target is None else tuple(target.shape)
            raise ValueError(
                f"{self!r} finds its bins by trees that predict the target, one for "
                f"each of the {n_rows} rows of the sample. Got {got!r}."
            )
        return target.detach().cpu().numpy()


EMBEDDINGS.register("ple_tree")(functools.partial(PiecewiseLinear, bins="tree"))


def _edges(
    column: np.ndarray, n_bins: int, labels: np.ndarray | None, dtype: torch.dtype
) -> Tensor:
    """Return the edges of a column's bins, ascending; a single one means no bins."""
    known = np.isfinite(column)
    column = column[known]
    if not len(column):
        return torch.zeros(1, dtype=dtype)
    if labels is not None:
        edges = _split_by_tree(column, labels[known], n_bins)
    else:
        edges = _split_by_quantiles(column, n_bins)
    # Once more: what float64 tells apart may be one number in float32.
    return torch.unique(torch.from_numpy(edges).to(dtype))


def _split_by_quantiles(column: np.ndarray, n_bins: int) -> np.ndarray:
    """Return edges of bins that hold about as many rows each.

    A value that alone fills a bin becomes an edge, and the other edges are shared out
    among the rest: of a column that is mostly 0 nearly all quantiles are 0.
    """
    values, counts = np.unique(column, return_counts=True)
    if len(values) <= n_bins + 1:
        return values
    heavy, n_light, n_left = counts < 0, len(column), n_bins
    while (more := ~heavy & (counts * n_left > n_light)).any():
        heavy |= more
        n_light = counts[~heavy].sum()
        n_left = n_bins - np.count_nonzero(heavy)
    light = np.repeat(values[~heavy], counts[~heavy])
    shares = np.linspace(0.0, 1.0, n_left + 1)
    return np.concatenate([values[heavy], np.quantile(light, shares)])


def _split_by_tree(column: np.ndarray, labels: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the ends of a column and where a tree splits between them."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    ends = [column.min(), column.max()]
    if n_bins == 1 or ends[0] == ends[1]:
        return np.array(ends)
    kind = DecisionTreeClassifier if labels.dtype.kind in "iub" else None
    tree = (kind or DecisionTreeRegressor)(
        max_leaf_nodes=n_bins,
        min_samples_leaf=max(1, min(_LEAF_ROWS, len(column) // (2 * n_bins))),
        random_state=0,
    ).fit(column[:, None], labels)
    splits = tree.tree_.threshold[tree.tree_.feature >= 0]
    return np.concatenate([ends, splits])


class _BinShares(nn.Module):
    """The share of each bin below a number: (batch, n_features, n_bins)."""

    left: Tensor
    inverse_width: Tensor

    def __init__(self, edges: list[Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.counts = [len(column) - 1 for column in edges]
        self.n_bins = n_bins = max(1, *self.counts)
        # A bin that isn't there is infinitely wide: its share is 0 of any number.
        left = torch.zeros(len(edges), n_bins, dtype=dtype)
        inverse_width = torch.zeros(len(edges), n_bins, dtype=dtype)
        for j, (column, count) in enumerate(zip(edges, self.counts, strict=True)):
            left[j, :count] = column[:-1]
            inverse_width[j, :count] = 1.0 / column.double().diff()
        # Finite, because infinity times the 0 at a bin's own edge is no number.
        inverse_width.clamp_(max=torch.finfo(dtype).max)
        self.register_buffer("left", left)
        self.register_buffer("inverse_width", inverse_width)

    def forward(self, x: Tensor) -> Tensor:
        # Subtracted before it is scaled: left / width may lose every digit of it.
        above = x.unsqueeze(-1) - self.left
        return above.mul_(self.inverse_width).clamp(0.0, 1.0)


class _Encoding(nn.Module):
    """The shares side by side, bins that aren't there left out."""

    place: Tensor

    def __init__(self, shares: _BinShares) -> None:
        super().__init__()
        self.shares = shares
        # A constant column keeps one share of 0, so that no column is without any.
        counts = torch.tensor(shares.counts).clamp(min=1)
        is_there = torch.arange(shares.n_bins) < counts[:, None]
        self.register_buffer("place", torch.nonzero(is_there.ravel()).ravel())
        self.out_features = len(self.place)

    def forward(self, x: Tensor) -> Tensor:
        return self.shares(x).flatten(1).index_select(1, self.place)


class _BentLine(nn.Module):
    """A line for each feature, and how much the slope is another in each bin."""

    def __init__(
        self,
        shares: _BinShares,
        d_embedding: int,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        n_features, n_bins = shares.left.shape
        self.shares = shares
        self.line = FeatureLine(n_features, d_embedding, generator, dtype)
        bends = torch.zeros(n_features, n_bins, d_embedding, dtype=dtype)
        self.weight = nn.Parameter(bends)

    def forward(self, x: Tensor) -> Tensor:
        return add_products(self.line(x), self.shares(x), self.weight)
