"""What each way to change a fit costs a batch, on the ladder of docs/guide/when_not_to.md.

    python -m benchmarks.rungs [--rounds 15]

Every step does nothing: what takes time is the way.  The ways take turns, and the least time of each counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

import torch

from benchmarks.machine import machine
from benchmarks.timing import least
from benchmarks.workloads import Loader, ManualNullModule, NullBatch, NullModule, bare_loop, null_batches
from typedloops import (
    Callback,
    FitLoopOf,
    OptimizerLoop,
    StepLoop,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
    TrainingModule,
)

STEPS = 100_000

Fit: TypeAlias = Callable[[Loader[NullBatch]], object]
Module: TypeAlias = TrainingModule[NullBatch, None]


class HookedModule(NullModule):
    """Has a hook that does nothing."""

    def on_train_batch_end(self, outputs: object, batch: NullBatch, batch_idx: int) -> None: ...


class Listener(Callback):
    """Listens, and does nothing."""

    def on_train_batch_end(
        self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None: ...


class Overridden(OptimizerLoop[NullBatch, None]):
    """One method overridden, which calls that of the base."""

    def advance(self, model: Module, batch: NullBatch, batch_idx: int) -> None:
        super().advance(model, batch, batch_idx)


class Leaf(StepLoop[Module, NullBatch, None]):
    """A leaf of one's own."""

    def advance(self, model: Module, batch: NullBatch, batch_idx: int) -> None:
        model.training_step(batch, batch_idx)


class Stepwise(TrainingEpochLoop[Module, NullBatch, None]):
    """An epoch whose iteration is overridden, so that it is not driven in one call."""

    def on_advance_end(self) -> None: ...


def default(loader: Loader[NullBatch]) -> object:
    return Trainer(max_epochs=1).fit(NullModule(), loader)


def overridden(loader: Loader[NullBatch]) -> object:
    trainer = Trainer(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Overridden())
    return trainer.fit(NullModule(), loader)


def leaf(loader: Loader[NullBatch]) -> object:
    tree = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(Leaf())), max_epochs=1)
    return Trainer(fit_loop=tree).fit(NullModule(), loader)


def stepwise(loader: Loader[NullBatch]) -> object:
    tree = FitLoopOf(Stepwise(TrainingBatchLoop(OptimizerLoop[NullBatch, None]())), max_epochs=1)
    return Trainer(fit_loop=tree).fit(NullModule(), loader)


WAYS: dict[str, Fit] = {
    "bare for": lambda loader: bare_loop(NullModule().training_step, loader),
    "fit": default,
    "fit, a hook of the module after each batch": lambda loader: Trainer(max_epochs=1).fit(HookedModule(), loader),
    "fit, a callback after each batch": lambda loader: Trainer(max_epochs=1, callbacks=[Listener()]).fit(
        NullModule(), loader
    ),
    "fit, manual optimization": lambda loader: Trainer(max_epochs=1).fit(ManualNullModule(), loader),
    "fit, `advance` of the OptimizerLoop overridden": overridden,
    "fit, a StepLoop of one's own": leaf,
    "fit, `on_advance_end` of the TrainingEpochLoop overridden": stepwise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What each way to change a fit costs a batch.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each way has its turn")
    rounds: int = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(machine())
    loader, best = Loader(null_batches(STEPS)), dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for way, fit in WAYS.items():
            best[way] = min(best[way], least(lambda fit=fit: fit(loader), 1))  # type: ignore[misc]
    for way, seconds in best.items():
        print(f"{way:60} {seconds / STEPS * 1e9:7.0f} ns a batch, {(seconds - best['fit']) / STEPS * 1e9:+7.0f}")


if __name__ == "__main__":
    main()
