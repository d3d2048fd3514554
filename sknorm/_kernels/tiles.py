"""How a table is cut into tiles of rows."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["row_tiles"]

# Numbers in a tile: 256 KiB of float64, which stays in the second-level cache of any
# current core while a few passes go over it.
_TILE = 32_768


def row_tiles(n_rows: int, n_features: int) -> Iterator[slice]:
    """Yield slices that cut the rows into tiles of about the same number of values.

    Parameters
    ----------
    n_rows, n_features : int
        Shape of the table.

    Yields
    ------
    slice
        Consecutive rows; at least 16 at a time, however wide the table.
    """
    step = max(16, _TILE // max(1, n_features))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
