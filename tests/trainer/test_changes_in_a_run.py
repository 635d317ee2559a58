"""What may be changed in a tree while it runs, and what is refused."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import Tensor

from tests.modules import Batch, Classifier, batches
from typedloops import (
    Callback,
    FitLoop,
    Loop,
    ManualOptimization,
    OptimizerLoop,
    Slot,
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

    def __init__(self, hook: str, change: Callable[[Any], object]) -> None:
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


class Twice(Loop[[Any, Any], list[int]]):
    """Two fits, one after the other, in one run."""

    fit_loop: Slot[FitLoop] = Slot()

    def __init__(self, fit_loop: FitLoop) -> None:
        self.fit_loop = fit_loop
        self.steps: list[int] = []

    @property
    def done(self) -> bool:
        return len(self.steps) == 2

    def advance(self, model: Any, loader: Any) -> None:
        self.steps.append(self.fit_loop.run(model, loader).optimizer_steps)

    def on_run_end(self) -> list[int]:
        return self.steps


def run(hook: str, change: Callable[[Any], object]) -> Any:
    trainer = Trainer(max_epochs=2, callbacks=[Changing(hook, change)])
    trainer.fit(Classifier(), batches(3), batches(2))
    return trainer


BETWEEN = "Change the tree between two runs of this loop."
INSIDE = "Change its loops between two runs."
REFUSED: dict[str, tuple[str, Callable[[Any], object], str]] = {
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
    "the optimizer loop in a validation": (
        "on_validation_epoch_start",
        lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=OptimizerLoop()),
        f"TrainingBatchLoop.optimizer_loop: TrainingEpochLoop is in the middle of its run. {INSIDE}",
    ),
    "the loop of the trainer, into another tree": (
        "on_train_epoch_start",
        lambda trainer: Twice(trainer.fit_loop),
        f"Twice.fit_loop: this FitLoop is running. {BETWEEN}",
    ),
    "the loop of the epoch in a validation": (
        "on_validation_epoch_start",
        lambda trainer: setattr(trainer.fit_loop, "epoch_loop", epoch_loop()),
        f"FitLoop.epoch_loop: this TrainingEpochLoop is running. {BETWEEN}",
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
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_loop_that_does_not_run_may_be_changed(case: str) -> None:
    trainer = run(*ALLOWED[case])
    assert trainer.global_step == 6
    assert trainer.fit_loop.epoch_progress.total.completed == 2


def test_the_loop_of_the_epoch_cannot_be_exchanged_by_its_own_loader() -> None:
    trainer = Trainer(max_epochs=1)

    def loader() -> Iterator[Batch]:
        trainer.fit_loop.epoch_loop = epoch_loop()
        yield from batches(1)

    with pytest.raises(LoopTreeError, match=r"^FitLoop\.epoch_loop: this TrainingEpochLoop is running"):
        trainer.fit(Classifier(), loader())


class OwnDone(TrainingEpochLoop[Any, Any, Any]):
    """Says for itself when it is done."""

    @property
    def done(self) -> bool:
        return self.batch_progress.current.completed >= 2


def test_a_loop_with_a_done_of_its_own_is_not_taken_to_be_running() -> None:
    fit_loop = FitLoop()
    fit_loop.replace(epoch_loop=OwnDone)
    fit_loop.epoch_loop.val_loop = ValidationLoop()
    trainer = Trainer(max_epochs=1, fit_loop=fit_loop)
    assert trainer.fit(Classifier(), batches(4)).batches == 2
    trainer.fit_loop = FitLoop()


def test_a_loop_put_into_the_tree_in_a_run_is_torn_down_with_it() -> None:
    def exchange(trainer: Any) -> None:
        trainer.fit_loop.epoch_loop = epoch_loop()

    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            raise RuntimeError("on purpose")

    trainer = Trainer(max_epochs=1, callbacks=[Changing("on_train_epoch_start", exchange)])
    model = Failing()
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit(model, batches(3))
    assert not trainer.fit_loop.epoch_loop.at_work
    trainer.fit_loop.epoch_loop = epoch_loop()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


@pytest.mark.parametrize("optimizer_loop", [OptimizerLoop, Unfused])
def test_each_fit_of_a_run_has_its_own_optimizers(optimizer_loop: Callable[[], OptimizerLoop]) -> None:
    fit_loop = FitLoop(max_epochs=1)
    fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=optimizer_loop())
    assert Trainer(fit_loop=Twice(fit_loop)).fit(Classifier(), batches(4)) == [4, 4]


class Rehearsing(TrainingBatchLoop[Any, Any, Any]):
    """Fits the same module on each batch before it is trained on."""

    inner: Slot[FitLoop] = Slot()

    def advance(self, model: Any, batch: Batch, batch_idx: int) -> None:
        self.inner.run(model, [batch])
        super().advance(model, batch, batch_idx)


def test_a_fit_inside_a_fit_of_the_same_module_leaves_the_outer_one_alone() -> None:
    seen: list[tuple[int, int | None, int]] = []

    class Watching(Callback[Classifier, Batch]):
        def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            seen.append((trainer.current_epoch, trainer.max_epochs, trainer.global_step))

    fit_loop = FitLoop(max_epochs=2)
    rehearsing = Rehearsing(OptimizerLoop())
    rehearsing.inner = FitLoop(max_epochs=1)
    fit_loop.epoch_loop.connect(batch_loop=rehearsing)
    result = Trainer(fit_loop=fit_loop, callbacks=[Watching()]).fit(Classifier(), batches(3))
    assert (result.epochs, result.batches, result.optimizer_steps) == (2, 6, 6)
    inner = (0, 1, 1)
    assert seen == [*[inner] * 3, (0, 2, 3), *[inner] * 3, (1, 2, 6)]


class FitsInATest(Loop[[Any, Any], int]):
    """What `trainer.test` may run as well."""

    fit_loop: Slot[FitLoop] = Slot()
    done = False

    def __init__(self) -> None:
        self.fit_loop = FitLoop(max_epochs=2)
        self.steps = 0

    def advance(self, model: Any, loader: Any) -> None:
        self.steps = self.fit_loop.run(model, loader).optimizer_steps
        self.done = True

    def on_run_end(self) -> int:
        return self.steps


def test_a_fit_in_a_run_of_another_kind_is_a_fit() -> None:
    class StopsAtOnce(Callback[Classifier, Batch]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
        ) -> None:
            assert len(trainer.optimizers) == 1
            assert trainer.global_step == 1
            trainer.should_stop = True

    assert Trainer(test_loop=FitsInATest(), callbacks=[StopsAtOnce()]).test(Classifier(), batches(3)) == 1


def test_after_a_run_that_failed_the_tree_may_be_changed() -> None:
    def fail(trainer: object) -> None:
        raise RuntimeError("on purpose")

    trainer = Trainer(max_epochs=1, callbacks=[Changing("on_train_batch_end", fail)])
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit(Classifier(), batches(3))
    trainer.fit_loop.epoch_loop = epoch_loop()
    trainer.fit_loop = FitLoop()
    assert trainer.fit(Classifier(), batches(3)).batches == 3
