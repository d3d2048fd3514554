"""Every standardizer, on arrays of every library and on every device there is."""

import copy
import pickle
from pathlib import Path

import array_api_compat
import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sknorm import preprocessing
from sknorm._array_api import to_numpy
from sknorm.preprocessing import (
    GroupStandardizer,
    PowerStandardizer,
    QuantileStandardizer,
    RobustStandardizer,
    Standardizer,
    WhiteningStandardizer,
)
from sknorm.preprocessing._summary import SummaryStandardizer

pytestmark = pytest.mark.usefixtures("dispatch")

CASES = [
    Standardizer(),
    Standardizer(with_mean=False, ddof=1),
    Standardizer(with_std=False, clip="smooth"),
    RobustStandardizer(),
    RobustStandardizer(spread="mad", clip="hard"),
    RobustStandardizer(with_centering=False, with_scaling=False),
    QuantileStandardizer(),
    QuantileStandardizer(n_quantiles=20, plotting_position="linear"),
    QuantileStandardizer(subsample=60, random_state=0),
    PowerStandardizer(),
    PowerStandardizer("box-cox", standardize=False),
    WhiteningStandardizer(),
    WhiteningStandardizer(method="pca", n_components=2, shrinkage="ledoit_wolf"),
    WhiteningStandardizer(method="cholesky", shrinkage=0.1),
    GroupStandardizer(by=0),
]
SUMMARIES = [case for case in CASES if isinstance(case, SummaryStandardizer)]


def name(case):
    changed = ", ".join(f"{k}={v}" for k, v in vars(case).items() if k != "copy")
    return f"{type(case).__name__}({changed})"


def each(cases=CASES):
    return pytest.mark.parametrize("case", cases, ids=name)


def table(case, n_rows=120, dtype=np.float64, seed=0):
    """Return positive numbers, some missing, with labels if there are to be any."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(3.0, size=(n_rows, 4)) + np.array([0.0, 0.1, 5.0, 0.0])
    X[:, 3] += X[:, 1]
    if isinstance(case, GroupStandardizer):
        X[:, 0] = rng.integers(0, 3, size=n_rows)
    X[rng.random(n_rows) < 0.2, 2] = np.nan
    return X.astype(dtype)


def back(case, scaler, Z):
    """Return what comes back, of labels that results don't hold."""
    if isinstance(case, GroupStandardizer):
        return scaler.inverse_transform(Z, groups=np.zeros(Z.shape[0]))
    return scaler.inverse_transform(Z)


def test_no_standardizer_is_left_out():
    # Tables of columns of any kind are no arrays.
    of_arrays = set(preprocessing.__all__) - {"TableStandardizer"}
    assert {type(case).__name__ for case in CASES} == of_arrays


@each()
def test_the_tag_says_so(case):
    assert get_tags(case).array_api_support


@each()
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_are_those_of_numpy(case, abroad, weighted, dtype):
    X = abroad(table(case, dtype=dtype))
    values = to_numpy(X).copy()
    weight = np.linspace(0, 2, len(values)) if weighted else None
    found = clone(case).fit(X, sample_weight=weight)
    expected = clone(case).fit(values, sample_weight=weight)
    Z, expected_Z = found.transform(X), expected.transform(values)
    # Where there are no doubles, sums and differences have the digits of floats.
    rtol = 1e-9 if abroad.has_float64 else 1e-3
    for array, same in (
        (Z, expected_Z),
        (back(case, found, Z), back(case, expected, to_numpy(Z))),
    ):
        assert type(array) is type(X)
        assert array.dtype == X.dtype
        assert array_api_compat.device(array) == array_api_compat.device(X)
        rounding = 1e-6 if values.dtype == np.float32 else 0.0
        tol = max(rtol, rounding)
        np.testing.assert_allclose(to_numpy(array), same, rtol=tol, atol=tol)
    np.testing.assert_array_equal(to_numpy(X), values)


@each()
def test_fitted_arrays_live_there_too(case, abroad):
    X = abroad(table(case))
    scaler = clone(case).fit(X)
    in_numpy = clone(case).fit(to_numpy(X))
    public = {k: v for k, v in vars(in_numpy).items() if not k.startswith("_")}
    arrays = {k: v for k, v in public.items() if isinstance(v, np.ndarray)}
    for key, expected in arrays.items():
        found = getattr(scaler, key)
        assert type(found) is type(X), key
        assert array_api_compat.device(found) == array_api_compat.device(X)
        assert found.shape == expected.shape
        wide = abroad.has_float64 or expected.dtype != np.float64
        assert to_numpy(found).dtype == (expected.dtype if wide else np.float32)
    for key in public.keys() - arrays.keys() - {"n_quantiles_"}:
        if isinstance(getattr(in_numpy, key), int):
            assert getattr(scaler, key) == getattr(in_numpy, key)


@each()
def test_tensors_in_main_memory_take_the_compiled_way(case):
    values = table(case)
    X = torch.asarray(values)
    Z = clone(case).fit_transform(X)
    np.testing.assert_array_equal(Z.numpy(), clone(case).fit_transform(values))


