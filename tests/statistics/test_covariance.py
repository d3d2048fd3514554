import pickle
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.covariance import ledoit_wolf, oas

from sknorm.statistics import Covariance

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=60)

NUMBER = st.one_of(st.just(np.nan), st.floats(-1e3, 1e3), st.integers(-3, 3).map(float))


def tables(n_features=3, min_rows=0):
    shape = st.tuples(st.integers(min_rows, 9), st.just(n_features))
    return hnp.arrays(np.float64, shape, elements=NUMBER)


def assert_same(a, b, scale=1e3):
    """Compare up to rounding of numbers no larger than ``scale``."""
    assert a.count == b.count
    np.testing.assert_array_equal(a.present, b.present)
    np.testing.assert_allclose(a.weight_sum, b.weight_sum, rtol=1e-13)
    np.testing.assert_allclose(a.mean, b.mean, rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(
        a.covariance(), b.covariance(), rtol=1e-12, atol=1e-13 * scale**2
    )


@pytest.fixture
def X(rng):
    return rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4)) + [100, 0, -1, 5]


class TestKnownValues:
    X = np.array([[0.0, 1.0], [2.0, 5.0], [1.0, 9.0]])

    def test_unweighted(self):
        summary = Covariance.from_array(self.X)
        assert (summary.n_features, summary.count, summary.weight_sum) == (2, 3, 3)
        np.testing.assert_array_equal(summary.mean, [1, 5])
        C = [[2 / 3, 4 / 3], [4 / 3, 32 / 3]]
        np.testing.assert_allclose(summary.covariance(), C, rtol=1e-15)
        np.testing.assert_allclose(
            summary.correlation(), [[1, 0.5], [0.5, 1]], rtol=1e-15
        )
        np.testing.assert_allclose(summary.std(), np.sqrt([2 / 3, 32 / 3]), rtol=1e-15)
        np.testing.assert_array_equal(summary.moments.mean, summary.mean)

    def test_weighted(self):
        summary = Covariance.from_array(self.X, [1, 0, 3])
        assert (summary.count, summary.weight_sum) == (2, 4)
        np.testing.assert_array_equal(summary.mean, [0.75, 7])
        C = [[3 / 16, 1.5], [1.5, 12]]
        np.testing.assert_allclose(summary.covariance(), C, rtol=1e-15)

    def test_missing_values(self):
        summary = Covariance.from_array([[0, 1], [np.nan, 7], [2, 5], [1, 9]])
        assert_same(summary, Covariance.from_array(self.X))

    def test_a_list_of_integers(self):
        matrix = Covariance.from_array([[1, 1], [3, 3]]).covariance()
        np.testing.assert_allclose(matrix, np.ones((2, 2)), rtol=1e-15)

    def test_constant_and_empty_columns(self):
        nan = np.nan
        summary = Covariance.from_array([[1, 7, nan], [3, 7, nan]])
        np.testing.assert_array_equal(summary.present, [True, True, False])
        np.testing.assert_array_equal(
            summary.covariance(), [[1, 0, nan], [0, 0, nan], [nan, nan, nan]]
        )
        expected = np.full((3, 3), nan)
        expected[0, 0] = 1
        np.testing.assert_array_equal(summary.correlation(), expected)

    def test_no_rows(self):
        for summary in (Covariance.empty(2), Covariance.from_array(np.empty((0, 2)))):
            assert (summary.n_features, summary.count, summary.weight_sum) == (2, 0, 0)
            assert np.isnan(summary.mean).all()
            assert np.isnan(summary.covariance()).all()
            assert not summary.has_higher
        assert Covariance.empty(2, higher=True).has_higher

    def test_exact_at_an_offset(self, rng):
        X = 1e6 + rng.normal(size=(50, 2))
        x, y = ([Fraction(v) for v in column] for column in X.T)
        n, mean_x, mean_y = len(X), sum(x) / len(X), sum(y) / len(X)
        pairs = zip(x, y, strict=True)
        exact = sum((a - mean_x) * (b - mean_y) for a, b in pairs) / n
        found = Covariance.from_array(X).covariance()[0, 1]
        assert abs(Fraction(found) - exact) < 1e-15


