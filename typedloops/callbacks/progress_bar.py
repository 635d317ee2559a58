"""Progress on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from typedloops.callbacks.base import Callback
from typedloops.callbacks.extras import require
from typedloops.loops.fit.fit_loop import FitLoopOf
from typedloops.loops.run.over_batches import BatchesLoop
from typedloops.loops.run.over_loaders import LoadersLoop
from typedloops.protocols.trainer import RunningLoop, Stage, TrainerView

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

SECONDS_BETWEEN_UPDATES = 0.05


class ProgressBar(Callback[object]):
    """Shows the batches of the epoch or loader under way, and the metrics of each epoch.

    Loops of another kind that are under way around it, or within a batch, have a bar each: how many of
    their iterations are completed.

    It is redrawn at most 20 times a second, so that its cost does not grow with the
    number of batches; where the output is no terminal, only the epochs' lines are
    printed.  Needs the extra `rich`.

    Args:
        console: Where to draw; by default rich's own on standard output.

    Raises:
        MissingExtraError: rich is not installed.
    """

    def __init__(self, console: Console | None = None) -> None:
        require("rich", "rich", type(self).__name__)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console or Console()
        self._live = self._console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", visible=False)
        self._nested: dict[str, TaskID] = {}
        self._runs = 0
        self._updated = 0.0
        self._shown = ""

    def setup(self, trainer: TrainerView, module: object, stage: str) -> None:
        self._shown = ""
        self._runs += 1
        if self._live:
            self._bar.start()
            self._show_nested(trainer)

    def on_train_batch_start(self, trainer: TrainerView, module: object, batch: object, batch_idx: int) -> None:
        self._show(trainer, f"epoch {_epoch(trainer)}", batch_idx)

    def on_train_batch_end(
        self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._advance(trainer, batch_idx + 1)

    def on_train_epoch_end(self, trainer: TrainerView, module: object) -> None:
        around = "".join(f"{path} {loop.run_progress}  " for path, loop in _nested(trainer))
        self._console.print(f"{around}epoch {_epoch(trainer)}  {_shown(trainer.metrics)}", highlight=False)

    def on_validation_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        where = f"epoch {_epoch(trainer)}, validate" if trainer.stage is Stage.FIT else "validate"
        self._show(trainer, "sanity check" if trainer.sanity_checking else where, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: TrainerView,
        module: object,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._advance(trainer, batch_idx + 1)

    def on_test_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._show(trainer, "test", batch_idx)

    on_test_batch_end = on_validation_batch_end

    def on_predict_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._show(trainer, "predict", batch_idx)

    on_predict_batch_end = on_validation_batch_end

    def teardown(self, trainer: TrainerView, module: object, stage: str) -> None:
        self._runs -= 1
        if self._live:
            self._bar.update(self._task, visible=False)
            self._show_nested(trainer)
            if not self._runs:
                self._bar.stop()

    def _show(self, trainer: TrainerView, what: str, done: int) -> None:
        """Begin a bar, unless it is there already: a run may go on in the middle of its batches."""
        if self._live and (done == 0 or what != self._shown):
            self._shown = what
            total = trainer.num_batches
            self._bar.reset(self._task, total=total, completed=done, description=what, visible=True)
            self._show_nested(trainer)
            self._bar.refresh()

    def _advance(self, trainer: TrainerView, batches: int) -> None:
        now = monotonic()
        if self._live and now - self._updated >= SECONDS_BETWEEN_UPDATES:
            self._updated = now
            self._show_nested(trainer)
            self._bar.update(self._task, completed=batches, refresh=True)

    def _show_nested(self, trainer: TrainerView) -> None:
        """Give each loop of another kind that is under way a bar, and take away those of loops that are not."""
        running = dict(_nested(trainer))
        for path in self._nested.keys() - running.keys():
            self._bar.remove_task(self._nested.pop(path))
        for path, loop in running.items():
            if (progress := loop.run_progress) is None:
                continue
            if path not in self._nested:
                self._nested[path] = self._bar.add_task(path, total=None)
            self._bar.update(
                self._nested[path],
                description=f"{path}, {progress.unit}",
                completed=progress.completed,
                total=progress.total,
            )


def _nested(trainer: TrainerView) -> Iterator[tuple[str, RunningLoop]]:
    """The loops under way that have something to tell beyond epochs, loaders and batches."""
    for loop in trainer.running_loops:
        if not isinstance(loop, (FitLoopOf, LoadersLoop, BatchesLoop)) and loop.run_progress is not None:
            yield loop.path, loop


def _epoch(trainer: TrainerView) -> str:
    return f"{trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if trainer.max_epochs else "")


def _shown(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
