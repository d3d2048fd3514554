"""How a table is cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["column_blocks", "frozen", "row_tiles"]

# Numbers in a tile: 512 KiB of float64, which stays in the second-level cache while a
# few passes go over it.
_TILE = 65_536
# Wider tables are cut into blocks of columns, so that a tile keeps enough rows for its
# statistics to be small beside it.
_BLOCK = 128


def column_blocks(n_features: int, width: int = _BLOCK) -> Iterator[slice]:
    """Yield slices that cut the columns into blocks.

    Parameters
    ----------
    n_features : int
        Number of columns of the table.
    width : int, default=128
        How many a block has at most.

    Yields
    ------
    slice
        Consecutive columns.
    """
    for start in range(0, n_features, width):
        yield slice(start, min(start + width, n_features))


def row_tiles(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield slices that cut the rows of a block into tiles that stay in cache.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the block.

    Yields
    ------
    slice
        Consecutive rows.
    """
    step = max(1, _TILE // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only view.

    Parameters
    ----------
    array : ndarray
        Any array.

    Returns
    -------
    ndarray
        For numba arrays that may be written to are another type, for which it would
        compile a function again.
    """
    view = array.view()
    view.setflags(write=False)
    return view
