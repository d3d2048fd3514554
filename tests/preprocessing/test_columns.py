"""What every standardizer has that sees its columns whole."""

from dataclasses import dataclass
from typing import ClassVar

import dask.array as da
import numpy as np
import pytest

import sknorm.preprocessing
from sknorm.preprocessing._columns import ColumnStandardizer

ALL = [getattr(sknorm.preprocessing, name) for name in sknorm.preprocessing.__all__]
FAMILIES = [cls for cls in ALL if issubclass(cls, ColumnStandardizer)]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda c: c.__name__)


@dataclass
class Largest:
    value: np.ndarray
    infinite: np.ndarray


class MaxScaler(ColumnStandardizer):
    """Divides by the largest value."""

    _parameter_constraints: ClassVar[dict] = {"copy": ["boolean"]}

    def __init__(self, *, copy=True):
        self.copy = copy

    def _study(self, X, weight):
        rows = X if weight is None else X[weight > 0]
        return Largest(rows.max(axis=0), np.isinf(rows).any(axis=0))

    def _adopt(self, found):
        self._refuse_infinite(found.infinite)
        self.largest_ = found.value

    def _transform(self, X, out):
        return np.divide(X, self.largest_, out=out)

    def _inverse_transform(self, X, out):
        return np.multiply(X, self.largest_, out=out)


def test_what_is_studied_is_adopted():
    X = np.array([[1.0, 2.0], [4.0, 1.0], [9.0, 9.0]])
    scaler = MaxScaler().fit(X)
    np.testing.assert_array_equal(scaler.largest_, [9, 9])
    scaler.fit(X, sample_weight=[1, 1, 0])
    np.testing.assert_array_equal(scaler.largest_, [4, 2])
    np.testing.assert_array_equal(scaler.transform(X)[0], [0.25, 1.0])


def test_columns_of_dask_are_put_side_by_side():
    X = np.arange(60.0).reshape(3, 20)
    scaler = MaxScaler().fit(da.from_array(X, chunks=(1, 20)))
    np.testing.assert_array_equal(scaler.largest_, X[-1])


def test_infinite_values_are_named_among_all_columns():
    X = np.ones((3, 20))
    X[1, 4] = X[2, 17] = np.inf
    for table in (X, da.from_array(X, chunks=(2, 3))):
        with pytest.raises(ValueError, match="infinity in 2 columns: 4, 17"):
            MaxScaler().fit(table)


@every_family
def test_columns_know_nothing_of_each_other(family, rng):
    X = rng.normal(size=(200, 20))
    X[rng.random(X.shape) < 0.2] = np.nan
    together = family().fit(X).transform(X)
    for width in (1, 3, 8):
        apart = [
            family().fit(part).transform(part)
            for part in np.split(X, range(width, 20, width), axis=1)
        ]
        np.testing.assert_array_equal(together, np.hstack(apart))
