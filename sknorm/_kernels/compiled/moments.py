"""Moments of tiles in one pass over the memory, see ``_kernels/moments.py``.

A tile is read as lines of up to a few hundred numbers that lie side by side. Place by
place the numbers of the lines are added up, so that the compiler can take many places
at once without changing the order of additions in any, and few are added up in each. A
line is a row; or, where that is short, a few rows end to end; or, in Fortran order, so
many values of a column. What belongs to the same column is put together at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

__all__ = ["merge_tree", "tile_moments"]

# Square of the distance, in variances, from which deviations may be measured.
_CLOSE = 0.25
_SMALLEST_SQUARE, _LARGEST_SQUARE = 1e-280, 1e300

# Nothing is reordered: rounding errors are computed here.
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# For what only compiled code calls: a second or two less to compile.
_inner = {**_options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inlined = {**_inner, "inline": "always"}


@njit(**_inner)
def _two_sum(a, b):
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


@njit(**_inner)
def _hypot(a, b):
    square = a * a + b * b
    if _SMALLEST_SQUARE < square < _LARGEST_SQUARE:
        return math.sqrt(square)
    return math.hypot(a, b)


@njit(**_inlined)
def _add_plain(a, b, c, d, origin, left, squares):
    """Add up deviations and their squares, place by place, for four lines at once."""
    for j in range(len(a)):
        p = np.float64(a[j]) - origin[j]
        q = np.float64(b[j]) - origin[j]
        r = np.float64(c[j]) - origin[j]
        s = np.float64(d[j]) - origin[j]
        left[j] += (p + q) + (r + s)
        squares[j] += (p * p + q * q) + (r * r + s * s)


@njit(**_inlined)
def _add_weighted(a, b, c, d, weight, origin, offset, left, squares, count, total):
    """Do it with weights, end to end, an offset, and values that may be missing."""
    size = len(a)
    weight_b, weight_c = weight[size : 2 * size], weight[2 * size : 3 * size]
    weight_d = weight[3 * size :]
    for j in range(size):
        p = (np.float64(a[j]) - origin[j]) - offset[j]
        q = (np.float64(b[j]) - origin[j]) - offset[j]
        r = (np.float64(c[j]) - origin[j]) - offset[j]
        s = (np.float64(d[j]) - origin[j]) - offset[j]
        t, u, v, w = weight[j], weight_b[j], weight_c[j], weight_d[j]
        there = 4.0
        # A row of weight 0 may hold anything, even what makes no product with 0.
        if not (a[j] == a[j] and t > 0.0):
            p = t = 0.0
            there -= 1.0
        if not (b[j] == b[j] and u > 0.0):
            q = u = 0.0
            there -= 1.0
        if not (c[j] == c[j] and v > 0.0):
            r = v = 0.0
            there -= 1.0
        if not (d[j] == d[j] and w > 0.0):
            s = w = 0.0
            there -= 1.0
        tp, uq, vr, ws = t * p, u * q, v * r, w * s
        left[j] += (tp + uq) + (vr + ws)
        squares[j] += (tp * p + uq * q) + (vr * r + ws * s)
        count[j] += there
        total[j] += (t + u) + (v + w)


@njit(**_inlined)
def _add_line(line, weight, origin, offset, left, squares, count, total):
    """Do the same for one line."""
    for j in range(len(line)):
        p = (np.float64(line[j]) - origin[j]) - offset[j]
        w = weight[j]
        there = 1.0
        if not (line[j] == line[j] and w > 0.0):
            p = w = there = 0.0
        left[j] += w * p
        squares[j] += w * p * p
        count[j] += there
        total[j] += w


@njit(**_inner)
def _fold(values, sums):
    """Add up the places of each column, halves of the line by halves."""
    size = len(values)
    while size > len(sums):
        size //= 2
        for j in range(size):
            values[j] += values[j + size]
    for j in range(len(sums)):
        sums[j] = values[j]


@njit(**_inner)
def _weigh(weight, start, n_rows, n_columns, out):
    """Write the weights of the rows of a line beside its numbers."""
    # An array in place of the loop would bring in numba's text of a shape error, and
    # seconds of compilation.
    if n_columns == 1:
        weight = weight[start:]
        for row in range(n_rows):
            out[row] = weight[row]
    else:
        for row in range(n_rows):
            out[row * n_columns : (row + 1) * n_columns] = weight[start + row]


@njit(**_inner)
def _origin(x, start, row_stride, n_rows, weight):
    """Return a value of a column near its bulk: the median of three, if present."""
    weighted = len(weight) > 0
    three = np.empty(3)
    for k, row in enumerate((0, n_rows // 2, n_rows - 1)):
        out = weighted and weight[row] == 0.0
        three[k] = np.nan if out else x[start + row * row_stride]
    a, b, c = three
    if a == a and b == b and c == c:
        return max(min(a, b), min(max(a, b), c))
    for row in range(n_rows):
        value = np.float64(x[start + row * row_stride])
        if value == value and not (weighted and weight[row] == 0.0):
            return value
    return np.nan


@njit(**_inner)
def _differs(x, start, row_stride, n_rows, weight, origin):
    for row in range(n_rows):
        value = x[start + row * row_stride]
        if value == value and value != origin and (not len(weight) or weight[row] > 0):
            return True
    return False


@njit(**_inlined)
def _sum_tile(
    x, begin, row_stride, rows, per_line, weight, plain, places, weights, sums
):
    """Add up the deviations, weights and counts of the columns of a tile."""
    n_columns = sums.shape[1]
    width = per_line * n_columns
    origin, offset = places[0], places[1]
    left, squares, count, total = places[2], places[3], places[4], places[5]
    places[2:] = 0.0
    weighted = len(weight) > 0
    # The four lines come from quarters of the tile, each of which is read from one end
    # to the other: what fetches memory ahead follows four streams, but not leaps.
    n_fours = rows // (4 * per_line)
    quarter = n_fours * per_line
    leap = quarter * row_stride
    for four in range(n_fours):
        row = four * per_line
        at = begin + row * row_stride
        a = x[at : at + width]
        b = x[at + leap : at + leap + width]
        c = x[at + 2 * leap : at + 2 * leap + width]
        d = x[at + 3 * leap : at + 3 * leap + width]
        if plain:
            _add_plain(a, b, c, d, origin, left, squares)
        else:
            for k in range(4 if weighted else 0):
                line = weights[k * width : (k + 1) * width]
                _weigh(weight, row + k * quarter, per_line, n_columns, line)
            _add_weighted(
                a, b, c, d, weights, origin, offset, left, squares, count, total
            )
    if plain:
        count += 4.0 * n_fours
        total += 4.0 * n_fours
    # At most three lines are left, and a part of one.
    for row in range(4 * quarter, rows, per_line):
        at = begin + row * row_stride
        lines = min(per_line, rows - row)
        if weighted:
            _weigh(weight, row, lines, n_columns, weights)
        line = x[at : at + lines * n_columns]
        _add_line(line, weights, origin, offset, left, squares, count, total)
    _fold(left, sums[0])
    _fold(squares, sums[1])
    _fold(count, sums[2])
    _fold(total, sums[3])


@njit(**_inner)
def _lacks(sums):
    """Tell if values are missing that were not expected to be."""
    # Not those in the lines that are left over, which are counted.
    lacking = False
    for j in range(sums.shape[1]):
        lacking |= sums[0, j] != sums[0, j]
    return lacking


@njit(**_inner)
def _cancels(sums):
    """Tell if deviations were measured from too far off to get a variance of them."""
    for j in range(sums.shape[1]):
        if not sums[0, j] * sums[0, j] <= _CLOSE * sums[1, j] * sums[3, j]:
            return True
    return False


@njit(**_options)
def tile_moments(
    x,
    start,
    block_stride,
    row_stride,
    n_rows,
    per_line,
    step,
    weight,
    count,
    total,
    mean,
    remainder,
    std,
    suspect,
):
    """Compute the moments of tiles that lie one below the other.

    Parameters
    ----------
    x : array of shape (size,)
        The memory of the whole table.
    start, block_stride, row_stride : int
        Where in it the first number of the first tile is, and how far it is to the next
        block and to the next row. The columns of a block lie side by side; in Fortran
        order each is a block of its own.
    n_rows : int
        Rows in all tiles.
    per_line : int
        Rows in a line, a power of two. More than one must lie end to end.
    step : int
        Rows in a tile, the last may have fewer.
    weight : array of shape (n_rows,) or (0,)
        Weights of the rows; none for equal ones.
    count, total, mean, remainder, std : arrays of shape (n_blocks, n_tiles, n_columns)
        Where the results go.
    suspect : array of the same shape
        Where it says if squares may have left the range of doubles.

    Notes
    -----
    Deviations are measured from the mean of the tile before. If that is so far from
    the mean of this one that digits would cancel, it is gone over twice more while it
    is in cache: from one of its own values, and from the mean that comes of that.
    """
    n_blocks, n_tiles, n_columns = count.shape
    places = np.empty((6, per_line * n_columns))
    weights = np.ones(4 * per_line * n_columns)
    weighted = len(weight) > 0
    sums = np.empty((4, n_columns))
    for block in range(n_blocks):
        plain = not weighted
        # How often the mean of the tile before was too far off.
        misses = 0
        for tile in range(n_tiles):
            above = tile * step
            rows = min(step, n_rows - above)
            w = weight[above : above + rows] if weighted else weight
            begin = start + block * block_stride + above * row_stride
            attempt = 0 if tile > 0 and misses <= 1 + tile // 8 else 1
            hopeful = attempt == 0
            while True:
                if attempt < 2:
                    places[1] = 0.0
                    for j in range(n_columns):
                        value = mean[block, tile - 1, j] if attempt == 0 else np.nan
                        if value != value:
                            value = _origin(x, begin + j, row_stride, rows, w)
                        places[0, j::n_columns] = value
                else:
                    for j in range(n_columns):
                        there = sums[2, j] > 0.0
                        value = sums[0, j] / sums[3, j] if there else 0.0
                        places[1, j::n_columns] = value
                _sum_tile(
                    x,
                    begin,
                    row_stride,
                    rows,
                    per_line,
                    w,
                    # Few tiles need an offset: not worth a loop of its own to compile.
                    plain and attempt < 2,
                    places,
                    weights,
                    sums,
                )
                if plain and _lacks(sums):
                    # Once a value is missing, more are expected.
                    plain = False
                elif attempt < 2 and _cancels(sums):
                    attempt += 1
                else:
                    break
            misses += hopeful and attempt > 0
            for j in range(n_columns):
                at = block, tile, j
                count[at] = np.int64(sums[2, j])
                total[at] = sums[3, j]
                suspect[at] = False
                if count[at] == 0:
                    mean[at] = remainder[at] = std[at] = np.nan
                    continue
                rest = sums[0, j] / total[at]
                square = sums[1, j] - sums[0, j] * rest
                origin = places[0, j]
                mean[at], remainder[at] = _two_sum(origin, places[1, j] + rest)
                std[at] = math.sqrt(max(square, 0.0) / total[at])
                scaled = min(square, square / total[at])
                if not scaled < _LARGEST_SQUARE:
                    suspect[at] = True
                elif scaled < _SMALLEST_SQUARE:
                    # Zero is the true sum of a constant column.
                    suspect[at] = _differs(x, begin + j, row_stride, rows, w, origin)


@njit(**_options)
def merge_tree(count, total, mean, remainder, std):
    """Merge neighbours, then neighbours of those, down to the first row of each array.

    Parameters
    ----------
    count, total, mean, remainder, std : arrays of shape (n_parts, n_columns)
        Moments of the parts, which are overwritten.
    """
    n_parts, n_columns = count.shape
    while n_parts > 1:
        for a in range(0, n_parts, 2):
            to, b = a // 2, a + 1
            for j in range(n_columns):
                if b == n_parts or count[b, j] == 0:
                    source = a
                elif count[a, j] == 0:
                    source = b
                else:
                    source = -1
                if source >= 0:
                    count[to, j] = count[source, j]
                    total[to, j] = total[source, j]
                    mean[to, j] = mean[source, j]
                    remainder[to, j] = remainder[source, j]
                    std[to, j] = std[source, j]
                    continue
                weight = total[a, j] + total[b, j]
                share_a, share_b = total[a, j] / weight, total[b, j] / weight
                half = (0.5 * mean[b, j] - 0.5 * mean[a, j]) + 0.5 * (
                    remainder[b, j] - remainder[a, j]
                )
                within = _hypot(
                    math.sqrt(share_a) * std[a, j], math.sqrt(share_b) * std[b, j]
                )
                between = 2.0 * math.sqrt(share_a * share_b) * half
                # From the heavier side, the shorter way.
                near = a if share_a >= share_b else b
                step = 2.0 * share_b * half if near == a else -2.0 * share_a * half
                mean[to, j], remainder[to, j] = _two_sum(
                    mean[near, j], remainder[near, j] + step
                )
                std[to, j] = _hypot(within, between)
                count[to, j] = count[a, j] + count[b, j]
                total[to, j] = weight
        n_parts = (n_parts + 1) // 2
