"""Where and when something was measured."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

import torch


def machine() -> str:
    return (
        f"{date.today()}; {processor()}, {os.cpu_count()} cores, {platform.system()}, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, torch {torch.__version__} with one thread"
    )


def processor() -> str:
    """The processor's name as the system gives it, and its architecture."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"
