"""Losses by hand."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss, mean_tweedie_deviance

from sknorm.neural_network._losses import (
    REGRESSION_LOSSES,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    Pinball,
    Poisson,
    SquaredError,
    Tweedie,
)


def test_cross_entropy_by_hand():
    output = torch.tensor([[0.0, math.log(3.0)]])
    assert CrossEntropy()(output, torch.tensor([1]), None).item() == pytest.approx(
        math.log(4 / 3)
    )


def test_label_smoothing_by_hand():
    output = torch.tensor([[0.0, math.log(3.0)]])
    # 0.9 + 0.1 / 2 on the right class, 0.1 / 2 on the other.
    expected = -(0.95 * math.log(0.75) + 0.05 * math.log(0.25))
    loss = CrossEntropy(0.1)(output, torch.tensor([1]), None)
    assert loss.item() == pytest.approx(expected)


def test_binary_cross_entropy_averages_over_labels_and_smooths():
    output = torch.tensor([[0.0, math.log(3.0)]])
    target = torch.tensor([[1.0, 1.0]])
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert BinaryCrossEntropy()(output, target, None).item() == pytest.approx(expected)
    smooth = (math.log(2) - 0.95 * math.log(0.75) - 0.05 * math.log(0.25)) / 2
    loss = BinaryCrossEntropy(0.1)(output, target, None)
    assert loss.item() == pytest.approx(smooth)


def test_squared_error_is_a_mean_over_outputs():
    loss = SquaredError()(torch.tensor([[1.0, 5.0]]), torch.zeros(1, 2), None)
    assert loss.item() == 13.0


def test_weights_divide_by_the_rows_and_not_by_their_sum():
    output = torch.tensor([[1.0], [2.0]])
    loss = SquaredError()(output, torch.zeros(2, 1), torch.tensor([0.5, 1.0]))
    assert loss.item() == (0.5 * 1 + 1.0 * 4) / 2


def test_links():
    output = torch.tensor([[0.0, math.log(3.0)]])
    assert CrossEntropy().link(output)[0, 1].item() == pytest.approx(0.75)
    assert BinaryCrossEntropy().link(output)[0, 1].item() == pytest.approx(0.75)
    assert SquaredError().link(output) is output


def test_a_loss_without_rows_says_so():
    with pytest.raises(TypeError, match="has to define per_row"):
        Loss()(torch.zeros(1), torch.zeros(1), None)


class TestMembers:
    """Outputs of many networks in one, of shape (n_rows, n_members, n_outputs)."""

    def test_their_losses_are_averaged_by_hand(self):
        output = torch.tensor([[[1.0], [3.0]], [[0.0], [2.0]]])
        target = torch.tensor([[1.0], [1.0]])
        loss = SquaredError()(output, target, None)
        assert float(loss) == (0.0 + 4.0 + 1.0 + 1.0) / 4
        weighted = SquaredError()(output, target, torch.tensor([0.5, 1.5]))
        assert float(weighted) == (0.5 * 2.0 + 1.5 * 1.0) / 2

    @pytest.mark.parametrize("loss", [CrossEntropy(0.1), BinaryCrossEntropy(0.1)])
    def test_the_loss_is_the_mean_of_that_of_each(self, loss, generator):
        output = torch.randn(7, 3, 4, generator=generator)
        target = torch.randint(2, (7, 4), generator=generator).float()
        if isinstance(loss, CrossEntropy):
            target = target[:, 0].long()
        each = [loss(output[:, k], target, None) for k in range(3)]
        torch.testing.assert_close(loss(output, target, None), torch.stack(each).mean())

    @pytest.mark.parametrize("loss", [CrossEntropy(), BinaryCrossEntropy()])
    def test_predictions_are_averaged(self, loss, generator):
        output = 5 * torch.randn(6, 3, 4, generator=generator, dtype=torch.float64)
        combined = loss.combine(output)
        torch.testing.assert_close(loss.link(combined), loss.link(output).mean(dim=1))

    def test_probabilities_that_underflow_keep_their_logit(self):
        output = torch.full((1, 2, 1), -2_000.0)
        assert float(BinaryCrossEntropy().combine(output)) == -2_000.0

    @pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()])
    def test_one_network_is_left_alone(self, loss):
        output = torch.ones(2, 3)
        assert loss.combine(output) is output


# -- regression ------------------------------------------------------------------------


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize(
    ("loss", "output", "target", "expected"),
    [
        (AbsoluteError(), 1.0, 4.0, 3.0),
        (AbsoluteError(), 4.0, 1.0, 3.0),
        (Huber(), 0.0, 0.5, 0.125),
        (Huber(), 0.0, -3.0, 2.5),
        (Huber(delta=2.0), 0.0, 3.0, 2 * (3 - 1)),
        (Pinball((0.9,)), 1.0, 3.0, 0.9 * 2),
        (Pinball((0.9,)), 3.0, 1.0, 0.1 * 2),
        # y log(y / mu) - y + mu of a count of 2 and means of 1 and 2.
        (Poisson(), 0.0, 2.0, 2 * math.log(2) - 1),
        (Poisson(), math.log(2), 2.0, 0.0),
        (Poisson(), 0.0, 0.0, 1.0),
        # log(mu / y) + y / mu - 1 of y = 1 and mu = 2.
        (Tweedie(2), math.log(2), 1.0, math.log(2) - 0.5),
        # y = 1, mu = 4: -4 + 2 / 2 + 2 * 2 = 1.
        (Tweedie(1.5), math.log(4), 1.0, 1.0),
        (Tweedie(1.5), math.log(4), 0.0, 4.0),
        # 1 / 2 - y / mu + 1 / 2 over y^2: y / (2 mu^2) - 1 / mu + 1 / (2 y).
        (Tweedie(3), math.log(2), 1.0, 1 / 8 - 1 / 2 + 1 / 2),
        (Tweedie(0), math.log(2), 5.0, 4.5),
    ],
    ids=str,
)
def test_losses_of_one_row_by_hand(loss, output, target, expected):
    got = loss(column(output), column(target), None)
    assert got.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("power", [0, 1, 1.3, 1.9, 2, 3])
def test_half_the_deviance_is_scikit_learns(power, rng):
    mean, y = rng.gamma(2.0, size=(2, 50))
    loss = Tweedie(power)(column(*np.log(mean)), column(*y), None).item()
    expected = mean_tweedie_deviance(y, mean, power=power) / 2
    assert loss == pytest.approx(expected, rel=1e-12)


def test_pinball_is_scikit_learns(rng):
    y, low, high = rng.standard_normal((3, 50))
    output = torch.cat([column(*low), column(*high)], dim=1)
    loss = Pinball((0.2, 0.7))(output, column(*y), None).item()
    one, two = (
        mean_pinball_loss(y, low, alpha=0.2),
        mean_pinball_loss(y, high, alpha=0.7),
    )
    assert loss == pytest.approx((one + two) / 2, rel=1e-12)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.8])
def test_pinball_is_smallest_at_the_quantile(quantile):
    y = column(*range(11))
    losses = [
        Pinball((quantile,))(torch.full_like(y, guess), y, None).item()
        for guess in range(11)
    ]
    assert losses.index(min(losses)) == round(10 * quantile)


def test_quantiles_of_each_target_stand_side_by_side_and_do_not_cross():
    loss = Pinball((0.1, 0.5, 0.9))
    assert loss.outputs_per_target == 3
    output = torch.tensor([[3.0, 1.0, 2.0, 4.0, 5.0, 6.0]])
    assert loss.link(output).tolist() == [[1, 2, 3, 4, 5, 6]]
    # Misses of the first target, 0, are -3, -1, -2; those of the second, 5, 1, 0, -1.
    target = torch.tensor([[0.0, 5.0]])
    expected = (0.9 * 3 + 0.5 * 1 + 0.1 * 2 + 0.1 * 1 + 0 + 0.1 * 1) / 6
    assert loss(output, target, None).item() == pytest.approx(expected)


def test_predicted_quantiles_of_members_ascend(generator):
    loss = Pinball((0.1, 0.2, 0.5, 0.9))
    output = torch.randn(500, 7, 8, generator=generator)
    predicted = loss.link(loss.combine(output)).unflatten(1, (2, 4))
    assert (predicted.diff(dim=2) >= 0).all()
    expected = loss.link(output).mean(dim=1)
    torch.testing.assert_close(predicted.flatten(1), expected)


def test_mending_a_row_does_not_raise_its_loss(generator):
    loss = Pinball((0.1, 0.4, 0.9))
    output = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    target = torch.randn(2000, 1, generator=generator, dtype=torch.float64)
    mended = loss.per_row(loss.link(output), target)
    assert (mended <= loss.per_row(output, target) + 1e-12).all()


def test_targets_divided_by_a_constant_change_the_scale_alone(rng):
    f, y = column(*rng.standard_normal(20)), column(*rng.gamma(2.0, size=20))
    for power in (1, 1.5, 2):
        loss = Tweedie(power)
        scaled = loss(f - math.log(7), y / 7, None)
        assert scaled.item() * 7 ** (2 - power) == pytest.approx(
            loss(f, y, None).item()
        )


def test_means_are_exponentials():
    output = torch.tensor([[0.0, math.log(3.0)]])
    for loss in (Poisson(), Tweedie()):
        torch.testing.assert_close(loss.link(output), torch.tensor([[1.0, 3.0]]))


@pytest.mark.parametrize(
    ("loss", "bad", "message"),
    [
        (
            Poisson(),
            -1.0,
            r"Poisson of power 1 takes targets of at least 0.*in y_val is -1.0",
        ),
        (Tweedie(), -0.5, r"Tweedie of power 1.5 takes targets of at least 0"),
        (Tweedie(2), 0.0, r"Tweedie of power 2 takes targets greater than 0.*is 0.0"),
    ],
)
def test_targets_that_have_no_deviance_are_named(loss, bad, message):
    loss.check_target(column(1.0, 2.0), "y_val")
    with pytest.raises(ValueError, match=message):
        loss.check_target(column(1.0, bad), "y_val")


def test_targets_that_every_real_number_is_one_of():
    for loss in (SquaredError(), AbsoluteError(), Pinball(), Tweedie(0)):
        loss.check_target(column(-1.0), "y")
    Poisson().check_target(column(0.0), "y")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(0), "'delta' parameter of Huber.*greater than 0. Got 0"),
        (lambda: Huber(math.nan), "'delta' parameter of Huber"),
        (lambda: Tweedie(0.5), "'power' parameter of Tweedie must be 0 or .*Got 0.5"),
        (lambda: Tweedie(math.inf), "'power' parameter of Tweedie"),
        (lambda: Pinball(()), r"'quantiles' parameter must.*Got \(\)"),
        (lambda: Pinball((0.0, 0.5)), "strictly between 0 and 1"),
        (lambda: Pinball((0.5, 1.0)), "strictly between 0 and 1"),
        (lambda: Pinball((0.9, 0.1)), "increasing"),
        (lambda: Pinball((0.5, 0.5)), "increasing"),
        (lambda: Pinball((True, 0.5)), "increasing"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_regression_loss_has_a_name():
    assert set(REGRESSION_LOSSES) == {
        "squared_error", "absolute_error", "huber", "quantile", "poisson", "tweedie"
    }  # fmt: skip


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_regression_loss_keeps_the_precision_and_has_a_gradient(name, dtype):
    loss = pickle.loads(pickle.dumps(REGRESSION_LOSSES[name]()))
    width = 2 * loss.outputs_per_target
    output = torch.linspace(-1, 1, 3 * width, dtype=dtype).reshape(3, width)
    output.requires_grad_()
    value = loss(output, torch.full((3, 2), 0.75, dtype=dtype), None)
    assert value.dtype == dtype
    value.backward()
    assert output.grad.isfinite().all()
    assert output.grad.any()
    assert loss.link(output).shape == (3, width)


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_losses_go_to_devices_without_doubles(name):
    buffers = REGRESSION_LOSSES[name]().buffers()
    assert {buffer.dtype for buffer in buffers} <= {torch.float32}


def test_quantiles_are_doubles_where_outputs_are():
    loss = Pinball((0.1, 0.9))
    for dtype in (torch.float32, torch.float64):
        # Misses of 1 and 0, and of 0 and 1: each gives one of the quantiles.
        output = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=dtype)
        found = 2 * loss.per_row(output, torch.ones(2, 1, dtype=dtype))
        expected = torch.tensor([0.1, 0.9], dtype=dtype)
        torch.testing.assert_close(found, expected, rtol=2e-15, atol=0.0)


# -- members ---------------------------------------------------------------------------

MEMBERS = [
    (CrossEntropy(0.1), 4, lambda g: torch.randint(4, (9,), generator=g)),
    (BinaryCrossEntropy(0.1), 2, lambda g: torch.ones(9, 2)),
    (SquaredError(), 2, lambda g: torch.randn(9, 2, generator=g)),
    (AbsoluteError(), 2, lambda g: torch.randn(9, 2, generator=g)),
    (Huber(0.5), 2, lambda g: torch.randn(9, 2, generator=g)),
    (Pinball((0.2, 0.7)), 4, lambda g: torch.randn(9, 2, generator=g)),
    (Poisson(), 2, lambda g: torch.randint(5, (9, 2), generator=g).float()),
    (Tweedie(1.5), 2, lambda g: torch.randint(5, (9, 2), generator=g).float()),
]
every_loss = pytest.mark.parametrize(
    ("loss", "width", "targets"), MEMBERS, ids=[str(loss) for loss, *_ in MEMBERS]
)


@every_loss
@pytest.mark.parametrize("weighted", [True, False])
def test_loss_of_members_is_the_mean_of_theirs(
    loss, width, targets, weighted, generator
):
    target = targets(generator)
    weight = torch.rand(9, generator=generator) if weighted else None
    output = torch.randn(9, 3, width, generator=generator)
    each = [loss(output[:, i], target, weight) for i in range(3)]
    torch.testing.assert_close(loss(output, target, weight), sum(each) / 3)


@every_loss
def test_prediction_of_members_is_the_mean_of_theirs(loss, width, targets, generator):
    output = torch.randn(9, 3, width, generator=generator)
    each = [loss.link(output[:, i]) for i in range(3)]
    predicted = loss.link(loss.combine(output))
    torch.testing.assert_close(predicted, sum(each) / 3)
    assert loss.combine(output[:, 0]).equal(output[:, 0])
