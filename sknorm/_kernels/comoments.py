"""Covariances of columns by matrix products over tiles.

The covariance is kept as a root of the correlation matrix beside the standard
deviations: a matrix of which the scalar products of the columns are the correlations.
It has the digits of small directions that a matrix of products has lost, as a standard
deviation has those of a small spread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sknorm._array_api import float_dtypes, is_foreign, to_numpy
from sknorm._kernels.apply import scale_columns
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.merging import ColumnMoments, ReadOnly, empty_moments
from sknorm._kernels.merging import merge as merge_columns
from sknorm._kernels.moments import column_moments
from sknorm._kernels.threads import in_threads

__all__ = ["Comoments", "Table", "comoments", "empty_comoments", "merge"]

# Numbers in a tile: 2 MiB of float64. A matrix product makes more of each than a sum
# does, and wants longer tiles.
_TILE = 262_144
# Parts that threads take, each with sums of its own; not more, for these may be large.
_PARTS = 16
# Tables of up to so many times as many rows as columns are decomposed themselves.
_FEW = 4
# Smallest ratio of the variances of two directions at which products of the columns
# still have the digits of both.
_BALANCED = 1e-5
# Smallest ratio of the standard deviations of two directions that can be told from 0.
_FLOOR = 1e-8


@dataclass(frozen=True)
class Comoments(ReadOnly):
    """Statistics of the rows without a missing value, in read-only arrays.

    A column that has only missing values is left out: no row lacks it.
    """

    columns: ColumnMoments
    """Moments of each column over these rows."""
    present: np.ndarray
    """Mask of the columns that have a value in any row, complete or not."""
    root: np.ndarray
    """Shape (n, n_features): ``root.T @ root`` is the correlation matrix, with zeros
    for columns that are constant or have no values."""
    third: np.ndarray | None = None
    """Weighted means of :math:`y_i^2 y_j` of the columns standardized, or not known."""
    fourth: np.ndarray | None = None
    """Weighted means of :math:`y_i^2 y_j^2`, or not known."""

    @property
    def weight(self) -> float:
        """Sum of the weights of the complete rows."""
        return float(self.columns.weight.max(initial=0.0))


def empty_comoments(n_features: int, *, higher: bool = False) -> Comoments:
    """Return the comoments of no rows at all.

    Parameters
    ----------
    n_features : int
        Number of columns.
    higher : bool, default=False
        Whether third and fourth moments are known.

    Returns
    -------
    Comoments
    """
    return _without_rows(np.zeros(n_features, dtype=bool), higher)


def _without_rows(present: np.ndarray, higher: bool) -> Comoments:
    n_features = len(present)
    shape = n_features, n_features
    return Comoments(
        columns=empty_moments(n_features),
        present=present,
        root=np.zeros((0, n_features)),
        third=np.zeros(shape) if higher else None,
        fourth=np.zeros(shape) if higher else None,
    )


def merge(a: Comoments, b: Comoments) -> Comoments:
    """Return the comoments of two sets of rows together.

    Notes
    -----
    Rows of a set that lacks a column altogether aren't complete any more where the
    other set has values of it, and count no longer.
    """
    higher = a.fourth is not None and b.fourth is not None
    present = a.present | b.present
    a, b = (
        part
        if np.array_equal(part.present, present)
        else _without_rows(present, higher)
        for part in (a, b)
    )
    if not (a.weight and b.weight):
        kept = a if a.weight else b
        return kept if higher else replace(kept, third=None, fourth=None)
    columns = merge_columns(a.columns, b.columns)
    whole = a.weight + b.weight
    share_a, share_b = a.weight / whole, b.weight / whole
    std = np.where(columns.std > 0, columns.std, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        # Halves of the distance can't overflow.
        half = 0.5 * b.columns.mean - 0.5 * a.columns.mean
        half += 0.5 * (b.columns.remainder - a.columns.remainder)
        gap = np.where(present, 2.0 * (half / std), 0.0)
        ratio_a, ratio_b = (
            np.where(present, part.columns.std / std, 0.0) for part in (a, b)
        )
    root = np.vstack(
        [
            np.sqrt(share_a) * ratio_a * a.root,
            np.sqrt(share_b) * ratio_b * b.root,
            np.sqrt(share_a * share_b) * gap,
        ]
    )
    third = fourth = None
    if higher:
        ours = _moved(a, ratio_a, -share_b * gap)
        theirs = _moved(b, ratio_b, share_a * gap)
        third, fourth = (
            share_a * x + share_b * y for x, y in zip(ours, theirs, strict=True)
        )
    return Comoments(columns, present, _unit_columns(_shortened(root)), third, fourth)


def _moved(
    part: Comoments, ratio: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return third and fourth moments of ``ratio * y + shift``."""
    root = part.root * ratio
    second = root.T @ root
    variance = np.diag(second)
    square = np.square(ratio)
    third = part.third * np.outer(square, ratio)
    fourth = part.fourth * np.outer(square, square)
    by_third = 2.0 * third * shift
    by_square = np.outer(variance, np.square(shift))
    fourth += by_third + by_third.T + by_square + by_square.T
    fourth += 4.0 * np.outer(shift, shift) * second
    fourth += np.outer(np.square(shift), np.square(shift))
    third += np.outer(variance, shift) + 2.0 * shift[:, None] * second
    third += np.outer(np.square(shift), shift)
    return third, fourth


