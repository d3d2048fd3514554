"""Time of ``Standardizer`` on torch tensors, beside a copy on the same device.

A copy reads and writes every number once, and so does ``transform``; what is wanted of
it on a GPU is 70 % of the copy's speed. ``fit`` only reads, so it is held against half
of a copy. Times are medians over rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import sklearn
import torch
from _machine import heading

from sknorm.preprocessing import Standardizer

# What is wanted of the speed of a copy on a GPU.
WANTED = 0.7


def timer(device):
    """Return what takes the time of work on a device, in seconds."""

    def seconds(work):
        start = time.perf_counter()
        work()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return seconds


def compare(n_rows, n_columns, dtype, device, rounds):
    """Print the times for one table."""
    X = torch.randn(n_rows, n_columns, dtype=dtype, device=device)
    scaler, target = Standardizer().fit(X), torch.empty_like(X)
    works = {
        "copy": lambda: target.copy_(X),
        "fit": lambda: Standardizer().fit(X),
        "transform": lambda: scaler.transform(X),
    }
    seconds = timer(device)
    times = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name in list(works)[:: 1 if turn % 2 else -1]:
            took = seconds(works[name])
            if turn:  # the first finds its kernels and its memory
                times[name].append(took)
    copy, fit, transform = (statistics.median(each) for each in times.values())
    shares = 0.5 * copy / fit, copy / transform
    size = f"{n_rows:,} x {n_columns}".replace(",", " ")
    speed = 2e-9 * X.nbytes / copy
    verdict = ""
    if X.is_cuda:
        verdict = f"{WANTED:8.0%} {'ok' if shares[1] >= WANTED else '--'}"
    print(
        f"{size:16}{str(dtype).removeprefix('torch.'):9}{1e3 * copy:10.2f}{speed:8.0f}"
        f"{1e3 * fit:10.2f}{shares[0]:8.0%}{1e3 * transform:12.2f}{shares[1]:8.0%}"
        f"{verdict}",
        flush=True,
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    packages = ["sknorm", "scikit-learn", "torch", "array-api-compat"]
    print(heading(packages, torch.get_num_threads()))
    if torch.device(args.device).type == "cuda":
        print(torch.cuda.get_device_name(args.device))
    print(
        f"\nms on torch tensors, device {args.device}, and share of a copy's speed\n"
        f"{'':25}{'copy':>10}{'GB/s':>8}{'fit':>10}{'':>8}{'transform':>12}"
        f"{'':>8}{'wanted':>8}"
    )
    # scikit-learn asks for SciPy's part of it too.
    os.environ["SCIPY_ARRAY_API"] = "1"
    with sklearn.config_context(array_api_dispatch=True):
        for n_rows in args.rows:
            for dtype in (torch.float32, torch.float64):
                compare(n_rows, 50, dtype, args.device, args.rounds)


if __name__ == "__main__":
    main()
