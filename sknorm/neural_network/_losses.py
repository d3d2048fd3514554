"""What a network is trained on: one number for a batch of weighted rows."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sknorm._registry import Registry

__all__ = [
    "REGRESSION_LOSSES",
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "Pinball",
    "Poisson",
    "SquaredError",
    "Tweedie",
]


class Loss(nn.Module):
    """A loss per row, averaged over the rows of a batch.

    Weights are expected with mean 1 over the whole training set. A batch divides by its
    number of rows and not by its sum of weights: that keeps the gradient of a small
    batch an unbiased estimate of the whole set's.

    Outputs of shape (n_rows, n_members, n_outputs) are those of many networks in one.
    Each is trained by its own loss, of which the mean is taken.
    """

    outputs_per_target: int = 1
    """How many outputs the network has for each column of the target."""

    predicts_logs: ClassVar[bool] = False
    """Whether outputs are logarithms of the mean, of targets with a natural zero."""

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

    def check_target(self, target: Tensor, name: str) -> None:
        """Raise a ValueError if the loss isn't defined for some of the targets."""


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
        return _log_mean_exp(torch.log_softmax(output, dim=2))


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


# By the names of scikit-learn, whose gradient boosting has them too.
REGRESSION_LOSSES: Registry[type[Loss]] = Registry("regression loss")


@REGRESSION_LOSSES.register("squared_error")
class SquaredError(Loss):
    """Squared error averaged over outputs, in the units of the given targets."""

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over outputs of the squared error of each row."""
        return (output - target).square().mean(dim=1)


@REGRESSION_LOSSES.register("absolute_error")
class AbsoluteError(Loss):
    """Absolute error averaged over outputs: it learns medians."""

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over outputs of the absolute error of each row."""
        return (output - target).abs().mean(dim=1)


@REGRESSION_LOSSES.register("huber")
class Huber(Loss):
    """Half the squared error up to ``delta``, beyond it a line of the same slope.

    ``delta`` is in the units of the given targets, which estimators standardize: theirs
    is one standard deviation of ``y``. Averaged over outputs.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if not (_is_number(delta) and delta > 0):
            raise ValueError(
                "The 'delta' parameter of Huber must be a finite number greater than "
                f"0. Got {delta!r}."
            )
        self.delta = delta

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over outputs of the error of each row."""
        loss = F.huber_loss(output, target, reduction="none", delta=self.delta)
        return loss.mean(dim=1)


@REGRESSION_LOSSES.register("quantile")
class Pinball(Loss):
    """Pinball loss of one or several quantiles, which never cross.

    The network has an output for each quantile of each target column, a column's side
    by side. Each is trained on the loss of its own quantile; what is predicted are the
    outputs in ascending order. A row whose quantiles cross is thereby mended, and its
    mean loss can't rise by it (Chernozhukov, Fernández-Val & Galichon, "Quantile and
    Probability Curves Without Crossing", Econometrica 2010). Unlike sums of positive
    steps this asks for no scale of the steps and leaves the lowest quantile nothing to
    answer for but itself.
    """

    _high: Tensor
    _low: Tensor

    def __init__(self, quantiles: Sequence[float] = (0.5,)) -> None:
        super().__init__()
        levels = list(quantiles)
        inside = all(_is_number(q) and 0 < q < 1 for q in levels)
        if not levels or not inside or sorted(set(levels)) != levels:
            raise ValueError(
                "The 'quantiles' parameter must hold increasing numbers "
                f"strictly between 0 and 1, such as (0.1, 0.5, 0.9). Got {quantiles!r}."
            )
        self.quantiles = tuple(float(level) for level in levels)
        # In double precision as the sum of two floats: not every device has doubles.
        exact = torch.tensor(levels, dtype=torch.float64)
        high = exact.float()
        self.register_buffer("_high", high, persistent=False)
        self.register_buffer("_low", (exact - high).float(), persistent=False)
        self.outputs_per_target = len(levels)

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over quantiles and targets of the loss of each row."""
        quantiles = self._high.to(output.dtype) + self._low.to(output.dtype)
        missing = target.unsqueeze(-1) - self._by_target(output)
        loss = torch.maximum(quantiles * missing, (quantiles - 1.0) * missing)
        return loss.mean(dim=(1, 2))

    def link(self, output: Tensor) -> Tensor:
        """Return the outputs of each target column in ascending order."""
        return self._by_target(output).sort(dim=-1).values.flatten(-2)

    def combine(self, output: Tensor) -> Tensor:
        """Return outputs, of members the means of their quantiles."""
        return output if output.ndim < 3 else self.link(output).mean(dim=1)

    def _by_target(self, output: Tensor) -> Tensor:
        return output.unflatten(-1, (-1, self.outputs_per_target))


@REGRESSION_LOSSES.register("tweedie")
class Tweedie(Loss):
    r"""Half the Tweedie deviance; outputs are logarithms of the mean.

    With :math:`\mu = \exp(f)` and a power p other than 1 and 2 it is

    .. math::

        \frac{y^{2-p}}{(1-p)(2-p)} - \frac{y \mu^{1-p}}{1-p} + \frac{\mu^{2-p}}{2-p},

    half of what ``sklearn.metrics.mean_tweedie_deviance`` returns; 1 is the Poisson
    deviance, 2 that of the gamma distribution, and 0 half the squared error. Averaged
    over outputs. Dividing targets by a constant divides all means by it and changes
    nothing else, so it is how they are brought to a mean of 1, where outputs start.
    For counts over exposures, the target is the rate and the weight the exposure.
    """

    predicts_logs: ClassVar[bool] = True

    def __init__(self, power: float = 1.5) -> None:
        super().__init__()
        if not (_is_number(power) and (power == 0 or power >= 1)):
            raise ValueError(
                "The 'power' parameter of Tweedie must be 0 or a finite number of at "
                f"least 1. Got {power!r}."
            )
        self.power = power

    def per_row(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over outputs of half the deviance of each row."""
        p = self.power
        if p == 1:
            loss = torch.xlogy(target, target) - target * output - target + output.exp()
        elif p == 2:
            loss = output - target.log() + target * (-output).exp() - 1.0
        else:
            loss = (
                target ** (2 - p) / ((1 - p) * (2 - p))
                - target * ((1 - p) * output).exp() / (1 - p)
                + ((2 - p) * output).exp() / (2 - p)
            )
        return loss.mean(dim=1)

    def link(self, output: Tensor) -> Tensor:
        """Return the mean."""
        return output.exp()

    def combine(self, output: Tensor) -> Tensor:
        """Return logarithms of the mean, of members that of their means."""
        return output if output.ndim < 3 else _log_mean_exp(output)

    def check_target(self, target: Tensor, name: str) -> None:
        """Raise a ValueError for targets that the distribution doesn't have."""
        if self.power == 0:
            return
        lowest = float(target.min())
        positive = self.power >= 2
        if lowest < 0 or (positive and lowest == 0):
            rule = "greater than 0" if positive else "of at least 0"
            raise ValueError(
                f"The loss {type(self).__name__} of power {self.power!r} takes targets "
                f"{rule}. The smallest in {name} is {lowest!r}."
            )


@REGRESSION_LOSSES.register("poisson")
class Poisson(Tweedie):
    """Half the Poisson deviance; outputs are logarithms of the mean.

    Tweedie's of power 1, for counts and rates.
    """

    def __init__(self) -> None:
        super().__init__(power=1)


def _log_mean_exp(logs: Tensor) -> Tensor:
    """Return the logarithm of the members' mean."""
    return torch.logsumexp(logs, dim=1) - math.log(logs.shape[1])


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
