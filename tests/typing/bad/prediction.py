# pyright: reportUnknownMemberType=false
"""Writers of other predictions or batches than there are, and what a written prediction is not."""

from __future__ import annotations

from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches, loader
from tests.typing.good.prediction import Labelling, Labels
from typedloops import PredictionWriter, ShardWriter, Trainer


class OfTexts:
    def write(self, prediction: str, batch: object, batch_idx: int, dataloader_idx: int) -> None: ...


class OfOtherBatches:
    def write(self, prediction: Tensor, batch: list[int], batch_idx: int, dataloader_idx: int) -> None: ...


class TooFew:
    def write(self, prediction: Tensor, batch: Batch, batch_idx: int) -> None: ...


model, data, trainer = Classifier(), batches(), Trainer()
trainer.predict(model, data, writer=OfTexts())  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, data, writer=Labelling())  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, data, writer=OfOtherBatches())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, data, writer=TooFew())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, data, writer=[])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, [loader()], writer=OfTexts())  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, data, Labelling())  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
trainer.predict(Labels(), data, writer=Labelling())[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
written: list[Tensor] = trainer.predict(Labels(), data, writer=Labelling())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
returned: list[str] = trainer.predict(model, data)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
takes: PredictionWriter[Tensor] = OfTexts()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
ShardWriter(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
