"""scikit-learn's own checks, for every public estimator that is found."""

import importlib
import inspect
import pkgutil

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import sknorm
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
    TabularNetRegressor,
)

NETWORKS = (NormMLPClassifier, NormMLPRegressor)
TABULAR = (TabularNetClassifier, TabularNetRegressor)
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
WHY = "mini-batches and batch statistics make weights differ from repetition"


def public_estimators():
    """Return the estimator classes that public modules list."""
    found = set()
    for module in pkgutil.iter_modules(sknorm.__path__, "sknorm."):
        if not module.name.rpartition(".")[2].startswith("_"):
            public = importlib.import_module(module.name)
            for name in getattr(public, "__all__", ()):
                part = getattr(public, name)
                if inspect.isclass(part) and issubclass(part, BaseEstimator):
                    found.add(part)
    return sorted(found, key=lambda cls: cls.__name__)


def default(cls):
    """Return an estimator with its defaults; networks of many members are made small.

    There are a hundred fits in the checks, which need no more.
    """
    if cls not in TABULAR:
        return cls()
    return cls(hidden_layer_sizes=(32,), n_members=4, max_epochs=60)


def strict(cls, norm):
    """Return the configuration in which a weight is the same as repetition."""
    return cls(
        norm=norm, dropout=0.0, batch_size=10_000, dtype="float64", max_epochs=60
    )


def strict_tabular(cls):
    """Return that of the networks for tables: bins are found without weights."""
    return strict(cls, "layer").set_params(
        hidden_layer_sizes=(32,),
        n_members=4,
        embedding="none",
        numeric="standard",
        max_epochs=200,
    )


DEFAULTS = [default(cls) for cls in public_estimators()]
STRICT = [strict(cls, norm) for cls in NETWORKS for norm in ("layer", "none")]
STRICT += [strict_tabular(cls) for cls in TABULAR]


def expected_failures(estimator):
    """Return the one check that a default network can't pass."""
    is_strict = getattr(estimator, "dtype", "float64") == "float64"
    return {} if is_strict else {WEIGHTS: WHY}


@parametrize_with_checks(DEFAULTS + STRICT, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_every_public_estimator_is_found():
    names = {cls.__name__ for cls in public_estimators()}
    assert {"Standardizer", "NormMLPClassifier", "NormMLPRegressor"} <= names


@pytest.mark.parametrize("estimator", DEFAULTS, ids=lambda e: type(e).__name__)
def test_no_check_is_dodged_by_a_tag(estimator):
    tags = get_tags(estimator)
    assert not tags.non_deterministic
    assert not tags._skip_test
    for kind in (tags.classifier_tags, tags.regressor_tags):
        assert kind is None or not kind.poor_score
