"""Many networks in one: layers that hold a member for each of them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.nn import functional as F

from sknorm.nn._counts import is_count
from sknorm.nn._layers import View, empty_linear
from sknorm.nn.initializers import TorchDefault
from sknorm.nn.norms import Norm, needs_batch_statistics

__all__ = [
    "BatchEnsembleLinear",
    "MemberLinear",
    "MemberRows",
    "MemberScale",
    "StackedMembers",
    "member_norm",
]

ScaleInit = Literal["ones", "signs", "normal"]


def _check_members(n_members: Any, owner: str) -> None:
    if not is_count(n_members):
        raise ValueError(
            f"The 'n_members' parameter of {owner} must be an integer of at least 1. "
            f"Got {n_members!r}."
        )


def _draw_scales(
    n_members: int,
    n_features: int,
    scale_init: ScaleInit,
    chunks: Sequence[int] | None,
    generator: torch.Generator | None,
    dtype: torch.dtype,
    owner: str,
) -> Tensor:
    """Draw a scale for each member and chunk, the same for all features of a chunk."""
    sizes = [1] * n_features if chunks is None else list(chunks)
    if sum(sizes) != n_features or min(sizes, default=0) < 1:
        raise ValueError(
            f"The 'chunks' parameter of {owner} must hold positive sizes that add up "
            f"to {n_features}. Got {chunks!r}."
        )
    shape = (n_members, len(sizes))
    if scale_init == "ones":
        scales = torch.ones(shape, dtype=dtype)
    elif scale_init == "signs":
        bits = torch.randint(2, shape, generator=generator)
        scales = (2 * bits - 1).to(dtype)
    elif scale_init == "normal":
        scales = torch.randn(shape, generator=generator, dtype=dtype)
    else:
        raise ValueError(
            f"The 'scale_init' parameter of {owner} must be 'ones', 'signs' or "
            f"'normal'. Got {scale_init!r}."
        )
    return scales.repeat_interleave(torch.tensor(sizes), dim=1)


class BatchEnsembleLinear(nn.Module):
    r"""Linear layers that share one weight but for a scale of each input and output.

    Parameters
    ----------
    in_features : int
        Number of inputs of each member.
    out_features : int
        Number of outputs of each member.
    n_members : int
        Number of members, at least 1.
    scale_init : {"ones", "signs", "normal"}, default="ones"
        How the scales of inputs start: at 1, at -1 or 1, or at N(0, 1). Members whose
        inputs are scaled alike stay alike, so one layer has to start them apart.
    chunks : sequence of int, default=None
        Sizes of runs of inputs that start with the same scale, such as what one column
        is embedded into. Each input has its own if None.
    generator : torch.Generator, default=None
        What is drawn from; torch's global generator if None.
    dtype : torch.dtype, default=torch.float32
        Precision of the parameters.

    Attributes
    ----------
    shared : nn.Linear
        The weight that members share, of shape (out_features, in_features).
    r : nn.Parameter of shape (n_members, in_features)
        Scales of the inputs.
    s : nn.Parameter of shape (n_members, out_features)
        Scales of the outputs, 1 at the start.
    bias : nn.Parameter of shape (n_members, out_features)
        Biases, the same for all members at the start.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Member i maps :math:`x_i` to :math:`s_i \odot W (r_i \odot x_i) + b_i`, which is a
    linear layer of its own with the weight :math:`W \odot s_i r_i^\top`. Inputs have
    the shape (batch, n_members, in_features), outputs (batch, n_members,
    out_features): for the shared product, members are rows of one table.

    References
    ----------
    Y. Wen, D. Tran and J. Ba, "BatchEnsemble: An Alternative Approach to Efficient
    Ensemble and Lifelong Learning", ICLR 2020.

    Y. Gorishniy, A. Kotelnikov and A. Babenko, "TabM: Advancing Tabular Deep Learning
    with Parameter-Efficient Ensembling", ICLR 2025.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.members import BatchEnsembleLinear
    >>> BatchEnsembleLinear(3, 5, 4)(torch.zeros(2, 4, 3)).shape
    torch.Size([2, 4, 5])
    """

    undecayed: ClassVar[frozenset[str]] = frozenset({"r", "s", "bias"})

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_members: int,
        *,
        scale_init: ScaleInit = "ones",
        chunks: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_members(n_members, type(self).__name__)
        self.in_features = in_features
        self.out_features = out_features
        self.n_members = n_members
        self.shared = empty_linear(in_features, out_features, dtype)
        # Members have their own.
        self.shared.register_parameter("bias", None)
        scales = _draw_scales(
            n_members,
            in_features,
            scale_init,
            chunks,
            generator,
            dtype,
            type(self).__name__,
        )
        self.r = nn.Parameter(scales)
        self.s = nn.Parameter(torch.ones(n_members, out_features, dtype=dtype))
        self.bias = nn.Parameter(torch.empty_like(self.s))
        _fill_as_torch(self.views(), generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member to its own rows."""
        return torch.addcmul(self.bias, self.shared(x * self.r), self.s)

    def views(self) -> list[View]:
        """Return the one weight there is to fill."""
        return [View(self.shared.weight, self.bias.detach(), self.forward)]

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.in_features}, {self.out_features}, n_members={self.n_members}"


