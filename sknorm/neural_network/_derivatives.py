"""Layers with their derivatives written down, in memory that is used again.

Between layers there is one table: a row of it is a row of the batch, or that of one of
its members. The layers of a slice of the batch belong together; those of the slices
behind it share the gradients of the first, and what it works in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sknorm.nn._dropout import Dropout, random_bits
from sknorm.nn.members import BatchEnsembleLinear, MemberLinear, MemberScale

__all__ = ["Chain", "is_known"]

_aten = torch.ops.aten


def is_known(part: nn.Module) -> bool:
    """Tell whether there is a derivative here for a layer."""
    if type(part) is nn.BatchNorm1d:
        moves = part.track_running_stats and part.momentum is not None
        return part.affine and moves
    if type(part) is BatchEnsembleLinear:
        return type(part.shared) is nn.Linear
    return type(part) in _LAYERS or type(part) in _ELEMENTWISE


@dataclass(frozen=True)
class _Slice:
    """The rows that layers are made for."""

    n_rows: int
    n_members: int
    asks_inputs: bool
    """Whether somebody wants the gradient by what the first layer is fed."""
    adds: bool
    """Whether gradients are added to those of the slices before."""


class Chain:
    """Layers one after the other, for the batches of one size.

    Parameters
    ----------
    parts : sequence of nn.Module
        The layers, all of which :func:`is_known`.
    bounds : list of (int, int)
        The slices of the batch that go through them one by one.
    n_members : int
        How many networks they are.
    asks_inputs : bool
        Whether to return the gradient by the inputs.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        bounds: list[tuple[int, int]],
        n_members: int,
        *,
        asks_inputs: bool,
    ) -> None:
        self._bounds = bounds
        self._n_members = n_members
        self._slices: list[list[Any]] = []
        for start, stop in bounds:
            rows = _Slice(stop - start, n_members, asks_inputs, bool(self._slices))
            self._slices.append(
                _layers(parts, rows, self._slices[0] if self._slices else None)
            )
        self._drops = [i for i, part in enumerate(parts) if type(part) is Dropout]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, which the next call overwrites."""
        self._draw()
        outputs = []
        for (start, stop), layers in zip(self._bounds, self._slices, strict=True):
            output = x[start:stop]
            for layer in layers:
                output = layer.forward(output)
            outputs.append(output)
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        if self._n_members == 1:
            return output
        return output.view(len(x), self._n_members, -1)

    def backward(self, grad: Tensor) -> Tensor | None:
        """Give parameters their gradients, and return that by the inputs."""
        grads: list[Any] = []
        for (start, stop), layers in zip(self._bounds, self._slices, strict=True):
            part = grad[start:stop]
            if self._n_members > 1:
                part = part.flatten(0, 1)
            for layer in reversed(layers):
                part = layer.backward(part)
            if part is None:
                continue
            # The next slice works in the same memory.
            grads.append(part if len(self._bounds) == 1 else part.clone())
        return torch.cat(grads) if len(grads) > 1 else next(iter(grads), None)

    def _draw(self) -> None:
        """Draw for the whole batch, as the layers themselves would."""
        for i in self._drops:
            drops = [layers[i] for layers in self._slices]
            sizes = [drop.mask.numel() for drop in drops]
            for drop, bits in zip(
                drops, random_bits(sum(sizes)).split(sizes), strict=True
            ):
                drop.choose(bits)


def _layers(
    parts: Sequence[nn.Module], rows: _Slice, first: list[Any] | None
) -> list[Any]:
    layers: list[Any] = []
    for i, part in enumerate(parts):
        make = _LAYERS.get(type(part), _Elementwise)
        before = layers[-1] if layers else None
        layers.append(make(part, rows, before, None if first is None else first[i]))
    return layers


def _put_sum(values: Tensor, total: Tensor, adds: bool) -> Tensor:
    """Write, or add, the sum over rows."""
    return total.add_(values.sum(0)) if adds else torch.sum(values, 0, out=total)


def _put_product(left: Tensor, right: Tensor, total: Tensor, adds: bool) -> Tensor:
    """Write, or add, a product of matrices."""
    if adds:
        return torch.addmm(total, left, right, out=total)
    return torch.mm(left, right, out=total)


class _Linear:
    def __init__(self, part: nn.Linear, rows: _Slice, before: Any, first: Any) -> None:
        self.weight, self.bias = part.weight, part.bias
        self.adds = rows.adds
        new = self.weight.new_empty
        # With a table of each member, unless there is but one that is fed to all.
        n_rows = rows.n_rows if before is None else len(before.output)
        self.output = new(n_rows, part.out_features)
        self.grad_input: Tensor | None = None
        if before is not None or rows.asks_inputs:
            self.grad_input = (
                new(n_rows, part.in_features)
                if first is None
                else first.grad_input[:n_rows]
            )
        if first is None:
            self.grad_weight = new(part.weight.shape)
            self.grad_bias = new(part.out_features)
        else:
            self.grad_weight, self.grad_bias = first.grad_weight, first.grad_bias

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        if self.bias is None:
            return torch.mm(x, self.weight.t(), out=self.output)
        return torch.addmm(self.bias, x, self.weight.t(), out=self.output)

    def backward(self, grad: Tensor) -> Tensor | None:
        self.weight.grad = _put_product(grad.t(), self.x, self.grad_weight, self.adds)
        if self.bias is not None:
            self.bias.grad = _put_sum(grad, self.grad_bias, self.adds)
        if self.grad_input is None:
            return None
        return torch.mm(grad, self.weight, out=self.grad_input)


class _Members:
    """What layers of members have in common: how tables become theirs."""

    def __init__(
        self, n_inputs: int, rows: _Slice, before: Any, first: Any, like: Tensor
    ) -> None:
        self.adds = rows.adds
        self.shape = (rows.n_rows, rows.n_members)
        self.is_fed_one = before is None
        self._first = first
        self._new = like.new_empty
        # Two for all slices: they are worked on one after the other.
        self.grad_input = self._shared("grad_input", n_inputs)
        self.scratch = self._shared("scratch", n_inputs)

    def _shared(self, name: str, width: int) -> Tensor:
        if self._first is not None:
            return getattr(self._first, name)[: self.shape[0]]
        return self._new(*self.shape, width)

    def _like(self, name: str, parameter: Tensor) -> Tensor:
        """Return the memory of a parameter's gradient."""
        if self._first is not None:
            return getattr(self._first, name)
        return torch.empty_like(parameter)

    def _by_member(self, x: Tensor) -> Tensor:
        """Return (rows, members, columns), with one member if all are fed the same."""
        if self.is_fed_one and x.ndim == 2:
            return x.unsqueeze(1)
        return x.view(*self.shape, -1)

    def _to_input(self, grad: Tensor) -> Tensor:
        """Return the gradient by what was fed to all, or to each."""
        return grad.sum(1) if self.x.shape[1] == 1 else grad.flatten(0, 1)

    x: Tensor


