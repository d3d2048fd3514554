"""What every scheme keeps to, and what a user may give as one."""

import copy
import dataclasses
import functools
import math
import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid
from torch import nn

from sknorm.nn.initializers import (
    INITIALIZERS,
    LSUV,
    Auto,
    Constant,
    Custom,
    EdgeOfChaos,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    LecunUniform,
    Normal,
    Orthogonal,
    Sparse,
    StandardNormal,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    XavierNormal,
    XavierUniform,
    Zeros,
    resolve_initializer,
)

GAIN = 1.5  # the one that `draw` gives

NAMES = {
    "zeros": Zeros(),
    "constant": Constant(),
    "normal": Normal(),
    "standard_normal": StandardNormal(),
    "uniform": Uniform(),
    "truncated_normal": TruncatedNormal(),
    "xavier_normal": XavierNormal(),
    "xavier_uniform": XavierUniform(),
    "kaiming_normal": KaimingNormal(),
    "kaiming_uniform": KaimingUniform(),
    "lecun_normal": LecunNormal(),
    "lecun_uniform": LecunUniform(),
    "orthogonal": Orthogonal(),
    "sparse": Sparse(),
    "torch_default": TorchDefault(),
    "edge_of_chaos": EdgeOfChaos(),
    "lsuv": LSUV(),
    "auto": Auto(),
}
PARAMETRISED = [
    Constant(0.3),
    Normal(mean=10, std=5),
    Uniform(-1, 2),
    TruncatedNormal(1.0, std=0.02),
    XavierNormal(gain=5 / 3),
    XavierUniform(gain=None),
    KaimingNormal(mode="fan_out"),
    KaimingUniform("fan_out", gain=1.5),
    Orthogonal(gain=None),
    Sparse(0.5, std=0.1),
    EdgeOfChaos(q_star=1.0),
    LSUV(tol=0.01, max_iter=3, base=Normal(0, 1)),
    Custom(nn.init.ones_),
]


def others(table, *names):
    """List the names in a table but some, in an order that every worker agrees on."""
    return [name for name in table if name not in names]


# -- the table -------------------------------------------------------------------------


def test_table_is_complete():
    assert set(INITIALIZERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert resolve_initializer(name) == NAMES[name]


# -- how every scheme is drawn ---------------------------------------------------------


@pytest.mark.parametrize("scheme", [*NAMES.values(), *PARAMETRISED], ids=repr)
def test_draws_from_the_given_generator_alone(scheme, draw):
    state = torch.get_rng_state()
    one, same, other = draw(scheme), draw(scheme), draw(scheme, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    is_random = len(one.unique()) > 1
    assert torch.equal(one, other) == (not is_random)
    assert torch.isfinite(one).all()


@pytest.mark.parametrize("name", others(NAMES, "zeros", "constant", "edge_of_chaos"))
def test_global_generator_is_the_default(name, draw):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        weight = NAMES[name](torch.empty(200, 50))
    assert torch.equal(weight, draw(NAMES[name], gain=1.0, seed=5))


def test_fills_a_parameter_without_a_trace(generator):
    parameter = nn.Parameter(torch.zeros(4, 3))
    XavierNormal()(parameter, generator=generator)
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    assert parameter.is_leaf
    assert (parameter != 0).all()


def test_fills_one_model_of_a_stack():
    one, same = (torch.Generator().manual_seed(0) for _ in range(2))
    stack = torch.zeros(3, 8, 5)
    KaimingNormal()(stack[1], generator=one)
    assert torch.equal(stack[1], KaimingNormal()(torch.empty(8, 5), generator=same))
    assert not stack[[0, 2]].any()


@pytest.mark.parametrize("scheme", [*NAMES.values(), *PARAMETRISED], ids=repr)
@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
def test_no_matrix(scheme, shape):
    with pytest.raises(
        ValueError,
        match=rf"{re.escape(repr(scheme))} fills a weight of shape \(out_features, "
        rf"in_features\).*Got a tensor of shape {re.escape(str(shape))}",
    ):
        scheme(torch.empty(shape))


@pytest.mark.parametrize("scheme", NAMES.values(), ids=repr)
def test_only_bias_schemes_fill_vectors(scheme, generator):
    vector = torch.full((5,), math.nan)
    if scheme.fills_bias:
        assert torch.isfinite(scheme(vector, generator=generator)).all()
    else:
        with pytest.raises(ValueError, match=r"Got a tensor of shape \(5,\)"):
            scheme(vector)


def test_base_class_fills_nothing():
    with pytest.raises(TypeError, match=r"Initializer has to define fill_\(\)"):
        Initializer()(torch.empty(2, 2))


@pytest.mark.parametrize("name", others(NAMES, "auto", "edge_of_chaos", "lsuv"))
def test_other_schemes_are_the_same_in_every_layer(name):
    bound = NAMES[name].bind(
        phi=torch.tanh, gain=GAIN, position="hidden", normalized=False
    )
    assert bound is NAMES[name]


# -- biases ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", others(NAMES, "torch_default", "edge_of_chaos"))
def test_biases_are_zero_unless_a_scheme_has_its_own(name, generator):
    bias = torch.full((7,), math.nan)
    assert NAMES[name].init_bias(bias, fan_in=3, generator=generator) is bias
    assert not bias.any()


# -- what may be given -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("xavier_uniform", XavierUniform()),
        (Normal(mean=10, std=5), Normal(10, 5)),
        (Orthogonal, Orthogonal()),
        (nn.init.kaiming_normal_, Custom(nn.init.kaiming_normal_)),
    ],
    ids=["name", "scheme", "class", "function"],
)
def test_resolve(spec, expected):
    assert resolve_initializer(spec) == expected


