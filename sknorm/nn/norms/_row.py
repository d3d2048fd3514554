"""Norms that treat each row by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sknorm.nn.norms._table import Norm, add

__all__ = [
    "DynamicTanh",
    "group_norm",
]


add(Norm("layer", nn.LayerNorm, min_features=2))


def _rms_norm(num_features: int) -> nn.Module:
    # The eps of the others; torch's own default changes with the dtype.
    norm = nn.RMSNorm(num_features, eps=1e-5)
    norm.register_forward_pre_hook(_in_precision_of_weight)
    return norm


def _in_precision_of_weight(norm: nn.Module, inputs: tuple) -> tuple[Tensor]:
    # Under autocast it isn't, of which torch warns.
    (x,) = inputs
    return (x.to(norm.weight.dtype),)


add(Norm("rms", _rms_norm, min_features=2))


def group_norm(num_features: int, *, max_groups: int = 8) -> nn.GroupNorm:
    """Make a GroupNorm with as many groups as can be, up to a limit.

    Parameters
    ----------
    num_features : int
        Number of features, at least 2.
    max_groups : int, default=8
        Largest number of groups, at least 1.

    Returns
    -------
    nn.GroupNorm
        Groups are of equal size and have at least two features. A prime number of
        features makes one group, which is layer normalization.

    Raises
    ------
    ValueError
        If there is one feature, or no group is allowed.

    References
    ----------
    Y. Wu and K. He, "Group Normalization", ECCV 2018.

    Examples
    --------
    >>> from sknorm.nn.norms import group_norm
    >>> group_norm(12).num_groups
    6
    """
    largest = min(max_groups, num_features // 2)
    if largest < 1:
        raise ValueError(
            "group_norm needs num_features >= 2 and max_groups >= 1. Got "
            f"num_features={num_features!r}, max_groups={max_groups!r}."
        )
    groups = max(g for g in range(1, largest + 1) if num_features % g == 0)
    return nn.GroupNorm(groups, num_features)


add(Norm("group", group_norm, min_features=2))


class DynamicTanh(nn.Module):
    r"""Squash instead of normalizing: no statistics at all.

    Parameters
    ----------
    num_features : int
        Number of features.
    alpha_init : float, default=0.5
        Where the slope starts.
    device : torch.device, default=None
        Where the parameters are made.
    dtype : torch.dtype, default=None
        Precision of the parameters.

    Notes
    -----
    :math:`\gamma \tanh(\alpha x) + \beta` with one learned :math:`\alpha` and a
    :math:`\gamma` and :math:`\beta` for each feature.

    References
    ----------
    J. Zhu, X. Chen, K. He, Y. LeCun and Z. Liu, "Transformers without Normalization",
    CVPR 2025.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import DynamicTanh
    >>> DynamicTanh(2)(torch.zeros(1, 2)).tolist()
    [[0.0, 0.0]]
    """

    def __init__(
        self,
        num_features: int,
        *,
        alpha_init: float = 0.5,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.num_features = num_features
        self.alpha_init = alpha_init
        self.alpha = nn.Parameter(torch.full((1,), alpha_init, **kwargs))
        self.weight = nn.Parameter(torch.ones(num_features, **kwargs))
        self.bias = nn.Parameter(torch.zeros(num_features, **kwargs))

    def forward(self, input: Tensor) -> Tensor:
        """Squash each feature."""
        return torch.tanh(self.alpha * input) * self.weight + self.bias

    def extra_repr(self) -> str:
        """Show the parameters."""
        return f"{self.num_features}, alpha_init={self.alpha_init}"


add(Norm("dynamic_tanh", DynamicTanh))
