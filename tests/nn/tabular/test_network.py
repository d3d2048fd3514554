import copy
import pickle

import pytest
import torch
from torch import nn

from sknorm.nn.embeddings import EMBEDDINGS, PBLD, PiecewiseLinear
from sknorm.nn.initializers import LSUV
from sknorm.nn.members import (
    BatchEnsembleLinear,
    MemberLinear,
    MemberRows,
    StackedMembers,
)
from sknorm.nn.mlp import MLP
from sknorm.nn.norms import NORMS, SpectralNormLinear, WeightNormLinear
from sknorm.nn.tabular import TabularNetwork

KINDS = ["batch_ensemble", "mini", "independent"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("init", ["auto", "lsuv", "torch_default", "edge_of_chaos"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_numbers_alone_make_the_mlp(norm, init, position, table):
    given = {
        "hidden_layer_sizes": (8, 6),
        "activation": "tanh",
        "norm": norm,
        "norm_position": position,
        "init": init,
        "dropout": 0.2,
        "sample": table(cardinalities=[]),
    }
    mlp = MLP(4, 3, generator=torch.Generator().manual_seed(0), **given)
    twin = TabularNetwork(4, [], 3, generator=torch.Generator().manual_seed(0), **given)
    layers = [type(part) for part in [*twin.body, twin.head]]
    assert layers == [type(part) for part in mlp]
    for a, b in zip(twin.parameters(), mlp.parameters(), strict=True):
        assert torch.equal(a, b)
    x = table(cardinalities=[])
    assert torch.equal(twin.eval()(x), mlp.eval()(x))


@pytest.mark.parametrize("architecture", ["mlp", "resnet"])
@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("norm", NORMS)
def test_every_network_learns_copies_and_keeps_rows_apart(
    architecture, kind, norm, table, network
):
    before = torch.get_rng_state()
    many = {} if kind is None else {"n_members": 3, "members": kind}
    given = {
        "architecture": architecture,
        "norm": norm,
        "embedding": "ple",
        "parametric_activation": True,
        **many,
    }
    one, two = network(**given), network(**given)
    x = table(seed=1)
    y = one(x)
    assert torch.equal(y, two(x))
    assert torch.equal(torch.get_rng_state(), before)
    assert y.shape == ((40, 3) if kind is None else (40, 3, 3))
    y.square().mean().backward()
    for parameter in one.parameters():
        assert parameter.grad.isfinite().all()
    one.eval()
    y = one(x)
    assert torch.equal(pickle.loads(pickle.dumps(one))(x), y)
    assert torch.equal(copy.deepcopy(one)(x), y)
    # Sums over other rows than these round their own way.
    torch.testing.assert_close(
        one(x[:7]), y[:7], rtol=1e-4, atol=1e-5 * float(y.detach().abs().max())
    )


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_embedding_and_precision(embedding, kind, dtype, table, network):
    many = {} if kind is None else {"n_members": 2, "members": kind}
    made = network(
        embedding=embedding, target=table()[:, 0], norm="layer", dtype=dtype, **many
    )
    assert {p.dtype for p in made.parameters()} == {dtype}
    assert made(table().to(dtype)).dtype == dtype


@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_network_computes_the_same_on_every_device(
    kind, norm, device, table, network
):
    many = {} if kind is None else {"n_members": 3, "members": kind}
    made = network(norm=norm, embedding="ple", parametric_activation=True, **many)
    x = table(seed=1)
    made.eval()
    expected = made(x)
    there = made.to(device)(x.to(device))
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_half_precision_is_enough_for_the_products(kind, device, table, network):
    many = {} if kind is None else {"n_members": 3, "members": kind}
    made = network(norm="layer", embedding="ple", **many).to(device)
    x = table(seed=1).to(device)
    with torch.autocast(device, torch.bfloat16):
        rough = made(x)
    rough.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())
    # Eight bits of each number, through three layers.
    scale = float(rough.detach().abs().max())
    torch.testing.assert_close(rough.float(), made(x), rtol=0.1, atol=0.1 * scale)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "weight"])
