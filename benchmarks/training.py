"""Time of an epoch, of a prediction and of memory, beside what people use today.

The peers take turns in one process on the same rows: a loop written by hand around the
same network (fused Adam, slices of one tensor), skorch as shipped with the same module,
and scikit-learn's ``MLPClassifier`` in float32, which has no norm layers. A time is the
median over rounds of that of a fit, less that of a fit of one epoch, by epoch.

Memory and the cost by rows are measured of fits alone: memory in processes of their
own, rows also in a file that is mapped into memory and never in it as a whole.

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
from _large import GIB, draw_lines, growth, in_process, table_in_file
from _machine import heading
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from sknorm.neural_network import NormMLPClassifier, TabularNetRegressor
from sknorm.nn.mlp import MLP
from sknorm.nn.tabular import TabularNetwork
from sknorm.preprocessing import Standardizer, TableStandardizer

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


def of_members(X, y, epochs):
    """Train a network for tables at its defaults, but for the number of epochs."""
    TabularNetRegressor(
        max_epochs=epochs, lr_schedule="constant", random_state=0, device="cpu"
    ).fit(X, y)


def of_members_by_hand(X, y, epochs):
    """Train the same network with torch's autograd and dropout."""
    table = TableStandardizer(numeric="quantile", dtype="float32").fit(X)
    rows = torch.from_numpy(table.transform(X))
    target = torch.from_numpy((y - y.mean()) / y.std()).float()[:, None]
    module = TabularNetwork(
        X.shape[1], [], 1, embedding="ple", n_members=16, dropout=0.1, sample=rows
    )
    for i, layer in enumerate(module.body):
        if isinstance(layer, nn.Dropout):
            module.body[i] = nn.Dropout(layer.p)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3, fused=True)
    for _ in range(epochs):
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), BATCH):
            index = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = (module(rows[index]) - target[index, None]).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()


