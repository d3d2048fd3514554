"""The hidden layers, of one network or of many in one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sknorm.nn import _layers
from sknorm.nn._layers import Site
from sknorm.nn.activations import Activation
from sknorm.nn.members import (
    BatchEnsembleLinear,
    MemberLinear,
    MemberRows,
    StackedMembers,
    member_norm,
)
from sknorm.nn.norms import Norm

__all__ = ["ParametricActivation"]


class ParametricActivation(nn.Module):
    r"""An activation that each unit mixes with the identity.

    Parameters
    ----------
    activation : nn.Module
        The activation :math:`f`.
    shape : tuple of int
        Shape of the mixture weights: ``(width,)``, or ``(n_members, width)``.
    dtype : torch.dtype, default=torch.float32
        Precision of the weights.

    Attributes
    ----------
    alpha : nn.Parameter
        The mixture weights, 1 at the start.

    Notes
    -----
    :math:`x + \alpha (f(x) - x)`, at a tenth of the learning rate.

    References
    ----------
    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
    MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.tabular import ParametricActivation
    >>> relu = ParametricActivation(torch.nn.ReLU(), (2,))
    >>> _ = relu.alpha.data.copy_(torch.tensor([1.0, 0.5]))
    >>> relu(torch.tensor([[-4.0, -4.0]])).tolist()
    [[0.0, -2.0]]
    """

    undecayed: ClassVar[frozenset[str]] = frozenset({"alpha"})
    lr_factor: ClassVar[float] = 0.1

    def __init__(
        self,
        activation: nn.Module,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.alpha = nn.Parameter(torch.ones(shape, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the activation with its input."""
        activated = self.activation(x)
        # From this side, so that a weight of 1 is the activation to the last digit.
        return torch.addcmul(activated, x - activated, 1.0 - self.alpha)


def has_parameters(module: nn.Module) -> bool:
    """Tell whether there is anything to learn in a module."""
    return any(True for _ in module.parameters())


class Split(nn.Module):
    """Give each member the same inputs, without copying them."""

    def __init__(self, n_members: int) -> None:
        super().__init__()
        self.n_members = n_members

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(-1, self.n_members, -1)

    def extra_repr(self) -> str:
        return f"n_members={self.n_members}"


@dataclass(frozen=True)
class Parts:
    """How the layers of a network are made, of one member or of several."""

    phi: Activation
    norm: Norm
    norm_position: str
    dropout: float
    parametric: bool
    n_members: int
    independent: bool
    dtype: torch.dtype

    def split(
        self, inputs: nn.Module, make_inputs: Callable[[], nn.Module]
    ) -> nn.Module:
        """Return inputs of all members, who learn their own if they share nothing."""
        split = Split(self.n_members)
        if not (self.independent and has_parameters(inputs)):
            return nn.Sequential(inputs, split)
        others = (make_inputs() for _ in range(self.n_members - 1))
        return nn.Sequential(split, StackedMembers([inputs, *others]))

    def linear(self, fan_in: int, fan_out: int, **scales: Any) -> nn.Module:
        """Make a linear layer; ``scales`` say how a batch ensemble's start."""
        if self.n_members == 1:
            return _layers.empty_linear(fan_in, fan_out, self.dtype)
        # What is drawn here is drawn again by the scheme: not from the same generator.
        blank = torch.Generator()
        if self.independent:
            return MemberLinear(
                fan_in, fan_out, self.n_members, generator=blank, dtype=self.dtype
            )
        return BatchEnsembleLinear(
            fan_in,
            fan_out,
            self.n_members,
            dtype=self.dtype,
            **{"generator": blank, **scales},
        )

    def normalize(self, width: int) -> nn.Module | None:
        """Make a norm layer, if it is the signal that is normalized."""
        if self.norm.acts_on != "signal":
            return None
        if self.n_members == 1:
            return self.norm.build(width).to(self.dtype)
        return member_norm(self.norm, width, self.n_members).to(self.dtype)

    def activate(self, width: int) -> nn.Module:
        """Make an activation, that of each member if it has something to learn."""
        activation = self.phi.module().to(self.dtype)
        if self.n_members > 1:
            if self.independent and has_parameters(activation):
                others = (self.phi.module() for _ in range(self.n_members - 1))
                activation = StackedMembers([activation, *others]).to(self.dtype)
            elif not self._is_elementwise:
                activation = MemberRows(activation)
        if not self.parametric:
            return activation
        shape = (width,) if self.n_members == 1 else (self.n_members, width)
        return ParametricActivation(activation, shape, self.dtype)

    @property
    def _is_elementwise(self) -> bool:
        try:
            return bool(self.phi.function)
        except ValueError:
            return False

    def drop(self) -> list[nn.Module]:
        """Make the dropout that goes with the activation, if there is any."""
        return _layers.dropout_after(self.phi.module(), self.dropout)

    def bend(self, width: int) -> list[nn.Module]:
        """Make an activation and its norm layer."""
        norm, activation = self.normalize(width), self.activate(width)
        return list(_layers.block(activation, norm, self.norm_position))


