# pyright: reportUnknownMemberType=false
"""Loaders whose batches are not those that are said or asked for."""

from __future__ import annotations

from torch import Tensor
from torch.utils.data import TensorDataset

from tests.typing.good.models import Batch, Classifier, Points, collate, loader
from typedloops import BatchLoader, Trainer
from typedloops.protocols import SizedLoader


def collate_text(items: list[str]) -> Batch:
    raise NotImplementedError


def collate_labels(items: list[tuple[Tensor, int]]) -> list[int]:
    return [label for _, label in items]


model, trainer = Classifier(), Trainer()
BatchLoader(Points(), collate_fn=collate_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
said: BatchLoader[int] = BatchLoader(Points(), collate_fn=collate)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
trainer.fit(model, BatchLoader(Points(), collate_fn=collate_labels))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
trainer.predict(model, [loader(), BatchLoader(Points(), collate_fn=collate_labels)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
BatchLoader(Points(), batch_sizes=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
BatchLoader(Points(), 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
BatchLoader([1, 2, 3], collate_fn=collate)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
BatchLoader(Points(), collate_fn=collate, batch_size="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
untold = BatchLoader(TensorDataset())  # type: ignore[var-annotated]  # pyright: ignore[reportUnknownVariableType]
label: int = next(iter(loader()))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
points, labels, weights = next(iter(loader()))  # type: ignore[misc]  # pyright: ignore[reportAssignmentType, reportUnknownVariableType]
sized: SizedLoader[Batch] = iter(loader())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
