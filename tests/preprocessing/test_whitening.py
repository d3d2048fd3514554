import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.linalg import fractional_matrix_power
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf, oas
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from sknorm.preprocessing import Standardizer, WhiteningStandardizer
from sknorm.statistics import Covariance

METHODS = ["zca", "zca_cor", "pca", "pca_cor", "cholesky"]
ROTATED = ["zca", "zca_cor", "pca", "pca_cor"]
COMPONENTS = ["pca", "pca_cor"]
ONE_TO_ONE = ["zca", "zca_cor", "cholesky"]
every_method = pytest.mark.parametrize("method", METHODS)

# Repeatable, and no deadline on a machine that is busy with other tests.
several = settings(derandomize=True, deadline=None, max_examples=40)


def covariance(Z):
    return np.atleast_2d(np.cov(Z.T, ddof=0))


def assert_white(Z, atol=1e-10):
    np.testing.assert_allclose(Z.mean(axis=0), 0, rtol=0, atol=atol)
    np.testing.assert_allclose(covariance(Z), np.eye(Z.shape[1]), rtol=0, atol=atol)


def assert_projected(Z, rank):
    """Check that so many directions are white, and all others mapped to 0."""
    C = covariance(Z)
    np.testing.assert_allclose(C @ C, C, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.trace(C), rank, rtol=1e-10)


def conditioned(rng, n_rows, n_columns, condition):
    """Return rows with a covariance matrix of about this condition number."""
    stds = np.geomspace(1, condition**-0.5, n_columns)
    basis, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
    return rng.normal(size=(n_rows, n_columns)) * stds @ basis.T


@pytest.fixture
def X(rng):
    mixed = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))
    return mixed * [1, 10, 0.1, 3] + [5, -200, 0, 1]


class TestKnownValues:
    # Variances 4 and 1, correlation 1/2.
    S = np.array([[4.0, 1.0], [1.0, 1.0]])

    @pytest.fixture
    def rows(self, rng):
        """Rows with exactly the covariance matrix S and mean (1, 2)."""
        raw = rng.normal(size=(50, 2))
        raw -= raw.mean(axis=0)
        white = raw @ np.linalg.inv(np.linalg.cholesky(covariance(raw))).T
        return white @ np.linalg.cholesky(self.S).T + [1, 2]

    def test_cholesky_by_hand(self, rows):
        # The last output is its column; the first one is what that doesn't explain:
        # x1 - x2, of variance 3.
        W = [[1 / np.sqrt(3), -1 / np.sqrt(3)], [0, 1]]
        whitener = WhiteningStandardizer(method="cholesky").fit(rows)
        np.testing.assert_allclose(whitener.whitening_, W, rtol=0, atol=1e-14)
        assert whitener.whitening_[1, 0] == 0
        assert whitener.explained_variance_ is None

    def test_pca_cor_by_hand(self, rows):
        # P has the eigenvalues 3/2 and 1/2 for (1, 1) and (-1, 1).
        whitener = WhiteningStandardizer(method="pca_cor").fit(rows)
        W = [[1 / np.sqrt(12), 1 / np.sqrt(3)], [-1 / 2, 1]]
        np.testing.assert_allclose(whitener.whitening_, W, rtol=0, atol=1e-14)
        np.testing.assert_allclose(whitener.explained_variance_, [1.5, 0.5], rtol=1e-14)

    def test_zca_cor_by_hand(self, rows):
        # The eigenvalues 3/2 and 1/2 of P, to the power of -1/2.
        large, small = np.sqrt(2 / 3), np.sqrt(2)
        P = [[(large + small) / 2, (large - small) / 2]]
        P.append(P[0][::-1])
        whitener = WhiteningStandardizer().fit(rows)
        np.testing.assert_allclose(
            whitener.whitening_, P / np.array([2, 1]), atol=1e-14
        )
        np.testing.assert_allclose(whitener.mean_, [1, 2], rtol=1e-14)
        np.testing.assert_allclose(whitener.scale_, [2, 1], rtol=1e-14)

    def test_zca_by_hand(self, rows):
        whitener = WhiteningStandardizer(method="zca").fit(rows)
        expected = fractional_matrix_power(self.S, -0.5)
        np.testing.assert_allclose(whitener.whitening_, expected, atol=1e-14)

    @every_method
    @pytest.mark.parametrize("shrinkage", [0.25, 1])
    def test_a_fixed_shrinkage(self, rows, method, shrinkage):
        whitener = WhiteningStandardizer(method=method, shrinkage=shrinkage).fit(rows)
        target = np.diag([4, 1]) if method.endswith("cor") else 2.5 * np.eye(2)
        shrunk = (1 - shrinkage) * self.S + shrinkage * target
        W = whitener.whitening_
        np.testing.assert_allclose(W @ shrunk @ W.T, np.eye(2), rtol=0, atol=1e-14)
        np.testing.assert_allclose(W @ whitener.coloring_, np.eye(2), atol=1e-14)
        assert whitener.shrinkage_ == shrinkage

    @every_method
    def test_one_row(self, method):
        whitener = WhiteningStandardizer(method=method).fit([[3.0, -1.0]])
        np.testing.assert_array_equal(whitener.transform([[4.0, -1.0]]), [[0, 0]])
        np.testing.assert_array_equal(whitener.inverse_transform([[5, 5]]), [[3, -1]])
        assert whitener.n_samples_seen_ == 1
        assert isinstance(whitener.statistics_, Covariance)

    @every_method
    def test_one_column_is_standardized(self, rng, method):
        x = rng.normal(size=(30, 1)) * 4 + 3
        Z = WhiteningStandardizer(method=method).fit_transform(x)
        np.testing.assert_allclose(Z, Standardizer().fit_transform(x), atol=1e-13)


