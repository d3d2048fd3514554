"""What stands around a network: the way to its parameters, and what to put there."""

from __future__ import annotations

from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline, make_pipeline

from sknorm.inspection._remedies import Remedy
from sknorm.neural_network._base import BaseNormMLP
from sknorm.preprocessing import QuantileStandardizer, Standardizer

__all__ = ["followed", "path_to_network"]


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
            return estimator.set_params(transformer=transformer)
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
        return Pipeline([*steps, ("standardizer", Standardizer()), last])
    if isinstance(estimator, TransformedTargetRegressor):
        return estimator.set_params(regressor=_standardized(estimator.regressor))
    if isinstance(estimator, BaseNormMLP):
        return make_pipeline(Standardizer(), estimator)
    return estimator.set_params(estimator=_standardized(estimator.estimator))
