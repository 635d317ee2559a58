"""Any small fit, interrupted anywhere, once or twice, is the fit that was not interrupted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.resuming.recording import Journal, Left, Parts, Process, changes, quiet


class Line(nn.Module):
    """Fits a line to noise, with more noise."""

    def __init__(self, closure: bool) -> None:
        super().__init__()
        self.line = nn.Linear(2, 1)
        self.closure = closure
        self.made: list[Any] = []

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        (x,) = batch
        output: Tensor = self.line(x)
        return (output * torch.rand_like(output) - x.sum(1, keepdim=True)).square().mean()

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def configure_optimizers(self) -> Any:
        if self.closure:
            self.made = [torch.optim.LBFGS(self.parameters(), lr=0.05, max_iter=2)]
        else:
            self.made = [torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)]
        return self.made


CADENCES: list[dict[str, Any]] = [
    {"limit_val_batches": 0},
    {},
    {"check_val_every_n_epoch": 2},
    *({"val_check_interval": batches} for batches in (1, 2, 3)),
    {"val_check_interval": 0.5},
    *({"val_check_interval": batches, "check_val_every_n_epoch": None} for batches in (2, 3, 5)),
]


@st.composite
def fits(draw: st.DrawFn) -> tuple[Any, int]:
    """What makes a fit, and a number of its batches at least."""
    batches, epochs = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    closure, sized = draw(st.booleans()), draw(st.booleans())
    limits: dict[str, Any] = {"max_epochs": epochs, **draw(st.sampled_from(CADENCES))}
    if batches < limits.get("val_check_interval", 0) and "check_val_every_n_epoch" not in limits:
        limits["val_check_interval"] = batches
    if not closure:
        limits["accumulate_grad_batches"] = draw(st.sampled_from([1, 2, 3, {1: 2}]))
    if draw(st.booleans()):
        limits["max_steps"] = draw(st.integers(1, 8))
    if draw(st.booleans()):
        limits["limit_train_batches"] = batches - 1
        if isinstance(limits.get("val_check_interval"), int) and "check_val_every_n_epoch" not in limits:
            limits["val_check_interval"] = min(limits["val_check_interval"], batches - 1)
    return lambda: made(batches, closure, sized, limits), batches
