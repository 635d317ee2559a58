# pyright: reportUnknownMemberType=false
"""Counters that a progress does not have."""

from __future__ import annotations

from typedloops import (
    BatchProgress,
    DataLoaderProgress,
    Processed,
    Progress,
    ReadyCompleted,
    SchedulerProgress,
    Started,
)
from typedloops.loops.fit import OptimizationProgress

Progress[ReadyCompleted]().increment_started()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Progress(ReadyCompleted()).increment_started()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Progress(Started()).increment_processed()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
DataLoaderProgress().increment_processed()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
print(SchedulerProgress().total.started)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
print(Progress(Started()).current.processed)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType]
ReadyCompleted(started=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ReadyCompleted(ready="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Processed().ready = "1"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
Progress(Started(), Processed(), 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Progress(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BatchProgress(ReadyCompleted())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
BatchProgress(is_last_batch="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
narrower: Progress[Processed] = Progress(Started())  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
Progress().total = Processed()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
OptimizationProgress().optimizer.step.increment_started()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Progress().load_state_dict([1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Progress[int]()  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
