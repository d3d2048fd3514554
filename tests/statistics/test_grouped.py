import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sknorm.statistics import GroupedMoments, Moments

EPS = float(np.finfo(np.float64).eps)

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=100)

NUMBER = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float))


@st.composite
def tables(draw):
    """Return a table, and labels of its rows of which some are missing."""
    n_rows = draw(st.integers(0, 12))
    X = draw(hnp.arrays(np.float64, (n_rows, 2), elements=NUMBER))
    labels = st.sampled_from(["a", "b", "c", None])
    return X, draw(st.lists(labels, min_size=n_rows, max_size=n_rows))


def assert_same(a, b, scale=1e6):
    """Compare up to rounding of numbers no larger than ``scale``."""
    assert a.labels.tolist() == b.labels.tolist()
    tolerance = {"rtol": 1e-14, "atol": 8 * EPS * scale}
    for ours, theirs in ((a.columns, b.columns), (a.rest, b.rest)):
        np.testing.assert_array_equal(ours.count, theirs.count)
        np.testing.assert_allclose(ours.weight, theirs.weight, rtol=1e-14)
        np.testing.assert_allclose(ours.mean, theirs.mean, **tolerance)
        np.testing.assert_allclose(ours.std, theirs.std, **tolerance)


class TestKnownValues:
    X = np.array([[1.0, 10.0], [3.0, np.nan], [8.0, 40.0], [4.0, 0.0]])
    GROUPS = ("b", "b", "a", None)

    def test_groups(self):
        summary = GroupedMoments.from_array(self.X, self.GROUPS)
        assert (summary.n_groups, summary.n_features) == (2, 2)
        assert summary.labels.tolist() == ["a", "b"]
        np.testing.assert_array_equal(summary.count, [[1, 1], [2, 1]])
        np.testing.assert_array_equal(summary.weight_sum, [[1, 1], [2, 1]])
        np.testing.assert_array_equal(summary.mean, [[8, 40], [2, 10]])
        np.testing.assert_array_equal(summary.std(), [[0, 0], [1, 0]])
        np.testing.assert_allclose(
            summary.std(ddof=1), [[np.nan, np.nan], [2**0.5, np.nan]], rtol=1e-15
        )
        np.testing.assert_array_equal(summary.is_constant(), [[1, 1], [0, 1]])

    def test_total(self):
        total = GroupedMoments.from_array(self.X, self.GROUPS).total()
        assert isinstance(total, Moments)
        np.testing.assert_array_equal(total.count, [4, 3])
        np.testing.assert_array_equal(total.mean, [4, 50 / 3])
        np.testing.assert_allclose(total.variance(), [26 / 4, 2600 / 9], rtol=1e-14)

    def test_weighted(self):
        summary = GroupedMoments.from_array(self.X, self.GROUPS, [2, 6, 0, 1])
        assert summary.labels.tolist() == ["b"]
        np.testing.assert_array_equal(summary.weight_sum, [[8, 2]])
        np.testing.assert_array_equal(summary.mean, [[2.5, 10]])

    def test_one_group(self):
        moments = GroupedMoments.from_array(self.X, self.GROUPS)["b"]
        assert isinstance(moments, Moments)
        np.testing.assert_array_equal(moments.mean, [2, 10])
        np.testing.assert_array_equal(moments.merge(moments).count, [4, 2])

    @pytest.mark.parametrize("label", ["c", None])
    def test_one_that_is_not_there(self, label):
        with pytest.raises(KeyError, match=repr(label)):
            GroupedMoments.from_array(self.X, self.GROUPS)[label]

    def test_labels_are_iterated_over(self):
        summary = GroupedMoments.from_array(self.X, self.GROUPS)
        assert list(summary) == summary.labels.tolist()
        assert "b" in summary
        assert "c" not in summary

    def test_find(self):
        summary = GroupedMoments.from_array(self.X, self.GROUPS)
        places = summary.find(["b", "z", None, "a", np.nan])
        assert places.tolist() == [1, -1, -1, 0, -1]

    def test_no_labels(self):
        summary = GroupedMoments.from_array(self.X)
        assert summary.n_groups == 0
        assert summary.mean.shape == summary.std().shape == (0, 2)
        np.testing.assert_array_equal(summary.total().mean, [4, 50 / 3])
        assert summary.find(["a", "b"]).tolist() == [-1, -1]

    def test_no_rows(self):
        for summary in (
            GroupedMoments.empty(2),
            GroupedMoments.from_array(np.empty((0, 2)), []),
        ):
            assert (summary.n_groups, summary.n_features) == (0, 2)
            np.testing.assert_array_equal(summary.total().count, [0, 0])

    def test_groups_that_come_later(self):
        summary = GroupedMoments.from_array([[1.0]], [5]).update([[3.0], [9.0]], [5, 2])
        assert summary.labels.tolist() == [2, 5]
        np.testing.assert_array_equal(summary.mean, [[9], [2]])

    def test_numbers_of_several_kinds_are_the_same_label(self):
        summary = GroupedMoments.from_array([[1.0]], [5]).update([[3.0]], [5.0])
        np.testing.assert_array_equal(summary.mean, [[2]])

    def test_large_numbers_of_several_kinds_are_kept_apart(self):
        first = GroupedMoments.from_array([[1.0], [3.0]], [2**53, 2**53 + 1])
        second = GroupedMoments.from_array([[5.0]], np.array([2.0**53]))
        third = GroupedMoments.from_array([[7.0]], np.array([2**53 + 1], np.uint64))
        summary = first.merge(second).merge(third)
        assert summary.labels.tolist() == [2**53, 2**53 + 1]
        np.testing.assert_array_equal(summary.mean, [[3], [5]])
        assert summary.find([2.0**53, 0.5]).tolist() == [0, -1]


