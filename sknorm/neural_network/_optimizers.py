"""Any torch optimizer by name or class, with weight decay where it belongs."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sknorm._registry import Registry

__all__ = ["OPTIMIZERS", "build_optimizer", "resolve_optimizer"]

# What a dense network with biases can't be trained with: sparse gradients alone, or
# matrices alone.
_NOT_FOR_DENSE = {"Optimizer", "SparseAdam", "Muon"}

OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer")
for _name, _cls in vars(torch.optim).items():
    is_optimizer = isinstance(_cls, type) and issubclass(_cls, Optimizer)
    if is_optimizer and _name not in _NOT_FOR_DENSE:
        OPTIMIZERS.register(_name.lower())(_cls)

# The devices on which torch has one fused kernel for the whole update since 2.4.
_FUSED = {torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD}
_FUSED_DEVICES = {"cpu", "cuda"}


def resolve_optimizer(spec: Any, *, owner: str) -> functools.partial[Optimizer]:
    """Turn a name, class or ``functools.partial`` into a partial of the class.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If a class isn't a torch optimizer.
    """
    if isinstance(spec, str):
        spec = OPTIMIZERS.get_named(spec, parameter="optimizer", owner=owner)
    partial = spec if isinstance(spec, functools.partial) else functools.partial(spec)
    cls = partial.func
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise TypeError(
            f"The 'optimizer' parameter of {owner} must be a name such as 'adamw' or "
            f"'sgd', or a subclass of torch.optim.Optimizer. Got {spec!r}."
        )
    return partial


def build_optimizer(
    optimizer: functools.partial[Optimizer],
    module: nn.Module,
    *,
    lr: float,
    weight_decay: float,
) -> Optimizer:
    """Make the optimizer of a network.

    Weight decay reaches the weight matrices alone: pulling biases, gammas and betas
    toward zero does not simplify the function, it fights the normalization.

    Parameters
    ----------
    optimizer : functools.partial of a torch optimizer class
        From :func:`resolve_optimizer`.
    module : nn.Module
        What is trained. Its method ``parameter_groups`` is asked how, if it has one: it
        gives dicts of ``"params"``, ``"lr_factor"`` and ``"decay_factor"``.
    lr : float
        Learning rate.
    weight_decay : float
        Weight decay, in the sense of the optimizer class.

    Returns
    -------
    torch.optim.Optimizer
        Each of its groups has the key ``"lr_factor"``.

    Raises
    ------
    ValueError
        If the optimizer has no weight decay and one is asked for.
    """
    cls, arguments = optimizer.func, dict(optimizer.keywords)
    accepted = inspect.signature(cls).parameters
    groups = _parameter_groups(module)
    parameters = [p for group in groups for p in group["params"]]
    if "weight_decay" not in accepted:
        if weight_decay:
            raise ValueError(
                f"The optimizer {cls.__name__} has no weight decay. Set weight_decay=0 "
                f"or take another optimizer. Got weight_decay={weight_decay!r}."
            )
        # One group: L-BFGS takes no more, and has one learning rate.
        return optimizer([{"params": parameters, "lr_factor": 1.0}], lr=lr)
    if (
        cls in _FUSED
        and parameters[0].device.type in _FUSED_DEVICES
        and not arguments.keys() & {"foreach", "capturable", "differentiable"}
    ):
        arguments.setdefault("fused", True)
    decay = arguments.pop("weight_decay", weight_decay)
    for group in groups:
        group["weight_decay"] = decay * group.pop("decay_factor")
        group["lr"] = lr * group["lr_factor"]
    return cls(groups, *optimizer.args, lr=lr, **arguments)


def _parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return what is trained by how it is trained: a network may know better."""
    ask: Any = getattr(module, "parameter_groups", None)
    if ask is not None:
        groups = ask()
    else:
        everything = list(module.parameters())
        groups = [
            {"params": params, "lr_factor": 1.0, "decay_factor": factor}
            for params, factor in (
                ([p for p in everything if p.ndim > 1], 1.0),
                ([p for p in everything if p.ndim <= 1], 0.0),
            )
        ]
    trained = (
        {**group, "params": [p for p in group["params"] if p.requires_grad]}
        for group in groups
    )
    return [group for group in trained if group["params"]]
