"""
A table with numbers, categories and gaps
=========================================

A network at the end of the pipeline one would build for any other model: numbers are
standardized and filled, categories become columns, and the search goes over the
network's init and norm layer. Which columns carry the prediction?
"""

# %%
# The customers
# -------------
import argparse
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sknorm.neural_network import NormMLPClassifier
from sknorm.nn.initializers import Normal
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NUMBERS = ["income", "age", "balance", "visits"]
CATEGORIES = ["region", "plan", "newsletter"]


def make_customers(n_customers, seed=0):
    """Return customers of very unequal scales with gaps, and who of them left."""
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {
            "income": rng.lognormal(10.5, 0.5, n_customers),
            "age": rng.uniform(18, 80, n_customers),
            "balance": rng.normal(0, 1e6, n_customers),
            "visits": rng.poisson(3, n_customers).astype(float),
            "region": rng.choice(["north", "south", "east", "west"], n_customers),
            "plan": rng.choice(
                ["basic", "plus", "pro"], n_customers, p=[0.6, 0.3, 0.1]
            ),
            "newsletter": rng.random(n_customers) < 0.4,
        }
    )
    # A young customer with few visits leaves; so does an old one with many: neither
    # column says much by itself.
    signal = (
        1.5 * np.sign(customers["age"] - 49) * (customers["visits"] - 3)
        - 1.2 * (customers["plan"] == "pro")
        + 0.8 * (customers["region"] == "north") * np.sign(customers["balance"])
    )
    left = signal + rng.logistic(0, 0.7, n_customers) > 1.5
    for column in ("income", "visits"):
        customers.loc[rng.random(n_customers) < 0.05, column] = np.nan
    return customers, np.where(left, "left", "stayed")


# %%
# The pipeline
# ------------
# ``Standardizer`` lets missing values pass, so the mean it learns isn't one of numbers
# that were filled in; filling with 0 afterwards is filling with the mean.
def make_model(classifier):
    """Return the pipeline with a classifier at its end."""
    table = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(
                    Standardizer(), SimpleImputer(strategy="constant", fill_value=0.0)
                ),
                NUMBERS,
            ),
            (
                "categories",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                CATEGORIES,
            ),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    return make_pipeline(table, classifier)


def main():
    """Search, compare, and draw the importance of the columns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--rows", type=int, default=2000)
    args = parser.parse_args()
    X, y = make_customers(args.rows)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

    model = make_model(
        NormMLPClassifier(
            (64, 64), max_epochs=20, class_weight="balanced", random_state=0
        )
    )
    print("What the network is fed:")
    print(model[:-1].fit_transform(X_train).head(3).round(2).to_string())
    search = GridSearchCV(
        model,
        {
            "normmlpclassifier__init": ["auto", "xavier_normal", Normal(0, 0.1)],
            "normmlpclassifier__norm": ["none", "batch", "layer"],
        },
        scoring="balanced_accuracy",
        cv=3,
        n_jobs=2,
    ).fit(X_train, y_train)
    print("\nBalanced accuracy in 3-fold cross-validation")
    for params, mean, std in zip(
        search.cv_results_["params"],
        search.cv_results_["mean_test_score"],
        search.cv_results_["std_test_score"],
        strict=True,
    ):
        init, norm = params.values()
        print(f"  init={init!s:28} norm={norm:6} {mean:.3f} +- {std:.3f}")
    linear = make_model(LogisticRegression(class_weight="balanced"))
    reference = cross_val_score(
        linear, X_train, y_train, scoring="balanced_accuracy", cv=3
    ).mean()
    test = search.score(X_test, y_test)
    print(f"  LogisticRegression in the same pipeline      {reference:.3f}")
    print(f"\nBest network on rows it has not seen: {test:.3f}")

    importance = permutation_importance(
        search, X_test, y_test, n_repeats=10, random_state=0
    )
    order = importance.importances_mean.argsort()
    figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    ax.barh(
        X.columns[order],
        importance.importances_mean[order],
        xerr=importance.importances_std[order],
        color="#0072b2",
        error_kw={"ecolor": "#555555", "capsize": 3},
    )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("balanced accuracy lost when the column is shuffled")
    ax.set_title("Age and visits carry the prediction, together")
    ax.spines[["top", "right"]].set_visible(False)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "mixed_types.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
