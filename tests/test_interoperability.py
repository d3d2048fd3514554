"""The estimators in everything scikit-learn puts around an estimator."""

import functools
import pickle

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    StackingClassifier,
)
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn

from sknorm.neural_network import NormMLPClassifier, NormMLPRegressor
from sknorm.nn.initializers import Normal
from sknorm.nn.norms import NORMS
from sknorm.preprocessing import Standardizer


class Scaled(nn.Module):
    """A user's own norm."""

    def __init__(self, num_features):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_features))

    def forward(self, x):
        return x * self.scale


def double(x):
    """A user's own activation."""
    return 2 * x.clamp(min=0)


def tenth(weight, generator=None):
    """A user's own init."""
    nn.init.normal_(weight, 0.0, 0.1, generator=generator)


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def quick(cls=NormMLPClassifier, **parameters):
    return cls(
        **(
            {
                "hidden_layer_sizes": (32,),
                "max_epochs": 40,
                "lr": 0.02,
                "dropout": 0.0,
                "random_state": 0,
            }
            | parameters
        )
    )


def piped(**parameters):
    return Pipeline([("standardize", Standardizer()), ("net", quick(**parameters))])


def test_grid_search_over_names_and_schemes_in_two_processes(iris):
    search = GridSearchCV(
        piped(),
        {
            "net__init": ["zeros", "kaiming_normal", Normal(mean=10, std=5)],
            "net__norm": ["none", "batch"],
        },
        cv=3,
        n_jobs=2,
    ).fit(*iris)
    scores = dict(
        zip(
            [tuple(p.values()) for p in search.cv_results_["params"]],
            search.cv_results_["mean_test_score"],
            strict=True,
        )
    )
    assert search.best_params_["net__init"] == "kaiming_normal"
    assert scores["zeros", "none"] < 0.5 < 0.9 < scores["kaiming_normal", "batch"]
    assert scores[Normal(mean=10, std=5), "none"] < scores["kaiming_normal", "none"]


def test_cross_val_predict(iris):
    proba = cross_val_predict(piped(), *iris, cv=3, method="predict_proba")
    assert (proba.argmax(axis=1) == iris[1]).mean() > 0.9


@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: CalibratedClassifierCV(net, cv=2),
        lambda net: StackingClassifier(
            [("net", net), ("linear", LogisticRegression())], cv=2
        ),
        lambda net: BaggingClassifier(net, n_estimators=3, random_state=0),
    ],
    ids=["calibrated", "stacking", "bagging"],
)
def test_inside_of_others(wrap, iris):
    assert make_pipeline(Standardizer(), wrap(quick())).fit(*iris).score(*iris) > 0.9


def test_boosting_hands_weights_on(iris):
    X = Standardizer().fit_transform(iris[0])
    boosted = AdaBoostClassifier(
        quick(max_epochs=3), n_estimators=3, random_state=0
    ).fit(X, iris[1])
    assert len(boosted.estimators_) >= 1
    assert boosted.score(X, iris[1]) > 0.8
    AdaBoostRegressor(quick(NormMLPRegressor, max_epochs=3), n_estimators=2).fit(*iris)


def test_permutation_importance_finds_the_column_that_matters(rng):
    X = rng.standard_normal((200, 3))
    model = quick().fit(X, X[:, 1] > 0)
    importance = permutation_importance(model, X, X[:, 1] > 0, random_state=0)
    assert importance.importances_mean.argmax() == 1


OWN = {
    "strings": {},
    "scheme": {"init": Normal(0, 0.5)},
    "classes": {"norm": nn.LayerNorm, "activation": nn.Tanh},
    "partials": {
        "norm": functools.partial(nn.GroupNorm, 2),
        "activation": functools.partial(nn.LeakyReLU, 0.2),
    },
    "module": {"activation": nn.PReLU()},
    "own": {"norm": Scaled, "activation": double, "init": tenth, "bias_init": tenth},
} | {name: {"norm": name} for name in NORMS}


@pytest.mark.parametrize("parameters", OWN.values(), ids=OWN)
def test_clone_pickle_and_joblib(parameters, iris, tmp_path):
    X, y = iris
    model = clone(quick(**parameters)).fit(X, y)
    expected = model.predict_proba(X)
    joblib.dump(model, tmp_path / "model.joblib")
    for twin in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        clone(model).fit(X, y),
    ):
        np.testing.assert_array_equal(twin.predict_proba(X), expected)


def test_unpickled_estimator_can_go_on(iris):
    model = pickle.loads(pickle.dumps(quick().fit(*iris)))
    before = len(model.loss_curve_)
    assert len(model.partial_fit(*iris).loss_curve_) == before + 1


def test_weights_are_routed_through_a_pipeline(iris):
    X, y = iris
    weight = np.where(y == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            Standardizer().set_fit_request(sample_weight=True),
            quick().set_fit_request(sample_weight=True),
        )
        model.fit(X, y, sample_weight=weight)
        assert model[0].n_samples_seen_ == 100
        # The class whose rows have no weight is never learned.
        assert 2 not in model.predict(X[y < 2])
        result = cross_validate(
            model,
            X,
            y,
            cv=3,
            scoring=make_scorer(accuracy_score).set_score_request(sample_weight=True),
            params={"sample_weight": weight},
            error_score="raise",
        )
    assert (result["test_score"] > 0.9).all()


def test_validation_rows_go_through_the_pipeline(iris):
    X, y = iris
    with sklearn.config_context(enable_metadata_routing=True):
        model = Pipeline(
            [
                ("standardize", Standardizer()),
                ("net", quick().set_fit_request(X_val=True, y_val=True)),
            ],
            transform_input=["X_val"],
        )
        model.fit(X, y, X_val=X[::2], y_val=y[::2])
    assert model[-1].validation_loss_curve_[-1] < 0.5


def test_frames_flow_through(iris):
    frame, y = load_iris(return_X_y=True, as_frame=True)
    model = piped().set_output(transform="pandas").fit(frame, y)
    assert model[-1].feature_names_in_.tolist() == list(frame.columns)


def test_html_repr_and_repr_show_what_differs_from_the_defaults():
    model = NormMLPClassifier(norm="rms", init=Normal(0, 0.5))
    assert repr(model) == "NormMLPClassifier(init=Normal(mean=0, std=0.5), norm='rms')"
    assert "NormMLPClassifier" in model._repr_html_()
