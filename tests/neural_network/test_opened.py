import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
)
from sknorm.neural_network._opened import open_estimator
from sknorm.preprocessing import Standardizer


@pytest.fixture
def data(rng):
    X = rng.normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


def small(**params):
    return NormMLPClassifier((8,), max_epochs=2, random_state=0, **params)


def weights(network):
    return [p.detach().numpy() for p in network.parameters()]


class TestFitted:
    def test_a_copy_of_the_network_with_rows_as_tensors(self, data):
        model = small().fit(*data)
        opened = open_estimator(model, *data)
        assert opened.is_fitted
        assert opened.network is not model.net_.module_
        for a, b in zip(
            weights(opened.network), weights(model.net_.module_), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(opened.X.numpy(), data[0].astype(np.float32))
        np.testing.assert_array_equal(opened.y.numpy(), data[1])
        assert opened.weight is None

    def test_without_targets(self, data):
        model = small().fit(*data)
        assert open_estimator(model, data[0]).y is None

    def test_labels_are_coded_and_classes_weighed(self, data):
        X, y = data
        labels = np.array(["no", "yes"])[y]
        model = small(class_weight={"no": 1.0, "yes": 3.0}).fit(X, labels)
        opened = open_estimator(model, X, labels)
        np.testing.assert_array_equal(opened.y.numpy(), y)
        ratio = opened.weight[y == 1].mean() / opened.weight[y == 0].mean()
        assert float(ratio) == pytest.approx(3.0)

    def test_the_steps_before_it(self, data):
        X, y = data
        model = make_pipeline(StandardScaler(), small()).fit(10 + 5 * X, y)
        opened = open_estimator(model, 10 + 5 * X, y)
        expected = StandardScaler().fit_transform(10 + 5 * X)
        np.testing.assert_allclose(opened.X.numpy(), expected, atol=1e-6)

    def test_targets_go_through_a_transformer(self, data):
        X, _ = data
        y = np.exp(X[:, 0])
        network = NormMLPRegressor((8,), max_epochs=2, random_state=0)
        model = TransformedTargetRegressor(network, func=np.log, inverse_func=np.exp)
        for opened in (
            open_estimator(model, X, y),
            open_estimator(model.fit(X, y), X, y),
        ):
            z = (X[:, 0] - X[:, 0].mean()) / X[:, 0].std()
            np.testing.assert_allclose(opened.y.numpy()[:, 0], z, atol=1e-5)
        transformer = TransformedTargetRegressor(network, transformer=Standardizer())
        np.testing.assert_allclose(
            open_estimator(transformer, X, y).y.numpy(),
            open_estimator(transformer.fit(X, y), X, y).y.numpy(),
            atol=1e-5,
        )
        assert open_estimator(transformer, X).y is None

    def test_the_best_of_a_search(self, data):
        search = GridSearchCV(small(), {"lr": [1e-3, 1e-2]}, cv=2).fit(*data)
        opened = open_estimator(search, *data)
        assert opened.estimator is search.best_estimator_

    def test_rows_are_taken_evenly(self, data):
        X, y = data
        model = small().fit(X, y)
        opened = open_estimator(model, pd.DataFrame(X), pd.Series(y), max_rows=4)
        expected = X[[0, 19, 39, 59]].astype(np.float32)
        np.testing.assert_array_equal(opened.X.numpy(), expected)

    def test_columns_of_a_frame(self, data):
        X, y = data
        frame = pd.DataFrame({"a": X[:, 0], "b": np.where(X[:, 1] > 0, "u", "v")})
        model = TabularNetClassifier((8,), n_members=2, max_epochs=2).fit(frame, y)
        assert open_estimator(model, frame, y).X.shape == (60, 2)

    def test_the_optimizer_goes_on_at_full_lr(self, data):
        model = small(optimizer="adam", weight_decay=0.1).fit(*data)
        opened = open_estimator(model, *data)
        optimizer = opened.optimizer()
        assert {group["lr"] for group in optimizer.param_groups} == {3e-3}
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0}
        first = next(iter(opened.network.parameters()))
        trained = next(iter(model.net_.module_.parameters()))
        ours, theirs = optimizer.state[first], model.net_.optimizer_.state[trained]
        np.testing.assert_array_equal(ours["exp_avg"], theirs["exp_avg"])
        assert ours["exp_avg"] is not theirs["exp_avg"]

    def test_an_optimizer_without_single_steps(self, data):
        model = small(optimizer="lbfgs", weight_decay=0, lr=0.1).fit(*data)
        assert open_estimator(model, *data).optimizer() is None


class TestFresh:
    def test_it_is_as_training_starts(self, data):
        X, y = data
        model = small(norm="none")
        opened = open_estimator(model, X, y)
        assert not opened.is_fitted
        # A step of length 0 leaves weights where they started.
        started = copy.deepcopy(model).set_params(lr=1e-30, weight_decay=0.0).fit(X, y)
        for a, b in zip(
            weights(opened.network), weights(started.net_.module_), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-12)
        assert not hasattr(model, "net_")

    def test_steps_before_it_are_fitted_in_a_copy(self, data):
        X, y = data
        model = make_pipeline(StandardScaler(), small())
        opened = open_estimator(model, 10 + 5 * X, y)
        np.testing.assert_allclose(opened.X.mean(dim=0).numpy(), 0, atol=1e-5)
        assert not hasattr(model[0], "mean_")

    def test_random_states_stay(self, data):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        torch_before = torch.get_rng_state()
        open_estimator(NormMLPClassifier((8,)), *data)
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torch_before)

    def test_it_needs_targets(self, data):
        with pytest.raises(ValueError, match="isn't fitted, so that its last layer"):
            open_estimator(small(), data[0])


@pytest.mark.parametrize(
    "other",
    [
        LogisticRegression(),
        CalibratedClassifierCV(NormMLPClassifier((8,)), cv=2),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(StandardScaler()),
        None,
        TransformedTargetRegressor(),
    ],
)
def test_other_estimators(other, data):
    with pytest.raises(TypeError, match=r"must be a network of sknorm\.neural_network"):
        open_estimator(other, *data)


def test_too_few_rows(data):
    model = small().fit(*data)
    with pytest.raises(ValueError, match="at least 2 rows"):
        open_estimator(model, data[0][:1], data[1][:1])


@pytest.mark.parametrize("max_rows", [None, 10])
def test_other_numbers_of_targets(data, max_rows):
    X, y = data
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        open_estimator(small(), X, y[:-1], max_rows=max_rows)


@pytest.mark.parametrize("X", [None, 3])
def test_no_rows_at_all(data, X):
    model = small().fit(*data)
    with pytest.raises(TypeError, match="Expected sequence or array-like"):
        open_estimator(model, X)


def test_other_columns(data):
    model = small().fit(*data)
    with pytest.raises(ValueError, match="expecting 3 features"):
        open_estimator(model, data[0][:, :2], data[1])


def test_a_pipeline_of_which_a_step_is_not_fitted(data):
    model = make_pipeline(StandardScaler(), small())
    model.steps[-1] = ("last", small().fit(*data))
    with pytest.raises(NotFittedError):
        open_estimator(model, *data)
