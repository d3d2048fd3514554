"""Norms of the weight instead of the signal."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sknorm.nn.norms._table import Norm, add

__all__ = [
    "SpectralNormLinear",
    "WeightNormLinear",
]


def _without_autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Keep the precision of the weight: its direction is followed over many steps."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


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
        with _without_autocast(self.weight.device):
            if self.training:
                self._iterate(self.n_power_iterations)
            sigma = torch.dot(self.u, self.weight @ self.v)
        return self.weight / torch.where(sigma > 0, sigma, 1.0)

    def extra_repr(self) -> str:
        """Show the number of steps beside Linear's own parameters."""
        return f"{super().extra_repr()}, n_power_iterations={self.n_power_iterations}"


add(Norm("weight", WeightNormLinear, acts_on="weight"))
add(Norm("spectral", SpectralNormLinear, acts_on="weight"))
