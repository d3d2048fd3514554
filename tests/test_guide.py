"""The guide's cells run, and say in both languages what its text says."""

import re
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot as plt

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
LANGUAGES = ["en", "zh"]

# A code cell with its options, or an expression in the text.
PARTS = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?:---\n(?P<options>.*?)^---\n)?(?P<code>.*?)^```$"
    r"|\{eval\}`(?P<expression>[^`]+)`",
    re.DOTALL | re.MULTILINE,
)

# What the words say around the numbers. Tables have labels in their own language, so
# that cells are told by position.
CLAIMS = {
    "inputs": [
        "surface.n_steps[0] > 300 * surface.n_steps[1]",
        "abs(surface.condition_numbers[1] - (1 + r) / (1 - r)) < 0.01",
        "conditions.iloc[0] > 1000 * conditions.iloc[3]",
        "min(conditions.iloc[1:3]) > 10 * conditions.iloc[3]",
        "abs(conditions.iloc[4] - 1) < 0.001",
        # The mean counts for more than the units; a norm layer may undo both.
        "r2.none.iloc[0] < 0.5 < r2.none.iloc[1] + 0.3 < r2.none.iloc[2] + 0.2",
        "r2.none.iloc[3] > 0.75",
        "r2.batch.min() > 0.9",
        "r2.layer.iloc[0] < 0.1 < r2.layer.iloc[3] < r2.batch.iloc[3]",
    ],
    "activations": [
        "abs(table.loc['relu'].iloc[0] - 0.39894) < 1e-5",
        "abs(table.loc['relu'].iloc[1] - 0.34085) < 1e-5",
        "abs(table.loc['relu'].iloc[2] - 2**0.5) < 1e-5",
        "abs(table.loc['selu'].iloc[:2] - [0, 1]).max() < 1e-6",
        "abs(table.loc['sigmoid'].iloc[1] ** -0.5 - 4.80) < 0.01",
        # Rows: sigmoid, tanh and ReLU, each around 100 and standardized.
        "around.iloc[[0, 2], 2].min() > 0.8",
        "around.iloc[2, 3] < around.iloc[3, 3] / 4",
        "around.iloc[4, 3] > around.iloc[5, 3] / 2",
        "around.iloc[4, [1, 2]].sum() > 0.9",
        "around.iloc[[0, 2, 4], 4].max() < 0.65 and accuracy_patient < 0.65",
        "around.iloc[[1, 3, 5], 4].min() > 0.8",
        "hidden.sweet_spot.min() > 0.99",
        "hidden.verdict.iloc[0] == 'vanishing'",
        "0.2 < hidden.grad_ratio[:-1].median() < 0.28",
        "abs(kept - 0.0557) < 1e-4",
        "hidden.grad_std.iloc[-1] > 1e5 * hidden.grad_std.iloc[0]",
        "accuracy['none'] < 0.65 < 0.85 < accuracy['batch']",
    ],
    "weights": [
        "difference(zeros) == difference(same) == 0",
        "max(net.score(X_test, y_test) for net in (zeros, same)) < 0.25",
        "n == 128",
        # Rows: N(0, 0.01), N(0, 1), Xavier and Kaiming; columns from the second on:
        # factor in theory and measured, and what is left in layer 50.
        "(factors.iloc[:, 2] / factors.iloc[:, 1]).between(0.9, 1.1).all()",
        "not np.isfinite(factors.iloc[1, 3]) and factors.iloc[0, 3] == 0",
        "1e-9 < factors.iloc[2, 3] < 1e-6",
        "second.layer == 'hidden 2' and second.correlation > 0.95",
        "0.2 < factors.iloc[3, 3] < 5",
        "abs(np.median(display.forward['LSUV'][:, 50]) - 1) < 0.1",
        "last['32 units'].min() < 0.2",
        "last['256 units'].min() > 0.4 and last['256 units'].max() < 4",
        # Columns: the signal in layer 50 and the gradient in layer 1.
        "0.05 < after_50.iloc[0, 0] < 0.2",
        "abs(after_50.iloc[1, 0] - 1) < 0.1 and after_50.iloc[1, 1] > 30",
        "0.4 < after_50.iloc[2, 0] < 1.2 and 0.4 < after_50.iloc[2, 1] < 2.5",
        "float(accuracies.iloc[3, 0]) > 0.5 > float(accuracies.iloc[3, 1])",
        "float(accuracies.iloc[2, 1]) < 0.2 < float(accuracies.iloc[4, 1])",
        "float(accuracies.iloc[5, 1]) > float(accuracies.iloc[4, 1]) + 0.1",
    ],
    "layers": [
        "abs(batch.mean(0)).max() < 1e-5 and abs(layer.mean(1)).max() < 1e-5",
        "abs(abs(squashed) - 1).max() < 0.01",
        "by_batch.batch[2] < by_batch.none[2] - 0.15",
        "by_batch.batch[2] < by_batch.layer[2] - 0.15",
        "by_batch.batch[8] > by_batch.none[8] - 0.06",
        # Rows: two tables, with two and with eight layers.
        "abs(means.none - means.batch).iloc[0] < 0.01",
        "(means.none - means.batch).iloc[1:].min() > 0.005",
        "means.none.iloc[3] > means.layer.iloc[3] + 0.05",
        # Rows: defaults, tiny weights, N(0, 1), zeros, and two learning rates.
        "repaired.none.iloc[1] < 0.2 and repaired.batch.iloc[1] > 0.9",
        "repaired.layer.iloc[1] < 0.5",
        "repaired.none.iloc[2] < repaired.batch.iloc[2] < 0.75",
        "repaired.iloc[3].max() < 0.2",
        "repaired.batch.iloc[5] > 0.8",
        "repaired[['none', 'layer']].iloc[5].max() < 0.3",
    ],
    "together": [
        "list(visits.iloc[:, 0]) == ['shifted', 'saturated', 'vanishing', 'healthy']",
        "visits.iloc[2, 3] < visits.iloc[1, 3] - 0.2",
        "visits.iloc[2, 3] < 0.7 and visits.iloc[3, 3] > 0.93",
        "'vanishing' in str(caught[0].message) and len(caught) == 1",
        "shrunk['none'] < 1e-4 and 0.05 < shrunk['batch'] < 20",
        "cells.iloc[0].max() < 0.7 and cells.iloc[[1, 3, 4, 5]].min().min() > 0.9",
        "cells.iloc[2].max() < search.best_score_ - display.std[display.best]",
        "near_best.to_numpy().sum() > 1",
        "abs(compared.iloc[1, 0] - compared.iloc[0, 0]) < 0.015",
        "compared.iloc[1, 1] > compared.iloc[0, 1] + 0.01",
    ],
}


def read(language, chapter):
    return (GUIDE / language / f"{chapter}.md").read_text(encoding="utf-8")


def run(text):
    """Run a document; return its names, what its expressions say, and bare figures."""
    names, said, without_alt = {}, {}, []
    for part in PARTS.finditer(text):
        if part["expression"]:
            said[part["expression"]] = eval(part["expression"], names)
            continue
        exec(part["code"], names)
        if plt.get_fignums() and "alt: " not in (part["options"] or ""):
            without_alt.append(part["code"])
        plt.close("all")
    return names, said, without_alt


@pytest.mark.parametrize("chapter", CLAIMS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_chapter(language, chapter, monkeypatch):
    monkeypatch.syspath_prepend(GUIDE)
    names, said, without_alt = run(read(language, chapter))
    assert not without_alt, "figures without alt text"
    assert said, "no number of the text is computed"
    for expression, value in said.items():
        # A page shows what Python does: np.int64(3) of a scalar of NumPy's.
        assert type(value) in (str, int), expression
        assert str(value).strip(), expression
        assert "nan" not in str(value).lower(), expression
    wrong = [claim for claim in CLAIMS[chapter] if not eval(claim, names)]
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_chapter_is_listed(language):
    listed = re.search(
        r"```\{toctree\}\n.*?\n\n(.*?)```", read(language, "index"), re.S
    )
    assert listed[1].split() == list(CLAIMS)
    present = {path.stem for path in (GUIDE / language).glob("*.md")}
    assert present == {"index", *CLAIMS}


@pytest.mark.parametrize("chapter", ["index", *CLAIMS])
@pytest.mark.parametrize("language", LANGUAGES)
def test_links_lead_to_chapters(language, chapter):
    links = re.findall(r"\]\(([^)#]+)\)", read(language, chapter))
    assert set(links) <= {f"{name}.md" for name in CLAIMS}


@pytest.mark.parametrize("chapter", CLAIMS)
def test_both_languages_draw_as_many_figures(chapter):
    english, chinese = (read(language, chapter) for language in LANGUAGES)
    assert english.count("alt: ") == chinese.count("alt: ")
