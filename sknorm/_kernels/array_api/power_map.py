"""Power transforms of the columns of arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import sknorm._kernels.power_map as in_memory
from sknorm._array_api import beside, float_dtypes, namespace, to_numpy
from sknorm._kernels.array_api.blocks import infinite_columns, map_blocks
from sknorm._kernels.power_map import PowerMap

__all__ = ["log_ratio", "map_back", "map_columns"]

# Numbers beside which 1 is lost.
_LARGE = 1e17

_Refuse = Callable[[np.ndarray], None]


def map_columns(
    X: Any,
    mapped: PowerMap,
    out: Any = None,
    *,
    on_infinite: _Refuse,
    on_nonpositive: _Refuse,
) -> Any:
    """Transform the columns of a table.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64.
    mapped, out, on_infinite, on_nonpositive
        As for :func:`sknorm._kernels.power_map.map_columns`.

    Returns
    -------
    array like X
        Computed in main memory if the device has no doubles, which powers need.
    """
    if len(float_dtypes(X)) == 1:
        found = in_memory.map_columns(
            to_numpy(X), mapped, on_infinite=on_infinite, on_nonpositive=on_nonpositive
        )
        return beside(found, X)
    xp = namespace(X)
    _report(infinite_columns(X), on_infinite)
    if not mapped.shift:
        _report(to_numpy(xp.any(X <= 0, axis=0)), on_nonpositive)
    sides = _Sides(mapped, X)

    def work(x: Any) -> Any:
        origin, base, less, rate, factor, add = sides.chosen(x < 0)
        t = log_ratio(xp.abs(x), mapped.shift, origin, base)
        return factor * xp.expm1(rate * (t - less)) + add

    return map_blocks(work, X, out, X.shape[1])


def map_back(Z: Any, mapped: PowerMap, out: Any = None, *, on_infinite: _Refuse) -> Any:
    """Undo :func:`map_columns`.

    Parameters
    ----------
    Z, mapped, out, on_infinite
        As for :func:`sknorm._kernels.power_map.map_back`.

    Returns
    -------
    array like Z
    """
    if len(float_dtypes(Z)) == 1:
        found = in_memory.map_back(to_numpy(Z), mapped, on_infinite=on_infinite)
        return beside(found, Z)
    xp = namespace(Z)
    _report(infinite_columns(Z), on_infinite)
    sides, border = _Sides(mapped, Z), beside(mapped.border, Z)

    def work(z: Any) -> Any:
        below = z < border
        origin, base, less, rate, factor, add = sides.chosen(below)
        w = (z - add) / factor
        # Beyond -1 is what no value is mapped to.
        w = xp.maximum(w, -xp.ones_like(w))
        # Of a large w it is log(w), and infinite from 1e307 on in some PyTorch.
        t = xp.where(w > _LARGE, xp.log(xp.abs(w)), xp.log1p(w)) / rate + less
        a = xp.expm1(t)
        far = xp.exp(t) * base - mapped.shift
        a = xp.where(a < -0.5, far, a * base + origin)
        return xp.where(below, -a, a)

    return map_blocks(work, Z, out, Z.shape[1])


def log_ratio(a: Any, shift: float, origin: Any, base: Any) -> Any:
    """Return ``log((a + shift) / base)``, with the base ``origin + shift``.

    Parameters
    ----------
    a : array
        Numbers.
    shift : float
        What is added to them.
    origin, base : array that can be broadcast to a
        What they are measured from.

    Returns
    -------
    array like a
    """
    xp = namespace(a)
    u = (a - origin) / base
    return xp.where(u < -0.5, xp.log((a + shift) / base), xp.log1p(u))


class _Sides:
    """The numbers of a map, on the device of an array."""

    def __init__(self, mapped: PowerMap, X: Any):
        self.xp = namespace(X)
        upper, lower = mapped.sides
        self.upper = [beside(numbers, X) for numbers in upper]
        self.lower = [beside(numbers, X) for numbers in lower]
        self.differs = (upper != lower).any(axis=1)

    def chosen(self, below: Any) -> list[Any]:
        """Return them for each value, given which are on the lower side."""
        return [
            self.xp.where(below, low, up) if differs else up
            for up, low, differs in zip(
                self.upper, self.lower, self.differs, strict=True
            )
        ]


def _report(mask: np.ndarray, refuse: _Refuse) -> None:
    if mask.any():
        refuse(mask)
