import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from sknorm._kernels.moments import column_moments, empty_moments, merge

EPS = Fraction(1, 2**52)
FIELDS = ["count", "weight", "mean", "remainder", "std"]


@pytest.fixture
def small_tiles(monkeypatch):
    """Cut into tiles of 16 numbers, so that few rows make a deep tree."""
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", 16)
    monkeypatch.setattr("sknorm._kernels.moments._UNCUT", 16)


def exact_sqrt(square):
    """Return a root that is right to at least 100 digits in binary."""
    shift = 128 + max(
        0, square.denominator.bit_length() - square.numerator.bit_length()
    )
    root = math.isqrt((square.numerator << (2 * shift)) // square.denominator)
    return Fraction(root, 1 << shift)


def exact(column, weight=None):
    """Return mean and std of the stored numbers, in rational arithmetic."""
    weights = np.ones(len(column)) if weight is None else weight
    pairs = [
        (Fraction(float(x)), Fraction(float(w)))
        for x, w in zip(column, weights, strict=True)
        if not np.isnan(x) and w
    ]
    total = sum(w for _, w in pairs)
    mean = sum(w * x for x, w in pairs) / total
    square = sum(w * (x - mean) ** 2 for x, w in pairs) / total
    return mean, exact_sqrt(square)


def assert_exact(moments, X, weight=None, ulps=8):
    """Compare with rational arithmetic: errors in units of the last place of std."""
    for j, column in enumerate(X.T):
        mean, std = exact(column, weight)
        both = Fraction(moments.mean[j]) + Fraction(moments.remainder[j])
        assert abs(both - mean) <= ulps * EPS * std
        assert abs(Fraction(moments.std[j]) - std) <= ulps * EPS * std


def assert_close(a, b, rtol=1e-14):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_allclose(a.weight, b.weight, rtol=rtol)
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol)


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
def test_right_to_the_last_digits(rng, offset, weighted, missing, heavy):
    X = offset + (rng.standard_t(1, (300, 3)) if heavy else rng.normal(size=(300, 3)))
    X[rng.random(X.shape) < missing] = np.nan
    weight = rng.exponential(size=len(X)) if weighted else None
    assert_exact(column_moments(X, weight), X, weight)


@pytest.mark.parametrize("offset", [1e6, 1e12])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_is_the_double_next_to_it(rng, offset, weighted):
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
def test_order_and_outliers_cost_no_digits(column):
    assert_exact(column_moments(column[:, None]), column[:, None])


@pytest.mark.parametrize(
    "column",
    [1e6 + np.arange(20_000) % 2 / 10, np.r_[1e10, np.full(19_999, 1 / 3)]],
    ids=["two values", "outlier first"],
)
def test_rounding_the_same_way_again_and_again(column):
    # In one tile: errors of equal numbers have equal signs and don't average out.
    X = np.tile(column[:, None], (1, 3))
    assert_exact(column_moments(X), X)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("scale", [1e300, 1e160, 1e-16, 1e-160, 1e-300])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("unit", [None, 1.0, 1e15, 1e-15, 1e290, 1e-290])
def test_nothing_overflows_or_vanishes(rng, scale, missing, unit):
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
def test_dtype_and_layout(rng, dtype, order):
    X = rng.integers(0, 2, (3_000, 30)).astype(dtype, order=order)
    X.setflags(write=False)
    moments = column_moments(X)
    for name in FIELDS[1:]:
        assert getattr(moments, name).dtype == np.float64
    assert_exact(moments, X[:, :2])
    reversed_rows = column_moments(X[::-2, ::-1])
    assert_close(reversed_rows, column_moments(X[::-2, ::-1].astype(np.float64)))


def test_float32_is_summed_in_float64(rng):
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
def test_the_size_of_tiles_is_a_matter_of_rounding(rng, monkeypatch, tile):
    X, weight = 1e3 + rng.normal(size=(1_000, 4)), rng.random(1_000)
    X[rng.random(X.shape) < 0.2] = np.nan
    weight[::3] = 0.0
    whole = column_moments(X, weight)
    monkeypatch.setattr("sknorm._kernels.tiles._TILE", tile)
    monkeypatch.setattr("sknorm._kernels.moments._UNCUT", tile)
    assert_close(column_moments(X, weight), whole, rtol=4e-15)


@pytest.mark.usefixtures("small_tiles")
def test_rows_of_weight_zero_are_not_looked_at(rng):
    X, weight = rng.normal(size=(200, 3)), rng.random(200)
    ignored = rng.random(200) < 0.4
    ignored[32:64] = True  # whole tiles
    weight[ignored] = 0.0
    X[ignored] = np.inf
    assert_close(
        column_moments(X, weight), column_moments(X[~ignored], weight[~ignored])
    )


