"""Networks for tables of numbers and categories."""

from sknorm.nn.tabular import _body, _inputs, _network
from sknorm.nn.tabular._body import *
from sknorm.nn.tabular._inputs import *
from sknorm.nn.tabular._network import *

__all__: list[str] = []
__all__ += _network.__all__
__all__ += _inputs.__all__
__all__ += _body.__all__
