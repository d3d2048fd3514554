import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sknorm.inspection import SignalReport
from sknorm.inspection._remedies import Remedy
from sknorm.inspection._signal_html import _COLOURS, _MEANINGS, _STYLE, fragment, page
from sknorm.inspection._signal_report import LayerReport

VOID = {"meta"}
# All numbers that to_frame has, but for the two that only theory is made of.
NUMBERS = [
    name
    for name in [*LayerReport.__dataclass_fields__, "fixed_point"]
    if name not in ("layer", "module", "activation", "norm", "verdict", "why", "hint")
    and name not in ("sigma_w", "sigma_b")
]
MEASURED = NUMBERS[3:-1]
SHARES = {"sweet_spot", "saturated", "dead", "twins"}
LOADS = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}


class Element:
    def __init__(self, name, attributes=()):
        self.name = name
        self.attributes = dict(attributes)
        self.children = []

    def __iter__(self):
        """Walk through all elements, this one first."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child

    def all(self, name, class_=None):
        return [
            element
            for element in self
            if element.name == name
            and (
                class_ is None or class_ in element.attributes.get("class", "").split()
            )
        ]

    @property
    def text(self):
        parts = (c.text if isinstance(c, Element) else c for c in self.children)
        return "".join(parts)


class Tree(HTMLParser):
    """Elements of a document in which all are closed, and nothing else is."""

    def __init__(self, text):
        super().__init__()
        self.root = Element("root")
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs)
        assert len(element.attributes) == len(attrs)
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parsed(text):
    return Tree(text).root


def rows(depth=2, **numbers):
    names = ["inputs", *(f"hidden {i + 1}" for i in range(depth)), "output"]
    return [
        LayerReport(
            layer=name,
            module=f"linears.{i - 1}" if i else "",
            units=64,
            mean=0.1 * i,
            std=1.0,
            **({"grad_std": 0.01, "grad_ratio": 1.0} | numbers if i else {}),
        )
        for i, name in enumerate(names)
    ]


def healthy(depth=2, **numbers):
    return SignalReport(rows(depth, **numbers), is_fitted=True)


def sick(remedy=None, **changes):
    layers = rows()
    remedy = remedy or Remedy("set init='auto': as it fits", {"init": "auto"})
    changes = {"verdict": "vanishing", "why": "std is 0.01", "hint": remedy.text} | (
        changes
    )
    layers[1] = replace(layers[1], **changes)
    layers[2] = replace(
        layers[2], verdict="dead", why="60 %", hint="first mend hidden 1"
    )
    return SignalReport(layers, first=layers[1], remedy=remedy)


def cells(root):
    """Return the body of the table as text."""
    return [
        [cell.text for cell in line.children if isinstance(cell, Element)]
        for line in root.all("tbody")[0].all("tr")
    ]


REPORTS = [
    healthy(),
    healthy(depth=1),
    healthy(depth=50),
    sick(),
    healthy(**dict.fromkeys(MEASURED, math.nan)),
    healthy(**dict.fromkeys(MEASURED, math.inf)),
]


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("write", [page, fragment])
class TestBoth:
    def test_is_well_formed_and_needs_nothing_else(self, write, report):
        text = write(report)
        root = parsed(text)
        names = {element.name for element in root}
        assert not names & {"script", "link", "img", "iframe", "object", "base"}
        for element in root:
            assert not element.attributes.keys() & LOADS
            assert not any(key.startswith("on") for key in element.attributes)
        assert not re.search(r"https?://|//\w|@import|url\(", text)

    def test_has_no_names_that_could_clash(self, write, report):
        keys = {key for element in parsed(write(report)) for key in element.attributes}
        assert not keys & {"id", "for", "aria-labelledby"}

    def test_is_the_same_every_time(self, write, report):
        assert write(report) == write(report)

    def test_table_says_what_its_cells_are(self, write, report):
        root = parsed(write(report))
        (table,) = root.all("table")
        assert table.all("caption")[0].text
        groups, columns = table.all("thead")[0].all("tr")
        assert {cell.attributes["scope"] for cell in columns.all("th")} == {"col"}
        spans = [
            int(cell.attributes["colspan"])
            for cell in groups.all("th")
            if cell.attributes["scope"] == "colgroup"
        ]
        assert sum(spans) == len(columns.all("th")) == len(NUMBERS)
        assert [2, *spans] == [
            int(group.attributes["span"]) for group in table.all("colgroup")
        ]
        for line in table.all("tbody")[0].all("tr"):
            (first,) = line.all("th")
            assert first.attributes["scope"] == "row"
            assert len(line.all("td")) == len(NUMBERS) + 1

    def test_table_is_reached_by_keyboard_and_scrolls_alone(self, write, report):
        (box,) = parsed(write(report)).all("section", "sknorm-scroll")
        assert box.attributes["tabindex"] == "0"
        assert box.attributes["aria-label"]
        assert ".sknorm-scroll { overflow-x: auto" in write(report)


class TestPage:
    def test_is_a_document(self):
        text = page(healthy())
        assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
        root = parsed(text)
        assert root.all("title")[0].text == "Signal report: healthy"
        assert [m.attributes.get("charset") for m in root.all("meta")] == [
            "utf-8",
            None,
        ]
        assert "width=device-width" in root.all("meta")[1].attributes["content"]
        assert len(root.all("h1")) == len(root.all("main")) == 1

    def test_legend_explains_every_column_and_verdict(self):
        root = parsed(page(healthy()))
        terms = [term.text for term in root.all("dt")]
        assert {name for name in NUMBERS if any(t.endswith(name) for t in terms)} == {
            *NUMBERS
        }
        assert len(terms) == len(NUMBERS) + len(_MEANINGS)
        assert all(meaning.text.endswith(".") for meaning in root.all("dd"))
        for verdict in _MEANINGS:
            assert any(term.endswith(verdict) for term in terms)

    def test_save_writes_it(self, tmp_path):
        report = sick()
        report.save(tmp_path / "report.html")
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(report)


class TestFragment:
    def test_styles_stay_inside(self):
        root = parsed(fragment(healthy()))
        assert root.children[0].attributes["class"] == "sknorm-report"
        (style,) = root.all("style")
        flat = re.sub(r"@media[^{]*\{((?:[^{}]*\{[^}]*\})*)\s*\}", r"\1", style.text)
        selectors = [s.strip() for s in re.findall(r"([^{}]+)\{", flat)]
        assert len(selectors) > 20
        for selector in selectors:
            assert ".sknorm-report" in selector
        assert "@page" not in style.text

    def test_classes_are_its_own(self):
        for element in parsed(fragment(sick())):
            names = element.attributes.get("class", "").split()
            assert all(name.startswith("sknorm-") for name in names)

    def test_notebooks_show_it(self):
        report = healthy()
        assert report._repr_html_() == fragment(report)

    def test_knows_light_and_dark(self):
        for rule in ("light-dark(", "color-scheme: light dark", "data-jp-theme-light"):
            assert rule in _STYLE


class TestBanner:
    def test_healthy(self):
        report = healthy()
        (banner,) = parsed(fragment(report)).all("div", "sknorm-banner")
        assert "sknorm-healthy" in banner.attributes["class"]
        assert "sknorm-sick" not in banner.attributes["class"]
        assert [p.text for p in banner.all("p")] == ["✓healthy", report.summary]
        assert banner.all("pre") == []

    def test_sick(self):
        report = sick()
        (banner,) = parsed(fragment(report)).all("div", "sknorm-banner")
        assert "sknorm-sick" in banner.attributes["class"]
        assert [p.text for p in banner.all("p")] == ["↓vanishing", report.summary]
        assert report.summary.endswith("Set init='auto': as it fits.")
        (code,) = banner.all("code")
        assert code.text == "network.set_params(init='auto')"

    @pytest.mark.parametrize(
        ("remedy", "code"),
        [
            (
                Remedy("a", {"norm": "batch", "lr": 0.001}),
                "network.set_params(norm='batch', lr=0.001)",
            ),
            (
                Remedy("a", standardize_inputs=True),
                "network = make_pipeline(Standardizer(), network)",
            ),
            (
                Remedy("a", normalize_target=True),
                "network = TransformedTargetRegressor("
                "network, transformer=QuantileStandardizer())",
            ),
        ],
    )
    def test_code_follows_the_hint(self, remedy, code):
        (shown,) = parsed(fragment(sick(remedy))).all("code")
        assert shown.text == code

    @pytest.mark.parametrize("verdict", _MEANINGS)
    def test_each_verdict_has_a_symbol_and_its_word(self, verdict):
        report = healthy() if verdict == "healthy" else sick(verdict=verdict)
        word = parsed(fragment(report)).all("p", "sknorm-word")[0]
        symbol, said = word.children
        assert said == verdict
        assert symbol.attributes["aria-hidden"] == "true"
        assert len(symbol.text) == 1
        assert symbol.text != "!"

    def test_symbols_differ(self):
        root = parsed(page(healthy()))
        symbols = [span.text for span in root.all("span", "sknorm-symbol")]
        assert len({*symbols}) == len(_MEANINGS)


class TestTable:
    def test_cells_are_the_reports_numbers(self):
        values = {name: 0.1 + 0.01 * i for i, name in enumerate(MEASURED)}
        report = healthy(depth=1, **values)
        report.fixed_points = [math.nan, 0.987654, math.nan]
        root = parsed(page(report))
        fields = [code.text for code in root.all("dt") for code in code.all("code")]
        assert {*fields} == {*NUMBERS}
        for line, row, fixed_point in zip(
            cells(root), report.layers, report.fixed_points, strict=True
        ):
            assert line[0] == row.layer + (row.module and f"module {row.module}")
            assert line[1] == "✓healthy"
            for name, text in zip(fields, line[2:], strict=True):
                value = getattr(row, name, fixed_point)
                if name == "units":
                    assert text == "64"
                elif math.isnan(value):
                    assert text == ""
                elif name in SHARES:
                    assert text == f"{100 * value:.0f} %"
                else:
                    assert text == f"{value:.3g}"

    def test_a_layer_names_what_stands_behind_it(self):
        report = healthy(depth=1)
        report.layers[1] = replace(report.layers[1], activation="relu", norm="Odd")
        _, hidden, output = cells(parsed(fragment(report)))
        assert hidden[0] == "hidden 1module linears.0relu, Odd"
        assert output[0] == "outputmodule linears.1"

    def test_sick_layers_say_why_and_what_to_do(self):
        root = parsed(fragment(sick()))
        verdicts = [line[1] for line in cells(root)]
        assert verdicts == [
            "✓healthy",
            "↓vanishingstd is 0.01; set init='auto': as it fits",
            "∅dead60 %; first mend hidden 1",
            "✓healthy",
        ]
        lines = root.all("tbody")[0].all("tr")
        ill = [line.attributes.get("class") for line in lines]
        assert ill == [None, "sknorm-ill", "sknorm-ill", None]

    def test_infinite_and_missing(self):
        values = dict.fromkeys(MEASURED, math.nan) | {"q": math.inf}
        line = cells(parsed(fragment(healthy(depth=1, **values))))[1]
        assert sorted(line[2:]) == sorted(["0.1", "1", "64", "inf"] + [""] * 14)

    @pytest.mark.parametrize("depth", [1, 50])
    def test_a_row_for_each_layer(self, depth):
        assert len(cells(parsed(fragment(healthy(depth=depth))))) == depth + 2


NASTY = "<script>alert('a' & \"b\")</script>"


@pytest.mark.parametrize("write", [page, fragment])
@pytest.mark.parametrize("field", ["layer", "module", "verdict", "why", "hint"])
def test_text_is_escaped(write, field):
    report = sick(**{field: NASTY})
    root = parsed(write(report))
    assert root.all("script") == []
    assert NASTY in root.all("tbody")[0].all("tr")[1].text


def test_code_is_escaped():
    root = parsed(fragment(sick(Remedy("a", {"init": NASTY}))))
    assert root.all("code")[0].text == f"network.set_params(init={NASTY!r})"


def luminance(colour):
    """Return how bright a colour is, as WCAG 2 has it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted([luminance(one), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
class TestContrast:
    @pytest.mark.parametrize(
        ("text", "behind"),
        [
            ("ink", "paper"),
            ("ink", "ill"),
            ("muted", "paper"),
            ("muted", "ill"),
            ("muted", "shade"),
            ("healthy", "paper"),
            ("sick", "ill"),
        ],
    )
    def test_text(self, scheme, text, behind):
        assert contrast(_COLOURS[text][scheme], _COLOURS[behind][scheme]) >= 4.5

    @pytest.mark.parametrize("line", ["line", "sick", "ink"])
    @pytest.mark.parametrize("behind", ["paper", "zone"])
    def test_lines(self, scheme, line, behind):
        assert contrast(_COLOURS[line][scheme], _COLOURS[behind][scheme]) >= 3

    @pytest.mark.parametrize("band", re.findall(r"background: (#[0-9a-f]{6});", _STYLE))
    def test_banner(self, scheme, band):
        text = "#1a222c" if band == "#fff" else "#ffffff"
        assert contrast(text, band) >= 4.5
