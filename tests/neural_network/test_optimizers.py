"""Optimizers by name and class."""

import copy
import functools
import math
import pickle

import pytest
import torch
from torch import nn

from sknorm.neural_network._optimizers import (
    OPTIMIZERS,
    AdamStep,
    build_optimizer,
    flush_faded,
    resolve_optimizer,
)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("lbfgs", torch.optim.LBFGS),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_names_are_torchs_in_lower_case(name, cls):
    assert resolve_optimizer(name, owner="E").func is cls


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_one_in_the_table_lowers_a_loss(name, generator):
    linear = nn.Linear(3, 1)
    x = torch.randn(50, 3, generator=generator)
    y = x.sum(dim=1, keepdim=True)
    optimizer = build_optimizer(
        resolve_optimizer(name, owner="E"),
        linear,
        lr=0.05,
        weight_decay=0.0,
    )

    def closure():
        optimizer.zero_grad()
        loss = (linear(x) - y).square().mean()
        loss.backward()
        return loss

    before = float(closure().detach())
    for _ in range(20):
        optimizer.step(closure)
    assert float(closure().detach()) < before


def test_weight_decay_reaches_matrices_alone():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = build_optimizer(
        resolve_optimizer("adamw", owner="E"),
        net,
        lr=0.1,
        weight_decay=0.3,
    )
    matrices, rest = optimizer.param_groups
    assert [p.ndim for p in matrices["params"]] == [2, 2]
    assert [p.ndim for p in rest["params"]] == [1] * 4
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)


def test_arguments_of_a_partial_arrive():
    spec = functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.2)
    optimizer = build_optimizer(
        resolve_optimizer(spec, owner="E"),
        nn.Linear(2, 2),
        lr=0.1,
        weight_decay=0.0,
    )
    assert optimizer.defaults["momentum"] == 0.9
    assert optimizer.param_groups[0]["weight_decay"] == 0.2
    assert optimizer.param_groups[0]["lr"] == 0.1


class Grouped(nn.Linear):
    """A layer whose bias learns at a rate of its own."""

    def parameter_groups(self):
        return [
            {"params": [self.weight], "lr_factor": 1.0, "decay_factor": 1.0},
            {"params": [self.bias], "lr_factor": 0.1, "decay_factor": 0.0},
        ]


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_one_but_lbfgs_keeps_the_rates_of_groups(name):
    spec = resolve_optimizer(name, owner="E")
    optimizer = build_optimizer(spec, Grouped(2, 1), lr=0.5, weight_decay=0.0)
    found = [
        (g["lr"], g["lr_factor"], len(g["params"])) for g in optimizer.param_groups
    ]
    one, each = [(0.5, 1.0, 2)], [(0.5, 1.0, 1), (0.05, 0.1, 1)]
    assert found == (one if name == "lbfgs" else each)


def test_rprop_takes_first_steps_of_its_groups():
    layer = Grouped(1, 1)
    before = torch.cat([p.detach().ravel() for p in layer.parameters()])
    spec = resolve_optimizer("rprop", owner="E")
    optimizer = build_optimizer(spec, layer, lr=0.5, weight_decay=0.0)
    layer(torch.ones(1, 1)).backward()
    optimizer.step()
    after = torch.cat([p.detach().ravel() for p in layer.parameters()])
    torch.testing.assert_close(after, before - torch.tensor([0.5, 0.05]))


def test_optimizer_without_weight_decay_says_so():
    with pytest.raises(ValueError, match=r"LBFGS has no weight decay.*Got weight"):
        build_optimizer(
            resolve_optimizer("lbfgs", owner="E"),
            nn.Linear(2, 2),
            lr=1.0,
            weight_decay=0.1,
        )


def test_unknown_name_and_wrong_class():
    with pytest.raises(ValueError, match="Did you mean 'adamw'"):
        resolve_optimizer("adamww", owner="E")
    with pytest.raises(TypeError, match=r"subclass of torch.optim.Optimizer. Got"):
        resolve_optimizer(nn.Linear, owner="E")


