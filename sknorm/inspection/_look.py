"""What is seen of a network in the midst of training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sknorm.inspection._probe import UNKNOWN, LayerSignal
from sknorm.inspection._remedies import Remedy, lower_rate, prescribe
from sknorm.inspection._verdicts import Finding, Setting, judge_layer

__all__ = ["STATISTICS", "Case", "Look", "first_of"]

# What is recorded of each layer, by the names that SignalReport has for it.
STATISTICS = (
    "mean",
    "std",
    "sweet_spot",
    "saturated",
    "dead",
    "grad_std",
    "grad_ratio",
    "weight_std",
    "update_ratio",
)

# What is wrong whatever the state was in which training started.
_OF_ITS_OWN = ("batch", "step")


@dataclass(frozen=True)
class Case:
    """A layer that isn't healthy."""

    layer: str
    signal: LayerSignal
    finding: Finding


def first_of(cases: list[Case]) -> Case:
    """Return the case that explains the others: forward first, as in SignalReport."""
    return min(cases, key=lambda case: case.finding.kind == "backward")


@dataclass(frozen=True)
class Look:
    """What was seen of a network."""

    inputs: Finding | None
    """What is wrong with the rows."""
    layers: list[LayerSignal]
    grad_norm: float
    """Norm of the gradient over all parameters."""
    setting: Setting
    takes_columns: bool
    """Whether the first layer is fed the columns of a table as they come."""

    @cached_property
    def findings(self) -> list[Finding | None]:
        """What is wrong with each layer."""
        last = self.layers[-1]
        return [judge_layer(layer, last, self.setting) for layer in self.layers]

    @property
    def names(self) -> list[str]:
        """Names of the layers, as in SignalReport."""
        return [f"hidden {i}" for i in range(1, len(self.layers))] + ["output"]

    def rows(self, epoch: int) -> list[dict[str, Any]]:
        """Return what is to be recorded."""
        return [
            {"epoch": epoch, "layer": name}
            | _numbers(layer, behind)
            | {"verdict": "healthy" if finding is None else finding.verdict}
            for name, layer, behind, finding in zip(
                self.names,
                self.layers,
                [*self.layers[1:], None],
                self.findings,
                strict=True,
            )
        ]

    def sick(self) -> list[Case]:
        """Return the layers that aren't healthy."""
        found = zip(self.names, self.layers, self.findings, strict=True)
        return [
            Case(name, layer, finding)
            for name, layer, finding in found
            if finding is not None
        ]

    def first_remedy(self) -> Remedy | None:
        """Return what to change for this state alone, None if nothing."""
        if self.inputs is not None:
            return prescribe(self.inputs, None, self.setting)
        sick = self.sick()
        if not sick:
            return None
        case = first_of(sick)
        return prescribe(
            case.finding,
            case.signal,
            self.setting,
            is_fed_columns=self.takes_columns and case.signal is self.layers[0],
        )

    def remedy(self, case: Case, first_remedy: Remedy | None) -> Remedy:
        """Return what to change for a layer, by the state before training too."""
        if case.finding.kind in _OF_ITS_OWN:
            return prescribe(case.finding, case.signal, self.setting)
        # What was well at the start was spoilt by the learning rate.
        return first_remedy or lower_rate(self.setting)


def _numbers(layer: LayerSignal, behind: LayerSignal | None) -> dict[str, float]:
    signal = UNKNOWN if layer.signal is None else layer.signal
    ratio = math.nan
    if behind is not None and behind.grad_norm:
        ratio = layer.grad_norm / behind.grad_norm
    values = (
        signal.mean,
        signal.std,
        layer.sweet_spot,
        layer.flat,
        layer.dead,
        layer.grad_std,
        ratio,
        layer.weight_std,
        layer.update,
    )
    return dict(zip(STATISTICS, values, strict=True))
