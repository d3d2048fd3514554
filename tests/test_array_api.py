"""Arrays of other libraries: told apart, moved, and left alone."""

import array_api_compat
import array_api_strict
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from sknorm._array_api import (
    beside,
    detached,
    float_dtypes,
    is_dispatched,
    is_foreign,
    is_writeable,
    namespace,
    on_host,
    take_rows,
    to_numpy,
)

NO_FLOAT64 = array_api_strict.Device("no_float64")
DEVICE1 = array_api_strict.Device("device1")
X = np.arange(6.0).reshape(3, 2)


def strict(values, device=None, **kwargs):
    return array_api_strict.asarray(values, device=device, **kwargs)


FOREIGN = [
    torch.asarray(X),
    strict(X),
    strict(X, DEVICE1),
    strict(X.astype("f4"), NO_FLOAT64),
]


@pytest.mark.parametrize("array", FOREIGN, ids=str)
def test_foreign_arrays(array, dispatch):
    assert is_foreign(array)
    assert is_dispatched(array)


def test_without_dispatch_they_become_numpys():
    assert not is_dispatched(FOREIGN[0])


@pytest.mark.parametrize(
    "native",
    [
        X,
        np.ma.masked_array(X),
        X.tolist(),
        pd.DataFrame(X),
        scipy.sparse.csr_array(X),
        "text",
        None,
        1.0,
    ],
    ids=lambda native: type(native).__name__,
)
def test_what_is_not_foreign(native, dispatch):
    assert not is_foreign(native)
    assert not is_dispatched(native)


def test_namespace():
    assert namespace(FOREIGN[0]).__name__ == "array_api_compat.torch"
    assert namespace(FOREIGN[1]) is array_api_strict


def test_dtypes_are_those_of_the_device():
    assert float_dtypes(FOREIGN[0]) == [torch.float64, torch.float32]
    assert float_dtypes(FOREIGN[2]) == [
        array_api_strict.float64,
        array_api_strict.float32,
    ]
    assert float_dtypes(FOREIGN[3]) == [array_api_strict.float32]


@pytest.mark.parametrize("array", FOREIGN, ids=str)
def test_to_numpy_and_back(array):
    values = to_numpy(array)
    assert type(values) is np.ndarray
    np.testing.assert_array_equal(values, X)
    back = beside(values, array)
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert array_api_compat.device(back) == array_api_compat.device(array)
    np.testing.assert_array_equal(to_numpy(back), X)


def test_doubles_beside_an_array_on_a_device_without_them():
    values = beside(np.array([0.1, 1e300]), FOREIGN[3])
    assert values.dtype == array_api_strict.float32
    np.testing.assert_array_equal(to_numpy(values), np.float32([0.1, np.inf]))
    # Only doubles are narrowed.
    index = beside(np.array([2**40]), FOREIGN[3])
    assert index.dtype == array_api_strict.int64


def test_numbers_beside_numpy_stay_what_they_are():
    assert beside(X, np.ones(1)) is X


def test_a_tensor_in_main_memory_is_seen_by_numpy():
    tensor = torch.zeros(2, 3).T
    view = on_host(tensor)
    assert type(view) is np.ndarray
    view[1, 1] = 7
    assert tensor[1, 1] == 7
    assert on_host(tensor.requires_grad_()).shape == (3, 2)


@pytest.mark.parametrize("array", [X, *FOREIGN[1:]], ids=str)
def test_others_stay_where_they_are(array):
    assert on_host(array) is array


def test_a_tensor_elsewhere(device):
    tensor = torch.ones(2, device=device)
    assert (on_host(tensor) is tensor) == (device != "cpu")
    np.testing.assert_array_equal(to_numpy(tensor), [1, 1])


def test_writeable():
    frozen = X.copy()
    frozen.setflags(write=False)
    assert not is_writeable(frozen)
    assert all(is_writeable(array) for array in [X, *FOREIGN])


@pytest.mark.parametrize("array", [X, *FOREIGN], ids=str)
def test_take_rows(array):
    taken = take_rows(array, np.array([2, 0]))
    assert type(taken) is type(array)
    np.testing.assert_array_equal(to_numpy(taken), X[[2, 0]])


def test_detached():
    tensor = torch.ones(2).requires_grad_()
    assert not detached(tensor).requires_grad
    assert detached(tensor).data_ptr() == tensor.data_ptr()
    for other in (X, FOREIGN[0], FOREIGN[1], None):
        assert detached(other) is other
