"""What the standardizers share that subtract a center and divide by a scale."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from scipy.sparse import issparse

from sknorm._array_api import beside
from sknorm._kernels.apply import scale_columns, unscale_columns
from sknorm.preprocessing._base import BaseStandardizer

__all__ = ["ScalingStandardizer"]

# Half a unit in the last place of the largest double: no smaller center takes any value
# beyond it. A quarter of any difference or product that is looked for is a double.
_LARGE, _PART = 2.0**970, 0.25


class ScalingStandardizer(BaseStandardizer):
    """A standardizer that maps each column by ``(x - center) / scale``, and clips.

    A family implements ``_shift``, and has the parameters ``clip`` and ``clip_bound``
    and one that says whether to center, named by ``_centers_by``.
    """

    _centers_by: ClassVar[str]

    def _transform(self, X, out):
        center, scale = self._shift()
        part = _part(center)
        if part is None:
            return self._apply(scale_columns, X, center, scale, out)
        rows = X * beside(part, X)
        result = self._apply(scale_columns, rows, *_times(part, center, scale), rows)
        if out is None:
            return result
        out[...] = result
        return out

    def _inverse_transform(self, X, out):
        center, scale = self._shift()
        part = _part(center)
        if part is None:
            return self._apply(unscale_columns, X, center, scale, out)
        result = self._apply(unscale_columns, X, *_times(part, center, scale), out)
        with np.errstate(over="ignore"):
            result *= beside(1 / part, result)
        return result

    def _apply(self, kernel, X, center, scale, out):
        return kernel(
            X,
            center,
            scale,
            out,
            clip=None if self.clip == "none" else (self.clip, float(self.clip_bound)),
            on_infinite=self._refuse_infinite,
        )

    @abstractmethod
    def _shift(self):
        """Return the parts of the center, none to leave it, and the scale or None."""

    def _check(self, X, *, reset):
        if issparse(X) and getattr(self, self._centers_by):
            raise ValueError(
                "Cannot center sparse matrices: it would fill them. Pass "
                f"{self._centers_by}=False to scale only, or make X dense."
            )
        return super()._check(X, reset=reset)

    @property
    def _accept_sparse(self):
        return False if getattr(self, self._centers_by) else ("csr", "csc")


def _part(center):
    """Return what to multiply columns by so that nothing overflows, None for nothing.

    As float32, so that it leaves the dtype of a table as it is.
    """
    if not center:
        return None
    large = np.abs(center[0]) > _LARGE
    return np.where(large, _PART, 1.0).astype(np.float32) if large.any() else None


def _times(part, center, scale):
    """Return center and scale of columns that were multiplied."""
    scale = 1.0 if scale is None else scale
    return tuple(c * part for c in center), scale * part.astype(np.float64)
