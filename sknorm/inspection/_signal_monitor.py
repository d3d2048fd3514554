"""The signal in each layer while a network is trained."""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sknorm._validation import check_is_fitted
from sknorm.exceptions import SignalWarning
from sknorm.inspection._look import STATISTICS, Look, first_of
from sknorm.inspection._probe import probe
from sknorm.inspection._remedies import Remedy
from sknorm.inspection._verdicts import Setting, judge_inputs
from sknorm.neural_network._base import BaseNormMLP
from sknorm.neural_network._net import LeanNet
from sknorm.neural_network._optimizers import build_optimizer
from sknorm.neural_network._rows import Rows
from sknorm.nn.activations import resolve_activation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SignalMonitor"]


class SignalMonitor(Callback):
    """Record the signal in each layer while a network is trained, and warn if it dies.

    Pass it as ``callbacks=[SignalMonitor()]`` to a network of
    :mod:`sknorm.neural_network`. It sends some rows through a copy of the network
    before the first step and at the end of epochs. Training is the same with it as
    without, to the last bit of the weights.

    Parameters
    ----------
    n_rows : int, default=256
        Rows that are sent through the network, drawn from the training rows once; all
        if there are fewer.
    max_share : float, default=0.03
        Time that the monitor may take, as a share of that of training. Epochs are left
        out while another one would exceed it.
    every : int, default=None
        Record every so many epochs, whatever it costs, instead of by ``max_share``.
    random_state : int, default=0
        Draws the rows.

    Attributes
    ----------
    history_ : list of dict
        One for each layer and recorded epoch: ``"epoch"``, ``"layer"``, the statistics
        and ``"verdict"``, in the words of :class:`SignalReport`. Epoch 0 is the state
        before the first step.
    epochs_ : list of int
        The epochs that were recorded.
    share_ : float
        Time that the monitor took, as a share of that of training.
    message_ : str
        What it warned of, empty if of nothing.

    See Also
    --------
    SignalReport : More numbers, of a network before or after training.
    TrainingSignalDisplay : The numbers over epochs, drawn.

    Notes
    -----
    ``fit`` of a network trains with the very object it was given, but searches,
    ``clone`` and ``TransformedTargetRegressor`` make copies. :meth:`of` finds the one
    that was trained with. Each ``fit`` starts its history anew, ``partial_fit`` goes on
    with it.

    What is recorded: mean and standard deviation of the pre-activations, the share in
    the activation's sweet spot and where it is flat (``saturated``), the share of
    ``dead`` units, the standard deviation of a row's gradient, its length beside that
    of the next layer (``grad_ratio``), the standard deviation of the weights, and the
    length of one step at the full ``lr`` beside theirs (``update_ratio``). NaN stands
    where a layer has no such number or it isn't finite. The network is looked at as it
    predicts, without dropout and with the statistics that norm layers have learned;
    before the first step they take those of the rows.

    Each epoch in the ``history_`` of the estimator gets a ``"grad_norm"``: the norm
    over all parameters of the gradient on these rows, NaN if it wasn't recorded.

    The state before training and the last epoch of a ``fit`` are recorded in any case,
    so that a training of a few milliseconds costs more than its share. When early
    stopping takes back the weights of its best epoch, it is this one that is. Which
    other epochs are recorded with ``max_share`` depends on how fast the machine is, and
    nothing else does: use ``every`` to have the same ones each time, and ``every=1`` to
    see all of them where an epoch takes no longer than a look. The copy of the network
    and of its optimizer's state is given up when training ends.

    A :class:`sknorm.exceptions.SignalWarning` is given once, when a layer isn't healthy
    in two recorded epochs in a row. Verdicts are those of :class:`SignalReport`, and so
    is the hint: it treats the state before training, if this was sick by then. A
    network with layers that can't be looked into is trained all the same: the monitor
    warns and is quiet.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknorm.inspection import SignalMonitor
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> monitor = SignalMonitor(every=5)
    >>> network = NormMLPClassifier(
    ...     8, max_epochs=10, callbacks=[monitor], random_state=0
    ... )
    >>> _ = network.fit(X, y)
    >>> monitor.epochs_
    [0, 5, 10]
    >>> [row["layer"] for row in monitor.history_ if row["epoch"] == 5]
    ['hidden 1', 'output']
    """

    def __init__(
        self,
        *,
        n_rows: int = 256,
        max_share: float = 0.03,
        every: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.n_rows = n_rows
        self.max_share = max_share
        self.every = every
        self.random_state = random_state

    # -- what skorch calls -------------------------------------------------------------

    def initialize(self) -> SignalMonitor:
        """Forget what was recorded.

        Raises
        ------
        ValueError
            If a parameter isn't what it has to be.
        """
        self._check_parameters()
        self.history_: list[dict[str, Any]] = []
        self.message_ = ""
        # Names end with an underscore: skorch takes all others for parameters.
        self._ledger_ = _Ledger()
        self._sick_: set[str] = set()
        self._first_remedy_: Remedy | None = None
        self._is_quiet_ = False
        self._rows_: tuple[Tensor, Tensor, Tensor | None] | None = None
        self._twin_: _Twin | None = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Record the state before the first step.

        Raises
        ------
        TypeError
            If the net isn't one of sknorm's.
        """
        if not isinstance(net, LeanNet):
            raise TypeError(
                "SignalMonitor watches the networks of sknorm.neural_network, such as "
                f"NormMLPClassifier. Got a {type(net).__name__}."
            )
        self._ledger_.open()
        self._twin_ = None
        done = len(net.history)
        # A fit knows its last epoch; partial_fit may always be called once more.
        self._last_ = done + net.max_epochs if net.planned_epochs else 0
        # A partial_fit that failed has taken back its epoch.
        self.history_ = [row for row in self.history_ if row["epoch"] <= done]
        if not done:
            self._record(net, X, 0)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **_: Any) -> None:
        """Record the epoch, if its turn has come."""
        epoch, norm = len(net.history), math.nan
        if epoch == self._last_ or self._is_due(epoch):
            norm = self._record(net, dataset_train, epoch)
        # In each row, lest a printed log have rows of different columns.
        net.history.record("grad_norm", norm)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Record the state in which training leaves the network."""
        epoch = self._restored_epoch(net) or len(net.history)
        if self._last_ and epoch not in self.epochs_:
            self._record(net, X, epoch)
        self._twin_ = None
        self._ledger_.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out rows and network, which may be on a device."""
        state = vars(self).copy()
        return state | dict.fromkeys(state.keys() & {"_rows_", "_twin_"})

    # -- what users ask ----------------------------------------------------------------

    @classmethod
    def of(cls, estimator: Any) -> SignalMonitor:
        """Find the monitor that an estimator was trained with.

        Parameters
        ----------
        estimator : estimator
            A fitted network of :mod:`sknorm.neural_network`, alone, last in a
            ``Pipeline``, inside a ``TransformedTargetRegressor``, or the best one of a
            fitted search.

        Returns
        -------
        SignalMonitor
            The first one, if there are several.

        Raises
        ------
        TypeError
            If there is no network inside.
        NotFittedError
            If it isn't fitted.
        ValueError
            If it was fitted without a monitor.
        """
        network = _inside(estimator)
        for _, callback in network.net_.callbacks_:
            if isinstance(callback, cls):
                return callback
        raise ValueError(
            f"This {type(network).__name__} was fitted without a monitor. Fit it with "
            "callbacks=[SignalMonitor()]."
        )

    @property
    def epochs_(self) -> list[int]:
        """The epochs that were recorded."""
        return list(dict.fromkeys(row["epoch"] for row in self.history_))

    @property
    def share_(self) -> float:
        """Time that the monitor took, as a share of that of training."""
        return self._ledger_.own / self._ledger_.trained if self.history_ else 0.0

    def to_frame(self) -> pd.DataFrame:
        """Return the history as a data frame.

        Returns
        -------
        pandas.DataFrame
            A row for each layer and recorded epoch, with the keys of ``history_`` as
            columns.

        Raises
        ------
        ImportError
            If pandas isn't installed.
        NotFittedError
            If no network was trained with the monitor.
        """
        if not hasattr(self, "history_"):
            raise NotFittedError(
                "No network was trained with this SignalMonitor. If a copy was, "
                "`SignalMonitor.of(estimator)` finds it."
            )
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "SignalMonitor.to_frame needs pandas: `pip install sknorm[pandas]`, or "
                "read `history_`."
            ) from error
        return pd.DataFrame(
            self.history_, columns=["epoch", "layer", *STATISTICS, "verdict"]
        )

    # -- when --------------------------------------------------------------------------

    def _is_due(self, epoch: int) -> bool:
        if self.every is not None:
            return epoch % self.every == 0
        # The last epoch has to be paid for too.
        return self._ledger_.can_pay(2, self.max_share)

    def _restored_epoch(self, net: LeanNet) -> int | None:
        """Return the epoch whose weights a callback has just taken back, if one has."""
        for _, callback in net.callbacks_:
            if callback is self:
                return None
            if getattr(callback, "load_best", False):
                # 0 if no epoch was the best.
                return getattr(callback, "best_epoch_", None) or None
        return None

    # -- what --------------------------------------------------------------------------

    def _record(self, net: LeanNet, table: Rows, epoch: int) -> float:
        """Look at the network, take down what is there and warn if it is sick.

        Return the norm of the gradient, NaN if the network can't be looked into.
        """
        if self._is_quiet_:
            return math.nan
        with self._ledger_.working():
            try:
                look = self._look(net, table, is_fitted=epoch > 0)
                norm, message = look.grad_norm, self._take_down(look, epoch)
            except Exception as error:
                self._is_quiet_ = True
                norm = math.nan
                message = (
                    f"SignalMonitor can't look into the network and stops: {error}"
                )
        if message:
            warnings.warn(message, SignalWarning, stacklevel=2)
        return norm

    def _look(self, net: LeanNet, table: Rows, *, is_fitted: bool) -> Look:
        device = next(net.module_.parameters()).device
        if self._rows_ is None:
            self._rows_ = _draw(table, self.n_rows, self.random_state, device)
        twin = self._twin_ = self._twin_ or _Twin(net)
        twin.follow(net)
        X, y, weight = self._rows_
        params = net.estimator_params
        activation = resolve_activation(params["activation"])
        inputs, layers = probe(
            twin.network,
            X,
            y,
            net.criterion_,
            activation,
            weight=weight,
            optimizer=lambda: twin.optimizer,
            batch_statistics=not is_fitted,
            pairs=False,
        )
        # Networks for tables standardize columns themselves.
        takes_columns = not hasattr(twin.network, "named_linears")
        setting = Setting(
            params,
            activation,
            batch_size=net.batch_size,
            n_hidden=len(layers) - 1,
            is_fitted=is_fitted,
            n_rows=len(X),
        )
        return Look(
            judge_inputs(inputs, setting) if takes_columns else None,
            layers,
            _grad_norm(twin.network),
            setting,
            takes_columns,
        )

    def _take_down(self, look: Look, epoch: int) -> str:
        """Add to the history, and return what is to be warned of, if anything."""
        is_newest = not self.history_ or epoch > self.history_[-1]["epoch"]
        self.history_ += look.rows(epoch)
        if not epoch:
            self._first_remedy_ = look.first_remedy()
        if is_newest:
            return self._compare(look)
        # Weights that were taken back are of an epoch before.
        self.history_.sort(key=lambda row: row["epoch"])
        return ""

    def _compare(self, look: Look) -> str:
        """Return a warning of a layer that is sick and was so when last looked at.

        Once: what is sick after that is most likely so for the same reason.
        """
        sick = look.sick()
        stays = [case for case in sick if case.layer in self._sick_]
        self._sick_ = {case.layer for case in sick}
        if self.message_ or not stays:
            return ""
        case = first_of(stays)
        remedy = look.remedy(case, self._first_remedy_)
        *_, before, now = self.epochs_
        self.message_ = (
            f"The signal is not healthy while the network is trained. {case.layer}: "
            f"{case.finding.verdict} in epochs {before} and {now}, {case.finding.why}. "
            f"{remedy.text[:1].upper()}{remedy.text[1:]}."
        )
        return self.message_

    def _check_parameters(self) -> None:
        whole = {"n_rows": 2, "every": 1, "random_state": 0}
        for name, least in whole.items():
            value = getattr(self, name)
            if value is None and name == "every":
                continue
            is_whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not (is_whole and value >= least):
                raise ValueError(
                    f"The {name!r} parameter of SignalMonitor must be a whole number "
                    f"from {least} on{' or None' * (name == 'every')}. Got {value!r}."
                )
        share = self.max_share
        if not (isinstance(share, Real) and 0 < share <= 1):
            raise ValueError(
                "The 'max_share' parameter of SignalMonitor must be a number greater "
                f"than 0 and at most 1. Got {share!r}."
            )


# -- what is looked at -----------------------------------------------------------------


def _draw(table: Rows, n_rows: int, seed: int, device: torch.device) -> Any:
    """Return some rows of a table, with their targets and weights, on a device."""
    n_rows = min(n_rows, len(table))
    chosen = np.random.default_rng(seed).choice(len(table), n_rows, replace=False)
    index = torch.from_numpy(np.sort(chosen)).to(table.y.device)
    return [None if part is None else part.to(device) for part in table.batch(index)]


def _grad_norm(network: nn.Module) -> float:
    """Return the norm of the gradient over all parameters."""
    parts = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.cat(parts), dtype=torch.float64))


class _Twin:
    """A copy of a network with its optimizer, to look at and to step with.

    Parameters
    ----------
    net : LeanNet
        What is trained.
    """

    def __init__(self, net: LeanNet) -> None:
        self.network = copy.deepcopy(net.module_)
        self.optimizer: Optimizer | None = None
        if not isinstance(net.optimizer_, LBFGS):  # Which takes no single steps.
            self.optimizer = build_optimizer(
                net.optimizer, self.network, lr=net.lr, weight_decay=net.weight_decay
            )

    @torch.no_grad()
    def follow(self, net: LeanNet) -> None:
        """Go to where training has come, but at the full ``lr``.

        Weight decay is left out: it moves weights whatever the signal is.
        """
        for mine, other in zip(
            _tensors(self.network), _tensors(net.module_), strict=True
        ):
            mine.copy_(other)
        if self.optimizer is None:
            return
        for group, others in zip(
            self.optimizer.param_groups, net.optimizer_.param_groups, strict=True
        ):
            params = group["params"]
            group |= others | {"params": params, "lr": net.lr * others["lr_factor"]}
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
            for mine, other in zip(params, others["params"], strict=True):
                self.optimizer.state[mine] = {
                    name: value.clone() if isinstance(value, Tensor) else value
                    for name, value in net.optimizer_.state.get(other, {}).items()
                }


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(network.parameters(), network.buffers())


class _Ledger:
    """Keeps account of how long trainings take, and how much of it looks do."""

    def __init__(self) -> None:
        self.own = 0.0
        self._last = self._closed = 0.0
        self._opened: float | None = None

    def open(self) -> None:
        """Begin with a training."""
        self._opened = perf_counter()

    def close(self) -> None:
        """End it."""
        self._closed, self._opened = self._all(), None

    @contextmanager
    def working(self) -> Iterator[None]:
        """Take time for a look."""
        start = perf_counter()
        try:
            yield
        finally:
            self._last = perf_counter() - start
            self.own += self._last

    @property
    def trained(self) -> float:
        """Seconds of training without looks."""
        return self._all() - self.own

    def can_pay(self, looks: int, share: float) -> bool:
        """Tell whether more looks like the last one keep to a share of training."""
        return self.own + looks * self._last <= share * self.trained

    def _all(self) -> float:
        running = 0.0 if self._opened is None else perf_counter() - self._opened
        return self._closed + running


def _inside(estimator: Any) -> BaseNormMLP:
    """Return the fitted network in an estimator, which others may stand around."""
    network = estimator
    while not isinstance(network, BaseNormMLP):
        if isinstance(network, Pipeline):
            network = network.steps[-1][1]
        elif hasattr(network, "best_estimator_"):
            network = network.best_estimator_
        elif hasattr(network, "regressor_"):
            network = network.regressor_
        else:
            if hasattr(network, "fit"):
                check_is_fitted(network)
            raise TypeError(
                "The estimator must be a network of sknorm.neural_network, alone, last "
                "in a Pipeline, inside a TransformedTargetRegressor or in a search "
                f"with refit=True. Got {estimator!r}."
            )
    check_is_fitted(network, "net_")
    return network
