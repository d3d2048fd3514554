"""What every norm keeps to, and what a user may give as one."""

import copy
import functools
import io
import math
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.testing import assert_close

from sknorm.nn.norms import (
    NORMS,
    BatchRenorm,
    DynamicTanh,
    GhostBatchNorm,
    Norm,
    SpectralNormLinear,
    WeightNormLinear,
    needs_batch_statistics,
    resolve_norm,
)

EPS = 1e-5
SIGNAL_NORMS = [name for name, norm in NORMS.items() if norm.acts_on == "signal"]


def label(value):
    """Name a case without the address that a repr may hold: workers compare names."""
    if isinstance(value, functools.partial):
        return f"partial {label(value.func)}"
    if isinstance(value, nn.Module):
        return type(value).__name__
    return getattr(value, "__name__", None) or getattr(value, "name", str(value))


# -- the table -------------------------------------------------------------------------


def test_table_holds_what_is_promised():
    assert {name: norm.acts_on for name, norm in NORMS.items()} == {
        "none": "nothing",
        "batch": "signal",
        "layer": "signal",
        "rms": "signal",
        "group": "signal",
        "ghost_batch": "signal",
        "batch_renorm": "signal",
        "weight": "weight",
        "spectral": "weight",
        "dynamic_tanh": "signal",
    }
    assert all(norm.name == name for name, norm in NORMS.items())


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("none", nn.Identity),
        ("batch", nn.BatchNorm1d),
        ("layer", nn.LayerNorm),
        ("rms", nn.RMSNorm),
        ("group", nn.GroupNorm),
        ("ghost_batch", GhostBatchNorm),
        ("batch_renorm", BatchRenorm),
        ("dynamic_tanh", DynamicTanh),
    ],
)
def test_build_makes_exactly_this_class(name, cls):
    assert type(NORMS[name].build(6)) is cls


@pytest.mark.parametrize("name", [*SIGNAL_NORMS, "none"])
def test_every_build_is_a_layer_of_its_own(name):
    assert NORMS[name].build(6) is not NORMS[name].build(6)


@pytest.mark.parametrize("norm", NORMS.values(), ids=label)
def test_entries_survive_pickle_as_equals(norm):
    assert pickle.loads(pickle.dumps(norm)) == norm
    assert hash(copy.deepcopy(norm)) == hash(norm)


@pytest.mark.parametrize("name", ["layer", "rms", "group"])
def test_one_unit_is_too_few_for_statistics_over_units(name):
    with pytest.raises(
        ValueError,
        match=rf"norm='{name}' .* at least 2 .* Got a hidden layer of 1\. Widen "
        r"hidden_layer_sizes, or use norm='batch' or 'none'",
    ):
        NORMS[name].build(1)


@pytest.mark.parametrize(
    "name", ["none", "batch", "ghost_batch", "batch_renorm", "dynamic_tanh"]
)
def test_one_unit_is_enough_for_the_others(name, draw):
    x = draw(4, 1, dtype=torch.float32)
    assert NORMS[name].build(1)(x).std() > 0


@pytest.mark.parametrize("name", ["weight", "spectral"])
def test_norms_of_the_weight_are_not_built_from_a_width(name):
    with pytest.raises(TypeError, match=rf"norm='{name}' .* factory\(linear\).* 8"):
        NORMS[name].build(8)


# -- known values, by hand -------------------------------------------------------------


OVER_ROWS = [
    [-1 / math.sqrt(1 + EPS), -2 / math.sqrt(4 + EPS)],
    [1 / math.sqrt(1 + EPS), 2 / math.sqrt(4 + EPS)],
]
KNOWN = [
    # name, input, output before gamma and beta
    ("batch", [[1.0, 2.0], [3.0, 6.0]], OVER_ROWS),
    ("ghost_batch", [[1.0, 2.0], [3.0, 6.0]], OVER_ROWS),
    ("batch_renorm", [[1.0, 2.0], [3.0, 6.0]], OVER_ROWS),
    (  # mean 3, variance (4 + 1 + 0 + 9) / 4
        "layer",
        [[1.0, 2.0, 3.0, 6.0]],
        [[d / math.sqrt(3.5 + EPS) for d in (-2, -1, 0, 3)]],
    ),
    (  # mean square (1 + 4 + 4) / 3
        "rms",
        [[1.0, 2.0, -2.0]],
        [[d / math.sqrt(3.0 + EPS) for d in (1, 2, -2)]],
    ),
    (  # two groups: mean 2 and variance 1, mean 30 and variance 400
        "group",
        [[1.0, 3.0, 10.0, 50.0]],
        [
            [
                -1 / math.sqrt(1 + EPS),
                1 / math.sqrt(1 + EPS),
                -20 / math.sqrt(400 + EPS),
                20 / math.sqrt(400 + EPS),
            ]
        ],
    ),
    (  # alpha 0.5
        "dynamic_tanh",
        [[-2.0, 0.0, 4.0]],
        [[-0.7615941559557649, 0.0, 0.9640275800758169]],
    ),
]


