import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sknorm.inspection._tables import TransformedTable
from sknorm.preprocessing import Standardizer

NAMES = ["a", "b", "c"]


@pytest.fixture
def X(rng):
    return rng.normal(3, 2, size=(20, 3))


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame])
def frame(request, X):
    return request.param(dict(zip(NAMES, X.T, strict=True)))


def make(transformer, X, **transform_params):
    return TransformedTable.make(transformer, X, transform_params)


@pytest.mark.parametrize("scaler", [Standardizer(), StandardScaler()])
class TestOneToOne:
    def test_arrays(self, X, scaler):
        table = make(scaler.fit(X), X)
        assert table.inputs == table.outputs == ["x0", "x1", "x2"]
        np.testing.assert_array_equal(table.values_before(1), X[:, 1])
        np.testing.assert_array_equal(table.values_after(1), scaler.transform(X)[:, 1])

    def test_lists(self, X, scaler):
        table = make(scaler.fit(X), X.tolist())
        np.testing.assert_array_equal(table.values_before(2), X[:, 2])

    @pytest.mark.parametrize("output", ["default", "pandas", "polars"])
    def test_frames(self, X, frame, scaler, output):
        scaler = type(scaler)().set_output(transform=output).fit(frame)
        table = make(scaler, frame)
        assert table.inputs == table.outputs == NAMES
        np.testing.assert_array_equal(table.values_before(2), X[:, 2])
        after = np.asarray(scaler.transform(frame))
        np.testing.assert_array_equal(table.values_after(2), after[:, 2])

    @pytest.mark.filterwarnings("ignore:X has feature names")
    def test_names_that_only_the_table_has(self, frame, X, scaler):
        table = make(scaler.fit(X), frame)
        assert table.inputs == table.outputs == NAMES

    @pytest.mark.filterwarnings("ignore:X does not have valid feature names")
    def test_names_that_only_the_transformer_has(self, frame, X, scaler):
        table = make(type(scaler)().fit(frame), X)
        assert table.inputs == table.outputs == NAMES


@pytest.mark.parametrize("form", ["csr_array", "csc_matrix", "coo_array"])
def test_columns_of_a_sparse_matrix_are_made_dense(rng, form):
    dense = rng.normal(size=(30, 3)) * (rng.random((30, 3)) < 0.3)
    X = getattr(scipy.sparse, form)(dense)
    table = make(Standardizer(with_mean=False).fit(X), X)
    np.testing.assert_array_equal(table.values_before(1), dense[:, 1])
    np.testing.assert_allclose(table.values_after(1), dense[:, 1] / dense[:, 1].std())


def test_outputs_that_mix_columns_have_no_input(X):
    table = make(make_pipeline(Standardizer(), PCA(2, whiten=True)).fit(X), X)
    assert table.outputs == ["pca0", "pca1"]
    assert table.source(0) is table.values_before(0) is None


def test_steps_of_a_column_transformer(frame):
    chosen = ColumnTransformer([("num", StandardScaler(), ["c", "a"])]).fit(frame)
    table = make(chosen, frame)
    assert table.outputs == ["num__c", "num__a"]
    assert [table.source(j) for j in (0, 1)] == [2, 0]
    assert table.find("num__a") == table.find("a") == table.find(1) == 1


def test_outputs_without_names_are_numbered(X):
    table = make(FunctionTransformer(np.exp).fit(X), X)
    assert table.outputs == ["output 0", "output 1", "output 2"]
    assert table.source(0) is None
    frame = pd.DataFrame(X, columns=NAMES)
    table = make(FunctionTransformer(np.exp).fit(frame), frame)
    assert table.outputs == NAMES
    assert table.source(2) == 2


def test_columns_that_are_not_numbers():
    frame = pd.DataFrame(
        {
            "word": ["x", "y", "x"],
            "flag": [True, False, True],
            "gap": pd.array([1, None, 3], dtype="Int64"),
            "day": pd.to_datetime(["2020-01-01"] * 3),
        }
    )
    table = make(FunctionTransformer().fit(frame), frame)
    assert table.values_after(0) is None
    np.testing.assert_array_equal(table.values_after(1), [1, 0, 1])
    np.testing.assert_array_equal(table.values_after(2), [1, np.nan, 3])
    encoder = OneHotEncoder(sparse_output=False).fit(frame[["word"]])
    table = make(encoder, frame[["word"]])
    assert table.outputs == ["word_x", "word_y"]
    assert table.values_before(0) is None


def test_what_transform_is_called_with_besides(X):
    class Shift(BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def transform(self, X, by=0):
            return X + by

    table = make(Shift().fit(X), X, by=2)
    np.testing.assert_array_equal(table.values_after(0), X[:, 0] + 2)


@pytest.mark.parametrize(
    "scaler",
    [Standardizer(copy=False), make_pipeline(StandardScaler(copy=False), PCA())],
)
def test_a_transformer_that_writes_into_its_input_gets_a_copy(X, scaler):
    scaler.fit(X.copy())
    before = X.copy()
    table = make(scaler, X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(table.before, before)
    assert abs(table.values_after(0).mean()) < 1e-12


class TestFind:
    @pytest.fixture
    def table(self, frame):
        return make(Standardizer().fit(frame), frame)

    @pytest.mark.parametrize("column", ["c", 2, -1, np.int64(2)])
    def test_by_name_or_position(self, table, column):
        assert table.find(column) == 2

    @pytest.mark.parametrize("column", ["d", 3, -4, True, 1.5, None])
    def test_unknown(self, table, column):
        message = (
            f"There is no column {column!r} among the 3 that come out: 'a', 'b', 'c'. "
            "Name one of them, or give its position from 0 to 2."
        )
        with pytest.raises(ValueError, match="There is no column") as error:
            table.find(column)
        assert str(error.value) == message

    def test_an_input_that_does_not_come_out(self, frame):
        table = make(
            ColumnTransformer([("n", StandardScaler(), ["a"])]).fit(frame), frame
        )
        with pytest.raises(ValueError, match="There is no column 'b' among the 1"):
            table.find("b")

    def test_a_message_names_ten(self, rng):
        X = rng.normal(size=(5, 12))
        with pytest.raises(ValueError, match=r"'x9', \.\.\.\. Name one"):
            make(Standardizer().fit(X), X).find("y")


class TestErrors:
    def test_not_fitted(self, X):
        with pytest.raises(NotFittedError, match="This Standardizer instance is not"):
            make(Standardizer(), X)
        with pytest.raises(NotFittedError, match="This Pipeline instance is not"):
            make(make_pipeline(SimpleImputer(), Standardizer()), X)

    def test_not_a_transformer(self, X):
        model = make_pipeline(Standardizer(), LogisticRegression())
        model.fit(X, X[:, 0] > 3)
        with pytest.raises(
            TypeError, match=r"(?s)A transformer is needed.*pipeline\[:-"
        ):
            make(model, X)
        assert make(model[:-1], X).outputs == ["x0", "x1", "x2"]

    def test_other_columns(self, X, frame):
        with pytest.raises(ValueError, match="X has 2 features, but Standardizer is"):
            make(Standardizer().fit(X), X[:, :2])
        scaler = Standardizer().fit(frame)
        with pytest.raises(ValueError, match="feature names should match"):
            make(scaler, frame[["b", "a", "c"]])

    def test_other_rows(self, X):
        half = FunctionTransformer(lambda X: X[::2]).fit(X)
        with pytest.raises(
            ValueError, match=r"a row for each row of X. Got shapes \(20"
        ):
            make(half, X)
