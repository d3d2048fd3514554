"""Power transforms on other devices: those of NumPy."""

import numpy as np
import pytest

import sknorm._kernels.power_map
from sknorm._array_api import to_numpy
from sknorm._kernels.array_api import blocks
from sknorm._kernels.array_api.power_map import log_ratio, map_back, map_columns
from sknorm._kernels.power import fit_powers


def nothing(mask):
    raise AssertionError(mask)


CASES = {
    "mixed": (False, lambda rng: rng.normal(size=(80, 2)) * [1, 30]),
    "positive": (False, lambda rng: rng.lognormal(size=(80, 2), sigma=[1, 3])),
    "negative": (False, lambda rng: -rng.lognormal(size=(80, 2)) - 5),
    "offset": (False, lambda rng: rng.normal([1e4, -1e5], size=(80, 2))),
    "box-cox": (True, lambda rng: rng.lognormal(size=(80, 2), sigma=[0.1, 4])),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_as_numpy(abroad, rng, case, standardize, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK", 50)
    box_cox, make = CASES[case]
    values = make(rng).astype(dtype)
    values[5, 0] = np.nan
    X = abroad(values)
    values = to_numpy(X).copy()
    mapped = fit_powers(values, None, box_cox=box_cox, standardize=standardize).mapped
    expected = sknorm._kernels.power_map.map_columns(
        values, mapped, on_infinite=nothing, on_nonpositive=nothing
    )
    found = map_columns(X, mapped, on_infinite=nothing, on_nonpositive=nothing)
    assert type(found) is type(X)
    assert found.dtype == X.dtype
    rtol = 1e-12 if values.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(to_numpy(found), expected, rtol=rtol, atol=rtol)
    # Libraries round differently, which the inverse makes more of where it is steep.
    back = to_numpy(map_back(abroad(expected), mapped, on_infinite=nothing))
    expected = sknorm._kernels.power_map.map_back(expected, mapped, on_infinite=nothing)
    rtol = 1e-9 if values.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(back, expected, rtol=rtol, atol=rtol)


def test_in_place_where_there_are_doubles(abroad):
    values = np.array([[1.0], [2.0], [4.0]])
    mapped = fit_powers(values, None, box_cox=True, standardize=True).mapped
    X = abroad(values)
    Z = map_columns(X, mapped, X, on_infinite=nothing, on_nonpositive=nothing)
    assert (Z is X) == abroad.has_float64
    np.testing.assert_allclose(to_numpy(Z).mean(), 0, atol=1e-6)
    back = map_back(Z, mapped, Z, on_infinite=nothing)
    np.testing.assert_allclose(to_numpy(back), values, rtol=1e-6)


def test_what_can_not_be_transformed_is_reported_before_anything_is_written(abroad):
    mapped = fit_powers(np.array([[1.0], [2.0]]), None, box_cox=True, standardize=True)
    mapped = mapped.mapped

    def refuse(mask):
        raise ValueError(f"refused {mask.tolist()}")

    for wrong, on_infinite, on_nonpositive in (
        (np.inf, refuse, nothing),
        (0.0, nothing, refuse),
    ):
        X = abroad(np.array([[2.0], [wrong]]))
        with pytest.raises(ValueError, match=r"refused \[True\]"):
            map_columns(
                X, mapped, X, on_infinite=on_infinite, on_nonpositive=on_nonpositive
            )
        assert to_numpy(X).ravel().tolist() == [2, wrong]
    with pytest.raises(ValueError, match=r"refused \[True\]"):
        map_back(abroad(np.array([[np.inf]])), mapped, on_infinite=refuse)


def test_log_ratio(abroad):
    a = np.array([[1.0, 1.5, 1e-3, 4.0]])
    origin = np.array([[1.0]])
    found = to_numpy(log_ratio(abroad(a), 0.0, abroad(origin), abroad(origin)))
    np.testing.assert_allclose(found, np.log(a), rtol=1e-6, atol=1e-7)
    assert found[0, 0] == 0


def test_it_is_what_numpys_kernel_calls(abroad):
    X = abroad(np.array([[1.0], [2.0]]))
    mapped = fit_powers(to_numpy(X), None, box_cox=False, standardize=True).mapped
    Z = sknorm._kernels.power_map.map_columns(
        X, mapped, on_infinite=nothing, on_nonpositive=nothing
    )
    np.testing.assert_allclose(to_numpy(Z).ravel(), [-1, 1], rtol=1e-6)
    back = sknorm._kernels.power_map.map_back(Z, mapped, on_infinite=nothing)
    np.testing.assert_allclose(to_numpy(back).ravel(), [1, 2], rtol=1e-6)
