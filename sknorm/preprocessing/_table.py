"""Tables as they come: numbers, categories, booleans, dates and gaps in all of them."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from sknorm._validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    _fit_context,
    check_is_fitted,
    check_sample_weight,
    output_container,
    restore_on_failure,
)
from sknorm.preprocessing._base import _callers_level
from sknorm.preprocessing._table_categories import learn_categories, one_hot, ordinal
from sknorm.preprocessing._table_columns import (
    as_frame,
    read_array,
    read_frame,
    to_frame,
)
from sknorm.preprocessing._table_dates import angles, elapsed_days, varying_cycles
from sknorm.preprocessing._table_input import check_table
from sknorm.preprocessing._table_kinds import (
    alike,
    counted,
    families_of,
    kinds_of,
    listed,
    named_positions,
    told_apart,
    wanted_standardizers,
)
from sknorm.preprocessing._table_numbers import STANDARDIZERS, fit_groups

__all__ = ["TableStandardizer"]

_NAMES = {"auto", *STANDARDIZERS}
_DTYPES = {"float64": np.float64, "float32": np.float32}


class TableStandardizer(TransformerMixin, BaseEstimator):
    r"""Bring a table as it comes to numbers near mean 0 and standard deviation 1.

    Numbers are standardized, each column by what suits it. Categories become columns
    of their own, or whole numbers for an embedding. Booleans, dates and missing values
    are taken care of.

    Parameters
    ----------
    numeric : str, transformer or dict, default="auto"
        What numbers are standardized with: "standard" for a :class:`Standardizer`,
        "robust" for a :class:`RobustStandardizer` with a smooth clip, "quantile" for a
        :class:`QuantileStandardizer`, "power" for a :class:`PowerStandardizer`, "none"
        for nothing, "auto" for what suits a column by the rule in the notes, a
        transformer that makes one column of each, or a dict of these by column. A
        column it leaves out gets "auto".
    categories : {"one_hot", "ordinal", "passthrough"}, default="one_hot"
        What becomes of categories: a column of zeros and ones for each; one column of
        whole numbers, 0 for what is missing or wasn't seen in ``fit`` and 1, 2, ... for
        the categories in order; or what it was, in a frame as ``set_output`` asks for.
    categorical_features : "auto" or array-like, default="auto"
        Names, positions or a mask of columns that are categories, whatever they hold.
        Columns of strings and of categorical dtypes are, named or not.
    max_categories : int or None, default=64
        How many columns a category becomes at most with ``categories="one_hot"``. The
        rarest ones share the last one, and so do those that weren't seen.
    dates : {"auto", "elapsed"}, default="auto"
        What becomes of dates: the time elapsed, and the places in the year, the week
        and the day as far as they vary; or the time elapsed only.
    missing : {"indicator", "fill"}, default="indicator"
        Whether there is a column of zeros and ones that says where values are missing,
        for each column of numbers or dates in which some were in ``fit``.
    handle_unknown : {"ignore", "error"}, default="ignore"
        What is done in ``transform`` about categories that weren't seen in ``fit``.
    dtype : {"float64", "float32"} or numpy.dtype, default="float64"
        Precision of the result. All is computed in float64.

    Attributes
    ----------
    kinds_ : dict
        By column "category", "date", "boolean", "empty" if it had no values, or what
        its numbers are standardized with: a name as in ``numeric``, or the class of a
        transformer.
    categories_ : dict
        By column of categories the list of them, in order, see Notes.
    cardinalities_ : list of int
        For each column of whole numbers how many there are, with 0. Empty unless
        ``categories="ordinal"``.
    n_numeric_out_ : int
        Number of columns of the result that come before those for categories.
    transformers_ : list of tuple
        Kind, fitted transformer, and the columns it was fitted on; of dates the time
        elapsed.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if X has string names for all.

    See Also
    --------
    Standardizer : Mean 0 and standard deviation 1 for tables of numbers.
    sklearn.compose.ColumnTransformer : What it stands in for, with other parts.

    Notes
    -----
    The result holds, in this order: numbers, as ``name``; booleans, which are
    standardized as 0 and 1; the time elapsed of dates, as ``name_elapsed``; their
    cycles, as ``name_month_sin``, ``name_month_cos`` and so on for ``weekday`` and
    ``hour``; indicators, as ``name_missing``; categories, as ``name_value``,
    ``name_infrequent`` and ``name_missing``, or as ``name``. If two would have the same
    name, the later one gets a number.

    With ``numeric="auto"`` it is skewness :math:`g_1`, excess kurtosis :math:`g_2` and
    ties that decide. With :math:`z = (x - \bar x) / s` over the values of a column,

    .. math:: g_1 = \overline{z^3}, \qquad g_2 = \overline{z^4} - 3.

    - "standard" if :math:`|g_1| \le 1` and :math:`g_2 \le 3`: no more skew than a gamma
      distribution of shape 4 has, and no longer tails than a Laplace distribution;
    - else "quantile" if there are at least 100 different values and none of them is in
      more than a quarter of the rows, so that ranks tell rows apart;
    - else "robust": counts and amounts that mostly are one value keep their proportions
      up to the clip.

    A missing number or date becomes the centre, which is 0; with "none" or a
    transformer of the user's own, the mean of what they make of the column. A missing
    category is a category of its own if there were any in ``fit``. Categories that
    weren't seen become ``name_infrequent`` if there is one, else all zeros. What is
    constant becomes 0: a column of numbers, the only category of a column, and with a
    warning a column without values, whatever it holds later. Booleans that come as
    numbers later, and numbers as booleans, are taken; other changes of kind are
    refused, and so are infinite values.

    The time elapsed is in days and treated as a number, also by ``numeric``. Places in
    a cycle are :math:`\sin` and :math:`\cos` of :math:`2 \pi m / 12`, :math:`2 \pi d /
    7` and :math:`2 \pi h / 24` with the month from January, the day from Monday and the
    hour from midnight, minutes being its fraction. Times are those a clock showed in
    their own time zone. Durations are numbers, in days.

    Columns of objects are judged by what they hold in ``fit``: numbers, booleans,
    durations or dates only, or else categories. Categories are in the order of their
    dtype if it has one, as ordered categories of pandas and polars' Enum do, else
    sorted, and those that can't be in the order of their names. A category is seen
    again if it is equal, as 1 and 1.0 are and 1 and "1" are not.

    Frames of pandas and polars, and of others that narwhals knows, give the same
    result.

    Examples
    --------
    >>> import pandas as pd
    >>> from sknorm.preprocessing import TableStandardizer
    >>> X = pd.DataFrame(
    ...     {"size": [1.0, None, 3.0], "color": ["red", "blue", None]},
    ... )
    >>> table = TableStandardizer().set_output(transform="pandas")
    >>> table.fit_transform(X)
       size  size_missing  color_blue  color_red  color_missing
    0  -1.0           0.0         0.0        1.0            0.0
    1   0.0           1.0         1.0        0.0            0.0
    2   1.0           0.0         0.0        0.0            1.0
    >>> table.transform(pd.DataFrame({"size": [2.0], "color": ["green"]}))
       size  size_missing  color_blue  color_red  color_missing
    0   0.0           0.0         0.0        0.0            0.0

    For embeddings, whole numbers:

    >>> table.set_params(categories="ordinal").fit_transform(X)
       size  size_missing  color
    0  -1.0           0.0    2.0
    1   0.0           1.0    1.0
    2   1.0           0.0    0.0
    >>> table.cardinalities_
    [3]
    """

    _parameter_constraints: ClassVar[dict] = {
        "numeric": [StrOptions(_NAMES), HasMethods(["fit", "transform"]), dict],
        "categories": [StrOptions({"one_hot", "ordinal", "passthrough"})],
        "categorical_features": [StrOptions({"auto"}), "array-like"],
        "max_categories": [Interval(Integral, 2, None, closed="left"), None],
        "dates": [StrOptions({"auto", "elapsed"})],
        "missing": [StrOptions({"indicator", "fill"})],
        "handle_unknown": [StrOptions({"ignore", "error"})],
        "dtype": [
            StrOptions(set(_DTYPES)),
            Options(type, set(_DTYPES.values())),
            Options(np.dtype, set(map(np.dtype, _DTYPES))),
        ],
    }

    def __init__(
        self,
        *,
        numeric="auto",
        categories="one_hot",
        categorical_features="auto",
        max_categories=64,
        dates="auto",
        missing="indicator",
        handle_unknown="ignore",
        dtype="float64",
    ):
        self.numeric = numeric
        self.categories = categories
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.dates = dates
        self.missing = missing
        self.handle_unknown = handle_unknown
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None):
        """Learn what there is to know of each column.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0. A row of weight 0 counts nowhere.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        TypeError
            If X is no table in memory, or a column holds what is no value.
        ValueError
            If X or the weights can't be used. An earlier fit is kept.
        """
        self._fit(X, sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_transform(self, X, y=None, sample_weight=None):
        """Learn from rows and transform them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored, there for pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features_out)
            As ``transform`` returns it.
        """
        return self._transform(X, self._fit(X, sample_weight))

    def transform(self, X):
        """Bring rows to the numbers they were learned to stand for.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows, with the columns that were fitted in their order.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features_out)
            A frame after ``set_output``.

        Raises
        ------
        TypeError
            If X is no table in memory, or a column holds what is no value.
        ValueError
            If the columns are others than those that were fitted, or of another kind.
        """
        check_is_fitted(self)
        columns = self._read(X, reset=False)
        columns = alike(columns, self._families, self._labels())
        return self._transform(X, columns)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of the result.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X if it had none; else they have to be those.

        Returns
        -------
        ndarray of str objects
            The name of a column, with what the new one says of it appended.
        """
        check_is_fitted(self)
        names = self._input_names(input_features)
        wanted = [
            names[j] if suffix is None else f"{names[j]}_{suffix}"
            for j, suffix in self._outputs()
        ]
        return np.array(told_apart(wanted), dtype=object)

    # -- reading -----------------------------------------------------------------------

    def _read(self, X, *, reset):
        """Return the columns of a table."""
        X = check_table(self, X, reset=reset)
        frame = as_frame(X, type(self).__name__)
        return read_array(X) if frame is None else read_frame(frame)

    def _labels(self):
        """Return what columns are called: by name, or by position without one."""
        if hasattr(self, "feature_names_in_"):
            return self.feature_names_in_.tolist()
        return list(range(self.n_features_in_))

    # -- learning ----------------------------------------------------------------------

    def _fit(self, X, sample_weight):
        """Learn from a table, and return its columns."""
        with restore_on_failure(self):
            columns = self._read(X, reset=True)
            weight = check_sample_weight(sample_weight, X)
            present = columns
            if weight is not None and not weight.all():
                rows = weight > 0
                present = [column.take(rows) for column in columns]
                weight = weight[rows]
            self._learn(present, weight)
        return columns

    def _learn(self, columns, weight):
        labels = self._labels()
        named = named_positions(self.categorical_features, labels)
        kinds = kinds_of(columns, named)
        self._families = families_of(columns)
        self._warn_of_empty([labels[j] for j in _positions(kinds, "empty")])
        self._dates = _positions(kinds, "date")
        self._scaled = [
            *_positions(kinds, "number", "empty"),
            *_positions(kinds, "boolean"),
            *self._dates,
        ]
        self._cycles = [
            (j, cycle)
            for j in (self._dates if self.dates == "auto" else [])
            for cycle in varying_cycles(columns[j].values)
        ]
        self._gaps = [
            j
            for j in (self._scaled if self.missing == "indicator" else [])
            if kinds[j] != "empty" and columns[j].missing().any()
        ]
        self._learn_numbers(columns, weight, kinds)
        self._learn_categories(columns, weight, _positions(kinds, "category"))
        self.kinds_ = dict(zip(labels, kinds, strict=True))
        self.n_numeric_out_ = (
            len(self._scaled) + 2 * len(self._cycles) + len(self._gaps)
        )

    def _learn_numbers(self, columns, weight, kinds):
        """Fit a standardizer for each kind of numbers."""
        labels = self._labels()
        wanted = wanted_standardizers(
            self.numeric, dict(zip(labels, kinds, strict=True))
        )
        members = [k for k, j in enumerate(self._scaled) if kinds[j] != "empty"]
        self._groups = fit_groups(
            self._gather(columns),
            weight,
            {k: wanted[self._scaled[k]] for k in members},
        )
        self.transformers_ = []
        for group in self._groups:
            positions = [self._scaled[k] for k in group.members]
            called = [labels[j] for j in positions]
            self.transformers_.append((group.kind, group.transformer, called))
            for j in positions:
                if kinds[j] != "date":
                    kinds[j] = group.kind

    def _learn_categories(self, columns, weight, positions):
        labels = self._labels()
        self.categories_, self.cardinalities_, self._codings = {}, [], {}
        for j in positions:
            found = learn_categories(columns[j], weight)
            self.categories_[labels[j]] = found.values
            if self.categories == "ordinal":
                self._codings[j] = ordinal(found)
                self.cardinalities_.append(len(found.values) + 1)
            elif self.categories == "one_hot":
                self._codings[j] = one_hot(found, self.max_categories)
        self._passed = positions if self.categories == "passthrough" else []

    def _warn_of_empty(self, empty):
        if empty:
            warnings.warn(
                f"{type(self).__name__} found no values in {counted(empty)}. All that "
                "is made of them is 0.",
                UserWarning,
                stacklevel=_callers_level(self),
            )

    # -- transforming ------------------------------------------------------------------

    def _transform(self, X, columns):
        container = output_container(self)
        if self._passed and container == "default":
            raise ValueError(
                "categories='passthrough' needs a frame to return: call "
                f"{type(self).__name__}.set_output(transform='pandas') or 'polars'."
            )
        self._refuse_unknown(columns)
        numbers = self._numbers(columns)
        if not self._passed:
            return numbers
        names = self.get_feature_names_out().tolist()
        frame = as_frame(X, type(self).__name__)
        passed = {j: columns[j] for j in self._passed}
        return to_frame(names, numbers, passed, container, like=frame)

    def _numbers(self, columns):
        """Return all that is numbers in the result."""
        scaled = self._scale(self._gather(columns))
        width = len(self._outputs()) - len(self._passed)
        out = np.zeros((len(scaled), width), dtype=self.dtype)
        end = scaled.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):  # Refused by name below.
            out[:, :end] = scaled
            totals = out[:, :end].sum(axis=0)
        if not np.isfinite(totals).all():
            self._refuse_too_large(out[:, :end])
        for j, cycle in self._cycles:
            if columns[j].family == "date":  # Without a value it may be any.
                out[:, end : end + 2] = angles(columns[j].values, cycle)
            end += 2
        for j in self._gaps:
            out[:, end] = columns[j].missing()
            end += 1
        for j, coding in self._codings.items():
            codes = coding.encode(columns[j])
            if coding.labels:
                rows = np.flatnonzero(codes >= 0)
                out[rows, end + codes[rows]] = 1
                end += len(coding.labels)
            else:
                out[:, end] = codes
                end += 1
        return out

    def _refuse_too_large(self, scaled):
        too_large = ~np.isfinite(scaled).all(axis=0)
        if too_large.any():
            labels = self._labels()
            named = [labels[self._scaled[k]] for k in np.flatnonzero(too_large)]
            raise ValueError(
                f"Input X contains a value too large for dtype({self.dtype!r}) once it "
                f"is standardized, in {counted(named)}. Replace it, or set "
                "numeric='quantile', whose results are bounded."
            )

    def _gather(self, columns):
        """Return the columns that are to be scaled as a matrix of numbers."""
        raw = np.empty((len(columns[0].values), len(self._scaled)), order="F")
        for k, j in enumerate(self._scaled):
            column = columns[j]
            if self._families[j] is None or column.family == "text":
                raw[:, k] = np.nan
            elif column.family == "date":
                raw[:, k] = elapsed_days(column.values)
            else:
                raw[:, k] = column.values
        infinite = np.isinf(raw)
        if infinite.any():
            labels = self._labels()
            named = [labels[self._scaled[k]] for k in np.flatnonzero(infinite.any(0))]
            count = infinite.sum()
            values = f"{count} value{'s' if count > 1 else ''}"
            raise ValueError(
                f"Input X contains infinity, {values} in {counted(named)}. Only "
                "NaN and None are taken for missing values: replace the infinite ones, "
                "by those or by a large number."
            )
        return raw

    def _scale(self, raw):
        """Return the numbers standardized, and the centre where they are missing."""
        out = np.zeros_like(raw)
        for group in self._groups:
            out[:, group.members] = group.transform(raw[:, group.members])
        return out

    def _refuse_unknown(self, columns):
        if self.handle_unknown == "ignore":
            return
        for label, known in self.categories_.items():
            column = columns[self._labels().index(label)].as_text()
            known = set(known)
            unknown = [value for value in column.distinct if value not in known]
            if unknown:
                raise ValueError(
                    f"Column {label!r} has categories that were not there when "
                    f"{type(self).__name__} was fitted: "
                    f"{listed(sorted(unknown, key=str))}. Set "
                    "handle_unknown='ignore' to take them for such, or fit again."
                )

    def _outputs(self):
        """Return of each column of the result which one it is of, and what it says."""
        dates = set(self._dates)
        outputs = [(j, "elapsed" if j in dates else None) for j in self._scaled]
        for j, cycle in self._cycles:
            outputs += [(j, f"{cycle}_sin"), (j, f"{cycle}_cos")]
        outputs += [(j, "missing") for j in self._gaps]
        for j, coding in self._codings.items():
            outputs += [(j, label) for label in coding.labels or (None,)]
        return outputs + [(j, None) for j in self._passed]

    def _input_names(self, given):
        named = getattr(self, "feature_names_in_", None)
        if given is None:
            if named is not None:
                return named.tolist()
            return [f"x{j}" for j in range(self.n_features_in_)]
        given = list(given)
        if named is not None and given != named.tolist():
            raise ValueError("input_features is not equal to feature_names_in_")
        if len(given) != self.n_features_in_:
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({self.n_features_in_}), got {len(given)}"
            )
        return given

    @property
    def _n_features_out(self):
        return len(self._outputs())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = [
            str(getattr(self.dtype, "__name__", self.dtype))
        ]
        return tags


def _positions(kinds, *wanted):
    return [j for j, kind in enumerate(kinds) if kind in wanted]
