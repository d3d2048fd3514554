"""
Which initialisation, which norm layer?
=======================================

A grid search over init schemes and norm layers, in a pipeline, on the handwritten
digits that scikit-learn ships: once with two hidden layers, once with ten. Some schemes
never learn, some only until the net is deep, and a norm layer rescues some of them.
"""

# %%
# The search
# ----------
# Scheme and norm are plain string parameters of the network; a scheme with numbers of
# its own is a small object such as ``Normal(mean=10, std=5)``.
import argparse
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from sknorm.neural_network import NormMLPClassifier
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INITS = {
    "zeros": "zeros",
    "N(10, 5)": Normal(mean=10, std=5),
    "N(0, 0.01), tiny": Normal(mean=0, std=0.01),
    "N(0, 1)": "standard_normal",
    "torch default": "torch_default",
    "Xavier": "xavier_normal",
    "Kaiming": "kaiming_normal",
    "orthogonal": "orthogonal",
    "LSUV": "lsuv",
    "auto": "auto",
}
NORMS = ["none", "batch", "layer"]
DEPTHS = {"2 hidden layers": (64,) * 2, "10 hidden layers": (64,) * 10}


def make_search(inits, max_epochs, n_splits, n_jobs):
    """Return the grid search over depth, init scheme and norm layer."""
    model = Pipeline(
        [
            ("standardize", Standardizer()),
            (
                "net",
                NormMLPClassifier(max_epochs=max_epochs, batch_size=64, random_state=0),
            ),
        ]
    )
    grid = {
        "net__init": list(inits.values()),
        "net__norm": NORMS,
        "net__hidden_layer_sizes": list(DEPTHS.values()),
    }
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=0)
    return GridSearchCV(model, grid, cv=folds, n_jobs=n_jobs, verbose=3)


def table_of(search, inits, column):
    """Return ``column`` of the results as an array of depth x init x norm."""
    results = search.cv_results_
    cells = {
        (p["net__hidden_layer_sizes"], p["net__init"], p["net__norm"]): value
        for p, value in zip(results["params"], results[column], strict=True)
    }
    return np.array(
        [
            [[cells[sizes, init, norm] for norm in NORMS] for init in inits.values()]
            for sizes in DEPTHS.values()
        ]
    )


# %%
# The table
# ---------
def print_table(search, inits):
    """Print accuracy, its spread over the folds, and seconds for each candidate."""
    mean, std, seconds = (
        table_of(search, inits, column)
        for column in ("mean_test_score", "std_test_score", "mean_fit_time")
    )
    for d, depth in enumerate(DEPTHS):
        print(f"\nAccuracy +- spread over folds (seconds a fit), {depth}")
        print(f"{'init':18}" + "".join(f"{'norm=' + norm:>24}" for norm in NORMS))
        for i, init in enumerate(inits):
            cells = (
                "diverged"
                if np.isnan(mean[d, i, j])
                else f"{mean[d, i, j]:.3f} +- {std[d, i, j]:.3f} "
                f"({seconds[d, i, j]:.2f} s)"
                for j in range(len(NORMS))
            )
            print(f"{init:18}" + "".join(f"{cell:>24}" for cell in cells))


# %%
# The picture
# -----------
def draw(search, inits, path):
    """Draw accuracy as two heat maps of init x norm, shallow beside deep."""
    scores = table_of(search, inits, "mean_test_score")
    figure, axes = plt.subplots(
        1, len(DEPTHS), figsize=(9, 0.45 * len(inits) + 1.9), layout="constrained"
    )
    colours = plt.get_cmap("cividis").with_extremes(bad="white")
    for ax, depth, score in zip(axes, DEPTHS, scores, strict=True):
        image = ax.imshow(score, vmin=0, vmax=1, cmap=colours, aspect="auto")
        for (i, j), value in np.ndenumerate(score):
            ax.text(
                j,
                i,
                "diverged" if np.isnan(value) else f"{value:.2f}",
                color="black" if np.isnan(value) or value > 0.5 else "white",
                ha="center",
                va="center",
                fontsize=11,
            )
        ax.set_title(depth, fontsize=12)
        ax.set_xticks(range(len(NORMS)), NORMS, fontsize=11)
        ax.set_xlabel("norm layer", fontsize=11)
        ax.set_yticks(range(len(inits)), list(inits), fontsize=11)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xticks(np.arange(0.5, len(NORMS) - 1), minor=True)
        ax.set_yticks(np.arange(0.5, len(inits) - 1), minor=True)
        ax.grid(which="minor", color="white", linewidth=2)
        ax.tick_params(which="minor", length=0)
    axes[0].set_ylabel("init scheme", fontsize=11)
    axes[1].tick_params(labelleft=False)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("cross-validated accuracy", fontsize=11)
    bar.ax.axhline(0.1, color="white", linewidth=2)
    bar.set_ticks(
        [0, 0.1, 0.25, 0.5, 0.75, 1],
        labels=["0", "0.1 (chance)", "0.25", "0.5", "0.75", "1"],
    )
    figure.suptitle(
        "Digits: depth punishes a bad init; a norm layer rescues some, zeros none",
        fontsize=13,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    """Run the search, print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="three schemes, few epochs"
    )
    args = parser.parse_args()
    inits = INITS
    if args.quick:
        inits = {name: INITS[name] for name in ("zeros", "N(10, 5)", "Kaiming")}
    X, y = load_digits(return_X_y=True)
    search = make_search(
        inits, 4 if args.quick else 20, 2 if args.quick else 3, args.jobs
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A scheme that diverges is a finding here: it stands in the table as such.
        warnings.simplefilter("ignore", FitFailedWarning)
        warnings.filterwarnings(
            "ignore", "One or more of the test scores are non-finite"
        )
        search.fit(X, y)
    print_table(search, inits)
    best = search.best_params_
    print(
        f"\nBest: init={best['net__init']!r}, norm={best['net__norm']!r}, "
        f"{len(best['net__hidden_layer_sizes'])} hidden layers, accuracy "
        f"{search.best_score_:.3f}. {len(search.cv_results_['params'])} candidates in "
        f"{time.perf_counter() - start:.0f} s."
    )
    path = args.out / "init_norm_search.png"
    draw(search, inits, path)
    print(f"Heat map: {path}")


if __name__ == "__main__":
    main()
