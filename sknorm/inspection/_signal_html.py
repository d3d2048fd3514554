"""A signal report as HTML: a page of its own, or what a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sknorm.inspection._html import Html, joined, number, tag
from sknorm.inspection._signal_charts import charts
from sknorm.inspection._verdicts import FEWEST_ROWS, LIMIT, SHIFT, TRAINED_LIMIT

__all__ = ["fragment", "page"]


def page(report: Any) -> str:
    """Return a whole document, which needs nothing but itself.

    Parameters
    ----------
    report : SignalReport
        What to show.

    Returns
    -------
    str
    """
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"Signal report: {report.verdict}"),
        tag("style", Html(_STYLE + _PAGE_STYLE)),
    )
    main = tag(
        "main",
        tag("h1", "Signal report"),
        _banner(report),
        charts(report),
        _table(report),
        _legend(),
        class_="sknorm-report sknorm-page",
    )
    document = tag("html", head, tag("body", main), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def fragment(report: Any) -> str:
    """Return what a notebook shows of a report, with styles that stay inside.

    Parameters
    ----------
    report : SignalReport
        What to show.

    Returns
    -------
    str
    """
    return tag(
        "div",
        tag("style", Html(_STYLE)),
        _banner(report),
        charts(report),
        _table(report),
        class_="sknorm-report",
    )


# -- the banner ------------------------------------------------------------------------

# Told apart without colour, beside their word.
_SYMBOLS = {
    "healthy": "✓",
    "vanishing": "↓",
    "exploding": "↑",
    "saturated": "■",
    "dead": "∅",
    "shifted": "→",
    "symmetric": "=",
    "batch too small": "#",
}


def _banner(report: Any) -> Html:
    state = "healthy" if report.verdict == "healthy" else "sick"
    code = _code(report)
    return tag(
        "div",
        tag("p", _verdict(report.verdict), class_="sknorm-word"),
        tag("p", report.summary, class_="sknorm-summary"),
        code and tag("pre", tag("code", code)),
        class_=f"sknorm-banner sknorm-{state}",
    )


def _verdict(verdict: str) -> Html:
    symbol = _SYMBOLS.get(verdict, "!")
    return joined(
        tag("span", symbol, class_="sknorm-symbol", aria_hidden="true"), verdict
    )


def _code(report: Any) -> str | None:
    """Return the line that follows the hint, for a network called ``network``."""
    remedy = report._remedy
    if remedy is None:
        return None
    if remedy.standardize_inputs:
        return "network = make_pipeline(Standardizer(), network)"
    if remedy.normalize_target:
        return (
            "network = TransformedTargetRegressor("
            "network, transformer=QuantileStandardizer())"
        )
    params = ", ".join(f"{key}={value!r}" for key, value in remedy.params.items())
    return f"network.set_params({params})" if params else None


# -- the table -------------------------------------------------------------------------

_SPREAD = f"{1 / LIMIT:.2f} to {LIMIT:.0f}"


@dataclass(frozen=True)
class _Column:
    field: str
    heading: str
    meaning: str
    is_share: bool = False


_GROUPS = {
    "pre-activations": [
        _Column(
            "mean",
            "mean",
            "Mean over rows and units. Best near 0, as StandardScaler makes columns.",
        ),
        _Column(
            "std",
            "std",
            f"Standard deviation over rows and units. Best near 1; {_SPREAD} will do.",
        ),
        _Column(
            "sweet_spot",
            "in spot",
            "Share in the range where the activation is steep, with at least 42 % of "
            "its steepest slope, so that a change of the input shows.",
            is_share=True,
        ),
        _Column(
            "saturated",
            "flat",
            "Share where the activation has less than 5 % of its steepest slope: "
            "next to nothing is learned from these.",
            is_share=True,
        ),
        _Column(
            "dead",
            "dead",
            "Share of units that are flat for every row, and so can't learn.",
            is_share=True,
        ),
    ],
    "units": [
        _Column(
            "units",
            "number",
            "Numbers computed for each row. Of inputs and target, their columns.",
        ),
        _Column(
            "effective_rank",
            "rank",
            "In how many directions they vary, weighted by variance: all of them if "
            "they are uncorrelated, 1 if they all say the same.",
        ),
        _Column(
            "correlation",
            "corr.",
            "Mean absolute correlation between two of them.",
        ),
        _Column(
            "twins",
            "twins",
            "Share that have the weights of another one, and so stay its copy.",
            is_share=True,
        ),
    ],
    "gradient": [
        _Column(
            "grad_std",
            "std",
            "Standard deviation of the loss's gradient with respect to a row's "
            "pre-activations: how much the layer is told to change.",
        ),
        _Column(
            "grad_ratio",
            "ratio",
            "Its length beside that in the next layer. Near 1 it keeps its size on "
            "the way back; a factor is taken again at every layer.",
        ),
    ],
    "weights": [
        _Column("weight_std", "std", "Standard deviation of the layer's weights."),
        _Column(
            "update_ratio",
            "update",
            "Length of one step of the optimizer beside that of the weights. Above 1 "
            "a step replaces them.",
        ),
    ],
    "mean-field theory": [
        _Column("q", "q", "Measured mean square of pre-activations, mean² + std²."),
        _Column(
            "q_theory",
            "q exp.",
            "What theory expects it to be, for independent weights of this size.",
        ),
        _Column("chi", "χ", "Measured gradient ratio, squared."),
        _Column("chi_theory", "χ exp.", "What theory expects it to be."),
        _Column(
            "fixed_point",
            "q*",
            "Where q would end after many layers like this one.",
        ),
    ],
}
_COLUMNS = [column for group in _GROUPS.values() for column in group]
_FIRST = {group[0] for group in _GROUPS.values()}


def _table(report: Any) -> Html:
    rows = zip(report.layers, report.fixed_points, strict=True)
    table = tag(
        "table",
        tag("caption", "Layers, in the order of the signal"),
        tag("colgroup", span=2),
        *(tag("colgroup", span=len(group)) for group in _GROUPS.values()),
        tag("thead", *_headings()),
        tag("tbody", *(_row(*pair) for pair in rows)),
    )
    # What scrolls must be within reach of the keyboard.
    return tag(
        "section",
        table,
        class_="sknorm-scroll",
        aria_label="Table of layers",
        tabindex=0,
    )


def _headings() -> Iterator[Html]:
    yield tag(
        "tr",
        tag("th", "layer", scope="col", rowspan=2, class_="sknorm-layer"),
        tag("th", "verdict", scope="col", rowspan=2, class_="sknorm-verdict"),
        *(
            tag(
                "th",
                name,
                scope="colgroup",
                colspan=len(group),
                class_="sknorm-first",
            )
            for name, group in _GROUPS.items()
        ),
    )
    yield tag(
        "tr",
        *(
            tag(
                "th",
                column.heading,
                scope="col",
                title=column.meaning,
                class_=_place(column),
            )
            for column in _COLUMNS
        ),
    )


def _row(row: Any, fixed_point: float) -> Html:
    values = vars(row) | {"fixed_point": fixed_point}
    layer = [tag("span", row.layer)]
    if row.module:
        layer.append(tag("small", f"module {row.module}"))
    if behind := [part for part in (row.activation, row.norm) if part]:
        layer.append(tag("small", ", ".join(behind)))
    verdict = [tag("span", _verdict(row.verdict))]
    reasons = "; ".join(text for text in (row.why, row.hint) if text)
    if reasons:
        verdict.append(tag("small", reasons))
    return tag(
        "tr",
        tag("th", *layer, scope="row", class_="sknorm-layer"),
        tag("td", *verdict, class_="sknorm-verdict"),
        *(
            tag(
                "td",
                number(values[column.field], is_share=column.is_share),
                class_=_place(column),
            )
            for column in _COLUMNS
        ),
        class_=None if row.verdict == "healthy" else "sknorm-ill",
    )


def _place(column: _Column) -> str | None:
    """Return the class of a cell, by which groups stand apart."""
    return "sknorm-first" if column in _FIRST else None


# -- the legend ------------------------------------------------------------------------

_MEANINGS = {
    "healthy": "None of the below.",
    "vanishing": (
        f"The standard deviation is below {1 / LIMIT:.2f}, or the gradient is smaller "
        f"than that at the output by a factor of {LIMIT:.0f} "
        f"({TRAINED_LIMIT:.0f} once trained): hardly anything is left of the signal."
    ),
    "exploding": (
        "The same, too large; or something isn't finite; or one step of the optimizer "
        "is larger than the weights. Of a target: a value is more than "
        f"{LIMIT:.0f} standard deviations off its mean."
    ),
    "saturated": (
        "Most pre-activations are so far from zero that the activation is flat there."
    ),
    "dead": "More than half of the units are flat for every row.",
    "shifted": (
        f"The mean is more than {SHIFT:.0f} standard deviations off zero, so next to "
        "all numbers have one sign."
    ),
    "symmetric": "More than half of the units are copies of others.",
    "batch too small": (
        f"A norm layer takes its mean and variance over fewer than {FEWEST_ROWS} "
        "rows, too few to know them."
    ),
}


def _legend() -> Html:
    return tag(
        "section",
        tag("h2", "How to read the table"),
        tag(
            "p",
            "A layer multiplies what it is fed by weights and adds them up, with a "
            "bias; a norm layer may rescale the sums. The results are its "
            "pre-activations, and an activation function bends them on their way to "
            "the next layer. They serve best with mean 0 and standard deviation 1, "
            "for the reason for which columns are standardized. Training sends a "
            "gradient from the output back to the inputs, and a layer learns from as "
            "much of it as arrives.",
        ),
        *(
            tag("div", tag("h3", name), _list(_definitions(group)))
            for name, group in _GROUPS.items()
        ),
        tag("h2", "What the verdicts mean"),
        _list((_verdict(word), text) for word, text in _MEANINGS.items()),
        class_="sknorm-legend",
    )


def _definitions(group: list[_Column]) -> Iterator[tuple[str, str]]:
    for column in group:
        name = tag("code", column.field)
        yield joined(column.heading, " ", name), column.meaning


def _list(definitions: Iterable[tuple[str, str]]) -> Html:
    return tag(
        "dl",
        *(tag("div", tag("dt", a), tag("dd", b)) for a, b in definitions),
    )


# -- styles ----------------------------------------------------------------------------

# On light and on dark paper. Text is told from what is behind it by 4.5 : 1.
_COLOURS = {
    "paper": ("#ffffff", "#15191f"),
    "ink": ("#1a222c", "#e4e8ed"),
    "muted": ("#55606c", "#a0abb7"),
    "rule": ("#d3d9e0", "#363f4a"),
    "shade": ("#f3f5f8", "#1e242c"),
    "healthy": ("#006b4c", "#5ad1a6"),
    "sick": ("#a83c00", "#ff9d68"),
    "ill": ("#fdf0e7", "#33221a"),
    "line": ("#0072b2", "#5cb4ec"),
    "zone": ("#d9f0e6", "#173a30"),
}
_VARIABLES = "".join(
    f"--sknorm-{name}:light-dark({light},{dark});"
    for name, (light, dark) in _COLOURS.items()
)
# Notebooks and pages with a switch of their own say on an element above which it is.
_STYLE = (
    f"""
