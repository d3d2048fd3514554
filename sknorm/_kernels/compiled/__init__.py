"""The hot loops in compiled code, for arrays large enough to pay for loading it.

numba compiles a function when it is first called and keeps the result on disk. Nothing
here is imported before a large array comes; see :func:`compiled_kernels`.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType

__all__ = ["compiled_kernels"]


@functools.cache
def compiled_kernels(family: str) -> ModuleType | None:
    """Load the compiled functions of a family.

    Parameters
    ----------
    family : str
        Name of a module of this package.

    Returns
    -------
    module or None
        None where numba can't be imported, as on a Python newer than its releases: the
        NumPy version of every kernel does the same, slower.
    """
    try:
        import_module("numba")
    except ImportError:
        return None
    return import_module(f"{__name__}.{family}")
