import numpy as np
import pytest

from sknorm._kernels import unsorted
from sknorm._kernels.compiled import compiled_kernels
from sknorm._kernels.knots import knots_of_sorted, segment_sums
from sknorm._kernels.unsorted import Sample

BLOM = 3 / 8
N = 150_000


def knots_of(x, weight=None, n_quantiles=500):
    sample = Sample(
        x.reshape(len(x), -1), weight, n_quantiles, BLOM, compiled_kernels("knots")
    )
    return sample.knots(slice(0, 1))[0]


def check(knots, x, weight=None):
    """Compare what is told of knots with what sorting tells."""
    w = np.ones(len(x)) if weight is None else weight
    counted = ~np.isnan(x) & (w > 0)
    order = np.argsort(x[counted])
    x, w = x[counted][order].astype(np.float64), w[counted][order]
    below = np.append(0.0, np.cumsum(w))
    starts = x.searchsorted(knots.knots)
    np.testing.assert_array_equal(x[starts], knots.knots)
    assert knots.knots[0] == x[0]
    assert knots.knots[-1] == x[-1]
    assert knots.count == len(x)
    # Running sums of N weights, each of which may be rounded.
    np.testing.assert_allclose(knots.before, below[starts], rtol=1e-11)
    ends = x.searchsorted(knots.knots, side="right")
    np.testing.assert_allclose(knots.through, below[ends], rtol=1e-11)
    np.testing.assert_allclose(knots.mass, np.add.reduceat(w, starts), rtol=1e-10)
    sums = segment_sums(x, w, starts, knots.knots)
    np.testing.assert_allclose(knots.sums, sums, rtol=1e-9, atol=1e-12)


SHAPES = {
    "normal": lambda z: z,
    "far from 0": lambda z: 1e6 + z,
    "heavy-tailed": lambda z: z**5,
    "lognormal": lambda z: np.exp(3 * z),
    "skewed to the left": lambda z: -np.exp(2 * z),
    "two far apart": lambda z: np.where(z > 0, 1e-6 * z, 1e3 + z),
    "tiny": lambda z: 1e-290 * z,
    "in order": np.sort,
    "reversed": lambda z: -np.sort(z),
    "rounded": lambda z: np.round(z, 3),
    "with a floor": lambda z: np.maximum(z, -2.2),
    "mostly present": lambda z: np.where(z > 1.0, np.nan, z),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_knots_are_as_sorting_tells(rng, shape, weighted):
    x = SHAPES[shape](rng.normal(size=N))
    weight = None
    if weighted:
        # Whole numbers, with a mean of 1 or more: they are counts as they are.
        weight = rng.integers(0, 4, size=N).astype(float)
    knots = knots_of(x, weight)
    assert 300 < len(knots.knots) <= 505
    check(knots, x, weight)


@pytest.mark.parametrize("unit", [1e-300, 0.1, 1.0, 1e300])
def test_equal_weights_are_counts(rng, unit):
    x = rng.normal(size=N)
    weight = np.full(N, unit)
    knots = knots_of(x, weight)
    check(knots, x, None if unit <= 1 else weight)


def test_float32(rng):
    x = rng.standard_t(3, size=N).astype(np.float32)
    check(knots_of(x), x)


@pytest.mark.parametrize("n_quantiles", [60, 200, 1_000])
def test_no_more_than_asked_for_are_kept(rng, n_quantiles):
    knots = knots_of(rng.normal(size=N), n_quantiles=n_quantiles)
    assert 0.7 * n_quantiles < len(knots.knots) <= n_quantiles


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(lambda z: np.round(z, 1), id="few values"),
        pytest.param(lambda z: np.where(z < 0.5, 0.0, z), id="long run of ties"),
        pytest.param(lambda z: np.full(N, 3.0), id="constant"),
        pytest.param(lambda z: np.full(N, np.nan), id="empty"),
        pytest.param(lambda z: np.where(z < 1.9, np.nan, z), id="mostly missing"),
        pytest.param(lambda z: 1e303 * z, id="too large"),
        pytest.param(lambda z: 1e-310 * z, id="too small"),
        pytest.param(lambda z: np.where(z > 4.0, np.inf, z), id="infinite"),
        pytest.param(lambda z: np.where(z > 1.0, -np.inf, z), id="mostly infinite"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_some_are_left_to_be_sorted(rng, x, weighted):
    z = rng.normal(size=N)
    z[0] = 5.0
    assert knots_of(x(z), np.full(N, 2.0) if weighted else None) is None


def test_too_few_quantiles_to_bound_the_tails(rng):
    assert knots_of(rng.normal(size=N), n_quantiles=5) is None


def test_too_few_rows_for_so_many_quantiles(rng):
    assert knots_of(rng.normal(size=N), n_quantiles=2_000) is None


@pytest.mark.parametrize("part", ["tails", "middle"])
def test_a_sample_unlike_its_column_is_noticed(rng, monkeypatch, part):
    x = rng.normal(size=N)
    known = Sample(x[:, None], None, 500, BLOM, compiled_kernels("knots"))
    others = np.ones(N, dtype=bool)
    others[known.rows] = False
    if part == "tails":
        x[others] *= 4.0
    else:
        x[others & (rng.random(N) < 0.1)] = np.nextafter(0.3, 1)
    assert known.knots(slice(0, 1)) == [None]


def test_columns_are_told_apart(rng):
    X = rng.normal(size=(N, 4)) * [1.0, 1e5, 1e-5, 1.0]
    X[:, 1] = np.round(X[:, 1], -5)
    sample = Sample(X, None, 300, BLOM, compiled_kernels("knots"))
    found = sample.knots(slice(0, 4))
    assert [knots is None for knots in found] == [False, True, False, False]
    for j in (0, 2, 3):
        check(found[j], X[:, j])


def test_distances_are_about_those_of_sorted_columns(rng):
    x = rng.normal(size=N)
    knots = knots_of(x)
    expected = knots_of_sorted(np.sort(x), None, 500, BLOM)
    assert abs(len(knots.knots) - len(expected.knots)) < 5
    assert np.median(knots.mass) == pytest.approx(np.median(expected.mass), rel=0.15)


class TestGrid:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_search_in_a_cell_is_short(self, rng, shape):
        x = np.sort(SHAPES[shape](rng.normal(size=N)))
        x = x[~np.isnan(x)]
        knots = np.unique(x[len(x) // 50 : -len(x) // 50 : len(x) // 600])
        grid = unsorted._best_grid(knots)
        assert len(grid.first) <= unsorted._CELLS
        assert grid.step <= (256 if shape == "two far apart" else 4)

    def test_of_two_knots(self):
        grid = unsorted._best_grid(np.array([-1.0, 1.0]))
        assert grid.step == 1
