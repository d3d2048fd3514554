"""Shift, scale and clip in one pass over the memory, see ``_kernels/apply.py``.

Every operation is that of the NumPy version in the same order, so the bits are the
same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from sknorm._kernels.pages import HUGE_PAGE

__all__ = ["CLIPS", "apply_columns", "apply_rows", "scale_rows"]

# How the kernels are told of a clip.
CLIPS = {None: 0, "hard": 1, "smooth": 2}

_HARD, _SMOOTH = CLIPS["hard"], CLIPS["smooth"]
_FAR = 1e9
_LINE = 512

# Division by zero, of a clip, makes an infinite number, as in NumPy. Nothing is
# reordered.
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


# For what only compiled code calls: less to compile.
_inner = {**_options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inlined = {**_inner, "inline": "always"}


@njit(**_inlined)
def _cut(z, bound):
    """Clip a line of float64 in place."""
    for j in range(len(z)):
        x = z[j]
        x = bound if x > bound else x
        z[j] = -bound if x < -bound else x


@njit(**_inlined)
def _bend(z, bound):
    """Clip it smoothly."""
    for j in range(len(z)):
        x = z[j] / bound
        x = _FAR if x > _FAR else x
        x = -_FAR if x < -_FAR else x
        z[j] = x / math.sqrt(x * x + 1.0) * bound


@njit(**_inlined)
def _unbend(z, bound):
    """Undo a smooth clip."""
    for j in range(len(z)):
        ratio = z[j] / bound
        root = (1.0 - ratio) * (1.0 + ratio)
        root = 0.0 if root < 0.0 else root
        z[j] = z[j] / math.sqrt(root)


@njit(**_inlined)
def _direct(x, out, center, factor):
    """Scale numbers with parameters of their own, and tell if one is infinite."""
    infinite = False
    for j in range(len(x)):
        # In the precision of x, of which a register holds more numbers.
        infinite |= math.fabs(x[j]) == math.inf
        out[j] = (np.float64(x[j]) - center[j]) * factor[j]
    return infinite


@njit(**_inlined)
def _detour(x, out, first, second, factor, undo, kind, bound, z):
    """Do the same with a second center, the inverse, or a clip, by way of a line.

    It stays in the first-level cache, and the compiler need not care that ``out`` may
    be ``x``.
    """
    infinite = False
    z = z[: len(x)]
    for j in range(len(x)):
        infinite |= math.fabs(x[j]) == math.inf
        z[j] = np.float64(x[j])
    if undo:
        if kind == _SMOOTH:
            _unbend(z, bound)
        for j in range(len(x)):
            out[j] = (z[j] * factor[j] + second[j]) + first[j]
    else:
        for j in range(len(x)):
            z[j] = ((z[j] - first[j]) - second[j]) * factor[j]
        if kind == _HARD:
            _cut(z, bound)
        elif kind == _SMOOTH:
            _bend(z, bound)
        for j in range(len(x)):
            out[j] = z[j]
    return infinite


@njit(**_inlined)
def _touch(out, touched, end, stop, ahead):
    """Write to the end of each page that numbers before ``end`` lie in.

    All before ``touched`` are in pages that have been touched; ``ahead`` is where the
    first one ends.
    """
    size = HUGE_PAGE // out.itemsize
    while touched < end:
        touched = min(touched + 1 + (ahead - touched - 1) % size, stop)
        out[touched - 1] = 0.0
    return touched


@njit(**_options)
def scale_rows(x, out, start, stop, center, factor, ahead):
    """Scale the numbers ``start`` to ``stop`` of rows that lie end to end.

    Parameters
    ----------
    x, out : arrays of shape (n_rows * n_features,)
        Where the numbers come from and go to, which is memory of its own.
    start, stop : int
        Multiples of the length of a row.
    center, factor : arrays of shape (k * n_features,)
        What is subtracted and multiplied with, repeated for a few rows.
    ahead : int
        Where in ``out`` its first huge page ends, see ``_kernels/pages.py``.

    Returns
    -------
    bool
        Whether a number in ``x`` is infinite.
    """
    touched = start
    infinite = False
    for i in range(start, stop, len(factor)):
        end = min(i + len(factor), stop)
        touched = _touch(out, touched, end, stop, ahead)
        infinite |= _direct(x[i:end], out[i:end], center, factor)
    return infinite


@njit(**_options)
def apply_rows(x, out, start, stop, first, second, factor, undo, kind, bound, ahead):
    """Do what :func:`scale_rows` does, or the inverse, with a clip or in place.

    Parameters
    ----------
    x, out, start, stop, factor, ahead
        As for :func:`scale_rows`, but ``out`` may be ``x`` if ``ahead`` is negative.
    first, second : arrays of shape (k * n_features,)
        What is subtracted, one after the other.
    undo : bool
        Whether to do the inverse.
    kind, bound : int and float
        Which of CLIPS, and where.

    Returns
    -------
    bool
        Whether a number in ``x`` is infinite.
    """
    z = np.empty(len(factor))
    touched = start
    infinite = False
    for i in range(start, stop, len(factor)):
        end = min(i + len(factor), stop)
        if ahead >= 0:
            touched = _touch(out, touched, end, stop, ahead)
        infinite |= _detour(
            x[i:end], out[i:end], first, second, factor, undo, kind, bound, z
        )
    return infinite


@njit(**_options)
def apply_columns(x, out, start, stop, first, second, factor, undo, kind, bound):
    """Do what :func:`apply_rows` does with a table in Fortran order.

    Parameters
    ----------
    x, out : arrays of shape (n_features, n_rows)
        The table transposed.
    start, stop : int
        Rows of the table.
    first, second, factor : arrays of shape (n_features,)
        What is subtracted and multiplied with.
    undo, kind, bound
        As for :func:`apply_rows`.

    Returns
    -------
    bool
        Whether a number in ``x`` is infinite.
    """
    z = np.empty(_LINE)
    a, b, s = np.empty(_LINE), np.empty(_LINE), np.empty(_LINE)
    infinite = False
    for column in range(len(x)):
        a[:] = first[column]
        b[:] = second[column]
        s[:] = factor[column]
        for i in range(start, stop, _LINE):
            line = x[column, i : min(i + _LINE, stop)]
            target = out[column, i : min(i + _LINE, stop)]
            infinite |= _detour(line, target, a, b, s, undo, kind, bound, z)
    return infinite