class ResidualBlock(nn.Module):
    """A signal, and what two layers make of it once it is normalized."""

    def __init__(self, parts: Parts, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = parts.normalize(width) or nn.Identity()
        self.first = parts.linear(width, hidden)
        self.activation = parts.activate(hidden)
        self.dropout = nn.Sequential(*parts.drop())
        self.second = parts.linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.first(self.norm(x))))
        return x + self.second(hidden)


@dataclass(frozen=True)
class Body:
    """Hidden layers, and what an initialiser has to know about them."""

    layers: nn.Sequential
    width: int
    sites: list[Site]
    head_position: Literal["input", "hidden", "output"]
    bends: nn.Module | None
    """The first layer whose outputs an activation bends, if there is any."""
    norm_behind: nn.Module | None
    """The norm layer between it and the activation, if there is one."""


def mlp(
    parts: Parts, in_features: int, sizes: tuple[int, ...], scales: dict[str, Any]
) -> Body:
    """Stack blocks ``linear - norm - activation - dropout``."""
    layers = nn.Sequential()
    linears = []
    widths = (in_features, *sizes)
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        linear = parts.linear(fan_in, fan_out, **(scales if index == 0 else {}))
        layers.extend([linear, *parts.bend(fan_out), *parts.drop()])
        linears.append(linear)
    on_signal = parts.norm.acts_on == "signal"
    after = on_signal and parts.norm_position == "after"
    before = on_signal and parts.norm_position == "before" and linears
    positions = [
        _layers.position(index, len(sizes) + 1, after)
        for index in range(len(sizes) + 1)
    ]
    return Body(
        layers=layers,
        width=widths[-1],
        sites=[Site(*pair) for pair in zip(linears, positions, strict=False)],
        head_position=positions[-1],
        bends=linears[0] if linears else None,
        norm_behind=layers[1] if before else None,
    )


def resnet(
    parts: Parts, in_features: int, sizes: tuple[int, ...], scales: dict[str, Any]
) -> Body:
    """Stack blocks that add to their input, and normalize and bend the sum."""
    width = sizes[0]
    entrance = parts.linear(in_features, width, **scales)
    blocks = [ResidualBlock(parts, width, hidden) for hidden in sizes]
    layers = nn.Sequential(entrance, *blocks, *parts.bend(width))
    sites = [Site(entrance, "input")]
    for block in blocks:
        # Fed sums of linear layers' outputs, normalized or not, and no activations.
        sites += [Site(block.first, "input"), Site(block.second, "hidden")]
    return Body(
        layers=layers,
        width=width,
        sites=sites,
        head_position="output",
        bends=blocks[0].first,
        norm_behind=None,
    )
