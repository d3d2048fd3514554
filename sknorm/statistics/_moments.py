"""Count, mean and variance of columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sknorm._frames import refuse_lazy_frame
from sknorm._kernels.merging import ColumnMoments, empty_moments, merge
from sknorm._kernels.moments import column_moments

__all__ = ["Moments"]

# A spread of up to this many units in the last place of the mean is what rounding
# makes of a constant.
_ROUNDING_UNITS = 2.0


@dataclass(frozen=True, eq=False)
class Moments:
    r"""Count, mean and variance of each column.

    Make one with :meth:`from_array` or :meth:`empty`.

    Parameters
    ----------
    columns : ColumnMoments
        The numbers it rests on.

    Notes
    -----
    With weights :math:`w_i` the mean is :math:`\bar x = \sum w_i x_i / \sum w_i`, the
    variance :math:`\sum w_i (x_i - \bar x)^2 / (\sum w_i - ddof)`. NaN is a missing
    value and counts nowhere. Two summaries are merged by the pairwise formula of Chan
    et al., with the mean held as two doubles and the standard deviation in place of the
    sum of squares: offsets far larger than the spread cost no digits, and mean and
    standard deviation keep theirs for values as large as doubles get and as small as
    1e-300. Only the variance itself leaves the range of doubles before the data do.

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for Computing the Sample Variance:
    Analysis and Recommendations", The American Statistician 37(3), 1983.

    P. Pébay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and
    Arbitrary-Order Statistical Moments", Sandia Report SAND2008-6212, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.statistics import Moments
    >>> X = np.array([[1.0, 10.0], [3.0, np.nan]])
    >>> moments = Moments.from_array(X)
    >>> moments.mean
    array([ 2., 10.])
    >>> moments.merge(Moments.from_array([[5.0, 30.0]])).std()
    array([ 1.63299316, 10.        ])
    """

    columns: ColumnMoments

    def __post_init__(self) -> None:
        refuse_heavy(self.columns.weight)

    @classmethod
    def empty(cls, n_features: int) -> Moments:
        """Return the summary of no rows.

        Parameters
        ----------
        n_features : int
            Number of columns.

        Returns
        -------
        Moments
        """
        return cls(empty_moments(n_features))

    @classmethod
    def from_array(cls, X: Any, sample_weight: Any = None) -> Moments:
        """Summarise a table.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Real numbers; NaN and pandas' NA are missing values. Numbers that a sparse
            matrix doesn't store are zeros like others.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0. A row of weight 0 counts nowhere.

        Returns
        -------
        Moments

        Raises
        ------
        ValueError
            If X isn't a table of real numbers, a value is infinite, or the weights
            don't fit.
        """
        X, weight = check_table("Moments", X, sample_weight, sparse=True)
        columns = column_moments(X, weight)
        refuse_infinite("Moments", columns.infinite)
        return cls(columns)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.columns.count)

    @property
    def count(self) -> np.ndarray:
        """Number of values of each column that count, int64."""
        return self.columns.count

    @property
    def weight_sum(self) -> np.ndarray:
        """Sum of the weights of each column's values."""
        return self.columns.weight

    @property
    def mean(self) -> np.ndarray:
        """Mean of each column, NaN for one without values."""
        return self.columns.mean

    @property
    def mean_remainder(self) -> np.ndarray:
        """What rounding took off the mean, to be added to it for more digits."""
        return self.columns.remainder

    @property
    def m2(self) -> np.ndarray:
        """Weighted sum of squared deviations from the mean, 0 for one without values.

        Unlike the standard deviation it can pass the largest double, where it is
        infinite, and fall below the smallest, where it is 0.
        """
        with np.errstate(over="ignore", under="ignore"):
            m2 = self.columns.weight * np.square(self.columns.std)
        return np.where(self.columns.count > 0, m2, 0.0)

    def update(self, X: Any, sample_weight: Any = None) -> Moments:
        """Return the summary of these rows and those of ``X``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            More rows.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        Moments
            A new summary; this one is as it was.
        """
        return self.merge(Moments.from_array(X, sample_weight))

    def merge(self, other: Moments) -> Moments:
        """Return the summary of the rows of both.

        Parameters
        ----------
        other : Moments
            Summary of other rows of the same columns.

        Returns
        -------
        Moments
            A new summary.

        Raises
        ------
        TypeError
            If ``other`` is a summary of another kind.
        ValueError
            If the number of columns differs, or the weights add up to more than the
            largest double.
        """
        check_mergeable(self, other)
        return Moments(merge(self.columns, other.columns))

    def forget(self, factor: float) -> Moments:
        """Return the summary with all weights multiplied by a factor.

        Parameters
        ----------
        factor : float
            In (0, 1]; before an update it makes old rows count less.

        Returns
        -------
        Moments
            A new summary with the same mean and variance.

        Raises
        ------
        ValueError
            If the factor isn't in (0, 1].
        """
        if not (isinstance(factor, Real) and 0 < factor <= 1):
            raise ValueError(
                f"factor must be a number in (0, 1]. Got {factor!r}. With 1 old rows "
                "count as much as new ones."
            )
        return Moments(replace(self.columns, weight=self.columns.weight * factor))

    def std(self, ddof: float = 0) -> np.ndarray:
        """Return the standard deviation of each column.

        Parameters
        ----------
        ddof : float, default=0
            What is taken off the sum of weights; 1 makes the variance unbiased where
            weights count repetitions.

        Returns
        -------
        ndarray of shape (n_features,)
            NaN where there are no more values than ``ddof``.
        """
        weight = self.columns.weight
        enough = weight > ddof
        freedom = np.where(enough, weight - ddof, 1.0)
        correction = np.sqrt(weight / freedom)
        return np.where(enough, self.columns.std * correction, np.nan)

    def variance(self, ddof: float = 0) -> np.ndarray:
        """Return the variance of each column, the square of :meth:`std`.

        Parameters
        ----------
        ddof : float, default=0
            What is taken off the sum of weights.

        Returns
        -------
        ndarray of shape (n_features,)
            Infinite where it passes the largest double, though the standard deviation
            doesn't.
        """
        with np.errstate(over="ignore", under="ignore"):
            return np.square(self.std(ddof))

    def is_constant(self) -> np.ndarray:
        r"""Tell which columns hold one value only, up to rounding.

        Returns
        -------
        ndarray of bool of shape (n_features,)
            True where the standard deviation is at most two units in the last place
            of the mean, :math:`2 \epsilon |\bar x|`.

        Notes
        -----
        Deviations are measured from one of the column's own values, so equal values
        have a standard deviation of exactly 0, and that of unequal ones is right to a
        few units in its own last place: no error has to be allowed for. The bound
        catches columns whose values differ by rounding itself, as 0.1 + 0.2 and 0.3 do.
        It is relative, so a column of tiny values isn't constant, and neither the
        number of rows nor the size of the weights enters it.
        """
        bound = _ROUNDING_UNITS * np.finfo(np.float64).eps * np.abs(self.mean)
        with np.errstate(invalid="ignore"):
            return self.columns.std <= bound


