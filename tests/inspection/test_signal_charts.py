import math
from xml.etree import ElementTree

import pytest

from sknorm.inspection import SignalReport
from sknorm.inspection._signal_charts import charts
from sknorm.inspection._signal_report import LayerReport
from sknorm.inspection._verdicts import LIMIT, TRAINED_LIMIT

# Of a picture 360 wide whose layers begin at 62 and end at 340, between 24 and 186.
FIRST, LAST, TOP, BOTTOM = 62.0, 340.0, 24.0, 186.0


def row(layer, std=1.0, **numbers):
    return LayerReport(layer=layer, module="", units=8, mean=0.0, std=std, **numbers)


def chain(stds, ratios=None, *, theory=None, verdicts=None):
    """Return rows of a network, of the standard deviation that each has."""
    count = len(stds)
    names = ["inputs", *(f"hidden {i}" for i in range(1, count - 1)), "output"]
    ratios = [1.0] * (count - 2) if ratios is None else ratios
    ratios = [math.nan, *ratios, math.nan]
    theory = [math.nan] * count if theory is None else theory
    verdicts = ["healthy"] * count if verdicts is None else verdicts
    return [
        row(
            names[i],
            stds[i],
            grad_std=1.0 if i else math.nan,
            grad_ratio=ratios[i],
            q_theory=theory[i],
            verdict=verdicts[i],
        )
        for i in range(count)
    ]


def drawn(rows, *, is_fitted=False):
    """Return the two pictures, forward and backward."""
    report = SignalReport(rows, is_fitted=is_fitted)
    return ElementTree.fromstring(charts(report)).findall("figure/svg")


def points(picture, kind="measured"):
    """Return the points of each line of a kind."""
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in picture.findall(f"polyline[@class='sknorm-{kind}']")
    ]


def height(value, low, high):
    return BOTTOM - (BOTTOM - TOP) * (math.log10(value) - low) / (high - low)


def spread(count):
    return [FIRST + (LAST - FIRST) * i / (count - 1) for i in range(count)]


def texts(picture):
    return [text.text for text in picture.findall("text")]


def close(found, expected):
    """Compare points, which are rounded to a tenth."""
    return found == [pytest.approx(pair, abs=0.051) for pair in expected]


class TestForward:
    def test_line_is_at_the_values(self):
        stds = [1.0, 0.1, 2.0, 10.0]
        forward, _ = drawn(chain(stds))
        (line,) = points(forward)
        # The healthy zone, of 0.05 to 20, lies between 0.01 and 100.
        heights = [height(std, -2, 2) for std in stds]
        assert heights[:2] == [105.0, 145.5]
        assert close(line, zip(spread(4), heights, strict=True))

    def test_scale_grows_with_the_values(self):
        forward, _ = drawn(chain([1.0, 1e-7, 1e5]))
        (line,) = points(forward)
        assert close(
            line,
            [
                (FIRST, height(1, -7, 5)),
                (201.0, BOTTOM),
                (LAST, TOP),
            ],
        )
        assert texts(forward)[:4] == ["1e-05", "1", "1e+05", "in"]

    def test_theory_is_the_root_of_the_mean_square(self):
        theory = [math.nan, 1.0, 0.25, 4.0]
        forward, _ = drawn(chain([1.0] * 4, theory=theory))
        (line,) = points(forward, "theory")
        values = [1.0, 0.5, 2.0]
        assert close(
            line, zip(spread(4)[1:], [height(v, -2, 2) for v in values], strict=True)
        )
        dashed = forward.find("polyline[@class='sknorm-theory']")
        assert dashed.get("stroke-dasharray")

    def test_line_breaks_where_a_number_is_missing(self):
        forward, _ = drawn(chain([1.0, 1.0, math.nan, 2.0, 2.0]))
        assert [len(line) for line in points(forward)] == [2, 2]

    @pytest.mark.parametrize(
        ("value", "edge", "inward"), [(0.0, BOTTOM, -8), (math.inf, TOP, 8)]
    )
    def test_arrow_at_the_edge_points_beyond(self, value, edge, inward):
        forward, _ = drawn(chain([1.0, 1.0, value]))
        (arrow,) = forward.findall("path[@class='sknorm-beyond']")
        assert arrow.get("d") == f"M{LAST} {edge}l5 {inward}h-10z"
        assert arrow.find("title").text == f"output: {value:.3g}, healthy"
        assert [len(line) for line in points(forward)] == [2]

    def test_zone_ends_where_verdicts_begin(self):
        forward, _ = drawn(chain([1.0] * 3))
        hidden, output = forward.findall("rect")
        assert float(hidden.get("y")) == pytest.approx(height(LIMIT, -2, 2), abs=0.051)
        assert float(hidden.get("height")) == pytest.approx(
            height(1 / LIMIT, -2, 2) - height(LIMIT, -2, 2), abs=0.1
        )
        # An output may start at nothing.
        bottom = float(output.get("y")) + float(output.get("height"))
        assert bottom == pytest.approx(BOTTOM, abs=0.1)
        right = float(hidden.get("x")) + float(hidden.get("width"))
        assert right == pytest.approx(float(output.get("x")), abs=0.1)

    def test_zone_of_a_trained_output_reaches_further(self):
        forward, _ = drawn(chain([1.0] * 3), is_fitted=True)
        hidden, output = forward.findall("rect")
        assert float(hidden.get("y")) == pytest.approx(height(LIMIT, -2, 3), abs=0.051)
        assert float(output.get("y")) == pytest.approx(
            height(TRAINED_LIMIT, -2, 3), abs=0.051
        )

    def test_sick_layers_have_another_shape(self):
        verdicts = ["healthy", "vanishing", "healthy"]
        forward, _ = drawn(chain([1.0, 0.01, 1.0], verdicts=verdicts))
        (cross,) = forward.findall("path[@class='sknorm-sick-point']")
        assert cross.find("title").text == "hidden 1: 0.01, vanishing"
        assert cross.get("d").startswith("M197.0 182.0")
        assert len(forward.findall("circle")) == 2

    def test_the_target_is_no_layer(self):
        rows = [*chain([1.0] * 3), row("target", 1e9)]
        forward, _ = drawn(rows)
        assert len(points(forward)[0]) == 3
        assert "1e+06" not in texts(forward)


