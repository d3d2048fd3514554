"""Work in threads, as many as the caller's limits allow."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["in_threads", "thread_count"]

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")

# Numbers below which a thread costs more to start than it saves.
_WORTH_A_THREAD = 500_000


def thread_count() -> int:
    """Return how many threads a pass over a large array may take.

    Returns
    -------
    int
        The cores this process may run on, or fewer if the thread pool of a numerical
        library is limited: by ``threadpoolctl``, by the environment, or by joblib in
        the processes it starts.
    """
    limits = [pool["num_threads"] for pool in _controller().info()]
    return max(1, min([_cores(), *limits]))


def in_threads(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], size: int
) -> list[_Result]:
    """Return ``[work(part) for part in parts]``, computed in threads if it pays.

    Parameters
    ----------
    work : callable
        What is done to a part. It must leave the interpreter free for most of its time,
        as NumPy's loops and compiled functions do.
    parts : sequence
        What it is done to. Their order is that of the results, whatever the threads do.
    size : int
        Numbers that are gone over in all, to judge if threads pay.

    Returns
    -------
    list
    """
    if len(parts) < 2 or size < 2 * _WORTH_A_THREAD:
        return [work(part) for part in parts]
    workers = min(thread_count(), len(parts), size // _WORTH_A_THREAD)
    if workers < 2:
        return [work(part) for part in parts]
    # Not kept between calls: threads don't survive a fork.
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


@functools.cache
def _controller() -> ThreadpoolController:
    # Looking for the libraries takes milliseconds, asking them microseconds.
    return ThreadpoolController()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
