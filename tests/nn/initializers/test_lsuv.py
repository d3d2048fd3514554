import math

import pytest
import torch

from sknorm.nn.initializers import (
    LSUV,
    EdgeOfChaos,
    Normal,
    Orthogonal,
    Sparse,
    StandardNormal,
)


@pytest.mark.parametrize(
    "base", ["orthogonal", "standard_normal", Normal(0, 1e-3), "auto"]
)
def test_lsuv_scales_to_unit_variance(base, draw, generator):
    x = torch.randn(500, 30, generator=generator) * torch.linspace(0.1, 9, 30) + 2
    weight = draw(LSUV(base=base), (40, 30))
    before = weight.clone()
    assert LSUV().scale_(weight, lambda: x @ weight.T) is weight
    assert (x @ weight.T).var() == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(weight / weight.norm(), before / before.norm())


def test_lsuv_starts_from_its_base(draw, generator):
    assert torch.equal(draw(LSUV()), draw(Orthogonal()))
    assert torch.equal(draw(LSUV(base="sparse")), draw(Sparse()))
    bound = LSUV(base=EdgeOfChaos(1.0)).bind(
        phi=torch.tanh, gain=1.5, position="hidden", normalized=False
    )
    assert isinstance(bound, LSUV)
    assert torch.equal(draw(bound), draw(EdgeOfChaos(1.0)))
    assert bound.init_bias(torch.zeros(5), fan_in=3, generator=generator).all()


def test_lsuv_stops_at_the_tolerance(generator):
    x = torch.randn(500, 30, generator=generator)
    weight = torch.eye(30)
    before = weight.clone()
    assert abs((x @ weight.T).var() - 1) < 0.1
    LSUV(tol=0.1).scale_(weight, lambda: x @ weight.T)
    assert torch.equal(weight, before)
    LSUV(tol=1e-5).scale_(weight, lambda: x @ weight.T)
    assert not torch.equal(weight, before)
    assert (x @ weight.T).var(correction=0) == pytest.approx(1, abs=1e-5)


def test_lsuv_takes_small_biases_into_account(draw, generator):
    x, bias = torch.randn(500, 30, generator=generator), torch.linspace(-1, 1, 40)
    weight = draw(StandardNormal(), (40, 30))
    LSUV(tol=0.01, max_iter=50).scale_(weight, lambda: x @ weight.T + bias)
    assert (x @ weight.T + bias).var() == pytest.approx(1, abs=0.02)


def test_lsuv_leaves_a_silent_layer_alone():
    weight = torch.zeros(4, 3)
    LSUV().scale_(weight, lambda: torch.ones(10, 3) @ weight.T)
    assert not weight.any()


def test_lsuv_cannot_shrink_biases():
    weight, bias = torch.ones(40, 30), torch.linspace(-9, 9, 40)
    with pytest.raises(ValueError, match=r"could not bring.*use bias_init='zeros'"):
        LSUV().scale_(weight, lambda: torch.ones(10, 30) @ weight.T + bias)


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e300])
def test_lsuv_meets_infinity(value):
    weight = torch.ones(4, 3, dtype=torch.float64)
    x = torch.tensor([[value, 1.0, 1.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"aren't finite\. Standardize the inputs"):
        LSUV().scale_(weight, lambda: x @ weight.T)
    assert (weight == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSUV(tol=0), r"'tol' parameter of LSUV.*greater than 0. Got 0"),
        (lambda: LSUV(max_iter=0), r"'max_iter' parameter of LSUV.*Got 0"),
        (lambda: LSUV(max_iter=True), r"'max_iter' parameter of LSUV.*Got True"),
        (lambda: LSUV(max_iter=1.5), r"'max_iter' parameter of LSUV.*integer"),
        (
            lambda: LSUV(base="orthogonl"),
            r"'base' parameter of LSUV: Unknown.*'orthogonal'",
        ),
        (lambda: LSUV(base="lsuv"), r"'base' parameter of LSUV.*needs no data"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
