"""What the classifier and the regressor share: parameters, fit and inference."""

from __future__ import annotations

import copy
import math
from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from skorch.callbacks import PrintLog
from torch.optim import AdamW

from sknorm._device import fitting_threads, local_rng, resolve_device
from sknorm._validation import (
    Interval,
    StrOptions,
    check_is_fitted,
    check_sample_weight,
    take_rows,
    validate_data,
)
from sknorm.exceptions import DivergenceError
from sknorm.neural_network._averaging import resolve_averaging
from sknorm.neural_network._callbacks import (
    added,
    back_to_best,
    check_callbacks,
    replace_callbacks,
)
from sknorm.neural_network._gradient import check_amp
from sknorm.neural_network._mapped import MappedTable, stays_in_file
from sknorm.neural_network._net import LeanNet, forward_rows, rollback
from sknorm.neural_network._optimizers import resolve_optimizer
from sknorm.neural_network._progress import EpochProgress
from sknorm.neural_network._rows import Rows, as_tensor
from sknorm.neural_network._schedules import constant, resolve_schedule
from sknorm.nn.activations import resolve_activation
from sknorm.nn.initializers import resolve_initializer
from sknorm.nn.mlp import (
    MLP,
    SAMPLE_ROWS,
    check_hidden_layer_sizes,
    resolve_bias_initializer,
)
from sknorm.nn.norms import Norm, needs_batch_statistics, resolve_norm

__all__ = ["BaseNormMLP"]

# One epoch of a full-batch optimizer sees all rows in one step, so small tables get
# small batches; large ones get batches that keep the matrix kernels busy.
_SMALLEST_BATCH, _LARGEST_BATCH, _BATCHES_AN_EPOCH = 64, 256, 32
_SMALL_TABLE, _BATCH_OF_SMALL_TABLE = 256, 32

# What weight_decay="auto" takes off a weight in a step at the full learning rate.
_DECAY_A_STEP = 0.006


@dataclass(frozen=True)
class _Table:
    """Validated rows: columns as they came, coded targets, and weights or None."""

    X: Any
    codes: np.ndarray
    weight: np.ndarray | None
    """In the loss."""
    sample_weight: np.ndarray | None
    """As given, where how much a class counts has no say."""

    def take(self, rows: np.ndarray) -> _Table:
        in_file = isinstance(self.X, MappedTable)
        X = self.X.take(rows) if in_file else take_rows(self.X, rows)
        weights = (
            None if weight is None else weight[rows]
            for weight in (self.weight, self.sample_weight)
        )
        return _Table(X, self.codes[rows], *weights)


