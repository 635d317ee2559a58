"""Dispatch alone: a loop of one's own under `run_loop`, and batches under the batch driver."""

from __future__ import annotations

import pytest

from benchmarks.cores import CoreName, drive_batches, run_loop
from benchmarks.fixture import Benchmark
from benchmarks.workloads import Counting, Loader, NullModule, bare_loop, null_batches

N = 10_000

own_loop = pytest.mark.benchmark(group=f"a loop of one's own, {N:,} iterations")
own_loop_with_end = pytest.mark.benchmark(group=f"a loop of one's own with on_advance_end, {N:,} iterations")
batches = pytest.mark.benchmark(group=f"batches, {N:,}")


class CountingEnds(Counting):
    """Also counts how often an iteration ended."""

    ends = 0

    def on_advance_end(self) -> None:
        self.ends += 1

    def by_hand(self) -> int:
        self.reset()
        while not self.done:
            self.advance()
            self.on_advance_end()
        return self.i


@own_loop
def test_bare_while(benchmark: Benchmark) -> None:
    assert benchmark(Counting(N).by_hand) == N


@own_loop
def test_run_loop(benchmark: Benchmark, core: CoreName) -> None:
    assert benchmark(run_loop, core, Counting(N)) == N


@own_loop_with_end
def test_bare_while_with_end(benchmark: Benchmark) -> None:
    assert benchmark(CountingEnds(N).by_hand) == N


@own_loop_with_end
def test_run_loop_with_end(benchmark: Benchmark, core: CoreName) -> None:
    assert benchmark(run_loop, core, CountingEnds(N)) == N


@batches
def test_bare_for(benchmark: Benchmark) -> None:
    benchmark(bare_loop, NullModule().training_step, Loader(null_batches(N)))


@batches
def test_batch_driver(benchmark: Benchmark, core: CoreName) -> None:
    benchmark(drive_batches, core, NullModule().training_step, Loader(null_batches(N)))