def members(rounds):
    """Print the time of an epoch of the default network for tables."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10_000, 8))
    y = X[:, 0] * X[:, 1] + rng.normal(size=len(X))
    peers = {"ours": of_members, "bare loop": of_members_by_hand}
    times = {name: [] for name in peers}
    for turn in range(rounds):
        for name in list(peers)[:: 1 if turn % 2 else -1]:
            whole = seconds(partial(peers[name], X, y, 4))
            times[name].append((whole - seconds(partial(peers[name], X, y, 1))) / 3)
    share = statistics.median(
        a / b for a, b in zip(times["ours"], times["bare loop"], strict=True)
    )
    print(
        "\nTabularNetRegressor, s an epoch of 10 000 x 8: ours "
        f"{statistics.median(times['ours']):.2f}, bare loop "
        f"{statistics.median(times['bare loop']):.2f}, ours/it {share:.2f}, "
        f"wanted 1.12 {'ok' if share <= 1.12 else '--'}",
        flush=True,
    )


COLUMNS = 40
# Rows that cost is measured against, and what a fit on a file may add to the process.
ROWS, MAPPED_GROWTH = (20_000, 60_000, 200_000, 600_000, 2_000_000), 2 * GIB


def random_rows(n_rows, dtype=np.float32):
    """Return a table and labels."""
    X = np.random.default_rng(0).standard_normal((n_rows, COLUMNS), dtype)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def estimator(**options):
    return NormMLPClassifier(
        HIDDEN, batch_size=BATCH, max_epochs=1, random_state=0, device="cpu", **options
    )


def extra_memory(dtype, work):
    """Return what a fit or a prediction adds at its peak, and the size of the input."""
    model = estimator().fit(*random_rows(ROWS[0]))
    X, y = random_rows(1_000_000, dtype)
    calls = {
        "fit": lambda: estimator().fit(X, y),
        "predict": lambda: model.predict(X),
    }
    return growth(calls[work]), X.nbytes


def memory():
    """Print the memory that fits and predictions of arrays add at their peak."""
    print(
        f"\nextra memory at its peak, 1 000 000 x {COLUMNS}\n"
        f"{'':22}{'input MiB':>11}{'extra MiB':>11}{'allowed':>9}"
    )
    for dtype in ("float64", "float32"):
        for work in ("fit", "predict"):
            call = f"extra_memory({dtype!r}, {work!r})"
            extra, size = in_process(__file__, call)
            # One copy in float32, and 15 %.
            allowed = 1_000_000 * COLUMNS * 4 + 0.15 * size
            print(
                f"{work + ', ' + dtype:22}{size / 2**20:11.0f}{extra / 2**20:11.0f}"
                f"{allowed / 2**20:9.0f} {'ok' if extra <= allowed else '--'}",
                flush=True,
            )


def epoch_on(X, y):
    """Return the seconds that an epoch takes."""
    return estimator().fit(X, y).history_[-1, "dur"]


def epoch_on_file(path, n_rows):
    """Return the seconds of an epoch on a file, and what fit and predict add."""
    estimator().fit(*random_rows(ROWS[0])).predict_proba(random_rows(ROWS[0])[0])
    X = np.memmap(path, np.float32, "r", shape=(n_rows, COLUMNS))
    y = np.tile(random_rows(ROWS[0])[1], -(-n_rows // ROWS[0]))[:n_rows]
    model = estimator()
    in_fit = growth(lambda: model.fit(X, y))
    in_predict = growth(lambda: model.predict_proba(X))
    return model.history_[-1, "dur"], in_fit, in_predict


def lines(gib):
    """Print the time of an epoch against rows, in memory and in a file, and draw it."""
    head = f"{'':12}{'rows':>11}{'input GiB':>11}{'s':>9}{'ns a number':>13}"
    print(
        f"\nan epoch, hidden layers {HIDDEN}, batch {BATCH}, {COLUMNS} columns, float32"
        f"\n{head}{'fit +MiB':>10}{'predict +MiB':>14}{'allowed':>9}"
    )
    found = {"array": [], "mapped file": []}

    def row(kind, n_rows, taken):
        found[kind].append((n_rows / 1e6, taken))
        size = n_rows * COLUMNS
        print(
            f"{kind:12}{n_rows:11}{4 * size / GIB:11.3f}{taken:9.2f}"
            f"{1e9 * taken / size:13.1f}",
            end="",
        )

    for n_rows in ROWS:
        X, y = random_rows(n_rows)
        row("array", n_rows, min(epoch_on(X, y) for _ in range(3)))
        print(flush=True)
    block, _ = random_rows(ROWS[0])
    with table_in_file(block, int(gib * GIB)) as path:
        whole = 0 if path is None else path.stat().st_size // (4 * COLUMNS)
        for n_rows in (whole // 16, whole // 4, whole) if whole else ():
            call = f"epoch_on_file({str(path)!r}, {n_rows})"
            taken, *extra = in_process(__file__, call)
            row("mapped file", n_rows, taken)
            verdict = "ok" if max(extra) <= MAPPED_GROWTH else "--"
            in_fit, in_predict = (size / 2**20 for size in extra)
            print(
                f"{in_fit:10.0f}{in_predict:14.0f}{MAPPED_GROWTH / 2**20:9.0f} "
                f"{verdict}",
                flush=True,
            )
    draw_lines(
        {kind: points for kind, points in found.items() if points},
        "training_linear.png",
        xlabel=f"rows of {COLUMNS} columns [millions]",
        ylabel="epoch [s]",
        title="Cost of an epoch grows with the rows (dotted: exactly so)",
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


PARTS = ("epochs", "members", "predictions", "memory", "lines")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gib", type=float, default=8, help="size of the file")
    parser.add_argument("--device", help="compare epochs there instead of all parts")
    args = parser.parse_args()
    # scikit-learn says of every fit that it hasn't converged.
    warnings.simplefilter("ignore")
    packages = ["sknorm", "scikit-learn", "torch", "skorch"]
    print(heading(packages, torch.get_num_threads()))
    if args.device:
        on_device(args.rounds, args.device)
        return
    parts = {
        "epochs": partial(epochs, args.rounds),
        "members": partial(members, args.rounds),
        "predictions": partial(predictions, args.rounds),
        "memory": memory,
        "lines": partial(lines, args.gib),
    }
    for part in PARTS:
        if part in args.parts:
            parts[part]()


if __name__ == "__main__":
    main()
