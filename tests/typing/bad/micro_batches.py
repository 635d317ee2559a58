"""Micro-batches that are not what the batch is."""

from __future__ import annotations

from torch import Tensor

from tests.typing.good.models import Batch
from typedloops import MicroBatchOptimization, shrinking


def to_lists(batch: Batch, size: int) -> list[list[Tensor]]:
    return [list(batch)]


def of_text(batch: str) -> float:
    return len(batch)


of_lists: MicroBatchOptimization[Batch, Tensor] = MicroBatchOptimization(2, split=to_lists)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportAssignmentType]
by_text: MicroBatchOptimization[Batch, Tensor] = MicroBatchOptimization(2, count=of_text)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
half: MicroBatchOptimization[Batch, Tensor] = MicroBatchOptimization(0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportAssignmentType]
shrinking("all", str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
