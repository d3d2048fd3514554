import numpy as np
import pytest

import sknorm._kernels.groups as module
from sknorm._kernels.groups import group_moments

N_GROUPS = 40


@pytest.fixture
def both(monkeypatch):
    """Return a function that gives the compiled and the NumPy version's result."""

    def compute(X, codes, weight=None):
        results = []
        for limit in (0, np.inf):
            monkeypatch.setattr(module, "_WORTH_COMPILING", limit)
            results.append(group_moments(X, codes, N_GROUPS, weight))
        return results

    return compute


def assert_same(compiled, plain, scale=1.0):
    np.testing.assert_array_equal(compiled.count, plain.count)
    np.testing.assert_allclose(compiled.weight, plain.weight, rtol=1e-14)
    np.testing.assert_allclose(compiled.mean, plain.mean, rtol=0, atol=1e-14 * scale)
    np.testing.assert_allclose(compiled.std, plain.std, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_as_the_numpy_version(both, rng, dtype, order, weighted, missing):
    X = rng.normal(size=(20_000, 7)).astype(dtype, order=order)
    X[rng.random(X.shape) < missing] = np.nan
    codes = rng.integers(0, N_GROUPS, len(X))
    X[codes == 3, 2] = np.nan
    assert_same(*both(X, codes, rng.random(len(X)) if weighted else None))


def test_offsets(both, rng):
    codes = rng.integers(0, N_GROUPS, 5_000)
    X = rng.normal(size=(5_000, 2)) + 1e6 * codes[:, None]
    assert_same(*both(X, codes), scale=1e8)


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-170])
def test_squares_that_leave_the_range_of_doubles(both, rng, scale):
    codes = rng.integers(0, N_GROUPS, 5_000)
    X = rng.normal(size=(5_000, 3))
    X[:, 1] = 7.0
    X[:, 2] *= scale
    compiled, plain = both(X, codes)
    assert_same(compiled, plain, scale=max(1.0, scale))
    assert (compiled.std[:, 1] == 0).all()
    assert (compiled.std[:, 2] > 0.5 * scale).all()


def test_infinite_values(both, rng):
    codes = rng.integers(0, N_GROUPS, 5_000)
    X = rng.normal(size=(5_000, 2))
    X[7, 1] = np.inf
    compiled, plain = both(X, codes)
    np.testing.assert_array_equal(compiled.infinite, plain.infinite)
    assert compiled.infinite.sum() == 1


def test_the_remainder_of_the_mean(both):
    # Three values around 1e12, whose mean no double holds.
    X = np.repeat([[1e12], [1e12], [1e12 + 1]], 2, axis=1)
    compiled, plain = both(X, np.zeros(3, dtype=np.int64))
    assert compiled.remainder[0, 0] != 0
    np.testing.assert_allclose(compiled.remainder, plain.remainder, rtol=1e-3)
