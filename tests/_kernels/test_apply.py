import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from sknorm._kernels import apply
from sknorm._kernels.apply import (
    clip_values,
    scale_columns,
    stored_columns,
    unclip_values,
    unscale_columns,
)

MEAN, STD = np.array([2.0, -1.0]), np.array([4.0, 0.5])


@pytest.mark.parametrize(
    ("center", "scale", "expected"),
    [
        ((MEAN,), STD, [[0.0, 4.0], [1.0, np.nan]]),
        ((MEAN,), None, [[0.0, 2.0], [4.0, np.nan]]),
        ((), STD, [[0.5, 2.0], [1.5, np.nan]]),
        ((), None, [[2.0, 1.0], [6.0, np.nan]]),
        ((MEAN, np.array([1.0, 0.0])), STD, [[-0.25, 4.0], [0.75, np.nan]]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_by_hand(center, scale, expected, dtype, order):
    X = np.array([[2.0, 1.0], [6.0, np.nan]], dtype=dtype, order=order)
    before = X.copy()
    Z = scale_columns(X, center, scale)
    np.testing.assert_array_equal(Z, expected)
    np.testing.assert_array_equal(unscale_columns(Z, center, scale), X)
    np.testing.assert_array_equal(X, before)
    assert Z.dtype == dtype
    assert Z.flags.c_contiguous == X.flags.c_contiguous


@pytest.mark.parametrize("function", [scale_columns, unscale_columns])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_out_may_be_the_input(function, dtype):
    X = np.arange(6, dtype=dtype).reshape(3, 2)
    expected = function(X, (MEAN,), STD)
    assert function(X, (MEAN,), STD, X) is X
    np.testing.assert_array_equal(X, expected)


@pytest.mark.parametrize("shape", [(70_000, 3), (40, 600), (300, 300)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tiles_join_to_the_whole(rng, shape, dtype):
    X = rng.standard_normal(shape).astype(dtype)
    mean, std = rng.standard_normal(shape[1]), rng.uniform(1, 2, shape[1])
    wide = X.astype(np.float64)
    np.testing.assert_array_equal(
        scale_columns(X, (mean,), std), ((wide - mean) * (1 / std)).astype(dtype)
    )
    np.testing.assert_array_equal(
        unscale_columns(X, (mean,), std), (wide * std + mean).astype(dtype)
    )


@pytest.mark.parametrize("scale", [1e-310, 5e-324, 0.8e308])
@pytest.mark.parametrize("n_rows", [3, 200_001])
def test_a_scale_without_an_inverse_is_divided_by(scale, n_rows):
    # 1 over it is infinite, or has lost digits to underflow.
    X = np.array([[0.0, 1.0, -2.0]]).T * scale
    X = np.resize(X, (n_rows, 1)) * [1.0, 1.0, 1.0]
    z = scale_columns(X, (), np.array([scale, 1.0, 1.0]))
    np.testing.assert_array_equal(
        z[:, 0], np.resize([0.0, 1.0, X[2, 0] / scale], n_rows)
    )
    np.testing.assert_array_equal(z[:, 1:], X[:, 1:])


def test_float32_is_rounded_once():
    # At 1e6 neighbours in float32 are 1/16 apart: a mean rounded to float32 would
    # shift every value by up to 1/32.
    X = np.array([[1e6], [1e6 + 0.0625]], dtype=np.float32)
    mean, std = np.array([1e6 + 0.03]), np.array([0.03125])
    expected = [np.float32((float(x) - mean[0]) / std[0]) for x in X[:, 0]]
    np.testing.assert_array_equal(scale_columns(X, (mean,), std)[:, 0], expected)


def test_a_mean_in_two_parts_keeps_its_digits():
    ulp = np.spacing(1e12)
    mean = np.array([1e12]), np.array([0.375 * ulp])
    z = scale_columns(np.array([[1e12 + 2 * ulp]]), mean, None)
    assert z[0, 0] == 1.625 * ulp
    # 1.25 and 0.375 make 1.625, next to 2; one after the other to 1e12 they make 1.
    x = unscale_columns(np.array([[1.25 * ulp]]), mean, None)
    assert x[0, 0] == 1e12 + 2 * ulp


def test_the_result_for_a_memory_map_is_an_ordinary_array(tmp_path):
    X = np.lib.format.open_memmap(
        tmp_path / "X.npy", mode="w+", dtype=np.float64, shape=(4, 2)
    )
    X[...] = 1.0
    X.flush()
    Z = scale_columns(np.load(tmp_path / "X.npy", mmap_mode="r"), (MEAN,), STD)
    assert type(Z) is np.ndarray
    np.testing.assert_array_equal(Z, np.tile([-0.25, 4.0], (4, 1)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(500_000, 5), (250, 10_000)])
def test_no_temporary_of_full_size(dtype, shape):
    X = np.ones(shape, dtype=dtype)
    center, scale = (np.ones(shape[1]),), np.ones(shape[1])
    scale_columns(X, center, scale, X)  # loads what it needs, which isn't counted
    tracemalloc.start()
    try:
        scale_columns(X, center, scale, X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 0.05 * X.nbytes


HUGE = np.finfo(np.float64).max


@pytest.mark.parametrize(
    ("z", "hard", "smooth"),
    [
        (0.0, 0.0, 0.0),
        (1.5, 1.5, 1.2),
        (-1.5, -1.5, -1.2),
        (2.0, 2.0, 2**0.5),
        (4.0, 2.0, 4 / 5**0.5),
        (-1e8, -2.0, -2.0),
        (HUGE, 2.0, 2.0),
        (-np.inf, -2.0, -2.0),
        (np.nan, np.nan, np.nan),
    ],
)
def test_clips_by_hand(z, hard, smooth):
    values = np.array([z])
    np.testing.assert_array_equal(clip_values(values, None, values), values)
    found = clip_values(values, ("hard", 2.0), np.empty(1))
    np.testing.assert_array_equal(found, hard)
    found = clip_values(values, ("smooth", 2.0), np.empty(1))
    np.testing.assert_allclose(found, smooth, rtol=4e-16)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (0.0, 0.0),
        (1.2, 1.5),
        (-(2**0.5), -2.0),
        (2.0, np.inf),
        (-2.0, -np.inf),
        (2.5, np.inf),
        (-7.0, -np.inf),
        (np.nan, np.nan),
    ],
)
def test_undoing_a_smooth_clip_by_hand(y, expected):
    values = np.array([y])
    found = unclip_values(values, ("smooth", 2.0), np.empty(1))
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert unclip_values(values, ("hard", 2.0), np.empty(1)) is values


@pytest.mark.parametrize("bound", [1e-3, 0.3, 3.0, 1e6])
def test_no_rounding_takes_a_value_past_the_bound(rng, bound):
    z = bound * np.exp(rng.uniform(-5, 40, 10_000))
    for kind in ("hard", "smooth"):
        assert clip_values(z, (kind, bound), np.empty_like(z)).max() <= bound


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["hard", "smooth"])
def test_clipping_comes_last_and_unclipping_first(dtype, kind):
    X = np.array([[2.0, 1.0], [14.0, np.nan]], dtype=dtype)
    Z = scale_columns(X, (MEAN,), STD, clip=(kind, 2.0))
    smooth = [[0.0, 4 / 5**0.5], [3 / 3.25**0.5, np.nan]]
    expected = [[0.0, 2.0], [2.0, np.nan]] if kind == "hard" else smooth
    rtol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(Z, expected, rtol=rtol)
    back = unscale_columns(Z, (MEAN,), STD, clip=(kind, 2.0))
    expected = [[2.0, 0.0], [10.0, np.nan]] if kind == "hard" else X
    np.testing.assert_allclose(back, expected, rtol=4 * rtol)


def test_a_clip_alone_works_in_float64():
    # As a float32 the bound is larger than itself, and its ratio to 1 another one.
    X = np.array([[1.0]], dtype=np.float32)
    expected = np.float32(1 / np.sqrt(1 + (1 / 0.1) ** 2))
    assert scale_columns(X, (), None, clip=("smooth", 0.1)) == expected


@pytest.mark.parametrize("function", [scale_columns, unscale_columns])
@pytest.mark.parametrize("shape", [(5, 3), (3_000, 60), (3, 700)])
@pytest.mark.parametrize("order", ["C", "F"])
class TestInfiniteValues:
    def test_a_mask_of_columns_is_given(self, function, shape, order):
        X = np.ones(shape, order=order)
        X[1, 0], X[-1, -1], X[0, 1] = np.nan, -np.inf, np.inf
        masks = []
        function(X, (), None, on_infinite=masks.append)
        assert [np.flatnonzero(mask).tolist() for mask in masks] == [[1, shape[1] - 1]]

    def test_finite_values_are_not_suspected(self, function, shape, order):
        X = np.full(shape, HUGE, order=order)
        X[0, 0] = np.nan
        function(X, (), None, on_infinite=pytest.fail)

    def test_nothing_is_written_to_an_input_that_is_refused(
        self, function, shape, order
    ):
        X = np.ones(shape, order=order)
        X[-1, 1] = np.inf
        before = X.copy()

        def refuse(mask):
            raise ZeroDivisionError

        for clip in (None, ("hard", 0.5)):
            with pytest.raises(ZeroDivisionError):
                function(X, (np.ones(shape[1]),), None, X, clip, refuse)
            np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
class TestSparse:
    @pytest.fixture
    def table(self, make, dtype, rng, monkeypatch):
        monkeypatch.setattr("sknorm._kernels.tiles._TILE", 100)
        dense = np.where(rng.random((60, 7)) < 0.4, rng.normal(size=(60, 7)), 0)
        dense[:, 3] = 0.0
        return make(dense.astype(dtype))

    @pytest.mark.parametrize("clip", [None, ("hard", 0.5), ("smooth", 0.5)])
    @pytest.mark.parametrize("function", [scale_columns, unscale_columns])
    def test_as_dense(self, table, function, clip):
        if function is unscale_columns:
            table = scale_columns(table, (), None, clip=clip)
        scale = np.arange(1.0, 8.0)
        found = function(table, (), scale, clip=clip)
        assert type(found) is type(table)
        assert found.dtype == table.dtype
        assert not np.shares_memory(found.indices, table.indices)
        expected = function(table.toarray(), (), scale, clip=clip)
        np.testing.assert_array_equal(found.toarray(), expected)

    def test_in_place(self, table):
        expected = table.toarray() / np.arange(1, 8, dtype=table.dtype)
        assert scale_columns(table, (), np.arange(1.0, 8.0), table) is table
        np.testing.assert_allclose(table.toarray(), expected, rtol=1e-6)

    @pytest.mark.parametrize("clip", [None, ("hard", 0.5), ("smooth", 0.5)])
    def test_entries_for_the_same_place_add_up(self, table, clip):
        scale = np.arange(1.0, 8.0)
        expected = scale_columns(table, (), scale, clip=clip).toarray()
        twice = 2 * table.indptr
        data, indices = np.repeat(table.data / 2, 2), np.repeat(table.indices, 2)
        halves = type(table)((data, indices, twice), shape=table.shape)
        found = scale_columns(halves, (), scale, clip=clip)
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-6)
        assert halves.nnz == 2 * table.nnz
        np.testing.assert_array_equal(halves.data, data)
        assert scale_columns(halves, (), scale, halves, clip=clip) is halves
        np.testing.assert_allclose(halves.toarray(), expected, rtol=1e-6)

    def test_infinite_values(self, table):
        scale_columns(table, (), None, on_infinite=pytest.fail)
        table = table.tolil()
        table[5, 2], table[7, 6], table[8, 0] = np.inf, -np.inf, np.nan
        for kind in ("csr", "csc"):
            masks = []
            scale_columns(table.asformat(kind), (), None, on_infinite=masks.append)
            assert [np.flatnonzero(mask).tolist() for mask in masks] == [[2, 6]]

    def test_stored_columns(self, table):
        expected = table.tocoo().col
        np.testing.assert_array_equal(stored_columns(table, slice(None)), expected)
        found = stored_columns(table, slice(10, 33))
        np.testing.assert_array_equal(found, expected[10:33])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_at_all(shape):
    width = np.ones(shape[1])
    Z = scale_columns(np.empty(shape), (width,), width, on_infinite=pytest.fail)
    assert Z.shape == shape


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_too_large_becomes_infinite_without_a_warning(dtype):
    X = np.array([[np.finfo(dtype).max]], dtype=dtype)
    assert scale_columns(X, (), np.array([0.5])) == np.inf
    assert unscale_columns(-X, (), np.array([2.0])) == -np.inf


def test_large_tables_go_to_compiled_code(monkeypatch):
    asked = []
    monkeypatch.setattr(apply, "compiled_kernels", asked.append)
    scale_columns(np.ones((500_000, 1)), (), None)
    assert asked == []
    scale_columns(np.ones((500_001, 1)), (), None)
    scale_columns(np.ones((2, 300_000), order="F"), (), None)
    assert asked == ["apply", "apply"]


@pytest.mark.parametrize("n_rows", [3, 30_000])
def test_settings_of_numpy_are_as_before(rng, n_rows):
    before = np.geterr(), np.getbufsize()
    scale_columns(rng.normal(size=(n_rows, 20)), (np.zeros(20),), np.ones(20))
    assert (np.geterr(), np.getbufsize()) == before


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_that_stay_in_cache_begin_with_a_line_of_it(rng, dtype, order):
    X = np.asarray(rng.normal(size=(3_000, 7)), dtype=dtype, order=order)
    result = scale_columns(X, (), None)
    assert result.ctypes.data % 64 == 0
    assert (result.dtype, result.strides) == (X.dtype, X.strides)
    np.testing.assert_array_equal(result, X)
