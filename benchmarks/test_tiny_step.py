"""The whole trainer around a step that does little, against the loop that one writes by hand."""

from __future__ import annotations

import pytest

from benchmarks.fixture import Benchmark
from benchmarks.workloads import (
    LARGEST_NORM,
    WINDOW,
    HandWritten,
    HandWrittenWindows,
    Loader,
    LoggingModule,
    ScheduledModule,
    TinyModule,
    elsewhere,
    tiny_batches,
)
from typedloops import Trainer

N = 500

pytestmark = pytest.mark.benchmark(group=f"{N:,} tiny real steps")


def test_hand_written(benchmark: Benchmark) -> None:
    benchmark(HandWritten(TinyModule()), Loader(tiny_batches(N)))


@pytest.mark.parametrize("callbacks", [0, 10])
def test_fit(benchmark: Benchmark, callbacks: int) -> None:
    trainer = Trainer(max_epochs=1, callbacks=elsewhere(callbacks))
    assert benchmark(trainer.fit, TinyModule(), Loader(tiny_batches(N))).optimizer_steps == N


def test_fit_with_three_logs(benchmark: Benchmark) -> None:
    trainer = Trainer(max_epochs=1)
    result = benchmark(trainer.fit, LoggingModule(None, trainer), Loader(tiny_batches(N)))
    assert {"first", "second", "third"} <= result.metrics.keys()


def test_fit_with_three_logged_means(benchmark: Benchmark) -> None:
    trainer = Trainer(max_epochs=1)
    result = benchmark(trainer.fit, LoggingModule(None, trainer, "mean"), Loader(tiny_batches(N)))
    assert {"first", "second", "third"} <= result.metrics.keys()


def test_hand_written_windows(benchmark: Benchmark) -> None:
    benchmark(HandWrittenWindows(TinyModule()), Loader(tiny_batches(N)))


def test_fit_of_windows(benchmark: Benchmark) -> None:
    trainer = Trainer(max_epochs=1, accumulate_grad_batches=WINDOW, gradient_clip_val=LARGEST_NORM)
    assert benchmark(trainer.fit, ScheduledModule(), Loader(tiny_batches(N))).optimizer_steps == N // WINDOW
