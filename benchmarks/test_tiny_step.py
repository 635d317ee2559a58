"""The whole trainer around a step that does little, against the loop that one writes by hand."""

from __future__ import annotations

import pytest

from benchmarks.fixture import Benchmark
from benchmarks.workloads import HandWritten, Loader, LoggingModule, TinyModule, elsewhere, tiny_batches
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
