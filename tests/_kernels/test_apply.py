import tracemalloc

import numpy as np
import pytest

from sknorm._kernels.apply import scale_columns, unscale_columns

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
        scale_columns(X, (mean,), std), ((wide - mean) / std).astype(dtype)
    )
    np.testing.assert_array_equal(
        unscale_columns(X, (mean,), std), (wide * std + mean).astype(dtype)
    )


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
    tracemalloc.start()
    try:
        scale_columns(X, center, scale, X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 0.05 * X.nbytes
