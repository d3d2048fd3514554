"""
What standardizing does to the loss surface
===========================================

House prices from area (50 to 500 square metres) and bedrooms (1 to 5). In these units
the loss is a narrow valley that gradient descent creeps along; standardized, it is a
bowl that it runs down.
"""

# %%
# The houses
# ----------
import argparse
import contextlib
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from sknorm.exceptions import DivergenceError
from sknorm.inspection import LossSurfaceDisplay
from sknorm.neural_network import NormMLPRegressor
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

VERMILLION, BLUE = "#d55e00", "#0072b2"


def make_houses(n_houses=500, seed=0):
    """Return areas and bedrooms, and prices in thousands."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(50, 500, n_houses)
    bedrooms = rng.integers(1, 6, n_houses)
    price = 3.0 * area + 20.0 * bedrooms + rng.normal(0, 20, n_houses)
    return pd.DataFrame({"area": area, "bedrooms": bedrooms}), price


# %%
# A network on both
# -----------------
# Each gets the learning rate that is best for it.
def best_curve(X, y, max_epochs):
    """Return the loss curve at the learning rate that ends lowest, and that rate."""
    curves = {}
    for lr in np.geomspace(1e-6, 1e-1, 6):
        net = NormMLPRegressor(
            (32,),
            norm="none",
            optimizer="sgd",
            lr=lr,
            lr_schedule="constant",
            weight_decay=0,
            max_epochs=max_epochs,
            random_state=0,
        )
        # The rates that are too large for the inputs diverge: they are not the best.
        with contextlib.suppress(DivergenceError):
            curves[lr] = net.fit(X, y).loss_curve_
    lr = min(curves, key=lambda lr: curves[lr][-1])
    return curves[lr], lr


# %%
# The picture
# -----------
# The model in the first two panels is linear, so that its loss is exactly quadratic and
# the best constant step is known: 2 / (L + m), where L and m are the extreme
# eigenvalues of the Hessian. Their ratio, the condition number k, then decides how many
# steps descent takes to a hundredth of the loss it starts at, about k / 4 times
# log(100).
def main():
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    X, y = make_houses()
    figure, (*panels, right) = plt.subplots(
        1, 3, figsize=(13, 4.4), layout="constrained"
    )
    display = LossSurfaceDisplay.from_data(X, y, ax=panels, colorbar=False)
    print(f"{'inputs':14}{'condition':>12}{'step size':>12}{'steps':>8}")
    for name, surface in zip(("raw", "standardized"), display.surfaces, strict=True):
        descent = surface.descent
        print(
            f"{name:14}{surface.condition_number:12.1f}"
            f"{descent.step_size:12.2g}{descent.n_steps:8d}"
        )
    raw, raw_lr = best_curve(X, y, args.epochs)
    standard, standard_lr = best_curve(Standardizer().fit_transform(X), y, args.epochs)
    print(
        "\nNetwork of 32 ReLU units, plain SGD, each at its best of six learning rates;"
        f"\nloss after {args.epochs} epochs (1 is predicting the mean): "
        f"raw {raw[-1]:.4f} (lr {raw_lr:.0e}), "
        f"standardized {standard[-1]:.4f} (lr {standard_lr:.0e})"
    )

    epochs = np.arange(1, args.epochs + 1)
    right.semilogy(
        epochs,
        raw,
        color=VERMILLION,
        linestyle="--",
        label=f"raw inputs, lr {raw_lr:.0e}",
    )
    right.semilogy(
        epochs, standard, color=BLUE, label=f"standardized inputs, lr {standard_lr:.0e}"
    )
    right.set_title(
        "the same network on both,\neach at its best learning rate",
        loc="left",
        fontsize=12,
        fontweight="bold",
    )
    right.set_xlabel("epoch")
    right.set_ylabel("training loss (share of the variance)")
    right.legend(frameon=False)
    right.spines[["top", "right"]].set_visible(False)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "house_prices.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
