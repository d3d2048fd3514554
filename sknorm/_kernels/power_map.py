"""Power transforms as maps of columns: what values become, and how they come back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from sknorm._array_api import is_foreign
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.threads import in_threads
from sknorm._kernels.tiles import column_blocks, frozen, row_tiles

__all__ = [
    "PowerMap",
    "compiled_for",
    "log_ratio",
    "map_back",
    "map_columns",
    "map_tile",
    "map_tile_back",
    "quiet",
]

# Numbers from which on compiled code pays for loading it.
_LARGE = 500_000
# Numbers of a thread's part of a table.
_PART = 262_144
# Arrays that a tile is worked on in: values, which side they are on, and two of numbers
# that differ by side.
_LAYERS = 4
# What the numbers of a side are, see `PowerMap`.
_ORIGIN, _BASE, _LESS, _RATE, _FACTOR, _ADD = range(6)

_Refuse = Callable[[np.ndarray], None]
_Spare = Sequence[np.ndarray]


@dataclass(frozen=True)
class PowerMap:
    """What the values of each column are mapped to.

    A value a = abs(x) has t = log((a + shift) / base) - less, and becomes
    factor * expm1(rate * t) + add. No rate is 0.

    Attributes
    ----------
    sides : ndarray of shape (2, 6, n_features)
        Origin, base = origin + shift, less, rate, factor and add, for x >= 0 and
        for x < 0. NaN for a column without values.
    border : ndarray of shape (n_features,)
        What 0 is mapped to, with what is negative below.
    shift : float
        1 for Yeo-Johnson, 0 for Box-Cox.
    """

    sides: np.ndarray
    border: np.ndarray
    shift: float

    @classmethod
    def of(cls, sides: np.ndarray, shift: float) -> PowerMap:
        """Make the map of these sides: its border follows from them."""
        none = np.full(sides.shape[2], -np.inf)
        mapped = cls(sides, none, shift)
        return cls(sides, _of_zero(mapped), shift) if shift else mapped

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether t is log1p(a), up to what it is less."""
        return self.shift == 1 and not self.sides[:, _ORIGIN].any()

    @functools.cached_property
    def has_less(self) -> bool:
        """Whether t is less than its logarithm anywhere."""
        return bool(self.sides[:, _LESS].any())

    def take(self, columns: slice) -> PowerMap:
        """Return the map of some of the columns."""
        return PowerMap(self.sides[..., columns], self.border[columns], self.shift)


def map_columns(
    X: np.ndarray,
    mapped: PowerMap,
    out: np.ndarray | None = None,
    *,
    on_infinite: _Refuse,
    on_nonpositive: _Refuse,
) -> np.ndarray:
    """Transform the columns of a table.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64. Arrays of other libraries than NumPy stay on their device.
    mapped : PowerMap
        What is done.
    out : ndarray like X, default=None
        Where the result goes, which may be ``X`` itself.
    on_infinite, on_nonpositive : callable
        Are given masks of the columns that hold an infinite value, or one that Box-Cox
        isn't for, before ``X`` is written to, and should raise.

    Returns
    -------
    ndarray of the shape and dtype of X
        NaN stays. Numbers too large for the dtype become infinite.
    """
    if is_foreign(X):
        return array_kernels("power_map").map_columns(
            X, mapped, out, on_infinite=on_infinite, on_nonpositive=on_nonpositive
        )
    return _apply(X, mapped, out, False, on_infinite, on_nonpositive)


def map_back(
    Z: np.ndarray,
    mapped: PowerMap,
    out: np.ndarray | None = None,
    *,
    on_infinite: _Refuse,
) -> np.ndarray:
    """Undo :func:`map_columns`.

    Parameters
    ----------
    Z, mapped, out, on_infinite
        As for :func:`map_columns`.

    Returns
    -------
    ndarray of the shape and dtype of Z
        Infinite, or 0 for Box-Cox, beyond what any value is mapped to.
    """
    if is_foreign(Z):
        kernel = array_kernels("power_map").map_back
        return kernel(Z, mapped, out, on_infinite=on_infinite)
    return _apply(Z, mapped, out, True, on_infinite, None)


