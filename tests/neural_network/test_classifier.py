"""The classifier."""

import numpy as np
import pytest
import torch
from sklearn.datasets import (
    load_iris,
    make_classification,
    make_multilabel_classification,
)
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from torch import nn

from sknorm.neural_network import NormMLPClassifier
from sknorm.neural_network._schedules import SCHEDULES

LABELS = {
    "int": [3, -1, 10],
    "str": ["low", "mid", "top"],
    "object": np.array(["low", "mid", "top"], dtype=object),
    "float": [0.0, 1.0, 2.0],
}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def quick(**parameters):
    return NormMLPClassifier(
        **(
            {
                "hidden_layer_sizes": (16,),
                "max_epochs": 40,
                "lr": 1e-2,
                "dropout": 0.0,
                "random_state": 0,
            }
            | parameters
        )
    )


@pytest.mark.parametrize("kind", list(LABELS))
def test_labels_of_any_dtype(kind, iris):
    X, codes = iris
    labels = np.asarray(LABELS[kind])
    model = quick().fit(X, labels[codes])
    assert model.classes_.tolist() == sorted(labels.tolist())
    predicted = model.predict(X)
    assert predicted.dtype == labels.dtype
    assert model.score(X, labels[codes]) > 0.95


def test_boolean_labels_and_the_binary_decision_function(iris):
    X, codes = iris
    model = quick().fit(X, codes == 0)
    assert model.predict(X).dtype == bool
    decision = model.decision_function(X)
    assert decision.shape == (len(X),)
    np.testing.assert_array_equal(decision > 0, model.predict(X))
    assert model.score(X, codes == 0) == 1.0


def test_probabilities_agree_with_each_other(iris):
    X, y = iris
    model = quick().fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (150, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    # float32 probabilities: their logarithm is right to their own rounding.
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X)), proba, rtol=1e-4, atol=1e-7
    )
    np.testing.assert_array_equal(proba.argmax(axis=1), model.predict(X))
    assert model.decision_function(X).shape == (150, 3)


def test_one_class_is_always_predicted():
    X = np.arange(12.0).reshape(6, 2)
    model = quick(max_epochs=2).fit(X, ["only"] * 6)
    assert model.predict(X).tolist() == ["only"] * 6
    assert model.predict_proba(X).tolist() == [[1.0]] * 6


def test_multilabel():
    X, Y = make_multilabel_classification(200, random_state=0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = quick(max_epochs=100).fit(X, Y)
    assert model.classes_.tolist() == [0, 1, 2, 3, 4]
    proba = model.predict_proba(X)
    assert proba.shape == Y.shape
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    assert (model.predict(X) == Y).mean() > 0.9
    assert model.decision_function(X).shape == Y.shape


def test_class_weight_dict_is_the_same_as_sample_weight(iris):
    X, y = iris
    by_class = quick(class_weight={1: 4.0}).fit(X, y)
    by_row = quick().fit(X, y, sample_weight=np.where(y == 1, 4.0, 1.0))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))


def test_class_weights_by_which_no_row_counts(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"'class_weight'.*at least 0.*Got {0: 0"):
        quick(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)
    with pytest.raises(ValueError, match=r"'class_weight'.*at least 0.*Got {1: -1}"):
        quick(class_weight={1: -1}).fit(X, y)
    model = quick(class_weight={0: 0.0})
    message = r"No row of X and y counts: class_weight={0: 0.0}.*Pass rows of other"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, sample_weight=(y == 0).astype(float))
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X[y == 0], y[y == 0], classes=[0, 1, 2])


def test_balanced_helps_the_rare_class(rng):
    X = rng.standard_normal((300, 2))
    y = (X[:, 0] + rng.standard_normal(300) > 2.2).astype(int)
    assert 5 < y.sum() < 40
    plain, balanced = (
        quick(class_weight=weight, max_epochs=20).fit(X, y)
        for weight in (None, "balanced")
    )
    assert balanced.predict(X).sum() > 2 * plain.predict(X).sum()
    explicit = np.where(y == 1, 150 / y.sum(), 150 / (300 - y.sum()))
    by_row = quick(max_epochs=20).fit(X, y, explicit)
    # Weights that are equal up to rounding: the networks agree to float32's.
    np.testing.assert_allclose(
        balanced.predict_proba(X), by_row.predict_proba(X), rtol=1e-3, atol=1e-4
    )