def comoments(
    X: np.ndarray, weight: np.ndarray | None = None, *, higher: bool = False
) -> Comoments:
    """Compute the comoments of the columns of a table.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        Real numbers of any dtype and layout; NaN is a missing value. Arrays of other
        libraries than NumPy stay on their device, if it has doubles.
    weight : ndarray of shape (n_rows,), default=None
        Weights, at least 0. Rows of weight 0 are not looked at.
    higher : bool, default=False
        Whether to compute third and fourth moments too.

    Returns
    -------
    Comoments
        If a value is infinite, only ``columns`` say something, namely where.

    Notes
    -----
    A first pass finds mean and standard deviation of each column, a second one adds up
    products of standardized values, tile by tile. If these say that some combination of
    the columns varies much less than others, its digits have been lost in them. Then a
    third pass adds up products of combinations that have about the same variance, which
    loses none: the root is as good as one from a QR decomposition of the whole table.
    """
    if not is_foreign(X):
        X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    elif len(float_dtypes(X)) == 1:
        X = to_numpy(X)
    n_features = X.shape[1]
    columns, present, weight = _complete_rows(X, weight)
    if columns.infinite.any() or not columns.count.any():
        return replace(_without_rows(present, higher), columns=columns)
    kind = array_kernels("comoments").Table if is_foreign(X) else Table
    table = kind(X, weight, columns)
    rows = np.count_nonzero(weight) if weight is not None else X.shape[0]
    if rows <= _FEW * n_features and not higher:
        y = table.standardized(slice(None))
        return Comoments(columns, present, _unit_columns(_shortened(y)))
    second, *more = table.products(higher=higher)
    return Comoments(columns, present, _unit_columns(_root(second, table)), *more)


def _complete_rows(
    X: np.ndarray, weight: np.ndarray | None
) -> tuple[ColumnMoments, np.ndarray, np.ndarray | None]:
    """Return moments of complete rows, which columns count, and weights of the rows."""
    columns = column_moments(X, weight)
    present = columns.count > 0
    n_rows = X.shape[0] if weight is None else np.count_nonzero(weight)
    lacking = present & (columns.count < n_rows)
    if columns.infinite.any() or not lacking.any():
        return columns, present, weight
    weight = np.ones(X.shape[0]) if weight is None else weight.copy()
    for j in np.flatnonzero(lacking):
        weight[np.isnan(to_numpy(X[:, j]))] = 0.0
    return column_moments(X, weight), present, weight


