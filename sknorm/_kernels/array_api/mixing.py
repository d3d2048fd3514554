"""Linear maps of the rows of arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sknorm._array_api import beside, namespace
from sknorm._kernels.array_api.apply import scale_columns, unscale_columns
from sknorm._kernels.array_api.blocks import infinite_columns, map_blocks

__all__ = ["mix_columns", "unmix_columns"]

_Refuse = Callable[[np.ndarray], None]


def mix_columns(
    X: Any,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray,
    matrix: np.ndarray,
    depends: np.ndarray,
    out: Any = None,
    on_infinite: _Refuse | None = None,
) -> Any:
    """Return ``((X - center) / scale) @ matrix.T``.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64.
    center, scale, matrix, depends, out, on_infinite
        As for :func:`sknorm._kernels.mixing.mix_columns`.

    Returns
    -------
    array of shape (n_rows, n_outputs)
        Of the dtype of X.
    """
    _report(X, on_infinite)
    multiply = _multiplier(X, matrix, depends)

    def mix(x: Any) -> Any:
        return multiply(scale_columns(x, center, scale))

    return map_blocks(mix, X, out, len(matrix))


def unmix_columns(
    Z: Any,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray,
    matrix: np.ndarray,
    depends: np.ndarray,
    out: Any = None,
    on_infinite: _Refuse | None = None,
) -> Any:
    """Return ``(Z @ matrix.T) * scale + center``.

    Parameters
    ----------
    Z : array of shape (n_rows, n_inputs)
        float32 or float64.
    center, scale, matrix, depends, out, on_infinite
        As for :func:`sknorm._kernels.mixing.unmix_columns`.

    Returns
    -------
    array of shape (n_rows, n_features)
        Of the dtype of Z.
    """
    _report(Z, on_infinite)
    multiply = _multiplier(Z, matrix, depends)

    def unmix(z: Any) -> Any:
        return unscale_columns(multiply(z), center, scale)

    return map_blocks(unmix, Z, out, len(matrix))


def _multiplier(
    X: Any, matrix: np.ndarray, depends: np.ndarray
) -> Callable[[Any], Any]:
    """Return what multiplies rows of X, and makes NaN of what lacks something."""
    xp = namespace(X)
    factor = beside(matrix.T.copy(), X)
    needs = beside(depends.T.astype(np.float64), X)
    # Asked once for all rows: each answer has to come from the device.
    complete = not bool(xp.any(xp.isnan(X)))

    def multiply(y: Any) -> Any:
        if complete:
            return xp.matmul(y, factor)
        missing = xp.isnan(y)
        z = xp.matmul(xp.where(missing, xp.zeros_like(y), y), factor)
        lacking = xp.matmul(xp.astype(missing, y.dtype), needs) > 0
        return xp.where(lacking, xp.full_like(z, xp.nan), z)

    return multiply


def _report(X: Any, on_infinite: _Refuse | None) -> None:
    if on_infinite is not None and (infinite := infinite_columns(X)).any():
        on_infinite(infinite)
