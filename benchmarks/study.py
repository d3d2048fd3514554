"""What init, norm, embedding, members and schedule do to a network for tables.

On training rows of public tables alone: a quarter of them, another one with each seed,
is what networks are scored on. Around one setting a single parameter changes at a time,
and init and norm together. What is printed is the error beside that of the setting
itself, on the same rows: 1 is as good, 0.9 a tenth less. With ``--measure log_loss`` it
is the log loss, of tables with classes alone. The networks are smaller than the
defaults, so that the study takes minutes; docs/study.md holds its tables.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from itertools import product

import numpy as np
import pandas as pd
import torch
from _machine import heading
from accuracy import DATA
from joblib import Parallel, delayed, parallel_config
from sklearn.metrics import log_loss

from sknorm.exceptions import DivergenceError
from sknorm.neural_network import TabularNetClassifier, TabularNetRegressor

SETS = [
    "california",
    "adult",
    "cardiotocography-3clases",
    "energy-y1",
    "contrac",
    "credit-approval",
]
# Rows of a table, at most, and the share of them that is scored on.
ROWS, SCORED = 2_000, 0.25
SETTING = {
    "hidden_layer_sizes": (128, 128),
    "n_members": 8,
    "averaging": "none",
    "max_epochs": 30,
}

INITS = [
    "auto",
    "zeros",
    "standard_normal",
    "xavier_uniform",
    "kaiming_normal",
    "orthogonal",
    "lsuv",
    "torch_default",
]
NORMS = ["none", "batch", "layer", "rms"]
AVERAGES = ["none", "polynomial", "ema", "swa"]
SMOOTHINGS = [0.0, 0.03, 0.1]
ALONE = {
    "embedding": ["none", "linear", "plr", "pbld", "ple", "ple_tree"],
    "members": [
        {"n_members": 1},
        {"n_members": 8, "members": "batch_ensemble"},
        {"n_members": 8, "members": "mini"},
        {"n_members": 8, "members": "independent"},
        {"n_members": 32, "members": "batch_ensemble"},
    ],
    "lr_schedule": ["constant", "cosine", "one_cycle", "flat_cosine", "coslog4"],
    "averaging": AVERAGES,
    # Where rows held out tell when to end, in the midst of the schedule.
    "ended early": [{"max_epochs": "auto", "averaging": name} for name in AVERAGES],
    "smoothed, ended early": [
        {"label_smoothing": share, "max_epochs": "auto", "averaging": "polynomial"}
        for share in SMOOTHINGS
    ],
}


def settings():
    """Return what is changed, as a label and parameters, by the table it stands in."""
    tables = {}
    for name, values in ALONE.items():
        tables[name] = [
            (", ".join(map(str, value.values())), value)
            if isinstance(value, dict)
            else (value, {name: value})
            for value in values
        ]
    tables["init and norm"] = [
        (f"{init}, {norm}", {"init": init, "norm": norm})
        for init, norm in product(INITS, NORMS)
    ]
    return tables


def training_rows(name, info):
    """Return X and y of the rows that aren't in the test part, some of many."""
    frame = pd.read_csv(DATA / info["file"])
    frame = frame[frame.pop("split") != "test"]
    if len(frame) > ROWS:
        frame = frame.sample(ROWS, random_state=0)
    frame = frame.reset_index(drop=True)
    y = frame.pop(info["target"]).to_numpy()
    return frame, y


def error(name, info, changes, seed, measure):
    """Return a network's error on rows it hasn't seen, infinite if it diverges."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X, y = training_rows(name, info)
    order = np.random.default_rng(seed).permutation(len(y))
    scored, fitted = np.split(order, [int(SCORED * len(y))])
    is_class = info["task"] == "classification"
    cls = TabularNetClassifier if is_class else TabularNetRegressor
    model = cls(**{**SETTING, **changes}, random_state=seed)
    try:
        model.fit(X.iloc[fitted], y[fitted])
    except DivergenceError:
        return math.inf
    if measure == "log_loss":
        proba = model.predict_proba(X.iloc[scored])
        return float(log_loss(y[scored], proba, labels=model.classes_))
    predicted = model.predict(X.iloc[scored])
    if is_class:
        return float(np.mean(predicted != y[scored]))
    return float(np.sqrt(np.mean((predicted - y[scored]) ** 2)))


def report(title, rows, errors, base, sets):
    """Print a table of errors beside those of the setting itself."""
    print(f"\n{title:26}{'mean':>8}{'+-':>6}" + "".join(f"{s[:12]:>14}" for s in sets))
    lines = []
    for label, key in rows:
        # Seeds by sets, each beside the same rows. Sets count alike.
        ratios = np.array(errors[key]) / np.array(errors[base])
        mean = ratios.mean()
        spread = ratios.std(axis=1, ddof=1) / math.sqrt(ratios.shape[1])
        noise = math.sqrt(np.mean(spread**2) / len(spread))
        lines.append((mean, noise, label, ratios.mean(axis=1)))
    for mean, noise, label, by_set in sorted(lines, key=lambda line: line[0]):
        print(
            f"{label:26}{mean:8.3f}{noise:6.3f}" + "".join(f"{r:14.3f}" for r in by_set)
        )


def main():
    """Fit all, then print a table for each parameter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="how many, at least 2")
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--tables", nargs="*", choices=settings(), default=settings())
    parser.add_argument("--measure", choices=["error", "log_loss"], default="error")
    parser.add_argument("--jobs", type=int, default=-1, help="processes")
    args = parser.parse_args()
    if not DATA.exists():
        print(f"{DATA} isn't there: no tables to study.")
        return
    known = json.loads((DATA / "datasets.json").read_text())
    if args.measure == "log_loss":
        args.sets = [s for s in args.sets if known[s]["task"] == "classification"]
    wanted = {name: settings()[name] for name in args.tables}
    everything = {repr(c): c for rows in wanted.values() for _, c in rows}
    base = repr({})
    everything[base] = {}
    works = [
        (key, name, seed)
        for key, name, seed in product(everything, args.sets, range(args.seeds))
    ]
    # A library's threads would fight over the cores with the processes.
    with parallel_config("loky", n_jobs=args.jobs, inner_max_num_threads=1):
        found = Parallel(batch_size=1, verbose=1)(
            delayed(error)(name, known[name], everything[key], seed, args.measure)
            for key, name, seed in works
        )
    errors = {key: np.reshape([], (0, args.seeds)).tolist() for key in everything}
    for start in range(0, len(works), args.seeds):
        errors[works[start][0]].append(found[start : start + args.seeds])
    print(heading(["sknorm", "scikit-learn", "torch"], 1))
    print(f"around {SETTING}; {args.seeds} seeds, at most {ROWS} rows of a table")
    print(f"{args.measure} beside that of the setting itself")
    for title, rows in wanted.items():
        report(title, [(label, repr(c)) for label, c in rows], errors, base, args.sets)


if __name__ == "__main__":
    main()
