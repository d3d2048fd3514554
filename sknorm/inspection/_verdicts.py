"""What a layer's numbers mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sknorm.inspection._probe import LayerSignal, Table, flat_share
from sknorm.neural_network._opened import OpenedNetwork
from sknorm.nn.activations import Activation, resolve_activation

__all__ = [
    "Finding",
    "Setting",
    "judge_inputs",
    "judge_layer",
    "judge_target",
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

# Columns whose mean is three of their standard deviations off have next to all their
# rows on one side of zero.
SHIFT = 3.0

# Statistics of n rows know a standard deviation to 1 / sqrt(2 (n - 1)): below nine rows
# worse than to a quarter, and the variance worse than to a half.
FEWEST_ROWS = 9

# A step that moves weights by more than their size has replaced them.
LARGEST_STEP = 1.0

# Half of a layer's units, or of the pre-activations beyond what N(0, 1) has there.
HALF = 0.5


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
    n_rows: int
    """How many rows were sent through."""
    is_standardized: bool = False
    """Whether columns are standardized right before the network."""

    @classmethod
    def of(cls, opened: OpenedNetwork, *, is_standardized: bool = False) -> Setting:
        """Read it off a network that was opened."""
        estimator = opened.estimator
        network: Any = opened.network
        is_tabular = hasattr(network, "named_linears")
        linears = list(network.named_linears()) if is_tabular else network.linears
        return cls(
            params=estimator.get_params(deep=False),
            activation=resolve_activation(estimator.activation),
            batch_size=opened.net.batch_size,
            n_hidden=len(linears) - 1,
            is_fitted=opened.is_fitted,
            n_rows=len(opened.X),
            is_standardized=is_standardized,
        )

    @property
    def has_rows(self) -> bool:
        """Whether there are rows enough to tell a column's mean, or that one is flat.

        Of two rows a standard deviation is next to nothing as often as not.
        """
        return self.n_rows >= FEWEST_ROWS


def judge_inputs(inputs: Table, setting: Setting) -> Finding | None:
    """Tell what is wrong with the numbers that the first layer is fed, if anything."""
    if not inputs.finite:
        return Finding("exploding", "inputs", "not all are finite")
    if inputs.offset > SHIFT and setting.has_rows:
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
    if 0 < rows < FEWEST_ROWS:
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
    if layer.dead > HALF and not both and setting.has_rows:
        why = f"{_share(layer.dead)} of the units are flat for every row"
        yield Finding("dead", "units", why)
    # Beyond what N(0, 1) has there, half of the rest.
    if both and layer.flat > share + HALF * (1 - share):
        why = f"{_share(layer.flat)} of the pre-activations are where it is flat"
        yield Finding("saturated", "units", why)
    if signal.shift > SHIFT and setting.has_rows:
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