class TestDefinition:
    """What Kessy, Lewin and Strimmer say of each matrix."""

    def test_zca_is_symmetric(self, X):
        W = WhiteningStandardizer(method="zca").fit(X).whitening_
        np.testing.assert_allclose(W, W.T, rtol=1e-9, atol=1e-12)

    def test_zca_cor_has_the_largest_correlation_with_the_columns(self, X):
        def correlation(method):
            Z = WhiteningStandardizer(method=method).fit_transform(X)
            each = np.corrcoef(Z.T, X.T)[:4, 4:].diagonal()
            return np.abs(each).sum() if method in COMPONENTS else each.sum()

        assert max(METHODS, key=correlation) == "zca_cor"

    def test_cholesky_is_that_of_the_inverse(self, X):
        W = WhiteningStandardizer(method="cholesky").fit(X).whitening_
        L = np.linalg.cholesky(np.linalg.inv(covariance(X)))
        np.testing.assert_allclose(W, L.T, rtol=1e-8, atol=1e-11)

    @pytest.mark.parametrize("method", METHODS)
    def test_diagonals_are_positive(self, rng, method):
        for _ in range(20):
            X = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5))
            W = WhiteningStandardizer(method=method).fit(X).whitening_
            assert (np.diag(W) > 0).all()

    def test_a_diagonal_of_zero_leaves_the_sign_to_the_largest_entry(self):
        # The first component is the second column, so that the diagonal is 0.
        X = np.array([[1.0, 9.0], [-1.0, 9.0], [1.0, -9.0], [-1.0, -9.0]])
        W = WhiteningStandardizer(method="pca").fit(X).whitening_
        np.testing.assert_allclose(W, [[0, 1 / 9], [1, 0]], rtol=0, atol=1e-15)

    def test_parity_with_pca_of_scikit_learn(self, X):
        theirs = PCA(whiten=True).fit(X)
        ours = WhiteningStandardizer(method="pca").fit(X)
        n = len(X)
        np.testing.assert_allclose(
            ours.explained_variance_ * n / (n - 1), theirs.explained_variance_, 1e-10
        )
        np.testing.assert_allclose(
            np.abs(ours.transform(X)) * np.sqrt((n - 1) / n),
            np.abs(theirs.transform(X)),
            rtol=0,
            atol=1e-10,
        )


