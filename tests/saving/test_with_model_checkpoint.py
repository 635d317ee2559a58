"""`ModelCheckpoint` in real fits: what it saves, and what `last` goes on from."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import typedloops
from tests.modules import Classifier, batches
from typedloops import Callback, ModelCheckpoint, StopReason, TrainerView
from typedloops.checkpoint import FolderFormat
from typedloops.errors import CheckpointError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class Sends(Callback[nn.Module]):
    """Sends a signal in the middle of a batch, and counts the batches."""

    def __init__(self, signum: int | None = None, batch: int = 0) -> None:
        self.signum = signum
        self.batch = batch
        self.batches = 0

    def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
        self.batches += 1
        if self.signum is not None and self.batches == self.batch:
            os.kill(os.getpid(), self.signum)


def fitted(*callbacks: object, seed: int = 1, **arguments: Any) -> tuple[Any, Classifier]:
    """A fit of two epochs with four batches each."""
    torch.manual_seed(seed)
    module = Classifier()
    return Trainer(max_epochs=2, callbacks=callbacks).fit(module, batches(), batches(2), **arguments), module


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# Signals


@pytest.mark.usefixtures("handlers")
def test_a_signal_after_which_the_run_goes_on(tmp_path: Path) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    saver = ModelCheckpoint(tmp_path, every_n_epochs=9, save_on_signals=["SIGUSR1"])
    expected, whole = fitted(saver, Sends(signal.SIGUSR1, 6))
    assert expected.stop_reason is StopReason.MAX_EPOCHS
    assert names(tmp_path) == ["on_sigusr1"]
    counts = Sends()
    again = ModelCheckpoint(tmp_path, every_n_epochs=9, save_on_signals=["SIGUSR1"])
    result, module = fitted(again, counts, seed=99, ckpt_path="last")
    assert (result, counts.batches) == (expected, 2)
    assert same(module, whole)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_ends_the_run(tmp_path: Path) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    expected, whole = fitted()
    saver = ModelCheckpoint(tmp_path, every_n_epochs=9, save_on_signals=["SIGTERM"])
    result, _ = fitted(saver, Sends(signal.SIGTERM, 6))
    assert (result.stop_reason, heard) == (StopReason.INTERRUPTED, [signal.SIGTERM])
    assert names(tmp_path) == ["on_sigterm"]
    counts = Sends()
    result, module = fitted(
        ModelCheckpoint(tmp_path, every_n_epochs=9, save_on_signals=["SIGTERM"]), counts, seed=99, ckpt_path="last"
    )
    assert (result, counts.batches) == (expected, 2)
    assert same(module, whole)


CADENCES: list[dict[str, Any]] = [
    {},
    {"save_last": True},
    {"save_last": "link", "save_top_k": 2},
    {"monitor": "val_loss", "save_last": True, "every_n_train_steps": 1},
    {"save_on_train_epoch_end": True, "every_n_train_steps": 3, "every_n_epochs": 1},
]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("settings", CADENCES)
@pytest.mark.parametrize("batch", [5, 6, 8])
def test_an_epoch_that_a_signal_cuts_off_is_gone_on_with(tmp_path: Path, settings: dict[str, Any], batch: int) -> None:
    def saver(folder: str) -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / folder, save_on_signals=["SIGTERM"], **settings)

    expected, whole = fitted(saver("whole"))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    result, _ = fitted(saver("cut"), Sends(signal.SIGTERM, batch))
    assert result.stop_reason is StopReason.INTERRUPTED
    counts = Sends()
    again = saver("cut")
    result, module = fitted(again, counts, seed=99, ckpt_path="last")
    assert (result, counts.batches) == (expected, 8 - batch)
    assert same(module, whole)
    (tmp_path / "cut" / "on_sigterm").rename(tmp_path / "on_sigterm")
    assert names(tmp_path / "cut") == names(tmp_path / "whole")


@pytest.mark.usefixtures("handlers")
def test_where_ctrl_c_cuts_off_an_epoch_the_one_before_is_the_last(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Looks(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            seen.append(trainer.interrupted)

    expected, whole = fitted()
    fitted(ModelCheckpoint(tmp_path, save_last=True), Looks(), Sends(signal.SIGINT, 6))
    assert seen == [False, True]
    assert names(tmp_path) == ["epoch=0-step=4", "last"]
    counts = Sends()
    result, module = fitted(ModelCheckpoint(tmp_path, save_last=True), counts, seed=99, ckpt_path="last")
    assert (result, counts.batches) == (expected, 4)
    assert same(module, whole)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("hook", ["on_validation_epoch_end", "on_validation_end", "on_train_epoch_end"])
def test_a_signal_at_an_end(tmp_path: Path, hook: str) -> None:
    class SendsIn(Callback[nn.Module]):
        def __init__(self) -> None:
            setattr(self, hook, lambda *_: os.kill(os.getpid(), signal.SIGTERM))

    def saver() -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path, save_on_signals=["SIGTERM"], save_last=True)

    expected, whole = fitted()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fitted(SendsIn(), saver())
    result, module = fitted(saver(), seed=99, ckpt_path="last")
    assert result == expected
    assert same(module, whole)


# Which is the last


class Left(Exception):
    """The process is gone."""


class LeavesAt(Callback[nn.Module]):
    """Leaves the fit at the start of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: TrainerView, module: nn.Module) -> None:
        if trainer.current_epoch == self.epoch:
            raise Left


