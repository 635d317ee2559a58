"""Saving when a signal comes, and when an exception ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import typedloops
from tests.modules import Batch, Classifier, batches
from tests.saving.test_saved_runs import Folds, make
from typedloops import Callback, StopReason, TrainerView
from typedloops.checkpoint import FolderFormat
from typedloops.errors import CheckpointError

Trainer: Any = typedloops.Trainer


class Saves(Callback[nn.Module]):
    """Says where to save when something comes from outside, and sends signals to itself."""

    def __init__(self, folder: Path, signals: Collection[int] = (), *, on_exception: bool = False) -> None:
        self.folder = folder
        self.save_on_signals = signals
        self.save_on_exception = on_exception
        self.send: dict[int, int] = {}
        self.batches = 0

    def path_for_signal(self, trainer: TrainerView, signum: int) -> Path:
        return self.folder / signal.Signals(signum).name

    def path_for_exception(self, trainer: TrainerView) -> Path:
        return self.folder / "exception"

    def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
        self.batches += 1
        if self.batches in self.send:
            os.kill(os.getpid(), self.send[self.batches])


def fitted(**settings: Any) -> tuple[Any, Classifier]:
    torch.manual_seed(1)
    module = Classifier()
    return Trainer(max_epochs=2, **settings).fit(module, batches(), batches(2)), module


def goes_on(path: Path) -> tuple[Any, Classifier]:
    torch.manual_seed(99)
    module = Classifier()
    return Trainer(max_epochs=2).fit(module, batches(), batches(2), ckpt_path=path), module


def check_exact(path: Path) -> None:
    expected, whole = fitted()
    result, module = goes_on(path)
    assert result == expected
    assert all(map(torch.equal, whole.state_dict().values(), module.state_dict().values()))


@pytest.mark.usefixtures("handlers")
def test_after_sigusr1_the_run_goes_on_and_the_handler_before_hears_of_it(tmp_path: Path) -> None:
    heard: list[int] = []

    def handler(signum: int, frame: FrameType | None) -> None:
        heard.append(signum)

    signal.signal(signal.SIGUSR1, handler)
    saves = Saves(tmp_path, [signal.SIGUSR1])
    saves.send = {3: signal.SIGUSR1}
    result, _ = fitted(callbacks=[saves])
    assert result.stop_reason is StopReason.MAX_EPOCHS
    assert heard == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) is handler
    about: Any = FolderFormat().load(tmp_path / "SIGUSR1")["about"]
    assert (about["step"], about["note"]) == (3, "")
    check_exact(tmp_path / "SIGUSR1")


@pytest.mark.usefixtures("handlers")
def test_sigterm_ends_the_fit_in_good_order_and_is_delivered_afterwards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    saves = Saves(tmp_path, [signal.SIGTERM])
    saves.send = {3: signal.SIGTERM}
    result, _ = fitted(callbacks=[saves])
    assert (result.stop_reason, result.optimizer_steps) == (StopReason.INTERRUPTED, 3)
    assert heard == [signal.SIGTERM]
    assert caplog.messages[0] == (
        "SIGTERM: the run is saved after the batch under way, and ends; a second one ends it at once"
    )
    check_exact(tmp_path / "SIGTERM")


@pytest.mark.usefixtures("handlers")
def test_ctrl_c_saves_and_ends_the_fit(tmp_path: Path) -> None:
    saves = Saves(tmp_path, [signal.SIGINT])
    saves.send = {6: signal.SIGINT}
    result, _ = fitted(callbacks=[saves])
    assert (result.stop_reason, result.optimizer_steps) == (StopReason.INTERRUPTED, 6)
    check_exact(tmp_path / "SIGINT")


@pytest.mark.usefixtures("handlers")
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    class Twice(Saves):
        def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
            super().on_before_backward(trainer, module, loss)
            super().on_before_backward(trainer, module, loss)

    saves = Twice(tmp_path, [signal.SIGINT])
    saves.send = {3: signal.SIGINT, 4: signal.SIGINT}
    with pytest.raises(KeyboardInterrupt):
        fitted(callbacks=[saves])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_a_signal_in_a_validation(tmp_path: Path) -> None:
    class InValidation(Saves):
        def on_validation_batch_start(
            self, t: TrainerView, m: nn.Module, b: object, batch_idx: int, d: int = 0
        ) -> None:
            if batch_idx == 1 and t.current_epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    result, _ = fitted(callbacks=[InValidation(tmp_path, [signal.SIGTERM])])
    assert result.stop_reason is StopReason.INTERRUPTED
    check_exact(tmp_path / "SIGTERM")


@pytest.mark.usefixtures("handlers")
def test_in_another_thread_no_handler_is_touched(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    seen: list[object] = []

    class Looks(Saves):
        def on_train_start(self, trainer: TrainerView, module: nn.Module) -> None:
            seen.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=lambda: fitted(callbacks=[Looks(tmp_path, [signal.SIGUSR1])]))
    thread.start()
    thread.join()
    assert seen == [before]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.saving.test_occasions import Saves, fitted
saves = Saves(Path(sys.argv[1]), [signal.SIGTERM])
saves.send = {5: signal.SIGTERM}
fitted(callbacks=[saves])
print("not reached")
"""


