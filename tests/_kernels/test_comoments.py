import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sknorm._kernels import comoments as kernel
from sknorm._kernels.comoments import comoments, empty_comoments, merge


def correlations(found):
    return found.root.T @ found.root


def expected(X, weight=None):
    """Return correlations, third and fourth moments the plain way."""
    w = np.ones(len(X)) if weight is None else weight
    w = w / w.sum()
    y = X - w @ X
    y -= w @ y  # What rounding took off the mean.
    y = y / np.sqrt(w @ y**2)
    return (
        (w[:, None] * y).T @ y,
        (y**2 * w[:, None]).T @ y,
        (y**2).T @ (y**2 * w[:, None]),
    )


def assert_same(a, b, atol=1e-12):
    np.testing.assert_array_equal(a.present, b.present)
    np.testing.assert_array_equal(a.columns.count, b.columns.count)
    np.testing.assert_allclose(a.weight, b.weight, rtol=1e-13)
    np.testing.assert_allclose(a.columns.mean, b.columns.mean, rtol=1e-12)
    np.testing.assert_allclose(correlations(a), correlations(b), rtol=0, atol=atol)
    assert (a.fourth is None) == (b.fourth is None)
    if a.fourth is not None:
        np.testing.assert_allclose(a.third, b.third, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(a.fourth, b.fourth, rtol=1e-10, atol=1e-10)


@pytest.fixture
def X(rng):
    return rng.normal(size=(600, 4)) @ rng.normal(size=(4, 4)) + [1e3, 0, -1, 5]


def rotated(rng, n_rows, n_columns, ratio):
    """Return columns of which some combination varies ``ratio`` times less."""
    stds = np.geomspace(1, 1 / ratio, n_columns)
    basis, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
    return rng.normal(size=(n_rows, n_columns)) * stds @ basis.T


def test_by_hand():
    X = np.array([[0.0, 2.0, 7.0], [0.0, -2.0, 7.0], [4.0, 2.0, 7.0], [4.0, -2.0, 7.0]])
    found = comoments(np.column_stack([X, X[:, 0] + X[:, 1]]), higher=True)
    half = np.sqrt(0.5)
    R = [[1, 0, 0, half], [0, 1, 0, half], [0, 0, 0, 0], [half, half, 0, 1]]
    np.testing.assert_allclose(correlations(found), R, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(found.columns.mean, [2, 0, 7, 2])
    np.testing.assert_allclose(found.third, np.zeros((4, 4)), atol=1e-15)
    np.testing.assert_allclose(
        found.fourth,
        [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 2]],
        atol=1e-14,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_as_computed_the_plain_way(X, rng, weighted, dtype, order):
    X = (10 * X).astype(dtype, order=order)
    weight = rng.integers(0, 3, len(X)).astype(float) if weighted else None
    before = X.copy()
    found = comoments(X, weight, higher=True)
    second, third, fourth = expected(X.astype(float), weight)
    np.testing.assert_allclose(correlations(found), second, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.third, third, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.fourth, fourth, rtol=0, atol=1e-12)
    assert comoments(X, weight).third is None
    assert_same(comoments(X, weight), kernel.replace(found, third=None, fourth=None))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("higher", [False, True])
def test_weights_are_repetitions_and_only_ratios_of_them_matter(X, rng, higher):
    weight = rng.integers(0, 4, len(X)).astype(float)
    repeated = comoments(np.repeat(X, weight.astype(int), axis=0), higher=higher)
    for unit in (1.0, 1e-200, 1e200):
        found = comoments(X, unit * weight, higher=higher)
        np.testing.assert_allclose(correlations(found), correlations(repeated), 1e-12)
        np.testing.assert_allclose(found.weight / unit, repeated.weight, rtol=1e-12)
    if higher:
        np.testing.assert_allclose(found.fourth, repeated.fourth, rtol=1e-11)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 16, 17])
def test_few_rows(rng, n_rows):
    X = rng.normal(size=(n_rows, 4))
    found = comoments(X)
    assert len(found.root) <= 4
    if n_rows > 1:
        np.testing.assert_allclose(correlations(found), np.corrcoef(X.T), atol=1e-14)
    else:
        np.testing.assert_array_equal(found.root, np.zeros((1, 4)))


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e6])
def test_directions_of_small_variance_keep_their_digits(rng, offset, ratio):
    X = rotated(rng, 4_000, 6, ratio) + offset
    deviations = X - X.mean(axis=0)
    deviations -= deviations.mean(axis=0)
    exact = np.linalg.qr(deviations / np.sqrt(len(X)), mode="r")
    found = comoments(X)
    root = found.root * found.columns.std
    # Of the same products are roots that a rotation turns into each other.
    turn = np.linalg.solve(exact.T, root.T)
    # Up to a ratio of 300 sums of products do, with errors of its square.
    atol = 1e-15 * max(ratio, 1e3)
    np.testing.assert_allclose(turn @ turn.T, np.eye(6), rtol=0, atol=atol)


def test_one_pass_over_the_products_would_lose_them(rng, monkeypatch):
    """The test above can fail: without the second pass this is what is left."""
    monkeypatch.setattr(kernel, "_BALANCED", -np.inf)
    X = rotated(rng, 4_000, 6, 1e6)
    exact = np.linalg.qr((X - X.mean(axis=0)) / np.sqrt(len(X)), mode="r")
    found = comoments(X)
    turn = np.linalg.solve(exact.T, (found.root * found.columns.std).T)
    assert np.abs(turn @ turn.T - np.eye(6)).max() > 1e-6