@pytest.mark.parametrize("activation", ["tanh", nn.PReLU])
def test_independent_members_are_as_many_networks(norm, activation, table, network):
    """Each member computes what a network of its own with its weights does."""
    many = network(
        norm=norm, activation=activation, embedding="ple", n_members=3,
        members="independent",
    )  # fmt: skip
    x = table(seed=1)
    expected = many.eval()(x)
    alone = network(norm=norm, activation=activation, embedding="ple").eval()
    stacked = {
        name.replace("inputs.1.", "inputs.")
        .replace(".layer.", ".")
        .replace(".", "_"): v
        for name, v in many.state_dict().items()
    }
    for member in range(3):
        state = {}
        for name, own in alone.state_dict().items():
            value = stacked[name.replace(".", "_")]
            # The features of all members are columns of one batch norm.
            state[name] = (
                value if own.ndim == 0 else value.reshape(3, *own.shape)[member]
            )
        alone.load_state_dict(state)
        torch.testing.assert_close(alone(x), expected[:, member], rtol=1e-4, atol=1e-5)


def test_gradient_of_an_independent_member_is_its_own(table, network):
    made = network(n_members=3, members="independent", embedding="ple", norm="layer")
    made(table())[:, 1].square().sum().backward()
    for name, parameter in made.named_parameters():
        assert not parameter.grad[[0, 2]].any(), name


def test_mini_shares_all_but_scales_and_heads(network):
    made = network(n_members=5, members="mini", norm="batch")
    of_each = {n for n, p in made.named_parameters() if p.ndim > 1 and len(p) == 5}
    assert of_each == {"inputs.2.r", "head.weight", "head.bias"}
    assert isinstance(made.body, MemberRows)
    plain = network(norm="batch")
    assert [type(p) for p in made.body.layer] == [type(p) for p in plain.body]


@pytest.mark.parametrize(
    ("embedding", "kind"), [("none", "signs"), ("linear", "normal")]
)
@pytest.mark.parametrize("members", ["batch_ensemble", "mini"])
def test_members_start_apart_by_the_first_scales(
    embedding, kind, members, table, network
):
    made = network(n_members=8, members=members, embedding=embedding)
    first = made.body[0].r if members == "batch_ensemble" else made.inputs[2].r
    values = first.detach()
    assert (values.abs() == 1).all() == (kind == "signs")
    # One for each column: 4 numbers, 1 binary, a vector of 8, and 4 of one-hot.
    width = 16 if embedding == "linear" else 1
    sizes = [width] * 4 + [1, 4, 8]
    for chunk in values.split(sizes, dim=1):
        assert (chunk == chunk[:, :1]).all()
    if members == "batch_ensemble":
        assert (made.body[2].r == 1).all()
        assert (made.body[2].s == 1).all()
    y = made(table())
    assert float(y.detach().std(dim=1).min()) > 0


@pytest.mark.parametrize("activation", ["relu", "selu"])
@pytest.mark.parametrize("embedding", ["none", "ple", "pbld"])
@pytest.mark.parametrize("kind", [None, *KINDS])
def test_auto_starts_the_first_preactivations_at_one(
    activation, embedding, kind, table
):
    many = {} if kind is None else {"n_members": 4, "members": kind}
    x = table(4000)
    made = TabularNetwork(
        4,
        [2, 30, 5],
        2,
        hidden_layer_sizes=(2000,),
        activation=activation,
        embedding=embedding,
        max_one_hot=3,
        generator=torch.Generator().manual_seed(0),
        sample=x,
        **many,
    )
    signal = made.inputs(x)
    first = made.body.layer[0] if kind == "mini" else made.body[0]
    variance = float(first(signal).detach().square().mean())
    # 29 inputs whose squares are far from equal, or the N(0, 1) scales of 7 columns and
    # 4 members: a third off is what such small sums leave.
    assert variance == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("architecture", ["mlp", "resnet"])
@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_lsuv_brings_every_layer_to_variance_one(
    architecture, kind, norm, table, network
):
    many = {} if kind is None else {"n_members": 3, "members": kind}
    x = table(400)
    made = network(
        architecture=architecture, norm=norm, init=LSUV(tol=0.02), embedding="ple",
        sample=x, dropout=0.3, **many,
    )  # fmt: skip
    seen = {}

    def remember(name):
        def hook(layer, given, output):
            seen[name] = output.detach()

        return hook

    for name, layer in made.named_linears():
        layer.register_forward_hook(remember(name))
    made.eval()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.train()
    made(x)
    assert len(seen) == (3 if architecture == "mlp" else 6)
    for name, output in seen.items():
        by_member = (
            output.unbind(1)
            if kind == "independent" or (name == "head" and kind)
            else [output]
        )
        for member in by_member:
            assert float(member.var()) == pytest.approx(1, abs=0.03), name