def test_unknown_name():
    with pytest.raises(
        ValueError,
        match=r"'bias_init' parameter of Net: Unknown initializer 'zero'. Did you mean "
        r"'zeros'\? Allowed names: auto, constant",
    ):
        resolve_initializer("zero", parameter="bias_init", owner="Net")


@pytest.mark.parametrize("spec", [3, None, int, nn.ReLU, nn.ReLU(), ["zeros"]])
def test_nothing_that_could_be_an_initializer(spec):
    with pytest.raises(
        TypeError, match=r"'init' parameter of MLP must be a name among"
    ):
        resolve_initializer(spec)


def module_level_init(weight, generator):
    weight.normal_(3.0, 0.1, generator=generator)


def test_custom_gives_what_the_signature_asks_for(generator):
    seen = []

    def both(weight, gain, generator):
        seen.append((gain, generator))

    def only_gain(weight, *, gain):
        seen.append(gain)

    def own_gain(weight, gain=7.0):
        seen.append(gain)

    def nothing(weight):
        seen.append("nothing")

    for fn in (both, only_gain, own_gain, nothing):
        Custom(fn)(torch.empty(2, 2), gain=GAIN, generator=generator)
    assert seen == [(GAIN, generator), GAIN, 7.0, "nothing"]


def test_custom_fills_biases_too(assert_fills_bias):
    assert_fills_bias(Custom(nn.init.ones_), 1, 0)


@pytest.mark.parametrize(
    "fn",
    [
        nn.init.kaiming_normal_,
        nn.init.xavier_uniform_,
        functools.partial(nn.init.xavier_uniform_, gain=2.0),
        functools.partial(nn.init.trunc_normal_, std=0.02),
        module_level_init,
    ],
)
def test_custom_fills_as_the_function_does(fn, draw, generator):
    expected = torch.empty(200, 50)
    fn(expected, generator=generator)
    twin = pickle.loads(pickle.dumps(Custom(fn)))
    assert torch.equal(draw(Custom(fn)), expected)
    assert torch.equal(draw(twin), expected)


def test_custom_copies_a_result_of_the_same_shape(draw):
    weight = draw(Custom(lambda w: torch.full_like(w, 4.0)))
    assert (weight == 4).all()
    with pytest.raises(ValueError, match=r"of shape \(200, 50\).*one of shape \(3,\)"):
        draw(Custom(lambda w: torch.zeros(3)))


def test_custom_without_a_signature(draw):
    assert (draw(Custom(torch.Tensor.zero_)) == 0).all()


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (nn.init.ones_, "Custom(ones_)"),
        (functools.partial(nn.init.normal_, std=3), "Custom(normal_)"),
    ],
)
def test_repr_of_custom_has_no_address(fn, expected):
    assert repr(Custom(fn)) == expected


# -- schemes are values ----------------------------------------------------------------


class Net(BaseEstimator):
    """Has an ``init``, as the estimators do."""

    def __init__(self, init="auto"):
        self.init = init


@pytest.mark.parametrize("scheme", [*NAMES.values(), *PARAMETRISED], ids=repr)
def test_schemes_are_values(scheme):
    for twin in (
        pickle.loads(pickle.dumps(scheme)),
        copy.deepcopy(scheme),
        clone(Net(scheme)).init,
        clone(Net()).set_params(init=scheme).init,
    ):
        assert twin == scheme
        assert hash(twin) == hash(scheme)
        assert repr(twin) == repr(scheme)
    # Equal to no other one.
    assert {*NAMES.values(), *PARAMETRISED} - {scheme} == {
        other for other in [*NAMES.values(), *PARAMETRISED] if other != scheme
    }
    assert len({*NAMES.values(), *PARAMETRISED}) == len(NAMES) + len(PARAMETRISED)


@pytest.mark.parametrize(
    "scheme", [s for s in PARAMETRISED if not isinstance(s, Custom)]
)
def test_repr_makes_an_equal_scheme(scheme):
    assert eval(repr(scheme)) == scheme  # its own repr, from this file


def test_schemes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Normal().std = 3


def test_numpy_numbers_from_a_grid(draw):
    grid = ParameterGrid({"init": [Normal(std=s) for s in np.logspace(-3, 0, 4)]})
    stds = [draw(p["init"]).std() for p in grid]
    assert stds == pytest.approx([1e-3, 1e-2, 1e-1, 1], rel=0.05)


def test_user_made_scheme(draw):
    @dataclasses.dataclass(frozen=True)
    class Checkerboard(Initializer):
        size: float = 1.0

        def fill_(self, weight, gain, generator):
            index = torch.arange(weight.shape[0])[:, None] + torch.arange(
                weight.shape[1]
            )
            weight.copy_(self.size * gain * (-1.0) ** index)

    weight = draw(resolve_initializer(Checkerboard), (2, 2))
    assert weight.tolist() == [[GAIN, -GAIN], [-GAIN, GAIN]]
    assert not Checkerboard().init_bias(torch.ones(2), fan_in=2).any()
