"""The compiled loops do what the NumPy version does."""

import subprocess
import sys

import mpmath
import numpy as np
import pytest

from sknorm._kernels import power_map
from sknorm._kernels.compiled import power as kernels
from sknorm._kernels.power import fit_powers
from sknorm._kernels.power_map import map_back, map_columns

CASES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "negative": lambda rng, n: -rng.lognormal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "ties": lambda rng, n: rng.poisson(1.5, n).astype(float),
    "large mean": lambda rng, n: 1e6 + rng.normal(size=n),
    "close": lambda rng, n: 1e12 + rng.normal(size=n) ** 2,
    "all magnitudes": lambda rng, n: np.exp(rng.uniform(-690, 690, n)),
    "of both signs": lambda rng, n: rng.choice([-1, 1], n) * np.exp(
        rng.uniform(-690, 690, n)
    ),
    "subnormal": lambda rng, n: 1e-310 * rng.lognormal(size=n),
    "huge": lambda rng, n: 1e308 * rng.random(n),
    "too flat": lambda rng, n: np.r_[np.ones(n - 1), 0.0],
    "constant": lambda rng, n: np.full(n, 0.3),
    "none": lambda rng, n: np.full(n, np.nan),
}  # fmt: skip


@pytest.fixture
def both(monkeypatch):
    """Call a function twice: with compiled code for anything, and without."""

    def call(function, *args, **kwargs):
        monkeypatch.setattr(power_map, "_LARGE", -1)
        compiled = function(*args, **kwargs)
        monkeypatch.setattr(power_map, "_LARGE", 10**12)
        return compiled, function(*args, **kwargs)

    return call


def table(rng, n=1_300, names=CASES):
    return np.column_stack([CASES[name](rng, n) for name in names])


def refuse(mask):
    raise ValueError(f"refused {np.flatnonzero(mask).tolist()}")


def forward(X, mapped, out=None):
    return map_columns(X, mapped, out, on_infinite=refuse, on_nonpositive=refuse)


def back(Z, mapped, out=None):
    return map_back(Z, mapped, out, on_infinite=refuse)


def assert_same_fit(a, b):
    np.testing.assert_array_equal(a.count, b.count)
    # The last digits of exponents up to 2 * 690 that powers are multiplied to.
    np.testing.assert_allclose(a.powers, b.powers, rtol=1e-10, atol=1e-13)


class TestFit:
    @pytest.mark.parametrize("missing", [0.0, 0.1])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_yeo_johnson(self, both, rng, missing, weighted, order):
        X = table(rng)
        X[rng.random(X.shape) < missing] = np.nan
        weight = rng.integers(0, 3, len(X)) / 2 if weighted else None
        X = np.array(X, order=order)
        X.setflags(write=False)
        assert_same_fit(*both(fit_powers, X, weight, box_cox=False, standardize=True))

    @pytest.mark.parametrize("standardize", [False, True])
    def test_box_cox(self, both, rng, standardize):
        X = (
            np.abs(table(rng, names=[name for name in CASES if name != "ties"]))
            + 5e-324
        )
        assert_same_fit(
            *both(fit_powers, X, None, box_cox=True, standardize=standardize)
        )

    @pytest.mark.parametrize("dtype", [np.float32, ">f8"])
    def test_dtypes(self, both, rng, dtype):
        X = table(rng, names=["normal", "lognormal", "ties"]).astype(dtype)
        assert_same_fit(*both(fit_powers, X, None, box_cox=False, standardize=True))

    def test_more_rows_than_are_looked_at_first(self, both, rng):
        X = table(rng, 20_000, ["cauchy", "lognormal", "normal"])
        X[rng.random(X.shape) < 0.1] = np.nan
        assert_same_fit(*both(fit_powers, X, None, box_cox=False, standardize=True))

    def test_what_is_refused(self, both, rng):
        X = np.abs(table(rng, names=["normal", "lognormal", "ties"])) + 1
        X[3, 1], X[1_299, 2] = np.inf, -0.0
        for fitted in both(fit_powers, X, None, box_cox=True, standardize=True):
            assert fitted.infinite.tolist() == [False, True, False]
            assert fitted.nonpositive.tolist() == [False, False, True]

    def test_threads_are_nothing(self, both, rng, monkeypatch):
        X = table(rng, 5_000, list(CASES)[:7])
        fits = []
        for n in (1, 4):
            monkeypatch.setattr("sknorm._kernels.threads.thread_count", lambda n=n: n)
            monkeypatch.setattr("sknorm._kernels.power.thread_count", lambda n=n: n)
            monkeypatch.setattr("sknorm._kernels.threads._WORTH_A_THREAD", 1_000)
            fits.append(both(fit_powers, X, None, box_cox=False, standardize=True)[0])
        np.testing.assert_array_equal(fits[0].powers, fits[1].powers)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("box_cox", [False, True])
