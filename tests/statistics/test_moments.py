import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sknorm.statistics import Moments

STRD = Path(__file__).parents[3] / "shared" / "data" / "nist-strd"
EPS = float(np.finfo(np.float64).eps)

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=100)

NUMBER = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))


def tables(n_features=2, min_rows=0):
    shape = st.tuples(st.integers(min_rows, 12), st.just(n_features))
    return hnp.arrays(np.float64, shape, elements=NUMBER)


def assert_same(a, b, scale=1e6):
    """Compare up to rounding of numbers no larger than ``scale``."""
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.weight_sum, b.weight_sum, rtol=1e-14)
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-14, atol=4 * EPS * scale)
    np.testing.assert_allclose(a.std(), b.std(), rtol=1e-14, atol=4 * EPS * scale)


def exact_moments(values, ddof=1):
    """Return mean and standard deviation in rational arithmetic, as doubles."""
    values = [Fraction(v) for v in values]
    mean = sum(values) / len(values)
    square = sum((v - mean) ** 2 for v in values) / (len(values) - ddof)
    return float(mean), math.sqrt(square)


class TestKnownValues:
    X = np.array([[1.0, 10.0], [3.0, np.nan], [8.0, 40.0]])

    def test_unweighted(self):
        moments = Moments.from_array(self.X)
        assert moments.n_features == 2
        np.testing.assert_array_equal(moments.count, [3, 2])
        np.testing.assert_array_equal(moments.weight_sum, [3, 2])
        np.testing.assert_allclose(moments.mean, [4, 25], rtol=1e-15)
        np.testing.assert_allclose(moments.m2, [26, 450], rtol=1e-15)
        np.testing.assert_allclose(moments.variance(), [26 / 3, 225], rtol=1e-15)
        np.testing.assert_allclose(moments.variance(ddof=1), [13, 450], rtol=1e-15)
        np.testing.assert_allclose(moments.std(ddof=1), np.sqrt([13, 450]), rtol=1e-15)

    def test_weighted(self):
        moments = Moments.from_array(self.X, [2, 5, 1])
        np.testing.assert_array_equal(moments.count, [3, 2])
        np.testing.assert_array_equal(moments.weight_sum, [8, 3])
        np.testing.assert_allclose(moments.mean, [25 / 8, 20], rtol=1e-15)
        np.testing.assert_allclose(moments.m2, [263 / 8, 600], rtol=1e-15)

    def test_a_list_of_integers(self):
        moments = Moments.from_array([[1], [2]])
        assert (moments.mean, moments.std()) == (1.5, 0.5)

    def test_no_rows(self):
        for moments in (Moments.empty(2), Moments.from_array(np.empty((0, 2)))):
            assert moments.n_features == 2
            np.testing.assert_array_equal(moments.count, [0, 0])
            np.testing.assert_array_equal(moments.weight_sum, [0, 0])
            np.testing.assert_array_equal(moments.m2, [0, 0])
            np.testing.assert_array_equal(moments.mean, [np.nan, np.nan])
            np.testing.assert_array_equal(moments.std(), [np.nan, np.nan])
            np.testing.assert_array_equal(moments.is_constant(), [False, False])

    @pytest.mark.parametrize("ddof", [1, 1.5])
    def test_too_few_values_for_ddof(self, ddof):
        moments = Moments.from_array([[3.0]])
        assert moments.std() == 0
        assert np.isnan(moments.std(ddof))
        assert np.isnan(moments.variance(ddof))

    def test_the_variance_alone_leaves_the_range_of_doubles(self):
        moments = Moments.from_array([[1e300, 1e-300], [3e300, 3e-300]])
        np.testing.assert_allclose(moments.std(), [1e300, 1e-300], rtol=1e-15)
        np.testing.assert_array_equal(moments.variance(), [np.inf, 0])
        np.testing.assert_array_equal(moments.m2, [np.inf, 0])

    def test_the_remainder_of_the_mean(self):
        X = np.array([[1e12], [1e12], [1e12 + 1]])
        moments = Moments.from_array(X)
        both = Fraction(moments.mean[0]) + Fraction(moments.mean_remainder[0])
        assert moments.mean_remainder != 0
        assert abs(both - (Fraction(10) ** 12 + Fraction(1, 3))) < 1e-16


