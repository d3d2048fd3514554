"""Pictures and tables that show whether numbers stay near N(0, 1).

A class is loaded when it is first asked for, and matplotlib when something is drawn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sknorm.inspection._activation import ActivationDisplay
    from sknorm.inspection._loss_surface import LossSurfaceDisplay
    from sknorm.inspection._search_heatmap import SearchHeatmapDisplay
    from sknorm.inspection._signal_monitor import SignalMonitor
    from sknorm.inspection._signal_propagation import SignalPropagationDisplay
    from sknorm.inspection._signal_report import SignalReport
    from sknorm.inspection._standardization import StandardizationDisplay
    from sknorm.inspection._training_history import TrainingHistoryDisplay
    from sknorm.inspection._training_signal import TrainingSignalDisplay

__all__ = [
    "ActivationDisplay",
    "LossSurfaceDisplay",
    "SearchHeatmapDisplay",
    "SignalMonitor",
    "SignalPropagationDisplay",
    "SignalReport",
    "StandardizationDisplay",
    "TrainingHistoryDisplay",
    "TrainingSignalDisplay",
]

_HOMES = {
    "ActivationDisplay": "_activation",
    "LossSurfaceDisplay": "_loss_surface",
    "SearchHeatmapDisplay": "_search_heatmap",
    "SignalMonitor": "_signal_monitor",
    "SignalPropagationDisplay": "_signal_propagation",
    "SignalReport": "_signal_report",
    "StandardizationDisplay": "_standardization",
    "TrainingHistoryDisplay": "_training_history",
    "TrainingSignalDisplay": "_training_signal",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
