"""A network as an inspection needs it: a copy, with rows as it is given them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length, check_random_state
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sknorm._validation import _num_samples, take_rows
from sknorm.neural_network._base import BaseNormMLP
from sknorm.neural_network._losses import Loss
from sknorm.neural_network._net import LeanNet
from sknorm.neural_network._optimizers import build_optimizer
from sknorm.neural_network._rows import Rows, as_tensor
from sknorm.neural_network._schedules import constant

__all__ = ["OpenedNetwork", "open_estimator"]


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A copy of an estimator's network, with rows as tensors."""

    estimator: BaseNormMLP
    """The estimator itself, or a fresh one in the state in which training starts."""
    network: nn.Module
    """A copy of its network, in evaluation mode."""
    net: LeanNet
    """What the network was copied from; not to be changed."""
    X: Tensor
    """Inputs, on the network's device."""
    y: Tensor | None
    """Coded targets, if there are any."""
    weight: Tensor | None
    """Weights of the rows by their classes, with mean 1, or None for equal ones."""
    is_fitted: bool
    """Whether the network has been trained."""

    @property
    def criterion(self) -> Loss:
        """What is minimised."""
        return self.net.criterion_

    def optimizer(self) -> Optimizer | None:
        """Return the optimizer of the copy, where training left it but at full ``lr``.

        Weight decay is left out: it moves weights whatever the signal is. None if the
        optimizer takes no single steps.
        """
        net = self.net
        if issubclass(net.optimizer.func, LBFGS):
            return None
        made = build_optimizer(
            net.optimizer, self.network, lr=net.lr, weight_decay=net.weight_decay
        )
        made.load_state_dict(copy.deepcopy(net.optimizer_.state_dict()))
        for group in made.param_groups:
            group["lr"] = net.lr * group["lr_factor"]
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        return made


def open_estimator(
    estimator: Any, X: Any, y: Any = None, *, max_rows: int | None = None
) -> OpenedNetwork:
    """Return a copy of an estimator's network and rows as the network is given them.

    Parameters
    ----------
    estimator : estimator
        A network of :mod:`sknorm.neural_network`, alone, last in a ``Pipeline``, inside
        a ``TransformedTargetRegressor``, or the best one of a fitted search. One that
        isn't fitted is opened as training would start, and so are the steps before it.
    X : array-like or data frame of shape (n_samples, n_features)
        Rows as the estimator is given them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Their targets, which an estimator that isn't fitted needs.
    max_rows : int, default=None
        Of more rows so many are taken, evenly spaced.

    Returns
    -------
    OpenedNetwork

    Raises
    ------
    TypeError
        If there is no network of sknorm's inside.
    ValueError
        If there are fewer than two rows, not as many targets, or none where they are
        needed.
    NotFittedError
        If a step of a pipeline isn't fitted though its last one is.
    """
    check_consistent_length(X, y)
    n_rows = _num_samples(X)
    if n_rows < 2:
        raise ValueError(
            f"X must have at least 2 rows, to have a standard deviation. Got {n_rows}."
        )
    if max_rows is not None and n_rows > max_rows:
        chosen = np.linspace(0, n_rows - 1, max_rows).astype(np.intp)
        X = take_rows(X, chosen)
        y = None if y is None else take_rows(y, chosen)
    return _open(estimator, X, y)


def _open(estimator: Any, X: Any, y: Any) -> OpenedNetwork:
    """Take off what is around a network, and do to the rows what it does."""
    searched = _searched(estimator)
    if searched is not None:
        return _open(searched, X, y)
    if isinstance(estimator, TransformedTargetRegressor):
        return _open_transformed_target(estimator, X, y)
    if not isinstance(estimator, Pipeline):
        network = _network_inside(estimator)
        return (_fitted if _is_trained(network) else _fresh)(network, X, y)
    last = estimator.steps[-1][1]
    _network_inside(last)
    if len(estimator.steps) > 1:
        if _is_trained(last):
            X = estimator[:-1].transform(X)
        else:
            X = clone(estimator[:-1]).fit_transform(X, y)
    return _open(last, X, y)


