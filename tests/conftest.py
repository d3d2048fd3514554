"""Fixtures that every test may ask for."""

import importlib

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


class Abroad:
    """A library other than NumPy, on a device."""

    def __init__(self, name, device, *, has_float64=True):
        self.name = name
        self.device = device
        self.has_float64 = has_float64

    def __str__(self):
        return f"{self.name}-{self.device}"

    def __call__(self, values):
        """Return a NumPy array as one of the library, rounded if it has to be."""
        library = importlib.import_module(self.name)
        strict = self.name == "array_api_strict"
        device = library.Device(self.device) if strict else self.device
        if not self.has_float64 and values.dtype == np.float64:
            values = values.astype(np.float32)
        # Not the same memory, lest a test write into that of others.
        return library.asarray(values, device=device, copy=True)


def _abroad():
    strict = [("CPU_DEVICE", True), ("device1", True), ("no_float64", False)]
    torch = [(device, device != "mps") for device in _devices()]
    return [
        Abroad(name, device, has_float64=wide)
        for name, devices in (("torch", torch), ("array_api_strict", strict))
        for device, wide in devices
    ]


def pytest_generate_tests(metafunc):
    """Run a test on each device the machine has, or on each library beside NumPy."""
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", _devices())
    if "abroad" in metafunc.fixturenames:
        metafunc.parametrize("abroad", _abroad(), ids=str)
    if "wide_abroad" in metafunc.fixturenames:
        wide = [abroad for abroad in _abroad() if abroad.has_float64]
        metafunc.parametrize("wide_abroad", wide, ids=str)
