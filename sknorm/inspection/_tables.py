"""Columns of what goes into a transformer and of what comes out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from sknorm._validation import check_is_fitted

__all__ = ["TransformedTable"]

# A message names so many columns before it only counts them.
_NAMED = 10


@dataclass(frozen=True, eq=False)
class TransformedTable:
    """A table before and after a transformer."""

    before: Any
    after: Any
    inputs: list[str]
    """Names of the columns before."""
    outputs: list[str]
    """Names of the columns after."""

    @classmethod
    def make(cls, transformer: Any, X: Any, transform_params: dict) -> TransformedTable:
        """Transform a table.

        Parameters
        ----------
        transformer : transformer instance
            Fitted.
        X : array-like, data frame or sparse matrix
            Its input.
        transform_params : dict
            What ``transform`` is called with besides.

        Returns
        -------
        TransformedTable

        Raises
        ------
        TypeError
            If it has no ``transform``.
        NotFittedError
            If it isn't fitted.
        ValueError
            If it returns another number of rows.
        """
        if not hasattr(transformer, "transform"):
            raise TypeError(
                "A transformer is needed, something with a `transform` method. Got "
                f"{transformer!r}. Of a pipeline that ends with a predictor pass "
                "`pipeline[:-1]`."
            )
        check_is_fitted(transformer)
        # A picture of X should not change X.
        given = copy.deepcopy(X) if _writes_into_input(transformer) else X
        before, after = (
            _with_columns(table)
            for table in (X, transformer.transform(given, **transform_params))
        )
        if len(before.shape) != 2 or before.shape[:1] != after.shape[:1]:
            raise ValueError(
                "`transform` must return a row for each row of X. Got shapes "
                f"{before.shape!r} and {after.shape!r}."
            )
        inputs = _names(before) or _learned_names(transformer) or _numbered(before, "x")
        outputs = (
            _names_out(transformer, inputs, after.shape[1])
            or _names(after)
            or _numbered(after, "output ")
        )
        return cls(before, after, inputs, outputs)

    def find(self, column: Any) -> int:
        """Return the position of an output that is asked for by name or position."""
        n = len(self.outputs)
        if isinstance(column, (int, np.integer)) and not isinstance(column, bool):
            if -n <= column < n:
                return int(column) % n
        elif column in self.outputs:
            return self.outputs.index(column)
        elif column in self.inputs:
            made = [self.source(j) for j in range(n)]
            source = self.inputs.index(column)
            if source in made:
                return made.index(source)
        listed = ", ".join(map(repr, self.outputs[:_NAMED]))
        more = ", ..." if n > _NAMED else ""
        raise ValueError(
            f"There is no column {column!r} among the {n} that come out: "
            f"{listed}{more}. Name one of them, or give its position from 0 to {n - 1}."
        )

    def source(self, j: int) -> int | None:
        """Return the position of the input that an output has the name of, if any."""
        name = self.outputs[j]
        # A ColumnTransformer or FeatureUnion writes the step's name in front.
        for candidate in (name, name.partition("__")[2]):
            if candidate in self.inputs:
                return self.inputs.index(candidate)
        return None

    def values_after(self, j: int) -> np.ndarray | None:
        """Return an output as float64, or None if it isn't one of numbers."""
        return _numbers(self.after, j)

    def values_before(self, j: int) -> np.ndarray | None:
        """Return the input of an output's name as float64, or None."""
        source = self.source(j)
        return None if source is None else _numbers(self.before, source)


def _writes_into_input(transformer: Any) -> bool:
    if not hasattr(transformer, "get_params"):
        return False
    return any(
        name.rpartition("__")[2] == "copy" and value is False
        for name, value in transformer.get_params().items()
    )


def _with_columns(table: Any) -> Any:
    """Return a table whose columns can be picked."""
    if issparse(table):
        return table.tocsc()
    return table if hasattr(table, "columns") else np.asarray(table)


def _numbers(table: Any, j: int) -> np.ndarray | None:
    column = table.iloc[:, [j]] if hasattr(table, "iloc") else table[:, [j]]
    try:
        return check_array(
            column.toarray() if issparse(column) else column,
            dtype=np.float64,
            ensure_all_finite=False,
        ).ravel()
    except (TypeError, ValueError):
        return None


def _names(table: Any) -> list[str] | None:
    names = list(getattr(table, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def _learned_names(transformer: Any) -> list[str] | None:
    return list(map(str, getattr(transformer, "feature_names_in_", ()))) or None


def _numbered(table: Any, prefix: str) -> list[str]:
    return [f"{prefix}{j}" for j in range(table.shape[1])]


def _names_out(transformer: Any, inputs: list[str], width: int) -> list[str] | None:
    """Return the names that a transformer has for its outputs, if it has any."""
    known = _learned_names(transformer) is not None
    try:
        names = transformer.get_feature_names_out(None if known else inputs)
    except (AttributeError, TypeError, ValueError):
        return None
    return list(map(str, names)) if len(names) == width else None
