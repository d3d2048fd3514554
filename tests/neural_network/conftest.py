"""What tests of networks share."""

import copy
import functools

import pytest
import torch

from sknorm.neural_network._gradient import Gradient
from sknorm.neural_network._sequence import SequenceGradient, is_plain


@pytest.fixture
def assert_same():
    """Compare derivatives that are written down with those of autograd."""
    return _assert_same


def _assert_same(module, criterion, batches, **options):
    """Compare with autograd, batch after batch, the gradients, outputs and buffers."""
    assert is_plain(module)
    twin = copy.deepcopy(module)
    expected = Gradient(twin, criterion, **options)
    found = SequenceGradient(module, criterion, **options)
    close = functools.partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
    for batch in batches:
        for one, other in zip(found(*batch), expected(*batch), strict=True):
            close(one, other)
            assert not one.requires_grad
        for parameter, other in zip(
            module.parameters(), twin.parameters(), strict=True
        ):
            close(parameter.grad, other.grad)
        close(module.state_dict(), twin.state_dict())