class _Scale(_Members):
    def __init__(
        self, part: MemberScale, rows: _Slice, before: Any, first: Any
    ) -> None:
        self.r = part.r
        super().__init__(part.r.shape[1], rows, before, first, part.r)
        self.grad_r = self._like("grad_r", part.r)
        self.scaled = self._new(*self.shape, part.r.shape[1])
        self.output = self.scaled.flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.x = self._by_member(x)
        torch.mul(self.x, self.r, out=self.scaled)
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        grad = grad.view(*self.shape, -1)
        products = torch.mul(grad, self.x, out=self.scratch)
        self.r.grad = _put_sum(products, self.grad_r, self.adds)
        return self._to_input(torch.mul(grad, self.r, out=self.grad_input))


class _BatchEnsemble(_Members):
    def __init__(
        self, part: BatchEnsembleLinear, rows: _Slice, before: Any, first: Any
    ) -> None:
        self.weight = part.shared.weight
        self.r, self.s, self.bias = part.r, part.s, part.bias
        super().__init__(part.in_features, rows, before, first, self.weight)
        self.product = self._new(*self.shape, part.out_features)
        self.shifted = self._new(*self.shape, part.out_features)
        self.output = self.shifted.flatten(0, 1)
        self.grad_weight = self._like("grad_weight", self.weight)
        self.grad_r = self._like("grad_r", self.r)
        self.grad_s = self._like("grad_s", self.s)
        self.grad_bias = self._like("grad_bias", self.bias)

    def forward(self, x: Tensor) -> Tensor:
        self.x = self._by_member(x)
        scaled = torch.mul(self.x, self.r, out=self.scratch)
        torch.mm(scaled.flatten(0, 1), self.weight.t(), out=self.product.flatten(0, 1))
        torch.addcmul(self.bias, self.product, self.s, out=self.shifted)
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        grad = grad.view(*self.shape, -1)
        self.bias.grad = _put_sum(grad, self.grad_bias, self.adds)
        self.s.grad = _put_sum(self.product.mul_(grad), self.grad_s, self.adds)
        # In its own memory: the layer behind is done with it.
        grad = grad.mul_(self.s).flatten(0, 1)
        # Again, as it is cheaper than to have kept it.
        scaled = torch.mul(self.x, self.r, out=self.scratch).flatten(0, 1)
        self.weight.grad = _put_product(grad.t(), scaled, self.grad_weight, self.adds)
        torch.mm(grad, self.weight, out=self.grad_input.flatten(0, 1))
        products = torch.mul(self.grad_input, self.x, out=self.scratch)
        self.r.grad = _put_sum(products, self.grad_r, self.adds)
        return self._to_input(self.grad_input.mul_(self.r))


