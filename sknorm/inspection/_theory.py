"""What mean-field theory expects of a network's layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sknorm.inspection._probe import LayerSignal, Table
from sknorm.nn.activations import Activation
from sknorm.nn.mean_field import chi, variance_map

__all__ = ["Prediction", "predict_layers"]


@dataclass(frozen=True)
class Prediction:
    """What theory expects of a layer; NaN where it has nothing to say."""

    q: float = math.nan
    """Mean square of pre-activations."""
    chi: float = math.nan
    """Square of the factor on the gradient from the next layer to this one."""


def predict_layers(
    inputs: Table, layers: list[LayerSignal], activation: Activation
) -> list[Prediction]:
    """Follow the signal through layers whose weights are independent and of mean 0.

    Parameters
    ----------
    inputs : Table
        What the first layer is fed.
    layers : list of LayerSignal
        A chain of layers, of which weights and biases are looked at.
    activation : Activation
        What stands between them.

    Returns
    -------
    list of Prediction
        One for each layer. Norm layers aren't a part of the theory: behind one a
        signal is taken as it is.
    """
    predictions = []
    fed = inputs.mean_square
    for index, layer in enumerate(layers):
        behind = layers[index + 1] if index + 1 < len(layers) else None
        sigma_b = 0.0 if math.isnan(layer.sigma_b) else layer.sigma_b
        # Products, because powers of floats raise where they overflow.
        q = layer.sigma_w * layer.sigma_w * fed + sigma_b * sigma_b
        if layer.norm and layer.signal is not None:
            q = layer.signal.mean_square
        try:
            predictions.append(_predict(q, layer, behind, activation))
            # What theory expects of the next layer's inputs.
            fed = float(variance_map(q, activation, 1.0, 0.0))
        except ValueError:  # Not elementwise, or beyond what floats hold.
            predictions[index:] = [Prediction(q)]
            fed = math.nan
        is_known = bool(layer.activation) and math.isfinite(fed)
        normed_behind = bool(layer.norm) and not layer.norm_is_before
        if behind is not None and (normed_behind or not is_known):
            fed = behind.input_mean_square
    return predictions


def _predict(
    q: float, layer: LayerSignal, behind: LayerSignal | None, activation: Activation
) -> Prediction:
    is_plain = bool(layer.activation) and not layer.norm and math.isfinite(q)
    if not is_plain or behind is None or behind.norm:
        return Prediction(q)
    return Prediction(q, float(chi(activation, behind.sigma_w, 0.0, q=q)))
