"""What a layer's numbers mean, and which parameter to change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sknorm.inspection._probe import LayerSignal, Table, flat_share
from sknorm.nn.activations import Activation
from sknorm.nn.initializers import EdgeOfChaos

__all__ = [
    "Finding",
    "Remedy",
    "Setting",
    "judge_inputs",
    "judge_layer",
    "judge_target",
    "lower_rate",
    "prescribe",
]

Verdict = Literal[
    "healthy",
    "vanishing",
    "exploding",
    "saturated",
    "dead",
    "shifted",
    "symmetric",
    "batch too small",
]

# Networks of mean-field theory train to a depth of some six scales over which a signal
# changes by e, in variance: past that, forward or backward, it is lost or all there is.
# In standard deviations that is 20.
DEPTH_SCALES = 6.0
LIMIT = math.exp(DEPTH_SCALES / 2)
# Trained weights have left what theory is about. So much more is still no illness.
TRAINED_LIMIT = LIMIT**2

# Columns with twice the size of N(0, 1), or half, aren't ill, but explain an illness.
LARGE = 2.0

# Columns whose mean is three of their standard deviations off have next to all their
# rows on one side of zero.
SHIFT = 3.0

# Statistics of n rows know a standard deviation to 1 / sqrt(2 (n - 1)): below nine rows
# worse than to a quarter, and the variance worse than to a half.
SMALLEST_BATCH = 9

# A step that moves weights by more than their size has replaced them.
LARGEST_STEP = 1.0
# What a learning rate is corrected to: the size of a step that Adam takes at 1e-3 where
# 100 inputs reach a unit.
GOOD_STEP = 0.01

# Half of a layer's units, or of the pre-activations beyond what N(0, 1) has there.
HALF = 0.5


@dataclass(frozen=True)
class Remedy:
    """What to change."""

    text: str
    """In words, with the parameter and its value."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters of the network with their values."""
    standardize_inputs: bool = False
    """Whether a ``Standardizer`` belongs in front."""
    normalize_target: bool = False
    """Whether the target has to be transformed to a normal distribution."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a layer."""

    verdict: Verdict
    kind: str
    """Which rule found it, for the remedy."""
    why: str
    """The numbers that say so."""


@dataclass(frozen=True)
class Setting:
    """What is known of the network beside its layers."""

    params: dict[str, Any]
    """The estimator's parameters."""
    activation: Activation
    batch_size: int
    n_hidden: int
    is_fitted: bool


# -- verdicts --------------------------------------------------------------------------


def judge_inputs(inputs: Table) -> Finding | None:
    """Tell what is wrong with the numbers that the first layer is fed, if anything."""
    if not inputs.finite:
        return Finding("exploding", "inputs", "not all are finite")
    if inputs.offset > SHIFT:
        why = f"column means are {inputs.offset:.3g} standard deviations off zero"
        return Finding("shifted", "inputs", why)
    return _too_large_or_small(inputs.std, LIMIT, "inputs")


def judge_target(largest: float) -> Finding | None:
    """Tell what is wrong with standardized targets of which this is the largest."""
    if largest <= LIMIT:
        return None
    why = f"the largest is {largest:.3g} standard deviations off the mean"
    return Finding("exploding", "target", why)


def judge_layer(
    layer: LayerSignal,
    last: LayerSignal,
    setting: Setting,
) -> Finding | None:
    """Tell what is wrong with a layer, None if nothing is.

    Parameters
    ----------
    layer : LayerSignal
        The layer.
    last : LayerSignal
        The network's last one, at which the gradient starts.
    setting : Setting
        What else is known.
    """
    return next(_findings(layer, last, setting), None)


def _findings(
    layer: LayerSignal, last: LayerSignal, setting: Setting
) -> Iterator[Finding]:
    """Yield what is wrong, what explains the rest first."""
    signal, is_last = layer.signal, layer is last
    if not layer.finite_weights:
        yield Finding("exploding", "not finite", "weights are not finite")
    if signal is None or not signal.finite:
        yield Finding("exploding", "not finite", "pre-activations are not finite")
        return
    rows = _rows_of_statistics(layer, setting)
    if 0 < rows < SMALLEST_BATCH:
        why = f"{layer.norm} takes its statistics over {rows} rows"
        yield Finding("batch too small", "batch", why)
    if layer.twins > HALF and not is_last:
        why = f"{_share(layer.twins)} of the units have the weights of another one"
        yield Finding("symmetric", "symmetric", why)
    limit = TRAINED_LIMIT if setting.is_fitted and is_last else LIMIT
    found = _too_large_or_small(signal.std, limit, "forward")
    # The last layer may start at nothing, and its outputs mean what they mean.
    if found is not None and not (is_last and found.verdict == "vanishing"):
        yield found
    if not is_last:
        yield from _units(layer, signal, setting)
        yield from _backward(layer, last, setting)
    if layer.update > LARGEST_STEP and not layer.blank:
        why = f"one step moves the weights by {layer.update:.3g} times their size"
        yield Finding("exploding", "step", why)


def _rows_of_statistics(layer: LayerSignal, setting: Setting) -> int:
    """Return of how many rows a layer's norm takes statistics, 0 for none."""
    rows = layer.batch_statistics
    return setting.batch_size if rows == -1 else min(rows, setting.batch_size)


def _too_large_or_small(std: float, limit: float, kind: str) -> Finding | None:
    if std > limit:
        return Finding("exploding", kind, f"the standard deviation is {std:.3g}")
    if std < 1 / limit:
        return Finding("vanishing", kind, f"the standard deviation is {std:.3g}")
    return None


