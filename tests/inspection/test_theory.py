import itertools
import math

import numpy as np
import pytest
import torch

from sknorm.inspection._probe import probe
from sknorm.inspection._theory import predict_layers
from sknorm.neural_network._losses import SquaredError
from sknorm.nn.activations import resolve_activation
from sknorm.nn.mlp import MLP


def predict(activation, sizes, rng, n_rows=500, spread=1.0, **params):
    network = MLP(
        30,
        1,
        hidden_layer_sizes=sizes,
        activation=activation,
        generator=torch.Generator().manual_seed(0),
        **params,
    )
    X = torch.from_numpy(spread * rng.normal(size=(n_rows, 30))).float()
    phi = resolve_activation(activation)
    inputs, layers = probe(network, X, None, SquaredError(), phi)
    return inputs, layers, predict_layers(inputs, layers, phi)


def test_relu_by_hand(rng):
    inputs, layers, predictions = predict(
        "relu", (64, 64), rng, init="kaiming_normal", bias_init="zeros"
    )
    q = inputs.mean_square
    for layer, prediction in zip(layers, predictions, strict=True):
        q = layer.sigma_w**2 * q
        assert prediction.q == pytest.approx(q)
        q = q / 2  # E[relu(z)^2] for z of mean square q.
    assert predictions[0].chi == pytest.approx(layers[1].sigma_w ** 2 / 2)
    assert math.isnan(predictions[-1].chi)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_it_comes_close_to_a_wide_network(rng, activation):
    width, depth = 1024, 3
    _, layers, predictions = predict(activation, (width,) * depth, rng, n_rows=200)
    # The logarithm of a ReLU network's q has a variance of 5 / width a layer.
    rtol = 3 * math.sqrt(5 * depth / width)
    for layer, prediction in zip(layers[:-1], predictions, strict=False):
        assert prediction.q == pytest.approx(layer.signal.mean_square, rel=rtol)
    ratios = [
        (a.grad_norm / b.grad_norm) ** 2 for a, b in itertools.pairwise(layers[:-1])
    ]
    expected = [prediction.chi for prediction in predictions[: depth - 1]]
    np.testing.assert_allclose(ratios, expected, rtol=rtol)


def test_biases_count(rng):
    _, layers, predictions = predict("tanh", (64, 64), rng, init="edge_of_chaos")
    q = layers[0].sigma_w ** 2 * layers[0].input_mean_square + layers[0].sigma_b ** 2
    assert layers[0].sigma_b > 0
    assert predictions[0].q == pytest.approx(q, rel=1e-3)


def test_behind_a_norm_the_signal_is_taken_as_it_is(rng):
    _, layers, predictions = predict("relu", (64, 64), rng, norm="layer")
    for layer, prediction in zip(layers[:2], predictions, strict=False):
        assert prediction.q == layer.signal.mean_square
        assert math.isnan(prediction.chi)
    after = predict("relu", (64, 64), rng, norm="layer", norm_position="after")
    _, layers, predictions = after
    q = layers[1].sigma_w ** 2 * layers[1].input_mean_square + layers[1].sigma_b ** 2
    assert math.isnan(predictions[1].chi)
    assert layers[1].input_mean_square == pytest.approx(1.0, rel=0.01)
    assert predictions[1].q == pytest.approx(layers[1].signal.mean_square)
    assert q == pytest.approx(predictions[1].q, rel=0.5)


def test_an_activation_without_theory(rng):
    _, _, predictions = predict(
        torch.nn.Softmax(dim=-1), (8, 8), rng, init="xavier_normal"
    )
    assert math.isfinite(predictions[0].q)
    assert all(math.isnan(prediction.chi) for prediction in predictions)


def test_zeros(rng):
    _, _, predictions = predict("sigmoid", (8, 8), rng, init="zeros")
    assert [prediction.q for prediction in predictions] == [0, 0, 0]


def test_a_signal_beyond_what_floats_hold(rng):
    _, _, predictions = predict("relu", (8, 8), rng, spread=1e30, init="kaiming_normal")
    assert len(predictions) == 3
