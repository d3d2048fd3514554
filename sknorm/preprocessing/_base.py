"""What the standardizers share: validation, the caller's arrays, and failure."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from abc import ABCMeta, abstractmethod
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

from sknorm._array_api import (
    detached,
    float_dtypes,
    is_dispatched,
    is_foreign,
    is_writeable,
    namespace,
)
from sknorm._dask import is_dask
from sknorm._frames import refuse_lazy_frame
from sknorm._validation import (
    _fit_context,
    check_is_fitted,
    check_sample_weight,
    column_names,
    restore_on_failure,
    validate_data,
)
from sknorm.preprocessing._home import (
    Home,
    carry_out,
    check_home,
    rows_for,
    settle,
)
from sknorm.preprocessing._lazy import LazyOutput, lazy_container, transform_rows

__all__ = ["BaseStandardizer"]

# Packages whose frames are none of the user's.
_OURS = ("sknorm.", "sklearn.")
# A message names so many columns before it only counts them.
_NAMED = 10
# Parameters of a class that are known to be valid, as many as are kept in mind; of
# types that can't change after that.
_VALID: set = set()
_REMEMBERED = 1_000
_PLAIN = frozenset((bool, int, float, str))


class BaseStandardizer(
    LazyOutput,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """A transformer that learns a map of each column and can undo it.

    A family implements ``_fit``, ``_transform`` and ``_inverse_transform`` on arrays
    that are validated, except for infinite values: each finds those on the way, in a
    pass over the data that it needs anyhow, and calls ``_refuse_infinite``. Of Dask
    collections it gets the blocks, and learns from them in ``_fit_dask``.
    """

    # Formats of sparse matrices that a family takes; it is asked when it validates.
    _accept_sparse: bool | tuple[str, ...] = False
    # Whether its kernels take arrays of other libraries, on whatever device.
    _on_device: ClassVar[bool] = False
    # Where it was fitted, if not on NumPy's arrays.
    _home: Home | None = None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn what there is to know of each column.

        Parameters
        ----------
        X : array-like, Dask Array or DataFrame of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0. With Dask they may be a Dask Array or
            Series, cut into blocks as X is.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X or the weights can't be used. An earlier fit is kept.
        """
        with restore_on_failure(self):
            if is_dask(X):
                self._fit_dask(X, sample_weight)
            else:
                X = self._check(X, reset=True)
                weight = check_sample_weight(sample_weight, X)
                self._fit(rows_for(self, X), weight)
            settle(self, X)
        return self

    def fit_transform(self, X, y=None, **fit_params):
        """Learn from rows and standardize them.

        Parameters
        ----------
        X : array-like, Dask Array or DataFrame of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored, there for pipelines.
        **fit_params : dict
            What else ``fit`` takes.

        Returns
        -------
        ndarray or Dask Array of shape (n_samples, n_features)
            As ``transform`` returns it.
        """
        self.fit(X, y, **fit_params)
        if is_dask(X) or type(self).transform is not BaseStandardizer.transform:
            return self.transform(X)
        # What stands around transform would be done twice, and takes its time.
        return carry_out(self, "transform", self._check(X, reset=False))

    def transform(self, X):
        """Standardize rows.

        Parameters
        ----------
        X : array-like, Dask Array or DataFrame of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray or Dask Array of shape (n_samples, n_features)
            float32 if X is, else float64. Of a Dask collection nothing is computed
            yet. After ``set_output(transform="pandas")`` it is a DataFrame, of Dask for
            a Dask collection.
        """
        if not hasattr(self, "n_features_in_"):  # The check below takes longer.
            check_is_fitted(self)
        if is_dask(X):
            check_home(self, X, "transform")
            return transform_rows(self, X, "_transform", lazy_container(self))
        return carry_out(self, "transform", self._check(X, reset=False))

    def inverse_transform(self, X):
        """Bring standardized rows back to their own units.

        Parameters
        ----------
        X : array-like, Dask Array or DataFrame of shape (n_samples, n_features)
            Standardized rows.

        Returns
        -------
        ndarray or Dask Array of shape (n_samples, n_features)
            float32 if X is, else float64. Of a Dask collection nothing is computed
            yet.
        """
        check_is_fitted(self)
        if is_dask(X):
            check_home(self, X, "inverse_transform")
            return transform_rows(self, X, "_inverse_transform")
        return carry_out(self, "inverse_transform", self._check_result(X))

    @abstractmethod
    def _fit(self, X, weight):
        """Learn from a float array and float64 weights, or None for equal ones.

        Fitted attributes are replaced and never edited, see ``restore_on_failure``.
        """

    def _fit_dask(self, X, sample_weight):
        """Learn from a Dask collection, of which nothing is validated."""
        self._refuse_dask(X)

    @abstractmethod
    def _transform(self, X, out):
        """Return the rows standardized, in ``out`` unless that is None."""

    @abstractmethod
    def _inverse_transform(self, X, out):
        """Return the rows in their own units, in ``out`` unless that is None."""

    def _check(self, X, *, reset):
        if self._is_plain(X, reset):
            if reset:
                self.n_features_in_ = X.shape[1]
            return X
        refuse_lazy_frame(X)
        foreign = is_dispatched(X)
        if foreign and namespace(X).isdtype(X.dtype, "complex floating"):
            raise ValueError(f"Complex data not supported. Got the dtype {X.dtype}.")
        return validate_data(
            self,
            detached(X) if foreign else X,
            reset=reset,
            dtype=float_dtypes(X) if foreign else [np.float64, np.float32],
            accept_sparse=self._accept_sparse,
            ensure_all_finite=False,
        )

    def _read(self, X, *, reset):
        """Return validated rows, and what else the family needs to know of them."""
        return (self._check(X, reset=reset),)

    def _check_result(self, X):
        """Validate rows that were standardized, with the names of results or none."""
        names, known = column_names(X), getattr(self, "feature_names_in_", None)
        if names is known is None:
            return self._check(X, reset=False)
        if names is not None and not np.array_equal(
            names, self.get_feature_names_out()
        ):
            return self._check(X, reset=False)
        # What scikit-learn warns of in both cases is how a result comes.
        stand_in = copy.copy(self)
        vars(stand_in).pop("feature_names_in_", None)
        if names is not None:
            stand_in.feature_names_in_ = names
        return stand_in._check(X, reset=False)

    def _is_plain(self, X, reset):
        """Tell if there is nothing that validation could find or change.

        On a few hundred rows it takes longer than all the rest.
        """
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.ndim == 2
            and X.size > 0
            and not hasattr(self, "feature_names_in_")
            and (reset or X.shape[1] == self.n_features_in_)
        )

    @classmethod
    @functools.cache
    def _get_param_names(cls):
        # Of the class, but scikit-learn looks at its signature in every fit.
        return super()._get_param_names()

    def _validate_params(self):
        # Values that have been found valid once are: to look again takes longer than
        # to learn from a few hundred rows.
        values = tuple(getattr(self, name) for name in self._get_param_names())
        key = type(self), values, tuple(map(type, values))
        plain = all(value is None or type(value) in _PLAIN for value in values)
        if plain and key in _VALID:
            return
        super()._validate_params()
        if plain and len(_VALID) < _REMEMBERED:
            _VALID.add(key)

    def _target(self, X):
        """Return where the result goes: X itself if it may be written to."""
        if is_foreign(X):
            return None if self.copy or not is_writeable(X) else X
        values = X.data if issparse(X) else X
        return None if self.copy or not values.flags.writeable else X

    def _set_count(self, counts):
        """Set the number of rows, or of values of each column if these differ."""
        alike = (counts == counts[0]).all()
        self.n_samples_seen_ = int(counts[0]) if alike else counts.copy()

    def _refuse_dask(self, X):
        """Raise for a Dask collection where nothing can be made of one."""
        if is_dask(X):
            raise TypeError(
                f"{type(self).__name__} takes no Dask collections. Compute them, if "
                "they fit in memory."
            )

    def _refuse_infinite(self, infinite):
        """Raise if a mask of columns holds one with an infinite value."""
        if infinite.any():
            raise ValueError(
                f"Input X contains infinity in {self._columns(infinite)}. Only NaN is "
                "taken for a missing value: replace the infinite ones, by NaN or by a "
                "large number."
            )

    def _warn_of_empty(self, empty):
        """Warn of columns that a mask says to be without values."""
        if empty.any():
            warnings.warn(
                f"{type(self).__name__} found no values in {self._columns(empty)}, "
                "only NaN. They are kept as they are.",
                UserWarning,
                stacklevel=_callers_level(self),
            )

    def _columns(self, mask):
        """Return how many columns a mask holds and what they are called."""
        index = np.flatnonzero(mask)
        named = getattr(self, "feature_names_in_", None)
        names = [int(j) if named is None else str(named[j]) for j in index[:_NAMED]]
        listed = ", ".join(map(repr, names)) + (
            " and more" if len(index) > _NAMED else ""
        )
        return f"{len(index)} column{'s' if len(index) > 1 else ''}: {listed}"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = bool(self._accept_sparse)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _callers_level(estimator):
    """Return the ``stacklevel`` at which a warning points to the user's own line.

    Between it and the warning stand as many calls as the method has wrappers, and
    methods of the estimator that may be defined anywhere.
    """
    frame, level = inspect.currentframe().f_back, 1
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "").startswith(_OURS)
        or frame.f_locals.get("self") is estimator
    ):
        frame, level = frame.f_back, level + 1
    return level
