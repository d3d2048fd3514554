"""
Which standardizer for which column
===================================

All six bring columns to mean 0 and standard deviation 1, or near it. They differ in
what they do about the rest: skew, tails, correlations, and groups that have means of
their own.
"""

# %%
# Columns of three shapes
# -----------------------
# Incomes are skewed, daily returns have heavy tails, and visits are small counts. A
# twentieth of the incomes is missing.
import argparse
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from sknorm.inspection import StandardizationDisplay
from sknorm.preprocessing import (
    GroupStandardizer,
    PowerStandardizer,
    QuantileStandardizer,
    RobustStandardizer,
    Standardizer,
    WhiteningStandardizer,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

VERMILLION, BLUE = "#d55e00", "#0072b2"


def make_customers(n_customers, rng):
    """Return a skewed, a heavy-tailed and a discrete column."""
    customers = pd.DataFrame(
        {
            "income": rng.lognormal(10.5, 0.8, n_customers),
            "daily return": 0.01 * rng.standard_t(2, n_customers),
            "visits": rng.poisson(3, n_customers).astype(float),
        }
    )
    customers.loc[rng.random(n_customers) < 0.05, "income"] = np.nan
    return customers


# %%
# One standardizer, closely
# -------------------------
# A power makes incomes normal: bars follow the density of N(0, 1), and quantiles the
# diagonal. Heavy tails on both sides are beyond any power, and the numbers say so.
def draw_closely(customers):
    """Draw the columns before and after a standardizer, print the numbers."""
    scaler = PowerStandardizer().fit(customers)
    display = StandardizationDisplay.from_estimator(
        scaler, customers, columns=["income", "daily return"]
    )
    numbers = display.to_frame()[["mean", "std", "skewness", "excess_kurtosis"]]
    # Adding 0 makes a negative zero positive.
    print((numbers.round(2) + 0.0).to_string(), end="\n\n")
    return display.figure_


# %%
# Four that go column by column
# -----------------------------
# * ``Standardizer`` shifts and scales. The shape stays: an outlier is one afterwards,
#   and the more of them there are, the closer it moves all else to 0.
# * ``RobustStandardizer`` scales by what the middle of a column spans, so that tails
#   don't matter: the returns fit N(0, 1). ``clip="smooth"`` bends tails to within 3.
# * ``PowerStandardizer`` removes skew, by the power that makes a column likeliest to be
#   normal.
# * ``QuantileStandardizer`` makes any continuous column normal by its ranks. Distances
#   are lost: the largest value could be anywhere beyond the second largest.
COLUMN_BY_COLUMN = {
    "Standardizer": Standardizer(),
    "RobustStandardizer": RobustStandardizer(clip="smooth"),
    "PowerStandardizer": PowerStandardizer(),
    "QuantileStandardizer": QuantileStandardizer(),
}


def draw_four(customers):
    """Draw the histograms after each standardizer in a row of their own."""
    shape = (len(COLUMN_BY_COLUMN) + 1, customers.shape[1])
    figure, axes = plt.subplots(*shape, figsize=(9.6, 14), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    print(f"{'beyond 3 sigma of N(0, 1)':28}", *customers.columns, sep="  ")
    for row, (name, scaler) in enumerate(COLUMN_BY_COLUMN.items(), 1):
        display = StandardizationDisplay.from_estimator(
            scaler.fit(customers), customers, name=name, panels="after", ax=axes[row]
        )
        shares = (
            f"{100 * part.beyond_3_sigma:{len(part.name) - 2}.2f} %"
            for part in display.after
        )
        print(f"{name:28}", *shares, sep="  ")
        if row == 1:
            display.plot(axes[0], panels="before")
    print(f"{'a normal column has':28}", "0.27 %", sep="  ", end="\n\n")
    return figure


# %%
# Correlated columns
# ------------------
# Height and weight say much the same. ``WhiteningStandardizer`` leaves no correlation.
# ``zca_cor`` stays as near to the columns as that allows: the first output is mostly
# height still. ``pca_cor`` turns them into components, here size and build.
def make_people(n_people, rng):
    """Return heights and weights."""
    height = rng.normal(172, 9, n_people)
    weight = 75 + 1.1 * (height - 172) + rng.normal(0, 7, n_people)
    return pd.DataFrame({"height (cm)": height, "weight (kg)": weight})


def draw_whitening(people):
    """Draw people before and after, and print the correlations."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
    scalers = {
        "Standardizer": Standardizer(),
        "Whitening, zca_cor": WhiteningStandardizer(method="zca_cor"),
        "Whitening, pca_cor": WhiteningStandardizer(method="pca_cor"),
    }
    tables = {"before": people.to_numpy()}
    tables |= {name: scaler.fit_transform(people) for name, scaler in scalers.items()}
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        correlation = f"correlation {abs(np.corrcoef(table.T)[0, 1]):.2f}"
        print(f"{name:28}  {correlation}")
        points = ax.scatter(*table.T, c=people["height (cm)"], s=6, cmap="cividis")
        ax.set_title(f"{name}\n{correlation}", loc="left", fontsize=11)
        ax.set_box_aspect(1)
        ax.spines[["top", "right"]].set_visible(False)
        if name == "before":
            ax.set(xlabel=people.columns[0], ylabel=people.columns[1])
        else:
            ax.set(xlim=(-4, 4), ylim=(-4, 4))
            ax.set(xlabel="first output", ylabel="second output")
    figure.colorbar(points, ax=axes, label="height before (cm)", pad=0.01)
    print()
    return figure


# %%
# Groups
# ------
# Four sensors measure the same with offsets and units of their own, the last one six
# times only. After ``Standardizer`` most of what a number says is which sensor it is
# from. After ``GroupStandardizer`` all are alike. Six values tell little of a mean and
# a standard deviation, so those of the last one are drawn a little toward all rows'.
def make_measurements(n_each, rng):
    """Return measurements and which sensor each is from."""
    sensors = {"A": (20, 2, n_each), "B": (35, 6, n_each), "C": (5, 1, n_each)}
    sensors["D"] = (28, 3, 6)
    value = [rng.normal(mean, std, n) for mean, std, n in sensors.values()]
    sensor = np.repeat(list(sensors), [len(part) for part in value])
    return pd.DataFrame({"sensor": sensor, "value": np.concatenate(value)})


def draw_groups(measurements):
    """Draw what each sensor measured before and after, and print mean and std."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), layout="constrained")
    value = measurements[["value"]]
    tables = {
        "before": value.to_numpy(),
        "Standardizer": Standardizer().fit(value).transform(value),
        "GroupStandardizer": GroupStandardizer(by="sensor").fit_transform(measurements),
    }
    sensor, place = np.unique(measurements["sensor"], return_inverse=True)
    jitter = np.linspace(-0.25, 0.25, 7)[np.arange(len(place)) % 7]
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        groups = pd.Series(table[:, 0]).groupby(measurements["sensor"])
        mean, std = groups.mean().round(2) + 0.0, groups.std(ddof=0)
        spans = (
            f"{label}: {m:.2f} +- {s:.2f}"
            for label, m, s in zip(sensor, mean, std, strict=True)
        )
        print(f"{name:28}", *spans, sep="  ")
        ax.plot(place + jitter, table[:, 0], ".", color=BLUE, markersize=3, alpha=0.5)
        ax.errorbar(
            np.arange(len(sensor)),
            mean,
            std,
            fmt="o",
            color=VERMILLION,
            capsize=5,
            linewidth=2,
            label="mean and std",
        )
        ax.set_title(name, loc="left", fontsize=11)
        ax.set_xticks(np.arange(len(sensor)), sensor)
        ax.set_xlabel("sensor")
        ax.set_ylabel("value" if name == "before" else "standard deviations")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def main():
    """Draw all four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--rows", type=int, default=5000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    customers = make_customers(args.rows, rng)
    figures = {
        "standardization": draw_closely(customers),
        "standardizers": draw_four(customers),
        "whitening": draw_whitening(make_people(args.rows // 5, rng)),
        "groups": draw_groups(make_measurements(args.rows // 20, rng)),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        path = args.out / f"{name}.png"
        figure.savefig(path, dpi=130)
        plt.close(figure)
        print(f"Figure: {path}")


if __name__ == "__main__":
    main()