def test_the_last_is_of_the_newest_run_however_many_checkpoints_an_older_one_had(tmp_path: Path) -> None:
    long = ModelCheckpoint(tmp_path, "old-{step}", save_top_k=-1, every_n_train_steps=1)
    fitted(long)
    short = ModelCheckpoint(tmp_path, "new-{epoch}")
    with pytest.raises(Left):
        fitted(short, LeavesAt(1), seed=2)
    expected, whole = fitted(seed=2)
    finds = ModelCheckpoint(tmp_path, "new-{epoch}")
    assert finds.find("last", FolderFormat()) == tmp_path / "new-epoch=0"
    counts = Sends()
    result, module = fitted(finds, counts, seed=99, ckpt_path="last")
    assert (result, counts.batches) == (expected, 4)
    assert same(module, whole)


def test_of_several_folders_the_last_is_the_newest_in_any(tmp_path: Path) -> None:
    often = ModelCheckpoint(tmp_path / "often", "{step}", save_top_k=-1, every_n_train_steps=1)
    fitted(often)
    with pytest.raises(Left):
        fitted(ModelCheckpoint(tmp_path / "new"), LeavesAt(1), seed=2)
    expected, _ = fitted(seed=2)
    counts = Sends()
    callbacks = [
        ModelCheckpoint(tmp_path / "often", "{step}", every_n_train_steps=9),
        ModelCheckpoint(tmp_path / "new"),
    ]
    result, _ = fitted(*callbacks, counts, seed=99, ckpt_path="last")
    assert (result, counts.batches) == (expected, 4)


def test_checkpoints_are_numbered_on_in_a_fit_that_resumes_in_its_process(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, trainer = Classifier(), Trainer(max_epochs=2, callbacks=[ModelCheckpoint(tmp_path, save_top_k=-1)])
    trainer.fit(module, batches())
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, batches(), resume=True)
    abouts: list[Any] = [FolderFormat().load_part(path, "about") for path in tmp_path.iterdir() if path.is_dir()]
    abouts.sort(key=lambda about: int(about["written"]))
    assert [(about["epoch"], about["order"]) for about in abouts] == [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_asked_for_together_is_the_same_and_listeners_are_asked_once(
    tmp_path: Path, asynchronous: bool
) -> None:
    class Adds(Callback[nn.Module]):
        calls = 0

        def on_save_checkpoint(self, trainer: TrainerView, module: nn.Module, checkpoint: dict[str, object]) -> None:
            self.calls += 1
            checkpoint["calls"] = self.calls

    adds = Adds()
    weights = ModelCheckpoint(tmp_path, "weights", save_weights_only=True)
    fitted(ModelCheckpoint(tmp_path, save_last=True, asynchronous=asynchronous), weights, adds)
    assert adds.calls == 2
    assert names(tmp_path) == ["epoch=1-step=8", "last", "weights"]
    kept, last = (FolderFormat().load(tmp_path / name) for name in ("epoch=1-step=8", "last"))
    assert kept["about"] == last["about"]
    assert kept["callbacks"] == last["callbacks"]
    assert kept["custom"] == last["custom"] == {"calls": 2}
    abouts: list[Any] = [kept["about"], FolderFormat().load_part(tmp_path / "weights", "about")]
    assert [about["order"] for about in abouts] == [2, 2]


def test_with_exact_the_last_is_one_that_a_run_goes_on_from_exactly(tmp_path: Path) -> None:
    class Fails(Callback[nn.Module]):
        def on_before_backward(self, trainer: TrainerView, module: nn.Module, loss: Tensor) -> None:
            if trainer.global_step == 6:
                raise Left

    def saver(folder: str = "one") -> ModelCheckpoint:
        return ModelCheckpoint(tmp_path / folder, save_on_exception=True)

    expected, whole = fitted()
    with pytest.raises(Left):
        fitted(saver(), Fails())
    assert saver().find("last", FolderFormat()) == tmp_path / "one" / "on_exception"
    assert saver().find("last", FolderFormat(), exact=True) == tmp_path / "one" / "epoch=0-step=4"
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    counts = Sends()
    with pytest.warns(UserWarning, match="does not go on from it exactly"):
        fitted(saver("other"), counts, ckpt_path="last")
    assert counts.batches == 2
    counts = Sends()
    result, module = fitted(saver(), counts, seed=99, ckpt_path="last", exact=True)
    assert (result, counts.batches) == (expected, 4)
    assert same(module, whole)


def test_one_command_begins_a_fit_and_goes_on_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def job(*callbacks: object, seed: int = 1) -> tuple[Any, Classifier]:
        return fitted(ModelCheckpoint(tmp_path), *callbacks, seed=seed, ckpt_path="last_if_any", exact=True)

    expected, whole = fitted()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="typedloops"), pytest.raises(Left):
        job(LeavesAt(1))
    assert caplog.messages == ["there is no checkpoint yet: the fit begins anew"]
    counts = Sends()
    result, module = job(counts, seed=99)
    assert (result, counts.batches) == (expected, 4)
    assert same(module, whole)


@pytest.mark.parametrize("word", ["last", "best", "last_if_any"])
def test_what_there_is_none_of(tmp_path: Path, word: str) -> None:
    with pytest.raises(CheckpointError) as told:
        fitted(ckpt_path=word)
    assert str(told.value) == (
        f"ckpt_path={word!r}: no callback of the trainer knows of checkpoints. "
        "Give it a ModelCheckpoint, or give a path."
    )
    trainer = Trainer(callbacks=[ModelCheckpoint(tmp_path)])
    with pytest.raises(CheckpointError) as told:
        trainer.validate(Classifier(), batches(), ckpt_path=word)
    none = "Give 'last_if_any' to begin anew where there is none, or give a path."
    problem = (
        "there is no checkpoint yet for this run of validate. Fit first, or give a path."
        if word == "last_if_any"
        else f"there is no checkpoint yet. {none}"
    )
    assert str(told.value) == f"ckpt_path={word!r}: {problem}"
