"""What mean-field theory expects of a network's layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sknorm.inspection._probe import LayerSignal, Table
from sknorm.nn.activations import Activation
from sknorm.nn.mean_field import chi, fixed_point, variance_map

__all__ = ["Prediction", "predict_layers"]


@dataclass(frozen=True)
class Prediction:
    """What theory expects of a layer; NaN where it has nothing to say."""

    q: float = math.nan
    """Mean square of pre-activations."""
    chi: float = math.nan
    """Square of the factor on the gradient from the next layer to this one."""
    fixed_point: float = math.nan
    """Where ``q`` would end in a network of such layers."""


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
    predictions: list[Prediction] = []
    fed = inputs.mean_square
    for index, layer in enumerate(layers):
        sigma_w, sigma_b = layer.sigma_w, _zero_if_nan(layer.sigma_b)
        q = sigma_w**2 * fed + sigma_b**2
        behind = layers[index + 1] if index + 1 < len(layers) else None
        plain = bool(layer.activation) and not layer.norm
        if layer.norm and layer.signal is not None:
            q = layer.signal.mean_square
        if not (math.isfinite(q) and layer.activation):
            predictions.append(Prediction(q if math.isfinite(q) else math.nan))
            fed = math.nan if behind is None else behind.input_mean_square
            continue
        try:
            predictions.append(
                Prediction(
                    q,
                    chi(activation, behind.sigma_w, 0.0, q=q)
                    if plain and behind is not None and not behind.norm and q > 0
                    else math.nan,
                    fixed_point(activation, sigma_w, sigma_b)
                    if plain and index
                    else math.nan,
                )
            )
            # What theory expects of the next layer's inputs.
            fed = float(variance_map(q, activation, 1.0, 0.0))
        except ValueError:  # Not elementwise, or beyond what floats hold.
            predictions.append(Prediction(q))
            fed = math.nan
        if (layer.norm and not layer.norm_is_before) and behind is not None:
            fed = behind.input_mean_square
    return predictions


def _zero_if_nan(value: float) -> float:
    return 0.0 if math.isnan(value) else value
