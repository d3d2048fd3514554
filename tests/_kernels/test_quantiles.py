import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sknorm._kernels import quantiles
from sknorm._kernels.quantiles import Stretch, order_statistics

IQR = (0.25, 0.75)
LARGEST = float(np.finfo(np.float64).max)

several = settings(derandomize=True, deadline=None, max_examples=100)


def exact_quantile(values, p):
    """Return the quantile that interpolates linearly, as a fraction."""
    values = sorted(Fraction(float(v)) for v in values)
    rank = Fraction(p) * (len(values) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    return values[below] + (rank - below) * (values[above] - values[below])


def statistics(column, weight=None, quantile_range=IQR):
    """Return count, center and spread of one column."""
    X = np.asarray(column, dtype=np.float64)[:, None]
    weight = None if weight is None else np.asarray(weight, dtype=np.float64)
    found = order_statistics(X, weight, quantile_range)
    return found.count[0], found.center[0], found.spread[0]


def assert_same(a, b, rtol=0.0):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_array_equal(a.infinite, b.infinite)
    np.testing.assert_array_equal(a.constant, b.constant)
    for name in ("center", "spread", "std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol)


def tables(min_rows=1):
    """Tables of whole numbers and of any others, with NaN."""
    numbers = st.one_of(
        st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)
    )
    shape = st.tuples(st.integers(min_rows, 12), st.just(2))
    return hnp.arrays(np.float64, shape, elements=numbers)


class Sizes:
    """Shapes that go each of the ways: sorted, bracketed, compiled."""

    SORTED, BRACKETED, COMPILED = (50, 6), (quantiles._FEW + 500, 6), (60_000, 10)


every_size = pytest.mark.parametrize(
    "shape", [Sizes.SORTED, Sizes.BRACKETED, Sizes.COMPILED], ids=str
)


@pytest.fixture
def table(rng):
    """Return a maker of tables of columns of all kinds, with a bit of NaN."""

    def make(shape, dtype=np.float64):
        X = rng.standard_t(2, size=shape)
        X[:, 1] = np.rint(2 * X[:, 1])
        X[:, 2] = np.maximum(X[:, 2], 0)
        X[:, 3] = np.sort(X[:, 3])
        X[:, 4] = 1e9 + X[:, 4]
        X[rng.random(shape) < 0.05] = np.nan
        return X.astype(dtype)

    return make


class TestByHand:
    def test_range(self):
        # Ranks 1 and 3 of 0 to 4.
        assert statistics([5.0, 1.0, 4.0, 2.0, 100.0]) == (5, 4, 3)

    def test_between_ranks(self):
        assert statistics([0.0, 1.0, 10.0, 100.0]) == (4, 5.5, 32.5 - 0.75)

    def test_deviation(self):
        # From 3: 2, 1, 0, 5, 97.
        assert statistics([1.0, 2.0, 3.0, 8.0, 100.0], None, None) == (5, 3, 2)

    def test_missing_values(self):
        assert statistics([np.nan, 1.0, 2.0, np.nan, 3.0]) == (3, 2, 1)

    def test_weights_are_repetitions(self):
        # 1 2 2 2 9: ranks 1 and 3 are both 2; with 9 twice it is 2 and 7.25.
        assert statistics([9.0, 1.0, 2.0, 7.0], [1, 1, 3, 0]) == (3, 2, 0)
        repeated = [9.0, 9.0, 1.0, 2.0, 2.0, 2.0]
        assert statistics([9.0, 1.0, 2.0], [2, 1, 3])[1:] == statistics(repeated)[1:]

    def test_weights_between_integers(self):
        # Ranks 0 to 0.5 are 1, from 1.5 on it is 3; the median has rank 1.
        assert statistics([1.0, 3.0], [1.5, 1.5])[1] == 2

    @pytest.mark.parametrize("unit", [1.0, 0.25, 1e-12, 1e-300, 5e-324])
    def test_equal_weights_are_none(self, unit):
        column = [5.0, 1.0, 4.0, 2.0, 100.0]
        assert statistics(column, unit * np.ones(5)) == statistics(column)

    @pytest.mark.parametrize("weight", [1e308, LARGEST])
    def test_weights_whose_sum_is_no_double(self, weight):
        assert statistics([1.0, 3.0, 9.0], [weight] * 3)[1] == 3

    def test_a_light_value_has_the_middle_of_its_share(self):
        # Shares 0-0.5, 0.5-1, 1-3, ranks 0, 0.25 (their ends crossed), and 1 to 2.
        stretch = Stretch(
            np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.5, 2.0]), 0.0, 3.0
        )
        assert stretch.quantile(0.5) == 4
        assert stretch.quantile(0.125) == 2
        assert stretch.quantile(0.3125) == 3

    def test_one_value(self):
        found = order_statistics(np.array([[3.0]]), None, IQR)
        assert (found.center, found.spread) == (3, 0)
        assert found.constant


