"""A real model on real data: the hand-written loop and `fit` come to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier
from typedloops import OptimizerLoop

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

EPOCHS = 2
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "AdamW": lambda parameters: AdamW(parameters, lr=0.01),
    "LBFGS": lambda parameters: LBFGS(parameters, lr=0.1, max_iter=3),
}
CLIPS: dict[str, dict[str, Any]] = {
    "no clipping": {},
    "clipped by norm": {"gradient_clip_val": 0.5},
    "clipped by value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
}


class Digits(Classifier):
    """Tells handwritten digits apart."""

    def __init__(self, optimizer: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
        self.optimizer = optimizer

    def configure_optimizers(self) -> Optimizer:
        return OPTIMIZERS[self.optimizer](self.parameters())


class Unfused(OptimizerLoop):
    def on_advance_end(self) -> None:
        super().on_advance_end()


@cache
def dataset() -> TensorDataset:
    digits = load_digits()
    images = torch.as_tensor(digits.data[:200], dtype=torch.float32).div(16)
    return TensorDataset(images, torch.as_tensor(digits.target[:200]))


def loader() -> Any:
    """Seven batches, of which the last is smaller, in another order in each epoch."""
    return DataLoader(dataset(), batch_size=32, shuffle=True)


def clip(model: nn.Module, settings: dict[str, Any]) -> None:
    if settings.get("gradient_clip_algorithm") == "value":
        nn.utils.clip_grad_value_(model.parameters(), settings["gradient_clip_val"])
    elif settings:
        nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip_val"])


def by_hand(model: Digits, size: int, clipping: dict[str, Any]) -> None:
    optimizer: Any = model.configure_optimizers()
    for _ in range(EPOCHS):
        data: Iterable[Batch] = loader()
        for index, batch in enumerate(data):
            window = min(size, 7 - index // size * size)

            def gradients(index: int = index, batch: Batch = batch, window: int = window) -> Tensor:
                if index % size == 0:
                    optimizer.zero_grad()
                loss = model.training_step(batch, index)
                (loss / window if window > 1 else loss).backward()
                return loss

            def closure(gradients: Callable[[], Tensor] = gradients) -> Tensor:
                loss = gradients()
                clip(model, clipping)
                return loss

            if model.optimizer == "LBFGS":
                optimizer.step(closure)
                continue
            gradients()
            if (index + 1) % size == 0 or index == 6:
                clip(model, clipping)
                optimizer.step()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("clipping", CLIPS)
@pytest.mark.parametrize(
    ("optimizer", "size"), [("SGD", 1), ("SGD", 3), ("AdamW", 1), ("AdamW", 3), ("AdamW", 4), ("LBFGS", 1)]
)
def test_same_bits_as_the_hand_written_loop(optimizer: str, size: int, clipping: str, fused: bool) -> None:
    theirs = Digits(optimizer)
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    by_hand(theirs, size, CLIPS[clipping])
    ours = Digits(optimizer)
    trainer = Trainer(max_epochs=EPOCHS, accumulate_grad_batches=size, **CLIPS[clipping])
    if not fused:
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    result = trainer.fit(ours, loader())
    assert (result.batches, result.optimizer_steps) == (7 * EPOCHS, -(-7 // size) * EPOCHS)
    assert not any(map(torch.equal, before.values(), theirs.state_dict().values()))
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
