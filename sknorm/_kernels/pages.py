"""Where huge pages of memory end.

Memory that was never used gets its pages when it is first written to, and the kernel
clears each before it hands it over. Linux clears a huge page toward the address that
was asked for, so that what is written first is in cache: from the last number down if
that is the first, which takes more than twice as long as upwards. Who writes to the end
of each page before its beginning gets half the cost of fresh memory back.
"""

from __future__ import annotations

import numpy as np

__all__ = ["HUGE_PAGE", "first_page_end"]

# Bytes; what x86 and most kernels for ARM have.
HUGE_PAGE = 2**21


def first_page_end(array: np.ndarray) -> int:
    """Return how many numbers of an array lie before its first huge page ends.

    Parameters
    ----------
    array : ndarray
        Contiguous.

    Returns
    -------
    int
        From 0 to the numbers in a page; a number that lies on the edge is counted.
    """
    return -(-(-array.ctypes.data % HUGE_PAGE) // array.itemsize)
