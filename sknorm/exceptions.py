"""Errors that a caller may want to catch by name."""

__all__ = ["DivergenceError"]


class DivergenceError(ArithmeticError):
    """Training stopped because the loss or a weight was no longer a finite number.

    ``GridSearchCV`` with its default ``error_score=nan`` records such a fit as failed
    and goes on with the rest of the grid.
    """
