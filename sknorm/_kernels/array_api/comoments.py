"""Covariances of the columns of arrays of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

import sknorm._kernels.comoments as in_memory
from sknorm._array_api import beside, namespace, take_rows, to_numpy
from sknorm._kernels.array_api.apply import scale_columns
from sknorm._kernels.array_api.blocks import as_reals, quiet, row_parts

__all__ = ["Table"]


class Table(in_memory.Table):
    """Rows that are standardized on their device as they are read."""

    def standardized(self, rows: slice, work: np.ndarray | None = None) -> np.ndarray:
        """Return rows of a weight over 0 standardized, times the root of the weight."""
        return to_numpy(self._standardized(rows)[0])

    def products(
        self, combinations: np.ndarray | None = None, *, higher: bool = False
    ) -> list[np.ndarray]:
        """Return weighted means of products of the columns, or combinations of them."""
        sums: list[Any] = [0.0, 0.0, 0.0] if higher else [0.0]
        matrix = None if combinations is None else beside(combinations, self.X)
        with quiet():
            for rows in row_parts(self.X.shape):
                terms = self._terms(rows, matrix, higher)
                sums = [s + to_numpy(t) for s, t in zip(sums, terms, strict=True)]
        return [np.asarray(s) / self.total for s in sums]

    def _terms(self, rows: slice, matrix: Any, higher: bool) -> list[Any]:
        y, weight = self._standardized(rows)
        xp = namespace(y)
        if matrix is not None:
            y = xp.matmul(y, matrix)
        terms = [xp.matmul(y.T, y)]
        if higher:
            # Of weighted rows the one factor has the root of the weight already.
            square = y * y if weight is None else y * y / weight
            terms += [xp.matmul(square.T, y), xp.matmul(square.T, square)]
        return terms

    def _standardized(self, rows: slice) -> tuple[Any, Any]:
        """Return rows standardized, and the roots of their weights in a column."""
        x = self.X[rows, :]
        weight = None if self.weight is None else self.weight[rows]
        if weight is not None and not weight.all():
            counted = np.flatnonzero(weight)
            x, weight = take_rows(x, counted), weight[counted]
        y = scale_columns(as_reals(x), self.center, self.scale)
        if not self.varies.all():
            xp = namespace(y)
            y = xp.where(beside(self.varies, y), y, xp.zeros_like(y))
        if weight is None:
            return y, None
        weight = beside(weight[:, np.newaxis], y)
        return y * weight, weight