.sknorm-report {{ color-scheme: light dark; {_VARIABLES} }}
:is([data-jp-theme-light="true"], .vscode-light, [data-theme="light"], [theme="light"])
  .sknorm-report {{ color-scheme: light; }}
:is([data-jp-theme-light="false"], .vscode-dark, [data-theme="dark"], [theme="dark"])
  .sknorm-report {{ color-scheme: dark; }}
"""
    + """
.sknorm-report {
  max-width: 80rem; padding: 1rem; box-sizing: border-box;
  background: var(--sknorm-paper); color: var(--sknorm-ink);
  font: 1rem/1.5 system-ui, sans-serif; text-align: left;
}
.sknorm-report * { box-sizing: border-box; }
.sknorm-report p, .sknorm-report pre { margin: 0; color: inherit; }
.sknorm-report code { font: .9em ui-monospace, monospace; }

.sknorm-report .sknorm-banner {
  padding: 1rem 1.25rem; border-radius: .375rem; color: #fff; background: #006b4c;
}
.sknorm-report .sknorm-banner.sknorm-sick { background: #a83c00; }
.sknorm-report .sknorm-word { font-size: 1.5rem; font-weight: 700; line-height: 1.25; }
.sknorm-report .sknorm-summary { max-width: 46rem; overflow-wrap: anywhere; }
.sknorm-report .sknorm-banner pre {
  width: fit-content; max-width: 100%; margin-top: .75rem; padding: .5rem .75rem;
  border: 0; border-radius: .25rem; background: #fff; color: #1a222c;
  white-space: pre-wrap; overflow-wrap: anywhere; user-select: all;
}
.sknorm-report .sknorm-banner code { color: inherit; background: none; padding: 0; }
.sknorm-report .sknorm-symbol {
  display: inline-block; width: 1.25em; font-weight: 700;
}

.sknorm-report .sknorm-charts {
  display: grid; gap: 1.5rem; margin: 1.5rem 0; align-items: center;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr));
}
.sknorm-report figure { margin: 0; }
.sknorm-report figcaption { font-weight: 600; }
.sknorm-report figure svg { display: block; width: 100%; height: auto; }
.sknorm-report text { font-size: 11px; fill: var(--sknorm-muted); }
.sknorm-report .sknorm-zone { fill: var(--sknorm-zone); fill-opacity: 1; }
.sknorm-report .sknorm-grid { stroke: var(--sknorm-rule); }
.sknorm-report .sknorm-measured { stroke: var(--sknorm-line); stroke-width: 2; }
.sknorm-report .sknorm-theory { stroke: var(--sknorm-ink); stroke-width: 1.5; }
.sknorm-report .sknorm-point { fill: var(--sknorm-line); }
.sknorm-report .sknorm-sick-point { stroke: var(--sknorm-sick); stroke-width: 2.5; }
.sknorm-report .sknorm-beyond { fill: var(--sknorm-sick); }
.sknorm-report .sknorm-key {
  margin: 0; padding: 0; list-style: none; font-size: .875rem;
}
.sknorm-report .sknorm-key li { display: flex; gap: .75rem; align-items: center; }
.sknorm-report .sknorm-key svg { flex: none; width: 28px; height: 14px; }

