"""Progress trackers: which counters there are follows from the type."""

from __future__ import annotations

from typing import assert_type

from typedloops import (
    COMPILED,
    BatchProgress,
    DataLoaderProgress,
    OptimizationProgress,
    OptimizerProgress,
    Processed,
    Progress,
    ReadyCompleted,
    SchedulerProgress,
    Started,
)

default = Progress()
assert_type(default, Progress[Processed])
default.increment_ready()
default.increment_started()
default.increment_processed()
default.increment_completed()
assert_type(default.total.processed, int)
assert_type(default.current.started, int)

started = Progress(Started(), Started())
assert_type(started, Progress[Started])
started.increment_started()
assert_type(Progress(Started(ready=1, started=1)), Progress[Started])
assert_type(Progress(current=Started()), Progress[Started])

plain = Progress(ReadyCompleted(ready=2, completed=1), ReadyCompleted())
assert_type(plain, Progress[ReadyCompleted])
plain.increment_ready()
plain.increment_completed()
assert plain.total == ReadyCompleted(ready=3, completed=2)
asked: Progress[ReadyCompleted] = Progress(ReadyCompleted())
wider: Progress[Started] = default

batches = BatchProgress(is_last_batch=True)
assert_type(batches.total, Processed)
assert_type(batches.is_last_batch, bool)
batches.increment_processed()
assert_type(DataLoaderProgress().total, ReadyCompleted)
assert_type(SchedulerProgress().current, ReadyCompleted)
optimization = OptimizationProgress()
assert_type(optimization.optimizer, OptimizerProgress)
assert_type(optimization.optimizer.step, Progress[ReadyCompleted])
assert_type(optimization.optimizer.zero_grad, Progress[Started])
optimization.optimizer.zero_grad.increment_started()

assert_type(default.state_dict(), dict[str, object])
assert_type(default.total.state_dict(), dict[str, int])
default.load_state_dict(default.state_dict())
default.reset_on_run()
default.reset_on_restart()
default.reset()
assert default == Progress()
assert_type(COMPILED, bool)
