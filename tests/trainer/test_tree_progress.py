"""The tree of a trainer shows how far each loop has come, while it runs and afterwards."""

from __future__ import annotations

from tests.modules import Batch, Classifier, batches
from typedloops import Callback, FitLoop, Trainer, TrainerView

AFTER = """\
fit_loop: FitLoop  2/2 epochs
└─ epoch_loop: TrainingEpochLoop  3/3 batches
   ├─ batch_loop: TrainingBatchLoop
   │  ├─ optimizer_loop: OptimizerLoop  6 optimizer steps
   │  └─ manual_loop: ManualOptimization
   └─ val_loop: ValidationLoop  1/1 loaders
      └─ epoch_loop: EvaluationEpochLoop  2/2 batches"""


def test_after_a_fit() -> None:
    trainer = Trainer(max_epochs=2)
    before = str(trainer.fit_loop.tree())
    assert before.splitlines()[0] == "fit_loop: FitLoop"
    trainer.fit(Classifier(), batches(3), batches(2))
    assert str(trainer.fit_loop.tree()) == AFTER


def test_within_one() -> None:
    seen: list[list[str]] = []

    class Looks(Callback[Classifier, Batch]):
        def on_validation_batch_end(
            self, t: TrainerView, m: Classifier, o: object, b: Batch, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            seen.append(str(trainer.fit_loop.tree()).splitlines())

    trainer = Trainer(fit_loop=FitLoop(max_epochs=2), callbacks=[Looks()])
    trainer.fit(Classifier(), batches(3), batches(2))
    assert [seen[-1][row].partition("  ")[2] for row in (0, 1)] == ["1/2 epochs", "3/3 batches"]
    assert seen[-1][-1].endswith("EvaluationEpochLoop  1/2 batches")
    assert seen[-1][-2].endswith("ValidationLoop  0/1 loaders")


def test_what_came_to_an_end_early() -> None:
    trainer = Trainer(max_steps=2)
    trainer.fit(Classifier(), batches(3))
    lines = str(trainer.fit_loop.tree()).splitlines()
    assert lines[1].endswith("TrainingEpochLoop  2/3 batches")
    assert lines[3].endswith("OptimizerLoop  2 optimizer steps")
