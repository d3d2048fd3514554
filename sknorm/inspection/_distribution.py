"""What a picture of a column's distribution shows, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from sknorm.statistics import Moments

__all__ = ["Distribution", "describe"]

# The view ends so many interquartile ranges beyond the quartiles, if values do not
# before: a normal column is seen whole, and of a Cauchy column what has a shape.
_REACH = 5.0
# A view of N(0, 1) is never narrower.
_NORMAL_VIEW = 4.0
_FEWEST_BINS, _MOST_BINS = 5, 60
# Values that occur so often on average get a bin each, if they are few.
_REPEATED = 5
# Ends of a view that are closer, beside their size, are one value.
_ROUNDING = 1e-13
# Points of a QQ plot, more can't be told apart.
_MOST_POINTS = 300


@dataclass(frozen=True, eq=False)
class Distribution:
    """A column's numbers, histogram and quantiles.

    All but the quantiles come from all rows.
    """

    name: str
    """What the column is called."""
    count: int
    """Number of values that are not NaN."""
    missing: float
    """Share of rows that are NaN."""
    mean: float
    """Mean, NaN without values."""
    std: float
    """Standard deviation with divisor n."""
    skewness: float
    """Mean cube of the deviations in units of std; NaN for a constant."""
    excess_kurtosis: float
    """Mean fourth power of the same, minus the 3 of a normal; NaN for a constant."""
    beyond_3_sigma: float
    """Share of values more than 3 std from the mean, both those of the reference."""
    reference: tuple[float, float]
    """Mean and standard deviation of the normal distribution it is compared with."""
    edges: np.ndarray
    """Edges of the histogram's bins; the first and the last are what is in view."""
    density: np.ndarray
    """Height of each bin: all together have the area of the share that is in view."""
    outside: int
    """Number of values that are not in view."""
    scores: np.ndarray
    """Quantiles of N(0, 1) at the probabilities that ``quantiles`` stand for."""
    quantiles: np.ndarray
    """Values of the column, ascending."""


def describe(
    name: str,
    column: np.ndarray,
    *,
    standard: bool = False,
    bins: int | None = None,
    rows: np.ndarray | None = None,
) -> Distribution:
    """Describe a column.

    Parameters
    ----------
    name : str
        What it is called.
    column : ndarray of shape (n_samples,)
        float64 values; NaN is a missing one.
    standard : bool, default=False
        Whether to compare with N(0, 1) instead of the normal distribution that has the
        mean and standard deviation of the column.
    bins : int, default=None
        Number of bins in view; None for a width of 2 IQR / n^(1/3) within limits.
    rows : ndarray of int, default=None
        Rows that quantiles are taken from; None for all.

    Returns
    -------
    Distribution
    """
    values = column[~np.isnan(column)]
    drawn = values if rows is None else column[rows]
    ordered = np.sort(drawn[~np.isnan(drawn)])
    mean, std, skewness, kurtosis = _moments(values)
    reference = (0.0, 1.0) if standard else (mean, std)
    edges = _edges(values, ordered, standard, bins)
    inside = np.histogram(values, edges)[0]
    return Distribution(
        name=name,
        count=len(values),
        missing=(len(column) - len(values)) / len(column),
        mean=mean,
        std=std,
        skewness=skewness,
        excess_kurtosis=kurtosis,
        beyond_3_sigma=_share_beyond(values, *reference),
        reference=reference,
        edges=edges,
        density=inside / np.diff(edges) / max(1, len(values)),
        outside=len(values) - int(inside.sum()),
        **_quantiles(ordered),
    )


