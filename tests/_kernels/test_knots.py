import mpmath
import numpy as np
import pytest

from sknorm._kernels.knots import (
    Ranks,
    is_constant,
    kept_runs,
    knots_of_rows,
    knots_of_sorted,
    normal_scores,
    ranks_of_scores,
    segment_sums,
)

LARGEST = float(np.finfo(np.float64).max)


class TestSegmentSums:
    def test_by_hand(self):
        values = np.array([0.0, 1.0, 3.0, 4.0, 4.5, 5.0])
        starts = np.array([0, 3, 5])
        knots = values[starts]
        np.testing.assert_array_equal(
            segment_sums(values, None, starts, knots),
            [[1.0, 0.5, 0.0], [0.0625 + 0.5625, 0.25, 0.0]],
        )
        weight = np.array([9.0, 4.0, 2.0, 9.0, 6.0, 9.0])
        np.testing.assert_array_equal(
            segment_sums(values, weight, starts, knots),
            [[2.5, 3.0, 0.0], [0.25 + 1.125, 1.5, 0.0]],
        )

    def test_of_the_largest_numbers(self):
        values = np.array([-LARGEST, 0.0, 5e-324, LARGEST])
        sums = segment_sums(values, None, np.array([0, 3]), values[[0, 3]])
        np.testing.assert_array_equal(sums, [[1.0, 0.0], [0.5, 0.0]])
        sums = segment_sums(values, None, np.arange(4), values)
        np.testing.assert_array_equal(sums, np.zeros((2, 4)))


def test_ranks_by_hand():
    plain = Ranks(4, None)
    assert plain.total == 4
    np.testing.assert_array_equal(plain.below(np.array([0, 3])), [0, 3])
    np.testing.assert_array_equal(plain.mass(np.array([0, 3])), [3, 1])
    np.testing.assert_array_equal(
        plain.at(np.array([-1.0, 0.9, 2.0, 9.0])), [0, 0, 2, 3]
    )
    weighted = Ranks(3, np.array([2.0, 0.5, 1.5]))
    assert weighted.total == 4
    np.testing.assert_array_equal(weighted.below(np.array([0, 2])), [0, 2.5])
    np.testing.assert_array_equal(weighted.mass(np.array([0, 2])), [2.5, 1.5])
    np.testing.assert_array_equal(
        weighted.at(np.array([-1.0, 1.9, 2.0, 2.5, 9.0])), [0, 0, 1, 2, 2]
    )


@pytest.mark.parametrize("offset", [0.0, 3 / 8, 1.0])
def test_ranks_of_scores_are_where_they_come_from(offset):
    ranks = np.array([1.0, 1.5, 40.0, 99.0])
    scores = normal_scores(ranks - 1, ranks, 100.0, offset)
    # Of probability 1e-7 in place of 0.
    np.testing.assert_allclose(
        ranks_of_scores(scores, 100.0, offset),
        ranks,
        rtol=1e-5 if offset == 1 else 1e-12,
    )


def test_scores_of_runs_have_all_digits_in_both_tails():
    scores = normal_scores(np.array([0.0, 9.0]), np.array([1.0, 10.0]), 10.0, 0.5)
    with mpmath.workdps(30):
        expected = float(mpmath.sqrt(2) * mpmath.erfinv(mpmath.mpf("-0.9")))
    np.testing.assert_allclose(scores, [expected, -expected], rtol=1e-15)


def test_runs_by_hand():
    values = np.array([0.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    starts, ends = kept_runs(values, np.array([0, 2, 5]))
    assert starts.tolist() == [0, 1, 5]
    assert ends.tolist() == [1, 3, 6]


def test_a_run_of_many_levels_brings_its_neighbours():
    values = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.5, 2.0])
    starts, ends = kept_runs(values, np.array([0, 2, 3, 5, 7]))
    np.testing.assert_array_equal(values[starts], [0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(ends - starts, [1, 1, 4, 1, 1])


def test_knots_by_hand():
    knots = knots_of_sorted(np.array([1.0, 2.0, 2.0, 5.0, np.nan]), None, 10, 0.5)
    np.testing.assert_array_equal(knots.knots, [1, 2, 5])
    np.testing.assert_array_equal(knots.before, [0, 1, 3])
    np.testing.assert_array_equal(knots.through, [1, 3, 4])
    np.testing.assert_array_equal(knots.mass, [1, 2, 1])
    np.testing.assert_array_equal(knots.sums, np.zeros((2, 3)))
    assert knots.count == 4
    assert not knots.infinite


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_together_are_as_each_alone(rng, dtype, weighted):
    rows = rng.standard_t(3, size=(9, 400)).astype(dtype)
    rows[1, 7] = np.nan
    rows[2, :30] = 1.0
    rows[3] = 5.0
    rows[4, 0] = np.inf
    rows[5] = np.nan
    rows[6, :2] = -np.finfo(dtype).max, np.finfo(dtype).max
    rows.sort(axis=1)
    weights = rng.exponential(size=rows.shape) if weighted else None
    together = knots_of_rows(rows, weights, 50, 0.375)
    for j, found in enumerate(together):
        weight = weights[j] if weighted else None
        alone = knots_of_sorted(rows[j], weight, 50, 0.375)
        for name in ("knots", "before", "through", "mass", "sums"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
        assert (found.count, found.infinite) == (alone.count, alone.infinite)
    if not weighted:
        # So that their scores are computed once.
        assert together[0].through is together[8].through


@pytest.mark.parametrize(
    ("values", "count", "infinite"),
    [([np.nan], 0, False), ([-np.inf, 1.0], 2, True), ([1.0, np.inf], 2, True)],
)
def test_nothing_is_kept_of_no_numbers(values, count, infinite):
    knots = knots_of_sorted(np.array(values), None, 10, 0.5)
    assert np.isnan(knots.knots).all()
    assert knots.count == count
    assert knots.infinite == infinite


def test_constant_is_up_to_4_units_in_the_last_place():
    eps = np.finfo(np.float64).eps
    low, high = np.array([1.0, 1.0, -8.0]), np.array([1 + 4 * eps, 1 + 6 * eps, -8.0])
    assert is_constant(low, high).tolist() == [True, False, True]
