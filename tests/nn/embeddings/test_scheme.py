"""What every embedding keeps to, and what a user may give as one."""

import copy
import functools
import pickle

import pytest
import torch
from sklearn.base import clone
from torch import nn

from sknorm.nn.embeddings import (
    EMBEDDINGS,
    PBLD,
    CustomEmbedding,
    Embedding,
    NoEmbedding,
    PiecewiseLinear,
    resolve_embedding,
)

every_embedding = pytest.mark.parametrize("name", EMBEDDINGS)


def build(name, n_features=3, seed=0, n_rows=200, dtype=torch.float32, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(
        n_rows, n_features, generator=torch.Generator().manual_seed(9)
    ).to(dtype)
    return resolve_embedding(name).build(
        n_features,
        sample=sample,
        target=sample[:, 0].sin(),
        generator=generator,
        dtype=dtype,
        **kwargs,
    )


# -- what every entry keeps to ---------------------------------------------------------


@every_embedding
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n_features", [1, 3])
def test_every_embedding_is_a_layer_that_learns(name, dtype, n_features):
    layer = build(name, n_features, dtype=dtype)
    x = torch.linspace(-2, 2, 5 * n_features, dtype=dtype).reshape(5, n_features)
    x.requires_grad_()
    y = layer(x)
    assert y.shape == (5, layer.out_features)
    assert y.dtype == dtype
    y.square().sum().backward()
    for gradient in (x.grad, *(p.grad for p in layer.parameters())):
        assert gradient.isfinite().all()
        assert gradient.dtype == dtype
    # Features are side by side, each made of its own column.
    width = layer.out_features // n_features
    moved = layer(x + torch.eye(n_features, dtype=dtype)[0])
    assert torch.equal(moved[:, width:], y[:, width:])
    assert not torch.equal(moved[:, :width], y[:, :width])


@every_embedding
def test_every_embedding_moves_to_a_device(name, device):
    layer = build(name)
    x = torch.linspace(-2, 2, 15).reshape(5, 3)
    expected = layer(x)
    there = layer.to(device)(x.to(device))
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), expected, rtol=1e-4, atol=1e-5)


@every_embedding
def test_every_embedding_draws_from_its_generator_alone(name):
    before = torch.get_rng_state()
    one, two, other = (build(name, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[n], two[n]) for n in one)
    differs = any(not torch.equal(one[n], other[n]) for n in one)
    assert differs == (name != "none")


@every_embedding
@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        lambda e: pickle.loads(pickle.dumps(e)),
        lambda e: clone(e, safe=False),
    ],
    ids=["deepcopy", "pickle", "clone"],
)
def test_every_embedding_copies_to_an_equal(name, duplicate):
    embedding = resolve_embedding(name)
    assert duplicate(embedding) == embedding
    assert hash(duplicate(embedding)) == hash(embedding)
    layer, x = build(name), torch.ones(2, 3)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


@every_embedding
def test_every_embedding_shows_how_it_is_made(name):
    embedding = resolve_embedding(name)
    assert eval(repr(embedding), {type(embedding).__name__: type(embedding)}) == (
        embedding
    )


# -- a user's own ----------------------------------------------------------------------


class Powers(nn.Module):
    def __init__(self, n_features, order=3):
        super().__init__()
        self.order = order

    def forward(self, x):
        return torch.stack([x**i for i in range(1, self.order + 1)], dim=-1)


@pytest.mark.parametrize("spec", [Powers, functools.partial(Powers, order=3)])
def test_users_own_module_is_laid_side_by_side(spec):
    layer = resolve_embedding(spec).build(2)
    assert layer.out_features == 6
    assert layer(torch.tensor([[2.0, 3.0]])).tolist() == [[2, 4, 8, 3, 9, 27]]
    twin = pickle.loads(pickle.dumps(resolve_embedding(spec)))
    assert repr(twin) == "CustomEmbedding(Powers)"


def test_users_own_function_gets_what_it_asks_for():
    seen = {}

    def make(n_features, *, sample, generator, dtype):
        seen.update(sample=sample, generator=generator, dtype=dtype)
        return nn.Linear(n_features, 4)

    sample, generator = torch.zeros(3, 2), torch.Generator()
    layer = resolve_embedding(make).build(
        2, sample=sample, target=None, generator=generator, dtype=torch.float64
    )
    assert seen == {"sample": sample, "generator": generator, "dtype": torch.float64}
    assert layer.embedding.weight.dtype == torch.float64
    assert layer.training


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda n: 3, r"CustomEmbedding\(<lambda>\) must make an nn.Module.*Got 3"),
        (lambda n: nn.Flatten(0), r"must map \(batch, n_features\) to .*made \(4,\)"),
        (lambda n: nn.LSTM(n, n), r"must map .*made 'tuple'"),
    ],
)
def test_what_is_no_embedding_is_said(made, message):
    with pytest.raises(ValueError, match=message):
        CustomEmbedding(made).build(2)


# -- choices ---------------------------------------------------------------------------


def test_choices():
    assert resolve_embedding(None) == NoEmbedding()
    assert resolve_embedding(PBLD) == PBLD()
    assert resolve_embedding(PBLD(8)) == PBLD(8)
    assert resolve_embedding("ple_tree") == PiecewiseLinear(bins="tree")


def test_unknown_name_gets_a_hint():
    with pytest.raises(
        ValueError, match=r"'embedding' parameter of E.*mean 'periodic'"
    ):
        resolve_embedding("periodical", owner="E")


@pytest.mark.parametrize("bad", [3, nn.Linear(2, 2), dict])
def test_what_makes_no_embedding_is_refused(bad):
    with pytest.raises(TypeError, match="'embedding' parameter of TabularNetwork must"):
        resolve_embedding(bad)


def test_an_embedding_without_a_layer_says_so():
    with pytest.raises(TypeError, match="has to define build"):
        Embedding().build(2)
