"""The examples run, print what they promise and draw something."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("script", "arguments", "picture", "rows"),
    [
        (
            "plot_init_norm_search.py",
            ["--quick", "--jobs", "1"],
            "init_norm_search.png",
            ["zeros", "N(10, 5)", "Kaiming", "Best: init="],
        ),
        (
            "plot_house_prices.py",
            ["--epochs", "5"],
            "house_prices.png",
            ["raw", "standardized", "Network of 32 ReLU units"],
        ),
        (
            "plot_mixed_types.py",
            ["--rows", "400"],
            "mixed_types.png",
            ["income", "init=auto", "LogisticRegression", "Best network"],
        ),
        (
            "plot_standardizers.py",
            ["--rows", "400"],
            "standardizers.png",
            [
                "daily return before",
                "QuantileStandardizer",
                "Whitening, zca_cor            correlation 0.00",
                "GroupStandardizer",
            ],
        ),
        (
            "plot_signal_report.py",
            ["--epochs", "1", "--seeds", "1"],
            "signal_report.png",
            ["hidden 1: vanishing", "healthy in all 22 rows", "norm='batch'"],
        ),
    ],
    ids=lambda value: value if str(value).endswith(".py") else "",
)
def test_example(script, arguments, picture, rows, tmp_path):
    result = subprocess.run(
        [sys.executable, EXAMPLES / script, "--out", tmp_path, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for row in rows:
        assert row in result.stdout
    import matplotlib.image

    pixels = matplotlib.image.imread(tmp_path / picture)
    assert pixels.shape[1] > 800
    assert pixels[..., :3].std() > 0.1, "the picture is blank"


def test_a_raw_table_becomes_a_calibrated_prediction(rng, tmp_path):
    n = 400
    age = rng.integers(17, 90, n)
    table = pd.DataFrame(
        {
            "age": age,
            "workclass": rng.choice(["Private", "State-gov", None], n),
            "capital-gain": np.where(rng.random(n) < 0.9, 0, rng.integers(1, 9_999, n)),
            "income": np.where(age + rng.normal(0, 20, n) > 50, ">50K", "<=50K"),
        }
    )
    table.to_csv(tmp_path / "adult.csv", index=False)
    command = [sys.executable, EXAMPLES / "plot_calibrated_table.py", "--epochs", "5"]
    result = subprocess.run(
        [*command, "--csv", tmp_path / "adult.csv", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for row in ("accuracy", "log loss", "temperature", "members differ by"):
        assert row in result.stdout
    assert "epoch" in result.stderr, "no progress is shown"
    assert (tmp_path / "calibrated_table.png").stat().st_size > 10_000


def readme_code(index):
    """Return one of the README's blocks of Python."""
    readme = (EXAMPLES.parent / "README.md").read_text()
    return readme.split("```python\n")[1 + index].split("```")[0]


def test_the_lines_in_the_readme_run():
    code = readme_code(0)
    # Two classes and one narrow layer: the same lines in a few seconds.
    quick = code.replace("load_digits(", "load_digits(n_class=2, ").replace(
        "(64,) * 10", "(8,)"
    )
    assert quick.count("n_class=2") == quick.count("(8,)") == 1
    space = {}
    exec(quick, space)
    assert space["search"].best_score_ > 0.9


def test_the_readmes_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(readme_code(1), space)
    assert "hidden 1: vanishing" in capsys.readouterr().out
    assert space["better"][-1].norm == "batch"
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_every_example_is_run_above():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "plot_calibrated_table.py",
        "plot_init_norm_search.py",
        "plot_house_prices.py",
        "plot_mixed_types.py",
        "plot_signal_report.py",
        "plot_standardizers.py",
    }
