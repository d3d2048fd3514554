"""Mergeable summaries of the columns of a table.

A summary is a value: updating or merging makes a new one. That makes one algorithm
serve a fit, a stream of batches, groups, and a reduction over several machines.
"""

from sknorm.statistics import _covariance, _grouped, _moments
from sknorm.statistics._covariance import *
from sknorm.statistics._grouped import *
from sknorm.statistics._moments import *

__all__: list[str] = []
__all__ += _covariance.__all__
__all__ += _grouped.__all__
__all__ += _moments.__all__
