"""Layers for many members, against as many layers of one."""

import copy
import functools
import pickle
import threading

import pytest
import torch
from torch import nn

from sknorm.nn.initializers import resolve_initializer
from sknorm.nn.members import (
    BatchEnsembleLinear,
    MemberLinear,
    MemberRows,
    MemberScale,
    StackedMembers,
    member_norm,
)
from sknorm.nn.norms import NORMS, needs_batch_statistics, resolve_norm

SIGNAL_NORMS = [name for name, norm in NORMS.items() if norm.acts_on == "signal"]


def test_batch_ensemble_by_hand():
    layer = BatchEnsembleLinear(2, 1, 2)
    with torch.no_grad():
        layer.shared.weight.copy_(torch.tensor([[2.0, 3.0]]))
        layer.r.copy_(torch.tensor([[1.0, -1.0], [0.5, 1.0]]))
        layer.s.copy_(torch.tensor([[10.0], [100.0]]))
        layer.bias.copy_(torch.tensor([[1.0], [7.0]]))
    y = layer(torch.tensor([[[1.0, 1.0], [2.0, 0.0]]]))
    # 10 (2 - 3) + 1 and 100 (2 * 0.5 * 2) + 7.
    assert y.tolist() == [[[-9.0], [207.0]]]


def test_batch_ensemble_is_as_many_layers_with_scaled_weights(generator):
    layer = BatchEnsembleLinear(5, 4, 3, scale_init="normal", dtype=torch.float64)
    with torch.no_grad():
        layer.s.normal_(generator=generator)
        layer.bias.normal_(generator=generator)
    x = torch.randn(7, 3, 5, generator=generator, dtype=torch.float64)
    for i in range(3):
        weight = layer.shared.weight * torch.outer(layer.s[i], layer.r[i])
        alone = nn.functional.linear(x[:, i], weight, layer.bias[i])
        torch.testing.assert_close(layer(x)[:, i], alone)


def test_member_linear_is_as_many_layers(generator):
    layer = MemberLinear(5, 4, 3, generator=generator)
    x = torch.randn(7, 3, 5, generator=generator)
    assert layer(x).shape == (7, 3, 4)
    for i, alone in enumerate(layer.unstacked()):
        torch.testing.assert_close(layer(x)[:, i], alone(x[:, i]))
        torch.testing.assert_close(layer.views()[i].apply(x), alone(x[:, i]))


