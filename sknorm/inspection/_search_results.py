"""What the candidates of a search scored, by two of its parameters."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np

from sknorm._registry import unknown_name_message
from sknorm._validation import check_is_fitted

__all__ = ["SearchCells"]

REDUCTIONS = ("max", "mean", "min")
# Numbers that have a row or column each, if they are no more.
_MOST = 12
# Of positive numbers that reach so many times the smallest, ranges have equal ratios.
_DECADES = 100.0
# Letters of a label.
_LABEL = 24


@dataclass(frozen=True, eq=False)
class SearchCells:
    """Scores of a search for each pair of values of two parameters.

    Arrays have the shape (n_y, n_x).
    """

    mean: np.ndarray
    """Mean score over the folds that succeeded; NaN if there is none."""
    std: np.ndarray
    """Standard deviation over these folds; NaN if they are less than two."""
    n_failed: np.ndarray
    """How many fits have no finite score."""
    n_fits: np.ndarray
    """How many there are, 0 where the combination wasn't tried."""
    candidates: np.ndarray
    """Position of the candidate that is shown; -1 for none or several."""
    resources: np.ndarray | None
    """What candidates of a halving search were given; None in others."""
    best: tuple[int, int] | None
    """Row and column of the best cell."""
    x: str
    y: str
    x_labels: list[str]
    y_labels: list[str]
    metric: str
    """What the scores are called."""
    n_folds: int
    over: list[str]
    """Other parameters that candidates differ in."""
    reduce: str
    """What was made of several candidates in a cell."""
    resource: str | None
    """What the resources are."""

    @classmethod
    def read(
        cls,
        search: Any,
        x: str,
        y: str,
        *,
        metric: str | None = None,
        reduce: str = "max",
        bins: int = 8,
    ) -> SearchCells:
        """Sort the candidates of a fitted search into cells.

        Parameters
        ----------
        search : search instance
            Anything with the ``cv_results_`` of scikit-learn's searches.
        x, y : str
            Two parameters, by name or the end of it.
        metric : str, default=None
            A scorer; None for the one that the search refits by.
        reduce : {"max", "mean", "min"}, default="max"
            What becomes of several candidates in a cell.
        bins : int, default=8
            Into how many ranges many numbers are divided.

        Returns
        -------
        SearchCells

        Raises
        ------
        TypeError
            If it is no search.
        NotFittedError
            If it isn't fitted.
        ValueError
            If a parameter, the metric or ``reduce`` is unknown, or x and y are the
            same.
        """
        if reduce not in REDUCTIONS:
            allowed = ", ".join(map(repr, REDUCTIONS))
            raise ValueError(f"reduce must be {allowed}. Got {reduce!r}.")
        results = _results_of(search)
        params = results["params"]
        names = list(dict.fromkeys(key for candidate in params for key in candidate))
        x, y = _find_parameter("x", x, names), _find_parameter("y", y, names)
        if x == y:
            raise ValueError(
                f"x and y are both {x!r}. Name two different parameters of the search: "
                f"{', '.join(names)}."
            )
        values = {name: [_value(c, name) for c in params] for name in names}
        metric = _find_metric(search, results, metric)
        scores = _Scores.read(results, metric)
        x_values, y_values = _divide(values[x], bins), _divide(values[y], bins)
        return cls(
            **_fill(scores, x_values, y_values, reduce),
            x=x,
            y=y,
            x_labels=x_values.labels,
            y_labels=y_values.labels,
            metric=(_scorer_name(search) or metric) if metric == "score" else metric,
            n_folds=scores.folds.shape[1],
            over=[
                n for n in names if n not in (x, y) and len(_distinct(values[n])) > 1
            ],
            reduce=reduce,
            resource=None
            if scores.resources is None
            else getattr(search, "resource", None),
        )


def _results_of(search):
    results = getattr(search, "cv_results_", None)
    if results is None:
        if hasattr(search, "fit"):
            check_is_fitted(search)
        raise TypeError(
            "A fitted search is needed, as a GridSearchCV, that has `cv_results_`. Got "
            f"{search!r}."
        )
    if "params" not in results or not len(results["params"]):
        raise ValueError(
            "`cv_results_` must hold the candidates of the search under 'params'. It "
            f"has: {', '.join(map(str, results))}."
        )
    return results


