"""Shift, scale and clip the columns of a table, a tile at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sknorm._array_api import is_foreign
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.pages import first_page_end
from sknorm._kernels.threads import in_threads, thread_count
from sknorm._kernels.tiles import column_blocks, frozen, row_tiles

__all__ = [
    "Clip",
    "clip_values",
    "scale_columns",
    "stored_columns",
    "unclip_values",
    "unscale_columns",
]

# What is done to numbers far from 0: nothing, or the name of a clip and its bound.
Clip = tuple[str, float] | None

_Step = Callable[[np.ndarray, slice | np.ndarray, np.ndarray], np.ndarray]
_Refuse = Callable[[np.ndarray], None]

# Compiled code is loaded for tables of more numbers than this.
_WORTH_COMPILING = 500_000
# Numbers below which a table isn't cut: tiles have a price of their own.
_UNCUT = 262_144
# From so many numbers on, while they stay in cache, steps are a tenth faster if vectors
# don't lie across two cache lines, of so many bytes: NumPy's arrays begin anywhere.
_WORTH_ALIGNING, _ALIGNMENT = 10_000, 64
# Numbers that a thread takes at once, at least, and how often it takes some. Few large
# parts are fastest: fresh memory comes in pages of a million bytes.
_PART, _TURNS = 1_000_000, 4
# Numbers in a row that are enough for NumPy not to lose time between rows, and for
# compiled code. NumPy copies lines shorter than half its buffer, which is 8192 numbers:
# with a smaller one lines may be so short that a center stays in the first cache.
_LINE, _COMPILED_LINE = 1_000, 512
_BUFFER = 512
# From this many bounds on a double can't tell the smooth clip from the bound itself.
# Beyond the root of the largest double its square would overflow.
_FAR = 1e9
# Numbers below it have fewer digits.
_SMALLEST = float(np.finfo(np.float64).tiny)
_LARGEST = float(np.finfo(np.float64).max)


def scale_columns(
    X: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: np.ndarray | None = None,
    clip: Clip = None,
    on_infinite: _Refuse | None = None,
) -> np.ndarray:
    r"""Return ``(X - center) / scale``, clipped, in float64 and rounded at the end.

    Parameters
    ----------
    X : array or sparse matrix of shape (n_rows, n_features)
        float32 or float64. Arrays of other libraries than NumPy stay on their device,
        and so does what comes of them. Of a sparse one, CSR or CSC, the stored values
        are scaled, and ``center`` must be empty.
    center : tuple of ndarrays of shape (n_features,)
        What is subtracted, one part after the other: a mean that no single double
        holds comes as two, at most. Empty to subtract nothing.
    scale : ndarray of shape (n_features,) or None
        What is divided by; None to leave the scale.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.
    clip : tuple of str and float, default=None
        ``("hard", B)`` cuts off at ``-B`` and ``B``, ``("smooth", B)`` bends toward
        them: :math:`z / \sqrt{1 + (z/B)^2}`.
    on_infinite : callable, default=None
        Is given a mask of the columns that hold an infinite value, if any does. It is
        called before ``X`` is written to, and may raise.

    Returns
    -------
    ndarray or sparse matrix of the shape and dtype of X
        Numbers too large for the dtype become infinite.
    """
    if is_foreign(X):
        kernel = array_kernels("apply").scale_columns
        return kernel(X, center, scale, out, clip, on_infinite)
    factor, divisor = _factor_or_divisor(scale)
    how = _Map(center, factor, divisor, clip, undo=False)
    return _apply(X, how, out, on_infinite)


def unscale_columns(
    Z: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: np.ndarray | None = None,
    clip: Clip = None,
    on_infinite: _Refuse | None = None,
) -> np.ndarray:
    """Return ``Z * scale + center``, the inverse of :func:`scale_columns`.

    Parameters
    ----------
    Z, center, scale, out, clip, on_infinite
        As for :func:`scale_columns`. Nothing undoes a hard clip. A smooth one is undone
        between its bounds; on and beyond them the inverse is infinite.

    Returns
    -------
    ndarray or sparse matrix of the shape and dtype of Z
    """
    if is_foreign(Z):
        kernel = array_kernels("apply").unscale_columns
        return kernel(Z, center, scale, out, clip, on_infinite)
    how = _Map(center, scale, None, clip, undo=True)
    return _apply(Z, how, out, on_infinite)


def clip_values(z: np.ndarray, clip: Clip, out: np.ndarray) -> np.ndarray:
    """Clip numbers of any shape, see :func:`scale_columns`.

    Parameters
    ----------
    z : ndarray
        Numbers; NaN stays.
    clip : tuple of str and float, or None
        What is done.
    out : ndarray like z
        float64 array for the result, which may be ``z`` itself.

    Returns
    -------
    ndarray
        ``out``, or ``z`` if there is nothing to do.
    """
    if clip is None:
        return z
    kind, bound = clip
    if kind == "hard":
        return np.clip(z, -bound, bound, out=out, dtype=np.float64)
    with _quiet():
        ratio = np.divide(z, bound, out=out, dtype=np.float64)
        np.clip(ratio, -_FAR, _FAR, out=ratio)
        root = np.square(ratio)
        root += 1.0
        np.sqrt(root, out=root)
        ratio /= root
        ratio *= bound
    return ratio


def unclip_values(z: np.ndarray, clip: Clip, out: np.ndarray) -> np.ndarray:
    """Undo what :func:`clip_values` did, as far as that can be undone.

    Parameters
    ----------
    z, clip, out
        As for :func:`clip_values`.

    Returns
    -------
    ndarray
        ``out``, or ``z`` if there is nothing to do.
    """
    if clip is None or clip[0] == "hard":
        return z
    bound = clip[1]
    with _quiet():
        ratio = np.divide(z, bound, dtype=np.float64)
        # Not 1 - ratio ** 2, which cancels near the bound.
        root = (1.0 - ratio) * (1.0 + ratio)
        np.maximum(root, 0.0, out=root)
        np.sqrt(root, out=root)
        return np.divide(z, root, out=out, dtype=np.float64)


@dataclass(frozen=True)
class _Map:
    """What is done to the numbers of each column.

    They are multiplied with a factor or divided by a divisor, or neither.
    """

    center: tuple[np.ndarray, ...]
    factor: np.ndarray | None
    divisor: np.ndarray | None
    clip: Clip
    undo: bool

    @property
    def is_plain(self) -> bool:
        """Whether a number is subtracted, one multiplied with, and that is all."""
        return self.clip is None and not self.undo and len(self.center) < 2

    def steps(self, repeats: int = 1) -> list[_Step]:
        """Return it step by step, for lines of up to so many rows end to end."""

        def by_column(ufunc: np.ufunc, operand: np.ndarray) -> _Step:
            if repeats > 1:
                lines = np.empty((repeats, len(operand)))
                lines[...] = operand
                operand = lines.reshape(-1)
            return lambda z, columns, work: ufunc(z, operand[columns], out=work)

        clip = self.clip
        center = [np.asarray(part, dtype=np.float64) for part in self.center]
        if self.undo:
            ends = [] if self.factor is None else [by_column(np.multiply, self.factor)]
            # Small parts first, so that they are not lost against the large one.
            ends += [by_column(np.add, part) for part in reversed(center)]
            if clip is None or clip[0] == "hard":
                return ends
            return [lambda z, columns, work: unclip_values(z, clip, work), *ends]
        steps = [by_column(np.subtract, part) for part in center]
        if self.factor is not None:
            steps.append(by_column(np.multiply, self.factor))
        elif self.divisor is not None:
            steps.append(by_column(np.divide, self.divisor))
        if clip is not None:
            steps.append(lambda z, columns, work: clip_values(z, clip, work))
        return steps

    def operands(self, n_features: int) -> list[np.ndarray]:
        """Return two parts of a center and a factor, whatever there is."""
        # One part more or less costs nothing, one more compiled function does. A zero
        # that is added has to be negative to leave the sign of another.
        none = np.full(n_features, -0.0 if self.undo else 0.0)
        factor = np.ones(n_features) if self.factor is None else self.factor
        parts = *(*self.center, none, none)[:2], factor
        return [np.asarray(part, dtype=np.float64) for part in parts]


def _factor_or_divisor(
    scale: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return 1 over a scale and None, or None and the scale if no double is that."""
    if scale is None:
        return None, None
    with _quiet():
        factor = 1.0 / scale
    if np.count_nonzero((factor < _SMALLEST) | (factor > _LARGEST)):
        return None, scale
    return factor, None


