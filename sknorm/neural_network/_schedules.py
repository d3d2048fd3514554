"""Learning-rate schedules: the factor on ``lr`` as a function of progress."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import Callback, LRScheduler

from sknorm._registry import Registry

__all__ = ["SCHEDULES", "Schedule", "resolve_schedule"]

Schedule = Callable[[float], float]
SCHEDULES: Registry[Schedule] = Registry("learning-rate schedule")


@SCHEDULES.register("constant")
def constant(progress: float) -> float:
    """Return 1 all through training."""
    return 1.0


@SCHEDULES.register("linear")
def linear(progress: float) -> float:
    """Fall from 1 to 0 in a straight line."""
    return 1.0 - progress


@SCHEDULES.register("cosine")
def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov & Hutter, SGDR, ICLR 2017)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


@SCHEDULES.register("flat_cosine")
def flat_cosine(progress: float) -> float:
    """Stay at 1 for half of training, then fall to 0 along half a cosine."""
    return cosine(max(0.0, 2.0 * progress - 1.0))


@SCHEDULES.register("coslog4")
def coslog4(progress: float) -> float:
    """Rise from 0 to 1 and fall to 0 four times, each time for twice as long.

    The schedule of RealMLP (Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024).
    """
    return 0.5 * (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * progress)))


@SCHEDULES.register("one_cycle")
def one_cycle(progress: float) -> float:
    """Rise from 1/25 to 1 in the first 30 %, then fall to 0 (Smith & Topin, 2019)."""
    warm_up, start = 0.3, 0.04
    if progress < warm_up:
        return start + (1.0 - start) * cosine(1.0 - progress / warm_up)
    return cosine((progress - warm_up) / (1.0 - warm_up))


@SCHEDULES.register("step")
def step(progress: float) -> float:
    """Divide by ten at half of training and again at three quarters."""
    return 0.1 ** ((progress >= 0.5) + (progress >= 0.75))


@SCHEDULES.register("exponential")
def exponential(progress: float) -> float:
    """Fall from 1 to 0.01 at a constant rate."""
    return 0.01**progress


def _is_scheduler(policy: Any) -> bool:
    kinds = (
        torch.optim.lr_scheduler.LRScheduler,
        torch.optim.lr_scheduler.ReduceLROnPlateau,
    )
    return isinstance(policy, type) and issubclass(policy, kinds)


def resolve_schedule(
    spec: Any, *, monitor: str, owner: str
) -> tuple[Schedule, list[Callback]]:
    """Turn ``lr_schedule`` into a factor for each step and callbacks for each epoch.

    Parameters
    ----------
    spec : str, callable or class
        A name in :data:`SCHEDULES`; ``"plateau"``; a function of progress in [0, 1);
        or a torch scheduler class, given arguments by ``functools.partial``, which is
        stepped once an epoch.
    monitor : {"train_loss", "valid_loss"}
        What a plateau is judged by.
    owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    schedule : callable
        The factor on the learning rate.
    callbacks : list of skorch callbacks
        What the schedule needs beside the factor, often nothing.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if isinstance(spec, str) and spec == "plateau":
        spec = torch.optim.lr_scheduler.ReduceLROnPlateau
    if isinstance(spec, str):
        named = SCHEDULES.get_named(
            spec, parameter="lr_schedule", owner=owner, beside=["plateau"]
        )
        return named, []
    partial = spec if isinstance(spec, functools.partial) else functools.partial(spec)
    if _is_scheduler(partial.func):
        callback = LRScheduler(partial.func, monitor=monitor, **partial.keywords)
        return constant, [callback]
    return spec, []
