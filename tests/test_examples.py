"""The examples run, print what they promise and draw something."""

import subprocess
import sys
from pathlib import Path

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


def test_the_lines_in_the_readme_run():
    readme = (EXAMPLES.parent / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    # Two classes and one narrow layer: the same lines in a few seconds.
    quick = code.replace("load_digits(", "load_digits(n_class=2, ").replace(
        "(64,) * 10", "(8,)"
    )
    assert quick.count("n_class=2") == quick.count("(8,)") == 1
    space = {}
    exec(quick, space)
    assert space["search"].best_score_ > 0.9


def test_every_example_is_run_above():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "plot_init_norm_search.py",
        "plot_house_prices.py",
        "plot_mixed_types.py",
        "plot_standardizers.py",
    }
