"""Fitted attributes go where X is; the code of a family sees NumPy."""

import pickle
from typing import ClassVar

import array_api_compat
import array_api_strict
import numpy as np
import pytest
import torch
from sklearn.base import clone

from sknorm._array_api import beside, is_foreign, to_numpy
from sknorm.preprocessing._base import BaseStandardizer
from sknorm.preprocessing._home import home_of

X = np.array([[1.0, 2.0], [3.0, 6.0]])
MAIN = array_api_strict.Device("CPU_DEVICE")
ASIDE = array_api_strict.Device("device1")
NO_FLOAT64 = array_api_strict.Device("no_float64")


class Scaler(BaseStandardizer):
    """Divides by the largest value, in NumPy."""

    _parameter_constraints: ClassVar[dict] = {"copy": ["boolean"]}

    def __init__(self, *, copy=True):
        self.copy = copy

    def _fit(self, X, weight):
        assert type(X) is np.ndarray
        self.largest_ = X.max(axis=0).astype(np.float64)
        self.count_ = np.full(X.shape[1], len(X))
        self.names_ = np.array(["a", "b"], dtype=object)

    def _transform(self, X, out):
        assert type(self.largest_) is np.ndarray
        return np.divide(X, self.largest_, out=out, dtype=X.dtype)

    def _inverse_transform(self, X, out):
        return np.multiply(X, self.largest_, out=out, dtype=X.dtype)


class DeviceScaler(Scaler):
    """Does it where X lies, and is handed NumPy's statistics all the same."""

    _on_device = True

    def _fit(self, X, weight):
        self.largest_ = to_numpy(X).max(axis=0).astype(np.float64)

    def _transform(self, X, out):
        assert type(self.largest_) is np.ndarray
        if not is_foreign(X):
            return super()._transform(X, out)
        result = X / beside(self.largest_, X)
        if out is None:
            return result
        out[...] = result
        return out


def strict(device=MAIN, dtype="float64"):
    dtype = getattr(array_api_strict, dtype)
    return array_api_strict.asarray(X, dtype=dtype, device=device, copy=True)


ARRAYS = [torch.asarray(X), strict(), strict(ASIDE), strict(NO_FLOAT64, "float32")]


@pytest.mark.parametrize("rows", ARRAYS, ids=str)
@pytest.mark.parametrize("cls", [Scaler, DeviceScaler])
def test_what_is_learned_goes_there_and_so_do_results(rows, cls, dispatch):
    scaler = cls().fit(rows)
    Z = scaler.transform(rows)
    for array in (scaler.largest_, Z):
        assert type(array) is type(rows)
        assert array_api_compat.device(array) == array_api_compat.device(rows)
        assert array.dtype == rows.dtype
    np.testing.assert_array_equal(to_numpy(scaler.largest_), [3, 6])
    np.testing.assert_allclose(to_numpy(Z), X / [3, 6], rtol=1e-7)
    if cls is Scaler:
        np.testing.assert_allclose(to_numpy(scaler.inverse_transform(Z)), X, rtol=1e-7)
        assert type(scaler.count_) is type(rows)
        assert scaler.names_.tolist() == ["a", "b"]


def test_numpy_stays_numpy(dispatch):
    scaler = Scaler().fit(X)
    assert "_home" not in vars(scaler)
    assert type(scaler.largest_) is np.ndarray
    assert type(home_of(scaler)) is np.ndarray


def test_a_fit_on_numpy_brings_it_home(dispatch):
    scaler = Scaler().fit(strict()).fit(X)
    assert "_home" not in vars(scaler)
    np.testing.assert_array_equal(scaler.transform(X), X / [3, 6])


def test_without_dispatch_arrays_become_numpys():
    scaler = Scaler().fit(torch.asarray(X))
    assert type(scaler.largest_) is np.ndarray
    assert type(scaler.transform(torch.asarray(X))) is np.ndarray


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "uint8", "bool"])
def test_other_dtypes_become_float64(dtype, dispatch):
    rows = torch.asarray(X).to(getattr(torch, dtype))
    Z = Scaler().fit_transform(rows)
    assert Z.dtype == torch.float64
    assert Z[1].tolist() == [1.0, 1.0]


def test_other_dtypes_become_float32_where_there_is_nothing_wider(dispatch):
    rows = array_api_strict.asarray([[1], [2]], device=NO_FLOAT64)
    assert Scaler().fit_transform(rows).dtype == array_api_strict.float32


@pytest.mark.parametrize("library", [torch, array_api_strict])
def test_complex_data(library, dispatch):
    rows = library.asarray(X + 1j)
    with pytest.raises(ValueError, match=r"Complex data not supported\. Got .*128"):
        Scaler().fit(rows)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
def test_wrong_dimensions(shape, dispatch):
    with pytest.raises(ValueError, match=r"array with dim 3|Expected 2D array"):
        Scaler().fit(torch.ones(shape))


