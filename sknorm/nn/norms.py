"""The table of normalization layers.

An entry says how the layer is made and what it acts on: the signal between layers, or
the weight of a layer.
"""

from __future__ import annotations

import functools
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


class GhostBatchNorm(nn.BatchNorm1d):
    r"""Batch normalization over parts of a batch, as if the batch were small.

    Parameters
    ----------
    num_features : int
        Number of features.
    virtual_batch_size : int, default=32
        Rows that share their statistics, at least 2. Rows left over at the end of a
        batch are a part of their own if they fill half a virtual batch, and join the
        part before them otherwise.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float or None, default=0.1
        Share of a part's statistics in the new running ones; None for the plain
        average over all parts.
    affine : bool, default=True
        Whether each feature has a learned scale (gamma) and shift (beta).
    device : torch.device, default=None
        Where the parameters are made.
    dtype : torch.dtype, default=None
        Precision of the parameters.

    Raises
    ------
    ValueError
        If ``virtual_batch_size`` is below 2; in training, if a batch has one row.

    Notes
    -----
    In training each part is normalized by its own mean :math:`\mu` and biased variance
    :math:`\sigma^2`, :math:`y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} +
    \beta`, and moves the running statistics one step, as a batch of its own would
    have. Evaluation is BatchNorm's. A batch of one part is normalized by BatchNorm
    exactly.

    The paper takes 128 rows out of batches of 4096. Tables are mostly learned from
    batches of a few hundred, of which 128 would leave one part.

    References
    ----------
    E. Hoffer, I. Hubara and D. Soudry, "Train longer, generalize better: closing the
    generalization gap in large batch training of neural networks", NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import GhostBatchNorm
    >>> norm = GhostBatchNorm(1, virtual_batch_size=2)
    >>> y = norm(torch.tensor([[1.0], [3.0], [10.0], [50.0]]))
    >>> y.detach().round().ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(
        self,
        num_features: int,
        *,
        virtual_batch_size: int = 32,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if virtual_batch_size < 2:
            raise ValueError(
                "The 'virtual_batch_size' parameter of GhostBatchNorm must be at least "
                f"2, to have a variance. Got {virtual_batch_size!r}."
            )
        super().__init__(
            num_features, eps, momentum, affine, device=device, dtype=dtype
        )
        self.virtual_batch_size = virtual_batch_size

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (n_rows, num_features) part by part."""
        normalize = super().forward
        n_full, tail = divmod(len(input), self.virtual_batch_size)
        stands_alone = tail >= max(2, self.virtual_batch_size / 2)
        n_parts = n_full + stands_alone
        if not self.training or n_parts <= 1:
            return normalize(input)
        sizes = [self.virtual_batch_size] * (n_parts - 1)
        parts = torch.split(input, [*sizes, len(input) - sum(sizes)])
        return torch.cat([normalize(part) for part in parts])

    def extra_repr(self) -> str:
        """Show the size of the parts beside BatchNorm's own parameters."""
        return f"{super().extra_repr()}, virtual_batch_size={self.virtual_batch_size}"


