"""What counts as a number of things."""

import numpy as np
import pytest
import torch

from sknorm.nn._counts import is_count


@pytest.mark.parametrize("value", [1, 10**30, np.int8(1), np.uint64(7)])
def test_counts(value):
    assert is_count(value)
    assert is_count(value, at_least=1)
    assert not is_count(value, at_least=10**30 + 1)


def test_zero_where_it_may_be():
    assert is_count(0, at_least=0)
    assert not is_count(0)
    assert not is_count(-1, at_least=0)


@pytest.mark.parametrize(
    "value", [True, False, np.True_, 1.0, np.float32(2), "1", None, torch.tensor(1)]
)
def test_what_is_none(value):
    assert not is_count(value, at_least=0)
