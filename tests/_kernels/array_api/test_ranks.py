"""Normal scores on other devices: those of NumPy."""

import numpy as np
import pytest

import sknorm._kernels.ranks
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.ranks import (
    interpolate_columns,
    learn_scores,
    search_columns,
)

KINDS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_cauchy(size=n),
    "levels": lambda rng, n: rng.integers(0, 5, size=n).astype(float),
    "one run": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n)),
    "two runs": lambda rng, n: np.where(
        rng.random(n) < 0.8, rng.integers(0, 2, size=n), rng.normal(size=n)
    ),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
    "constant": lambda rng, n: np.full(n, 0.1),
    "empty": lambda rng, n: np.full(n, np.nan),
}


def table(rng, n_rows):
    return np.stack([kind(rng, n_rows) for kind in KINDS.values()], axis=1)


def tolerance(abroad):
    return 1e-13 if abroad.has_float64 else 5e-6


@pytest.mark.parametrize("n_rows", [1, 2, 30, 1500])
@pytest.mark.parametrize("n_quantiles", [2, 10, 200, 5000])
@pytest.mark.parametrize("offset", [3 / 8, 0.0, 1.0])
def test_learned_as_by_numpy(abroad, rng, n_rows, n_quantiles, offset, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 3000)
    X = abroad(table(rng, n_rows))
    expected = sknorm._kernels.ranks.learn_scores(
        to_numpy(X), None, n_quantiles, offset
    )
    found = learn_scores(X, n_quantiles, offset)
    np.testing.assert_array_equal(found.quantiles, expected.quantiles)
    np.testing.assert_array_equal(found.count, expected.count)
    np.testing.assert_array_equal(found.infinite, expected.infinite)
    tol = tolerance(abroad)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=tol, atol=tol)


def test_infinite_values(abroad):
    values = np.array([[np.inf, 1.0, -np.inf], [2.0, 2.0, 3.0]])
    found = learn_scores(abroad(values), 10, 0.5)
    assert found.infinite.tolist() == [True, False, True]
    assert np.isnan(found.quantiles[:, [0, 2]]).all()
    assert np.isnan(found.scores[:, [0, 2]]).all()
    np.testing.assert_allclose(found.scores[:, 1], [-1, 1], rtol=1e-6)


def test_neighbours_further_apart_than_the_largest_number(abroad):
    largest = 1.7e308 if abroad.has_float64 else 3e38
    X = abroad(np.array([[-largest], [largest], [0.5 * largest]]))
    expected = sknorm._kernels.ranks.learn_scores(to_numpy(X), None, 10, 0.5)
    found = learn_scores(X, 10, 0.5)
    np.testing.assert_array_equal(found.quantiles, expected.quantiles)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_looked_up_as_by_numpy(abroad, rng, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 500)
    values = table(rng, 300).astype(dtype)
    learned = sknorm._kernels.ranks.learn_scores(values, None, 50, 3 / 8)
    X = abroad(np.concatenate([values, 3 * values]))
    expected, _ = sknorm._kernels.ranks.interpolate_columns(
        to_numpy(X), learned.quantiles, learned.scores
    )
    found, infinite = interpolate_columns(X, learned.quantiles, learned.scores)
    assert not infinite.any()
    assert found.dtype == X.dtype
    narrow = not abroad.has_float64
    tol = 1e-4 if narrow else 1e-14
    np.testing.assert_allclose(to_numpy(found), expected, rtol=tol, atol=tol)


def test_in_place_unless_a_value_is_infinite(abroad):
    knots, heights = np.array([[0.0], [1.0]]), np.array([[10.0], [20.0]])
    X = abroad(np.array([[0.5], [-1.0], [np.nan]]))
    found, infinite = interpolate_columns(X, knots, heights, X)
    assert found is X
    assert not infinite.any()
    np.testing.assert_array_equal(to_numpy(X).ravel(), [15, 10, np.nan])
    X = abroad(np.array([[0.5], [np.inf]]))
    _, infinite = interpolate_columns(X, knots, heights, X)
    assert infinite.tolist() == [True]
    np.testing.assert_array_equal(to_numpy(X).ravel(), [0.5, np.inf])


@pytest.mark.parametrize("n_rows", [1, 2, 3, 64, 65, 100])
@pytest.mark.parametrize("right", [False, True])
def test_search(abroad, rng, n_rows, right):
    values = np.sort(rng.integers(0, 20, size=(n_rows, 3)).astype(float), axis=0)
    wanted = rng.integers(-2, 23, size=(11, 3)).astype(float)
    found = search_columns(abroad(values), wanted, right=right)
    assert found.dtype == np.int64
    side = "right" if right else "left"
    for j in range(3):
        expected = values[:, j].searchsorted(wanted[:, j], side)
        np.testing.assert_array_equal(found[:, j], expected)


class TestNumpysKernels:
    """They call these, but for weights, with which columns are sorted by NumPy."""

    def test_they_do(self, abroad, rng):
        values = rng.normal(size=(20, 2))
        X = abroad(values)
        weight = rng.random(20)
        for w in (None, weight):
            found = sknorm._kernels.ranks.learn_scores(X, w, 10, 0.5)
            expected = sknorm._kernels.ranks.learn_scores(to_numpy(X), w, 10, 0.5)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        Z, _ = sknorm._kernels.ranks.interpolate_columns(
            X, found.quantiles, found.scores
        )
        assert type(Z) is type(X)
        assert not sknorm._kernels.ranks.infinite_columns(X).any()
