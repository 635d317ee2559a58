"""The callback that sees what a run does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias, cast

from typing_extensions import Protocol

from typedloops.loops.run.context import RunContext
from typedloops.loops.run.listeners import ARGUMENTS
from typedloops.trainer import Trainer
from typedloops.verification.journal import Event
from typedloops.verification.values import fingerprint

AnyTrainer: TypeAlias = Trainer
"""A trainer, whatever its loops."""

OF_THE_PROCESS = ("on_fit_start", "on_train_start")
"""Hooks that every process calls before it goes on where the run was."""

NOT_COMPARED = frozenset(
    {
        *OF_THE_PROCESS,
        "setup",
        "teardown",
        "prepare_data",
        "configure_callbacks",
        "on_sanity_check_start",
        "on_sanity_check_end",
        "on_train_end",
        "on_fit_end",
        "on_exception",
        "on_save_checkpoint",
        "on_load_checkpoint",
        "training_epoch_end",  # who listens to these has the outputs of all batches kept
        "validation_epoch_end",
        "test_epoch_end",
    }
)
"""Hooks of a run itself, and those whose listeners change what a run does."""

COMPARED = tuple(name for name in ARGUMENTS if name not in NOT_COMPARED and "transfer" not in name)


class Observer(Protocol):
    """Who is told what a run does."""

    def began(self, runs: Sequence[RunContext]) -> None:
        """The run begins: its callbacks are being set up."""
        ...

    def preparing(self, hook: str, runs: Sequence[RunContext]) -> None:
        """A hook that every process calls is about to be called."""
        ...

    def happened(self, event: Event, runs: Sequence[RunContext]) -> None:
        """A hook is about to be called."""
        ...

    def ended(self, runs: Sequence[RunContext]) -> None:
        """The run has ended, without an error; its state is still there."""
        ...


class Recorder:
    """Tells an observer what the first run of a trainer does; it is to be the first of the callbacks.

    Args:
        trainer: Whose callback this is.
        observer: Who is told.
    """

    def __init__(self, trainer: AnyTrainer, observer: Observer) -> None:
        self._trainer = trainer
        self._observer = observer
        self._runs_seen = 0
        self._failed = False
        for hook in COMPARED:
            vars(self)[hook] = partial(self._happened, hook)
        for hook in OF_THE_PROCESS:
            vars(self)[hook] = partial(self._preparing, hook)

    @property
    def _runs(self) -> Sequence[RunContext]:
        return self._trainer._runs  # pyright: ignore[reportPrivateUsage]  # a trainer shows its runs to nobody else

    def setup(self, trainer: object, module: object, stage: str) -> None:
        if len(self._runs) == 1:
            self._runs_seen += 1
            if self._watching:
                self._observer.began(self._runs)

    def on_exception(self, trainer: object, module: object, exception: BaseException) -> None:
        self._failed = True

    def teardown(self, trainer: object, module: object, stage: str) -> None:
        if self._watching and len(self._runs) == 1 and not self._failed:
            self._observer.ended(self._runs)

    @property
    def _watching(self) -> bool:
        return self._runs_seen == 1 and not self._trainer.sanity_checking

    def _preparing(self, hook: str, trainer: object, module: object) -> None:
        if self._watching:
            self._observer.preparing(hook, self._runs)

    def _happened(self, hook: str, trainer: object, module: object, *args: object) -> None:
        if self._watching:
            self._observer.happened(self._event(hook, args), self._runs)

    def _event(self, hook: str, args: tuple[object, ...]) -> Event:
        # In the middle of a batch nothing is read: that would wait for the device.
        metrics = dict(self._trainer.metrics) if hook.endswith(("_start", "_end")) else {}
        if hook.endswith("_batch_start"):
            batch, index, *loader = args
            of = fingerprint(batch)
        elif hook.endswith("_batch_end"):
            _, _, index, *loader = args
            of = None
        else:
            return Event(hook, metrics=metrics)
        return Event(hook, cast("int", index), cast("int", loader[0]) if loader else 0, of, metrics)


def watch(trainer: AnyTrainer, observer: Observer) -> None:
    """Let an observer be told what the next run of a trainer does."""
    recorder = Recorder(trainer, observer)
    trainer._callbacks = (recorder, *trainer.callbacks)  # pyright: ignore[reportPrivateUsage]  # a trainer takes callbacks only when it is made


def others(trainer: AnyTrainer) -> list[object]:
    """The callbacks that a trainer had before."""
    return [callback for callback in trainer.callbacks if not isinstance(callback, Recorder)]
