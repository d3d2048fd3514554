"""Every mistake a user can make is answered by a message that says what to do."""

import numpy as np
import pytest
import scipy.sparse
import torch

from sknorm.exceptions import DivergenceError
from sknorm.neural_network import NormMLPClassifier, NormMLPRegressor
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import Standardizer

X = np.arange(24.0).reshape(12, 2) % 7
Y = np.arange(12) % 2


def quick(cls=NormMLPClassifier, **parameters):
    return cls(**({"hidden_layer_sizes": (4,), "max_epochs": 2} | parameters))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"norm": "lyer"},
            r"'norm' parameter.*Unknown norm 'lyer'.*mean 'layer'",
        ),
        ({"init": "kaming_normal"}, "Did you mean 'kaiming_normal'"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"bias_init": "zero"}, "Did you mean 'zeros'"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
        ({"lr_schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"norm": 3}, r"'norm' parameter of NormMLPClassifier must be.*Got 3"),
        ({"init": None}, r"'init' parameter.*Got None"),
        ({"activation": 1.5}, r"'activation' parameter.*Got 1.5"),
        ({"norm_position": "front"}, r"among \{'(after|before)', '(after|before)'\}"),
        ({"lr": 0}, r"'lr' parameter.*Got 0"),
        ({"lr": "fast"}, r"'lr' parameter.*Got 'fast'"),
        ({"dropout": 1.0}, r"'dropout' parameter.*Got 1.0"),
        ({"max_epochs": 0}, r"'max_epochs' parameter.*Got 0"),
        ({"batch_size": "all"}, r"'batch_size' parameter.*Got 'all'"),
        ({"weight_decay": "small"}, r"'weight_decay' parameter.*Got 'small'"),
        ({"validation_fraction": 1.0}, r"'validation_fraction' parameter.*Got 1.0"),
        ({"label_smoothing": -0.1}, r"'label_smoothing' parameter.*Got -0.1"),
        ({"class_weight": "even"}, r"'class_weight' parameter.*Got 'even'"),
        ({"clip_grad_norm": 0}, r"'clip_grad_norm' parameter.*Got 0"),
        ({"dtype": "float16"}, r"'dtype' parameter.*Got 'float16'"),
        ({"hidden_layer_sizes": (4, 0)}, r"'hidden_layer_sizes' parameter.*\(4, 0\)"),
        ({"callbacks": "all"}, r"'callbacks' parameter.*Got 'all'"),
        ({"device": "gpu0"}, r"'device' parameter must be 'auto'.*Got 'gpu0'"),
        ({"bias_init": "orthogonal"}, r"'bias_init' parameter.*Got 'orthogonal'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(X, Y)


def test_optimizer_class_that_is_none():
    with pytest.raises(TypeError, match=r"torch.optim.Optimizer. Got"):
        quick(optimizer=dict).fit(X, Y)


def with_value(value):
    spoiled = X.copy()
    spoiled[3, 1] = value
    return spoiled


@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (with_value(np.nan), "Input X contains NaN"),
        (with_value(np.inf), "Input X contains infinity"),
        (with_value(1e300), r"value too large for dtype\('float32'\)"),
        (np.full(X.shape, "a"), "could not convert string to float"),
        (scipy.sparse.csr_matrix(X), "Sparse data was passed for X"),
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[:0], "Found array with 0 sample"),
        (X[:5], "inconsistent numbers of samples"),
    ],
    ids=["nan", "inf", "too large", "strings", "sparse", "1d", "empty", "short"],
)
def test_inputs(cls, bad, message):
    with pytest.raises((ValueError, TypeError), match=message):
        quick(cls).fit(bad, Y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
def test_targets_that_are_not_finite(cls, value):
    y = Y.astype(float)
    y[2] = value
    with pytest.raises(ValueError, match=r"(Input y|y) contains (NaN|infinity)"):
        quick(cls).fit(X, y)


def test_targets_of_the_wrong_kind():
    with pytest.raises(ValueError, match="Unknown label type"):
        quick().fit(X, np.linspace(0, 1, 12))
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        quick().fit(X, np.column_stack([np.arange(12) % 3, np.arange(12) % 4]))
    with pytest.raises(ValueError, match="could not convert string to float"):
        quick(NormMLPRegressor).fit(X, ["a"] * 12)


@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
def test_features_at_predict(cls):
    model = quick(cls).fit(X, Y)
    with pytest.raises(ValueError, match="X has 1 features, but"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="X has 1 features, but"):
        model.partial_fit(X[:, :1], Y)


@pytest.mark.parametrize(
    "estimator", [quick(), quick(NormMLPRegressor), Standardizer()]
)
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(12), "at least one non-zero"),
        (-np.ones(12), "[Nn]egative"),
        (np.full(12, np.nan), "contains NaN"),
        (np.ones(5), r"sample_weight.shape == \(5,\)"),
    ],
    ids=["zero", "negative", "nan", "short"],
)
def test_weights(estimator, weight, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y, sample_weight=weight)