class TestWhite:
    """The covariance of the fitted rows is the identity.

    ZCA of third parties that scales before it rotates, or takes the root of the wrong
    matrix, passes for white until somebody looks.
    """

    @every_method
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_fitted_rows(self, X, method, order):
        X = np.asarray(X, order=order)
        assert_white(WhiteningStandardizer(method=method).fit_transform(X))

    @every_method
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    @pytest.mark.parametrize("condition", [1e2, 1e5, 1e8])
    def test_offsets_and_condition(self, rng, method, offset, condition):
        X = conditioned(rng, 3_000, 8, condition) + offset
        assert_white(WhiteningStandardizer(method=method).fit_transform(X))

    @pytest.mark.parametrize("method", ["zca_cor", "pca_cor"])
    def test_units_far_apart(self, X, method):
        scaled = X * [1e-120, 1.0, 1e60, 1e150]
        assert_white(WhiteningStandardizer(method=method).fit_transform(scaled))

    @pytest.mark.parametrize("unit", [1e-150, 1e150])
    @every_method
    def test_any_unit(self, X, method, unit):
        whitener = WhiteningStandardizer(method=method).fit(unit * X)
        Z = whitener.transform(unit * X)
        assert_white(Z)
        np.testing.assert_allclose(whitener.inverse_transform(Z) / unit, X, rtol=1e-9)

    @every_method
    @pytest.mark.parametrize("unit", [1e-300, 1e-310, 1e307])
    def test_the_limits_of_doubles(self, X, method, unit):
        # What a subnormal number is rounded by is a larger part of it.
        atol = max(1e-12, 5e-324 / unit * 10)
        scaled = unit * (X / np.abs(X).max())
        whitener = WhiteningStandardizer(method=method).fit(scaled)
        assert np.isfinite(whitener.whitening_).all()
        Z = whitener.transform(scaled)
        assert_white(Z, atol=1e-10)
        back = whitener.inverse_transform(Z)
        np.testing.assert_allclose(back / unit, scaled / unit, rtol=0, atol=atol)

    def test_a_subnormal_column(self, X):
        scaled = X * [1.0, 1e-310, 1.0, 1.0]
        Z = WhiteningStandardizer().fit_transform(scaled)
        assert_white(Z)
        np.testing.assert_allclose(
            Z, WhiteningStandardizer().fit_transform(X), rtol=0, atol=1e-10
        )

    @every_method
    def test_an_offset_of_1e12(self, rng, method):
        X = 1e12 + rng.normal(size=(500, 3))
        assert_white(WhiteningStandardizer(method=method).fit_transform(X))

    @every_method
    def test_weights(self, X, rng, method):
        weight = rng.integers(0, 4, len(X))
        weighted = WhiteningStandardizer(method=method).fit(X, sample_weight=weight)
        assert_white(weighted.transform(np.repeat(X, weight, axis=0)))
        assert weighted.n_samples_seen_ == np.count_nonzero(weight)

    @every_method
    def test_partial_fit_and_merge(self, rng, method):
        X = conditioned(rng, 2_000, 5, 1e8) + 1e3
        parts = WhiteningStandardizer(method=method)
        for rows in np.split(X[:1_500], 10):
            parts.partial_fit(rows)
        parts.merge(WhiteningStandardizer(method=method).fit(X[1_500:]))
        assert_white(parts.transform(X), atol=1e-9)

    @every_method
    def test_float32(self, X, method):
        narrow = X.astype(np.float32)
        whitener = WhiteningStandardizer(method=method).fit(narrow)
        Z = whitener.transform(narrow)
        assert Z.dtype == np.float32
        # Statistics in float64; what is left is rounding of the outputs themselves.
        assert_white(Z.astype(float), atol=1e-6)
        np.testing.assert_allclose(
            whitener.transform(narrow.astype(float)), Z, rtol=1e-6, atol=1e-6
        )
        assert whitener.inverse_transform(Z).dtype == np.float32

    def test_large_tables(self, rng):
        X = rng.normal(size=(60_000, 20)) @ rng.normal(size=(20, 20)) + 10
        whitener = WhiteningStandardizer().fit(X)
        Z = whitener.transform(X)
        assert_white(Z)
        np.testing.assert_allclose(whitener.inverse_transform(Z), X, atol=1e-10)