class TestMap:
    @pytest.fixture
    def case(self, rng, dtype, order, box_cox):
        names = ["lognormal", "large mean", "ties", "normal", "negative", "cauchy"]
        X = table(rng, names=names)
        X = np.abs(X) + 1e-3 if box_cox else X
        X[rng.random(X.shape) < 0.1] = np.nan
        X = X.astype(dtype, order=order)
        fitted = fit_powers(X, None, box_cox=box_cox, standardize=True)
        # Values of other signs and sizes than those that were learned from.
        X[:300] = 3 * rng.standard_t(2, size=(300, 6))
        X[:300] = np.abs(X[:300]) if box_cox else X[:300]
        return X, fitted.mapped

    def assert_close(self, compiled, expected):
        assert compiled.dtype == expected.dtype
        assert compiled.flags.f_contiguous == expected.flags.f_contiguous
        # Both round two exponentials and a sum, and float32 once more.
        rtol = 1e-12 if compiled.dtype == np.float64 else 3e-7
        np.testing.assert_allclose(compiled, expected, rtol=rtol, atol=1e-13)

    def test_forward(self, both, case):
        X, mapped = case
        X.setflags(write=False)
        self.assert_close(*both(forward, X, mapped))

    def test_back(self, both, case):
        X, mapped = case
        Z = np.clip(forward(X, mapped), -5, 5)
        Z.setflags(write=False)
        # Near the end of what values are mapped to, all digits are lost.
        Z = np.where(np.isfinite(back(Z, mapped)), Z, 0).astype(Z.dtype, order="K")
        compiled, expected = both(back, Z, mapped)
        size = np.abs(np.nan_to_num(expected)).max(axis=0)
        rtol = 1e-11 if Z.dtype == np.float64 else 1e-6
        for j in range(6):
            np.testing.assert_allclose(
                compiled[:, j], expected[:, j], rtol=rtol, atol=rtol * size[j] * 1e-3
            )

    def test_in_place(self, both, case):
        X, mapped = case
        expected = forward(X, mapped)

        def in_place():
            target = X.copy(order="K")
            assert forward(target, mapped, target) is target
            return target

        for result in both(in_place):
            self.assert_close(result, expected)

    def test_what_is_refused(self, both, case, box_cox):
        X, mapped = case
        X[1_299, 3] = np.inf
        with pytest.raises(ValueError, match=r"refused \[3\]"):
            both(forward, X, mapped)
        with pytest.raises(ValueError, match=r"refused \[3\]"):
            both(back, X, mapped)
        X[1_299, 3] = np.nan
        X[700, 5] = 0.0
        if box_cox:
            with pytest.raises(ValueError, match=r"refused \[5\]"):
                both(forward, X, mapped)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("constant", "none")])
