"""Linear maps of the rows of a table, by matrix products over tiles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sknorm._array_api import is_foreign
from sknorm._kernels.apply import scale_columns, unscale_columns
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.ranks import infinite_columns
from sknorm._kernels.threads import in_threads

__all__ = ["mix_columns", "unmix_columns"]

_Refuse = Callable[[np.ndarray], None]

# Numbers in a tile, and in the part of a table that a thread takes at once.
_TILE, _PART = 131_072, 2_000_000


def mix_columns(
    X: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray,
    matrix: np.ndarray,
    depends: np.ndarray,
    out: np.ndarray | None = None,
    on_infinite: _Refuse | None = None,
) -> np.ndarray:
    """Return ``((X - center) / scale) @ matrix.T``, in float64 and rounded at the end.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64. Arrays of other libraries than NumPy stay on their device.
    center, scale : tuple of ndarrays, ndarray
        As for :func:`sknorm._kernels.apply.scale_columns`.
    matrix : ndarray of shape (n_outputs, n_features)
        Of what each output is a sum.
    depends : ndarray of bool of the shape of matrix
        Which columns an output must not lack. It is NaN where one of them is.
    out : ndarray of shape (n_rows, n_outputs), default=None
        Where the result goes, which may be ``X`` itself.
    on_infinite : callable, default=None
        Is given a mask of the columns that hold an infinite value, if any does. It is
        called before ``X`` is written to, and may raise.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs)
        Of the dtype and layout of X.
    """
    if is_foreign(X):
        kernel = array_kernels("mixing").mix_columns
        return kernel(X, center, scale, matrix, depends, out, on_infinite)

    def mix(x: np.ndarray, target: np.ndarray) -> bool:
        y = scale_columns(x, center, scale, np.empty(x.shape))
        return _multiply(y, matrix, depends, target)

    return _by_tiles(mix, X, len(matrix), out, on_infinite)


def unmix_columns(
    Z: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray,
    matrix: np.ndarray,
    depends: np.ndarray,
    out: np.ndarray | None = None,
    on_infinite: _Refuse | None = None,
) -> np.ndarray:
    """Return ``(Z @ matrix.T) * scale + center``, in float64 and rounded at the end.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_inputs)
        float32 or float64.
    center, scale, matrix, depends, out, on_infinite
        As for :func:`mix_columns`, with ``matrix`` of shape (n_features, n_inputs).

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        Of the dtype and layout of Z.
    """
    if is_foreign(Z):
        kernel = array_kernels("mixing").unmix_columns
        return kernel(Z, center, scale, matrix, depends, out, on_infinite)

    def unmix(z: np.ndarray, target: np.ndarray) -> bool:
        y = np.empty((len(z), len(matrix)))
        suspicious = _multiply(z.astype(np.float64), matrix, depends, y)
        unscale_columns(y, center, scale, target)
        return suspicious

    return _by_tiles(unmix, Z, len(matrix), out, on_infinite)


def _by_tiles(
    work: Callable[[np.ndarray, np.ndarray], bool],
    X: np.ndarray,
    n_outputs: int,
    out: np.ndarray | None,
    on_infinite: _Refuse | None,
) -> np.ndarray:
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    n_rows, n_features = X.shape
    if out is None:
        # Of the layout of X.
        out = np.empty_like(X, shape=(n_rows, n_outputs))
    elif on_infinite is not None and np.may_share_memory(X, out):
        _report(X, on_infinite)
        on_infinite = None
    widest = max(n_features, n_outputs)
    step = max(1, _TILE // widest)
    height = step * max(1, _PART // (step * widest))

    def part(start: int) -> bool:
        stop, suspicious = min(start + height, n_rows), False
        for i in range(start, stop, step):
            rows = slice(i, min(i + step, stop))
            suspicious |= work(X[rows], out[rows])
        return suspicious

    starts = range(0, n_rows, height)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        suspicious = any(in_threads(part, starts, X.size, matrix_products=True))
    if suspicious and on_infinite is not None:
        _report(X, on_infinite)
    return out


def _report(X: np.ndarray, on_infinite: _Refuse) -> None:
    if (infinite := infinite_columns(X)).any():
        on_infinite(infinite)


def _multiply(
    y: np.ndarray, matrix: np.ndarray, depends: np.ndarray, target: np.ndarray
) -> bool:
    """Write ``y @ matrix.T``, NaN where y lacks something, and edit y.

    Tell if y is suspicious, for not all of it is finite.
    """
    lacking = None
    if suspicious := not np.isfinite(np.add.reduce(y, axis=None)):
        missing = np.isnan(y)
        y[missing] = 0.0
        lacking = missing.astype(np.float64) @ depends.T.astype(np.float64) > 0
    if target.dtype == np.float64 and target.flags.c_contiguous:
        np.matmul(y, matrix.T, out=target)
    else:
        target[...] = y @ matrix.T
    if lacking is not None:
        target[lacking] = np.nan
    return suspicious
