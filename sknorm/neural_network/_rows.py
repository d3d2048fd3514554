"""What a network is trained on, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sknorm._device import free_memory
from sknorm.neural_network._mapped import MappedTable, is_mapped

__all__ = ["Rows", "Slices", "StreamedRows", "as_tensor", "batch_bounds"]


# Rows that can't all be where the network is come there in pools of this size. A file
# is read in blocks, in random order: a disk is slow to find single rows.
_POOL_BYTES = 2**28
_BLOCK_BYTES = 2**20

# The share of a device's free memory that rows may take from the network.
_SHARE = 0.75

Batch = tuple[Tensor, Tensor, "Tensor | None"]
Bounds = list[tuple[int, int]]


@dataclass
class Rows(Dataset):
    """A table: inputs, targets, and weights with mean 1 or None."""

    X: Tensor | MappedTable
    y: Tensor
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        return self.X[index], self.y[index]

    @property
    def nbytes(self) -> int:
        """Size of all of it as tensors."""
        weight = 0 if self.weight is None else self.weight.nbytes
        return self.X.nbytes + self.y.nbytes + weight

    def batch(self, index: Any) -> Batch:
        """Return some rows with their targets and weights."""
        weight = None if self.weight is None else _take(self.weight, index)
        return _take(self.X, index), _take(self.y, index), weight

    def largest(self) -> float:
        """Return the largest absolute value of the inputs."""
        n_rows, n_columns = self.X.shape
        step = max(1, _BLOCK_BYTES // n_columns)
        return max(
            float(self.X[start : start + step].abs().max())
            for start in range(0, n_rows, step)
        )

    def to(self, device: torch.device) -> Rows:
        """Return rows that a network on the device can be trained on.

        They are copied there if there is room for them, and else stream there. So do
        rows of a file, if the device has no memory but that of the host.
        """
        free = free_memory(device)
        fits = (
            isinstance(self.X, Tensor) if free is None else self.nbytes < _SHARE * free
        )
        if not fits:
            return StreamedRows(self.X, self.y, self.weight, device)
        return self._copy(device)

    def _copy(self, device: torch.device | str) -> Rows:
        weight = None if self.weight is None else self.weight.to(device)
        return Rows(self.X.to(device), self.y.to(device), weight)

    def epoch(self, bounds: Bounds, rng: np.random.Generator | None) -> Iterator[Batch]:
        """Yield batches, of rows in random order if there is a generator."""
        if rng is None:
            for start, stop in bounds:
                yield self.batch(slice(start, stop))
            return
        order = torch.from_numpy(rng.permutation(len(self))).to(self.y.device)
        for start, stop in bounds:
            yield self.batch(order[start:stop])


@dataclass
class StreamedRows(Rows):
    """Rows in the memory of the host or in a file, for a network elsewhere.

    They are copied to the device in pools of many batches. Rows in memory come in the
    same random order as on the device. Those of a file are shuffled by blocks: each
    pool is made of blocks from anywhere in the file, and its rows are shuffled.
    """

    device: torch.device | str = "cpu"

    def epoch(self, bounds: Bounds, rng: np.random.Generator | None) -> Iterator[Batch]:
        """Yield batches on the device."""
        if rng is None:
            for start, stop in bounds:
                yield self._pool(slice(start, stop)).batch(slice(None))
            return
        pools = self._pools(bounds)
        for pool, (rows, order) in zip(pools, self._orders(pools, rng), strict=True):
            local, first = self._pool(rows), pool[0][0]
            for start, stop in pool:
                within = slice(start - first, stop - first)
                yield local.batch(within if order is None else order[within])
            del local  # The next pool may have its memory.

    def _pool(self, rows: Any) -> Rows:
        return Rows(*self.batch(rows))._copy(self.device)

    def _pools(self, bounds: Bounds) -> list[Bounds]:
        """Return the batches that come together."""
        row_bytes = max(1, self.nbytes // len(self))
        start, stop = bounds[0]
        step = max(1, _POOL_BYTES // row_bytes // (stop - start))
        return [bounds[i : i + step] for i in range(0, len(bounds), step)]

    def _orders(
        self, pools: list[Bounds], rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield each pool's rows as they are read, and how they are gone through."""
        ends = [(pool[0][0], pool[-1][1]) for pool in pools]
        if isinstance(self.X, MappedTable):
            block = max(1, _BLOCK_BYTES // self.X.row_bytes)
            for rows in shuffle_blocks(len(self), block, ends, rng):
                order = torch.from_numpy(rng.permutation(len(rows)))
                yield torch.from_numpy(rows), order.to(self.device)
        else:
            order = torch.from_numpy(rng.permutation(len(self)))
            for start, stop in ends:
                yield order[start:stop], None


def _take(part: Any, index: Any) -> Tensor:
    if isinstance(part, Tensor) and isinstance(index, Tensor):
        return part.index_select(0, index)  # [] takes twice as long for the same
    return part[index]


def shuffle_blocks(
    n_rows: int, block: int, ends: Bounds, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Share rows out among pools, block by block in random order.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    block : int
        Rows in a block.
    ends : list of (start, stop)
        Cuts the rows, in the order of their blocks, into pools.
    rng : numpy.random.Generator
        Draws the order of the blocks.

    Yields
    ------
    ndarray of int
        The rows of a pool, ascending: that is how a file is read fastest.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.neural_network._rows import shuffle_blocks
    >>> rng = np.random.default_rng(0)
    >>> [rows.tolist() for rows in shuffle_blocks(8, 2, [(0, 5), (5, 8)], rng)]
    [[0, 1, 2, 4, 5], [3, 6, 7]]
    """
    starts = rng.permutation(np.arange(0, n_rows, block))
    sizes = np.minimum(block, n_rows - starts)
    before = np.cumsum(sizes) - sizes
    for start, stop in ends:
        first = starts + np.clip(start - before, 0, sizes)
        last = starts + np.clip(stop - before, 0, sizes)
        inside = np.flatnonzero(first < last)
        ascending = inside[np.argsort(first[inside])]
        yield np.concatenate([np.arange(first[i], last[i]) for i in ascending])


def batch_bounds(n_rows: int, batch_size: int) -> Bounds:
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


def as_tensor(array: np.ndarray | MappedTable) -> Any:
    """Return rows as a network takes them, in the memory that they are in if it can be.

    Parameters
    ----------
    array : ndarray or MappedTable
        What was validated. No one will write to it.

    Returns
    -------
    Tensor or MappedTable
        A copy, if the array isn't contiguous or lies in a file.
    """
    if isinstance(array, MappedTable):
        return array
    if is_mapped(array):
        return torch.from_numpy(np.array(array, order="C"))
    array = np.require(array, requirements="C")
    # torch warns of memory that is locked.
    return torch.from_numpy(
        array if array.flags.writeable else np.asarray(_Unlocked(array))
    )


class _Unlocked:
    """An array's memory in NumPy's interface, without the flag that locks it."""

    def __init__(self, array: np.ndarray) -> None:
        self._owner = array
        interface = array.__array_interface__
        address, _ = interface["data"]
        self.__array_interface__ = {**interface, "data": (address, False)}


class Slices:
    """Mini-batches of one table.

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

    def __iter__(self) -> Iterator[Batch]:
        # The gradient of a full batch has no order.
        rng = None if len(self.bounds) == 1 else self.rng
        return self.rows.epoch(self.bounds, rng)
