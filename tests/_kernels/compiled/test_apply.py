"""The compiled loops do what the NumPy version does, to the bit."""

import numpy as np
import pytest

from sknorm._kernels import apply
from sknorm._kernels.apply import scale_columns, unscale_columns

CLIPS = [None, ("hard", 0.7), ("smooth", 0.7)]


@pytest.fixture
def both(monkeypatch):
    """Call a function twice: with compiled code for anything, and without."""

    def call(function, *args, **kwargs):
        monkeypatch.setattr(apply, "_WORTH_COMPILING", 0)
        compiled = function(*args, **kwargs)
        monkeypatch.setattr(apply, "_WORTH_COMPILING", 10**12)
        return compiled, function(*args, **kwargs)

    return call


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Cut into parts of a few rows."""
    monkeypatch.setattr(apply, "_PART", 1_000)


def assert_same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.flags.c_contiguous == b.flags.c_contiguous
    # Not those of NaN, which has many, and its sign is the processor's choice.
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_array_equal(
        np.signbit(a)[~np.isnan(a)], np.signbit(b)[~np.isnan(b)]
    )
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("function", [scale_columns, unscale_columns])
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1_700, 3), (700, 50), (9, 1_500), (2_000, 1)])
def test_same_bits(both, rng, function, clip, dtype, order, shape):
    X = rng.standard_t(2, shape).astype(dtype, order=order)
    X[rng.random(shape) < 0.1] = np.nan
    X[0], X[1], X[2] = 0.0, -0.0, np.finfo(dtype).max
    center, rest = rng.normal(size=(2, shape[1]))
    center[0] = rest[0] = 0.0
    scale = rng.uniform(0.5, 2, shape[1])
    for parts in ((), (center,), (center, 1e-9 * rest)):
        for divisor in (None, scale):
            assert_same_bits(*both(function, X, parts, divisor, clip=clip))


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_out_may_be_the_input(both, rng, clip, order):
    X = np.array(rng.normal(size=(3_000, 7)), order=order)
    mean, scale = rng.normal(size=7), rng.uniform(1, 2, 7)
    expected = scale_columns(X, (mean,), scale, clip=clip)

    def in_place():
        target = X.copy(order="K")
        return scale_columns(target, (mean,), scale, target, clip=clip)

    for result in both(in_place):
        assert_same_bits(result, expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_used_for_arrays_that_nobody_may_write_to(monkeypatch, rng, order, dtype):
    monkeypatch.setattr(apply, "_WORTH_COMPILING", 0)
    X = np.array(rng.normal(size=(500, 3)), order=order, dtype=dtype)
    expected = scale_columns(X, (), None)
    X.setflags(write=False)
    signatures = count_signatures()
    np.testing.assert_array_equal(scale_columns(X, (), None), expected)
    assert count_signatures() == signatures, "a second compilation"


def count_signatures():
    from sknorm._kernels.compiled import apply as kernels

    names = "scale_rows", "apply_rows", "apply_columns"
    return [len(getattr(kernels, name).signatures) for name in names]


@pytest.mark.parametrize("layout", ["rows", "columns", "both", "foreign", "unaligned"])
def test_other_layouts(both, rng, layout):
    X = rng.normal(size=(600, 30))
    X = {
        "rows": lambda: X[::2],
        "columns": lambda: X[:, ::3],
        "both": lambda: X[5:500, 3:17],
        "foreign": lambda: X.astype(">f8"),
        "unaligned": lambda: np.frombuffer(
            b"x" + X.tobytes(), dtype=np.float64, offset=1
        ).reshape(X.shape),
    }[layout]()
    mean = rng.normal(size=X.shape[1])
    for result in both(scale_columns, X, (mean,), None):
        np.testing.assert_array_equal(result, X - mean)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("place", [(0, 0), (1_999, 6), (777, 3)])
def test_infinite_values_are_reported(both, rng, value, order, place):
    X = np.array(rng.normal(size=(2_000, 7)), order=order)
    X[5, 5] = np.nan
    for function in (scale_columns, unscale_columns):
        masks = []
        both(function, X, (), None, on_infinite=masks.append)
        assert masks == []
        Y = X.copy(order="K")
        Y[place] = value
        both(function, Y, (), None, clip=("smooth", 1.0), on_infinite=masks.append)
        assert [np.flatnonzero(mask).tolist() for mask in masks] == [[place[1]]] * 2


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_the_number_of_threads_is_nothing(monkeypatch, rng, n_threads):
    X = rng.normal(size=(400_000, 5))
    mean, scale = rng.normal(size=5), rng.uniform(1, 2, 5)
    expected = (X - mean) * (1 / scale)
    monkeypatch.setattr("sknorm._kernels.threads.thread_count", lambda: n_threads)
    monkeypatch.setattr(apply, "_PART", 100_000)
    np.testing.assert_array_equal(scale_columns(X, (mean,), scale), expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_features", [1, 3, 50, 700])
def test_pages_are_asked_for_before_they_are_written_to(
    both, monkeypatch, rng, dtype, n_features
):
    # Several pages of 2 MiB in a part, whose edges lie within rows and parts.
    monkeypatch.setattr(apply, "_PART", 1_300_003)
    X = rng.normal(size=(2_700_000 // n_features, n_features)).astype(dtype)
    mean = rng.normal(size=n_features)
    assert_same_bits(*both(scale_columns, X, (mean,), None))
