"""The progress bar."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor

from tests.modules import Batch, Classifier, batches
from typedloops import (
    Callback,
    FitLoopOf,
    Loop,
    LoopProtocol,
    Slot,
    Trainer,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
)
from typedloops.callbacks import ProgressBar
from typedloops.errors import MissingExtraError


def lines(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    trainer = Trainer(max_epochs=2, callbacks=[ProgressBar(console)])
    model = Classifier()
    trainer.fit(model, batches(3), batches(1))
    trainer.validate(model, batches(1))
    trainer.test(model, batches(2))
    trainer.predict(model, batches(4))
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_without_a_terminal_each_epoch_has_a_line() -> None:
    first, second = lines(terminal=False).splitlines()
    assert first.startswith("epoch 1/2  ")
    assert second.startswith("epoch 2/2  ")
    assert "train_loss" in second
    assert "val_loss" in second


def test_on_a_terminal_every_loader_has_a_bar() -> None:
    text = lines(terminal=True)
    for what in ("epoch 1/2", "epoch 2/2, validate", "validate", "test", "predict", "0/3", "0/4"):
        assert what in text


def test_after_a_validation_within_an_epoch_the_bar_is_that_of_the_epoch_again() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    trainer = Trainer(max_epochs=1, val_check_interval=2, num_sanity_val_steps=1, callbacks=[ProgressBar(console)])
    trainer.fit(Classifier(), batches(5), batches(3))
    written = console.file
    assert isinstance(written, io.StringIO)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())
    shown = re.findall(r"(sanity check|epoch 1/1, validate|epoch 1/1) [^\r\n]*?(\d)/(\d)", plain)
    begun = [first for first, before in zip(shown, [("", "", ""), *shown], strict=False) if first[0] != before[0]]
    assert begun == [
        ("sanity check", "0", "1"),
        ("epoch 1/1", "0", "5"),
        ("epoch 1/1, validate", "0", "3"),
        ("epoch 1/1", "2", "5"),
        ("epoch 1/1, validate", "0", "3"),
        ("epoch 1/1", "4", "5"),
    ]


def test_rich_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr("typedloops.callbacks.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"ProgressBar: it needs the package rich\. .*typedloops\[rich\]"):
        ProgressBar()


@pytest.mark.parametrize(("batch", "begun"), [(4, "epoch 1/1 [^\r\n]*?4/6"), (0, "epoch 1/1, validate [^\r\n]*?1/3")])
def test_a_run_that_goes_on_in_the_middle(tmp_path: Path, batch: int, begun: str) -> None:
    class Saves(Callback[Classifier, Batch]):
        def on_train_batch_end(self, t: TrainerView, m: Classifier, o: object, b: Batch, batch_idx: int) -> None:
            if batch_idx + 1 == batch:
                t.save_checkpoint(tmp_path / "c")

        def on_validation_batch_end(
            self, t: TrainerView, m: Classifier, o: object, b: Batch, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            if batch == batch_idx == 0:
                t.save_checkpoint(tmp_path / "c")

    Trainer(max_epochs=1, callbacks=[Saves()]).fit(Classifier(), batches(6), batches(3))
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    Trainer(max_epochs=1, callbacks=[ProgressBar(console)]).fit(
        Classifier(), batches(6), batches(3), ckpt_path=tmp_path / "c"
    )
    written = console.file
    assert isinstance(written, io.StringIO)
    assert re.search(begun, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()))


class Twice(Loop[[Classifier, Batch, int], Tensor]):
    """Calls the step twice for each batch."""

    total_iterations = 2

    @property
    def done(self) -> bool:
        return self.completed_iterations == 2

    def advance(self, model: Classifier, batch: Batch, batch_idx: int) -> None:
        self.loss = model.training_step(batch, batch_idx)

    def on_run_end(self) -> Tensor:
        return self.loss


class Repeats(Loop[[int], None]):
    """Fits a new module three times."""

    fit_loop: Slot[FitLoopOf[Classifier, Batch, Tensor]] = Slot()
    iteration_unit = "repeats"
    total_iterations = 3

    def __init__(self) -> None:
        leaf: LoopProtocol[[Classifier, Batch, int], Tensor] = Twice()
        self.fit_loop = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(leaf)), max_epochs=1)

    @property
    def done(self) -> bool:
        return self.completed_iterations == 3

    def advance(self, batch_count: int) -> None:
        self.fit_loop.run(Classifier(), batches(batch_count), None)


def text_of(trainer_of: Console, *callbacks: Callback[Classifier]) -> str:
    Trainer(fit_loop=Repeats(), callbacks=[ProgressBar(trainer_of), *callbacks]).fit(2)
    written = trainer_of.file
    assert isinstance(written, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue())


def test_loops_around_a_fit_have_a_bar_each() -> None:
    text = text_of(Console(file=io.StringIO(), force_terminal=True, width=100))
    counts = re.findall(r"fit_loop, repeats [^\r\n]*?(\d)/3", text)
    assert list(dict.fromkeys(counts)) == ["0", "1", "2"]
    assert re.search(r"epoch 1/1 [^\r\n]*?0/2", text)


def test_loops_around_a_fit_are_told_with_each_epoch_without_a_terminal() -> None:
    lines = text_of(Console(file=io.StringIO(), width=100)).splitlines()
    assert [line.partition("  train_loss")[0] for line in lines] == [
        f"fit_loop {repeat}/3 repeats  epoch 1/1" for repeat in range(3)
    ]


def test_a_callback_sees_the_loops_under_way() -> None:
    seen: list[list[str]] = []

    class Looks(Callback[Classifier]):
        def on_train_batch_end(self, t: TrainerView, m: Classifier, o: object, b: object, batch_idx: int) -> None:
            seen.append([f"{loop.path} {loop.run_progress}" for loop in t.running_loops])

    text_of(Console(file=io.StringIO(), width=100), Looks())
    assert seen[-1] == [
        "fit_loop 2/3 repeats",
        "fit_loop.fit_loop 0/1 epochs",
        "fit_loop.fit_loop.epoch_loop 1/2 batches",
    ]
    assert list(Trainer().running_loops) == []