class TestShrinkage:
    @pytest.mark.parametrize(
        ("name", "theirs"), [("ledoit_wolf", ledoit_wolf), ("oas", oas)]
    )
    @every_method
    @pytest.mark.parametrize("shape", [(200, 4), (10, 15)])
    def test_parity_with_scikit_learn(self, rng, method, name, theirs, shape):
        X = rng.standard_t(6, size=shape) @ rng.normal(size=(shape[1],) * 2) + 3
        std = X.std(axis=0) if method.endswith("cor") else np.ones(shape[1])
        shrunk, shrinkage = theirs((X - X.mean(axis=0)) / std)
        whitener = WhiteningStandardizer(method=method, shrinkage=name).fit(X)
        np.testing.assert_allclose(whitener.shrinkage_, shrinkage, rtol=1e-10)
        W = whitener.whitening_ * std
        np.testing.assert_allclose(W @ shrunk @ W.T, np.eye(len(W)), atol=1e-10)

    @pytest.mark.parametrize("name", ["ledoit_wolf", "oas"])
    @every_method
    def test_parts_know_as_much_as_the_whole(self, X, name, method):
        parts = WhiteningStandardizer(method=method, shrinkage=name)
        for rows in np.split(X, 8):
            parts.partial_fit(rows)
        whole = WhiteningStandardizer(method=method, shrinkage=name).fit(X)
        np.testing.assert_allclose(parts.shrinkage_, whole.shrinkage_, rtol=1e-11)
        np.testing.assert_allclose(parts.transform(X), whole.transform(X), atol=1e-9)

    def test_fewer_rows_than_columns_get_full_rank(self, rng):
        X = rng.normal(size=(5, 9))
        whitener = WhiteningStandardizer(shrinkage="oas").fit(X)
        np.testing.assert_allclose(
            whitener.whitening_ @ whitener.coloring_, np.eye(9), atol=1e-12
        )
        new = rng.normal(size=(3, 9))
        back = whitener.inverse_transform(whitener.transform(new))
        np.testing.assert_allclose(back, new, atol=1e-12)

    def test_asked_for_between_parts(self, X):
        whitener = WhiteningStandardizer().fit(X)
        before = pickle.dumps(whitener.statistics_)
        whitener.set_params(shrinkage="ledoit_wolf")
        with pytest.raises(ValueError, match="third and fourth moments can't be merge"):
            whitener.partial_fit(X)
        assert pickle.dumps(whitener.statistics_) == before
        whitener.set_params(shrinkage="oas").partial_fit(X)
        assert whitener.shrinkage_ > 0


@every_method
class TestNotOfFullRank:
    def assert_restored(self, whitener, X):
        np.testing.assert_allclose(
            whitener.inverse_transform(whitener.transform(X)), X, rtol=0, atol=1e-9
        )

    def test_columns_that_others_determine(self, X, method):
        more = np.column_stack([X, X[:, 0], X[:, 1] - 2 * X[:, 3]])
        whitener = WhiteningStandardizer(method=method).fit(more)
        assert_projected(whitener.transform(more), 4)
        self.assert_restored(whitener, more)

    def test_at_an_offset(self, rng, method):
        X = rng.normal(size=(300, 3)) + 1e6
        more = np.column_stack([X, X[:, 0] + X[:, 1] - X[:, 2]])
        whitener = WhiteningStandardizer(method=method).fit(more)
        assert_projected(whitener.transform(more), 3)

    def test_fewer_rows_than_columns(self, rng, method):
        X = rng.normal(size=(6, 11))
        whitener = WhiteningStandardizer(method=method).fit(X)
        assert_projected(whitener.transform(X), 5)
        self.assert_restored(whitener, X)

    def test_constant_columns(self, X, method):
        more = np.column_stack([X[:, :2], np.full(400, 14.62), X[:, 2:]])
        more[::2, 2] = np.nextafter(14.62, 15)
        whitener = WhiteningStandardizer(method=method).fit(more)
        assert_projected(whitener.transform(more), 4)
        self.assert_restored(whitener, more)
        np.testing.assert_array_equal(whitener.whitening_[:, 2], 0)
        without = WhiteningStandardizer(method=method).fit_transform(X)
        Z = whitener.transform(more)
        kept = Z[:, :4] if method in COMPONENTS else np.delete(Z, 2, axis=1)
        np.testing.assert_allclose(kept, without, rtol=0, atol=1e-9)
        shrunk = clone(whitener).set_params(shrinkage="ledoit_wolf").fit(more)
        assert np.linalg.matrix_rank(shrunk.whitening_) == 4

    def test_nothing_varies(self, method):
        X = np.full((5, 3), 7.0)
        for shrinkage in (None, 0.5, "oas", "ledoit_wolf"):
            whitener = WhiteningStandardizer(method=method, shrinkage=shrinkage).fit(X)
            np.testing.assert_array_equal(whitener.transform(X), np.zeros((5, 3)))
            np.testing.assert_array_equal(whitener.inverse_transform(X), X)

    def test_a_column_just_above_rounding_leaves_the_others_alone(self, X, method):
        more = np.column_stack([X, 1e12 + 1e-2 * np.sin(np.arange(400.0))])
        Z = WhiteningStandardizer(method=method).fit_transform(more)
        assert np.trace(covariance(Z)) > 3.99


