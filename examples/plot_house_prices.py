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

from sknorm.exceptions import DivergenceError
from sknorm.neural_network import NormMLPRegressor
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TOLERANCE = 1e-6
ORANGE, BLUE = "#d55e00", "#0072b2"


def make_houses(n_houses=500, seed=0):
    """Return areas and bedrooms, and prices in thousands."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(50, 500, n_houses)
    bedrooms = rng.integers(1, 6, n_houses)
    price = 3.0 * area + 20.0 * bedrooms + rng.normal(0, 20, n_houses)
    return np.column_stack([area, bedrooms]), price


# %%
# Descent
# -------
# The model is linear in centred inputs, so its loss is exactly quadratic. A step of
# 1 / (largest eigenvalue of the Hessian) is safe in every direction; along the smallest
# eigenvalue the error then shrinks by 1 - 1/k a step, where k, the condition number, is
# the ratio of the two.
class Quadratic:
    """Half the mean squared error of a linear model of two inputs."""

    def __init__(self, X, y):
        X, y = X - X.mean(axis=0), y - y.mean()
        self.hessian = X.T @ X / len(X)
        self.best = np.linalg.lstsq(X, y, rcond=None)[0]
        smallest, largest = np.linalg.eigvalsh(self.hessian)
        self.condition = largest / smallest
        self.step = 1 / largest

    def excess(self, w):
        """Return how far the loss at ``w`` is above the smallest."""
        d = np.moveaxis(np.asarray(w) - self.best, -1, 0)
        return 0.5 * np.einsum("i...,ij,j...->...", d, self.hessian, d)

    def descend(self):
        """Return the path from 0 until the excess loss has shrunk a million times."""
        path = [np.zeros(2)]
        while self.excess(path[-1]) > TOLERANCE * self.excess(path[0]):
            path.append(path[-1] - self.step * self.hessian @ (path[-1] - self.best))
        return np.array(path)


# %%
# The picture
# -----------
def draw_surface(ax, surface, path, reach, title, unit):
    """Draw contours of the loss and the way gradient descent takes."""
    axes = [np.linspace(best - reach, best + reach, 300) for best in surface.best]
    grid = np.stack(np.meshgrid(*axes), axis=-1)
    loss = surface.excess(grid) / surface.excess(np.zeros(2))
    levels = np.geomspace(1e-4, 100, 13)
    ax.contourf(
        *axes,
        np.clip(loss, levels[0], levels[-1]),
        levels,
        cmap="cividis_r",
        norm="log",
    )
    ax.plot(*path.T, "o-", color=ORANGE, markersize=4, linewidth=1.5)
    ax.plot(*surface.best, "*", color="white", markersize=15, markeredgecolor="black")
    ax.annotate(
        "start",
        path[0],
        (6, -14),
        textcoords="offset points",
        color=ORANGE,
        fontsize=11,
    )
    ax.set_aspect("equal")
    ax.set_title(title, fontsize=12)
    ax.set_xlabel(f"weight of area (thousands / {unit[0]})")
    ax.set_ylabel(f"weight of bedrooms (thousands / {unit[1]})")


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


def main():
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()
    X, y = make_houses()
    surfaces = {
        "raw": Quadratic(X, y),
        "standardized": Quadratic(Standardizer().fit_transform(X), y),
    }
    paths = {name: surface.descend() for name, surface in surfaces.items()}
    print(f"{'inputs':14}{'condition':>12}{'best step':>12}{'steps':>8}")
    for name, surface in surfaces.items():
        print(
            f"{name:14}{surface.condition:12.1f}{surface.step:12.2g}"
            f"{len(paths[name]) - 1:8d}"
        )
    raw, raw_lr = best_curve(X, y, args.epochs)
    standard, standard_lr = best_curve(Standardizer().fit_transform(X), y, args.epochs)
    print(
        "\nNetwork of 32 ReLU units, plain SGD, each at its best of six learning rates;"
        f"\nloss after {args.epochs} epochs (1 is predicting the mean): "
        f"raw {raw[-1]:.4f} (lr {raw_lr:.0e}), "
        f"standardized {standard[-1]:.4f} (lr {standard_lr:.0e})"
    )

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(13, 4.4), layout="constrained"
    )
    draw_surface(
        left,
        surfaces["raw"],
        paths["raw"],
        25,
        f"Raw: a valley (condition {surfaces['raw'].condition:,.0f})\n"
        f"{len(paths['raw']) - 1:,} steps",
        ("m²", "bedroom"),
    )
    draw_surface(
        middle,
        surfaces["standardized"],
        paths["standardized"],
        480,
        f"Standardized: a bowl (condition {surfaces['standardized'].condition:.2f})\n"
        f"{len(paths['standardized']) - 1} steps",
        ("std", "std"),
    )
    epochs = np.arange(1, args.epochs + 1)
    right.semilogy(
        epochs, raw, color=ORANGE, linestyle="--", label=f"raw inputs, lr {raw_lr:.0e}"
    )
    right.semilogy(
        epochs, standard, color=BLUE, label=f"standardized inputs, lr {standard_lr:.0e}"
    )
    right.set_title(
        "The same network on both,\neach at its best learning rate", fontsize=12
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
