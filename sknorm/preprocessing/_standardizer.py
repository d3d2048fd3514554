"""Mean 0 and standard deviation 1."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np

from sknorm._kernels.moments import column_moments
from sknorm._validation import Interval, StrOptions
from sknorm.preprocessing._scaling import ScalingStandardizer
from sknorm.preprocessing._summary import SummaryStandardizer
from sknorm.statistics import Moments

__all__ = ["Standardizer"]


class Standardizer(ScalingStandardizer, SummaryStandardizer):
    r"""Bring each column to mean 0 and standard deviation 1.

    Parameters
    ----------
    with_mean : bool, default=True
        Whether to subtract the mean. Sparse input, which that would fill, is taken with
        False only.
    with_std : bool, default=True
        Whether to divide by the standard deviation.
    ddof : float, default=0
        What is taken off the sum of weights in the variance; 1 makes it unbiased where
        weights count repetitions.
    forgetting : float or None, default=None
        Factor in (0, 1] that ``partial_fit`` multiplies the weights of all earlier rows
        with, so that old batches fade; None is 1. A ``fit`` has nothing to forget.
    clip : {"none", "hard", "smooth"}, default="none"
        What is done about standardized values far from 0: nothing, a cut at the bound,
        or a bend toward it, see the notes.
    clip_bound : float, default=3.0
        What a clip keeps standardized values within.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_in_,)
        Mean of each column; NaN for one without values.
    var_ : ndarray of shape (n_features_in_,)
        Variance of each column.
    scale_ : ndarray of shape (n_features_in_,)
        What a column is divided by: its standard deviation, 1 if it is constant up to
        rounding, NaN without values.
    n_samples_seen_ : int or ndarray of shape (n_features_in_,)
        Number of rows with a weight over 0; of values of each column, if some are NaN.
        Forgetting doesn't lower it.
    statistics_ : sknorm.statistics.Moments
        The summary all this comes from.
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
    deviation :math:`s`, :math:`s^2 = \sum w_i (x_i - \bar x)^2 / (\sum w_i - ddof)`.
    NaN is a missing value: it counts nowhere and stays NaN. Infinite values are
    refused.

    With ``forgetting`` :math:`\lambda`, a row of weight :math:`w` that came :math:`k`
    calls of ``partial_fit`` before the last one has the weight :math:`\lambda^k w`: the
    memory goes back over about :math:`1 / (1 - \lambda)` batches, whatever their size.

    A hard clip is :math:`\min(\max(z, -B), B)`, and nothing undoes it. The smooth one
    is :math:`z / \sqrt{1 + (z/B)^2}`, which leaves small values nearly as they are,
    keeps the order of large ones, and is undone by ``inverse_transform``: a value on
    the bound or beyond, where rounding puts what was further out than about
    :math:`10^8 B` (:math:`10^3 B` in float32), becomes infinite. Networks on tabular
    data are commonly fed with :math:`B = 3`.

    Statistics and differences are computed in float64 and rounded once, also for
    float32 and for sparse matrices. Where the mean is so large beside the spread that a
    double can't hold it to the last digit, what rounding took off it is subtracted too.

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Algorithms for Computing the Sample Variance:
    Analysis and Recommendations", The American Statistician 37(3), 1983.

    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024 (the smooth clip).

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import Standardizer
    >>> Standardizer().fit_transform([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]])
    array([[-1.,  0.],
           [ 1.,  0.],
           [nan,  0.]])

    Two that were fitted apart know together what one fitted on all rows knows:

    >>> first, second = Standardizer().fit([[1.0], [3.0]]), Standardizer().fit([[8.0]])
    >>> first.merge(second).mean_
    array([4.])
    """

    _parameter_constraints: ClassVar[dict] = {
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
        "ddof": [Interval(Real, 0, None, closed="left")],
        "forgetting": [Interval(Real, 0, 1, closed="right"), None],
        "clip": [StrOptions({"none", "hard", "smooth"})],
        "clip_bound": [Interval(Real, 0, None, closed="neither")],
        "copy": ["boolean"],
    }

    _on_device: ClassVar[bool] = True
    _centers_by: ClassVar[str] = "with_mean"

    def __init__(
        self,
        *,
        with_mean=True,
        with_std=True,
        ddof=0,
        forgetting=None,
        clip="none",
        clip_bound=3.0,
        copy=True,
    ):
        self.with_mean = with_mean
        self.with_std = with_std
        self.ddof = ddof
        self.forgetting = forgetting
        self.clip = clip
        self.clip_bound = clip_bound
        self.copy = copy

    def _summarize(self, X, weight):
        columns = column_moments(X, weight)
        self._refuse_infinite(columns.infinite)
        return Moments(columns)

    def _learn(self, moments):
        constant = moments.is_constant()
        std = moments.std(self.ddof)
        self._refuse_too_few(moments, np.isnan(std) & ~constant & (moments.count > 0))
        self._warn_of_empty(moments.count == 0)
        self.mean_ = moments.mean.copy()
        with np.errstate(over="ignore", under="ignore"):
            self.var_ = np.square(std)
        self.scale_ = np.where(constant, 1.0, std)
        self._set_count(moments.count)

    def _refuse_too_few(self, moments, lacking):
        if lacking.any():
            least = float(moments.weight_sum[lacking].min())
            raise ValueError(
                f"ddof={self.ddof!r} needs weights that add up to more than that, "
                f"without weights that many rows. They add up to {least:g} in "
                f"{self._columns(lacking)}. Lower ddof, or give weights that count "
                "repetitions."
            )

    def _shift(self):
        return self._center(), self.scale_ if self.with_std else None

    def _center(self):
        if not self.with_mean:
            return ()
        remainder = self.statistics_.mean_remainder
        # Below a unit in the last place of a standardized value it can't be seen.
        matters = np.abs(remainder) > np.finfo(np.float64).eps * self.scale_
        return (self.mean_, remainder) if matters.any() else (self.mean_,)
