"""What an embedding is, the table of them, and how a user's choice becomes one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sknorm._registry import Registry
from sknorm.nn._counts import is_count

__all__ = [
    "EMBEDDINGS",
    "CustomEmbedding",
    "Embedding",
    "resolve_embedding",
]

EMBEDDINGS: Registry[Callable[[], Embedding]] = Registry("embedding")


class Embedding:
    """How the numeric columns of a table are embedded; base class of all embeddings.

    Subclasses define ``build`` and, if they have parameters, are frozen dataclasses.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.embeddings import Embedding, NoEmbedding
    >>> issubclass(NoEmbedding, Embedding)
    True
    """

    def __post_init__(self) -> None:
        """Check the parameters of a dataclass as soon as it has them."""
        self._validate()

    def _validate(self) -> None:
        """Raise a ValueError if a parameter is out of range."""

    def build(
        self,
        n_features: int,
        *,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Make the layer.

        Parameters
        ----------
        n_features : int
            Number of numeric columns, at least 1.
        sample : Tensor of shape (n_rows, n_features), default=None
            Training inputs, for embeddings that look at them.
        target : Tensor of shape (n_rows,) or (n_rows, n_outputs), default=None
            What goes with the sample, for embeddings that look at it too. Integers are
            classes.
        generator : torch.Generator, default=None
            What is drawn from; torch's global generator if None.
        dtype : torch.dtype, default=torch.float32
            Precision of the parameters.

        Returns
        -------
        nn.Module
            Maps (batch, n_features) to (batch, out_features), features side by side,
            and has the attribute ``out_features``.
        """
        raise TypeError(f"{type(self).__name__} has to define build().")


def require(condition: bool, embedding: Embedding, parameter: str, rule: str) -> None:
    if not condition:
        raise ValueError(
            f"The {parameter!r} parameter of {type(embedding).__name__} must be "
            f"{rule}. Got {getattr(embedding, parameter)!r}."
        )


def require_count(
    embedding: Embedding, parameter: str, *, at_least: int = 1, optional: bool = False
) -> None:
    value = getattr(embedding, parameter)
    valid = is_count(value, at_least=at_least) or (optional and value is None)
    rule = f"an integer of at least {at_least}" + (", or None" if optional else "")
    require(valid, embedding, parameter, rule)


def require_flag(embedding: Embedding, parameter: str) -> None:
    is_flag = isinstance(getattr(embedding, parameter), bool)
    require(is_flag, embedding, parameter, "True or False")


@dataclass(frozen=True, repr=False)
class CustomEmbedding(Embedding):
    """A user's function or module class as an embedding.

    Parameters
    ----------
    fn : callable
        Makes an ``nn.Module`` from the number of features. It is given ``sample``,
        ``target``, ``generator`` and ``dtype`` as far as its signature has the names.
        The module maps (batch, n_features) to (batch, ...); what stands behind the
        batch is laid side by side.

    Raises
    ------
    ValueError
        From ``build``, if what is made isn't a module, or doesn't keep rows apart.

    Examples
    --------
    >>> from torch import nn
    >>> from sknorm.nn.embeddings import CustomEmbedding
    >>> def doubled(n_features):
    ...     return nn.Linear(n_features, 2 * n_features)
    >>> CustomEmbedding(doubled).build(3).out_features
    6
    """

    fn: Callable[..., Any]

    def __repr__(self) -> str:
        """Name the function without its address, which changes from run to run."""
        bare = self.fn.func if isinstance(self.fn, functools.partial) else self.fn
        return f"CustomEmbedding({getattr(bare, '__name__', repr(bare))})"

    def build(
        self,
        n_features: int,
        *,
        sample: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        """Call the function with what it asks for."""
        offered = {
            "sample": sample,
            "target": target,
            "generator": generator,
            "dtype": dtype,
        }
        asked = inspect.signature(self.fn).parameters
        made = self.fn(n_features, **{n: v for n, v in offered.items() if n in asked})
        if not isinstance(made, nn.Module):
            raise ValueError(
                f"{self!r} must make an nn.Module from the number of features. Got "
                f"{made!r}."
            )
        return _Flattened(made.to(dtype), _width_of(made, n_features, dtype, self))


class _Flattened(nn.Module):
    """A user's embedding, with what it makes of a row laid side by side."""

    def __init__(self, embedding: nn.Module, out_features: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x).flatten(1)


def _width_of(
    module: nn.Module, n_features: int, dtype: torch.dtype, embedding: Embedding
) -> int:
    """Send two rows through: no attribute of a user's module has to say it."""
    was_training = module.training
    with torch.no_grad():
        rows = module.eval()(torch.zeros(2, n_features, dtype=dtype))
    module.train(was_training)
    if not isinstance(rows, Tensor) or rows.ndim < 2 or len(rows) != 2:
        got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(
            f"{embedding!r} must map (batch, n_features) to (batch, ...). It made "
            f"{got!r} of a table of shape {(2, n_features)!r}."
        )
    return rows[0].numel()


def resolve_embedding(
    spec: Any, *, parameter: str = "embedding", owner: str = "TabularNetwork"
) -> Embedding:
    """Turn what a user gave into an embedding.

    Parameters
    ----------
    spec : str, None, Embedding, class or callable
        A name in :data:`EMBEDDINGS`; None for ``"none"``; an embedding; a class of
        one; or anything that makes a module from the number of features.
    parameter, owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    Embedding
        The embedding; a user's function is wrapped in :class:`CustomEmbedding`.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is none of the above.

    Examples
    --------
    >>> from sknorm.nn.embeddings import resolve_embedding
    >>> resolve_embedding("linear")
    LinearReLU(d_embedding=16, activation=True)
    """
    if spec is None:
        spec = "none"
    if isinstance(spec, Embedding):
        return spec
    if isinstance(spec, str):
        return EMBEDDINGS.get_named(spec, parameter=parameter, owner=owner)()
    if inspect.isclass(spec) and issubclass(spec, Embedding):
        return spec()
    is_factory = not inspect.isclass(spec) or issubclass(spec, nn.Module)
    if callable(spec) and is_factory and not isinstance(spec, nn.Module):
        return CustomEmbedding(spec)
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(EMBEDDINGS)}, an embedding such as PiecewiseLinear(n_bins=32), or "
        f"a class or function that makes an nn.Module from the number of features. Got "
        f"{spec!r}."
    )