.sknorm-report .sknorm-scroll { overflow-x: auto; }
.sknorm-report table {
  min-width: 100%; table-layout: auto; border-collapse: separate; border-spacing: 0;
  border: 0; margin: 0; font-size: .8125rem;
  font-variant-numeric: tabular-nums; color: inherit;
}
.sknorm-report caption {
  position: sticky; left: 0; width: max-content; padding: 0 0 .5rem;
  caption-side: top; font-size: 1rem; font-weight: 600; text-align: left;
  color: inherit;
}
@media screen and (max-width: 64rem) {
  .sknorm-report caption::after {
    content: "Scroll sideways for more."; display: block;
    font-size: .8125rem; font-weight: 400; color: var(--sknorm-muted);
  }
  .sknorm-report .sknorm-layer { box-shadow: 1px 0 var(--sknorm-rule); }
}
.sknorm-report :is(td, th) {
  padding: .3rem .35rem; border: 0; border-bottom: 1px solid var(--sknorm-rule);
  background: var(--sknorm-paper); color: inherit;
  text-align: right; vertical-align: top; white-space: nowrap;
}
.sknorm-report thead th {
  background: var(--sknorm-shade); color: var(--sknorm-muted);
  font-weight: 600; vertical-align: bottom;
}
.sknorm-report thead th[scope="colgroup"] { text-align: left; }
.sknorm-report .sknorm-first { padding-left: 1rem; }
.sknorm-report .sknorm-layer, .sknorm-report .sknorm-verdict { text-align: left; }
.sknorm-report .sknorm-layer { position: sticky; left: 0; }
.sknorm-report tbody .sknorm-verdict { color: var(--sknorm-healthy); }
.sknorm-report .sknorm-verdict small { width: 11rem; white-space: normal; }
@media print, (min-width: 64rem) {
  /* A line of its own below the row's numbers: it passes under them. */
  .sknorm-report .sknorm-verdict small { width: 0; white-space: nowrap; }
}
.sknorm-report tbody .sknorm-verdict span { font-weight: 600; }
.sknorm-report small {
  display: block; font-size: .75rem; font-weight: 400; line-height: 1.35;
  color: var(--sknorm-muted);
}
.sknorm-report .sknorm-ill :is(td, th) { background: var(--sknorm-ill); }
.sknorm-report .sknorm-ill .sknorm-verdict { color: var(--sknorm-sick); }

