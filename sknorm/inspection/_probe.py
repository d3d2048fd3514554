"""The signal in a network, layer by layer, measured while rows go through it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sknorm.neural_network._losses import Loss
from sknorm.nn.activations import Activation
from sknorm.nn.members import (
    BatchEnsembleLinear,
    MemberLinear,
    MemberRows,
    StackedMembers,
    _MemberColumns,
)
from sknorm.nn.norms import BatchRenorm, needs_batch_statistics
from sknorm.nn.tabular import ParametricActivation
from sknorm.nn.tabular._body import ResidualBlock

__all__ = ["UNKNOWN", "LayerSignal", "Table", "flat_share", "probe"]

# Rows and units that statistics are taken of, evenly spaced: a unit's deviation is then
# right to 2 %, and the statistics of a layer cost no more than the layer.
_ROWS, _ROWS_OF_PAIRS, _UNITS_OF_PAIRS = 2048, 512, 256

# Where the slope of an activation is below this share of its steepest, gradients are
# as good as lost.
_FLAT = 0.05
_REACH, _STEPS_A_UNIT = 24, 64

# Weights of two units that differ by less, beside the largest, are the same.
_TWIN = 1e-6


class Table(NamedTuple):
    """What is known of numbers that stand in columns: inputs, or one layer's units."""

    units: int
    """Number of columns."""
    mean: float
    """Mean of all numbers."""
    std: float
    """Standard deviation of all numbers."""
    mean_square: float
    """Mean of their squares."""
    offset: float
    """Mean over columns of (mean / std)^2, its root: how far columns are off zero."""
    shift: float
    """Mean of all numbers in units of their standard deviation."""
    effective_rank: float
    """Number of directions the columns vary in, by participation ratio."""
    correlation: float
    """Mean absolute correlation between columns."""
    finite: bool
    """Whether all numbers are finite."""


UNKNOWN = Table(0, *(math.nan,) * 7, finite=False)


@dataclass
class LayerSignal:
    """What reached a linear layer's units, and what came back."""

    name: str
    """Name of the linear layer in the network."""
    fan_in: int
    """Number of inputs."""
    weight_std: float = math.nan
    """Standard deviation of the weights."""
    sigma_w: float = math.nan
    """Root of fan-in times the mean square of the weights."""
    sigma_b: float = math.nan
    """Root mean square of the biases."""
    twins: float = 0.0
    """Share of units that have the weights of another one."""
    blank: bool = False
    """Whether all weights are zero."""
    finite_weights: bool = True
    """Whether all weights are finite."""
    input_mean_square: float = math.nan
    """Mean square of what the layer is fed."""
    activation: str = ""
    """Name of what bends its outputs, empty if nothing does."""
    norm: str = ""
    """Name of the norm layer's class, empty if there is none."""
    norm_is_before: bool = False
    """Whether it stands before the activation."""
    batch_statistics: int = 0
    """Rows the norm takes statistics over, at most; -1 for the batch, 0 for none."""
    signal: Table | None = None
    """Pre-activations."""
    sweet_spot: float = math.nan
    """Share of pre-activations in the activation's sweet spot."""
    flat: float = math.nan
    """Share of pre-activations where the activation is flat."""
    dead: float = math.nan
    """Share of units for which all are."""
    grad_std: float = math.nan
    """Standard deviation of a row's gradient with respect to pre-activations."""
    grad_norm: float = math.nan
    """Root mean square over rows of its length."""
    update: float = math.nan
    """Length of one step's change of the weights, beside theirs."""
    sample: Tensor | None = field(default=None, repr=False)
    """Pre-activations of some rows, if they were asked for."""


