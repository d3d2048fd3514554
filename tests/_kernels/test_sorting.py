import numpy as np
import pytest

from sknorm._kernels import sorting
from sknorm._kernels.sorting import (
    as_counts,
    by_column,
    column_groups,
    each_sorted,
    map_sorted,
    sort_rows,
)
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
def test_copies_of_a_large_table_stay_small(n_features, copies):
    groups = column_groups((1_000_000, n_features), copies)
    assert [j for g in groups for j in range(g.start, g.stop)] == list(
        range(n_features)
    )
    at_once = max(g.stop - g.start for g in groups) * copies * thread_count()
    least = copies * thread_count()
    assert at_once <= max(sorting._COPIED * n_features, least)


def test_small_tables_are_cut_by_lines_of_cache():
    assert column_groups((100, 20)) == [slice(0, 8), slice(8, 16), slice(16, 20)]


def test_threads_get_as_many_columns_each(monkeypatch):
    monkeypatch.setattr(sorting, "thread_count", lambda: 2)
    widths = [g.stop - g.start for g in column_groups((10_000, 20))]
    assert widths == [5, 5, 5, 5]
    assert column_groups((1_000_000, 1)) == [slice(0, 1)]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_rows", [1, 2 * sorting._TILE, 2 * sorting._TILE + 1])
def test_by_column_copies(rng, order, n_rows):
    X = np.array(rng.random((n_rows, 3)), order=order)
    columns = by_column(X)
    np.testing.assert_array_equal(columns, X.T)
    assert columns.flags.c_contiguous
    assert not np.shares_memory(columns, X)


def test_by_column_copies_some_rows(rng):
    X = rng.random((2 * sorting._TILE, 3))
    rows = np.flatnonzero(rng.random(len(X)) < 0.7)
    np.testing.assert_array_equal(by_column(X, rows), X[rows].T)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [[], [1], [0, 1, 2]])
def test_columns_are_sorted_one_by_one(rng, columns, weighted):
    X = rng.normal(size=(6_000, 3))
    X[::9, 1] = np.nan
    before = X.copy()
    weight = rng.integers(0, 3, size=6_000).astype(float) if weighted else None
    rows = slice(None) if weight is None else weight > 0
    found = list(each_sorted(X, weight, columns))
    assert [j for j, _, _ in found] == columns
    for j, values, beside in found:
        order = np.argsort(X[rows, j])
        np.testing.assert_array_equal(values, X[rows, j][order])
        if weight is None:
            assert beside is None
        else:
            present = ~np.isnan(values)
            expected = weight[rows][order]
            np.testing.assert_array_equal(beside[present], expected[present])
    np.testing.assert_array_equal(X, before)


class TestAsCounts:
    @pytest.mark.parametrize("weight", [[1.0, 1.0], [0.5, 2.0], [3.0, 1e300]])
    def test_those_of_1_or_more_on_average_are_left(self, weight):
        weight = np.array(weight)
        assert as_counts(weight) is weight

    def test_others_get_a_mean_of_1(self):
        np.testing.assert_allclose(as_counts(np.array([0.1, 0.3])), [0.5, 1.5])

    @pytest.mark.parametrize("unit", [1e-3, 1e-300, 5e-324])
    def test_of_which_only_ratios_matter(self, unit):
        counts = as_counts(unit * np.array([1.0, 2.0, 5.0]))
        np.testing.assert_allclose(counts, [3 / 8, 6 / 8, 15 / 8], rtol=1e-15)

    def test_their_sum_may_pass_the_largest_double(self):
        counts = as_counts(np.array([1e308, 1e308, 5e307]))
        assert np.isfinite(counts.sum())
        np.testing.assert_array_equal(counts / counts[2], [2, 2, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_large", [False, True])
def test_rows_are_sorted_in_place(dtype, is_large, rng):
    # Many ties, which keep all of their weights.
    values = np.rint(5 * rng.normal(size=(3, 6_000))).astype(dtype)
    values[:, ::50] = np.nan
    weights = rng.integers(1, 9, values.shape).astype(np.float64)
    before, beside = values.copy(), weights.copy()
    sort_rows(values, weights, is_large=is_large)
    np.testing.assert_array_equal(values, np.sort(before, axis=1))
    for row, w, old, old_w in zip(values, weights, before, beside, strict=True):
        for tie in np.unique(row[~np.isnan(row)]):
            assert w[row == tie].sum() == old_w[old == tie].sum()
        assert w[np.isnan(row)].sum() == old_w[np.isnan(old)].sum()


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
    weight = rng.permutation(len(X)) + 1.0
    values, weights = joined(map_sorted(X, collect, weight))
    order = np.argsort(X, axis=0, kind="stable")
    np.testing.assert_array_equal(values, np.take_along_axis(X, order, axis=0))
    np.testing.assert_array_equal(weights, weight[order])
    assert set(calls) == {"sorting"}


def test_without_numba_numpy_sorts(rng, monkeypatch):
    X = rng.normal(size=(6000, 90))
    monkeypatch.setattr(sorting, "compiled_kernels", lambda name: None)
    values, _ = joined(map_sorted(X, collect))
    np.testing.assert_array_equal(values, np.sort(X, axis=0))
