"""Linear maps on other devices: those of NumPy."""

import numpy as np
import pytest

import sknorm._kernels.mixing
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.mixing import mix_columns, unmix_columns

CENTER = (np.array([1.0, -3.0, 1e4]), np.array([1e-17, 0.0, 1e-13]))
SCALE = np.array([2.0, 0.5, 10.0])
MATRIX = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])


def arguments(kernel):
    matrix = MATRIX if kernel is mix_columns else MATRIX.T
    return CENTER, SCALE, matrix, matrix != 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize("kernel", [mix_columns, unmix_columns])
def test_as_numpy(abroad, rng, dtype, lacking, kernel, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 30)
    width = 3 if kernel is mix_columns else 2
    values = rng.normal(size=(40, width))
    if kernel is mix_columns:
        values = values * SCALE + CENTER[0]
    values = values.astype(dtype)
    if lacking:
        values[3, 1] = np.nan
    X = abroad(values)
    expected = getattr(sknorm._kernels.mixing, kernel.__name__)(
        to_numpy(X), *arguments(kernel)
    )
    found = kernel(X, *arguments(kernel))
    assert type(found) is type(X)
    assert found.dtype == X.dtype
    tol = 1e-12 if to_numpy(X).dtype == np.float64 else 1e-6
    np.testing.assert_allclose(to_numpy(found), expected, rtol=tol, atol=tol)


def test_in_place(abroad):
    X = abroad(np.array([[1.0, 2.0]]))
    how = (), np.ones(2), np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones((2, 2), bool)
    assert mix_columns(X, *how, X) is X
    assert to_numpy(X).tolist() == [[2, 1]]
    assert unmix_columns(X, *how, X) is X
    assert to_numpy(X).tolist() == [[1, 2]]


@pytest.mark.parametrize("kernel", [mix_columns, unmix_columns])
def test_infinite_values_are_reported(abroad, kernel):
    def refuse(infinite):
        raise ValueError(infinite.tolist())

    width = 3 if kernel is mix_columns else 2
    values = np.ones((2, width))
    kernel(abroad(values), *arguments(kernel), None, refuse)
    values[1, 1] = -np.inf
    with pytest.raises(ValueError, match=r"\[False, True"):
        kernel(abroad(values), *arguments(kernel), None, refuse)


def test_it_is_what_numpys_kernels_call(abroad):
    X = abroad(np.array([[1.0, 2.0]]))
    how = (), np.ones(2), np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones((2, 2), bool)
    for kernel in (
        sknorm._kernels.mixing.mix_columns,
        sknorm._kernels.mixing.unmix_columns,
    ):
        assert to_numpy(kernel(X, *how)).tolist() == [[2, 1]]
