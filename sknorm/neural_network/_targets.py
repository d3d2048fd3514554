"""What stands between the caller's ``y`` and the numbers a network is trained on."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from scipy.special import expit, log_expit, log_softmax, softmax

from sknorm.neural_network._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    SquaredError,
)
from sknorm.neural_network._rows import as_tensor
from sknorm.statistics import Moments

__all__ = ["ClassTargets", "IndicatorTargets", "RealTargets"]


class _Targets:
    """Targets that are trained on as they are encoded."""

    def learn_units(
        self, encoded: np.ndarray, sample_weight: np.ndarray | None
    ) -> None:
        """Learn the units to train in from the rows that are trained on."""

    def in_units(self, encoded: np.ndarray) -> np.ndarray:
        """Return encoded targets as the loss takes them."""
        return encoded


class ClassTargets(_Targets):
    """One label of any dtype a row, coded as the index into the sorted classes.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        Every label there can be.
    """

    def __init__(self, classes: Any) -> None:
        self.classes = np.unique(np.asarray(classes))
        self.n_outputs = len(self.classes)

    def encode(self, y: np.ndarray, name: str = "y") -> np.ndarray:
        """Return the index of each label as int64.

        Raises
        ------
        ValueError
            If a label isn't among the classes.
        """
        if y.ndim != 1:
            raise ValueError(
                f"{name} must hold one label a row, as at the first fit. Got an array "
                f"of shape {y.shape!r}."
            )
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            remedy = (
                "Name every class at the first call, partial_fit(X, y, classes=...), "
                "or start anew with warm_start=False."
                if name == "y"
                else "Leave these rows out, or train on rows of these classes too."
            )
            raise ValueError(
                f"{name} contains the classes {unknown.tolist()!r}, which are not "
                f"among the classes this estimator knows: {self.classes.tolist()!r}. "
                f"{remedy}"
            )
        return np.searchsorted(self.classes, y).astype(np.int64, copy=False)

    def class_weights(
        self, codes: np.ndarray, class_weight: Any, sample_weight: np.ndarray | None
    ) -> np.ndarray:
        """Return each row's class weight.

        ``"balanced"`` counts a row by its sample weight, so that a weight of 2 and the
        same row twice give the same answer.

        Raises
        ------
        ValueError
            If a class isn't known, a weight isn't a finite number of at least 0, or
            all are 0.
        """
        if isinstance(class_weight, str):
            return _balanced(codes, sample_weight)
        known = self.classes.tolist()
        unknown = [label for label in class_weight if label not in known]
        if unknown:
            raise ValueError(
                f"The 'class_weight' parameter names the classes {unknown!r}, which "
                f"are not in y. The classes are {known!r}."
            )
        weights = [class_weight.get(label, 1.0) for label in known]
        if not all(_is_weight(weight) for weight in weights) or not any(weights):
            raise ValueError(
                "The 'class_weight' parameter must hold finite numbers of at least 0, "
                "and a number greater than 0 for at least one class; those it doesn't "
                f"name weigh 1. Got {class_weight!r}."
            )
        return np.array(weights, dtype=np.float64)[codes]

    def loss(self, label_smoothing: float) -> Loss:
        """Return the loss the network is trained on."""
        return CrossEntropy(label_smoothing)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Return the most likely label of each row."""
        return self.classes[output.argmax(axis=1)]

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return the probability of each class."""
        return softmax(output, axis=1)

    def log_probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return log-probabilities, finite where probabilities underflow."""
        return log_softmax(output, axis=1)

    def decision(self, output: np.ndarray) -> np.ndarray:
        """Return logits; of two classes, how far the second is ahead."""
        return output[:, 1] - output[:, 0] if self.n_outputs == 2 else output


