import numpy as np
import pytest

from sknorm._kernels.tiles import column_blocks, frozen, row_tiles

SHAPES = [(1, 1), (10, 3), (65_536, 1), (65_537, 1), (4_000, 50), (3, 256), (7, 1_000)]


@pytest.mark.parametrize(("n_rows", "n_features"), SHAPES)
def test_tiles_cover_every_number_once(n_rows, n_features):
    seen = np.zeros((n_rows, n_features), dtype=int)
    for columns in column_blocks(n_features):
        for rows in row_tiles(n_rows, columns.stop - columns.start):
            seen[rows, columns] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("n_features", [1, 50, 255, 256, 257, 100_000])
def test_a_tile_fits_in_cache_and_keeps_many_rows(n_features):
    for columns in column_blocks(n_features):
        width = columns.stop - columns.start
        first = next(row_tiles(1_000_000, width))
        assert first.stop * width <= 65_536
        assert first.stop >= 256


@pytest.mark.parametrize(("n_rows", "n_columns"), [(0, 3), (0, 0)])
def test_no_rows_no_tiles(n_rows, n_columns):
    assert list(row_tiles(n_rows, n_columns)) == []


def test_no_columns_no_blocks():
    assert list(column_blocks(0)) == []


def test_the_width_of_blocks_can_be_given():
    assert list(column_blocks(5, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_a_frozen_array_is_the_same_memory_and_leaves_the_first_alone():
    array = np.zeros(3)
    view = frozen(array)
    assert np.shares_memory(view, array)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1.0
    array[0] = 1.0
    assert view[0] == 1.0
