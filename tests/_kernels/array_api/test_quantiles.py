"""Order statistics on other devices: exact, as sorting is."""

import numpy as np
import pytest

import sknorm._kernels.quantiles
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.quantiles import describe_columns, sort_columns


def test_by_hand(abroad):
    values = np.array([[4.0, 1], [1, np.nan], [2, np.nan], [np.nan, np.nan]])
    first, second = describe_columns(abroad(values), (0.5, 0.25, 0.0, 1.0))
    assert first == (3, 1.0, 4.0, [2.0, 1.5, 1.0, 4.0])
    assert second == (1, 1.0, 1.0, [1.0, 1.0, 1.0, 1.0])


def test_sort(abroad):
    X = abroad(np.array([[3.0, np.nan], [np.nan, np.nan], [-1.0, 2.0]]))
    values, count = sort_columns(X)
    assert count.tolist() == [2, 1]
    assert to_numpy(values).T.tolist() == [[-1, 3, np.inf], [2, np.inf, np.inf]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 100, 1001])
def test_as_numpy(abroad, rng, dtype, n_rows, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 1500)
    X = abroad(rng.standard_cauchy(size=(n_rows, 4)).astype(dtype))
    values = to_numpy(X).astype(np.float64)
    probabilities = (0.5, 0.0, 0.1, 0.75, 1.0)
    for j, column in enumerate(describe_columns(X, probabilities)):
        count, low, high, quantiles = column
        assert (count, low, high) == (n_rows, values[:, j].min(), values[:, j].max())
        expected = np.quantile(values[:, j], probabilities)
        np.testing.assert_allclose(quantiles, expected, rtol=1e-12, atol=1e-14)


def test_deviations_from_a_center(abroad, rng):
    values = rng.normal(size=(101, 2)) + 1e4
    values[::3, 1] = np.nan
    X = abroad(values)
    values = to_numpy(X).astype(np.float64)
    # No float32 holds it.
    center = np.array([1e4 + 1e-4, 1e4 + 1 / 3])
    found = describe_columns(X, (0.5,), center)
    away = np.abs(values - center)
    rtol = 1e-14 if abroad.has_float64 else 1e-6
    expected = np.nanmedian(away, axis=0)
    np.testing.assert_allclose([c[3][0] for c in found], expected, rtol=rtol)
    assert [c[0] for c in found] == [101, 67]


def test_neighbours_further_apart_than_the_largest_number(abroad):
    largest = float(np.finfo(np.float64).max)
    if not abroad.has_float64:
        largest = float(np.finfo(np.float32).max)
    X = abroad(np.array([[-largest], [largest]]))
    quantiles = describe_columns(X, (0.5, 0.75))[0][3]
    np.testing.assert_allclose(quantiles, [0.0, largest / 2], rtol=1e-15)
    # The deviation is cut off there, and no infinite one.
    (column,) = describe_columns(X, (1.0,), np.array([largest]))
    assert column == (2, 0.0, largest, [largest])


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_infinite_and_missing_values(abroad, infinite):
    X = abroad(np.array([[infinite, np.nan], [1.0, np.nan]]))
    first, second = describe_columns(X, (0.5,))
    assert first[0] == 2
    assert infinite in first[1:3]
    assert first[3] == []
    assert second[0] == 0
    assert np.isnan(second[1:3]).all()
    assert second[3] == []


@pytest.mark.parametrize("quantile_range", [(0.25, 0.75), None])
@pytest.mark.parametrize("weighted", [False, True])
def test_numpys_kernel_calls_it_but_with_weights(abroad, rng, quantile_range, weighted):
    values = np.stack(
        [
            rng.normal(size=200),
            np.where(rng.random(200) < 0.8, 3.0, rng.normal(size=200)),
            np.full(200, 0.1),
            np.full(200, np.nan),
        ],
        axis=1,
    )
    X = abroad(values)
    weight = rng.random(200) if weighted else None
    kernel = sknorm._kernels.quantiles.order_statistics
    found = kernel(X, weight, quantile_range)
    expected = kernel(to_numpy(X), weight, quantile_range)
    rtol = 1e-12 if abroad.has_float64 else 1e-6
    for name, array in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), array, rtol=rtol, atol=1e-12)
