"""Gradients of windows are those of all their items at once, on real models and data, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

import typedloops
from tests.modules import Batch
from typedloops import Callback, MicroBatchOptimization, OptimizerLoop, TrainerView

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer

ITEMS = 60
TOLERANCE: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-14}


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(8, 12, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        states, _ = self.cell(images.view(-1, 8, 8))
        logits: Tensor = self.head(states[:, -1])
        return logits


NETS: dict[str, Callable[[], nn.Module]] = {
    "layers": lambda: nn.Sequential(nn.Linear(64, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 10)),
    "convolutions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)
    ),
    "recurrent": Recurrent,
}


class Digits(nn.Module):
    """Tells handwritten digits apart; its loss is a mean over items."""

    def __init__(self, net: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = NETS[net]().double()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


@cache
def digits() -> Batch:
    data = load_digits()
    return torch.as_tensor(data.data[:ITEMS]).div(16), torch.as_tensor(data.target[:ITEMS])


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


class Seen(Callback[Digits, Batch]):
    """Keeps the gradients before they are clipped."""

    def on_before_optimizer_step(self, trainer: TrainerView, module: Digits, optimizer: Optimizer) -> None:
        self.unclipped = gradients(module)


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


WINDOWS: dict[str, tuple[Sequence[int], Callable[[], Any], dict[str, Any]]] = {
    "of equal batches": ((20, 20, 20), OptimizerLoop, {"accumulate_grad_batches": 3}),
    "of equal batches, unfused": ((20, 20, 20), Unfused, {"accumulate_grad_batches": 3}),
    "longer than an epoch": ((30, 30), OptimizerLoop, {"accumulate_grad_batches": 5}),
    "weighted by items": (
        (31, 17, 12),
        OptimizerLoop,
        {"accumulate_grad_batches": 3, "accumulation_weight": lambda batch: len(batch[1])},
    ),
    "micro-batches": ((60,), lambda: MicroBatchOptimization(7), {}),
}


@pytest.mark.filterwarnings("ignore:accumulate_grad_batches is")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_gradient_of_a_window_is_that_of_its_items(window: str, net: str) -> None:
    sizes, loop, settings = WINDOWS[window]
    x, y = digits()
    theirs = Digits(net)
    theirs.training_step((x, y), 0).backward()
    expected = gradients(theirs)
    norm = nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
    clipped = gradients(theirs)
    theirs.configure_optimizers().step()

    ours, seen = Digits(net), Seen()
    trainer = Trainer(max_epochs=1, gradient_clip_val=0.05, callbacks=[seen], **settings)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop())
    result = trainer.fit(ours, list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True)))

    assert result.optimizer_steps == 1
    assert norm > 0.05, "there is something to clip"
    torch.testing.assert_close(seen.unclipped, expected, **TOLERANCE)
    torch.testing.assert_close(gradients(ours), clipped, **TOLERANCE)
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), **TOLERANCE)