# -- the short step --------------------------------------------------------------------


def network():
    rng = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=rng)
    return net


# Newer versions of torch have an Adam that can decay weights as AdamW does.
DECAYS_AS_ADAMW = [
    (torch.optim.Adam, {option: True})
    for option in torch.optim.Adam([torch.ones(1)]).defaults
    if option == "decoupled_weight_decay"
]


def stepper(net, cls=torch.optim.AdamW, lr=0.1, **options):
    options = {"weight_decay": 0.3} | options
    optimizer = functools.partial(cls, **options)
    return AdamStep(build_optimizer(optimizer, net, lr=lr, weight_decay=0.0))


def gradient(net, x=1.0, calls=None):
    def closure():
        if calls is not None:
            calls.append(x)
        net.zero_grad()
        loss = net(torch.full((1, 3), float(x))).square().sum()
        loss.backward()
        return loss

    return closure


def assert_alike(net, step, twin, optimizer):
    """Compare the parameters and the state with those of torch's own steps."""
    close = functools.partial(torch.testing.assert_close, rtol=0, atol=0)
    close(net.state_dict(), twin.state_dict())
    found, expected = step.optimizer.state_dict(), optimizer.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    close(found["state"], expected["state"])


def test_first_short_step_by_hand():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    step = stepper(net, torch.optim.Adam, weight_decay=0.0)

    def closure():
        net.weight.grad = torch.ones(1, 1)

    # Whatever a constant gradient's size, Adam moves by the learning rate.
    for expected in (1.9, 1.8, 1.7):
        step(closure)
        assert net.weight.item() == pytest.approx(expected, rel=1e-6)
    assert step.optimizer.state[net.weight]["step"].item() == 3


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {}),
        (torch.optim.Adam, {"betas": (0.5, 0.8), "eps": 0.1, "maximize": True}),
        (torch.optim.AdamW, {"amsgrad": True}),
        (torch.optim.AdamW, {"fused": False}),
        (torch.optim.AdamW, {"foreach": True}),
        (torch.optim.SGD, {"momentum": 0.9}),
        (torch.optim.RMSprop, {}),
        *DECAYS_AS_ADAMW,
    ],
)
def test_the_step_is_that_of_torch(cls, options):
    net, twin = network(), network()
    step, optimizer = stepper(net, cls, **options), stepper(twin, cls, **options)
    for i in range(6):
        for each in (step.optimizer, optimizer.optimizer):
            each.param_groups[0]["lr"] = 0.1 / (i + 1)
        step(gradient(net, i))
        optimizer.optimizer.step(gradient(twin, i))
    assert_alike(net, step, twin, optimizer.optimizer)


def test_it_is_short_from_the_second_step_on(monkeypatch):
    net = network()
    step = stepper(net)
    step(gradient(net))
    monkeypatch.setattr(torch.optim.AdamW, "step", None)
    step(gradient(net))
    with torch.no_grad():
        step(gradient(net))
    assert step.optimizer.state[net[0].weight]["step"].item() == 3


def test_steps_of_the_optimizer_itself_in_between():
    net, twin = network(), network()
    step, optimizer = stepper(net), stepper(twin).optimizer
    for i in range(6):
        (step.optimizer.step if i == 3 else step)(gradient(net, i))
        optimizer.step(gradient(twin, i))
    assert_alike(net, step, twin, optimizer)


def test_a_state_that_is_loaded_in_between():
    net, twin = network(), network()
    step, optimizer = stepper(net), stepper(twin).optimizer
    for i in range(3):
        step(gradient(net, i))
        optimizer.step(gradient(twin, i))
    kept = copy.deepcopy((net.state_dict(), step.optimizer.state_dict()))
    for _ in range(4):
        step(gradient(net))
    net.load_state_dict(kept[0])
    step.optimizer.load_state_dict(kept[1])
    assert_alike(net, step, twin, optimizer)
    for i in range(3):
        step(gradient(net, i))
        optimizer.step(gradient(twin, i))
    assert_alike(net, step, twin, optimizer)


