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
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from sknorm.nn.norms import (
    NORMS,
    BatchRenorm,
    DynamicTanh,
    GhostBatchNorm,
    Norm,
    SpectralNormLinear,
    WeightNormLinear,
    group_norm,
    needs_batch_statistics,
    resolve_norm,
)

EPS = 1e-5
SIGNAL_NORMS = [name for name, norm in NORMS.items() if norm.acts_on == "signal"]
BATCH_NORMS = ["batch", "ghost_batch", "batch_renorm"]


def label(value):
    """Name a case without the address that a repr may hold: workers compare names."""
    if isinstance(value, functools.partial):
        return f"partial {label(value.func)}"
    if isinstance(value, nn.Module):
        return type(value).__name__
    return getattr(value, "__name__", None) or getattr(value, "name", str(value))


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def linear_layer(out_features, in_features, *, seed=0, bias=True):
    linear = nn.utils.skip_init(
        nn.Linear, in_features, out_features, bias=bias, dtype=torch.float64
    )
    with torch.no_grad():
        linear.weight.copy_(draw(out_features, in_features, seed=seed))
        if bias:
            linear.bias.copy_(draw(out_features, seed=seed + 1))
    return linear


def linear_of(rows):
    """Return a linear layer with just these weights."""
    weight = torch.tensor(rows, dtype=torch.float64)
    linear = linear_layer(*weight.shape, bias=False)
    linear.weight.data.copy_(weight)
    return linear


def gradients(module, x):
    """Return outputs, and gradients of a sum that weighs each differently."""
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    grads = {name: p.grad for name, p in module.named_parameters()}
    return y.detach(), x.grad, grads


def running(module):
    return module.running_mean, module.running_var


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


@pytest.mark.parametrize("name", ["none", *BATCH_NORMS, "dynamic_tanh"])
def test_one_unit_is_enough_for_the_others(name):
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


def with_gamma_and_beta(norm):
    """Set gamma to 2, 3, ... and beta to -1, -2, ...; return both."""
    gamma = torch.arange(2.0, 2.0 + norm.weight.numel(), dtype=torch.float64)
    norm.weight.data.copy_(gamma)
    beta = torch.zeros_like(gamma)
    if getattr(norm, "bias", None) is not None:
        beta = 1 - gamma
        norm.bias.data.copy_(beta)
    return gamma, beta


@pytest.mark.parametrize(("name", "x", "expected"), KNOWN, ids=label)
def test_known_values(name, x, expected):
    norm = NORMS[name].build(len(x[0])).double()
    gamma, beta = with_gamma_and_beta(norm)
    expected = gamma * torch.tensor(expected, dtype=torch.float64) + beta
    y = norm(torch.tensor(x, dtype=torch.float64)).detach()
    assert_close(y, expected, rtol=1e-13, atol=1e-15)


def test_known_values_cover_every_norm_of_the_signal():
    assert {name for name, *_ in KNOWN} == set(SIGNAL_NORMS)


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_evaluation_uses_running_statistics_of_unbiased_variance(name):
    norm = NORMS[name].build(2).double()
    gamma, beta = with_gamma_and_beta(norm)
    norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=torch.float64))
    # A tenth of the batch's mean (2, 4) and unbiased variance (2, 8).
    mean = torch.tensor([0.2, 0.4], dtype=torch.float64)
    var = torch.tensor([0.9 + 0.2, 0.9 + 0.8], dtype=torch.float64)
    assert_close(running(norm), (mean, var))
    x = draw(3, 2)
    expected = gamma * (x - mean) / (var + EPS).sqrt() + beta
    assert_close(norm.eval()(x).detach(), expected)
    assert_close(running(norm), (mean, var))


# -- parity with torch -----------------------------------------------------------------

