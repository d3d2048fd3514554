"""Standardizers that learn all they need from a summary of the rows."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from sknorm._dask import is_dask
from sknorm._validation import (
    _fit_context,
    check_is_fitted,
    check_sample_weight,
    restore_on_failure,
)
from sknorm.preprocessing._base import BaseStandardizer
from sknorm.preprocessing._home import home_of, rows_for, settle
from sknorm.preprocessing._lazy import summarize_rows

__all__ = ["SummaryStandardizer"]


class SummaryStandardizer(BaseStandardizer):
    """A standardizer whose statistics merge, so that rows may come in parts.

    A family implements ``_summarize``, which makes a summary of some rows, of a class
    in :mod:`sknorm.statistics`, and ``_learn``, which sets the fitted attributes from
    one. The summary itself is kept in ``statistics_``.
    """

    # A family that forgets has a parameter of this name.
    forgetting: ClassVar[float | None] = None

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Learn from more rows, as if all had come at once.

        Parameters
        ----------
        X : array-like, sparse matrix, Dask Array or DataFrame
            Rows to learn from, of shape (n_samples, n_features).
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        ValueError
            If X or the weights can't be used. What was learned before is kept.
        """
        earlier = getattr(self, "statistics_", None)
        with restore_on_failure(self):
            if is_dask(X):
                statistics = summarize_rows(
                    self, X, sample_weight, reset=earlier is None
                )
            else:
                X = self._check(X, reset=earlier is None)
                weight = check_sample_weight(sample_weight, X)
                statistics = self._summarize(rows_for(self, X), weight)
            if earlier is not None:
                factor = 1 if self.forgetting is None else self.forgetting
                statistics = earlier.forget(factor).merge(statistics)
            self._learn_from(statistics)
            settle(self, X)
        return self

    def merge(self, other):
        """Learn what another one has learned, as if fitted on the rows of both.

        Parameters
        ----------
        other : object
            One of the same class, fitted on other rows of the same columns, with the
            same parameters. It stays as it is.

        Returns
        -------
        self : object
            The transformer itself.

        Raises
        ------
        TypeError
            If ``other`` is of another class.
        NotFittedError
            If one of the two isn't fitted.
        ValueError
            If the columns or the parameters differ, other than ``copy``.
        """
        check_is_fitted(self)
        name = type(self).__name__
        if type(other) is not type(self):
            raise TypeError(
                f"A {name} can be merged with another one only. Got {other!r}."
            )
        check_is_fitted(other)
        self._check_alike(other)
        with restore_on_failure(self):
            self._learn_from(self.statistics_.merge(other.statistics_))
            settle(self, home_of(self))
        return self

    def _check_alike(self, other):
        family = f"{type(self).__name__}s"
        ours, theirs = self.get_params(), other.get_params()
        for name in sorted(ours.keys() - {"copy"}):
            if ours[name] != theirs[name]:
                raise ValueError(
                    f"{family} with different {name!r} can't be merged: "
                    f"{ours[name]!r} and {theirs[name]!r}."
                )
        if self.n_features_in_ != other.n_features_in_:
            raise ValueError(
                f"{family} of {self.n_features_in_} and of "
                f"{other.n_features_in_} columns can't be merged."
            )
        ours, theirs = (getattr(s, "feature_names_in_", None) for s in (self, other))
        if not np.array_equal(ours, theirs):
            raise ValueError(
                f"{family} of columns with different names can't be merged: "
                f"{ours!r} and {theirs!r}."
            )

    def _fit(self, X, weight):
        self._learn_from(self._summarize(X, weight))

    def _fit_dask(self, X, sample_weight):
        self._learn_from(summarize_rows(self, X, sample_weight, reset=True))

    def _learn_from(self, statistics):
        self._learn(statistics)
        self.statistics_ = statistics

    @abstractmethod
    def _summarize(self, X, weight):
        """Return the summary of validated rows, or refuse infinite values."""

    @abstractmethod
    def _learn(self, statistics):
        """Set fitted attributes from a summary. They are replaced, never edited."""
