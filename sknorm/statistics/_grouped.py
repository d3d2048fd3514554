"""Count, mean and variance of columns within groups of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknorm._kernels.groups import (
    each_field,
    label_moments,
    merge_groups,
    merge_rows,
)
from sknorm._kernels.labels import as_labels, factorize, find_labels, unite_labels
from sknorm._kernels.merging import ColumnMoments, ReadOnly, empty_moments, merge
from sknorm.statistics._moments import (
    Moments,
    check_mergeable,
    check_table,
    refuse_heavy,
    refuse_infinite,
)

__all__ = ["GroupedMoments"]


@dataclass(frozen=True, eq=False)
class GroupedMoments(ReadOnly):
    """Count, mean and variance of each column in each group of rows.

    Make one with :meth:`from_array` or :meth:`empty`. ``summary[label]`` is the
    :class:`Moments` of one group, and iterating goes over the labels.

    Parameters
    ----------
    labels : ndarray of shape (n_groups,)
        Labels of the groups, each once and ascending.
    columns : ColumnMoments
        The numbers of the groups, arrays of shape (n_groups, n_features).
    rest : ColumnMoments
        Those of the rows without a label, arrays of shape (n_features,).

    Notes
    -----
    Labels are numbers, strings, dates, or other objects that have an order. None, NaN,
    NaT and pandas' NA are missing ones: such rows belong to no group, but to the
    :meth:`total`. All else is as for :class:`Moments`, group by group. Merging makes
    the union of the groups, so that new ones may come at any time.

    Examples
    --------
    >>> from sknorm.statistics import GroupedMoments
    >>> summary = GroupedMoments.from_array([[1.0], [3.0], [8.0]], ["a", "a", "b"])
    >>> summary.mean
    array([[2.],
           [8.]])
    >>> summary = summary.update([[10.0], [0.0]], ["b", "c"])
    >>> summary["b"].mean
    array([9.])
    >>> summary.total().mean
    array([4.4])
    """

    labels: np.ndarray
    columns: ColumnMoments
    rest: ColumnMoments

    def __post_init__(self) -> None:
        for part in (self.columns, self.rest):
            refuse_heavy(part.weight)
        super().__post_init__()

    @classmethod
    def empty(cls, n_features: int) -> GroupedMoments:
        """Return the summary of no rows.

        Parameters
        ----------
        n_features : int
            Number of columns.

        Returns
        -------
        GroupedMoments
        """
        rest = empty_moments(n_features)
        return cls(np.empty(0), each_field(lambda a: a[None][:0], rest), rest)

    @classmethod
    def from_array(
        cls, X: Any, groups: Any = None, sample_weight: Any = None
    ) -> GroupedMoments:
        """Summarise a table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Real numbers; NaN and pandas' NA are missing values.
        groups : array-like of shape (n_samples,), default=None
            Labels of the groups that the rows belong to; None if they belong to none.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0. A row of weight 0 counts nowhere, and makes no group.

        Returns
        -------
        GroupedMoments

        Raises
        ------
        ValueError
            If X isn't a table of real numbers, a value is infinite, or the groups or
            the weights don't fit.
        """
        X, weight = check_table("GroupedMoments", X, sample_weight)
        labels = None if groups is None else as_labels(groups)
        if labels is not None and len(labels) != len(X):
            raise ValueError(
                f"groups must have one label for each of the {len(X)} rows. Got "
                f"{len(labels)} labels."
            )
        summary = cls(*label_moments(X, labels, weight))
        refuse_infinite("GroupedMoments", summary.infinite)
        return summary

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.labels)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.rest.count)

    @property
    def count(self) -> np.ndarray:
        """Number of values that count, int64 of shape (n_groups, n_features)."""
        return self.columns.count

    @property
    def weight_sum(self) -> np.ndarray:
        """Sums of their weights, of shape (n_groups, n_features)."""
        return self.columns.weight

    @property
    def mean(self) -> np.ndarray:
        """Means, of shape (n_groups, n_features); NaN without values."""
        return self.columns.mean

    @property
    def infinite(self) -> np.ndarray:
        """Mask of the columns with an infinite value, of which nothing is known."""
        return self.columns.infinite.any(axis=0) | self.rest.infinite

    def __getitem__(self, label: Any) -> Moments:
        """Return the moments of one group."""
        place = self.find([label])[0]
        if place < 0:
            raise KeyError(label)
        return Moments(each_field(lambda a: a[place].copy(), self.columns))

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the labels, as a mapping from them does."""
        return iter(self.labels)

    def find(self, groups: Any) -> np.ndarray:
        """Return where labels stand in :attr:`labels`.

        Parameters
        ----------
        groups : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        ndarray of int64 of shape (n_samples,)
            -1 for a label that isn't there, or is a missing one.

        Raises
        ------
        ValueError
            If there is more than one dimension, or labels can't be compared.
        """
        found, codes = factorize(as_labels(groups))
        return np.append(find_labels(found, self.labels), -1)[codes]

    def total(self) -> Moments:
        """Return the moments of all rows, with a label or without.

        Returns
        -------
        Moments
        """
        stack = each_field(lambda a, b: np.vstack([a, b]), self.columns, self.rest)
        return Moments(merge_rows(stack))

    def update(
        self, X: Any, groups: Any = None, sample_weight: Any = None
    ) -> GroupedMoments:
        """Return the summary of these rows and those of ``X``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More rows.
        groups : array-like of shape (n_samples,), default=None
            Labels of their groups.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        GroupedMoments
            A new summary; this one is as it was.
        """
        return self.merge(GroupedMoments.from_array(X, groups, sample_weight))

    def merge(self, other: GroupedMoments) -> GroupedMoments:
        """Return the summary of the rows of both.

        Parameters
        ----------
        other : GroupedMoments
            Summary of other rows of the same columns, perhaps of other groups.

        Returns
        -------
        GroupedMoments
            A new summary, of all groups.

        Raises
        ------
        TypeError
            If ``other`` is a summary of another kind.
        ValueError
            If the number of columns differs, labels can't be compared, or the weights
            of a group add up to more than the largest double.
        """
        check_mergeable(self, other)
        labels = unite_labels(self.labels, other.labels)
        places = [find_labels(part.labels, labels) for part in (self, other)]
        order = np.argsort(codes := np.concatenate(places), kind="stable")
        stack = each_field(
            lambda a, b: np.concatenate([a, b])[order], self.columns, other.columns
        )
        _, columns = merge_groups(codes[order], stack)
        return GroupedMoments(labels, columns, merge(self.rest, other.rest))

    def forget(self, factor: float) -> GroupedMoments:
        """Return the summary with all weights multiplied by a factor.

        Parameters
        ----------
        factor : float
            In (0, 1]; before an update it makes old rows count less.

        Returns
        -------
        GroupedMoments
            A new summary with the same means and variances.

        Raises
        ------
        ValueError
            If the factor isn't in (0, 1].
        """
        columns, rest = (
            Moments(part).forget(factor).columns for part in (self.columns, self.rest)
        )
        return GroupedMoments(self.labels, columns, rest)

    def std(self, ddof: float = 0) -> np.ndarray:
        """Return the standard deviation of each column in each group.

        Parameters
        ----------
        ddof : float, default=0
            What is taken off the sum of weights; 1 makes the variance unbiased where
            weights count repetitions.

        Returns
        -------
        ndarray of shape (n_groups, n_features)
            NaN where there are no more values than ``ddof``.
        """
        return Moments(self.columns).std(ddof)

    def is_constant(self) -> np.ndarray:
        """Tell where a group has one value only, up to rounding.

        Returns
        -------
        ndarray of bool of shape (n_groups, n_features)
            See :meth:`Moments.is_constant`.
        """
        return Moments(self.columns).is_constant()
