import numpy as np
import pytest

from sknorm.inspection._loss_plane import LossSurface, stretched


def surface(**values):
    return LossSurface(
        name="model",
        labels=("first", "second"),
        grid=np.zeros((2, 3, 3)),
        excess=np.arange(9.0).reshape(3, 3),
        lowest=2.0,
        center=np.zeros(2),
        center_loss=2.0,
        reach=1.0,
        **values,
    )


def test_loss_is_what_lies_above_the_lowest():
    assert surface().loss.tolist() == [[2, 3, 4], [5, 6, 7], [8, 9, 10]]


@pytest.mark.parametrize(
    ("curvatures", "expected"),
    [([6.0, 2.0], 3), ([-6.0, 2.0], 3), ([6.0, 0.0], np.inf), ([2.0, 2.0], 1)],
)
def test_condition_number(curvatures, expected):
    assert surface(curvatures=np.array(curvatures)).condition_number == expected


def test_without_curvatures_there_is_no_condition_number():
    assert np.isnan(surface().condition_number)


def test_points_are_even_near_0_and_by_ratio_farther_out():
    points = stretched(1.0, 1000.0, 201)
    np.testing.assert_allclose(points, -points[::-1], rtol=1e-12, atol=1e-15)
    assert points[-1] == pytest.approx(1000, rel=1e-12)
    steps = np.diff(points)
    # 0.4 of the even part from 0 they are sqrt(1 + 0.4 ** 2) times as wide as there.
    near = steps[np.maximum(np.abs(points[:-1]), np.abs(points[1:])) <= 0.4 / 8]
    assert near.max() < np.sqrt(1.16) * near.min()
    ratios = points[-10:] / points[-11:-1]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