PARITY = {
    "batch": (NORMS["batch"].build(12), nn.BatchNorm1d(12)),
    "layer": (NORMS["layer"].build(12), nn.LayerNorm(12)),
    "rms": (NORMS["rms"].build(12), nn.RMSNorm(12, eps=EPS)),
    "group": (NORMS["group"].build(12), nn.GroupNorm(6, 12)),
    "ghost, whole": (GhostBatchNorm(12, virtual_batch_size=9), nn.BatchNorm1d(12)),
    "ghost, part": (GhostBatchNorm(12, virtual_batch_size=99), nn.BatchNorm1d(12)),
    "renorm, no room": (
        BatchRenorm(12, r_max=1, d_max=0, warm_up=0),
        nn.BatchNorm1d(12),
    ),
    "renorm, warming up": (BatchRenorm(12), nn.BatchNorm1d(12)),
    "renorm, average": (
        BatchRenorm(12, momentum=None),
        nn.BatchNorm1d(12, momentum=None),
    ),
    "renorm, bare": (BatchRenorm(12, affine=False), nn.BatchNorm1d(12, affine=False)),
}


@pytest.mark.parametrize("case", PARITY)
def test_same_values_and_gradients_as_torch(case):
    ours, reference = (copy.deepcopy(module).double() for module in PARITY[case])
    for parameter, other in zip(ours.parameters(), reference.parameters(), strict=True):
        parameter.data.copy_(draw(12, seed=parameter.numel()))
        other.data.copy_(parameter.data)
    for seed in range(3):
        x = 3 + 2 * draw(9, 12, seed=seed)
        assert_close(gradients(ours, x), gradients(reference, x))
    assert_close(dict(ours.state_dict()), dict(reference.state_dict()))
    assert_close(ours.eval()(x), reference.eval()(x))


def test_weight_norm_is_torchs_through_training():
    ours = WeightNormLinear(linear_layer(5, 3))
    theirs = parametrizations.weight_norm(linear_layer(5, 3))
    for step in range(4):
        x = draw(7, 3, seed=10 + step)
        y, x_grad, grads = gradients(ours, x)
        y_theirs, x_grad_theirs, grads_theirs = gradients(theirs, x)
        assert_close((y, x_grad), (y_theirs, x_grad_theirs))
        assert_close(
            (grads["bias"], grads["weight_g"][:, None], grads["weight"]),
            (
                grads_theirs["bias"],
                grads_theirs["parametrizations.weight.original0"],
                grads_theirs["parametrizations.weight.original1"],
            ),
        )
        for module in (ours, theirs):
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            module.zero_grad()


def test_spectral_norm_is_torchs_through_training():
    ours = SpectralNormLinear(linear_layer(5, 3))
    with torch.random.fork_rng(devices=[]):  # torch starts its vectors by random
        theirs = parametrizations.spectral_norm(linear_layer(5, 3))
    vectors = theirs.parametrizations.weight[0]
    ours.u, ours.v = vectors._u.clone(), vectors._v.clone()
    for step in range(4):
        x = draw(7, 3, seed=10 + step)
        y, x_grad, grads = gradients(ours, x)
        y_theirs, x_grad_theirs, grads_theirs = gradients(theirs, x)
        assert_close((y, x_grad), (y_theirs, x_grad_theirs))
        assert_close(grads["weight"], grads_theirs["parametrizations.weight.original"])
        for module in (ours, theirs):
            torch.optim.SGD(module.parameters(), lr=0.1).step()
            module.zero_grad()
    assert_close((ours.u, ours.v), (vectors._u, vectors._v))
    assert_close(ours.eval()(x), theirs.eval()(x))


# -- what holds for whole families -----------------------------------------------------


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_norms_bring_every_feature_to_mean_0_and_variance_1(name):
    x = 5 + draw(30, 4) * torch.tensor([0.1, 1.0, 10.0, 1e3], dtype=torch.float64)
    y = NORMS[name].build(4).double()(x)
    variance = x.var(dim=0, correction=0)
    assert_close(y.mean(dim=0), torch.zeros(4).double(), rtol=0, atol=1e-12)
    assert_close(y.var(dim=0, correction=0), variance / (variance + EPS))


@pytest.mark.parametrize(
    ("name", "scale", "shift"),
    [("layer", 100.0, -7.0), ("group", 100.0, -7.0), ("rms", 100.0, 0.0)],
)
def test_norms_of_a_row_do_not_see_its_scale_and_shift(name, scale, shift):
    norm, x = NORMS[name].build(12).double(), draw(6, 12)
    expected = norm(scale * x + shift)
    norm.eps /= scale**2  # the one thing that does not scale with the row
    assert_close(norm(x), expected)