def test_lsuv_without_a_sample_draws_a_standardized_table(table, network):
    made = network(init="lsuv", sample=None)
    rows = table(5000)
    # 0.1 is LSUV's tolerance; 1024 rows of its own leave some 5 % more.
    first = made.body[0](made.inputs(rows))
    assert float(first.detach().var()) == pytest.approx(1, abs=0.2)


def test_linear_layers_have_names_in_order(network):
    assert [name for name, _ in network().named_linears()] == [
        "body.0", "body.2", "head"
    ]  # fmt: skip
    names = [n for n, _ in network(architecture="resnet").named_linears()]
    assert names == [
        "body.0", "body.1.first", "body.1.second", "body.2.first", "body.2.second",
        "head",
    ]  # fmt: skip
    mini = network(n_members=2, members="mini", embedding="plr", activation="selu")
    assert dict(mini.named_linears())["body.layer.0"] is mini.body.layer[0]


@pytest.mark.parametrize("architecture", ["mlp", "resnet"])
@pytest.mark.parametrize("embedding", ["none", "plr"])
@pytest.mark.parametrize("members", KINDS)
@pytest.mark.parametrize("n_members", [1, 3])
def test_layers_one_after_the_other(n_members, members, embedding, architecture):
    made = TabularNetwork(
        2, [3], 2, hidden_layer_sizes=(6, 6), n_members=n_members, members=members,
        embedding=embedding, architecture=architecture,
    )  # fmt: skip
    x = torch.tensor([[0.5, -1.0, 1.0], [2.0, 0.0, 0.0], [0.1, 0.2, 2.0]])
    entrance, layers, around = made.in_sequence()
    y = entrance(x)
    for layer in layers:
        if n_members > 1 and y.ndim == 2 and not isinstance(layer, nn.Linear):
            y = y.unsqueeze(1).expand(-1, n_members, -1)
        y = layer(y)
    torch.testing.assert_close(y, made(x))
    known = [m for part in (entrance, *layers, *around) for m in part.modules()]
    assert {*map(id, made.modules())} == {*map(id, known)}


@pytest.mark.parametrize(
    ("norm", "cls"), [("weight", WeightNormLinear), ("spectral", SpectralNormLinear)]
)
def test_norms_of_the_weight_reach_hidden_layers_of_every_kind(norm, cls, network):
    assert [type(m) for _, m in network(norm=norm).named_linears()] == [
        cls, cls, nn.Linear
    ]  # fmt: skip
    shared = [m for _, m in network(norm=norm, n_members=2).named_linears()]
    assert [type(m) for m in shared] == [
        BatchEnsembleLinear, BatchEnsembleLinear, MemberLinear
    ]  # fmt: skip
    assert all(type(m.shared) is cls for m in shared[:2])
    apart = network(norm=norm, n_members=2, members="independent")
    layers = [m for _, m in apart.named_linears()]
    assert [type(m) for m in layers] == [StackedMembers, StackedMembers, MemberLinear]
    assert type(layers[0].template) is cls


# -- what an estimator needs -----------------------------------------------------------


def names_of(made, **factors):
    """Return the parameters whose group has these factors."""
    ids = {
        id(p)
        for group in made.parameter_groups()
        for p in group["params"]
        if all(group[k] == v for k, v in factors.items())
    }
    return {name for name, p in made.named_parameters() if id(p) in ids}


def test_parameter_groups_hold_each_parameter_once(network):
    made = network(n_members=2, embedding="pbld", norm="batch")
    found = [id(p) for g in made.parameter_groups() for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in made.parameters())


