"""Shift and scale rows by group, in arrays of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sknorm._array_api import beside, namespace
from sknorm._kernels.array_api.apply import center_parts
from sknorm._kernels.array_api.blocks import infinite_columns, map_blocks

__all__ = ["scale_groups"]


def scale_groups(
    X: Any,
    codes: np.ndarray,
    center: tuple[np.ndarray, ...],
    scale: np.ndarray | None,
    out: Any = None,
    *,
    undo: bool = False,
    on_infinite: Callable[[np.ndarray], None] | None = None,
) -> Any:
    """Return ``(X - center) / scale`` with the numbers of each row's group.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64.
    codes, center, scale, out, undo, on_infinite
        As for :func:`sknorm._kernels.groups.scale_groups`.

    Returns
    -------
    array like X
    """
    if on_infinite is not None and (infinite := infinite_columns(X)).any():
        on_infinite(infinite)
    xp = namespace(X)
    parts = [beside(part, X) for part in center_parts(center, X)]
    divisor = None if scale is None else beside(np.asarray(scale, np.float64), X)
    tables = [*center, *([] if scale is None else [scale])]
    n_groups = len(tables[0]) if tables else 1

    def work(x: Any, groups: np.ndarray) -> Any:
        index = beside(groups, X)

        def of_rows(table: Any) -> Any:
            return xp.take(table, index, axis=0)

        if not undo:
            for part in parts:
                x = x - of_rows(part)
            return x if divisor is None else x / of_rows(divisor)
        x = x if divisor is None else x * of_rows(divisor)
        # Small parts first, so that they are not lost against the large one.
        for part in reversed(parts):
            x = x + of_rows(part)
        return x

    # Negative ones are counted from the end.
    codes = np.asarray(codes, dtype=np.int64) % n_groups
    return map_blocks(work, X, out, X.shape[1], codes)
