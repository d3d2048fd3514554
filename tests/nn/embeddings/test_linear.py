import pytest
import torch

from sknorm.nn.embeddings import LinearReLU, NoEmbedding


def test_no_embedding_is_the_identity():
    x = torch.ones(2, 3)
    assert NoEmbedding().build(3)(x) is x


def test_linear_by_hand():
    layer = LinearReLU(2).build(2)
    with torch.no_grad():
        layer.by_feature.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 3.0]]))
        layer.by_feature.bias.copy_(torch.tensor([[0.0, 0.5], [-9.0, 1.0]]))
    assert layer(torch.tensor([[2.0, 4.0]])).tolist() == [[2.0, 0.0, 0.0, 13.0]]


def test_linear_starts_within_one_over_the_root(generator):
    line = LinearReLU(25).build(100, generator=generator).by_feature
    for parameter in (line.weight, line.bias):
        assert 0.19 < float(parameter.detach().abs().max()) <= 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearReLU(0), "'d_embedding' parameter of LinearReLU must be an int"),
        (lambda: LinearReLU(True), "'d_embedding' parameter of LinearReLU"),
        (lambda: LinearReLU(2, activation="relu"), "must be True or False. Got 'relu'"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
