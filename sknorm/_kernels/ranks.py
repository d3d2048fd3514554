"""Normal scores of ranks: learned from sorted columns, then looked up."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from sknorm._array_api import is_foreign, to_numpy
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.knots import Knots, knots_of_rows, knots_of_sorted, normal_scores
from sknorm._kernels.sorting import column_groups, each_sorted, map_sorted
from sknorm._kernels.threads import in_threads
from sknorm._kernels.unsorted import Sample

__all__ = [
    "ScoreTable",
    "bridged",
    "by_column",
    "infinite_columns",
    "interpolate_columns",
    "learn_scores",
    "side_by_side",
]

# Numbers from which on compiled code pays for loading it.
_LARGE = 500_000
# Numbers that are looked up together, with a handful of temporary arrays in cache.
_TILE = 16_384
# Numbers of a thread's part of a large table.
_PART = 1_000_000
# Rows from which on a sample tells what is kept of a column. They alone decide, so that
# a column's scores don't depend on how many others there are.
_MANY_ROWS = 200_000


@dataclass(frozen=True)
class ScoreTable:
    """What a column's values are mapped to, at some of them.

    Attributes
    ----------
    quantiles : ndarray of shape (n_knots, n_features)
        Values of each column, ascending. A column with fewer than others repeats its
        last one. NaN for a column without values.
    scores : ndarray of shape (n_knots, n_features)
        Their scores. Over the column, with the values between interpolated, they have
        mean 0 and variance 1.
    count : ndarray of int64 of shape (n_features,)
        Number of values with a weight over 0.
    infinite : ndarray of bool of shape (n_features,)
        True for a column with infinite values, of which nothing is learned.
    """

    quantiles: np.ndarray
    scores: np.ndarray
    count: np.ndarray
    infinite: np.ndarray


def learn_scores(
    X: np.ndarray,
    weight: np.ndarray | None,
    n_quantiles: int,
    offset: float,
) -> ScoreTable:
    """Learn the standardized normal scores of each column's values.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64, with NaN for missing values. Arrays of other libraries than
        NumPy are sorted on their device, if there are no weights.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows. Those of a column that are below 1 on average are measured
        in units of their mean.
    n_quantiles : int
        How many values of a column are kept at most, but for a few beside heavy ties.
        A column of no more distinct values keeps them all.
    offset : float
        The plotting position, c in (r - c) / (n - 2c + 1).

    Returns
    -------
    ScoreTable
    """
    if is_foreign(X):
        if weight is None:
            return array_kernels("ranks").learn_scores(X, n_quantiles, offset)
        X = to_numpy(X)
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    n_rows = len(X) if weight is None else np.count_nonzero(weight)
    learn = _learn_unsorted if n_rows >= _MANY_ROWS else _learn_sorted
    groups = learn(X, weight, n_quantiles, offset)
    return ScoreTable(
        _joined([g.quantiles for g in groups]),
        _joined([g.scores for g in groups]),
        np.concatenate([g.count for g in groups]),
        np.concatenate([g.infinite for g in groups]),
    )


def _learn_sorted(
    X: np.ndarray, weight: np.ndarray | None, n_quantiles: int, offset: float
) -> list[ScoreTable]:
    """Learn groups of columns by sorting them."""
    compiled = _compiled("knots", X.size)

    def learn_group(
        _: slice, values: np.ndarray, weights: np.ndarray | None
    ) -> ScoreTable:
        columns = knots_of_rows(values, weights, n_quantiles, offset, compiled)
        return _score_table(columns, offset)

    return map_sorted(X, learn_group, weight)


def _learn_unsorted(
    X: np.ndarray, weight: np.ndarray | None, n_quantiles: int, offset: float
) -> list[ScoreTable]:
    """Learn groups of long columns, most of which needn't be sorted."""
    compiled = compiled_kernels("knots")
    if compiled is None:
        return _learn_sorted(X, weight, n_quantiles, offset)
    sample = Sample(X, weight, n_quantiles, offset, compiled)

    def learn_group(columns: slice) -> ScoreTable:
        found = sample.knots(columns)
        rest = [j for j, knots in enumerate(found) if knots is None]
        for j, values, beside in each_sorted(X[:, columns], weight, rest):
            found[j] = knots_of_sorted(values, beside, n_quantiles, offset, compiled)
        return _score_table([knots for knots in found if knots is not None], offset)

    groups = column_groups(X.shape, 1 if weight is None else 2)
    return in_threads(learn_group, groups, X.size)


