"""Fixtures that every test may ask for."""

import numpy as np
import pytest
import sklearn

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


@pytest.fixture
def dispatch(monkeypatch):
    """Have scikit-learn keep arrays of other libraries, as far as it can."""
    # SciPy looks at it when it is imported, scikit-learn when it is configured.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    try:
        with sklearn.config_context(array_api_dispatch=True):
            yield
    except ImportError as error:
        pytest.skip(str(error))


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
