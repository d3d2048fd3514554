"""Learning-rate schedules at points one can work out by hand."""

import functools

import pytest
import torch
from skorch.callbacks import LRScheduler

from sknorm.neural_network._schedules import SCHEDULES, constant, resolve_schedule

KNOWN = [
    ("constant", {0: 1, 0.5: 1, 0.99: 1}),
    ("linear", {0: 1, 0.25: 0.75, 0.9: 0.1}),
    ("cosine", {0: 1, 1 / 3: 0.75, 0.5: 0.5, 1: 0}),
    ("flat_cosine", {0: 1, 0.5: 1, 2 / 3: 0.75, 0.75: 0.5, 1: 0}),
    # Zero where 1 + 15 t is a power of two, one where it is half way to the next.
    (
        "coslog4",
        {0: 0, (2**0.5 - 1) / 15: 1, 1 / 15: 0, 3 / 15: 0, 7 / 15: 0, 1: 0}
        | {(2**3.5 - 1) / 15: 1, (2**0.25 - 1) / 15: 0.5},
    ),
    ("one_cycle", {0: 0.04, 0.15: 0.52, 0.3: 1, 0.65: 0.5, 1: 0}),
    ("step", {0: 1, 0.49: 1, 0.5: 0.1, 0.75: 0.01, 0.99: 0.01}),
    ("exponential", {0: 1, 0.5: 0.1, 1: 0.01}),
]


@pytest.mark.parametrize(("name", "points"), KNOWN)
def test_known_values(name, points):
    for progress, factor in points.items():
        assert SCHEDULES[name](progress) == pytest.approx(factor, abs=1e-12)


def test_every_schedule_is_tested_above_and_stays_between_zero_and_one():
    assert set(SCHEDULES) == {name for name, _ in KNOWN}
    for schedule in SCHEDULES.values():
        assert all(0 <= schedule(i / 1000) <= 1 for i in range(1000))


def test_plateau_watches_what_it_is_told_to():
    factor, (callback,) = resolve_schedule("plateau", monitor="valid_loss", owner="E")
    assert factor is constant
    assert isinstance(callback, LRScheduler)
    assert callback.monitor == "valid_loss"


def test_torch_scheduler_class_with_arguments():
    spec = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=7)
    factor, (callback,) = resolve_schedule(spec, monitor="train_loss", owner="E")
    assert factor is constant
    assert callback.policy is torch.optim.lr_scheduler.StepLR
    assert callback.step_size == 7


def test_function_of_progress_is_used_as_it_is():
    def half(progress):
        return 0.5

    assert resolve_schedule(half, monitor="train_loss", owner="E") == (half, [])


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'lr_schedule' parameter of E.*'cosine'"):
        resolve_schedule("cosin", monitor="train_loss", owner="E")
