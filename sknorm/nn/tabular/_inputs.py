"""Columns of numbers and of categories as what a layer can be fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sknorm.nn._counts import is_count
from sknorm.nn._layers import SAMPLE_ROWS
from sknorm.nn.embeddings import resolve_embedding

__all__ = ["TabularInputs"]


class TabularInputs(nn.Module):
    """Turn columns of numbers and of category codes into what a layer can be fed.

    Parameters
    ----------
    n_numeric : int
        Number of numeric columns, which come first.
    cardinalities : sequence of int
        Number of codes of each categorical column, 0 for missing among them.
    embedding : str, Embedding, class, callable or None, default="none"
        How numbers are embedded: a name in :data:`sknorm.nn.embeddings.EMBEDDINGS`, an
        embedding, or what makes a module from the number of columns.
    max_one_hot : int, default=16
        Largest cardinality of a column that is one-hot encoded.
    d_category : int, default=8
        Length of the learned vectors of columns that have more.
    sample : Tensor of shape (n_rows, n_columns), default=None
        Training inputs, for embeddings that look at them.
    target : Tensor of shape (n_rows,) or (n_rows, n_outputs), default=None
        What goes with the sample.
    generator : torch.Generator, default=None
        What is drawn from; torch's global generator if None.
    dtype : torch.dtype, default=torch.float32
        Precision of the parameters.

    Attributes
    ----------
    out_features : int
        Width of what comes out.
    chunks : list of int
        How many of them each column has, in their order.

    Raises
    ------
    ValueError
        If there are no columns, or a parameter is out of range.

    Notes
    -----
    Outputs are the embedded numbers, then the one-hot columns, then the vectors. Codes
    are 0 for what is missing or was never seen, then 1, 2, ... A code that isn't one of
    the column's counts as 0. One-hot, code 0 is a row of zeros; among the vectors,
    which start at N(0, 1), it has one of its own that starts at zero: what the training
    rows never had doesn't throw a prediction off.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.tabular import TabularInputs
    >>> inputs = TabularInputs(1, [3])
    >>> inputs(torch.tensor([[0.5, 2.0], [0.5, 0.0], [0.5, 7.0]])).tolist()
    [[0.5, 0.0, 1.0], [0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]
    """

    columns: Tensor
    codes: Tensor
    vector_columns: Tensor
    sizes: Tensor
    offsets: Tensor

    def __init__(
        self,
        n_numeric: int,
        cardinalities: Sequence[int],
        *,
        embedding: Any = "none",
        max_one_hot: int = 16,
        d_category: int = 8,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_columns(n_numeric, cardinalities)
        _check_count("max_one_hot", max_one_hot)
        _check_count("d_category", d_category)
        choice = resolve_embedding(embedding)
        self.n_numeric = n_numeric
        self.cardinalities = [int(c) for c in cardinalities]
        self.chunks: list[int] = []
        self.embedding: nn.Module | None = None
        if n_numeric:
            self.embedding = choice.build(
                n_numeric,
                sample=None if sample is None else sample[:, :n_numeric],
                target=target,
                generator=generator,
                dtype=dtype,
            )
            width = int(self.embedding.out_features)  # type: ignore[arg-type]
            even = width % n_numeric == 0
            self.chunks += [width // n_numeric] * n_numeric if even else [1] * width
        self._add_one_hot(max_one_hot, dtype)
        self._add_vectors(max_one_hot, d_category, generator, dtype)
        self.out_features = sum(self.chunks)

    def _add_one_hot(self, max_one_hot: int, dtype: torch.dtype) -> None:
        columns: list[int] = []
        codes: list[int] = []
        for column, cardinality in enumerate(self.cardinalities):
            if cardinality <= max_one_hot:
                # A column of missing values alone still is one.
                width = max(cardinality - 1, 1)
                columns += [self.n_numeric + column] * width
                codes += range(1, width + 1)
                self.chunks.append(width)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.long))
        self.register_buffer("codes", torch.tensor(codes, dtype=dtype))

    def _add_vectors(
        self,
        max_one_hot: int,
        d_category: int,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> None:
        large = [i for i, c in enumerate(self.cardinalities) if c > max_one_hot]
        sizes = torch.tensor([self.cardinalities[i] for i in large], dtype=torch.long)
        offsets = sizes.cumsum(0) - sizes
        columns = torch.tensor(large, dtype=torch.long) + self.n_numeric
        self.register_buffer("vector_columns", columns)
        self.register_buffer("sizes", sizes)
        self.register_buffer("offsets", offsets)
        self.vectors: nn.Embedding | None = None
        if large:
            table = torch.randn(
                int(sizes.sum()), d_category, generator=generator, dtype=dtype
            )
            table[offsets] = 0.0
            self.vectors = nn.Embedding.from_pretrained(table, freeze=False)
            self.chunks += [d_category] * len(large)

    @property
    def n_columns(self) -> int:
        """Number of columns that come in."""
        return self.n_numeric + len(self.cardinalities)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_columns) to (batch, out_features)."""
        if x.shape[-1] != self.n_columns:
            raise ValueError(
                f"TabularInputs expected {self.n_numeric} numeric columns and "
                f"{len(self.cardinalities)} of category codes. Got a table of shape "
                f"{tuple(x.shape)!r}."
            )
        parts = []
        if self.embedding is not None:
            parts.append(self.embedding(x[:, : self.n_numeric]))
        if len(self.columns):
            is_code = x.index_select(1, self.columns) == self.codes
            parts.append(is_code.to(x.dtype))
        if self.vectors is not None:
            code = x.index_select(1, self.vector_columns)
            # NaN is in no range.
            is_known = (code >= 0) & (code < self.sizes)
            row = torch.where(is_known, code, 0.0).long() + self.offsets
            parts.append(self.vectors(row).flatten(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    @torch.no_grad()
    def mean_square(self) -> float:
        """Return the mean square of what comes out, if numbers are N(0, 1)."""
        total = float(len(set(self.columns.tolist())))
        if self.vectors is not None:
            squares = self.vectors.weight.square().sum(1)
            # Codes that were seen, all equally often.
            shares = (1.0 / (self.sizes - 1)).repeat_interleave(self.sizes)
            total += float((squares * shares.to(squares)).sum())
        if isinstance(self.embedding, nn.Identity):
            total += self.n_numeric
        elif self.embedding is not None:
            like = next(self.embedding.parameters(), self.codes)
            own = torch.Generator().manual_seed(0)
            rows = torch.randn(SAMPLE_ROWS, self.n_numeric, generator=own)
            total += float(self.embedding(rows.to(like)).square().sum(1).mean())
        return total / self.out_features

    def sample_rows(self, generator: torch.Generator | None) -> Tensor:
        """Draw what a standardized table has: N(0, 1), and codes equally often."""
        shape = (SAMPLE_ROWS, self.n_numeric)
        parts = [torch.randn(shape, generator=generator, dtype=self.codes.dtype)]
        for cardinality in self.cardinalities:
            code = torch.randint(cardinality, (SAMPLE_ROWS, 1), generator=generator)
            parts.append(code.to(self.codes.dtype))
        return torch.cat(parts, dim=1)


def _check_count(parameter: str, value: Any) -> None:
    if not is_count(value):
        raise ValueError(
            f"The {parameter!r} parameter of TabularNetwork must be an integer of at "
            f"least 1. Got {value!r}."
        )


def _check_columns(n_numeric: Any, cardinalities: Any) -> None:
    if not is_count(n_numeric, at_least=0):
        raise ValueError(
            "The 'n_numeric' parameter of TabularNetwork must be an integer of at "
            f"least 0. Got {n_numeric!r}."
        )
    if not all(is_count(c) for c in cardinalities):
        raise ValueError(
            "The 'cardinalities' parameter of TabularNetwork must hold integers of at "
            f"least 1, one for each categorical column. Got {cardinalities!r}."
        )
    if n_numeric + len(cardinalities) == 0:
        raise ValueError(
            "TabularNetwork needs at least one column. Got n_numeric=0 and no "
            "cardinalities."
        )
