import numpy as np
import pytest

from sknorm._kernels.compiled import compiled_kernels

look_through = compiled_kernels("quantiles").look_through
LARGEST = float(np.finfo(np.float64).max)
# A line of rows, and a part of another.
N_ROWS = 1_500


def look(X, edges, weight=(), center=None):
    """Return sums, totals, and what was collected with its weights, of each column."""
    n, p = X.shape
    sums = np.zeros((p, 2, edges.shape[1]))
    totals = np.tile([0.0, 0.0, np.inf, -np.inf], (p, 1))
    values, weights = np.full((2, p, n + 1), np.nan)
    inside = np.zeros(p, dtype=np.int64)
    origin = np.zeros(p) if center is None else center
    look_through(X.dtype)(
        X, np.array(weight, dtype=np.float64), origin, center is not None,
        edges, sums, totals, values, weights, inside,
    )  # fmt: skip
    kept = [(values[j, :k], weights[j, :k]) for j, k in enumerate(inside)]
    return sums, totals, kept


def test_by_hand():
    X = np.array([[1.0], [5.0], [np.nan], [3.0], [5.0], [2.0]])
    sums, totals, [(values, _)] = look(X, np.array([[1.0, 3.0, 5.0, 9.0]]))
    np.testing.assert_array_equal(sums[0, 0], [0, 2, 3, 5])
    np.testing.assert_array_equal(sums[0, 1], [1, 1, 2, 0])
    np.testing.assert_array_equal(totals, [[5, 5, 1, 5]])
    np.testing.assert_array_equal(values, [2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_as_numpy(rng, dtype, weighted, order):
    X = np.array(np.rint(8 * rng.normal(size=(N_ROWS, 3))), dtype, order=order)
    X[rng.random(X.shape) < 0.1] = np.nan
    edges = np.array(
        [[-8.0, -4, 2, 6], [-np.inf, 0, 0, np.inf], [3, 5, np.nan, np.nan]]
    )
    weight = rng.integers(0, 3, N_ROWS).astype(float) if weighted else np.ones(N_ROWS)
    sums, totals, kept = look(X, edges, weight if weighted else ())
    for j, (column, at) in enumerate(zip(X.T, edges, strict=True)):
        counted = (weight > 0) & ~np.isnan(column)
        x, w = column[counted], weight[counted]
        np.testing.assert_array_equal(sums[j, 0], [w[x < e].sum() for e in at])
        np.testing.assert_array_equal(sums[j, 1], [w[x == e].sum() for e in at])
        np.testing.assert_array_equal(totals[j], [len(x), w.sum(), x.min(), x.max()])
        inside = ((x > at[0]) & (x < at[1])) | ((x > at[2]) & (x < at[3]))
        np.testing.assert_array_equal(kept[j][0], x[inside])
        np.testing.assert_array_equal(kept[j][1], w[inside])


def test_deviations(rng):
    X = rng.normal(size=(N_ROWS, 2))
    X[0] = [-LARGEST, np.nan]
    center = np.array([LARGEST, 0.5])
    edges = np.array([[0.0, np.inf], [0.0, 1.0]])
    _, totals, kept = look(X, edges, center=center)
    # A distance beyond the largest double is the largest double.
    np.testing.assert_array_equal(kept[0][0], np.full(N_ROWS, LARGEST))
    assert totals[0, 3] == LARGEST
    away = np.abs(X[1:, 1] - 0.5)
    np.testing.assert_array_equal(kept[1][0], away[away < 1])


def test_infinite_values_are_extremes():
    X = np.array([[1.0, np.inf], [-np.inf, 2.0]])
    _, totals, _ = look(X, np.full((2, 2), np.nan))
    np.testing.assert_array_equal(totals[:, 2:], [[-np.inf, 1], [2, np.inf]])


def test_calls_add_up(rng):
    X = rng.normal(size=(N_ROWS, 1))
    edges = np.array([[-1.0, 1.0]])
    whole_sums, whole_totals, _ = look(X, edges)
    sums, totals = np.zeros((1, 2, 2)), np.array([[0.0, 0.0, np.inf, -np.inf]])
    for rows in (slice(0, 400), slice(400, N_ROWS)):
        look_through(X.dtype)(
            X[rows], np.empty(0), np.zeros(1), False, edges, sums, totals,
            *np.empty((2, 1, N_ROWS + 1)), np.zeros(1, dtype=np.int64),
        )  # fmt: skip
    np.testing.assert_array_equal(sums, whole_sums)
    np.testing.assert_array_equal(totals, whole_totals)