def test_gradients_end_here(dispatch):
    rows = torch.asarray(X).requires_grad_()
    assert not Scaler().fit_transform(rows).requires_grad
    assert rows.requires_grad


class TestCopy:
    def test_false_writes_into_a_tensor(self, dispatch):
        rows = torch.asarray(X.copy())
        Z = Scaler(copy=False).fit_transform(rows)
        assert Z is rows
        np.testing.assert_array_equal(rows.numpy(), X / [3, 6])

    def test_false_writes_where_a_family_works(self, dispatch):
        rows = strict(ASIDE)
        DeviceScaler(copy=False).fit_transform(rows)
        np.testing.assert_array_equal(to_numpy(rows), X / [3, 6])

    @pytest.mark.parametrize("copy", [False, True])
    def test_what_was_brought_to_main_memory_is_a_copy(self, copy, dispatch):
        rows = strict()
        Z = Scaler(copy=copy).fit_transform(rows)
        np.testing.assert_array_equal(to_numpy(Z), X / [3, 6])
        np.testing.assert_array_equal(to_numpy(rows), X)

    @pytest.mark.parametrize("cls", [Scaler, DeviceScaler])
    def test_true_leaves_it(self, cls, dispatch):
        for rows in ARRAYS:
            cls().fit_transform(rows)
            np.testing.assert_array_equal(to_numpy(rows), X)

    def test_attributes_are_not_the_memory_that_is_worked_with(self, dispatch):
        scaler = Scaler().fit(torch.asarray(X))
        scaler.largest_[:] = 0
        assert scaler.transform(torch.asarray(X))[1].tolist() == [1.0, 1.0]


class TestElsewhere:
    MESSAGE = (
        "Inputs passed to Scaler.{}() must use the same namespace and the same device "
        "as those passed to fit(). It was fitted on {}, and X is {}. Move X there, or "
        "fit again on what is here; arrays of other libraries need "
        "sklearn.set_config(array_api_dispatch=True)."
    )
    CASES = (
        (
            strict(ASIDE),
            X,
            "an array of array_api_strict on array_api_strict.Device('device1')",
            "a NumPy array",
        ),
        (
            X,
            torch.asarray(X),
            "a NumPy array",
            "an array of torch on cpu",
        ),
        (
            strict(MAIN),
            strict(ASIDE),
            "an array of array_api_strict on array_api_strict.Device('CPU_DEVICE')",
            "an array of array_api_strict on array_api_strict.Device('device1')",
        ),
    )

    @pytest.mark.parametrize("method", ["transform", "inverse_transform"])
    @pytest.mark.parametrize(("fitted", "given", "there", "here"), CASES, ids=str)
    def test_message(self, method, fitted, given, there, here, dispatch):
        scaler = Scaler().fit(fitted)
        with pytest.raises(ValueError) as info:  # noqa: PT011
            getattr(scaler, method)(given)
        assert str(info.value) == self.MESSAGE.format(method, there, here)


def test_pickle_and_clone(dispatch):
    for rows in ARRAYS:
        scaler = Scaler().fit(rows)
        again = pickle.loads(pickle.dumps(scaler))
        Z = again.transform(rows)
        np.testing.assert_array_equal(to_numpy(Z), to_numpy(scaler.transform(rows)))
        assert vars(clone(scaler)) == {"copy": True}


def test_a_failed_fit_leaves_it_at_home(dispatch):
    scaler = Scaler().fit(ARRAYS[0])
    with pytest.raises(ValueError, match="0 sample"):
        scaler.fit(np.empty((0, 2)))
    assert scaler.transform(ARRAYS[0])[1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", [np.asarray, torch.asarray, array_api_strict.asarray])
@pytest.mark.parametrize("rows", ARRAYS, ids=str)
def test_weights_come_from_anywhere(kind, rows, dispatch):
    class Weighted(Scaler):
        def _fit(self, X, weight):
            self.weight = weight

    weight = Weighted().fit(rows, sample_weight=kind([1, 2])).weight
    assert type(weight) is np.ndarray
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight, [1, 2])


def test_weights_of_a_dtype_that_numpy_lacks(dispatch):
    weight = torch.asarray([0.5, 2.0], dtype=torch.bfloat16).requires_grad_()
    scaler = Scaler()
    scaler._fit = lambda X, weight: vars(scaler).update(weight=weight)
    scaler.fit(X, sample_weight=weight)
    np.testing.assert_array_equal(scaler.weight, [0.5, 2.0])


@pytest.mark.parametrize("rows", [X, *ARRAYS], ids=str)
def test_wrong_weights(rows, dispatch):
    cases = {
        "expected": torch.ones(3),
        "negative": torch.asarray([-1.0, 1.0]),
        "non-zero": torch.zeros(2),
        "NaN": torch.asarray([np.nan, 1.0]),
    }
    for message, weight in cases.items():
        with pytest.raises(ValueError, match=f"(?i){message}"):
            Scaler().fit(rows, sample_weight=weight)