class TestValues:
    """A summary is a value: nothing edits it."""

    def test_updating_merging_and_forgetting_make_new_ones(self, rng):
        X = rng.normal(size=(10, 3))
        moments = Moments.from_array(X)
        before = pickle.dumps(moments)
        moments.update(X, np.arange(10)).merge(moments).forget(0.5)
        assert pickle.dumps(moments) == before

    def test_it_is_read_only(self, remake):
        moments = remake(Moments.from_array([[1.0], [2.0]]))
        with pytest.raises(ValueError, match="read-only"):
            moments.mean[0] = 0.0
        with pytest.raises(AttributeError, match="cannot assign"):
            moments.columns = None

    def test_it_pickles(self, rng):
        moments = Moments.from_array(rng.normal(size=(10, 3)), rng.random(10))
        copy = pickle.loads(pickle.dumps(moments))
        for name in ("count", "weight_sum", "mean", "mean_remainder", "m2"):
            np.testing.assert_array_equal(getattr(copy, name), getattr(moments, name))
        assert_same(copy.update(np.ones((1, 3))), moments.update(np.ones((1, 3))))


class TestFrames:
    FRAME = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "real": pd.array([None, 2.0, np.nan], dtype="Float64"),
            "true": pd.array([True, None, False], dtype="boolean"),
            "plain": [0.5, np.nan, 1.5],
        }
    )

    def test_columns_that_lack_values(self):
        moments = Moments.from_array(self.FRAME).update(self.FRAME)
        np.testing.assert_array_equal(moments.count, [4, 2, 4, 4])
        np.testing.assert_array_equal(moments.mean, [2, 2, 0.5, 1])

    def test_beside_a_column_of_others(self):
        frame = self.FRAME.assign(name=["a", "b", "c"])
        with pytest.raises(ValueError, match=r"table of real numbers.*dtype object"):
            Moments.from_array(frame)


class TestSparse:
    X = np.array([[0.0, 10.0], [3.0, np.nan], [0.0, 40.0]])

    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
    @pytest.mark.parametrize("weight", [None, [2, 5, 1]])
    def test_as_dense(self, form, weight):
        sparse = scipy.sparse.coo_matrix(self.X).asformat(form)
        moments, dense = (Moments.from_array(X, weight) for X in (sparse, self.X))
        assert_same(moments, dense, scale=1)
        assert_same(dense.update(sparse, weight), dense.merge(dense), scale=1)

    def test_mistakes(self):
        sparse = scipy.sparse.csr_matrix([[1.0, np.inf]])
        with pytest.raises(ValueError, match=r"finite values, but the columns \[1\]"):
            Moments.from_array(sparse)
        with pytest.raises(ValueError, match="one weight for each of the 1 rows"):
            Moments.from_array(sparse, [1.0, 2.0])
        with pytest.raises(ValueError, match="dtype complex128"):
            Moments.from_array(scipy.sparse.csr_matrix([[1j]]))


class TestForget:
    def test_old_rows_count_less(self):
        moments = Moments.from_array([[0.0], [0.0]]).forget(0.5).update([[4.0]])
        assert moments.weight_sum == 2
        assert moments.mean == 2
        assert moments.count == 3

    def test_forgetting_is_weighing(self, rng):
        X = rng.normal(size=(40, 2))
        moments = Moments.empty(2)
        for rows in np.split(X, 4):
            moments = moments.forget(0.7).update(rows)
        weight = np.repeat(0.7 ** np.arange(3, -1, -1), 10)
        assert_same(moments, Moments.from_array(X, weight), scale=1)

    def test_mean_and_variance_stay(self, rng):
        moments = Moments.from_array(rng.normal(size=(10, 2)))
        faded = moments.forget(0.25)
        np.testing.assert_array_equal(faded.mean, moments.mean)
        np.testing.assert_array_equal(faded.variance(), moments.variance())
        np.testing.assert_array_equal(faded.weight_sum, [2.5, 2.5])

    @pytest.mark.parametrize("factor", [0, -0.5, 1.5, float("nan"), "a", None])
    def test_a_factor_out_of_range(self, factor):
        message = re.escape(f"factor must be a number in (0, 1]. Got {factor!r}. With")
        with pytest.raises(ValueError, match=message):
            Moments.empty(1).forget(factor)