class TestValues:
    def test_updating_merging_and_forgetting_make_new_ones(self, rng):
        X, groups = rng.normal(size=(10, 3)), np.arange(10) // 3
        summary = GroupedMoments.from_array(X, groups)
        before = pickle.dumps(summary)
        summary.update(X, groups + 1, np.arange(10)).merge(summary).forget(0.5)
        assert pickle.dumps(summary) == before

    def test_it_is_read_only(self, remake):
        summary = remake(GroupedMoments.from_array([[1.0], [2.0]], [0, 1]))
        for array in (summary.mean, summary.labels, summary.rest.mean):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        with pytest.raises(AttributeError, match="cannot assign"):
            summary.labels = None

    def test_it_pickles(self, rng):
        X, groups = rng.normal(size=(10, 3)), np.array(list("aabbbccccc"))
        summary = GroupedMoments.from_array(X, groups, rng.random(10))
        copy = pickle.loads(pickle.dumps(summary))
        assert_same(copy.update(X, groups), summary.update(X, groups), scale=0)

    def test_forget(self):
        summary = GroupedMoments.from_array([[0.0], [0.0], [6.0]], [1, 1, None])
        summary = summary.forget(0.5).update([[4.0]], [1])
        np.testing.assert_array_equal(summary.mean, [[2]])
        np.testing.assert_array_equal(summary.weight_sum, [[2]])
        np.testing.assert_array_equal(summary.rest.weight, [0.5])
        with pytest.raises(ValueError, match=r"number in \(0, 1\]. Got 2"):
            summary.forget(2)


