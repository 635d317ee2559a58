"""Any small fit, interrupted anywhere, once or twice, is the fit that was not interrupted."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.modules import Stream
from tests.resuming.recording import Act, Journal, Left, Make, Parts, Process, changes, quiet


class Line(nn.Module):
    """Fits a line through noise.

    Args:
        closure: Whether by an optimizer that looks several times at each batch.
    """

    def __init__(self, closure: bool) -> None:
        super().__init__()
        self.line = nn.Linear(2, 1)
        self.closure = closure
        self.made: list[Any] = []

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        x = batch[0]
        output: Tensor = self.line(x) * torch.rand(len(x), 1)
        return (output - x.sum(1, keepdim=True)).square().mean()

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.training_step(batch, batch_idx)}

    def configure_optimizers(self) -> Any:
        parameters = self.parameters()
        self.made = [
            torch.optim.LBFGS(parameters, lr=0.05, max_iter=2)
            if self.closure
            else torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
        ]
        return self.made


CADENCES: list[dict[str, Any]] = [
    {"limit_val_batches": 0},
    {},
    {"check_val_every_n_epoch": 2},
    {"val_check_interval": 1},
    {"val_check_interval": 2},
    *({"val_check_interval": batches, "check_val_every_n_epoch": None} for batches in (2, 3, 5)),
]


@st.composite
def fits(draw: st.DrawFn) -> Make:
    batches, closure, sized = draw(st.integers(2, 5)), draw(st.booleans()), draw(st.booleans())
    found: dict[str, Any] = {"max_epochs": draw(st.integers(1, 3)), **draw(st.sampled_from(CADENCES))}
    found["accumulate_grad_batches"] = 1 if closure else draw(st.sampled_from([1, 2, 3, {1: 2}]))
    found["max_steps"] = draw(st.sampled_from([-1, -1, 1, 4, 7]))
    found["limit_train_batches"] = draw(st.sampled_from([1.0, 2]))
    x = torch.linspace(-1, 1, 6 * batches).view(-1, 2)

    def make() -> Parts:
        train: Any = DataLoader(TensorDataset(x), batch_size=3, shuffle=True)
        if not sized:
            train = Stream([(x[index : index + 3], x) for index in range(0, len(x), 3)])
        return Parts(Line(closure), [train, DataLoader(TensorDataset(x), batch_size=4)], found)

    return make


def leaving_at(call: int, path: Path) -> Act:
    """Save at a hook of this process, and leave it."""

    def gone(path: Path) -> None:
        raise Left

    def act(trainer: Any, journal: Journal, hook: str) -> None:
        if journal.calls == call:
            trainer.save_checkpoint(path, when_written=gone)

    return act


@settings(max_examples=60, deadline=None)
@given(make=fits(), shares=st.lists(st.floats(0, 1), min_size=1, max_size=2))
def test_interrupted_anywhere(make: Make, shares: list[float]) -> None:
    whole = quiet(make)
    with tempfile.TemporaryDirectory() as folder:
        processes: list[Process] = []
        path = None
        for number, share in enumerate(shares):
            # Of each process that goes on, at a share of the hooks that are left.
            left = whole.journal.calls - sum(process.journal.calls for process in processes)
            here = Path(folder) / str(number)
            processes.append(quiet(make, seed=number + 1, resume=path, act=leaving_at(1 + int(share * left), here)))
            if processes[-1].end:
                break
            path = here
        else:
            processes.append(quiet(make, seed=9, resume=path))
    assert changes(whole, processes) == []
