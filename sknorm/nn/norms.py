"""The table of normalization layers.

An entry says how the layer is made and what it acts on: the signal between layers, or
the weight of a layer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sknorm._registry import Registry

__all__ = [
    "NORMS",
    "BatchRenorm",
    "DynamicTanh",
    "GhostBatchNorm",
    "Norm",
    "SpectralNormLinear",
    "WeightNormLinear",
    "group_norm",
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
    >>> NORMS["layer"].build(8)
    LayerNorm((8,), eps=1e-05, elementwise_affine=True)
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

        Raises
        ------
        ValueError
            If the layer is too narrow to be normalized this way.
        TypeError
            If the factory doesn't make a module.
        """
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

    Examples
    --------
    >>> from torch import nn
    >>> from sknorm.nn.norms import needs_batch_statistics
    >>> needs_batch_statistics(nn.BatchNorm1d(3)), needs_batch_statistics(nn.ReLU())
    (True, False)
    """
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


class GhostBatchNorm(nn.BatchNorm1d):
    r"""Batch normalization over parts of a batch, as if the batch were small.

    Parameters
    ----------
    num_features : int
        Number of features.
    virtual_batch_size : int, default=32
        Rows that share their statistics. A part smaller than half of it, at the end
        of a batch, joins the one before.
    **kwargs : dict
        ``eps``, ``momentum``, ``affine``, ``device`` and ``dtype`` of
        :class:`torch.nn.BatchNorm1d`.

    Notes
    -----
    In training each part is normalized by its own mean and biased variance. Running
    statistics move once a part; evaluation uses them as BatchNorm does.

    References
    ----------
    E. Hoffer, I. Hubara and D. Soudry, "Train longer, generalize better: closing the
    generalization gap in large batch training of neural networks", NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import GhostBatchNorm
    >>> GhostBatchNorm(4, virtual_batch_size=16)(torch.randn(40, 4)).shape
    torch.Size([40, 4])
    """

    def __init__(
        self, num_features: int, *, virtual_batch_size: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(num_features, **kwargs)
        if virtual_batch_size < 2:
            raise ValueError(
                "The 'virtual_batch_size' parameter of GhostBatchNorm must be at least "
                f"2, to have a variance. Got {virtual_batch_size!r}."
            )
        self.virtual_batch_size = virtual_batch_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (n_rows, num_features) part by part."""
        size = self.virtual_batch_size
        # Half a virtual batch, at least two rows, stands alone; less joins the last.
        n_parts = max(1, (len(input) + size - max(2, (size + 1) // 2)) // size)
        if not self.training or n_parts == 1:
            return super().forward(input)
        sizes = [size] * (n_parts - 1) + [len(input) - size * (n_parts - 1)]
        parts = torch.split(input, sizes)
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])

    def extra_repr(self) -> str:
        """Show the size of the parts beside BatchNorm's own parameters."""
        return f"{super().extra_repr()}, virtual_batch_size={self.virtual_batch_size}"


class BatchRenorm(nn.BatchNorm1d):
    r"""Batch normalization corrected toward its running statistics.

    Parameters
    ----------
    num_features : int
        Number of features.
    r_max, d_max : float, default=3.0 and 5.0
        Largest correction of the scale and of the shift.
    warm_up : int, default=1000
        Steps of plain batch normalization, after which the corrections grow to their
        largest over as many steps again.
    **kwargs : dict
        ``eps``, ``momentum``, ``affine``, ``device`` and ``dtype`` of
        :class:`torch.nn.BatchNorm1d`.

    Notes
    -----
    In training :math:`\hat x = (x - \mu_B) / \sigma_B \cdot r + d` with
    :math:`r = \mathrm{clip}(\sigma_B / \sigma, 1 / r_{max}, r_{max})` and
    :math:`d = \mathrm{clip}((\mu_B - \mu) / \sigma, -d_{max}, d_{max})`, constants for
    the gradient. Where nothing is clipped, that is what evaluation will do, so training
    and evaluation agree even on small batches.

    References
    ----------
    S. Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in
    Batch-Normalized Models", NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import BatchRenorm
    >>> BatchRenorm(4)(torch.randn(8, 4)).shape
    torch.Size([8, 4])
    """

    def __init__(
        self,
        num_features: int,
        *,
        r_max: float = 3.0,
        d_max: float = 5.0,
        warm_up: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_features, **kwargs)
        if r_max < 1 or d_max < 0 or warm_up < 0:
            raise ValueError(
                "BatchRenorm needs r_max >= 1, d_max >= 0 and warm_up >= 0. Got "
                f"r_max={r_max!r}, d_max={d_max!r}, warm_up={warm_up!r}."
            )
        self.r_max = r_max
        self.d_max = d_max
        self.warm_up = warm_up

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (n_rows, num_features)."""
        if not self.training:
            return super().forward(input)
        if len(input) < 2:
            raise ValueError(
                "Expected more than 1 row when training BatchRenorm, got input of "
                f"shape {tuple(input.shape)!r}."
            )
        variance, mean = torch.var_mean(input, dim=0, correction=0)
        std = (variance + self.eps).sqrt()
        r, d = self._corrections(mean, std)
        self._update(mean, variance, len(input))
        normalized = (input - mean) / std * r + d
        if self.affine:
            normalized = normalized * self.weight + self.bias
        return normalized

    @torch.no_grad()
    def _corrections(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        share = 1.0
        if self.warm_up:
            steps = int(self.num_batches_tracked) - self.warm_up
            share = min(max(steps / self.warm_up, 0.0), 1.0)
        r_max, d_max = 1.0 + (self.r_max - 1.0) * share, self.d_max * share
        running_std = (self.running_var + self.eps).sqrt()
        r = (std / running_std).clamp(1.0 / r_max, r_max)
        d = ((mean - self.running_mean) / running_std).clamp(-d_max, d_max)
        return r, d

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, n_rows: int) -> None:
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # the plain average over all batches, as in BatchNorm
            momentum = 1.0 / float(self.num_batches_tracked)
        unbiased = variance * (n_rows / (n_rows - 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)

    def extra_repr(self) -> str:
        """Show the corrections beside BatchNorm's own parameters."""
        return (
            f"{super().extra_repr()}, r_max={self.r_max}, d_max={self.d_max}, "
            f"warm_up={self.warm_up}"
        )


class DynamicTanh(nn.Module):
    r"""Squash instead of normalizing: no statistics at all.

    Parameters
    ----------
    num_features : int
        Number of features.
    alpha_init : float, default=0.5
        Where the slope starts.
    device, dtype : torch.device and torch.dtype, default=None
        As for torch's own layers.

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


class _ReparametrizedLinear(nn.Linear):
    """A linear layer whose weight is computed from the one it stores.

    torch's own ``parametrize`` can't be pickled, so the two needed are modules.
    """

    def __init__(self, linear: nn.Linear) -> None:
        # The layer's own tensors: drawing new ones would move the global generator.
        nn.Module.__init__(self)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.weight = linear.weight
        self.bias = linear.bias

    def normalized_weight(self) -> Tensor:
        """Return the weight that is applied."""
        raise TypeError(f"{type(self).__name__} has to define normalized_weight().")

    def forward(self, input: Tensor) -> Tensor:
        """Apply the normalized weight."""
        return F.linear(input, self.normalized_weight(), self.bias)


class WeightNormLinear(_ReparametrizedLinear):
    r"""A linear layer that learns length and direction of its weights apart.

    Parameters
    ----------
    linear : nn.Linear
        The layer to replace; its function is unchanged by it.

    Notes
    -----
    :math:`W = g \, v / \|v\|` for each output, with :math:`g` starting at
    :math:`\|v\|`. A row of zeros stays one.

    References
    ----------
    T. Salimans and D. Kingma, "Weight Normalization: A Simple Reparameterization to
    Accelerate Training of Deep Neural Networks", NeurIPS 2016.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import WeightNormLinear
    >>> linear, x = torch.nn.Linear(3, 2), torch.randn(4, 3)
    >>> bool(torch.allclose(WeightNormLinear(linear)(x), linear(x), atol=1e-6))
    True
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        length = linear.weight.detach().norm(dim=1, keepdim=True)
        self.weight_g = nn.Parameter(length)

    def normalized_weight(self) -> Tensor:
        """Return g v / |v|."""
        return self.weight_g * F.normalize(self.weight, dim=1)


class SpectralNormLinear(_ReparametrizedLinear):
    r"""A linear layer whose largest singular value is held at 1.

    Parameters
    ----------
    linear : nn.Linear
        The layer to replace.
    n_power_iterations : int, default=1
        Steps of the power method in each forward pass of training.

    Notes
    -----
    :math:`W / \sigma_{max}(W)`, the singular value estimated by power iteration on
    vectors that are kept between steps. Fifteen steps are made at the start.

    References
    ----------
    T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida, "Spectral Normalization for
    Generative Adversarial Networks", ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import SpectralNormLinear
    >>> layer = SpectralNormLinear(torch.nn.Linear(3, 1))
    >>> round(float(layer.normalized_weight().norm()), 4)
    1.0
    """

    u: Tensor
    v: Tensor

    def __init__(self, linear: nn.Linear, *, n_power_iterations: int = 1) -> None:
        super().__init__(linear)
        if n_power_iterations < 1:
            raise ValueError(
                "The 'n_power_iterations' parameter of SpectralNormLinear must be at "
                f"least 1. Got {n_power_iterations!r}."
            )
        self.n_power_iterations = n_power_iterations
        weight = linear.weight.detach()
        # The longest row is deterministic, and orthogonal to the leading direction only
        # if that has no share in it.
        row = weight[weight.norm(dim=1).argmax()]
        self.register_buffer("v", F.normalize(row, dim=0))
        self.register_buffer("u", F.normalize(weight @ self.v, dim=0))
        self._iterate(15)

    @torch.no_grad()
    def _iterate(self, steps: int) -> None:
        # New tensors: the backward pass of an earlier forward still reads the old ones.
        for _ in range(steps):
            self.v = F.normalize(self.weight.T @ self.u, dim=0)
            self.u = F.normalize(self.weight @ self.v, dim=0)

    def normalized_weight(self) -> Tensor:
        """Return W / sigma_max(W), zeros if W is."""
        if self.training:
            self._iterate(self.n_power_iterations)
        sigma = torch.dot(self.u, self.weight @ self.v)
        smallest = torch.finfo(sigma.dtype).tiny
        return self.weight / sigma.clamp(min=smallest)


def group_norm(num_features: int, *, max_groups: int = 8) -> nn.GroupNorm:
    """Make a GroupNorm with as many groups as divide the features, up to a limit.

    Parameters
    ----------
    num_features : int
        Number of features, at least 2.
    max_groups : int, default=8
        Largest number of groups.

    Returns
    -------
    nn.GroupNorm
        Each group has at least two features; a prime number of them makes one group.

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
    groups = max(g for g in range(1, largest + 1) if num_features % g == 0)
    return nn.GroupNorm(groups, num_features)


def _identity(num_features: int) -> nn.Module:
    return nn.Identity()


NORMS: Registry[Norm] = Registry("norm")
for _norm in (
    Norm("none", _identity, acts_on="nothing"),
    Norm("batch", nn.BatchNorm1d),
    Norm("layer", nn.LayerNorm, min_features=2),
    Norm("rms", functools.partial(nn.RMSNorm, eps=1e-5), min_features=2),
    Norm("group", group_norm, min_features=2),
    Norm("ghost_batch", GhostBatchNorm),
    Norm("batch_renorm", BatchRenorm),
    Norm("weight", WeightNormLinear, acts_on="weight"),
    Norm("spectral", SpectralNormLinear, acts_on="weight"),
    Norm("dynamic_tanh", DynamicTanh),
):
    NORMS.register(_norm.name)(_norm)


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

    Raises
    ------
    ValueError
        If the name is unknown, or the layer can't work on tables.
    TypeError
        If it is none of the above.

    Examples
    --------
    >>> import functools
    >>> from torch import nn
    >>> from sknorm.nn.norms import resolve_norm
    >>> resolve_norm(functools.partial(nn.GroupNorm, 4)).build(8)
    GroupNorm(4, 8, eps=1e-05, affine=True)
    """
    if spec is None:
        return NORMS["none"]
    if isinstance(spec, Norm):
        return spec
    if isinstance(spec, str):
        return NORMS.get_named(spec, parameter=parameter, owner=owner)
    made = spec.func if isinstance(spec, functools.partial) else spec
    if inspect.isclass(made) and issubclass(
        made, nn.modules.instancenorm._InstanceNorm
    ):
        raise ValueError(
            f"The {parameter!r} parameter of {owner} can't be {made.__name__}: it "
            "reads a table of shape (rows, features) as one sample with channels and "
            "mixes the rows. Use norm='layer' to normalize each row."
        )
    if callable(spec) and not isinstance(spec, nn.Module):
        narrowest = 2 if made is nn.LayerNorm else 1
        name = getattr(made, "__name__", type(made).__name__)
        return Norm(name, spec, min_features=narrowest)
    raise TypeError(
        f"The {parameter!r} parameter of {owner} must be a name among "
        f"{', '.join(NORMS)}, None, or a class or function that makes a module from "
        f"the number of features. Got {spec!r}."
    )