def _units(layer: LayerSignal, signal: Table, setting: Setting) -> Iterator[Finding]:
    if not math.isfinite(layer.flat):
        return
    share, both = flat_share(setting.activation)
    if layer.dead > HALF and not both:
        why = f"{_share(layer.dead)} of the units are flat for every row"
        yield Finding("dead", "units", why)
    # Beyond what N(0, 1) has there, half of the rest.
    if both and layer.flat > share + HALF * (1 - share):
        why = f"{_share(layer.flat)} of the pre-activations are where it is flat"
        yield Finding("saturated", "units", why)
    if signal.shift > SHIFT:
        why = f"the mean is {signal.shift:.3g} standard deviations off zero"
        yield Finding("shifted", "units", why)


def _backward(
    layer: LayerSignal, last: LayerSignal, setting: Setting
) -> Iterator[Finding]:
    if last.blank or not last.grad_norm or not math.isfinite(layer.grad_norm):
        return  # Nothing comes back from the start, for reasons of its own.
    ratio = layer.grad_norm / last.grad_norm
    limit = TRAINED_LIMIT if setting.is_fitted else LIMIT
    why = f"the gradient is {ratio:.3g} times that of the last layer"
    if ratio > limit:
        yield Finding("exploding", "backward", why)
    if ratio < 1 / limit:
        yield Finding("vanishing", "backward", why)


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


# -- remedies --------------------------------------------------------------------------


def prescribe(
    finding: Finding,
    layer: LayerSignal | None,
    setting: Setting,
    *,
    is_fed_columns: bool = False,
) -> Remedy:
    """Name what to change for the first thing that is wrong.

    Parameters
    ----------
    finding : Finding
        What is wrong.
    layer : LayerSignal or None
        Where; None for inputs and targets.
    setting : Setting
        What else is known.
    is_fed_columns : bool, default=False
        Whether the layer is fed the columns of a table as they come.
    """
    if finding.kind == "target":
        return Remedy(
            "give the target a normal distribution: TransformedTargetRegressor(..., "
            "transformer=QuantileStandardizer())",
            normalize_target=True,
        )
    columns_are_off = (
        is_fed_columns
        and layer is not None
        and finding.kind in ("forward", "units")
        and not 1 / LARGE**2 <= layer.input_mean_square <= LARGE**2
    )
    if finding.kind == "inputs" or layer is None or columns_are_off:
        return Remedy(
            "put Standardizer() in front: make_pipeline(Standardizer(), ...)",
            standardize_inputs=True,
        )
    if finding.kind == "batch":
        return _batch(setting)
    if finding.kind == "step":
        return lower_rate(setting, layer.update)
    if finding.kind == "backward":
        return _depth(setting)
    if finding.kind != "symmetric" and _is_biased(layer, setting):
        return _set("the biases decide what the units do", bias_init="auto")
    if setting.params.get("init") != "auto":
        return _set("start from weights that keep the signal's size", init="auto")
    if setting.params.get("norm") in ("none", None):
        return _set("hold the signal at unit size", norm="batch")
    return lower_rate(setting)


def lower_rate(setting: Setting, step: float = math.nan) -> Remedy:
    """Advise a smaller learning rate, for a step of a known size or a tenth."""
    lr = float(setting.params["lr"])
    factor = GOOD_STEP / step if GOOD_STEP < step < math.inf else 0.1
    return _set("take smaller steps", lr=_rounded(lr * factor))


def _rounded(value: float) -> float:
    """Return a number with one digit, as people write learning rates."""
    return float(f"{value:.0e}")


def _set(why: str, **params: Any) -> Remedy:
    named = ", ".join(f"{name}={value!r}" for name, value in params.items())
    return Remedy(f"set {named}: {why}", params)


def _batch(setting: Setting) -> Remedy:
    if setting.params.get("batch_size") != "auto":
        return _set("statistics need more rows", batch_size="auto")
    return _set("take statistics over units instead of rows", norm="layer")


def _is_biased(layer: LayerSignal, setting: Setting) -> bool:
    if setting.params.get("bias_init", "auto") == "auto":
        return False
    spread = layer.sigma_w * math.sqrt(layer.input_mean_square)
    return layer.sigma_b > max(spread, 1.0)


def _depth(setting: Setting) -> Remedy:
    """Choose what keeps a gradient's size over all layers."""
    normless = setting.params.get("norm") in ("none", None)
    if not normless:
        return _set("normalize rows, which are alone", norm="layer")
    if setting.params.get("init") != "auto" and _auto_reaches(setting):
        return _set("start from weights that keep the signal's size", init="auto")
    if setting.params.get("init") != "edge_of_chaos" and _has_gentle_edge(setting):
        return _set("start where a gradient keeps its size", init="edge_of_chaos")
    return _set("hold the signal at unit size, and with it gradients", norm="batch")


def _auto_reaches(setting: Setting) -> bool:
    """Tell whether the gain that keeps a signal keeps a gradient, over the depth."""
    phi = setting.activation
    try:
        chi = (phi.gain / phi.grad_gain) ** 2
    except ValueError:
        return False
    return abs(math.log(chi)) * setting.n_hidden < DEPTH_SCALES


def _has_gentle_edge(setting: Setting) -> bool:
    """Tell whether gradients keep their size at pre-activations no larger than 1."""
    phi = setting.activation
    try:
        first: Any = EdgeOfChaos().bind(
            phi=phi.function, gain=phi.gain, position="input", normalized=False
        )
    except ValueError:
        return False
    # Of the first layer, which is fed N(0, 1), they are the pre-activations' variance.
    return first.sigma_w**2 + first.sigma_b**2 <= 1.0
