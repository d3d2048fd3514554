"""Losses by hand."""

import math

import pytest
import torch

from sknorm.neural_network._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    SquaredError,
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
