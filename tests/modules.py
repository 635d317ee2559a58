"""Small real modules and loaders."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class Classifier(nn.Module):
    """Fits by its shape; every step there is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"accuracy": (self.net(batch[0]).argmax(1) == batch[1]).float().mean()}

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        output: Tensor = self.net(batch[0])
        return output.argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batches(count: int = 4, size: int = 6) -> list[Batch]:
    """`count` different batches, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 4, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]


class Loader:
    """A loader that is no list: sized or not, and counts what it is asked for."""

    def __init__(self, items: list[Batch], length: int | None = None) -> None:
        self.items = items
        self.iterations = 0
        self.fetched = 0
        self.length = len(items) if length is None else length

    def __iter__(self) -> Iterator[Batch]:
        self.iterations += 1
        for item in self.items:
            self.fetched += 1
            yield item

    def __len__(self) -> int:
        return self.length


class Stream:
    """A loader without a length."""

    def __init__(self, items: list[Batch]) -> None:
        self.items = items
        self.fetched = 0

    def __iter__(self) -> Iterator[Batch]:
        for item in self.items:
            self.fetched += 1
            yield item