class TestBackward:
    def test_ratios_multiply_on_the_way_back(self):
        _, backward = drawn(chain([1.0] * 4, [0.5, 0.2]))
        (line,) = points(backward)
        values = [0.1, 0.2, 1.0]
        assert close(
            line, zip(spread(4)[1:], [height(v, -2, 2) for v in values], strict=True)
        )

    def test_theory_multiplies_roots_of_chi(self):
        rows = chain([1.0] * 4)
        rows = [row(r.layer, grad_std=1.0, grad_ratio=1.0) for r in rows[:1]] + [
            row(r.layer, grad_std=1.0, grad_ratio=1.0, chi_theory=chi)
            for r, chi in zip(rows[1:], [4.0, 0.25, math.nan], strict=True)
        ]
        _, backward = drawn(rows)
        (line,) = points(backward, "theory")
        values = [1.0, 0.5, 1.0]
        assert close(
            line, zip(spread(4)[1:], [height(v, -2, 2) for v in values], strict=True)
        )

    def test_inputs_have_none(self):
        _, backward = drawn(chain([1.0] * 3))
        (zone,) = backward.findall("rect")
        assert float(zone.get("x")) > FIRST
        assert len(backward.findall("circle")) == 2

    def test_nothing_is_drawn_of_what_is_not_known(self):
        _, backward = drawn([row("inputs"), row("hidden 1"), row("output")])
        assert points(backward) == []
        assert backward.get("aria-label").endswith("nothing is known")

    def test_gradient_that_does_not_come_back(self):
        # The last layer's weights are zero.
        _, backward = drawn(chain([1.0] * 4, [math.nan, 0.0]))
        (arrow,) = backward.findall("path[@class='sknorm-beyond']")
        assert arrow.find("title").text == "hidden 2: 0, healthy"

    @pytest.mark.parametrize("is_fitted", [False, True])
    def test_limits_are_wider_after_training(self, is_fitted):
        _, backward = drawn(chain([1.0] * 3), is_fitted=is_fitted)
        (zone,) = backward.findall("rect")
        limit, decades = (TRAINED_LIMIT, 3) if is_fitted else (LIMIT, 2)
        assert float(zone.get("y")) == pytest.approx(
            height(limit, -decades, decades), abs=0.051
        )


class TestAxes:
    @pytest.mark.parametrize(
        ("count", "expected"),
        [
            (3, ["in", "1", "out"]),
            (12, ["in", "2", "4", "6", "8", "out"]),
            (52, ["in", "10", "20", "30", "40", "out"]),
            (402, ["in", "50", "100", "150", "200", "250", "300", "350", "out"]),
        ],
    )
    def test_depths_are_few_enough_to_read(self, count, expected):
        forward, _ = drawn(chain([1.0] * count))
        assert texts(forward)[5:-2] == expected

    def test_values_and_units(self):
        forward, backward = drawn(chain([1.0] * 3))
        for label in ("0.01", "0.1", "1", "10", "100"):
            assert label in texts(forward)
        assert texts(forward)[-1] == "standard deviation of pre-activations"
        assert texts(backward)[-1] == "its length beside that at the output"
        assert texts(forward)[-2] == texts(backward)[-2] == "layer"

    @pytest.mark.parametrize("tiny", [5e-324, 1e-39])
    @pytest.mark.parametrize("huge", [1.7e308, 1e39])
    def test_all_that_floats_hold(self, tiny, huge):
        forward, _ = drawn(chain([1.0, tiny, huge]))
        (line,) = points(forward)
        assert all(TOP <= y <= BOTTOM for _, y in line)
        assert len(texts(forward)) < 14

    @pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
    def test_nothing_but_what_has_no_place(self, value):
        rows = [
            row(
                r.layer,
                value,
                grad_std=value,
                grad_ratio=value,
                q_theory=value,
                chi_theory=value,
            )
            for r in chain([1.0] * 3)
        ]
        assert points(drawn(rows)[0]) == []

    def test_one_row_alone(self):
        forward, backward = drawn([row("inputs")])
        assert len(forward.findall("circle")) == 1
        assert backward.findall("rect") == []

    def test_described_for_those_who_cannot_see(self):
        forward, _ = drawn(chain([1.0, 0.5, 0.25]))
        assert forward.get("role") == "img"
        assert forward.get("aria-label") == (
            "Forward: the signal: 1 at inputs, 0.25 at output"
        )
