import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknorm.inspection._remedies import Remedy
from sknorm.inspection._surroundings import (
    followed,
    is_standardized,
    path_to_network,
)
from sknorm.neural_network import NormMLPRegressor
from sknorm.preprocessing import QuantileStandardizer, Standardizer

STANDARDIZE = Remedy("", standardize_inputs=True)
NORMALIZE = Remedy("", normalize_target=True)


def network():
    return NormMLPRegressor((4,), max_epochs=1, random_state=0)


def searched(estimator, **grid):
    return GridSearchCV(estimator, grid, cv=2)


AROUND = {
    "": network(),
    "normmlpregressor__": make_pipeline(StandardScaler(), network()),
    "regressor__": TransformedTargetRegressor(network()),
    "estimator__": searched(network(), lr=[1e-3]),
    "regressor__normmlpregressor__": TransformedTargetRegressor(
        make_pipeline(network())
    ),
    "pipeline__normmlpregressor__": make_pipeline(make_pipeline(network())),
}


@pytest.mark.parametrize("path", AROUND)
def test_the_way_to_the_network(path):
    model = AROUND[path]
    assert path_to_network(model) == path
    assert f"{path}lr" in model.get_params()


def test_a_parameter():
    model = make_pipeline(network())
    assert followed(Remedy("", {"lr": 0.1}), model)[-1].lr == 0.1


class TestStandardizer:
    def test_alone(self):
        better = followed(STANDARDIZE, network())
        assert isinstance(better[0], Standardizer)
        assert isinstance(better[1], NormMLPRegressor)

    def test_in_a_pipeline_it_stands_right_before_the_network(self):
        model = Pipeline([("impute", FunctionTransformer()), ("net", network())])
        better = followed(STANDARDIZE, model)
        assert [name for name, _ in better.steps] == ["impute", "standardizer", "net"]

    def test_its_name_is_new(self):
        model = make_pipeline(Standardizer(), FunctionTransformer(), network())
        better = followed(STANDARDIZE, model)
        assert [name for name, _ in better.steps] == [
            "standardizer",
            "functiontransformer",
            "standardizer-2",
            "normmlpregressor",
        ]

    @pytest.mark.parametrize(
        ("grid", "expected"),
        [
            ({"lr": [1.0]}, {"normmlpregressor__lr": [1.0]}),
            ([{"lr": [1.0]}], [{"normmlpregressor__lr": [1.0]}]),
        ],
    )
    def test_a_search_finds_its_parameters(self, grid, expected):
        better = followed(STANDARDIZE, GridSearchCV(network(), grid, cv=2))
        assert better.param_grid == expected
        assert isinstance(better.estimator[0], Standardizer)
        better = followed(STANDARDIZE, RandomizedSearchCV(network(), grid, cv=2))
        assert better.param_distributions == expected

    def test_a_search_over_a_pipeline_stays_as_it_is(self):
        grid = {"normmlpregressor__lr": [1.0], "standardscaler": ["passthrough"]}
        model = GridSearchCV(make_pipeline(StandardScaler(), network()), grid, cv=2)
        assert followed(STANDARDIZE, model).param_grid == grid

    def test_a_search_over_a_transformed_target(self):
        grid = {"regressor__lr": [1.0], "transformer": [None, StandardScaler()]}
        model = GridSearchCV(TransformedTargetRegressor(network()), grid, cv=2)
        better = followed(STANDARDIZE, model)
        assert list(better.param_grid) == [
            "regressor__normmlpregressor__lr",
            "transformer",
        ]
        X, y = np.arange(24.0).reshape(12, 2) % 7, np.arange(12.0) % 5
        assert better.fit(X, y).best_params_["regressor__normmlpregressor__lr"] == 1.0

    def test_inside_a_transformed_target(self):
        better = followed(STANDARDIZE, TransformedTargetRegressor(network()))
        assert isinstance(better.regressor[0], Standardizer)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (network(), False),
        (make_pipeline(Standardizer(), network()), True),
        (make_pipeline(StandardScaler(), "passthrough", None, network()), True),
        (make_pipeline(StandardScaler(with_mean=False), network()), False),
        (make_pipeline(StandardScaler(), FunctionTransformer(), network()), False),
        (make_pipeline(StandardScaler(), make_pipeline(network())), True),
        (make_pipeline(StandardScaler(), TransformedTargetRegressor(network())), True),
        (searched(make_pipeline(Standardizer(), network())), True),
        (searched(network()), False),
    ],
)
def test_whether_columns_are_standardized(model, expected):
    assert is_standardized(model) == expected


class TestTarget:
    def test_alone(self):
        better = followed(NORMALIZE, network())
        assert isinstance(better.regressor, NormMLPRegressor)
        assert isinstance(better.transformer, QuantileStandardizer)

    def test_one_that_was_transformed(self):
        model = TransformedTargetRegressor(network(), transformer=StandardScaler())
        better = followed(NORMALIZE, model)
        assert better is model
        assert isinstance(better.transformer, QuantileStandardizer)

    def test_one_that_a_function_was_taken_of(self):
        model = TransformedTargetRegressor(
            network(), func=np.log1p, inverse_func=np.expm1
        )
        better = followed(NORMALIZE, model)
        better.set_params(check_inverse=False)
        X, y = np.arange(24.0).reshape(12, 2), np.arange(12.0)
        assert isinstance(better.fit(X, y).transformer_, QuantileStandardizer)
