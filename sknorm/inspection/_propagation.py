"""How large the signal and its gradient are in each layer, and what theory expects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from sknorm.inspection._probe import probe
from sknorm.inspection._surroundings import path_to_network
from sknorm.inspection._theory import predict_layers
from sknorm.neural_network._opened import _is_trained, _network_inside, open_estimator
from sknorm.nn.activations import resolve_activation

__all__ = [
    "GRADIENTS",
    "Signal",
    "changed",
    "inside_search",
    "labelled",
    "labelled_inits",
    "measure",
    "name_of",
]

GRADIENTS = ("random", "loss")


@dataclass(frozen=True, eq=False)
class Signal:
    """What one network does to a signal, and what theory expects of it."""

    forward: np.ndarray
    """Standard deviation of the inputs and of each layer's pre-activations."""
    backward: np.ndarray
    """Length of the gradient there, beside that in the last layer."""
    forward_theory: np.ndarray
    """What theory expects of the first, NaN where it has nothing to say."""
    backward_theory: np.ndarray
    """What it expects of the second."""


def measure(estimator, X, y, *, seeds, gradient, max_rows):
    """Return the signal in a fitted network, or in fresh ones.

    Parameters
    ----------
    estimator : estimator
        With a network of sknorm's inside.
    X : array-like or data frame of shape (n_samples, n_features)
        Rows as the estimator is given them.
    y : array-like or None
        Their targets.
    seeds : int
        How many networks are built of one that isn't fitted.
    gradient : {"random", "loss"}
        What comes back from the last layer.
    max_rows : int
        Of more rows so many are looked at.

    Returns
    -------
    list of Signal
        That of each network.
    """
    networks = (
        [estimator]
        if _is_trained(estimator)
        else (changed(estimator, random_state=seed) for seed in range(seeds))
    )
    return [_measure_one(network, X, y, gradient, max_rows) for network in networks]


def _measure_one(estimator, X, y, gradient, max_rows):
    opened = open_estimator(estimator, X, y, max_rows=max_rows)
    activation = resolve_activation(opened.estimator.activation)
    inputs, layers = probe(
        opened.network,
        opened.X,
        opened.y if gradient == "loss" else None,
        opened.criterion,
        activation,
        weight=opened.weight,
        batch_statistics=not opened.is_fitted,
        pairs=False,
    )
    # Theory takes a signal behind a norm as it is, and knows no way round a layer.
    is_chain = getattr(opened.estimator, "architecture", "mlp") == "mlp"
    expected = [
        (prediction.q, prediction.chi) if is_chain and not layer.norm else (np.nan,) * 2
        for layer, prediction in zip(
            layers, predict_layers(inputs, layers, activation), strict=True
        )
    ]
    q, chi = np.array(expected).T
    tables = [inputs, *(layer.signal for layer in layers)]
    forward = np.array([np.nan if table is None else table.std for table in tables])
    norms = np.array([layer.grad_norm for layer in layers])
    # Slopes aren't known where pre-activations aren't numbers, whatever torch takes
    # them for: nothing that went through there is a gradient.
    if not np.isfinite(forward).all():
        norms[:] = np.nan
    with np.errstate(over="ignore"):  # What is too large is infinite.
        chis = np.cumprod([1.0, *chi[-2::-1]])[::-1]
    return Signal(
        forward=forward,
        backward=norms / norms[-1] if norms[-1] else norms,
        forward_theory=np.sqrt([np.nan, *q]),
        backward_theory=np.sqrt(chis),
    )


def inside_search(estimator):
    """Return the best estimator of a fitted search, else what is given."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def changed(estimator, **params):
    """Return a fresh copy with other parameters of its network."""
    _network_inside(estimator)
    prefix = path_to_network(estimator)
    return clone(estimator).set_params(**{f"{prefix}{k}": v for k, v in params.items()})


# -- naming ----------------------------------------------------------------------------


def name_of(estimator):
    """Return the name of the network's class."""
    return type(_network_inside(estimator)).__name__


def labelled(estimators):
    """Return estimators by label.

    Parameters
    ----------
    estimators : dict of str to estimator, or list of estimator
        Those of a list are called by the name of the network's class, and numbered
        where these are the same.

    Returns
    -------
    dict of str to estimator

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If there is none.
    """
    if hasattr(estimators, "fit"):
        raise TypeError(
            "estimators must be a dict or a list of estimators. Got one: "
            f"{estimators!r}. Draw it with from_estimator."
        )
    if not isinstance(estimators, Iterable):
        raise TypeError(
            f"estimators must be a dict or a list of estimators. Got {estimators!r}."
        )
    if isinstance(estimators, Mapping):
        by_label = {str(label): part for label, part in estimators.items()}
    else:
        estimators = list(estimators)
        by_label = _numbered(map(name_of, estimators), estimators)
    if not by_label:
        raise ValueError("estimators must hold at least one estimator. Got none.")
    return by_label


def _numbered(names, parts):
    """Return parts by name, those of one name with their numbers in all."""
    names = list(names)
    return {
        f"{name} {i}" if names.count(name) > 1 else name: part
        for i, (name, part) in enumerate(zip(names, parts, strict=True), start=1)
    }


def labelled_inits(inits):
    """Return initialization schemes by label, which is their own unless one is given.

    Parameters
    ----------
    inits : str, callable, list of these, or dict of str to these
        Values of a network's parameter ``init``.

    Returns
    -------
    dict of str to str or callable

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there is none.
    """
    if isinstance(inits, str) or callable(inits):
        inits = [inits]
    if not isinstance(inits, Iterable):
        raise TypeError(f"inits must be a list or a dict of schemes. Got {inits!r}.")
    if not isinstance(inits, Mapping):
        inits = list(inits)
        inits = _numbered(map(_label_of_init, inits), inits)
    if not inits:
        raise ValueError("inits must hold at least one scheme. Got none.")
    return inits


def _label_of_init(init):
    return init if isinstance(init, str) else getattr(init, "__name__", repr(init))