@pytest.mark.parametrize("name", list(NORMS))
def test_statistics_keep_their_digits_under_autocast(name):
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
def test_a_row_alone_is_a_row_among_others_at_evaluation(name):
    norm, x = NORMS[name].build(6).double(), draw(40, 6)
    norm(x)
    norm.eval()
    assert_close(norm(x[3:4]), norm(x)[3:4])


@pytest.mark.parametrize("name", ["layer", "rms", "group", "dynamic_tanh"])
def test_norms_without_batch_statistics_train_as_they_evaluate(name):
    norm, x = NORMS[name].build(6).double(), draw(5, 6)
    assert torch.equal(norm.train()(x), norm.eval()(x))


@pytest.mark.parametrize("cls", [WeightNormLinear, SpectralNormLinear])
def test_norms_of_the_weight_evaluate_as_they_last_trained(cls):
    layer, x = cls(linear_layer(4, 3)), draw(5, 3)
    trained = layer.train()(x)
    assert torch.equal(layer.eval()(x), trained)
    assert torch.equal(layer(x), trained)


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_train_and_evaluation_differ_by_the_unbiased_variance_alone(name):
    norm, x = NORMS[name].build(4).double(), 2 + draw(20, 4)
    norm.momentum = 1.0  # the running statistics are those of the one batch
    y = norm(x)
    variance = x.var(dim=0, correction=0)
    shrink = ((variance + EPS) / (variance * 20 / 19 + EPS)).sqrt()
    assert_close(norm.eval()(x), y * shrink)


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_norms_refuse_one_row_in_training_and_take_it_at_evaluation(name):
    norm, x = NORMS[name].build(3), torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"xpected more than 1 .*\(?\[?1, 3"):
        norm(x)
    assert norm.eval()(x).shape == (1, 3)


MODULES = {
    "ghost": GhostBatchNorm(3, virtual_batch_size=4),
    "renorm": BatchRenorm(3),
    "dynamic_tanh": DynamicTanh(3),
    "weight": WeightNormLinear(linear_layer(4, 3)),
    "spectral": SpectralNormLinear(linear_layer(4, 3)).eval(),
}


@pytest.fixture(params=MODULES)
def own_module(request):
    """Return a layer of the library's own, in float64, with values of its own."""
    module = copy.deepcopy(MODULES[request.param]).double()
    for seed, parameter in enumerate(module.parameters()):
        parameter.data.add_(draw(*parameter.shape, seed=seed), alpha=0.3)
    return module


def test_gradients_are_those_of_finite_differences(own_module):
    names, parameters = zip(*own_module.named_parameters(), strict=True)

    def apply(x, *values):
        return functional_call(own_module, dict(zip(names, values, strict=True)), (x,))

    x = draw(9, 3, seed=5).requires_grad_()
    assert gradcheck(apply, (x, *parameters))


def test_float32_is_float64_rounded(own_module):
    x = draw(9, 3)
    single = copy.deepcopy(own_module).float()
    y = single(x.float())
    assert y.dtype == torch.float32
    assert_close(y.double(), own_module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, "pickle", "state_dict"])
