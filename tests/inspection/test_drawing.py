import builtins

import matplotlib
import numpy as np
import pytest

from sknorm.inspection._drawing import (
    check_count,
    given_axes,
    import_matplotlib,
    make_axes,
    percent,
    rounded,
    shortened,
)

matplotlib.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class TestMakeAxes:
    def test_a_figure_of_their_own(self):
        figure, bounding, axes = make_axes(None, (2, 3), (6.0, 4.0))
        assert axes.shape == (2, 3)
        assert bounding is None
        assert axes[1, 2].figure is figure
        assert figure.get_size_inches().tolist() == [6, 4]

    def test_as_many_as_are_given(self):
        given = plt.subplots(2, 3)[1]
        for ax in (given, given.tolist(), given.ravel()):
            figure, bounding, axes = make_axes(ax, (2, 3), None)
            assert axes.tolist() == given.tolist()
            assert figure is given[0, 0].figure
            assert bounding is None

    def test_one_for_one_panel(self):
        ax = plt.subplots()[1]
        assert make_axes(ax, (1, 1), None)[2].tolist() == [[ax]]

    def test_the_place_of_one(self):
        figure, (left, right) = plt.subplots(1, 2)
        found, bounding, axes = make_axes(left, (2, 2), None)
        assert found is figure
        assert bounding is left
        assert not left.axison
        assert axes.shape == (2, 2)
        place = right.get_position()
        assert all(panel.get_position().x1 < place.x0 for panel in axes.ravel())

    def test_another_number(self):
        message = r"ax must hold 6 axes: 2 columns of 3 panels\. Got 2\."
        with pytest.raises(ValueError, match=message):
            make_axes(plt.subplots(1, 2)[1], (2, 3), None)

    def test_one_that_stands_free(self):
        ax = plt.figure().add_axes((0, 0, 1, 1))
        with pytest.raises(ValueError, match=r"stand free in their figure, and 2"):
            make_axes(ax, (1, 2), None)


class TestGivenAxes:
    def test_are_taken_in_their_order(self):
        figure, axes = plt.subplots(2, 2)
        found, taken = given_axes(axes, 4, "layers")
        assert found is figure
        assert taken.tolist() == axes.ravel().tolist()
        assert given_axes(axes[0, 0], 1, "layers")[1].tolist() == [axes[0, 0]]

    @pytest.mark.parametrize(
        ("remedy", "end"), [("", ""), ("Choose `layers`.", " Choose `layers`.")]
    )
    def test_another_number(self, remedy, end):
        with pytest.raises(ValueError, match="ax must hold") as error:
            given_axes(plt.subplots(1, 2)[1], 3, "layers", remedy)
        expected = "ax must hold an axes for each of the 3 layers. Got 2."
        assert str(error.value) == expected + end


def test_a_name_is_cut_where_there_is_no_room():
    assert shortened("a" * 30) == "a" * 30
    assert shortened("a" * 31) == "a" * 29 + "…"
    assert shortened("abcde", 5) == "abcde"
    assert shortened("abcdef", 5) == "abcd…"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (49748.1, 45324.2, "49,700"),
        (49748.1, 0.9996, "49,748.10"),
        (-1e-9, 0.9996, "0.00"),
        (3e-8, 2e-9, "3.00e-08"),
        (1e12, 0.5, "1.00e+12"),
        (12.345, 0.0, "12.35"),
        (12.345, np.nan, "12.35"),
        (np.nan, 1.0, "-"),
        (-np.inf, 1.0, "-inf"),
    ],
)
def test_a_number_is_rounded_by_its_unit(value, unit, expected):
    assert rounded(value, unit) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0 %"),
        (0.0027, "0.27 %"),
        (0.104, "10 %"),
        (0.994, "99 %"),
        (0.996, "100 %"),
        (1.0, "100 %"),
        (np.nan, "-"),
    ],
)
def test_percent(share, expected):
    assert percent(share) == expected


class TestCheckCount:
    def test_what_is_allowed(self):
        check_count("bins", 1)
        check_count("bins", np.int64(3), 3)
        check_count("bins", None, optional=True)

    @pytest.mark.parametrize(
        ("value", "least"), [(0, 1), (2, 3), (True, 1), (9.0, 3), (None, 1), ("1", 1)]
    )
    def test_what_is_not(self, value, least):
        message = f"bins must be a whole number from {least} on. Got {value!r}."
        with pytest.raises(ValueError, match="whole number") as error:
            check_count("bins", value, least)
        assert str(error.value) == message


def test_matplotlib_is_named_where_it_is_missing(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    import_matplotlib("Display.plot")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"Display.plot draws with .*sknorm\[plot\]`"):
        import_matplotlib("Display.plot")