def test_class_weight_for_multilabel_changes_the_fit():
    X, Y = make_multilabel_classification(60, n_features=4, random_state=0)
    plain, weighted = (
        quick(class_weight=w, max_epochs=3).fit(X, Y) for w in (None, "balanced")
    )
    assert not np.array_equal(plain.predict_proba(X), weighted.predict_proba(X))


def test_label_smoothing_keeps_probabilities_from_the_ends(iris):
    X, y = iris
    # Weight decay keeps them from the ends too.
    model = quick(max_epochs=100, weight_decay=0)
    sharp, smooth = (
        model.set_params(label_smoothing=s).fit(X, y).predict_proba(X).max(axis=1)
        for s in (0.0, 0.3)
    )
    # The best a smoothed target allows is 1 - 0.3 * 2 / 3.
    assert np.median(smooth) == pytest.approx(0.8, abs=0.05)
    assert np.median(sharp) > 0.97


def test_partial_fit_over_batches_with_a_class_that_comes_late(iris):
    X, y = iris
    model = quick().partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    order = np.random.default_rng(0).permutation(150)
    for _ in range(30):
        for part in np.array_split(order, 3):
            model.partial_fit(X[part], y[part])
    assert model.score(X, y) > 0.9
    assert len(model.loss_curve_) == 91
    assert model.n_iter_ == 1


def test_partial_fit_on_a_single_row(iris):
    X, y = iris
    model = quick().partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    model.partial_fit(X[60:61], y[60:61])
    assert model.predict(X).shape == (150,)


def test_partial_fit_goes_on_after_fit_with_early_stopping(iris):
    X, y = iris
    model = quick(early_stopping=True, lr_schedule="plateau").fit(X, y)
    before = len(model.loss_curve_)
    model.partial_fit(X, y)
    assert len(model.loss_curve_) == before + 1
    assert model.net_.optimizer_.param_groups[0]["lr"] == model.lr


def test_partial_fit_multilabel_needs_no_classes():
    X, Y = make_multilabel_classification(30, random_state=0)
    assert quick().partial_fit(X, Y).n_outputs_ == 5


def test_stratified_validation_keeps_rare_classes():
    X, y = make_classification(
        200, weights=[0.9], flip_y=0, random_state=0, n_features=4
    )
    model = quick(early_stopping=True, max_epochs=5, validation_fraction=0.25)
    held_out = []

    from skorch.callbacks import Callback

    class Peek(Callback):
        def on_epoch_end(self, net, dataset_valid=None, **kwargs):
            held_out.append(dataset_valid.y.tolist())

    model.set_params(callbacks=[Peek()]).fit(X, y)
    assert len(held_out[0]) == 50
    assert sum(held_out[0]) == round(y.sum() / 4)


def test_training_lowers_the_loss_it_reports(iris):
    X, y = iris
    model = quick().fit(X, y)
    assert model.loss_curve_[-1] < 0.3 * model.loss_curve_[0]
    assert model.loss_curve_[-1] == pytest.approx(
        log_loss(y, model.predict_proba(X)), abs=0.1
    )


def test_unfitted():
    with pytest.raises(NotFittedError):
        NormMLPClassifier().predict([[1.0]])
    assert not hasattr(NormMLPClassifier(), "classes_")


def test_the_reference_network(rng):
    reference = nn.Sequential(
        nn.Linear(784, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    X, y = rng.standard_normal((100, 784)), np.arange(100) % 10
    model = NormMLPClassifier(
        hidden_layer_sizes=(256, 128),
        activation="relu",
        norm="batch",
        init="kaiming_normal",
        max_epochs=1,
    ).fit(X, y)
    module = model.net_.module_
    assert [type(part) for part in module] == [type(part) for part in reference]
    shapes = [parameter.shape for parameter in module.parameters()]
    assert shapes == [parameter.shape for parameter in reference.parameters()]
    reference.load_state_dict(module.state_dict())
    with torch.no_grad():
        logits = reference.eval()(torch.tensor(X, dtype=torch.float32)).numpy()
    # The same sums in another order: the estimator fills rows up to whole tiles.
    np.testing.assert_allclose(model.decision_function(X), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_in_the_docstring(name):
    assert f'``"{name}"``' in NormMLPClassifier.__doc__