def test_copies_behave_as_the_original(own_module, duplicate):
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
        (MODULES["weight"], ["in_features=3, out_features=4, bias=True"]),
        (
            MODULES["spectral"],
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


@pytest.mark.parametrize("cls", [GhostBatchNorm, BatchRenorm])
def test_batch_norms_of_our_own_work_without_gamma_and_beta(cls):
    module = cls(3, affine=False)
    assert list(module.parameters()) == []
    assert module(draw(9, 3, dtype=torch.float32)).isfinite().all()


# -- ghost_batch -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "size", "parts"),
    [
        (3, 4, [3]),
        (8, 4, [4, 4]),
        (5, 4, [5]),  # a tail of one joins
        (6, 4, [4, 2]),  # half a virtual batch stands alone
        (9, 4, [4, 5]),
        (10, 4, [4, 4, 2]),
        (4, 3, [4]),
        (5, 3, [3, 2]),
        (7, 3, [3, 4]),
        (5, 2, [2, 3]),  # half a virtual batch is one row: too few
        (2, 2, [2]),
        (49, 32, [32, 17]),
        (47, 32, [47]),
    ],
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_ghost_batch_is_batch_norm_part_by_part(n_rows, size, parts, momentum):
    ghost = GhostBatchNorm(3, virtual_batch_size=size, momentum=momentum).double()
    batch = nn.BatchNorm1d(3, momentum=momentum).double()
    x = draw(n_rows, 3)
    expected = torch.cat([batch(part) for part in torch.split(x, parts)])
    assert torch.equal(ghost(x), expected)
    assert_close(dict(ghost.state_dict()), dict(batch.state_dict()), rtol=0, atol=0)
    assert torch.equal(ghost.eval()(x), batch.eval()(x))


@pytest.mark.parametrize("size", [1, 0, -3])
def test_ghost_batch_needs_a_variance_in_every_part(size):
    with pytest.raises(
        ValueError, match=rf"'virtual_batch_size' .* at least 2.*{size}"
    ):
        GhostBatchNorm(3, virtual_batch_size=size)


# -- batch_renorm ----------------------------------------------------------------------


def renorm_after(count, *, mean, var, **kwargs):
    """Return a BatchRenorm of one feature that has seen ``count`` batches."""
    norm = BatchRenorm(1, **kwargs).double()
    norm.num_batches_tracked.fill_(count)
    norm.running_mean.fill_(mean)
    norm.running_var.fill_(var)
    return norm


PAIR = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # mean 2, biased variance 1


@pytest.mark.parametrize(
    ("count", "r", "d"),
    [(0, 1, 0), (10, 1, 0), (15, 2, 2.5), (18, 2.6, 4), (20, 3, 5), (10**6, 3, 5)],
)
def test_batch_renorm_gives_its_corrections_room_by_and_by(count, r, d):
    # sigma_B / sigma = 100 and (mu_B - mu) / sigma = 200: both at their limits.
    norm = renorm_after(count, mean=0.0, var=1e-4, warm_up=10, eps=1e-12)
    expected = torch.tensor([[d - r], [d + r]], dtype=torch.float64)
    assert_close(norm(PAIR).detach(), expected, rtol=1e-9, atol=1e-9)
    assert int(norm.num_batches_tracked) == count + 1


def test_batch_renorm_limits_corrections_downward_too():
    norm = renorm_after(1, mean=1000.0, var=100.0, warm_up=0, eps=1e-12)
    expected = torch.tensor([[-5 - 1 / 3], [-5 + 1 / 3]], dtype=torch.float64)
    assert_close(norm(PAIR).detach(), expected, rtol=1e-9, atol=1e-9)


def test_batch_renorm_takes_its_first_batch_plain_even_without_warm_up():
    norm = renorm_after(0, mean=1000.0, var=100.0, warm_up=0, eps=1e-12)
    assert_close(norm(PAIR).detach(), PAIR - 2, rtol=1e-9, atol=1e-9)


def test_batch_renorm_within_its_limits_trains_as_it_evaluates():
    x = 1 + 2 * draw(6, 1)
    norm = renorm_after(10**4, mean=0.5, var=2.0)
    with_gamma_and_beta(norm)
    expected = copy.deepcopy(norm).eval()(x)
    assert_close(norm(x), expected)


def test_batch_renorm_takes_corrections_for_constants_in_the_gradient():
    x = (1 + 2 * draw(6, 1)).requires_grad_()
    norm = renorm_after(10**4, mean=0.5, var=2.0, affine=False)
    weights = draw(6, 1, seed=1)
    (norm(x) * weights).sum().backward()
    x_hat = torch.nn.functional.batch_norm(x, None, None, training=True, eps=EPS)
    r = (x.detach().var(correction=0) + EPS).sqrt() / math.sqrt(2.0 + EPS)
    (expected,) = torch.autograd.grad((r * x_hat * weights).sum(), x)
    assert_close(x.grad, expected)


def test_batch_renorm_counts_in_training_only():
    norm = BatchRenorm(3)
    norm(draw(4, 3, dtype=torch.float32))
    norm.eval()(draw(4, 3, dtype=torch.float32))
    assert int(norm.state_dict()["num_batches_tracked"]) == 1


@pytest.mark.parametrize(
    "parameters", [{"r_max": 0.9}, {"d_max": -1.0}, {"warm_up": -1}], ids=label
)
def test_batch_renorm_checks_its_parameters(parameters):
    ((name, value),) = parameters.items()
    with pytest.raises(ValueError, match=rf"r_max >= 1, .*{name}={value!r}"):
        BatchRenorm(3, **parameters)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 1), (4, 3, 5)], ids=label)
