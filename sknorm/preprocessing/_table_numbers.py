"""Which standardizer suits a column of numbers, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from sknorm.preprocessing._power import PowerStandardizer
from sknorm.preprocessing._quantile import QuantileStandardizer
from sknorm.preprocessing._robust import RobustStandardizer
from sknorm.preprocessing._standardizer import Standardizer
from sknorm.statistics import Moments

__all__ = ["STANDARDIZERS", "Group", "Shape", "choose", "fit_groups", "shape_of"]

STANDARDIZERS: dict[str, Callable[[], Any]] = {
    "standard": Standardizer,
    "robust": lambda: RobustStandardizer(clip="smooth"),
    "quantile": QuantileStandardizer,
    "power": PowerStandardizer,
    "none": lambda: Standardizer(with_mean=False, with_std=False),
}
# What no one has to ask for is not among the names.
_MADE = {**STANDARDIZERS, "boolean": Standardizer}

# A column is standardized as it is up to this skewness and this excess kurtosis: those
# of a gamma distribution of shape 4, and of a Laplace distribution.
_SKEW, _TAILS = 1.0, 3.0
# Ranks say much of a column with so many values, and no value in more rows than this.
_DISTINCT, _TIED = 100, 0.25


@dataclass(frozen=True)
class Shape:
    """What the choice rests on."""

    skewness: float
    """Third standardized moment, 0 for a constant."""
    kurtosis: float
    """Fourth standardized moment less 3, that of N(0, 1); 0 for a constant."""
    n_distinct: int
    """Number of different values."""
    tied: float
    """Share of the most frequent value."""


def shape_of(values: np.ndarray, weight: np.ndarray | None) -> Shape:
    """Measure skewness, tails and ties of a column.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        float64; NaN counts nowhere.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows, over 0.

    Returns
    -------
    Shape
    """
    there = ~np.isnan(values)
    x = values[there]
    w = None if weight is None else weight[there]
    moments = Moments.from_array(x[:, np.newaxis], w)
    skewness = kurtosis = 0.0
    if len(x) and not moments.is_constant()[0]:
        z = (x - moments.mean[0]) / moments.std()[0]
        square = z * z
        skewness = float(np.average(square * z, weights=w))
        kurtosis = float(np.average(square * square, weights=w)) - 3.0
    n_distinct, tied = _ties(x, w)
    return Shape(skewness, kurtosis, n_distinct, tied)


def choose(shape: Shape) -> str:
    """Return the name of the standardizer for a column of such a shape.

    Parameters
    ----------
    shape : Shape
        What there is to know of it.

    Returns
    -------
    str
        "standard", "quantile" or "robust".
    """
    if abs(shape.skewness) <= _SKEW and shape.kurtosis <= _TAILS:
        return "standard"
    ranks_tell = shape.n_distinct >= _DISTINCT and shape.tied <= _TIED
    return "quantile" if ranks_tell else "robust"


@dataclass(frozen=True, eq=False)
class Group:
    """Columns that one transformer is fitted on."""

    kind: str
    """Name of the standardizer, or of its class."""
    transformer: Any
    """What it is."""
    members: list[int]
    """Positions of the columns."""
    fill: np.ndarray
    """What missing values become."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return rows of the columns transformed, without missing values."""
        Z = _result(self.transformer.transform(X), X, self.kind)
        missing = np.isnan(Z)
        return np.where(missing, self.fill, Z) if missing.any() else Z


def fit_groups(
    X: np.ndarray, weight: np.ndarray | None, wanted: Mapping[int, Any]
) -> list[Group]:
    """Fit a transformer for all columns that are to have the same one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns)
        float64, NaN where missing.
    weight : ndarray of shape (n_samples,) or None
        Weights of the rows, over 0.
    wanted : dict
        By the position of a column, "auto", "boolean", a name in ``STANDARDIZERS``, or
        a transformer.

    Returns
    -------
    list of Group
        In the order of their first columns.

    Raises
    ------
    ValueError
        If a transformer can't do what is asked of it.
    """
    chosen = {
        k: choose(shape_of(X[:, k], weight)) if _is(what, "auto") else what
        for k, what in wanted.items()
    }
    together: dict[Any, list[int]] = {}
    for k, what in chosen.items():
        together.setdefault(what if isinstance(what, str) else id(what), []).append(k)
    return [
        _fit_group(X[:, members], weight, chosen[members[0]], members)
        for members in together.values()
    ]


def _fit_group(
    X: np.ndarray, weight: np.ndarray | None, what: Any, members: list[int]
) -> Group:
    named = isinstance(what, str)
    kind = what if named else type(what).__name__
    transformer = _MADE[kind]() if named else clone(what)
    if hasattr(transformer, "set_output"):
        transformer.set_output(transform="default")
    if weight is None:
        transformer.fit(X)
    elif has_fit_parameter(transformer, "sample_weight"):
        transformer.fit(X, sample_weight=weight)
    else:
        raise ValueError(
            f"{kind} takes no sample_weight, which TableStandardizer was given. Use "
            "another one for the columns it is for, or no weights."
        )
    fill = np.zeros(len(members))
    if not named or kind == "none":
        Z = _result(transformer.transform(X), X, kind)
        fill = Moments.from_array(Z, weight).mean
    return Group(kind, transformer, members, fill)


def _result(Z: Any, X: np.ndarray, kind: str) -> np.ndarray:
    Z = np.asarray(Z)
    if Z.shape != X.shape:
        raise ValueError(
            f"{kind} made an array of shape {Z.shape!r} of {X.shape[1]} columns. In a "
            "TableStandardizer it must make one column of each."
        )
    return Z


def _is(what: Any, name: str) -> bool:
    return isinstance(what, str) and what == name


def _ties(x: np.ndarray, w: np.ndarray | None) -> tuple[int, float]:
    if not len(x):
        return 0, 0.0
    if w is None:
        counts = np.unique(x, return_counts=True)[1]
        return len(counts), float(counts.max() / len(x))
    distinct, code = np.unique(x, return_inverse=True)
    counts = np.bincount(code, weights=w)
    return len(distinct), float(counts.max() / w.sum())