def test_a_process_that_is_asked_to_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    check_exact(tmp_path / "SIGTERM")


# Exceptions


class Fails(Exception):
    pass


class FailsIn(Callback[nn.Module]):
    """Fails in a hook when it is called for the n-th time."""

    def __init__(self, hook: str, time: int) -> None:
        def fail(*_: object) -> None:
            self.calls += 1
            if self.calls == time:
                raise Fails

        self.calls = 0
        setattr(self, hook, fail)


def failed(folder: Path, hook: str, time: int) -> None:
    with pytest.raises(Fails):
        fitted(callbacks=[FailsIn(hook, time), Saves(folder, on_exception=True)])


@pytest.mark.parametrize(
    ("hook", "time", "told", "steps"),
    [
        ("on_train_batch_start", 3, "it was in the middle of batch 2: it is run again from its beginning", 8),
        ("on_before_backward", 3, "it was in the middle of batch 2: it is run again from its beginning", 8),
        ("on_train_batch_end", 3, "it was in the middle of batch 2: hooks after it are not called", 8),
        ("on_validation_batch_end", 1, "it was in the middle of batch 0: hooks after it are not called", 8),
        ("on_validation_epoch_end", 1, "the hook that was called is called again", 8),
        ("on_train_epoch_end", 2, "the hook that was called is called again", 8),
    ],
)
def test_a_run_that_an_exception_ends(tmp_path: Path, hook: str, time: int, told: str, steps: int) -> None:
    failed(tmp_path, hook, time)
    path = tmp_path / "exception"
    note = f"it was saved when Fails ended the run, and {told}"
    with pytest.raises(CheckpointError) as error:
        Trainer(max_epochs=2).fit(Classifier(), batches(), batches(2), ckpt_path=path, exact=True)
    assert str(error.value) == f"{path}: no run goes on from it exactly: {note}. Give an older one."
    with pytest.warns(UserWarning, match="exactly") as warned:
        result, _ = goes_on(path)
    assert str(warned[0].message) == f"{path}: the run does not go on from it exactly: {note}."
    assert (result.epochs, result.batches, result.optimizer_steps) == (2, 8, steps)


def test_outside_of_batches_nothing_is_lost(tmp_path: Path) -> None:
    failed(tmp_path, "on_validation_epoch_end", 2)
    expected, whole = fitted()
    with pytest.warns(UserWarning, match="called again"):
        result, module = goes_on(tmp_path / "exception")
    assert result == expected
    assert all(map(torch.equal, whole.state_dict().values(), module.state_dict().values()))


def test_what_is_asked_for_when_the_exception_is_told(tmp_path: Path) -> None:
    class Asks(Callback[nn.Module]):
        def on_exception(self, trainer: TrainerView, module: nn.Module, exception: BaseException) -> None:
            trainer.save_checkpoint(tmp_path / "asked")

    with pytest.raises(Fails):
        fitted(callbacks=[FailsIn("on_train_epoch_end", 1), Asks()])
    about: Any = FolderFormat().load(tmp_path / "asked")["about"]
    assert about["note"].startswith("it was saved when Fails ended the run")


def test_what_was_waiting_when_the_exception_came(tmp_path: Path) -> None:
    class Asks(Callback[nn.Module, Batch]):
        def on_train_batch_start(self, t: TrainerView, m: nn.Module, batch: Batch, batch_idx: int) -> None:
            if batch_idx == 1:
                t.save_checkpoint(tmp_path / "waiting")

    with pytest.raises(Fails):
        fitted(callbacks=[Asks(), FailsIn("on_before_backward", 2)])
    about: Any = FolderFormat().load(tmp_path / "waiting")["about"]
    assert about["note"].endswith("in the middle of batch 1: it is run again from its beginning")


def test_a_save_that_fails_does_not_hide_the_exception(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fails) as error:
        fitted(callbacks=[FailsIn("on_train_end", 1), Saves(tmp_path / "file" / "below", on_exception=True)])
    assert "saving after it raised as well: CheckpointError(" in error.value.__notes__[-1]


def test_the_run_within_another_is_saved(tmp_path: Path) -> None:
    expected = Trainer(fit_loop=Folds()).fit(make)
    callbacks = [FailsIn("on_validation_epoch_end", 3), Saves(tmp_path, on_exception=True)]
    with pytest.raises(Fails):
        Trainer(fit_loop=Folds(), callbacks=callbacks).fit(make)
    trainer = Trainer(fit_loop=Folds())
    trainer.load_checkpoint(tmp_path / "exception")
    with pytest.warns(UserWarning, match="called again"):
        assert trainer.fit(make) == expected


