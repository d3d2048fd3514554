"""What a network is trained on, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Rows", "Slices", "batch_bounds"]


@dataclass
class Rows(Dataset):
    """A table on the device: inputs, targets, and weights with mean 1 or None."""

    X: Tensor
    y: Tensor
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        return self.X[index], self.y[index]


def batch_bounds(n_rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Cut rows into batches; a tail too small for statistics joins the one before.

    Parameters
    ----------
    n_rows : int
        Number of rows, at least 1.
    batch_size : int
        Rows in a batch.

    Returns
    -------
    list of (start, stop)
        No batch is smaller than a quarter of ``batch_size``, nor than two rows, unless
        it is the only one.

    Examples
    --------
    >>> from sknorm.neural_network._rows import batch_bounds
    >>> batch_bounds(9, 4)
    [(0, 4), (4, 9)]
    >>> batch_bounds(11, 4)
    [(0, 4), (4, 8), (8, 11)]
    """
    starts = list(range(0, n_rows, batch_size))
    tail = n_rows - starts[-1]
    smallest = min(batch_size, max(2, batch_size // 4))
    if tail < smallest and len(starts) > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


class Slices:
    """Mini-batches as slices of one table on the device.

    Parameters
    ----------
    rows : Rows
        The table.
    batch_size : int
        Rows in a batch.
    rng : numpy.random.Generator, default=None
        Draws a new order for each epoch; rows come in their own order if None.
    """

    def __init__(
        self, rows: Rows, batch_size: int, rng: np.random.Generator | None = None
    ) -> None:
        self.rows = rows
        self.bounds = batch_bounds(len(rows), batch_size)
        self.rng = rng

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        rows = self.rows
        # The gradient of a full batch has no order.
        if self.rng is None or len(self.bounds) == 1:
            for start, stop in self.bounds:
                weight = None if rows.weight is None else rows.weight[start:stop]
                yield rows.X[start:stop], rows.y[start:stop], weight
            return
        order = torch.from_numpy(self.rng.permutation(len(rows))).to(rows.X.device)
        for start, stop in self.bounds:
            index = order[start:stop]
            weight = None if rows.weight is None else rows.weight[index]
            yield rows.X[index], rows.y[index], weight
