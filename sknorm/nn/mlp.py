"""Networks made from the three tables."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sknorm.nn import _layers
from sknorm.nn._counts import is_count
from sknorm.nn._layers import SAMPLE_ROWS, Site
from sknorm.nn.activations import resolve_activation
from sknorm.nn.initializers import LSUV, Initializer, resolve_initializer
from sknorm.nn.norms import resolve_norm

__all__ = ["MLP"]


class MLP(nn.Sequential):
    r"""Multi-layer perceptron whose init, activation and norm are names.

    Every hidden block is ``Linear - norm - activation - dropout`` (the norm comes after
    the activation with ``norm_position="after"``); the last layer is a bare ``Linear``.
    A part that does nothing (``norm="none"``, ``dropout=0``) leaves no layer behind, so
    the module has exactly the layers one would have written by hand, and its
    ``state_dict`` fits such a hand-written ``nn.Sequential``.

    Parameters
    ----------
    in_features : int
        Number of inputs.
    out_features : int
        Number of outputs.
    hidden_layer_sizes : sequence of int, default=(128, 128)
        Width of each hidden layer. Empty for a linear model.
    activation : str, nn.Module, class or callable, default="relu"
        A name in :data:`sknorm.nn.activations.ACTIVATIONS`, a module class, a module
        (copied for each layer) or an elementwise tensor function.
    norm : str, class, callable or None, default="none"
        A name in :data:`sknorm.nn.norms.NORMS`, or anything that makes a module from
        the number of features.
    norm_position : {"before", "after"}, default="before"
        Whether the norm layer stands before or after the activation. Norms of the
        weight (``"weight"``, ``"spectral"``) have no position.
    init : str, Initializer or callable, default="auto"
        A name in :data:`sknorm.nn.initializers.INITIALIZERS`, one of its classes with
        parameters, such as ``Normal(mean=0, std=0.01)``, or a function that fills a
        tensor in place.
    bias_init : str, Initializer or callable, default="auto"
        How biases start. ``"auto"`` asks the ``init`` scheme: zeros for most.
    dropout : float, default=0.0
        Share of activations set to zero in training. A ``"selu"`` network gets alpha
        dropout, which keeps mean 0 and variance 1.
    generator : torch.Generator, default=None
        CPU generator that every weight is drawn from; torch's global one if None.
    sample : Tensor of shape (n_rows, in_features), default=None
        Inputs that data-dependent schemes (``"lsuv"``) look at. If None, they get
        1024 rows of N(0, 1), what a standardized table looks like.
    dtype : torch.dtype, default=torch.float32
        Precision of the weights.

    Raises
    ------
    ValueError
        If a size isn't positive, a name is unknown, or the norm can't work on a layer
        as narrow as the one it is given.

    See Also
    --------
    sknorm.neural_network.NormMLPClassifier : The scikit-learn estimator around it.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.mlp import MLP
    >>> mlp = MLP(784, 10, hidden_layer_sizes=(256,), norm="batch")
    >>> [type(part).__name__ for part in mlp]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    >>> mlp(torch.zeros(5, 784)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: Any = "relu",
        norm: Any = "none",
        norm_position: Literal["before", "after"] = "before",
        init: Any = "auto",
        bias_init: Any = "auto",
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
        sample: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        sizes = check_hidden_layer_sizes(hidden_layer_sizes)
        if norm_position not in ("before", "after"):
            raise ValueError(
                "The 'norm_position' parameter of MLP must be 'before' or 'after' "
                f"(the activation). Got {norm_position!r}."
            )
        phi, normalizer = resolve_activation(activation), resolve_norm(norm)
        scheme = resolve_initializer(init)
        bias_scheme = resolve_bias_initializer(bias_init)

        on_signal = normalizer.acts_on == "signal"
        widths = (in_features, *sizes)
        for fan_in, fan_out in itertools.pairwise(widths):
            self.append(_layers.empty_linear(fan_in, fan_out, dtype))
            activation = phi.module()
            layer = normalizer.build(fan_out) if on_signal else None
            for part in _layers.block(activation, layer, norm_position):
                self.append(part.to(dtype))
            self.extend(_layers.dropout_after(activation, dropout))
        self.append(_layers.empty_linear(widths[-1], out_features, dtype))

        linears = self.linears
        inputs_normalized = on_signal and norm_position == "after"
        sites = [
            Site(linear, _layers.position(index, len(linears), inputs_normalized))
            for index, linear in enumerate(linears)
        ]
        _layers.fill(
            sites, scheme, bias_scheme, phi=phi, norm=normalizer, generator=generator
        )
        if scheme.spreads_hinges and bias_scheme is None and len(linears) > 1:
            behind = self[1] if on_signal and norm_position == "before" else None
            first = linears[0]
            _layers.spread_hinges(first.weight, first.bias, behind, generator)
        if isinstance(scheme, LSUV):
            rows = _sample_rows(sample, in_features, generator, dtype)
            _layers.scale_by_data(self, linears, scheme, rows)
        if normalizer.acts_on == "weight":
            # After the weights have their values: the norm starts from them.
            hidden = [i for i, part in enumerate(self) if isinstance(part, nn.Linear)]
            for index in hidden[:-1]:
                self[index] = normalizer.factory(self[index])

    def __getitem__(self, index: Any) -> Any:
        # nn.Sequential makes a slice by calling the class with layers.
        if isinstance(index, slice):
            return nn.Sequential(*list(self)[index])
        return super().__getitem__(index)

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [part for part in self if isinstance(part, nn.Linear)]


def check_hidden_layer_sizes(sizes: Any, *, owner: str = "MLP") -> tuple[int, ...]:
    """Return the widths as a tuple of ints; one int stands for one layer."""
    widths = (sizes,) if isinstance(sizes, numbers.Integral) else tuple(sizes)
    if not all(map(is_count, widths)):
        raise ValueError(
            f"The 'hidden_layer_sizes' parameter of {owner} must hold positive "
            f"integers, such as (128, 128), or be empty. Got {sizes!r}."
        )
    return tuple(int(w) for w in widths)


def resolve_bias_initializer(spec: Any, *, owner: str = "MLP") -> Initializer | None:
    """Turn ``bias_init`` into a scheme; None leaves biases to the ``init`` scheme."""
    if isinstance(spec, str) and spec == "auto":
        return None
    scheme = resolve_initializer(spec, parameter="bias_init", owner=owner)
    if not scheme.fills_bias:
        raise ValueError(
            f"The 'bias_init' parameter of {owner} must be a scheme that needs no "
            "fan-in and fan-out, such as 'zeros', 'constant', 'normal' or 'uniform', "
            f"or 'auto'. Got {spec!r}."
        )
    return scheme


def _sample_rows(
    sample: Tensor | None,
    in_features: int,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> Tensor:
    """Return rows to look at: the sample's first, or what a standardized table has."""
    if sample is None:
        return torch.randn(SAMPLE_ROWS, in_features, generator=generator, dtype=dtype)
    return sample[:SAMPLE_ROWS].to("cpu", dtype)