def test_batch_renorm_names_the_shape_it_wants(shape):
    with pytest.raises(ValueError, match=r"shape \(n_rows, 3\)\. Got \(4,"):
        BatchRenorm(3)(torch.ones(shape))


# -- dynamic_tanh ----------------------------------------------------------------------


def test_dynamic_tanh_has_one_slope_and_squashes_between_gamma():
    norm = DynamicTanh(3, alpha_init=2.0)
    assert norm.alpha.tolist() == [2.0]
    norm.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert_close(norm(torch.full((1, 3), 1e6)).tolist(), [[1.0, 2.0, 3.0]])


# -- weight ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [WeightNormLinear, SpectralNormLinear])
@pytest.mark.parametrize("bias", [True, False])
def test_norms_of_the_weight_take_over_the_layers_parameters(cls, bias):
    linear = linear_layer(4, 3, bias=bias).eval()
    layer = cls(linear)
    assert isinstance(layer, nn.Linear)
    assert layer.weight is linear.weight
    assert layer.bias is linear.bias
    assert not layer.training
    assert ("bias" in layer.state_dict()) == bias
    assert layer(draw(2, 3)).shape == (2, 4)


def test_weight_norm_known_values():
    layer = WeightNormLinear(linear_of([[3.0, 4.0], [0.0, -2.0]]))
    assert layer.weight_g.tolist() == [5.0, 2.0]
    layer.weight_g.data.copy_(torch.tensor([10.0, 1.0]))
    expected = torch.tensor([[6.0, 8.0], [0.0, -1.0]], dtype=torch.float64)
    assert_close(layer.normalized_weight().detach(), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (7, 4)])
def test_weight_norm_leaves_the_function_as_it_was(shape):
    linear, x = linear_layer(*shape), draw(9, shape[1], seed=3)
    expected = linear(x)
    assert_close(WeightNormLinear(linear)(x), expected, rtol=1e-14, atol=1e-14)


def test_weight_norm_does_not_see_the_scale_of_directions():
    layer, x = WeightNormLinear(linear_layer(4, 3)), draw(5, 3)
    expected, _, grads = gradients(layer, x)
    # What does not change the function has no gradient: v moves at right angles to v.
    assert_close((grads["weight"] * layer.weight).sum(dim=1), torch.zeros(4).double())
    layer.weight.data.mul_(torch.tensor([[1e-3], [0.5], [7.0], [1e6]]))
    assert_close(layer(x), expected)


def test_weight_norm_keeps_a_row_of_zeros_without_nan():
    layer = WeightNormLinear(linear_of([[0.0, 0.0], [3.0, 4.0]]))
    y, x_grad, grads = gradients(layer, draw(5, 2))
    assert y[:, 0].tolist() == [0.0] * 5
    assert all(g.isfinite().all() for g in (x_grad, *grads.values()))


def test_weight_norm_learns_lengths_that_are_no_matrix():
    # Weight decay is for matrices: lengths, like every gamma, must not be among them.
    layer = WeightNormLinear(linear_layer(4, 3))
    assert {name: p.ndim for name, p in layer.named_parameters()} == {
        "weight": 2,
        "weight_g": 1,
        "bias": 1,
    }


# -- spectral --------------------------------------------------------------------------


def largest_singular_value(weight):
    return float(torch.linalg.matrix_norm(weight.detach(), ord=2))


