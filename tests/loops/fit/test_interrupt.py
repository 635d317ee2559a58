"""Ctrl-C: the first ends a fit in good order, the second at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import Callback, FitLoop, Loop, Slot, StopReason, TrainerView, TrainingEpochLoop
from typedloops.loops.run.interrupt import EvaluationLeft

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

LINE = "interrupted: the fit ends after the batch under way; a second Ctrl-C ends it at once"


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler_is_restored() -> Iterator[None]:
    # Python has its own handler only where the signal is not ignored, as it is in the background of some shells.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


class Recorder(Callback[Classifier]):
    """The hooks of ends, and whatever is done in a hook."""

    def __init__(self, hook: str = "", at: int = 1) -> None:
        self.told: list[str] = []
        self.calls = 0
        if hook:
            setattr(self, hook, lambda *_: self.press_at(at))

    def press_at(self, at: int) -> None:
        self.calls += 1
        if self.calls == at:
            press()

    def on_validation_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.told.append("validation")

    def on_train_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.told.append("train")

    def on_fit_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.told.append("fit")

    def on_exception(self, trainer: TrainerView, module: Classifier, exception: BaseException) -> None:
        self.told.append(type(exception).__name__)

    def teardown(self, trainer: TrainerView, module: Classifier, stage: str) -> None:
        self.told.append("teardown")


class Pressing(Classifier):
    """Presses Ctrl-C in a step."""

    def __init__(self, step: str, at: int, times: int = 1) -> None:
        super().__init__()
        self.step, self.at, self.times = step, at, times
        self.steps = 0

    def pressing(self, step: str) -> None:
        self.steps += step == self.step
        if step == self.step and self.steps == self.at:
            for _ in range(self.times):
                press()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.pressing("training")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.pressing("validation")
        return super().validation_step(batch, batch_idx)


class PlainEpoch(TrainingEpochLoop[Any, Any, Any]):
    def on_advance_end(self) -> None:
        super().on_advance_end()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("settings", [{}, {"min_epochs": 3}, {"min_steps": 20}, {"val_check_interval": 1}])
def test_a_fit_ends_after_the_batch_under_way(
    settings: dict[str, Any], fused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "typedloops")
    model, recorder = Pressing("training", 6), Recorder()
    trainer = Trainer(max_epochs=5, callbacks=[recorder], **settings)
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    result = trainer.fit(model, batches(4), batches(2))
    assert (result.stop_reason, result.epochs, result.batches) == (StopReason.INTERRUPTED, 2, 6)
    assert result.optimizer_steps == 6
    assert recorder.told[-3:] == ["train", "fit", "teardown"]
    assert recorder.told.count("validation") == (5 if settings.get("val_check_interval") else 1)
    said = [record.getMessage() for record in caplog.records if record.name == "typedloops"]
    assert said == [LINE, "fit ended (interrupted): 2 epochs, 6 batches, 6 optimizer steps"]


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ("on_fit_start", (0, 0)),
        ("on_train_start", (0, 0)),
        ("on_train_epoch_start", (1, 0)),
        ("on_train_batch_start", (1, 1)),
        ("on_train_batch_end", (1, 1)),
        ("on_train_epoch_end", (1, 4)),
    ],
)
def test_in_a_hook(hook: str, expected: tuple[int, int]) -> None:
    recorder = Recorder(hook)
    result = Trainer(max_epochs=3, callbacks=[recorder]).fit(Classifier(), batches(4))
    assert result.stop_reason is StopReason.INTERRUPTED
    assert (result.epochs, result.batches) == expected
    assert recorder.told == ["train", "fit", "teardown"]


def test_in_a_loader() -> None:
    def loader() -> Iterator[Batch]:
        yield from batches(2)
        press()
        yield from batches(3)

    result = Trainer(max_epochs=1).fit(Classifier(), loader())
    # Without a length the next batch is fetched before the one at hand is trained on.
    assert (result.stop_reason, result.batches) == (StopReason.INTERRUPTED, 2)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("interval", [1.0, 2])
@pytest.mark.parametrize("several", [False, True])
def test_a_validation_is_left_after_the_batch_under_way(interval: float, several: bool, fused: bool) -> None:
    at_first = 3 + 3 * several
    published: list[list[str]] = []
    model, recorder = Pressing("validation", at_first + 2), Recorder()
    model.net[1].eval()

    class Logged:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            published.append(sorted(metrics))

        def finalize(self, status: str) -> None:
            assert status == "success"

    trainer = Trainer(max_epochs=5, callbacks=[recorder], loggers=[Logged()], val_check_interval=interval)
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    result = trainer.fit(model, batches(4), [Loader(batches(3)), Loader(batches(3))] if several else batches(3))
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.batches == (8 if interval == 1.0 else 4)
    assert model.steps == at_first + 2
    assert recorder.told == ["validation", "train", "fit", "teardown"]
    assert model.training
    assert not model.net[1].training
    assert model.net[0].training
    assert torch.is_grad_enabled()
    validated = ["val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"] if several else ["val_loss"]
    assert [names for names in published if names != ["train_loss"]] == [validated]
    assert trainer.fit(Classifier(), batches(2), batches(1)).batches == 10


@pytest.mark.parametrize("step", ["training", "validation"])
def test_the_second_ends_it_at_once(step: str) -> None:
    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt):
        Trainer(max_epochs=3, callbacks=[recorder]).fit(Pressing(step, 2, times=2), batches(4), batches(2))
    assert recorder.told == ["KeyboardInterrupt", "teardown"]


@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_outside_a_fit_it_is_what_it_always_is(entry: str) -> None:
    recorder = Recorder(f"on_{ {'validate': 'validation'}.get(entry, entry) }_batch_end")
    with pytest.raises(KeyboardInterrupt) as raised:
        getattr(Trainer(callbacks=[recorder]), entry)(Classifier(), batches(3))
    assert type(raised.value) is KeyboardInterrupt
    assert recorder.told == ["KeyboardInterrupt", "teardown"]


def test_in_a_sanity_check() -> None:
    model, recorder = Pressing("validation", 1), Recorder()
    trainer = Trainer(max_epochs=2, num_sanity_val_steps=2, callbacks=[recorder])
    result = trainer.fit(model, batches(2), batches(2))
    assert (result.stop_reason, result.batches, model.steps) == (StopReason.INTERRUPTED, 0, 1)
    assert recorder.told == ["train", "fit", "teardown"]
    assert not trainer.sanity_checking


def test_a_plateau_that_waits_for_the_validation_that_was_left() -> None:
    class Plateau(Pressing):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}

    for step in ("training", "validation"):
        result = Trainer(max_epochs=3).fit(Plateau(step, 1), batches(4), batches(2))
        assert result.stop_reason is StopReason.INTERRUPTED
        assert result.epochs == 1


def test_an_open_window_of_gradients_is_no_slip_of_the_step() -> None:
    result = Trainer(max_epochs=3, accumulate_grad_batches=4).fit(Pressing("training", 2), batches(8))
    assert (result.batches, result.optimizer_steps) == (2, 0)


def test_the_handler_is_restored_after_an_exception() -> None:
    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Trainer(max_epochs=1).fit(Failing(), batches(1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_handler_stays() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: came.append(signum))
    try:
        assert Trainer(max_epochs=1).fit(Pressing("training", 1), batches(3)).stop_reason is StopReason.MAX_EPOCHS
        assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_put_there_during_the_fit_stays() -> None:
    def mine(signum: int, frame: object) -> None: ...

    class Installing(Callback):
        def on_train_start(self, trainer: TrainerView, module: Any) -> None:
            signal.signal(signal.SIGINT, mine)

    Trainer(max_epochs=1, callbacks=[Installing()]).fit(Classifier(), batches(1))
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is mine


def test_in_another_thread_nothing_is_installed() -> None:
    seen: list[object] = []

    class Watching(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            seen.append(signal.getsignal(signal.SIGINT))
            return super().training_step(batch, batch_idx)

    thread = threading.Thread(target=lambda: Trainer(max_epochs=1).fit(Watching(), batches(1)))
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class Inside(Callback[Classifier]):
    """Fits another module in a hook, and presses Ctrl-C in there."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.inner: list[Any] = []

    def on_train_batch_end(self, trainer: TrainerView, module: Classifier, *args: object) -> None:
        before = signal.getsignal(signal.SIGINT)
        self.inner.append(Trainer(max_epochs=2).fit(Pressing("training", 2, self.times), batches(3)))
        assert signal.getsignal(signal.SIGINT) is before