class TestStretch:
    def test_it_knows_what_is_in_it(self):
        # Ranks 2, 3 and 4 of 0 to 9.
        stretch = Stretch(np.array([20.0, 30.0, 40.0]), None, 2.0, 10, is_last=False)
        assert stretch.quantile(2 / 9) == pytest.approx(20)
        assert stretch.quantile(2.5 / 9) == pytest.approx(25)
        for p in (0, 1.9 / 9, 4.1 / 9, 1):
            assert np.isnan(stretch.quantile(p))

    def test_it_knows_with_weights(self):
        stretch = Stretch(
            np.array([20.0, 30.0]), np.array([2.0, 3.0]), 2.0, 10.0, is_last=False
        )
        assert [stretch.quantile(r / 9) for r in (2, 3, 4, 6)] == [20, 20, 30, 30]
        assert stretch.quantile(3.5 / 9) == pytest.approx(25)
        for rank in (0, 1.5, 6.5, 9):
            assert np.isnan(stretch.quantile(rank / 9))

    def test_the_last_one_ends_the_column_whatever_rounding_says(self):
        weight = np.array([0.1] * 10) * 10
        stretch = Stretch(np.arange(10.0), weight, 0.0, 10.000000000000002)
        assert stretch.quantile(1) == 9


@every_size
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
class TestParity:
    def test_with_numpy(self, table, shape, dtype):
        X = table(shape, dtype)
        wide = X.astype(np.float64)
        found = order_statistics(X, None, (0.2, 0.9))
        center, low, high = np.nanquantile(wide, [0.5, 0.2, 0.9], axis=0)
        np.testing.assert_allclose(found.center, center, rtol=1e-15)
        np.testing.assert_allclose(found.spread, high - low, rtol=1e-14)
        deviation = np.nanmedian(np.abs(wide - found.center), axis=0)
        found = order_statistics(X, None, None)
        np.testing.assert_allclose(found.spread, deviation, rtol=1e-15)
        np.testing.assert_array_equal(found.count, np.count_nonzero(X == X, axis=0))

    @pytest.mark.parametrize("quantile_range", [IQR, None])
    def test_of_weights_with_repetition(self, table, rng, shape, dtype, quantile_range):
        X = table(shape, dtype)
        weight = rng.integers(0, 4, len(X))
        weighted = order_statistics(X, weight.astype(float), quantile_range)
        rows = np.repeat(X, weight, axis=0)
        repeated = order_statistics(rows, None, quantile_range)
        counted = np.count_nonzero(X[weight > 0] == X[weight > 0], axis=0)
        np.testing.assert_array_equal(weighted.count, counted)
        np.testing.assert_allclose(weighted.center, repeated.center, rtol=1e-15)
        np.testing.assert_allclose(weighted.spread, repeated.spread, rtol=1e-14)
        np.testing.assert_allclose(weighted.std, repeated.std, rtol=1e-12)

    def test_of_the_ways(self, table, rng, shape, dtype, monkeypatch):
        X = table(shape, dtype)
        weight = rng.random(len(X)) * np.exp(2 * rng.normal(size=len(X)))
        weight[::9] = 0.0
        found = order_statistics(X, weight, (0.01, 0.95))
        monkeypatch.setattr(quantiles, "_WORTH_COMPILING", X.size)
        monkeypatch.setattr(quantiles, "_FEW", len(X))
        expected = order_statistics(X, weight, (0.01, 0.95))
        # Sums of weights in another order: a rank moves by a rounding of their sum.
        assert_same(found, expected, rtol=1e-10)