def test_the_optimizer_is_pickled_as_ever():
    net = network()
    step = stepper(net)
    for _ in range(3):
        step(gradient(net))
    stored = pickle.dumps(step.optimizer)
    assert pickle.loads(stored).state_dict()["state"].keys() == {0, 1, 2, 3}
    twin = network()
    plain = stepper(twin).optimizer
    for _ in range(3):
        plain.step(gradient(twin))
    assert len(stored) < 1.2 * len(pickle.dumps(plain))


def test_parameters_without_a_gradient_are_left_alone():
    net, calls = network(), []
    step = stepper(net)
    for _ in range(2):
        step(gradient(net))
    before = copy.deepcopy(net.state_dict())
    count = step.optimizer.state[net[0].bias]["step"].item()

    def closure():
        calls.append(gradient(net)())
        net[0].bias.grad = None

    step(closure)
    assert len(calls) == 1
    assert torch.equal(net[0].bias, before["0.bias"])
    assert not torch.equal(net[2].bias, before["2.bias"])
    assert step.optimizer.state[net[0].bias]["step"].item() == count


def test_hooks_and_schedulers_see_every_step():
    net, seen = network(), []
    step = stepper(net)
    scheduler = torch.optim.lr_scheduler.ConstantLR(step.optimizer, factor=0.5)
    handle = step.optimizer.register_step_post_hook(lambda *args: seen.append(args))
    for _ in range(3):
        step(gradient(net))
        scheduler.step()
    assert len(seen) == 3
    handle.remove()
    step(gradient(net))
    assert len(seen) == 3


def test_a_group_that_is_added_later_is_trained_too():
    net, late = network(), nn.Linear(2, 1)
    step = stepper(net)
    for _ in range(2):
        step(gradient(net))
    step.optimizer.add_param_group({"params": [*late.parameters()], "lr_factor": 1.0})
    before = late.bias.item()

    def closure():
        gradient(net)()
        for parameter in late.parameters():
            parameter.grad = torch.ones_like(parameter)

    for _ in range(2):
        step(closure)
    assert late.bias.item() < before


# -- numbers that have faded -----------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "kept", "faded"),
    [(torch.float32, 1.1e-19, 1.08e-19), (torch.float64, 1.5e-154, 1.4e-154)],
)
def test_what_is_flushed_and_what_is_kept(dtype, kept, faded):
    smallest = torch.finfo(dtype).smallest_normal
    values = [smallest / 4, -smallest, -faded, kept, -1.0, math.nan, 0.0]
    weight = nn.Parameter(torch.zeros(len(values), dtype=dtype))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    state = optimizer.state[weight]
    weight.data = torch.tensor(values, dtype=dtype)
    state["exp_avg"].fill_(-faded)
    state["exp_avg_sq"].fill_(faded)
    flush_faded(optimizer)
    expected = torch.tensor([0.0, 0.0, 0.0, kept, -1.0], dtype=dtype)
    assert torch.equal(weight[:5], expected)
    assert weight[5].isnan()
    assert state["exp_avg"].tolist() == [0.0] * len(values)
    # Steps are divided by their root.
    assert all(value > 0 for value in state["exp_avg_sq"].tolist())


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_one_in_the_table_can_be_flushed(name):
    linear = nn.Linear(3, 1)
    optimizer = build_optimizer(
        resolve_optimizer(name, owner="E"), linear, lr=0.1, weight_decay=0.0
    )
    for _ in range(2):
        optimizer.step(lambda: _backward(linear))
        linear.weight.data[0, 0] = 1e-20
        flush_faded(optimizer)
        assert linear.weight[0, 0] == 0
        assert linear.weight[0, 1] != 0


def _backward(linear):
    linear.zero_grad()
    loss = linear(torch.ones(2, 3)).square().sum()
    loss.backward()
    return loss