@pytest.mark.parametrize("make", [MemberLinear, BatchEnsembleLinear])
def test_layers_start_as_torchs_own_and_from_their_generator(make):
    before = torch.get_rng_state()
    one, two = (
        make(16, 400, 3, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    for view in one.views():
        bound = float(view.weight.detach().abs().max())
        assert 0.24 < bound <= 0.25
        assert 0.2 < float(view.bias.abs().max()) <= 0.25


@pytest.mark.parametrize("make", [MemberLinear, BatchEnsembleLinear])
def test_initialisers_take_a_member_for_a_layer(make, generator):
    layer = make(6, 4, 3)
    for view in layer.views():
        assert view.weight.shape == (4, 6)
        resolve_initializer("orthogonal")(view.weight, generator=generator)
        product = view.weight @ view.weight.T
        torch.testing.assert_close(product, torch.eye(4))


def test_scales_start_as_asked_for(generator):
    ones = MemberScale(4, 3, scale_init="ones").r
    assert ones.tolist() == [[1.0] * 4] * 3
    signs = MemberScale(500, 8, generator=generator).r
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    # 4000 coins: five standard deviations are 5 / sqrt(4000).
    assert abs(float(signs.detach().mean())) < 0.08
    normal = MemberScale(500, 8, scale_init="normal", generator=generator).r
    assert float(normal.detach().var()) == pytest.approx(1, abs=5 * (2 / 4000) ** 0.5)


def test_a_chunk_starts_with_one_scale(generator):
    layer = BatchEnsembleLinear(
        6, 2, 4, scale_init="normal", chunks=[1, 3, 2], generator=generator
    )
    r = layer.r.detach()
    assert torch.equal(r[:, 1], r[:, 2])
    assert torch.equal(r[:, 1], r[:, 3])
    assert torch.equal(r[:, 4], r[:, 5])
    assert r[0].unique().numel() == 3
    # Learned apart nevertheless.
    assert layer.r.shape == (4, 6)


def test_scales_are_applied_to_what_all_members_share():
    scale = MemberScale(2, 2)
    scale.r.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert scale(torch.tensor([[[1.0, 10.0]]])).tolist() == [[[1, 20], [3, 40]]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchEnsembleLinear(2, 2, 0), "'n_members' parameter of BatchEns"),
        (lambda: MemberLinear(2, 2, True), "of at least 1. Got True"),
        (lambda: MemberLinear(2, 2, 1.5), "'n_members' parameter of MemberLinear"),
        (lambda: MemberScale(2, -1), "'n_members' parameter of MemberScale"),
        (lambda: MemberScale(2, 2, scale_init="one"), "'ones', 'signs' or 'normal'"),
        (lambda: MemberScale(2, 2, chunks=[1, 2]), r"add up to 2. Got \[1, 2\]"),
        (lambda: MemberScale(2, 2, chunks=[2, 0]), "'chunks' parameter of MemberScale"),
        (lambda: StackedMembers([]), "at least one member"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", SIGNAL_NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_norm_of_members_is_as_many_norms(name, training, generator):
    width, n_members = 8, 3
    # Members far apart in place and scale: statistics over all would show.
    x = torch.randn(40, n_members, width, generator=generator, dtype=torch.float64)
    x = x * torch.tensor([1.0, 10.0, 0.1])[:, None] + torch.arange(3)[:, None]
    stacked = member_norm(NORMS[name], width, n_members).double()
    alone = [NORMS[name].build(width).double() for _ in range(n_members)]
    for layer in (stacked, *alone):
        layer(x if layer is stacked else x[:, alone.index(layer)])
        layer.train(training)
    expected = [norm(x[:, i]) for i, norm in enumerate(alone)]
    torch.testing.assert_close(stacked(x), torch.stack(expected, dim=1))


@pytest.mark.parametrize("name", SIGNAL_NORMS)
def test_norm_of_members_learns_for_each_by_itself(name):
    stacked = member_norm(NORMS[name], 4, 3)
    stacked(torch.randn(5, 3, 4))[:, 1].square().sum().backward()
    for parameter in stacked.parameters():
        of_member = parameter.grad.reshape(3, -1)
        assert not of_member[[0, 2]].any()
    found = sum(p.numel() for p in stacked.parameters())
    assert found == 3 * sum(p.numel() for p in NORMS[name].build(4).parameters())


def test_norm_of_members_tells_that_it_looks_at_the_batch():
    found = [
        name
        for name in SIGNAL_NORMS
        if any(map(needs_batch_statistics, member_norm(NORMS[name], 4, 2).modules()))
    ]
    assert found == ["batch", "ghost_batch", "batch_renorm"]


def test_users_own_norm_is_stacked(generator):
    norm = resolve_norm(functools.partial(nn.GroupNorm, 2))
    x = torch.randn(5, 3, 4, generator=generator)
    torch.testing.assert_close(
        member_norm(norm, 4, 3)(x)[:, 2], nn.GroupNorm(2, 4)(x[:, 2])
    )


def test_too_narrow_for_the_norm_is_said():
    with pytest.raises(ValueError, match=r"norm='layer'.*at least 2"):
        member_norm(NORMS["layer"], 1, 4)


class Running(nn.Module):
    """Puts one buffer in place of another, edits one, and has a layer inside."""

    def __init__(self, n):
        super().__init__()
        self.inner = nn.Linear(n, n)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("edited", torch.zeros(n))

    def forward(self, x):
        if self.training:
            self.seen = self.seen + x.sum()
            self.edited.add_(x.mean(dim=0))
        return self.inner(x) + self.seen + self.edited


def test_stacked_members_keep_parameters_and_buffers_of_each(generator):
    members = [Running(3) for _ in range(4)]
    stacked = StackedMembers(members)
    assert {n: tuple(p.shape) for n, p in stacked.named_parameters()} == {
        "inner_weight": (4, 3, 3),
        "inner_bias": (4, 3),
    }
    assert stacked.own_name("inner.bias") == "inner_bias"
    x = torch.randn(2, 4, 3, generator=generator)
    for _ in range(2):
        expected = torch.stack([m(x[:, i]) for i, m in enumerate(members)], dim=1)
        torch.testing.assert_close(stacked(x), expected)
    for name in ("seen", "edited"):
        expected = torch.stack([getattr(m, name) for m in members])
        torch.testing.assert_close(getattr(stacked, name), expected)
    kept = stacked.seen
    stacked.eval()(x)
    assert stacked.seen is kept


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchEnsembleLinear(4, 4, 3),
        lambda: MemberLinear(4, 4, 3),
        lambda: MemberScale(4, 3),
        lambda: MemberRows(nn.Linear(4, 4)),
        lambda: member_norm(NORMS["layer"], 4, 3),
        lambda: member_norm(NORMS["batch"], 4, 3),
    ],
)
def test_copies_behave_alike_and_on_every_precision(make, duplicate, generator):
    layer = make()
    x = torch.randn(5, 3, 4, generator=generator)
    twin = duplicate(layer)
    assert torch.equal(twin(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64
    assert twin(x).dtype == torch.float32


def test_rows_of_all_members_are_one_table(generator):
    linear = nn.Linear(3, 2)
    x = torch.randn(4, 5, 3, generator=generator)
    torch.testing.assert_close(MemberRows(linear)(x), linear(x))


def test_threads_do_not_see_each_others_members(generator):
    layers = StackedMembers([nn.LayerNorm(64) for _ in range(8)]).eval()
    x = torch.randn(64, 8, 64, generator=generator)
    expected = layers(x)
    wrong = []

    def predict():
        with torch.inference_mode():
            for _ in range(20):
                if not torch.equal(layers(x), expected):
                    wrong.append(True)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
