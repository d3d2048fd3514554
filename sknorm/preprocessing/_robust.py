"""Median 0 and a robust spread of 1."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from sknorm._kernels.quantiles import order_statistics
from sknorm._validation import Interval, StrOptions
from sknorm.preprocessing._columns import ColumnStandardizer
from sknorm.preprocessing._scaling import ScalingStandardizer

__all__ = ["RobustStandardizer"]


class RobustStandardizer(ScalingStandardizer, ColumnStandardizer):
    r"""Bring each column to median 0 and a robust standard deviation of 1.

    Median and interquartile range don't see outliers. With a smooth clip, outliers
    don't reach what comes next either.

    Parameters
    ----------
    with_centering : bool, default=True
        Whether to subtract the median.
    with_scaling : bool, default=True
        Whether to divide by the spread.
    spread : {"iqr", "mad"}, default="iqr"
        What the spread is: the range between two quantiles, or the median absolute
        deviation from the median.
    quantile_range : tuple of two floats, default=(25.0, 75.0)
        Between which percentiles the range is taken, in [0, 100]. Not used with
        ``spread="mad"``.
    unit_variance : bool, default=True
        Whether the spread is divided by what it is for N(0, 1), 1.349 for the
        interquartile range and 0.6745 for the median absolute deviation, so that a
        normal column gets standard deviation 1.
    clip : {"none", "hard", "smooth"}, default="none"
        What happens to standardized values far from 0: nothing, a cut at
        ``clip_bound``, or :math:`z / \sqrt{1 + (z / B)^2}`, which bends them toward it.
    clip_bound : float, default=3.0
        What a clip keeps standardized values within.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    center_ : ndarray of shape (n_features_in_,) or None
        Median of each column, NaN for one without values; None if it isn't subtracted.
    scale_ : ndarray of shape (n_features_in_,) or None
        What a column is divided by: 1 if it is constant up to rounding, NaN without
        values; None if columns aren't scaled.
    n_samples_seen_ : int or ndarray of shape (n_features_in_,)
        Number of rows with a weight over 0; of values of each column, if some are NaN.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    sklearn.preprocessing.RobustScaler : What it stands in for.
    Standardizer : The same with mean and standard deviation.

    Notes
    -----
    :math:`z = (x - \tilde x) / s` with the median :math:`\tilde x` and

    .. math:: s = \frac{q_b - q_a}{\Phi^{-1}(b) - \Phi^{-1}(a)} \quad \text{or} \quad
        s = \frac{\operatorname{median} |x - \tilde x|}{\Phi^{-1}(3/4)}.

    Quantiles are those of all values, exact and interpolated between neighbours in
    order. A weight w gives a value w ranks, so that integer weights are repetitions. A
    value of weight below 1 has the middle of its share as its only rank; if weights are
    below 1 on average, their mean is the unit.

    More than half of a column may be one value, and its spread 0. Such a column is
    divided by its standard deviation instead, for it to have unit variance still. What
    is 0 is judged by the column's own magnitude: values near 1e-16 are scaled as any
    others; a spread that no double is large enough for is taken for the largest one.
    NaN is a missing value: it counts nowhere and stays NaN. Infinite values are
    refused.

    Sparse input (CSR or CSC) needs ``with_centering=False`` and is never made dense.

    References
    ----------
    P. J. Huber and E. M. Ronchetti, "Robust Statistics", 2nd edition, Wiley, 2009.

    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024 (the smooth clip).

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import RobustStandardizer
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    >>> RobustStandardizer(clip="smooth").fit_transform(X).round(2)
    array([[-1.23],
           [-0.66],
           [ 0.  ],
           [ 0.66],
           [ 3.  ]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "with_centering": ["boolean"],
        "with_scaling": ["boolean"],
        "spread": [StrOptions({"iqr", "mad"})],
        "quantile_range": [tuple, list, np.ndarray],
        "unit_variance": ["boolean"],
        "clip": [StrOptions({"none", "hard", "smooth"})],
        "clip_bound": [Interval(Real, 0, None, closed="neither")],
        "copy": ["boolean"],
    }
    _on_device: ClassVar[bool] = True
    _centers_by: ClassVar[str] = "with_centering"

    def __init__(
        self,
        *,
        with_centering=True,
        with_scaling=True,
        spread="iqr",
        quantile_range=(25.0, 75.0),
        unit_variance=True,
        clip="none",
        clip_bound=3.0,
        copy=True,
    ):
        self.with_centering = with_centering
        self.with_scaling = with_scaling
        self.spread = spread
        self.quantile_range = quantile_range
        self.unit_variance = unit_variance
        self.clip = clip
        self.clip_bound = clip_bound
        self.copy = copy

    def _study(self, X, weight):
        return order_statistics(X, weight, self._quantiles(), self._unit())

    def _adopt(self, found):
        self._refuse_infinite(found.infinite)
        self._warn_of_empty(found.count == 0)
        self.center_ = found.center if self.with_centering else None
        self.scale_ = self._scale(found) if self.with_scaling else None
        self._set_count(found.count)

    def _quantiles(self):
        """Return the range of quantiles as probabilities, None if it isn't used."""
        if self.spread == "mad":
            return None
        try:
            low, high = (float(q) for q in self.quantile_range)
        except (TypeError, ValueError):
            low = high = np.nan
        if not 0 <= low < high <= 100:
            raise ValueError(
                "The 'quantile_range' parameter of RobustStandardizer must hold two "
                "percentiles, the lower one first, from 0 to 100. Got "
                f"{self.quantile_range!r}."
            )
        if self.unit_variance and (low == 0 or high == 100):
            raise ValueError(
                "The 'quantile_range' parameter of RobustStandardizer must leave out 0 "
                "and 100 with unit_variance=True: a normal distribution has no end. "
                f"Got {self.quantile_range!r}. Set unit_variance=False to scale by the "
                "whole range."
            )
        return low / 100, high / 100

    def _unit(self):
        """Return the spread that becomes 1."""
        if not self.unit_variance:
            return 1.0
        low, high = self._quantiles() or (0.5, 0.75)
        return float(ndtri(high) - ndtri(low))

    def _scale(self, found):
        """Return what the columns are divided by."""
        scale = np.where(np.isnan(found.std), found.spread, found.std)
        return np.where(found.constant, 1.0, scale)

    def _shift(self):
        return () if self.center_ is None else (self.center_,), self.scale_
