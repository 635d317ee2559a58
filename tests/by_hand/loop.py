"""The loop that one writes: what a fit is to do, without the library.

It trains a real model, so that it says what its weights come to, and calls the events in the order of
Lightning's trainer where they are said to happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from tests.by_hand.fits import CADENCES, LIMITS, Failure, Fit
from tests.by_hand.optimizing import Optimizing
from tests.by_hand.recording import Breakdown, Journal, Model, Outcome, data_of, model_of
from tests.modules import Batch


class Empty(Exception):
    """A loader gave no batches."""


class Escaped(Exception):
    """A `StopIteration` from what a loop calls."""


ERRORS: dict[type[Exception], str] = {
    Breakdown: "Breakdown",
    Escaped: "EscapedStopIteration",
    Empty: "LoaderError",
}
"""What the library calls what a fit may end with."""


@dataclass
class Counter:
    """The batches of an epoch, or of all."""

    ready: int = 0
    started: int = 0
    processed: int = 0
    completed: int = 0

    def __str__(self) -> str:
        return f"{self.ready}/{self.started}/{self.processed}/{self.completed}"


@dataclass
class ByHand:
    """A fit.

    Args:
        setup: What fit.
        failure: What happens to it, or None.
    """

    setup: Fit
    failure: Failure | None = None
    epoch: int = 0
    epochs: Counter = field(default_factory=Counter)
    now: Counter = field(default_factory=Counter)
    total: Counter = field(default_factory=Counter)
    steps: list[int] = field(default_factory=list)
    steps_begun: int = 0
    validated: int = 0
    stop: bool = False

    def __post_init__(self) -> None:
        self.limit, self.cadence = LIMITS[self.setup.limit], CADENCES[self.setup.cadence]
        journal = self.journal = Journal(self.failure)
        journal.counters, journal.stop = self.counters, self.request
        self.model: Model = model_of(self.setup.optimizers, journal)
        self.train, self.val = data_of(self.setup, journal)

    def counters(self) -> str:
        return f"epoch {self.epoch}, step {sum(self.steps)}, batches {self.now}"

    def request(self) -> None:
        self.stop = True

    def note(self, event: str, index: int | None = None) -> None:
        self.ask(lambda: self.journal.note(event, index))

    def ask(self, function: Callable[[], Any]) -> Any:
        """What something else says; it is not to end a loop of ours."""
        try:
            return function()
        except StopIteration:
            raise Escaped from None

    def run(self) -> Outcome:
        torch.manual_seed(1)
        steps: tuple[int, ...] | None = None
        try:
            ended = self.hosted()
            steps = tuple(self.steps)
        except tuple(ERRORS) as error:
            ended = ERRORS[type(error)]
        counts: dict[str, object] = {
            "epochs": str(self.epochs),
            "batches": str(self.total),
            "steps": f"{self.steps_begun}/{sum(self.steps)}",
            "steps by optimizer": steps,
            "validated": self.validated,
        }
        return Outcome(ended, self.journal.lines, counts, self.model.state_dict())

    def hosted(self) -> str:
        try:
            ended = self.fit()
        except Exception:
            self.note("on_exception")
            self.note("teardown")
            raise
        self.note("teardown")
        return ended

    def fit(self) -> str:
        self.note("setup")
        self.configure()
        self.note("on_fit_start")
        self.note("on_train_start")
        while self.reason is None:
            self.train_epoch()
        self.note("on_train_end")
        self.note("on_fit_end")
        return self.reason

    def configure(self) -> None:
        self.model.configure_optimizers()
        self.steps = [0] * len(self.model.made)
        for index, optimizer in enumerate(self.model.made):
            optimizer.register_step_pre_hook(lambda *_: self.begin_step())
            optimizer.register_step_post_hook(lambda *_, index=index: self.count_step(index))

    def begin_step(self) -> None:
        self.steps_begun += 1

    def count_step(self, index: int) -> None:
        self.steps[index] += 1

    @property
    def reason(self) -> str | None:
        """Why to stop, if there is a reason."""
        if self.stop:
            return "requested"
        if self.enough_steps:
            return "max_steps"
        return "max_epochs" if self.epochs.completed == self.limit.epochs else None

    @property
    def enough_steps(self) -> bool:
        return self.limit.steps is not None and sum(self.steps) >= self.limit.steps

    def train_epoch(self) -> None:
        self.epoch = self.epochs.completed
        self.epochs.ready += 1
        self.note("on_train_epoch_start")
        self.epochs.started += 1
        self.now = Counter()
        self.optimize = self.optimizing()
        self.train_batches()
        if self.val is not None and self.every is None and (self.epoch + 1) % (self.cadence.epochs or 1) == 0:
            self.validate()
        self.epochs.processed += 1
        self.note("on_train_epoch_end")
        if self.model.kind == "scheduled":
            self.note_rate("epoch")
        self.epochs.completed += 1

    def optimizing(self) -> Optimizing:
        window = self.setup.window
        size = (
            window if isinstance(window, int) else max([1, *(n for start, n in window.items() if start <= self.epoch)])
        )
        return Optimizing(self.model, self.epoch, size, self.limit.known)

    @property
    def every(self) -> int | None:
        """After how many batches to validate within epochs; None is at their end."""
        if self.cadence.share is not None:
            return max(1, int(self.cadence.share * (self.limit.known or 0)))
        return self.cadence.batches

    def train_batches(self) -> None:
        data = self.ask(self.train.__iter__)
        index, over, ahead = 0, self.stop, None
        while not over:
            batch, ahead = ahead or self.fetch(data), None
            if batch is None:
                break
            last = index + 1 == self.limit.known
            if not self.limit.sized and not last:
                ahead = self.fetch(data)
                last = ahead is None
            if not self.train_batch(batch, index, last=last):
                break
            index += 1
            over = self.stop or self.enough_steps or index == self.limit.train or (not self.limit.sized and last)
            self.validate_within()
            over = over or self.stop
        if self.now.ready == 0 and not self.stop:
            raise Empty

    def fetch(self, data: Iterator[Batch]) -> Batch | None:
        return next(data, None)

    def validate_within(self) -> None:
        count = self.total.completed if self.cadence.epochs is None else self.now.completed
        if self.val is not None and self.every is not None and count % self.every == 0:
            self.validate()

    def train_batch(self, batch: Batch, index: int, *, last: bool) -> bool:
        """Train on one batch; False when the module skips the rest of the epoch."""
        self.now.ready += 1
        self.total.ready += 1
        self.note("on_train_batch_start", index)
        if self.ask(lambda: self.model.on_train_batch_start(batch, index)) == -1:
            return False
        self.now.started += 1
        self.total.started += 1
        before = list(self.steps)
        self.ask(lambda: self.optimize(batch, index, last=last))
        self.now.processed += 1
        self.total.processed += 1
        if self.model.kind == "scheduled" and self.steps != before:
            self.note_rate("step")
        self.note("on_train_batch_end", index)
        self.now.completed += 1
        self.total.completed += 1
        return True

    def note_rate(self, interval: str) -> None:
        """Step the scheduler."""
        self.note(f"rate of the {interval}")
        for group in self.model.made[0].param_groups:
            group["lr"] *= 0.5

    def validate(self) -> None:
        self.model.eval()
        try:
            with torch.no_grad():
                self.evaluate()
        finally:
            self.model.train()

    def evaluate(self) -> None:
        assert self.val is not None
        self.note("on_validation_start")
        self.note("on_validation_epoch_start")
        data = self.ask(self.val.__iter__)
        index = 0
        while index != self.limit.val and (batch := self.fetch(data)) is not None:
            self.note("on_validation_batch_start", index)
            self.ask(partial(self.model.validation_step, batch, index))
            self.note("on_validation_batch_end", index)
            self.validated += 1
            index += 1
        if index == 0:
            raise Empty
        self.note("on_validation_epoch_end")
        self.note("on_validation_end")