@pytest.mark.parametrize("quantile_range", [(0.0, 1.0), (0.49, 0.51), (0.0, 0.5)])
@every_size
@pytest.mark.parametrize("weighted", [False, True])
def test_brackets_at_the_ends_and_over_each_other(
    table, rng, shape, quantile_range, weighted
):
    X = table(shape)
    weight = rng.integers(1, 3, len(X)).astype(float) if weighted else None
    found = order_statistics(X, weight, quantile_range)
    rows = X if weight is None else np.repeat(X, weight.astype(int), axis=0)
    low, high = np.nanquantile(rows, quantile_range, axis=0)
    np.testing.assert_allclose(found.spread, high - low, rtol=1e-14)


@pytest.mark.parametrize("shape", [Sizes.BRACKETED, Sizes.COMPILED], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_bracket_that_misses_is_noticed(table, rng, shape, weighted, monkeypatch):
    X = table(shape)
    weight = rng.random(len(X)) if weighted else None
    expected = order_statistics(X, weight, IQR)
    real = quantiles._brackets
    missing = []

    def shifted(*args):
        found = [(low + 0.3, high + 0.3) for low, high in real(*args)]
        missing.append(found)
        return found

    monkeypatch.setattr(quantiles, "_brackets", shifted)
    found = order_statistics(X, weight, IQR)
    assert missing
    assert_same(found, expected, rtol=1e-10)


def test_rows_that_repeat_are_only_slower():
    # Every row that the sample of the NumPy version sees is the same.
    n = 8 * quantiles._FEW
    X = np.arange(float(n))[:, None]
    X[:: quantiles._SAMPLED] = -1.0
    center, low, high = np.quantile(X[:, 0], [0.5, 0.25, 0.75])
    assert statistics(X[:, 0]) == (n, center, high - low)


class TestColumns:
    def test_without_values(self):
        X = np.array([[np.nan, 1.0], [np.nan, 2.0]])
        found = order_statistics(X, None, IQR)
        assert found.count.tolist() == [0, 2]
        assert np.isnan([found.center[0], found.spread[0], found.std[0]]).all()
        assert not found.constant.any()

    @every_size
    @pytest.mark.parametrize("quantile_range", [IQR, None])
    def test_without_values_among_others(self, table, shape, quantile_range):
        X = table(shape)
        X[:, 0] = np.nan
        weight = np.ones(len(X))
        X[0, 5], weight[0] = np.inf, 0.0
        found = order_statistics(X, weight, quantile_range)
        assert found.count[0] == 0
        assert np.isnan(found.center[0])
        assert not found.infinite.any()
        assert np.isfinite(found.spread[1:]).all()

    @every_size
    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    @pytest.mark.parametrize("quantile_range", [IQR, None])
    def test_with_infinite_values(self, table, shape, value, quantile_range):
        X = table(shape)
        X[len(X) // 2, 3] = value
        found = order_statistics(X, None, quantile_range)
        assert found.infinite.tolist() == [j == 3 for j in range(shape[1])]
        assert np.isnan(found.center[3])
        assert np.isfinite(np.delete(found.center, 3)).all()

    @pytest.mark.parametrize(("units", "constant"), [(4, True), (5, False)])
    @pytest.mark.parametrize("scale", [-(2.0**500), 2.0**-500, 1.0])
    def test_constant_is_up_to_rounding(self, units, constant, scale):
        X = scale * np.array([[1.0], [1.0 + units * 2.0**-52], [1.0]])
        found = order_statistics(X, None, IQR)
        assert found.constant == constant
        assert found.spread[0] == 0 or not constant

    @pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-16, 1.0, 1e300])
    @pytest.mark.parametrize(("quantile_range", "spread"), [(IQR, 4), (None, 2)])
    def test_small_ones_are_not_constant(self, scale, quantile_range, spread):
        X = scale * np.array([[1.0], [3.0], [5.0], [7.0], [20.0]])
        found = order_statistics(X, None, quantile_range)
        assert not found.constant
        assert found.spread[0] == pytest.approx(spread * scale, rel=1e-15, abs=0)

    @pytest.mark.parametrize("quantile_range", [IQR, None])
    def test_std_where_the_spread_is_zero(self, quantile_range):
        X = np.array([[7.0]] * 8 + [[9.0], [np.nan]])
        found = order_statistics(X, None, quantile_range)
        assert found.spread == 0
        assert not found.constant
        assert found.std[0] == pytest.approx(np.nanstd(X), rel=1e-14)
        weight = np.array([1.0] * 8 + [2.0, 1.0])
        found = order_statistics(X, weight, quantile_range)
        expected = np.std([7.0] * 8 + [9.0] * 2)
        assert found.std[0] == pytest.approx(expected, rel=1e-14)

    def test_no_std_where_there_is_a_spread(self, table):
        assert np.isnan(order_statistics(table((50, 6)), None, IQR).std[0])

    def test_distances_beyond_the_largest_double(self):
        X = np.array([[-LARGEST], [LARGEST]])
        found = order_statistics(X, None, (0.0, 1.0))
        assert found.center == 0
        assert found.spread == LARGEST
        found = order_statistics(X, None, (0.0, 1.0), 2.5)
        assert found.spread[0] == pytest.approx(LARGEST / 1.25, rel=1e-15)
        assert order_statistics(X, None, None).spread == LARGEST
        X = np.array([[-LARGEST], [LARGEST], [LARGEST]])
        found = order_statistics(X, None, None)
        assert (found.center, found.spread) == (LARGEST, 0)