class TestValues:
    """A summary is a value: nothing edits it."""

    def test_updating_merging_and_forgetting_make_new_ones(self, X):
        summary = Covariance.from_array(X, higher=True)
        before = pickle.dumps(summary)
        updated = summary.update(X, np.arange(80)).merge(summary).forget(0.5)
        assert pickle.dumps(summary) == before
        assert updated.has_higher

    def test_it_is_read_only(self, X, remake):
        summary = remake(Covariance.from_array(X))
        for array in (summary.mean, summary.root, summary.std(), summary.present):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0.0
        with pytest.raises(AttributeError, match="cannot assign"):
            summary.table = None

    def test_of_columns_that_lack_values(self):
        frame = pd.DataFrame(
            {
                "whole": pd.array([1, None, 3], dtype="Int64"),
                "true": pd.array([True, True, False], dtype="boolean"),
            }
        )
        summary = Covariance.from_array(frame).update(frame)
        assert summary.count == 4
        np.testing.assert_allclose(summary.covariance(), [[1, -0.5], [-0.5, 0.25]])

    def test_it_pickles(self, X):
        summary = Covariance.from_array(X, higher=True)
        copy = pickle.loads(pickle.dumps(summary))
        np.testing.assert_array_equal(copy.covariance(), summary.covariance())
        assert_same(copy.update(X[:3]), summary.update(X[:3]))


class TestMerge:
    @given(tables(), tables(), tables())
    @several
    def test_associative_commutative_and_as_one(self, a, b, c):
        one, two, three = map(Covariance.from_array, (a, b, c))
        whole = Covariance.from_array(np.vstack([a, b, c]))
        assert_same(one.merge(two).merge(three), whole)
        assert_same(one.merge(two.merge(three)), whole)
        assert_same(three.merge(one).merge(two), whole)

    @given(tables(min_rows=1), st.randoms(use_true_random=False))
    @several
    def test_order_of_rows(self, X, random):
        order = list(range(len(X)))
        random.shuffle(order)
        assert_same(Covariance.from_array(X[order]), Covariance.from_array(X))

    @given(tables(min_rows=1), st.data())
    @several
    def test_weights_are_repetitions(self, X, data):
        weight = data.draw(
            st.lists(st.integers(0, 3), min_size=len(X), max_size=len(X))
        )
        weighted = Covariance.from_array(X, weight)
        repeated = Covariance.from_array(np.repeat(X, weight, axis=0))
        np.testing.assert_allclose(weighted.weight_sum, repeated.count)
        np.testing.assert_allclose(
            weighted.covariance(), repeated.covariance(), rtol=1e-12, atol=1e-7
        )

    def test_neutral_element(self, X):
        summary = Covariance.from_array(X)
        assert_same(summary.merge(Covariance.empty(4)), summary)
        assert_same(Covariance.empty(4).merge(summary), summary)

    def test_mistakes(self, X):
        summary = Covariance.from_array(X)
        with pytest.raises(ValueError, match=r"of 4 and of 2 columns can't be merged"):
            summary.merge(Covariance.empty(2))
        with pytest.raises(TypeError, match=r"with Covariance only\. Got Moments"):
            summary.merge(summary.moments)
        with pytest.raises(ValueError, match="both with higher=True, or both without"):
            summary.merge(Covariance.from_array(X, higher=True))
        heavy = Covariance.from_array(X[:1], [1.7e308])
        with pytest.raises(ValueError, match="sum of sample_weight passes the largest"):
            heavy.merge(heavy)


class TestForget:
    def test_forgetting_is_weighing(self, X):
        summary = Covariance.empty(4)
        for rows in np.split(X, 4):
            summary = summary.forget(0.7).update(rows)
        weight = np.repeat(0.7 ** np.arange(3, -1, -1), 20)
        whole = Covariance.from_array(X, weight)
        assert_same(summary, whole)
        np.testing.assert_allclose(summary.correlation(), whole.correlation(), 1e-12)

    def test_the_covariance_stays(self, X):
        summary = Covariance.from_array(X)
        faded = summary.forget(0.25)
        np.testing.assert_array_equal(faded.covariance(), summary.covariance())
        assert (faded.weight_sum, faded.count) == (20, 80)

    @pytest.mark.parametrize("factor", [0, 1.5, float("nan"), "a"])
    def test_a_factor_out_of_range(self, factor):
        message = re.escape(f"factor must be a number in (0, 1]. Got {factor!r}. With")
        with pytest.raises(ValueError, match=message):
            Covariance.empty(1).forget(factor)


