"""Checkpoints of a fit: when one is saved, which are kept, and how they are found again."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

from typedloops._core.shapes import is_mapping
from typedloops.callbacks.base import Callback
from typedloops.callbacks.saving.finding import checkpoints_in, states_in
from typedloops.callbacks.saving.keeper import ON_EXCEPTION, Keeper
from typedloops.callbacks.saving.monitor import Monitor
from typedloops.callbacks.saving.naming import Template
from typedloops.callbacks.saving.retention import Kept, Mode, Retention
from typedloops.callbacks.saving.schedule import Schedule
from typedloops.callbacks.saving.settings import (
    SaveLast,
    check_flags,
    check_last,
    check_ranking,
    checked_every,
    checked_folder,
    checked_signal,
    checked_signals,
    make_folder,
    wrong,
)
from typedloops.errors import ConfigurationError, StateError
from typedloops.loops.run.settings.durations import Count, Time, Unit, seconds_of
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.trainer import Stage, TrainerView

logger: logging.Logger = logging.getLogger("typedloops")

VERSION: Final = 1


class ModelCheckpoint(Callback[object]):
    """Saves a fit as it goes, keeps the best or the newest checkpoints, and removes the others.

    Whatever is given of `every_n_train_steps`, `every_n_epochs` and `train_time_interval` makes a checkpoint
    due; given none of them, one is due at the end of every epoch.  One that is due is saved if it is among the
    `save_top_k` best, and `last` in any case.

    ```
    C.on_train_batch_end      by steps and by time
    C.on_validation_end       by epochs, where validations give the monitored metric; what has waited for that
    C.on_train_epoch_end      by epochs otherwise
    C.on_train_end            `last`, if there were steps since
    ```

    A fit that Ctrl-C or a signal interrupts is not saved at these ends: the epoch that was cut off counts as
    done there.  `save_on_signals` saves it where it was.

    What is kept is decided when a checkpoint is asked for, and does not depend on how fast it is
    written.  What it replaces is removed when it is on the disk, and so are leftovers of a run that was
    stopped in between when it goes on.  A fit that starts anew forgets the one before: whatever it finds in the
    folder is left alone.

    Args:
        dirpath: The folder of the checkpoints; it is made.
        filename: Their names, with fields for `epoch`, `step` and metrics: `{epoch}-{val_loss:.3f}`.
            A name that is already there is given a version: `-v1`.
        monitor: The metric that checkpoints are ranked by; None ranks the newer above the older.
        mode: Whether the smallest (`min`) or the largest (`max`) value is the best; one that is no
            number is the worst.
        save_top_k: How many are kept; -1 is all.
        save_last: Whether the newest is also written as `last`; `link` makes that a link to the newest, which is
            then kept.
        every_n_train_steps: Of how many optimizer steps one is due: 100, or `"100st"`.
        every_n_epochs: Of how many epochs one is due.
        train_time_interval: After how much time one is due.
        save_weights_only: Whether only the module's weights are saved, which is nothing to go on from.
        asynchronous: Whether checkpoints are written while the run goes on.
        save_on_train_epoch_end: Whether one that is due by epochs is saved at the end of the epoch (True) or at
            the end of each validation in it (False); None is validations, if they give the monitored metric.
        save_on_exception: Whether the run is saved as `on_exception` when an error ends it.
        save_on_signals: At which signals it is saved, as `on_sigterm` say: SIGTERM, SIGINT, SIGUSR1,
            SIGUSR2, SIGHUP.
        auto_insert_metric_name: Whether `{epoch}` in `filename` becomes `epoch=3`, or `3`.

    Raises:
        ConfigurationError: A setting can never work.
    """

    def __init__(
        self,
        dirpath: str | os.PathLike[str],
        filename: str = "{epoch}-{step}",
        *,
        monitor: str | None = None,
        mode: Mode = "min",
        save_top_k: int = 1,
        save_last: SaveLast = False,
        every_n_train_steps: Count | None = None,
        every_n_epochs: Count | None = None,
        train_time_interval: Time | None = None,
        save_weights_only: bool = False,
        asynchronous: bool = False,
        save_on_train_epoch_end: bool | None = None,
        save_on_exception: bool = False,
        save_on_signals: Sequence[int | str] = (),
        auto_insert_metric_name: bool = True,
    ) -> None:
        self.dirpath: Path = checked_folder(dirpath)
        check_ranking(monitor, mode, save_top_k)
        check_last(save_last)
        check_flags(
            {
                "save_weights_only": save_weights_only,
                "asynchronous": asynchronous,
                "save_on_exception": save_on_exception,
                "auto_insert_metric_name": auto_insert_metric_name,
            }
            | ({} if save_on_train_epoch_end is None else {"save_on_train_epoch_end": save_on_train_epoch_end})
        )
        self.save_on_signals: tuple[signal.Signals, ...] = checked_signals(save_on_signals)
        if save_top_k == 0 and not save_last and not save_on_exception and not self.save_on_signals:
            raise wrong("save_top_k", 0, "nothing would ever be saved", "Give 1 or more, or save_last=True.")
        self.monitor = monitor
        self.mode: Mode = mode
        self.save_top_k = save_top_k
        self.save_last: SaveLast = save_last
        self.save_weights_only = save_weights_only
        self.asynchronous = asynchronous
        self.save_on_train_epoch_end = save_on_train_epoch_end
        self.save_on_exception = save_on_exception
        self._template = Template(filename, insert_names=auto_insert_metric_name)
        self._every = (
            checked_every("every_n_train_steps", every_n_train_steps, Unit.STEPS),
            checked_every("every_n_epochs", every_n_epochs, Unit.EPOCHS),
            seconds_of(train_time_interval, "ModelCheckpoint.train_time_interval"),
        )
        steps, epochs, seconds = self._every
        self._schedule = Schedule(steps, 1 if self._every == (None, None, None) else epochs, seconds)
        self._monitor = None if monitor is None else Monitor(monitor)
        retention = Retention(save_top_k, mode, newest_stays=save_last == "link")
        self._keeper = Keeper(self.dirpath, self._template, retention, save_last)
        self._waits = False
        self._epoch_handled = -1
        self._last_step = -1
        self._begun = False
        self._loaded = False
        self._last_in_doubt = False

    @property
    def state_key(self) -> str:
        """What its state is called in a checkpoint: the same for a callback with the same settings."""
        steps, epochs, seconds = self._every
        settings = {
            "filename": self._template.text,
            "monitor": self.monitor,
            "mode": self.mode,
            "every_n_train_steps": steps,
            "every_n_epochs": epochs,
            "train_time_interval": seconds,
            "save_weights_only": self.save_weights_only,
        }
        return f"{type(self).__qualname__}{json.dumps(settings)}"

    @property
    def best_model_path(self) -> Path | None:
        """Where the best checkpoint is, or the newest if nothing is monitored; None before there is one."""
        return self._keeper.best

    @property
    def best_model_score(self) -> float | None:
        """The monitored value of the best checkpoint."""
        best = self._keeper.retention.best
        return None if best is None else best.score

    @property
    def last_model_path(self) -> Path | None:
        """Where `last` is, or without one the newest that is kept; None before there is one."""
        return self._keeper.newest

    @property
    def best_k_models(self) -> dict[Path, float | None]:
        """The checkpoints that are kept, and their scores."""
        return {self.dirpath / kept.name: kept.score for kept in self._keeper.retention.kept}

    def find(self, which: Literal["last", "best"], format_: CheckpointFormat, *, exact: bool = False) -> Path | None:
        """Where the newest or the best checkpoint is, also in a process that has saved none.

        Args:
            which: `last` is the newest in the folder that a run can go on from; `best` is
                the one that this callback has last called the best.
            format_: How they are kept.
            exact: Whether those from which no run goes on exactly are not the last.

        Returns:
            Its path; None if there is none.  Of checkpoints that are damaged it is warned.

        Raises:
            ConfigurationError: It is neither.
        """
        if which not in ("last", "best"):
            raise ConfigurationError("ModelCheckpoint.find", f"there is no {which!r}", "Ask for 'last' or 'best'.")
        if which == "last":
            resumable = (found for found in checkpoints_in(self.dirpath, format_) if not found.weights_only)
            return next((found.path for found in resumable if found.exact or not exact), None)
        best = self.best_model_path
        if best is not None and format_.holds(best):
            return best
        for state in states_in(self.dirpath, format_, self.state_key):
            name = state.get("best_model_path")
            if isinstance(name, str) and format_.holds(path := self.dirpath / Path(name).name):
                return path
        return None

    def path_for_exception(self, trainer: TrainerView) -> Path:
        """Where a run that an error ends is saved; the next such time it is the same place."""
        return self.dirpath / self._keeper.reserved(ON_EXCEPTION, self._others(trainer))

    def path_for_signal(self, trainer: TrainerView, signum: int | str) -> Path:
        """Where a run that gets a signal is saved; the next such time it is the same place.

        Raises:
            ConfigurationError: It is no signal at which a run is saved.
        """
        name = f"on_{checked_signal('save_on_signals', signum).name.lower()}"
        return self.dirpath / self._keeper.reserved(name, self._others(trainer))

    def setup(self, trainer: TrainerView, module: object, stage: str) -> None:
        if stage == Stage.FIT:
            make_folder(self.dirpath)

    def on_fit_start(self, trainer: TrainerView, module: object) -> None:
        if self._loaded:
            self._keeper.recover(trainer, self._others(trainer))
            self._last_in_doubt = True
        elif not self._begun or (trainer.global_step == 0 and trainer.current_epoch == 0):
            self._begin_at(trainer.global_step)
        self._begun, self._loaded = True, False

    def on_train_start(self, trainer: TrainerView, module: object) -> None:
        self._schedule.start_clock()

    def on_train_batch_end(
        self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self._schedule.looks_at_batches and self._schedule.due_after_batch(trainer.global_step):
            known = self._monitor is None or self._monitor.is_new(trainer.metrics)
            self._save(trainer) if known else self._wait(trainer)

    def on_validation_start(self, trainer: TrainerView, module: object) -> None:
        if self._monitor is not None and self._counts(trainer):
            self._monitor.validation_began(trainer.metrics)

    def on_validation_end(self, trainer: TrainerView, module: object) -> None:
        if not self._counts(trainer):
            return
        if self._monitor is not None:
            self._monitor.validation_ended(trainer.metrics)
        if trainer.interrupted:
            return
        at_validations = self.save_on_train_epoch_end
        at_validations = self._from_validation if at_validations is None else not at_validations
        if at_validations and self._schedule.due_in_epoch(trainer.current_epoch):
            self._epoch_handled = trainer.current_epoch
            self._save(trainer)
        elif self._waits and self._from_validation:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: TrainerView, module: object) -> None:
        if trainer.interrupted:  # in the middle of the epoch: what is saved here would go on after it
            return
        epoch, in_any_case = trainer.current_epoch, bool(self.save_on_train_epoch_end)
        due = self._schedule.due_in_epoch(epoch) and epoch != self._epoch_handled
        due = due and self.save_on_train_epoch_end is not False
        if (due and in_any_case) or ((due or self._waits) and self._has_score_of_epoch(trainer)):
            self._save(trainer)
        elif due:
            self._wait(trainer)
        self._check_monitor(trainer)

    def on_train_end(self, trainer: TrainerView, module: object) -> None:
        if trainer.interrupted:
            return
        if self.save_last is True and (self._last_in_doubt or trainer.global_step > self._last_step):
            self._save_last(trainer)
        if self.save_top_k and not self._keeper.retention.requests:
            unknown = self._monitor is not None and not self._has_score(trainer)
            why = self._monitor.missing(trainer.metrics) if self._monitor and unknown else "None was due."
            logger.warning("The fit ended without a checkpoint to keep in %s. %s", self.dirpath, why)

    def teardown(self, trainer: TrainerView, module: object, stage: str) -> None:
        if stage == Stage.FIT:
            self._schedule.stop_clock()

    def state_dict(self) -> dict[str, object]:
        best, newest = self.best_model_path, self.last_model_path
        return {
            "version": VERSION,
            "best_model_path": None if best is None else best.name,
            "best_model_score": self.best_model_score,
            "last_model_path": None if newest is None else newest.name,
            "last_step": self._last_step,
            "epoch_handled": self._epoch_handled,
            "waits": self._waits,
            "keeper": self._keeper.state_dict(),
            "schedule": self._schedule.state_dict(),
            "monitor": None if self._monitor is None else self._monitor.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Take back what `state_dict` returned; its paths are within `dirpath`, wherever that is now.

        Raises:
            StateError: It returned something else.
        """
        where = f"{type(self).__name__}.load_state_dict"
        if state_dict.get("version") != VERSION:
            raise StateError(
                where,
                f"the state has version {state_dict.get('version')!r}, this release reads version {VERSION}",
                "Load it with the release that saved it.",
            )
        try:
            self._load(state_dict)
        except (KeyError, ValueError) as error:
            raise StateError(where, f"it is no state of it: {error}", "Load what `state_dict()` returned.") from error

    def _load(self, state: Mapping[str, object]) -> None:
        last_step, epoch_handled, waits = state["last_step"], state["epoch_handled"], state["waits"]
        if not isinstance(last_step, int) or not isinstance(epoch_handled, int) or not isinstance(waits, bool):
            raise ValueError(f"{state!r:.200}")
        self._keeper.load_state_dict(_mapping(state["keeper"]))
        self._schedule.load_state_dict(_mapping(state["schedule"]))
        if self._monitor is not None:
            self._monitor.load_state_dict(_mapping(state["monitor"]))
        self._last_step, self._epoch_handled, self._waits = last_step, epoch_handled, waits
        self._loaded = True

    def _begin_at(self, step: int) -> None:
        """Begin without a state."""
        self._keeper.begin()
        self._schedule.begin_at(step)
        if self._monitor is not None:
            self._monitor.forget()
        self._waits, self._epoch_handled, self._last_step, self._last_in_doubt = False, -1, step, False

    def _counts(self, trainer: TrainerView) -> bool:
        """Whether the validation under way is one of the fit's own."""
        return trainer.stage == Stage.FIT and not trainer.sanity_checking

    @property
    def _from_validation(self) -> bool:
        return self._monitor is not None and self._monitor.from_validation

    def _has_score(self, trainer: TrainerView) -> bool:
        return self._monitor is None or self._monitor.name in trainer.metrics

    def _has_score_of_epoch(self, trainer: TrainerView) -> bool:
        """Whether the metric tells of the epoch that ends, and not of a validation in it or before."""
        return not self._from_validation and self._has_score(trainer)

    def _wait(self, trainer: TrainerView) -> None:
        """Let what is due wait until its metric is known; `last` need not wait."""
        self._waits = True
        if self.save_last is True:
            self._save_last(trainer)

    def _save(self, trainer: TrainerView) -> None:
        """Ask for the checkpoint that is due, if it is to be kept, and for `last`."""
        self._waits = not self._has_score(trainer)
        if not self._waits:
            score = None if self.monitor is None else trainer.metrics[self.monitor]
            admitted = self._keeper.admit(trainer, self._others(trainer), score)
            if admitted is not None:
                self._ask(trainer, admitted.name, partial(self._written, trainer, admitted))
        if self.save_last is True:
            self._save_last(trainer)

    def _save_last(self, trainer: TrainerView) -> None:
        self._last_in_doubt = False
        self._ask(trainer, self._keeper.name_last(self._others(trainer)))

    def _ask(self, trainer: TrainerView, name: str, when_written: Callable[[Path], object] | None = None) -> None:
        self._last_step = trainer.global_step
        trainer.save_checkpoint(
            self.dirpath / name,
            weights_only=self.save_weights_only,
            asynchronous=self.asynchronous,
            when_written=when_written,
        )

    def _written(self, trainer: TrainerView, admitted: Kept, path: Path) -> None:
        self._keeper.written(trainer, self._others(trainer), admitted)

    def _others(self, trainer: TrainerView) -> list[Keeper]:
        """What other callbacks keep in the same folder."""
        others = (other for other in trainer.callbacks if isinstance(other, ModelCheckpoint) and other is not self)
        return [other._keeper for other in others if other.dirpath == self.dirpath]

    def _check_monitor(self, trainer: TrainerView) -> None:
        """Raise if the metric is not there after a validation; tell of it if there was none yet."""
        monitor = self._monitor
        if monitor is None:
            return
        monitor.epoch_ended(trainer.metrics)
        if monitor.name in trainer.metrics:
            return
        if monitor.validated:
            raise monitor.missing(trainer.metrics)
        if trainer.current_epoch == 0:
            logger.warning("%s Until a validation gives it no checkpoint is ranked.", monitor.missing(trainer.metrics))


def _mapping(value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise ValueError(f"{value!r} is no mapping")
    return value
