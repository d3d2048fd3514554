"""Accuracy of the networks for tables, at their defaults, on real frames as they come.

First the tables of ``../shared/data`` that have a fixed split, beside what was
published for tuned models on that very split: networks are fitted on its training and
validation parts and scored on its test part. Then those without one, in five shuffled
folds beside peers at their defaults, which take turns on each fold.

All of it takes hours. With ``--results FILE`` each fit is written down when it is done,
and not done again, except for ours once its version or defaults are others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _machine import heading
from accuracy import DATA, folds, shared_set
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknorm import __version__
from sknorm.neural_network import TabularNetClassifier, TabularNetRegressor

# What is wanted of the mean over seeds; of the others the best published figure.
WANTED = {"california": 0.435, "adult": 0.869}
FOLDED = [
    "letter",
    "htru2",
    "abalone",
    "wine_quality_white",
    "bank_additional",
    "german_credit",
]


def tabular(task, seed):
    """Return our network at its defaults."""
    cls = TabularNetClassifier if task == "classification" else TabularNetRegressor
    return cls(random_state=seed)


def boosting(task, seed):
    """Return scikit-learn's gradient boosting, told which columns are categories."""
    kind = (
        HistGradientBoostingClassifier
        if task == "classification"
        else HistGradientBoostingRegressor
    )
    return AsCategories(kind(categorical_features="from_dtype", random_state=seed))


class AsCategories:
    """Make text columns categories before a model sees them."""

    def __init__(self, model):
        self.model = model

    def _typed(self, X):
        text = X.select_dtypes(exclude="number").columns
        return X.astype(dict.fromkeys(text, "category"))

    def fit(self, X, y):
        self.model.fit(self._typed(X), y)
        self.classes_ = getattr(self.model, "classes_", None)
        return self

    def __getattr__(self, name):
        method = getattr(self.model, name)
        return lambda X: method(self._typed(X))


def network(task, seed):
    """Return scikit-learn's network behind the usual preparation."""
    cls = MLPClassifier if task == "classification" else MLPRegressor
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    table = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(table, cls(random_state=seed))


def from_pytabkit(name, task, seed):
    """Return a model of pytabkit at its defaults."""
    import pytabkit

    kind = "Classifier" if task == "classification" else "Regressor"
    # It takes all processors otherwise, whatever torch was told.
    return getattr(pytabkit, f"{name}_{kind}")(
        random_state=seed, device="cpu", n_threads=torch.get_num_threads()
    )


PEERS = {
    "sknorm": tabular,
    "boosting": boosting,
    "MLP": network,
    "RealMLP-TD-S": partial(from_pytabkit, "RealMLP_TD_S"),
    "TabM-D": partial(from_pytabkit, "TabM_D"),
}


def our_defaults(task):
    """Return a digest of our version and of the defaults that scores depend on."""
    told = __version__, sorted(tabular(task, None).get_params().items())
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


class Results:
    """Scores and seconds of fits, in a file if there is one."""

    def __init__(self, path):
        self.path = path
        self.known = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.known[self._key(row)] = row["score"], row["seconds"], row["date"]
        self._shown = set()

    @staticmethod
    def _key(row):
        # Peers have no defaults here; rows of ours without are of unknown ones.
        names = "set", "seed", "fold", "peer", "defaults"
        return tuple(row.get(name) for name in names)

    def get(self, row, task, work):
        """Return what is known of a fit, or what comes of the work."""
        if row["peer"] == "sknorm":
            row = {**row, "version": __version__, "defaults": our_defaults(task)}
        key = self._key(row)
        if key not in self.known:
            today = f"{date.today():%Y-%m-%d}"
            score, seconds = work()
            self.known[key] = score, seconds, today
            if self.path is not None:
                row = {
                    **row,
                    "score": round(score, 6),
                    "seconds": round(seconds, 1),
                    "threads": torch.get_num_threads(),
                    "date": today,
                }
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        *result, day = self.known[key]
        self._shown.add(day)
        return result

    def print_dates(self):
        """Print from when the fits are that were asked for since this was printed."""
        if self._shown:
            print(f"fits from {min(self._shown)} to {max(self._shown)}")
        self._shown.clear()


def fit_and_score(model, X, y, train, test, metric):
    """Return the score on the test rows, more is better, and the seconds of the fit."""
    start = time.perf_counter()
    model.fit(X.iloc[train], y[train])
    taken = time.perf_counter() - start
    if metric == "rmse":
        predicted = np.asarray(model.predict(X.iloc[test]), dtype=float).ravel()
        return -float(np.sqrt(np.mean((predicted - y[test]) ** 2))), taken
    if metric == "roc_auc":
        from sklearn.metrics import roc_auc_score

        proba = np.asarray(model.predict_proba(X.iloc[test]))[:, 1]
        return float(roc_auc_score(y[test], proba)), taken
    return float(np.mean(np.ravel(model.predict(X.iloc[test])) == y[test])), taken


