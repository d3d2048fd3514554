"""What a network is trained on: one number for a batch of weighted rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Loss", "SquaredError"]


class Loss(nn.Module):
    """A loss per row, averaged over the rows of a batch.

    Weights are expected with mean 1 over the whole training set. A batch divides by its
    number of rows and not by its sum of weights: that keeps the gradient of a small
    batch an unbiased estimate of the whole set's.

    Outputs of shape (n_rows, n_members, n_outputs) are those of many networks in one.
    Each is trained by its own loss, of which the mean is taken.
    """

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """Return the weighted mean over the rows, a scalar."""
        if output.ndim == 3:
            n_rows, n_members = output.shape[:2]
            each = target.repeat_interleave(n_members, dim=0)
            losses = self.per_row(output.flatten(0, 1), each)
            per_row = losses.view(n_rows, n_members).mean(dim=1)
        else:
            per_row = self.per_row(output, target)
        if weight is not None:
            per_row = per_row * weight
        return per_row.mean()

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, shape (n_rows,)."""
        raise TypeError(f"{type(self).__name__} has to define per_row().")

    def link(self, output: Tensor) -> Tensor:
        """Turn the network's output into what is predicted: itself by default."""
        return output

    def combine(self, output: Tensor) -> Tensor:
        """Return (n_rows, n_outputs): of members, what gives the mean prediction."""
        return output.mean(dim=1) if output.ndim == 3 else output


class CrossEntropy(Loss):
    """Softmax cross-entropy over classes given as integers."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of each row in nats."""
        return F.cross_entropy(
            output, target, reduction="none", label_smoothing=self.label_smoothing
        )

    def link(self, output: Tensor) -> Tensor:
        """Return class probabilities."""
        return torch.softmax(output, dim=-1)

    def combine(self, output: Tensor) -> Tensor:
        """Return logits, of members the logarithms of their mean probabilities."""
        if output.ndim < 3:
            return output
        logs = torch.log_softmax(output, dim=2)
        return torch.logsumexp(logs, dim=1) - math.log(output.shape[1])


class BinaryCrossEntropy(Loss):
    """Logistic loss averaged over independent labels given as 0 and 1."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over labels of the cross-entropy of each row in nats."""
        smooth = target * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        loss = F.binary_cross_entropy_with_logits(output, smooth, reduction="none")
        return loss.mean(dim=1)

    def link(self, output: Tensor) -> Tensor:
        """Return the probability of each label."""
        return torch.sigmoid(output)

    def combine(self, output: Tensor) -> Tensor:
        """Return logits, of members those of their mean probabilities."""
        if output.ndim < 3:
            return output
        present, absent = (
            torch.logsumexp(F.logsigmoid(side), dim=1) for side in (output, -output)
        )
        return present - absent


class SquaredError(Loss):
    """Squared error averaged over outputs, in the units of the given targets."""

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over outputs of the squared error of each row."""
        return (output - target).square().mean(dim=1)
