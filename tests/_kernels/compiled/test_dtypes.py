"""Loops over tables, compiled for the dtype that comes."""

import numpy as np
import pytest
from numba import types

from sknorm._kernels.compiled.dtypes import READ, WRITE, for_dtype


@for_dtype(READ, types.float64, WRITE)
def scaled(X, factor, out):
    """Multiply a table by a number."""
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i, j] = X[i, j] * factor


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout_runs_the_same_code(rng, dtype):
    X = rng.normal(size=(20, 6)).astype(dtype)
    for part in (X, X[:, :3], np.asfortranarray(X), X[::-2, ::2]):
        part.setflags(write=False)
        out = np.empty_like(part)
        scaled(part.dtype)(part, 2.0, out)
        np.testing.assert_array_equal(out, 2 * part)
    assert scaled(X.dtype) is scaled(np.dtype(dtype))
    assert len(scaled(X.dtype).signatures) == 1


def test_it_keeps_the_name_of_the_function():
    assert scaled.__name__ == "scaled"
    assert scaled.__doc__ == "Multiply a table by a number."