def test_cholesky_maps_to_0_what_later_columns_determine(X):
    more = np.column_stack([X[:, 0], X, X[:, 1] + X[:, 2]])
    Z = WhiteningStandardizer(method="cholesky").fit_transform(more)
    kept = [False, True, False, True, True, True]
    np.testing.assert_allclose(Z.std(axis=0), kept, atol=1e-10)


class TestComponents:
    @pytest.mark.parametrize("method", COMPONENTS)
    def test_the_first_ones(self, X, method):
        whole = WhiteningStandardizer(method=method).fit(X)
        two = WhiteningStandardizer(method=method, n_components=2).fit(X)
        np.testing.assert_allclose(
            two.transform(X), whole.transform(X)[:, :2], rtol=0, atol=1e-13
        )
        np.testing.assert_array_equal(two.whitening_, whole.whitening_[:2])
        assert two.coloring_.shape == (4, 2)
        np.testing.assert_array_equal(
            two.explained_variance_, whole.explained_variance_[:2]
        )
        assert (np.diff(whole.explained_variance_) < 0).all()
        assert two.n_components_ == 2

    def test_the_inverse_is_the_best_linear_one(self, X):
        whitener = WhiteningStandardizer(method="pca", n_components=2).fit(X)
        pca = PCA(n_components=2).fit(X)
        np.testing.assert_allclose(
            whitener.inverse_transform(whitener.transform(X)),
            pca.inverse_transform(pca.transform(X)),
            rtol=0,
            atol=1e-9,
        )

    @pytest.mark.parametrize("method", ["zca", "zca_cor"])
    def test_zca_maps_the_others_to_0(self, X, method):
        whitener = WhiteningStandardizer(method=method, n_components=2).fit(X)
        Z = whitener.transform(X)
        assert Z.shape == X.shape
        assert_projected(Z, 2)
        components = method.replace("zca", "pca")
        pca = WhiteningStandardizer(method=components, n_components=2).fit(X)
        np.testing.assert_allclose(
            whitener.inverse_transform(Z),
            pca.inverse_transform(pca.transform(X)),
            rtol=0,
            atol=1e-9,
        )

    @pytest.mark.parametrize("method", ROTATED)
    def test_a_share_of_the_variance(self, rng, method):
        X = rng.normal(size=(1_000, 4)) * [4, 3, 2, 1]
        whole = WhiteningStandardizer(method=method).fit(X)
        shares = np.cumsum(whole.explained_variance_) / 4
        shares /= shares[-1]
        for k, share in enumerate(shares[:-1]):
            for n_components, expected in (
                (share - 1e-9, k + 1),
                (share + 1e-9, k + 2),
            ):
                whitener = WhiteningStandardizer(
                    method=method, n_components=n_components
                ).fit(X)
                assert whitener.n_components_ == expected

    def test_more_than_the_rank(self, rng):
        X = rng.normal(size=(3, 6))
        whitener = WhiteningStandardizer(method="pca", n_components=4).fit(X)
        np.testing.assert_allclose(
            covariance(whitener.transform(X)), np.diag([1, 1, 0, 0]), atol=1e-12
        )
        constant = WhiteningStandardizer(method="pca", n_components=0.5)
        assert constant.fit_transform(np.ones((4, 3))).shape == (4, 1)

    def test_mistakes(self, X):
        message = "n_components=5 must be at most the number of columns, which is 4"
        with pytest.raises(ValueError, match=message):
            WhiteningStandardizer(n_components=5).fit(X)
        message = r"'cholesky' has no principal components .* Got n_components=2"
        with pytest.raises(ValueError, match=message):
            WhiteningStandardizer(method="cholesky", n_components=2).fit(X)
        whitener = WhiteningStandardizer(method="pca", n_components=2).fit(X)
        with pytest.raises(
            ValueError, match=r"X has 4 columns, but Whit.* 2 components"
        ):
            whitener.inverse_transform(X)


