"""The gradient of plain layers one after the other, without autograd.

A step on a small batch is mostly spent on what surrounds the arithmetic: autograd makes
a graph and walks it, and every result is new memory. Here each layer has its derivative
written down, and works in memory that the next step uses again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._losses import CrossEntropy, Loss, SquaredError

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


def is_plain(module: nn.Module) -> bool:
    """Tell whether a network is a sequence of layers whose derivatives are known here.

    Parameters
    ----------
    module : nn.Module
        The network.

    Returns
    -------
    bool
        False also if it isn't on the CPU: elsewhere what is saved here costs little.
    """
    if type(module).forward is not nn.Sequential.forward:
        return False
    parts = [*module.children()]
    parameters = [*module.parameters()]
    return (
        bool(parts)
        and type(parts[0]) is nn.Linear
        and all(map(_is_known, parts))
        and not any("forward" in vars(part) for part in (module, *parts))
        # What is used twice has two gradients to be added up.
        and len(parts) == len(module)  # type: ignore[arg-type]
        and len(parameters) == sum(len([*part.parameters()]) for part in parts)
        and {p.device.type for p in parameters} == {"cpu"}
        and {p.dtype for p in parameters} in ({torch.float32}, {torch.float64})
    )


def _is_known(part: nn.Module) -> bool:
    if type(part) is nn.BatchNorm1d:
        moves = part.track_running_stats and part.momentum is not None
        return part.affine and moves
    return type(part) is nn.Linear or type(part) in _ELEMENTWISE


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
        parts = [*module.children()]
        self._parts = parts
        self._norms = [part for part in parts if isinstance(part, nn.BatchNorm1d)]
        self._hooks = [
            *_GLOBAL_HOOKS,
            *(vars(p)[name] for p in (module, criterion, *parts) for name in _HOOKS),
        ]
        self._layers: dict[int, list[Any]] = {}

    def _backward(
        self, X: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if not self._applies(X):
            return super()._backward(X, y, weight)
        n_rows = len(X)
        if n_rows not in self._layers:
            self._layers[n_rows] = _layers(self._parts, n_rows)
        layers = self._layers[n_rows]
        with torch.no_grad():
            output = X
            for layer in layers:
                output = layer.forward(output)
            loss, grad = _loss_and_grad(self.criterion, output, y, weight)
            for layer in reversed(layers):
                grad = layer.backward(grad)
        return loss, output

    def _applies(self, X: Tensor) -> bool:
        return (
            not any(self._hooks)
            and not self.amp
            and X.dtype == self.parameters[0].dtype
            # Where statistics are frozen, or can't be taken.
            and all(norm.training and len(X) > 1 for norm in self._norms)
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
    if type(criterion) is CrossEntropy and not criterion.label_smoothing:
        return _cross_entropy(output, target, weight)
    if type(criterion) is SquaredError:
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


# -- layers ----------------------------------------------------------------------------


def _layers(parts: list[nn.Module], n_rows: int) -> list[Any]:
    """Return the layers with the memory that they need for so many rows."""
    layers: list[Any] = []
    for part in parts:
        if isinstance(part, nn.Linear):
            layers.append(_Linear(part, n_rows, is_first=not layers))
        elif isinstance(part, nn.BatchNorm1d):
            layers.append(_BatchNorm(part, n_rows))
        else:
            layers.append(_Elementwise(part, layers[-1]))
    return layers


class _Linear:
    def __init__(self, part: nn.Linear, n_rows: int, *, is_first: bool) -> None:
        self.weight, self.bias = part.weight, part.bias
        new = self.weight.new_empty
        self.output = new(n_rows, part.out_features)
        # Nobody asks for that of the table.
        self.grad_input = None if is_first else new(n_rows, part.in_features)
        self.grad_weight = new(part.weight.shape)
        self.grad_bias = new(part.out_features)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        if self.bias is None:
            return torch.mm(x, self.weight.t(), out=self.output)
        return torch.addmm(self.bias, x, self.weight.t(), out=self.output)

    def backward(self, grad: Tensor) -> Tensor | None:
        self.weight.grad = torch.mm(grad.t(), self.x, out=self.grad_weight)
        if self.bias is not None:
            self.bias.grad = torch.sum(grad, 0, out=self.grad_bias)
        if self.grad_input is None:
            return None
        return torch.mm(grad, self.weight, out=self.grad_input)


class _BatchNorm:
    def __init__(self, part: nn.BatchNorm1d, n_rows: int) -> None:
        self.part = part
        # Asking the layer for them takes its time, in every step again.
        self.weight, self.bias = part.weight, part.bias
        self.running: Any = (part.running_mean, part.running_var)
        self.count: Any = part.num_batches_tracked
        new = part.weight.new_empty
        self.output = new(n_rows, part.num_features)
        self.mean, self.inverse_std = new(part.num_features), new(part.num_features)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self.count.add_(1)
        _aten.native_batch_norm.out(
            x, self.weight, self.bias, *self.running,
            True, self.part.momentum, self.part.eps,
            out=self.output, save_mean=self.mean, save_invstd=self.inverse_std,
        )  # fmt: skip
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        # There is no kernel for this that writes into given memory.
        grad_input, self.weight.grad, self.bias.grad = _aten.native_batch_norm_backward(
            grad, self.x, self.weight, *self.running,
            self.mean, self.inverse_std, True, self.part.eps, (True, True, True),
        )  # fmt: skip
        return grad_input


class _Elementwise:
    def __init__(self, part: nn.Module, before: Any) -> None:
        self.part = part
        self._forward, self._backward = _ELEMENTWISE[type(part)]
        # Over its input, if neither its slopes nor the layer before need that again.
        in_place = type(part) in _SLOPES_BY_OUTPUT and type(before) is not _Elementwise
        self.output = before.output if in_place else torch.empty_like(before.output)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self._forward(self.part, x, self.output)
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        # In its own memory: the layer behind, or the loss, is done with it.
        self._backward(self.part, self.x, self.output, grad)
        return grad


# What writes the values at x into y, and what multiplies a gradient g by the slopes.
_ELEMENTWISE: dict[type[nn.Module], tuple[Callable, Callable]] = {
    nn.ReLU: (
        lambda part, x, y: torch.clamp_min(x, 0, out=y),
        lambda part, x, y, g: _aten.threshold_backward.grad_input(
            g, y, 0, grad_input=g
        ),
    ),
    nn.LeakyReLU: (
        lambda part, x, y: _aten.leaky_relu.out(x, part.negative_slope, out=y),
        lambda part, x, y, g: _aten.leaky_relu_backward.grad_input(
            g, x, part.negative_slope, False, grad_input=g
        ),
    ),
    nn.Sigmoid: (
        lambda part, x, y: torch.sigmoid(x, out=y),
        lambda part, x, y, g: _aten.sigmoid_backward.grad_input(g, y, grad_input=g),
    ),
    nn.Tanh: (
        lambda part, x, y: torch.tanh(x, out=y),
        lambda part, x, y, g: _aten.tanh_backward.grad_input(g, y, grad_input=g),
    ),
    nn.GELU: (
        lambda part, x, y: _aten.gelu.out(x, approximate=part.approximate, out=y),
        lambda part, x, y, g: _aten.gelu_backward.grad_input(
            g, x, approximate=part.approximate, grad_input=g
        ),
    ),
    nn.SiLU: (
        lambda part, x, y: _aten.silu.out(x, out=y),
        lambda part, x, y, g: _aten.silu_backward.grad_input(g, x, grad_input=g),
    ),
}
_SLOPES_BY_OUTPUT = {nn.ReLU, nn.Sigmoid, nn.Tanh}
