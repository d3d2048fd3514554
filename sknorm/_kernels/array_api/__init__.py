"""The hot loops for arrays of other libraries, on the device where they lie.

Passes over the rows are done there, in the functions of the array API standard. What
comes of them, a few numbers for each column, is brought to main memory, and goes
through the same code as NumPy's own. Each module holds the versions for other arrays
of what the module of that name beside this package is for.

Where a device has doubles, all is computed in them. Where it has none, values are
measured from a number of their own column first, and sums of a few dozen are added up
as doubles in main memory.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["array_kernels"]


def array_kernels(family: str) -> ModuleType:
    """Load the functions of a family.

    Parameters
    ----------
    family : str
        Name of a module of this package.

    Returns
    -------
    module
    """
    return import_module(f"{__name__}.{family}")
