"""Networks as scikit-learn estimators."""

from sknorm.neural_network._classifier import NormMLPClassifier
from sknorm.neural_network._regressor import NormMLPRegressor

__all__ = ["NormMLPClassifier", "NormMLPRegressor"]