UNIT = np.random.default_rng(0).normal(size=1_000)
CONSTANT = [
    ("decimal", np.full(1_000, 14.62), None, True),
    ("zeros", np.zeros(10), None, True),
    ("one row", np.array([3.0]), None, True),
    ("tiny and equal", np.full(10, 1e-300), None, True),
    ("equal with NaN", np.where(np.arange(1_000) % 3, 14.62, np.nan), None, True),
    ("equal, weighted", np.full(1_000, 14.62), np.linspace(1e-9, 1e9, 1_000), True),
    ("noise of rounding", np.tile([0.1 + 0.2, 0.3], 500), None, True),
    ("rounded at 1e16", 1e16 + UNIT, None, True),
    ("spread of a few ulps", 1e16 + 10 * UNIT, None, False),
    ("unit at 1e12", 1e12 + UNIT, None, False),
    ("unit at 1e15", 1e15 + UNIT, None, False),
    ("scale 1e-13", 1e-13 * UNIT, None, False),
    ("scale 1e-16", 1e-16 * UNIT, None, False),
    ("scale 1e-300", 1e-300 * UNIT, None, False),
    ("scale 1e300", 1e300 * UNIT, None, False),
    ("weights 1e10", 1e5 + UNIT, np.full(1_000, 1e10), False),
    ("weights 1e15", UNIT, np.full(1_000, 1e15), False),
    ("weights 1e-15", UNIT, np.full(1_000, 1e-15), False),
    ("one other", np.r_[np.full(999, 5.0), 6.0], None, False),
    ("one other ignored", np.r_[np.full(99, 5.0), 6.0], np.r_[np.ones(99), 0], True),
    ("nothing", np.full(10, np.nan), None, False),
]


@pytest.mark.parametrize(
    ("column", "weight", "constant"),
    [case[1:] for case in CONSTANT],
    ids=[case[0] for case in CONSTANT],
)
class TestIsConstant:
    def test_of_an_array(self, column, weight, constant):
        moments = Moments.from_array(column[:, None], weight)
        assert moments.is_constant().tolist() == [constant]

    @pytest.mark.parametrize("n_parts", [2, 7])
    def test_of_parts(self, column, weight, constant, n_parts):
        weight = np.ones(len(column)) if weight is None else weight
        moments = Moments.empty(1)
        for rows, w in zip(
            np.array_split(column, n_parts),
            np.array_split(weight, n_parts),
            strict=True,
        ):
            moments = moments.update(rows[:, None], w)
        assert moments.is_constant().tolist() == [constant]


class TestMistakes:
    @pytest.mark.parametrize(
        ("X", "shape", "dtype"),
        [
            ([1.0, 2.0], "(2,)", "float64"),
            (np.zeros((2, 2, 2)), "(2, 2, 2)", "float64"),
            ([["a"]], "(1, 1)", "<U1"),
            ([[1j]], "(1, 1)", "complex128"),
            (np.array([[None]]), "(1, 1)", "object"),
        ],
    )
    def test_not_a_table_of_numbers(self, X, shape, dtype):
        message = f"table of real numbers.*shape {re.escape(shape)} and dtype {dtype}"
        with pytest.raises(ValueError, match=message):
            Moments.from_array(X)

    def test_a_query(self):
        with pytest.raises(TypeError, match=r"Got a 'LazyFrame' of 'polars'.*collect"):
            Moments.from_array(pl.LazyFrame({"a": [1.0]}))

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_an_infinite_value(self, value):
        X = np.zeros((5, 3))
        X[1, 0], X[1, 2], X[2, 2] = np.nan, value, -value
        with pytest.raises(ValueError, match=r"finite values, but the columns \[2\]"):
            Moments.from_array(X)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            ([1.0], r"one weight for each of the 2 rows. Got an array of shape \(1,\)"),
            (1.0, r"one weight for each of the 2 rows. Got an array of shape \(\)"),
            ([1.0, -1.0], "finite numbers that are not negative"),
            ([1.0, np.nan], "finite numbers that are not negative"),
            ([1.0, np.inf], "finite numbers that are not negative"),
            ([1e308, 1e308], "sum of sample_weight passes the largest double"),
        ],
    )
    def test_weights(self, weight, message):
        with pytest.raises(ValueError, match=message):
            Moments.from_array(np.zeros((2, 1)), weight)

    def test_weights_that_add_up_too_high(self):
        moments = Moments.from_array([[1.0]], [1e308])
        with pytest.raises(ValueError, match="divide them all by the same large"):
            moments.merge(moments)

    def test_another_number_of_columns(self):
        message = "Summaries of 2 and of 3 columns can't be merged."
        with pytest.raises(ValueError, match=message):
            Moments.empty(2).merge(Moments.empty(3))
        with pytest.raises(ValueError, match=message):
            Moments.empty(2).update(np.zeros((1, 3)))

    def test_another_kind_of_summary(self):
        message = "Moments can be merged with Moments only. Got ndarray."
        with pytest.raises(TypeError, match=message):
            Moments.empty(2).merge(np.zeros((1, 2)))