def _quiet() -> np.errstate:
    """Return a context in which what is too large becomes infinite, silently."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")


def _apply(X: Any, how: _Map, out: Any, on_infinite: _Refuse | None) -> Any:
    if issparse(X):
        return _apply_sparse(X, how, out, on_infinite)
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    if out is None:
        out = _empty_like(X)
    elif on_infinite is not None and np.may_share_memory(X, out):
        _report(X, on_infinite)
        on_infinite = None
    if not X.size:
        return out
    kernels = None
    if how.divisor is None and _is_for_compiled(X, out):
        kernels = compiled_kernels("apply")
    if kernels is None:
        suspicious = _by_tiles(X, out, how, watch=on_infinite is not None)
    else:
        suspicious = _by_parts(X, out, how, kernels)
    if suspicious and on_infinite is not None:
        _report(X, on_infinite)
    return out


def _empty_like(X: np.ndarray) -> np.ndarray:
    """Return memory of the layout of a table, good to write to from cache."""
    flags = X.flags
    in_cache = _WORTH_ALIGNING <= X.size <= _UNCUT
    if not (in_cache and (flags.c_contiguous or flags.f_contiguous)):
        return np.empty_like(X)
    spare = np.empty(X.size + _ALIGNMENT // X.itemsize, dtype=X.dtype)
    skip = -spare.__array_interface__["data"][0] % _ALIGNMENT // X.itemsize
    line = spare[skip : skip + X.size]
    return line.reshape(X.shape, order="C" if flags.c_contiguous else "F")


def _report(X: np.ndarray, on_infinite: _Refuse) -> None:
    """Look for infinite values, and pass on a mask of columns if there are any."""
    infinite = np.zeros(X.shape[1], dtype=bool)

    def look(rows: slice) -> None:
        for columns in column_blocks(X.shape[1]):
            block = X[rows, columns]
            for i in row_tiles(*block.shape):
                if _may_be_infinite(tile := block[i]):
                    # Threads only set, so that it doesn't matter who comes first.
                    infinite[columns][np.isinf(tile).any(axis=0)] = True

    with _quiet():
        in_threads(look, _parts(X), X.size)
    if infinite.any():
        on_infinite(infinite)


def _may_be_infinite(tile: np.ndarray) -> bool:
    """Tell quickly if a tile can be ruled out: its sum is finite.

    To be called in a context in which sums may overflow.
    """
    return not np.isfinite(np.add.reduce(tile, axis=None))


def _may_be_infinite_whole(table: np.ndarray) -> bool:
    """Tell the same of a table that no other thread works at.

    Its sum of squares takes half the time: BLAS has threads of its own, for which it
    must not be called in threads.
    """
    if not table.flags.c_contiguous:
        return _may_be_infinite(table)
    line = table.reshape(-1)
    return not np.isfinite(np.dot(line, line))


def _parts(X: np.ndarray) -> list[slice]:
    """Cut the rows into what a thread takes at once."""
    if X.size <= _PART:
        # To count the threads takes as long as a tenth of a small table.
        return [slice(0, len(X))]
    numbers = max(_PART, X.size // (_TURNS * thread_count()))
    step = max(1, numbers // X.shape[1])
    return [slice(i, min(i + step, len(X))) for i in range(0, len(X), step)]


def _by_tiles(X: np.ndarray, out: np.ndarray, how: _Map, *, watch: bool) -> bool:
    """Apply a map, and tell if there may be an infinite value in X."""
    n_rows, n_features = X.shape
    # NumPy takes its time for every row. A few short ones, end to end, are one.
    repeats = max(1, min(_LINE // n_features, n_rows))
    if repeats == 1 or not (X.flags.c_contiguous and out.flags.c_contiguous):
        return _in_tiles(X, out, how.steps(), watch)
    steps = how.steps(repeats)
    stop = n_rows - n_rows % repeats
    wide = -1, repeats * n_features
    source, target = X[:stop].reshape(wide), out[:stop].reshape(wide)
    suspicious = _in_tiles(source, target, steps, watch)
    if stop < n_rows:
        source, target = X[stop:].reshape(1, -1), out[stop:].reshape(1, -1)
        suspicious |= _in_tiles(source, target, steps, watch)
    return suspicious


def _in_tiles(X: np.ndarray, out: np.ndarray, steps: list[_Step], watch: bool) -> bool:
    if X.size <= _UNCUT:
        with _quiet():
            # Of this context, as the treatment of overflow is.
            np.setbufsize(_BUFFER)
            suspicious = watch and _may_be_infinite_whole(X)
            _tile(X, out, slice(0, X.shape[1]), steps)
        return suspicious

    def work(part: slice) -> bool:
        source, target = X[part], out[part]
        suspicious = False
        for columns in column_blocks(X.shape[1], _LINE):
            for rows in row_tiles(len(source), columns.stop - columns.start):
                at = rows, columns
                suspicious |= watch and _may_be_infinite(source[at])
                _tile(source[at], target[at], columns, steps)
        return suspicious

    with _quiet():
        np.setbufsize(_BUFFER)
        return any(in_threads(work, _parts(X), X.size))


def _tile(
    source: np.ndarray,
    target: np.ndarray,
    columns: slice | np.ndarray,
    steps: list[_Step],
) -> None:
    # A narrower result is worked out in float64 and rounded at the end.
    wide = target.dtype == np.float64
    work = target if wide else np.empty_like(target, dtype=np.float64)
    if not wide:
        # In a step of its own: NumPy is slow where the dtypes of operands differ.
        work[...] = source
        source = work
    for step in steps:
        source = step(source, columns, work)
    if source is not target:
        target[...] = source


def _apply_sparse(X: Any, how: _Map, out: Any, on_infinite: _Refuse | None) -> Any:
    """Apply a map to the values that a CSR or CSC table stores."""
    with _quiet():
        suspicious = on_infinite is not None and _may_be_infinite(X.data)
    if suspicious and on_infinite is not None:
        infinite = np.zeros(X.shape[1], dtype=bool)
        infinite[stored_columns(X, slice(None))[np.isinf(X.data)]] = True
        if infinite.any():
            on_infinite(infinite)
    if how.clip is not None and not X.has_canonical_format:
        # Entries for one place are added up, which clipped ones must not be.
        X = X.copy() if out is None else X
        X.sum_duplicates()
    if out is None:
        parts = np.empty_like(X.data), X.indices.copy(), X.indptr.copy()
        out = type(X)(parts, shape=X.shape)
    steps = how.steps()
    with _quiet():
        for part in row_tiles(X.nnz, 1):
            columns = stored_columns(X, part)
            _tile(X.data[part], out.data[part], columns, steps)
    return out


def stored_columns(X: Any, part: slice) -> np.ndarray:
    """Return the columns of the values ``X.data[part]`` of a sparse table.

    Parameters
    ----------
    X : sparse matrix or array of format CSR or CSC
        The table.
    part : slice
        Which of its values.

    Returns
    -------
    ndarray of int
    """
    if X.format == "csr":
        return X.indices[part]
    values = np.arange(*part.indices(X.nnz))
    return np.searchsorted(X.indptr, values, side="right") - 1


def _is_for_compiled(X: np.ndarray, out: np.ndarray) -> bool:
    """Tell if the arrays are large and such as compiled code is there for."""
    if X.size <= _WORTH_COMPILING or X.dtype not in (np.float64, np.float32):
        return False
    a, b = X.flags, out.flags
    return (
        X.dtype == out.dtype
        and a.aligned
        and b.aligned
        and ((a.c_contiguous and b.c_contiguous) or (a.f_contiguous and b.f_contiguous))
    )


def _by_parts(X: np.ndarray, out: np.ndarray, how: _Map, kernels: ModuleType) -> bool:
    """Do in compiled code what :func:`_by_tiles` does."""
    n_features = X.shape[1]
    by_rows = X.flags.c_contiguous and out.flags.c_contiguous
    source, target = (X.reshape(-1), out.reshape(-1)) if by_rows else (X.T, out.T)
    repeats = -(-_COMPILED_LINE // n_features) if by_rows else 1
    operands = [np.tile(operand, repeats) for operand in how.operands(n_features)]
    source, *operands = map(frozen, (source, *operands))
    per_row = n_features if by_rows else 1
    in_place = np.may_share_memory(X, out)
    ahead = -1 if in_place else first_page_end(target)
    kind, bound = (None, 1.0) if how.clip is None else how.clip
    clipped = how.undo, kernels.CLIPS[kind], float(bound)
    arguments: tuple[Any, ...]
    if by_rows and how.is_plain and not in_place:
        # Most calls: they wait for nothing else to be compiled.
        kernel, arguments = kernels.scale_rows, (operands[0], operands[2], ahead)
    elif by_rows:
        kernel, arguments = kernels.apply_rows, (*operands, *clipped, ahead)
    else:
        kernel, arguments = kernels.apply_columns, (*operands, *clipped)

    def work(rows: slice) -> bool:
        start, stop = per_row * rows.start, per_row * rows.stop
        return kernel(source, target, start, stop, *arguments)

    return any(in_threads(work, _parts(X), X.size))
