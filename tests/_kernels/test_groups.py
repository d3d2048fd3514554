from dataclasses import fields

import numpy as np
import pytest

import sknorm._kernels.groups as module
from sknorm._kernels.groups import (
    each_field,
    group_moments,
    label_moments,
    merge_groups,
    merge_rows,
    scale_groups,
)
from sknorm._kernels.merging import ColumnMoments, merge
from sknorm._kernels.moments import column_moments


def assert_same(a, b, rtol=1e-14):
    for field in fields(ColumnMoments):
        if field.name != "remainder":
            np.testing.assert_allclose(
                getattr(a, field.name), getattr(b, field.name), rtol=rtol
            )


def one_by_one(X, codes, n_groups, weight=None):
    parts = [
        column_moments(X[codes == g], None if weight is None else weight[codes == g])
        for g in range(n_groups)
    ]
    return each_field(lambda *arrays: np.stack(arrays), *parts)


class TestGroupMoments:
    def test_by_hand(self):
        X = np.array([[1.0, 5.0], [3.0, np.nan], [8.0, 7.0], [2.0, 9.0]])
        moments = group_moments(X, np.array([0, 0, 2, 2]), 3)
        np.testing.assert_array_equal(moments.count, [[2, 1], [0, 0], [2, 2]])
        np.testing.assert_array_equal(moments.weight, [[2, 1], [0, 0], [2, 2]])
        np.testing.assert_array_equal(moments.mean, [[2, 5], [np.nan] * 2, [5, 8]])
        np.testing.assert_array_equal(moments.std, [[1, 0], [np.nan] * 2, [3, 1]])

    # Large enough for a few tiles: groups end within them, and go over several.
    @pytest.mark.parametrize("n_groups", [1, 2, 7, 4_000])
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("missing", [0.0, 0.3])
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_as_group_by_group(self, rng, n_groups, weighted, missing, order, dtype):
        X = rng.normal(size=(40_000, 5)).astype(dtype, order=order)
        X[rng.random(X.shape) < missing] = np.nan
        codes = rng.integers(0, n_groups, len(X))
        weight = rng.integers(0, 3, len(X)) * 0.5 if weighted else None
        some = min(n_groups, 20)
        moments = group_moments(X, codes, n_groups, weight)
        assert moments.mean.shape == (n_groups, 5)
        first = each_field(lambda a: a[:some], moments)
        # A mean near 0 has the rounding of values near 1.
        expected = one_by_one(X, codes, some, weight)
        np.testing.assert_allclose(first.mean, expected.mean, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(first.count, expected.count)
        np.testing.assert_allclose(first.std, expected.std, rtol=1e-13)

    def test_more_groups_than_digits_of_the_sort(self, rng):
        n_groups = 70_000
        codes = np.r_[rng.permutation(n_groups), rng.integers(0, n_groups, 20_000)]
        X = np.stack([codes, -codes], axis=1).astype(np.float64)
        moments = group_moments(X, codes, n_groups)
        np.testing.assert_array_equal(moments.mean[:, 0], np.arange(n_groups))
        np.testing.assert_array_equal(moments.std, 0)
        np.testing.assert_array_equal(
            moments.count[:, 1], np.bincount(codes, minlength=n_groups)
        )

    def test_wide_tables(self, rng):
        X, codes = rng.normal(size=(300, 300)), rng.integers(0, 3, 300)
        assert_same(group_moments(X, codes, 3), one_by_one(X, codes, 3), rtol=1e-12)

    @pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-170, 1e160])
    def test_squares_that_leave_the_range_of_doubles(self, scale):
        X = scale * np.array([[1.0], [2.0], [6.0], [5.0], [5.0]])
        moments = group_moments(X, np.array([0, 0, 0, 1, 1]), 2)
        expected = scale * np.array([[(14 / 3) ** 0.5], [0]])
        np.testing.assert_allclose(moments.std, expected, rtol=1e-14)

    def test_offsets_of_groups_cost_no_digits(self, rng):
        codes = rng.integers(0, 5, 2_000)
        unit = rng.normal(size=(2_000, 3))
        X = unit + 1e6 * codes[:, None]
        expected = one_by_one(X - 1e6 * codes[:, None], codes, 5)
        # Subtracting the offset again is exact: what was lost was lost in adding.
        np.testing.assert_allclose(
            group_moments(X, codes, 5).std, expected.std, rtol=1e-14
        )

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_infinite_values(self, value):
        X = np.zeros((4, 2))
        X[2, 1] = value
        moments = group_moments(X, np.array([0, 0, 1, 1]), 2)
        np.testing.assert_array_equal(moments.infinite, [[False] * 2, [False, True]])

    def test_rows_of_weight_zero_are_not_looked_at(self):
        X = np.array([[1.0], [np.inf], [3.0], [np.inf]])
        weight = np.array([1.0, 0.0, 1.0, 0.0])
        moments = group_moments(X, np.array([0, 0, 0, 1]), 2, weight)
        np.testing.assert_array_equal(moments.mean, [[2], [np.nan]])

    def test_no_rows(self):
        moments = group_moments(np.empty((0, 2)), np.empty(0, dtype=np.int64), 3)
        np.testing.assert_array_equal(moments.count, np.zeros((3, 2)))
        np.testing.assert_array_equal(moments.mean, np.full((3, 2), np.nan))

    def test_the_number_of_threads_is_nothing(self, rng, monkeypatch):
        X, codes = rng.normal(size=(60_000, 20)), rng.integers(0, 50, 60_000)
        both = []
        for threads in (1, 2):
            monkeypatch.setattr(
                "sknorm._kernels.threads.thread_count", lambda n=threads: n
            )
            both.append(group_moments(X, codes, 50))
        for field in fields(ColumnMoments):
            np.testing.assert_array_equal(*(getattr(m, field.name) for m in both))


