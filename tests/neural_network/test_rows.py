"""Rows and the batches they are cut into."""

import warnings
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sknorm.neural_network import _rows
from sknorm.neural_network._mapped import MappedTable
from sknorm.neural_network._rows import (
    Rows,
    Slices,
    StreamedRows,
    as_tensor,
    batch_bounds,
    shuffle_blocks,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "bounds"),
    [
        (1, 4, [(0, 1)]),
        (4, 4, [(0, 4)]),
        (5, 4, [(0, 5)]),
        (6, 4, [(0, 4), (4, 6)]),
        (9, 4, [(0, 4), (4, 9)]),
        (319, 256, [(0, 319)]),
        (320, 256, [(0, 256), (256, 320)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
        (3, 2, [(0, 3)]),
    ],
)
def test_batch_bounds_known_values(n_rows, batch_size, bounds):
    assert batch_bounds(n_rows, batch_size) == bounds


@given(st.integers(1, 2000), st.integers(1, 500))
def test_batches_cover_the_rows_and_none_is_too_small(n_rows, batch_size):
    bounds = batch_bounds(n_rows, batch_size)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(
        range(n_rows)
    )
    if len(bounds) > 1:
        smallest = min(batch_size, max(2, batch_size // 4))
        assert all(stop - start >= smallest for start, stop in bounds)


def test_slices_draw_each_row_once_an_epoch_in_a_new_order(rng):
    rows = Rows(torch.arange(10.0)[:, None], torch.arange(10), torch.arange(10.0))
    slices = Slices(rows, 3, rng)
    epochs = [torch.cat([y for _, y, _ in slices]).tolist() for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert epochs[0] != epochs[1]
    for X, y, weight in slices:
        assert torch.equal(X[:, 0], y.float())
        assert torch.equal(weight, y.float())


def test_slices_without_generator_keep_the_order():
    rows = Rows(torch.arange(5.0)[:, None], torch.arange(5))
    assert [y.tolist() for _, y, _ in Slices(rows, 2)] == [[0, 1], [2, 3, 4]]


def numbered(n_rows, *, weight=True):
    """Return rows of which each part says which row it is."""
    y = torch.arange(n_rows)
    return Rows(y.double()[:, None], y, y.float() if weight else None)


def numbered_file(tmp_path, n_rows):
    """Return the same with inputs in a file."""
    path = tmp_path / "rows"
    np.arange(n_rows, dtype=np.float64).tofile(path)
    X = np.memmap(path, np.float64, "r", shape=(n_rows, 1))
    rows = numbered(n_rows)
    return Rows(MappedTable(X, "float64"), rows.y, rows.weight)


# -- where rows go ---------------------------------------------------------------------


def test_largest_looks_at_every_row(monkeypatch, tmp_path):
    monkeypatch.setattr(_rows, "_BLOCK_BYTES", 3)
    assert numbered(10).largest() == 9.0
    assert Rows(torch.tensor([[1.0], [-5.0]]), torch.zeros(2)).largest() == 5.0
    assert numbered_file(tmp_path, 10).largest() == 9.0


def test_rows_in_the_memory_of_the_host_stay_there():
    rows = numbered(5)
    there = rows.to(CPU)
    assert type(there) is Rows
    assert there.X.data_ptr() == rows.X.data_ptr()


def test_rows_of_a_file_stream_to_the_host(tmp_path):
    rows = numbered_file(tmp_path, 5)
    there = rows.to(CPU)
    assert type(there) is StreamedRows
    assert there.X is rows.X


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize(("free", "kind"), [(10_000, Rows), (100, StreamedRows)])
def test_a_device_keeps_rows_if_it_has_room(monkeypatch, free, kind, weight):
    monkeypatch.setattr(_rows, "free_memory", lambda device: free)
    rows = numbered(40, weight=weight)
    assert rows.nbytes == 40 * (16 + 4 * weight)
    there = rows.to(CPU)
    assert type(there) is kind
    assert (there.weight is not None) == weight


def test_a_file_is_read_into_a_device_with_room(monkeypatch, tmp_path):
    monkeypatch.setattr(_rows, "free_memory", lambda device: 10_000)
    there = numbered_file(tmp_path, 40).to(CPU)
    assert type(there) is Rows
    assert torch.equal(there.X, numbered(40).X)


# -- streaming -------------------------------------------------------------------------


def batches(rows, batch_size, seed=None):
    """Return the rows of each batch, once it is sure that its parts are of these."""
    rng = None if seed is None else np.random.default_rng(seed)
    found = []
    for X, y, weight in Slices(rows, batch_size, rng):
        assert torch.equal(X[:, 0], y.double())
        assert weight is None or torch.equal(weight, y.float())
        found.append(y.tolist())
    return found


@pytest.fixture
def _small_pools(monkeypatch):
    # Blocks of four rows with X alone, and pools of 24 with y and weight.
    monkeypatch.setattr(_rows, "_BLOCK_BYTES", 32)
    monkeypatch.setattr(_rows, "_POOL_BYTES", 480)


@pytest.mark.usefixtures("_small_pools")
@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("n_rows", [1, 7, 24, 25, 99])
def test_rows_from_the_host_come_in_the_order_of_rows_on_the_device(
    n_rows, weight, seed
):
    rows = numbered(n_rows, weight=weight)
    streamed = StreamedRows(rows.X, rows.y, rows.weight, CPU)
    assert batches(streamed, 5, seed) == batches(rows, 5, seed)


@pytest.mark.usefixtures("_small_pools")
@pytest.mark.parametrize("n_rows", [1, 7, 24, 25, 99])
def test_rows_of_a_file_come_once_an_epoch(tmp_path, n_rows):
    rows = numbered_file(tmp_path, n_rows).to(CPU)
    found = batches(rows, 5, 0)
    assert [len(batch) for batch in found] == [
        stop - start for start, stop in batch_bounds(n_rows, 5)
    ]
    assert sorted(chain(*found)) == list(range(n_rows))
    assert batches(rows, 5) == batches(numbered(n_rows), 5)


@pytest.mark.usefixtures("_small_pools")
def test_rows_of_a_file_are_shuffled_in_pools_of_blocks(tmp_path):
    rows = numbered_file(tmp_path, 96).to(CPU)
    slices = Slices(rows, 6, np.random.default_rng(0))
    one, two = ([y.tolist() for _, y, _ in slices] for _ in range(2))
    assert one != two
    for epoch in (one, two):
        for i in range(0, 16, 4):
            pool = list(chain(*epoch[i : i + 4]))
            assert pool != sorted(pool)
            assert set(pool) == {row // 4 * 4 + k for row in pool for k in range(4)}
        assert max(epoch[0]) - min(epoch[0]) > 24


@given(
    st.integers(1, 300),
    st.integers(1, 50),
    st.integers(1, 80),
    st.integers(0, 2**32 - 1),
)
def test_pools_share_out_the_rows(n_rows, block, pool, seed):
    ends = batch_bounds(n_rows, pool)
    rng = np.random.default_rng(seed)
    pools = list(shuffle_blocks(n_rows, block, ends, rng))
    assert [len(rows) for rows in pools] == [stop - start for start, stop in ends]
    assert all(np.all(np.diff(rows) > 0) for rows in pools)
    np.testing.assert_array_equal(np.sort(np.concatenate(pools)), np.arange(n_rows))


# -- arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_memory_is_shared_if_it_can_be(dtype, writeable):
    array = np.arange(12, dtype=dtype).reshape(4, 3)
    array.flags.writeable = writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.tolist() == array.tolist()
    assert array.flags.writeable == writeable
    assert as_tensor(array.T).tolist() == array.T.tolist()


def test_shared_memory_lives_as_long_as_its_tensor():
    array = np.ones(1 << 20)
    array.flags.writeable = False
    tensor = as_tensor(array)
    del array
    np.zeros(1 << 20)
    assert float(tensor.sum()) == 1 << 20


def test_small_files_are_copied(tmp_path):
    rows = numbered_file(tmp_path, 5)
    mapped = np.memmap(tmp_path / "rows", np.float64, "r", shape=(5, 1))
    tensor = as_tensor(mapped)
    assert torch.equal(tensor, numbered(5).X)
    tensor += 1
    assert mapped[0, 0] == 0
    assert as_tensor(rows.X) is rows.X
