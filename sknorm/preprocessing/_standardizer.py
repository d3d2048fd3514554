"""Mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

from sknorm._kernels.apply import scale_columns, unscale_columns
from sknorm._validation import (
    _fit_context,
    check_is_fitted,
    check_sample_weight,
    restore_on_failure,
    validate_data,
)
from sknorm.statistics import Moments

__all__ = ["Standardizer"]


class Standardizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Bring each column to mean 0 and standard deviation 1.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether to subtract the mean.
    with_std : bool, default=True
        Whether to divide by the standard deviation.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_in_,)
        Mean of each column; NaN for one without values.
    var_ : ndarray of shape (n_features_in_,)
        Variance of each column, divided by the sum of weights.
    scale_ : ndarray of shape (n_features_in_,)
        What a column is divided by: its standard deviation, 1 if it is constant up to
        rounding, NaN without values.
    n_samples_seen_ : int or ndarray of shape (n_features_in_,)
        Number of rows with a weight over 0; of values of each column, if some are NaN.
    moments_ : sknorm.statistics.Moments
        The summary all this comes from, which can be merged with others.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    sklearn.preprocessing.StandardScaler : What it stands in for.
    sknorm.statistics.Moments : The statistics behind it.

    Notes
    -----
    :math:`z = (x - \bar x) / s` with the weighted mean :math:`\bar x` and the standard
    deviation :math:`s`, :math:`s^2 = \sum w_i (x_i - \bar x)^2 / \sum w_i`. NaN is a
    missing value: it counts nowhere and stays NaN. Infinite values are refused.

    Statistics and differences are computed in float64 and rounded once, also for
    float32. Where the mean is so large beside the spread that a double can't hold it to
    the last digit, what rounding took off it is subtracted too.

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for Computing the Sample Variance:
    Analysis and Recommendations", The American Statistician 37(3), 1983.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import Standardizer
    >>> Standardizer().fit_transform([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]])
    array([[-1.,  0.],
           [ 1.,  0.],
           [nan,  0.]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
        "copy": ["boolean"],
    }

    def __init__(self, *, with_mean=True, with_std=True, copy=True):
        self.with_mean = with_mean
        self.with_std = with_std
        self.copy = copy

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn mean and standard deviation of each column.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.

        Returns
        -------
        Standardizer
            The fitted transformer itself.

        Raises
        ------
        ValueError
            If X or the weights can't be used. An earlier fit is kept.
        """
        with restore_on_failure(self):
            return self._update(X, sample_weight, None)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Learn from more rows, as if all had come at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.

        Returns
        -------
        Standardizer
            The transformer itself.

        Raises
        ------
        ValueError
            If X or the weights can't be used. What was learned before is kept.
        """
        with restore_on_failure(self):
            return self._update(X, sample_weight, getattr(self, "moments_", None))

    def _update(self, X, sample_weight, earlier):
        X = self._check(X, reset=earlier is None)
        weight = check_sample_weight(sample_weight, X)
        moments = Moments.from_array(X, weight)
        if earlier is not None:
            moments = earlier.merge(moments)
        self.moments_ = moments
        self.mean_ = moments.mean.copy()
        self.var_ = moments.variance()
        self.scale_ = np.where(moments.is_constant(), 1.0, moments.std())
        counts = moments.count
        self.n_samples_seen_ = counts.copy() if np.ptp(counts) else int(counts[0])
        return self

    def transform(self, X):
        """Standardize rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            float32 if X is, else float64.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        return scale_columns(X, self._center(), self._scale(), self._target(X))

    def inverse_transform(self, X):
        """Bring standardized rows back to their own units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Standardized rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            float32 if X is, else float64.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        return unscale_columns(X, self._center(), self._scale(), self._target(X))

    def _check(self, X, *, reset):
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )

    def _center(self):
        if not self.with_mean:
            return ()
        remainder = self.moments_.mean_remainder
        # Below a unit in the last place of a standardized value it can't be seen.
        matters = np.abs(remainder) > np.finfo(np.float64).eps * self.scale_
        return (self.mean_, remainder) if matters.any() else (self.mean_,)

    def _scale(self):
        return self.scale_ if self.with_std else None

    def _target(self, X):
        """Return where the result goes: X itself if it may be written to."""
        return None if self.copy or not X.flags.writeable else X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
