"""Standardizers that learn a column from all of its values at once."""

from __future__ import annotations

from abc import abstractmethod

from sknorm.preprocessing._base import BaseStandardizer
from sknorm.preprocessing._lazy import study_columns

__all__ = ["ColumnStandardizer"]


class ColumnStandardizer(BaseStandardizer):
    """A standardizer whose statistics don't merge, but whose columns are independent.

    A family implements ``_study``, which returns what there is to know of some columns,
    and ``_adopt``, which sets the fitted attributes from that of all. What is known is
    a dataclass of arrays with columns on the last axis, among them ``infinite``, a mask
    of the columns with infinite values: it refuses nothing by itself.
    """

    def _fit(self, X, weight):
        self._adopt(self._study(X, weight))

    def _fit_dask(self, X, sample_weight):
        self._adopt(study_columns(self, X, sample_weight))

    @abstractmethod
    def _study(self, X, weight):
        """Return what there is to know of validated columns."""

    @abstractmethod
    def _adopt(self, found):
        """Set fitted attributes, or refuse what can't be learned from."""