class FoldsOf(Folds):
    """Notes which folds were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []

    def advance(self, make: Callable[[int], Classifier]) -> None:
        self.begun.append(self.fold)
        super().advance(make)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_around_fits_does_not_go_on_after_a_signal(tmp_path: Path, signum: signal.Signals) -> None:
    expected = Trainer(fit_loop=FoldsOf()).fit(make)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    saves = Saves(tmp_path, [signum], on_exception=True)
    saves.send = {10: signum}
    loop = FoldsOf()
    with pytest.raises(KeyboardInterrupt):
        Trainer(fit_loop=loop, callbacks=[saves]).fit(make)
    assert loop.begun == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == [signum.name]
    trainer = Trainer(fit_loop=FoldsOf())
    trainer.load_checkpoint(tmp_path / signum.name)
    assert trainer.fit(make) == expected


@pytest.mark.usefixtures("handlers")
def test_a_signal_and_then_an_exception(tmp_path: Path) -> None:
    class SignalsAndFails(Saves):
        def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
            super().on_before_backward(trainer, module, loss)
            if self.batches == 3:
                raise Fails

    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    saves = SignalsAndFails(tmp_path, [signal.SIGTERM])
    saves.send = {3: signal.SIGTERM}
    with pytest.raises(Fails):
        fitted(callbacks=[saves])
    assert heard == [signal.SIGTERM]
    about: Any = FolderFormat().load(tmp_path / "SIGTERM")["about"]
    assert about["note"].startswith("it was saved when Fails ended the run, and it was in the middle of batch 2")


@pytest.mark.usefixtures("handlers")
def test_a_process_that_was_forked_leaves_a_signal_to_its_parent(tmp_path: Path) -> None:
    class Forks(Saves):
        def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
            self.batches += 1
            if self.batches == 2:
                child = os.fork()
                if child == 0:
                    os.kill(os.getpid(), signal.SIGUSR1)
                    os._exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    fitted(callbacks=[Forks(tmp_path, [signal.SIGUSR1])])
    assert not list(tmp_path.iterdir())


def test_a_restart_that_fails_at_once_spoils_nothing(tmp_path: Path) -> None:
    failed(tmp_path, "on_train_epoch_end", 2)
    before: Any = FolderFormat().load(tmp_path / "exception")["about"]
    # Once something of a new run has run, it is that which is saved: it is asked to be.
    for hook, ckpt_path in (
        ("setup", None),
        ("setup", tmp_path / "exception"),
        ("on_fit_start", tmp_path / "exception"),
    ):
        trainer = Trainer(max_epochs=2, callbacks=[FailsIn(hook, 1), Saves(tmp_path, on_exception=True)])
        warnings.simplefilter("ignore")
        with pytest.raises(Fails):
            trainer.fit(Classifier(), batches(), batches(2), ckpt_path=ckpt_path)
        assert FolderFormat().load(tmp_path / "exception")["about"] == before


def test_after_an_exception_in_a_validation_modes_and_times_are_those_of_then(tmp_path: Path) -> None:
    seen: list[tuple[bool, bool]] = []

    class Normed(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.frozen = nn.Dropout().eval()

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            return self.loss((self.norm(batch[0]), batch[1]))

        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            seen.append((self.norm.training, self.frozen.training))
            return {"val_loss": self.loss((self.norm(batch[0]), batch[1]))}

    callbacks = [FailsIn("on_validation_batch_start", 2), Saves(tmp_path, on_exception=True)]
    with pytest.raises(Fails):
        Trainer(max_epochs=1, callbacks=callbacks).fit(Normed(), batches(), batches(3))
    content: Any = FolderFormat().load(tmp_path / "exception")
    assert content["loops"]["places"]["."]["state"]["elapsed"] > 0
    module = Normed()
    with pytest.warns(UserWarning, match="exactly"):
        Trainer(max_epochs=1).fit(module, batches(), batches(3), ckpt_path=tmp_path / "exception")
    assert seen == [(False, False)] * 3
    assert module.norm.num_batches_tracked == 4
    assert (module.norm.training, module.frozen.training) == (True, False)


def test_the_teardown_of_a_fit_within_a_loop(tmp_path: Path) -> None:
    class Ends(Callback[nn.Module]):
        def teardown(self, trainer: TrainerView, module: nn.Module, stage: str) -> None:
            self.times = getattr(self, "times", 0) + 1
            if self.times == 1:
                trainer.save_checkpoint(tmp_path / "c")

    expected = Trainer(fit_loop=Folds()).fit(make)
    Trainer(fit_loop=Folds(), callbacks=[Ends()]).fit(make)
    trainer = Trainer(fit_loop=Folds())
    trainer.load_checkpoint(tmp_path / "c")
    assert trainer.fit(make) == expected