class TestLayout:
    @pytest.mark.parametrize("layout", ["F", "strided", "read-only"])
    @every_size
    @pytest.mark.parametrize("quantile_range", [IQR, None])
    def test_any(self, table, shape, layout, quantile_range, rng):
        X = table(shape)
        weight = rng.random(len(X))
        expected = order_statistics(X, weight, quantile_range)
        other = np.array(X, order="F" if layout == "F" else "C")
        if layout == "strided":
            other = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
        other.setflags(write=layout != "read-only")
        weight.setflags(write=False)
        assert_same(order_statistics(other, weight, quantile_range), expected)
        np.testing.assert_array_equal(other, X)

    def test_the_order_of_rows_is_nothing(self, table, rng):
        for shape in (Sizes.SORTED, Sizes.BRACKETED, Sizes.COMPILED):
            X = table(shape)
            found = order_statistics(rng.permutation(X), None, IQR)
            assert_same(found, order_statistics(X, None, IQR), rtol=1e-12)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
class TestSparse:
    @pytest.fixture
    def dense(self, rng):
        X = rng.normal(1, 2, size=(400, 5)) * (rng.random((400, 5)) < 0.7)
        X[:, 1] = 0.0
        X[:, 2] = np.where(rng.random(400) < 0.9, 0.0, X[:, 2])
        X[rng.random(X.shape) < 0.05] = np.nan
        return X

    @pytest.mark.parametrize("quantile_range", [IQR, None])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_as_dense(self, make, dense, rng, quantile_range, dtype):
        X = dense.astype(dtype)
        for weight in (None, rng.integers(0, 4, 400).astype(float), rng.random(400)):
            found = order_statistics(make(X), weight, quantile_range)
            assert_same(found, order_statistics(X, weight, quantile_range), rtol=1e-11)

    def test_columns_long_enough_for_brackets(self, make, rng):
        X = rng.normal(size=(12_000, 2)) * (rng.random((12_000, 2)) < [0.3, 0.9])
        found = order_statistics(make(X), None, IQR)
        assert_same(found, order_statistics(X, None, IQR), rtol=1e-12)

    def test_explicit_zeros_are_zeros(self, make, dense):
        X = make(dense)
        X.data[::3] = 0.0
        found = order_statistics(X, None, IQR)
        # The standard deviation of sparse columns is summed in another order.
        assert_same(found, order_statistics(X.toarray(), None, IQR), rtol=1e-14)

    def test_duplicates_are_added(self, make):
        entries = [5.0, 2.0, 3.0, 1.0], ([0, 1, 1, 2], [0, 0, 0, 0])
        X = scipy.sparse.coo_array(entries, shape=(4, 1))
        X = make((X.data, X.coords), shape=X.shape)
        # By rows or columns they may have been added already.
        if make is scipy.sparse.csc_array:
            X = scipy.sparse.csc_array(
                (np.array(entries[0]), np.array([0, 1, 1, 2]), np.array([0, 4])),
                shape=(4, 1),
            )
            before = X.data.copy()
        found = order_statistics(X, None, IQR)
        assert found.center == 3
        if make is scipy.sparse.csc_array:
            np.testing.assert_array_equal(X.data, before)

    def test_infinite_values(self, make, dense):
        X = make(dense)
        X[3, 4] = -np.inf
        assert order_statistics(X, None, IQR).infinite.tolist() == [0, 0, 0, 0, 1]

    def test_of_no_entries(self, make):
        found = order_statistics(make((7, 2)), None, IQR)
        assert found.constant.all()
        assert found.count.tolist() == [7, 7]


