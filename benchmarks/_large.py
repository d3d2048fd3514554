"""Large tables: in files, measured in processes of their own, and drawn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
IMAGES = FOLDER.parent / "docs" / "images"
GIB = 2**30

CHILD = """
import json, sys, warnings
sys.path.insert(0, {folder!r})
import {module} as bench
warnings.simplefilter("ignore")
print(json.dumps(bench.{call}))
"""


def in_process(script, call, **environment):
    """Return what a function of a script returns in a process of its own."""
    module = Path(script).stem
    code = CHILD.format(folder=str(FOLDER), module=module, call=call)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout.splitlines()[-1])


def status(field):
    """Return a field of the kernel's account of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise KeyError(field)


def growth(work):
    """Return how much memory a call adds at its peak, pages of files included."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Forgets the peak until now.
    work()
    return status("VmHWM") - before


@contextmanager
def table_in_file(block, size):
    """Write copies of a block to a file of the size, and yield its path.

    The file lies in the temporary folder, or in SKNORM_BENCH_DIR if that is set. None
    is yielded, and said, if there is no room for it.
    """
    with tempfile.TemporaryDirectory(dir=os.environ.get("SKNORM_BENCH_DIR")) as folder:
        free = shutil.disk_usage(folder).free
        if free < size + GIB:
            print(
                f"{folder} has {free / GIB:.1f} GiB left, too few for {size / GIB:g}."
            )
            yield None
            return
        path = Path(folder) / "table"
        with path.open("wb") as file:
            for _ in range(size // block.nbytes):
                block.tofile(file)
            os.fsync(file.fileno())  # Lest it is still being written when it is read.
        yield path


def draw_lines(found, name, *, xlabel, ylabel, title):
    """Draw cost against size, on axes where a straight line of slope 1 is linear.

    ``found`` has the points of each line, as pairs; ``name`` is that of the picture.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    markers = "osD^v"
    colors = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
    for (label, points), marker, color in zip(
        found.items(), markers, colors, strict=False
    ):
        size, taken = np.array(points).T
        ax.loglog(size, taken, marker=marker, color=color, label=label)
        ax.loglog(size, taken[0] * size / size[0], ":", color=color, alpha=0.6)
    sizes = sorted({size for points in found.values() for size, _ in points})
    # Labels of sizes close together would lie on each other.
    apart = [size for last, size in pairwise([0, *sizes]) if size > 1.6 * last]
    ax.set_xticks(apart, [f"{size:.3g}" for size in apart])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend()
    figure.savefig(IMAGES / name, dpi=120)
    plt.close(figure)