class TestLabelMoments:
    X = np.array([[1.0], [3.0], [10.0], [7.0]])

    def test_with_labels(self):
        labels = np.array(["b", "a", None, "b"], dtype=object)
        found, columns, rest = label_moments(self.X, labels)
        assert found.tolist() == ["a", "b"]
        np.testing.assert_array_equal(columns.mean, [[3], [4]])
        np.testing.assert_array_equal(rest.mean, [10])

    def test_without(self):
        found, columns, rest = label_moments(self.X, None)
        assert len(found) == 0
        assert columns.mean.shape == (0, 1)
        np.testing.assert_array_equal(rest.mean, [5.25])

    def test_a_row_of_weight_zero_makes_no_group(self):
        labels, weight = np.array([3, 1, 2, 3]), np.array([1.0, 0.0, 2.0, 1.0])
        found, columns, rest = label_moments(self.X, labels, weight)
        assert found.tolist() == [2, 3]
        np.testing.assert_array_equal(columns.mean, [[10], [4]])
        assert rest.count == 0


@pytest.mark.parametrize("sizes", [[1], [2], [3, 1], [1, 8, 1, 5], [0], [7]])
def test_merge_groups(rng, sizes):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    parts = [column_moments(rng.normal(size=(4, 2))) for _ in codes]
    stack = (
        each_field(lambda *arrays: np.array(arrays).reshape(len(codes), 2), *parts)
        if parts
        else each_field(lambda a: a[None][:0], column_moments(np.ones((1, 2))))
    )
    before = stack.mean.copy()
    found, moments = merge_groups(codes, stack)
    assert found.tolist() == [i for i, size in enumerate(sizes) if size]
    for row, code in enumerate(found):
        whole = None
        for part in (p for p, c in zip(parts, codes, strict=True) if c == code):
            whole = part if whole is None else merge(whole, part)
        assert_same(each_field(lambda a, row=row: a[row], moments), whole, rtol=1e-13)
    np.testing.assert_array_equal(stack.mean, before)


