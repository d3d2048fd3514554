"""Shift, scale and clip in one pass over the memory, see ``_kernels/apply.py``.

Every operation is that of the NumPy version in the same order, so the bits are the
same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["CLIPS", "IN_PLACE", "apply_columns", "apply_rows"]

# How the kernels are told of a clip.
CLIPS = {None: 0, "hard": 1, "smooth": 2}
# As none, but for an ``out`` that is ``x``.
IN_PLACE = 3

_NONE, _HARD, _SMOOTH = CLIPS[None], CLIPS["hard"], CLIPS["smooth"]
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
def _direct(x, out, first, second, factor, undo, split):
    """Scale numbers with parameters of their own, and count the infinite ones.

    Without ``split`` the second part of a center is 0.
    """
    infinite = 0
    if undo and split:
        for j in range(len(x)):
            value = np.float64(x[j])
            infinite += math.fabs(value) == math.inf
            out[j] = (value * factor[j] + second[j]) + first[j]
    elif undo:
        for j in range(len(x)):
            value = np.float64(x[j])
            infinite += math.fabs(value) == math.inf
            out[j] = value * factor[j] + first[j]
    elif split:
        for j in range(len(x)):
            value = np.float64(x[j])
            infinite += math.fabs(value) == math.inf
            out[j] = ((value - first[j]) - second[j]) * factor[j]
    else:
        for j in range(len(x)):
            value = np.float64(x[j])
            infinite += math.fabs(value) == math.inf
            out[j] = (value - first[j]) * factor[j]
    return infinite


@njit(**_inlined)
def _detour(x, out, first, second, factor, undo, kind, bound, z):
    """Do the same and clip, by way of a line of float64.

    It stays in the first-level cache, and the compiler need not care that ``out`` may
    be ``x``.
    """
    infinite = 0
    z = z[: len(x)]
    for j in range(len(x)):
        z[j] = np.float64(x[j])
        infinite += math.fabs(z[j]) == math.inf
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


@njit(**_inner)
def _line(x, out, first, second, factor, undo, split, kind, bound, z):
    if kind == _NONE:
        return _direct(x, out, first, second, factor, undo, split)
    return _detour(x, out, first, second, factor, undo, kind, bound, z)


@njit(**_options)
def apply_rows(x, out, start, stop, first, second, factor, undo, kind, bound):
    """Scale the numbers ``start`` to ``stop`` of rows that lie end to end.

    Parameters
    ----------
    x, out : arrays of shape (n_rows * n_features,)
        Where the numbers come from and go to.
    start, stop : int
        Multiples of the length of a row.
    first, second, factor : arrays of shape (k * n_features,)
        What is subtracted and multiplied with, repeated for a few rows.
    undo : bool
        Whether to do the inverse.
    kind, bound : int and float
        Which of CLIPS or IN_PLACE, and where.

    Returns
    -------
    bool
        Whether a number in ``x`` is infinite.
    """
    z = np.empty(len(factor))
    split = False
    for j in range(len(second)):
        split |= second[j] != 0.0
    infinite = 0
    for i in range(start, stop, len(factor)):
        end = min(i + len(factor), stop)
        infinite += _line(
            x[i:end], out[i:end], first, second, factor, undo, split, kind, bound, z
        )
    return infinite > 0


@njit(**_options)
def apply_columns(x, out, start, stop, first, second, factor, undo, kind, bound):
    """Scale the rows ``start`` to ``stop`` of a table in Fortran order.

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
    infinite = 0
    for column in range(len(x)):
        a[:] = first[column]
        b[:] = second[column]
        s[:] = factor[column]
        split = second[column] != 0.0
        for i in range(start, stop, _LINE):
            line = x[column, i : min(i + _LINE, stop)]
            target = out[column, i : min(i + _LINE, stop)]
            infinite += _line(line, target, a, b, s, undo, split, kind, bound, z)
    return infinite > 0
