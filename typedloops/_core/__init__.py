"""The core that drives the loops: compiled, or its reference in plain Python.

`TYPEDLOOPS_PURE=1` in the environment chooses the reference.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from typedloops._core.status import BatchStatus as BatchStatus

if TYPE_CHECKING:
    from typedloops._core.compiled.batches import BatchDriver as BatchDriver
    from typedloops._core.compiled.batches import OptimizerStep as OptimizerStep
    from typedloops._core.compiled.driver import Iterations as Iterations
    from typedloops._core.compiled.driver import run_loop as run_loop
    from typedloops._core.compiled.hooks import Hook as Hook
    from typedloops._core.compiled.hooks import StopFlag as StopFlag
    from typedloops._core.compiled.progress import BatchProgress as BatchProgress
    from typedloops._core.compiled.progress import CallCounter as CallCounter
    from typedloops._core.compiled.progress import DataLoaderProgress as DataLoaderProgress
    from typedloops._core.compiled.progress import Processed as Processed
    from typedloops._core.compiled.progress import Progress as Progress
    from typedloops._core.compiled.progress import ReadyCompleted as ReadyCompleted
    from typedloops._core.compiled.progress import SchedulerProgress as SchedulerProgress
    from typedloops._core.compiled.progress import Started as Started
    from typedloops._core.compiled.transfer import BatchTransfer as BatchTransfer

    COMPILED: bool
    """Whether the loops are driven by the compiled core."""
else:
    _NAMES = {
        "batches": ("BatchDriver", "OptimizerStep"),
        "driver": ("Iterations", "run_loop"),
        "hooks": ("Hook", "StopFlag"),
        "progress": (
            "BatchProgress",
            "CallCounter",
            "DataLoaderProgress",
            "Processed",
            "Progress",
            "ReadyCompleted",
            "SchedulerProgress",
            "Started",
        ),
        "transfer": ("BatchTransfer",),
    }

    def _load(core):
        from importlib import import_module

        return {
            name: getattr(import_module(f"typedloops._core.{core}.{module}"), name)
            for module, names in _NAMES.items()
            for name in names
        }

    if os.environ.get("TYPEDLOOPS_PURE", "") not in ("", "0"):
        COMPILED = False
        globals().update(_load("reference"))
    else:
        try:
            globals().update(_load("compiled"))
            COMPILED = True
        except ModuleNotFoundError as missing:
            if not (missing.name or "").startswith("typedloops._core.compiled"):
                raise
            warnings.warn(
                "typedloops runs on its pure-Python core, which is slower: it was installed without its compiled "
                "core. Reinstall it where there is a C compiler, or set TYPEDLOOPS_PURE=1 to choose this core.",
                RuntimeWarning,
                stacklevel=2,
            )
            COMPILED = False
            globals().update(_load("reference"))