@pytest.mark.parametrize(("name", "x", "expected"), KNOWN, ids=label)
def test_known_values(name, x, expected, with_gamma_and_beta):
    norm = NORMS[name].build(len(x[0])).double()
    gamma, beta = with_gamma_and_beta(norm)
    expected = gamma * torch.tensor(expected, dtype=torch.float64) + beta
    y = norm(torch.tensor(x, dtype=torch.float64)).detach()
    assert_close(y, expected, rtol=1e-13, atol=1e-15)


def test_known_values_cover_every_norm_of_the_signal():
    assert {name for name, *_ in KNOWN} == set(SIGNAL_NORMS)


# -- what every entry keeps to ---------------------------------------------------------


@pytest.mark.parametrize("name", list(NORMS))
def test_statistics_keep_their_digits_under_autocast(name, draw, linear_layer):
    """Products before a norm may be short; what it adds up and remembers is not."""
    linear = linear_layer(8, 6).float()
    x = draw(64, 6, dtype=torch.float32)
    on_weight = NORMS[name].acts_on == "weight"
    with torch.no_grad():
        short = linear(x).bfloat16()
    norm = NORMS[name].factory(linear) if on_weight else NORMS[name].build(8)
    exact = copy.deepcopy(norm)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            found = norm(x if on_weight else short)
        expected = exact(x if on_weight else short.float())
    assert_close(found.float(), expected, rtol=0.01, atol=0.02)
    for part, same in zip(norm.buffers(), exact.buffers(), strict=True):
        assert_close(part, same, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SIGNAL_NORMS)
def test_a_row_alone_is_a_row_among_others_at_evaluation(name, draw):
    norm, x = NORMS[name].build(6).double(), draw(40, 6)
    norm(x)
    norm.eval()
    assert_close(norm(x[3:4]), norm(x)[3:4])


# -- what every layer of the library's own keeps to ------------------------------------


# Layers of the library's own with three features, made from a linear layer or alone.
OWN = {
    "ghost": lambda linear: GhostBatchNorm(3, virtual_batch_size=4),
    "renorm": lambda linear: BatchRenorm(3),
    "dynamic_tanh": lambda linear: DynamicTanh(3),
    "weight": WeightNormLinear,
    "spectral": lambda linear: SpectralNormLinear(linear).eval(),
}


@pytest.fixture(params=OWN)
def own_module(request, draw, linear_layer):
    """A layer of the library's own, in float64, with values of its own."""
    module = OWN[request.param](linear_layer(4, 3)).double()
    for seed, parameter in enumerate(module.parameters()):
        parameter.data.add_(draw(*parameter.shape, seed=seed), alpha=0.3)
    return module


def test_gradients_are_those_of_finite_differences(own_module, draw):
    names, parameters = zip(*own_module.named_parameters(), strict=True)

    def apply(x, *values):
        return functional_call(own_module, dict(zip(names, values, strict=True)), (x,))

    x = draw(9, 3, seed=5).requires_grad_()
    assert gradcheck(apply, (x, *parameters))


def test_float32_is_float64_rounded(own_module, draw):
    x = draw(9, 3)
    single = copy.deepcopy(own_module).float()
    y = single(x.float())
    assert y.dtype == torch.float32
    assert_close(y.double(), own_module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, "pickle", "state_dict"])
def test_copies_behave_as_the_original(own_module, duplicate, draw):
    trained, x = own_module, draw(9, 3)
    trained(x)
    if duplicate == "pickle":
        twin = pickle.loads(pickle.dumps(trained))
    elif duplicate == "state_dict":
        file = io.BytesIO()
        torch.save(trained.state_dict(), file)
        file.seek(0)
        twin = copy.deepcopy(trained)
        for tensor in twin.state_dict().values():
            tensor.zero_()
        twin.load_state_dict(torch.load(file, weights_only=True))
    else:
        twin = duplicate(trained)
    twin.train(trained.training)
    assert torch.equal(twin(x), trained(x))
    assert torch.equal(twin.eval()(x), trained.eval()(x))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (GhostBatchNorm(3, virtual_batch_size=7), ["3, ", "virtual_batch_size=7"]),
        (BatchRenorm(3, r_max=2.0), ["3, ", "r_max=2.0, d_max=5.0, warm_up=1000"]),
        (DynamicTanh(3, alpha_init=0.8), ["3, alpha_init=0.8"]),
        (
            WeightNormLinear(nn.Linear(3, 4)),
            ["in_features=3, out_features=4, bias=True"],
        ),
        (
            SpectralNormLinear(nn.Linear(3, 4)),
            ["in_features=3, out_features=4", "n_power_iterations=1"],
        ),
    ],
    ids=label,
)
def test_repr_shows_the_parameters(module, words):
    text = repr(module)
    assert text.startswith(type(module).__name__)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("cls", [GhostBatchNorm, BatchRenorm, DynamicTanh])