class MemberLinear(nn.Module):
    r"""Linear layers that share nothing, side by side in one stacked product.

    Parameters
    ----------
    in_features : int
        Number of inputs of each member.
    out_features : int
        Number of outputs of each member.
    n_members : int
        Number of members, at least 1.
    generator : torch.Generator, default=None
        What is drawn from; torch's global generator if None.
    dtype : torch.dtype, default=torch.float32
        Precision of the parameters.

    Attributes
    ----------
    weight : nn.Parameter of shape (n_members, out_features, in_features)
        The weights; that of a member is what ``nn.Linear`` would have.
    bias : nn.Parameter of shape (n_members, out_features)
        The biases.

    Raises
    ------
    ValueError
        If ``n_members`` isn't a positive integer.

    Notes
    -----
    Maps (batch, n_members, in_features) to (batch, n_members, out_features).

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.members import MemberLinear
    >>> MemberLinear(3, 5, 4)(torch.zeros(2, 4, 3)).shape
    torch.Size([2, 4, 5])
    """

    undecayed: ClassVar[frozenset[str]] = frozenset({"bias"})

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_members: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_members(n_members, type(self).__name__)
        self.in_features = in_features
        self.out_features = out_features
        self.n_members = n_members
        shape = (n_members, out_features, in_features)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(shape[:2], dtype=dtype))
        _fill_as_torch(self.views(), generator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member to its own rows."""
        by_member = torch.baddbmm(
            self.bias[:, None], x.transpose(0, 1), self.weight.transpose(1, 2)
        )
        return by_member.transpose(0, 1)

    def views(self) -> list[View]:
        """Return the members as layers of their own."""
        return [
            View(weight, bias[None], functools.partial(_apply_one, i, weight, bias))
            for i, (weight, bias) in enumerate(
                zip(self.weight.detach(), self.bias.detach(), strict=True)
            )
        ]

    def unstacked(self) -> list[nn.Linear]:
        """Return the members as layers of their own, with copies of the values."""
        members = []
        for view in self.views():
            layer = empty_linear(self.in_features, self.out_features, view.weight.dtype)
            layer.weight.data.copy_(view.weight)
            layer.bias.data.copy_(view.bias[0])
            members.append(layer)
        return members

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.in_features}, {self.out_features}, n_members={self.n_members}"


def _apply_one(member: int, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return F.linear(x[:, member], weight, bias)


def _fill_as_torch(views: list[View], generator: torch.Generator | None) -> None:
    """Fill as ``nn.Linear`` does, for those who don't fill a layer by a scheme."""
    scheme = TorchDefault()
    for view in views:
        scheme(view.weight, generator=generator)
        bias, fan_in = view.bias[0], view.weight.shape[1]
        scheme.init_bias(bias, fan_in=fan_in, generator=generator)
        view.bias[1:] = bias


class MemberScale(nn.Module):
    """Give each member the inputs scaled in its own way: all that TabM-mini has.

    Parameters
    ----------
    n_features : int
        Number of inputs.
    n_members : int
        Number of members, at least 1.
    scale_init : {"ones", "signs", "normal"}, default="signs"
        How the scales start: at 1, at -1 or 1, or at N(0, 1).
    chunks : sequence of int, default=None
        Sizes of runs of inputs that start with the same scale. Each input has its own
        if None.
    generator : torch.Generator, default=None
        What is drawn from; torch's global generator if None.
    dtype : torch.dtype, default=torch.float32
        Precision of the parameters.

    Attributes
    ----------
    r : nn.Parameter of shape (n_members, n_features)
        The scales.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.members import MemberScale
    >>> MemberScale(3, 4)(torch.zeros(2, 4, 3)).shape
    torch.Size([2, 4, 3])
    """

    undecayed: ClassVar[frozenset[str]] = frozenset({"r"})

    def __init__(
        self,
        n_features: int,
        n_members: int,
        *,
        scale_init: ScaleInit = "signs",
        chunks: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_members(n_members, type(self).__name__)
        scales = _draw_scales(
            n_members,
            n_features,
            scale_init,
            chunks,
            generator,
            dtype,
            type(self).__name__,
        )
        self.r = nn.Parameter(scales)

    def forward(self, x: Tensor) -> Tensor:
        """Scale (batch, n_members, n_features), or (batch, 1, n_features) for all."""
        return x * self.r

    def extra_repr(self) -> str:
        """Show the sizes."""
        n_members, n_features = self.r.shape
        return f"{n_features}, n_members={n_members}"


class MemberRows(nn.Module):
    """Apply a layer made for tables to all members' rows as one table.

    Parameters
    ----------
    layer : nn.Module
        Maps (rows, in_features) to (rows, out_features).

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.members import MemberRows
    >>> MemberRows(torch.nn.Linear(3, 5))(torch.zeros(2, 4, 3)).shape
    torch.Size([2, 4, 5])
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (batch, n_members, in_features)."""
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class _MemberColumns(nn.Module):
    """A layer of (rows, n_members * n) columns, for norms of a column by itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> Any:
        return getattr(self.layer, "weight", None)

    @property
    def bias(self) -> Any:
        return getattr(self.layer, "bias", None)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)).view(x.shape)


class StackedMembers(nn.Module):
    """Modules of one kind as one, their parameters stacked along a new first axis.

    Parameters
    ----------
    members : sequence of nn.Module
        Modules that differ in the values of their parameters and buffers alone; none
        of them may draw random numbers when called.

    Raises
    ------
    ValueError
        If there are no members.

    Notes
    -----
    Parameters and buffers keep their names, with a dot in them made an underscore.
    Maps (batch, n_members, in_features) to (batch, n_members, out_features); the call
    is mapped over members by ``torch.vmap``, so that there is one kernel for all.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sknorm.nn.members import StackedMembers
    >>> norms = StackedMembers([nn.LayerNorm(3) for _ in range(4)])
    >>> norms.weight.shape, norms(torch.zeros(2, 4, 3)).shape
    (torch.Size([4, 3]), torch.Size([2, 4, 3]))
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("StackedMembers needs at least one member. Got none.")
        self.n_members = len(members)
        # In a tuple, so that its parameters aren't taken for this module's.
        self._template = (members[0],)
        parameters, buffers = stack_module_state(list(members))
        self._names = {name: name.replace(".", "_") for name in (*parameters, *buffers)}
        self._buffer_names = list(buffers)
        for name, value in parameters.items():
            parameter = nn.Parameter(value.detach(), value.requires_grad)
            self.register_parameter(self._names[name], parameter)
        for name, value in buffers.items():
            self.register_buffer(self._names[name], value)

    def train(self, mode: bool = True) -> StackedMembers:
        """Switch the members too."""
        self.template.train(mode)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member to its own rows."""
        state = {name: getattr(self, own) for name, own in self._names.items()}
        y, replaced = torch.vmap(self._one, in_dims=(0, 1), out_dims=(1, 0))(state, x)
        if self.training:
            for name, value in replaced.items():
                setattr(self, self._names[name], value.detach())
        return y

    def _one(
        self, state: dict[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Apply one member; also return buffers it has put others in the place of."""
        member = _with_state(self.template, state, "")
        y = member(x)
        after = dict(member.named_buffers())
        names = self._buffer_names
        return y, {n: after[n] for n in names if after[n] is not state[n]}

    @property
    def template(self) -> nn.Module:
        """A member, without the values that the others have or it has by now."""
        return self._template[0]

    def own_name(self, name: str) -> str:
        """Return what a member's parameter or buffer is called here."""
        return self._names[name]

    def extra_repr(self) -> str:
        """Show a member."""
        return f"{self.template!r}, n_members={self.n_members}"


def _with_state(module: nn.Module, state: dict[str, Tensor], prefix: str) -> nn.Module:
    """Return a copy of a module that has other tensors.

    ``torch.func.functional_call`` lends the module itself the tensors for the time of
    the call, so two threads that predict at once would see each other's.
    """
    twin = copy.copy(module)
    for kind in ("_parameters", "_buffers"):
        own = vars(module)[kind]
        lent = {
            name: state.get(f"{prefix}{name}", value) for name, value in own.items()
        }
        vars(twin)[kind] = lent
    vars(twin)["_modules"] = {
        name: None if child is None else _with_state(child, state, f"{prefix}{name}.")
        for name, child in vars(module)["_modules"].items()
    }
    return twin


def member_norm(norm: Norm, num_features: int, n_members: int) -> nn.Module:
    """Make a norm layer for (batch, n_members, num_features), member by member.

    Parameters
    ----------
    norm : Norm
        An entry of :data:`sknorm.nn.norms.NORMS` that acts on the signal, or one made
        for a user's own layer.
    num_features : int
        Width of each member's layer.
    n_members : int
        Number of members.

    Returns
    -------
    nn.Module
        Computes what as many norm layers would, each fed one member's signal. Where
        statistics are taken over the batch, a member's features are columns of one
        wide table; other norms are stacked.

    Raises
    ------
    ValueError
        If the layer is too narrow to be normalized this way.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.members import member_norm
    >>> from sknorm.nn.norms import NORMS
    >>> x = torch.tensor([[[1.0], [10.0]], [[3.0], [50.0]]])
    >>> member_norm(NORMS["batch"], 1, 2)(x).detach().round().tolist()
    [[[-1.0], [-1.0]], [[1.0], [1.0]]]
    """
    first = norm.build(num_features)
    if needs_batch_statistics(first):
        return _MemberColumns(norm.build(num_features * n_members))
    others = (norm.build(num_features) for _ in range(n_members - 1))
    return StackedMembers([first, *others])
