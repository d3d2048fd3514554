import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from sknorm.inspection._propagation import (
    changed,
    inside_search,
    labelled,
    labelled_inits,
    measure,
    name_of,
)
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.neural_network._opened import open_estimator
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import Standardizer


def network(*sizes, **params):
    defaults = {"norm": "none", "max_epochs": 1, "device": "cpu", "dtype": "float64"}
    return NormMLPClassifier(sizes, **defaults | params)


def signals(estimator, X, y, seeds=1, gradient="random", max_rows=2048):
    return measure(estimator, X, y, seeds=seeds, gradient=gradient, max_rows=max_rows)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


class TestMeasure:
    def test_by_hand(self, table):
        # The gradient of the loss is p - y in the last layer.
        X, y = table
        model = network(4, activation="identity").fit(X, y)
        (signal,) = signals(model, X, y, gradient="loss")
        first, last = model.net_.module_.linears
        W, V = (part.weight.detach().numpy() for part in (first, last))
        hidden = X @ W.T + first.bias.detach().numpy()
        output = hidden @ V.T + last.bias.detach().numpy()
        np.testing.assert_allclose(
            signal.forward, [X.std(), hidden.std(), output.std()]
        )
        back = model.predict_proba(X) - np.eye(2)[y]
        norms = [np.sqrt(((G**2).sum(axis=1)).mean()) for G in (back @ V, back)]
        np.testing.assert_allclose(signal.backward, [norms[0] / norms[1], 1.0])

    def test_theory_of_a_linear_network(self, table):
        X, y = table
        model = network(4, 4, activation="identity", init="lecun_normal")
        (signal,) = signals(model, X, y)
        layers = open_estimator(changed(model, random_state=0), X, y).network.linears
        sigmas = [
            float(part.weight.detach().square().mean()) * part.in_features
            for part in layers
        ]
        expected = (X**2).mean() * np.cumprod(sigmas)
        np.testing.assert_allclose(signal.forward_theory[1:] ** 2, expected)
        assert np.isnan(signal.forward_theory[0])
        expected = [sigmas[1] * sigmas[2], sigmas[2], 1]
        np.testing.assert_allclose(signal.backward_theory**2, expected)

    def test_a_network_for_each_seed_and_a_fitted_one_alone(self, table):
        X, y = table
        fresh = signals(network(4, random_state=5), X, y, seeds=3)
        assert len({signal.forward[1] for signal in fresh}) == 3
        assert len(signals(network(4).fit(X, y), X, y, seeds=3)) == 1

    def test_theory_may_overflow(self, table):
        model = network(*[4] * 5, activation="tanh", init=Normal(std=1e100))
        (signal,) = signals(model, *table)
        assert np.isinf(signal.backward_theory[0])

    def test_nothing_comes_back_through_what_is_not_finite(self, table):
        X, y = table
        (signal,) = signals(network(4, init=Normal(std=1e200)), X, y)
        assert np.isnan(signal.backward).all()
        assert np.isfinite(signal.forward[0])


class TestEstimators:
    def test_changed_is_a_copy_wherever_the_network_is(self):
        inner = NormMLPRegressor((4,))
        model = TransformedTargetRegressor(make_pipeline(Standardizer(), inner))
        other = changed(model, init="zeros", random_state=3)
        assert other.regressor[-1].init == "zeros"
        assert other.regressor[-1].random_state == 3
        assert inner.init == "auto"
        with pytest.raises(TypeError, match="must be a network of sknorm"):
            changed(LogisticRegression(), init="zeros")

    def test_the_best_of_a_search(self, table):
        search = GridSearchCV(network(4), {"lr": [1e-3]}, cv=2)
        assert inside_search(search) is search
        assert inside_search(search.fit(*table)) is search.best_estimator_

    def test_names(self):
        assert name_of(make_pipeline(Standardizer(), network(4))) == "NormMLPClassifier"
        with pytest.raises(TypeError, match="must be a network of sknorm"):
            name_of(LogisticRegression())


class TestLabels:
    def test_a_list_is_numbered_where_names_are_the_same(self):
        models = [network(), TabularNetClassifier(8), network(2)]
        assert list(labelled(iter(models)).items()) == [
            ("NormMLPClassifier 1", models[0]),
            ("TabularNetClassifier", models[1]),
            ("NormMLPClassifier 3", models[2]),
        ]

    def test_those_given(self):
        model = network()
        assert labelled({1: model}) == {"1": model}
        assert labelled_inits({"a": "zeros"}) == {"a": "zeros"}

    def test_of_schemes(self):
        def first(weight):
            return nn.init.normal_(weight, std=0.1)

        inits = (init for init in ["auto", "auto", Normal(std=0.5), first])
        assert list(labelled_inits(inits)) == [
            "auto 1",
            "auto 2",
            "Normal(mean=0.0, std=0.5)",
            "first",
        ]
        assert labelled_inits("zeros") == {"zeros": "zeros"}
        assert labelled_inits(first) == {"first": first}

    @pytest.mark.parametrize("empty", [[], {}, ()])
    def test_nothing(self, empty):
        with pytest.raises(ValueError, match=r"at least one estimator\. Got none"):
            labelled(empty)
        with pytest.raises(ValueError, match=r"at least one scheme\. Got none"):
            labelled_inits(empty)

    @pytest.mark.parametrize("other", [3, None])
    def test_something_else(self, other):
        message = f"must be a dict or a list of estimators. Got {other!r}"
        with pytest.raises(TypeError, match=message):
            labelled(other)
        message = f"must be a list or a dict of schemes. Got {other!r}"
        with pytest.raises(TypeError, match=message):
            labelled_inits(other)

    def test_one_where_several_are_expected(self):
        with pytest.raises(TypeError, match=r"(?s)Got one: NormMLP.*with from_est"):
            labelled(network())
