"""Fixtures that every test may ask for."""

import numpy as np
import pytest

SEED = 0


@pytest.fixture
def rng():
    """A NumPy generator of the test's own."""
    return np.random.default_rng(SEED)


@pytest.fixture
def generator():
    """A torch generator of the test's own."""
    import torch

    return torch.Generator().manual_seed(SEED)


def _devices():
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def pytest_generate_tests(metafunc):
    """Run a test that asks for a device on each one the machine has."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", _devices())