def test_a_fit_inside_a_fit_is_ended_with_the_one_around_it() -> None:
    inside = Inside(times=1)
    result = Trainer(max_epochs=2, callbacks=[inside]).fit(Classifier(), batches(4))
    assert [(each.stop_reason, each.batches) for each in inside.inner] == [(StopReason.INTERRUPTED, 2)]
    assert (result.stop_reason, result.batches) == (StopReason.INTERRUPTED, 1)
    with pytest.raises(KeyboardInterrupt):
        Trainer(max_epochs=2, callbacks=[Inside(times=2)]).fit(Classifier(), batches(4))


def test_an_interrupted_fit_leaves_the_loop_around_it_that_runs_the_same_module() -> None:
    class Twice(Loop[[Any, Any], list[StopReason]]):
        fit_loop: Slot[FitLoop] = Slot()

        def __init__(self) -> None:
            self.fit_loop = FitLoop(max_epochs=2)
            self.reasons: list[StopReason] = []

        @property
        def done(self) -> bool:
            return len(self.reasons) == 2

        def advance(self, model: Any, data: Any) -> None:
            self.reasons.append(self.fit_loop.run(model, data).stop_reason)

        def on_run_end(self) -> list[StopReason]:
            return self.reasons

    loop, module = Twice(), Pressing("training", 2)
    trainer = Trainer(fit_loop=loop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(module, batches(3))
    assert loop.reasons == []
    assert trainer.fit(module, batches(3)) == [StopReason.MAX_EPOCHS] * 2, "nothing of it is left on the next run"


def test_an_evaluation_that_a_hook_runs_itself_is_a_keyboard_interrupt() -> None:
    class Evaluating(Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.fit_loop.epoch_loop.val_loop.run(module, batches(3))

    recorder = Recorder()
    with pytest.raises(KeyboardInterrupt) as raised:
        Trainer(max_epochs=1, callbacks=[Evaluating(), recorder]).fit(Pressing("validation", 2), batches(1), None)
    assert type(raised.value) is EvaluationLeft
    assert recorder.told == ["EvaluationLeft", "teardown"]


class Killing(Dataset[int]):
    """Sends its own process a `SIGINT`, as the terminal does to all of a group."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> int:
        if os.getpid() != self.parent and index == 0:
            press()
        return index


def test_a_forked_worker_goes_on() -> None:
    class Numbers(Classifier):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:  # type: ignore[override]
            return self.net[0].weight.sum()  # type: ignore[operator]

    context = torch.multiprocessing.get_context("fork")
    loader = DataLoader(Killing(os.getpid()), batch_size=3, num_workers=1, multiprocessing_context=context)
    assert Trainer(max_epochs=1).fit(Numbers(), loader).stop_reason is StopReason.MAX_EPOCHS


class Ended(Exception):
    pass


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"max_epochs": 2}, "fit ended (max_epochs): 2 epochs, 6 batches, 6 optimizer steps"),
        ({"max_steps": 4}, "fit ended (max_steps): 2 epochs, 4 batches, 4 optimizer steps"),
        (
            {"max_epochs": 1, "accumulate_grad_batches": 2},
            "fit ended (max_epochs): 1 epochs, 3 batches, 2 optimizer steps",
        ),
        ({"limit_train_batches": 0}, "fit ended (no_batches): 0 epochs, 0 batches, 0 optimizer steps"),
    ],
)
def test_one_line_is_logged_of_the_end(settings: dict[str, Any], line: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "typedloops")
    Trainer(**settings).fit(Classifier(), batches(3), batches(1))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("INFO", line)]


def test_a_fit_that_fails_logs_no_end(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            raise Ended

    caplog.set_level(logging.INFO, "typedloops")
    run: Callable[[], object] = lambda: Trainer(max_epochs=1).fit(Failing(), batches(1))  # noqa: E731
    with pytest.raises(Ended):
        run()
    assert caplog.records == []


def test_other_schedulers_step_where_a_plateau_cannot() -> None:
    class Both(Pressing):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return [optimizer], [{"scheduler": plateau, "monitor": "val_loss"}, self.schedule]

    model = Both("training", 1)
    assert Trainer(max_epochs=3).fit(model, batches(2), batches(1)).stop_reason is StopReason.INTERRUPTED
    assert model.schedule.last_epoch == 1