def _open_transformed_target(
    estimator: TransformedTargetRegressor, X: Any, y: Any
) -> OpenedNetwork:
    trained = _is_trained(estimator)
    regressor = estimator.regressor_ if trained else estimator.regressor
    _network_inside(regressor)
    if y is not None:
        y = np.asarray(y, dtype=float)
        columns = y.reshape(len(y), -1)
        if trained:
            columns = estimator.transformer_.transform(columns)
        elif estimator.transformer is not None:
            columns = clone(estimator.transformer).fit_transform(columns)
        elif estimator.func is not None:
            columns = estimator.func(columns)
        y = columns.reshape(y.shape) if columns.size == y.size else columns
    return _open(regressor, X, y)


def _network_inside(estimator: Any) -> BaseNormMLP:
    """Return the network in an estimator, which others may stand around."""
    inner = estimator
    while not isinstance(inner, BaseNormMLP):
        if isinstance(inner, Pipeline):
            inner = inner.steps[-1][1]
        elif isinstance(inner, TransformedTargetRegressor):
            inner = inner.regressor
        else:
            inner = _searched(inner)
        if inner is None:
            raise TypeError(
                "The estimator must be a network of sknorm.neural_network, such as "
                "NormMLPClassifier or TabularNetRegressor, alone, last in a Pipeline, "
                "inside a TransformedTargetRegressor or in a search. Got "
                f"{estimator!r}."
            )
    return inner


def _searched(estimator: Any) -> Any:
    """Return the best estimator of a search, or what it searches with before a fit."""
    # Others cross-validate too, as calibrators do, but what they fit isn't the best of
    # anything.
    if not all(hasattr(estimator, name) for name in ("estimator", "cv", "refit")):
        return None
    return getattr(estimator, "best_estimator_", estimator.estimator)


def _is_trained(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        return _is_trained(estimator.steps[-1][1])
    return any(
        hasattr(estimator, name) for name in ("net_", "regressor_", "best_estimator_")
    )


def _fitted(estimator: Any, X: Any, y: Any) -> OpenedNetwork:
    dtype = estimator._fitted_dtype()
    if y is None:
        X = estimator._check_data(X, reset=False, dtype=dtype)
        inputs = as_tensor(estimator._numbers(X))
        rows = Rows(inputs, torch.zeros(len(inputs)))
    else:
        X, y = estimator._check_data(X, y, reset=False, dtype=dtype)
        rows = estimator._as_rows(estimator._encode(X, estimator._check_y(y), None))
    return _opened(estimator, estimator.net_, rows, y is not None, is_fitted=True)


def _fresh(estimator: Any, X: Any, y: Any) -> OpenedNetwork:
    """Go as far as ``fit`` does before the first step."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} isn't fitted, so that its last layer "
            "depends on y. Pass y too, or fit it first."
        )
    twin = clone(estimator)
    twin.warm_start, twin.callbacks, twin.verbose = False, None, 0
    twin._check_names()
    table, _ = twin._check(X, y, None, None, None, go_on=False)
    # Where fit would take its seed from NumPy's global state, which stays as it is.
    source = 0 if twin.random_state is None else twin.random_state
    seed = check_random_state(source).randint(np.iinfo(np.int32).max)
    rng = np.random.default_rng(seed)
    twin._learn_scales(table, go_on=False)
    rows = twin._as_rows(table)
    net = twin._make_net(rows, rng, constant, [], go_on=False)
    return _opened(twin, net, rows, True, is_fitted=False)


def _opened(
    estimator: Any, net: LeanNet, rows: Rows, has_y: bool, *, is_fitted: bool
) -> OpenedNetwork:
    network = copy.deepcopy(net.module_).eval()
    rows = rows.to(next(network.parameters()).device)
    inputs: Any = rows.X
    y = rows.y if has_y else None
    return OpenedNetwork(estimator, network, net, inputs, y, rows.weight, is_fitted)
