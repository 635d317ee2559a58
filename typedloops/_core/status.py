"""Why a batch driver is not running any more."""

from __future__ import annotations

from enum import IntEnum


class BatchStatus(IntEnum):
    """What a batch driver says after it has driven some batches."""

    RUNNING = 0
    """There may be more batches."""
    EXHAUSTED = 1
    """The loader has no more batches."""
    LIMIT = 2
    """The limit on the number of batches is reached."""
    STOPPED = 3
    """A stop was requested."""
    MAX_STEPS = 4
    """The limit on the number of optimizer steps is reached."""
    SKIPPED = 5
    """The module's batch-start hook returned -1: the rest of the epoch is skipped."""
