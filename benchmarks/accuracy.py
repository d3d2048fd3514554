"""Accuracy of the default networks beside scikit-learn's, in the same pipeline.

First the tables that scikit-learn ships, then those of ``../shared/data`` where that
folder stands beside the checkout, each by its own protocol: its fixed split, or five
shuffled folds. Nothing is tuned in a run; docs/accuracy.md says on what the defaults
were chosen.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _machine import heading
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.metrics import get_scorer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sknorm.neural_network import NormMLPClassifier, NormMLPRegressor
from sknorm.preprocessing import Standardizer

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHIPPED = {
    "digits": (load_digits, "accuracy"),
    "breast_cancer": (load_breast_cancer, "accuracy"),
    "wine": (load_wine, "accuracy"),
    "iris": (load_iris, "accuracy"),
    "diabetes": (load_diabetes, "r2"),
}
SCORERS = {"rmse": "neg_root_mean_squared_error"}
PEERS = {
    "classification": (NormMLPClassifier, MLPClassifier),
    "regression": (NormMLPRegressor, MLPRegressor),
}


def make_model(estimator, X):
    """Return the pipeline that both estimators stand in."""
    if not isinstance(X, pd.DataFrame):
        return make_pipeline(Standardizer(), estimator)
    numbers = make_pipeline(Standardizer(), SimpleImputer(strategy="median"))
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    is_number = make_column_selector(dtype_include="number")
    is_category = make_column_selector(dtype_exclude="number")
    table = make_column_transformer((numbers, is_number), (categories, is_category))
    return make_pipeline(table, estimator)


def shared_set(name, info):
    """Return X, y and the fixed split, if there is one."""
    frame = pd.read_csv(DATA / info["file"])
    y = frame.pop(info["target"]).to_numpy()
    part = frame.pop("split") if "split" in frame else None
    splits = None
    if part is not None:
        # The published figures come from networks trained on this part alone; theirs
        # used the validation part to tune, which nothing here does.
        splits = [(np.flatnonzero(part == "train"), np.flatnonzero(part == "test"))]
    return frame, y, splits


def folds(X, y, task, seed):
    """Return five shuffled folds, stratified for classes."""
    kind = StratifiedKFold if task == "classification" else KFold
    return list(kind(5, shuffle=True, random_state=seed).split(X, y))


def rows_of(X, index):
    return X.iloc[index] if isinstance(X, pd.DataFrame) else X[index]


def evaluate(X, y, task, metric, splits, seeds):
    """Return scores and fit seconds of both, taking turns on every split."""
    scorer = get_scorer(SCORERS.get(metric, metric))
    scores, seconds = ([], []), ([], [])
    for seed in seeds:
        for train, test in splits or folds(X, y, task, seed):
            for peer, cls in enumerate(PEERS[task]):
                model = make_model(cls(random_state=seed), X)
                start = time.perf_counter()
                model.fit(rows_of(X, train), y[train])
                seconds[peer].append(time.perf_counter() - start)
                scores[peer].append(scorer(model, rows_of(X, test), y[test]))
    # A scorer of an error is its negative, so that more is better; a table isn't.
    sign = -1 if metric == "rmse" else 1
    return sign * np.array(scores), np.median(seconds, axis=1)


def report(name, metric, scores, seconds, seeds, published):
    """Print a row, and return how far ahead sknorm is, with the standard error.

    The two share their splits, so the error is that of the difference, over seeds.
    """
    (ours, theirs), (spread, their_spread) = scores.mean(axis=1), scores.std(axis=1)
    gaps = (scores[0] - scores[1]).reshape(seeds, -1).mean(axis=1)
    ahead = -gaps.mean() if metric == "rmse" else gaps.mean()
    error = gaps.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else np.nan
    print(
        f"{name:25}{metric:>9}"
        f"{ours:10.4f} +- {spread:.4f}{theirs:10.4f} +- {their_spread:.4f}"
        f"{with_error(ahead, error):>20}"
        f"{seconds[0]:9.2f}{seconds[1]:9.2f}   {published}",
        flush=True,
    )
    return ahead, error


def with_error(gap, error):
    """Return a signed difference as text; of one seed there is no error."""
    return f"{gap:+.4f}" if np.isnan(error) else f"{gap:+.4f} +- {error:.4f}"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="they count up")
    parser.add_argument("--sets", nargs="*", help="names; all if not given")
    parser.add_argument(
        "--max-rows", type=int, default=25_000, help="larger ones are left out"
    )
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    sets = json.loads((DATA / "datasets.json").read_text()) if DATA.exists() else {}
    if unknown := set(args.sets or ()) - {*SHIPPED, *sets}:
        parser.error(
            f"--sets must be among {sorted({*SHIPPED, *sets})}. Got {sorted(unknown)}."
        )
    # At their defaults scikit-learn's networks often stop before they converge.
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        heading(["sknorm", "scikit-learn", "torch"], torch.get_num_threads())
        + "\ndefault parameters; mean and spread over splits and seeds "
        f"{seeds[0]} to {seeds[-1]}\n"
    )
    print(
        f"{'':34}{'sknorm':>20}{'scikit-learn':>20}{'sknorm ahead by':>20}"
        f"{'fit s':>9}{'fit s':>9}   published"
    )
    ahead = {}
    for name, (load, metric) in SHIPPED.items():
        if args.sets and name not in args.sets:
            continue
        X, y = load(return_X_y=True)
        task = "regression" if metric == "r2" else "classification"
        result = evaluate(X, y, task, metric, None, seeds)
        ahead[name] = report(name, metric, *result, args.seeds, "")
    if not sets:
        print(f"{DATA} isn't there: no more tables.")
    for name, info in sorted(sets.items(), key=lambda item: item[1]["rows"]):
        if args.sets and name not in args.sets:
            continue
        if info["rows"] > args.max_rows and not args.sets:
            print(f"{name:25} left out: {info['rows']} rows, see --max-rows")
            continue
        X, y, splits = shared_set(name, info)
        result = evaluate(X, y, info["task"], info["metric"], splits, seeds)
        published = ", ".join(f"{k} {v:.4g}" for k, v in info["published"].items())
        ahead[name] = report(name, info["metric"], *result, args.seeds, published)
    # Equal means of the same scores in another order differ in their last digits.
    below = [
        f"{name} by {with_error(-gap, error)}"
        for name, (gap, error) in ahead.items()
        if gap < -1e-12
    ]
    print(f"Below scikit-learn: {', '.join(below) or 'none'}")


if __name__ == "__main__":
    main()
