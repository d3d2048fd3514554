"""Which parameter to change where a layer isn't healthy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sknorm.inspection._probe import LayerSignal
from sknorm.inspection._verdicts import DEPTH_SCALES, Finding, Setting
from sknorm.nn.initializers import EdgeOfChaos

__all__ = ["Remedy", "lower_rate", "prescribe"]

# Columns with twice the size of N(0, 1), or half, aren't ill, but explain an illness.
LARGE = 2.0

# What a learning rate is corrected to: the size of a step that Adam takes at 1e-3 where
# 100 inputs reach a unit.
GOOD_STEP = 0.01


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
