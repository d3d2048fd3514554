"""Shift, scale and clip on other devices."""

import numpy as np
import pytest

import sknorm._kernels.apply
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.apply import (
    clip_values,
    scale_columns,
    unclip_values,
    unscale_columns,
)

CLIPS = [None, ("hard", 1.5), ("smooth", 1.5)]
CENTER = (np.array([1.0, -2.0, 1e3]), np.array([1e-17, 0.0, 1e-14]))
SCALE = np.array([0.5, 3.0, 0.1])


def table(rng, dtype=np.float64):
    values = (rng.normal(size=(40, 3)) * SCALE + CENTER[0]).astype(dtype)
    values[3, 1] = np.nan
    return values


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [(), CENTER[:1], CENTER])
@pytest.mark.parametrize("scale", [None, SCALE])
def test_as_numpy(abroad, rng, clip, dtype, center, scale, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 30)
    X = abroad(table(rng, dtype))
    values = to_numpy(X).copy()
    narrow = values.dtype == np.float32
    for kernel in ("scale_columns", "unscale_columns"):
        expected = getattr(sknorm._kernels.apply, kernel)(
            values, center, scale, clip=clip
        )
        found = globals()[kernel](X, center, scale, clip=clip)
        assert type(found) is type(X)
        assert found.dtype == X.dtype
        # What undoes the bend is infinite on the bound, and steep before.
        steep = kernel == "unscale_columns" and clip == CLIPS[2]
        tol = (1e-5 if steep else 5e-7) if narrow else 1e-12 if steep else 1e-15
        np.testing.assert_allclose(to_numpy(found), expected, rtol=tol, atol=tol)
    np.testing.assert_array_equal(to_numpy(X), values)


def test_differences_come_before_rounding(abroad):
    # A float32 can't hold the center; what it lacks is subtracted too.
    values = np.array([[2.0**20]], dtype=np.float32)
    center = (np.array([2.0**20 + 0.03125]),)
    assert to_numpy(scale_columns(abroad(values), center, None))[0, 0] == -0.03125


def test_in_place(abroad):
    X = abroad(np.array([[1.0], [3.0]]))
    center, scale = (np.array([2.0]),), np.array([1.0])
    assert scale_columns(X, center, scale, X) is X
    assert to_numpy(X).ravel().tolist() == [-1, 1]
    assert unscale_columns(X, center, scale, X) is X
    assert to_numpy(X).ravel().tolist() == [1, 3]


@pytest.mark.parametrize("kernel", [scale_columns, unscale_columns])
def test_infinite_values_are_reported_before_anything_is_written(abroad, kernel):
    X = abroad(np.array([[1.0, np.inf], [np.nan, 1.0]]))
    before = to_numpy(X).copy()

    def refuse(infinite):
        raise ValueError(infinite.tolist())

    with pytest.raises(ValueError, match=r"\[False, True\]"):
        kernel(X, (), np.full(2, 2.0), X, on_infinite=refuse)
    np.testing.assert_array_equal(to_numpy(X), before)
    kernel(X[:, :1], (), np.full(1, 2.0), on_infinite=refuse)


@pytest.mark.parametrize("clip", CLIPS)
def test_clips_as_numpy(abroad, clip):
    z = np.array([[-1e30, -2.0, -0.1, 0.0, 1e-20, 1.5, 3.0, 1e30, np.nan]])
    expected = sknorm._kernels.apply.clip_values(z, clip, z.copy())
    clipped = clip_values(abroad(z), clip)
    np.testing.assert_allclose(to_numpy(clipped), expected, rtol=3e-7)
    back = sknorm._kernels.apply.unclip_values(z, clip, z.copy())
    with blocks.quiet():
        unclipped = to_numpy(unclip_values(abroad(z), clip))
    np.testing.assert_allclose(unclipped, back, rtol=3e-7)


def test_there_and_back(abroad, rng):
    X = abroad(table(rng))
    for clip in (None, ("smooth", 3.0)):
        Z = scale_columns(X, CENTER, SCALE, clip=clip)
        back = unscale_columns(Z, CENTER, SCALE, clip=clip)
        rtol = 1e-12 if abroad.has_float64 else 1e-4
        np.testing.assert_allclose(to_numpy(back), to_numpy(X), rtol=rtol)


def test_it_is_what_numpys_kernel_calls(abroad):
    X = abroad(np.array([[1.0], [3.0]]))
    Z = sknorm._kernels.apply.scale_columns(X, (np.array([2.0]),), None)
    assert to_numpy(Z).ravel().tolist() == [-1, 1]
    X = sknorm._kernels.apply.unscale_columns(Z, (np.array([2.0]),), None)
    assert to_numpy(X).ravel().tolist() == [1, 3]