def _moments(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean, standard deviation, skewness and excess kurtosis."""
    if not np.isfinite(values).all():
        with np.errstate(invalid="ignore"):
            return float(values.mean()), np.nan, np.nan, np.nan
    if not len(values):
        return np.nan, np.nan, np.nan, np.nan
    moments = Moments.from_array(values[:, None])
    mean, std = float(moments.mean[0]), float(moments.std()[0])
    if moments.is_constant()[0]:
        return mean, 0.0, np.nan, np.nan
    # In units of std no power overflows, whatever the units of the column are.
    deviations = ((values - mean) - moments.mean_remainder[0]) / std
    squares = np.square(deviations)
    return (
        mean,
        std,
        float(np.mean(squares * deviations)),
        float(np.mean(np.square(squares))) - 3.0,
    )


def _share_beyond(values: np.ndarray, mean: float, std: float) -> float:
    if not len(values) or np.isnan(std):
        return np.nan
    # A constant is its own mean, whatever rounding says.
    return float(np.mean(np.abs(values - mean) > 3 * std)) if std > 0 else 0.0


def _edges(
    values: np.ndarray, ordered: np.ndarray, standard: bool, bins: int | None
) -> np.ndarray:
    """Return the edges of bins over the range of values that is worth drawing."""
    ordered = ordered[np.isfinite(ordered)]
    low, high = _spread(ordered)
    view = _view(values[np.isfinite(values)], low, high, standard)
    if bins is None:
        distinct = np.unique(ordered)
        if len(distinct) <= min(_MOST_BINS, len(ordered) / _REPEATED):
            inside = distinct[(distinct >= view[0]) & (distinct <= view[1])]
            if len(inside) > 1:
                return _edges_between(inside, view)
        width = 2 * (high - low) / max(1, len(ordered)) ** (1 / 3)
        wanted = (view[1] - view[0]) / width if width > 0 else _MOST_BINS
        bins = int(np.clip(np.ceil(wanted), _FEWEST_BINS, _MOST_BINS))
    return np.linspace(*view, bins + 1)


def _edges_between(distinct: np.ndarray, view: tuple[float, float]) -> np.ndarray:
    """Return the edges of a bin for each of a few values, as wide as they are apart.

    Bins of one width would hold now one of them and now two, or none.
    """
    middles = distinct[:-1] / 2 + distinct[1:] / 2
    first = distinct[0] - (middles[0] - distinct[0])
    last = distinct[-1] + (distinct[-1] - middles[-1])
    edges = [min(view[0], first), first, *middles, last, max(view[1], last)]
    return np.unique(edges)


def _spread(ordered: np.ndarray) -> tuple[float, float]:
    """Return the quartiles, or what is further out if these are the same value."""
    for tail in (0.25, 0.01, 0.0) if len(ordered) else ():
        low, high = np.quantile(ordered, [tail, 1 - tail])
        if low < high:
            return float(low), float(high)
    return 0.0, 0.0


def _view(
    finite: np.ndarray, low: float, high: float, standard: bool
) -> tuple[float, float]:
    """Return a range around the quartiles that holds most of the values."""
    reach = _REACH * (high - low) or np.inf
    ends = [-_NORMAL_VIEW, _NORMAL_VIEW] if standard else []
    if len(finite):
        ends += [max(finite.min(), low - reach), min(finite.max(), high + reach)]
    first, last = (float(min(ends)), float(max(ends))) if ends else (-1.0, 1.0)
    if last - first > _ROUNDING * max(abs(first), abs(last)):
        return first, last
    margin = max(0.5, 0.05 * abs(first))
    return first - margin, last + margin


def _quantiles(ordered: np.ndarray) -> dict[str, np.ndarray]:
    """Return values and their normal scores by Blom, about equally far apart."""
    n = len(ordered)
    index = np.arange(n)
    if n > _MOST_POINTS:
        end = ndtri((n - 0.375) / (n + 0.25))
        ranks = ndtr(np.linspace(-end, end, _MOST_POINTS)) * (n + 0.25) + 0.375
        index = np.unique(np.clip(np.rint(ranks).astype(int) - 1, 0, n - 1))
    return {
        "scores": ndtri((index + 0.625) / (n + 0.25)),
        "quantiles": ordered[index],
    }
