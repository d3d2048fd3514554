"""The table of numeric embeddings.

An embedding turns each number of a table into several, so that a network can bend
where the data ask for it. Its choice is a small frozen dataclass: it compares, hashes,
clones and pickles, so ``PiecewiseLinear(n_bins=32)`` can be a value in a grid search.
"""

from sknorm.nn.embeddings import _linear, _periodic, _piecewise, _scheme
from sknorm.nn.embeddings._linear import *
from sknorm.nn.embeddings._periodic import *
from sknorm.nn.embeddings._piecewise import *
from sknorm.nn.embeddings._scheme import *

__all__: list[str] = []
__all__ += _scheme.__all__
__all__ += _linear.__all__
__all__ += _periodic.__all__
__all__ += _piecewise.__all__
