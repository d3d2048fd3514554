"""Work in threads, as many as the caller's limits allow."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import copy_context
from typing import TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["in_threads", "thread_count"]

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")

# Numbers below which a thread costs more to start than it saves.
_WORTH_A_THREAD = 500_000
# Held while the threads of BLAS are limited: two who do so at once would each restore
# what the other one has set.
_LIMITING = threading.Lock()


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
    work: Callable[[_Part], _Result],
    parts: Sequence[_Part],
    size: int,
    *,
    matrix_products: bool = False,
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
    matrix_products : bool, default=False
        Whether the work is products of matrices, which have threads of their own: here
        each gets one.

    Returns
    -------
    list
    """
    if len(parts) < 2 or size < 2 * _WORTH_A_THREAD:
        return [work(part) for part in parts]
    workers = min(thread_count(), len(parts), size // _WORTH_A_THREAD)
    if workers < 2:
        return [work(part) for part in parts]
    todo = deque(enumerate(parts))
    results: dict[int, _Result] = {}
    failures: dict[int, BaseException] = {}

    def take_turns() -> None:
        while todo:
            try:
                index, part = todo.popleft()
            except IndexError:
                return  # Another one was faster.
            try:
                results[index] = work(part)
            except BaseException as failure:
                failures[index] = failure
                todo.clear()

    # With the caller's np.errstate, among others, which a new thread doesn't have. Not
    # kept between calls: threads don't survive a fork. This one takes its turns, for
    # new ones may at first find themselves on the core of each other.
    helpers = [
        threading.Thread(target=copy_context().run, args=(take_turns,))
        for _ in range(workers - 1)
    ]
    alone = _one_blas_thread() if matrix_products else nullcontext()
    with alone, ExitStack() as started:
        for helper in helpers:
            helper.start()
            started.callback(helper.join)
        take_turns()
    if failures:
        raise failures[min(failures)]
    return [results[index] for index in range(len(parts))]


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    with _LIMITING, _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> ThreadpoolController:
    # Looking for the libraries takes milliseconds, asking them microseconds.
    return ThreadpoolController()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
