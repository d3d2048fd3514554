"""Power transforms."""

from __future__ import annotations

from typing import ClassVar

from sknorm._kernels.power import fit_powers
from sknorm._kernels.power_map import map_back, map_columns
from sknorm._validation import StrOptions
from sknorm.preprocessing._columns import ColumnStandardizer

__all__ = ["PowerStandardizer"]


class PowerStandardizer(ColumnStandardizer):
    r"""Bring each column close to a normal distribution by a power.

    The power is the one for which the transformed column is most likely to come from a
    normal distribution. What it leads to is brought to mean 0 and standard deviation 1.

    Parameters
    ----------
    method : {"yeo-johnson", "box-cox"}, default="yeo-johnson"
        The family of transforms. Box-Cox is for positive values only.
    standardize : bool, default=True
        Whether to bring the transformed columns to mean 0 and standard deviation 1.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    lambdas_ : ndarray of shape (n_features_in_,)
        Power of each column; 1 for a constant one, NaN for one without values.
    n_samples_seen_ : int or ndarray of shape (n_features_in_,)
        Number of rows with a weight over 0; of values of each column, if some are NaN.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    sklearn.preprocessing.PowerTransformer : What it stands in for.
    QuantileStandardizer : Makes any continuous column normal, by its ranks.

    Notes
    -----
    Box-Cox is :math:`y = (x^\lambda - 1) / \lambda`, or :math:`\log x` where
    :math:`\lambda` is 0. Yeo-Johnson is that of :math:`1 + x` for :math:`x \ge 0`, and
    minus that of :math:`1 - x` with the power :math:`2 - \lambda` below. The power is
    where

    .. math:: (\lambda - 1) \sum_i w_i s_i
        - \frac{\sum_i w_i}{2} \log \mathrm{Var}_w(y)

    is largest, with :math:`s = \log x` or :math:`\mathrm{sign}(x) \log(1 + |x|)`. This
    is concave, and safeguarded Newton steps find its maximum over all rows to about 12
    digits. A Box-Cox power doesn't change if the column is multiplied by a number.

    Deviations of y are computed without y, which may have no digits for them or be too
    large for a double: of 1950, ..., 2009 all y differ from :math:`-1 / \lambda` by
    less than rounding if :math:`\lambda` is -10, and pass the largest double if it is
    100. So ``standardize=True`` leads to mean 0 and variance 1 there too.

    Powers are bounded by what can be undone. Where the likeliest one, as of a column
    that is 1 but for a single 0, makes the map so flat at one end of the column that
    rounding its results to double moves values there by more than a millionth of the
    column's range, the power nearest to it that doesn't is taken. So what was fitted,
    in float64, comes back from ``inverse_transform`` to that, and mostly to many digits
    more. Without ``standardize`` results have to be finite, and are rounded by their
    own size instead of their range: that bounds the power more closely.

    New values below or above all fitted ones may be mapped to infinity. What no value
    is mapped to, as numbers above :math:`-1 / \lambda` for negative powers, becomes
    infinite in ``inverse_transform``, or 0 for Box-Cox below the lowest.

    NaN is a missing value: it counts nowhere and stays NaN. Infinite values are
    refused. A column is constant if its values are at most four units in the last place
    apart; it keeps the power 1. All is computed in float64 and rounded once, also for
    float32.

    References
    ----------
    G. Box and D. Cox, "An Analysis of Transformations", Journal of the Royal
    Statistical Society B 26(2), 1964.

    I.-K. Yeo and R. Johnson, "A New Family of Power Transformations to Improve
    Normality or Symmetry", Biometrika 87(4), 2000.

    X. Xu and G. Cormode, "Power Transform Revisited: Numerically Stable, and
    Federated", arXiv:2510.04995, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import PowerStandardizer
    >>> X = np.array([[1.0], [10.0], [100.0], [1000.0], [np.nan]])
    >>> scaler = PowerStandardizer(method="box-cox").fit(X)
    >>> scaler.transform(X).round(2)
    array([[-1.34],
           [-0.45],
           [ 0.45],
           [ 1.34],
           [  nan]])
    >>> abs(scaler.lambdas_.round(6))
    array([0.])
    """

    _parameter_constraints: ClassVar[dict] = {
        "method": [StrOptions({"yeo-johnson", "box-cox"})],
        "standardize": ["boolean"],
        "copy": ["boolean"],
    }

    _on_device: ClassVar[bool] = True

    def __init__(self, method="yeo-johnson", *, standardize=True, copy=True):
        self.method = method
        self.standardize = standardize
        self.copy = copy

    def _study(self, X, weight):
        return fit_powers(
            X,
            weight,
            box_cox=self.method == "box-cox",
            standardize=self.standardize,
        )

    def _adopt(self, learned):
        self._refuse_infinite(learned.infinite)
        self._refuse_nonpositive(learned.nonpositive)
        self._warn_of_empty(learned.count == 0)
        self.lambdas_ = learned.powers
        self._map = learned.mapped
        self._set_count(learned.count)

    def _transform(self, X, out):
        return map_columns(
            X,
            self._map,
            out,
            on_infinite=self._refuse_infinite,
            on_nonpositive=self._refuse_nonpositive,
        )

    def _inverse_transform(self, X, out):
        return map_back(X, self._map, out, on_infinite=self._refuse_infinite)

    def _refuse_nonpositive(self, nonpositive):
        """Raise if a mask of columns holds one that Box-Cox isn't for."""
        if nonpositive.any():
            raise ValueError(
                "The Box-Cox transform is for strictly positive values only, and X "
                f"holds others in {self._columns(nonpositive)}. Use "
                "method='yeo-johnson', or make them positive."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.method == "box-cox"
        return tags
