"""What a SignalReport costs, beside one pass of the same rows forward and back.

Networks of 20 hidden layers of 128 and a table of 10 000 x 40, by turns in one process.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from _machine import heading

from sknorm.inspection import SignalReport
from sknorm.neural_network import NormMLPClassifier
from sknorm.neural_network._opened import open_estimator

N_ROWS, N_COLUMNS, LAYERS = 10_000, 40, (128,) * 20
WANTED = 1.5


def seconds(work):
    """Return how long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(model, X, y, rounds):
    """Return the median seconds of a pass, of a report, and of one with its frame."""
    opened = open_estimator(model, X, y)

    def one_pass():
        opened.network.zero_grad()
        opened.criterion(opened.network(opened.X), opened.y, None).backward()

    def report():
        SignalReport.from_estimator(model, X, y)

    def with_frame():
        SignalReport.from_estimator(model, X, y).to_frame()

    works = one_pass, report, with_frame
    for work in works:
        work()
    return np.median([[seconds(work) for work in works] for _ in range(rounds)], axis=0)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_COLUMNS)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    print(heading(["sknorm", "torch"], torch.get_num_threads()))
    print(
        f"\n{N_ROWS} x {N_COLUMNS}, {len(LAYERS)} hidden layers of {LAYERS[0]}; ms\n"
        f"{'':24}{'pass':>8}{'report':>9}{'ratio':>8}{'with frame':>12}"
    )
    for activation, norm in [("relu", "none"), ("tanh", "none"), ("relu", "batch")]:
        model = NormMLPClassifier(
            LAYERS, activation=activation, norm=norm, max_epochs=1, random_state=0
        )
        for fitted in (False, True):
            if fitted:
                model.fit(X, y)
            once, report, framed = 1e3 * measure(model, X, y, args.rounds)
            ratio = report / once
            name = f"{activation}, {norm}, {'fitted' if fitted else 'fresh'}"
            print(
                f"{name:24}{once:8.0f}{report:9.0f}{ratio:7.2f}x{framed:12.0f}   "
                f"{'ok' if ratio <= WANTED else '--'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
