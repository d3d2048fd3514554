"""The gradient of plain layers one after the other, without autograd.

A step on a small batch is mostly spent on what surrounds the arithmetic: autograd makes
a graph and walks it, and every result is new memory. Here layers have their derivatives
written down, and work in memory that the next step uses again, a slice of the batch at
a time where there is so much of it that it would leave the processor's cache.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from sknorm.neural_network._derivatives import Chain, is_known
from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._losses import CrossEntropy, Loss, SquaredError
from sknorm.nn._dropout import Dropout
from sknorm.nn.members import BatchEnsembleLinear, MemberLinear, MemberScale
from sknorm.nn.tabular import TabularNetwork

__all__ = ["SequenceGradient", "is_plain"]

_aten = torch.ops.aten

# What may look at or change what passes between layers, and sees it from autograd only.
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_GLOBAL_HOOKS = [vars(torch_module)[f"_global{name}"] for name in _HOOKS]

# Layers that a network may begin with.
_LINEAR = (nn.Linear, BatchEnsembleLinear, MemberLinear, MemberScale)

# What one layer makes of a slice: some such tables fit into a core's cache. Of fewer
# rows a product would take longer to fetch the weights than to use them.
_SLICE_BYTES, _SLICE_ROWS = 1 << 19, 256


@dataclass(frozen=True)
class _Network:
    """A network taken apart."""

    entrance: nn.Module | None
    """What turns a table into what the layers are fed; autograd's."""
    parts: list[nn.Module]
    n_members: int
    around: list[nn.Module]
    """Modules that hold the parts, or do nothing that is not done here."""


def _take_apart(module: nn.Module) -> _Network | None:
    """Return the layers of a network, or None if it is not one of those known here."""
    is_sequence = type(module).forward is nn.Sequential.forward
    if isinstance(module, nn.Sequential) and is_sequence:
        parts = [*module.children()]
        # What is used twice has two gradients to be added up.
        is_whole = len(parts) == len(module)
        return _Network(None, parts, 1, [module]) if is_whole else None
    if type(module) is not TabularNetwork:
        return None
    entrance, parts, around = module.in_sequence()
    return _Network(entrance, parts, module.n_members, around)


def is_plain(module: nn.Module) -> bool:
    """Tell whether a network is a sequence of layers whose derivatives are known here.

    Parameters
    ----------
    module : nn.Module
        The network. What a network for tables makes of its columns may be anything.

    Returns
    -------
    bool
        False also if it isn't on the CPU: elsewhere what is saved here costs little.
    """
    network = _take_apart(module)
    if network is None or not network.parts:
        return False
    parts, entrance = network.parts, network.entrance
    parameters = [*module.parameters()]
    counts = [len([*part.parameters()]) for part in parts]
    if entrance is not None:
        counts.append(len([*entrance.parameters()]))
    return (
        type(parts[0]) in _LINEAR
        and all(map(is_known, parts))
        and not any("forward" in vars(part) for part in (*network.around, *parts))
        and len(parameters) == sum(counts)
        and {p.device.type for p in parameters} == {"cpu"}
        and {p.dtype for p in parameters} in ({torch.float32}, {torch.float64})
    )