class TestMissing:
    def test_rows_with_missing_values_are_not_learned_from(self, X, rng):
        lacking = X.copy()
        lacking[rng.random(X.shape) < 0.1] = np.nan
        complete = ~np.isnan(lacking).any(axis=1)
        whitener = WhiteningStandardizer().fit(lacking)
        assert whitener.n_samples_seen_ == complete.sum()
        assert_white(whitener.transform(lacking)[complete])

    @pytest.mark.parametrize("method", ROTATED)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_an_output_that_depends_on_it_is_missing(self, X, method, dtype):
        X = X.astype(dtype)
        whitener = WhiteningStandardizer(method=method).fit(X)
        Z = whitener.transform(X)
        X[7, 2] = np.nan
        expected = Z.copy()
        expected[7] = np.nan
        np.testing.assert_array_equal(whitener.transform(X), expected)
        assert np.isnan(whitener.inverse_transform(expected)[7]).all()

    def test_with_cholesky_later_outputs_are_known(self, X):
        whitener = WhiteningStandardizer(method="cholesky").fit(X)
        expected = whitener.transform(X)
        X[7, 2] = np.nan
        expected[7, :3] = np.nan
        np.testing.assert_array_equal(whitener.transform(X), expected)

    @pytest.mark.parametrize("method", ONE_TO_ONE)
    def test_a_constant_column_matters_to_itself_only(self, X, method):
        X[:, 2] = 5.0
        whitener = WhiteningStandardizer(method=method).fit(X)
        expected = whitener.transform(X)
        X[7, 2] = expected[7, 2] = np.nan
        np.testing.assert_array_equal(whitener.transform(X), expected)

    @every_method
    def test_a_column_without_values(self, X, method):
        more = np.insert(X, 1, np.nan, axis=1)
        whitener = WhiteningStandardizer(method=method)
        with pytest.warns(UserWarning, match="found no values in 1 column: 1, only"):
            Z = whitener.fit_transform(more)
        without = WhiteningStandardizer(method=method).fit_transform(X)
        if method in COMPONENTS:
            without = np.column_stack([without, np.zeros(400)])
        else:
            without = np.insert(without, 1, np.nan, axis=1)
        np.testing.assert_allclose(Z, without, rtol=0, atol=1e-11)
        np.testing.assert_allclose(whitener.inverse_transform(Z)[:, 1], np.nan)

    def test_nothing_but_missing_values(self):
        X = np.full((3, 2), np.nan)
        with pytest.warns(UserWarning, match="found no values in 2 columns: 0, 1"):
            whitener = WhiteningStandardizer().fit(X)
        np.testing.assert_array_equal(whitener.transform(X), X)

    def test_no_complete_row(self, X):
        whitener = WhiteningStandardizer().fit(X)
        before = pickle.dumps(whitener)
        with pytest.raises(ValueError, match="Every row of X lacks a value in one of"):
            whitener.fit([[1.0, np.nan], [np.nan, 2.0]])
        assert pickle.dumps(whitener) == before