class Table:
    """Rows that are standardized as they are read.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Real numbers; rows of a weight over 0 have no missing value in a column that
        counts.
    weight : ndarray of shape (n_rows,) or None
        Weights, at least 0.
    columns : ColumnMoments
        Moments of the columns.
    """

    def __init__(
        self, X: np.ndarray, weight: np.ndarray | None, columns: ColumnMoments
    ):
        self.X = X
        # Their root, of numbers up to 1.
        self.weight = None if weight is None else np.sqrt(weight / weight.max())
        self.total = (
            X.shape[0] if weight is None else float((weight / weight.max()).sum())
        )
        self.varies = columns.std > 0
        self.scale = np.where(self.varies, columns.std, 1.0)
        mean, remainder = (
            np.where(self.varies, part, 0.0)
            for part in (columns.mean, columns.remainder)
        )
        # Below a unit in the last place of a standardized value it can't be seen.
        matters = np.abs(remainder) > np.finfo(np.float64).eps * self.scale
        self.center = (mean, remainder) if matters.any() else (mean,)

    def standardized(self, rows: slice, work: np.ndarray | None = None) -> np.ndarray:
        """Return rows of a weight over 0 standardized, times the root of the weight."""
        x, weight = self.X[rows], None if self.weight is None else self.weight[rows]
        if weight is not None and not weight.all():
            x, weight = x[weight > 0], weight[weight > 0]
        work = np.empty(x.shape) if work is None else work[: len(x)]
        y = scale_columns(x, self.center, self.scale, work)
        if not self.varies.all():
            y[:, ~self.varies] = 0.0
        if weight is not None:
            y *= weight[:, None]
        return y

    def products(
        self, combinations: np.ndarray | None = None, *, higher: bool = False
    ) -> list[np.ndarray]:
        """Return weighted means of products of the columns, or combinations of them.

        Parameters
        ----------
        combinations : ndarray of shape (n_features, n_combinations), default=None
            What is made of the columns before.
        higher : bool, default=False
            Whether third and fourth moments are wanted too.
        """
        n_rows, n_features = self.X.shape
        step = min(n_rows, max(n_features, _TILE // n_features))
        n_tiles = -(-n_rows // step)
        height = step * -(-n_tiles // _PARTS)

        def work(start: int) -> list[np.ndarray]:
            memory = np.empty((step, n_features))
            stop = min(start + height, n_rows)
            sums: list[np.ndarray] = []
            for i in range(start, stop, step):
                rows = slice(i, min(i + step, stop))
                terms = self._products(rows, memory, combinations, higher)
                if sums:
                    for whole, term in zip(sums, terms, strict=True):
                        whole += term
                else:
                    sums = terms
            return sums

        parts = in_threads(
            work, range(0, n_rows, height), self.X.size, matrix_products=True
        )
        return [
            _added_up(list(terms)) / self.total for terms in zip(*parts, strict=True)
        ]

    def _products(
        self,
        rows: slice,
        memory: np.ndarray,
        combinations: np.ndarray | None,
        higher: bool,
    ) -> list[np.ndarray]:
        y = self.standardized(rows, memory)
        if combinations is not None:
            y = y @ combinations
        second = y.T @ y
        if not higher:
            return [second]
        # Of weighted rows the one factor has the root of the weight already.
        square = np.square(y)
        if self.weight is not None:
            weight = self.weight[rows]
            square /= weight[weight > 0][:, None]
        return [second, square.T @ y, square.T @ square]


def _added_up(terms: list[np.ndarray]) -> np.ndarray:
    """Return the sum of terms, pairwise."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


def _root(second: np.ndarray, table: Table) -> np.ndarray:
    """Return a root of the correlations, from products of the columns if these do."""
    varies = np.flatnonzero(table.varies)
    root = np.zeros((len(varies), len(second)))
    if not len(varies):
        return root
    variances, directions = np.linalg.eigh(second[np.ix_(varies, varies)])
    stds = np.sqrt(np.maximum(variances, 0.0))
    if variances[0] >= _BALANCED * variances[-1]:
        root[:, varies] = stds[:, None] * directions.T
        return root
    stds = np.maximum(stds, _FLOOR * stds[-1])
    combinations = np.zeros(root.T.shape)
    combinations[varies] = directions / stds
    balanced = table.products(combinations)[0]
    variances, mixtures = np.linalg.eigh(balanced)
    inner = np.sqrt(np.maximum(variances, 0.0))[:, None] * mixtures.T
    root[:, varies] = inner @ (stds[:, None] * directions.T)
    return root


def _shortened(root: np.ndarray) -> np.ndarray:
    """Return a matrix of no more rows than columns with the same products."""
    if len(root) <= root.shape[1]:
        return root
    return np.asarray(np.linalg.qr(root, mode="r"))


def _unit_columns(root: np.ndarray) -> np.ndarray:
    """Return the matrix with columns of norm 1, or 0."""
    norm = np.sqrt(np.square(root).sum(axis=0))
    return root / np.where(norm > 0, norm, 1.0)
