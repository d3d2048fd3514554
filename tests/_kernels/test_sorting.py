import numpy as np
import pytest

from sknorm._kernels import sorting
from sknorm._kernels.sorting import map_sorted
from sknorm._kernels.threads import thread_count


@pytest.fixture
def table(rng):
    X = rng.standard_t(2, size=(60, 11))
    X[rng.random(X.shape) < 0.2] = np.nan
    return X


def collect(columns, values, weight):
    return columns, values.copy(), None if weight is None else weight.copy()


def joined(parts):
    """Return the sorted columns, and their weights, side by side as in the table."""
    covered = [j for columns, _, _ in parts for j in range(columns.start, columns.stop)]
    assert covered == list(range(len(covered)))
    values = np.concatenate([values for _, values, _ in parts]).T
    if parts[0][2] is None:
        return values, None
    return values, np.concatenate([weight for _, _, weight in parts]).T


def test_known_values():
    X = np.array([[3.0, np.nan], [1.0, -np.inf], [2.0, 5.0]])
    values, weight = joined(map_sorted(X, collect))
    np.testing.assert_array_equal(values.T, [[1, 2, 3], [-np.inf, 5, np.nan]])
    assert weight is None


def test_known_weights():
    X = np.array([[3.0, 7.0], [1.0, 9.0], [2.0, 8.0], [0.0, 0.0]])
    parts = map_sorted(X, collect, np.array([30.0, 10.0, 20.0, 0.0]))
    values, weight = joined(parts)
    np.testing.assert_array_equal(values.T, [[1, 2, 3], [7, 8, 9]])
    np.testing.assert_array_equal(weight.T, [[10, 20, 30], [30, 20, 10]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "read-only"])
def test_any_layout(table, dtype, layout):
    X = np.array(table, dtype, order="F" if layout == "F" else "C")
    if layout == "strided":
        X = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    X.setflags(write=layout != "read-only")
    before = X.copy()
    values, _ = joined(map_sorted(X, collect))
    np.testing.assert_array_equal(values, np.sort(before, axis=0))
    assert values.dtype == dtype
    np.testing.assert_array_equal(X, before)


def test_the_callers_memory_is_never_what_work_is_given():
    # One group of Fortran order is contiguous as it is.
    X = np.asfortranarray([[2.0], [1.0]])

    def spoil(columns, values, weight):
        values[...] = 0

    map_sorted(X, spoil)
    map_sorted(X, spoil, np.ones(2))
    np.testing.assert_array_equal(X, [[2.0], [1.0]])


def test_a_row_counts_once_for_each_of_its_weights(table, rng):
    repeats = rng.integers(0, 3, len(table))
    plain, _ = joined(map_sorted(np.repeat(table, repeats, axis=0), collect))
    values, weight = joined(map_sorted(table, collect, repeats.astype(float)))
    for j in range(table.shape[1]):
        again = np.repeat(values[:, j], weight[:, j].astype(int))
        np.testing.assert_array_equal(again, plain[:, j])


@pytest.mark.parametrize("copies", [1, sorting._COPIES_WITH_WEIGHTS])
@pytest.mark.parametrize("n_features", [1, 7, 50, 1000])
def test_copies_stay_small(n_features, copies):
    groups = sorting._groups(n_features, copies)
    at_once = max(g.stop - g.start for g in groups) * copies * thread_count()
    least = copies * thread_count()
    assert at_once <= max(sorting._COPIED * n_features, least)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_tables_are_sorted_by_compiled_code_alike(dtype, rng, monkeypatch):
    X = rng.standard_cauchy(size=(6000, 90)).astype(dtype)
    X[::7, 3] = np.nan
    assert X.size > sorting._WORTH_COMPILING
    assert len(X) > sorting._WORTH_RADIX
    calls = []
    real = sorting.compiled_kernels
    monkeypatch.setattr(
        sorting, "compiled_kernels", lambda name: calls.append(name) or real(name)
    )
    values, _ = joined(map_sorted(X, collect))
    np.testing.assert_array_equal(values, np.sort(X, axis=0))
    assert set(calls) == {"sorting"}


def test_without_numba_numpy_sorts(rng, monkeypatch):
    X = rng.normal(size=(6000, 90))
    monkeypatch.setattr(sorting, "compiled_kernels", lambda name: None)
    values, _ = joined(map_sorted(X, collect))
    np.testing.assert_array_equal(values, np.sort(X, axis=0))
