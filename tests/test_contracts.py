"""What every entry of every table keeps to, found by reading the tables."""

import copy
import pickle
import random
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sknorm.nn.activations import ACTIVATIONS, Activation, resolve_activation
from sknorm.nn.initializers import INITIALIZERS, Initializer, resolve_initializer
from sknorm.nn.mlp import MLP
from sknorm.nn.norms import NORMS, needs_batch_statistics, resolve_norm

ROWS, IN, OUT = 8, 6, 4
COPIES = [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)
every_initializer = pytest.mark.parametrize("name", INITIALIZERS)
every_norm = pytest.mark.parametrize("name", NORMS)
every_copy = pytest.mark.parametrize("duplicate", COPIES, ids=["deepcopy", "pickle"])


def precisions(device):
    """Return what the device computes in: MPS has no float64."""
    is_mps = torch.device(device).type == "mps"
    return [torch.float32] if is_mps else [torch.float32, torch.float64]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, device="cpu", dtype=torch.float32):
    # Drawn in one precision and on the CPU, so that every case sees the same numbers.
    return torch.randn(*shape, generator=seeded()).to(device, dtype)


def global_rng_states():
    # NumPy's legacy generator is the one that must not move.
    states = [torch.get_rng_state()]
    states += torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    states += [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else []
    _, keys, *position = np.random.get_state()  # noqa: NPY002
    return [s.tolist() for s in states], keys.tolist(), position, random.getstate()


@contextmanager
def global_rngs_untouched():
    before = global_rng_states()
    yield
    assert global_rng_states() == before


def check_forward_and_backward(module, x):
    """Check shape, type, place and finiteness of what a layer gives and gives back."""
    x = x.clone().requires_grad_()
    y = module(x)
    assert (y.dtype, y.device) == (x.dtype, x.device)
    assert y.isfinite().all()
    slopes = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=y.dtype)
    (y * slopes.view_as(y)).sum().backward()
    for gradient in (x.grad, *(p.grad for p in module.parameters())):
        assert gradient is not None
        assert gradient.isfinite().all()
    return y


# -- activations -----------------------------------------------------------------------


@every_activation
def test_activation_keeps_shape_dtype_and_device(name, device):
    for dtype in precisions(device):
        module = ACTIVATIONS[name].module().to(device, dtype)
        x = 3 * draw(ROWS, IN, device=device, dtype=dtype)
        x[0] = torch.tensor([0.0, 1e-30, -1e-30, 30.0, -30.0, 1.0])
        assert check_forward_and_backward(module, x).shape == x.shape


@every_activation
def test_activation_maps_each_number_by_itself(name):
    module, x = ACTIVATIONS[name].module(), draw(ROWS, IN, dtype=torch.float64)
    numbers = [module(number) for number in x.flatten()]
    torch.testing.assert_close(module(x).flatten(), torch.stack(numbers))


@every_activation
def test_activation_makes_fresh_modules(name):
    assert ACTIVATIONS[name].module() is not ACTIVATIONS[name].module()


@every_activation
@every_copy
def test_activation_copies_are_equals(name, duplicate):
    activation, x = ACTIVATIONS[name], draw(ROWS, IN)
    twin = duplicate(activation)
    assert twin == activation
    assert hash(twin) == hash(activation)
    assert (twin.gain, twin.sweet_spot) == (activation.gain, activation.sweet_spot)
    assert torch.equal(twin.module()(x), duplicate(activation.module())(x))


@every_activation
def test_activation_touches_no_global_rng(name):
    with global_rngs_untouched():
        # A new one: the table's may have its numbers already.
        activation = Activation(name, resolve_activation(name).factory)
        activation.module()(draw(ROWS, IN))
        low, high = activation.sweet_spot
    assert low < high
    assert min(activation.gain, activation.grad_gain, activation.var) > 0


# -- initializers ----------------------------------------------------------------------


def bound(name, position="hidden", normalized=False):
    return resolve_initializer(name).bind(
        phi=torch.tanh, gain=1.6, position=position, normalized=normalized
    )


