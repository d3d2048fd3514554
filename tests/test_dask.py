"""Blocks and trees, on the smallest collections there can be."""

import sys
import timeit
from itertools import chain

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from sknorm._dask import (
    column_groups,
    is_dask,
    is_frame,
    map_rows,
    reduce_tree,
    row_blocks,
    stand_in,
    take_columns,
    weight_blocks,
)

X = np.arange(30.0).reshape(10, 3)


@pytest.fixture
def array():
    return da.from_array(X, chunks=(4, 2))


@pytest.fixture
def frame():
    return dd.from_pandas(pd.DataFrame(X, columns=["a", "b", "c"]), npartitions=3)


def test_what_is_of_dask(array, frame):
    for collection in (array, frame, frame["a"], dask.delayed(1)):
        assert is_dask(collection)
    for other in (X, X.tolist(), pd.DataFrame(X), scipy.sparse.eye(3), None, 1.0):
        assert not is_dask(other)
    assert [is_frame(c) for c in (array, frame, frame["a"])] == [False, True, True]


def test_to_tell_costs_nothing():
    runs = timeit.repeat(lambda: is_dask(X), number=10_000, repeat=5)
    assert min(runs) / 10_000 < 1e-6


def test_a_stand_in_has_the_columns(array, frame):
    assert stand_in(array).shape == (1, 3)
    assert stand_in(array.astype("f4")).dtype == np.float32
    assert list(stand_in(frame).columns) == ["a", "b", "c"]
    assert stand_in(da.ones(3)).shape == (1,)
    assert stand_in(da.ones(())).shape == ()


def test_a_stand_in_needs_a_table_of_numpy(array):
    with pytest.raises(
        TypeError, match=r"only Arrays and DataFrames are taken\. Got B"
    ):
        stand_in(dask.bag.from_sequence([1]))
    sparse = array.map_blocks(scipy.sparse.csr_matrix, meta=scipy.sparse.csr_matrix(X))
    with pytest.raises(TypeError, match=r"NumPy arrays only\. Got blocks of csr_matr"):
        stand_in(sparse)
    with pytest.raises(ValueError, match="number of columns of a Dask Array must be"):
        stand_in(array[:, array[0] > 0])


def test_rows_in_their_order(array, frame):
    for collection in (array, frame):
        blocks = dask.compute(row_blocks(collection))[0]
        assert all(block.shape[1] == 3 for block in blocks)
        np.testing.assert_array_equal(np.vstack(blocks), X)
    vector = dask.compute(row_blocks(da.arange(5, chunks=2)))[0]
    assert list(map(list, vector)) == [[0, 1], [2, 3], [4]]


def test_groups_of_columns_follow_the_chunks(array, frame):
    assert list(column_groups(array, 8)) == [slice(0, 2), slice(2, 3)]
    assert list(column_groups(array, 1)) == [slice(j, j + 1) for j in range(3)]
    assert list(column_groups(frame, 2)) == [slice(0, 2), slice(2, 3)]


def test_some_columns(array, frame):
    for collection in (array, frame):
        some = take_columns(collection, slice(1, 3)).compute()
        np.testing.assert_array_equal(some, X[:, 1:])


class TestWeights:
    def blocks(self, collection, weight):
        return dask.compute(weight_blocks(weight, collection, row_blocks(collection)))[
            0
        ]

    @pytest.mark.parametrize("weight", [None, 2.0])
    def test_the_same_for_all(self, array, weight):
        assert self.blocks(array, weight) == [weight] * 3

    @pytest.mark.parametrize("chunks", [None, 10, (4, 4, 2), 3])
    def test_those_of_an_array_are_cut_as_it_is(self, array, chunks):
        weight = np.arange(10.0)
        given = weight if chunks is None else da.from_array(weight, chunks=chunks)
        found = self.blocks(array, given)
        assert list(map(list, found)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    def test_those_of_a_frame(self, frame):
        lengths = frame.map_partitions(len).compute()
        for given in (X[:, 0], frame["a"], frame["a"].to_dask_array()):
            found = self.blocks(frame, given)
            assert [len(part) for part in found] == list(lengths)
            np.testing.assert_array_equal(np.concatenate(found), X[:, 0])

    def test_too_few(self, array, frame):
        for collection in (array, frame):
            with pytest.raises(ValueError, match=r"== \(3,\), expected \(10,\)!"):
                self.blocks(collection, np.ones(3))


class TestTree:
    @pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 65, 200])
    def test_all_parts_in_their_order(self, n):
        parts = [dask.delayed(list)([i]) for i in range(n)]
        assert reduce_tree(parts, lambda found: [*chain(*found)]) == [*range(n)]

    def test_its_shape_is_that_of_the_number(self):
        parts = [dask.delayed(str)(i) for i in range(10)]
        expected = "((0 1 2 3 4 5 6 7) (8 9))"
        for scheduler in ("synchronous", "threads"):
            with dask.config.set(scheduler=scheduler):
                found = reduce_tree(parts, lambda found: f"({' '.join(found)})")
            assert found == expected


class TestMapRows:
    def test_of_an_array(self, array):
        Z = map_rows(lambda block: block[:, :2] * 2, array, np.empty((0, 2)))
        assert Z.chunks == ((4, 4, 2), (2,))
        np.testing.assert_array_equal(Z.compute(), X[:, :2] * 2)

    def test_of_a_frame(self, frame):
        Z = map_rows(lambda block: block.to_numpy() * 2, frame, np.empty((0, 3)))
        assert isinstance(Z, da.Array)
        np.testing.assert_array_equal(Z.compute(), X * 2)
        Z = map_rows(lambda block: block * 2, frame, frame._meta)
        assert isinstance(Z, dd.DataFrame)
        np.testing.assert_array_equal(Z.compute(), X * 2)


def test_it_is_imported_before_dask():
    assert "dask" not in vars(sys.modules["sknorm._dask"])