def constructed(offset):
    """Return NIST's NumAcc2 to 4: a number, then 500 times two beside it."""
    return [offset + 0.2] + [offset + 0.1, offset + 0.3] * 500


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ([10_000_001, 10_000_003, 10_000_002], 10_000_002, 1),
        (constructed(1.0), 1.2, 0.1),
        (constructed(1e6), 1_000_000.2, 0.1),
        (constructed(1e7), 10_000_000.2, 0.1),
    ],
    ids=["NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4"],
)
def test_constructed_sets_of_nist(values, mean, std):
    moments = Moments.from_array(np.array(values)[:, None])
    exact_mean, exact_std = exact_moments(values)
    # Not == : the exact mean of NumAcc2 is all but halfway between two doubles.
    assert moments.mean[0] == pytest.approx(exact_mean, rel=EPS, abs=0)
    assert moments.std(ddof=1)[0] == pytest.approx(exact_std, rel=4 * EPS, abs=0)
    # Decimals are rounded when they are stored: half an ulp of the largest.
    stored = float(np.spacing(max(values)))
    assert moments.mean[0] == pytest.approx(mean, abs=stored)
    assert moments.std(ddof=1)[0] == pytest.approx(std, abs=stored)


@pytest.mark.skipif(not STRD.is_dir(), reason=f"the StRD sets of NIST aren't in {STRD}")
@pytest.mark.parametrize(
    "name",
    ["Lew", "Lottery", "Mavro", "Michelso", "PiDigits"]
    + [f"NumAcc{i}" for i in range(1, 5)],
)
def test_certified_sets_of_nist(name):
    lines = (STRD / f"{name}.dat").read_text().splitlines()
    header, values = lines[:60], [line.strip() for line in lines[60:] if line.strip()]
    mean, std = (
        Decimal(re.search(rf"{symbol}:\s+(\S+)", "\n".join(header)).group(1))
        for symbol in ("ybar", r"\bs")
    )
    stored = [float(v) for v in values]
    moments = Moments.from_array(np.array(stored)[:, None])
    exact_mean, exact_std = exact_moments(stored)
    assert moments.mean[0] == pytest.approx(exact_mean, rel=EPS, abs=0)
    assert moments.std(ddof=1)[0] == pytest.approx(exact_std, rel=4 * EPS, abs=0)
    # What storing the decimals as doubles costs, and the last certified digit.
    lost = np.spacing(np.abs(stored).max())
    assert abs(moments.mean[0] - float(mean)) <= lost + 1e-14 * abs(float(mean))
    assert abs(moments.std(ddof=1)[0] - float(std)) <= lost + 1e-14 * float(std)


@several
@given(tables(), tables())
def test_merging_commutes(X, Y):
    a, b = Moments.from_array(X), Moments.from_array(Y)
    assert_same(a.merge(b), b.merge(a))


@several
@given(tables(), tables(), tables())
def test_merging_associates(X, Y, Z):
    a, b, c = (Moments.from_array(part) for part in (X, Y, Z))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))


@several
@given(tables(), tables())
def test_updating_is_summarising_all(X, Y):
    assert_same(
        Moments.from_array(X).update(Y), Moments.from_array(np.concatenate([X, Y]))
    )


@several
@given(tables())
def test_nothing_is_neutral(X):
    moments, nothing = Moments.from_array(X), Moments.empty(2)
    for merged in (moments.merge(nothing), nothing.merge(moments)):
        for name in ("count", "weight_sum", "mean", "mean_remainder", "m2"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(moments, name))


@several
@given(tables(min_rows=1), st.data())
def test_integer_weights_are_repetition(X, data):
    weight = data.draw(
        hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)), label="weight"
    )
    weighted = Moments.from_array(X, weight)
    repeated = Moments.from_array(np.repeat(X, weight, axis=0))
    np.testing.assert_array_equal(weighted.weight_sum, repeated.count)
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-14, atol=1e-9)
    for ddof in (0, 1):
        np.testing.assert_allclose(
            weighted.std(ddof), repeated.std(ddof), rtol=1e-14, atol=1e-9
        )


@several
@given(tables(min_rows=1), st.integers(-900, 900))
def test_the_size_of_weights_is_nothing(X, exponent):
    weight = np.linspace(1, 2, len(X))
    plain = Moments.from_array(X, weight)
    scaled = Moments.from_array(X, np.ldexp(weight, exponent))
    # Far from 1, weights lead through other operations. A sum is rounded by the size of
    # its terms, beside which a mean may be small.
    rounding = 4 * EPS * np.abs(np.nan_to_num(X)).max() + 1e-300
    np.testing.assert_allclose(scaled.mean, plain.mean, rtol=4 * EPS, atol=rounding)
    np.testing.assert_allclose(scaled.std(), plain.std(), rtol=8 * EPS, atol=1e-300)
    np.testing.assert_array_equal(scaled.is_constant(), plain.is_constant())


@several
@given(tables(min_rows=1), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(X, random):
    order = list(range(len(X)))
    random.shuffle(order)
    assert_same(Moments.from_array(X), Moments.from_array(X[order]))