@every_initializer
@pytest.mark.parametrize("shape", [(OUT, IN), (IN, OUT), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
# No device: weights start on the CPU, so that a seed means the same on all of them.
def test_initializer_fills_weight_and_bias_in_place(name, shape, dtype):
    linear = nn.utils.skip_init(nn.Linear, shape[1], shape[0], dtype=dtype)
    nn.init.constant_(linear.weight, torch.nan)
    nn.init.constant_(linear.bias, torch.nan)
    scheme = bound(name)
    assert scheme(linear.weight, gain=1.6, generator=seeded()) is linear.weight
    scheme.init_bias(linear.bias, fan_in=shape[1], generator=seeded())
    for parameter in (linear.weight, linear.bias):
        assert parameter.dtype == dtype
        assert parameter.isfinite().all()
        assert parameter.requires_grad
        assert parameter.is_leaf
    assert linear.weight.shape == shape


@every_initializer
@pytest.mark.parametrize("position", ["input", "hidden", "output"])
@pytest.mark.parametrize("normalized", [True, False])
def test_initializer_binds_to_every_layer(name, position, normalized):
    scheme = bound(name, position, normalized)
    assert isinstance(scheme, Initializer)
    assert scheme.data_dependent == INITIALIZERS[name].data_dependent
    assert scheme == bound(name, position, normalized)
    assert scheme(torch.full((OUT, IN), torch.nan)).isfinite().all()


@every_initializer
def test_initializer_draws_from_its_generator_alone(name):
    scheme = bound(name)

    def fill(seed):
        generator = seeded(seed)
        weight = scheme(torch.empty(OUT, IN), gain=1.6, generator=generator)
        bias = scheme.init_bias(torch.empty(OUT), fan_in=IN, generator=generator)
        return torch.cat([weight.flatten(), bias])

    with global_rngs_untouched():
        first, again, other = fill(0), fill(0), fill(1)
    assert torch.equal(first, again)
    is_random = first.unique().numel() > 2
    assert torch.equal(first, other) != is_random


@every_initializer
@pytest.mark.parametrize(
    "duplicate",
    [*COPIES, lambda thing: clone(thing, safe=False)],
    ids=["deepcopy", "pickle", "clone"],
)
def test_initializer_copies_are_equals(name, duplicate):
    for scheme in (resolve_initializer(name), bound(name)):
        twin = duplicate(scheme)
        assert twin == scheme
        assert hash(twin) == hash(scheme)
        assert repr(twin) == repr(scheme)


@every_initializer
def test_initializer_repr_is_its_constructor(name):
    scheme = resolve_initializer(name)
    assert type(scheme) is INITIALIZERS[name]
    assert eval(repr(scheme), {type(scheme).__name__: type(scheme)}) == scheme


@every_initializer
def test_initializer_fills_a_bias_if_it_says_so(name):
    scheme, bias = resolve_initializer(name), torch.full((OUT,), torch.nan)
    if scheme.fills_bias:
        scheme.fill_bias(bias, fan_in=IN, generator=seeded())
        assert bias.isfinite().all()
    else:
        with pytest.raises(ValueError, match="shape"):
            scheme.fill_bias(bias, fan_in=IN, generator=seeded())


# -- norms -----------------------------------------------------------------------------


def norm_layer(name, device="cpu", dtype=torch.float32):
    """Return a layer of IN inputs that is normalized in the way of the entry."""
    norm = NORMS[name]
    if norm.acts_on != "weight":
        return norm.build(IN).to(device, dtype)
    linear = nn.utils.skip_init(nn.Linear, IN, OUT, device=device, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(draw(OUT, IN))
        linear.bias.copy_(draw(OUT))
    return norm.factory(linear)


INPUTS = {
    "ordinary": lambda x: x,
    "all equal": torch.ones_like,
    "all zero": torch.zeros_like,
    "equal rows": lambda x: x[:1].expand_as(x).clone(),
    "equal columns": lambda x: x[:, :1].expand_as(x).clone(),
    "large": lambda x: 1e6 * x,
    "far away": lambda x: x + 1e6,
    "small": lambda x: 1e-20 * x,
}


@every_norm
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("training", [True, False])
def test_norm_keeps_shape_dtype_and_device(name, kind, training, device):
    for dtype in precisions(device):
        layer = norm_layer(name, device, dtype).train(training)
        x = INPUTS[kind](draw(ROWS, IN, device=device, dtype=dtype))
        y = check_forward_and_backward(layer, x)
        assert y.shape == (ROWS, OUT if NORMS[name].acts_on == "weight" else IN)
        state = layer.state_dict().values()
        assert {tensor.device for tensor in state} <= {x.device}
        assert {t.dtype for t in state if t.is_floating_point()} <= {dtype}


@every_norm
def test_norm_does_not_edit_its_input(name):
    x = draw(ROWS, IN)
    norm_layer(name)(x)
    assert torch.equal(x, draw(ROWS, IN))


@every_norm
@every_copy
def test_norm_copies_behave_alike(name, duplicate):
    assert duplicate(NORMS[name]) == NORMS[name]
    layer, x = norm_layer(name), draw(ROWS, IN)
    layer(x)
    twin = duplicate(layer)
    assert torch.equal(twin(x), layer(x))
    assert torch.equal(twin.eval()(x), layer.eval()(x))
    ours, theirs = ({p.data_ptr() for p in m.parameters()} for m in (layer, twin))
    assert not ours & theirs


@every_norm
def test_norm_state_round_trips(name):
    layer, x = norm_layer(name), draw(ROWS, IN)
    layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5)
    twin = norm_layer(name)
    twin.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(twin.eval()(x), layer.eval()(x))


@every_norm
def test_norm_touches_no_global_rng(name):
    with global_rngs_untouched():
        layer = norm_layer(name)
        check_forward_and_backward(layer, draw(ROWS, IN))
        layer.eval()(draw(ROWS, IN))


@every_norm
def test_norm_tells_whether_it_looks_at_the_batch(name):
    # A row alone comes out otherwise than among others, or is refused.
    layer, x = norm_layer(name), draw(ROWS, IN)
    among_others = layer(x)[:2]
    looks = not torch.allclose(layer(x[:2]), among_others, atol=1e-5)
    assert needs_batch_statistics(layer) == looks
    assert resolve_norm(name) is NORMS[name]


# -- together --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(("activation", name) for name in ACTIVATIONS),
        *(("init", name) for name in INITIALIZERS),
        *(("norm", name) for name in NORMS),
    ],
)
def test_every_entry_makes_a_network_that_can_learn(part, name):
    given = {"activation": "tanh", "norm": "none", part: name}
    with global_rngs_untouched():
        mlp = MLP(IN, OUT, hidden_layer_sizes=(5, 5), generator=seeded(), **given)
    again = MLP(IN, OUT, hidden_layer_sizes=(5, 5), generator=seeded(), **given)
    x = draw(ROWS, IN)
    assert torch.equal(mlp(x), again(x))
    mlp(x).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in mlp.parameters())
    twin = pickle.loads(pickle.dumps(mlp))
    assert torch.equal(twin.eval()(x), mlp.eval()(x))
