"""What networks share: layers without values, and how a scheme fills them."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sknorm.nn._dropout import Dropout
from sknorm.nn.activations import Activation
from sknorm.nn.initializers import LSUV, Initializer
from sknorm.nn.initializers._scheme import Position
from sknorm.nn.norms import Norm, needs_batch_statistics

__all__ = [
    "SAMPLE_ROWS",
    "Site",
    "View",
    "block",
    "dropout_after",
    "empty_linear",
    "fill",
    "position",
    "scale_by_data",
    "spread_hinges",
    "views",
]

# Enough rows for a variance that is right to about 5 %, half of LSUV's tolerance.
SAMPLE_ROWS = 1024


@dataclass(frozen=True)
class View:
    """One model's part of a linear layer, as a scheme sees it.

    Parameters
    ----------
    weight : Tensor of shape (out_features, in_features)
        What the scheme fills.
    bias : Tensor of shape (n_alike, out_features)
        Biases that go with it, more than one if members share the weight.
    apply : callable
        What the model makes of the layer's input.
    """

    weight: Tensor
    bias: Tensor
    apply: Callable[[Tensor], Tensor]


def views(layer: Any) -> list[View]:
    """Return a linear layer as the models that are in it; most hold one."""
    if isinstance(layer, nn.Linear):
        return [View(layer.weight, layer.bias.detach()[None], layer.forward)]
    return layer.views()


@dataclass(frozen=True)
class Site:
    """A linear layer, and what its input is to a scheme."""

    layer: nn.Module
    position: Position


def position(index: int, count: int, inputs_normalized: bool) -> Position:
    """Tell a scheme what feeds the layer: standardized numbers, or activations."""
    if index == 0 or inputs_normalized:
        return "input"
    return "output" if index == count - 1 else "hidden"


def empty_linear(fan_in: int, fan_out: int, dtype: torch.dtype) -> nn.Linear:
    """Make a linear layer whose weights are still to be filled."""
    # skip_init: nn.Linear's own draw would be thrown away and move the global RNG.
    return nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)


def block(
    activation: nn.Module, norm: nn.Module | None, norm_position: str
) -> Iterator[nn.Module]:
    """Yield an activation, with the norm layer on the side asked for."""
    if norm is not None and norm_position == "before":
        yield norm
    yield activation
    if norm is not None and norm_position == "after":
        yield norm


def dropout_after(activation: nn.Module, share: float) -> list[nn.Module]:
    """Make the dropout that goes with an activation, none for a share of 0."""
    if share == 0:
        return []
    is_selu = isinstance(activation, nn.SELU)
    return [nn.AlphaDropout(share) if is_selu else Dropout(share)]


def _gain(phi: Activation) -> tuple[float, ValueError | None]:
    """Return the activation's gain, or NaN and why it has none.

    An activation that isn't elementwise is welcome with every scheme that doesn't ask
    for its gain; one that does refuses NaN, or fills the weights with it.
    """
    try:
        return phi.gain, None
    except ValueError as problem:
        return math.nan, problem


def fill(
    sites: Iterable[Site],
    scheme: Initializer,
    bias_scheme: Initializer | None,
    *,
    phi: Activation,
    norm: Norm,
    generator: torch.Generator | None,
) -> None:
    """Fill every weight and bias, first layer to last."""
    gain, problem = _gain(phi)
    for site in sites:
        for view in views(site.layer):
            try:
                bound = scheme.bind(
                    phi=lambda z: phi.function(z),
                    gain=gain,
                    position=site.position,
                    normalized=norm.acts_on != "nothing",
                )
                bound(view.weight, gain=gain, generator=generator)
            except (ValueError, RuntimeError) as error:
                raise problem or error from None
            if problem is not None and view.weight.isnan().any():
                raise problem
            bias, fan_in = view.bias[0], view.weight.shape[1]
            if bias_scheme is None:
                bound.init_bias(bias, fan_in=fan_in, generator=generator)
            else:
                bias_scheme.fill_bias(bias, fan_in=fan_in, generator=generator)
            view.bias[1:] = bias


@torch.no_grad()
def spread_hinges(
    weight: Tensor,
    bias: Tensor,
    norm: nn.Module | None,
    generator: torch.Generator | None,
) -> None:
    """Give the first hidden units biases as wide as what the data make of them.

    A norm layer that stands between them and the activation has the last word: its
    gamma and beta are then the weight and the bias.
    """
    gamma, beta = (getattr(norm, name, None) for name in ("weight", "bias"))
    if isinstance(gamma, Tensor) and isinstance(beta, Tensor):
        weight, bias = gamma, beta
    # Halves of the variance, so that their sum is what it was.
    weight.mul_(math.sqrt(0.5))
    bias.normal_(std=math.sqrt(0.5), generator=generator)


@torch.no_grad()
def scale_by_data(
    network: nn.Module, layers: Sequence[nn.Module], scheme: LSUV, rows: Tensor
) -> None:
    """Send rows through the network; a weight is rescaled when they reach its layer."""

    def rescale(layer: nn.Module, given: tuple[Tensor]) -> None:
        for view in views(layer):
            scheme.scale_(view.weight, functools.partial(view.apply, *given))

    # A copy, so that running statistics start from what they are; dropout stays off
    # because the scheme wants the signal without its noise.
    probe = copy.deepcopy(network).eval()
    for part in probe.modules():
        if needs_batch_statistics(part):
            part.train(len(rows) > 1)
    names = {part: name for name, part in network.named_modules()}
    twins = [probe.get_submodule(names[layer]) for layer in layers]
    for twin in twins:
        twin.register_forward_pre_hook(rescale)
    probe(rows)
    for layer, twin in zip(layers, twins, strict=True):
        for view, scaled in zip(views(layer), views(twin), strict=True):
            view.weight.copy_(scaled.weight)