class TestMistakes:
    @pytest.mark.parametrize(
        ("X", "groups", "weight", "message"),
        [
            ([1.0], None, None, "GroupedMoments needs a table of real numbers"),
            ([["a"]], None, None, "GroupedMoments needs a table of .* dtype <U1"),
            ([[1.0, np.inf]], ["a"], None, r"finite values, but the columns \[1\]"),
            ([[-np.inf]], [None], None, r"finite values, but the columns \[0\]"),
            ([[1.0]], ["a", "b"], None, "label for each of the 1 rows. Got 2 labels"),
            ([[1.0]], [["a", "b"]], None, r"in one dimension.*shape \(1, 2\)"),
            ([[1.0]], ["a"], [-1.0], "finite numbers that are not negative"),
            ([[1.0], [2.0]], [1, "a"], None, "of one kind that has an order"),
            ([[1.0], [2.0]], [1, 1], [1e308, 1e308], "sum of sample_weight passes"),
            ([[1.0], [2.0]], None, [1e308, 1e308], "sum of sample_weight passes"),
        ],
    )
    def test_of_a_table(self, X, groups, weight, message):
        with pytest.raises(ValueError, match=message):
            GroupedMoments.from_array(X, groups, weight)

    def test_another_number_of_columns(self):
        message = "Summaries of 2 and of 3 columns can't be merged."
        with pytest.raises(ValueError, match=message):
            GroupedMoments.empty(2).merge(GroupedMoments.empty(3))

    def test_another_kind_of_summary(self):
        message = "GroupedMoments can be merged with GroupedMoments only. Got Moments."
        with pytest.raises(TypeError, match=message):
            GroupedMoments.empty(2).merge(Moments.empty(2))

    def test_labels_of_another_kind(self):
        summary = GroupedMoments.from_array([[1.0]], ["a"])
        for method in (lambda: summary.update([[1.0]], [1]), lambda: summary.find([1])):
            with pytest.raises(ValueError, match="of one kind that has an order"):
                method()


@several
@given(tables())
def test_each_group_is_summarised_as_if_alone(table):
    X, labels = table
    summary = GroupedMoments.from_array(X, labels)
    assert summary.labels.tolist() == sorted(set(labels) - {None})
    for label in summary.labels:
        alone = Moments.from_array(X[[other == label for other in labels]])
        moments = summary[label]
        np.testing.assert_array_equal(moments.count, alone.count)
        np.testing.assert_allclose(moments.mean, alone.mean, rtol=1e-14, atol=1e-9)
        np.testing.assert_allclose(moments.std(), alone.std(), rtol=1e-14, atol=1e-9)
    np.testing.assert_allclose(
        summary.total().mean, Moments.from_array(X).mean, rtol=1e-14, atol=1e-9
    )


@several
@given(tables(), tables())
def test_merging_commutes(a, b):
    a, b = GroupedMoments.from_array(*a), GroupedMoments.from_array(*b)
    assert_same(a.merge(b), b.merge(a))


@several
@given(tables(), tables(), tables())
def test_merging_associates(a, b, c):
    a, b, c = (GroupedMoments.from_array(*part) for part in (a, b, c))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))


@several
@given(tables(), tables())
def test_updating_is_summarising_all(a, b):
    together = np.concatenate([a[0], b[0]]), a[1] + b[1]
    assert_same(
        GroupedMoments.from_array(*a).update(*b), GroupedMoments.from_array(*together)
    )


@several
@given(tables())
def test_nothing_is_neutral(table):
    summary, nothing = GroupedMoments.from_array(*table), GroupedMoments.empty(2)
    assert_same(summary.merge(nothing), summary, scale=0)
    assert_same(nothing.merge(summary), summary, scale=0)


@several
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing(table, random):
    X, labels = table
    order = list(range(len(X)))
    random.shuffle(order)
    assert_same(
        GroupedMoments.from_array(X[order], [labels[i] for i in order]),
        GroupedMoments.from_array(X, labels),
    )


@several
@given(tables(), st.data())
def test_integer_weights_are_repetition(table, data):
    X, labels = table
    weight = data.draw(hnp.arrays(np.int64, len(X), elements=st.integers(0, 5)))
    repeated = [v for v, w in zip(labels, weight, strict=True) for _ in range(w)]
    weighted = GroupedMoments.from_array(X, labels, weight)
    whole = GroupedMoments.from_array(np.repeat(X, weight, axis=0), repeated)
    assert weighted.labels.tolist() == whole.labels.tolist()
    for name in ("mean", "weight_sum"):
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(whole, name), rtol=1e-14, atol=1e-9
        )
    np.testing.assert_allclose(weighted.std(), whole.std(), rtol=1e-14, atol=1e-9)
