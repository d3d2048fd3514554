"""Pictures and tables that show whether numbers stay near N(0, 1).

A class is loaded when it is first asked for, and matplotlib when something is drawn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sknorm.inspection._standardization import StandardizationDisplay

__all__ = ["StandardizationDisplay"]

_HOMES = {"StandardizationDisplay": "_standardization"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
