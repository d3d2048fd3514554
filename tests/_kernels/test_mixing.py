import numpy as np
import pytest

from sknorm._kernels.mixing import mix_columns, unmix_columns

CENTER, SCALE = (np.array([1.0, -1.0]),), np.array([2.0, 4.0])
MATRIX = np.array([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
DEPENDS = MATRIX != 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_by_hand(dtype, order):
    X = np.array([[3.0, 3.0], [1.0, -1.0]], dtype=dtype, order=order)
    before = X.copy()
    Z = mix_columns(X, CENTER, SCALE, MATRIX, DEPENDS)
    np.testing.assert_array_equal(Z, [[2, 2, 0], [0, 0, 0]])
    assert Z.dtype == dtype
    assert Z.flags[f"{order}_CONTIGUOUS"]
    np.testing.assert_array_equal(X, before)
    back = unmix_columns(Z, CENTER, SCALE, np.linalg.pinv(MATRIX), DEPENDS.T)
    np.testing.assert_allclose(back, X, rtol=1e-6)
    assert back.dtype == dtype


def test_a_missing_value_is_missed_where_something_depends_on_it():
    X = np.array([[np.nan, 3.0], [1.0, np.nan], [3.0, 3.0], [np.nan, np.nan]])
    nan = np.nan
    expected = [[nan, 2, 0], [nan, nan, 0], [2, 2, 0], [nan, nan, 0]]
    Z = mix_columns(X, CENTER, SCALE, MATRIX, DEPENDS)
    np.testing.assert_array_equal(Z, expected)
    everything = np.ones((3, 2), dtype=bool)
    Z = mix_columns(X, CENTER, SCALE, MATRIX, everything)
    np.testing.assert_array_equal(np.isnan(Z).all(axis=1), [True, True, False, True])


@pytest.mark.parametrize("function", [mix_columns, unmix_columns])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_out_may_be_the_input(rng, function, dtype, order):
    X = np.asarray(rng.normal(size=(50, 2)), dtype=dtype, order=order)
    X[3, 0] = np.nan
    square = rng.normal(size=(2, 2))
    expected = function(X, CENTER, SCALE, square, square != 0)
    assert function(X, CENTER, SCALE, square, square != 0, X) is X
    np.testing.assert_array_equal(X, expected)


@pytest.mark.parametrize("shape", [(300_000, 7), (2_000, 300), (1, 3), (5, 1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tiles_and_parts_join_to_the_whole(rng, shape, dtype):
    X = rng.normal(size=shape).astype(dtype)
    center, scale = rng.normal(size=shape[1]), rng.uniform(1, 2, size=shape[1])
    matrix = rng.normal(size=(shape[1] + 1, shape[1]))
    Z = mix_columns(X, (center,), scale, matrix, matrix != 0)
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    plain = ((X.astype(float) - center) / scale) @ matrix.T
    np.testing.assert_allclose(Z, plain, rtol=rtol, atol=rtol)
    back = unmix_columns(plain.astype(dtype), (center,), scale, matrix.T, matrix.T != 0)
    plain = (plain.astype(dtype).astype(float) @ matrix) * scale + center
    np.testing.assert_allclose(back, plain, rtol=rtol, atol=50 * rtol)


@pytest.mark.parametrize("function", [mix_columns, unmix_columns])
def test_infinite_values_are_reported_before_anything_is_written(function):
    def refuse(mask):
        raise ValueError(f"in {mask.tolist()}")

    X = np.array([[1.0, np.nan], [2.0, -np.inf]])
    before = X.copy()
    for out in (None, X):
        with pytest.raises(ValueError, match=r"in \[False, True\]"):
            function(X, CENTER, SCALE, np.eye(2), np.eye(2) > 0, out, refuse)
    np.testing.assert_array_equal(X, before)
    X[1, 1] = 0.0
    function(X, CENTER, SCALE, np.eye(2), np.eye(2) > 0, None, refuse)


def test_what_is_too_large_becomes_infinite_and_is_not_refused():
    def refuse(mask):
        raise AssertionError(mask)

    X = np.array([[3e38, 0.0]], dtype=np.float32)
    matrix = 1e10 * np.eye(2)
    Z = mix_columns(X, (), np.ones(2), matrix, matrix > 0, None, refuse)
    np.testing.assert_array_equal(Z, [[np.inf, 0]])