def test_offsets_that_no_single_double_holds(rng):
    X = 1e12 + rng.normal(size=(500, 3))
    exact = X - 1e12  # Without rounding.
    found = comoments(X)
    np.testing.assert_allclose(correlations(found), np.corrcoef(exact.T), atol=1e-14)


def test_scales_far_apart(rng):
    X = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3))
    found = comoments(X * [1e-150, 1.0, 1e200])
    np.testing.assert_allclose(correlations(found), np.corrcoef(X.T), atol=1e-14)


@pytest.mark.parametrize("shape", [(70_000, 5), (3_000, 120), (700, 600)])
@pytest.mark.parametrize("higher", [False, True])
def test_tiles_and_parts_join_to_the_whole(rng, shape, higher):
    X = rng.normal(size=shape) + 3
    found = comoments(X, higher=higher)
    second, _, fourth = expected(X)
    np.testing.assert_allclose(correlations(found), second, rtol=0, atol=1e-12)
    if higher:
        np.testing.assert_allclose(found.fourth, fourth, rtol=1e-10)


def test_the_same_bits_whatever_the_threads(rng):
    X = rng.normal(size=(100_000, 11))
    many = comoments(X)
    with threadpool_limits(1):
        np.testing.assert_array_equal(comoments(X).root, many.root)


def test_rows_with_missing_values_are_left_out(X, rng):
    lacking = X.copy()
    lacking[rng.random(X.shape) < 0.1] = np.nan
    complete = ~np.isnan(lacking).any(axis=1)
    for weight in (None, rng.random(len(X))):
        found = comoments(lacking, weight, higher=True)
        part = None if weight is None else weight[complete]
        assert_same(found, comoments(lacking[complete], part, higher=True))
        assert found.columns.count[0] == complete.sum()


def test_columns_without_values_are_left_out(X):
    found = comoments(np.insert(X, 1, np.nan, axis=1), higher=True)
    np.testing.assert_array_equal(found.present, [True, False, True, True, True])
    rest = np.ix_(found.present, found.present)
    whole = comoments(X, higher=True)
    np.testing.assert_allclose(correlations(found)[rest], correlations(whole), 1e-12)
    np.testing.assert_array_equal(found.root[:, 1], 0)
    np.testing.assert_allclose(found.fourth[rest], whole.fourth, rtol=1e-12)
    assert np.isnan(found.columns.mean[1])


def test_no_complete_row():
    found = comoments(np.array([[1.0, np.nan], [np.nan, 2.0]]))
    np.testing.assert_array_equal(found.present, [True, True])
    np.testing.assert_array_equal(found.columns.count, [0, 0])
    assert found.root.shape == (0, 2)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_found_in_incomplete_rows_too(value):
    X = np.array([[1.0, 2.0], [np.nan, value], [3.0, 4.0]])
    np.testing.assert_array_equal(comoments(X).columns.infinite, [False, True])
    ignored = comoments(X, np.array([1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(ignored.columns.infinite, [False, False])


class TestMerge:
    @pytest.mark.parametrize("cut", [0, 1, 3, 300, 599])
    @pytest.mark.parametrize("higher", [False, True])
    def test_as_if_all_had_come_at_once(self, X, rng, cut, higher):
        X[:cut] += 50.0  # So that the means are apart.
        for weight in (np.ones(len(X)), rng.random(len(X))):
            a, b = (
                comoments(X[rows], weight[rows], higher=higher)
                for rows in (slice(cut), slice(cut, None))
            )
            whole = comoments(X, weight, higher=higher)
            assert_same(merge(a, b), whole)
            assert_same(merge(b, a), whole)

    @pytest.mark.parametrize("missing", [(0,), (1, 2)])
    def test_a_part_that_lacks_a_column_counts_no_longer(self, X, missing):
        lacking = X[:200].copy()
        lacking[:, missing] = np.nan
        parts = comoments(lacking), comoments(X[200:])
        whole = comoments(np.vstack([lacking, X[200:]]))
        assert_same(merge(*parts), whole)
        assert_same(merge(*parts[::-1]), whole)
        assert whole.columns.count[0] == 400

    def test_parts_that_lack_different_columns(self, X):
        a, b, c = X[:10].copy(), X[10:20].copy(), X[20:]
        a[:, 0] = b[:, 1] = np.nan
        none = merge(comoments(a), comoments(b))
        assert none.weight == 0
        assert none.present.all()
        assert_same(merge(none, comoments(c)), comoments(c))

    def test_with_nothing(self, X):
        for higher in (False, True):
            found = comoments(X, higher=higher)
            assert_same(merge(found, empty_comoments(4, higher=higher)), found, 0)
            assert_same(merge(empty_comoments(4, higher=higher), found), found, 0)

    def test_row_by_row(self, rng):
        X = rotated(rng, 60, 3, 1e4) + 1e3
        found = empty_comoments(3)
        for row in X:
            found = merge(found, comoments(row[None]))
        assert found.root.shape == (3, 3)
        whole = comoments(X)
        turn = np.linalg.solve(whole.root.T, found.root.T)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), rtol=0, atol=1e-8)

    def test_means_as_far_apart_as_doubles_go(self):
        low, high = (
            comoments(np.array([[x, 1.0], [x, 3.0]])) for x in (-1.5e308, 1.5e308)
        )
        merged = merge(low, high)
        np.testing.assert_allclose(correlations(merged), np.eye(2), atol=1e-15)


def test_results_are_read_only(X):
    found = comoments(X, higher=True)
    for array in (found.root, found.third, found.fourth, found.present):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_there_is_no_copy_of_the_table(rng):
    X = rng.normal(size=(400_000, 20))
    comoments(X)
    tracemalloc.start()
    comoments(X)
    comoments(rng.normal(size=(20, 20))[:, :2])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * X.nbytes
