"""The search for a zero, and where it is bound."""

import numpy as np
import pytest

from sknorm._kernels import power_frame, power_search
from sknorm._kernels.power import fit_powers
from sknorm._kernels.power_frame import Frame
from sknorm._kernels.power_map import map_back, map_columns, quiet
from sknorm._kernels.power_moments import gather
from sknorm._kernels.power_search import Search, _Brackets


def powers(x, *, box_cox=False, standardize=True):
    X = np.asarray(x)[:, np.newaxis]
    return fit_powers(X, None, box_cox=box_cox, standardize=standardize).powers[0]


def zero(function, slope, low, high, start, tolerance=1e-12):
    """Return where a function that falls is 0, and after how many steps."""
    brackets = _Brackets(np.array([low]), np.array([high]))
    x, active = np.array([float(start)]), np.array([0])
    for steps in range(1, 200):
        with quiet():
            step, _ = brackets.step(active, x, function(x), slope(x))
        x = x + step
        if abs(step[0]) < tolerance:
            return x[0], steps
    raise AssertionError("no zero was found")


class TestBrackets:
    def test_newton(self):
        x, steps = zero(lambda x: 2 - x**3, lambda x: -3 * x**2, 0.0, 9.0, 1.0)
        np.testing.assert_allclose(x, 2 ** (1 / 3), rtol=1e-15)
        assert steps < 8

    @pytest.mark.parametrize("start", [-300.0, -3.0, 0.0, 5.0, 300.0])
    def test_where_newton_runs_away(self, start):
        # From |x| > 1.39 Newton's steps for the arc tangent grow without end.
        x, steps = zero(
            lambda x: 1 - np.arctan(x - 1), lambda x: -1 / (1 + (x - 1) ** 2),
            -300.0, 300.0, start,
        )  # fmt: skip
        np.testing.assert_allclose(x, 1 + np.tan(1), rtol=1e-12)
        assert steps < 60

    def test_where_newton_crawls(self):
        # A zero of high order: each of Newton's steps is 8/9 of the one before.
        x, steps = zero(
            lambda x: -((x - 1) ** 9), lambda x: -9 * (x - 1) ** 8, -50.0, 70.0, 30.0
        )
        assert abs(x - 1) < 1e-9
        assert steps < 100

    @pytest.mark.parametrize(("slope", "end"), [(-1.0, -4.0), (1.0, 6.0)])
    def test_a_zero_beyond_a_bound_ends_there(self, slope, end):
        x, steps = zero(lambda x: slope + 0 * x, lambda x: -0.01 + 0 * x, -4.0, 6.0, 1)
        assert x == end
        assert steps == 2

    def test_no_number_is_the_end(self):
        x, steps = zero(lambda x: np.nan * x, lambda x: np.nan * x, -4.0, 6.0, 1.0)
        assert (x, steps) == (1.0, 1)

    def test_each_goes_its_own_way(self):
        brackets = _Brackets(np.full(3, -9.0), np.full(3, 9.0))
        target = np.array([1.0, 2.0, 3.0])
        active = np.array([0, 2])
        x = np.zeros(2)
        step, newton = brackets.step(active, x, target[active] - x, -np.ones(2))
        np.testing.assert_array_equal(step, [1, 3])
        assert newton.all()
        np.testing.assert_array_equal(brackets.low, [0, -9, 0])


class TestSearch:
    def search(self, X, standardize=True):
        table = gather(np.asarray(X), None, None)
        frame = Frame.of(table.low, table.high, 1.0)
        table.take_logs(frame)
        with quiet():
            return frame, Search(table, frame, standardize, np.inf).run()

    def test_constant_columns_keep_the_power_one(self):
        frame, (rate, mean, std) = self.search([[7.0, -1e300], [7.0, -1e300]])
        np.testing.assert_array_equal(frame.powers(rate), [1, 1])
        np.testing.assert_array_equal(mean, [0, 0])
        # Differences are left as they are: 1 is 1 / 8 of 7 + 1.
        np.testing.assert_allclose(std, [1 / 8, 1e-300])

    @pytest.mark.parametrize("spread", [0.1, 3.0, 300.0])
    def test_mean_and_deviation_are_those_at_the_end(self, rng, spread):
        # The last step has no pass of its own, whatever the range of the exponents.
        x = np.exp(spread * rng.uniform(-1, 1, (300, 1))) * rng.choice(
            [-1, 1], (300, 1)
        )
        X = np.hstack([x, np.abs(x)])
        frame, (rate, mean, std) = self.search(X)
        table = gather(X, None, None)
        table.take_logs(frame)
        with quiet():
            moments = table.moments(frame, rate, np.arange(2), 1)
        np.testing.assert_allclose(mean, moments.mean[0], rtol=1e-12)
        np.testing.assert_allclose(std**2, moments.products[0], rtol=1e-12)


class TestWhatIsTooFlat:
    @pytest.mark.parametrize("n", range(350, 360))
    def test_the_power_is_bounded(self, monkeypatch, n):
        x = [1.0] * n + [0.0]
        bounded = powers(x)
        monkeypatch.setattr(power_search, "_TOLERANCE", np.inf)
        monkeypatch.setattr(power_frame, "_FAR", 1e4)
        unbounded = powers(x)
        # The derivative of the likelihood is 0 there: y is 0 or (2^r - 1) / r, so that
        # the deviation is a multiple of it.
        r, log2 = unbounded, np.log(2)
        rise = log2 / -np.expm1(-r * log2) - 1 / r
        np.testing.assert_allclose(rise, n / (n + 1) * log2, rtol=1e-12)
        assert 30 < bounded < 0.1 * unbounded

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_the_bound_is_where_rounding_counts(self, mirrored):
        sign = -1 if mirrored else 1
        lam = powers(sign * np.array([1.0] * 355 + [0.0]))
        lam = 2 - lam if mirrored else lam
        # Next to 0 the transform rises by 1, and four units in the last place of its
        # range are a millionth.
        size = (2**lam - 1) / lam
        np.testing.assert_allclose(4 * np.finfo(float).eps * size, 1e-6, rtol=1e-4)

    def test_without_standardizing_results_are_finite(self):
        for dtype in (np.float64, np.float32):
            X = np.array([10.0, 10.0, 10.0, 9.9], dtype=dtype)[:, np.newaxis]
            lam = fit_powers(X, None, box_cox=True, standardize=False).powers[0]
            largest = np.log(float(np.finfo(dtype).max))
            # Just below where 10^lam / lam passes the largest, and 10^lam any double.
            size = lam * np.log(10) - (np.log(lam) if dtype == np.float32 else 0)
            np.testing.assert_allclose(size, largest, rtol=1e-9)

    def test_a_power_that_passes_is_the_same_without_standardizing(self, rng):
        x = rng.lognormal(size=100)
        assert powers(x) == powers(x, standardize=False)

    def test_box_cox_of_tiny_values(self, rng):
        # x - 1 has no digit of them, which the power 1 leads to, but log(x) has.
        x = 1e-20 * rng.uniform(0.01, 1, 50)
        fitted = fit_powers(x[:, None], None, box_cox=True, standardize=False)
        assert 0 < fitted.powers[0] < powers(x, box_cox=True)
        no = {"on_infinite": None}
        Z = map_columns(x[:, None], fitted.mapped, on_nonpositive=None, **no)
        back = map_back(Z, fitted.mapped, **no)
        np.testing.assert_allclose(back[:, 0], x, atol=1e-6 * np.ptp(x))