class _MemberLinear(_Members):
    def __init__(
        self, part: MemberLinear, rows: _Slice, before: Any, first: Any
    ) -> None:
        self.weight, self.bias = part.weight, part.bias
        super().__init__(part.in_features, rows, before, first, self.weight)
        self.result = self._new(*self.shape, part.out_features)
        self.output = self.result.flatten(0, 1)
        self.grad_weight = self._like("grad_weight", self.weight)
        self.grad_bias = self._like("grad_bias", self.bias)

    def forward(self, x: Tensor) -> Tensor:
        self.x = self._by_member(x)
        torch.baddbmm(
            self.bias[:, None],
            self.x.transpose(0, 1).expand(self.shape[1], -1, -1),
            self.weight.transpose(1, 2),
            out=self.result.transpose(0, 1),
        )
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        grad = grad.view(*self.shape, -1)
        self.bias.grad = _put_sum(grad, self.grad_bias, self.adds)
        each = self.x.transpose(0, 1).expand(self.shape[1], -1, -1)
        self.weight.grad = torch.baddbmm(
            self.grad_weight,
            grad.permute(1, 2, 0),
            each,
            beta=float(self.adds),
            out=self.grad_weight,
        )
        torch.bmm(
            grad.transpose(0, 1), self.weight, out=self.grad_input.transpose(0, 1)
        )
        return self._to_input(self.grad_input)


class _BatchNorm:
    def __init__(
        self, part: nn.BatchNorm1d, rows: _Slice, before: Any, first: Any
    ) -> None:
        self.part = part
        # Asking the layer for them takes its time, in every step again.
        self.weight, self.bias = part.weight, part.bias
        self.running: Any = (part.running_mean, part.running_var)
        self.count: Any = part.num_batches_tracked
        new = part.weight.new_empty
        self.output = torch.empty_like(before.output)
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


class _Dropout:
    def __init__(self, part: Dropout, rows: _Slice, before: Any, first: Any) -> None:
        self.part = part
        self.mask = torch.empty_like(before.output)
        # Over its input, unless the layer before needs that for its slopes. Those of a
        # ReLU are told by what is not 0, and where it is no gradient comes back.
        kept = isinstance(before, _Elementwise) and before.bends_by_output
        self.output = torch.empty_like(before.output) if kept else before.output

    def choose(self, bits: Tensor) -> None:
        self.part.fill_mask(bits.view_as(self.mask), self.mask)

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.mask, out=self.output)

    def backward(self, grad: Tensor) -> Tensor:
        return grad.mul_(self.mask)


class _Elementwise:
    def __init__(self, part: nn.Module, rows: _Slice, before: Any, first: Any) -> None:
        self.part = part
        self._forward, self._backward = _ELEMENTWISE[type(part)]
        self.bends_by_output = type(part) in (nn.Sigmoid, nn.Tanh)
        # Over its input, if neither its slopes nor the layer before need that again.
        writes_over = not isinstance(before, (_Elementwise, _Dropout))
        in_place = type(part) in _SLOPES_BY_OUTPUT and writes_over
        self.output = before.output if in_place else torch.empty_like(before.output)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self._forward(self.part, x, self.output)
        return self.output

    def backward(self, grad: Tensor) -> Tensor:
        # In its own memory: the layer behind, or the loss, is done with it.
        self._backward(self.part, self.x, self.output, grad)
        return grad


_LAYERS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    Dropout: _Dropout,
    MemberScale: _Scale,
    BatchEnsembleLinear: _BatchEnsemble,
    MemberLinear: _MemberLinear,
}

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
