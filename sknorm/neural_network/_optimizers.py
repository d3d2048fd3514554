"""Any torch optimizer by name or class, with weight decay where it belongs."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from sknorm._registry import Registry, unknown_name_message

__all__ = [
    "OPTIMIZERS",
    "AdamStep",
    "build_optimizer",
    "flush_faded",
    "resolve_optimizer",
]

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


def resolve_optimizer(
    spec: Any, parameters: Mapping[str, Any] | None = None, *, owner: str
) -> functools.partial[Optimizer]:
    """Turn a name, class or ``functools.partial`` into a partial of the class.

    Parameters
    ----------
    spec : str, class or functools.partial
        A name in :data:`OPTIMIZERS`, or a torch optimizer class.
    parameters : mapping of str, default=None
        Further arguments of it.
    owner : str
        Whose parameters they are, for the error message.

    Returns
    -------
    functools.partial

    Raises
    ------
    ValueError
        If the name is unknown, or the optimizer doesn't take a parameter.
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
    _check_parameters(parameters or {}, cls, owner)
    return functools.partial(partial, **(parameters or {}))


def _check_parameters(parameters: Mapping[str, Any], cls: type, owner: str) -> None:
    names = f"The 'optimizer_params' parameter of {owner} names"
    if "lr" in parameters:
        raise ValueError(
            f"{names} 'lr', which is a parameter of its own. Set lr in place of it. "
            f"Got {parameters!r}."
        )
    accepted = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
        return
    allowed = sorted(set(accepted) - {"params", "lr"})
    for name in parameters:
        if name not in allowed:
            message = unknown_name_message(f"argument of {cls.__name__}", name, allowed)
            raise ValueError(f"{names} {name!r}. {message}")


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
    cls: Any = optimizer.func
    arguments = dict(optimizer.keywords)
    accepted = inspect.signature(cls).parameters
    decays = "weight_decay" in accepted
    if weight_decay and not decays:
        raise ValueError(
            f"The optimizer {cls.__name__} has no weight decay. Set weight_decay=0 or "
            f"take another optimizer. Got weight_decay={weight_decay!r}."
        )
    groups = _parameter_groups(module)
    parameters = [p for group in groups for p in group["params"]]
    if issubclass(cls, torch.optim.LBFGS):
        # It takes one group, and has one learning rate.
        return optimizer([{"params": parameters, "lr_factor": 1.0}], lr=lr)
    if (
        cls in _FUSED
        and parameters[0].device.type in _FUSED_DEVICES
        and not arguments.keys() & {"foreach", "capturable", "differentiable"}
    ):
        arguments.setdefault("fused", True)
    decay = arguments.pop("weight_decay", weight_decay) if decays else 0.0
    for group in groups:
        factor = group.pop("decay_factor")
        if decays:
            group["weight_decay"] = decay * factor
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


# State that may become 0 without anything being divided by it.
_MOMENTA = ("exp_avg", "momentum_buffer")


@torch.no_grad()
def flush_faded(optimizer: Optimizer) -> None:
    """Set to 0 the weights and momenta whose products leave a float's normal range.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose parameters and momenta are looked at, those on the CPU.

    Notes
    -----
    What a unit that is never active has learned fades, by weight decay and as momentum.
    Its products with gradients, and at last itself, are then the smallest numbers there
    are, with which a CPU calculates many times as slowly. What is below the square root
    of the smallest normal number, 1e-19 in float32, is far below the rounding of all
    that it is added to.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            momenta = [state[name] for name in _MOMENTA if name in state]
            for held in (parameter, *momenta):
                if held is not None and held.device.type == "cpu":
                    least = math.sqrt(torch.finfo(held.dtype).tiny)
                    held.masked_fill_(held.abs() < least, 0.0)


class AdamStep:
    """The step of an optimizer, shortened for a fused Adam on the CPU.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any; those that aren't shortened take their own step.

    Notes
    -----
    Adam looks at every parameter in every step, to find the same tensors again, and
    counts the steps of each by an operation of its own. On a small network that takes
    longer than the update. Here what doesn't change is listed once, and all counts of a
    group are parts of one tensor. The state stays that of the optimizer, which can be
    saved, loaded and stepped by itself in between.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._listed: list[_Listed] = []
        self._state: Any = None

    def __call__(self, closure: Callable[[], Any]) -> None:
        """Take one step, by the gradient that the closure leaves in the parameters."""
        if not self._applies():
            self.optimizer.step(closure)
            return
        with torch.enable_grad():
            closure()
        grads = [[p.grad for p in listed.params] for listed in self._listed]
        if any(grad is None for some in grads for grad in some):
            # By its own, which knows whom to leave out. The gradient is there already.
            self.optimizer.step()
            return
        with torch.no_grad():
            for listed, some in zip(self._listed, grads, strict=True):
                listed.update(some)

    def _applies(self) -> bool:
        """Tell whether it is short, and list what it works on if it wasn't before."""
        optimizer = self.optimizer
        if (
            type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW)
            or "step" in vars(optimizer)  # wrapped, as by learning rate schedulers
            or optimizer._optimizer_step_pre_hooks
            or optimizer._optimizer_step_post_hooks
            or torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
        ):
            return False
        # Loading a state puts another in its place; the first step fills it.
        if optimizer.state is not self._state:
            if not all(map(self._is_plain, optimizer.param_groups)):
                return False
            self._listed = [self._list(group) for group in optimizer.param_groups]
            self._state = optimizer.state
        return len(self._listed) == len(optimizer.param_groups)

    def _is_plain(self, group: dict[str, Any]) -> bool:
        state = self.optimizer.state
        unusual = ("amsgrad", "differentiable", "capturable", "foreach")
        return (
            bool(group["fused"])
            and not any(group[option] for option in unusual)
            and all(p.device.type == "cpu" and state.get(p) for p in group["params"])
        )

    def _list(self, group: dict[str, Any]) -> _Listed:
        params = group["params"]
        states = [self.optimizer.state[p] for p in params]
        counts = torch.stack([state["step"] for state in states])
        for state, count in zip(states, counts, strict=True):
            state["step"] = count
        first, second = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")
        )
        is_adamw = isinstance(self.optimizer, torch.optim.AdamW)
        decoupled = group.get("decoupled_weight_decay", is_adamw)
        # What torch itself calls in the end.
        kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        return _Listed(group, params, first, second, counts, [*counts], kernel)


@dataclass(frozen=True)
class _Listed:
    """What a group is updated with."""

    group: dict[str, Any]
    params: list[nn.Parameter]
    first_moments: list[Tensor]
    second_moments: list[Tensor]
    counts: Tensor
    count_of_each: list[Tensor]
    kernel: Callable[..., None]

    def update(self, grads: list[Any]) -> None:
        group = self.group
        beta1, beta2 = group["betas"]
        self.counts.add_(1)
        self.kernel(
            self.params,
            grads,
            self.first_moments,
            self.second_moments,
            [],
            self.count_of_each,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )
