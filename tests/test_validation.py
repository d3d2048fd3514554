"""The door to scikit-learn's validation."""

import numpy as np
import pytest

from sknorm._validation import check_sample_weight, restore_on_failure

X = np.zeros((3, 1))


def test_no_weights_stay_none():
    assert check_sample_weight(None, X) is None


@pytest.mark.parametrize("weight", [[1, 2, 0], 2.0, np.array([1.0, 2.0, 0.0])])
def test_weights_become_float64(weight):
    result = check_sample_weight(weight, X)
    assert result.dtype == np.float64
    assert result.shape == (3,)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (
            [0, 0, 0],
            "at least one non-zero",
        ),
        ([1, -1, 1], "Negative values"),
        ([1, np.nan, 1], "contains NaN"),
        ([1, np.inf, 1], "contains infinity"),
        ([1, 2], "sample_weight.shape"),
    ],
)
def test_wrong_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        check_sample_weight(weight, X)


class Box:
    def __init__(self):
        self.kept = 1


def test_failure_restores_attributes():
    box = Box()

    def spoil():
        with restore_on_failure(box):
            box.kept = 2
            box.added = 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spoil()
    assert vars(box) == {"kept": 1}


def test_success_keeps_attributes():
    box = Box()
    with restore_on_failure(box):
        box.added = 3
    assert vars(box) == {"kept": 1, "added": 3}
