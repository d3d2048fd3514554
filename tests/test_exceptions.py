"""Errors by name."""

import warnings

import pytest

from sknorm.exceptions import DivergenceError, SignalWarning


def test_divergence_is_an_arithmetic_error():
    with pytest.raises(ArithmeticError, match="boom"):
        raise DivergenceError("boom")


def test_a_signal_that_dies_is_a_users_business():
    with pytest.warns(UserWarning, match="dies"):
        warnings.warn("it dies", SignalWarning, stacklevel=1)
