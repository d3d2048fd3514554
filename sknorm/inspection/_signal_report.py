"""A verdict on every layer of a network, with what to change."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.base import ClassifierMixin, clone

from sknorm.inspection._drawing import check_count
from sknorm.inspection._probe import UNKNOWN, LayerSignal, Table, probe
from sknorm.inspection._remedies import Remedy, lower_rate, prescribe
from sknorm.inspection._signal_text import text_table
from sknorm.inspection._surroundings import followed, is_standardized
from sknorm.inspection._theory import Prediction, predict_layers
from sknorm.inspection._verdicts import (
    Finding,
    Setting,
    judge_inputs,
    judge_layer,
    judge_target,
)
from sknorm.neural_network._opened import OpenedNetwork, open_estimator
from sknorm.nn.activations import Activation
from sknorm.nn.mean_field import fixed_point

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LayerReport", "SignalReport"]

# Rows that are sent through the network: more tell nothing new.
_ROWS = 1024
_ENOUGH = 256


@dataclass(frozen=True)
class LayerReport:
    """One row of a report: the inputs, a linear layer's units, or the target.

    Shares are in [0, 1]; what a row has no such number of is NaN.
    """

    layer: str
    """``"inputs"``, ``"hidden 1"``, ..., ``"output"``, or ``"target"``."""
    module: str
    """Name of the linear layer in the network's ``named_modules()``."""
    units: int
    """Number of columns or units; of many members, those of all."""
    mean: float
    """Mean of the pre-activations."""
    std: float
    """Their standard deviation, over rows and units."""
    sweet_spot: float = math.nan
    """Share in the activation's sweet spot."""
    saturated: float = math.nan
    """Share where the activation has less than 5 % of its steepest slope."""
    dead: float = math.nan
    """Share of units that are there for every row."""
    effective_rank: float = math.nan
    """Number of directions that the units vary in: (sum of eigenvalues of their
    covariance)^2 / (sum of squares)."""
    correlation: float = math.nan
    """Mean absolute correlation between units."""
    twins: float = math.nan
    """Share of units that have the weights of another one."""
    grad_std: float = math.nan
    """Standard deviation of a row's gradient with respect to pre-activations."""
    grad_ratio: float = math.nan
    """Length of that gradient beside that of the next layer."""
    weight_std: float = math.nan
    """Standard deviation of the weights."""
    update_ratio: float = math.nan
    """Length of one step of the optimizer, at the full ``lr``, beside the weights'."""
    q: float = math.nan
    """Mean square of the pre-activations."""
    q_theory: float = math.nan
    """What mean-field theory expects of these weights and inputs."""
    chi: float = math.nan
    """``grad_ratio`` squared."""
    chi_theory: float = math.nan
    """What mean-field theory expects of it."""
    sigma_w: float = math.nan
    """Root of the mean square of the weights times the number of inputs."""
    sigma_b: float = math.nan
    """Root mean square of the biases."""
    activation: str = ""
    """Name of what bends its outputs, or the class of a layer of one's own."""
    norm: str = ""
    """Class of the norm layer between it and the next layer."""
    verdict: str = "healthy"
    """One of healthy, vanishing, exploding, saturated, dead, shifted, symmetric and
    batch too small."""
    why: str = ""
    """The number behind the verdict."""
    hint: str = ""
    """What to change, or which layer this one follows."""


