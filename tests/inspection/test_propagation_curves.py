import math

import matplotlib
import numpy as np
import pytest

from sknorm.inspection._propagation_curves import (
    Curve,
    darker,
    mark_loss,
    set_limits,
    write_losses,
)
from sknorm.inspection._verdicts import LIMIT

matplotlib.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def curve(*of_networks, start=0, theory=None):
    return Curve.make(np.array(of_networks, dtype=float), start, theory)


class TestCurve:
    def test_median_and_range(self):
        got = curve([1, 2, 3], [1, 4, 9], [1, 3, 1])
        assert got.n_networks == 3
        np.testing.assert_array_equal(got.depth, [0, 1, 2])
        np.testing.assert_array_equal(got.line, [1, 3, 3])
        np.testing.assert_array_equal(got.band, [[1, 2, 1], [1, 4, 9]])
        assert (got.lost_at, got.loss) == (None, "")

    @pytest.mark.parametrize(
        ("values", "start", "lost_at", "loss", "before"),
        [
            # Forward from the inputs, and back from the last layer.
            ([1, 0, 0], 0, 1, "0 at layer 1", 0),
            ([1, math.inf, math.nan], 0, 1, "not finite at layer 1", 0),
            ([0, 0, 1], 1, 1, "0 at layer 2", 2),
            ([math.nan, 1, 1], 1, 0, "not finite at layer 1", 1),
            ([math.nan, 1, math.inf], 1, 2, "not finite at layer 3", None),
        ],
    )
    def test_where_it_is_lost(self, values, start, lost_at, loss, before):
        got = curve(values, start=start)
        assert (got.lost_at, got.loss, got.before_loss) == (lost_at, loss, before)
        assert math.isnan(got.line[lost_at])
        assert got.is_zero == loss.startswith("0")

    def test_one_of_few_that_is_lost_widens_the_range_alone(self):
        got = curve([1, 0], [1, 2], [1, math.nan])
        assert got.loss == ""
        np.testing.assert_array_equal(got.line, [1, 2])
        np.testing.assert_array_equal(got.band, [[1, 1e-300], [1, 1e300]])


@pytest.mark.parametrize(
    ("values", "theory", "low", "high"),
    [
        ([1, 1], None, 1 / LIMIT, LIMIT),
        ([1, 1e-5], None, 1e-5, LIMIT),
        ([1, 1], np.array([1, 1e4]), 1 / LIMIT, 1e4),
        ([1e-30, 1e30], None, 1e-10, 1e10),
        ([0, math.nan], None, 1 / LIMIT, LIMIT),
    ],
)
def test_limits(axes, values, theory, low, high):
    set_limits(axes, [curve(values, theory=theory)])
    pad = (high / low) ** 0.05
    assert axes.get_ylim() == pytest.approx((low / pad, high * pad))
    assert axes.get_yscale() == "log"
    assert axes.get_xlim() == pytest.approx((-0.02, 1.02))


class TestLoss:
    def test_mark_and_the_way_there(self, axes):
        got = curve([1, 2, 0])
        set_limits(axes, [got])
        mark = mark_loss(axes, got, "blue")
        assert mark.get_marker() == "v"
        np.testing.assert_array_equal(mark.get_xydata(), [[2, 0]])
        way = axes.lines[0].get_xydata()
        np.testing.assert_allclose(way, [[1, 2], [2, axes.get_ylim()[0]]])

    def test_upwards(self, axes):
        got = curve([1, math.inf])
        set_limits(axes, [got])
        assert mark_loss(axes, got, "blue").get_marker() == "^"

    def test_texts_stand_apart(self, axes):
        curves = {"a": curve([1, 1, 0]), "b": curve([1, 0, 0]), "c": curve([1, 1, 0])}
        set_limits(axes, curves.values())
        write_losses(
            axes, curves, {k: mark_loss(axes, v, "blue") for k, v in curves.items()}
        )
        texts = axes.texts
        assert [text.get_text() for text in texts] == [
            "0 at layer 2",
            "0 at layer 1",
            "0 at layer 2",
        ]
        heights = [text.get_position()[1] for text in texts]
        assert heights == sorted(set(heights))


def test_darker():
    assert darker("white") == pytest.approx((0.55,) * 3)
