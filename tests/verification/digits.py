"""Handwritten digits, and modules on them that go on exactly."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

from typedloops.protocols.module import OptimizerConfig

Batch = tuple[Tensor, Tensor]
Loader = DataLoader[tuple[Tensor, ...]]


@cache
def digits() -> TensorDataset:
    """Eighty of them."""
    found = load_digits()
    image_BHW = torch.as_tensor(found.images[:80], dtype=torch.float32) / 16
    return TensorDataset(image_BHW.flatten(1), torch.as_tensor(found.target[:80], dtype=torch.int64))


def shuffled(size: int = 16) -> Loader:
    return DataLoader(digits(), batch_size=size, shuffle=True)


def in_order(size: int = 32) -> Loader:
    return DataLoader(digits(), batch_size=size)


class Digits(nn.Module):
    """With dropout, and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 10))

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Tensor]:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Tensor] | None:
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self) -> OptimizerConfig:
        return Adam(self.parameters(), lr=0.01)
