import math

import numpy as np
import pytest

from sknorm.inspection._html import Html, joined, number, tag


class TestTag:
    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            (tag("td"), "<td></td>"),
            (tag("td", "a"), "<td>a</td>"),
            (tag("td", None, "a"), "<td>a</td>"),
            (tag("p", "a", tag("b", "c")), "<p>a<b>c</b></p>"),
            (tag("tr", tag("td"), tag("td")), "<tr>\n<td></td>\n<td></td>\n</tr>"),
            (tag("th", scope="col", colspan=2), '<th scope="col" colspan="2"></th>'),
            (tag("p", class_="x", id=None), '<p class="x"></p>'),
            (tag("p", aria_label="x"), '<p aria-label="x"></p>'),
        ],
    )
    def test_writes_an_element(self, made, expected):
        assert made == expected

    def test_escapes_text_and_attributes(self):
        made = tag("p", "<a> & \"b\" 'c'", title='"<&>"')
        assert made == (
            '<p title="&quot;&lt;&amp;&gt;&quot;">&lt;a&gt; &amp; "b" \'c\'</p>'
        )

    def test_leaves_html_as_it_is(self):
        assert tag("p", Html("<br>")) == "<p><br></p>"


def test_joined_escapes_what_is_not_html():
    assert joined("<", tag("b", "&"), ">") == "&lt;<b>&amp;</b>&gt;"
    assert isinstance(joined("<"), Html)


@pytest.mark.parametrize(
    ("value", "is_share", "expected"),
    [
        (64, False, "64"),
        (0.0, False, "0"),
        (1.23456, False, "1.23"),
        (1234567.0, False, "1.23e+06"),
        (np.float64(-0.5), False, "-0.5"),
        (0.683, True, "68 %"),
        (1.0, True, "100 %"),
        (math.nan, False, ""),
        (math.nan, True, ""),
        (math.inf, False, "inf"),
        (-math.inf, False, "-inf"),
    ],
)
def test_numbers_as_people_read_them(value, is_share, expected):
    assert number(value, is_share=is_share) == expected
