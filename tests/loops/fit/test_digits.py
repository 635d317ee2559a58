"""Trained on handwritten digits, the weights have the very bits of those that a hand-written loop trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer
from torch.utils.data import TensorDataset

import typedloops
from tests.modules import Batch
from typedloops import BatchLoader, OptimizerLoop

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

EPOCHS = 2

MAKE: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "AdamW": lambda parameters: AdamW(parameters, lr=3e-3),
    "LBFGS": lambda parameters: LBFGS(parameters, lr=0.5, max_iter=3),
}


def loader() -> BatchLoader[Batch]:
    """Shuffled anew in each epoch, and the last batch is smaller: 600 digits in five batches."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = torch.as_tensor(digits.data[:600], dtype=torch.float32) / 16
    return BatchLoader(TensorDataset(images, torch.as_tensor(digits.target[:600])), batch_size=128, shuffle=True)


class Digits(nn.Module):
    """Layers with dropout between them, and one optimizer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(32, 10)
        self.kind = kind

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def parts(self) -> list[nn.Module]:
        return [self]

    def configure_optimizers(self) -> list[Optimizer]:
        return [MAKE[self.kind](part.parameters()) for part in self.parts()]


class TwoOptimizers(Digits):
    """The same with an optimizer for each of its parts."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor:  # type: ignore[override]
        return self.loss(batch) * (1 + optimizer_idx)

    def parts(self) -> list[nn.Module]:
        return [self.body, self.head]


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


def by_hand(model: Any, size: int, clip: float | None) -> None:
    optimizers, parts, batches = model.configure_optimizers(), model.parts(), loader()
    several = len(optimizers) > 1

    def backward(index: int, batch: Batch, batch_idx: int, count: int) -> Tensor:
        for other in parts:
            other.requires_grad_(other is parts[index])
        loss: Tensor = model.training_step(batch, batch_idx, *([index] if several else []))
        (loss / count if count > 1 else loss).backward()
        if clip is not None and (batch_idx % size == size - 1 or batch_idx == len(batches) - 1):
            nn.utils.clip_grad_norm_(parts[index].parameters(), clip)
        return loss

    for _ in range(EPOCHS):
        for batch_idx, batch in enumerate(batches):
            first = batch_idx // size * size
            count = min(size, len(batches) - first)
            for index, optimizer in enumerate(optimizers):
                if model.kind == "LBFGS":

                    def closure(index: int = index, batch: Batch = batch, batch_idx: int = batch_idx) -> Tensor:
                        optimizers[index].zero_grad()
                        return backward(index, batch, batch_idx, 1)

                    optimizer.step(closure)
                    continue
                if batch_idx == first:
                    optimizer.zero_grad()
                backward(index, batch, batch_idx, count)
                if batch_idx == first + count - 1:
                    optimizer.step()
        for part in parts:
            part.requires_grad_(True)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize(("optimizer", "size"), [("SGD", 1), ("SGD", 3), ("AdamW", 1), ("AdamW", 3), ("LBFGS", 1)])
@pytest.mark.parametrize("kind", [Digits, TwoOptimizers])
def test_the_weights_have_the_bits_of_a_hand_written_loop(
    kind: type[Digits], optimizer: str, size: int, clip: float | None, fused: bool
) -> None:
    torch.manual_seed(0)
    ours, theirs = kind(optimizer), kind(optimizer)
    theirs.load_state_dict(ours.state_dict())
    trainer = Trainer(max_epochs=EPOCHS, accumulate_grad_batches=size, gradient_clip_val=clip)
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    torch.manual_seed(1)
    result = trainer.fit(ours, loader())
    after = torch.get_rng_state()
    torch.manual_seed(1)
    by_hand(theirs, size, clip)
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), after), "and as many random numbers were drawn"
    assert not any(map(torch.equal, ours.state_dict().values(), before.values()))
    assert result.steps_by_optimizer == (EPOCHS * -(-5 // size),) * len(ours.parts())
