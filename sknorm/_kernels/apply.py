"""Shift and scale the columns of a table, a tile at a time."""

from __future__ import annotations

import numpy as np

from sknorm._kernels.tiles import column_blocks, row_tiles

__all__ = ["scale_columns", "unscale_columns"]

_Step = tuple[np.ufunc, np.ndarray]


def scale_columns(
    X: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``(X - center) / scale``, computed in float64 and rounded once.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.
    center : tuple of ndarrays of shape (n_features,)
        What is subtracted, one part after the other: a mean that no single double
        holds comes as two. Empty to subtract nothing.
    scale : ndarray of shape (n_features,) or None
        What is divided by; None to leave the scale.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.

    Returns
    -------
    ndarray of the shape and dtype of X
    """
    steps: list[_Step] = [(np.subtract, part) for part in center]
    if scale is not None:
        steps.append((np.divide, scale))
    return _by_tiles(X, out, steps)


def unscale_columns(
    Z: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``Z * scale + center``, the inverse of :func:`scale_columns`.

    Parameters
    ----------
    Z, center, scale, out
        As for :func:`scale_columns`.

    Returns
    -------
    ndarray of the shape and dtype of Z
    """
    steps: list[_Step] = [] if scale is None else [(np.multiply, scale)]
    # Small parts first, so that they are not lost against the large one.
    steps += [(np.add, part) for part in reversed(center)]
    return _by_tiles(Z, out, steps)


def _by_tiles(X: np.ndarray, out: np.ndarray | None, steps: list[_Step]) -> np.ndarray:
    if out is None:
        # Of the layout of X, but a plain array where X is memory-mapped.
        out = np.empty_like(X, subok=False)
    for columns in column_blocks(X.shape[1]):
        for rows in row_tiles(len(X), columns.stop - columns.start):
            source, target = X[rows, columns], out[rows, columns]
            # A narrower result is worked out in float64 and rounded at the end.
            wide = target.dtype == np.float64
            work = target if wide else np.empty_like(target, dtype=np.float64)
            for ufunc, operand in steps:
                ufunc(source, operand[columns], out=work)
                source = work
            if source is not target:
                target[...] = source
    return out
