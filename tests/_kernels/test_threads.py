import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sknorm._kernels import threads
from sknorm._kernels.threads import in_threads, thread_count


@pytest.fixture
def four_cores(monkeypatch):
    """A machine of four cores, whatever this one has, without other limits."""
    monkeypatch.setattr(threads, "_cores", lambda: 4)
    monkeypatch.setattr(threads, "_controller", lambda: Pools([]))


class Pools:
    """What threadpoolctl says of the libraries."""

    def __init__(self, limits):
        self.limits = limits

    def info(self):
        return [{"num_threads": limit} for limit in self.limits]


@pytest.mark.parametrize(
    ("limits", "expected"), [([], 4), ([8], 4), ([2], 2), ([8, 3], 3), ([1, 4], 1)]
)
@pytest.mark.usefixtures("four_cores")
def test_the_least_limit_counts(monkeypatch, limits, expected):
    monkeypatch.setattr(threads, "_controller", lambda: Pools(limits))
    assert thread_count() == expected


@pytest.mark.parametrize("limit", [1, 2])
def test_limits_of_threadpoolctl_are_kept(limit):
    with threadpool_limits(limit):
        assert thread_count() <= limit


@pytest.mark.parametrize("limit", [1, 2])
def test_limits_of_the_environment_are_kept(limit):
    code = (
        "import numpy; from sknorm._kernels import threads;"
        "threads._cores = lambda: 8; print(threads.thread_count())"
    )
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict.fromkeys(variables, str(limit)),
    )
    assert result.stdout.strip() == str(limit)


def test_it_is_that_of_the_cores_this_process_may_use():
    assert 1 <= thread_count() <= threads._cores()


@pytest.mark.usefixtures("four_cores")
class TestInThreads:
    @pytest.mark.parametrize("size", [0, 10**9])
    @pytest.mark.parametrize("n_parts", [0, 1, 2, 100])
    def test_results_are_in_the_order_of_the_parts(self, size, n_parts):
        parts = range(n_parts)
        assert in_threads(lambda part: -part, parts, size) == [-p for p in parts]

    def test_they_run_at_the_same_time(self):
        # Would wait for each other forever, one after the other.
        barrier = threading.Barrier(4, timeout=30)
        assert sorted(in_threads(lambda _: barrier.wait(), range(4), 10**9)) == [
            0, 1, 2, 3,
        ]  # fmt: skip

    @pytest.mark.parametrize(("n_parts", "size"), [(1, 10**9), (50, 900_000)])
    def test_small_work_stays_where_it_is(self, n_parts, size):
        found = in_threads(lambda _: threading.get_ident(), range(n_parts), size)
        assert set(found) == {threading.get_ident()}

    def test_no_more_threads_than_the_size_is_worth(self):
        idents = in_threads(lambda _: threading.get_ident(), range(50), 1_100_000)
        assert len(set(idents)) <= 2

    def test_an_error_comes_through(self):
        def fail(part):
            raise ZeroDivisionError(part)

        with pytest.raises(ZeroDivisionError, match="0"):
            in_threads(fail, range(4), 10**9)

    def test_an_error_stops_the_others(self):
        begun = []

        def fail_at_first(part):
            begun.append(part)
            if part == 0:
                raise ZeroDivisionError
            time.sleep(0.1)

        with pytest.raises(ZeroDivisionError):
            in_threads(fail_at_first, range(1_000), 10**9)
        assert len(begun) < 100


@pytest.mark.usefixtures("four_cores")
def test_threads_keep_the_settings_of_the_caller():
    def divide(part):
        return np.float64(part) / 0.0

    with np.errstate(divide="ignore"):
        assert in_threads(divide, [1, 2, 3], 10_000_000) == [np.inf] * 3
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        in_threads(divide, [1, 2, 3], 10_000_000)


def blas_threads():
    """Return the limits of all libraries that multiply matrices."""
    pools = threads._controller().info()
    return {pool["num_threads"] for pool in pools if pool["user_api"] == "blas"}


class TestMatrixProducts:
    def test_each_thread_multiplies_alone_and_limits_come_back(self, monkeypatch):
        monkeypatch.setattr(threads, "thread_count", lambda: 2)
        with threadpool_limits(2, user_api="blas"):
            within = in_threads(
                lambda _: blas_threads(), range(4), 10**9, matrix_products=True
            )
            assert within == [{1}] * 4
            assert blas_threads() == {2}
            with pytest.raises(ZeroDivisionError):
                in_threads(lambda _: 1 / 0, range(4), 10**9, matrix_products=True)
            assert blas_threads() == {2}

    def test_two_callers_at_once_leave_what_was_there(self, monkeypatch):
        monkeypatch.setattr(threads, "thread_count", lambda: 2)

        def call():
            for _ in range(20):
                in_threads(lambda p: p, range(4), 10**9, matrix_products=True)

        with threadpool_limits(2, user_api="blas"):
            callers = [threading.Thread(target=call) for _ in range(2)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            assert blas_threads() == {2}

    def test_small_work_leaves_them_to_the_library(self):
        with threadpool_limits(2, user_api="blas"):
            within = in_threads(
                lambda _: blas_threads(), range(4), 10, matrix_products=True
            )
            assert within == [{2}] * 4
