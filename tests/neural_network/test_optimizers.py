"""Optimizers by name and class."""

import functools

import pytest
import torch
from torch import nn

from sknorm.neural_network._optimizers import (
    OPTIMIZERS,
    build_optimizer,
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