@every_method
def test_infinite_values_are_refused_by_name(X, method):
    frame = pd.DataFrame(X.copy(), columns=list("abcd"))
    whitener = WhiteningStandardizer(method=method).fit(frame)
    frame.loc[5, "c"] = np.inf
    message = "Input X contains infinity in 1 column: 'c'"
    for refuse in (whitener.transform, clone(whitener).fit, whitener.partial_fit):
        with pytest.raises(ValueError, match=message):
            refuse(frame)
    Z = np.zeros((2, 4))
    Z[1, 3] = -np.inf
    found = r"the components \[3\]" if method in COMPONENTS else "1 column: 3"
    nameless = WhiteningStandardizer(method=method).fit(X)
    with pytest.raises(ValueError, match=f"Input X contains infinity in {found}"):
        nameless.inverse_transform(Z)


class TestNamesAndContainers:
    @pytest.mark.parametrize("method", ONE_TO_ONE)
    def test_outputs_are_the_columns(self, X, method):
        frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(400) + 7)
        whitener = WhiteningStandardizer(method=method).set_output(transform="pandas")
        Z = whitener.fit_transform(frame)
        assert Z.columns.tolist() == list("abcd")
        assert Z.index.equals(frame.index)

    @pytest.mark.parametrize("method", COMPONENTS)
    def test_outputs_are_components(self, X, method):
        frame = pl.DataFrame(X, schema=list("abcd"))
        whitener = WhiteningStandardizer(method=method, n_components=2)
        Z = whitener.set_output(transform="polars").fit_transform(frame)
        assert isinstance(Z, pl.DataFrame)
        assert Z.columns == ["whiteningstandardizer0", "whiteningstandardizer1"]
        assert whitener.get_feature_names_out().tolist() == Z.columns
        # Which come back by position, whatever they are called.
        assert whitener.inverse_transform(Z).shape == X.shape

    def test_in_a_pipeline(self, X):
        pipeline = make_pipeline(Standardizer(), WhiteningStandardizer(method="pca"))
        Z = pipeline.fit_transform(X)
        assert_white(Z)
        np.testing.assert_allclose(pipeline.inverse_transform(Z), X, atol=1e-9)
        cor = WhiteningStandardizer(method="pca_cor").fit_transform(X)
        np.testing.assert_allclose(Z, cor, atol=1e-10)


