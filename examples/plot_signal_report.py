"""
Why does this network not learn?
================================

A network of twenty sigmoid layers on the digits has a loss curve that stays flat, and a
loss curve doesn't say why. A report on the signal in its layers does, before the first
epoch, and names the parameter to change.
"""

# %%
import argparse
from pathlib import Path

import matplotlib
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sknorm.inspection import SignalPropagationDisplay, SignalReport
from sknorm.neural_network import NormMLPClassifier
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def make_model(epochs):
    """Return a deep network with the schemes of a textbook of 2010."""
    network = NormMLPClassifier(
        hidden_layer_sizes=(64,) * 20,
        activation="sigmoid",
        init="xavier_normal",
        norm="none",
        max_epochs=epochs,
        random_state=0,
    )
    return make_pipeline(Standardizer(), network)


# %%
# The report needs no fit: it builds the network as ``fit`` would. Pre-activations are
# in the sweet spot everywhere, and still each layer takes three quarters off the
# gradient.
def mend(model, X, y):
    """Print a report, follow its hint until there is nothing to mend."""
    candidates = {"as given": model}
    report = SignalReport.from_estimator(model, X, y)
    print(report, "\n")
    while report.first is not None and len(candidates) < 5:
        model = report.remedied(model)
        candidates[
            ", ".join(f"{k}={v!r}" for k, v in report.suggested_params.items())
        ] = model
        report = SignalReport.from_estimator(model, X, y)
        print(report.summary)
    return report, candidates


# %%
# What the hint is worth, on rows that weren't learned from.
def compare(candidates, X, y):
    """Print the accuracy of each."""
    parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    X_train, X_test, y_train, y_test = parts
    print(f"\n{'':24}accuracy on rows not learned from")
    for name, model in candidates.items():
        score = clone(model).fit(X_train, y_train).score(X_test, y_test)
        print(f"{name:24}{score:.3f}")


def main():
    """Report, mend, compare and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    X, y = load_digits(return_X_y=True)
    report, candidates = mend(make_model(args.epochs), X, y)
    compare(candidates, X, y)
    report.save(args.out / "report.html")
    SignalPropagationDisplay.from_estimators(candidates, X, y, seeds=args.seeds)
    picture = args.out / "signal_report.png"
    plt.savefig(picture, dpi=150)
    print(f"\nPicture: {picture}, page: {args.out / 'report.html'}")


if __name__ == "__main__":
    main()
