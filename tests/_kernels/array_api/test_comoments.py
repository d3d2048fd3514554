"""Covariances on other devices: those of NumPy."""

import numpy as np
import pytest

from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.comoments import Table
from sknorm._kernels.comoments import comoments
from sknorm._kernels.moments import column_moments


def table(rng, n_rows):
    values = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, 5))
    values += 1e-6 * rng.normal(size=(n_rows, 5)) + 10.0
    values[:, 3] = 0.1
    return values


def correlations(found):
    return found.root.T @ found.root


@pytest.mark.parametrize("n_rows", [4, 15, 400])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("lacking", [False, True])
def test_as_numpy(abroad, rng, n_rows, weighted, higher, lacking, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 300)
    values = table(rng, n_rows)
    if lacking:
        values[1, 0] = np.nan
        values[:, 4] = np.nan
    weight = rng.random(n_rows) * (rng.random(n_rows) < 0.8) if weighted else None
    X = abroad(values)
    found = comoments(X, weight, higher=higher)
    expected = comoments(to_numpy(X), weight, higher=higher)
    np.testing.assert_array_equal(found.present, expected.present)
    np.testing.assert_allclose(found.columns.std, expected.columns.std, rtol=1e-13)
    np.testing.assert_allclose(
        correlations(found), correlations(expected), rtol=1e-12, atol=1e-12
    )
    for name in ("third", "fourth"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a is None) == (b is None) == (not higher)
        if higher:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_small_directions_keep_their_digits(abroad, rng):
    values = rng.normal(size=(300, 1)) + 1e-7 * rng.normal(size=(300, 2))
    X = abroad(values)
    found, expected = comoments(X), comoments(to_numpy(X))
    smallest = [np.linalg.svd(c.root, compute_uv=False)[-1] for c in (found, expected)]
    np.testing.assert_allclose(*smallest, rtol=1e-8)


def test_infinite_values(abroad):
    found = comoments(abroad(np.array([[np.inf, 1.0], [1.0, 2.0]])))
    assert found.columns.infinite.tolist() == [True, False]


def test_table(wide_abroad, rng):
    values, weight = rng.normal(size=(50, 2)), rng.random(50)
    X = wide_abroad(values)
    found = Table(X, weight, column_moments(values, weight))
    mean = np.average(values, axis=0, weights=weight)
    std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
    z = (values - mean) / std
    root = np.sqrt(weight / weight.max())[:, None]
    np.testing.assert_allclose(found.standardized(slice(None)), z * root, rtol=1e-12)
    second = np.cov(z.T, aweights=weight, ddof=0)
    np.testing.assert_allclose(found.products()[0], second, rtol=1e-12)
    combined = np.array([[1.0], [-1.0]])
    np.testing.assert_allclose(
        found.products(combined)[0], combined.T @ second @ combined, rtol=1e-12
    )
