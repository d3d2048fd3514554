"""Centering and scaling, where a difference or a product is no double."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
import torch

from sknorm.preprocessing import RobustStandardizer, Standardizer

BOTH = [Standardizer, RobustStandardizer]
# Of the first column differences pass the largest double, of the second they don't.
X = np.array([[-1.7e308, 1.0], [1.7e308, 2.0], [1.7e308, 4.0], [1.5e308, 5.0]])


def exact(X, center, scale):
    """Return the standardized numbers in rational arithmetic, as doubles."""
    return [
        [
            float((Fraction(x) - Fraction(c)) / Fraction(s))
            for x, c, s in zip(row, center, scale, strict=True)
        ]
        for row in X.tolist()
    ]


def centers(scaler):
    return scaler.mean_ if isinstance(scaler, Standardizer) else scaler.center_


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_beyond_half_the_largest_double(cls, order):
    data = np.array(X, order=order)
    scaler = cls().fit(data)
    Z = scaler.transform(data)
    expected = exact(X, centers(scaler), scaler.scale_)
    np.testing.assert_allclose(Z, expected, rtol=1e-15, atol=1e-15)
    back = scaler.inverse_transform(Z)
    np.testing.assert_allclose(back, X, rtol=1e-14)
    np.testing.assert_array_equal(data, X)


@pytest.mark.parametrize("cls", BOTH)
def test_other_columns_do_not_notice(cls):
    alone, beside = cls().fit(X[:, 1:]), cls().fit(X)
    Z = alone.transform(X[:, 1:])
    np.testing.assert_array_equal(beside.transform(X)[:, 1:], Z)
    np.testing.assert_array_equal(
        beside.inverse_transform(np.column_stack([Z, Z]))[:, 1:],
        alone.inverse_transform(Z),
    )


@pytest.mark.parametrize("cls", BOTH)
def test_in_place(cls):
    scaler = cls(copy=False).fit(X)
    expected = scaler.transform(X.copy())
    data = X.copy()
    assert scaler.transform(data) is data
    np.testing.assert_array_equal(data, expected)
    assert scaler.inverse_transform(data) is data
    np.testing.assert_allclose(data, X, rtol=1e-14)


def test_what_is_refused_is_left_as_it_was():
    scaler = Standardizer(copy=False).fit(X)
    data = X.copy()
    data[2, 1] = np.inf
    before = data.copy()
    with pytest.raises(ValueError, match="infinity in 1 column: 1"):
        scaler.transform(data)
    np.testing.assert_array_equal(data, before)


def test_without_scaling_what_is_no_double_is_infinite():
    scaler = Standardizer(with_std=False).fit(X)
    mean = scaler.mean_[0]
    Z = scaler.transform(X)
    np.testing.assert_array_equal(Z[1:, 0], X[1:, 0] - mean)
    assert Z[0, 0] == -np.inf
    np.testing.assert_array_equal(Z[:, 1], X[:, 1] - 3)


@pytest.mark.parametrize("cls", BOTH)
def test_float32_stays_float32(cls):
    scaler = cls().fit(X)
    Z = scaler.transform(np.ones((1, 2), dtype=np.float32))
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z, scaler.transform(np.ones((1, 2))), rtol=1e-6)
    assert scaler.inverse_transform(Z).dtype == np.float32


@pytest.mark.usefixtures("dispatch")
@pytest.mark.parametrize("cls", BOTH)
def test_of_other_libraries(cls):
    scaler = cls().fit(torch.asarray(X))
    Z = scaler.transform(torch.asarray(X))
    expected = cls().fit_transform(X)
    np.testing.assert_allclose(Z.numpy(), expected, rtol=1e-14, atol=1e-15)
    back = scaler.inverse_transform(Z)
    np.testing.assert_allclose(back.numpy(), X, rtol=1e-14)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Standardizer, "with_mean"), (RobustStandardizer, "with_centering")],
)
def test_sparse_tables_are_not_centered(cls, name):
    sparse = scipy.sparse.csr_matrix(np.eye(3))
    message = f"Cannot center sparse matrices.*Pass {name}=False to scale only"
    with pytest.raises(ValueError, match=message):
        cls().fit(sparse)
    assert scipy.sparse.issparse(cls(**{name: False}).fit(sparse).transform(sparse))
