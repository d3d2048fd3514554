"""What an entry is, the table of them, and how a user's choice becomes one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from sknorm._registry import Registry

__all__ = [
    "NORMS",
    "Norm",
    "needs_batch_statistics",
    "resolve_norm",
]


@dataclass(frozen=True)
class Norm:
    """How a normalization layer is made and where it stands.

    Parameters
    ----------
    name : str
        What it is called in the table and in reports.
    factory : callable
        Makes the layer: from the number of features if it acts on the signal, from the
        ``nn.Linear`` it replaces if it acts on the weight.
    acts_on : {"signal", "weight", "nothing"}, default="signal"
        What is normalized.
    min_features : int, default=1
        The narrowest layer it makes sense for: what subtracts the mean over the
        features leaves nothing of a single one.

    Examples
    --------
    >>> from sknorm.nn.norms import NORMS
    >>> NORMS["layer"].build(8).normalized_shape
    (8,)
    """

    name: str
    factory: Callable[[Any], nn.Module]
    acts_on: Literal["signal", "weight", "nothing"] = "signal"
    min_features: int = 1

    def build(self, num_features: int) -> nn.Module:
        """Make the layer for a signal of so many features.

        Parameters
        ----------
        num_features : int
            Width of the layer before it.

        Returns
        -------
        nn.Module
            A fresh layer.

        Raises
        ------
        ValueError
            If the layer is too narrow to be normalized this way.
        TypeError
            If the norm acts on the weight, so is not made from a width, or the factory
            doesn't make a module.
        """
        if self.acts_on == "weight":
            raise TypeError(
                f"norm={self.name!r} acts on the weight and is made from the nn.Linear "
                f"it replaces: use factory(linear). Got the width {num_features!r}."
            )
        if num_features < self.min_features:
            raise ValueError(
                f"norm={self.name!r} takes its statistics over the units of a layer "
                f"and needs at least {self.min_features} of them. Got a hidden layer "
                f"of {num_features}. Widen hidden_layer_sizes, or use norm='batch' or "
                "'none'."
            )
        module = self.factory(num_features)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"The norm {self.name!r} must make an nn.Module from the number of "
                f"features. Got {module!r}."
            )
        return module


def needs_batch_statistics(module: nn.Module) -> bool:
    """Tell whether a module, in training, takes statistics over the rows of a batch.

    Parameters
    ----------
    module : nn.Module
        One layer.

    Returns
    -------
    bool
        True for BatchNorm and what is derived from it.

    Examples
    --------
    >>> from torch import nn
    >>> from sknorm.nn.norms import needs_batch_statistics
    >>> needs_batch_statistics(nn.BatchNorm1d(3)), needs_batch_statistics(nn.ReLU())
    (True, False)
    """
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


NORMS: Registry[Norm] = Registry("norm")


def add(norm: Norm) -> None:
    """File an entry under its own name."""
    NORMS.register(norm.name)(norm)


# A function, not a lambda: an entry that was pickled is equal to the one in the table.
def _identity(num_features: int) -> nn.Module:
    return nn.Identity()


add(Norm("none", _identity, acts_on="nothing"))


def resolve_norm(spec: Any, *, parameter: str = "norm", owner: str = "MLP") -> Norm:
    """Turn what a user gave into an entry of the table.

    Parameters
    ----------
    spec : str, None, Norm, class or callable
        A name in :data:`NORMS`; None for ``"none"``; an entry; or anything that makes
        a module from the number of features.
    parameter, owner : str
        Whose parameter it is, for the error message.

    Returns
    -------
    Norm
        An entry of the table, or one made for what was given.

    Raises
    ------
    ValueError
        If the name is unknown, or the layer is an instance norm, which can't work on
        tables.
    TypeError
        If it is none of the above, such as a class that isn't a module's.

    Examples
    --------
    >>> import functools
    >>> from torch import nn
    >>> from sknorm.nn.norms import resolve_norm
    >>> resolve_norm(functools.partial(nn.GroupNorm, 4)).build(8).num_groups
    4
    """
    if spec is None:
        return NORMS["none"]
    if isinstance(spec, Norm):
        return spec
    if isinstance(spec, str):
        return NORMS.get_named(spec, parameter=parameter, owner=owner)
    made = spec.func if isinstance(spec, functools.partial) else spec
    if isinstance(made, type):
        if issubclass(made, nn.modules.instancenorm._InstanceNorm):
            raise ValueError(
                f"The {parameter!r} parameter of {owner} can't be {made.__name__}: it "
                "reads a table of shape (rows, features) as one sample of shape "
                "(channels, length), not as a batch. Use norm='layer' to normalize "
                "each row."
            )
        makes_modules = issubclass(made, nn.Module)
    else:
        makes_modules = callable(made) and not isinstance(made, nn.Module)
    if not makes_modules:
        raise TypeError(
            f"The {parameter!r} parameter of {owner} must be a name among "
            f"{', '.join(NORMS)}, None, or a class or function that makes an nn.Module "
            f"from the number of features. Got {spec!r}."
        )
    # What normalizes a row by itself leaves nothing of a row of one number.
    narrowest = 2 if made in (nn.LayerNorm, nn.RMSNorm) else 1
    name = getattr(made, "__name__", type(made).__name__)
    return Norm(name, spec, min_features=narrowest)
