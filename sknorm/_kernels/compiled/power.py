"""Inner loops of :mod:`sknorm._kernels.power`, compiled.

The exponential and the logarithm are written out, so that the compiler makes vectors
of them: no library that numba can count on does. Both are right to about one unit in
the last place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from sknorm._kernels.compiled.dtypes import READ, WRITE, for_dtype

__all__ = ["gather", "map_back", "map_columns", "power_moments", "take_logs"]

# Rows of a column that are worked on together, in buffers of the first-level cache.
_ROWS = 512

# 1.5 * 2**52: added to a small number it leaves the nearest integer in the low bits.
_MAGIC = 6755399441055744.0
_MAGIC_BITS = 0x4338000000000000
_LOG2_E = 1.4426950408889634
# The logarithm of 2 in two parts; products of the first with exponents are exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# Below a quarter terms of a series lose less than differences do.
_SMALL = 0.25

_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# Multiplications that an addition follows may be rounded together with it.
_fused: dict[str, Any] = {**_options, "fastmath": {"contract"}}
# Sums in any order, so that they are vectorised; NaN and infinity keep their sense.
_reordered: dict[str, Any] = {**_options, "fastmath": {"contract", "reassoc"}}


@intrinsic
def _bits(typing, number):
    """Return the bits of a float64 as an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _number(typing, bits):
    """Return the float64 that bits stand for."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(**_fused)
def _exp_parts(u):
    """Return p, and k in the low bits of a number, for exp(u) = 2^k (1 + p).

    With k the integer next to u / log 2 and r = u - k log 2, p is expm1(r), by its
    Taylor polynomial.
    """
    shifted = u * _LOG2_E + _MAGIC
    k = shifted - _MAGIC
    r = (u - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    return r + p * r * r, shifted


@njit(**_fused)
def _expm1(u):
    """Return ``exp(u) - 1``, which is -1 or infinite far out."""
    u = 710.0 if u > 710.0 else u
    u = -700.0 if u < -700.0 else u
    p, shifted = _exp_parts(u)
    # Half of 2^k, which doesn't overflow where the result doesn't.
    half = _number((_bits(shifted) + 1022) << 52)
    return 2.0 * (half * p + (half - 0.5))


@njit(**_fused)
def _exp(u):
    """Return ``exp(u)`` for u <= 0, down to subnormal numbers and 0."""
    u = -746.0 if u < -746.0 else u
    p, shifted = _exp_parts(u)
    # 2^(k + 128), which is not subnormal, for all of them.
    raised = _number((_bits(shifted) + 1151) << 52)
    return (raised + raised * p) * 2.938735877055719e-39


@njit(**_options)
def _log(f, rest):
    """Return ``log(f + rest)`` for a ``rest`` below the last place of ``f > 0``.

    With f = 2^k (1 + g), and 1 + g between the roots of 1/2 and of 2, log(1 + g) is
    2 artanh(s) for s = g / (2 + g), by its Taylor polynomial. The first term, 2 s, is
    g - g^2 / 2 + s g^2 / 2, the largest part of which is exact.
    """
    tiny = f < 2.2250738585072014e-308
    f = f * 18014398509481984.0 if tiny else f
    shifted = _bits(f) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    k = (_number(_MAGIC_BITS + ((shifted >> 52) - 1023))) - _MAGIC
    g = _number((shifted & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1.0
    k = k - 54.0 if tiny else k
    s = g / (2.0 + g)
    z = s * s
    p = 2.0 / 19.0
    p = p * z + 2.0 / 17.0
    p = p * z + 2.0 / 15.0
    p = p * z + 2.0 / 13.0
    p = p * z + 2.0 / 11.0
    p = p * z + 2.0 / 9.0
    p = p * z + 2.0 / 7.0
    p = p * z + 2.0 / 5.0
    p = p * z + 2.0 / 3.0
    square = 0.5 * g * g
    low = k * _LN2_LOW + rest / f
    value = s * (square + p * z) + low - square + g + k * _LN2_HIGH
    value = math.inf if f == math.inf else value
    value = -math.inf if f == 0.0 else value
    return value


@njit(**_options)
def _log1p(u):
    """Return ``log(1 + u)`` for u >= -1."""
    f = 1.0 + u
    # What rounding took off.
    return _log(f, u - (f - 1.0))


@njit(**_options)
def _log_ratio(a, shift, origin, base):
    """Return ``log((a + shift) / base)``, see ``power_map.log_ratio``."""
    u = (a - origin) / base
    near = u >= -0.5
    f = 1.0 + u if near else (a + shift) / base
    return _log(f, u - (f - 1.0) if near else 0.0)


@njit(**_options)
def _load(X, first, n, j, x):
    for i in range(n):
        x[i] = np.float64(X[first + i, j])


_SIDES = types.Array(types.float64, 3, "C", readonly=True)
_NUMBERS = types.Array(types.float64, 1, "C", readonly=True)
_MASK = types.Array(types.boolean, 1, "C")


@for_dtype(
    READ,
    _NUMBERS,
    types.Array(types.float64, 2, "C"),
    types.Array(types.float64, 2, "C"),
    types.Array(types.int64, 1, "C"),
    types.Array(types.float64, 2, "C"),
)
def gather(
    X: np.ndarray,
    weight: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    count: np.ndarray,
    extremes: np.ndarray,
) -> None:
    """Copy the values of columns that are there, end to end.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        float32 or float64.
    weight : ndarray of shape (n_rows,) or (0,)
        Weights of the rows, none for equal ones. Those of weight 0 are left out.
    values : ndarray of shape (n_columns, n_rows)
        Where the values go.
    weights : ndarray of the same shape or of shape (0, 0)
        Where their weights go.
    count : ndarray of int64 of shape (n_columns,)
        Set to how many there are.
    extremes : ndarray of shape (2, n_columns)
        Set to the least and the largest.
    """
    n_rows, n_columns = X.shape
    x = np.empty(_ROWS)
    weighted = len(weight) > 0
    count[:] = 0
    extremes[0] = np.inf
    extremes[1] = -np.inf
    for first in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - first)
        for j in range(n_columns):
            _load(X, first, n, j, x)
            low, high = extremes[0, j], extremes[1, j]
            missing = 0
            for i in range(n):
                missing += x[i] != x[i]
            k = count[j]
            if missing == 0 and not weighted:
                for i in range(n):
                    low = x[i] if x[i] < low else low
                    high = x[i] if x[i] > high else high
                    values[j, k + i] = x[i]
                k += n
            else:
                for i in range(n):
                    if x[i] == x[i] and (not weighted or weight[first + i] > 0.0):
                        low = min(low, x[i])
                        high = max(high, x[i])
                        values[j, k] = x[i]
                        if weighted:
                            weights[j, k] = weight[first + i]
                        k += 1
            count[j] = k
            extremes[0, j], extremes[1, j] = low, high


@njit(**_options)
def take_logs(
    values: np.ndarray,
    origin: float,
    base: float,
    shift: float,
    less: float,
    scale: float,
) -> None:
    """Replace values by logarithms with their sign, see ``power_frame.signed_logs``.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        What is replaced.
    origin, base, shift, less, scale : float
        As in ``power_frame.signed_logs``.
    """
    for i in range(len(values)):
        t = _log_ratio(math.fabs(values[i]), shift, origin, base) - less
        values[i] = math.copysign(1.0, values[i]) * t / scale


@njit(**_fused)
def _terms(t, upper, lower, over, terms):
    """Compute the transform and its derivatives to the rate, scaled by exp(-over)."""
    v, v1, v2 = terms[0], terms[1], terms[2]
    kappa = math.exp(-over)
    over_upper, over_lower = 1.0 / upper, 1.0 / lower
    for i in range(len(t)):
        x = t[i]
        rate = lower if x < 0.0 else upper
        inverse = over_lower if x < 0.0 else over_upper
        u = rate * x
        e = 1.0 + _expm1(u - over)
        # Far from zero, by differences.
        a = (e - kappa) * inverse
        b = (x * e - a) * inverse
        c = (x * x * e - 2.0 * b) * inverse
        # Near zero: the integral of s^2 exp(us) from 0 to 1, then by parts.
        p = 1.0 / 558835200.0
        p = p * u + 1.0 / 47174400.0
        p = p * u + 1.0 / 4354560.0
        p = p * u + 1.0 / 443520.0
        p = p * u + 1.0 / 50400.0
        p = p * u + 1.0 / 6480.0
        p = p * u + 1.0 / 960.0
        p = p * u + 1.0 / 168.0
        p = p * u + 1.0 / 36.0
        p = p * u + 1.0 / 10.0
        p = p * u + 1.0 / 4.0
        p = p * u + 1.0 / 3.0
        p = p * kappa
        q = 0.5 * (e - u * p)
        small = math.fabs(u) < _SMALL
        v[i] = x * (e - u * q) if small else a
        v1[i] = x * x * q if small else b
        v2[i] = x * x * x * p if small else c


@njit(**_reordered)
def _sums(w, terms, n, sums):
    """Sum weights, and terms with their weights."""
    total = s0 = s1 = s2 = 0.0
    v, v1, v2 = terms[0], terms[1], terms[2]
    for i in range(n):
        total += w[i]
        s0 += w[i] * v[i]
        s1 += w[i] * v1[i]
        s2 += w[i] * v2[i]
    sums[0], sums[1], sums[2], sums[3] = total, s0, s1, s2


@njit(**_reordered)
def _products(w, terms, n, m0, m1, m2, sums):
    """Sum products of deviations."""
    s00 = s01 = s11 = s02 = 0.0
    v, v1, v2 = terms[0], terms[1], terms[2]
    for i in range(n):
        d0, d1, d2 = v[i] - m0, v1[i] - m1, v2[i] - m2
        wd0 = w[i] * d0
        s00 += wd0 * d0
        s01 += wd0 * d1
        s02 += wd0 * d2
        s11 += w[i] * d1 * d1
    sums[4], sums[5], sums[6], sums[7] = s00, s01, s11, s02


@njit(**_options)
def power_moments(
    t: np.ndarray,
    weights: np.ndarray,
    stride: int,
    upper: float,
    lower: float,
    over: float,
    result: np.ndarray,
) -> None:
    """Compute moments of a transformed column, see ``power_moments.Moments``.

    Parameters
    ----------
    t : ndarray of shape (n_values,)
        Logarithms with their sign.
    weights : ndarray of shape (n_values,) or (0,)
        Their weights, none for equal ones.
    stride : int
        Takes every so manieth value.
    upper, lower : float
        Rates for t >= 0 and t < 0.
    over : float
        Logarithm of what results are divided by.
    result : ndarray of shape (7,)
        Set to the fields of ``power_moments.Moments``.
    """
    terms = np.empty((3, _ROWS))
    x = np.empty(_ROWS)
    w = np.ones(_ROWS)
    sums = np.empty(8)
    total = m0 = m1 = m2 = s00 = s01 = s11 = s02 = 0.0
    n_values = -(-len(t) // stride)
    for first in range(0, n_values, _ROWS):
        n = min(_ROWS, n_values - first)
        for i in range(n):
            x[i] = t[(first + i) * stride]
        if len(weights):
            for i in range(n):
                w[i] = weights[(first + i) * stride]
        _terms(x[:n], upper, lower, over, terms)
        _sums(w, terms, n, sums)
        part = sums[0]
        if part == 0.0:
            continue
        p0, p1, p2 = sums[1] / part, sums[2] / part, sums[3] / part
        _products(w, terms, n, p0, p1, p2, sums)
        # Chan's merge of this part with all before it.
        share = part / (total + part)
        total_before, total = total, total + part
        d0, d1, d2 = p0 - m0, p1 - m1, p2 - m2
        m0, m1, m2 = m0 + share * d0, m1 + share * d1, m2 + share * d2
        between = total_before * share
        s00 += sums[4] + between * d0 * d0
        s01 += sums[5] + between * d0 * d1
        s11 += sums[6] + between * d1 * d1
        s02 += sums[7] + between * d0 * d2
    result[0], result[1], result[2] = m0, m1, m2
    result[3], result[4] = s00 / total, s01 / total
    result[5], result[6] = s11 / total, s02 / total


@njit(**_fused)
def _forward(x, n, shift, upper, lower):
    """Transform a line of values in place."""
    p0, b0, g0, rate0, a0, c0 = upper
    p1, b1, g1, rate1, a1, c1 = lower
    for i in range(n):
        below = x[i] < 0.0
        origin = p1 if below else p0
        base = b1 if below else b0
        less = g1 if below else g0
        rate = rate1 if below else rate0
        factor = a1 if below else a0
        add = c1 if below else c0
        t = _log_ratio(math.fabs(x[i]), shift, origin, base) - less
        x[i] = factor * _expm1(rate * t) + add


@njit(**_fused)
def _backward(z, n, shift, upper, lower, border):
    """Transform a line of values back in place."""
    p0, b0, g0, rate0, a0, c0 = upper
    p1, b1, g1, rate1, a1, c1 = lower
    for i in range(n):
        below = z[i] < border
        origin = p1 if below else p0
        base = b1 if below else b0
        less = g1 if below else g0
        rate = rate1 if below else rate0
        factor = a1 if below else a0
        add = c1 if below else c0
        w = (z[i] - add) / factor
        # Beyond what any value is mapped to.
        w = -1.0 if w < -1.0 else w
        t = _log1p(w) / rate + less
        # As with the logarithm: to all digits near the origin, and far below it.
        near = origin + _expm1(t) * base
        far = _exp(t) * base - shift
        a = near if t > -0.5 else far
        z[i] = -a if below else a


@njit(**_options)
def _side(sides, k, j):
    return (
        sides[k, 0, j],
        sides[k, 1, j],
        sides[k, 2, j],
        sides[k, 3, j],
        sides[k, 4, j],
        sides[k, 5, j],
    )


@for_dtype(
    READ,
    _SIDES,
    types.float64,
    WRITE,
    _MASK,
    _MASK,
)
def map_columns(
    X: np.ndarray,
    sides: np.ndarray,
    shift: float,
    out: np.ndarray,
    infinite: np.ndarray,
    below: np.ndarray,
) -> None:
    """Transform rows, see ``power_map.map_columns``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        float32 or float64.
    sides : ndarray of shape (2, 6, n_features)
        What is done to values at least 0, and below.
    shift : float
        What is added to absolute values before their logarithm.
    out : ndarray like X
        Where the result goes, which may be ``X`` itself.
    infinite, below : ndarray of bool of shape (n_features,)
        Set to True where a column holds an infinite value, or one that has no
        logarithm.
    """
    n_rows, n_features = X.shape
    x = np.empty(_ROWS)
    for first in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - first)
        for j in range(n_features):
            _load(X, first, n, j, x)
            endless = 0
            without = 0
            for i in range(n):
                endless += math.fabs(x[i]) == math.inf
                without += x[i] <= 0.0
            if endless > 0:
                infinite[j] = True
            if shift == 0.0 and without > 0:
                below[j] = True
            _forward(x, n, shift, _side(sides, 0, j), _side(sides, 1, j))
            for i in range(n):
                out[first + i, j] = x[i]


@for_dtype(
    READ,
    _SIDES,
    types.float64,
    _NUMBERS,
    WRITE,
    _MASK,
)
def map_back(
    X: np.ndarray,
    sides: np.ndarray,
    shift: float,
    border: np.ndarray,
    out: np.ndarray,
    infinite: np.ndarray,
) -> None:
    """Undo ``map_columns``.

    Parameters
    ----------
    X, sides, shift, out, infinite
        As for :func:`map_columns`.
    border : ndarray of shape (n_features,)
        What 0 is mapped to.
    """
    n_rows, n_features = X.shape
    z = np.empty(_ROWS)
    for first in range(0, n_rows, _ROWS):
        n = min(_ROWS, n_rows - first)
        for j in range(n_features):
            _load(X, first, n, j, z)
            endless = 0
            for i in range(n):
                endless += math.fabs(z[i]) == math.inf
            if endless > 0:
                infinite[j] = True
            upper, lower = _side(sides, 0, j), _side(sides, 1, j)
            _backward(z, n, shift, upper, lower, border[j])
            for i in range(n):
                out[first + i, j] = z[i]