def test_parameters_that_are_shared_are_in_one_group(network):
    class Tied(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.one = self.two = nn.Linear(n_features, n_features)

        def forward(self, x):
            return self.two(self.one(x))

    made = network(embedding=Tied)
    found = [id(p) for g in made.parameter_groups() for p in g["params"]]
    assert sorted(found) == sorted(id(p) for p in made.parameters())


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_decay_reaches_matrices_alone(kind, network):
    many = {} if kind is None else {"n_members": 3, "members": kind}
    made = network(norm="layer", parametric_activation=True, embedding="ple", **many)
    body = "body.layer" if kind == "mini" else "body"
    weight = "shared.weight" if kind == "batch_ensemble" else "weight"
    inputs = "inputs" if kind is None else "inputs.0"
    expected = {
        f"{body}.0.{weight}", f"{body}.3.{weight}", "head.weight",
        f"{inputs}.vectors.weight", f"{inputs}.embedding.by_feature.weight",
    }  # fmt: skip
    if kind == "independent":
        expected = {name.replace("inputs.0", "inputs.1") for name in expected}
        expected = {
            f"inputs.1.{n[9:].replace('.', '_')}" if n.startswith("inputs") else n
            for n in expected
        }
    assert names_of(made, decay_factor=1.0) == expected


def test_pbld_and_parametric_activations_learn_at_a_tenth(network):
    made = network(embedding=PBLD(), parametric_activation=True, norm="batch")
    slow = names_of(made, lr_factor=0.1)
    assert slow == {
        "inputs.embedding.frequencies",
        "inputs.embedding.phases",
        "inputs.embedding.linear.weight",
        "inputs.embedding.linear.bias",
        "body.2.alpha",
        "body.5.alpha",
    }
    assert names_of(network(embedding="plr"), lr_factor=0.1) == set()
    apart = network(embedding=PBLD(), n_members=2, members="independent")
    assert names_of(apart, lr_factor=0.1) == {
        "inputs.1.embedding_frequencies",
        "inputs.1.embedding_phases",
        "inputs.1.embedding_linear_weight",
        "inputs.1.embedding_linear_bias",
    }


def test_outputs_are_counted(network):
    assert network().out_features == network(n_members=2).out_features == 3


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"architecture": "cnn"}, "'architecture' parameter of .*'mlp' or 'resnet'"),
        ({"architecture": "resnet", "hidden_layer_sizes": ()}, "at least one layer"),
        ({"hidden_layer_sizes": (0,)}, "'hidden_layer_sizes' parameter of Tabular"),
        ({"norm_position": "front"}, "'norm_position' parameter .*Got 'front'"),
        (
            {"architecture": "resnet", "norm_position": "after"},
            "'before' for architecture='resnet'",
        ),
        ({"members": "packed", "n_members": 2}, "'members' parameter .*Got 'packed'"),
        ({"dropout": 1.0}, "'dropout' parameter .*less than 1. Got 1.0"),
        ({"n_members": 0}, "'n_members' parameter .*at least 1. Got 0"),
        ({"n_members": True}, "'n_members' parameter .*Got True"),
        ({"activation": "rel"}, "'activation' parameter of TabularNetwork.*'relu'"),
        ({"norm": "btch"}, "'norm' parameter of TabularNetwork.*'batch'"),
        ({"init": "kaiming"}, "'init' parameter of TabularNetwork"),
        ({"bias_init": "auto_"}, "'bias_init' parameter of TabularNetwork"),
        ({"embedding": "pwl"}, "'embedding' parameter of TabularNetwork"),
        ({"embedding": "ple", "sample": None}, "bins in a sample"),
        ({"embedding": PiecewiseLinear(bins="tree")}, "trees that predict the target"),
        ({"max_one_hot": 0}, "'max_one_hot' parameter .*at least 1. Got 0"),
        ({"max_one_hot": True}, "'max_one_hot' parameter .*Got True"),
        ({"d_category": 2.5}, "'d_category' parameter .*Got 2.5"),
        ({"norm": "layer", "hidden_layer_sizes": (1,)}, r"norm='layer'.*at least 2"),
    ],
)
def test_bad_parameters_are_named(given, message, network):
    with pytest.raises(ValueError, match=message):
        network(**given)


@pytest.mark.parametrize(
    ("n_numeric", "cardinalities", "message"),
    [
        (-1, [2], "'n_numeric' parameter of TabularNetwork .*Got -1"),
        (1.5, [2], "'n_numeric' parameter"),
        (True, [2], "'n_numeric' parameter .*Got True"),
        (1, [True], r"'cardinalities' parameter .*Got \[True\]"),
        (1, [0], r"'cardinalities' parameter .*Got \[0\]"),
        (0, [], "at least one column"),
    ],
)
def test_bad_columns_are_named(n_numeric, cardinalities, message):
    with pytest.raises(ValueError, match=message):
        TabularNetwork(n_numeric, cardinalities, 2)
