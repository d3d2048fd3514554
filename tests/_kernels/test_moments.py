import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from sknorm._kernels.merging import empty_moments, merge
from sknorm._kernels.moments import column_moments

EPS = Fraction(1, 2**52)
FIELDS = ["count", "weight", "mean", "remainder", "std"]


@pytest.fixture
def small_tiles(monkeypatch):
    """Cut into tiles of 16 numbers, so that few rows make a deep tree."""
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", 16)
    monkeypatch.setattr("sknorm._kernels.moments._UNCUT", 16)


@pytest.mark.parametrize(
    ("column", "weight", "count", "total", "mean", "std"),
    [
        ([1, 2, 3, 4], None, 4, 4, 2.5, math.sqrt(1.25)),
        ([5], None, 1, 1, 5, 0),
        ([0, 4], [1, 3], 2, 4, 3, math.sqrt(3)),
        ([0, np.nan, 4], None, 2, 2, 2, 2),
        ([0, np.nan, 4], [1, 7, 3], 2, 4, 3, math.sqrt(3)),
        ([0, 100, 4], [1, 0, 3], 2, 4, 3, math.sqrt(3)),
        ([np.nan, np.nan, 3, 5], None, 2, 2, 4, 1),
        ([np.nan, np.nan], None, 0, 0, np.nan, np.nan),
        ([1, 2], [0, 0], 0, 0, np.nan, np.nan),
        ([], None, 0, 0, np.nan, np.nan),
    ],
)
def test_by_hand(column, weight, count, total, mean, std):
    X = np.array(column, dtype=np.float64)[:, None]
    weight = None if weight is None else np.array(weight, dtype=np.float64)
    moments = column_moments(X, weight)
    found = [getattr(moments, name)[0] for name in ("count", "weight", "mean", "std")]
    np.testing.assert_allclose(found, [count, total, mean, std], rtol=1e-15)


def test_columns_do_not_mix():
    X = np.array([[1.0, np.nan, np.nan, 7.0], [3.0, np.nan, 6.0, 7.0]])
    moments = column_moments(X)
    np.testing.assert_array_equal(moments.count, [2, 0, 1, 2])
    np.testing.assert_array_equal(moments.mean, [2, np.nan, 6, 7])
    np.testing.assert_array_equal(moments.std, [1, np.nan, 0, 0])


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("offset", [0.0, 1.0, -1e6, 1e12, 1e15])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("heavy", [False, True])
def test_right_to_the_last_digits(assert_exact, rng, offset, weighted, missing, heavy):
    X = offset + (rng.standard_t(1, (300, 3)) if heavy else rng.normal(size=(300, 3)))
    X[rng.random(X.shape) < missing] = np.nan
    weight = rng.exponential(size=len(X)) if weighted else None
    assert_exact(column_moments(X, weight), X, weight)


@pytest.mark.parametrize("offset", [1e6, 1e12])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_is_the_double_next_to_it(exact, rng, offset, weighted):
    X = offset + rng.normal(size=(5_000, 2))
    weight = rng.uniform(1, 2, len(X)) if weighted else None
    means = [float(exact(column, weight)[0]) for column in X.T]
    np.testing.assert_array_equal(column_moments(X, weight).mean, means)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    "column",
    [
        np.r_[1e10, np.linspace(-1, 1, 100) + 1 / 3],
        np.sort(np.random.default_rng(3).lognormal(0, 6, 200))[::-1],
        np.sort(np.random.default_rng(4).lognormal(0, 6, 200)),
        1e9 + np.arange(200) / 7,
        np.r_[np.full(100, 1e-8), np.full(3, 1e8), np.full(100, np.pi)],
        np.tile([1e16, 1.0, -1e16], 30),
    ],
    ids=["outlier first", "falling", "rising", "clock", "steps", "cancelling"],
)
def test_order_and_outliers_cost_no_digits(assert_exact, column):
    assert_exact(column_moments(column[:, None]), column[:, None])


