"""Mean and covariance of columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sknorm._kernels.comoments import (
    Comoments,
    comoments,
    empty_comoments,
    merge,
)
from sknorm.statistics._moments import (
    Moments,
    check_mergeable,
    check_table,
    refuse_heavy,
    refuse_infinite,
)

__all__ = ["Covariance"]


@dataclass(frozen=True, eq=False)
class Covariance:
    r"""Mean and covariance of the columns.

    Make one with :meth:`from_array` or :meth:`empty`.

    Parameters
    ----------
    table : Comoments
        The numbers it rests on.

    See Also
    --------
    Moments : Mean and variance only, of columns that may lack values.

    Notes
    -----
    With weights :math:`w_k` the covariance of columns i and j is
    :math:`\sum w_k (x_{ki} - \bar x_i) (x_{kj} - \bar x_j) / \sum w_k`. Rows with a
    missing value (NaN) count nowhere: only then is the matrix one of covariances of the
    same rows, and never indefinite. A column without any value is left out; if a later
    part of the rows has values of it, earlier ones lack them and don't count any more,
    as if all had come at once.

    What is kept is the mean as two doubles, the standard deviation, and a root R of the
    correlation matrix, :math:`R^\top R`. Two summaries are merged by stacking their
    roots, each in units of the standard deviations of both, on the distance of their
    means, and shortening that by a QR decomposition. So directions of small variance
    keep digits that a matrix of covariances doesn't have: the square of what they are
    smaller by is lost there, the factor itself here.

    With ``higher=True`` means of :math:`y_i^2 y_j` and :math:`y_i^2 y_j^2` of the
    standardized columns are kept too, which is what the fourth moments of the
    :meth:`ledoit_wolf` estimate take to be merged.

    References
    ----------
    P. Pébay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and
    Arbitrary-Order Statistical Moments", Sandia Report SAND2008-6212, 2008.

    Examples
    --------
    >>> from sknorm.statistics import Covariance
    >>> summary = Covariance.from_array([[0.0, 1.0], [2.0, 5.0]])
    >>> summary.covariance()
    array([[1., 2.],
           [2., 4.]])
    >>> summary.merge(Covariance.from_array([[4.0, 0.0]])).mean
    array([2., 2.])
    """

    table: Comoments

    def __post_init__(self) -> None:
        refuse_heavy(self.table.columns.weight)

    @classmethod
    def empty(cls, n_features: int, *, higher: bool = False) -> Covariance:
        """Return the summary of no rows.

        Parameters
        ----------
        n_features : int
            Number of columns.
        higher : bool, default=False
            Whether third and fourth moments are to be kept.

        Returns
        -------
        Covariance
        """
        return cls(empty_comoments(n_features, higher=higher))

    @classmethod
    def from_array(
        cls, X: Any, sample_weight: Any = None, *, higher: bool = False
    ) -> Covariance:
        """Summarise a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real numbers; a row with NaN or pandas' NA is left out.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0. A row of weight 0 counts nowhere.
        higher : bool, default=False
            Whether to keep third and fourth moments, for :meth:`ledoit_wolf`.

        Returns
        -------
        Covariance

        Raises
        ------
        ValueError
            If X isn't a table of real numbers, a value is infinite, or the weights
            don't fit.
        """
        X, weight = check_table("Covariance", X, sample_weight)
        table = comoments(X, weight, higher=higher)
        refuse_infinite("Covariance", table.columns.infinite)
        return cls(table)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.table.present)

    @property
    def count(self) -> int:
        """Number of complete rows that count."""
        return int(self.table.columns.count.max(initial=0))

    @property
    def weight_sum(self) -> float:
        """Sum of their weights."""
        return self.table.weight

    @property
    def present(self) -> np.ndarray:
        """Mask of the columns that have a value in some row, complete or not."""
        return self.table.present

    @property
    def moments(self) -> Moments:
        """Mean and variance of each column over the complete rows."""
        return Moments(self.table.columns)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each column, NaN for one without values."""
        return self.table.columns.mean

    @property
    def root(self) -> np.ndarray:
        """Matrix R of which :math:`R^T R` is the correlation matrix.

        It has no more rows than columns. A column that is constant or has no values is
        0 in it.
        """
        return self.table.root

    @property
    def has_higher(self) -> bool:
        """Whether third and fourth moments are known."""
        return self.table.fourth is not None

    def update(self, X: Any, sample_weight: Any = None) -> Covariance:
        """Return the summary of these rows and those of ``X``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        Covariance
            A new summary; this one is as it was.
        """
        return self.merge(
            Covariance.from_array(X, sample_weight, higher=self.has_higher)
        )

    def merge(self, other: Covariance) -> Covariance:
        """Return the summary of the rows of both.

        Parameters
        ----------
        other : Covariance
            Summary of other rows of the same columns.

        Returns
        -------
        Covariance
            A new summary.

        Raises
        ------
        TypeError
            If ``other`` is a summary of another kind.
        ValueError
            If the number of columns differs, one of the two lacks third and fourth
            moments, or the weights add up to more than the largest double.
        """
        check_mergeable(self, other)
        if other.has_higher != self.has_higher:
            raise ValueError(
                "A summary with third and fourth moments can't be merged with one "
                "without. Make both with higher=True, or both without."
            )
        return Covariance(merge(self.table, other.table))

    def forget(self, factor: float) -> Covariance:
        """Return the summary with all weights multiplied by a factor.

        Parameters
        ----------
        factor : float
            In (0, 1]; before an update it makes old rows count less.

        Returns
        -------
        Covariance
            A new summary with the same mean and covariance.

        Raises
        ------
        ValueError
            If the factor isn't in (0, 1].
        """
        columns = self.moments.forget(factor).columns
        return Covariance(replace(self.table, columns=columns))

    def std(self) -> np.ndarray:
        """Return the standard deviation of each column.

        Returns
        -------
        ndarray of shape (n_features,)
            NaN for a column without values.
        """
        return self.table.columns.std

    def correlation(self) -> np.ndarray:
        """Return the correlation matrix.

        Returns
        -------
        ndarray of shape (n_features, n_features)
            NaN for columns without values, and for constant ones, of which it isn't
            defined.
        """
        matrix = self.root.T @ self.root
        np.fill_diagonal(matrix, 1.0)
        undefined = ~(self.std() > 0)
        matrix[undefined] = matrix[:, undefined] = np.nan
        return matrix

    def covariance(self) -> np.ndarray:
        """Return the covariance matrix, weighted sums divided by the sum of weights.

        Returns
        -------
        ndarray of shape (n_features, n_features)
            NaN for columns without values.
        """
        with np.errstate(over="ignore", under="ignore"):
            root = self.root * self.std()
            matrix = root.T @ root
            np.fill_diagonal(matrix, np.square(self.std()))
        undefined = np.isnan(self.std())
        matrix[undefined] = matrix[:, undefined] = np.nan
        return matrix

    def oas(self, scale: np.ndarray | None = None) -> float:
        r"""Return the shrinkage that approximates an oracle.

        Parameters
        ----------
        scale : ndarray of shape (n_features,), default=None
            What the columns are divided by before; None for their standard deviations,
            so that correlations are shrunk, and ones for covariances. Columns where it
            isn't a positive number, and constant ones, are left out.

        Returns
        -------
        float
            The :math:`\alpha` of :math:`(1 - \alpha) S + \alpha \mu I` with the mean
            :math:`\mu` of the variances, for normal data; 0 for a single column.

        Notes
        -----
        As in scikit-learn, terms of 2 / p are left out of the formula, and the sum of
        weights is the number of rows.

        References
        ----------
        Y. Chen, A. Wiesel, Y. C. Eldar and A. O. Hero, "Shrinkage Algorithms for MMSE
        Covariance Estimation", IEEE Transactions on Signal Processing 58(10), 2010.
        """
        index, _, second, mu = self._scaled(scale)
        p = len(index)
        if p < 2:
            return 0.0
        squares = np.square(second).sum()
        excess = squares - p * mu**2
        least = squares + (p * mu) ** 2
        return float(min(1.0, least / max((self.weight_sum + 1) * excess, least)))

    def ledoit_wolf(self, scale: np.ndarray | None = None) -> float:
        r"""Return the shrinkage of Ledoit and Wolf.

        Parameters
        ----------
        scale : ndarray of shape (n_features,), default=None
            As for :meth:`oas`.

        Returns
        -------
        float
            The :math:`\alpha` of :math:`(1 - \alpha) S + \alpha \mu I` that has the
            least expected squared error, estimated for data of any distribution; 0 for
            a single column.

        Raises
        ------
        ValueError
            If third and fourth moments haven't been kept.

        Notes
        -----
        The sum of weights is the number of rows.

        References
        ----------
        O. Ledoit and M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional
        Covariance Matrices", Journal of Multivariate Analysis 88(2), 2004.
        """
        if self.table.fourth is None:
            raise ValueError(
                "The shrinkage of Ledoit and Wolf needs fourth moments. Make the "
                "summary with higher=True."
            )
        index, variance, second, mu = self._scaled(scale)
        p = len(index)
        if p < 2:
            return 0.0
        fourth = variance @ self.table.fourth[np.ix_(index, index)] @ variance
        squares = np.square(second).sum()
        distance = squares - p * mu**2
        error = min((fourth - squares) / self.weight_sum, distance)
        return float(error / distance) if error > 0 else 0.0

    def _scaled(
        self, scale: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Return the columns to shrink, variances, covariances and mean variance."""
        std = self.std()
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(std > 0, 1.0, np.nan) if scale is None else std / scale
        index = np.flatnonzero(np.isfinite(ratio) & (ratio > 0))
        # Shrinkage doesn't depend on the unit, and squares of this one can't overflow.
        unit = ratio[index] / ratio[index].max(initial=0.0)
        root = self.root[:, index] * unit
        variance = np.square(unit)
        mu = float(variance.mean()) if len(index) else 0.0
        return index, variance, root.T @ root, mu
