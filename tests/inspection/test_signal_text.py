import math

from sknorm.inspection._signal_report import LayerReport
from sknorm.inspection._signal_text import text_table

ROWS = [
    LayerReport("inputs", "", 4, -0.01234, 1.0),
    LayerReport("hidden 1", "0", 256, 0.0, 12.3456, dead=0.256, verdict="dead"),
]


def test_numbers_have_three_digits_and_shares_are_in_percent():
    head, inputs, hidden = (line.split() for line in text_table(ROWS))
    assert head[:4] == ["layer", "units", "mean", "std"]
    assert inputs == ["inputs", "4", "-0.0123", "1", "healthy"]
    assert hidden == ["hidden", "1", "256", "0", "12.3", "26", "%", "dead"]


def test_columns_stand_in_line():
    head, *lines = text_table(ROWS)
    end = head.index("verdict")
    assert [line[end:] for line in lines] == ["healthy", "dead"]
    assert all(line == line.rstrip() for line in lines)


def test_what_is_not_known_is_left_out():
    (_, line) = text_table([LayerReport("output", "2", 2, math.nan, math.nan)])
    assert line.split() == ["output", "2", "healthy"]
