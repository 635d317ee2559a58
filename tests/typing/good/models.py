"""Modules and data that the other files share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import Dataset

from typedloops import BatchLoader

Batch = tuple[Tensor, Tensor]


class Classifier(nn.Module):
    """Has every step; no base class but torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return nn.functional.cross_entropy(logits, batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> Mapping[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.predict_step(batch, batch_idx) == batch[1]).float().mean()}

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        return logits.argmax(1)

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class StepDict(TypedDict):
    loss: Tensor
    size: int


class Prediction(NamedTuple):
    labels: Tensor
    batch_idx: int


class Points(Dataset[tuple[Tensor, int]]):
    """Four points of two classes."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((4,), float(index)), index % 2

    def __len__(self) -> int:
        return 4


def collate(items: list[tuple[Tensor, int]]) -> Batch:
    return torch.stack([point for point, _ in items]), torch.tensor([label for _, label in items])


def loader() -> BatchLoader[Batch]:
    return BatchLoader(Points(), collate_fn=collate, batch_size=2)


def batches(count: int = 2) -> list[Batch]:
    return [(torch.randn(3, 4), torch.randint(0, 2, (3,))) for _ in range(count)]
