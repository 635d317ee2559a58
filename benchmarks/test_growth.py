"""What must not grow: the time of a step with the number of steps, nor with callbacks that listen to other events.

In each group the bare loop over as many batches stands beside the fit.  What a run costs
once is part of these figures; `targets.py` looks at the steps alone.
"""

from __future__ import annotations

import pytest

from benchmarks.fixture import Benchmark
from benchmarks.workloads import Loader, NullModule, bare_loop, elsewhere, null_batches
from typedloops import Trainer

N = 100_000
LENGTHS = [
    pytest.param(n, marks=pytest.mark.benchmark(group=f"growth: {n:,} steps")) for n in (1000, 10_000, N, 1_000_000)
]


@pytest.mark.parametrize("n", LENGTHS)
def test_bare_for(benchmark: Benchmark, n: int) -> None:
    benchmark(bare_loop, NullModule().training_step, Loader(null_batches(n)))


@pytest.mark.parametrize("n", LENGTHS)
def test_fit(benchmark: Benchmark, n: int) -> None:
    benchmark(Trainer(max_epochs=1).fit, NullModule(), Loader(null_batches(n)))


@pytest.mark.benchmark(group=f"growth: callbacks that listen to other events, {N:,} steps")
@pytest.mark.parametrize("callbacks", [0, 10, 100])
def test_callbacks(benchmark: Benchmark, callbacks: int) -> None:
    trainer = Trainer(max_epochs=1, callbacks=elsewhere(callbacks))
    benchmark(trainer.fit, NullModule(), Loader(null_batches(N)))
