"""What may be changed in a tree while it runs, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.modules import Batch, Classifier, batches
from typedloops import (
    Callback,
    FitLoop,
    ManualOptimization,
    OptimizerLoop,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
    ValidationLoop,
)
from typedloops import Trainer as TypedTrainer
from typedloops.errors import LoopTreeError

# The loops here are connected wherever they fit at run time.
Trainer: Any = TypedTrainer


def epoch_loop() -> TrainingEpochLoop[Any, Any, Any]:
    return TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop(), ManualOptimization()))


class Changing(Callback[Classifier, Batch]):
    """Changes something at one place of the first epoch."""

    def __init__(self, hook: str, change: Callable[[Any], None]) -> None:
        self.hook = hook
        self.change = change
        self.changed = False

    def at(self, hook: str, trainer: TrainerView) -> None:
        if hook == self.hook and not self.changed:
            self.changed = True
            self.change(trainer)

    def on_train_epoch_start(self, trainer: TrainerView, module: Classifier) -> None:
        self.at("on_train_epoch_start", trainer)

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.at("on_train_batch_end", trainer)

    def on_validation_epoch_start(self, trainer: TrainerView, module: Classifier) -> None:
        self.at("on_validation_epoch_start", trainer)


def run(hook: str, change: Callable[[Any], None]) -> Any:
    trainer = Trainer(max_epochs=2, callbacks=[Changing(hook, change)])
    trainer.fit(Classifier(), batches(3), batches(2))
    return trainer


BETWEEN = "Change the tree between two runs of this loop."
INSIDE = "Change its loops between two runs."
REFUSED: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "the loop of the trainer": (
        "on_train_epoch_start",
        lambda trainer: setattr(trainer, "fit_loop", FitLoop()),
        f"trainer.fit_loop: this FitLoop is running. {BETWEEN}",
    ),
    "the loop of the epoch": (
        "on_train_batch_end",
        lambda trainer: setattr(trainer.fit_loop, "epoch_loop", epoch_loop()),
        f"FitLoop.epoch_loop: this TrainingEpochLoop is running. {BETWEEN}",
    ),
    "a loop that the epoch has looked up": (
        "on_train_batch_end",
        lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=OptimizerLoop()),
        f"TrainingBatchLoop.optimizer_loop: TrainingEpochLoop is in the middle of its run. {INSIDE}",
    ),
    "by its class": (
        "on_train_batch_end",
        lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.replace(optimizer_loop=OptimizerLoop),
        f"TrainingBatchLoop.optimizer_loop: TrainingEpochLoop is in the middle of its run. {INSIDE}",
    ),
    "the loop of the epoch, by its class": (
        "on_train_batch_end",
        lambda trainer: trainer.fit_loop.replace(epoch_loop=TrainingEpochLoop),
        f"FitLoop.epoch_loop: this TrainingEpochLoop is running. {BETWEEN}",
    ),
    "the validation in a validation": (
        "on_validation_epoch_start",
        lambda trainer: trainer.fit_loop.epoch_loop.connect(val_loop=ValidationLoop()),
        f"TrainingEpochLoop.val_loop: this ValidationLoop is running. {BETWEEN}",
    ),
    "the loop of the epoch in a validation": (
        "on_validation_epoch_start",
        lambda trainer: setattr(trainer.fit_loop, "epoch_loop", epoch_loop()),
        f"FitLoop.epoch_loop: this ValidationLoop is running. {BETWEEN}",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_loop_cannot_be_taken_out_of_its_run(case: str) -> None:
    hook, change, message = REFUSED[case]
    with pytest.raises(LoopTreeError) as refused:
        run(hook, change)
    assert str(refused.value) == message


ALLOWED: dict[str, tuple[str, Callable[[Any], None]]] = {
    "the loop of the epoch, before it": (
        "on_train_epoch_start",
        lambda trainer: setattr(trainer.fit_loop, "epoch_loop", epoch_loop()),
    ),
    "a loop below it, before it": (
        "on_train_epoch_start",
        lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=OptimizerLoop()),
    ),
    "another loop of the trainer": (
        "on_train_batch_end",
        lambda trainer: setattr(trainer, "validate_loop", ValidationLoop()),
    ),
    "the optimizer loop in a validation": (
        "on_validation_epoch_start",
        lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=OptimizerLoop()),
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_loop_that_does_not_run_may_be_changed(case: str) -> None:
    trainer = run(*ALLOWED[case])
    assert trainer.global_step == 6
    assert trainer.fit_loop.epoch_progress.total.completed == 2


def test_after_a_run_that_failed_the_tree_may_be_changed() -> None:
    def fail(trainer: object) -> None:
        raise RuntimeError("on purpose")

    trainer = Trainer(max_epochs=1, callbacks=[Changing("on_train_batch_end", fail)])
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit(Classifier(), batches(3))
    trainer.fit_loop.epoch_loop = epoch_loop()
    trainer.fit_loop = FitLoop()
    assert trainer.fit(Classifier(), batches(3)).batches == 3
