"""Networks made from the three tables."""

from __future__ import annotations

import copy
import itertools
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sknorm.nn.activations import Activation, resolve_activation
from sknorm.nn.initializers import LSUV, Initializer, resolve_initializer
from sknorm.nn.norms import Norm, needs_batch_statistics, resolve_norm

__all__ = ["MLP"]

# Enough rows for a variance that is right to about 5 %, half of LSUV's tolerance.
SAMPLE_ROWS = 1024


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

        widths = (in_features, *sizes)
        for fan_in, fan_out in itertools.pairwise(widths):
            self.append(_empty_linear(fan_in, fan_out, dtype))
            for part in _block(fan_out, phi, normalizer, norm_position, dropout):
                self.append(part.to(dtype))
        self.append(_empty_linear(widths[-1], out_features, dtype))

        self._initialize(
            scheme,
            bias_scheme,
            phi,
            normalizer,
            norm_position,
            generator,
        )
        if scheme.spreads_hinges and bias_scheme is None and len(self.linears) > 1:
            self._spread_hinges(
                behind_norm=normalizer.acts_on == "signal"
                and norm_position == "before",
                generator=generator,
            )
        if isinstance(scheme, LSUV):
            self._scale_by_data(scheme, generator, sample)
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

    def _initialize(
        self,
        scheme: Initializer,
        bias_scheme: Initializer | None,
        phi: Activation,
        norm: Norm,
        norm_position: str,
        generator: torch.Generator | None,
    ) -> None:
        """Fill every weight and bias, first layer to last."""
        linears = self.linears
        gain, problem = _gain(phi)
        inputs_normalized = norm.acts_on == "signal" and norm_position == "after"
        for index, linear in enumerate(linears):
            try:
                bound = scheme.bind(
                    phi=lambda z: phi.function(z),
                    gain=gain,
                    position=_position(index, len(linears), inputs_normalized),
                    normalized=norm.acts_on != "nothing",
                )
                bound(linear.weight, gain=gain, generator=generator)
            except (ValueError, RuntimeError) as error:
                raise problem or error from None
            if problem is not None and linear.weight.isnan().any():
                raise problem
            if bias_scheme is None:
                bound.init_bias(
                    linear.bias, fan_in=linear.in_features, generator=generator
                )
            else:
                bias_scheme.fill_bias(
                    linear.bias, fan_in=linear.in_features, generator=generator
                )

    @torch.no_grad()
    def _spread_hinges(
        self, *, behind_norm: bool, generator: torch.Generator | None
    ) -> None:
        """Give the first hidden units biases as wide as what the data make of them."""
        weight, bias = (
            getattr(self[1], name, None) if behind_norm else None
            for name in ("weight", "bias")
        )
        if not (isinstance(weight, Tensor) and isinstance(bias, Tensor)):
            weight, bias = self.linears[0].weight, self.linears[0].bias
        # Halves of the variance, so that their sum is what it was.
        weight.mul_(math.sqrt(0.5))
        bias.normal_(std=math.sqrt(0.5), generator=generator)

    @torch.no_grad()
    def _scale_by_data(
        self, scheme: LSUV, generator: torch.Generator | None, sample: Tensor | None
    ) -> None:
        """Walk a sample through the layers and let the scheme rescale each weight."""
        first = self.linears[0]
        if sample is None:
            signal = torch.randn(
                SAMPLE_ROWS,
                first.in_features,
                generator=generator,
                dtype=first.weight.dtype,
            )
        else:
            signal = sample[:SAMPLE_ROWS].to(first.weight)
        for part in self:
            if isinstance(part, nn.Linear):
                scheme.scale_(part.weight, _preactivation(part, signal))
                signal = part(signal)
            else:
                # A copy, so that running statistics start from what they are; dropout
                # stays off because the scheme wants the signal without its noise.
                probe = copy.deepcopy(part)
                probe.train(len(signal) > 1 and needs_batch_statistics(part))
                signal = probe(signal)


def check_hidden_layer_sizes(sizes: Any, *, owner: str = "MLP") -> tuple[int, ...]:
    """Return the widths as a tuple of ints; one int stands for one layer."""
    widths = (sizes,) if isinstance(sizes, numbers.Integral) else tuple(sizes)
    if not all(isinstance(w, numbers.Integral) and int(w) > 0 for w in widths):
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


def _empty_linear(fan_in: int, fan_out: int, dtype: torch.dtype) -> nn.Linear:
    # skip_init: nn.Linear's own draw would be thrown away and move the global RNG.
    return nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=dtype)


def _block(
    width: int, phi: Activation, norm: Norm, norm_position: str, dropout: float
) -> Iterator[nn.Module]:
    """Yield what follows a hidden linear layer."""
    if norm.acts_on == "signal" and norm_position == "before":
        yield norm.build(width)
    activation = phi.module()
    yield activation
    if norm.acts_on == "signal" and norm_position == "after":
        yield norm.build(width)
    if dropout > 0:
        is_selu = isinstance(activation, nn.SELU)
        yield nn.AlphaDropout(dropout) if is_selu else nn.Dropout(dropout)


def _gain(phi: Activation) -> tuple[float, ValueError | None]:
    """Return the activation's gain, or NaN and why it has none.

    An activation that isn't elementwise is welcome with every scheme that doesn't ask
    for its gain; one that does refuses NaN, or fills the weights with it.
    """
    try:
        return phi.gain, None
    except ValueError as problem:
        return math.nan, problem


def _position(
    index: int, count: int, inputs_normalized: bool
) -> Literal["input", "hidden", "output"]:
    """Tell a scheme what feeds the layer: standardized numbers, or activations."""
    if index == 0 or inputs_normalized:
        return "input"
    return "output" if index == count - 1 else "hidden"


def _preactivation(linear: nn.Linear, signal: Tensor) -> Callable[[], Tensor]:
    return lambda: linear(signal)