def _apply(
    X: np.ndarray,
    mapped: PowerMap,
    out: np.ndarray | None,
    undo: bool,
    on_infinite: _Refuse,
    on_nonpositive: _Refuse | None,
) -> np.ndarray:
    X = np.asarray(X)
    found = np.zeros((2, X.shape[1]), dtype=bool)
    step = max(1, _PART // X.shape[1])
    parts = [slice(i, i + step) for i in range(0, len(X), step)]

    def report() -> None:
        for mask, refuse in zip(found, (on_infinite, on_nonpositive), strict=True):
            if refuse is not None and mask.any():
                refuse(mask)

    if out is None:
        out = np.empty_like(X)
    elif np.may_share_memory(X, out):
        in_threads(lambda rows: _look(X[rows], mapped, found), parts, X.size)
        report()
    kernels = compiled_for(X)
    compiled = None
    if kernels is not None and out.dtype == X.dtype and out.dtype.isnative:
        kernel = kernels.map_back if undo else kernels.map_columns
        compiled = kernel(X.dtype)

    def work(rows: slice) -> None:
        if compiled is None:
            _by_tiles(X[rows], mapped, out[rows], undo, found)
            return
        # Threads only set, so that it doesn't matter who comes first.
        sides, border = frozen(mapped.sides), (frozen(mapped.border),) if undo else ()
        masks = found[:1] if undo else found
        source = frozen(X[rows])
        compiled(source, sides, mapped.shift, *border, out[rows], *masks)

    in_threads(work, parts, X.size)
    report()
    return out


def _look(X: np.ndarray, mapped: PowerMap, found: np.ndarray) -> None:
    """Look for values that can't be transformed, and set masks of their columns."""
    # A sum that is finite rules infinite values out, and takes a fraction of the time.
    with quiet():
        may_be_infinite = not np.isfinite(X.sum())
    if may_be_infinite:
        found[0, np.isinf(X).any(axis=0)] = True
    if not mapped.shift and not X.min() > 0:
        found[1, (X <= 0).any(axis=0)] = True


def _by_tiles(
    X: np.ndarray, mapped: PowerMap, out: np.ndarray, undo: bool, found: np.ndarray
) -> None:
    step = map_tile_back if undo else map_tile
    with quiet():
        for columns in column_blocks(X.shape[1]):
            block = mapped.take(columns)
            width = len(block.border)
            # Columns lie end to end: each has numbers of its own. What memory they need
            # is taken once, as pages that are new cost more than what is done to them.
            tiles = list(row_tiles(len(X), 2 * width))
            space = np.empty((_LAYERS, width, tiles[0].stop))
            for rows in tiles:
                tile, *spare = space[..., : rows.stop - rows.start]
                tile[...] = X[rows, columns].T
                _look(tile.T, mapped, found[:, columns])
                out[rows, columns] = step(tile, block, spare).T


def map_tile(
    x: np.ndarray, mapped: PowerMap, spare: _Spare | None = None
) -> np.ndarray:
    """Transform columns in place.

    Parameters
    ----------
    x : ndarray of shape (n_columns, n_values)
        Values of float64.
    mapped : PowerMap
        What is done.
    spare : sequence of three arrays like x, default=None
        Memory to work in.

    Returns
    -------
    ndarray
        ``x``, or an array like it.
    """
    chosen = _Chosen(x < 0, mapped, spare)
    t = np.abs(x, out=x)
    if mapped.is_plain:
        np.log1p(t, out=t)
    else:
        t = log_ratio(t, mapped.shift, chosen[_ORIGIN], chosen[_BASE])
    if mapped.has_less:
        t -= chosen[_LESS]
    t *= chosen[_RATE]
    w = np.expm1(t, out=t)
    w *= chosen[_FACTOR]
    w += chosen[_ADD]
    return w


def map_tile_back(
    z: np.ndarray, mapped: PowerMap, spare: _Spare | None = None
) -> np.ndarray:
    """Undo it, in place.

    Parameters
    ----------
    z : ndarray of shape (n_columns, n_values)
        Results of float64.
    mapped, spare
        As for :func:`map_tile`.

    Returns
    -------
    ndarray
        ``z``, or an array like it.
    """
    below = z < mapped.border[:, np.newaxis]
    chosen = _Chosen(below, mapped, spare)
    z -= chosen[_ADD]
    z /= chosen[_FACTOR]
    # Beyond -1 is what no value is mapped to.
    np.maximum(z, -1.0, out=z)
    t = np.log1p(z, out=z)
    t /= chosen[_RATE]
    if mapped.has_less:
        t += chosen[_LESS]
    if mapped.is_plain:
        a = np.expm1(t, out=t)
    else:
        a = np.expm1(t)
        far = a < -0.5
        a *= chosen[_BASE]
        a += chosen[_ORIGIN]
        if far.any():
            np.copyto(a, np.exp(t) * chosen[_BASE] - mapped.shift, where=far)
    return np.negative(a, out=a, where=below)


class _Chosen:
    """The numbers of a map for each value, given which are on the lower side.

    Those of index k stay until the ones of index k + 2 or k - 2 are asked for.
    """

    def __init__(
        self, below: np.ndarray, mapped: PowerMap, spare: _Spare | None
    ) -> None:
        self.upper, self.lower = mapped.sides[..., np.newaxis]
        # Columns that have none there need not tell the two sides apart.
        apart = (mapped.sides[0] != mapped.sides[1]) & below.any(axis=1)
        self.differs = apart.any(axis=1)
        if self.differs.any():
            mask, *blended = np.empty((3, *below.shape)) if spare is None else spare
            self.blended = blended
            # All bits of the numbers that are on the lower side.
            self.mask = np.negative(below, dtype=np.int64, out=mask.view(np.int64))

    def __getitem__(self, k: int) -> np.ndarray:
        if not self.differs[k]:
            return self.upper[k]
        # By bits: np.where branches, which takes several times as long where nobody
        # can guess the sign of the next value.
        out = self.blended[k % 2]
        bits, upper = out.view(np.int64), self.upper[k].view(np.int64)
        np.bitwise_and(self.mask, upper ^ self.lower[k].view(np.int64), out=bits)
        np.bitwise_xor(bits, upper, out=bits)
        return out


def _of_zero(mapped: PowerMap) -> np.ndarray:
    with quiet():
        return map_tile(np.zeros((mapped.sides.shape[2], 1)), mapped)[:, 0]


def compiled_for(X: np.ndarray) -> ModuleType | None:
    """Return compiled code if a table is large and such as it is there for."""
    suitable = (
        X.size > _LARGE
        and X.dtype in (np.float64, np.float32)
        and X.dtype.isnative
        and X.flags.aligned
    )
    return compiled_kernels("power") if suitable else None


def quiet() -> np.errstate:
    """Return a context for numbers that may be too large, or aren't there."""
    return np.errstate(all="ignore")


def log_ratio(
    a: np.ndarray, shift: float, origin: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """Return ``log((a + shift) / base)``, with the base ``origin + shift``.

    It has all digits both near the origin, where the quotient is close to 1, and far
    below it.
    """
    u = (a - origin) / base
    t = np.log1p(u)
    far = u < -0.5
    if far.any():
        t = np.where(far, np.log((a + shift) / base), t)
    return t
