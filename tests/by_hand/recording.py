"""A module, loaders and a callback that write down what happens to them, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Optimizer
from torch.optim.lr_scheduler import MultiplicativeLR

from tests.by_hand.fits import CADENCES, LIMITS, TRAIN_BATCHES, TURNS, VAL_BATCHES, Failure, Fit
from tests.modules import Batch, batches
from typedloops import Callback


class Breakdown(Exception):
    """What goes wrong in a fit."""


class Journal:
    """One line for each event, with the counters at that time; and the failure at one of them.

    Args:
        failure: What is to happen, or None.
    """

    def __init__(self, failure: Failure | None) -> None:
        self.failure = failure
        self.lines: list[str] = []
        self.counters: Callable[[], str] = str
        self.stop: Callable[[], None] = lambda: None

    def note(self, event: str, index: int | None = None) -> str | None:
        """Write down that something happens now; returns what a failure says is to be answered."""
        line = len(self.lines)
        self.lines.append(f"{event}{'' if index is None else f' {index}'} ({self.counters()})")
        failure = self.failure
        if failure is None or failure.line != line:
            return None
        if failure.does == "raise":
            raise Breakdown
        if failure.does == "StopIteration":
            raise StopIteration
        if failure.does == "stop":
            self.stop()
        return failure.does


class Rate(MultiplicativeLR):
    """A scheduler that halves the learning rate."""

    told: Callable[[], object] | None = None

    def __init__(self, optimizer: Optimizer, journal: Journal, interval: str) -> None:
        super().__init__(optimizer, lambda count: 0.5)
        self.told = lambda: journal.note(f"rate of the {interval}")

    def step(self, epoch: int | None = None) -> None:
        if self.told is not None:  # the constructor steps as well
            self.told()
        super().step()


class Model(nn.Module):
    """Two linear networks whose outputs are added.

    Args:
        kind: How it is optimized, a word of the table.
        journal: Is told of each step.
    """

    def __init__(self, kind: str, journal: Journal) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])
        self.dropout = nn.Dropout(0.2)
        self.kind = kind
        self.journal = journal
        self.made: list[Optimizer] = []

    @property
    def automatic_optimization(self) -> bool:
        return self.kind != "manual"

    def loss(self, batch: Batch) -> Tensor:
        inputs: Tensor = self.dropout(batch[0])
        logits: Tensor = self.parts[0](inputs) + self.parts[1](inputs)
        return nn.functional.cross_entropy(logits, batch[1])

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int = 0) -> Any:
        if self.journal.note("training_step", batch_idx) == "None":
            return None
        loss = self.loss(batch) * (1 + optimizer_idx)
        if self.kind == "manual":
            (optimizer,) = self.made
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.journal.note("validation_step", batch_idx)
        return self.loss(batch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        return -1 if self.journal.note("M.on_train_batch_start", batch_idx) == "-1" else None

    def optimizers_made(self) -> list[Optimizer]:
        """What the module is optimized with."""
        if self.kind == "none":
            return []
        if self.kind == "LBFGS":
            made: list[Optimizer] = [LBFGS(self.parameters(), lr=0.1, max_iter=2)]
        elif self.kind in ("two", "taking turns"):
            made = [SGD(part.parameters(), lr=0.1, momentum=0.9) for part in self.parts]
        else:
            made = [SGD(self.parameters(), lr=0.1, momentum=0.9)]
        for optimizer in made:
            optimizer.register_step_pre_hook(lambda *_: self._note_step())
        return made

    def _note_step(self) -> None:
        self.journal.note("step")

    def configure_optimizers(self) -> Any:
        self.made = self.optimizers_made()
        if self.kind == "scheduled":
            rates = [Rate(self.made[0], self.journal, interval) for interval in ("step", "epoch")]
            return self.made, [
                {"scheduler": rate, "interval": interval}
                for rate, interval in zip(rates, ("step", "epoch"), strict=True)
            ]
        if self.kind == "taking turns":
            return [
                {"optimizer": optimizer, "frequency": frequency}
                for optimizer, frequency in zip(self.made, TURNS, strict=True)
            ]
        return self.made if len(self.made) > 1 else self.made[0] if self.made else None


class OwnStep(Model):
    """Steps in its own way."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Optimizer, optimizer_closure: Callable[[], Any]
    ) -> None:
        self.journal.note("M.optimizer_step", batch_idx)
        optimizer.step(optimizer_closure)


def model_of(kind: str, journal: Journal) -> Model:
    """A module that is optimized as a word of the table says; its weights are always the same."""
    return (OwnStep if kind == "own step" else Model)(kind, journal)


class Loader:
    """A loader without a length."""

    def __init__(self, name: str, items: list[Batch], journal: Journal) -> None:
        self.name = name
        self.items = items
        self.journal = journal

    def __iter__(self) -> Iterator[Batch]:
        self.journal.note(f"{self.name} loader begins")
        return Pass(self)


class Sized(Loader):
    """One with a length."""

    def __len__(self) -> int:
        return len(self.items)


class Pass:
    """An iterator written by hand: what it raises, its caller gets."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.index = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        loader, index = self.loader, self.index
        self.index += 1
        loader.journal.note(f"{loader.name} loader", index)
        if index >= len(loader.items):
            raise StopIteration
        return loader.items[index]


WITH_INDEX = ("on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end")
EVENTS = (
    *WITH_INDEX,
    *(f"on_{what}_{when}" for what in ("fit", "train", "train_epoch") for when in ("start", "end")),
    *(f"on_validation_{when}" for when in ("start", "epoch_start", "epoch_end", "end")),
    *("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"),
    *("setup", "on_exception", "teardown"),
)


def callback_of(journal: Journal) -> Callback[Model]:
    """A callback that writes down every event that it hears of."""

    def hook(event: str) -> Callable[..., None]:
        def listen(self: object, trainer: object, module: object, *args: Any) -> None:
            journal.note(event, args[-1] if event in WITH_INDEX else None)

        return listen

    made: Callback[Model] = type("Recorder", (Callback,), {event: hook(event) for event in EVENTS})()
    return made


@dataclass
class Outcome:
    """What a fit came to.

    Args:
        ended: Why it stopped, or the error that it ended with.
        lines: What happened.
        counts: The counters at the end.
        weights: The module's state.
    """

    ended: str
    lines: list[str]
    counts: dict[str, object]
    weights: dict[str, Tensor]


def data_of(fit: Fit, journal: Journal) -> tuple[Loader, Loader | None]:
    """What to train on and what to validate on."""
    train = (Sized if LIMITS[fit.limit].sized else Loader)("train", batches(TRAIN_BATCHES), journal)
    val = Sized("validation", batches(VAL_BATCHES), journal) if CADENCES[fit.cadence].validates else None
    return train, val