class BaseNormMLP(BaseEstimator, metaclass=ABCMeta):
    """Parameters, training and inference of the multi-layer perceptrons."""

    # What the bar of progress says beside the name.
    _aim = ""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [str, callable],
        "norm": [str, callable, Norm, None],
        "norm_position": [StrOptions({"before", "after"})],
        "init": [str, callable],
        "bias_init": [str, callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "optimizer": [str, callable],
        "optimizer_params": [dict, None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [str, callable],
        "weight_decay": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "clip_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "averaging": [str, callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "dtype": [StrOptions({"float32", "float64"})],
        "amp": ["boolean"],
        "compile": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256,),
        *,
        activation="relu",
        norm="batch",
        norm_position="before",
        init="auto",
        bias_init="auto",
        dropout=0.0,
        optimizer="adamw",
        optimizer_params=None,
        lr=3e-3,
        lr_schedule="cosine",
        weight_decay="auto",
        clip_grad_norm=None,
        averaging="none",
        max_epochs=30,
        batch_size="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        callbacks=None,
        verbose=0,
        random_state=None,
        device="auto",
        dtype="float32",
        amp=False,
        compile=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.norm = norm
        self.norm_position = norm_position
        self.init = init
        self.bias_init = bias_init
        self.dropout = dropout
        self.optimizer = optimizer
        self.optimizer_params = optimizer_params
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.clip_grad_norm = clip_grad_norm
        self.averaging = averaging
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.amp = amp
        self.compile = compile

    # -- what the two estimators differ in ---------------------------------------------

    @abstractmethod
    def _make_targets(self, y, classes):
        """Return the coding of ``y``; ``classes`` names labels that may yet come."""

    @abstractmethod
    def _make_loss(self):
        """Return the loss for the coding in ``_targets``."""

    @abstractmethod
    def _row_weights(self, codes, sample_weight):
        """Return the weight of each row in the loss, or None for equal ones."""

    def _strata(self, codes):
        """Return the groups that a validation split keeps in proportion, or None."""
        return None

    # -- training ----------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, X_val, y_val):
        """Train from scratch, or on from the last fit with ``warm_start``."""
        self._check_names()
        go_on = self.warm_start and hasattr(self, "net_")
        train, valid = self._check(X, y, sample_weight, X_val, y_val, go_on=go_on)
        rng = np.random.default_rng(
            check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        )
        if valid is None and self.early_stopping:
            train, valid = self._hold_out(train, rng)
        self._require_validation(valid)
        last = self._find_end(train, valid, rng, go_on=go_on)
        self._after_training(self._fit_table(train, valid, rng, last, go_on=go_on))
        return self

    def _find_end(self, train, valid, rng, *, go_on):
        """Return after which epoch to end, None for the last one."""
        return None

    def _patience(self):
        """Return after how many epochs without improvement to go back to the best.

        None does neither.
        """
        return self.n_iter_no_change if self.early_stopping else None

    def _fit_table(self, train, valid, rng, last=None, *, go_on=False):
        """Train on a table, and return the rows to validate on or None."""
        self._learn_scales(train, go_on=go_on)
        rows = self._as_rows(train)
        valid = None if valid is None else self._as_rows(valid)
        schedule, callbacks = resolve_schedule(
            self.lr_schedule,
            monitor="train_loss" if valid is None else "valid_loss",
            owner=type(self).__name__,
        )
        if valid is not None and (patience := self._patience()) is not None:
            callbacks.append(back_to_best(patience, self.tol))
        if self.verbose == 1:
            callbacks.append(EpochProgress(type(self).__name__ + self._aim))
        elif self.verbose > 1:
            callbacks.append(PrintLog())
        net = self._make_net(rows, rng, schedule, callbacks, go_on=go_on)
        epochs = self._resolve_max_epochs(len(rows), net.batch_size)
        # The schedule is that of all epochs, wherever it ends.
        net.planned_epochs = epochs
        self._train(net, rows, valid, last or epochs)
        return valid

    def _partial_fit(self, X, y, sample_weight, classes=None):
        """Go over the rows once, with the optimizer where it was."""
        self._check_names()
        go_on = hasattr(self, "net_")
        train, _ = self._check(
            X, y, sample_weight, None, None, go_on=go_on, classes=classes
        )
        self._learn_scales(train, go_on=go_on)
        rows = self._as_rows(train)
        self._require_validation(None)
        if go_on:
            net = self.net_
        else:
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            net = self._make_net(
                rows, np.random.default_rng(seed), constant, [], go_on=False
            )
        with rollback(net):
            if go_on:
                self._keep_up(net, len(rows))
            net.schedule, net.planned_epochs = None, 0
            self._train(net, rows, None, 1)
        self._after_training(None)
        return self

    def _keep_up(self, net, n_rows):
        """Tell a trained net what it goes on with: parameters may have been set."""
        replace_callbacks(net, self.callbacks or [])
        net.batch_size = self._resolve_batch_size(n_rows)
        net.clip_grad_norm = self.clip_grad_norm
        net.lr = self.lr
        for group in net.optimizer_.param_groups:
            group["lr"] = self.lr * group["lr_factor"]

    def _check_names(self):
        """Resolve every name before any work is done."""
        owner = type(self).__name__
        check_hidden_layer_sizes(self.hidden_layer_sizes, owner=owner)
        resolve_activation(self.activation, owner=owner)
        resolve_norm(self.norm, owner=owner)
        resolve_initializer(self.init, owner=owner)
        resolve_bias_initializer(self.bias_init, owner=owner)
        resolve_optimizer(self.optimizer, self.optimizer_params, owner=owner)
        check_callbacks(self.callbacks, owner=owner)
        resolve_schedule(self.lr_schedule, monitor="train_loss", owner=owner)
        resolve_averaging(self.averaging, owner=owner)
        device = resolve_device(self.device, dtype=getattr(torch, self.dtype))
        if self.amp:
            check_amp(device, self.dtype)

    def _check(self, X, y, sample_weight, X_val, y_val, *, go_on, classes=None):
        """Validate everything and return what to train on and what to validate on."""
        X, y = self._check_data(X, y, reset=not go_on, dtype=self.dtype)
        sample_weight = check_sample_weight(sample_weight, y)
        y = self._check_y(y)
        if not go_on:
            self._targets = self._make_targets(y, classes)
        train = self._encode(X, y, sample_weight)
        if (X_val is None) != (y_val is None):
            raise ValueError(
                "A validation set needs both X_val and y_val, but "
                f"{'X_val' if X_val is None else 'y_val'} is None."
            )
        if X_val is None:
            return train, None
        X_val, y_val = self._check_data(X_val, y_val, reset=False, dtype=self.dtype)
        valid = self._encode(X_val, self._check_y(y_val), None, "y_val")
        if not len(valid.codes):
            raise ValueError(
                "No row of X_val and y_val counts: class_weight is 0 for all their "
                "classes. Pass rows of other classes, or leave X_val and y_val out."
            )
        return train, valid

    def _check_data(self, X, y=None, *, reset, dtype):
        """Validate X, and y along with it, for the precision of the network."""
        with_y = {} if y is None and not reset else {"y": y, "multi_output": True}
        if stays_in_file(X, dtype):
            return self._check_mapped(X, with_y, reset=reset, dtype=dtype)
        # A number too large for float32 becomes infinite, which is refused by name.
        with np.errstate(over="ignore"):
            return validate_data(self, X, reset=reset, dtype=dtype, order="C", **with_y)

    def _check_mapped(self, X, with_y, *, reset, dtype):
        """Validate a table that stays in its file, a part at a time."""
        found = validate_data(
            self, X, reset=reset, dtype="numeric", ensure_all_finite=False, **with_y
        )
        X, *y = found if with_y else (found,)
        table = MappedTable(X, dtype)
        table.check_finite(type(self).__name__)
        return (table, *y) if with_y else table

    @abstractmethod
    def _check_y(self, y):
        """Return ``y`` as a dense array of the kind this estimator learns."""

    def _encode(self, X, y, sample_weight, name="y"):
        """Return the rows that count with coded targets and with their weights."""
        codes = self._targets.encode(y, name)
        weight = self._row_weights(codes, sample_weight)
        table = _Table(X, codes, weight, sample_weight)
        if weight is not None and not weight.all():
            # A row of weight zero must not reach batch statistics or a data-dependent
            # init either: it is as if it weren't there.
            return table.take(np.flatnonzero(weight > 0))
        return table

    def _require_validation(self, valid):
        """Raise a ValueError if there must be rows to validate on and are none."""

    def _after_training(self, valid):
        """Learn what the validation rows, or None, have to say about the network."""

    def _learn_scales(self, train, *, go_on):
        """Learn what makes numbers near N(0, 1) of what is trained on."""
        if not go_on:
            self._targets.learn_units(train.codes, train.sample_weight)

    def _numbers(self, X):
        """Return validated rows as the array that the network is given."""
        return X

    def _as_rows(self, table):
        """Return a table as tensors, with weights of mean 1 or None."""
        X, weight = as_tensor(self._numbers(table.X)), table.weight
        y = self._targets.in_units(table.codes)
        if not np.issubdtype(y.dtype, np.integer) or y.ndim > 1:
            y = y.astype(self.dtype)
        if weight is None or not np.ptp(weight):
            return Rows(X, as_tensor(y))
        # By the largest first: the mean of weights near the largest double overflows.
        weight = weight / weight.max()
        weight = (weight / weight.mean()).astype(self.dtype)
        return Rows(X, as_tensor(y), as_tensor(weight))

    def _hold_out(self, table, rng):
        """Split a table into a training and a validation part."""
        n = len(table.codes)
        if n < 2:
            raise ValueError(
                "early_stopping=True sets rows aside for validation and needs at least "
                f"2 rows. Got {n}. Set early_stopping=False or pass X_val and y_val."
            )
        n_valid = min(max(1, math.ceil(self.validation_fraction * n)), n - 1)
        strata = self._strata(table.codes)
        if strata is not None:
            counts = np.unique(strata, return_counts=True)[1]
            if counts.min() < 2 or min(n_valid, n - n_valid) < len(counts):
                strata = None
        parts = train_test_split(
            np.arange(n),
            test_size=n_valid,
            stratify=strata,
            random_state=int(rng.integers(np.iinfo(np.int32).max)),
        )
        return tuple(table.take(np.sort(part)) for part in parts)

    def _make_net(self, rows, rng, schedule, callbacks, *, go_on):
        """Build the skorch net around a new network, or around a copy of the last."""
        device = resolve_device(self.device, dtype=getattr(torch, self.dtype))
        module = (
            copy.deepcopy(self.net_.module_) if go_on else self._make_module(rows, rng)
        )
        optimizer = resolve_optimizer(
            self.optimizer, self.optimizer_params, owner=type(self).__name__
        )
        net = LeanNet(
            module,
            # One of its own: it goes to the device.
            copy.deepcopy(self._make_loss()),
            optimizer=optimizer,
            lr=self.lr,
            weight_decay=self._resolve_weight_decay(optimizer.func),
            schedule=None if schedule is constant else schedule,
            clip_grad_norm=self.clip_grad_norm,
            averaging=resolve_averaging(self.averaging, owner=type(self).__name__),
            batch_size=self._resolve_batch_size(len(rows)),
            amp=self.amp,
            capture=self.compile,
            rng=rng,
            callbacks=[*added(callbacks), *(self.callbacks or [])],
            device=str(device),
            verbose=self.verbose,
        )
        self._check_batch_statistics(module, net.batch_size, len(rows))
        # For callbacks, which are told of the net alone.
        net.estimator_params = self.get_params(deep=False)
        return net.initialize()

    def _make_module(self, rows, rng):
        sample = rows.X
        if len(sample) > SAMPLE_ROWS:
            # At random: tables come sorted by class or by date.
            chosen = rng.choice(len(sample), SAMPLE_ROWS, replace=False)
            sample = sample[torch.from_numpy(chosen)]
        seed = int(rng.integers(np.iinfo(np.int64).max))
        # Inside local_rng: a layer of the user's own may draw from torch's global
        # generator when it is built.
        with local_rng(seed, torch.device("cpu")):
            return MLP(
                rows.X.shape[1],
                self._targets.n_outputs,
                hidden_layer_sizes=self.hidden_layer_sizes,
                activation=self.activation,
                norm=self.norm,
                norm_position=self.norm_position,
                init=self.init,
                bias_init=self.bias_init,
                dropout=self.dropout,
                generator=torch.Generator().manual_seed(seed),
                sample=sample,
                dtype=getattr(torch, self.dtype),
            )

    def _resolve_weight_decay(self, optimizer):
        if self.weight_decay != "auto":
            return self.weight_decay
        return _DECAY_A_STEP / self.lr if issubclass(optimizer, AdamW) else 0.0

    def _resolve_max_epochs(self, n_rows, batch_size):
        return self.max_epochs

    def _resolve_batch_size(self, n_rows):
        if self.batch_size != "auto":
            return min(self.batch_size, n_rows)
        if n_rows < _SMALL_TABLE:
            return min(_BATCH_OF_SMALL_TABLE, n_rows)
        wanted = 2 ** math.ceil(math.log2(n_rows / _BATCHES_AN_EPOCH))
        return min(max(wanted, _SMALLEST_BATCH), _LARGEST_BATCH)

    def _check_batch_statistics(self, module, batch_size, n_rows):
        if batch_size > 1 or n_rows == 1:
            return
        if any(needs_batch_statistics(part) for part in module.modules()):
            raise ValueError(
                f"norm={self.norm!r} takes its statistics over the rows of a batch, "
                f"and batch_size={self.batch_size!r} gives it one row. Use a "
                "batch_size of at least 2, or norm='layer'."
            )

    def _train(self, net, rows, valid, epochs):
        """Run the net and take over what it learned."""
        device = torch.device(net.device)
        seed = int(net.rng.integers(np.iinfo(np.int64).max))
        before = len(net.history)
        size = sum(p.numel() for p in net.module_.parameters())
        n_members = getattr(net.module_, "n_members", 1)
        work = float(size * net.batch_size * n_members)
        with local_rng(seed, device), fitting_threads(work, device):
            try:
                net.max_epochs = epochs
                valid = None if valid is None else valid.to(device)
                net.partial_fit(rows.to(device), valid)
                self._check_finite(net)
            except DivergenceError as error:
                raise DivergenceError(f"{error} {self._advice(rows)}") from None
        net.module_.eval()
        self.net_ = net
        self.device_ = str(device)
        self.n_outputs_ = self._targets.n_outputs
        self.history_ = net.history
        self.n_iter_ = len(net.history) - before
        self.loss_curve_ = _column(net, "train_loss")
        self.validation_loss_curve_ = (
            None if valid is None else _column(net, "valid_loss")
        )

    def _check_finite(self, net):
        for name, parameter in net.module_.named_parameters():
            if not torch.isfinite(parameter).all():
                raise DivergenceError(
                    f"The weight {name!r} was no longer finite after epoch "
                    f"{len(net.history)}."
                )

    def _advice(self, rows):
        return (
            "What helps, most likely first: inputs of unit size (the largest |X| is "
            f"{rows.largest():.3g}; put sknorm.preprocessing.Standardizer in front), a "
            f"smaller lr (now {self.lr!r}), init='auto' (now {self.init!r}), "
            f"norm='batch' or 'layer' (now {self.norm!r}), clip_grad_norm=1.0 (now "
            f"{self.clip_grad_norm!r})."
        )

    # -- inference ---------------------------------------------------------------------

    def _output(self, X):
        """Return what the last layer says about each row, as a NumPy array."""
        return self._combined(self._inputs(X)).numpy()

    def _inputs(self, X):
        """Return validated rows as the tensor that the network is given."""
        check_is_fitted(self)
        X = self._check_data(X, reset=False, dtype=self._fitted_dtype())
        return as_tensor(self._numbers(X))

    def _combined(self, inputs):
        """Return the network's output on the CPU, one for all members."""
        combine = self.net_.criterion_.combine
        output, stop = None, 0
        for slice_ in forward_rows(self.net_.module_, inputs):
            part = combine(slice_)
            if output is None:
                # In one piece: many would lie about in memory where a layer's output
                # was, which then no longer fits in.
                output = part.new_empty((len(inputs), *part.shape[1:]), device="cpu")
            start, stop = stop, stop + len(part)
            output[start:stop] = part
        return output

    def _fitted_dtype(self):
        weight = next(self.net_.module_.parameters())
        return str(weight.dtype).removeprefix("torch.")


def _column(net: LeanNet, name: str) -> list[float]:
    # An epoch cut short from the keyboard has no loss.
    return [float(epoch[name]) for epoch in net.history if name in epoch]
