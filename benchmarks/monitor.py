"""What a SignalMonitor adds to the time of an epoch.

Fits alone, with a monitor as it comes and with one that looks at each epoch take turns
in one process on the same rows. A time is the median over rounds of that of a fit, less
that of a fit of one epoch, by epoch: the looks before the first epoch and after the
last, which any fit pays for, fall out of it. A share is the median over rounds of what
a fit takes longer than the one alone. The account is what the monitor itself reports,
of all of its looks.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from functools import partial

import numpy as np
import torch
from _machine import heading
from training import BATCH, HIDDEN, ours, seconds, tables

from sknorm.inspection import SignalMonitor
from sknorm.preprocessing import Standardizer

WANTED = 0.03
# Epochs of a fit beside those of training.py, for looks to be paid for.
MORE = 5


def watch(X, y, monitor, epochs):
    """Fit once, and return the monitor."""
    ours(X, y, epochs, callbacks=[] if monitor is None else [monitor])
    return monitor


def epoch_times(X, y, epochs, rounds):
    """Return the seconds of an epoch by kind and round, and the monitors as they come.

    The order of the kinds changes from round to round.
    """
    kinds = {"alone": None, "as it comes": {}, "each epoch": {"every": 1}}
    times = {kind: [] for kind in kinds}
    monitors = []
    for turn in range(-1, rounds):
        for kind in list(kinds)[:: 1 if turn % 2 else -1]:
            taken = []
            for n in (epochs + 1, 1):
                options = kinds[kind]
                monitor = None if options is None else SignalMonitor(**options)
                taken.append(seconds(partial(watch, X, y, monitor, n)))
                if kind == "as it comes" and n > 1 and turn >= 0:
                    monitors.append(monitor)
            if turn >= 0:  # The first turn is to warm up.
                times[kind].append((taken[0] - taken[1]) / epochs)
    return times, monitors


def median(values):
    return statistics.median(list(values))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(heading(["sknorm", "torch", "skorch"], torch.get_num_threads()))
    print(
        f"\nms an epoch, hidden layers {HIDDEN}, BatchNorm, Adam, batch {BATCH}\n"
        f"{'':16}{'epochs':>7}{'alone':>9}{'as it comes':>13}{'share':>8}{'wanted':>10}"
        f"{'account':>9}{'looks':>7}{'ms a look':>11}"
    )
    for name, X, y, epochs in tables():
        X = Standardizer().fit_transform(X.astype(np.float32))
        epochs *= MORE
        times, monitors = epoch_times(X, y, epochs, args.rounds)
        alone, watched, each = times.values()
        share = median(b / a - 1 for a, b in zip(alone, watched, strict=True))
        look = median(b - a for a, b in zip(alone, each, strict=True))
        verdict = "ok" if share <= WANTED else "--"
        print(
            f"{name:16}{epochs:7}{1e3 * median(alone):9.2f}"
            f"{1e3 * median(watched):13.2f}{share:8.1%}{WANTED:7.0%} {verdict}"
            f"{median(m.share_ for m in monitors):9.1%}"
            f"{median(len(m.epochs_) for m in monitors):7.0f}{1e3 * look:11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