class BatchRenorm(nn.BatchNorm1d):
    r"""Batch normalization corrected toward its running statistics.

    Parameters
    ----------
    num_features : int
        Number of features.
    r_max : float, default=3.0
        Largest correction of the scale, at least 1.
    d_max : float, default=5.0
        Largest correction of the shift, in running standard deviations, at least 0.
    warm_up : int, default=1000
        Batches of plain batch normalization. Over as many again the corrections
        allowed grow linearly to ``r_max`` and ``d_max``. Even with 0 the first batch
        is plain: there are no running statistics yet to correct it toward.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float or None, default=0.1
        Share of a batch's statistics in the new running ones; None for the plain
        average over all batches.
    affine : bool, default=True
        Whether each feature has a learned scale (gamma) and shift (beta).
    device : torch.device, default=None
        Where the parameters are made.
    dtype : torch.dtype, default=None
        Precision of the parameters.

    Raises
    ------
    ValueError
        If ``r_max``, ``d_max`` or ``warm_up`` is too small; in training, if the input
        isn't a table of ``num_features`` columns with at least two rows.

    Notes
    -----
    With the batch's mean :math:`\mu_B` and biased variance :math:`\sigma_B^2`, the
    running :math:`\mu` and :math:`\sigma^2` from before the batch, and
    :math:`\epsilon` added to both variances, training computes

    .. math::

        y &= \gamma \left(\frac{x - \mu_B}{\sigma_B} r + d\right) + \beta, \\
        r &= \mathrm{clip}(\sigma_B / \sigma,\ 1 / r_{max},\ r_{max}), \\
        d &= \mathrm{clip}((\mu_B - \mu) / \sigma,\ -d_{max},\ d_{max}),

    where the gradient takes :math:`r` and :math:`d` for constants. Where nothing is
    clipped that is :math:`\gamma (x - \mu) / \sigma + \beta`, what evaluation
    computes, so both agree even on small batches. With ``r_max=1`` and ``d_max=0`` it
    is batch normalization.

    The paper's corrections grow over 25 000 batches and more, longer than most tables
    are trained on: the default here is shorter.

    References
    ----------
    S. Ioffe, "Batch Renormalization: Towards Reducing Minibatch Dependence in
    Batch-Normalized Models", NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import BatchRenorm
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> norm = BatchRenorm(1, warm_up=0, eps=0.0)
    >>> norm(x).ravel().tolist()
    [-1.0, 1.0]
    >>> norm.running_mean.fill_(0.0), norm.running_var.fill_(1.0)
    (tensor([0.]), tensor([1.]))
    >>> norm(x).ravel().tolist()
    [1.0, 3.0]
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        r_max: float = 3.0,
        d_max: float = 5.0,
        warm_up: int = 1000,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if r_max < 1 or d_max < 0 or warm_up < 0:
            raise ValueError(
                "BatchRenorm needs r_max >= 1, d_max >= 0 and warm_up >= 0. Got "
                f"r_max={r_max!r}, d_max={d_max!r}, warm_up={warm_up!r}."
            )
        super().__init__(
            num_features, eps, momentum, affine, device=device, dtype=dtype
        )
        self.r_max = r_max
        self.d_max = d_max
        self.warm_up = warm_up

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (n_rows, num_features)."""
        if not self.training:
            return super().forward(input)
        self._check_batch(input)
        variance, mean = torch.var_mean(input, dim=0, correction=0)
        std = (variance + self.eps).sqrt()
        r, d = self._corrections(mean, std)
        self._update(mean, variance, len(input))
        normalized = (input - mean) / std * r + d
        if self.affine:
            normalized = normalized * self.weight + self.bias
        return normalized

    def _check_batch(self, input: Tensor) -> None:
        if input.ndim != 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"BatchRenorm expected input of shape (n_rows, {self.num_features}). "
                f"Got {tuple(input.shape)!r}."
            )
        if len(input) < 2:
            raise ValueError(
                "BatchRenorm expected more than 1 row in training, to have a "
                f"variance. Got input of shape {tuple(input.shape)!r}. Use a larger "
                "batch, or eval()."
            )

    @torch.no_grad()
    def _corrections(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        # The count stays a tensor: reading it would make a GPU wait at every step.
        steps = (self.num_batches_tracked - self.warm_up).to(std.dtype)
        share = (steps / max(self.warm_up, 1)).clamp(0.0, 1.0)
        r_max, d_max = 1.0 + (self.r_max - 1.0) * share, self.d_max * share
        running_std = (self.running_var + self.eps).sqrt()
        r = (std / running_std).clamp(1.0 / r_max, r_max)
        d = ((mean - self.running_mean) / running_std).clamp(-d_max, d_max)
        return r, d

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, n_rows: int) -> None:
        self.num_batches_tracked.add_(1)
        share: float | Tensor
        if self.momentum is None:  # the plain average over all batches, as in BatchNorm
            share = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        else:
            share = self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (n_rows / (n_rows - 1)), share)

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
        self.register_parameter("bias", linear.bias)
        self.train(linear.training)

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
        The layer to replace. Its function is unchanged, and its parameters are taken
        over: ``weight`` holds the directions :math:`v`.

    Attributes
    ----------
    weight_g : nn.Parameter of shape (out_features,)
        The lengths :math:`g`; a vector, so that weight decay, which is for matrices,
        leaves it alone.

    Notes
    -----
    :math:`W = g \, v / \|v\|` for each output, with :math:`g` starting at
    :math:`\|v\|`. A row of zeros has no direction to learn and stays one.

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
        self.weight_g = nn.Parameter(linear.weight.detach().norm(dim=1))

    def normalized_weight(self) -> Tensor:
        """Return g v / |v|."""
        return self.weight_g[:, None] * F.normalize(self.weight, dim=1)