def _find_parameter(role, given, names):
    """Return the name of a parameter that is given in full or by its end."""
    if given in names:
        return given
    found = [name for name in names if name.endswith(f"__{given}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{role}={given!r} may be any of {', '.join(map(repr, found))}. Write more "
            "of the name."
        )
    ends = {name.rpartition("__")[2] for name in names}
    message = unknown_name_message("parameter of the search", given, {*names, *ends})
    raise ValueError(f"{role}: {message}")


def _find_metric(search, results, metric):
    prefix = "mean_test_"
    names = [k.removeprefix(prefix) for k in results if k.startswith(prefix)]
    if not names:
        raise ValueError(
            "`cv_results_` holds no column 'mean_test_...' with the scores. It has: "
            f"{', '.join(map(str, results))}."
        )
    if metric is None and len(names) > 1:
        metric = getattr(search, "refit", None)
        if not isinstance(metric, str) or metric not in names:
            raise ValueError(
                f"The search has {len(names)} metrics: {', '.join(names)}. Name one in "
                "`metric`."
            )
    if metric is None or (names == ["score"] and metric == _scorer_name(search)):
        return names[0]
    if metric not in names:
        raise ValueError(unknown_name_message("metric", metric, names))
    return metric


def _scorer_name(search):
    """Return what the only scorer of a search is called, None if it has no name."""
    scoring = getattr(search, "scoring", None)
    if isinstance(scoring, str):
        return scoring
    name = getattr(getattr(scoring, "_score_func", scoring), "__name__", None)
    # What make_scorer makes of a loss.
    return f"neg_{name}" if name and getattr(scoring, "_sign", 1) < 0 else name


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of the candidates of a search."""

    folds: np.ndarray
    """Of shape (n_candidates, n_folds)."""
    mean: np.ndarray
    """Over the folds that succeeded, NaN if there is none."""
    rounds: np.ndarray
    """The round of a halving search that each belongs to, 0 in others."""
    resources: np.ndarray | None
    """What each was given in a halving search."""

    @classmethod
    def read(cls, results, metric):
        split = re.compile(rf"split\d+_test_{re.escape(metric)}")
        columns = [key for key in results if split.fullmatch(key)]
        mean = _numbers(results[f"mean_test_{metric}"])
        folds = np.column_stack([_numbers(results[key]) for key in columns] or [mean])
        failed = ~np.isfinite(folds)
        n_left = (~failed).sum(axis=1)
        # Scores of networks that nearly diverged may add up to an infinite one.
        with np.errstate(over="ignore"):
            left = np.where(failed, 0.0, folds).sum(axis=1) / np.maximum(n_left, 1)
        left[n_left == 0] = np.nan
        halving = "iter" in results and "n_resources" in results
        return cls(
            folds,
            np.where(np.isfinite(mean), mean, left),
            _numbers(results["iter"]) if halving else np.zeros(len(mean)),
            _numbers(results["n_resources"]) if halving else None,
        )

    @property
    def failed(self):
        """Which fits failed, of the shape of ``folds``."""
        return ~np.isfinite(self.folds)


def _numbers(column):
    return np.ma.filled(np.ma.asarray(column).astype(float), np.nan)


def _fill(scores, x_values, y_values, reduce):
    """Return what belongs to each cell, by the names of the fields."""
    shape = len(y_values.labels), len(x_values.labels)
    mean, std = np.full(shape, np.nan), np.full(shape, np.nan)
    n_failed, n_fits = np.zeros(shape, int), np.zeros(shape, int)
    candidates = np.full(shape, -1)
    resources = np.full(shape, np.nan) if scores.resources is not None else None
    ranks = {}
    for cell in np.ndindex(shape):
        rows = np.flatnonzero((y_values.codes == cell[0]) & (x_values.codes == cell[1]))
        if not rows.size:
            continue
        last = scores.rounds[rows].max()
        rows = rows[scores.rounds[rows] == last]
        n_fits[cell] = rows.size * scores.folds.shape[1]
        n_failed[cell] = scores.failed[rows].sum()
        if resources is not None:
            resources[cell] = scores.resources[rows].max()
        chosen = _choose(scores, rows, reduce)
        if not chosen.size:
            continue
        mean[cell], std[cell] = _summary(scores, chosen)
        if chosen.size == 1:
            candidates[cell] = chosen[0]
        complete = not scores.failed[chosen].any()
        # Of equal scores the first candidate's is the best, as in the search itself.
        ranks[cell] = last, complete, mean[cell], -chosen[0]
    return {
        "mean": mean,
        "std": std,
        "n_failed": n_failed,
        "n_fits": n_fits,
        "candidates": candidates,
        "resources": resources,
        "best": max(ranks, key=ranks.__getitem__, default=None),
    }


def _choose(scores, rows, reduce):
    """Return which of the candidates of a cell it shows; none if all have failed."""
    rows = rows[np.isfinite(scores.mean[rows])]
    if reduce == "mean" or not rows.size:
        return rows
    complete = rows[~scores.failed[rows].any(axis=1)]
    rows = complete if complete.size else rows
    extreme = np.argmax if reduce == "max" else np.argmin
    return rows[[extreme(scores.mean[rows])]]


def _summary(scores, rows):
    """Return the mean of candidates, and the deviation over folds of their mean."""
    folds = np.ma.masked_array(scores.folds[rows], scores.failed[rows])
    with np.errstate(over="ignore"):
        folds = folds.mean(axis=0).compressed()
        std = folds.std() if folds.size > 1 else np.nan
        return scores.mean[rows].mean(), std


# -- values of a parameter -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Values:
    """The values of a parameter: labels, and the place of each candidate's."""

    labels: list
    codes: np.ndarray


class _Missing:
    """Stands for the value of a parameter that a candidate doesn't set."""


def _value(candidate, name):
    value = candidate.get(name, np.ma.masked)
    return _Missing if value is np.ma.masked else value


def _is_number(value):
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


def _key(value):
    """Return what values that are the same have in common."""
    # An estimator is no longer the same object when a search comes from a file, so what
    # it says of itself has to do.
    return value if _is_number(value) else (type(value), repr(value))


def _distinct(values):
    """Return each value once by its key: numbers by size, then others as they came."""
    found = {}
    for value in values:
        found.setdefault(_key(value), value)
    numbers = sorted(key for key, value in found.items() if _is_number(value))
    others = [key for key, value in found.items() if not _is_number(value)]
    others.sort(key=lambda key: found[key] is _Missing)
    return {key: found[key] for key in [*numbers, *others]}


def _divide(values, bins):
    """Sort values, or divide them into ranges if they are many numbers."""
    distinct = _distinct(values)
    numbers = [value for value in distinct.values() if _is_number(value)]
    others = [value for value in distinct.values() if not _is_number(value)]
    places = {_key(value): k for k, value in enumerate(numbers)}
    labels = _number_labels(numbers, 4)
    if len(numbers) > _MOST:
        edges = _edges(numbers, bins)
        inside = np.searchsorted(edges[1:-1], numbers, side="right")
        places = dict(zip(places, inside.tolist(), strict=True))
        ends = _number_labels(edges.tolist(), 3)
        labels = [f"{a} to {b}" for a, b in pairwise(ends)]
    places |= {_key(value): len(labels) + k for k, value in enumerate(others)}
    labels = _told_apart(labels + [_label(value) for value in others])
    return _Values(labels, np.array([places[_key(value)] for value in values]))


def _edges(numbers, bins):
    low, high = float(numbers[0]), float(numbers[-1])
    if low > 0 and high >= _DECADES * low:
        return np.geomspace(low, high, bins + 1)
    return np.linspace(low, high, bins + 1)


def _number_labels(numbers, digits):
    """Write numbers with so many digits, or as many more as tell them apart."""
    for enough in (digits, digits + 2):
        labels = [_rounded(number, enough) for number in numbers]
        if len(set(labels)) == len(labels):
            return labels
    return [repr(float(number)) for number in numbers]


def _rounded(number, digits):
    is_short = isinstance(number, Integral) and abs(number) < 1e6
    return str(int(number)) if is_short else f"{number:.{digits}g}"


def _label(value):
    """Write a value that is no number in a few letters."""
    if value is _Missing:
        return "(not set)"
    if isinstance(value, str):
        return _shortened(value or "''")
    return _shortened(_described(value))


def _described(value):
    """Write a value as code would, with short names."""
    if _is_number(value):
        return _rounded(value, 4)
    if isinstance(value, (tuple, list)):
        return _sequence([_described(part) for part in value])
    if isinstance(value, functools.partial):
        arguments = [_described(argument) for argument in value.args]
        arguments += [f"{key}={_described(v)}" for key, v in value.keywords.items()]
        return f"{_described(value.func)}({', '.join(arguments)})"
    if hasattr(value, "__name__"):
        return value.__name__
    # An address says nothing, nor does a line break at the width of a terminal.
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))


def _sequence(parts):
    if len(parts) > 3 and len(set(parts)) == 1:
        # As many equal layers are given.
        return f"({parts[0]},) * {len(parts)}"
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


def _shortened(text, length=_LABEL):
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _told_apart(labels):
    """Tell labels apart, by a number, that are the same for different values."""
    counts, seen = Counter(labels), Counter()
    result = []
    for label in labels:
        seen[label] += 1
        result.append(f"{label} {seen[label]}" if counts[label] > 1 else label)
    return result
