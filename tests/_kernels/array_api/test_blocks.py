"""Blocks, sums and masks, on every device of every library there is."""

import math

import numpy as np
import pytest

from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import array_kernels, blocks
from sknorm._kernels.array_api.blocks import (
    as_reals,
    column_parts,
    column_sums,
    count_present,
    infinite_columns,
    map_blocks,
    quiet,
    row_parts,
    take_in_columns,
)


def test_a_family_is_loaded_by_name():
    assert array_kernels("blocks") is blocks


@pytest.mark.parametrize(
    ("shape", "n_row_parts", "n_column_parts"),
    [((10, 4), 5, 4), ((3, 20), 3, 7), ((4, 1), 1, 1), ((0, 3), 0, 1)],
)
def test_parts_cover_the_table(shape, n_row_parts, n_column_parts, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 10)
    for parts, length, number in (
        (row_parts(shape), shape[0], n_row_parts),
        (column_parts(shape), shape[1], n_column_parts),
    ):
        parts = list(parts)
        covered = [i for part in parts for i in range(part.start, part.stop)]
        assert covered == list(range(length))
        assert len(parts) == number


@pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 65, 127, 4096, 10_001])
def test_column_sums(n_rows, abroad, rng):
    values = rng.normal(size=(n_rows, 3)).astype(np.float32).astype(np.float64)
    sums = column_sums(abroad(values))
    assert type(sums) is np.ndarray
    assert sums.dtype == np.float64
    exact = [math.fsum(column) for column in values.T]
    size = np.abs(values).sum(axis=0)
    eps = 1e-15 if abroad.has_float64 else 1e-7
    assert (np.abs(sums - exact) <= eps * size).all()


def test_sums_of_float32_go_on_as_doubles(abroad):
    # 2**24 + 64 has no float32 beside it: one float32 sum would lose every run.
    values = np.ones((64 * 64, 1), dtype=np.float32)
    values[:64] = 2**18
    assert column_sums(abroad(values)) == 2**24 + 63 * 64


def test_count_and_infinite(abroad):
    X = abroad(np.array([[1, np.nan, np.inf], [np.nan, np.nan, 2], [3, np.nan, 1.0]]))
    assert count_present(X).tolist() == [2, 0, 3]
    assert infinite_columns(X).tolist() == [False, False, True]


def test_take_in_columns(abroad):
    X = abroad(np.arange(6.0).reshape(3, 2))
    taken = take_in_columns(X, np.array([[2, 0], [0, 1]]))
    assert taken.dtype == np.float64
    assert taken.tolist() == [[4, 1], [0, 3]]


class TestMapBlocks:
    def double(self, block):
        assert block.shape[0] <= 2
        return block * 2

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch):
        monkeypatch.setattr(blocks, "_BLOCK", 6)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_fresh_result(self, abroad, dtype):
        values = np.arange(15, dtype=dtype).reshape(5, 3)
        X = abroad(values)
        result = map_blocks(self.double, X, None, 3)
        assert type(result) is type(X)
        assert result.dtype == X.dtype
        np.testing.assert_array_equal(to_numpy(result), 2 * values)
        np.testing.assert_array_equal(to_numpy(X), values)

    def test_in_place(self, abroad):
        values = np.arange(15.0).reshape(5, 3)
        X = abroad(values)
        assert map_blocks(self.double, X, X, 3) is X
        np.testing.assert_array_equal(to_numpy(X), 2 * values)

    def test_of_another_width(self, abroad):
        X = abroad(np.arange(15.0).reshape(5, 3))
        result = map_blocks(lambda block: block[:, :1], X, None, 1)
        assert to_numpy(result).ravel().tolist() == [0, 3, 6, 9, 12]

    def test_with_more_of_each_row(self, abroad):
        X = abroad(np.zeros((5, 3)))
        number = np.arange(5.0)
        result = map_blocks(
            lambda block, part: block + abroad(part[:, np.newaxis]), X, None, 3, number
        )
        assert to_numpy(result)[:, 1].tolist() == [0, 1, 2, 3, 4]

    def test_what_can_not_be_written_to(self, abroad, monkeypatch):
        monkeypatch.setattr(blocks, "is_writeable", lambda X: False)
        values = np.arange(15.0).reshape(5, 3)
        result = map_blocks(self.double, abroad(values), None, 3)
        np.testing.assert_array_equal(to_numpy(result), 2 * values)


def test_work_is_done_in_the_widest_floats(abroad):
    X = abroad(np.ones((2, 2), dtype=np.float32))
    assert str(as_reals(X).dtype).endswith("64" if abroad.has_float64 else "32")


def test_quiet():
    with quiet():
        assert np.isnan(np.float64(np.inf) - np.inf)