@pytest.mark.parametrize("cut", [0, 1, 137, 299, 300])
def test_merging_parts_is_the_whole(rng, cut):
    X, weight = 1e6 + rng.normal(size=(300, 3)), rng.random(300)
    X[:150, 1] = np.nan
    parts = [column_moments(X[:cut], weight[:cut])]
    parts.append(column_moments(X[cut:], weight[cut:]))
    assert_exact(merge(parts[0], parts[1]), X, weight)
    assert_exact(merge(parts[1], parts[0]), X, weight)


def test_merging_nothing_with_nothing():
    both = merge(empty_moments(2), empty_moments(2))
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(both, name), getattr(empty_moments(2), name)
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


@pytest.fixture(params=["csr", "csc", "coo"])
def form(request, monkeypatch):
    """Format of a sparse table, which is looked at in small parts."""
    monkeypatch.setattr("sknorm._kernels.moments._ENTRIES", 50)
    return request.param


class TestSparse:
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("missing", [0.0, 0.1])
    @pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_right_to_the_last_digits(
        self, rng, form, weighted, missing, density, offset
    ):
        shape = (400, 5)
        X = np.where(rng.random(shape) < density, offset + rng.normal(size=shape), 0.0)
        X[rng.random(shape) < missing] = np.nan
        weight = None
        if weighted:
            weight = rng.exponential(size=len(X))
            weight[::3] = 0.0
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form), weight)
        assert_exact(moments, X, weight)
        np.testing.assert_array_equal(moments.count, column_moments(X, weight).count)

    def test_by_hand(self, form):
        X = np.array([[0.0, 5.0, 0.0], [4.0, np.nan, 0.0], [0.0, 7.0, 0.0]])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        np.testing.assert_array_equal(moments.count, [3, 2, 3])
        np.testing.assert_allclose(moments.mean, [4 / 3, 6, 0], rtol=1e-15)
        np.testing.assert_allclose(moments.std, [32**0.5 / 3, 1, 0], rtol=1e-15)

    @pytest.mark.parametrize("value", [0.0, 3.0])
    def test_zeros_may_be_stored(self, value):
        indices, indptr = [0, 1, 0, 1], [0, 2, 4]
        X = scipy.sparse.csr_matrix(([0.0, value, 0.0, 5.0], indices, indptr))
        assert_close(column_moments(X), column_moments(X.toarray()))

    @pytest.mark.parametrize("cls", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix])
    def test_entries_in_any_order_and_in_parts(self, cls):
        # 2 and 3 make the 5 of the first row; the second has its columns reversed.
        X = cls(([2.0, 3.0, 7.0, 1.0], [0, 0, 1, 0], [0, 2, 4]), shape=(2, 2))
        before = X.data.copy()
        dense = X.toarray()
        assert_close(column_moments(X), column_moments(dense))
        np.testing.assert_array_equal(X.data, before)

    def test_light_rows_without_an_entry_beside_heavy_ones(self, form):
        # The sum of all weights less that of the entries' would be 0.
        X = np.array([[3.0], [0.0], [3.0]])
        weight = np.array([1e17, 1.0, 1e17])
        sparse = scipy.sparse.coo_matrix(X).asformat(form)
        assert_exact(column_moments(sparse, weight), X, weight)

    @pytest.mark.parametrize("scale", [1e300, 1e-300])
    def test_nothing_overflows_or_vanishes(self, rng, form, scale):
        X = np.where(rng.random((60, 2)) < 0.5, scale * rng.normal(size=(60, 2)), 0.0)
        assert_exact(column_moments(scipy.sparse.coo_matrix(X).asformat(form)), X)

    def test_an_infinite_value_shows_in_its_column_only(self, form):
        X = np.array([[0.0, np.inf], [1.0, 2.0], [0.0, 0.0]])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        assert moments.infinite.tolist() == [False, True]
        weight = np.array([0.0, 1.0, 1.0])
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form), weight)
        np.testing.assert_array_equal(moments.mean, [0.5, 1])

    def test_float32_is_summed_in_float64(self, rng, form):
        X = (1e6 + rng.normal(size=(1_000, 1))).astype(np.float32)
        assert_exact(column_moments(scipy.sparse.coo_matrix(X).asformat(form)), X)

    def test_equal_values_have_no_spread_at_all(self, form):
        X = np.tile([14.62, 0.0], (500, 1))
        moments = column_moments(scipy.sparse.coo_matrix(X).asformat(form))
        np.testing.assert_array_equal(moments.mean, [14.62, 0])
        np.testing.assert_array_equal(moments.std, 0)

    def test_it_is_not_made_dense(self):
        X = scipy.sparse.random(
            100_000, 500, density=1e-3, format="csr", random_state=0
        )
        column_moments(X)
        tracemalloc.start()
        try:
            column_moments(X, np.ones(len(X.indptr) - 1))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * 2**20  # dense it has 400 MB

    def test_no_entries_and_no_rows(self, form):
        X = scipy.sparse.coo_matrix((0, 2)).asformat(form)
        np.testing.assert_array_equal(column_moments(X).count, [0, 0])
        assert np.isnan(column_moments(X).mean).all()


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
