"""Saving and going on, as a type checker sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import assert_type

from torch import Tensor

from tests.typing.good.models import Classifier, batches
from typedloops import Callback, EvaluationResult, FitResult, ModuleHooks, Trainer, TrainerView
from typedloops.callbacks import ModelCheckpoint
from typedloops.checkpoint import DistributedFormat, FolderFormat, Manifest, describe, load_weights
from typedloops.loops.run.saving.occasions import SavesOnException, SavesOnSignals
from typedloops.loops.run.saving.sources import FindsCheckpoints
from typedloops.protocols import CheckpointFormat

model, data = Classifier(), batches()
saves = ModelCheckpoint(
    "runs",
    "{epoch}-{val_loss:.2f}",
    monitor="val_loss",
    mode="max",
    save_top_k=3,
    save_last="link",
    every_n_train_steps="100st",
    train_time_interval=timedelta(minutes=10),
    save_on_signals=["SIGTERM"],
    save_on_exception=True,
    asynchronous=True,
)
on_signals: SavesOnSignals = saves
on_exception: SavesOnException = saves
finds: FindsCheckpoints = saves
formats: list[CheckpointFormat] = [FolderFormat(), DistributedFormat()]
trainer = Trainer(callbacks=[saves], checkpoint_format=formats[0])


def never_run() -> None:
    """There is nothing to go on from."""
    assert_type(trainer.fit(model, data, ckpt_path="last"), FitResult[Tensor])
    assert_type(trainer.fit(model, data, ckpt_path="last_if_any"), FitResult[Tensor])
    assert_type(trainer.fit(model, data, data, ckpt_path=Path("here"), exact=True), FitResult[Tensor])
    assert_type(trainer.validate(model, data, ckpt_path="best"), EvaluationResult)
    assert_type(trainer.test(model, data, ckpt_path="best"), EvaluationResult)
    assert_type(trainer.predict(model, data, ckpt_path="best"), list[Tensor])
    assert_type(describe("here"), Manifest)
    assert_type(load_weights(Path("here")), dict[str, Tensor])
    trainer.load_checkpoint("here", exact=True)


def written(path: Path) -> None: ...


when_written: Callable[[Path], None] = written


def never_run_either() -> None:
    trainer.save_checkpoint("here", weights_only=True, asynchronous=True, when_written=when_written)


class Counts(Callback[Classifier]):
    """Has a state, and adds to what is saved."""

    count = 0

    def state_dict(self) -> dict[str, object]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None: ...

    def on_save_checkpoint(self, trainer: TrainerView, module: Classifier, checkpoint: dict[str, object]) -> None:
        checkpoint["mine"] = 1
        trainer.save_checkpoint("elsewhere")

    def on_load_checkpoint(self, trainer: TrainerView, module: Classifier, checkpoint: dict[str, object]) -> None: ...


class Module(ModuleHooks):
    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None: ...
    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None: ...


Trainer(callbacks=[Counts()])
