"""What every standardizer gets from its base, on the smallest there can be."""

import inspect
import pickle
import warnings
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from sknorm.preprocessing import (
    GroupStandardizer,
    PowerStandardizer,
    QuantileStandardizer,
    RobustStandardizer,
    Standardizer,
    WhiteningStandardizer,
)
from sknorm.preprocessing._base import BaseStandardizer


class Halver(BaseStandardizer):
    """Divides by 2, of columns that it has seen."""

    _parameter_constraints: ClassVar[dict] = {"copy": ["boolean"], "fails": ["boolean"]}

    def __init__(self, *, copy=True, fails=False):
        self.copy = copy
        self.fails = fails

    def _fit(self, X, weight):
        self.seen_ = X.shape
        self._refuse_infinite(np.isinf(X).any(axis=0))
        self._warn_of_empty(np.isnan(X).all(axis=0))
        self.weight_ = weight
        if self.fails:
            raise RuntimeError("half way")

    def _transform(self, X, out):
        return np.divide(X, 2, out=out)

    def _inverse_transform(self, X, out):
        return np.multiply(X, 2, out=out)


class SparseHalver(Halver):
    """One that takes sparse tables."""

    _accept_sparse = ("csr",)

    def _fit(self, X, weight):
        self.seen_ = X.shape


X = np.array([[1.0, 2.0], [3.0, 6.0]])


def test_fit_and_there_and_back():
    halver = Halver()
    assert halver.fit(X) is halver
    assert halver.n_features_in_ == 2
    np.testing.assert_array_equal(halver.transform(X), X / 2)
    np.testing.assert_array_equal(halver.inverse_transform(X), X * 2)
    np.testing.assert_array_equal(halver.fit_transform(X), X / 2)


def test_weights_are_float64_or_none():
    assert Halver().fit(X).weight_ is None
    weight = Halver().fit(X, sample_weight=[1, 2]).weight_
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight, [1, 2])


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="This Halver instance is not fitted"):
        getattr(Halver(), method)(X)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "f2", "i8", "?", "O"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtypes(dtype, order):
    Z = Halver().fit_transform(X.astype(dtype, order=order))
    assert Z.dtype == (np.float32 if dtype == "f4" else np.float64)
    np.testing.assert_array_equal(Z, X.astype(dtype) / 2)


class TestValidation:
    """A plain float array passes by scikit-learn's validation, nothing else does."""

    MISTAKES = (
        (np.ones(3), "Expected 2D array, got 1D array"),
        (np.ones((2, 2, 2)), "dim 3"),
        (np.empty((0, 2)), r"0 sample\(s\)"),
        (np.empty((2, 0)), r"0 feature\(s\)"),
        (np.ones((2, 2), dtype=complex), "Complex data not supported"),
        ([["a", "b"]], "could not convert"),
    )

    @pytest.mark.parametrize(("wrong", "message"), MISTAKES)
    def test_mistakes(self, wrong, message):
        halver = Halver().fit(X)
        for method in ("fit", "transform", "inverse_transform"):
            with pytest.raises(ValueError, match=message):
                getattr(halver, method)(wrong)

    @pytest.mark.parametrize("kind", [np.array, pd.DataFrame, list])
    def test_another_width(self, kind):
        halver = Halver().fit(X)
        message = "X has 3 features, but Halver is expecting 2 features"
        with pytest.raises(ValueError, match=message):
            halver.transform(kind(np.ones((2, 3)).tolist()))

    def test_names_are_taken_compared_and_given_up(self):
        frame = pd.DataFrame(X, columns=["a", "b"])
        halver = Halver().fit(frame)
        assert halver.feature_names_in_.tolist() == ["a", "b"]
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            halver.transform(X)
        with pytest.raises(ValueError, match="feature names should match"):
            halver.transform(frame[["b", "a"]])
        assert not hasattr(halver.fit(X), "feature_names_in_")
        with pytest.warns(UserWarning, match="X has feature names, but Halver was"):
            halver.transform(frame)

    @pytest.mark.parametrize("names", [None, ["a", "b"]])
    @pytest.mark.parametrize("container", ["default", "pandas", "polars"])
    def test_a_result_goes_back_without_a_warning(self, names, container):
        rows = X if names is None else pd.DataFrame(X, columns=names)
        halver = Halver().fit(rows).set_output(transform=container)
        for result in (halver.transform(rows), X / 2, np.float32(X / 2).tolist()):
            np.testing.assert_array_equal(halver.inverse_transform(result), X)
        assert hasattr(halver, "feature_names_in_") == (names is not None)

    def test_a_result_of_other_columns(self):
        frame = pd.DataFrame(X, columns=["a", "b"])
        with pytest.raises(ValueError, match="feature names should match"):
            Halver().fit(frame).inverse_transform(frame[["b", "a"]])
        with pytest.warns(UserWarning, match="X has feature names, but Halver was"):
            Halver().fit(X).inverse_transform(frame)
        with pytest.raises(ValueError, match="X has 1 features, but Halver is"):
            Halver().fit(frame).inverse_transform(X[:, :1])

    @pytest.mark.parametrize("method", ["fit", "transform", "inverse_transform"])
    def test_a_query(self, method):
        message = r"X must be a table in memory. Got a 'LazyFrame' of 'polars', .*: "
        with pytest.raises(TypeError, match=message + r"pass X.collect\(\)"):
            getattr(Halver().fit(X), method)(pl.LazyFrame({"a": [1.0], "b": [2.0]}))

    def test_a_masked_array_is_not_taken_for_a_plain_one(self):
        masked = np.ma.masked_array(X, mask=[[True, False], [False, False]])
        assert type(Halver().fit_transform(masked)) is np.ndarray

    def test_sparse(self):
        sparse = scipy.sparse.csr_matrix(X)
        with pytest.raises(TypeError, match="Sparse data was passed"):
            Halver().fit(sparse)
        assert SparseHalver().fit(sparse.tocsc()).seen_ == (2, 2)


