"""What counts as a number of things, where a parameter is one."""

from __future__ import annotations

import numbers
from typing import Any

__all__ = ["is_count"]


def is_count(value: Any, *, at_least: int = 1) -> bool:
    """Tell an integer that is large enough from all else, and from a boolean.

    Parameters
    ----------
    value : object
        What was passed.
    at_least : int, default=1
        The least it may be.

    Returns
    -------
    bool
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and int(value) >= at_least
