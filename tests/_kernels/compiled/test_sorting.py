import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sknorm._kernels.compiled import compiled_kernels

sort_bits = compiled_kernels("sorting").sort_bits
EPS = 2.0**-52


def radix_sorted(x, beside=()):
    """Return numbers sorted, and what stood beside them if anything did."""
    x, beside = np.array(x), np.array(beside, dtype=np.float64)
    bits = x.view(f"u{x.itemsize}")
    infinity = np.array(np.inf, x.dtype).view(bits.dtype)
    spare = np.empty_like(bits), np.empty_like(beside)
    sort_bits(bits, beside, *spare, 8 * x.itemsize, np.uint64(infinity))
    return (x, beside) if len(beside) else x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "x",
    [
        [],
        [1.0],
        [2.0, 1.0],
        [0.0, np.nan, -np.nan, np.inf, -np.inf, 1.0, -1.0, 1e-320, -1e-320],
        [3.0] * 100,
    ],
    ids=["none", "one", "two", "special", "equal"],
)
def test_known_columns(x, dtype):
    x = np.array(x, dtype)
    np.testing.assert_array_equal(radix_sorted(x), np.sort(x))


def columns(rng, n=20_000):
    normal = rng.normal(size=n)
    with np.errstate(over="ignore"):
        return {
            "normal": normal,
            "offset": 1e12 + normal,
            "ties": np.rint(3 * normal),
            "all magnitudes": rng.standard_cauchy(n) ** 51,
            # They agree in more bits than are looked at first: few at a time, many.
            "short runs": 1
            + rng.integers(0, n // 4, n) * EPS * 2**20
            + rng.random(n) * EPS,
            "long runs": np.repeat([-7.0, 1.0, 1e300], n // 3)
            * (1 + rng.random(n // 3 * 3) * 1e-13),
            "lowest bits": 1 + rng.integers(0, 50, n) * EPS,
        }


@pytest.mark.parametrize("name", columns(np.random.default_rng(0)))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_of_column(name, dtype, rng):
    with np.errstate(over="ignore"):
        x = columns(rng)[name].astype(dtype)
    np.testing.assert_array_equal(radix_sorted(x), np.sort(x))
    at = np.arange(float(len(x)))
    values, order = radix_sorted(x, at)
    np.testing.assert_array_equal(values, np.sort(x))
    np.testing.assert_array_equal(x[order.astype(int)], np.sort(x))
    np.testing.assert_array_equal(np.sort(order), at)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.integers(0, 60),
        elements=st.floats(width=32),
    )
)
def test_any_floats(x):
    np.testing.assert_array_equal(radix_sorted(x), np.sort(x))
