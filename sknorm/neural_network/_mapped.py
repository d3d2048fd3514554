"""Tables in a file that is mapped into memory, read a part at a time."""

from __future__ import annotations

import itertools
import mmap
from typing import Any

import numpy as np
import torch
from sklearn.utils import assert_all_finite
from torch import Tensor

__all__ = ["MappedTable", "is_mapped", "stays_in_file"]

# A file of this size is still read into memory, where single rows are found fast.
_LOADED_BYTES = 2**28

# What is copied before the pages that it lies in are given back.
_READ_BYTES = 2**22

# The system maps up to so much of a file along with a page of it.
_MAPPED_AROUND = 2**21


class MappedTable:
    """A table in a mapped file, whose rows become tensors when they are asked for.

    Parameters
    ----------
    array : ndarray of shape (n_rows, n_columns)
        What is mapped.
    dtype : str
        Precision of the tensors.
    rows : ndarray of int, default=None
        Which rows are meant; all if None.

    Notes
    -----
    A page of the file that was looked at counts as memory of the process until the
    system runs short of it. Here rows are copied and their pages given back at once,
    but for those of a mapping with ``mode="c"``.
    """

    def __init__(
        self, array: np.ndarray, dtype: str, rows: np.ndarray | None = None
    ) -> None:
        self.shape = (len(array) if rows is None else len(rows), array.shape[1])
        self._array, self._dtype, self._rows = np.asarray(array), np.dtype(dtype), rows
        self._returnable = _returnable(array)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Read rows of the table, by a slice or by their numbers."""
        if isinstance(rows, slice):
            numbers = np.arange(*rows.indices(len(self)))
        else:
            numbers = rows.numpy()
        if self._rows is not None:
            numbers = self._rows[numbers]
        table = np.empty((len(numbers), self.shape[1]), self._dtype)
        for part in self._within_reach(numbers):
            table[part] = self._array[numbers[part]]
            if self._returnable is not None:
                self._returnable.madvise(mmap.MADV_DONTNEED)
        return torch.from_numpy(table)

    @property
    def nbytes(self) -> int:
        """Size of all rows as a tensor."""
        return self.shape[0] * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """Size of a row as a tensor."""
        return self.shape[1] * self._dtype.itemsize

    def take(self, rows: np.ndarray) -> MappedTable:
        """Return some rows of the table, still in the file."""
        if self._rows is not None:
            rows = self._rows[rows]
        return MappedTable(self._array, self._dtype.name, rows)

    def to(self, device: torch.device | str) -> Tensor:
        """Read all rows into the memory of a device."""
        dtype = getattr(torch, self._dtype.name)
        table = torch.empty(self.shape, dtype=dtype, device=device)
        for part in self._parts():
            table[part] = self[part].to(device)
        return table

    def _parts(self) -> list[slice]:
        step = max(1, _READ_BYTES // self.row_bytes)
        return [slice(start, start + step) for start in range(0, len(self), step)]

    def _within_reach(self, numbers: np.ndarray) -> list[slice]:
        """Cut rows where what is mapped for those before has to be given back."""
        gaps = np.abs(np.diff(numbers)) * self._array[0].nbytes
        read = np.cumsum(np.minimum(gaps, _MAPPED_AROUND)) // _READ_BYTES
        cuts = [0, *(np.flatnonzero(np.diff(read, prepend=0)) + 1), len(numbers)]
        return list(itertools.starmap(slice, itertools.pairwise(cuts)))

    def check_finite(self, owner: str) -> None:
        """Raise scikit-learn's ValueError if a number isn't finite in this precision.

        Parameters
        ----------
        owner : str
            Who asks.
        """
        with np.errstate(over="ignore"):
            for part in self._parts():
                assert_all_finite(
                    self[part].numpy(), estimator_name=owner, input_name="X"
                )


def is_mapped(array: Any) -> bool:
    """Return whether an array lies in a file that :class:`numpy.memmap` mapped."""
    return _mapping(array)[0] is not None


def stays_in_file(array: Any, dtype: str) -> bool:
    """Return whether an array is mapped and too large to be read into memory.

    Parameters
    ----------
    array : object
        What was passed as a table.
    dtype : str
        Precision that it is to have in memory.
    """
    return is_mapped(array) and array.size * np.dtype(dtype).itemsize > _LOADED_BYTES


def _mapping(array: Any) -> tuple[mmap.mmap | None, str | None]:
    """Return the mapping that an array lies in, also as a view, and its mode."""
    mode = None
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            mode = array.mode
        array = array.base
    is_memmap = mode is not None and isinstance(array, mmap.mmap)
    return (array, mode) if is_memmap else (None, None)


def _returnable(array: np.ndarray) -> mmap.mmap | None:
    """Return the mapping if its pages can be given back and read anew."""
    mapping, mode = _mapping(array)
    # A private copy of a page is nowhere else: what the caller wrote would be lost.
    return mapping if mode != "c" and hasattr(mmap, "MADV_DONTNEED") else None
