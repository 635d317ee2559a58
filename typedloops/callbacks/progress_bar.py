"""Progress on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING

from typedloops.callbacks.base import Callback
from typedloops.callbacks.extras import require
from typedloops.protocols.trainer import Stage, TrainerView

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_UPDATES = 0.05


class ProgressBar(Callback[object]):
    """Shows the batches of the epoch or loader under way, and the metrics of each epoch.

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
        self._updated = 0.0
        self._shown = ""

    def setup(self, trainer: TrainerView, module: object, stage: str) -> None:
        self._shown = ""
        if self._live:
            self._bar.start()

    def on_train_batch_start(self, trainer: TrainerView, module: object, batch: object, batch_idx: int) -> None:
        self._show(f"epoch {_epoch(trainer)}", trainer.num_batches, batch_idx)

    def on_train_batch_end(
        self, trainer: TrainerView, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._advance(batch_idx + 1)

    def on_train_epoch_end(self, trainer: TrainerView, module: object) -> None:
        self._console.print(f"epoch {_epoch(trainer)}  {_shown(trainer.metrics)}", highlight=False)

    def on_validation_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        where = f"epoch {_epoch(trainer)}, validate" if trainer.stage is Stage.FIT else "validate"
        self._show("sanity check" if trainer.sanity_checking else where, trainer.num_batches, batch_idx)

    def on_validation_batch_end(
        self,
        trainer: TrainerView,
        module: object,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._advance(batch_idx + 1)

    def on_test_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._show("test", trainer.num_batches, batch_idx)

    on_test_batch_end = on_validation_batch_end

    def on_predict_batch_start(
        self, trainer: TrainerView, module: object, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._show("predict", trainer.num_batches, batch_idx)

    on_predict_batch_end = on_validation_batch_end

    def teardown(self, trainer: TrainerView, module: object, stage: str) -> None:
        if self._live:
            self._bar.update(self._task, visible=False)
            self._bar.stop()

    def _show(self, what: str, batches: int | None, done: int) -> None:
        """Begin a bar, unless it is there already: a run may go on in the middle of its batches."""
        if self._live and (done == 0 or what != self._shown):
            self._shown = what
            self._bar.reset(self._task, total=batches, completed=done, description=what, visible=True)
            self._bar.refresh()

    def _advance(self, batches: int) -> None:
        now = monotonic()
        if self._live and now - self._updated >= SECONDS_BETWEEN_UPDATES:
            self._updated = now
            self._bar.update(self._task, completed=batches, refresh=True)


def _epoch(trainer: TrainerView) -> str:
    return f"{trainer.current_epoch + 1}" + (f"/{trainer.max_epochs}" if trainer.max_epochs else "")


def _shown(metrics: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
