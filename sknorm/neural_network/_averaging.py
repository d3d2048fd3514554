"""Averages of the weights over the steps of training, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sknorm._registry import Registry

__all__ = ["AVERAGES", "Averaging", "WeightAverage", "resolve_averaging"]

# The share that the newest weights get, as a function of how many have been averaged
# and of progress in [0, 1); None while they stand alone.
Averaging = Callable[[int, float], float | None]
AVERAGES: Registry[Averaging] = Registry("weight average")

# Steps that an exponential average looks back on, and how much of training is averaged
# in equal shares.
_MEMORY, _FIRST = 200, 0.75

# With what power of its number a step counts: the average is a tenth of training old.
_POWER = 8


@AVERAGES.register("ema")
def ema(n_averaged: int, progress: float) -> float:
    """Forget at a constant rate: each step counts 0.5 % less than the next."""
    # The first steps in equal shares, or the initial weights would be remembered.
    return max(1.0 / (n_averaged + 1), 1.0 / _MEMORY)


@AVERAGES.register("polynomial")
def polynomial(n_averaged: int, progress: float) -> float:
    """Look back on a tenth of the steps so far (Shamir & Zhang, ICML 2013)."""
    return (1 + _POWER) / (n_averaged + 1 + _POWER)


@AVERAGES.register("swa")
def swa(n_averaged: int, progress: float) -> float | None:
    """Average the last quarter in equal shares (Izmailov et al., UAI 2018)."""
    return None if progress < _FIRST else 1.0 / (n_averaged + 1)


def resolve_averaging(spec: Any, *, owner: str) -> Averaging | None:
    """Turn ``averaging`` into a function, or None for ``"none"``.

    Parameters
    ----------
    spec : str or callable
        A name in :data:`AVERAGES`, ``"none"``, or a function of how many weights have
        been averaged and of progress in [0, 1) that gives the newest one's share, or
        None as long as the newest stands alone.
    owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    callable or None

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if not isinstance(spec, str):
        return spec
    if spec == "none":
        return None
    return AVERAGES.get_named(spec, parameter="averaging", owner=owner, beside=["none"])


class WeightAverage:
    """The average of a module's weights, which may stand in for them.

    Parameters
    ----------
    module : nn.Module
        What is trained.
    averaging : callable
        From :func:`resolve_averaging`.

    Notes
    -----
    While the average is shown, the module holds it and the weights that are trained are
    kept here. Buffers, such as running statistics, stay what they are.
    """

    def __init__(self, module: nn.Module, averaging: Averaging) -> None:
        self.averaging = averaging
        self.n_averaged = self.n_steps = 0
        self._weights = [p for p in module.parameters() if p.requires_grad]
        self._other = [p.detach().clone() for p in self._weights]
        self._shown = False

    @torch.no_grad()
    def update(self, progress: float) -> None:
        """Take in the weights after a step."""
        share = self.averaging(self.n_averaged, progress)
        self.n_averaged = 0 if share is None else self.n_averaged + 1
        self.n_steps += 1
        new: list[Tensor] = [p.detach() for p in self._weights]
        torch._foreach_lerp_(self._other, new, 1.0 if share is None else share)

    def show(self, shown: bool) -> None:
        """Put the average into the module, or the weights that are trained."""
        if shown == self._shown or not self.n_steps:
            return
        for parameter, other in zip(self._weights, self._other, strict=True):
            held = parameter.detach().clone()
            parameter.data.copy_(other)
            other.copy_(held)
        self._shown = shown
