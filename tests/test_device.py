"""Devices, and what a fit must give back."""

import pytest
import torch

from sknorm._device import (
    best_device,
    fitting_threads,
    free_memory,
    local_rng,
    resolve_device,
)

CPU = torch.device("cpu")


def only(monkeypatch, *, cuda=0, mps=False):
    """Pretend that the machine has these devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({"cuda": 1, "mps": True}, "cuda:0"),
        ({"mps": True}, "mps"),
        ({}, "cpu"),
    ],
)
def test_auto_takes_the_fastest(monkeypatch, present, expected):
    only(monkeypatch, **present)
    assert str(best_device()) == expected
    assert str(resolve_device("auto")) == expected


def test_free_memory_counts_what_torch_holds_and_does_not_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_memory(torch.device("cuda:0")) == 130
    assert free_memory(CPU) is None
    assert free_memory(torch.device("mps")) is None


def test_auto_avoids_a_device_without_float64(monkeypatch):
    only(monkeypatch, mps=True)
    assert resolve_device("auto", dtype=torch.float64) == CPU
    with pytest.raises(ValueError, match=r"'mps' can't compute in torch.float64"):
        resolve_device("mps", dtype=torch.float64)


@pytest.mark.parametrize("spec", ["cpu", torch.device("cpu")])
def test_named_devices(spec):
    assert resolve_device(spec) == CPU


@pytest.mark.parametrize("spec", ["cuda", "cuda:1", torch.device("cuda:7")])
def test_cuda_that_is_not_there(monkeypatch, spec):
    only(monkeypatch, cuda=1 if spec == "cuda:1" else 0)
    with pytest.raises(ValueError, match=r"was asked for, but torch sees \d CUDA"):
        resolve_device(spec)


def test_mps_that_is_not_there(monkeypatch):
    only(monkeypatch)
    with pytest.raises(ValueError, match="torch sees no MPS device"):
        resolve_device("mps")


@pytest.mark.parametrize("spec", ["gpu", "cpu:x", 3.5])
def test_names_torch_does_not_know(spec):
    with pytest.raises(ValueError, match=r"'device' parameter must be 'auto'.*Got"):
        resolve_device(spec)


def test_local_rng_seeds_inside_and_restores_outside(device):
    device = torch.device(device)
    state = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with local_rng(7, device):
            draws.append(torch.rand(3, device=device).tolist())
    assert draws[0] == draws[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_local_rng_restores_after_an_error():
    state = torch.get_rng_state()

    def draw_and_fail():
        with local_rng(7, CPU):
            torch.rand(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert torch.equal(torch.get_rng_state(), state)


def test_small_work_runs_on_one_thread_and_large_on_all():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with fitting_threads(1e3, CPU):
            assert torch.get_num_threads() == 1
        with fitting_threads(1e9, CPU):
            assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError), fitting_threads(1e3, CPU):
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
