import functools
import math

import pytest
import torch
from torch import nn

from sknorm.nn.initializers import (
    Constant,
    Initializer,
    Normal,
    Sparse,
    StandardNormal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from sknorm.nn.initializers._fixed import TRUNCATED_STD

GAIN = 1.5  # the one that `draw` gives


@pytest.mark.parametrize(
    ("scheme", "mean", "var", "kurtosis"),
    [
        (Zeros(), 0, 0, 3),
        (Constant(0.3), 0.3, 0, 3),
        (Constant(-2), -2, 0, 3),
        (Normal(), 0, 1e-4, 3),
        (Normal(mean=10, std=5), 10, 25, 3),
        (Normal(mean=1, std=0), 1, 0, 3),
        (StandardNormal(), 0, 1, 3),
        (Uniform(), 0, 0.1**2 / 12, 1.8),
        (Uniform(-1, 2), 0.5, 9 / 12, 1.8),
        (TruncatedNormal(), 0, GAIN**2 / 50, 3),
        (TruncatedNormal(std=0.02), 0, 4e-4, 3),
        (TruncatedNormal(mean=-3, std=2.0), -3, 4, 3),
        (TruncatedNormal(mean=1, std=0), 1, 0, 3),
        # A tenth of the weights, ten times the variance: kurtosis 3 * 10.
        (Sparse(), 0, GAIN**2 / 50, 30),
        (Sparse(0.5, std=0.1), 0, 0.005, 6),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments(scheme, mean, var, kurtosis, dtype, assert_moments):
    assert_moments(scheme, mean, var, kurtosis, dtype)


@pytest.mark.parametrize(
    ("scheme", "low", "high"),
    [
        (Uniform(-1, 2), -1, 2),
        (TruncatedNormal(1.0, std=0.1), 1 - 0.2 / 0.87962566, 1 + 0.2 / 0.87962566),
    ],
    ids=repr,
)
def test_bounds_are_kept_and_nearly_reached(scheme, low, high, assert_bounds):
    assert_bounds(scheme, low, high)


def test_truncated_std_is_that_of_a_normal_cut_at_two():
    phi, share = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    assert math.sqrt(1 - 4 * phi / share) == pytest.approx(TRUNCATED_STD, rel=1e-14)


@pytest.mark.parametrize(
    ("scheme", "torch_init"),
    [
        (Zeros(), nn.init.zeros_),
        (Constant(0.3), lambda w, generator: nn.init.constant_(w, 0.3)),
        (Normal(10, 5), functools.partial(nn.init.normal_, mean=10, std=5)),
        (StandardNormal(), nn.init.normal_),
        (Uniform(-1, 2), functools.partial(nn.init.uniform_, a=-1, b=2)),
    ],
    ids=lambda p: repr(p) if isinstance(p, Initializer) else "",
)
def test_parity_with_torch(scheme, torch_init, assert_as_torch):
    assert_as_torch(scheme, torch_init)


@pytest.mark.parametrize(
    ("sparsity", "fan_in", "kept"),
    [(0.9, 50, 5), (0.9, 10, 1), (0.9, 3, 1), (0.99, 1, 1), (0, 8, 8), (0.55, 100, 45)],
)
def test_sparse_keeps_as_many_inputs_for_every_unit(sparsity, fan_in, kept, draw):
    weight = draw(Sparse(sparsity), (400, fan_in))
    assert ((weight != 0).sum(dim=1) == kept).all()
    # Which ones is drawn anew for every unit: all inputs are heard by some.
    assert (weight != 0).any(dim=0).all()
    nonzero = weight[weight != 0].double()
    error = 5 * math.sqrt(2 / len(nonzero))
    assert nonzero.var() * kept == pytest.approx(GAIN**2, rel=error)


@pytest.mark.parametrize(
    ("scheme", "mean", "var"),
    [
        (Zeros(), 0, 0),
        (Constant(), 0.1, 0),
        (Normal(2, 0.5), 2, 0.25),
        (StandardNormal(), 0, 1),
        (Uniform(0, 1), 0.5, 1 / 12),
        (TruncatedNormal(), 0, 1 / 16),
        (TruncatedNormal(1, 0.3), 1, 0.09),
    ],
    ids=repr,
)
def test_fill_bias(scheme, mean, var, assert_fills_bias):
    assert_fills_bias(scheme, mean, var)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Constant("a"),
            r"'value' parameter of Constant must be a finite number",
        ),
        (lambda: Constant(True), r"'value' parameter of Constant.*Got True"),
        (lambda: Normal(std=-1), r"'std' parameter of Normal.*at least 0. Got -1"),
        (lambda: Normal(std=None), r"'std' parameter of Normal.*Got None"),
        (lambda: Normal(mean=math.nan), r"'mean' parameter of Normal.*Got nan"),
        (lambda: Normal(mean="x"), r"'mean' parameter of Normal.*Got 'x'"),
        (lambda: Uniform(1, 0), r"'low' parameter of Uniform.*at most high=0. Got 1"),
        (lambda: Uniform(0, math.inf), r"'high' parameter of Uniform.*Got inf"),
        (
            lambda: TruncatedNormal(std=-1),
            r"'std' parameter.*at least 0, or None. Got -1",
        ),
        (lambda: Sparse(1.0), r"'sparsity' parameter of Sparse.*in \[0, 1\). Got 1.0"),
        (lambda: Sparse(-0.1), r"'sparsity' parameter of Sparse.*Got -0.1"),
        (lambda: Sparse(0.5, std=-2), r"'std' parameter of Sparse.*Got -2"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
