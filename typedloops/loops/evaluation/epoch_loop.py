"""The batches of one loader that is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic

from typing_extensions import TypeVar

from typedloops.loops.evaluation.result import LoaderResult
from typedloops.loops.run.kind import LoadersKind
from typedloops.loops.run.metrics import MetricStore, MetricValues, batch_size_of
from typedloops.loops.run.over_batches import BatchesLoop, BatchEvents
from typedloops.loops.run.position import LoaderPosition

B = TypeVar("B", default=object)


class EvaluationEpochLoop(BatchesLoop[[object, Iterable[B], LoaderPosition], LoaderResult], Generic[B]):
    """Evaluates the batches of one loader.

    ```
    advance:
        batch = next(batches)
        M.on_before_batch_transfer, M.transfer_batch_to_device, M.on_after_batch_transfer
        C/M.on_validation_batch_start(batch, batch_idx)
        output = M.validation_step(batch, batch_idx)
        C/M.on_validation_batch_end(output, batch, batch_idx)
    ```

    In a test, `validation` is `test`.  With several loaders the step and the hooks are also
    given the loader's index where they have a parameter `dataloader_idx`; one that cannot be
    called without it is always given it.

    Args:
        kind: What is evaluated.

    Its output is the number of batches and the mean of each metric.
    """

    def __init__(self, kind: LoadersKind) -> None:
        super().__init__()
        self.kind = kind

    def on_run_start(self, model: object, loader: Iterable[B], position: LoaderPosition) -> None:
        context = self.context
        before = context.hook(f"on_{self.kind.name}_batch_start")
        after = context.hook(f"on_{self.kind.name}_batch_end")
        self._metrics = MetricStore(default="mean")
        self._metrics.load_state_of(context.on_device(self.resumed_state.get("metrics")))
        context.logging_to = self._metrics
        self.drive(
            self.open(f"{self.kind.name} {position}", loader, position.limit),
            context.in_precision(self.step_of(model, position)),
            dataloader_idx=position.index,
            events=BatchEvents(
                before=position.listeners(before), consume=self._take_metrics, after=position.after_step(after)
            ),
        )
        self.passed("begun")
        self.passed("batch")

    def step_of(self, model: object, position: LoaderPosition) -> Callable[[B, int], object]:
        """What is called with each batch and its index, and gives the metrics: the module's own step."""
        return position.step_of(model, self.kind.step)

    def run_state(self) -> dict[str, object]:
        return {**super().run_state(), "metrics": self._metrics.state_dict()}

    def on_run_end(self) -> LoaderResult:
        self.check_ran()
        return LoaderResult(self.batch_progress.current.completed, MetricValues(self._metrics.compute()))

    def _take_metrics(self, output: object, batch: B, batch_idx: int) -> None:
        self._metrics.take_scalars(output, self.kind.loss, batch_size_of(batch))

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_metrics", None)
