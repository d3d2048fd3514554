"""What a network wrote down of the epochs of its training."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import numpy as np
from sklearn.base import is_classifier

from sknorm._registry import unknown_name_message
from sknorm._validation import check_is_fitted

__all__ = [
    "LOSSES",
    "best_of_early_stopping",
    "choose_scores",
    "find_network",
    "finished",
    "lowest",
    "names_of_scores",
    "recorded",
    "unit_of_loss",
]

LOSSES = {"train_loss": "training", "valid_loss": "validation"}


def find_network(estimator):
    """Return what was trained, inside searches and pipelines."""
    network = estimator
    while True:
        if hasattr(network, "best_estimator_"):
            network = network.best_estimator_
        elif hasattr(network, "steps"):
            network = network.steps[-1][1]
        elif hasattr(network, "regressor_"):
            network = network.regressor_
        else:
            break
    if hasattr(network, "fit"):
        check_is_fitted(network)
    if not hasattr(network, "history_"):
        raise TypeError(
            "An estimator that keeps its `history_` is needed: a NormMLP*, a "
            "TabularNet*, a skorch net, a pipeline that ends with one, or a search "
            f"over these with refit=True. Got {estimator!r}."
        )
    return network


def best_of_early_stopping(net, history):
    """Return the epoch that a callback found best and how, or None."""
    for _, callback in getattr(net, "callbacks_", ()):
        # 0 as long as nothing was an improvement, and more than there are epochs if
        # the callback has seen another fit since.
        if 0 < (epoch := getattr(callback, "best_epoch_", 0)) <= len(history):
            kept = getattr(callback, "load_best", False)
            how = "kept by early stopping" if kept else "best for early stopping"
            return int(epoch), how
    return None


def names_of_scores(net):
    """Return what scoring callbacks record, also those that tell no best."""
    callbacks = [callback for _, callback in getattr(net, "callbacks_", ())]
    return {c.name_ for c in callbacks if hasattr(c, "scoring") and hasattr(c, "name_")}


def unit_of_loss(network):
    """Return the unit of an estimator's losses, None where it has no name."""
    if not hasattr(network, "net_"):
        return None
    if is_classifier(network):
        return "nats"
    squared = getattr(network, "loss", "squared_error") == "squared_error"
    return "target variances" if squared else None


def finished(history):
    """Return the rows of the epochs that came to a training loss."""
    rows = list(history or ())
    if not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(
            "A history is a list with a dict for each epoch, as `history_` is. Got "
            f"{history!r}."
        )
    # An epoch cut short from the keyboard has none.
    rows = [row for row in rows if _is_number(row.get("train_loss"))]
    if not rows:
        raise ValueError(
            "The history has no epoch with a number as 'train_loss': training didn't "
            "come to the end of the first one."
        )
    return rows


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def recorded(rows, key):
    """Return what is recorded under a name, NaN where nothing is, None if never."""
    values = [row.get(key) for row in rows]
    if not any(map(_is_number, values)):
        return None
    return np.array([float(v) if _is_number(v) else np.nan for v in values])


def choose_scores(rows, scores, scored):
    """Return names of scores: those asked for, or without all that are known for one.

    They are those in ``scored``, and those that something tells the best of.
    """
    keys = dict.fromkeys(key for row in rows for key in row if key not in LOSSES)
    numbers = [key for key in keys if recorded(rows, key) is not None]
    if scores is None:
        return [key for key in numbers if key in scored or f"{key}_best" in keys]
    scores = [scores] if isinstance(scores, str) else list(scores)
    for name in scores:
        if name not in numbers:
            raise ValueError(unknown_name_message("score", name, numbers))
    return scores


def lowest(epochs, loss):
    """Return the epoch of the lowest loss and what it is, or None twice."""
    if loss is None or not np.isfinite(loss).any():
        return None, None
    best = np.argmin(np.where(np.isfinite(loss), loss, np.inf))
    return int(epochs[best]), "lowest validation loss"
