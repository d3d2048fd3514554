"""The table of normalization layers.

An entry says how the layer is made and what it acts on: the signal between layers, or
the weight of a layer. Each family of layers files its own entries.
"""

from sknorm.nn.norms import _batch, _row, _table, _weight
from sknorm.nn.norms._batch import *
from sknorm.nn.norms._row import *
from sknorm.nn.norms._table import *
from sknorm.nn.norms._weight import *

__all__: list[str] = []
__all__ += _table.__all__
__all__ += _batch.__all__
__all__ += _row.__all__
__all__ += _weight.__all__
