"""Normal scores of ranks."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils import check_random_state

from sknorm._array_api import take_rows
from sknorm._kernels.ranks import infinite_columns, interpolate_columns, learn_scores
from sknorm._validation import Interval, StrOptions
from sknorm.preprocessing._columns import ColumnStandardizer

__all__ = ["QuantileStandardizer"]

# The c of (r - c) / (n - 2c + 1).
_PLOTTING_POSITIONS = {
    "blom": 3 / 8,
    "tukey": 1 / 3,
    "rankit": 1 / 2,
    "van_der_waerden": 0.0,
    "linear": 1.0,
}


class QuantileStandardizer(ColumnStandardizer):
    r"""Bring each column to a normal distribution of mean 0 and standard deviation 1.

    Values are replaced by normal scores of their ranks, the rank-based inverse normal
    transform. Any continuous column becomes normal, and outliers count no more than
    their rank says.

    Parameters
    ----------
    n_quantiles : int, default=1000
        How many values of a column are kept at most, with their scores, but for a few
        more beside values that occur very often. Between them scores are interpolated.
        A column of no more distinct values keeps all of them, so that a number larger
        than that of the rows changes nothing.
    plotting_position : str or float, default="blom"
        The c of :math:`(r - c) / (n - 2 c + 1)`, the probability that rank r out of n
        stands for: "blom" for 3/8, "tukey" for 1/3, "rankit" for 1/2,
        "van_der_waerden" for 0, "linear" for 1, or a number from 0 to 1. The
        probabilities 0 and 1, which "linear" leads to, are replaced by 1e-7 and
        1 - 1e-7 as in scikit-learn's ``QuantileTransformer``.
    subsample : int, default=None
        How many rows to learn from at most, drawn at random; None for all of them.
    random_state : int, RandomState instance or None, default=None
        Draws the subsample.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    quantiles_ : ndarray of shape (n_quantiles_, n_features_in_)
        Values of each column, ascending. A column of fewer distinct values than others
        repeats its largest one; NaN for a column without values.
    scores_ : ndarray of shape (n_quantiles_, n_features_in_)
        What they are mapped to; 0 in a constant column.
    n_quantiles_ : int
        How many values were kept, of the column with the most of them.
    n_samples_seen_ : int or ndarray of shape (n_features_in_,)
        Number of rows with a weight over 0 that were learned from; of values of each
        column, if some are NaN.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    sklearn.preprocessing.QuantileTransformer : What it stands in for.
    Standardizer : Mean 0 and standard deviation 1 with the shape left as it is.

    Notes
    -----
    With the rank r of a value among the n of its column, the average one among ties,

    .. math:: z = \frac{1}{s}
        \left(\Phi^{-1}\left(\frac{r - c}{n - 2 c + 1}\right) - m\right),

    where m and s are the mean and the standard deviation of all the column's scores:
    those of a finite sample have a variance below 1, and ties move both. So the column
    that is fitted gets mean 0 and variance 1 to rounding, for any ``n_quantiles``. As
    with every scaling to unit variance, the rare values of a column that hardly ever
    changes come out large.

    Values that are kept have their exact scores, and these are about equally far apart:
    few are spent on the middle, where the score is nearly straight, and the extremes
    are all kept if there are many rows. The score of any other value of the fitted
    column is off by less than the distance of the two around it, about 0.01 with 1000
    out of a million. Which ones are kept is told by a sample if there are 200 000 rows
    or more, so that few values are sorted; it is the same one each time, and distances
    seldom are more than twice what they should be. Both ends of a long run of ties are
    kept: what comes next is not taken for a part of it. Scores are interpolated in
    themselves, not in probability: between neighbours that is the same line to less
    than that, and needs no :math:`\Phi^{-1}` of each value. Beyond the values seen the
    score is that of the nearest one. ``inverse_transform`` goes the same lines back,
    and beyond the scores to the extreme values.

    A weight is a number of repetitions: a run of ties of weight w, with b below it, has
    the rank b + (w + 1) / 2, and n is the sum of weights. Weights that are below 1 on
    average, for instance those that sum to 1, are measured in units of their mean
    instead, lest n be less than the rows there are.

    A column is constant if its values are at most four units in the last place apart.
    NaN is a missing value: it counts nowhere and stays NaN. Infinite values are
    refused. All is computed in float64 and rounded once, also for float32.

    References
    ----------
    G. Blom, "Statistical Estimates and Transformed Beta-Variables", Wiley, 1958.

    T. M. Beasley, S. Erickson and D. B. Allison, "Rank-Based Inverse Normal
    Transformations are Increasingly Used, But are They Merited?", Behavior Genetics
    39(5), 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import QuantileStandardizer
    >>> X = np.array([[1.0], [10.0], [100.0], [1000.0], [np.nan]])
    >>> QuantileStandardizer().fit_transform(X).round(2)
    array([[-1.36],
           [-0.39],
           [ 0.39],
           [ 1.36],
           [  nan]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_quantiles": [Interval(Integral, 2, None, closed="left")],
        "plotting_position": [
            StrOptions(set(_PLOTTING_POSITIONS)),
            Interval(Real, 0, 1, closed="both"),
        ],
        "subsample": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "copy": ["boolean"],
    }

    _on_device: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_quantiles=1000,
        plotting_position="blom",
        subsample=None,
        random_state=None,
        copy=True,
    ):
        self.n_quantiles = n_quantiles
        self.plotting_position = plotting_position
        self.subsample = subsample
        self.random_state = random_state
        self.copy = copy

    def _study(self, X, weight):
        X, weight = self._draw(X, weight)
        return learn_scores(X, weight, self.n_quantiles, self._offset())

    def _adopt(self, table):
        self._refuse_infinite(table.infinite)
        self._warn_of_empty(table.count == 0)
        self.quantiles_ = table.quantiles
        self.scores_ = table.scores
        self.n_quantiles_ = len(table.quantiles)
        self._set_count(table.count)

    def _transform(self, X, out):
        return self._look_up(X, self.quantiles_, self.scores_, out)

    def _inverse_transform(self, X, out):
        return self._look_up(X, self.scores_, self.quantiles_, out)

    def _look_up(self, X, knots, values, out):
        out, infinite = interpolate_columns(X, knots, values, out)
        self._refuse_infinite(infinite)
        return out

    def _draw(self, X, weight):
        """Return the rows to learn from: all, or as many as the subsample takes."""
        n_rows = X.shape[0]
        counted = np.arange(n_rows) if weight is None else np.flatnonzero(weight)
        if self.subsample is None or self.subsample >= len(counted):
            return X, weight
        # What isn't drawn is refused too, or a fit would depend on luck.
        rows = X if len(counted) == n_rows else take_rows(X, counted)
        self._refuse_infinite(infinite_columns(rows))
        generator = check_random_state(self.random_state)
        drawn = counted[generator.permutation(len(counted))[: self.subsample]]
        # In the order of the rows, which is the faster one to gather.
        drawn.sort()
        return take_rows(X, drawn), None if weight is None else weight[drawn]

    def _offset(self):
        return _PLOTTING_POSITIONS.get(self.plotting_position, self.plotting_position)