class TestShrinkage:
    @pytest.mark.parametrize("shape", [(80, 4), (30, 12), (6, 9), (500, 3)])
    @pytest.mark.parametrize(
        ("name", "theirs"), [("ledoit_wolf", ledoit_wolf), ("oas", oas)]
    )
    def test_parity_with_scikit_learn(self, rng, shape, name, theirs):
        X = rng.standard_t(5, size=shape) * rng.uniform(0.5, 5, size=shape[1]) + 30
        ours = getattr(Covariance.from_array(X, higher=True), name)
        np.testing.assert_allclose(ours(np.ones(shape[1])), theirs(X)[1], rtol=1e-10)
        standardized = (X - X.mean(axis=0)) / X.std(axis=0)
        np.testing.assert_allclose(ours(), theirs(standardized)[1], rtol=1e-10)
        np.testing.assert_allclose(ours(X.std(axis=0)), ours(), rtol=1e-13)

    @pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
    def test_merging_and_repeating_is_exact(self, X, rng, name):
        weight = rng.integers(0, 4, len(X))
        parts = [
            Covariance.from_array(X[i : i + 7] + 5, weight[i : i + 7], higher=True)
            for i in range(0, len(X), 7)
        ]
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merge(part)
        repeated = Covariance.from_array(np.repeat(X, weight, axis=0) + 5, higher=True)
        for scale in (None, np.ones(4)):
            np.testing.assert_allclose(
                getattr(merged, name)(scale), getattr(repeated, name)(scale), rtol=1e-10
            )

    @pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
    def test_constant_columns_are_left_out(self, X, name):
        more = np.column_stack([X[:, :2], np.full(80, 3.0), X[:, 2:]])
        with_it = getattr(Covariance.from_array(more, higher=True), name)
        without = getattr(Covariance.from_array(X, higher=True), name)
        np.testing.assert_allclose(with_it(), without(), rtol=1e-12)
        np.testing.assert_allclose(with_it(np.ones(5)), without(np.ones(4)), rtol=1e-12)

    @pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
    @pytest.mark.parametrize("unit", [1e-200, 1e200])
    def test_units_do_not_matter(self, X, name, unit):
        scale = np.ones(4)
        ours, same = (
            getattr(Covariance.from_array(x, higher=True), name)(scale)
            for x in (unit * X, X)
        )
        np.testing.assert_allclose(ours, same, rtol=1e-12)

    @pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
    def test_where_there_is_nothing_to_shrink(self, name):
        for X in ([[1.0], [2.0], [4.0]], [[1.0, 2.0]], np.empty((0, 3))):
            summary = Covariance.from_array(X, higher=True)
            assert getattr(summary, name)() == 0

    def test_equal_variances_and_no_correlation(self):
        """The estimate is the target itself: any shrinkage does."""
        summary = Covariance.from_array(
            [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], higher=True
        )
        assert summary.oas() == 1
        assert 0 <= summary.ledoit_wolf() <= 1

    def test_without_fourth_moments(self, X):
        with pytest.raises(ValueError, match="Make the summary with higher=True"):
            Covariance.from_array(X).ledoit_wolf()


@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        ([1.0, 2.0], None, r"Covariance needs a table .* shape \(2,\)"),
        ([["a"]], None, "Covariance needs a table of real numbers"),
        ([[1j]], None, "dtype complex128"),
        ([[1.0, np.inf]], None, r"finite values, but the columns \[1\] hold an"),
        ([[1.0]], [1.0, 2.0], "one weight for each of the 1 rows"),
        ([[1.0]], [-1.0], "finite numbers that are not negative"),
    ],
)
def test_mistakes(X, weight, message):
    with pytest.raises(ValueError, match=message):
        Covariance.from_array(X, weight)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_tables(make):
    X = make(np.eye(2))
    message = (
        f"Covariance needs a dense table. Got a {type(X).__name__!r} of shape "
        r"\(2, 2\). Pass X.toarray\(\), or use Moments"
    )
    with pytest.raises(ValueError, match=message):
        Covariance.from_array(X)
    with pytest.raises(ValueError, match=message):
        Covariance.empty(2).update(X)
