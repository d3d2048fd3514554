"""Shift and scale by group on other devices: as by NumPy."""

import numpy as np
import pytest

import sknorm._kernels.groups
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.groups import scale_groups

CENTER = (
    np.array([[1.0, 2.0], [3.0, 1e6], [0.0, -5.0]]),
    np.array([[0.0, 1e-17], [1e-17, 1e-11], [0.0, 0.0]]),
)
SCALE = np.array([[1.0, 2.0], [0.5, 1e3], [1.0, 1.0]])
CODES = np.array([0, 1, -1, 1, 0, 2, -1])


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("center", [(), CENTER[:1], CENTER])
@pytest.mark.parametrize("scale", [None, SCALE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_numpy(abroad, rng, undo, center, scale, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 6)
    values = rng.normal(size=(7, 2)) * SCALE[CODES] + CENTER[0][CODES]
    values[2, 0] = np.nan
    X = abroad(values.astype(dtype))
    how = CODES, center, scale
    expected = sknorm._kernels.groups.scale_groups(to_numpy(X), *how, undo=undo)
    found = scale_groups(X, *how, undo=undo)
    assert type(found) is type(X)
    assert found.dtype == X.dtype
    tol = 1e-14 if to_numpy(X).dtype == np.float64 else 1e-6
    np.testing.assert_allclose(to_numpy(found), expected, rtol=tol, atol=tol)


def test_in_place_unless_a_value_is_infinite(abroad):
    def refuse(infinite):
        raise ValueError(infinite.tolist())

    X = abroad(np.array([[1.0], [3.0]]))
    how = np.array([0, -1]), (np.array([[1.0], [5.0]]),), None
    assert scale_groups(X, *how, X, on_infinite=refuse) is X
    assert to_numpy(X).ravel().tolist() == [0, -2]
    X = abroad(np.array([[1.0], [np.inf]]))
    with pytest.raises(ValueError, match=r"\[True\]"):
        scale_groups(X, *how, X, on_infinite=refuse)
    assert to_numpy(X)[0, 0] == 1


def test_it_is_what_numpys_kernel_calls(abroad):
    X = abroad(np.array([[1.0], [3.0]]))
    how = np.array([0, -1]), (np.array([[1.0], [5.0]]),), None
    found = sknorm._kernels.groups.scale_groups(X, *how)
    assert type(found) is type(X)
    assert to_numpy(found).ravel().tolist() == [0, -2]
