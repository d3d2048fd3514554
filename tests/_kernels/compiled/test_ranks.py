import numpy as np
import pytest

from sknorm._kernels import ranks
from sknorm._kernels.compiled import ranks as compiled

# Few numbers, and more rows than are looked up together.
SHAPES = [(1, 1), (7, 3), (1024, 2), (2_500, 3)]


def tables(rng, n_knots, n_features):
    knots = np.sort(rng.standard_t(2, size=(n_knots, n_features)), axis=0)
    values = np.sort(rng.normal(size=(n_knots, n_features)), axis=0)
    # Columns of fewer knots repeat their last one.
    knots[n_knots // 2 :, 0] = knots[n_knots // 2, 0]
    values[n_knots // 2 :, 0] = values[n_knots // 2, 0]
    return knots, values


def data(rng, shape, dtype, order, knots):
    X = 3 * rng.standard_t(2, size=shape)
    exact = rng.random(shape) < 0.3
    X[exact] = rng.choice(knots.ravel(), size=shape)[exact]
    # Just below a knot rounding may lead past its value.
    X = np.where(rng.random(shape) < 0.3, np.nextafter(X, -np.inf), X)
    X[rng.random(shape) < 0.1] = np.nan
    return X.astype(dtype, order=order)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_knots", [1, 2, 8, 1000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_looked_up_as_in_numpy(rng, shape, n_knots, dtype, order):
    knots, values = tables(rng, n_knots, shape[1])
    X = data(rng, shape, dtype, order, knots)
    X.setflags(write=False)
    padded = ranks.by_column(knots, np.inf), ranks.by_column(values, None)
    results = []
    for look_up in (ranks._interpolate_rows, compiled.interpolate_rows(X.dtype)):
        out = np.empty_like(X)
        infinite = np.zeros(shape[1], dtype=bool)
        look_up(X, *padded, knots[-1].copy(), out, infinite)
        assert not infinite.any()
        results.append(out)
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(np.isnan(results[1]), np.isnan(X))


def test_just_below_a_knot_nothing_is_above_it(rng):
    # Two values whose difference is mostly rounded, in many columns.
    knots, values = tables(rng, 2, 1_000)
    padded = ranks.by_column(knots, np.inf), ranks.by_column(values, None)
    X = np.nextafter(knots, -np.inf)
    out = np.empty_like(X)
    infinite = np.zeros(1_000, dtype=bool)
    compiled.interpolate_rows(X.dtype)(X, *padded, knots[-1].copy(), out, infinite)
    assert (out <= values).all()


@pytest.mark.parametrize("knot", [-1.7e308, 0.0, 1.7e308])
def test_the_largest_numbers(knot):
    knots, values = np.array([[knot]]), np.array([[2.0]])
    padded = ranks.by_column(knots, np.inf), ranks.by_column(values, None)
    X = np.array([[-1.7e308], [1.7e308], [knot]])
    out = np.empty_like(X)
    compiled.interpolate_rows(X.dtype)(
        X, *padded, knots[-1].copy(), out, np.zeros(1, bool)
    )
    np.testing.assert_array_equal(out, [[2.0]] * 3)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_reported_by_column(rng, value):
    knots, values = tables(rng, 4, 3)
    X = rng.normal(size=(2_500, 3))
    X[2_000, 1] = value
    X[0, 2] = np.nan
    infinite = np.zeros(3, dtype=bool)
    padded = ranks.by_column(knots, np.inf), ranks.by_column(values, None)
    compiled.interpolate_rows(X.dtype)(
        X, *padded, knots[-1].copy(), np.empty_like(X), infinite
    )
    assert infinite.tolist() == [False, True, False]


def test_every_layout_runs_the_same_code(rng):
    knots, values = tables(rng, 4, 3)
    padded = ranks.by_column(knots, np.inf), ranks.by_column(values, None)
    X = rng.normal(size=(20, 6))
    for part in (X[:, :3], X[::2, ::2], np.asfortranarray(X)[:, :3], X[::-1, :3]):
        out = np.empty_like(part)
        infinite = np.zeros(3, dtype=bool)
        compiled.interpolate_rows(X.dtype)(
            part, *padded, knots[-1].copy(), out, infinite
        )
        expected, _ = ranks.interpolate_columns(part, knots, values)
        np.testing.assert_array_equal(out, expected)
    assert len(compiled.interpolate_rows(X.dtype).signatures) == 1
