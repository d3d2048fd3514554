"""Networks for tables in which every number stays near N(0, 1).

Importing ``sknorm`` imports none of torch, pandas or matplotlib; the public modules
:mod:`sknorm.preprocessing`, :mod:`sknorm.neural_network` and :mod:`sknorm.nn` import
what they need when they are first imported themselves.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