class IndicatorTargets(_Targets):
    """Any number of labels a row, given as columns of 0 and 1.

    Parameters
    ----------
    n_labels : int
        Number of columns.
    """

    def __init__(self, n_labels: int) -> None:
        self.classes = np.arange(n_labels)
        self.n_outputs = n_labels

    def encode(self, y: np.ndarray, name: str = "y") -> np.ndarray:
        """Return the indicator matrix, checked.

        Raises
        ------
        ValueError
            If it has another number of columns, or holds anything but 0 and 1.
        """
        if y.ndim != 2 or y.shape[1] != self.n_outputs:
            raise ValueError(
                f"{name} must be an indicator matrix with {self.n_outputs} columns, as "
                f"at the first fit. Got an array of shape {y.shape!r}."
            )
        other = y[(y != 0) & (y != 1)]
        if len(other):
            raise ValueError(
                f"{name} has several columns and must then hold 0 and 1 alone, 1 where "
                f"a row has the label. Got {other[0].item()!r} in it. Make such a "
                "matrix by sklearn.preprocessing.MultiLabelBinarizer or y == label."
            )
        return y

    def class_weights(
        self, codes: np.ndarray, class_weight: Any, sample_weight: np.ndarray | None
    ) -> np.ndarray:
        """Return each row's weight: the product over labels, as scikit-learn's.

        ``"balanced"`` counts a row by its sample weight.

        Raises
        ------
        ValueError
            If it is a dict, which can't tell the labels apart.
        """
        if not isinstance(class_weight, str):
            raise ValueError(
                "The 'class_weight' parameter must be 'balanced' or None where a row "
                f"may have several labels. Got {class_weight!r}. Weigh the rows by "
                "sample_weight instead."
            )
        by_label = [_balanced(column, sample_weight) for column in codes.T]
        return np.prod(by_label, axis=0)

    def loss(self, label_smoothing: float) -> Loss:
        """Return the loss the network is trained on."""
        return BinaryCrossEntropy(label_smoothing)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Return 1 where a label is more likely than not."""
        return (output > 0).astype(np.int64)

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return the probability of each label."""
        return expit(output)

    def log_probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return log-probabilities, finite where probabilities underflow."""
        return log_expit(output)

    def decision(self, output: np.ndarray) -> np.ndarray:
        """Return the logit of each label."""
        return output


class RealTargets(_Targets):
    """Real numbers, trained on in units of their own.

    That is their mean and standard deviation, or, where the network predicts the
    logarithm of the mean, the mean alone.

    Parameters
    ----------
    shape : tuple of int
        Of the targets of one row, ``()`` if it has but one.
    loss : Loss, default=None
        What the network is trained on, squared error if None.
    several : bool, default=False
        Whether there is a prediction for each output of a target, along a last axis.
    """

    def __init__(
        self, shape: tuple[int, ...], loss: Loss | None = None, *, several: bool = False
    ) -> None:
        self._loss = SquaredError() if loss is None else loss
        self.shape = shape
        per_target = self._loss.outputs_per_target
        self.predicted_shape = (*shape, per_target) if several else shape
        n_columns = math.prod(shape)
        self.n_outputs = n_columns * per_target
        self.mean, self.scale = np.zeros(n_columns), np.ones(n_columns)

    def encode(self, y: np.ndarray, name: str = "y") -> np.ndarray:
        """Return targets as columns, checked.

        Raises
        ------
        ValueError
            If the number of outputs isn't that of the first fit, or the loss isn't
            defined for some.
        """
        if y.shape[1:] != self.shape:
            raise ValueError(
                f"{name} must have the shape (n_samples, *{self.shape!r}) as at the "
                f"first fit. Got an array of shape {y.shape!r}."
            )
        self._loss.check_target(as_tensor(y), name)
        return y.reshape(len(y), -1)

    def learn_units(
        self, encoded: np.ndarray, sample_weight: np.ndarray | None
    ) -> None:
        """Learn the units to train in from the rows that are trained on."""
        moments = Moments.from_array(encoded, sample_weight)
        if self._loss.predicts_logs:
            self.scale = np.where(moments.mean > 0, moments.mean, 1.0)
        else:
            self.mean = moments.mean
            self.scale = np.where(moments.is_constant(), 1.0, moments.std())

    def in_units(self, encoded: np.ndarray) -> np.ndarray:
        """Return encoded targets in the units learned."""
        return (encoded - self.mean) / self.scale

    def loss(self) -> Loss:
        """Return the loss the network is trained on."""
        return self._loss

    def rescale(self, spread: np.ndarray) -> np.ndarray:
        """Return deviations in the units and the shape of predictions."""
        return (spread * self._per_output(self.scale)).reshape(
            len(spread), *self.predicted_shape
        )

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Return predictions in the units of the training targets."""
        values = self._loss.link(torch.from_numpy(output).double()).numpy()
        values = values * self._per_output(self.scale) + self._per_output(self.mean)
        return values.reshape(len(output), *self.predicted_shape)

    def _per_output(self, by_target: np.ndarray) -> np.ndarray:
        return np.repeat(by_target, self._loss.outputs_per_target)


def _balanced(codes: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Return weights of rows by which each class that is there weighs the same."""
    codes = codes.astype(np.intp)
    totals = np.bincount(codes, sample_weight)
    present = totals > 0
    weights = np.zeros(len(totals))
    weights[present] = totals.sum() / (present.sum() * totals[present])
    return weights[codes]


def _is_weight(value: Any) -> bool:
    return (
        isinstance(value, numbers.Real) and math.isfinite(value) and float(value) >= 0
    )