@pytest.mark.parametrize("box_cox", [False, True])
def test_the_round_trip(both, rng, name, box_cox):
    x = CASES[name](rng, 1_300)
    x = np.abs(x) + (5e-324 if name == "subnormal" else 1e-300) if box_cox else x

    def round_trip():
        fitted = fit_powers(x[:, None], None, box_cox=box_cox, standardize=True)
        return back(forward(x[:, None], fitted.mapped), fitted.mapped)[:, 0]

    # Halves, as the range may be twice the largest double.
    allowed = 2e-6 * (x.max() / 2 - x.min() / 2)
    for result in both(round_trip):
        assert (np.abs(result / 2 - x / 2) <= allowed / 2).all()


class TestFunctions:
    """They are right to about one unit in the last place."""

    def test_expm1(self, rng):
        u = np.r_[rng.uniform(-700, 709, 300), rng.normal(size=300), 1e-300, -1e-9]
        with mpmath.workdps(400):
            expected = [float(mpmath.expm1(mpmath.mpf(v))) for v in u]
        got = [kernels._expm1(v) for v in u]
        np.testing.assert_allclose(got, expected, rtol=4e-16)

    def test_expm1_far_out(self):
        assert kernels._expm1(1e300) == np.inf
        assert kernels._expm1(-1e300) == -1
        assert kernels._expm1(0.0) == 0
        assert np.isnan(kernels._expm1(np.nan))

    def test_exp(self, rng):
        u = np.r_[rng.uniform(-745, 0, 500), -744.4, -708.4, 0]
        with mpmath.workdps(50):
            expected = [float(mpmath.exp(mpmath.mpf(v))) for v in u]
        got = [kernels._exp(v) for v in u]
        # Half of the least number where there are no more digits.
        np.testing.assert_allclose(got, expected, rtol=4e-16, atol=5e-324)
        assert kernels._exp(-1e300) == 0
        assert np.isnan(kernels._exp(np.nan))

    def test_log(self, rng):
        f = np.r_[np.exp(rng.uniform(-745, 709, 500)), 5e-324, 1.0, 1 + 2.0**-52]
        with mpmath.workdps(50):
            expected = [float(mpmath.log(mpmath.mpf(v))) for v in f]
        got = [kernels._log(v, 0.0) for v in f]
        np.testing.assert_allclose(got, expected, rtol=4e-16)
        assert kernels._log(0.0, 0.0) == -np.inf
        assert kernels._log(np.inf, 0.0) == np.inf

    def test_log1p(self, rng):
        u = np.r_[
            rng.uniform(-1, 1, 300), 1e-300, -1e-9, np.exp(rng.uniform(0, 700, 99))
        ]
        with mpmath.workdps(400):
            expected = [float(mpmath.log1p(mpmath.mpf(v))) for v in u]
        np.testing.assert_allclose([kernels._log1p(v) for v in u], expected, rtol=4e-16)
        assert kernels._log1p(-1.0) == -np.inf


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_layout_runs_the_same_code(both, rng, dtype):
    X = table(rng, names=["normal", "lognormal"] * 3).astype(dtype)
    fitted = fit_powers(X[:, :3], None, box_cox=False, standardize=True)
    for method, kernel in (
        (forward, kernels.map_columns), (back, kernels.map_back)
    ):  # fmt: skip
        for part in (X[:, :3], X[::2, ::2], np.asfortranarray(X)[:, :3], X[::-1, :3]):
            for result in both(method, part, fitted.mapped):
                np.testing.assert_allclose(
                    result, both(method, part.copy(), fitted.mapped)[1], rtol=1e-6
                )
        assert len(kernel(np.dtype(dtype)).signatures) == 1


def test_small_tables_do_not_load_it():
    code = (
        "import sys; import numpy as np;"
        "from sknorm.preprocessing import PowerStandardizer;"
        "X = np.random.default_rng(0).normal(size=(10_000, 20));"
        "PowerStandardizer().fit(X).inverse_transform(X);"
        "print('numba' in sys.modules);"
        "X = np.random.default_rng(0).normal(size=(50_000, 11));"
        "PowerStandardizer().fit(X);"
        "print('numba' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "True"]
