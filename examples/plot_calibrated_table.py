"""
From a raw table to a calibrated prediction
===========================================

The adult census has numbers, categories and gaps, and asks who earns more than 50 000
dollars a year. ``TabularNetClassifier`` takes the frame as it comes. What it holds back
for early stopping also says how sure it may be: ``calibration="temperature"``.

The table is fetched from OpenML, or read from a file that ``--csv`` names. Its last
column but ``split``, if there is one, is the label ``income``.
"""

import argparse
from pathlib import Path

import matplotlib
import pandas as pd
from sklearn.datasets import fetch_openml
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from sklearn.model_selection import train_test_split

from sknorm.neural_network import TabularNetClassifier

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.calibration import CalibrationDisplay

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--csv", help="a file with the column income; else from OpenML")
parser.add_argument("--epochs", default="auto", help="passes over the rows")
parser.add_argument(
    "--out", type=Path, default=Path("demo"), help="folder of the picture"
)
args = parser.parse_args()
epochs = args.epochs if args.epochs == "auto" else int(args.epochs)

# %%
# The table as it comes, and the network, with a bar for its progress.
if args.csv:
    X = pd.read_csv(args.csv).drop(columns="split", errors="ignore")
    y = X.pop("income")
else:
    X, y = fetch_openml("adult", version=2, as_frame=True, return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

model = TabularNetClassifier(
    early_stopping=True,
    calibration="temperature",
    max_epochs=epochs,
    verbose=1,
    random_state=0,
).fit(X_train, y_train)

proba, spread = model.predict_proba(X_test, return_std=True)
rich = y_test == model.classes_[1]
print(f"accuracy       {accuracy_score(y_test, model.predict(X_test)):.4f}")
print(f"log loss       {log_loss(y_test, proba):.4f}")
print(f"Brier score    {brier_score_loss(rich, proba[:, 1]):.4f}")
print(f"temperature    {model.temperature_:.2f}")
print(f"members differ by {spread[:, 1].mean():.3f} on average")

# %%
# Of those who are given 70 %, 70 % should earn that much. The members differ most where
# the answer is open.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
CalibrationDisplay.from_predictions(
    rich, proba[:, 1], n_bins=10, strategy="quantile", ax=left, color="#0072B2",
    name="TabularNetClassifier",
)  # fmt: skip
left.set(
    xlabel="predicted probability of more than 50 000 dollars",
    ylabel="share that earns it",
    title="Calibration on rows held back for testing",
)
right.scatter(proba[:, 1], spread[:, 1], s=4, alpha=0.25, color="#D55E00", lw=0)
right.set(
    xlabel="predicted probability",
    ylabel="standard deviation over members",
    title="Where the members differ",
)
right.grid(alpha=0.3)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "calibrated_table.png", dpi=120)
