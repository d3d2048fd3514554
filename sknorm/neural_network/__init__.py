"""Networks as scikit-learn estimators."""

from sknorm.neural_network._classifier import NormMLPClassifier
from sknorm.neural_network._regressor import NormMLPRegressor
from sknorm.neural_network._tabular_classifier import TabularNetClassifier
from sknorm.neural_network._tabular_regressor import TabularNetRegressor

__all__ = [
    "NormMLPClassifier",
    "NormMLPRegressor",
    "TabularNetClassifier",
    "TabularNetRegressor",
]
