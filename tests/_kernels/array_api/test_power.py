"""The likeliest powers on other devices: those of NumPy."""

import numpy as np
import pytest

import sknorm._kernels.power
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.power import fit_powers
from sknorm._kernels.array_api.power_map import map_back, map_columns


def table(rng, box_cox):
    values = rng.normal(size=(500, 5))
    if box_cox:
        values = np.exp(values * [1, 3, 0.1, 1, 1])
    else:
        values[:, 1] = np.exp(values[:, 1])
        values[:, 2] = -np.exp(values[:, 2]) - 3
    values[::7, 3] = np.nan
    values[:, 4] = 0.1
    return values


@pytest.mark.parametrize("box_cox", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_numpy(abroad, rng, box_cox, standardize, weighted, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 1000)
    X = abroad(table(rng, box_cox))
    weight = rng.random(500) * (rng.random(500) < 0.8) * 1e300 if weighted else None
    how = {"box_cox": box_cox, "standardize": standardize}
    expected = sknorm._kernels.power.fit_powers(to_numpy(X), weight, **how)
    found = fit_powers(X, weight, **how)
    np.testing.assert_allclose(found.powers, expected.powers, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(found.count, expected.count)
    assert not found.infinite.any()
    assert not found.nonpositive.any()
    np.testing.assert_allclose(
        found.mapped.sides, expected.mapped.sides, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("origin", "box_cox"), [(1e300, False), (-1e300, False), (1e-300, True)]
)
def test_far_from_0_beside_their_spread(wide_abroad, rng, origin, box_cox):
    values = origin * (1 + 1e-10 * rng.normal(size=(500, 1)))
    X = wide_abroad(values)
    fitted = fit_powers(X, None, box_cox=box_cox, standardize=True)
    assert fitted.powers != 1
    Z = map_columns(X, fitted.mapped, on_infinite=None, on_nonpositive=None)
    back = to_numpy(map_back(Z, fitted.mapped, on_infinite=None))
    np.testing.assert_allclose(to_numpy(Z).std(), 1, rtol=1e-12)
    np.testing.assert_allclose(back, values, rtol=0, atol=1e-6 * np.ptp(values))


def test_a_column_without_values(abroad):
    found = fit_powers(
        abroad(np.array([[np.nan, 1.0], [np.nan, 3.0]])),
        None,
        box_cox=False,
        standardize=True,
    )
    assert found.count.tolist() == [0, 2]
    assert np.isnan(found.powers[0])


def test_what_can_not_be_learned_from(abroad):
    X = abroad(np.array([[np.inf, 1.0, 1.0], [2.0, -1.0, 3.0]]))
    found = fit_powers(X, None, box_cox=True, standardize=True)
    assert found.infinite.tolist() == [True, False, False]
    assert found.nonpositive.tolist() == [False, True, False]


def test_it_is_what_numpys_kernel_calls(abroad, rng):
    values = rng.normal(size=(50, 2))
    how = {"box_cox": False, "standardize": True}
    found = sknorm._kernels.power.fit_powers(abroad(values), None, **how)
    expected = sknorm._kernels.power.fit_powers(values, None, **how)
    np.testing.assert_allclose(found.powers, expected.powers, rtol=1e-4)
