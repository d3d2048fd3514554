"""Norms whose statistics are taken over the rows of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sknorm.nn.norms._table import Norm, add

__all__ = [
    "BatchRenorm",
    "GhostBatchNorm",
]


add(Norm("batch", nn.BatchNorm1d))


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


add(Norm("ghost_batch", GhostBatchNorm))


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
        # What autocast has made shorter is too short for a sum over rows.
        input = input.to(self.running_mean.dtype)
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


add(Norm("batch_renorm", BatchRenorm))