def test_classes():
    with pytest.raises(ValueError, match=r"'class_weight'.*\[7\], which are not in y"):
        quick(class_weight={7: 2.0}).fit(X, Y)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        quick().partial_fit(X, Y)
    model = quick().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y contains the classes \[2\]"):
        model.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="'classes' parameter must be the same"):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight='balanced' needs to see all"):
        quick(class_weight="balanced").partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"start anew with warm_start=False"):
        quick(warm_start=True).fit(X, Y).fit(X, Y + 5)


@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
def test_divergence_names_the_epoch_and_what_to_change(cls):
    model = quick(cls, norm="none", init=Normal(0, 1e25), optimizer="sgd", lr=1e20)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, Y)
    message = str(caught.value)
    assert "in epoch 1" in message
    for remedy in ("Standardizer", "lr (now 1e+20)", "init='auto'", "norm='batch'"):
        assert remedy in message


def test_weights_that_diverge_in_the_last_step_are_noticed():
    model = quick(norm="none", optimizer="sgd", lr=1e38, max_epochs=1, batch_size=12)
    with pytest.raises(DivergenceError, match="no longer finite after epoch 1"):
        model.fit(1e3 * X, Y)


def test_cuda_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device='cuda' was asked for.*device='auto'"):
        quick(device="cuda").fit(X, Y)


@pytest.mark.parametrize("norm", ["batch", "ghost_batch", "batch_renorm"])
def test_batches_of_one_row_with_batch_statistics(norm):
    with pytest.raises(ValueError, match=r"batch_size=1 gives it one row.*'layer'"):
        quick(norm=norm, batch_size=1).fit(X, Y)
    quick(norm=norm, batch_size=1).fit(X[:1], Y[:1])
    quick(norm="layer", batch_size=1).fit(X, Y)


def test_layers_too_narrow_for_the_norm():
    with pytest.raises(ValueError, match=r"norm='layer'.*hidden_layer_sizes"):
        quick(hidden_layer_sizes=(1,), norm="layer").fit(X, Y)


def test_optimizer_without_weight_decay():
    with pytest.raises(ValueError, match="LBFGS has no weight decay"):
        quick(optimizer="lbfgs", weight_decay=0.1).fit(X, Y)


def test_validation():
    with pytest.raises(ValueError, match="both X_val and y_val, but y_val is None"):
        quick().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="both X_val and y_val, but X_val is None"):
        quick().fit(X, Y, y_val=Y)
    with pytest.raises(ValueError, match=r"early_stopping=True.*2 rows. Got 1"):
        quick(early_stopping=True).fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="X has 1 features"):
        quick().fit(X, Y, X_val=X[:, :1], y_val=Y)


def test_standardizer():
    with pytest.raises(ValueError, match="Input X contains infinity"):
        Standardizer().fit(with_value(np.inf))
    with pytest.raises(ValueError, match="X has 1 features, but Standardizer"):
        Standardizer().fit(X).transform(X[:, :1])
    with pytest.raises(ValueError, match=r"sparse.*with_mean=False"):
        Standardizer().fit(scipy.sparse.csr_matrix(X))
    with pytest.raises(ValueError, match="'with_mean' parameter of Standardizer"):
        Standardizer(with_mean="yes").fit(X)
