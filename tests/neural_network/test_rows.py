"""Rows and the batches they are cut into."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sknorm.neural_network._rows import Rows, Slices, batch_bounds


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
