"""The compiled loops find what the NumPy version finds, and how they are loaded."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from sknorm._kernels import compiled, moments
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.moments import column_moments

FIELDS = ["count", "weight", "mean", "remainder", "std"]


@pytest.fixture
def both(monkeypatch):
    """Compute moments twice: with compiled code for anything, and without."""

    def call(X, weight=None):
        monkeypatch.setattr(moments, "_WORTH_COMPILING", 0)
        found = column_moments(X, weight)
        monkeypatch.setattr(moments, "_WORTH_COMPILING", 10**12)
        return found, column_moments(X, weight)

    return call


@pytest.fixture(params=[16, 700, 65_536])
def tile(request, monkeypatch):
    """Size of tiles, from one that makes a deep tree to one that holds all."""
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", request.param)
    monkeypatch.setattr(moments, "_UNCUT", 0)
    monkeypatch.setattr(moments, "_TALL", max(2, request.param // 8))
    monkeypatch.setattr(moments, "_TILES", 4)
    return request.param


def assert_same(a, b, ulps=8):
    """Compare up to rounding, in units of the last place of the spread."""
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.weight, b.weight, rtol=1e-14)
    np.testing.assert_array_equal(np.isnan(a.mean), np.isnan(b.mean))
    np.testing.assert_allclose(a.std, b.std, rtol=ulps * 2.3e-16)
    distance = (a.mean - b.mean) + (a.remainder - b.remainder)
    there = ~np.isnan(a.mean)
    assert (np.abs(distance) <= ulps * 2.3e-16 * b.std)[there].all()


@pytest.mark.parametrize("shape", [(999, 3), (1_003, 1), (60, 300), (400, 50)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.usefixtures("tile")
def test_same(both, rng, shape, dtype, layout, missing, weighted):
    X = (3 + rng.standard_t(2, shape)).astype(dtype)
    X[rng.random(shape) < missing] = np.nan
    if missing:
        X[:, 0] = np.nan  # a column without values
        X[: len(X) // 2, -1] = np.nan
    X = (
        np.repeat(X, 2, axis=0)[::2]
        if layout == "strided"
        else np.array(X, order=layout)
    )
    weight = None
    if weighted:
        weight = rng.exponential(size=len(X))
        weight[rng.random(len(X)) < 0.3] = 0.0
        weight[: len(X) // 5] = 0.0  # whole tiles
    assert_same(*both(X, weight))


@pytest.mark.parametrize(
    "column",
    [
        np.arange(3_000.0),
        np.repeat([1.0, 1e8, -1e8, 0.0], 750),
        np.r_[1e10, np.full(2_999, 1 / 3)],
        1e12 + np.arange(3_000) % 7,
        np.linspace(-1, 1, 3_000) ** 21 * 1e300,
        np.linspace(-1, 1, 3_000) ** 21 * 1e-290,
        np.tile([1.7e308, -1.7e308, 1e308], 1_000),
        np.random.default_rng(0).standard_cauchy(3_000),
    ],
    ids=["drift", "steps", "outlier", "clock", "large", "small", "largest", "cauchy"],
)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.usefixtures("tile")
def test_hard_columns(both, rng, column, order, weighted):
    X = np.array(np.c_[column, column[::-1], np.roll(column, 77)], order=order)
    assert_same(*both(X, rng.uniform(1, 2, len(X)) if weighted else None))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("value", [14.62, 1e-300, 1e300, -7.7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.usefixtures("tile")
def test_equal_values_have_no_spread_at_all(both, rng, order, value, weighted):
    X = np.full((3_000, 3), value, order=order)
    X[rng.random(len(X)) < 0.3, 1] = np.nan
    for found in both(X, rng.random(len(X)) if weighted else None):
        np.testing.assert_array_equal(found.mean, value)
        np.testing.assert_array_equal(found.remainder, 0)
        np.testing.assert_array_equal(found.std, 0)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 500, 1_999])
@pytest.mark.usefixtures("tile")
def test_an_infinite_value_shows_in_its_column_only(both, rng, order, value, row):
    X = np.array(rng.normal(size=(2_000, 3)), order=order)
    X[row, 1] = value
    weight = np.ones(len(X))
    for w in (None, weight):
        for found in both(X, w):
            assert found.infinite.tolist() == [False, True, False]
    weight[row] = 0.0
    for found in both(X, weight):
        assert not found.infinite.any()


@pytest.mark.parametrize("n_columns", [1, 3, 128])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rounding_the_same_way_again_and_again(monkeypatch, n_columns, order):
    # Errors of equal numbers have equal signs and don't average out.
    column = 1e6 + np.arange(20_000) % 2 / 10
    low, high = Fraction(column[0]), Fraction(column[1])
    monkeypatch.setattr(moments, "_WORTH_COMPILING", 0)
    X = np.array(np.tile(column[:, None], (1, n_columns)), order=order)
    found = column_moments(X, np.ones(len(X)) if n_columns == 3 else None)
    std = float((high - low) / 2)
    mean = Fraction(found.mean[0]) + Fraction(found.remainder[0])
    assert abs(mean - (low + high) / 2) <= 8 * 2.3e-16 * std
    np.testing.assert_allclose(found.std, std, rtol=8 * 2.3e-16)


@pytest.mark.parametrize("heavy", [0, 1])
def test_unequal_weights_reach_far(monkeypatch, heavy):
    monkeypatch.setattr(moments, "_WORTH_COMPILING", 0)
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", 1)  # each row a tile
    weight = np.where(np.arange(2) == heavy, 1e17, 1.0)
    found = column_moments(np.where(weight == 1, 1.0, 0.0)[:, None], weight)
    np.testing.assert_allclose(found.mean, 1e-17, rtol=1e-15)
    np.testing.assert_allclose(found.std, 1e-17**0.5, rtol=1e-15)


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_number_of_threads_is_nothing(monkeypatch, rng, missing, weighted, order):
    X = np.array(rng.standard_t(2, (60_000, 50)), order=order)
    X[rng.random(X.shape) < missing] = np.nan
    weight = rng.random(len(X)) if weighted else None
    found = []
    for n_threads in (1, 2, 4):
        monkeypatch.setattr(
            "sknorm._kernels.threads.thread_count", lambda n=n_threads: n
        )
        found.append(column_moments(X, weight))
    for other in found[1:]:
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(other, name), getattr(found[0], name), strict=True
            )


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_that_nobody_may_write_to_are_not_another_type(monkeypatch, rng, order):
    from sknorm._kernels.compiled import moments as kernels

    monkeypatch.setattr(moments, "_WORTH_COMPILING", 0)
    X = np.array(rng.normal(size=(500, 3)), order=order)
    column_moments(X)
    before = len(kernels.tile_moments.signatures)
    X.setflags(write=False)
    column_moments(X, np.ones(500))
    assert len(kernels.tile_moments.signatures) == before, "a second compilation"


class TestCompiledKernels:
    @pytest.fixture(autouse=True)
    def fresh(self):
        compiled_kernels.cache_clear()
        yield
        compiled_kernels.cache_clear()

    def test_a_family_is_a_module(self):
        assert compiled_kernels("moments").__name__ == f"{compiled.__name__}.moments"
        assert compiled_kernels("apply") is compiled_kernels("apply")

    def test_without_numba_numpy_does_it(self, monkeypatch, rng):
        X = rng.normal(size=(60_000, 10))
        expected = column_moments(X)
        compiled_kernels.cache_clear()
        monkeypatch.setitem(sys.modules, "numba", None)
        assert compiled_kernels("moments") is None
        assert_same(column_moments(X), expected)

    def test_without_numba_a_standardizer_works(self):
        code = (
            "import sys; sys.modules['numba'] = None; import numpy as np;"
            "from sknorm.preprocessing import Standardizer;"
            "X = np.arange(1_500_000.0).reshape(-1, 3);"
            "Z = Standardizer().fit_transform(X);"
            "assert np.allclose(Z.mean(axis=0), 0), Z;"
            "assert np.allclose(Z.std(axis=0), 1), Z;"
            "print('fine')"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == "fine"

    def test_a_small_table_loads_nothing(self):
        code = (
            "import sys; import numpy as np;"
            "from sknorm.preprocessing import Standardizer;"
            "X = np.random.default_rng(0).normal(size=(10_000, 50));"
            "Standardizer().fit(X).transform(X);"
            "print('numba' in sys.modules);"
            "Standardizer().fit(np.vstack([X, X]));"
            "print('numba' in sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == ["False", "True"]
