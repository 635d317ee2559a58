"""Importing in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def run_python(code: str, bytecode: str | None = None) -> str:
    """Run `code` in a new interpreter and return what it prints.

    Args:
        code: What to run.
        bytecode: The folder where bytecode is kept, or None for the usual places.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if bytecode is not None:
        environment["PYTHONPYCACHEPREFIX"] = bytecode
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def added_milliseconds(statement: str, rounds: int) -> float:
    """What `statement` takes where torch is imported already and all bytecode is there: the least of `rounds`."""
    code = (
        f"import torch; from time import perf_counter as now; start = now(); {statement}; print(1e3 * (now() - start))"
    )
    with TemporaryDirectory() as bytecode:
        run_python(code, bytecode)
        return min(float(run_python(code, bytecode)) for _ in range(rounds))
