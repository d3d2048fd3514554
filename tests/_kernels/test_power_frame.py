"""How logarithms of columns are taken, and the maps that rates lead to."""

import mpmath
import numpy as np
import pytest

from sknorm._kernels.power_frame import Frame, plain_sides, signed_logs, standard_sides
from sknorm._kernels.power_map import PowerMap, map_tile, quiet

COLUMNS = {
    "both signs": [-3.0, 0.5, 20.0],
    "positive": [0.5, 3.0, 900.0],
    "from 0": [0.0, 1.0, 7.0],
    "up to 0": [-7.0, -1.0, 0.0],
    "negative": [-900.0, -3.0, -0.5],
    "close": [1e12, 1e12 + 1, 1e12 + 3],
    "close, negative": [-1e12, -1e12 - 1, -1e12 - 3],
    "all magnitudes": [1e-300, 1.0, 1e300],
    "of both signs": [-1e300, 1e-300, 1e300],
    "huge": [1e308, 1.1e308, 1.7e308],
    "tiny": [1e-300, 2e-300, 5e-300],
    "subnormal": [5e-324, 1e-320, 1e-310],
}


def frame_of(*columns, shift=1.0):
    X = np.array(columns)
    with quiet():
        frame = Frame.of(X.min(axis=1), X.max(axis=1), shift)
        return X, frame, signed_logs(X, frame)


def exact_logs(x, shift):
    """Return what is measured and divided, in enough digits for any double."""
    with mpmath.workdps(700):
        x = [mpmath.mpf(v) for v in x]
        if shift:
            s = [mpmath.sign(v) * mpmath.log1p(abs(v)) for v in x]
        else:
            s = [mpmath.log(v) for v in x]
        if max(x) < 0:
            s = [-v for v in s]
        if min(x) >= 0 or max(x) < 0 or not shift:
            s = [v - min(s) for v in s]
        largest = max(abs(v) for v in s)
        return [float(v / largest) for v in s]


def digits(name):
    """Return the tolerance of logarithms, of which up to 745 is taken away.

    It is, where the quotient of values isn't a number with all its digits.
    """
    return 745 * 2.0**-51 if name in ("huge", "tiny", "subnormal") else 4e-15


class TestLogarithms:
    @pytest.mark.parametrize("name", COLUMNS)
    def test_yeo_johnson(self, name):
        x = COLUMNS[name]
        _, _, t = frame_of(x)
        np.testing.assert_allclose(t[0], exact_logs(x, 1.0), rtol=digits(name))

    @pytest.mark.parametrize("name", [n for n in COLUMNS if min(COLUMNS[n]) > 0])
    def test_box_cox(self, name):
        x = COLUMNS[name]
        _, _, t = frame_of(x, shift=0.0)
        np.testing.assert_allclose(t[0], exact_logs(x, 0.0), rtol=digits(name))

    def test_kinds(self):
        names = ["both signs", "from 0", "up to 0", "negative"]
        _, frame, t = frame_of(*(COLUMNS[name] for name in names))
        assert frame.mirrored.tolist() == [False, False, False, True]
        assert frame.mixed.tolist() == [True, False, True, False]
        np.testing.assert_allclose(frame.extent[0], [1, 1, 0, 1])
        np.testing.assert_allclose(
            frame.extent[1], [np.log(4) / np.log(21), 0, 1, 0], rtol=1e-15
        )
        assert (np.abs(t).max(axis=1) == 1).all()

    @pytest.mark.parametrize("scale", [1.0, -1.0, 2.0**-500, 2.0**500])
    def test_constant_is_up_to_rounding(self, scale):
        eps = np.finfo(float).eps
        for units, constant in [(0, True), (4, True), (5, False)]:
            _, frame, _ = frame_of([scale, scale * (1 + units * eps), scale])
            assert frame.constant.tolist() == [constant]

    def test_no_values(self):
        _, frame, _ = frame_of([np.nan, np.nan, np.nan])
        assert frame.constant.tolist() == [True]

    def test_some_columns(self):
        _, frame, _ = frame_of(*COLUMNS.values())
        index = np.array([5, 1])
        part = frame.take(index)
        np.testing.assert_array_equal(part.scale, frame.scale[index])
        np.testing.assert_array_equal(part.extent, frame.extent[:, index])