# Two products of the weight with a vector each: cheap beside one epoch.
_FIRST_POWER_ITERATIONS = 100


class SpectralNormLinear(_ReparametrizedLinear):
    r"""A linear layer whose largest singular value is held at 1.

    Parameters
    ----------
    linear : nn.Linear
        The layer to replace; its parameters are taken over.
    n_power_iterations : int, default=1
        Steps of the power method in each forward pass of training, at least 1.

    Raises
    ------
    ValueError
        If ``n_power_iterations`` is below 1.

    Notes
    -----
    :math:`W / \sigma` with :math:`\sigma = u^\top W v`, where :math:`u` and :math:`v`
    approach the leading singular vectors by the power method and are constants for the
    gradient. They are kept between steps, and evaluation leaves them alone. A hundred
    steps are made at the start, after which :math:`\sigma` of random weights is right
    to about 0.1 %. Weights that are all zero are not divided.

    References
    ----------
    T. Miyato, T. Kataoka, M. Koyama and Y. Yoshida, "Spectral Normalization for
    Generative Adversarial Networks", ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from sknorm.nn.norms import SpectralNormLinear
    >>> linear = torch.nn.Linear(2, 2)
    >>> _ = linear.weight.data.copy_(torch.tensor([[8.0, 0.0], [0.0, 2.0]]))
    >>> SpectralNormLinear(linear).normalized_weight().tolist()
    [[1.0, 0.0], [0.0, 0.25]]
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
        # Random, because what is read off structured weights may be orthogonal to
        # their leading direction; of its own generator, so that no other one moves.
        start = torch.randn(
            linear.in_features, generator=torch.Generator().manual_seed(0)
        )
        self.register_buffer("v", F.normalize(start.to(linear.weight), dim=0))
        self.register_buffer("u", linear.weight.new_zeros(linear.out_features))
        self._iterate(_FIRST_POWER_ITERATIONS)

    @torch.no_grad()
    def _iterate(self, steps: int) -> None:
        # New tensors: the backward pass of an earlier forward still reads the old ones.
        for _ in range(steps):
            self.u = F.normalize(self.weight @ self.v, dim=0)
            v = F.normalize(self.weight.T @ self.u, dim=0)
            # Zero weights have no direction, but may get one later.
            self.v = torch.where(v.any(), v, self.v)

    def normalized_weight(self) -> Tensor:
        """Return W / sigma_max(W), zeros if W is."""
        if self.training:
            self._iterate(self.n_power_iterations)
        sigma = torch.dot(self.u, self.weight @ self.v)
        return self.weight / torch.where(sigma > 0, sigma, 1.0)

    def extra_repr(self) -> str:
        """Show the number of steps beside Linear's own parameters."""
        return f"{super().extra_repr()}, n_power_iterations={self.n_power_iterations}"


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


# Functions, not partials: an entry that was pickled is equal to the one in the table.
def _identity(num_features: int) -> nn.Module:
    return nn.Identity()


def _rms_norm(num_features: int) -> nn.Module:
    # The eps of the others; torch's own default changes with the dtype.
    return nn.RMSNorm(num_features, eps=1e-5)


NORMS: Registry[Norm] = Registry("norm")
for _norm in (
    Norm("none", _identity, acts_on="nothing"),
    Norm("batch", nn.BatchNorm1d),
    Norm("layer", nn.LayerNorm, min_features=2),
    Norm("rms", _rms_norm, min_features=2),
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
