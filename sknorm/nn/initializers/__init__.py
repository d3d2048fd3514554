"""The table of initialisation schemes.

A scheme is a small frozen dataclass: it compares, hashes, clones and pickles, so
``Normal(mean=10, std=5)`` can be a value in a grid search. It fills a weight of shape
``(out_features, in_features)``, one model's view, in place and from one generator.
"""

from sknorm.nn.initializers import _edge_of_chaos, _fan, _fixed, _lsuv, _scheme
from sknorm.nn.initializers._edge_of_chaos import *
from sknorm.nn.initializers._fan import *
from sknorm.nn.initializers._fixed import *
from sknorm.nn.initializers._lsuv import *
from sknorm.nn.initializers._scheme import *

__all__: list[str] = []
__all__ += _scheme.__all__
__all__ += _fixed.__all__
__all__ += _fan.__all__
__all__ += _edge_of_chaos.__all__
__all__ += _lsuv.__all__