@media print {
  .sknorm-report { color-scheme: light; }
  .sknorm-report * { print-color-adjust: exact; }
  .sknorm-report .sknorm-scroll { overflow: visible; }
  .sknorm-report table { font-size: 6.5pt; }
  .sknorm-report small { font-size: 6pt; }
  .sknorm-report :is(td, th) { padding: .15rem .25rem; }
  .sknorm-report :is(tr, figure, .sknorm-banner) { break-inside: avoid; }
}
"""
)
_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; background: light-dark(#ffffff, #15191f); }
.sknorm-page { margin: 0 auto; }
.sknorm-page h1 { margin: 0 0 1rem; font-size: 1.125rem; font-weight: 600; }
.sknorm-page h2 { margin: 2.5rem 0 .5rem; font-size: 1.25rem; line-height: 1.25; }
.sknorm-page h3 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
.sknorm-legend > p { max-width: 46rem; }
.sknorm-legend dl { margin: 0; max-width: 58rem; }
.sknorm-legend dl > div {
  padding: .35rem 0; border-top: 1px solid var(--sknorm-rule); break-inside: avoid;
}
.sknorm-legend dt { font-weight: 600; }
.sknorm-legend dt code { font-weight: 400; color: var(--sknorm-muted); }
.sknorm-legend dd { margin: 0; }
@media (min-width: 40rem) {
  .sknorm-page { padding: 1.5rem; }
  .sknorm-legend dl > div { display: grid; grid-template-columns: 14rem 1fr; }
}
@media print { @page { size: A4 landscape; margin: 12mm; } }
"""
