import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknorm.inspection._remedies import Remedy
from sknorm.inspection._surroundings import followed, path_to_network
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

    def test_inside_a_transformed_target(self):
        better = followed(STANDARDIZE, TransformedTargetRegressor(network()))
        assert isinstance(better.regressor[0], Standardizer)


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
