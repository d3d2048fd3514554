"""The skorch net that the estimators own: skorch's hooks, fed slices."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from torch import Tensor, nn

from sknorm.exceptions import DivergenceError
from sknorm.neural_network._averaging import Averaging, WeightAverage
from sknorm.neural_network._gradient import CapturedGradient, CudaRecorder, Gradient
from sknorm.neural_network._losses import BinaryCrossEntropy, CrossEntropy, Loss
from sknorm.neural_network._mapped import MappedTable
from sknorm.neural_network._optimizers import (
    AdamStep,
    build_optimizer,
    flush_faded,
)
from sknorm.neural_network._rows import Rows, Slices, batch_bounds
from sknorm.neural_network._sequence import SequenceGradient, is_plain
from sknorm.nn.norms import needs_batch_statistics

__all__ = ["LeanNet", "forward_rows", "rollback", "stack_scalars"]

# Rows that go through the network at once when no gradient is kept.
_INFERENCE_ROWS = 8192

# Matrix kernels treat the rows left over after the last full tile by other code, which
# rounds differently. Filled up to a multiple of this, every row meets the same kernel,
# and its prediction does not depend on how many rows stand beside it. Layers of a few
# units are left: kernels treat their rows by the place, if inputs are no multiple of 4.
_ROW_TILE = 32

# Numbers take many hundred steps to fade.
_STEPS_BETWEEN_FLUSHES = 1000

# What partial_fit sets anew in a net that was trained.
_SETTINGS = (
    "callbacks",
    "callbacks_",
    "batch_size",
    "clip_grad_norm",
    "lr",
    "schedule",
    "planned_epochs",
    "max_epochs",
    "_least",
)

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def inference_rows(module: nn.Module) -> int:
    """Return how many rows go through a network at once when no gradient is kept."""
    n_members = getattr(module, "n_members", 1)
    return max(_ROW_TILE, _INFERENCE_ROWS // n_members // _ROW_TILE * _ROW_TILE)


def forward_rows(module: nn.Module, X: Tensor | MappedTable) -> Iterator[Tensor]:
    """Yield the output for X in slices, each row's independent of its neighbours.

    The module has to be in evaluation mode already: switching it here would make two
    threads that predict with the same network fall over each other.
    """
    device = next(module.parameters()).device
    with torch.inference_mode():
        step = inference_rows(module)
        for start in range(0, len(X), step):
            rows = X[start : start + step].to(device)
            missing = -len(rows) % _ROW_TILE
            padded = nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
            yield module(padded)[: len(rows)]


def stack_scalars(scalars: Iterable[Tensor], count: int) -> Tensor:
    """Stack scalars that are computed one by one, without waiting for the device.

    None is kept apart: they would lie about in memory where a batch was, which then no
    longer fits in, so that each would cost as much as that.
    """
    for index, scalar in enumerate(scalars):
        if index == 0:
            stacked = scalar.new_empty(count)
        stacked[index] = scalar
    return stacked


@contextmanager
def rollback(net: LeanNet) -> Iterator[None]:
    """Undo what a failed ``partial_fit`` did to the network in place."""
    weights = copy.deepcopy(net.module_.state_dict())
    steps = copy.deepcopy(net.optimizer_.state_dict())
    settings = {name: getattr(net, name) for name in _SETTINGS}
    n_epochs = len(net.history)
    try:
        yield
    except BaseException:
        net.module_.load_state_dict(weights)
        net.module_.eval()
        net.optimizer_.load_state_dict(steps)
        for name, setting in settings.items():
            setattr(net, name, setting)
        del net.history[n_epochs:]
        raise


class LeanNet(NeuralNet):
    """A skorch net whose epoch touches Python once a batch and syncs once an epoch.

    Parameters
    ----------
    module : nn.Module
        The network, initialised.
    criterion : Loss
        What is minimised.
    optimizer : functools.partial
        A torch optimizer class with its arguments.
    weight_decay : float, default=0.0
        Weight decay of the weight matrices.
    schedule : callable, default=None
        Factor on ``lr`` as a function of progress in [0, 1); constant if None.
    clip_grad_norm : float, default=None
        Largest norm of the gradient over all parameters; None leaves it alone.
    averaging : callable, default=None
        How weights are averaged over steps, from ``resolve_averaging``. The average is
        what the module holds from the end of each epoch to the next, for validation,
        callbacks and prediction.
    amp : bool, default=False
        Whether training multiplies matrices in bfloat16.
    capture : bool, default=False
        Whether gradients on a CUDA device are recorded as a CUDA graph and played back.
    rng : numpy.random.Generator, default=None
        Draws the order of the rows.
    **kwargs : dict
        skorch's own parameters, see :class:`skorch.NeuralNet`.

    Notes
    -----
    Callbacks get every notification skorch defines. Those of a batch cost a
    synchronisation with the device, so they are sent only if a callback listens.
    """

    # Epochs that the schedule is spread over, if more than are run.
    planned_epochs = 0

    def __init__(
        self,
        module: nn.Module,
        criterion: Loss,
        *,
        optimizer: functools.partial,
        weight_decay: float = 0.0,
        schedule: Callable[[float], float] | None = None,
        clip_grad_norm: float | None = None,
        averaging: Averaging | None = None,
        amp: bool = False,
        capture: bool = False,
        rng: np.random.Generator | None = None,
        **kwargs: Any,
    ) -> None:
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.clip_grad_norm = clip_grad_norm
        self.averaging = averaging
        self.amp = amp
        self.capture = capture
        self.rng = rng
        super().__init__(
            module,
            criterion,
            optimizer=optimizer,
            train_split=None,
            predict_nonlinearity=criterion.link,
            # Rows are no dataset that scorers could take targets from.
            use_caching=True,
            **kwargs,
        )

    # -- what skorch builds ------------------------------------------------------------

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize_history(self) -> LeanNet:
        """Begin a history."""
        # The least loss in it, of training and of validation.
        self._least: dict[str, float] = {}
        return super().initialize_history()

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> LeanNet:
        """Make the optimizer, with weight decay on the weight matrices alone."""
        self.optimizer_ = build_optimizer(
            self.optimizer,
            self.module_,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )
        return self

    def get_dataset(self, X: Any, y: Any = None) -> Rows:
        """Return ``X`` if it is a table already, else make one of it."""
        if isinstance(X, Rows):
            return X
        if not isinstance(X, (Tensor, MappedTable)):
            X = torch.as_tensor(np.asarray(X))
        if isinstance(X, Tensor):
            X = X.to(next(self.module_.parameters()))
        return Rows(X, torch.zeros(len(X)) if y is None else torch.as_tensor(y))

    def get_split_datasets(
        self, X: Rows, y: Rows | None = None, **fit_params: Any
    ) -> tuple[Rows, Rows | None]:
        """Take ``X`` as the training table and ``y`` as the validation table."""
        return X, y

    def get_iterator(self, dataset: Rows, training: bool = False) -> Slices:
        """Return mini-batches in random order, or large slices in their own."""
        if training:
            return Slices(dataset, self.batch_size, self.rng)
        return Slices(dataset, inference_rows(self.module_))

    def __sklearn_tags__(self) -> Any:
        """Tell scorers whether there are probabilities to ask for."""
        tags = super().__sklearn_tags__()
        if isinstance(self.criterion, (CrossEntropy, BinaryCrossEntropy)):
            tags.estimator_type = "classifier"
        return tags

    @property
    def classes_(self) -> np.ndarray:
        """The codes of the classes, for scorers that ask."""
        network = self.module_
        is_tabular = hasattr(network, "out_features")
        return np.arange((network if is_tabular else network[-1]).out_features)

    # -- training ----------------------------------------------------------------------

    def fit_loop(
        self, X: Rows, y: Rows | None = None, epochs: int | None = None, **params: Any
    ) -> LeanNet:
        """Train for ``epochs``, preparing what the loop would else ask every step."""
        self._listens = any(
            getattr(type(callback), hook) is not getattr(Callback, hook)
            for _, callback in self.callbacks_
            for hook in _BATCH_HOOKS
        )
        # A single row has no batch statistics: its norm layers use the running ones.
        self._frozen = [
            part
            for part in self.module_.modules()
            if len(X) == 1 and needs_batch_statistics(part)
        ]
        self._average = (
            None
            if self.averaging is None
            else WeightAverage(self.module_, self.averaging)
        )
        self._gradient: Any = self._make_gradient()
        self._optimizer_step: Any = AdamStep(self.optimizer_)
        self._step = 0
        n_batches = len(batch_bounds(len(X), self.batch_size))
        n_epochs = epochs or self.max_epochs
        self._n_steps = n_epochs * n_batches
        self._n_planned = max(n_epochs, self.planned_epochs) * n_batches
        try:
            return super().fit_loop(X, y, epochs=epochs, **params)
        finally:
            if self._average is not None:
                # Also of an epoch that was interrupted.
                self._average.show(True)
            self._average = self._gradient = self._optimizer_step = None

    def _make_gradient(self) -> Gradient | CapturedGradient:
        # Who listens may keep what is told, or change it.
        is_short = is_plain(self.module_) and not (self.amp or self._listens)
        gradient = (SequenceGradient if is_short else Gradient)(
            self.module_,
            self.criterion_,
            clip_grad_norm=self.clip_grad_norm,
            amp=self.amp,
            on_backward=self._tell_of_gradients if self._listens else None,
        )
        device = next(self.module_.parameters()).device
        if not self.capture or self._listens or device.type != "cuda":
            return gradient
        return CapturedGradient(gradient, self.batch_size, CudaRecorder(device))

    def _tell_of_gradients(self, X: Tensor, y: Tensor) -> None:
        self.notify(
            "on_grad_computed",
            named_parameters=list(self.module_.named_parameters()),
            batch=(X, y),
            training=True,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made anew for every fit, and what is there twice."""
        made_anew = {"_gradient": None, "_optimizer_step": None}
        # skorch brings to a machine without the device what its second names hold.
        twice = {"module": None, "criterion": None}
        return {**super().__getstate__(), **made_anew, **twice}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Give the network and the loss both their names again."""
        super().__setstate__(state)
        self.module, self.criterion = self.module_, self.criterion_

    def run_single_epoch(
        self,
        iterator: Slices | None,
        training: bool,
        prefix: str,
        step_fn: Callable,
        **fit_params: Any,
    ) -> None:
        """Go over the table once; the loss is read from the device at the end."""
        if iterator is None:
            return
        self._set_training(training)
        if training and self._average is not None:
            self._average.show(False)
        losses = stack_scalars(
            (
                self._step_with_hooks(batch, training, prefix, step_fn)
                if self._listens
                else step_fn(batch)["loss"]
                for batch in iterator
            ),
            len(iterator.bounds),
        )
        rows = [stop - start for start, stop in iterator.bounds]
        of_batches = losses.cpu().double().numpy()
        mean = float(np.dot(of_batches, rows) / sum(rows))
        if not self._listens:
            # Of all batches the last: skorch's checkpoints have a look at it.
            self.history.new_batch()
            self._record_batch(prefix, float(of_batches[-1]), rows[-1])
        self._record_loss(prefix, mean)
        self.history.record(f"{prefix}_batch_count", len(losses))
        if training:
            group = self.optimizer_.param_groups[0]
            self.history.record("lr", float(group["lr"]) / group["lr_factor"])
            if self._average is not None:
                self._average.show(True)
        if training and not math.isfinite(mean):
            raise DivergenceError(
                f"The training loss became {mean} in epoch {len(self.history)}."
            )

    def _record_loss(self, prefix: str, mean: float) -> None:
        """Write down the loss of an epoch, and whether none was less before."""
        is_best = mean < self._least.get(prefix, math.inf)
        if is_best:
            self._least = {**self._least, prefix: mean}
        self.history.record(f"{prefix}_loss", mean)
        self.history.record(f"{prefix}_loss_best", is_best)

    def _record_batch(self, prefix: str, loss: float, n_rows: int) -> None:
        self.history.record_batch(f"{prefix}_loss", loss)
        self.history.record_batch(f"{prefix}_batch_size", n_rows)

    def _step_with_hooks(
        self, batch: tuple, training: bool, prefix: str, step_fn: Callable
    ) -> Tensor:
        """Take one step and tell the callbacks, in skorch's order and words."""
        seen = batch[:2]
        self.notify("on_batch_begin", batch=seen, training=training)
        step = step_fn(batch)
        self._record_batch(prefix, step["loss"].item(), len(seen[0]))
        self.notify("on_batch_end", batch=seen, training=training, **step)
        return step["loss"]

    def train_step(self, batch: tuple, **fit_params: Any) -> dict[str, Tensor]:
        """Take one optimizer step on a batch."""
        first: dict[str, Tensor] = {}

        def closure() -> Any:
            loss, output = self._gradient(*batch)
            # L-BFGS calls this several times a step; the first is the step's loss.
            if not first:
                told = self.criterion_.combine(output) if self._listens else output
                first.update(loss=loss, y_pred=told)
            return loss

        progress = self._step / self._n_steps
        if self.schedule is not None:
            factor = self.schedule(self._step / self._n_planned)
            for group in self.optimizer_.param_groups:
                group["lr"] = self.lr * group["lr_factor"] * factor
        self._step += 1
        self._optimizer_step(closure)
        if self._step % _STEPS_BETWEEN_FLUSHES == 0:
            flush_faded(self.optimizer_)
        if self._average is not None:
            self._average.update(progress)
        return first

    def validation_step(self, batch: tuple, **fit_params: Any) -> dict[str, Tensor]:
        """Return the loss of a batch that isn't trained on."""
        X, y, weight = batch
        with torch.no_grad():
            output = self.criterion_.combine(self.module_(X))
            return {"loss": self.criterion_(output, y, weight), "y_pred": output}

    def _set_training(self, training: bool = True) -> None:
        super()._set_training(training)
        if training:
            for part in self._frozen:
                part.eval()

    # -- prediction through skorch's own methods ---------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Return what skorch's scorers compare with targets: of classes the codes."""
        predicted = self.predict_proba(X)
        if isinstance(self.criterion_, CrossEntropy):
            return predicted.argmax(axis=1)
        if isinstance(self.criterion_, BinaryCrossEntropy):
            return (predicted > 0.5).astype(np.int64)
        return predicted

    def forward_iter(
        self, X: Any, training: bool = False, device: str = "cpu"
    ) -> Iterator[Tensor]:
        """Yield the network's output in slices."""
        self.module_.train(training)
        for output in forward_rows(self.module_, self.get_dataset(X).X):
            yield self.criterion_.combine(output).to(device)
