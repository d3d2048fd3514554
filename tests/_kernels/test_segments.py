import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from sknorm._kernels.merging import FIELDS
from sknorm._kernels.moments import column_moments
from sknorm._kernels.segments import segment_moments


@pytest.mark.parametrize("weighted", [False, True])
def test_values_sorted_by_column(rng, assert_exact, weighted):
    columns = np.array([0, 0, 0, 2, 3, 3])
    x = np.array([1e6, 1e6 + 1, 1e6 + 3, -7.0, 1e-300, 3e-300])
    weight = rng.uniform(1, 2, 6) if weighted else None
    moments = segment_moments(columns, x, weight, 5)
    assert moments.count.tolist() == [3, 0, 1, 2, 0]
    for j in (0, 2, 3):
        part = type(moments)(*(np.array([getattr(moments, f)[j]]) for f in FIELDS))
        here = columns == j
        assert_exact(
            part, x[here, np.newaxis], None if weight is None else weight[here]
        )
    assert np.isnan(moments.mean[[1, 4]]).all()


@pytest.fixture(params=["csr", "csc", "coo"])
def form(request, monkeypatch):
    """Format of a sparse table, which is looked at in small parts."""
    monkeypatch.setattr("sknorm._kernels.segments._ENTRIES", 50)
    return request.param


class TestSparse:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("missing", [0.0, 0.1])
    @pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_right_to_the_last_digits(
        self, assert_exact, rng, form, weighted, missing, density, offset
    ):
        shape = (400, 5)
        X = np.where(rng.random(shape) < density, offset + rng.normal(size=shape), 0.0)
        X[rng.random(shape) < missing] = np.nan
        weight = None
        if weighted:
            weight = rng.exponential(size=len(X))
            weight[::3] = 0.0
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form), weight)
        assert_exact(moments, X, weight)
        np.testing.assert_array_equal(moments.count, column_moments(X, weight).count)

    def test_by_hand(self, form):
        X = np.array([[0.0, 5.0, 0.0], [4.0, np.nan, 0.0], [0.0, 7.0, 0.0]])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        np.testing.assert_array_equal(moments.count, [3, 2, 3])
        np.testing.assert_allclose(moments.mean, [4 / 3, 6, 0], rtol=1e-15)
        np.testing.assert_allclose(moments.std, [32**0.5 / 3, 1, 0], rtol=1e-15)

    @pytest.mark.parametrize("value", [0.0, 3.0])
    def test_zeros_may_be_stored(self, assert_close, value):
        indices, indptr = [0, 1, 0, 1], [0, 2, 4]
        X = scipy.sparse.csr_matrix(([0.0, value, 0.0, 5.0], indices, indptr))
        assert_close(column_moments(X), column_moments(X.toarray()))

    @pytest.mark.parametrize("cls", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix])
    def test_entries_in_any_order_and_in_parts(self, assert_close, cls):
        # 2 and 3 make the 5 of the first row; the second has its columns reversed.
        X = cls(([2.0, 3.0, 7.0, 1.0], [0, 0, 1, 0], [0, 2, 4]), shape=(2, 2))
        before = X.data.copy()
        dense = X.toarray()
        assert_close(column_moments(X), column_moments(dense))
        np.testing.assert_array_equal(X.data, before)

    def test_light_rows_without_an_entry_beside_heavy_ones(self, assert_exact, form):
        # The sum of all weights less that of the entries' would be 0.
        X = np.array([[3.0], [0.0], [3.0]])
        weight = np.array([1e17, 1.0, 1e17])
        sparse = scipy.sparse.coo_matrix(X).asformat(form)
        assert_exact(column_moments(sparse, weight), X, weight)

    @pytest.mark.parametrize("scale", [1e300, 1e-300])
    def test_nothing_overflows_or_vanishes(self, assert_exact, rng, form, scale):
        X = np.where(rng.random((60, 2)) < 0.5, scale * rng.normal(size=(60, 2)), 0.0)
        assert_exact(column_moments(scipy.sparse.coo_matrix(X).asformat(form)), X)

    def test_an_infinite_value_shows_in_its_column_only(self, form):
        X = np.array([[0.0, np.inf], [1.0, 2.0], [0.0, 0.0]])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        assert moments.infinite.tolist() == [False, True]
        weight = np.array([0.0, 1.0, 1.0])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form), weight)
        np.testing.assert_array_equal(moments.mean, [0.5, 1])

    def test_float32_is_summed_in_float64(self, assert_exact, rng, form):
        X = (1e6 + rng.normal(size=(1_000, 1))).astype(np.float32)
        assert_exact(column_moments(scipy.sparse.coo_matrix(X).asformat(form)), X)

    def test_equal_values_have_no_spread_at_all(self, form):
        X = np.tile([14.62, 0.0], (500, 1))
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        np.testing.assert_array_equal(moments.mean, [14.62, 0])
        np.testing.assert_array_equal(moments.std, 0)

    def test_it_is_not_made_dense(self):
        X = scipy.sparse.random(
            100_000, 500, density=1e-3, format="csr", random_state=0
        )
        weight = np.ones(len(X.indptr) - 1)
        column_moments(X, weight)  # loads what it needs, which isn't counted
        tracemalloc.start()
        try:
            column_moments(X, weight)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 2**20  # dense it has 400 MB

    def test_no_entries_and_no_rows(self, form):
        X = scipy.sparse.coo_matrix((0, 2)).asformat(form)
        np.testing.assert_array_equal(column_moments(X).count, [0, 0])
        assert np.isnan(column_moments(X).mean).all()
