"""Errors by name."""

import pytest

from sknorm.exceptions import DivergenceError


def test_divergence_is_an_arithmetic_error():
    with pytest.raises(ArithmeticError, match="boom"):
        raise DivergenceError("boom")
