"""Tables of other libraries, told by their type: none of them has to be there."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_lazy_frame"]


def refuse_lazy_frame(X: Any) -> None:
    """Raise for a query that has no rows before it is run.

    Parameters
    ----------
    X : object
        What was passed as a table.
    """
    # Polars' or narwhals'.
    if type(X).__name__ == "LazyFrame":
        raise TypeError(
            f"X must be a table in memory. Got a {type(X).__name__!r} of "
            f"{type(X).__module__.partition('.')[0]!r}, which is a query: pass "
            "X.collect()."
        )
