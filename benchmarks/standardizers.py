"""Speed and memory of the standardizers beside scikit-learn's.

Both take turns in one process; times are medians, and a ratio is the median of those of
the turns. "x" is how many times faster sknorm is, "of read" and "of copy" the time it
takes to read the table once, or to copy it into memory never used before, as a share of
what the fit or the transform takes: 100 % is as fast as memory allows.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from _large import GIB, draw_lines, growth, in_process, table_in_file
from _machine import heading
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sknorm import preprocessing as ours

LARGE, MEDIUM, SMALL = (1_000_000, 50), (10_000, 20), (150, 4)
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@dataclass(frozen=True)
class Family:
    """A standardizer, what it stands in for, and how often that one is worth timing."""

    ours: type
    theirs: object
    fits: int
    transforms: int
    # Times faster than the other: fit in float64 and float32, and transform.
    wanted: tuple[float, float, float] | None = None
    # Largest extra memory in fit, as a share of the input.
    memory: float = 0.35


FAMILIES = {
    "Standardizer": Family(
        ours.Standardizer, StandardScaler(), 9, 9, (12, 18, 3.5), 0.05
    ),
    "RobustStandardizer": Family(
        ours.RobustStandardizer, RobustScaler(unit_variance=True), 3, 9, (7, 7, 3.5)
    ),
    "QuantileStandardizer": Family(
        ours.QuantileStandardizer,
        QuantileTransformer(output_distribution="normal", subsample=None),
        3,
        3,
        (12, 12, 5),
    ),
    "PowerStandardizer": Family(
        ours.PowerStandardizer, PowerTransformer(), 2, 3, (12, 12, 2.5)
    ),
    "WhiteningStandardizer": Family(
        ours.WhiteningStandardizer, PCA(whiten=True), 3, 3, None, 0.05
    ),
}


def heavy_tailed(shape, dtype=np.float64, seed=0):
    """Return a table of Student's t with 3 degrees, every fifth column skewed."""
    rng = np.random.default_rng(seed)
    X = rng.standard_t(3, size=shape).astype(dtype)
    X[:, ::5] = np.exp(0.5 * rng.normal(size=X[:, ::5].shape))
    return X


# Seconds that a measurement lasts at least: what else the machine does passes faster.
AT_LEAST = 0.02