@pytest.mark.parametrize("n_parts", [1, 2, 7, 64])
def test_merge_rows(rng, n_parts, monkeypatch):
    X = rng.normal(size=(n_parts, 5, 3))
    X[rng.random(X.shape) < 0.3] = np.nan
    X[0, :, 1] = np.nan
    stack = each_field(
        lambda *arrays: np.array(arrays), *(column_moments(part) for part in X)
    )
    whole = column_moments(X.reshape(-1, 3))
    for limit in (np.inf, 0):
        monkeypatch.setattr(module, "_WORTH_COMPILING", limit)
        merged = merge_rows(stack)
        np.testing.assert_array_equal(merged.count, whole.count)
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(merged.std, whole.std, rtol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
class TestScaleGroups:
    CENTER = np.array([[1.0, 2.0], [10.0, 20.0], [0.0, 0.0]])
    SCALE = np.array([[2.0, 4.0], [1.0, 0.5], [1.0, 1.0]])
    CODES = np.array([0, 1, -1, 0])
    X = np.array([[3.0, 2.0], [11.0, 20.5], [5.0, np.nan], [1.0, 10.0]])
    Z = np.array([[1.0, 0.0], [1.0, 1.0], [5.0, np.nan], [0.0, 2.0]])

    def test_there_and_back(self, order, dtype):
        X = self.X.astype(dtype, order=order)
        Z = scale_groups(X, self.CODES, (self.CENTER,), self.SCALE)
        np.testing.assert_array_equal(Z, self.Z)
        assert Z.dtype == dtype
        back = scale_groups(Z, self.CODES, (self.CENTER,), self.SCALE, undo=True)
        np.testing.assert_array_equal(back, X)
        np.testing.assert_array_equal(X, self.X)

    def test_one_of_the_two(self, order, dtype):
        X = self.X.astype(dtype, order=order)
        np.testing.assert_array_equal(
            scale_groups(X, self.CODES, (self.CENTER,), None),
            self.X - self.CENTER[self.CODES],
        )
        np.testing.assert_array_equal(
            scale_groups(X, self.CODES, (), self.SCALE),
            self.X / self.SCALE[self.CODES],
        )
        np.testing.assert_array_equal(scale_groups(X, self.CODES, (), None), X)

    def test_in_place(self, order, dtype):
        X = self.X.astype(dtype, order=order)
        assert scale_groups(X, self.CODES, (self.CENTER,), self.SCALE, X) is X
        np.testing.assert_array_equal(X, self.Z)

    def test_infinite_values_are_found_before_anything_is_written(self, order, dtype):
        X = self.X.astype(dtype, order=order)
        X[3, 0] = -np.inf
        before = X.copy()

        def refuse(infinite):
            np.testing.assert_array_equal(infinite, [True, False])
            raise OverflowError

        with pytest.raises(OverflowError):
            scale_groups(X, self.CODES, (), self.SCALE, X, on_infinite=refuse)
        np.testing.assert_array_equal(X, before)

    def test_large_sums_are_no_infinite_values(self, order, dtype):
        X = np.full((40, 2), np.finfo(dtype).max, dtype=dtype, order=order)
        Z = scale_groups(X, np.zeros(40, dtype=int), (), None, on_infinite=pytest.fail)
        np.testing.assert_array_equal(Z, X)

    def test_many_tiles(self, order, dtype, rng):
        X = rng.normal(size=(30_000, 40)).astype(dtype, order=order)
        codes = rng.integers(0, 9, len(X))
        center, scale = rng.normal(size=(9, 40)), 0.5 + rng.random((9, 40))
        Z = scale_groups(X, codes, (center, center), scale)
        expected = (X.astype(np.float64) - center[codes] - center[codes]) / scale[codes]
        np.testing.assert_array_equal(Z, expected.astype(dtype))


def test_small_tables_load_no_compiled_code(rng, monkeypatch):
    monkeypatch.setattr(module, "compiled_kernels", pytest.fail)
    group_moments(rng.normal(size=(10_000, 20)), rng.integers(0, 9, 10_000), 9)
