"""Initializers: what each draws, and what a user may give as one."""

from __future__ import annotations

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

from sknorm.nn.activations import ACTIVATIONS, resolve_activation
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
from sknorm.nn.initializers._fixed import TRUNCATED_STD

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
TWELVE = 200, 50  # a weight: 10 000 numbers
GAIN = 1.5


def others(table, *names):
    """List the names in a table but some, in an order that every worker agrees on."""
    return [name for name in table if name not in names]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(scheme, shape=TWELVE, *, gain=GAIN, seed=0, dtype=torch.float32):
    weight = torch.full(shape, math.nan, dtype=dtype)
    if isinstance(scheme, EdgeOfChaos):
        scheme = bind(scheme)
    assert scheme(weight, gain=gain, generator=rng(seed)) is weight
    return weight


def bind(scheme, phi=torch.tanh, gain=GAIN, position="hidden", normalized=False):
    return scheme.bind(phi=phi, gain=gain, position=position, normalized=normalized)


def module_level_init(weight, generator):
    weight.normal_(3.0, 0.1, generator=generator)


# --------------------------------------------------------------------------------------
# What is drawn
# --------------------------------------------------------------------------------------
def test_table_is_complete():
    assert set(INITIALIZERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert resolve_initializer(name) == NAMES[name]


@pytest.mark.parametrize(
    ("scheme", "mean", "var", "kurtosis"),
    [
        (Zeros(), 0, 0, 3),
        (Constant(0.3), 0.3, 0, 3),
        (Constant(-2), -2, 0, 3),
        (Normal(), 0, 1e-4, 3),
        (Normal(mean=10, std=5), 10, 25, 3),
        (Normal(mean=1, std=0), 1, 0, 3),
        (StandardNormal(), 0, 1, 3),
        (Uniform(), 0, 0.1**2 / 12, 1.8),
        (Uniform(-1, 2), 0.5, 9 / 12, 1.8),
        (TruncatedNormal(), 0, GAIN**2 / 50, 3),
        (TruncatedNormal(std=0.02), 0, 4e-4, 3),
        (TruncatedNormal(mean=-3, std=2.0), -3, 4, 3),
        (TruncatedNormal(mean=1, std=0), 1, 0, 3),
        (XavierNormal(), 0, 2 / 250, 3),
        (XavierNormal(gain=3), 0, 9 * 2 / 250, 3),
        (XavierNormal(gain=None), 0, GAIN**2 * 2 / 250, 3),
        (XavierUniform(), 0, 2 / 250, 1.8),
        (KaimingNormal(), 0, GAIN**2 / 50, 3),
        (KaimingNormal("fan_out"), 0, GAIN**2 / 200, 3),
        (KaimingNormal(gain=1.0), 0, 1 / 50, 3),
        (KaimingUniform(), 0, GAIN**2 / 50, 1.8),
        (KaimingUniform("fan_out", gain=2.0), 0, 4 / 200, 1.8),
        (LecunNormal(), 0, 1 / 50, 3),
        (LecunUniform(), 0, 1 / 50, 1.8),
        (TorchDefault(), 0, 1 / 150, 1.8),
        (Auto(), 0, GAIN**2 / 50, 3),
        (bind(Auto(), position="input"), 0, 1 / 50, 3),
        (bind(EdgeOfChaos()), 0, 1.68798 / 50, 3),
        # A tenth of the weights, ten times the variance: kurtosis 3 * 10.
        (Sparse(), 0, GAIN**2 / 50, 30),
        (Sparse(0.5, std=0.1), 0, 0.005, 6),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments(scheme, mean, var, kurtosis, dtype):
    weight = draw(scheme, dtype=dtype).double()
    count = weight.numel()
    # Five standard errors of a mean and of a variance over so many independent numbers.
    assert weight.mean() == pytest.approx(mean, abs=5 * math.sqrt(var / count) + 1e-7)
    error = 5 * var * math.sqrt((kurtosis - 1) / count)
    assert weight.var() == pytest.approx(var, abs=error + 1e-12)


@pytest.mark.parametrize(
    ("scheme", "low", "high"),
    [
        (Uniform(-1, 2), -1, 2),
        (XavierUniform(), -math.sqrt(6 / 250), math.sqrt(6 / 250)),
        (KaimingUniform(), -GAIN * math.sqrt(3 / 50), GAIN * math.sqrt(3 / 50)),
        (LecunUniform(), -math.sqrt(3 / 50), math.sqrt(3 / 50)),
        (TorchDefault(), -math.sqrt(1 / 50), math.sqrt(1 / 50)),
        (TruncatedNormal(1.0, std=0.1), 1 - 0.2 / 0.87962566, 1 + 0.2 / 0.87962566),
    ],
    ids=repr,
)
def test_bounds_are_kept_and_nearly_reached(scheme, low, high):
    weight, width = draw(scheme).double(), high - low
    assert low - 1e-6 * width <= weight.min() < low + 0.01 * width
    assert high - 0.01 * width < weight.max() <= high + 1e-6 * width


def test_truncated_std_is_that_of_a_normal_cut_at_two():
    phi, share = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    assert math.sqrt(1 - 4 * phi / share) == pytest.approx(TRUNCATED_STD, rel=1e-14)


@pytest.mark.parametrize(
    ("scheme", "torch_init"),
    [
        (Zeros(), nn.init.zeros_),
        (Constant(0.3), lambda w, generator: nn.init.constant_(w, 0.3)),
        (Normal(10, 5), functools.partial(nn.init.normal_, mean=10, std=5)),
        (StandardNormal(), nn.init.normal_),
        (Uniform(-1, 2), functools.partial(nn.init.uniform_, a=-1, b=2)),
        (XavierNormal(2.0), functools.partial(nn.init.xavier_normal_, gain=2.0)),
        (XavierUniform(2.0), functools.partial(nn.init.xavier_uniform_, gain=2.0)),
        (
            KaimingNormal(gain=math.sqrt(2)),
            functools.partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        ),
        (
            KaimingUniform("fan_out", gain=math.sqrt(2)),
            functools.partial(
                nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="relu"
            ),
        ),
        (
            LecunNormal(),
            functools.partial(nn.init.kaiming_normal_, nonlinearity="linear"),
        ),
        (Orthogonal(2.0), functools.partial(nn.init.orthogonal_, gain=2.0)),
        (TorchDefault(), functools.partial(nn.init.kaiming_uniform_, a=math.sqrt(5))),
    ],
    ids=lambda p: repr(p) if isinstance(p, Initializer) else "",
)
def test_parity_with_torch(scheme, torch_init):
    expected = torch.empty(TWELVE)
    if torch_init is nn.init.zeros_:
        torch_init(expected)
    else:
        torch_init(expected, generator=rng())
    # The same draws; bounds may differ in the last digit.
    torch.testing.assert_close(draw(scheme), expected, rtol=1e-6, atol=1e-7)


def test_torch_default_is_what_linear_draws():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        linear = nn.Linear(50, 200)
    scheme, generator = TorchDefault(), rng(3)
    weight, bias = torch.empty(200, 50), torch.empty(200)
    scheme(weight, generator=generator)
    scheme.init_bias(bias, fan_in=50, generator=generator)
    torch.testing.assert_close(weight, linear.weight.detach(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(bias, linear.bias.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(30, 30), (20, 50), (50, 20), (1, 7), (7, 1)])
@pytest.mark.parametrize(
    ("scheme", "gain"), [(Orthogonal(), 1), (Orthogonal(None), GAIN)]
)
def test_orthogonal(scheme, gain, shape):
    weight = draw(scheme, shape, dtype=torch.float64)
    gram = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    eye = gain**2 * torch.eye(min(shape), dtype=torch.float64)
    torch.testing.assert_close(gram, eye, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("sparsity", "fan_in", "kept"),
    [(0.9, 50, 5), (0.9, 10, 1), (0.9, 3, 1), (0.99, 1, 1), (0, 8, 8), (0.55, 100, 45)],
)
def test_sparse_keeps_as_many_inputs_for_every_unit(sparsity, fan_in, kept):
    weight = draw(Sparse(sparsity), (400, fan_in))
    assert ((weight != 0).sum(dim=1) == kept).all()
    # Which ones is drawn anew for every unit: all inputs are heard by some.
    assert (weight != 0).any(dim=0).all()
    nonzero = weight[weight != 0].double()
    error = 5 * math.sqrt(2 / len(nonzero))
    assert nonzero.var() * kept == pytest.approx(GAIN**2, rel=error)


# --------------------------------------------------------------------------------------
# How it is drawn
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("scheme", [*NAMES.values(), *PARAMETRISED], ids=repr)
def test_draws_from_the_given_generator_alone(scheme):
    state = torch.get_rng_state()
    one, same, other = draw(scheme), draw(scheme), draw(scheme, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    is_random = len(one.unique()) > 1
    assert torch.equal(one, other) == (not is_random)
    assert torch.isfinite(one).all()


@pytest.mark.parametrize("name", others(NAMES, "zeros", "constant", "edge_of_chaos"))
def test_global_generator_is_the_default(name):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        weight = NAMES[name](torch.empty(TWELVE))
    assert torch.equal(weight, draw(NAMES[name], gain=1.0, seed=5))


def test_fills_a_parameter_without_a_trace():
    parameter = nn.Parameter(torch.zeros(4, 3))
    XavierNormal()(parameter, generator=rng())
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    assert parameter.is_leaf
    assert (parameter != 0).all()


def test_fills_one_model_of_a_stack():
    stack = torch.zeros(3, 8, 5)
    KaimingNormal()(stack[1], generator=rng())
    assert torch.equal(stack[1], KaimingNormal()(torch.empty(8, 5), generator=rng()))
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
def test_only_bias_schemes_fill_vectors(scheme):
    vector = torch.full((5,), math.nan)
    if scheme.fills_bias:
        assert torch.isfinite(scheme(vector, generator=rng())).all()
    else:
        with pytest.raises(ValueError, match=r"Got a tensor of shape \(5,\)"):
            scheme(vector)


def test_base_class_fills_nothing():
    with pytest.raises(TypeError, match=r"Initializer has to define fill_\(\)"):
        Initializer()(torch.empty(2, 2))


# --------------------------------------------------------------------------------------
# Biases
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", others(NAMES, "torch_default", "edge_of_chaos"))
def test_biases_are_zero_unless_a_scheme_has_its_own(name):
    bias = torch.full((7,), math.nan)
    assert NAMES[name].init_bias(bias, fan_in=3, generator=rng()) is bias
    assert not bias.any()


@pytest.mark.parametrize(
    ("scheme", "mean", "var"),
    [
        (Zeros(), 0, 0),
        (Constant(), 0.1, 0),
        (Normal(2, 0.5), 2, 0.25),
        (StandardNormal(), 0, 1),
        (Uniform(0, 1), 0.5, 1 / 12),
        (TruncatedNormal(), 0, 1 / 16),
        (TruncatedNormal(1, 0.3), 1, 0.09),
        (TorchDefault(), 0, 1 / 48),
        (Custom(nn.init.ones_), 1, 0),
    ],
    ids=repr,
)
def test_fill_bias(scheme, mean, var):
    assert scheme.fills_bias
    bias = torch.full((10_000,), math.nan)
    assert scheme.fill_bias(bias, fan_in=16, generator=rng()) is bias
    bias = bias.double()
    assert bias.mean() == pytest.approx(mean, abs=5 * math.sqrt(var / 1e4) + 1e-7)
    assert bias.var() == pytest.approx(var, rel=5 * math.sqrt(2 / 1e4), abs=1e-12)


# --------------------------------------------------------------------------------------
# Schemes that adapt
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(
    ("position", "gain"), [("input", 1.0), ("hidden", GAIN), ("output", GAIN)]
)
def test_auto_takes_the_gain_of_what_feeds_the_layer(position, gain, normalized):
    bound = bind(Auto(), position=position, normalized=normalized)
    assert bound == KaimingNormal(gain=gain)


@pytest.mark.parametrize("name", others(NAMES, "auto", "edge_of_chaos", "lsuv"))
def test_other_schemes_are_the_same_in_every_layer(name):
    assert bind(NAMES[name]) is NAMES[name]


@pytest.mark.parametrize(
    ("q", "weight_var", "bias_var"),
    [
        (0.1, 1.17757, 0.000832),
        (0.25, 1.39396, 0.008125),
        (0.5, 1.68798, 0.038041),
        (1.0, 2.15330, 0.150965),
        (2.0, 2.86116, 0.512265),
        (0.57005, 1.76095, 0.05),
    ],
)
def test_edge_of_chaos_of_tanh(q, weight_var, bias_var):
    hidden = bind(EdgeOfChaos(q))
    # The table is rounded to five and six places, and its last q to five.
    assert hidden.sigma_w**2 == pytest.approx(weight_var, abs=1e-5)
    assert hidden.sigma_b**2 == pytest.approx(bias_var, abs=3e-6)
    first = bind(EdgeOfChaos(q), position="input")
    assert first.sigma_w**2 + first.sigma_b**2 == pytest.approx(q, rel=1e-9)
    assert bind(EdgeOfChaos(q), position="output") == hidden


@pytest.mark.parametrize("q", [0.1, 0.5, 3.0])
@pytest.mark.parametrize(
    ("name", "weight_var"),
    [("relu", 2.0), ("identity", 1.0), ("leaky_relu", 2 / (1 + 0.01**2))],
)
def test_edge_of_chaos_of_homogeneous_activations(name, weight_var, q):
    bound = bind(EdgeOfChaos(q), phi=ACTIVATIONS[name].function)
    assert bound.sigma_w**2 == pytest.approx(weight_var, rel=1e-12)
    assert bound.sigma_b == 0


@pytest.mark.parametrize("name", others(ACTIVATIONS, "softplus"))
def test_edge_of_chaos_solves_its_two_equations(name):
    """By a quadrature of its own: 400 000 equal steps, wherever the fixed point is."""
    phi = ACTIVATIONS[name].function
    bound = bind(EdgeOfChaos(), phi=phi)
    first = bind(EdgeOfChaos(), phi=phi, position="input")
    q = first.sigma_w**2 + first.sigma_b**2
    z = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    density /= density.sum()
    x = (math.sqrt(q) * z).requires_grad_()
    value = phi(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    weight_var, bias_var = bound.sigma_w**2, bound.sigma_b**2
    assert weight_var * float(density @ slope**2) == pytest.approx(1, rel=1e-4)
    second = float(density @ value.detach() ** 2)
    assert weight_var * second + bias_var == pytest.approx(q, rel=1e-4)
    if name == "sigmoid":
        assert q == pytest.approx(45.62, abs=0.01)
        assert bias_var == pytest.approx(0, abs=1e-6 * q)
    else:
        assert q == pytest.approx(0.5, rel=1e-9)


def test_edge_of_chaos_draws_biases():
    bound = bind(EdgeOfChaos(1.0))
    bias = bound.init_bias(torch.empty(10_000), fan_in=3, generator=rng()).double()
    assert bias.var() == pytest.approx(0.150965, rel=5 * math.sqrt(2 / 1e4))


def test_no_edge_of_chaos():
    with pytest.raises(
        ValueError, match=r"no edge of chaos.*at least 0.5. Use init='auto'"
    ):
        bind(EdgeOfChaos(), phi=ACTIVATIONS["softplus"].function)
    with pytest.raises(ValueError, match="flat everywhere"):
        bind(EdgeOfChaos(), phi=torch.sign)


def test_edge_of_chaos_has_to_be_bound():
    with pytest.raises(ValueError, match=r"depends on the activation: call bind\(phi="):
        EdgeOfChaos()(torch.empty(2, 2))


@pytest.mark.parametrize(
    "base", ["orthogonal", "standard_normal", Normal(0, 1e-3), "auto"]
)
def test_lsuv_scales_to_unit_variance(base):
    x = torch.randn(500, 30, generator=rng()) * torch.linspace(0.1, 9, 30) + 2
    weight = draw(LSUV(base=base), (40, 30))
    before = weight.clone()
    assert LSUV().scale_(weight, lambda: x @ weight.T) is weight
    assert (x @ weight.T).var() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(weight / weight.norm(), before / before.norm())


def test_lsuv_starts_from_its_base():
    assert torch.equal(draw(LSUV()), draw(Orthogonal()))
    assert torch.equal(draw(LSUV(base="sparse")), draw(Sparse()))
    bound = bind(LSUV(base=EdgeOfChaos(1.0)))
    assert isinstance(bound, LSUV)
    assert torch.equal(draw(bound), draw(bind(EdgeOfChaos(1.0))))
    assert bound.init_bias(torch.zeros(5), fan_in=3, generator=rng()).all()


def test_lsuv_stops_at_the_tolerance():
    x = torch.randn(500, 30, generator=rng())
    weight = torch.eye(30)
    before = weight.clone()
    assert abs((x @ weight.T).var() - 1) < 0.1
    LSUV(tol=0.1).scale_(weight, lambda: x @ weight.T)
    assert torch.equal(weight, before)
    LSUV(tol=1e-5).scale_(weight, lambda: x @ weight.T)
    assert not torch.equal(weight, before)
    assert (x @ weight.T).var(correction=0) == pytest.approx(1, abs=1e-5)


def test_lsuv_takes_small_biases_into_account():
    x, bias = torch.randn(500, 30, generator=rng()), torch.linspace(-1, 1, 40)
    weight = draw(StandardNormal(), (40, 30))
    LSUV(tol=0.01, max_iter=50).scale_(weight, lambda: x @ weight.T + bias)
    assert (x @ weight.T + bias).var() == pytest.approx(1, abs=0.02)


def test_lsuv_leaves_a_silent_layer_alone():
    weight = torch.zeros(4, 3)
    LSUV().scale_(weight, lambda: torch.ones(10, 3) @ weight.T)
    assert not weight.any()


def test_lsuv_cannot_shrink_biases():
    weight, bias = torch.ones(40, 30), torch.linspace(-9, 9, 40)
    with pytest.raises(ValueError, match=r"could not bring.*use bias_init='zeros'"):
        LSUV().scale_(weight, lambda: torch.ones(10, 30) @ weight.T + bias)


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300])
def test_lsuv_meets_infinity(value):
    weight = torch.ones(4, 3, dtype=torch.float64)
    x = torch.tensor([[value, 1.0, 1.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"aren't finite\. Standardize the inputs"):
        LSUV().scale_(weight, lambda: x @ weight.T)
    assert (weight == 1).all()


# --------------------------------------------------------------------------------------
# What may be given
# --------------------------------------------------------------------------------------
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


def test_custom_gives_what_the_signature_asks_for():
    seen = []

    def both(weight, gain, generator):
        seen.append((gain, generator))

    def only_gain(weight, *, gain):
        seen.append(gain)

    def own_gain(weight, gain=7.0):
        seen.append(gain)

    def nothing(weight):
        seen.append("nothing")

    generator = rng()
    for fn in (both, only_gain, own_gain, nothing):
        Custom(fn)(torch.empty(2, 2), gain=GAIN, generator=generator)
    assert seen == [(GAIN, generator), GAIN, 7.0, "nothing"]


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
def test_custom_fills_as_the_function_does(fn):
    expected = torch.empty(TWELVE)
    fn(expected, generator=rng())
    twin = pickle.loads(pickle.dumps(Custom(fn)))
    assert torch.equal(draw(Custom(fn)), expected)
    assert torch.equal(draw(twin), expected)


def test_custom_copies_a_result_of_the_same_shape():
    weight = draw(Custom(lambda w: torch.full_like(w, 4.0)))
    assert (weight == 4).all()
    with pytest.raises(ValueError, match=r"of shape \(200, 50\).*one of shape \(3,\)"):
        draw(Custom(lambda w: torch.zeros(3)))


def test_custom_without_a_signature():
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


# --------------------------------------------------------------------------------------
# Schemes are values
# --------------------------------------------------------------------------------------
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


def test_numpy_numbers_from_a_grid():
    grid = ParameterGrid({"init": [Normal(std=s) for s in np.logspace(-3, 0, 4)]})
    stds = [draw(p["init"]).std() for p in grid]
    assert stds == pytest.approx([1e-3, 1e-2, 1e-1, 1], rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Constant("a"),
            r"'value' parameter of Constant must be a finite number",
        ),
        (lambda: Constant(True), r"'value' parameter of Constant.*Got True"),
        (lambda: Normal(std=-1), r"'std' parameter of Normal.*at least 0. Got -1"),
        (lambda: Normal(std=None), r"'std' parameter of Normal.*Got None"),
        (lambda: Normal(mean=math.nan), r"'mean' parameter of Normal.*Got nan"),
        (lambda: Normal(mean="x"), r"'mean' parameter of Normal.*Got 'x'"),
        (lambda: Uniform(1, 0), r"'low' parameter of Uniform.*at most high=0. Got 1"),
        (lambda: Uniform(0, math.inf), r"'high' parameter of Uniform.*Got inf"),
        (
            lambda: TruncatedNormal(std=-1),
            r"'std' parameter.*at least 0, or None. Got -1",
        ),
        (lambda: XavierNormal(gain=0), r"'gain' parameter of XavierNormal.*Got 0"),
        (lambda: XavierUniform(gain="relu"), r"'gain' parameter of XavierUniform"),
        (lambda: KaimingNormal(gain=-1), r"'gain' parameter of KaimingNormal.*Got -1"),
        (
            lambda: KaimingNormal("fan_it"),
            r"'mode'.*'fan_in' or 'fan_out'. Got 'fan_it'",
        ),
        (lambda: KaimingUniform(mode=None), r"'mode' parameter of KaimingUniform"),
        (lambda: Orthogonal(math.inf), r"'gain' parameter of Orthogonal.*Got inf"),
        (lambda: Sparse(1.0), r"'sparsity' parameter of Sparse.*in \[0, 1\). Got 1.0"),
        (lambda: Sparse(-0.1), r"'sparsity' parameter of Sparse.*Got -0.1"),
        (lambda: Sparse(0.5, std=-2), r"'std' parameter of Sparse.*Got -2"),
        (lambda: EdgeOfChaos(0), r"'q_star' parameter of EdgeOfChaos.*Got 0"),
        (lambda: LSUV(tol=0), r"'tol' parameter of LSUV.*greater than 0. Got 0"),
        (lambda: LSUV(max_iter=0), r"'max_iter' parameter of LSUV.*Got 0"),
        (lambda: LSUV(max_iter=1.5), r"'max_iter' parameter of LSUV.*integer"),
        (
            lambda: LSUV(base="orthogonl"),
            r"'base' parameter of LSUV: Unknown.*'orthogonal'",
        ),
        (lambda: LSUV(base="lsuv"), r"'base' parameter of LSUV.*needs no data"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_user_made_scheme():
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


def test_gain_of_an_activation_reaches_the_weights():
    """What the network code does: GELU's own gain makes Kaiming's rule right for it."""
    gelu = resolve_activation("gelu")
    weight = draw(KaimingNormal(), (400, 400), gain=gelu.gain)
    assert weight.var() * 400 == pytest.approx(
        gelu.gain**2, rel=5 * math.sqrt(2 / 16e4)
    )