class TestTheCallersArrays:
    @every_method
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_input_stays(self, X, method, dtype):
        X = X.astype(dtype)
        X.setflags(write=False)
        whitener = WhiteningStandardizer(method=method, copy=False).fit(X)
        Z = whitener.transform(X)
        Z.setflags(write=False)
        assert whitener.inverse_transform(Z) is not Z

    @every_method
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_without_copy_it_is_written_to(self, X, method, order):
        X = np.asarray(X, order=order)
        whitener = WhiteningStandardizer(method=method, copy=False).fit(X)
        expected = clone(whitener).set_params(copy=True).fit(X).transform(X)
        before = X.copy()
        assert whitener.transform(X) is X
        np.testing.assert_array_equal(X, expected)
        assert whitener.inverse_transform(X) is X
        np.testing.assert_allclose(X, before, rtol=0, atol=1e-9)

    def test_not_if_the_result_has_another_shape(self, X):
        before = X.copy()
        whitener = WhiteningStandardizer(method="pca", n_components=2, copy=False)
        Z = whitener.fit(X).transform(X)
        np.testing.assert_array_equal(X, before)
        whitener.inverse_transform(Z)

    def test_memory_mapped(self, X, tmp_path):
        np.save(tmp_path / "rows.npy", X)
        mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
        Z = WhiteningStandardizer().fit(mapped).transform(mapped)
        np.testing.assert_array_equal(Z, WhiteningStandardizer().fit_transform(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "zac"}, "The 'method' parameter of WhiteningStandardizer must be"),
        ({"shrinkage": 1.5}, "The 'shrinkage' parameter of .* Got 1.5 instead"),
        ({"shrinkage": "lw"}, "The 'shrinkage' parameter .* Got 'lw' instead"),
        ({"n_components": 0}, "The 'n_components' parameter .* Got 0 instead"),
        ({"n_components": 1.0}, "The 'n_components' parameter .* Got 1.0 instead"),
        ({"forgetting": 0}, "The 'forgetting' parameter .* Got 0 instead"),
    ],
)
def test_parameters_out_of_range(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        WhiteningStandardizer(**parameters).fit(X)


def test_other_parameters_can_not_be_merged(X):
    whitener = WhiteningStandardizer().fit(X)
    message = re.escape("different 'method' can't be merged: 'zca_cor' and 'pca'")
    with pytest.raises(ValueError, match=message):
        whitener.merge(WhiteningStandardizer(method="pca").fit(X))


def test_forgetting_fades_old_batches(X):
    whitener = WhiteningStandardizer(forgetting=0.5)
    for rows in np.split(X, 4):
        whitener.partial_fit(rows)
    weight = np.repeat(0.5 ** np.arange(3, -1, -1), 100)
    expected = WhiteningStandardizer().fit(X, sample_weight=weight)
    np.testing.assert_allclose(whitener.transform(X), expected.transform(X), atol=1e-10)


def tables(min_rows=8, n_features=3):
    """Tables in which whitening is well-conditioned enough to be compared."""
    shape = st.tuples(st.integers(min_rows, 14), st.just(n_features))
    return hnp.arrays(np.float64, shape, elements=st.integers(-50, 50).map(float))


def assume_full_rank(X):
    assume((X.std(axis=0) > 0).all())
    spectrum = np.linalg.eigvalsh(np.corrcoef(X.T))
    # Equal eigenvalues leave components undetermined.
    assume(spectrum[0] > 1e-3)
    assume(np.diff(spectrum).min() > 1e-3)


class TestProperties:
    @given(tables(), st.sampled_from(METHODS), st.sampled_from([None, "oas", 0.3]))
    @several
    def test_round_trip(self, X, method, shrinkage):
        whitener = WhiteningStandardizer(method=method, shrinkage=shrinkage).fit(X)
        back = whitener.inverse_transform(whitener.transform(X))
        np.testing.assert_allclose(back, X, rtol=0, atol=1e-8)

    @given(
        tables(),
        hnp.arrays(np.float64, 3, elements=st.floats(1e-6, 1e6)),
        st.sampled_from(["zca_cor", "pca_cor", "cholesky"]),
    )
    @several
    def test_units_of_the_columns_do_not_matter(self, X, units, method):
        assume_full_rank(X)
        assume(method != "pca_cor" or self.determined(X))
        Z = WhiteningStandardizer(method=method).fit_transform(X)
        same = WhiteningStandardizer(method=method).fit_transform(X * units)
        np.testing.assert_allclose(same, Z, rtol=0, atol=1e-8)

    @staticmethod
    def determined(X):
        """Tell if no entry that a sign depends on is near 0."""
        _, vectors = np.linalg.eigh(np.corrcoef(X.T))
        return np.abs(np.diag(vectors[:, ::-1])).min() > 1e-3

    @given(tables(), st.sampled_from(ONE_TO_ONE), st.permutations(range(14)))
    @several
    def test_order_of_the_rows(self, X, method, order):
        assume_full_rank(X)
        order = [i for i in order if i < len(X)]
        a, b = (WhiteningStandardizer(method=method).fit(x) for x in (X, X[order]))
        np.testing.assert_allclose(a.whitening_, b.whitening_, rtol=0, atol=1e-9)

    @given(tables(), st.permutations(range(3)))
    @several
    def test_zca_cor_follows_the_order_of_the_columns(self, X, order):
        assume_full_rank(X)
        Z = WhiteningStandardizer().fit_transform(X)
        same = WhiteningStandardizer().fit_transform(X[:, order])
        np.testing.assert_allclose(same, Z[:, order], rtol=0, atol=1e-9)

    @given(tables(), st.sampled_from(METHODS))
    @several
    def test_white_or_a_projection(self, X, method):
        Z = WhiteningStandardizer(method=method).fit_transform(X)
        C = covariance(Z)
        np.testing.assert_allclose(C @ C, C, rtol=0, atol=1e-9)

    @given(tables(), st.sampled_from(ONE_TO_ONE))
    @several
    def test_what_is_white_stays(self, X, method):
        assume_full_rank(X)
        Z = WhiteningStandardizer(method=method).fit_transform(X)
        again = WhiteningStandardizer(method=method).fit_transform(Z)
        np.testing.assert_allclose(again, Z, rtol=0, atol=1e-9)