def probe(
    network: nn.Module,
    X: Tensor,
    y: Tensor | None,
    criterion: Loss,
    activation: Activation,
    *,
    weight: Tensor | None = None,
    optimizer: Callable[[], Any] | None = None,
    batch_statistics: bool = False,
    keep: bool = False,
    pairs: bool = True,
) -> tuple[Table, list[LayerSignal]]:
    """Send rows forward and a gradient back, and measure at each layer.

    Parameters
    ----------
    network : nn.Module
        From :mod:`sknorm.nn`. It gets gradients and, with an optimizer, other weights:
        pass a copy.
    X : Tensor of shape (n_rows, n_columns)
        What it is given.
    y : Tensor, default=None
        Coded targets. Without them, the gradient is that of random directions of
        length 1 of the outputs, which shows what the layers do to any gradient.
    criterion : Loss
        What is minimised.
    activation : Activation
        What stands between the layers.
    weight : Tensor of shape (n_rows,), default=None
        Weights of the rows.
    optimizer : callable, default=None
        Makes the network's optimizer, to measure one step, or None.
    batch_statistics : bool, default=False
        Whether norm layers that take statistics over a batch take them over ``X``,
        instead of those they have learned.
    keep : bool, default=False
        Whether pre-activations of some rows are kept.
    pairs : bool, default=True
        Whether units are compared with each other, for rank and correlation.

    Returns
    -------
    inputs : Table
        What the first layer is fed.
    layers : list of LayerSignal
        A layer for each linear one, in the order in which rows reach them.
    """
    network.eval()
    for part in network.modules():
        if batch_statistics and needs_batch_statistics(part):
            part.train()
    listener = _Listener(activation, keep=keep, pairs=pairs)
    with ExitStack() as hooks, torch.enable_grad():
        for name, part in _parts(network):
            for handle in listener.listen(name, part):
                hooks.callback(handle.remove)
        output = network(X)
        made = None if y is None or optimizer is None else optimizer()
        for parameter in network.parameters():
            parameter.grad = None
        _value(output, y, criterion, weight).backward()
    listener.finish(len(X))
    layers = listener.layers
    if made is not None:
        _measure_step(layers, listener.linears, made)
    if listener.inputs is None:
        raise ValueError(f"The network has no linear layer to measure at: {network!r}.")
    return listener.inputs, layers


def _value(
    output: Tensor, y: Tensor | None, criterion: Loss, weight: Tensor | None
) -> Tensor:
    if y is not None:
        return criterion(output, y, weight)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    direction = direction / direction.flatten(1).norm(dim=1).mean()
    return (output * direction.to(output.device)).sum() / len(output)


# -- the parts of a network ------------------------------------------------------------

_LINEARS = (nn.Linear, BatchEnsembleLinear, MemberLinear)


def _is_linear(part: nn.Module) -> bool:
    if isinstance(part, StackedMembers):
        return isinstance(part.template, nn.Linear)
    return isinstance(part, _LINEARS)


