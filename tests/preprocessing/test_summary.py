"""What every standardizer that learns from a summary can do with parts of the rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

import sknorm.preprocessing
from sknorm.preprocessing import Standardizer
from sknorm.preprocessing._summary import SummaryStandardizer

FAMILIES = [
    cls
    for cls in (getattr(sknorm.preprocessing, n) for n in sknorm.preprocessing.__all__)
    if issubclass(cls, SummaryStandardizer)
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda c: c.__name__)


@pytest.fixture
def data(rng):
    return rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + [1e3, 0.0, -1e-2]


def assert_same_transform(a, b, X, atol=1e-9):
    np.testing.assert_allclose(a.transform(X), b.transform(X), rtol=0, atol=atol)


def test_there_are_families():
    assert Standardizer in FAMILIES


@every_family
class TestPartialFit:
    def test_the_number_of_parts_is_nothing(self, family, data, rng):
        weight = rng.random(len(data))
        whole = family().fit(data, sample_weight=weight)
        for n_parts in (1, 3, 500):
            parts = family()
            for rows in np.array_split(np.arange(len(data)), n_parts):
                parts.partial_fit(data[rows], sample_weight=weight[rows])
            assert_same_transform(parts, whole, data)

    def test_it_goes_on_from_a_fit(self, family, data):
        scaler = family().fit(data[:100]).partial_fit(data[100:])
        assert_same_transform(scaler, family().fit(data), data)

    def test_a_fit_starts_anew(self, family, data):
        scaler = family().fit(1e6 + data).partial_fit(data)
        fresh = family().fit(data[:, :2])
        assert_same_transform(scaler.fit(data[:, :2]), fresh, data[:, :2], 0)
        assert scaler.n_features_in_ == 2

    def test_one_that_fails_leaves_what_was_learned(self, family, data):
        scaler = family().fit(data)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match="contains infinity in 1 column: 1"):
            scaler.partial_fit([[1.0, np.inf, 2.0]])
        with pytest.raises(ValueError, match="has 2 features, but"):
            scaler.partial_fit(data[:, :2])
        assert pickle.dumps(scaler) == before


@every_family
class TestMerge:
    @pytest.mark.parametrize("cut", [1, 137, 499])
    def test_as_if_fitted_on_both(self, family, data, rng, cut):
        weight = rng.random(len(data)) + 0.1
        first = family().partial_fit(data[:cut], sample_weight=weight[:cut])
        second = family().partial_fit(data[cut:], sample_weight=weight[cut:])
        before = pickle.dumps(second)
        assert first.merge(second) is first
        whole = family().fit(data, sample_weight=weight)
        assert_same_transform(first, whole, data)
        assert pickle.dumps(second) == before

    def test_copy_may_differ(self, family, data):
        first = family().fit(data[:200])
        first.merge(family(copy=False).fit(data[200:]))
        assert_same_transform(first, family().fit(data), data)

    def test_another_kind_of_thing(self, family, data):
        message = r"merged with another one only. Got StandardScaler\(\)"
        with pytest.raises(TypeError, match=f"A {family.__name__} can be {message}"):
            family().fit(data).merge(StandardScaler())

    def test_not_fitted(self, family, data):
        fitted = family().fit(data)
        for first, second in ((fitted, family()), (family(), fitted)):
            with pytest.raises(NotFittedError, match=f"This {family.__name__} instanc"):
                first.merge(second)

    def test_other_columns(self, family, data):
        scaler = family().fit(data)
        before = pickle.dumps(scaler)
        named = pd.DataFrame(data, columns=["a", "b", "c"])
        renamed = pd.DataFrame(data, columns=["a", "b", "z"])
        for other, message in [
            (family().fit(data[:, :2]), "3 and of 2 columns can't be merged"),
            (family().fit(named), r"names can't be merged: None and array\(\['a'"),
        ]:
            with pytest.raises(ValueError, match=f"{family.__name__}s of .*{message}"):
                scaler.merge(other)
        assert pickle.dumps(scaler) == before
        scaler.fit(named).merge(family().fit(named))
        with pytest.raises(ValueError, match="names can't be merged"):
            scaler.merge(family().fit(renamed))


def test_other_parameters():
    scaler = Standardizer().fit([[5.0]])
    for other, message in [
        (Standardizer(ddof=1), "different 'ddof' can't be merged: 0 and 1"),
        (Standardizer(clip="hard"), "different 'clip' can't .*: 'none' and 'hard'"),
    ]:
        with pytest.raises(ValueError, match=message):
            scaler.merge(other.fit([[1.0]]))