@pytest.mark.parametrize(
    ("rows", "sigma"),
    [
        ([[8.0, 0.0], [0.0, 2.0]], 8.0),
        ([[3.0, 4.0]], 5.0),
        ([[3.0], [4.0]], 5.0),
        ([[1.0, 1.0], [1.0, 1.0]], 2.0),
        # The longest row is at right angles to the leading direction.
        ([[0.0, 0.0, 1.1], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], math.sqrt(2)),
        ([[-0.25]], 0.25),
    ],
    ids=label,
)
def test_spectral_norm_known_values(rows, sigma):
    layer = SpectralNormLinear(linear_of(rows))
    expected = torch.tensor(rows, dtype=torch.float64) / sigma
    assert_close(layer.normalized_weight().detach(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (10, 3), (64, 20), (30, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_spectral_norm_finds_the_largest_singular_value(shape, seed):
    layer = SpectralNormLinear(linear_layer(*shape, seed=seed), n_power_iterations=5)
    for _ in range(40):
        normalized = layer.normalized_weight()
    # The power method comes from below, so what it leaves is never shorter than 1.
    assert 1 - 1e-12 < largest_singular_value(normalized) < 1 + 1e-3


def test_spectral_norm_of_a_wide_random_layer_starts_within_a_percent():
    layer = SpectralNormLinear(linear_layer(256, 128)).eval()
    assert largest_singular_value(layer.normalized_weight()) < 1.01


def test_spectral_norm_follows_the_weight_in_training_only():
    layer, x = SpectralNormLinear(linear_layer(4, 3)), draw(5, 3)
    layer.weight.data.copy_(draw(4, 3, seed=7))
    u, v = layer.u, layer.v
    layer.eval()(x)
    assert layer.u is u
    assert layer.v is v
    for _ in range(100):
        layer.train()(x)
    assert largest_singular_value(layer.normalized_weight()) == pytest.approx(1.0)


def test_spectral_norm_can_go_backward_through_two_forward_passes():
    layer, x = SpectralNormLinear(linear_layer(4, 3)), draw(5, 3)
    (layer(x).sum() + layer(2 * x).square().sum()).backward()
    assert layer.weight.grad.isfinite().all()


def test_spectral_norm_of_zeros_is_zero_until_they_change():
    layer, x = SpectralNormLinear(linear_of([[0.0, 0.0], [0.0, 0.0]])), draw(5, 2)
    y, x_grad, grads = gradients(layer, x)
    assert not y.any()
    assert not x_grad.any()
    assert grads["weight"].isfinite().all()
    assert grads["weight"].any()
    layer.weight.data.copy_(torch.tensor([[8.0, 0.0], [0.0, 2.0]]))
    for _ in range(30):
        layer(x)
    assert largest_singular_value(layer.normalized_weight()) == pytest.approx(1.0)


@pytest.mark.parametrize("steps", [0, -1])
def test_spectral_norm_needs_a_step(steps):
    with pytest.raises(
        ValueError, match=rf"'n_power_iterations' .*at least 1.*{steps}"
    ):
        SpectralNormLinear(linear_layer(4, 3), n_power_iterations=steps)


# -- group -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_features", "groups"),
    [
        (2, 1),
        (3, 1),
        (4, 2),
        (6, 3),
        (7, 1),
        (8, 4),
        (12, 6),
        (16, 8),
        (97, 1),
        (100, 5),
        (128, 8),
    ],
)
def test_group_norm_takes_as_many_groups_as_it_can(num_features, groups):
    assert group_norm(num_features).num_groups == groups


def test_group_norm_of_a_prime_width_is_layer_norm():
    x = draw(5, 7, dtype=torch.float32)
    assert_close(group_norm(7)(x), nn.LayerNorm(7)(x))


@pytest.mark.parametrize(("num_features", "max_groups"), [(1, 8), (0, 8), (4, 0)])
def test_group_norm_needs_two_features(num_features, max_groups):
    with pytest.raises(
        ValueError, match=f"num_features={num_features}, max_groups={max_groups}"
    ):
        group_norm(num_features, max_groups=max_groups)


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
def test_resolve_takes_names_entries_classes_and_functions(spec, name, cls):
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
        (MODULES["weight"], False),
        (nn.ReLU(), False),
        (nn.Sequential(nn.BatchNorm1d(3)), False),  # asked of each layer by itself
    ],
    ids=label,
)
def test_needs_batch_statistics(module, needs):
    assert needs_batch_statistics(module) is needs
