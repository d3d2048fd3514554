"""Errors and warnings that a caller may want to catch by name."""

__all__ = ["DivergenceError", "SignalWarning"]


class DivergenceError(ArithmeticError):
    """Training stopped because the loss or a weight was no longer a finite number.

    ``GridSearchCV`` with its default ``error_score=nan`` records such a fit as failed
    and goes on with the rest of the grid.
    """


class SignalWarning(UserWarning):
    """A network's signal dies while it is trained, or can't be watched."""