class TestParameters:
    def test_names_of_each_class_are_its_own(self):
        class Other(Halver):
            def __init__(self, *, copy=True, more=1):
                super().__init__(copy=copy)
                self.more = more

        for _ in range(2):
            assert set(Halver().get_params()) == {"copy", "fails"}
            assert set(Other().get_params()) == {"copy", "more"}

    def test_tags(self):
        tags = get_tags(Halver())
        assert tags.input_tags.allow_nan
        assert not tags.input_tags.sparse
        assert get_tags(SparseHalver()).input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]


class TestCopy:
    def test_true(self):
        Z = X.copy()
        assert not np.shares_memory(Halver().fit_transform(Z), Z)
        np.testing.assert_array_equal(Z, X)

    def test_false(self):
        Z = X.copy()
        assert Halver(copy=False).fit_transform(Z) is Z
        np.testing.assert_array_equal(Z, X / 2)

    def test_false_for_what_may_not_be_written_to(self):
        Z = X.copy()
        Z.setflags(write=False)
        assert Halver(copy=False).fit_transform(Z) is not Z

    def test_false_for_a_sparse_table(self):
        Z = scipy.sparse.csr_matrix(X)
        halver = SparseHalver(copy=False)
        assert halver._target(Z) is Z
        Z.data.setflags(write=False)
        assert halver._target(Z) is None


class TestFailure:
    def test_an_earlier_fit_is_kept(self):
        halver = Halver().fit(X)
        before = pickle.dumps(halver)
        halver.fails = True
        with pytest.raises(RuntimeError, match="half way"):
            halver.fit(np.ones((7, 5)), sample_weight=np.ones(7))
        halver.fails = False
        assert pickle.dumps(halver) == before

    def test_nothing_is_left_of_a_first_one(self):
        halver = Halver(fails=True)
        with pytest.raises(RuntimeError, match="half way"):
            halver.fit(X)
        assert vars(halver) == {"copy": True, "fails": True}