MEMORY = """
import resource, sys
import numpy as np
import scipy.sparse
from sknorm._kernels.quantiles import order_statistics

{make}
order_statistics(small, None, {quantile_range})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
order_statistics(X, None, {quantile_range})
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024)
"""


def grown(make, quantile_range):
    """Return by how many bytes a process grows at its peak."""
    code = MEMORY.format(make=make, quantile_range=quantile_range)
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(out.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts kibibytes on Linux only")
@pytest.mark.parametrize("quantile_range", [IQR, None])
class TestMemory:
    def test_of_zeros_that_are_not_stored(self, quantile_range):
        make = """
small = scipy.sparse.eye_array(4, format="csc")
rows = np.arange(100, dtype=np.int32)
X = scipy.sparse.csc_array(
    (np.ones(100), rows, np.array([0, 40, 70, 100], dtype=np.int32)),
    shape=(50_000_000, 3),
)
"""
        # Any array of so many rows takes 50 MB.
        assert grown(make, quantile_range) < 20e6

    def test_of_a_large_table(self, quantile_range):
        make = """
X = np.random.default_rng(0).standard_normal((800_000, 25))
small = X[:40_000]
"""
        assert grown(make, quantile_range) < 0.35 * 800_000 * 25 * 8


def test_small_tables_load_no_compiler():
    code = """
import sys
import numpy as np
from sknorm._kernels.quantiles import order_statistics
X = np.random.default_rng(0).standard_normal((10_000, 20))
order_statistics(X, None, (0.25, 0.75))
order_statistics(X, np.ones(10_000), None)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numba_numpy_does_it(table, monkeypatch):
    X = table(Sizes.COMPILED)
    expected = order_statistics(X, None, IQR)
    monkeypatch.setattr(quantiles, "compiled_kernels", lambda name: None)
    assert_same(order_statistics(X, None, IQR), expected, rtol=1e-12)


@several
@given(tables(), st.floats(0, 0.5), st.floats(0.5, 1))
def test_as_exact_as_doubles_are(X, low, high):
    found = order_statistics(X, None, (low, high))
    for j, column in enumerate(X.T):
        values = column[~np.isnan(column)]
        if not len(values):
            continue
        eps = 4 * 2.0**-52 * np.abs(values).max()
        center = exact_quantile(values, 0.5)
        spread = exact_quantile(values, high) - exact_quantile(values, low)
        assert abs(Fraction(found.center[j]) - center) <= eps
        if not found.constant[j]:
            assert abs(Fraction(found.spread[j]) - spread) <= 4 * len(values) * eps


@several
@given(tables(), st.data())
def test_integer_weights_are_repetition(X, data):
    weight = data.draw(hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)))
    assume(weight.any())
    repeated = np.repeat(X, weight, axis=0)
    for quantile_range in (IQR, None, (0.0, 1.0)):
        a = order_statistics(X, weight.astype(float), quantile_range)
        b = order_statistics(repeated, None, quantile_range)
        np.testing.assert_array_equal(a.constant, b.constant)
        for name in ("center", "spread"):
            np.testing.assert_allclose(
                getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9
            )


@several
@given(tables(), st.data())
def test_splitting_a_row_does_nothing(X, data):
    # From 2 on, the parts are 1 on average and no unit is put in their place.
    elements = st.floats(2, 5)
    weight = data.draw(hnp.arrays(np.float64, len(X), elements=elements))
    parts = np.concatenate([0.1 * weight, 0.9 * weight])
    a = order_statistics(X, weight, IQR)
    b = order_statistics(np.concatenate([X, X]), parts, IQR)
    np.testing.assert_allclose(a.center, b.center, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(a.spread, b.spread, rtol=1e-9, atol=1e-9)