class SignalReport:
    """How the signal fares in each layer of a network, and what to change.

    Made by :meth:`from_estimator`.

    Parameters
    ----------
    layers : list of LayerReport
        Inputs, layers and target, in the order in which the signal meets them.
    first : LayerReport, default=None
        The row that is sick and explains the others, None if all are healthy.
    remedy : Remedy, default=None
        What to change, None if nothing is wrong.
    activation : Activation, default=None
        What stands between the layers, for what theory says of them.
    is_fitted : bool, default=False
        Whether the network had been trained.

    Attributes
    ----------
    layers : list of LayerReport
        As given.
    first : LayerReport or None
        As given.
    is_fitted : bool
        As given.
    fixed_points : list of float
        For each row the mean square at which pre-activations would settle if all
        layers had its weights and biases; NaN where theory has nothing to say.
    summary : str
        The report in a line.
    verdict : str
        That of ``first``, or ``"healthy"``.
    hint : str
        What to change, empty if nothing.
    suggested_params : dict
        Parameters of the network to set, with their values.

    See Also
    --------
    SignalMonitor : The same numbers during training.
    SignalPropagationDisplay : The signal over the depth of networks, drawn.

    Notes
    -----
    Pre-activations are what reaches an activation, behind a norm layer if it stands
    before; of layers without an activation they are the layer's outputs. A fitted
    network is looked at as it predicts. One that isn't fitted is built as ``fit`` would
    build it, from fresh copies of the steps before it, and its norm layers take their
    statistics over the rows given. Dropout is off.

    Verdicts, the first that holds:

    ===================  ============================================================
    exploding            something isn't finite
    batch too small      a norm takes statistics over fewer than 9 rows: it knows the
                         variance to no better than a half, sqrt(2 / (n - 1)); one that
                         corrects them by those of all batches, until it does in full
    symmetric            more than half of the units have the weights of another one
    exploding            std above e^3 = 20
    vanishing            std below e^-3 = 0.05
    dead                 more than half of the units are flat for all rows
    saturated            more than half of what N(0, 1) would leave alive is where an
                         activation that is flat on both sides is flat
    shifted              the mean is 3 standard deviations off zero; of inputs, the
                         columns' means are, in root mean square
    exploding, vanishing the gradient is e^3 times that of the last layer, or e^-3
    exploding            one step moves the weights by more than their own size
    ===================  ============================================================

    Signals of mean-field theory change by a factor of e over a depth scale, and
    networks train up to about six of them [1]_: variances may change by e^6, standard
    deviations by e^3. Of trained networks gradients and outputs may by e^6, because
    theory is about weights as they are drawn. The target of a regressor is judged
    after it was standardized: it explodes if a value is beyond e^3. One whose mean the
    network predicts the logarithm of, as of counts, isn't judged. Of fewer than 9 rows
    it isn't known whether they are shifted or a unit is dead.

    The hint of the whole report treats the first row whose signal isn't healthy on its
    way forward, or else the first whose gradient isn't; others may follow from it. For
    a trained network given with ``y``, the state before training is looked at too: what
    was well at the start was spoilt by the learning rate.

    References
    ----------
    .. [1] S. Schoenholz, J. Gilmer, S. Ganguli and J. Sohl-Dickstein, "Deep Information
       Propagation", ICLR 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknorm.inspection import SignalReport
    >>> from sknorm.neural_network import NormMLPClassifier
    >>> from sknorm.preprocessing import Standardizer
    >>> X, y = load_iris(return_X_y=True)
    >>> X = Standardizer().fit_transform(X)
    >>> network = NormMLPClassifier((16,), norm="none", init="zeros")
    >>> report = SignalReport.from_estimator(network, X, y)
    >>> report.verdict
    'symmetric'
    >>> report.suggested_params
    {'init': 'auto'}
    >>> report.remedied(network).init
    'auto'
    """

    def __init__(
        self,
        layers: list[LayerReport],
        *,
        first: LayerReport | None = None,
        remedy: Remedy | None = None,
        activation: Activation | None = None,
        is_fitted: bool = False,
    ) -> None:
        self.layers = layers
        self._activation = activation
        self.first = first
        self.is_fitted = is_fitted
        self._remedy = remedy

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any = None, *, max_rows: int = _ROWS
    ) -> SignalReport:
        """Look at the network in an estimator.

        The estimator stays as it is.

        Parameters
        ----------
        estimator : estimator
            A network of :mod:`sknorm.neural_network`, fitted or not: alone, last in a
            ``Pipeline``, inside a ``TransformedTargetRegressor``, or the best one of a
            fitted search.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the estimator is given them, at least 2.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets. Without them the gradient is that of random directions of the
            outputs, and there is no ``update_ratio``. Needed if it isn't fitted.
        max_rows : int, default=1024
            Of more rows so many are looked at, evenly spaced; at least 2.

        Returns
        -------
        SignalReport

        Raises
        ------
        TypeError
            If there is no network of sknorm's in the estimator.
        ValueError
            If there are fewer than two rows, if X isn't what the estimator was fitted
            on, or if there is no y and it isn't fitted.
        """
        check_count("max_rows", max_rows, 2)
        return cls._examine(estimator, X, y, max_rows)

    @classmethod
    def _examine(
        cls, estimator: Any, X: Any, y: Any, max_rows: int, *, whole: bool = True
    ) -> SignalReport:
        """Make a report, or just what verdict and remedy depend on."""
        opened = open_estimator(estimator, X, y, max_rows=max_rows)
        setting = Setting.of(opened, is_standardized=is_standardized(estimator))
        inputs, signals = probe(
            opened.network,
            opened.X,
            opened.y,
            opened.criterion,
            setting.activation,
            weight=opened.weight,
            optimizer=opened.optimizer,
            batch_statistics=not opened.is_fitted,
            pairs=whole,
        )
        # Theory knows no way round a layer.
        is_chain = setting.params.get("architecture", "mlp") == "mlp"
        predictions = (
            predict_layers(inputs, signals, setting.activation)
            if whole and is_chain
            else [Prediction()] * len(signals)
        )
        rows, found = _judge(opened, inputs, signals, predictions, setting)
        if not found:
            return cls(rows, activation=setting.activation, is_fitted=opened.is_fitted)
        first = min(found, key=lambda case: case.finding.kind == "backward")
        remedy = _remedy(estimator, X, y, max_rows, first, setting)
        rows = _with_hints(rows, first, remedy)
        return cls(
            rows,
            first=rows[first.row],
            remedy=remedy,
            activation=setting.activation,
            is_fitted=opened.is_fitted,
        )

    # -- what it says ------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """Verdict of ``first``, ``"healthy"`` if there is none."""
        return "healthy" if self.first is None else self.first.verdict

    @property
    def hint(self) -> str:
        """What to change, empty if nothing."""
        return "" if self._remedy is None else self._remedy.text

    @property
    def suggested_params(self) -> dict[str, Any]:
        """Parameters of the network to set, with their values."""
        return {} if self._remedy is None else dict(self._remedy.params)

    @cached_property
    def fixed_points(self) -> list[float]:
        """Where ``q`` would end if all layers were like a row's, NaN without theory."""
        return [_fixed_point(row, self._activation) for row in self.layers]

    @property
    def summary(self) -> str:
        """The report in a line."""
        state = "trained" if self.is_fitted else "before training"
        if self.first is None:
            return f"The signal is healthy in all {len(self.layers)} rows ({state})."
        row = self.first
        return (
            f"{row.layer}: {row.verdict}, {row.why} ({state}). "
            f"{self.hint[:1].upper()}{self.hint[1:]}."
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the report as a data frame, a row for each layer.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``layer``, with the columns ``module``, the linear layer's name
            in the network; ``units``; ``mean`` and ``std`` of the pre-activations;
            shares of them in the activation's ``sweet_spot`` and where it is flat,
            ``saturated``, and of units that are flat for all rows, ``dead``;
            ``effective_rank``, the number of directions that units vary in, (sum of
            eigenvalues of their covariance)^2 / (sum of squares); their mean absolute
            ``correlation``; the share of ``twins`` among their weights; ``grad_std``,
            the deviation of a row's gradient, and ``grad_ratio``, its length beside
            that of the next layer; ``weight_std``; ``update_ratio``, the length of a
            step at the full ``lr`` beside that of the weights; mean squares ``q`` and
            ``chi``, ``grad_ratio`` squared, each beside what mean-field theory expects;
            ``sigma_w`` and ``sigma_b``, from which it does; its ``fixed_point``; what
            stands behind it, the ``activation`` by name and the ``norm`` by its class;
            and ``verdict``, ``why`` and ``hint``. NaN is what a row has not, and a text
            that it has not is empty.
        """
        import pandas as pd

        frame = pd.DataFrame([vars(row) for row in self.layers]).set_index("layer")
        after = frame.columns.get_loc("sigma_b") + 1
        frame.insert(after, "fixed_point", self.fixed_points)
        return frame

    def remedied(self, estimator: Any) -> Any:
        """Return a copy of an estimator that isn't fitted, with the hint followed.

        Parameters
        ----------
        estimator : estimator
            What the report was made of.

        Returns
        -------
        estimator
            A clone, with parameters set, or with a ``Standardizer`` in front or a
            ``TransformedTargetRegressor`` around it.
        """
        fresh = clone(estimator)
        return fresh if self._remedy is None else followed(self._remedy, fresh)

    def __repr__(self) -> str:
        """Return the summary over a table of what is most telling."""
        return "\n".join([self.summary, "", *text_table(self.layers)])

    def _repr_html_(self) -> str:
        from sknorm.inspection._signal_html import fragment

        return fragment(self)

    def save(self, path: Any) -> None:
        """Write the report as a web page that needs nothing but itself.

        Parameters
        ----------
        path : str or path-like
            Where to, such as ``"report.html"``.
        """
        from sknorm.inspection._signal_html import page

        Path(path).write_text(page(self), encoding="utf-8")


# -- judging ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """Something that is wrong, and where."""

    row: int
    finding: Finding
    signal: LayerSignal | None


def _judge(
    opened: OpenedNetwork,
    inputs: Table,
    signals: list[LayerSignal],
    predictions: list[Prediction],
    setting: Setting,
) -> tuple[list[LayerReport], list[_Case]]:
    """Return a row for each thing that can be sick, and what is."""
    # Networks for tables standardize columns themselves, and embed them.
    takes_columns = not hasattr(opened.network, "named_linears")
    judged: list[tuple[LayerReport, Finding | None, LayerSignal | None]] = [
        (
            _inputs_row(inputs),
            judge_inputs(inputs, setting) if takes_columns else None,
            None,
        )
    ]
    for index, (signal, expected) in enumerate(zip(signals, predictions, strict=True)):
        behind = signals[index + 1] if index + 1 < len(signals) else None
        name = "output" if behind is None else f"hidden {index + 1}"
        row = _layer_row(name, signal, behind, expected)
        judged.append((row, judge_layer(signal, signals[-1], setting), signal))
    judged += _judge_target(opened)
    rows: list[LayerReport] = []
    cases: list[_Case] = []
    for row, finding, layer in judged:
        if finding is not None:
            cases.append(_Case(len(rows), finding, layer))
            row = replace(row, verdict=finding.verdict, why=finding.why)
        rows.append(row)
    return rows, cases


def _inputs_row(inputs: Table) -> LayerReport:
    return LayerReport(
        layer="inputs",
        module="",
        units=inputs.units,
        mean=inputs.mean,
        std=inputs.std,
        effective_rank=inputs.effective_rank,
        correlation=inputs.correlation,
        q=inputs.mean_square,
    )


def _layer_row(
    name: str,
    layer: LayerSignal,
    behind: LayerSignal | None,
    expected: Prediction,
) -> LayerReport:
    signal = layer.signal
    ratio = math.nan
    if behind is not None and behind.grad_norm:
        ratio = layer.grad_norm / behind.grad_norm
    signal = UNKNOWN if signal is None else signal
    return LayerReport(
        layer=name,
        module=layer.name,
        units=signal.units,
        mean=signal.mean,
        std=signal.std,
        sweet_spot=layer.sweet_spot,
        saturated=layer.flat,
        dead=layer.dead,
        effective_rank=signal.effective_rank,
        correlation=signal.correlation,
        twins=layer.twins,
        grad_std=layer.grad_std,
        grad_ratio=ratio,
        weight_std=layer.weight_std,
        update_ratio=layer.update,
        q=signal.mean_square,
        q_theory=expected.q,
        chi=ratio * ratio,
        chi_theory=expected.chi,
        sigma_w=layer.sigma_w,
        sigma_b=layer.sigma_b,
        activation=layer.activation,
        norm=layer.norm,
    )


def _fixed_point(row: LayerReport, activation: Activation | None) -> float:
    # Of layers that theory knows how gradients pass, and are fed activations.
    if activation is None or math.isnan(row.chi_theory) or row.layer == "hidden 1":
        return math.nan
    sigma_b = 0.0 if math.isnan(row.sigma_b) else row.sigma_b
    try:
        return float(fixed_point(activation, row.sigma_w, sigma_b))
    except ValueError:
        return math.nan


def _judge_target(
    opened: OpenedNetwork,
) -> list[tuple[LayerReport, Finding | None, None]]:
    """Return a row for real targets in their own units, none for classes."""
    if opened.y is None or isinstance(opened.estimator, ClassifierMixin):
        return []
    y = opened.y.double()
    # Of which the loss takes the logarithm has a natural zero, and a long tail.
    is_standardized = not opened.criterion.predicts_logs
    row = LayerReport(
        layer="target",
        module="",
        units=y.shape[1],
        mean=float(y.mean()),
        std=float(y.std(correction=0)),
    )
    found = judge_target(float(y.abs().max())) if is_standardized else None
    return [(row, found, None)]


def _remedy(
    estimator: Any, X: Any, y: Any, max_rows: int, first: _Case, setting: Setting
) -> Remedy:
    """Prescribe for what was sick first, before training if it was by then."""
    spoilt = first.finding.kind not in ("inputs", "target", "batch", "step")
    if setting.is_fitted and y is not None and spoilt:
        # A verdict needs fewer rows than the numbers that are shown.
        fewer = min(max_rows, max(_ENOUGH, max_rows // 4))
        start = SignalReport._examine(clone(estimator), X, y, fewer, whole=False)
        return lower_rate(setting) if start._remedy is None else start._remedy
    return prescribe(
        first.finding,
        first.signal,
        setting,
        is_fed_columns=first.row == 1 and "n_members" not in setting.params,
    )


def _with_hints(
    rows: list[LayerReport], first: _Case, remedy: Remedy
) -> list[LayerReport]:
    """Give the first sick row the remedy, and the others what they may follow."""
    where = rows[first.row].layer
    return [
        row
        if row.verdict == "healthy"
        else replace(row, hint=remedy.text if i == first.row else f"first mend {where}")
        for i, row in enumerate(rows)
    ]
