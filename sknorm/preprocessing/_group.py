"""Mean 0 and standard deviation 1 within groups of rows."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from sknorm._array_api import (
    beside,
    detached,
    float_dtypes,
    is_dispatched,
    is_foreign,
    namespace,
    to_numpy,
)
from sknorm._dask import is_dask
from sknorm._frames import refuse_lazy_frame
from sknorm._kernels.apply import scale_columns, unscale_columns
from sknorm._kernels.groups import label_moments, scale_groups
from sknorm._kernels.labels import as_labels
from sknorm._kernels.shrinkage import add_rows, empirical_bayes
from sknorm._validation import (
    Interval,
    StrOptions,
    _fit_context,
    check_is_fitted,
    check_sample_weight,
    restore_on_failure,
    validate_data,
)
from sknorm.preprocessing._home import carry_out, check_home, rows_for, settle
from sknorm.preprocessing._lazy import lazy_container, summarize_rows, transform_rows
from sknorm.preprocessing._summary import SummaryStandardizer
from sknorm.statistics import GroupedMoments, Moments

__all__ = ["GroupStandardizer"]


class GroupStandardizer(SummaryStandardizer):
    r"""Bring each column to mean 0 and standard deviation 1 within groups of rows.

    Small groups know little of their mean and standard deviation, so theirs are drawn
    toward those of all rows, by as much as the data say. Which group a row belongs to
    is told by a column of X, or by ``groups``. Without either it is a
    :class:`Standardizer`.

    Parameters
    ----------
    by : str, int or None, default=None
        Name or position of the column of X that holds the labels of the groups:
        numbers, strings, dates or categories. It is not among the columns of the
        result. With None the methods take ``groups``.
    shrinkage : {"empirical_bayes", "none"} or float, default="empirical_bayes"
        How groups are drawn toward all rows: by what the data say of the differences
        between groups; not at all; or as if each had so many more rows, with the mean
        and the spread of all. See the notes.
    with_mean : bool, default=True
        Whether to subtract the mean.
    with_std : bool, default=True
        Whether to divide by the standard deviation.
    copy : bool, default=True
        Whether ``transform`` leaves its input alone. With False it writes the result
        into a writable float array that it is given.

    Attributes
    ----------
    groups_ : ndarray of shape (n_groups,)
        Labels of the groups, ascending; none without labels.
    group_mean_ : ndarray of shape (n_groups, n_columns)
        What is subtracted in each group. The columns are those of X without ``by``.
    group_scale_ : ndarray of shape (n_groups, n_columns)
        What is divided by in each group.
    mean_ : ndarray of shape (n_columns,)
        Mean of all rows; NaN for a column without values. It is subtracted where the
        group is unknown.
    scale_ : ndarray of shape (n_columns,)
        Standard deviation of all rows, 1 for a column that is constant up to rounding,
        NaN without values. It is divided by where the group is unknown.
    n_samples_seen_ : int or ndarray of shape (n_columns,)
        Number of rows with a weight over 0; of values of each column, if some are NaN.
    statistics_ : sknorm.statistics.GroupedMoments
        The summary all this comes from.
    n_features_in_ : int
        Number of columns of X, with that of the labels.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X has string names for all.

    See Also
    --------
    Standardizer : The same for all rows together.
    sknorm.statistics.GroupedMoments : The statistics behind it.

    Notes
    -----
    A row :math:`i` of group :math:`g` becomes :math:`z_i = (x_i - m_g) / s_g`, in each
    column for itself. A group that was not seen in ``fit``, a missing label (None, NaN,
    NaT, pandas' NA), and a group without values in a column get the mean :math:`m` and
    the standard deviation :math:`s` of all rows, so that rows of unknown groups have
    mean 0 and standard deviation 1 if they are as all others were. Rows with a missing
    label count in these, and in no group.

    Let a group have rows of weight :math:`w_g` in all (their number, without weights),
    mean :math:`\bar x_g`, and sum of squared deviations :math:`q_g`. With
    ``shrinkage="none"`` it has :math:`m_g = \bar x_g` and :math:`s_g^2 = q_g / w_g`, 1
    if that is 0: what a :class:`Standardizer` has that is fitted on the group alone.
    With a number :math:`k` it has the mean and the standard deviation of its own rows
    and :math:`k` more with mean :math:`m` and standard deviation :math:`s` together:

    .. math:: m_g = \frac{w_g \bar x_g + k m}{w_g + k}, \qquad s_g^2 = \frac{1}{w_g + k}
        \left( q_g + k s^2 + \frac{w_g k}{w_g + k} (\bar x_g - m)^2 \right).

    With ``"empirical_bayes"`` values are :math:`N(\mu_g, \sigma_g^2)`, means
    :math:`\mu_g \sim N(m, \tau^2)`, and variances :math:`\sigma_g^2 \sim d_0 s_0^2 /
    \chi^2_{d_0}`, where all but :math:`m` is learned from the groups:

    1. With :math:`d_g = w_g - 1` and :math:`e_g = \ln(q_g / d_g) - \psi(d_g / 2) +
       \ln(d_g / 2)`, for groups with :math:`d_g \ge 1` that are not constant,
       :math:`\psi'(d_0 / 2)` is the variance of the :math:`e_g` less the mean of
       :math:`\psi'(d_g / 2)`, and :math:`\ln s_0^2` the mean of the :math:`e_g` plus
       :math:`\psi(d_0 / 2) - \ln(d_0 / 2)`. The variance within a group is then
       :math:`\tilde \sigma_g^2 = (d_0 s_0^2 + q_g) / (d_0 + d_g)` (Smyth 2004). If the
       :math:`e_g` vary no more than by chance, or fewer than two groups have one,
       all groups have the pooled :math:`\sum q_g / \sum d_g`. What groups of one row
       and constant ones have comes of the prior.
    2. With shares :math:`p_g = w_g / \sum w_g` and the mean :math:`\bar x` of all rows
       with a label, :math:`\tau^2` is

       .. math:: \max\left(0, \frac{\sum p_g (\bar x_g - \bar x)^2 - \sum \tilde
          \sigma_g^2 (1 - p_g) / \sum w_g}{\sum p_g (1 - p_g)}\right),

       what is left of the spread of the means when chance is taken off: the estimator
       of DerSimonian and Laird with sizes for weights.
    3. With the share of the prior :math:`b_g = \tilde \sigma_g^2 / (\tilde \sigma_g^2 +
       w_g \tau^2)`, the mean is :math:`m_g = (1 - b_g) \bar x_g + b_g m`, and the
       variance :math:`s_g^2 = \tilde \sigma_g^2 + b_g \tau^2`: that within the group,
       and what isn't known of its mean. From a large group to a small one it goes from
       the group's own, :math:`q_g / d_g`, to about that of all rows.

    If groups don't differ (:math:`\tau = 0`) all have the mean :math:`m`. In a column
    in which fewer than two groups have values, none has two of them, so that the spread
    within groups can't be told from that between them, or all groups are constant and
    equal, all have :math:`m` and :math:`s`; if all are constant and differ, :math:`s_g
    = s`.
    Weights count rows here: those that add up to 1 are one row. Multiply them by a
    number for which they add up to as many rows as they stand for.

    NaN is a missing value: it counts nowhere and stays NaN. Infinite values are
    refused. Statistics and differences are computed in float64 and rounded once.

    References
    ----------
    G. K. Smyth, "Linear Models and Empirical Bayes Methods for Assessing Differential
    Expression in Microarray Experiments", Statistical Applications in Genetics and
    Molecular Biology 3(1), 2004.

    R. DerSimonian and N. Laird, "Meta-Analysis in Clinical Trials", Controlled Clinical
    Trials 7(3), 1986.

    B. Efron and C. Morris, "Data Analysis Using Stein's Estimator and Its
    Generalizations", Journal of the American Statistical Association 70(350), 1975.

    Examples
    --------
    >>> import numpy as np
    >>> from sknorm.preprocessing import GroupStandardizer
    >>> X, sensor = [[1.0], [3.0], [100.0], [300.0]], ["a", "a", "b", "b"]
    >>> scaler = GroupStandardizer(shrinkage="none")
    >>> scaler.fit_transform(X, groups=sensor)
    array([[-1.],
           [ 1.],
           [-1.],
           [ 1.]])

    A group that was never seen is taken for a row like any other:

    >>> scaler.transform([[101.0]], groups=["c"])
    array([[0.]])

    Labels may be a column, of a frame or of an array:

    >>> table = np.array([[7, 1.0], [7, 3.0], [9, 100.0], [9, 300.0]])
    >>> GroupStandardizer(by=0, shrinkage="none").fit_transform(table)
    array([[-1.],
           [ 1.],
           [-1.],
           [ 1.]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "by": [str, Integral, None],
        "shrinkage": [
            StrOptions({"empirical_bayes", "none"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
        "copy": ["boolean"],
    }

    _on_device: ClassVar[bool] = True

    def __init__(
        self,
        *,
        by=None,
        shrinkage="empirical_bayes",
        with_mean=True,
        with_std=True,
        copy=True,
    ):
        self.by = by
        self.shrinkage = shrinkage
        self.with_mean = with_mean
        self.with_std = with_std
        self.copy = copy

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Learn the statistics of each group and of all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to, with ``by=None``.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X, the weights or the groups can't be used. An earlier fit is kept.
        """
        self._learn_rows(X, sample_weight, groups, None)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None, groups=None):
        """Learn from more rows, as if all had come at once.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to, with ``by=None``; new ones
            among them or not.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ValueError
            If X, the weights or the groups can't be used. What was learned before is
            kept.
        """
        earlier = getattr(self, "statistics_", None)
        self._learn_rows(X, sample_weight, groups, earlier)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None, sample_weight=None, groups=None):
        """Learn the statistics of rows and standardize them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to, with ``by=None``.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            float32 if X is, else float64.
        """
        X, labels = self._learn_rows(X, sample_weight, groups, None)
        if is_dask(X):
            return self.transform(X)
        return carry_out(self, "transform", X, labels)

    def transform(self, X, groups=None):
        """Standardize rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to, with ``by=None``.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            float32 if X is, else float64.
        """
        check_is_fitted(self)
        if is_dask(X):
            self._refuse_beside_dask(groups)
            check_home(self, X, "transform")
            return transform_rows(self, X, "_transform", lazy_container(self))
        X, labels = self._separate(X, groups, reset=False)
        return carry_out(self, "transform", X, labels)

    def inverse_transform(self, X, groups=None):
        """Bring standardized rows back to their own units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)
            Standardized rows.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to, also if those that were
            transformed were told by a column of X: the result of that has none.

        Returns
        -------
        ndarray of shape (n_samples, n_columns)
            float32 if X is, else float64. The column of labels does not come back.
        """
        check_is_fitted(self)
        X = self._check_result(X)
        labels = None if groups is None else self._check_groups(groups, X)
        self._refuse_no_labels(labels)
        return carry_out(self, "inverse_transform", X, labels)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of the result.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X, those it was fitted with, if it had any.

        Returns
        -------
        ndarray of str of shape (n_columns,)
            The same without that of the labels.
        """
        names = super().get_feature_names_out(input_features)
        return names[self._kept()]

    def _learn_rows(self, X, sample_weight, groups, earlier):
        """Learn from rows, with what is known already or None, and validate them."""
        with restore_on_failure(self):
            if is_dask(X):
                self._refuse_beside_dask(groups)
                labels, reset = None, earlier is None
                statistics = summarize_rows(self, X, sample_weight, reset=reset)
            else:
                X, labels = self._separate(X, groups, reset=earlier is None)
                weight = check_sample_weight(sample_weight, X)
                statistics = self._summarize(rows_for(self, X), weight, labels)
            if earlier is not None:
                statistics = earlier.merge(statistics)
            self._learn_from(statistics)
            settle(self, X)
        return X, labels

    def _separate(self, X, groups, *, reset):
        """Return the columns that are standardized, validated, and the labels."""
        if self.by is None:
            X = self._check(X, reset=reset)
            labels = None if groups is None else self._check_groups(groups, X)
            if not reset:
                self._refuse_no_labels(labels)
            return X, labels
        if groups is not None:
            raise ValueError(
                f"groups can't be given together with by={self.by!r}: the labels are "
                "those in that column of X. Leave out one of the two."
            )
        refuse_lazy_frame(X)
        X = X if hasattr(X, "shape") else np.array(X, dtype=object)
        if issparse(X) or len(X.shape) != 2:
            check_array(X)  # Which says what is wrong with it.
        validate_data(self, X, reset=reset, skip_check_array=True)
        at, kept = self._label_column(), self._kept()
        if is_dispatched(X):
            labels = to_numpy(X[:, at])
            values = namespace(X).take(X, beside(kept, X), axis=1)
        elif hasattr(X, "iloc"):
            labels, values = X.iloc[:, at], X.iloc[:, kept]
        else:
            labels, values = X[:, at], X[:, kept]
        return self._check_numbers(values), as_labels(labels)

    def _read(self, X, *, reset):
        return self._separate(X, None, reset=reset)

    def _refuse_beside_dask(self, groups):
        if groups is not None:
            raise ValueError(
                "groups can't be given beside a Dask collection. Make the labels a "
                "column of it, and name that in by."
            )

    def _check_numbers(self, values):
        return check_array(
            detached(values),
            dtype=float_dtypes(values)
            if is_dispatched(values)
            else [np.float64, np.float32],
            ensure_all_finite=False,
            estimator=self,
            input_name="X",
        )

    def _check_result(self, X):
        """Validate rows that were standardized."""
        self._refuse_dask(X)
        if self.by is None:
            return super()._check_result(X)
        X = self._check_numbers(X)
        if X.shape[1] != self.n_features_in_ - 1:
            raise ValueError(
                f"X has {X.shape[1]} columns, but {type(self).__name__} has "
                f"standardized {self.n_features_in_ - 1}: those of its input without "
                f"the labels."
            )
        return X

    def _check_groups(self, groups, X):
        labels = as_labels(to_numpy(groups) if is_foreign(groups) else groups)
        if len(labels) != X.shape[0]:
            raise ValueError(
                f"groups must have one label for each of the {X.shape[0]} rows. Got "
                f"{len(labels)} labels."
            )
        return labels

    def _refuse_no_labels(self, labels):
        n_groups = self.statistics_.n_groups
        if labels is None and n_groups:
            # Only standardized rows come without it.
            lost = "" if self.by is None else f", for the column by={self.by!r} is lost"
            raise ValueError(
                f"This {type(self).__name__} knows {n_groups} groups and must be told "
                f"to which of them each row belongs: pass groups{lost}. A label that "
                "it doesn't know, or None, stands for any group."
            )

    def _label_column(self):
        """Return the position of the column of labels."""
        n_features = self.n_features_in_
        if isinstance(self.by, str):
            names = getattr(self, "feature_names_in_", None)
            if names is None:
                raise ValueError(
                    f"by={self.by!r} names a column, but the columns of X have no "
                    "names. Give its position."
                )
            if self.by not in names:
                raise ValueError(
                    f"by={self.by!r} is not a column of X. There are "
                    f"{self._columns(np.ones(n_features, dtype=bool))}."
                )
            return int(np.flatnonzero(names == self.by)[0])
        if not -n_features <= self.by < n_features:
            raise ValueError(
                f"by={self.by!r} is not the position of a column: X has {n_features}."
            )
        return int(self.by) % n_features

    def _kept(self):
        """Return the positions of the columns that are standardized."""
        every = np.arange(self.n_features_in_)
        return every if self.by is None else np.delete(every, self._label_column())

    def _columns(self, mask):
        if len(mask) < self.n_features_in_:
            mask = np.insert(mask, self._label_column(), False)
        return super()._columns(mask)

    def _summarize(self, X, weight, labels=None):
        statistics = GroupedMoments(*label_moments(X, labels, weight))
        self._refuse_infinite(statistics.infinite)
        return statistics

    def _learn(self, statistics):
        total = statistics.total()
        self._warn_of_empty(total.count == 0)
        self.mean_ = total.mean.copy()
        self.scale_ = np.where(total.is_constant(), 1.0, total.std())
        groups = self._shrink(statistics, total)
        # A group without spread has no scale of its own. That of all rows at least
        # tells what a large number is.
        lacking = self.scale_ if self.shrinkage == "empirical_bayes" else 1.0
        self.groups_ = statistics.labels.copy()
        self.group_mean_ = groups.mean.copy()
        constant = Moments(groups).is_constant()
        self.group_scale_ = np.where(constant, lacking, groups.std)
        remainder = np.vstack([groups.remainder, total.mean_remainder])
        scale = np.vstack([self.group_scale_, self.scale_])
        # Below a unit in the last place of a standardized value it can't be seen.
        matters = np.abs(remainder) > np.finfo(np.float64).eps * scale
        self._remainder = (remainder,) if matters.any() else ()
        self._set_count(total.count)

    def _shrink(self, statistics, total):
        """Return the moments that the groups are standardized by."""
        columns = statistics.columns
        if self.shrinkage == "empirical_bayes":
            constant = statistics.is_constant()
            return empirical_bayes(columns, total.columns, constant)
        strength = 0.0 if self.shrinkage == "none" else float(self.shrinkage)
        return add_rows(columns, total.columns, strength)

    def _transform(self, X, out, labels=None):
        return self._apply(X, out, labels, undo=False)

    def _inverse_transform(self, X, out, labels=None):
        return self._apply(X, out, labels, undo=True)

    def _apply(self, X, out, labels, *, undo):
        if labels is None or not self.statistics_.n_groups:
            # All rows have the same.
            center = (self.mean_, *(part[-1] for part in self._remainder))
            return (unscale_columns if undo else scale_columns)(
                X,
                center if self.with_mean else (),
                self.scale_ if self.with_std else None,
                out,
                on_infinite=self._refuse_infinite,
            )
        # The last row is that of unknown groups, which are found at -1.
        center = (np.vstack([self.group_mean_, self.mean_]), *self._remainder)
        return scale_groups(
            X,
            self.statistics_.find(labels),
            center if self.with_mean else (),
            np.vstack([self.group_scale_, self.scale_]) if self.with_std else None,
            out,
            undo=undo,
            on_infinite=self._refuse_infinite,
        )