@pytest.mark.parametrize(
    "column",
    [1e6 + np.arange(20_000) % 2 / 10, np.r_[1e10, np.full(19_999, 1 / 3)]],
    ids=["two values", "outlier first"],
)
def test_rounding_the_same_way_again_and_again(assert_exact, column):
    # In one tile: errors of equal numbers have equal signs and don't average out.
    X = np.tile(column[:, None], (1, 3))
    assert_exact(column_moments(X), X)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("scale", [1e300, 1e160, 1e-16, 1e-160, 1e-300])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("unit", [None, 1.0, 1e15, 1e-15, 1e290, 1e-290])
def test_nothing_overflows_or_vanishes(assert_exact, rng, scale, missing, unit):
    X = scale * (3 + rng.normal(size=(60, 2)))
    X[rng.random(X.shape) < missing] = np.nan
    weight = None if unit is None else unit * rng.uniform(1, 2, len(X))
    assert_exact(column_moments(X, weight), X, weight)


@pytest.mark.parametrize("rows_at_once", [1, 2, 3])
def test_the_whole_range_of_doubles(rows_at_once):
    most = np.finfo(np.float64).max
    X = np.array([[most], [-most], [-most]])
    total = empty_moments(1)
    for start in range(0, len(X), rows_at_once):
        total = merge(total, column_moments(X[start : start + rows_at_once]))
    np.testing.assert_allclose(total.mean, -most / 3, rtol=1e-15)
    np.testing.assert_allclose(total.std / most, math.sqrt(8) / 3, rtol=1e-15)


def test_unequal_weights_reach_far():
    light = column_moments(np.array([[1.0]]))
    heavy = column_moments(np.array([[0.0]]), np.array([1e17]))
    for total in (merge(light, heavy), merge(heavy, light)):
        np.testing.assert_allclose(total.mean, 1e-17, rtol=1e-15)
        np.testing.assert_allclose(total.std, math.sqrt(1e-17), rtol=1e-15)


@pytest.mark.parametrize("value", [14.62, 1e-300, 0.1, 1e300, 0.0, -7.7])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_values_have_no_spread_at_all(rng, value, missing, weighted):
    X = np.full((70_000, 1), value)
    X[rng.random(X.shape) < missing] = np.nan
    moments = column_moments(X, rng.random(len(X)) if weighted else None)
    assert moments.mean == value
    assert moments.remainder == 0
    assert moments.std == 0


@pytest.mark.parametrize(
    "column",
    [[np.inf, 1.0], [1.0, -np.inf], [np.inf, -np.inf], [np.inf, np.nan, 2.0]],
)
def test_an_infinite_value_shows_in_its_column_only(column):
    X = np.array([column, np.arange(len(column))]).T
    moments = column_moments(X)
    assert np.isnan(moments.mean[0])
    assert moments.count[0] == np.count_nonzero(~np.isnan(column))
    assert moments.mean[1] == (len(column) - 1) / 2


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", ">f8", "i8", "i4", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtype_and_layout(assert_close, assert_exact, rng, dtype, order):
    X = rng.integers(0, 2, (3_000, 30)).astype(dtype, order=order)
    X.setflags(write=False)
    moments = column_moments(X)
    for name in FIELDS[1:]:
        assert getattr(moments, name).dtype == np.float64
    assert_exact(moments, X[:, :2])
    reversed_rows = column_moments(X[::-2, ::-1])
    assert_close(reversed_rows, column_moments(X[::-2, ::-1].astype(np.float64)))


def test_float32_is_summed_in_float64(assert_exact, rng):
    X = (1e6 + rng.normal(size=(4_000, 1))).astype(np.float32)
    assert_exact(column_moments(X), X)


