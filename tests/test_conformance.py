"""Every default loop keeps the contract: a new one is one line in `LOOPS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import (
    FitLoop,
    Loop,
    MicroBatchOptimization,
    OptimizerLoop,
    PredictionLoop,
    TestLoop,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops.protocols.loop import AnyLoop
from typedloops.protocols.module import TrainingModule
from typedloops.testing import check_loop_contract

BASES = {"AutomaticOptimization", "Loop", "EvaluationLoop", "FitLoopOf", "InRun", "OptimizerLoopOf", "StepLoop"}
"""Classes to derive from: they need something of their subclasses before they can be run."""


class Manual(Classifier):
    """Optimizes by itself."""

    automatic_optimization = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.optimizer = super().configure_optimizers()
        return self.optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Skipping(Classifier):
    """Ends the epoch early."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        return -1 if batch_idx == 2 else None


class Unsized:
    """A loader without a length."""

    def __iter__(self) -> Iterator[Batch]:
        return iter(batches())


class Announcing(FitLoop):
    """Changes an iteration, so that it is run step by step."""

    def on_advance_end(self) -> None:
        super().on_advance_end()


class StepwiseOptimizer(OptimizerLoop[Batch, Tensor]):
    """Changes an iteration, so that every batch passes through it."""

    def on_advance_end(self) -> None: ...


class Twice(TrainingBatchLoop[TrainingModule[Batch, Tensor], Batch, Tensor]):
    """Takes every batch twice."""

    repeats = 0

    @property
    def done(self) -> bool:
        return self.repeats == 2

    def reset(self) -> None:
        super().reset()
        self.repeats = 0

    def advance(self, model: TrainingModule[Batch, Tensor], batch: Batch, batch_idx: int) -> None:
        super().advance(model, batch, batch_idx)
        self.repeats += 1


def stepwise() -> FitLoop:
    return FitLoop(max_epochs=2, epoch_loop=TrainingEpochLoop(Twice(StepwiseOptimizer())))


def by_micro_batches() -> FitLoop:
    micro: MicroBatchOptimization[Batch, Tensor] = MicroBatchOptimization(2)
    return FitLoop(max_epochs=2, epoch_loop=TrainingEpochLoop(TrainingBatchLoop(micro)))


def two_loaders() -> list[Loader]:
    return [Loader(batches()), Loader(batches(2))]


@dataclass(frozen=True)
class Entry:
    """A loop at the top of a tree, and the inputs of a run."""

    make: Callable[[], AnyLoop]
    inputs: Callable[[], tuple[object, ...]]


LOOPS: dict[str, Entry] = {
    "FitLoop": Entry(lambda: FitLoop(max_epochs=2), lambda: (Classifier(), batches())),
    "FitLoop, validating": Entry(lambda: FitLoop(max_epochs=2), lambda: (Classifier(), batches(), two_loaders())),
    "FitLoop, by steps": Entry(lambda: FitLoop(max_steps=5), lambda: (Classifier(), batches())),
    "FitLoop, unsized": Entry(lambda: FitLoop(max_epochs=2), lambda: (Classifier(), Unsized())),
    "FitLoop, manual": Entry(lambda: FitLoop(max_epochs=2), lambda: (Manual(), batches())),
    "FitLoop, skipping": Entry(lambda: FitLoop(max_epochs=2), lambda: (Skipping(), batches())),
    "FitLoop, nothing to do": Entry(lambda: FitLoop(max_epochs=0), lambda: (Classifier(), batches())),
    "FitLoop, changed": Entry(lambda: Announcing(max_epochs=2), lambda: (Classifier(), batches())),
    "FitLoop, changed below": Entry(stepwise, lambda: (Classifier(), batches(2))),
    "FitLoop, by micro-batches": Entry(by_micro_batches, lambda: (Classifier(), batches(2))),
    "ValidationLoop": Entry(ValidationLoop, lambda: (Classifier(), batches())),
    "ValidationLoop, limited": Entry(lambda: ValidationLoop(2), lambda: (Classifier(), two_loaders())),
    "TestLoop": Entry(TestLoop, lambda: (Classifier(), batches())),
    "PredictionLoop": Entry(PredictionLoop, lambda: (Classifier(), batches())),
    "PredictionLoop, several": Entry(PredictionLoop, lambda: (Classifier(), two_loaders())),
}


@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_keeps_the_contract(name: str) -> None:
    entry = LOOPS[name]
    check_loop_contract(entry.make, *entry.inputs())


def test_every_public_loop_is_in_a_tree_that_is_tested() -> None:
    tested = {type(loop) for entry in LOOPS.values() for root in [entry.make()] for _, loop in walked(root)}
    public = {name: getattr(typedloops, name) for name in dir(typedloops)}
    loops = {name: thing for name, thing in public.items() if inspect.isclass(thing) and issubclass(thing, Loop)}
    assert {name for name, loop in loops.items() if loop not in tested} == BASES


def walked(root: object) -> Iterator[tuple[str, object]]:
    assert isinstance(root, Loop)
    return root.walk()
