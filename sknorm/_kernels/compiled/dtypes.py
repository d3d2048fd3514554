"""Compile loops over tables for the dtype that comes, and no other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types

__all__ = ["READ", "WRITE", "for_dtype"]

# Stand for a table that a function only reads, and for one that it writes to.
READ, WRITE = "what is read", "what is written to"

_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def for_dtype(*arguments: Any) -> Callable[[Callable], Callable]:
    """Compile a function for tables of a dtype when it is first asked for.

    Tables are of any layout, so that C and Fortran order share what is compiled, and
    one that is only read may be read-only or not.

    Parameters
    ----------
    *arguments : numba types, READ or WRITE
        What the function is called with.

    Returns
    -------
    decorator
        Makes of a function one that is given a dtype, float32 or float64, and returns
        the compiled function.
    """

    def decorate(function: Callable) -> Callable:
        @functools.cache
        def compiled(dtype: np.dtype) -> Callable:
            number = types.float32 if dtype == np.float32 else types.float64
            tables: dict[Any, types.Type] = {
                key: types.Array(number, 2, "A", readonly=key is READ)
                for key in (READ, WRITE)
            }
            given = [tables.get(each, each) for each in arguments]
            return njit([types.void(*given)], **_options)(function)

        return functools.wraps(function)(compiled)

    return decorate
