"""What stands around a network: the way to its parameters, and what to put there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sknorm.inspection._remedies import Remedy
from sknorm.neural_network._base import BaseNormMLP
from sknorm.preprocessing import QuantileStandardizer, Standardizer

__all__ = ["followed", "is_standardized", "path_to_network"]


def followed(remedy: Remedy, estimator: Any) -> Any:
    """Do to an estimator what a remedy says.

    Parameters
    ----------
    remedy : Remedy
        What to change.
    estimator : estimator
        A fresh one, with a network of sknorm's inside, which is changed.

    Returns
    -------
    estimator
        The estimator, or one that it is a part of.
    """
    if remedy.normalize_target:
        transformer = QuantileStandardizer()
        if isinstance(estimator, TransformedTargetRegressor):
            # One that has functions may have no transformer.
            return estimator.set_params(
                transformer=transformer, func=None, inverse_func=None
            )
        return TransformedTargetRegressor(estimator, transformer=transformer)
    if remedy.standardize_inputs:
        return _standardized(estimator)
    prefix = path_to_network(estimator)
    params = {f"{prefix}{name}": value for name, value in remedy.params.items()}
    return estimator.set_params(**params)


def path_to_network(estimator: Any) -> str:
    """Return what stands before the network's parameters in ``set_params``."""
    if isinstance(estimator, BaseNormMLP):
        return ""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return f"{name}__{path_to_network(last)}"
    if isinstance(estimator, TransformedTargetRegressor):
        return f"regressor__{path_to_network(estimator.regressor)}"
    # A search: its estimator is what every candidate is a copy of.
    return f"estimator__{path_to_network(estimator.estimator)}"


def _standardized(estimator: Any) -> Any:
    """Return an estimator with a Standardizer right before its network."""
    if isinstance(estimator, Pipeline):
        *steps, last = estimator.steps
        name = _new_name("standardizer", [name for name, _ in estimator.steps])
        return Pipeline([*steps, (name, Standardizer()), last])
    if isinstance(estimator, TransformedTargetRegressor):
        return estimator.set_params(regressor=_standardized(estimator.regressor))
    if isinstance(estimator, BaseNormMLP):
        return make_pipeline(Standardizer(), estimator)
    return _standardized_search(estimator)


def _new_name(name: str, taken: list[str]) -> str:
    """Return a name that no step of a pipeline has, numbered as make_pipeline does."""
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(each for each in names if each not in taken)


def _standardized_search(search: Any) -> Any:
    """Standardize in each fold, and look for the network's parameters where it is."""
    old = path_to_network(search.estimator)
    estimator = _standardized(search.estimator)
    new = path_to_network(estimator)

    def renamed(grid: dict) -> dict:
        return {
            new + name.removeprefix(old) if name.startswith(old) else name: values
            for name, values in grid.items()
        }

    for kind in ("param_grid", "param_distributions"):
        grid = getattr(search, kind, None)
        if grid is not None:
            one = isinstance(grid, Mapping)
            search.set_params(
                **{kind: renamed(grid) if one else [renamed(part) for part in grid]}
            )
    return search.set_params(estimator=estimator)


def is_standardized(estimator: Any) -> bool:
    """Tell whether the last step before a network standardizes its columns."""
    *_, last = (None, *_steps_before_network(estimator))
    if not isinstance(last, (Standardizer, StandardScaler)):
        return False
    return bool(last.with_mean and last.with_std)


def _steps_before_network(estimator: Any) -> Iterator[Any]:
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps[:-1]:
            if step is not None and step != "passthrough":
                yield step
        yield from _steps_before_network(estimator.steps[-1][1])
    elif isinstance(estimator, TransformedTargetRegressor):
        yield from _steps_before_network(estimator.regressor)
    elif not isinstance(estimator, BaseNormMLP):
        yield from _steps_before_network(estimator.estimator)
