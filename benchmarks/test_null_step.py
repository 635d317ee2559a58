"""The whole trainer around steps that do nothing, against the bare `for` loop."""

from __future__ import annotations

import pytest

from benchmarks.fixture import Benchmark
from benchmarks.workloads import Loader, ManualNullModule, NullModule, bare_loop, null_batches
from typedloops import Trainer

N = 100_000

null_step = pytest.mark.benchmark(group=f"{N:,} steps that do nothing")
one_batch = pytest.mark.benchmark(group="a run of one batch: what a run costs once")
epochs = pytest.mark.benchmark(group="100 epochs of one batch: what an epoch costs")


@null_step
def test_bare_for(benchmark: Benchmark) -> None:
    benchmark(bare_loop, NullModule().training_step, Loader(null_batches(N)))


@null_step
def test_fit(benchmark: Benchmark) -> None:
    result = benchmark(Trainer(max_epochs=1).fit, NullModule(), Loader(null_batches(N)))
    assert result.batches == N


@null_step
def test_fit_manual(benchmark: Benchmark) -> None:
    result = benchmark(Trainer(max_epochs=1).fit, ManualNullModule(), Loader(null_batches(N)))
    assert result.batches == N


@null_step
def test_validate(benchmark: Benchmark) -> None:
    assert benchmark(Trainer().validate, NullModule(), Loader(null_batches(N))).batches == N


@null_step
def test_validate_list(benchmark: Benchmark) -> None:
    assert benchmark(Trainer().validate, NullModule(), null_batches(N)).batches == N


@null_step
def test_predict(benchmark: Benchmark) -> None:
    assert len(benchmark(Trainer().predict, NullModule(), Loader(null_batches(N)))) == N


@one_batch
def test_fit_of_one_batch(benchmark: Benchmark) -> None:
    benchmark(Trainer(max_epochs=1).fit, NullModule(), Loader(null_batches(1)))


@one_batch
def test_validate_of_one_batch(benchmark: Benchmark) -> None:
    benchmark(Trainer().validate, NullModule(), Loader(null_batches(1)))


@one_batch
def test_predict_of_one_batch(benchmark: Benchmark) -> None:
    benchmark(Trainer().predict, NullModule(), Loader(null_batches(1)))


@epochs
def test_fit_of_100_epochs(benchmark: Benchmark) -> None:
    benchmark(Trainer(max_epochs=100).fit, NullModule(), Loader(null_batches(1)))
