"""What values are mapped to and back, against fifty digits."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sknorm._kernels import power_map
from sknorm._kernels.power_frame import plain_sides
from sknorm._kernels.power_map import (
    PowerMap,
    compiled_for,
    log_ratio,
    map_back,
    map_columns,
    map_tile,
    map_tile_back,
    quiet,
)


def refuse(mask):
    raise ValueError(f"refused {np.flatnonzero(mask).tolist()}")


def forward(X, mapped, out=None):
    return map_columns(X, mapped, out, on_infinite=refuse, on_nonpositive=refuse)


def back(Z, mapped, out=None):
    return map_back(Z, mapped, out, on_infinite=refuse)


def plain(powers, shift=1.0):
    return PowerMap.of(plain_sides(np.array(powers, dtype=float), shift), shift)


def of_yeo_johnson(x, lam):
    with mpmath.workdps(50):
        x, lam = mpmath.mpf(x), mpmath.mpf(lam)
        if x < 0:
            return -of_log(mpmath.log1p(-x), 2 - lam)
        return of_log(mpmath.log1p(x), lam)


def of_box_cox(x, lam):
    with mpmath.workdps(50):
        return of_log(mpmath.log(mpmath.mpf(x)), mpmath.mpf(lam))


def of_log(t, lam):
    return t if lam == 0 else mpmath.expm1(lam * t) / lam


POWERS = [-3.0, -0.5, 0.0, 1e-15, 0.4, 1.0, 1.7, 2.0, 2.3, 5.0]


class TestTransforms:
    def test_by_hand(self):
        X = np.array([[1.0, 3.0, -3.0, 8.0, np.nan]])
        Z = forward(X, plain([1, 0, 2, 0.5, 1]))
        np.testing.assert_allclose(
            Z, [[1, np.log(4), -np.log(4), 4, np.nan]], rtol=1e-15
        )
        Z = forward(np.abs(X), plain([1, 0, -1, 1 / 3, 1], 0.0))
        np.testing.assert_allclose(
            Z, [[0, np.log(3), 2 / 3, 3, np.nan]], rtol=1e-15, atol=1e-15
        )

    @pytest.mark.parametrize("lam", POWERS)
    def test_yeo_johnson(self, rng, lam):
        x = rng.choice([-1, 1], 200) * np.exp(rng.uniform(-40, 40, 200))
        z = forward(x[:, None], plain([lam]))[:, 0]
        expected = [float(of_yeo_johnson(v, lam)) for v in x]
        # Exponents of up to 3 * 40 are rounded.
        np.testing.assert_allclose(z, expected, rtol=5e-14)

    @pytest.mark.parametrize("lam", [lam for lam in POWERS if lam != 2])
    def test_box_cox(self, rng, lam):
        x = np.exp(rng.uniform(-40, 40, 200))
        z = forward(x[:, None], plain([lam], 0.0))[:, 0]
        expected = [float(of_box_cox(v, lam)) for v in x]
        np.testing.assert_allclose(z, expected, rtol=5e-14)

    @pytest.mark.parametrize("lam", POWERS)
    @pytest.mark.parametrize("shift", [0.0, 1.0])
    def test_back(self, rng, lam, shift):
        # Where a power flattens or steepens, digits are lost: 5 * 2 is e^10.
        x = np.exp(rng.uniform(-2, 2, 300)) * (rng.choice([-1, 1], 300) if shift else 1)
        X = x[:, None]
        mapped = plain([lam], shift)
        np.testing.assert_allclose(back(forward(X, mapped), mapped), X, rtol=1e-10)

    def test_the_order_is_kept(self):
        X = np.sort(np.r_[-np.geomspace(1e-300, 1e300, 99), 0, np.logspace(-9, 9)])
        X = np.repeat(X[:, None], len(POWERS), axis=1)
        with quiet():
            Z = forward(X, plain(POWERS))
        assert (Z[1:] >= Z[:-1]).all()

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(st.floats(-1e6, 1e6), st.floats(-2, 4))
    def test_any(self, x, lam):
        # The power 0 is one of 1e-100, and its product with others is 0.
        x = 0.0 if abs(x) < 1e-200 else x
        X = np.array([[x]])
        z = forward(X, plain([lam]))[0, 0]
        np.testing.assert_allclose(z, float(of_yeo_johnson(x, lam)), rtol=1e-13)


class TestNumbersOfSides:
    """A map that is not measured from 0: origin, base, less, rate, factor, add."""

    SIDES = np.array(
        [
            [[4.0], [5.0], [0.1], [0.5], [3.0], [-1.0]],
            [[0.0], [1.0], [0.0], [-2.0], [-0.25], [-3.0]],
        ]
    )

    def test_by_hand(self):
        mapped = PowerMap.of(self.SIDES, 1.0)
        x = np.array([4.0, 9.0, 0.0, -1.0])
        t = np.log([1, 2, 0.2, 2]) - [0.1, 0.1, 0.1, 0]
        expected = 3 * np.expm1(0.5 * t) - 1
        expected[3] = -0.25 * np.expm1(-2 * t[3]) - 3
        z = map_tile(x[None].copy(), mapped)
        np.testing.assert_allclose(z, [expected], rtol=1e-15)
        # What isn't below the result of 0 comes from the upper side.
        np.testing.assert_allclose(mapped.border, expected[2], rtol=1e-15)
        np.testing.assert_allclose(map_tile_back(z, mapped)[0], x, atol=1e-14)

    def test_some_columns(self):
        mapped = plain([0.5, 1.0, 2.0])
        part = mapped.take(slice(1, 3))
        np.testing.assert_array_equal(part.sides, mapped.sides[..., 1:])
        np.testing.assert_array_equal(part.border, mapped.border[1:])

    def test_what_no_value_is_mapped_to(self):
        # With the power -1 the results end at 1; with 3 those of Box-Cox at -1/3.
        assert back(np.array([[2.0]]), plain([-1.0])) == np.inf
        assert back(np.array([[-2.0]]), plain([3.0])) == -np.inf
        assert back(np.array([[-2.0]]), plain([3.0], 0.0)) == 0

    def test_box_cox_far_below_its_origin(self):
        x = np.array([[1e-300, 1e-12, 0.3, 1.0, 7.0]]).T
        mapped = plain([0.0], 0.0)
        np.testing.assert_allclose(back(forward(x, mapped), mapped), x, rtol=2e-13)


def test_log_ratio(rng):
    a = np.exp(rng.uniform(-300, 300, 500))
    for shift, origin in [(0.0, 2.0), (1.0, 7.0), (1.0, 0.0), (0.0, 1e-100)]:
        with quiet():
            t = log_ratio(a, shift, np.array(origin), np.array(origin + shift))
        with mpmath.workdps(400):
            base = mpmath.mpf(origin) + shift
            expected = [float(mpmath.log((mpmath.mpf(v) + shift) / base)) for v in a]
        np.testing.assert_allclose(t, expected, rtol=1e-15, atol=1e-15)


def test_log_ratio_of_neighbours():
    a = 1e12 + np.arange(50) / 4096
    t = log_ratio(a, 1.0, np.array(1e12), np.array(1e12 + 1))
    exact = [float(mpmath.log1p(mpmath.mpf(v - 1e12) / (10**12 + 1))) for v in a]
    np.testing.assert_allclose(t, exact, rtol=1e-15)


class TestTables:
    @pytest.fixture
    def case(self, rng):
        X = 3 * rng.standard_t(3, size=(5_000, 40))
        X[:, ::3] = np.abs(X[:, ::3])
        X[rng.random(X.shape) < 0.05] = np.nan
        return X, plain(rng.uniform(-1, 3, 40))

    @pytest.mark.parametrize("method", [forward, back])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_tiles_are_nothing(self, case, monkeypatch, method, dtype, order):
        X, mapped = case
        X = X.astype(dtype, order=order)
        X.setflags(write=False)
        step = map_tile if method is forward else map_tile_back
        with quiet():
            expected = step(X.T.astype(np.float64, order="C"), mapped).T.astype(dtype)
        monkeypatch.setattr(power_map, "_PART", 7_000)
        monkeypatch.setattr("sknorm._kernels.tiles._TILE", 1_000)
        Z = method(X, mapped)
        np.testing.assert_array_equal(Z, expected)
        assert Z.dtype == dtype
        assert Z.flags.f_contiguous == (order == "F")

    @pytest.mark.parametrize("method", [forward, back])
    def test_threads_are_nothing(self, case, monkeypatch, method):
        X, mapped = case
        expected = method(X, mapped)
        monkeypatch.setattr(power_map, "_PART", 7_000)
        monkeypatch.setattr("sknorm._kernels.threads._WORTH_A_THREAD", 1_000)
        monkeypatch.setattr("sknorm._kernels.threads.thread_count", lambda: 4)
        np.testing.assert_array_equal(method(X, mapped), expected)

    @pytest.mark.parametrize("layout", ["rows", "columns", "reversed", "foreign"])
    def test_layouts(self, case, layout):
        X, mapped = case
        expected = forward(X, mapped)
        X = {
            "rows": lambda: np.repeat(X, 2, axis=0)[::2],
            "columns": lambda: np.repeat(X, 3, axis=1)[:, ::3],
            "reversed": lambda: np.ascontiguousarray(X[::-1])[::-1],
            "foreign": lambda: X.astype(">f8"),
        }[layout]()
        np.testing.assert_array_equal(forward(X, mapped), expected)

    @pytest.mark.parametrize("method", [forward, back])
    def test_in_place(self, case, method):
        X, mapped = case
        expected = method(X, mapped)
        assert method(X, mapped, X) is X
        np.testing.assert_array_equal(X, expected)

    def test_wide_tables(self, rng):
        X = rng.normal(size=(3, 300))
        powers = rng.uniform(0, 2, 300)
        for columns in (slice(0, 128), slice(128, 300)):
            part = forward(X[:, columns], plain(powers[columns]))
            np.testing.assert_array_equal(forward(X, plain(powers))[:, columns], part)

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    @pytest.mark.parametrize("in_place", [False, True])
    @pytest.mark.parametrize("method", [forward, back])
    def test_infinite_values_are_refused(self, case, value, in_place, method):
        X, mapped = case
        X[4_999, 7] = X[17, 30] = value
        before = X.copy()
        with pytest.raises(ValueError, match=r"refused \[7, 30\]"):
            method(X, mapped, X if in_place else None)
        np.testing.assert_array_equal(X, before)

    def test_sums_that_are_too_large_are_no_infinite_values(self):
        X = np.full((3, 2), 1.5e308)
        np.testing.assert_allclose(forward(X, plain([1.0, 1.0])), X, rtol=1e-12)

    @pytest.mark.parametrize("value", [0.0, -0.0, -1.0])
    @pytest.mark.parametrize("in_place", [False, True])
    def test_box_cox_refuses_what_has_no_logarithm(self, value, in_place):
        X = np.ones((50, 3))
        X[:, 0] = np.nan
        mapped = plain([0.5, 1.0, 2.0], 0.0)
        forward(X, mapped)
        X[40, 2] = value
        before = X.copy()
        with pytest.raises(ValueError, match=r"refused \[2\]"):
            forward(X, mapped, X if in_place else None)
        np.testing.assert_array_equal(X, before)


def test_compiled_code_is_for_large_tables():
    assert compiled_for(np.empty((10_000, 50))) is None
    assert compiled_for(np.empty((10_000, 51), dtype=np.int64)) is None
    assert compiled_for(np.empty((10_000, 51), dtype=">f8")) is None
    assert compiled_for(np.empty((10_000, 51), dtype=np.float32)) is not None