@each(SUMMARIES)
def test_parts_of_rows_in_any_library(case, abroad):
    values = table(case)
    X = abroad(values)
    values = to_numpy(X)
    whole = clone(case).fit(X)
    parts = clone(case).partial_fit(values[:50]).partial_fit(X[50:, :])
    merged = clone(case).fit(X[:50, :]).merge(clone(case).fit(values[50:]))
    for scaler in (parts, merged):
        rtol = 1e-9 if abroad.has_float64 else 1e-3
        Z = to_numpy(scaler.transform(X))
        np.testing.assert_allclose(
            Z, to_numpy(whole.transform(X)), rtol=rtol, atol=rtol
        )


def test_merge_stays_where_it_is(abroad):
    X = table(Standardizer())
    scaler = Standardizer().fit(X).merge(Standardizer().fit(abroad(X)))
    assert type(scaler.mean_) is np.ndarray
    scaler.transform(X)


@each()
def test_copy_false(case, abroad):
    X = abroad(table(case))
    before = to_numpy(X).copy()
    case = clone(case).set_params(copy=False)
    Z = case.fit(X).transform(X)
    expected = clone(case).set_params(copy=True).fit(before).transform(before)
    rtol = 1e-9 if abroad.has_float64 else 1e-3
    np.testing.assert_allclose(to_numpy(Z), expected, rtol=rtol, atol=rtol)


@each()
def test_copies_and_pickles(case, abroad):
    X = abroad(table(case))
    scaler = clone(case).fit(X)
    Z = to_numpy(scaler.transform(X))
    for again in (pickle.loads(pickle.dumps(scaler)), copy.deepcopy(scaler)):
        np.testing.assert_array_equal(to_numpy(again.transform(X)), Z)


@each()
def test_infinite_values_are_refused_by_column(case, abroad):
    good = table(case)
    bad = good.copy()
    bad[3, 1] = np.inf
    message = r"Input X contains infinity in 1 column: [01]\. Only NaN"
    with pytest.raises(ValueError, match=message):
        clone(case).fit(abroad(bad))
    X = abroad(bad)
    scaler = clone(case).set_params(copy=False).fit(abroad(good))
    with pytest.raises(ValueError, match=message):
        scaler.transform(X)
    np.testing.assert_array_equal(to_numpy(X), to_numpy(abroad(bad)))


@each()
def test_a_failed_fit_changes_nothing(case, abroad):
    X = abroad(table(case))
    scaler = clone(case).fit(X)
    before = to_numpy(scaler.transform(X))
    with pytest.raises(ValueError, match="infinity"):
        scaler.fit(abroad(np.full((3, 4), np.inf)))
    np.testing.assert_array_equal(to_numpy(scaler.transform(X)), before)


@each()
def test_another_library_than_in_fit(case, abroad):
    values = table(case)
    scaler = clone(case).fit(abroad(values))
    message = rf"{type(case).__name__}\.transform\(\) must use the same namespace"
    with pytest.raises(ValueError, match=message):
        scaler.transform(values)
    with pytest.raises(ValueError, match=message):
        clone(case).fit(values).transform(abroad(values))


@each(CASES[:-3] + CASES[-2:-1])
def test_columns_without_values(case, abroad):
    values = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, np.nan]])
    scaler = clone(case)
    with pytest.warns(UserWarning, match="no values in 1 column: 1"):
        scaler.fit(abroad(values))
    Z = to_numpy(scaler.transform(abroad(values)))
    assert not np.isnan(Z[:, 0]).any()
    assert np.isnan(Z[:, 1]).all()


@each()
def test_gradients_end_here(case):
    X = torch.asarray(table(case)).requires_grad_()
    scaler = clone(case).fit(X)
    Z = scaler.transform(X)
    assert not Z.requires_grad
    assert not back(case, scaler, Z.requires_grad_()).requires_grad


def test_box_cox_names_columns_that_it_is_not_for(abroad):
    X = abroad(np.array([[1.0, 0.0], [2.0, 3.0]]))
    with pytest.raises(ValueError, match=r"strictly positive values.* 1 column: 1"):
        PowerStandardizer("box-cox").fit(X)


def test_sparse_tables_are_none_of_this():
    X = scipy.sparse.csr_array(table(None)[:, :2])
    assert scipy.sparse.issparse(Standardizer(with_mean=False).fit_transform(X))


def test_a_pipeline(abroad):
    X = abroad(table(None)[:, :2])
    Z = make_pipeline(PowerStandardizer(), Standardizer()).fit_transform(X)
    assert type(Z) is type(X)
    np.testing.assert_allclose(to_numpy(Z).mean(axis=0), 0, atol=1e-6)


def test_offsets_cost_no_digits_without_doubles(abroad):
    # Of 2**20 + 1/16 a float32 mean would be off by up to 1/16.
    values = 2.0**20 + np.arange(8.0)[:, np.newaxis] / 8
    Z = to_numpy(Standardizer(with_std=False).fit_transform(abroad(values)))
    np.testing.assert_array_equal(Z[:, 0], np.arange(8) / 8 - 7 / 16)


def test_the_lines_in_the_docs_run():
    docs = (Path(__file__).parents[1] / "docs" / "array_api.md").read_text()
    exec(docs.split("```python\n")[1].split("```")[0], {})
