"""Shift, scale and clip the columns of arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sknorm._array_api import beside, float_dtypes, namespace
from sknorm._kernels.array_api.blocks import infinite_columns, map_blocks

__all__ = [
    "center_parts",
    "clip_values",
    "scale_columns",
    "unclip_values",
    "unscale_columns",
]

# From this many bounds on the smooth clip is the bound itself, and squares are finite.
_FAR = 1e9

_Refuse = Callable[[np.ndarray], None]


def scale_columns(
    X: Any,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: Any = None,
    clip: tuple[str, float] | None = None,
    on_infinite: _Refuse | None = None,
) -> Any:
    """Return ``(X - center) / scale``, clipped.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64.
    center, scale, out, clip, on_infinite
        As for :func:`sknorm._kernels.apply.scale_columns`.

    Returns
    -------
    array like X
    """
    parts = [beside(part, X) for part in center_parts(center, X)]
    divisor = None if scale is None else beside(np.asarray(scale, np.float64), X)

    def work(z: Any) -> Any:
        for part in parts:
            z = z - part
        if divisor is not None:
            z = z / divisor
        return clip_values(z, clip)

    return _apply(work, X, out, on_infinite)


def unscale_columns(
    Z: Any,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: Any = None,
    clip: tuple[str, float] | None = None,
    on_infinite: _Refuse | None = None,
) -> Any:
    """Return ``Z * scale + center``, the inverse.

    Parameters
    ----------
    Z, center, scale, out, clip, on_infinite
        As for :func:`sknorm._kernels.apply.unscale_columns`.

    Returns
    -------
    array like Z
    """
    parts = [beside(part, Z) for part in center_parts(center, Z)]
    factor = None if scale is None else beside(np.asarray(scale, np.float64), Z)

    def work(x: Any) -> Any:
        x = unclip_values(x, clip)
        if factor is not None:
            x = x * factor
        # Small parts first, so that they are not lost against the large one.
        for part in reversed(parts):
            x = x + part
        return x

    return _apply(work, Z, out, on_infinite)


def clip_values(z: Any, clip: tuple[str, float] | None) -> Any:
    """Clip numbers of any shape.

    Parameters
    ----------
    z : array
        Numbers; NaN stays.
    clip : tuple of str and float, or None
        What is done.

    Returns
    -------
    array
    """
    if clip is None:
        return z
    xp, (kind, bound) = namespace(z), clip
    if kind == "hard":
        return xp.clip(z, -bound, bound)
    ratio = xp.clip(z / bound, -_FAR, _FAR)
    return ratio / xp.sqrt(ratio * ratio + 1.0) * bound


def unclip_values(z: Any, clip: tuple[str, float] | None) -> Any:
    """Undo what :func:`clip_values` did, as far as that can be undone.

    Parameters
    ----------
    z, clip
        As for :func:`clip_values`.

    Returns
    -------
    array
    """
    if clip is None or clip[0] == "hard":
        return z
    xp, ratio = namespace(z), z / clip[1]
    # Not 1 - ratio ** 2, which cancels near the bound.
    root = (1.0 - ratio) * (1.0 + ratio)
    return z / xp.sqrt(xp.maximum(root, xp.zeros_like(root)))


def _apply(
    work: Callable[[Any], Any], X: Any, out: Any, on_infinite: _Refuse | None
) -> Any:
    if on_infinite is not None and (infinite := infinite_columns(X)).any():
        on_infinite(infinite)
    return map_blocks(work, X, out, X.shape[1])


def center_parts(center: tuple[np.ndarray, ...], X: Any) -> list[np.ndarray]:
    """Return the parts of a center, cut in two where there are no doubles.

    Parameters
    ----------
    center : tuple of ndarrays
        What is subtracted, one part after the other.
    X : array
        What it is subtracted from.

    Returns
    -------
    list of ndarrays
    """
    parts = [np.asarray(part, dtype=np.float64) for part in center]
    if len(float_dtypes(X)) > 1:
        return parts
    halves = []
    for part in parts:
        with np.errstate(over="ignore", under="ignore"):
            high = part.astype(np.float32).astype(np.float64)
        halves += [high, part - high]
    return halves