def interpolate_columns(
    X: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Look a table up, on straight lines between the knots and constant beyond them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64. NaN gives NaN.
    knots : ndarray of shape (n_knots, n_features)
        Where the values are known: ascending in each column, the last one may be
        repeated. Neighbours are less than the largest double apart.
    values : ndarray of shape (n_knots, n_features)
        The values there, ascending too.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.

    Returns
    -------
    out : ndarray of the shape and dtype of X
        The result, computed in float64 and rounded once.
    infinite : ndarray of bool of shape (n_features,)
        True for a column of ``X`` with infinite values. If there is one, nothing has
        been written into an ``out`` that was given.
    """
    if is_foreign(X):
        return array_kernels("ranks").interpolate_columns(X, knots, values, out)
    X = np.asarray(X)
    if out is None:
        out = np.empty_like(X)
    elif (infinite := infinite_columns(X)).any():
        return out, infinite
    tables = by_column(knots, np.inf), by_column(values, None)
    # Contiguous, as the compiled version asks for.
    last = knots[-1].copy()
    compiled = _compiled("ranks", X.size)
    work = _interpolate_rows
    if compiled is not None:
        work = compiled.interpolate_rows(X.dtype)

    def look_up(rows: slice) -> np.ndarray:
        infinite = np.zeros(X.shape[1], dtype=bool)
        work(X[rows], *tables, last, out[rows], infinite)
        return infinite

    numbers = _TILE if compiled is None else _PART
    found = in_threads(look_up, _row_parts(X.shape, numbers), X.size)
    return out, np.logical_or.reduce([np.zeros(X.shape[1], dtype=bool), *found])


def infinite_columns(X: np.ndarray) -> np.ndarray:
    """Tell which columns hold infinite values.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.

    Returns
    -------
    ndarray of bool of shape (n_features,)
    """
    if is_foreign(X):
        return array_kernels("blocks").infinite_columns(X)

    def look(rows: slice) -> np.ndarray:
        part = X[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = ~np.isfinite(part.sum(axis=0))
        infinite = np.zeros(X.shape[1], dtype=bool)
        if suspect.any():
            infinite[suspect] = np.isinf(part[:, suspect]).any(axis=0)
        return infinite

    found = in_threads(look, _row_parts(X.shape, _TILE), X.size)
    return np.logical_or.reduce([np.zeros(X.shape[1], dtype=bool), *found])


def _compiled(family: str, size: int) -> ModuleType | None:
    return compiled_kernels(family) if size >= _LARGE else None


def _row_parts(shape: tuple[int, ...], numbers: int) -> list[slice]:
    n_rows, n_features = shape
    step = max(1, numbers // max(1, n_features))
    return [slice(start, start + step) for start in range(0, n_rows, step)]


def side_by_side(
    columns: list[np.ndarray], *, padding: float | None = None
) -> np.ndarray:
    """Return columns as a table, the shorter ones padded.

    Parameters
    ----------
    columns : list of ndarrays of shape (n,)
        Columns of any length but 0.
    padding : float, default=None
        What is put below; None for the last number of the column.

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_columns)
    """
    table = np.empty((max(map(len, columns)), len(columns)))
    for j, column in enumerate(columns):
        table[: len(column), j] = column
        table[len(column) :, j] = column[-1] if padding is None else padding
    return table


def _joined(tables: list[np.ndarray]) -> np.ndarray:
    """Return tables side by side, the columns of shorter ones padded."""
    if len({len(table) for table in tables}) == 1:
        return np.concatenate(tables, axis=1)
    return side_by_side([column for table in tables for column in table.T])


def by_column(table: np.ndarray, padding: float | None) -> np.ndarray:
    """Return a table column by column, padded to a power of two beyond its length.

    Parameters
    ----------
    table : ndarray of shape (n_knots, n_features)
        The table.
    padding : float or None
        What it is padded with; None for the last number of the column.

    Returns
    -------
    ndarray of shape (n_features, n_padded)
    """
    n_knots, n_features = table.shape
    padded = np.empty((n_features, 1 << n_knots.bit_length()))
    padded[:, :n_knots] = table.T
    padded[:, n_knots:] = table[-1:].T if padding is None else padding
    return padded


def _interpolate_rows(
    X: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    out: np.ndarray,
    infinite: np.ndarray,
) -> None:
    """Do what the compiled function of that name does."""
    n_padded = knots.shape[1]
    x = np.maximum(X, knots[:, 0], dtype=np.float64)
    np.minimum(x, last, out=x)
    at = np.zeros(x.shape, dtype=np.intp)
    at += n_padded * np.arange(len(knots))
    step = n_padded >> 1
    # One step for all before the next: searchsorted is slower on numbers in no order,
    # since the processor guesses where each one goes, and guesses wrong.
    while step:
        at += step * (knots.take(at + step) <= x)
        step >>= 1
    left, low = knots.take(at), values.take(at)
    at += 1
    right, high = knots.take(at), values.take(at)
    x -= left
    right -= left
    x /= right
    x *= high - low
    x += low
    # What rounding adds must not lead past the next knot's value.
    np.minimum(x, high, out=x)
    infinite |= np.isinf(X).any(axis=0)
    out[...] = x


def _score_table(columns: list[Knots], offset: float) -> ScoreTable:
    count = np.array([column.count for column in columns], dtype=np.int64)
    infinite = np.array([column.infinite for column in columns])
    quantiles = side_by_side([column.knots for column in columns])
    scores = _column_scores(columns, offset)
    scores[:, (count == 0) | infinite] = np.nan
    return ScoreTable(*bridged(quantiles, scores), count, infinite)


def _column_scores(columns: list[Knots], offset: float) -> np.ndarray:
    """Return scores such that over each column they have mean 0 and variance 1.

    A value a part t of the way from knot k to the next has the score z_k + t d_k.
    """
    total = np.array([column.through[-1] for column in columns])
    first, second = (
        side_by_side([column.sums[i] for column in columns], padding=0.0)
        for i in (0, 1)
    )
    # Columns without ties have the same, of the same number of values.
    alike = all(_same_ranks(column, columns[0]) for column in columns)
    of_all = columns[:1] if alike else columns
    before = side_by_side([column.before for column in of_all])
    through = side_by_side([column.through for column in of_all])
    mass = side_by_side([column.mass for column in of_all], padding=0.0)
    scores = normal_scores(before, through, total[: len(of_all)], offset)
    if alike:
        scores = np.repeat(scores, len(columns), axis=1)
    rise = np.zeros_like(scores)
    np.subtract(scores[1:], scores[:-1], out=rise[:-1])
    scores -= _column_sums(mass * scores + first * rise, columns) / total
    squares = mass * scores**2 + 2.0 * first * scores * rise + second * rise**2
    std = np.sqrt(_column_sums(squares, columns) / total)
    # Of a constant column, or if weights are too far apart for a double to tell.
    std[std == 0] = 1.0
    return scores / std


def _same_ranks(a: Knots, b: Knots) -> bool:
    if a.through is b.through:
        return True
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("through", "before", "mass")
    )


def _column_sums(table: np.ndarray, columns: list[Knots]) -> np.ndarray:
    """Return sums without padding: the same bits whatever columns stand beside."""
    return np.array(
        [table[: len(column.knots), j].sum() for j, column in enumerate(columns)]
    )


def bridged(quantiles: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add a knot at 0 where neighbours are further apart than the largest double.

    Parameters
    ----------
    quantiles, scores : ndarray of shape (n_knots, n_features)
        A table.

    Returns
    -------
    quantiles, scores : ndarray
        The same, or one with more knots.
    """
    with np.errstate(over="ignore"):
        wide = np.isinf(quantiles[1:] - quantiles[:-1])
    if not wide.any():
        return quantiles, scores
    knots, values = list(quantiles.T), list(scores.T)
    # One in a column at most, since they differ in sign.
    for k, j in np.argwhere(wide):
        x, z = knots[j], values[j]
        part = 1.0 / (1.0 - x[k + 1] / x[k])
        knots[j] = np.insert(x, k + 1, 0.0)
        values[j] = np.insert(z, k + 1, z[k] + part * (z[k + 1] - z[k]))
    return side_by_side(knots), side_by_side(values)