def _parts(network: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield what a network's hidden layers and its last one are made of."""
    if not hasattr(network, "named_linears"):
        yield from _links(network, "")
        return
    body, name = network.body, "body"
    if isinstance(body, MemberRows):
        body, name = body.layer, "body.layer"
    yield from _links(body, name)
    yield "head", network.head


def _links(chain: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a chain, whole: what is in a user's own is its own affair."""
    for child_name, child in chain.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if isinstance(child, ResidualBlock):
            yield from _links(child, path)
        else:
            yield path, child


def _inside(part: nn.Module) -> nn.Module:
    """Return the layer that one for many members is made of, or the layer itself."""
    while isinstance(part, (StackedMembers, MemberRows, _MemberColumns)):
        part = part.template if isinstance(part, StackedMembers) else part.layer
    return part


def _is_silent(part: nn.Module) -> bool:
    """Tell whether a part does nothing, at least not to a network that predicts."""
    if isinstance(part, nn.Sequential):
        return all(map(_is_silent, part))
    return isinstance(part, (nn.Identity, nn.modules.dropout._DropoutNd))


def _batch_statistics(norm: nn.Module) -> int:
    """Return of how many rows a norm takes statistics, -1 for a batch, 0 for none."""
    counts = [
        getattr(part, "virtual_batch_size", -1)
        for part in norm.modules()
        if needs_batch_statistics(part) and not _is_corrected(part)
    ]
    return min((n for n in counts if n > 0), default=min(counts, default=0))


def _is_corrected(part: nn.Module) -> bool:
    """Tell whether a norm has come to correct statistics by those of all batches."""
    return (
        isinstance(part, BatchRenorm)
        and int(part.num_batches_tracked) >= 2 * part.warm_up
    )


class _Listener:
    """Takes down what passes, in the order in which it passes."""

    def __init__(self, activation: Activation, *, keep: bool, pairs: bool) -> None:
        self.activation = activation
        self.keep, self.pairs = keep, pairs
        self.layers: list[LayerSignal] = []
        self.linears: list[nn.Module] = []
        self.inputs: Table | None = None
        self._bends = type(activation.module())
        self._grads: dict[int, Tensor] = {}
        self._hooks: dict[int, Any] = {}
        self._pending: Tensor | None = None

    def listen(self, name: str, part: nn.Module) -> Iterator[Any]:
        """Attach hooks to a part, and yield their handles."""
        if _is_linear(part):
            yield part.register_forward_hook(functools.partial(self._linear, name))
        elif self._is_activation(part):
            yield part.register_forward_pre_hook(self._activation)
        elif not _is_silent(part):
            yield part.register_forward_hook(self._norm)

    def _is_activation(self, part: nn.Module) -> bool:
        return isinstance(_inside(part), (self._bends, ParametricActivation))

    def _linear(self, name: str, part: Any, given: tuple, output: Tensor) -> None:
        self._settle()
        layer = LayerSignal(name, given[0].shape[-1])
        _describe_weights(layer, part)
        if self.inputs is None:
            self.inputs = _describe(given[0], self.pairs)
        layer.input_mean_square = float(_some_rows(given[0]).square().mean())
        self.layers.append(layer)
        self.linears.append(part)
        self._pending = output
        self._follow(output)

    def _norm(self, part: Any, given: tuple, output: Tensor) -> None:
        if not self.layers:
            return
        layer = self.layers[-1]
        layer.norm = type(_inside(part)).__name__
        layer.norm_is_before = not layer.activation
        layer.batch_statistics = _batch_statistics(part)

    def _activation(self, part: Any, given: tuple) -> None:
        # Before what may work in place does.
        if not self.layers or self.layers[-1].activation:
            return
        layer = self.layers[-1]
        layer.activation = self.activation.name
        self._pending = None
        self._measure(layer, given[0])
        self._follow(given[0])

    def _settle(self) -> None:
        """Measure the last layer at its own outputs, if nothing has bent them."""
        if self._pending is not None:
            self._measure(self.layers[-1], self._pending)
            self._pending = None

    def _follow(self, signal: Tensor) -> None:
        """Keep the gradient that comes back to the last layer's pre-activations."""
        index = len(self.layers) - 1
        if index in self._hooks:  # At the layer's outputs, which something has bent.
            self._hooks.pop(index).remove()
        if signal.requires_grad:
            came_back = functools.partial(self._grads.__setitem__, index)
            self._hooks[index] = signal.register_hook(came_back)

    def _measure(self, layer: LayerSignal, signal: Tensor) -> None:
        layer.signal = _describe(signal, self.pairs)
        rows = _columns(_some_rows(signal))
        if self.keep:
            layer.sample = rows
        if not layer.activation:
            return
        try:
            low, high = self.activation.sweet_spot
            flat = _flat_at(self.activation, rows)
        except ValueError:  # Not elementwise: there is no such place.
            return
        layer.sweet_spot = float(((rows >= low) & (rows <= high)).double().mean())
        layer.flat = float(flat.double().mean())
        layer.dead = float(flat.all(dim=0).double().mean())

    def finish(self, n_rows: int) -> None:
        """Take down what came back, when all has."""
        self._settle()
        for index, grad in self._grads.items():
            self._take_gradient(self.layers[index], grad, n_rows)

    @staticmethod
    def _take_gradient(layer: LayerSignal, grad: Tensor, n_rows: int) -> None:
        # That of a row's own loss: the mean over rows has made it smaller.
        grad = _some_rows(grad).double() * n_rows
        mean_square = float(grad.square().mean())
        variance = mean_square - float(grad.mean().square())
        # Rounding may leave less than nothing; NaN stays.
        layer.grad_std = math.sqrt(variance if not variance < 0 else 0.0)
        layer.grad_norm = math.sqrt(mean_square * grad.shape[-1])


# -- numbers ---------------------------------------------------------------------------


def _some_rows(signal: Tensor) -> Tensor:
    step = -(-len(signal) // _ROWS)
    return signal.detach()[::step]


def _columns(signal: Tensor) -> Tensor:
    """Return float64 rows by units; the units of members stand side by side."""
    return signal.double().flatten(1)


def _describe(signal: Tensor, pairs: bool) -> Table:
    some = _some_rows(signal)
    rows = _columns(some)
    means = rows.mean(dim=0)
    variance = (rows - means).square().mean(dim=0)
    if not bool(variance.isfinite().all()):
        return UNKNOWN._replace(units=rows.shape[1])
    # A float's power raises where it overflows, and a tensor's doesn't.
    mean_squared = float(means.mean().square())
    mean, within = float(means.mean()), float(variance.mean())
    between = float(means.var(correction=0))
    varies = variance > 1e-20 * means.square()
    offset = (means.square() / variance)[varies].mean() if bool(varies.any()) else 0.0
    rank, correlation = math.nan, math.nan
    if pairs:
        rank, correlation = _directions(
            (some[:, 0] if some.ndim == 3 else some).double()
        )
    std = math.sqrt(within + between)
    return Table(
        units=rows.shape[1],
        mean=mean,
        std=std,
        mean_square=mean_squared + within + between,
        offset=math.sqrt(float(offset)),
        shift=abs(mean) / std if std else (math.inf if mean else 0.0),
        effective_rank=rank,
        correlation=correlation,
        finite=True,
    )


def _directions(rows: Tensor) -> tuple[float, float]:
    """Return the participation ratio of the columns and their mean correlation."""
    step = -(-len(rows) // _ROWS_OF_PAIRS)
    rows = rows[::step, :_UNITS_OF_PAIRS]
    rows = rows - rows.mean(dim=0)
    norms = rows.norm(dim=0)
    rows, norms = rows[:, norms > 0], norms[norms > 0]
    if not len(norms):
        return 0.0, math.nan
    # By the largest first, so that squares don't overflow.
    rows = rows / norms.max()
    norms = norms / norms.max()
    gram = rows.T @ rows
    rank = float(norms.square().sum() ** 2 / gram.square().sum())
    n = len(norms)
    if n == 1:
        return rank, math.nan
    correlations = (gram / torch.outer(norms, norms)).abs()
    return rank, float((correlations.sum() - n) / (n * (n - 1)))


@functools.lru_cache(maxsize=32)
def _flatness(activation: Activation) -> Tensor:
    """Tell for each point of a grid whether the activation is flat there."""
    from sknorm.nn._quadrature import slope

    grid = torch.arange(
        -_REACH * _STEPS_A_UNIT, _REACH * _STEPS_A_UNIT + 1, dtype=torch.float64
    )
    # Between the points: at a kink the slope is a convention.
    steepness = slope(activation.function, (grid + 0.5) / _STEPS_A_UNIT).abs()
    return steepness <= _FLAT * steepness.max()


def _flat_at(activation: Activation, z: Tensor) -> Tensor:
    table = _flatness(activation)
    place = (z * _STEPS_A_UNIT).floor().nan_to_num(0.0, 0.0, 0.0)
    reach = _REACH * _STEPS_A_UNIT
    return table.to(z.device)[place.clamp(-reach, reach).long() + reach]


@functools.lru_cache(maxsize=32)
def flat_share(activation: Activation) -> tuple[float, bool]:
    """Return how much of N(0, 1) an activation is flat at, and whether on both sides.

    Parameters
    ----------
    activation : Activation
        An elementwise one.

    Returns
    -------
    share : float
        In [0, 1]: 0.5 for ReLU, 0.03 for tanh.
    both : bool
        Whether it is flat far out on either side.
    """
    table = _flatness(activation)
    edges = torch.linspace(-_REACH, _REACH, len(table), dtype=torch.float64)
    density = torch.exp(-((edges + 0.5 / _STEPS_A_UNIT) ** 2) / 2)
    share = float((density * table).sum() / density.sum())
    return share, bool(table[0] and table[-1])


# -- weights ---------------------------------------------------------------------------


def _weights(part: Any) -> list[Tensor]:
    """Return the weights of the models that a linear layer holds."""
    if isinstance(part, StackedMembers):
        return list(dict(part.named_parameters())[part.own_name("weight")].detach())
    if isinstance(part, MemberLinear):
        return list(part.weight.detach())
    layer: Any = part.shared if isinstance(part, BatchEnsembleLinear) else part
    if hasattr(layer, "normalized_weight"):
        with torch.no_grad():
            return [layer.normalized_weight()]
    return [layer.weight.detach()]


def _describe_weights(layer: LayerSignal, part: Any) -> None:
    weights = torch.stack(_weights(part)).double()
    layer.finite_weights = bool(weights.isfinite().all())
    layer.blank = not bool(weights.any())
    layer.weight_std = float(weights.std(correction=0))
    squares = weights.square()
    if isinstance(part, BatchEnsembleLinear):
        # Member i has the weight W * outer(s_i, r_i).
        r, s = part.r.detach().double().square(), part.s.detach().double().square()
        total = torch.einsum("ko,oi,ki->", s, squares[0], r) / len(r)
        layer.sigma_w = math.sqrt(float(total) / s.shape[1])
    else:
        layer.sigma_w = math.sqrt(float(squares.mean()) * weights.shape[-1])
    bias = getattr(part, "bias", None)
    if isinstance(bias, Tensor):
        layer.sigma_b = math.sqrt(float(bias.detach().double().square().mean()))
        if isinstance(part, nn.Linear):
            weights = torch.cat([weights, bias.detach().double()[None, :, None]], dim=2)
    layer.twins = _twins(weights[0]) if layer.finite_weights else 0.0


def _twins(rows: Tensor) -> float:
    """Return the share of rows that are the same as another one."""
    largest = float(rows.abs().max())
    steps = torch.round(rows / (_TWIN * largest)) if largest else rows
    # Sums with random factors are equal for equal rows, and else almost never are.
    factors = torch.rand(
        rows.shape[1], dtype=rows.dtype, generator=torch.Generator().manual_seed(0)
    )
    _, counts = torch.unique(steps @ factors.to(rows.device), return_counts=True)
    return float(counts[counts > 1].sum()) / len(rows)


def _measure_step(
    layers: list[LayerSignal], linears: list[nn.Module], optimizer: Any
) -> None:
    before = [[w.clone() for w in _weights(part)] for part in linears]
    optimizer.step()
    for layer, part, old in zip(layers, linears, before, strict=True):
        new = _weights(part)
        changed = sum(
            float((a - b).double().square().sum())
            for a, b in zip(new, old, strict=True)
        )
        size = sum(float(b.double().square().sum()) for b in old)
        layer.update = math.sqrt(changed / size) if size else math.nan