class TestRates:
    def test_sides(self):
        _, frame, _ = frame_of(COLUMNS["both signs"], COLUMNS["positive"])
        upper, lower = frame.sides(frame.scale * 0.5)
        np.testing.assert_allclose(upper, 0.5 * frame.scale)
        np.testing.assert_allclose(lower, [-1.5, 0.5] * frame.scale)

    def test_none_is_zero(self):
        _, frame, _ = frame_of(COLUMNS["both signs"], COLUMNS["positive"])
        for rate in (np.zeros(2), 2.0 * frame.scale):
            for side in frame.sides(rate):
                assert (side != 0).all()

    def test_powers(self):
        _, frame, _ = frame_of(COLUMNS["positive"], COLUMNS["negative"])
        np.testing.assert_allclose(frame.powers(0.3 * frame.scale), [0.3, 1.7])

    def test_exponents_that_are_harmless(self):
        _, frame, _ = frame_of(COLUMNS["both signs"], COLUMNS["positive"])
        assert not frame.over(np.array([300.0, 300.0])).any()
        over = frame.over(np.array([301.0, -1e4]))
        np.testing.assert_allclose(over, [[301, 0], [0, 0]])
        # Down at a rate that is far below 0.
        over = frame.over(np.array([-1e4, 0]))
        np.testing.assert_allclose(
            over[1, 0], (1e4 + 2 * frame.scale[0]) * frame.extent[1, 0]
        )

    def test_bounds_are_around_the_power_one(self):
        _, frame, _ = frame_of(*COLUMNS.values())
        low, high = frame.bounds()
        assert (low < frame.scale).all()
        assert (high > frame.scale).all()


def exact_transform(x, lam, shift):
    with mpmath.workdps(700):
        lam = mpmath.mpf(lam)

        def of_log(t, rate):
            return t if rate == 0 else mpmath.expm1(rate * t) / rate

        def one(v):
            v = mpmath.mpf(v)
            if not shift:
                return of_log(mpmath.log(v), lam)
            if v < 0:
                return -of_log(mpmath.log1p(-v), 2 - lam)
            return of_log(mpmath.log1p(v), lam)

        return [one(v) for v in x]


@pytest.mark.parametrize("lam", [-2.0, 0.0, 0.3, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("shift", [0.0, 1.0])
class TestSides:
    def test_plain(self, lam, shift):
        x = np.array(
            [-20.0, -0.3, 0.0, 1e-9, 0.2, 3.0, 50.0] if shift else [1e-9, 3, 50]
        )
        z = map_tile(
            x[None].copy(), PowerMap.of(plain_sides(np.array([lam]), shift), shift)
        )
        expected = [float(v) for v in exact_transform(x, lam, shift)]
        np.testing.assert_allclose(z[0], expected, rtol=2e-14)

    @pytest.mark.parametrize("name", list(COLUMNS)[:7])
    def test_standard(self, lam, shift, name):
        """Values of either sign lie on the line that the fitted ones do."""
        x = COLUMNS[name]
        if not shift and min(x) <= 0:
            x = np.abs(x) + 0.1
        _, frame, _ = frame_of(x, shift=shift)
        rate = frame.scale * (2 - lam if frame.mirrored[0] else lam)
        with quiet():
            sides = standard_sides(frame, rate, np.array([0.5]), np.array([2.0]))
            mapped = PowerMap.of(sides, shift)
            more = [min(x), max(x), 3.0, 0.01] + ([-2.0, 0.0, -1e-5] if shift else [])
            z = map_tile(np.array([more]), mapped)[0]
        # A line through two values, and all others on it: of the exact differences.
        with mpmath.workdps(700):
            y = exact_transform(more, lam, shift)
            along = [float((v - y[0]) / (y[1] - y[0])) for v in y]
        expected = z[0] + np.array(along) * (z[1] - z[0])
        size = np.abs(along).max() * abs(z[1] - z[0])
        np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-15 * size)
        if shift:
            np.testing.assert_allclose(mapped.border[0], z[-2], rtol=1e-12)
