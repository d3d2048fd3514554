"""Which parameter to change where a layer isn't healthy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sknorm.inspection._probe import LayerSignal
from sknorm.inspection._verdicts import DEPTH_SCALES, FEWEST_ROWS, Finding, Setting
from sknorm.nn.initializers import EdgeOfChaos
from sknorm.nn.mlp import check_hidden_layer_sizes
from sknorm.nn.norms import NORMS

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

    Followed again and again, remedies of a network that isn't trained come to an end:
    none names what is set by then, and the last halves the depth.

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
        and not setting.is_standardized
        and layer is not None
        and finding.kind in ("forward", "units")
        and not 1 / LARGE**2 <= layer.input_mean_square <= LARGE**2
    )
    if finding.kind == "inputs" or layer is None or columns_are_off:
        return _inputs(setting)
    if finding.kind == "batch":
        return _batch(layer, setting)
    if finding.kind == "step":
        return lower_rate(setting, layer.update)
    if finding.kind == "backward":
        return _depth(setting)
    if finding.kind != "symmetric" and _is_biased(layer, setting):
        return _set("the biases decide what the units do", bias_init="auto")
    init = "auto" if _has_gain(setting) else "xavier_normal"
    if setting.params.get("init") not in (init, "auto"):
        return _set("start from weights that keep the signal's size", init=init)
    if _is_normless(setting):
        return _set("hold the signal at unit size", norm="batch")
    if setting.is_fitted:
        return lower_rate(setting)
    if setting.params["norm"] not in ("batch", "layer"):
        return _set("hold the signal at unit size", norm="batch")
    if setting.params["norm"] == "batch" and _has_rows_to_normalize(setting):
        return _set("normalize rows, which are alone", norm="layer")
    return _gentler(setting)


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


def _inputs(setting: Setting) -> Remedy:
    """Bring the columns to unit size, unless that is what was done."""
    if not setting.is_standardized:
        return Remedy(
            "put Standardizer() in front: make_pipeline(Standardizer(), ...)",
            standardize_inputs=True,
        )
    if setting.is_fitted:
        return Remedy("fit it anew: these rows aren't like those it was fitted on")
    return Remedy("leave constant columns out: standardized, nothing is left of them")


def _batch(layer: LayerSignal, setting: Setting) -> Remedy:
    """Let a norm know its statistics better."""
    takes_parts = 0 < layer.batch_statistics < FEWEST_ROWS
    if setting.params.get("batch_size") != "auto" and not takes_parts:
        return _set("statistics need more rows", batch_size="auto")
    if _has_rows_to_normalize(setting):
        return _set("take statistics over units instead of rows", norm="layer")
    return _set("neither rows nor units are enough for statistics", norm="none")


def _is_normless(setting: Setting) -> bool:
    return setting.params.get("norm") in ("none", None)


def _has_gain(setting: Setting) -> bool:
    try:
        return setting.activation.gain > 0
    except ValueError:  # Not elementwise, or nothing comes through.
        return False


def _has_rows_to_normalize(setting: Setting) -> bool:
    """Tell whether each layer has the units that a norm of rows needs."""
    sizes = check_hidden_layer_sizes(setting.params["hidden_layer_sizes"])
    return min(sizes, default=0) >= NORMS["layer"].min_features


def _is_biased(layer: LayerSignal, setting: Setting) -> bool:
    if setting.params.get("bias_init", "auto") == "auto":
        return False
    spread = layer.sigma_w * math.sqrt(layer.input_mean_square)
    return layer.sigma_b > max(spread, 1.0)


def _depth(setting: Setting) -> Remedy:
    """Choose what keeps a gradient's size over all layers."""
    if not _is_normless(setting):
        return _normed_depth(setting)
    if setting.params.get("init") != "auto" and _auto_reaches(setting):
        return _set("start from weights that keep the signal's size", init="auto")
    if setting.params.get("init") != "edge_of_chaos" and _has_gentle_edge(setting):
        return _set("start where a gradient keeps its size", init="edge_of_chaos")
    return _set("hold the signal at unit size, and with it gradients", norm="batch")


def _normed_depth(setting: Setting) -> Remedy:
    """Choose what keeps a gradient's size in spite of the norm layers there are."""
    if setting.params["norm"] != "layer" and _has_rows_to_normalize(setting):
        return _set("normalize rows, which are alone", norm="layer")
    if setting.params.get("init") != "auto" and _has_gain(setting):
        return _set("start from weights that keep the signal's size", init="auto")
    return _gentler(setting)


def _gentler(setting: Setting) -> Remedy:
    """Ask less of the layers, when all that helps them is there."""
    sizes = check_hidden_layer_sizes(setting.params["hidden_layer_sizes"])
    if setting.is_fitted or not sizes:
        return lower_rate(setting)
    if setting.activation.name != "relu":
        return _set("what it passes on it passes on in full", activation="relu")
    if len(sizes) == 1:
        return lower_rate(setting)
    half = sizes[: len(sizes) // 2]
    is_long = len(set(half)) == 1 < len(half)
    written = f"({half[0]},) * {len(half)}" if is_long else repr(half)
    return Remedy(
        f"set hidden_layer_sizes={written}: a signal gets through half as many",
        {"hidden_layer_sizes": half},
    )


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
