"""Time of an epoch, of a prediction and of memory, beside what people use today.

The peers take turns in one process on the same rows: a loop written by hand around the
same network (fused Adam, slices of one tensor), skorch as shipped with the same module,
and scikit-learn's ``MLPClassifier`` in float32, which has no norm layers. A time is the
median over rounds of that of a fit, less that of a fit of one epoch, by epoch.

With ``--device cuda`` the first two, skorch and steps recorded as a CUDA graph take
turns on that device, and what is printed too is the share of the time that kernels run.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from functools import partial

import numpy as np
import torch
from _machine import heading
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sknorm.neural_network import NormMLPClassifier
from sknorm.nn.mlp import MLP
from sknorm.preprocessing import Standardizer

HIDDEN, BATCH, LR = (128, 128), 256, 1e-3
# What is wanted of our time beside that of each peer: at most, or at least so much
# faster.
BARE = {"20 000 x 40": 1.12, "digits": 1.2, "breast_cancer": 1.3}
SKORCH = {"20 000 x 40": 2.3, "digits": 2.0, "breast_cancer": 2.0}
SKLEARN = {"20 000 x 40": 1.2, "digits": 1.0, "breast_cancer": 1.0}


def tables():
    """Return name, X, y and how many epochs make a timing."""
    X, y = make_classification(
        20_000, 40, n_informative=20, n_classes=2, random_state=0
    )
    yield "20 000 x 40", X, y, 4
    for load, name, epochs in (
        (load_digits, "digits", 30),
        (load_breast_cancer, "breast_cancer", 80),
    ):
        yield name, *load(return_X_y=True), epochs


def network(n_features, n_classes):
    return MLP(n_features, n_classes, hidden_layer_sizes=HIDDEN, norm="batch")


def ours(X, y, epochs, device="cpu", **options):
    NormMLPClassifier(
        HIDDEN,
        norm="batch",
        optimizer="adam",
        lr=LR,
        lr_schedule="constant",
        batch_size=BATCH,
        max_epochs=epochs,
        random_state=0,
        device=device,
        **options,
    ).fit(X, y)


def by_hand(X, y, epochs, device="cpu"):
    rows, labels = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    module = network(X.shape[1], int(y.max()) + 1).to(device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=LR, fused=True)
    for _ in range(epochs):
        order = torch.randperm(len(rows), device=device)
        for start in range(0, len(rows), BATCH):
            index = order[start : start + BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(rows[index]), labels[index]).backward()
            optimizer.step()


def by_skorch(X, y, epochs, device="cpu"):
    NeuralNetClassifier(
        network(X.shape[1], int(y.max()) + 1),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LR,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        max_epochs=epochs,
        train_split=None,
        verbose=0,
        device=device,
    ).fit(X, y)


def by_sklearn(X, y, epochs):
    MLPClassifier(
        HIDDEN,
        learning_rate_init=LR,
        batch_size=BATCH,
        alpha=0.0,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,
        random_state=0,
    ).fit(X, y)


PEERS = {
    "ours": ours,
    "bare loop": by_hand,
    "skorch": by_skorch,
    "scikit-learn": by_sklearn,
}


ON_DEVICE = {
    "bare loop": by_hand,
    "ours": ours,
    "recorded": partial(ours, compile=True),
    "skorch": by_skorch,
}
# Epochs that steps are recorded in, and by how many more they are timed than on a CPU.
WARM_UP, MORE = 4, 5


def seconds(work):
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def epoch_times(X, y, epochs, rounds):
    """Return the seconds an epoch takes, by peer and round."""
    times = {name: [] for name in PEERS}
    for peer in PEERS.values():
        peer(X, y, 1)
    for turn in range(rounds):
        for name in list(PEERS)[:: 1 if turn % 2 else -1]:
            whole = seconds(partial(PEERS[name], X, y, epochs + 1))
            start_up = seconds(partial(PEERS[name], X, y, 1))
            times[name].append((whole - start_up) / epochs)
    return times


def epochs(rounds):
    """Print the time of an epoch, for each table and peer."""
    print(
        f"\nms an epoch, hidden layers {HIDDEN}, BatchNorm, Adam, batch {BATCH}\n"
        f"{'':16}{'ours':>9}"
        + "".join(f"{name:>13}{'ours/it':>9}{'wanted':>10}" for name in list(PEERS)[1:])
    )
    for name, X, y, count in tables():
        X = Standardizer().fit_transform(X.astype(np.float32))
        times = epoch_times(X, y, count, rounds)
        line = f"{name:16}{1e3 * statistics.median(times['ours']):9.2f}"
        for peer, wanted in (
            ("bare loop", BARE[name]),
            ("skorch", 1 / SKORCH[name]),
            ("scikit-learn", 1 / SKLEARN[name]),
        ):
            share = statistics.median(
                a / b for a, b in zip(times["ours"], times[peer], strict=True)
            )
            verdict = "ok" if share <= wanted else "--"
            line += (
                f"{1e3 * statistics.median(times[peer]):13.2f}{share:9.2f}"
                f"{wanted:7.2f} {verdict}"
            )
        print(line, flush=True)


def predictions(rounds):
    """Print the time of a prediction of a million rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000_000, 40)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    mine = NormMLPClassifier(HIDDEN, max_epochs=1, device="cpu").fit(
        X[:5_000], y[:5_000]
    )
    theirs = MLPClassifier(HIDDEN, max_iter=1).fit(X[:5_000], y[:5_000])
    times = {"ours": [], "scikit-learn": []}
    for turn in range(rounds):
        pairs = [("ours", mine), ("scikit-learn", theirs)]
        for name, model in pairs[:: 1 if turn % 2 else -1]:
            times[name].append(seconds(partial(model.predict, X)))
    share = statistics.median(
        a / b for a, b in zip(times["ours"], times["scikit-learn"], strict=True)
    )
    print(
        f"\npredict 1 000 000 x 40, s: ours {statistics.median(times['ours']):.2f}, "
        f"scikit-learn {statistics.median(times['scikit-learn']):.2f}, "
        f"ours/it {share:.2f}, wanted 1.00 {'ok' if share <= 1 else '--'}",
        flush=True,
    )


