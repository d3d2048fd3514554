"""Sorting of long columns, compiled.

NumPy's sort is as fast as the vector unit's compressed stores, which differ tenfold
between processors. A radix sort makes a fixed number of passes on all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["sort_bits"]

# A pass looks at as many bits as leave its counts in the first-level cache.
_DIGIT = 11
_CELLS = 1 << _DIGIT
_PASSES = 3
# Rows that agree in all bits looked at are few, as a rule.
_FEW = 24

_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# Functions that only others of this file call, which saves compiling a way in.
_inner = {**_options, "no_cpython_wrapper": True}


@njit(**_inner)
def _to_keys(bits, width, infinity):
    """Make unsigned numbers of floats that sort as they do, and tell what varies."""
    one = np.uint64(1)
    top = one << np.uint64(width - 1)
    low = top - one
    differing = np.uint64(0)
    first = np.uint64(0)
    for i in range(len(bits)):
        b = np.uint64(bits[i])
        if (b & low) > infinity:  # NaN goes last, whatever its sign.
            b = b & low
        key = (b ^ (top | low)) if b & top else b | top
        bits[i] = key
        if i == 0:
            first = key
        differing |= key ^ first
    n_bits = 0
    while differing:
        n_bits += 1
        differing >>= one
    return n_bits


@njit(**_inner)
def _count(keys, low):
    """Count the digits above the bit ``low``, all of them in one pass."""
    counts = np.zeros((_PASSES, _CELLS), np.int64)
    mask = np.uint64(_CELLS - 1)
    for i in range(len(keys)):
        key = np.uint64(keys[i]) >> np.uint64(low)
        for p in range(_PASSES):
            counts[p, (key >> np.uint64(_DIGIT * p)) & mask] += 1
    return counts


@njit(**_inner)
def _scatter(keys, beside, out, beside_out, shift, counts):
    """Order keys by a digit, those that agree in it as they were."""
    mask = np.uint64(_CELLS - 1)
    start = 0
    for j in range(_CELLS):
        count = counts[j]
        counts[j] = start
        start += count
    if len(beside):
        for i in range(len(keys)):
            key = keys[i]
            j = (np.uint64(key) >> np.uint64(shift)) & mask
            out[counts[j]] = key
            beside_out[counts[j]] = beside[i]
            counts[j] += 1
    else:
        for i in range(len(keys)):
            key = keys[i]
            j = (np.uint64(key) >> np.uint64(shift)) & mask
            out[counts[j]] = key
            counts[j] += 1


@njit(**_inner)
def _finish(keys, beside, low):
    """Sort the runs that agree in all bits from ``low`` on, if all are short."""
    shift = np.uint64(low)
    start = 0
    for i in range(1, len(keys)):
        key = keys[i]
        if (np.uint64(key) >> shift) != (np.uint64(keys[start]) >> shift):
            start = i
            continue
        if i - start == _FEW:
            return False
        own = beside[i] if len(beside) else 0.0
        k = i - 1
        while k >= start and keys[k] > key:
            keys[k + 1] = keys[k]
            if len(beside):
                beside[k + 1] = beside[k]
            k -= 1
        keys[k + 1] = key
        if len(beside):
            beside[k + 1] = own
    return True


@njit(**_inner)
def _radix(source, beside, target, beside_target, low, n_bits):
    """Sort by the bits from ``low`` on, at most 33; tell if source and target swap."""
    counts = _count(source, low)
    swapped = False
    for p in range(_PASSES):
        if low + _DIGIT * p < n_bits:
            _scatter(source, beside, target, beside_target, low + _DIGIT * p, counts[p])
            source, target = target, source
            beside, beside_target = beside_target, beside
            swapped = not swapped
    return swapped


@njit(**_options)
def sort_bits(bits, beside, spare, spare_beside, width, infinity):
    """Sort floats that are given as their bits, in place, NaN last.

    Parameters
    ----------
    bits : ndarray of uint32 or uint64 of shape (n,)
        The floats, seen as unsigned numbers.
    beside : ndarray of float64 of shape (n,) or (0,)
        What is moved along with them, if anything.
    spare, spare_beside : ndarrays like these
        To work in.
    width : int
        Bits of a float.
    infinity : uint64
        The bits of infinity: those of NaN are larger but for the sign.
    """
    n_bits = _to_keys(bits, width, infinity)
    low = max(0, n_bits - _DIGIT * _PASSES)
    keys, weights, other, others = bits, beside, spare, spare_beside
    if _radix(keys, weights, other, others, low, n_bits):
        keys, weights, other, others = other, others, keys, weights
    if low > 0 and not _finish(keys, weights, low):
        # Too many agree: the bits below first.
        for start, stop in ((0, low), (low, n_bits)):
            if _radix(keys, weights, other, others, start, stop):
                keys, weights, other, others = other, others, keys, weights
    one = np.uint64(1)
    top = one << np.uint64(width - 1)
    full = top | (top - one)
    for i in range(len(bits)):
        key = np.uint64(keys[i])
        bits[i] = key ^ (top if key & top else full)
    # A loop: assigning a slice takes a second to compile.
    for i in range(len(beside)):
        beside[i] = weights[i]
