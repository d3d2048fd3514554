"""Standardizers: scikit-learn transformers that bring columns to mean 0 and std 1.

A class is loaded when it is first asked for: scikit-learn imports pandas, and whoever
imports this module for one name should not wait for what another one needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sknorm.preprocessing._group import GroupStandardizer
    from sknorm.preprocessing._power import PowerStandardizer
    from sknorm.preprocessing._quantile import QuantileStandardizer
    from sknorm.preprocessing._robust import RobustStandardizer
    from sknorm.preprocessing._standardizer import Standardizer
    from sknorm.preprocessing._table import TableStandardizer
    from sknorm.preprocessing._whitening import WhiteningStandardizer

__all__ = [
    "GroupStandardizer",
    "PowerStandardizer",
    "QuantileStandardizer",
    "RobustStandardizer",
    "Standardizer",
    "TableStandardizer",
    "WhiteningStandardizer",
]

_HOMES = {
    "GroupStandardizer": "_group",
    "PowerStandardizer": "_power",
    "QuantileStandardizer": "_quantile",
    "RobustStandardizer": "_robust",
    "Standardizer": "_standardizer",
    "TableStandardizer": "_table",
    "WhiteningStandardizer": "_whitening",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