def in_kernels(work):
    """Return the seconds that kernels run on the CUDA device, copies among them."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds(work)
    microseconds = sum(
        event.time_range.elapsed_us()
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    )
    return 1e-6 * microseconds


def on_device(rounds, device):
    """Print the time of an epoch on a device, and the share of it in kernels."""
    print(
        f"\nms an epoch on {device_name(device)}, hidden layers {HIDDEN}, BatchNorm, "
        f"Adam, batch {BATCH}\n{'':16}"
        + "".join(f"{name:>11}{'kernels':>9}" for name in ON_DEVICE)
        + f"{'ours/bare':>12}{'wanted':>8}{'recorded/bare':>16}"
    )
    for name, X, y, count in tables():
        X, count = Standardizer().fit_transform(X.astype(np.float32)), MORE * count
        # By peer: the time of the epochs that count, and of all with those before.
        fits = {
            peer: (
                partial(fit, X, y, WARM_UP, device),
                partial(fit, X, y, WARM_UP + count, device),
            )
            for peer, fit in ON_DEVICE.items()
        }
        times = {peer: [] for peer in fits}
        for start_up, _ in fits.values():
            start_up()
        for turn in range(rounds):
            for peer in list(fits)[:: 1 if turn % 2 else -1]:
                start_up, whole = map(seconds, fits[peer])
                times[peer].append((whole - start_up) / count)
        line = f"{name:16}"
        for peer, fit in fits.items():
            epoch = statistics.median(times[peer])
            line += f"{1e3 * epoch:11.2f}"
            if torch.device(device).type == "cuda":
                start_up, whole = map(in_kernels, fit)
                line += f"{(whole - start_up) / count / epoch:9.0%}"
            else:
                line += f"{'-':>9}"
        shares = {
            peer: statistics.median(
                a / b for a, b in zip(times[peer], times["bare loop"], strict=True)
            )
            for peer in ("ours", "recorded")
        }
        verdict = "ok" if shares["ours"] <= BARE["20 000 x 40"] else "--"
        print(
            f"{line}{shares['ours']:12.2f}{BARE['20 000 x 40']:5.2f} {verdict}"
            f"{shares['recorded']:16.2f}",
            flush=True,
        )


def device_name(device):
    """Return what a device is called."""
    kind = torch.device(device)
    return torch.cuda.get_device_name(kind) if kind.type == "cuda" else kind


PARTS = {"epochs": epochs, "predictions": predictions}


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", help="compare epochs there instead of all parts")
    args = parser.parse_args()
    # scikit-learn says of every fit that it hasn't converged.
    warnings.simplefilter("ignore")
    packages = ["sknorm", "scikit-learn", "torch", "skorch"]
    print(heading(packages, torch.get_num_threads()))
    if args.device:
        on_device(args.rounds, args.device)
        return
    for part in PARTS:
        if part in args.parts:
            PARTS[part](args.rounds)


if __name__ == "__main__":
    main()
