"""The batches of one loader that is predicted on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Generic, cast

from typing_extensions import TypeVar

from typedloops.errors import CheckpointError
from typedloops.loops.run.kind import PREDICTION
from typedloops.loops.run.over_batches import BatchesLoop, BatchEvents
from typedloops.loops.run.position import LoaderPosition
from typedloops.loops.run.saving.data import is_data

B = TypeVar("B", default=object)


class PredictionEpochLoop(BatchesLoop[[object, Iterable[B], LoaderPosition], list[object]], Generic[B]):
    """Predicts the batches of one loader.

    ```
    advance:
        batch = next(batches)
        M.on_before_batch_transfer, M.transfer_batch_to_device, M.on_after_batch_transfer
        C/M.on_predict_batch_start(batch, batch_idx)
        prediction = M.predict_step(batch, batch_idx)
        writer.write(prediction, batch, batch_idx, dataloader_idx)    # if there is one
        C/M.on_predict_batch_end(prediction, batch, batch_idx)
    ```

    With several loaders the step and the hooks are also given the loader's index where they
    have a parameter `dataloader_idx`; one that cannot be called without it is always given it.

    Its output is the list of predictions, one for each batch; an empty one where a writer takes them.  In a
    checkpoint are those that there are, so that a prediction goes on in its middle.
    """

    transient_fields: ClassVar[tuple[str, ...]] = ("_predictions",)

    def on_run_start(self, model: object, loader: Iterable[B], position: LoaderPosition) -> None:
        context = self.context
        self._predictions: list[object] = list(context.on_device(self._resumed_predictions))
        self.drive(
            self.open(f"predict {position}", loader, position.limit),
            context.in_precision(position.step_of(model, PREDICTION.step)),
            dataloader_idx=position.index,
            outputs=self._predictions if position.take is None else None,
            events=BatchEvents(
                before=position.listeners(context.hook("on_predict_batch_start")),
                after=position.after_step(context.hook("on_predict_batch_end")),
            ),
        )
        self.passed("begun")
        self.passed("batch")

    @property
    def _resumed_predictions(self) -> list[object]:
        """What was predicted when the run was saved."""
        return cast("list[object]", self.resumed_state.get("predictions", []))

    def run_state(self) -> dict[str, object]:
        return {**super().run_state(), "predictions": saved_predictions(self._predictions)}

    def on_run_end(self) -> list[object]:
        self.check_ran()
        return self._predictions

    def teardown(self) -> None:
        super().teardown()
        vars(self).pop("_predictions", None)


def saved_predictions(predictions: list[object]) -> list[object]:
    """Predictions as a checkpoint keeps them.

    Raises:
        CheckpointError: It cannot hold them.
    """
    if (lost := next((each for each in predictions if not is_data(each)), None)) is not None:
        raise CheckpointError(
            "save_checkpoint",
            f"a prediction is under way, and a checkpoint cannot hold what it gives, a {type(lost).__name__}",
            "Let `predict_step` return tensors, numbers, and lists, tuples and dicts of them, or save after it.",
        )
    return list(predictions)