def test_device_and_dtype_reach_every_parameter(cls):
    module = cls(3, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in module.parameters()} == {
        ("meta", torch.float64)
    }


# -- what a user gives -----------------------------------------------------------------


class Centering(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, x):
        return x - x.mean(dim=1, keepdim=True)


def four_groups(num_features):
    return nn.GroupNorm(4, num_features)


def not_a_module(num_features):
    return num_features


@pytest.mark.parametrize(
    ("spec", "name", "cls"),
    [
        (None, "none", nn.Identity),
        ("rms", "rms", nn.RMSNorm),
        (NORMS["batch"], "batch", nn.BatchNorm1d),
        (Norm("mine", Centering), "mine", Centering),
        (nn.LayerNorm, "LayerNorm", nn.LayerNorm),
        (nn.BatchNorm1d, "BatchNorm1d", nn.BatchNorm1d),
        (functools.partial(nn.GroupNorm, 4), "GroupNorm", nn.GroupNorm),
        (functools.partial(GhostBatchNorm, eps=0.1), "GhostBatchNorm", GhostBatchNorm),
        (Centering, "Centering", Centering),
        (four_groups, "four_groups", nn.GroupNorm),
    ],
    ids=label,
)
def test_resolve_takes_names_entries_classes_and_functions(spec, name, cls, draw):
    norm = resolve_norm(spec)
    assert norm.name == name
    assert norm.acts_on == ("nothing" if name == "none" else "signal")
    module = norm.build(8)
    assert type(module) is cls
    assert module(draw(6, 8, dtype=torch.float32)).shape == (6, 8)


@pytest.mark.parametrize("spec", ["batch", nn.LayerNorm, four_groups], ids=label)
def test_what_resolves_is_equal_the_next_time(spec):
    assert resolve_norm(spec) == resolve_norm(spec)
    assert pickle.loads(pickle.dumps(resolve_norm(spec))) == resolve_norm(spec)


@pytest.mark.parametrize(
    "spec",
    [nn.LayerNorm, nn.RMSNorm, functools.partial(nn.LayerNorm, eps=1e-3)],
    ids=label,
)
def test_a_users_layer_norm_is_guarded_against_one_unit_too(spec):
    with pytest.raises(ValueError, match=r"norm='(Layer|RMS)Norm' .* at least 2"):
        resolve_norm(spec).build(1)


def test_resolve_suggests_the_name_that_was_meant():
    with pytest.raises(
        ValueError,
        match=r"The 'norm' parameter of NormMLPClassifier: Unknown norm 'lyer'\. Did "
        r"you mean 'layer'\? Allowed names: batch, batch_renorm, dynamic_tanh, ",
    ):
        resolve_norm("lyer", owner="NormMLPClassifier")


@pytest.mark.parametrize(
    "spec",
    [
        nn.InstanceNorm1d,
        nn.InstanceNorm2d,
        nn.LazyInstanceNorm1d,
        functools.partial(nn.InstanceNorm1d, affine=True),
    ],
    ids=label,
)
def test_resolve_says_why_instance_norms_do_not_fit_tables(spec):
    with pytest.raises(
        ValueError,
        match=r"'norm' parameter of MLP can't be \w*InstanceNorm\dd: .*\(rows, "
        r"features\) as one sample of shape \(channels, length\).* norm='layer'",
    ):
        resolve_norm(spec)


@pytest.mark.parametrize("spec", [3, 0.5, nn.LayerNorm(3), dict, ["batch"]], ids=label)
def test_resolve_refuses_what_makes_no_module(spec):
    with pytest.raises(
        TypeError,
        match=r"'my_norm' parameter of Net must be a name among none, batch, .*Got ",
    ):
        resolve_norm(spec, parameter="my_norm", owner="Net")


def test_a_function_that_returns_no_module_is_named():
    with pytest.raises(TypeError, match=r"norm 'not_a_module' must make .* Got 8\."):
        resolve_norm(not_a_module).build(8)


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        (nn.BatchNorm1d(3), True),
        (nn.SyncBatchNorm(3), True),
        (GhostBatchNorm(3), True),
        (BatchRenorm(3), True),
        (nn.LayerNorm(3), False),
        (nn.GroupNorm(1, 3), False),
        (DynamicTanh(3), False),
        (WeightNormLinear(nn.Linear(3, 4)), False),
        (nn.ReLU(), False),
        (nn.Sequential(nn.BatchNorm1d(3)), False),  # asked of each layer by itself
    ],
    ids=label,
)
def test_needs_batch_statistics(module, needs):
    assert needs_batch_statistics(module) is needs
