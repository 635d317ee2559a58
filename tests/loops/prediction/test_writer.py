"""Predictions that a writer takes."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, PredictionLoop, TrainerView, WrittenPredictions
from typedloops.errors import EscapedStopIteration, HookError, MisuseError, ModuleError

# Much here is wrong on purpose.
Trainer: Any = typedloops.Trainer


class Keeping:
    """A writer that keeps everything, in a log that others share."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def write(self, prediction: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        self.log.append((prediction, batch, batch_idx, dataloader_idx))


class Closing(Keeping):
    def write(self, prediction: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        self.log.append(f"write {dataloader_idx}.{batch_idx}")

    def close(self) -> None:
        self.log.append("close")


class Managed(Closing):
    """Its `close` is for others to call."""

    def __enter__(self) -> None:
        self.log.append("enter")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        self.log.append(f"exit {None if kind is None else kind.__name__}")
        return True  # it would like to swallow the error


class Failing(Classifier):
    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if batch_idx == 1:
            raise ZeroDivisionError("in the step")
        return super().predict_step(batch, batch_idx)


@pytest.mark.parametrize("kind", [Loader, Stream])
@pytest.mark.parametrize("host", ["trainer", "loop"])
def test_what_is_written_is_what_would_be_returned(kind: Any, host: str) -> None:
    model, loader, writer = Classifier(), batches(3), Keeping()
    predict = Trainer().predict if host == "trainer" else PredictionLoop().run
    assert predict(model, kind(loader), writer=writer) == WrittenPredictions((3,))
    expected = Trainer().predict(model, kind(loader))
    for index, (prediction, batch, batch_idx, dataloader_idx) in enumerate(writer.log):
        assert torch.equal(prediction, expected[index])
        assert batch is loader[index]
        assert (batch_idx, dataloader_idx) == (index, 0)


def test_several_loaders_and_limits() -> None:
    writer = Keeping()
    trainer = Trainer(limit_predict_batches=[1, 1.0, 0])
    result = trainer.predict(Classifier(), [Loader(batches(4)), Loader(batches(2)), Loader(batches(1))], writer=writer)
    assert result == WrittenPredictions((1, 2, 0))
    assert result.batches == 3
    assert [place for _, _, *place in writer.log] == [[0, 0], [0, 1], [1, 1]]


def test_a_prediction_of_none_is_written_as_well() -> None:
    class Silent(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            return None

    writer = Keeping()
    assert Trainer().predict(Silent(), batches(2), writer=writer).batches == 2
    assert [prediction for prediction, *_ in writer.log] == [None, None]


def test_the_batch_is_that_of_the_step() -> None:
    class Doubling(Classifier):
        def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
            return batch[0] * 2, batch[1]

    writer, (batch,) = Keeping(), batches(1)
    Trainer().predict(Doubling(), [batch], writer=writer)
    assert torch.equal(writer.log[0][1][0], batch[0] * 2)


class Prediction:
    """Something that can be asked whether it is still there."""


@pytest.mark.parametrize("written", [True, False])
def test_no_prediction_is_kept_alive(written: bool) -> None:
    alive: weakref.WeakSet[Prediction] = weakref.WeakSet()
    most: list[int] = []

    class Predicting(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:  # type: ignore[override]
            gc.collect()
            most.append(len(alive))
            alive.add(made := Prediction())
            return made

    class Forgetting:
        def write(self, prediction: Prediction, batch: object, batch_idx: int, dataloader_idx: int) -> None: ...

    def endless() -> Iterator[Batch]:
        while True:
            yield from batches(1)

    trainer = Trainer(limit_predict_batches=100)
    result = trainer.predict(Predicting(), endless(), writer=Forgetting() if written else None)
    assert most == ([0] * 100 if written else list(range(100)))
    gc.collect()
    assert len(alive) == (0 if written else 100)
    assert len(result) == 100 if not written else result.batches == 100


class Hearing(Callback[Classifier]):
    """Writes into the log of the writer when it is called."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def on_predict_epoch_start(self, trainer: TrainerView, module: Classifier) -> None:
        self.log.append("epoch start")

    def on_predict_batch_end(self, trainer: TrainerView, module: Classifier, *args: object) -> None:
        self.log.append("batch end")

    def on_predict_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.log.append("epoch end")

    def on_exception(self, trainer: TrainerView, module: Classifier, exception: BaseException) -> None:
        self.log.append("exception")


ONE_RUN = ["write 0.0", "batch end", "write 0.1", "batch end"]


@pytest.mark.parametrize(("kind", "before", "after"), [(Closing, [], ["close"]), (Managed, ["enter"], ["exit None"])])
def test_it_is_opened_before_the_first_batch_and_closed_before_the_last_hooks(
    kind: Any, before: list[str], after: list[str]
) -> None:
    writer = kind()
    trainer = Trainer(callbacks=[Hearing(writer.log)])
    for _ in range(2):
        trainer.predict(Classifier(), batches(2), writer=writer)
    assert writer.log == ["epoch start", *before, *ONE_RUN, *after, "epoch end"] * 2


@pytest.mark.parametrize(
    ("kind", "before", "after"), [(Closing, [], "close"), (Managed, ["enter"], "exit ZeroDivisionError")]
)
def test_after_an_error_it_is_closed_and_cannot_swallow_it(kind: Any, before: list[str], after: str) -> None:
    writer = kind()
    trainer = Trainer(callbacks=[Hearing(writer.log)])
    with pytest.raises(ZeroDivisionError, match="in the step"):
        trainer.predict(Failing(), batches(3), writer=writer)
    assert writer.log == ["epoch start", *before, "write 0.0", "batch end", "exception", after]
    assert isinstance(trainer.predict(Classifier(), batches(1)), list)


def test_an_error_of_closing_is_a_note_of_the_one_that_ended_the_run() -> None:
    class Stuck(Closing):
        def close(self) -> None:
            raise OSError("the disk is full")

    with pytest.raises(ZeroDivisionError) as caught:
        Trainer().predict(Failing(), batches(2), writer=Stuck())
    assert "the end of the writer raised as well: OSError('the disk is full')" in caught.value.__notes__
    with pytest.raises(OSError, match="the disk is full"):
        Trainer().predict(Classifier(), batches(2), writer=Stuck())


def test_an_error_of_writing_ends_the_run_and_says_where() -> None:
    class Full(Managed):
        def write(self, prediction: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
            raise OSError("the disk is full")

    writer = Full()
    with pytest.raises(OSError, match="the disk is full") as caught:
        Trainer().predict(Classifier(), batches(2), writer=writer)
    assert writer.log == ["enter", "exit OSError"]
    assert any("predict dataloader" in note or "batch 0" in note for note in caught.value.__notes__)


def test_a_writer_is_not_entered_for_a_module_or_loaders_that_do_not_fit() -> None:
    writer = Managed()
    with pytest.raises(ModuleError):
        Trainer().predict(torch.nn.Linear(1, 1), batches(1), writer=writer)
    with pytest.raises(MisuseError):
        Trainer(limit_predict_batches=[1, 2]).predict(Classifier(), batches(1), writer=writer)
    assert writer.log == []


def test_a_run_that_is_refused_inside_leaves_the_writer_of_the_one_under_way() -> None:
    outer, inner = Closing(), Closing()

    class Nested(Callback[Classifier]):
        def on_predict_batch_end(self, trainer: Any, module: Classifier, *args: object) -> None:
            with pytest.raises(MisuseError, match="it is already running"):
                trainer.predict(module, batches(1), writer=inner)

    Trainer(callbacks=[Nested()]).predict(Classifier(), batches(2), writer=outer)
    assert outer.log == ["write 0.0", "write 0.1", "close"]
    assert inner.log == []


class Narrow:
    def write(self, prediction: object, batch: object, batch_idx: int) -> None: ...


class Stops(Keeping):
    def write(self, prediction: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        raise StopIteration


CASES: dict[str, tuple[object, type[MisuseError], str]] = {
    "a list": (
        [],
        HookError,
        r"writer: a list: it has no method `write`\. Define `def write\(self, pred",
    ),
    "a class": (Keeping, HookError, r"writer: Keeping: it is a class\. Give an instance: Keeping\(\.\.\.\)"),
    "other parameters": (
        Narrow(),
        HookError,
        r"Narrow\.write: it cannot be called as a writer is: too many positional arguments\. Define `def write\(self",
    ),
    "a file": (io.StringIO(), HookError, r"StringIO\.write: it cannot be called as a writer is: too many positional"),
    "StopIteration": (Stops(), EscapedStopIteration, r"Stops\.write: StopIteration escaped from it"),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    writer, kind, message = CASES[case]
    with pytest.raises(kind, match=f"^{message}"):
        Trainer().predict(Classifier(), batches(1), writer=writer)
