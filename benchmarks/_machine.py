"""What the figures of a benchmark depend on besides the code."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def machine(threads):
    """Return the processor and how many threads may be used, in words."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{os.cpu_count()} x {model}, {threads} threads"


def heading(packages, threads):
    """Return versions, machine and date, for the top of a table."""
    versions = [f"{name} {version(name)}" for name in packages]
    versions.append(f"Python {platform.python_version()}")
    return f"{', '.join(versions)}\n{machine(threads)}, {date.today():%d %B %Y}"
