import numpy as np
import pytest

from sknorm._kernels.compiled import knots as compiled
from sknorm._kernels.knots import segment_sums


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-310])
def test_segment_sums_as_in_numpy(rng, weighted, dtype, scale):
    if dtype == np.float32 and scale != 1.0:
        scale = 1e38 if scale > 1 else 1e-44
    values = np.sort(scale * rng.uniform(-1.7, 1.7, size=5_000)).astype(dtype)
    weight = rng.random(5_000) if weighted else None
    chosen = np.unique(np.append(rng.choice(5_000, 20), [0, 4_999]))
    knots = np.unique(values[chosen]).astype(np.float64)
    starts = values.searchsorted(knots.astype(dtype))
    expected = segment_sums(values, weight, starts, knots)
    result = segment_sums(values, weight, starts, knots, compiled)
    # Sums of positive numbers in another order, of up to 5 000.
    np.testing.assert_allclose(result, expected, rtol=1e-13)
    assert result[0].max() > 10


def test_segment_sums_of_the_largest_numbers():
    largest = np.finfo(np.float64).max
    values = np.array([-largest, 0.0, 5e-324, largest])
    sums = segment_sums(values, None, np.array([0, 3]), values[[0, 3]], compiled)
    np.testing.assert_array_equal(sums, [[1.0, 0.0], [0.5, 0.0]])
    sums = segment_sums(values, None, np.arange(4), values, compiled)
    np.testing.assert_array_equal(sums, np.zeros((2, 4)))


def weighed(X, knots, *, center, unit, shift, weight=None, room=100):
    """Return sums, what is beyond the knots, its weights, and counts."""
    n_columns, n_knots = X.shape[1], len(knots)
    bits = (np.abs(knots - center) + unit).view(np.int64) >> shift
    base = int(np.float64(unit).view(np.int64)) >> shift
    below = int(bits[0]) - base + 1 if knots[0] < center else 0
    cell = np.where(knots < center, below - 1 - bits + base, below + bits - base)
    held = np.bincount(cell)
    first = (np.cumsum(held) - held - 1).clip(0).astype(np.int16)
    step = 1 << int(held.max()).bit_length() >> 1
    padded = np.full((n_columns, n_knots + 2 * step), np.inf)
    padded[:, :n_knots] = knots
    inverse = np.zeros_like(padded)
    inverse[:, : n_knots - 1] = 1 / np.diff(knots)
    cells = np.array([[n_knots, below, shift, base, step]] * n_columns)
    sums = np.zeros((n_columns, n_knots, 4))
    beyond = np.full((n_columns, room + compiled._ROWS), np.nan)
    beside = np.full_like(beyond, np.nan)[:, : 0 if weight is None else None]
    counts = np.zeros((n_columns, 2), dtype=np.int64)
    weight = np.empty(0) if weight is None else weight
    compiled.weigh_segments(X.dtype)(
        X, weight, padded, inverse, np.tile(first, (n_columns, 1)), cells,
        np.array([[center, unit]] * n_columns), sums, beyond, beside.copy(), counts,
    )  # fmt: skip
    return sums, beyond, counts


# Even cells with few knots in each, and with all in one; cells that grow to the right,
# to the left, and both ways.
GRIDS = [
    (-2.0, 8.0, 42),
    (-2.0, 8.0, 51),
    (-2.0, 0.1, 46),
    (3.0, 0.1, 46),
    (0.5, 1, 46),
]


class TestWeighSegments:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_by_hand(self, dtype):
        X = np.array([[-9, 1, 2, 3, 2, np.nan, 4, 5, 8, 6]], dtype=dtype).T
        knots = np.array([1.0, 2.0, 6.0])
        sums, beyond, counts = weighed(X, knots, center=1.0, unit=8.0, shift=40)
        # From 2 on: 3, 4 and 5 are 1, 2 and 3 quarters of the way.
        np.testing.assert_array_equal(
            sums[0], [[1, 1, 0, 0], [5, 2, 1.5, 0.875], [1, 1, 0, 0]]
        )
        assert counts.tolist() == [[9, 2]]
        assert beyond[0, :2].tolist() == [-9, 8]

    @pytest.mark.parametrize(("center", "unit", "shift"), GRIDS)
    @pytest.mark.parametrize("weighted", [False, True])
    def test_any_grid(self, rng, center, unit, shift, weighted):
        X = rng.uniform(-3, 4, size=(3_000, 2))
        knots = np.sort(rng.uniform(-2, 3, size=50))
        knots[[0, 20, 30, 49]] = X[[5, 7, 9, 11], 0]
        knots = np.sort(knots)
        X[::50] = np.nan
        weight = rng.integers(0, 4, size=3_000).astype(float) if weighted else None
        sums, beyond, counts = weighed(
            X, knots, center=center, unit=unit, shift=shift, weight=weight, room=3_000
        )
        w = np.ones(3_000) if weight is None else weight
        for j in range(2):
            x = X[:, j]
            inside = (x >= knots[0]) & (x <= knots[-1])
            k = knots.searchsorted(x[inside], side="right") - 1
            width = np.append(np.diff(knots), 1.0)
            part = (x[inside] - knots[k]) / width[k]
            for i, summand in enumerate([part**0, part == 0, part, part**2]):
                expected = np.bincount(k, w[inside] * summand, minlength=50)
                np.testing.assert_allclose(sums[j, :, i], expected, rtol=1e-12)
            outside = ~inside & ~np.isnan(x) & (w > 0)
            assert counts[j].tolist() == [
                np.count_nonzero(~np.isnan(x) & (w > 0)),
                np.count_nonzero(outside),
            ]
            np.testing.assert_array_equal(beyond[j, : outside.sum()], x[outside])

    def test_no_more_is_collected_than_there_is_room_for(self):
        X = np.full((5_000, 1), 7.0)
        _, _, counts = weighed(X, np.array([0.0, 1.0]), center=0.0, unit=1.0, shift=50)
        assert 100 <= counts[0, 1] <= 100 + compiled._ROWS

    def test_every_layout_runs_the_same_code(self, rng):
        X = rng.normal(size=(2_000, 6))
        knots = np.linspace(-2, 2, 9)
        for part in (X[:, :3], X[::2, ::2], np.asfortranarray(X)[:, :3], X[::-1, :3]):
            weighed(part, knots, center=0.0, unit=1.0, shift=50, room=2_000)
        assert len(compiled.weigh_segments(X.dtype).signatures) == 1
