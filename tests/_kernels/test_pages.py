"""Where huge pages end, from addresses by hand."""

import numpy as np
import pytest

from sknorm._kernels.pages import HUGE_PAGE, first_page_end


def at(address, dtype):
    """Return an array that lies so many bytes behind the beginning of a page."""
    memory = np.empty(3 * HUGE_PAGE, dtype=np.uint8)
    begin = -memory.ctypes.data % HUGE_PAGE + address
    size = HUGE_PAGE // np.dtype(dtype).itemsize
    return np.frombuffer(memory, dtype, count=size, offset=begin)


@pytest.mark.parametrize(
    ("address", "dtype", "expected"),
    [
        (0, np.float64, 0),
        (HUGE_PAGE - 8, np.float64, 1),
        (HUGE_PAGE - 8, np.float32, 2),
        (16, np.float32, HUGE_PAGE // 4 - 4),
        # Half of the second number lies in the next page.
        (HUGE_PAGE - 12, np.float64, 2),
    ],
)
def test_numbers_before_the_end(address, dtype, expected):
    assert first_page_end(at(address, dtype)) == expected