def seconds(work, calls=1):
    """Return how long a call takes."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def in_turns(works, rounds):
    """Time functions that take turns, forward and back; return seconds by round."""
    times = {name: [] for name in works}
    slowest = max(seconds(work) for work in works.values())
    calls = math.ceil(AT_LEAST / slowest)
    for turn in range(rounds):
        order = list(works) if turn % 2 == 0 else list(works)[::-1]
        for name in order:
            times[name].append(seconds(works[name], calls))
    return times


def ratio(times, slow, fast="ours"):
    """Return how many times longer one took, the median over rounds."""
    return statistics.median(
        a / b for a, b in zip(times[slow], times[fast], strict=True)
    )


def milliseconds(times, name):
    return f"{1e3 * statistics.median(times[name]):11.3f}"


def row(label, times, wanted=None, floor=None):
    """Print a line: both times, the ratio and what it should be, share of the floor."""
    faster = ratio(times, "theirs")
    target = "" if wanted is None else f"{wanted:7.1f} {verdict(faster, wanted)}"
    share = "" if floor is None else f"{100 * ratio(times, floor):6.0f} % of {floor}"
    print(
        f"{label:42}{milliseconds(times, 'theirs')}{milliseconds(times, 'ours')}"
        f"{faster:8.1f}x{target:12}{share}",
        flush=True,
    )


def verdict(value, wanted):
    return "ok" if value >= wanted else "--"


def columns(title):
    print(
        f"\n{title}\n{'':42}{'theirs ms':>11}{'ours ms':>11}{'faster':>9}{'wanted':>9}"
    )


# Memory as it is.


def parts_of(X):
    return np.array_split(X.reshape(-1), THREADS)


def reader():
    """Return a function that reads a table once, in threads."""
    import numba

    @numba.njit(nogil=True, fastmath=True)
    def total(x):
        s = 0.0
        for i in range(len(x)):
            s += x[i]
        return s

    def read(X):
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(total, parts_of(X)))

    return read


def copy(X):
    """Copy a table into memory that was never used, in threads."""
    out = np.empty_like(X)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(np.copyto, parts_of(out), parts_of(X)))
    return out


# The parts of the benchmark.


def small(names):
    """Small tables: what compiled code would cost, if it were loaded."""
    for shape, wanted in ((MEDIUM, 3.0), (SMALL, 1.0)):
        columns(f"{shape[0]} x {shape[1]}, float64, NumPy only")
        X = heavy_tailed(shape)
        for name in names:
            family = FAMILIES[name]
            target = None if family.wanted is None else wanted
            compare(name, family, X, target, target, target, rounds=21)
    loaded = "numba" in sys.modules
    print(f"compiled code was {'' if loaded else 'not '}loaded")


def compare(
    name,
    family,
    X,
    for_fit,
    for_transform,
    for_both=None,
    *,
    rounds,
    weight=None,
):
    """Time fit and transform of both, of small tables also together; print a line each.

    What is wanted is at least so many times the other's speed.
    """
    mine, theirs = family.ours(), family.theirs
    options = {} if weight is None else {"sample_weight": weight}
    times = in_turns(
        {
            "ours": lambda: mine.fit(X, **options),
            "theirs": lambda: theirs.fit(X, **options),
        },
        rounds,
    )
    row(f"{name} fit", times, for_fit)
    times = in_turns(
        {"ours": lambda: mine.transform(X), "theirs": lambda: theirs.transform(X)},
        rounds,
    )
    row(f"{name} transform", times, for_transform)
    if len(X) <= MEDIUM[0]:
        times = in_turns(
            {
                "ours": lambda: mine.fit_transform(X),
                "theirs": lambda: theirs.fit_transform(X),
            },
            rounds,
        )
        row(f"{name} fit_transform", times, for_both)


def large(names):
    """The large table, in both precisions."""
    read = reader()
    for dtype in (np.float64, np.float32):
        X = heavy_tailed(LARGE, dtype)
        read(X)
        floors = in_turns({"read": partial(read, X), "copy": partial(copy, X)}, 9)
        speeds = [
            f"{passes * X.nbytes / statistics.median(floors[way]) / 1e9:.0f} GB/s {way}"
            for way, passes in (("read", 1), ("copy", 2))
        ]
        columns(
            f"{LARGE[0]} x {LARGE[1]}, {X.dtype}, {THREADS} threads; memory: "
            + ", ".join(speeds)
        )
        for name in names:
            compare_large(name, FAMILIES[name], X, read)
        if "Standardizer" in names:
            missing_and_weighted(X)


def compare_large(name, family, X, read, **options):
    fit_64, fit_32, for_transform = family.wanted or (None, None, None)
    for_fit = fit_64 if X.dtype == np.float64 else fit_32
    mine, theirs = family.ours(), family.theirs
    mine.fit(X).transform(X)  # Compiles, or loads what was compiled.
    works = {
        "read": lambda: read(X),
        "ours": lambda: mine.fit(X, **options),
        "theirs": lambda: theirs.fit(X, **options),
    }
    row(f"{name} fit", in_turns(works, family.fits), for_fit, "read")
    works = {
        "copy": lambda: copy(X),
        "ours": lambda: mine.transform(X),
        "theirs": lambda: theirs.transform(X),
    }
    row(
        f"{name} transform",
        in_turns(works, family.transforms),
        for_transform,
        "copy",
    )


def missing_and_weighted(X):
    rng = np.random.default_rng(1)
    family = FAMILIES["Standardizer"]
    weight = rng.random(len(X))
    holes = X.copy()
    holes[rng.random(X.shape) < 0.1] = np.nan
    for label, table, w in (
        ("10 % NaN", holes, None),
        ("weights", X, weight),
        ("10 % NaN, weights", holes, weight),
    ):
        family.ours().fit(table, sample_weight=w)
        compare(
            f"Standardizer, {label}",
            family,
            table,
            10.0,
            3.0,
            rounds=9,
            weight=w,
        )


def extra_memory(name, whose, dtype):
    """Return how much a fit adds at its peak, and the size of the input."""
    X = heavy_tailed(LARGE, dtype)
    family = FAMILIES[name]
    scaler = family.ours() if whose == "ours" else family.theirs
    scaler.fit(X[:20_000])  # Loads and compiles what it needs.
    return growth(lambda: scaler.fit(X)), X.nbytes


def memory(names):
    """Peak memory that a fit adds, each in a process of its own."""
    print(
        f"\nextra memory of fit at its peak, {LARGE[0]} x {LARGE[1]}\n"
        f"{'':42}{'theirs MiB':>11}{'ours MiB':>11}{'of input':>10}{'allowed':>9}"
    )
    for dtype in ("float64", "float32"):
        for name in names:
            (mine, size), (theirs, _) = (
                in_process(__file__, f"extra_memory({name!r}, {whose!r}, {dtype!r})")
                for whose in ("ours", "theirs")
            )
            share = FAMILIES[name].memory
            # Beside the 5 % of the one-pass families, 64 MiB for what is of any size.
            allowed = share * size + (2**26 if share < 0.1 else 0)
            print(
                f"{name + ', ' + dtype:42}{theirs / 2**20:11.0f}{mine / 2**20:11.0f}"
                f"{100 * mine / size:8.0f} %{100 * allowed / size:7.0f} % "
                f"{verdict(allowed, mine)}",
                flush=True,
            )


def first_call(name):
    """Return how long the first fit and transform of a process take."""
    X = heavy_tailed((20_000, 50))
    return seconds(lambda: FAMILIES[name].ours().fit(X).transform(X))


def first(names):
    """The first call of all, which compiles, and the first of the next process."""
    print(
        "\nfirst fit and transform of a large table\n"
        f"{'':42}{'after install s':>16}{'next process s':>16}{'allowed':>9}"
    )
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            call = f"first_call({name!r})"
            new, again = (
                in_process(__file__, call, NUMBA_CACHE_DIR=folder) for _ in range(2)
            )
        print(f"{name:42}{new:16.1f}{again:16.2f}{5:9} {verdict(5, new)}", flush=True)


def lines(names, largest=8 * GIB):
    """Cost against size, on a file mapped into memory."""
    print("\nfit of memory-mapped float32, seconds, and nanoseconds per number")
    block = heavy_tailed((100_000, 50), np.float32)
    with table_in_file(block, largest) as path:
        if path is None:
            return
        whole = np.memmap(path, np.float32, "r").reshape(-1, 50)
        rows = {
            f"{len(X) / 1e6:.1f} M x {X.shape[1]}": X
            for X in (whole[: len(whole) // k] for k in (64, 16, 4, 1))
        }
        # As many numbers as in the second of them, in other shapes.
        flat = whole.reshape(-1)[: 50 * (len(whole) // 16)]
        wide = {
            f"0.1 M x {width}": flat[: 100_000 * width].reshape(-1, width)
            for width in (50, 200, 800)
        }
        found = {}
        for title, tables in (("rows", rows), ("columns", wide)):
            print(f"{'by ' + title:25}" + "".join(f"{t:>21}" for t in tables))
            for name in names:
                scaler = FAMILIES[name].ours()
                scaler.fit(block[:20_000])
                cells, points = [], []
                for X in tables.values():
                    taken = min(
                        seconds(lambda X=X, scaler=scaler: scaler.fit(X))
                        for _ in range(2)
                    )
                    points.append((X.nbytes / GIB, taken))
                    cells.append(f"{taken:13.2f}{1e9 * taken / X.size:8.2f}")
                print(f"{name:25}" + "".join(cells), flush=True)
                if title == "rows":
                    found[name] = points
    draw_lines(
        found,
        "standardizers_linear.png",
        xlabel="input, float32, memory-mapped [GiB]",
        ylabel="fit [s]",
        title="Cost of a fit grows with the rows (dotted: exactly so)",
    )


PARTS = {"small": small, "large": large, "memory": memory, "first": first}
PARTS["lines"] = lines


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=FAMILIES)
    args = parser.parse_args()
    # Quantiles of small tables, of which scikit-learn warns every time.
    warnings.simplefilter("ignore", UserWarning)
    print(heading(["sknorm", "scikit-learn", "numpy", "numba"], THREADS))
    # Small tables come first, while nothing else has loaded compiled code.
    for part in PARTS:
        if part in args.parts:
            PARTS[part](list(args.families))


if __name__ == "__main__":
    main()