class TestMessages:
    def test_infinite_values_by_position(self):
        message = (
            "Input X contains infinity in 2 columns: 0, 2. Only NaN is taken for a "
            "missing value: replace the infinite ones, by NaN or by a large number."
        )
        with pytest.raises(ValueError) as info:  # noqa: PT011
            Halver().fit([[np.inf, 1.0, -np.inf]])
        assert str(info.value) == message

    def test_infinite_values_by_name(self):
        frame = pd.DataFrame({"age": [1.0], "income": [np.inf]})
        with pytest.raises(ValueError, match=r"infinity in 1 column: 'income'\. Only"):
            Halver().fit(frame)

    def test_of_many_columns_some_are_named(self):
        message = "in 12 columns: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and more"
        with pytest.raises(ValueError, match=message):
            Halver().fit(np.full((1, 12), np.inf))

    @pytest.mark.parametrize("method", ["fit", "fit_transform"])
    def test_columns_without_values_and_where_the_warning_points(self, method):
        frame = pd.DataFrame({"a": [1.0], "b": [np.nan], "c": [np.nan]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            getattr(Halver(), method)(frame)
            line = inspect.currentframe().f_lineno - 1
        assert [str(w.message) for w in caught] == [
            "Halver found no values in 2 columns: 'b', 'c', only NaN. They are kept as "
            "they are."
        ]
        assert (caught[0].filename, caught[0].lineno) == (__file__, line)


@pytest.mark.parametrize(
    "cls",
    [
        Standardizer,
        RobustStandardizer,
        QuantileStandardizer,
        PowerStandardizer,
        WhiteningStandardizer,
        GroupStandardizer,
    ],
)
class TestEveryFamily:
    METHODS = ("fit", "fit_transform", "transform", "inverse_transform")

    @pytest.fixture
    def data(self, rng):
        """Heavy tails on both sides, skewed, negative, and ties."""
        X = rng.standard_t(3, size=(200, 4))
        X[:, 1] = np.exp(X[:, 1] / 3)
        X[:, 2] = -np.abs(X[:, 2])
        X[:, 3] = np.rint(2 * X[:, 3])
        return X

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_not_fitted(self, cls, method):
        message = f"This {cls.__name__} instance is not fitted"
        with pytest.raises(NotFittedError, match=message):
            getattr(cls(), method)([[1.0]])

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    def test_a_table_of_another_kind(self, cls, method):
        scaler = cls().fit(pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 1.0]}))
        frame = pd.DataFrame({"a": [1.0], "b": [np.inf]})
        with pytest.raises(ValueError, match="infinity in 1 column: 'b'"):
            getattr(scaler, method)(frame)
        message = f"X has 1 features, but {cls.__name__} is expecting 2"
        with pytest.raises(ValueError, match=message):
            getattr(scaler.fit([[1.0, 2.0], [3.0, 1.0]]), method)([[1.0]])

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_a_failed_fit_leaves_nothing_where_there_was_nothing(self, cls, method):
        if not hasattr(cls, method):
            method = "fit_transform"
        scaler = cls()
        with pytest.raises(ValueError, match="infinity"):
            getattr(scaler, method)([[np.inf]])
        assert vars(scaler) == vars(cls())

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_the_input_stays_as_it_is(self, cls, data, method, dtype, order):
        X = np.rint(data).astype(dtype, order=order)
        before = X.copy()
        getattr(cls().fit(X), method)(X)
        np.testing.assert_array_equal(X, before)

    def test_without_a_copy_integers_and_read_only_arrays_stay(self, cls, data):
        whole = np.rint(data).astype(np.int64)
        locked = data.copy()
        locked.setflags(write=False)
        for X in (whole, locked):
            before = X.copy()
            Z = cls(copy=False).fit_transform(X)
            assert not np.shares_memory(Z, X)
            np.testing.assert_array_equal(X, before)

    def test_a_memory_map(self, cls, data, tmp_path):
        np.save(tmp_path / "X.npy", data)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
        Z = cls().fit(X).transform(X)
        assert type(Z) is np.ndarray
        np.testing.assert_array_equal(Z, cls().fit(data).transform(data))

    @pytest.mark.parametrize("mode", [None, "r"])
    def test_persistence(self, cls, data, tmp_path, mode):
        scaler = cls().fit(data)
        joblib.dump(scaler, tmp_path / "scaler.joblib")
        loaded = joblib.load(tmp_path / "scaler.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(loaded.transform(data), scaler.transform(data))

    def test_polars(self, cls):
        frame = pl.DataFrame({"area": [50.0, 90.0], "rooms": [5.0, 3.0]})
        scaler = cls().set_output(transform="polars")
        Z = scaler.fit_transform(frame)
        assert isinstance(Z, pl.DataFrame)
        assert Z.columns == scaler.get_feature_names_out().tolist() == frame.columns


def test_valid_parameters_are_looked_at_once(monkeypatch, rng):
    X = rng.normal(size=(20, 2))
    looks = []
    look = BaseEstimator._validate_params
    monkeypatch.setattr(
        BaseEstimator,
        "_validate_params",
        lambda self: (looks.append(self.get_params()), look(self)),
    )
    scaler = Standardizer(ddof=1, clip_bound=0.123)
    scaler.fit(X).fit(X)
    assert len(looks) == 1
    # 1 is no bool, though it equals one.
    with pytest.raises(ValueError, match=r"'with_mean' parameter.*Got 1 instead"):
        scaler.set_params(with_mean=1).fit(X)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"'ddof' parameter.*Got -1 instead"):
            Standardizer(ddof=-1).fit(X)


def test_a_subclass_keeps_its_own_transform(rng):
    class Doubled(Standardizer):
        def transform(self, X):
            return 2 * super().transform(X)

    X = rng.normal(size=(20, 2))
    np.testing.assert_array_equal(
        Doubled().fit_transform(X), 2 * Standardizer().fit_transform(X)
    )