def check_table(
    owner: str, X: Any, sample_weight: Any, *, sparse: bool = False
) -> tuple[Any, np.ndarray | None]:
    """Refuse what is no table of real numbers, or no weights of its rows.

    Parameters
    ----------
    owner : str
        Name of the summary, for messages.
    X : array-like or sparse matrix
        Should be of shape (n_samples, n_features).
    sample_weight : array-like or None
        Should be of shape (n_samples,).
    sparse : bool, default=False
        Whether X may be a sparse matrix.

    Returns
    -------
    X : ndarray or sparse matrix
        With NaN for pandas' NA.
    weight : ndarray of float64 of shape (n_samples,) or None
    """
    refuse_lazy_frame(X)
    if issparse(X) and not sparse:
        raise ValueError(
            f"{owner} needs a dense table. Got a {type(X).__name__!r} of shape "
            f"{X.shape!r}. Pass X.toarray(), or use Moments, which takes sparse ones."
        )
    X = X if issparse(X) else _as_array(X)
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{owner} needs a table of real numbers with rows and columns. Got an "
            f"array of shape {X.shape!r} and dtype {X.dtype!s}."
        )
    if sample_weight is None:
        return X, None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != X.shape[:1]:
        raise ValueError(
            f"sample_weight must have one weight for each of the {X.shape[0]} "
            f"rows. Got an array of shape {weight.shape!r}."
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(
            "sample_weight must hold finite numbers that are not negative."
        )
    return X, weight


def _as_array(X: Any) -> np.ndarray:
    array = np.asarray(X)
    if array.dtype != object or array.ndim != 2 or not hasattr(X, "iloc"):
        return array
    # Of columns that may lack values pandas makes objects.
    if all(dtype.kind in "biuf" for dtype in X.dtypes):
        return X.to_numpy(np.float64, na_value=np.nan)
    return array


def refuse_heavy(weight: np.ndarray) -> None:
    """Raise if sums of weights have passed the largest double.

    Parameters
    ----------
    weight : ndarray
        The sums.
    """
    if not np.isfinite(weight).all():
        raise ValueError(
            "The sum of sample_weight passes the largest double. Only ratios of "
            "weights matter: divide them all by the same large number."
        )


def check_mergeable(ours: Any, theirs: Any) -> None:
    """Refuse to merge summaries of different kinds or of other columns.

    Parameters
    ----------
    ours : Moments, GroupedMoments or Covariance
        A summary.
    theirs : object
        Should be one like it.
    """
    if not isinstance(theirs, type(ours)):
        name = type(ours).__name__
        raise TypeError(
            f"{name} can be merged with {name} only. Got {type(theirs).__name__}."
        )
    if theirs.n_features != ours.n_features:
        raise ValueError(
            f"Summaries of {ours.n_features} and of {theirs.n_features} columns "
            "can't be merged."
        )


def refuse_infinite(owner: str, infinite: np.ndarray) -> None:
    """Raise if a mask of columns says that one holds an infinite value.

    Parameters
    ----------
    owner : str
        Name of the summary, for the message.
    infinite : ndarray of bool of shape (n_features,)
        The mask.
    """
    if infinite.any():
        raise ValueError(
            f"{owner} needs finite values, but the columns "
            f"{np.flatnonzero(infinite).tolist()!r} hold an infinite one."
        )