def test_a_memory_map_is_read(rng, tmp_path):
    X = rng.normal(size=(5_000, 40))
    np.save(tmp_path / "X.npy", X)
    mapped = column_moments(np.load(tmp_path / "X.npy", mmap_mode="r"))
    whole = column_moments(X)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(mapped, name), getattr(whole, name))
        assert type(getattr(mapped, name)) is np.ndarray


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_columns_join_to_the_whole(rng, weighted):
    X = 2 + rng.normal(size=(600, 600))
    weight = rng.random(len(X)) if weighted else None
    halves = [column_moments(X[:, :300], weight), column_moments(X[:, 300:], weight)]
    whole = column_moments(X, weight)
    for name in [*FIELDS[:-2], "std"]:
        parts = np.concatenate([getattr(half, name) for half in halves])
        np.testing.assert_allclose(getattr(whole, name), parts, rtol=1e-14)


def test_the_same_rows_give_the_same_bits(rng):
    X, weight = rng.standard_t(2, (20_000, 20)), rng.random(20_000)
    first, second = column_moments(X, weight), column_moments(X.copy(), weight.copy())
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("tile", [8, 64, 1_024])
def test_the_size_of_tiles_is_a_matter_of_rounding(
    assert_close, rng, monkeypatch, tile
):
    X, weight = 1e3 + rng.normal(size=(1_000, 4)), rng.random(1_000)
    X[rng.random(X.shape) < 0.2] = np.nan
    weight[::3] = 0.0
    whole = column_moments(X, weight)
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", tile)
    monkeypatch.setattr("sknorm._kernels.moments._UNCUT", tile)
    assert_close(column_moments(X, weight), whole, rtol=4e-15)


@pytest.mark.usefixtures("small_tiles")
def test_rows_of_weight_zero_are_not_looked_at(assert_close, rng):
    X, weight = rng.normal(size=(200, 3)), rng.random(200)
    ignored = rng.random(200) < 0.4
    ignored[32:64] = True  # whole tiles
    weight[ignored] = 0.0
    X[ignored] = np.inf
    assert_close(
        column_moments(X, weight), column_moments(X[~ignored], weight[~ignored])
    )


@pytest.mark.usefixtures("small_tiles")
def test_the_error_state_of_numpy_is_given_back():
    with np.errstate(over="raise", invalid="warn", under="print"):
        before = np.geterr()
        moments = column_moments(np.array([[1e308], [-1e308], [0.0]] * 20))
        merge(moments, moments)
        assert np.geterr() == before


def test_inputs_are_left_alone_and_results_are_read_only(rng):
    X, weight = rng.normal(size=(50, 2)), rng.random(50)
    X[3, 0], weight[5] = np.nan, 0.0
    before = X.copy(), weight.copy()
    moments = column_moments(X, weight)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(weight, before[1])
    for part in (moments, merge(moments, moments), empty_moments(2)):
        for name in FIELDS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(part, name)[0] = 1


@pytest.mark.parametrize(
    "X",
    [
        np.ones((400_000, 10)),
        np.ones((400_000, 10), dtype=np.float32),
        np.ones((400_000, 10), dtype=np.int64),
        np.ones((400_000, 10), order="F"),
        np.ones((400, 10_000)),
        np.tile([1.0, np.nan], (400_000, 5)),
    ],
    ids=["f8", "f4", "i8", "columns", "wide", "nan"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_no_temporary_of_full_size(X, weighted):
    weight = np.arange(len(X)) % 2.0 if weighted else None
    column_moments(X, weight)  # loads what it needs, which isn't counted
    tracemalloc.start()
    try:
        column_moments(X, weight)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20 + 0.05 * X.nbytes


def test_large_tables_go_to_compiled_code(monkeypatch):
    asked = []
    monkeypatch.setattr("sknorm._kernels.moments.compiled_kernels", asked.append)
    for X in (
        np.ones((500_000, 1)),
        np.ones((600_000, 1), dtype=np.int32),
        np.ones((600_000, 1), dtype=">f8"),
    ):
        column_moments(X)
    assert asked == []
    column_moments(np.ones((500_001, 1)))
    assert asked == ["moments"]