class SequenceGradient(Gradient):
    """Computes the same as :class:`Gradient`, for a module that :func:`is_plain`.

    Parameters
    ----------
    module, criterion, clip_grad_norm, amp, on_backward
        Those of :class:`Gradient`.

    Notes
    -----
    The output and some gradients are overwritten by the next call. Whenever there is
    something that autograd alone can do, such as to call a hook or to leave a parameter
    out, it does.
    """

    def __init__(self, module: nn.Module, criterion: Loss, **options: Any) -> None:
        super().__init__(module, criterion, **options)
        network = _take_apart(module)
        if network is None:
            raise TypeError(f"No sequence of layers: {module!r}")
        self._network = network
        parts = network.parts
        self._norms = [part for part in parts if isinstance(part, nn.BatchNorm1d)]
        self._drops = [part for part in parts if type(part) is Dropout]
        hooked = [*network.around, criterion]
        hooked += [inner for part in parts for inner in part.modules()]
        self._hooks = [
            *_GLOBAL_HOOKS,
            *(vars(part)[name] for part in hooked for name in _HOOKS),
        ]
        # Who is left to autograd.
        entrance = network.entrance
        self._entering = [] if entrance is None else [*entrance.parameters()]
        self._chains: dict[int, Chain] = {}

    def _backward(
        self, X: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if not self._applies(X):
            return super()._backward(X, y, weight)
        n_rows = len(X)
        if n_rows not in self._chains:
            self._chains[n_rows] = self._chain(n_rows)
        chain = self._chains[n_rows]
        fed = self._enter(X)
        with torch.no_grad():
            output = chain.forward(fed.detach())
            loss, grad = _loss_and_grad(self.criterion, output, y, weight)
            by_inputs = chain.backward(grad)
        if by_inputs is not None and fed.requires_grad:
            fed.backward(by_inputs.view_as(fed))
        return loss, output

    def _enter(self, X: Tensor) -> Tensor:
        """Return what the layers are fed, with the graph of how it came about."""
        if self._network.entrance is None:
            return X
        for parameter in self._entering:
            parameter.grad = None
        return self._network.entrance(X).contiguous()

    def _chain(self, n_rows: int) -> Chain:
        parts, n_members = self._network.parts, self._network.n_members
        widest = max(p.shape[-1] for part in parts for p in part.parameters())
        row = widest * n_members * self.parameters[0].element_size()
        least = -(-_SLICE_ROWS // n_members)
        # Norms see all rows, or none.
        size = n_rows if self._norms else max(least, _SLICE_BYTES // row)
        # About as many in each, and in none more than in the first.
        count = -(-n_rows // size)
        edges = [-(-i * n_rows // count) for i in range(count + 1)]
        bounds = list(itertools.pairwise(edges))
        asks_inputs = bool(self._entering)
        return Chain(parts, bounds, n_members, asks_inputs=asks_inputs)

    def _applies(self, X: Tensor) -> bool:
        return (
            not any(self._hooks)
            and not self.amp
            and X.dtype == self.parameters[0].dtype
            # Where statistics are frozen, or can't be taken.
            and all(norm.training and len(X) > 1 for norm in self._norms)
            and all(drop.training for drop in self._drops)
            and all(
                p.requires_grad
                and not p._backward_hooks
                and not p._post_accumulate_grad_hooks
                for p in self.parameters
            )
        )


# -- losses ----------------------------------------------------------------------------


def _loss_and_grad(
    criterion: Loss, output: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the loss, and its gradient by the output."""
    is_one = output.ndim == 2
    if is_one and type(criterion) is CrossEntropy and not criterion.label_smoothing:
        return _cross_entropy(output, target, weight)
    if is_one and type(criterion) is SquaredError:
        loss = criterion(output, target, weight)
        share = 2.0 / output.numel()
        grad = (output - target).mul_(share)
        return loss, grad if weight is None else grad.mul_(weight[:, None])
    with torch.enable_grad():
        leaf = output.detach().requires_grad_()
        loss = criterion(leaf, target, weight)
        (grad,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), grad


def _cross_entropy(
    output: Tensor, target: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(output, 1)
    # How torch numbers what is done with the rows' losses: 0 for nothing, 1 for a mean.
    mode = 1 if weight is None else 0
    loss, count = _aten.nll_loss_forward(logs, target, None, mode, -100)
    share = torch.ones_like(loss) if weight is None else weight / len(weight)
    grad = _aten.nll_loss_backward(share, logs, target, None, mode, -100, count)
    grad = _aten._log_softmax_backward_data(grad, logs, 1, output.dtype)
    return loss if weight is None else torch.dot(loss, share), grad
