"""Coding of targets."""

import numpy as np
import pytest

from sknorm.neural_network._targets import ClassTargets, IndicatorTargets, RealTargets


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "b"],
        np.array(["b", "a", "b"], dtype=object),
        [True, False, True],
        [7, -1, 7],
        [2.5, 1.5, 2.5],
    ],
)
def test_labels_of_any_dtype_come_back(labels):
    y = np.asarray(labels)
    targets = ClassTargets(y)
    codes = targets.encode(y)
    assert codes.tolist() == [1, 0, 1]
    decoded = targets.decode(np.eye(2)[codes])
    assert decoded.dtype == y.dtype
    assert decoded.tolist() == y.tolist()


def test_unknown_and_two_dimensional_labels():
    targets = ClassTargets(["a", "b"])
    with pytest.raises(ValueError, match=r"classes \['c'\].*knows: \['a', 'b'\]"):
        targets.encode(np.array(["a", "c"]))
    with pytest.raises(ValueError, match="one label a row"):
        targets.encode(np.array([["a"], ["b"]]))


def test_balanced_weights_by_hand():
    targets = ClassTargets([0, 1])
    codes = np.array([0, 0, 0, 1])
    # 4 / (2 * 3) for the three, 4 / (2 * 1) for the one.
    np.testing.assert_allclose(
        targets.class_weights(codes, "balanced", None), [2 / 3, 2 / 3, 2 / 3, 2]
    )
    # A row of weight three counts as three.
    np.testing.assert_allclose(
        targets.class_weights(np.array([0, 1]), "balanced", np.array([3.0, 1.0])),
        [2 / 3, 2],
    )


def test_class_weight_dict_by_hand_and_unknown_class():
    targets = ClassTargets(["a", "b"])
    codes = np.array([0, 1, 1])
    weights = targets.class_weights(codes, {"b": 5.0}, None)
    assert weights.tolist() == [1, 5, 5]
    with pytest.raises(ValueError, match=r"'class_weight'.*\['c'\].*classes are"):
        targets.class_weights(codes, {"c": 2.0}, None)


@pytest.mark.parametrize(
    "weight",
    [
        {0: 0, 1: 0},
        {0: -1.0, 1: 1.0},
        {0: np.nan},
        {1: np.inf},
        {1: "2"},
        {1: None},
    ],
    ids=str,
)
def test_class_weights_that_weigh_nothing_or_less(weight):
    message = r"'class_weight' parameter must hold finite numbers of at least 0.*Got {"
    with pytest.raises(ValueError, match=message):
        ClassTargets([0, 1]).class_weights(np.array([0, 1]), weight, None)


def test_a_class_may_weigh_nothing():
    targets = ClassTargets([0, 1])
    weight = {0: 0, 1: np.float32(2)}
    assert targets.class_weights(np.array([0, 1]), weight, None).tolist() == [0, 2]


def test_decision_of_two_classes_is_a_difference():
    output = np.array([[1.0, 4.0]])
    assert ClassTargets([0, 1]).decision(output).tolist() == [3.0]
    assert ClassTargets([0, 1, 2]).decision(np.ones((1, 3))).shape == (1, 3)


def test_log_probabilities_stay_finite():
    targets = ClassTargets([0, 1])
    output = np.array([[0.0, 2000.0]])
    assert targets.log_probabilities(output).tolist() == [[-2000.0, 0.0]]
    assert targets.probabilities(output).tolist() == [[0.0, 1.0]]
    labels = IndicatorTargets(1)
    assert labels.log_probabilities(np.array([[-2000.0]])).tolist() == [[-2000.0]]


def test_indicator_matrix():
    targets = IndicatorTargets(2)
    y = np.array([[0, 1], [1, 1]])
    assert targets.encode(y) is y
    assert targets.decode(np.array([[-1.0, 2.0]])).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="2 columns"):
        targets.encode(np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"y_val .*hold 0 and 1 alone.*Got 2 in"):
        targets.encode(np.array([[0, 2], [-1, 1]]), "y_val")
    with pytest.raises(ValueError, match=r"'class_weight'.*'balanced'.*{1: 2}.*sample"):
        targets.class_weights(y, {1: 2}, None)


def test_balanced_weights_of_labels_count_rows_by_their_weights():
    targets = IndicatorTargets(2)
    y = np.array([[0, 1], [1, 1], [1, 0]])
    # First label: 3 rows, one of the class 0 and two of 1. Second: the other way round.
    expected = [3 / 2 * 3 / 4, 3 / 4 * 3 / 4, 3 / 4 * 3 / 2]
    np.testing.assert_allclose(targets.class_weights(y, "balanced", None), expected)
    np.testing.assert_allclose(
        targets.class_weights(y, "balanced", np.array([0.0, 1.0, 2.0]))[1:],
        targets.class_weights(y[[1, 2, 2]], "balanced", None)[:2],
    )


def learned(y, sample_weight=None):
    """Return targets in units of these, and the same in their units."""
    targets = RealTargets(y.shape[1:])
    encoded = targets.encode(y)
    targets.learn_units(encoded, sample_weight)
    return targets, targets.in_units(encoded)


def test_real_targets_are_standardized_and_given_back():
    y = np.array([[1.0, 1e9], [3.0, 1e9 + 4]])
    targets, coded = learned(y)
    np.testing.assert_allclose(coded, [[-1, -1], [1, 1]], rtol=1e-12)
    np.testing.assert_array_equal(targets.decode(coded), y)
    assert learned(y[:, 0])[0].decode(coded[:, :1]).shape == (2,)


def test_real_targets_weights_and_constant():
    targets, _ = learned(np.array([0.0, 4.0]), np.array([3.0, 1.0]))
    assert targets.mean.tolist() == [1.0]
    np.testing.assert_allclose(targets.scale, [3**0.5])
    constant, coded = learned(np.full(3, 7.0))
    assert constant.scale.tolist() == [1.0]
    assert coded.ravel().tolist() == [0, 0, 0]


def test_real_targets_refuse_another_width():
    targets = RealTargets((2,))
    with pytest.raises(ValueError, match="as at the first fit"):
        targets.encode(np.zeros((3, 3)))
