"""A net's callbacks: those that a fit adds, and those that the user gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping

__all__ = ["added", "back_to_best", "check_callbacks", "replace_callbacks"]

# What the names of those begin with that are of one fit alone.
_PREFIX = "sknorm_fit_"


def check_callbacks(given: Any, *, owner: str) -> None:
    """Raise an error unless all that is given is a callback.

    Parameters
    ----------
    given : sequence or None
        Callbacks or classes of them, or pairs of a name and one.
    owner : str
        Whose parameter it is, for the error message.

    Raises
    ------
    TypeError
        Naming the first that is none.
    """
    for entry in given or ():
        callback = entry[-1] if isinstance(entry, tuple) and entry else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                f"The 'callbacks' parameter of {owner} must hold callbacks of skorch, "
                f"or pairs of a name and one. Got {entry!r} in it."
            )


def added(callbacks: Sequence[Callback]) -> list[tuple[str, Callback]]:
    """Return what a fit adds, under names that :func:`replace_callbacks` knows."""
    return [(f"{_PREFIX}{i}", callback) for i, callback in enumerate(callbacks)]


def replace_callbacks(net: NeuralNet, given: Sequence[Any]) -> None:
    """Leave a net that was trained the user's callbacks, as they are now.

    Parameters
    ----------
    net : skorch.NeuralNet
        Those that the fit added are gone.
    given : sequence
        The user's. What they have learned stays, if the net has them already.
    """
    net.callbacks_ = [named for named in net.callbacks_ if not _is_added(named)]
    known = [entry for entry in net.callbacks if not _is_added(entry)]
    if list(map(id, known)) != list(map(id, given)):
        net.callbacks = list(given)
        net.initialize_callbacks()


def back_to_best(patience: float, tol: float) -> EarlyStopping:
    """Return what goes back to the weights that were best on validation rows.

    Parameters
    ----------
    patience : float
        Epochs without improvement after which training ends, perhaps infinity.
    tol : float
        By how much the loss has to fall to be better.

    Returns
    -------
    EarlyStopping
    """
    return EarlyStopping(
        monitor="valid_loss",
        patience=patience,
        threshold=tol,
        threshold_mode="abs",
        load_best=True,
        sink=_silent,
    )


def _is_added(entry: Any) -> bool:
    return isinstance(entry, tuple) and entry[0].startswith(_PREFIX)


def _silent(message: str) -> None:
    """Swallow skorch's messages: the progress bar and ``history_`` tell the same."""