def fixed(sets, names, seeds, known):
    """Print our score on each fixed split beside the published ones."""
    print(
        "\ntest part of the fixed split, fitted on all other rows\n"
        f"{'':24}{'metric':>10}{'ours':>10}{'spread':>9}{'wanted':>9}{'fit s':>9}"
        "   published"
    )
    for name in names:
        info = sets[name]
        if not info["has_split"]:
            continue
        frame = pd.read_csv(DATA / info["file"])
        part = frame.pop("split").to_numpy()
        y = frame.pop(info["target"]).to_numpy()
        train = np.flatnonzero((part == "train") | (part == "val"))
        test = np.flatnonzero(part == "test")
        parts = frame, y, train, test, info["metric"]
        results = [
            known.get(
                {"set": name, "seed": seed, "fold": None, "peer": "sknorm"},
                info["task"],
                partial(fit_and_score, tabular(info["task"], seed), *parts),
            )
            for seed in seeds
        ]
        scores, seconds = np.array(results).T
        is_error = info["metric"] == "rmse"
        published = info["published"].values()
        wanted = WANTED.get(name, min(published) if is_error else max(published))
        ours = -scores.mean() if is_error else scores.mean()
        reached = ours <= wanted if is_error else ours >= wanted
        print(
            f"{name:24}{info['metric']:>10}{ours:10.4f}{scores.std():9.4f}"
            f"{wanted:9.4f}{np.median(seconds):9.1f}   {'ok' if reached else '--'} "
            + ", ".join(f"{k} {v:.4g}" for k, v in info["published"].items()),
            flush=True,
        )
    known.print_dates()


def folded(sets, names, seeds, peers, known, numbers):
    """Print the scores of all in these of five folds, their ranks and seconds."""
    some = f", of them {numbers}" if len(numbers) < 5 else ""
    print(
        f"\nfive shuffled folds{some}, score and seconds a fit\n{'':20}"
        + "".join(f"{peer:>24}" for peer in peers)
    )
    ranks, total = [], dict.fromkeys(peers, 0.0)
    for name in names:
        info = sets[name]
        if info["has_split"]:
            continue
        X, y, _ = shared_set(name, info)
        scores, seconds = ({peer: [] for peer in peers} for _ in range(2))
        for seed in seeds:
            for fold, part in enumerate(folds(X, y, info["task"], seed)):
                if fold not in numbers:
                    continue
                parts = X, y, *part, info["metric"]
                for peer in peers:
                    model = PEERS[peer](info["task"], seed)
                    score, taken = known.get(
                        {"set": name, "seed": seed, "fold": fold, "peer": peer},
                        info["task"],
                        partial(fit_and_score, model, *parts),
                    )
                    scores[peer].append(score)
                    seconds[peer].append(taken)
        means = np.array([np.mean(scores[peer]) for peer in peers])
        ranks.append((-means).argsort().argsort() + 1)
        for peer in peers:
            total[peer] += sum(seconds[peer])
        print(
            f"{name:20}"
            + "".join(
                f"{abs(mean):14.4f}{np.median(seconds[peer]):9.1f}s"
                for peer, mean in zip(peers, means, strict=True)
            ),
            flush=True,
        )
    if ranks:
        mean_rank = np.mean(ranks, axis=0)
        print(
            f"{'mean rank, total s':20}"
            + "".join(
                f"{rank:14.2f}{total[peer]:9.0f}s"
                for peer, rank in zip(peers, mean_rank, strict=True)
            )
        )
    known.print_dates()


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0, help="they count up")
    parser.add_argument("--sets", nargs="*", help="names; all if not given")
    parser.add_argument("--folds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--results", type=Path, help="file of fits, read and written")
    args = parser.parse_args()
    if not DATA.exists():
        print(f"{DATA} isn't there: no tables to judge by.")
        return
    sets = json.loads((DATA / "datasets.json").read_text())
    split = [name for name in sets if sets[name]["has_split"]]
    names = args.sets or [*split, *FOLDED]
    if unknown := set(names) - set(sets):
        parser.error(f"--sets must be among {sorted(sets)}. Got {sorted(unknown)}.")
    if find_spec("pytabkit") is None:
        args.peers = [peer for peer in args.peers if "-" not in peer]
        print("pytabkit isn't installed: its models are left out.")
    warnings.simplefilter("ignore")
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    print(heading(["sknorm", "scikit-learn", "torch"], torch.get_num_threads()))
    known = Results(args.results)
    fixed(sets, names, seeds, known)
    # Five folds are five fits already.
    folded(sets, names, seeds[:1], args.peers, known, args.folds)


if __name__ == "__main__":
    main()
