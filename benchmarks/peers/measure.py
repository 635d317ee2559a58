"""What every peer is asked to do, and how it is timed: imports nothing but torch, so that it runs in any environment.

A peer says how it does some of these tasks:

| task       | what is done                                                                  |
|------------|-------------------------------------------------------------------------------|
| `fit`      | train on every batch with a step that does nothing                            |
| `validate` | evaluate every batch with a step that does nothing                            |
| `predict`  | predict every batch with a step that does nothing                             |
| `tiny`     | train `Linear(32, 2)` with cross-entropy and SGD on batches of 8              |
| `loop`     | run a loop of one's own, which does nothing, for `n` iterations               |
| `counting` | the same, and count each iteration ready, started, processed and completed    |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from benchmarks.timing import TimedBlocks, least

B = TypeVar("B")

NullBatch: TypeAlias = tuple[int]
Batch: TypeAlias = tuple[Tensor, Tensor]

SECONDS = 1.0
BLOCKS = 60
ITERATIONS = 20_000
LOOP_RUNS = 300


class TinyNet(nn.Module):
    """The module of the tiny step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(32, 2)

    def loss(self, batch: Batch) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def sgd(self) -> torch.optim.SGD:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Tasks:
    """What a peer does; a task that it does not have stays None."""

    def __init__(
        self,
        *packages: str,
        fit: Callable[[Iterable[NullBatch]], object] | None = None,
        validate: Callable[[Iterable[NullBatch]], object] | None = None,
        predict: Callable[[Iterable[NullBatch]], object] | None = None,
        tiny: Callable[[Iterable[Batch]], object] | None = None,
        loop: Callable[[int], object] | None = None,
        counting: Callable[[int], object] | None = None,
    ) -> None:
        self.packages = packages
        self.null = {"fit": fit, "validate": validate, "predict": predict}
        self.tiny = tiny
        self.loops = {"loop": loop, "counting": counting}

    def measure(self) -> dict[str, float]:
        """Seconds for one batch or one iteration, for each task that there is."""
        torch.set_num_threads(1)
        times = {name: per_batch(task, [(0,)]) for name, task in self.null.items() if task}
        if self.tiny:
            times["tiny"] = per_batch(self.tiny, [(torch.randn(8, 32), torch.randint(0, 2, (8,))) for _ in range(64)])
        return times | {name: per_iteration(loop) for name, loop in self.loops.items() if loop}

    def versions(self) -> dict[str, str]:
        return {package: version(package) for package in ("torch", *self.packages)}

    def main(self) -> None:
        """Measure and print as JSON, on a line of its own."""
        print(json.dumps({"versions": self.versions(), "seconds": self.measure()}))


def per_batch(task: Callable[[Iterable[B]], object], batches: Sequence[B]) -> float:
    """The least time for a batch over many blocks, each of some milliseconds; what a run costs once is left out."""
    trial = TimedBlocks(_repeat(batches, 50), 3)
    task(trial)
    size = int(SECONDS / BLOCKS / trial.least_per_batch)
    loader = TimedBlocks(_repeat(batches, max(10, size)), BLOCKS)
    task(loader)
    return loader.least_per_batch


def per_iteration(loop: Callable[[int], object]) -> float:
    """The least time for an iteration over many runs."""
    return least(lambda: loop(ITERATIONS), rounds=LOOP_RUNS) / ITERATIONS


def _repeat(batches: Sequence[B], count: int) -> list[B]:
    return (list(batches) * (1 + count // len(batches)))[:count]
