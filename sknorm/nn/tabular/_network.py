"""A network for a table, from columns to outputs."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sknorm.nn import _layers
from sknorm.nn._counts import is_count
from sknorm.nn._layers import SAMPLE_ROWS, Site
from sknorm.nn.activations import resolve_activation
from sknorm.nn.embeddings import NoEmbedding, resolve_embedding
from sknorm.nn.initializers import LSUV, Auto, Initializer, resolve_initializer
from sknorm.nn.members import (
    BatchEnsembleLinear,
    MemberLinear,
    MemberRows,
    MemberScale,
    StackedMembers,
)
from sknorm.nn.mlp import check_hidden_layer_sizes, resolve_bias_initializer
from sknorm.nn.norms import Norm, resolve_norm
from sknorm.nn.tabular._body import Body, Parts, Split, mlp, resnet
from sknorm.nn.tabular._inputs import TabularInputs

__all__ = ["TabularNetwork"]


class TabularNetwork(nn.Module):
    r"""A network for a table: embedded columns, hidden layers, one or many members.

    Parameters
    ----------
    n_numeric : int
        Number of numeric columns, which come first.
    cardinalities : sequence of int
        Number of codes of each categorical column, 0 for missing among them.
    n_outputs : int
        Number of outputs.
    architecture : {"mlp", "resnet"}, default="mlp"
        Blocks ``linear - norm - activation - dropout`` one after the other, or blocks
        ``norm - linear - activation - dropout - linear`` that add to their input.
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Width of each block. The blocks of a ``"resnet"`` are that wide inside; what
        they add to is as wide as the first.
    activation : str, nn.Module, class or callable, default="relu"
        A name in :data:`sknorm.nn.activations.ACTIVATIONS`, a module class, a module
        (copied for each layer) or an elementwise tensor function.
    parametric_activation : bool, default=False
        Whether each unit learns how much of the activation it takes.
    norm : str, class, callable or None, default="none"
        A name in :data:`sknorm.nn.norms.NORMS`, or anything that makes a module from
        the number of features.
    norm_position : {"before", "after"}, default="before"
        Whether the norm layers of an ``"mlp"`` stand before or after the activation.
    init : str, Initializer or callable, default="auto"
        A name in :data:`sknorm.nn.initializers.INITIALIZERS`, one of its classes with
        parameters, or a function that fills a tensor in place.
    bias_init : str, Initializer or callable, default="auto"
        How biases start. ``"auto"`` asks the ``init`` scheme.
    dropout : float, default=0.0
        Share of activations set to zero in training.
    embedding : str, Embedding, class, callable or None, default="none"
        How numbers are embedded: a name in :data:`sknorm.nn.embeddings.EMBEDDINGS`, an
        embedding, or what makes a module from the number of columns.
    max_one_hot : int, default=16
        Largest cardinality of a column that is one-hot encoded.
    d_category : int, default=8
        Length of the learned vectors of columns that have more.
    n_members : int, default=1
        Number of networks in one.
    members : {"batch_ensemble", "mini", "independent"}, default="batch_ensemble"
        What members share: all weights but for scales of inputs and outputs of each
        layer and the last one; all but for one scale of each input and the last layer;
        or nothing.
    generator : torch.Generator, default=None
        CPU generator that every weight is drawn from; torch's global one if None.
    sample : Tensor of shape (n_rows, n_columns), default=None
        Training inputs that embeddings by bins and data-dependent schemes look at.
    target : Tensor of shape (n_rows,) or (n_rows, n_outputs), default=None
        What goes with the sample, for bins by trees. Integers are classes.
    dtype : torch.dtype, default=torch.float32
        Precision of the weights.

    Attributes
    ----------
    out_features : int
        Number of outputs.
    inputs : nn.Module
        The columns as numbers, see :class:`TabularInputs`.
    body : nn.Module
        The hidden layers.
    head : nn.Module
        The last layer.

    Raises
    ------
    ValueError
        If a size isn't positive, a name is unknown, the norm can't work on a layer as
        narrow as the one it is given, or an embedding misses the sample or target.

    See Also
    --------
    sknorm.nn.mlp.MLP : For numbers alone, and one network.

    Notes
    -----
    ``forward`` takes one table (batch, n_columns), codes of categories as floats, and
    returns (batch, n_outputs), or (batch, n_members, n_outputs) for several members.

    The members of a batch ensemble start apart by the scales of the first layer's
    inputs: signs, or N(0, 1) if numbers are embedded, one for each column. ``init``
    fills one member's weight, or the one they share. The scheme ``"auto"`` takes
    inputs for N(0, 1); what embeddings and categories make of such a table has another
    mean square, by whose root it divides the first weights.

    With one member, no embedding and no categories, the ``"mlp"`` has the layers and
    the weights of :class:`sknorm.nn.mlp.MLP`.

    References
    ----------
    Y. Gorishniy, A. Kotelnikov and A. Babenko, "TabM: Advancing Tabular Deep Learning
    with Parameter-Efficient Ensembling", ICLR 2025.

    Y. Gorishniy, I. Rubachev, V. Khrulkov and A. Babenko, "Revisiting Deep Learning
    Models for Tabular Data", NeurIPS 2021.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.tabular import TabularNetwork
    >>> network = TabularNetwork(2, [4], 3, hidden_layer_sizes=(8,), n_members=5)
    >>> network(torch.zeros(6, 3)).shape
    torch.Size([6, 5, 3])
    >>> [name for name, _ in network.named_linears()]
    ['body.0', 'head']
    """

    def __init__(
        self,
        n_numeric: int,
        cardinalities: Sequence[int],
        n_outputs: int,
        *,
        architecture: Literal["mlp", "resnet"] = "mlp",
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: Any = "relu",
        parametric_activation: bool = False,
        norm: Any = "none",
        norm_position: Literal["before", "after"] = "before",
        init: Any = "auto",
        bias_init: Any = "auto",
        dropout: float = 0.0,
        embedding: Any = "none",
        max_one_hot: int = 16,
        d_category: int = 8,
        n_members: int = 1,
        members: Literal["batch_ensemble", "mini", "independent"] = "batch_ensemble",
        generator: torch.Generator | None = None,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = check_hidden_layer_sizes(hidden_layer_sizes, owner=owner)
        check_architecture(architecture, sizes, norm_position, owner=owner)
        _check_choices(members, dropout, n_members)
        scheme = resolve_initializer(init, owner=owner)
        bias_scheme = resolve_bias_initializer(bias_init, owner=owner)
        choice = resolve_embedding(embedding, owner=owner)
        self.n_members = n_members
        self.out_features = n_outputs
        is_mini = members == "mini" and n_members > 1
        parts = Parts(
            phi=resolve_activation(activation, owner=owner),
            norm=resolve_norm(norm, owner=owner),
            norm_position=norm_position,
            dropout=dropout,
            parametric=parametric_activation,
            n_members=1 if is_mini else n_members,
            independent=members == "independent",
            dtype=dtype,
        )

        make_inputs = functools.partial(
            TabularInputs,
            n_numeric,
            cardinalities,
            embedding=choice,
            max_one_hot=max_one_hot,
            d_category=d_category,
            sample=sample,
            target=target,
            generator=generator,
            dtype=dtype,
        )
        entrance = make_inputs()
        scales: dict[str, Any] = {
            "scale_init": "signs" if isinstance(choice, NoEmbedding) else "normal",
            "chunks": entrance.chunks,
            "generator": generator,
        }
        self.inputs: nn.Module = entrance
        if is_mini:
            width = entrance.out_features
            scale = MemberScale(width, n_members, dtype=dtype, **scales)
            self.inputs = nn.Sequential(entrance, Split(n_members), scale)
        elif n_members > 1:
            self.inputs = parts.split(entrance, make_inputs)
        make_body = mlp if architecture == "mlp" else resnet
        body = make_body(parts, entrance.out_features, sizes, scales)
        self.body = MemberRows(body.layers) if is_mini else body.layers
        self.head = _head(n_members, body.width, n_outputs, dtype)

        self._initialize(body, entrance, scheme, bias_scheme, parts, generator)
        if isinstance(scheme, LSUV):
            rows = entrance.sample_rows(generator) if sample is None else sample
            layers = [layer for _, layer in self.named_linears()]
            rows = rows[:SAMPLE_ROWS].to("cpu", dtype)
            _layers.scale_by_data(self, layers, scheme, rows)
        # After the weights have their values: the norm of a weight starts from them.
        if parts.norm.acts_on == "weight":
            for name, layer in list(self.named_linears())[:-1]:
                _replace(self, name, _with_weight_norm(layer, parts.norm))

    def _initialize(
        self,
        body: Body,
        entrance: TabularInputs,
        scheme: Initializer,
        bias_scheme: Initializer | None,
        parts: Parts,
        generator: torch.Generator | None,
    ) -> None:
        """Fill every weight and bias behind the inputs."""
        sites = [*body.sites, Site(self.head, body.head_position)]
        _layers.fill(
            sites,
            scheme,
            bias_scheme,
            phi=parts.phi,
            norm=parts.norm,
            generator=generator,
        )
        if isinstance(scheme, Auto):
            weight, _ = _weight_and_bias(sites[0].layer)
            mean_square = entrance.mean_square()
            with torch.no_grad():
                # Of nothing but zeros there is no scale to mend.
                weight.mul_(mean_square**-0.5 if mean_square > 0 else 1.0)
        if scheme.spreads_hinges and bias_scheme is None and body.bends is not None:
            weight, bias = _weight_and_bias(body.bends)
            _layers.spread_hinges(weight, bias, body.norm_behind, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_columns) to (batch, n_outputs), or that for each member."""
        return self.head(self.body(self.inputs(x)))

    def named_linears(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield name and layer of each linear layer behind the inputs, in order."""
        for name in ("body", "head"):
            yield from _named_linears(getattr(self, name), name)

    def in_sequence(self) -> tuple[nn.Module, list[nn.Module], list[nn.Module]]:
        """Return the network as layers one after the other.

        Returns
        -------
        entrance : nn.Module
            What turns a table into what the layers are fed: (batch, n_features), which
            goes to every member, or (batch, n_members, n_features).
        layers : list of nn.Module
            The layers behind it, the last one among them.
        around : list of nn.Module
            The network, and other modules that hold these or hand on what they make.
        """
        inputs: Any = self.inputs
        body: Any = self.body
        around: list[nn.Module] = [self, body]
        layers: list[nn.Module] = []
        if self.n_members > 1 and type(inputs[0]) is not Split:
            around += [inputs, inputs[1]]
            layers += inputs[2:]
            inputs = inputs[0]
        if type(body) is MemberRows:
            body = body.layer
            around.append(body)
        return inputs, [*layers, *body, self.head], around

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters by how they are trained.

        Returns
        -------
        list of dict
            ``"params"``, a list of parameters, ``"lr_factor"``, what the learning rate
            is multiplied by for them, and ``"decay_factor"``, what weight decay is
            multiplied by: 0 for scales, biases and what belongs to norms.
        """
        parameters = dict(self.named_parameters())
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, factors in _named_factors(self, 1.0, ""):
            # A parameter that is in two places goes by the first.
            if name in parameters:
                groups.setdefault(factors, []).append(parameters[name])
        return [
            {"params": params, "lr_factor": lr, "decay_factor": decay}
            for (lr, decay), params in groups.items()
        ]


def check_architecture(
    architecture: str, sizes: tuple[int, ...], norm_position: str, *, owner: str
) -> None:
    """Raise an error if there is no such network.

    Parameters
    ----------
    architecture : str
        Its name.
    sizes : tuple of int
        Units of its hidden layers.
    norm_position : str
        Where norm layers stand.
    owner : str
        Whose parameters they are, for the error message.

    Raises
    ------
    ValueError
        If a name is unknown, or they don't go together.
    """
    refuse = functools.partial(_refuse, owner)
    if architecture not in ("mlp", "resnet"):
        refuse("architecture", "'mlp' or 'resnet'", architecture)
    if architecture == "resnet" and not sizes:
        rule = "of at least one layer for architecture='resnet'"
        refuse("hidden_layer_sizes", rule, sizes)
    if norm_position not in ("before", "after"):
        refuse("norm_position", "'before' or 'after' (the activation)", norm_position)
    if architecture == "resnet" and norm_position == "after":
        rule = "'before' for architecture='resnet', whose blocks start with the norm"
        refuse("norm_position", rule, norm_position)


def _refuse(owner: str, parameter: str, rule: str, got: Any) -> None:
    raise ValueError(
        f"The {parameter!r} parameter of {owner} must be {rule}. Got {got!r}."
    )


def _check_choices(members: Any, dropout: Any, n_members: Any) -> None:
    """Raise a ValueError if one of the network's own parameters is out of range."""
    refuse = functools.partial(_refuse, "TabularNetwork")
    if members not in ("batch_ensemble", "mini", "independent"):
        refuse("members", "'batch_ensemble', 'mini' or 'independent'", members)
    if not (isinstance(dropout, numbers.Real) and 0 <= float(dropout) < 1):
        refuse("dropout", "a number of at least 0 and less than 1", dropout)
    if not is_count(n_members):
        refuse("n_members", "an integer of at least 1", n_members)


def _head(
    n_members: int, in_features: int, n_outputs: int, dtype: torch.dtype
) -> nn.Module:
    if n_members == 1:
        return _layers.empty_linear(in_features, n_outputs, dtype)
    blank = torch.Generator()
    return MemberLinear(in_features, n_outputs, n_members, generator=blank, dtype=dtype)


def _weight_and_bias(layer: Any) -> tuple[Tensor, Tensor]:
    shared = isinstance(layer, BatchEnsembleLinear)
    return (layer.shared if shared else layer).weight, layer.bias


_LINEARS = (nn.Linear, BatchEnsembleLinear, MemberLinear)


def _named_linears(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    is_stacked = isinstance(module, StackedMembers) and isinstance(
        module.template, nn.Linear
    )
    if is_stacked or isinstance(module, _LINEARS):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from _named_linears(child, f"{name}.{child_name}")


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


def _with_weight_norm(layer: Any, norm: Norm) -> nn.Module:
    """Return a linear layer with a norm of its weight."""
    if isinstance(layer, BatchEnsembleLinear):
        layer.shared = norm.factory(layer.shared)  # type: ignore[assignment]
        return layer
    if isinstance(layer, MemberLinear):
        return StackedMembers([norm.factory(member) for member in layer.unstacked()])
    return norm.factory(layer)


def _named_factors(
    module: nn.Module, lr_factor: float, prefix: str
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each parameter's name with its factors on learning rate and decay."""
    lr_factor = lr_factor * getattr(module, "lr_factor", 1.0)
    if isinstance(module, StackedMembers):
        for name, factors in _named_factors(module.template, lr_factor, ""):
            yield prefix + module.own_name(name), factors
        return
    undecayed: frozenset[str] = getattr(module, "undecayed", frozenset())
    for name, parameter in module.named_parameters(recurse=False):
        decays = parameter.ndim > 1 and name not in undecayed
        yield prefix + name, (lr_factor, float(decays))
    for name, child in module.named_children():
        yield from _named_factors(child, lr_factor, f"{prefix}{name}.")
