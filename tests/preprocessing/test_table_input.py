"""Tables as they come, before anything looks at their columns."""

import dask.array
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator

from sknorm.preprocessing._table_input import check_table


class Any(BaseEstimator):
    """An estimator of any kind."""


MIXED = [[0.0, "a"], [1.0, None], [2.5, "b"]]


@pytest.mark.parametrize("X", [MIXED, tuple(map(tuple, MIXED))])
def test_lists_keep_what_they_hold(X):
    checked = check_table(Any(), X, reset=True)
    assert checked.dtype == object
    assert checked.tolist() == MIXED


@pytest.mark.parametrize("X", [[[1, 2.5]], [["a", "b"]], [[True, False]], [[1, None]]])
def test_other_lists(X):
    checked = check_table(Any(), X, reset=True)
    assert checked.tolist() == X


@pytest.mark.parametrize("dtype", ["i2", "f4", "f8", "?", "O", "U1", "M8[s]"])
def test_arrays_keep_their_dtype(dtype):
    X = np.ones((2, 1)).astype("i8").astype(dtype)
    checked = check_table(Any(), X, reset=True)
    assert checked.dtype == X.dtype
    np.testing.assert_array_equal(checked, X)
    again = check_table(Any(), checked, reset=True)
    np.testing.assert_array_equal(again, X)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_come_back_themselves(make):
    X, estimator = make({"a": [1, 2], "b": ["x", None]}), Any()
    assert check_table(estimator, X, reset=True) is X
    assert estimator.n_features_in_ == 2
    assert estimator.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pl.DataFrame({"b": [1]}), "feature names should match"),
        (pl.DataFrame({"a": [1], "b": [1]}), "feature names should match"),
        ([[1, "x"]], "X has 2 features, but Any is expecting 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_others_than_before(X, message):
    estimator = Any()
    check_table(estimator, pl.DataFrame({"a": [1]}), reset=True)
    with pytest.raises(ValueError, match=message):
        check_table(estimator, X, reset=False)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\) .* required by Any"),
        (pd.DataFrame(index=[1]), ValueError, r"0 feature\(s\) .* required by Any"),
        (np.empty((0, 2)), ValueError, r"0 sample\(s\) .* required by Any"),
        (np.empty((2, 0)), ValueError, r"0 feature\(s\) .* required by Any"),
        ([], ValueError, "Expected 2D array"),
        (pl.LazyFrame({"a": [1]}), TypeError, "Any takes no lazy frames"),
        (dask.array.ones((2, 2)), TypeError, "Any takes no Dask collections"),
    ],
)
def test_no_tables(X, error, message):
    estimator = Any()
    with pytest.raises(error, match=message):
        check_table(estimator, X, reset=True)


def test_an_empty_frame_leaves_no_trace():
    estimator = Any()
    with pytest.raises(ValueError, match="0 sample"):
        check_table(estimator, pd.DataFrame({"a": []}), reset=True)
    assert not vars(estimator)


@pytest.mark.usefixtures("dispatch")
def test_arrays_of_other_libraries_become_numpys():
    X = pytest.importorskip("torch").tensor([[1.0], [3.0]])
    checked = check_table(Any(), X, reset=True)
    assert type(checked) is np.ndarray
