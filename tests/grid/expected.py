"""What a fit should do: a plain simulation, with numbers in place of tensors.

It is written from the documented order of a fit and shares nothing with the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.grid.axes import CADENCES, LEARNING_RATE, TRAIN_BATCHES, VAL_BATCHES, Act, Cell, Plan

COUNTED = ("ready", "started", "processed", "completed")
TRANSFERS = ("M.on_before_batch_transfer", "M.transfer_batch_to_device", "M.on_after_batch_transfer")


class Counts:
    """How often something was done, in all and in the run under way."""

    def __init__(self) -> None:
        self.total = dict.fromkeys(COUNTED, 0)
        self.current = dict.fromkeys(COUNTED, 0)

    def begin(self) -> None:
        self.current = dict.fromkeys(COUNTED, 0)

    def count(self, *what: str) -> None:
        for name in what:
            self.total[name] += 1
            self.current[name] += 1


class Broken(Exception):
    """The fit ends with an error, of this class and with this beginning of its message."""


@dataclass
class Outcome:
    """How a fit ended.

    Args:
        error: The class of the error and how its message begins, or None.
        result: Reason, epochs, batches, steps, and the steps of each optimizer; None with an error.
        last_output: The loss of the last training step; None when there was none.
        metrics: The newest value of each.
        counts: What every tracker of the tree says in the end.
        weights: The weight of each optimizer.
        warnings: What was warned of.
    """

    error: tuple[str, str] | None = None
    result: tuple[str, int, int, int, tuple[int, ...]] | None = None
    last_output: float | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    counts: dict[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    weights: list[float] = field(default_factory=list[float])
    warnings: list[str] = field(default_factory=list[str])


class Window:
    """The batches of one step of one optimizer."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.gradients: list[float] = []

    def closes(self, index: int, is_last: bool) -> bool:
        return (index + 1) % self.size == 0 or is_last


class Feed:
    """A loader that is gone through: without a length it is asked for one batch ahead, but at the limit."""

    def __init__(self, fit: Expected, event: str, count: int, limit: int | None) -> None:
        self.fit, self.event, self.count, self.limit = fit, event, count, limit
        self.asked = self.given = 0
        self.ahead: int | None = None
        self.ended = self.is_last = False

    def _ask(self) -> int | None:
        act = self.fit.happen(self.event)
        self.ended = act == "ends" or self.asked == self.count
        if self.ended:
            return None
        self.asked += 1
        return self.asked - 1

    def take(self) -> int | None:
        if self.given == self.limit or (self.ended and self.ahead is None):
            return None
        batch, self.ahead = (self._ask() if self.ahead is None else self.ahead), None
        if batch is None:
            return None
        self.given += 1
        if self.fit.cell.way.sized:
            self.is_last = self.given == (self.count if self.limit is None else self.limit)
        elif self.given == self.limit:
            self.is_last = True
        else:
            self.ahead = self._ask()
            self.is_last = self.ahead is None
        return batch

    def check(self, name: str) -> None:
        """What a loader is told that gave nothing, or less than it said."""
        if self.ended and self.given == 0:
            raise Broken("LoaderError", f"{name} dataloader: it gave no batches")
        if self.ended and self.given < self.count and self.fit.cell.way.sized:
            self.fit.outcome.warnings.append("its length is")


class Expected:
    """Goes through a fit and writes down what should happen: `trace` and `outcome`."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.how = cell.optimizing
        self.plan = Plan(cell.fault)
        self.trace: list[tuple[object, ...]] = []
        self.outcome = Outcome()
        self.requested = False
        self.training = True
        self.epoch = 0
        self.epochs, self.batches, self.steps = Counts(), Counts(), Counts()
        self.val_batches, self.val_loaders = Counts(), Counts()
        self.steps_of = [Counts() for _ in range(self.how.optimizers)]
        self.own_steps_of = [Counts() for _ in range(self.how.optimizers)]
        self.zero_grads_of = [Counts() for _ in range(self.how.optimizers)]
        self.weights = [1.0] * max(1, self.how.optimizers)
        self.pending: set[int] = set()
        self.idle_epochs = 0
        self.newest: dict[int, float] = {}
        self.hidden: int | None = None
        try:
            self.fit()
        except Broken as broken:
            self.outcome.error = (broken.args[0], broken.args[1])
            self.both("on_exception")
        else:
            self.conclude()
        self.both("teardown")
        self.outcome.weights = self.weights
        self.outcome.counts = self.counts()

    # What happens, and what goes wrong.

    def happen(self, event: str, detail: str = "") -> Act | None:
        clock = (
            self.epoch,
            self.steps.total["completed"],
            *self.batches.current.values(),
            *self.val_batches.current.values(),
            self.training,
        )
        self.trace.append((f"{event} {detail}".strip(), *clock))
        act = self.plan.at(event)
        if act == "raises":
            raise Broken("Planned", event)
        if act == "lets StopIteration out":
            who, _, hook = event.rpartition(".")
            name = "Recorder" if who == "C" else "Model"
            raise Broken("EscapedStopIteration", f"{name}.{hook}: StopIteration escaped from it")
        if act == "asks for a stop":
            self.requested = True
        return act

    def both(self, *events: str, detail: str = "") -> None:
        for event in events:
            self.happen(f"C.{event}", detail)
            self.happen(f"M.{event}", detail)

    def each(self, events: Iterable[str]) -> None:
        for event in events:
            self.happen(event)

    # When it ends.

    @property
    def stops(self) -> bool:
        """Whether a request to stop is honoured by now."""
        limits = self.cell.limits
        enough = self.epochs.total["completed"] >= limits.get("min_epochs", 0)
        return self.requested and enough and self.steps.total["completed"] >= limits.get("min_steps", 0)

    @property
    def has_all_steps(self) -> bool:
        return self.steps.total["completed"] >= self.cell.limits.get("max_steps", float("inf"))

    def reason(self) -> str | None:
        if self.stops:
            return "requested"
        if self.cell.limits.get("limit_train_batches") == 0:
            return "no_batches"
        if self.has_all_steps:
            return "max_steps"
        most = self.cell.limits["max_epochs"]
        return "max_epochs" if self.epochs.total["completed"] >= most >= 0 else None

    # The fit, its epochs, its batches.

    def fit(self) -> None:
        self.each(("M.configure_callbacks", "M.prepare_data"))
        self.both("setup")
        self.each(("M.configure_model", "M.configure_optimizers"))
        if self.how.optimizers == 0:
            self.outcome.warnings.append("returned None")
        self.both("on_fit_start")
        sanity_steps = (CADENCES[self.cell.cadence] or {}).get("num_sanity_val_steps")
        if sanity_steps and self.cell.validates and self.reason() is None:
            self.check_sanity()
        self.both("on_train_start")
        while self.reason() is None:
            self.one_epoch()
        self.both("on_train_end", "on_fit_end")

    def check_sanity(self) -> None:
        self.both("on_sanity_check_start")
        self.evaluate(1)
        self.both("on_sanity_check_end")
        self.outcome.metrics.clear()
        self.val_batches, self.val_loaders = Counts(), Counts()

    def one_epoch(self) -> None:
        self.epoch = self.epochs.total["completed"]
        self.epochs.count("ready")
        self.both("on_train_epoch_start")
        self.epochs.count("started")
        steps_before = self.steps.total["completed"]
        self.train()
        self.epochs.count("processed")
        self.both("training_epoch_end", "on_train_epoch_end")
        self.step_rates("epoch")
        self.epochs.count("completed")
        self.look_for_idleness(steps_before)

    def look_for_idleness(self, steps_before: int) -> None:
        self.idle_epochs = self.idle_epochs + 1 if self.steps.total["completed"] == steps_before else 0
        can_step = self.how.automatic and self.how.optimizers > 0 and self.batches.current["completed"] > 0
        if self.idle_epochs == 1 and can_step and not self.stops:
            self.outcome.warnings.append("took no optimizer step")

    def train(self) -> None:
        self.batches.begin()
        self.newest = {}
        self.windows = [Window(self.window_size()) for _ in self.steps_of]
        feed = Feed(self, "fetch", TRAIN_BATCHES, self.limit("limit_train_batches", TRAIN_BATCHES))
        output: float | None = None
        while not self.stops and not self.has_all_steps and (batch := feed.take()) is not None:
            if not self.prepare(batch):
                break
            output = self.one_batch(batch, feed.is_last)
            if self.validates_after_batch():
                self.validate()
        feed.check("train")
        if self.batches.current["processed"]:
            self.outcome.last_output = output
        if self.validates_at_end():
            self.validate()
        self.take_metrics(output)

    def prepare(self, batch: int) -> bool:
        """Everything before the step; False is that the module ends the epoch."""
        self.each(TRANSFERS)
        self.batches.count("ready")
        self.happen("C.on_train_batch_start")
        if self.happen("M.on_train_batch_start") == "answers -1":
            return False
        self.batches.count("started")
        return True

    def one_batch(self, batch: int, is_last: bool) -> float | None:
        steps_before = [steps.total["completed"] for steps in self.steps_of]
        output = self.in_pieces(batch, is_last)
        self.batches.count("processed")
        if output is not None and self.how.monitors:
            self.outcome.metrics["train_loss"] = output
        stepped = {
            index for index, steps in enumerate(self.steps_of) if steps.total["completed"] != steps_before[index]
        }
        self.step_rates("step", stepped)
        self.pending |= stepped
        self.both("on_train_batch_end")
        comes_next = self.validates_after_batch(ahead=1) or (is_last and self.validates_at_end())
        if not comes_next:
            self.step_rates("plateau", self.pending)
            self.pending = set()
        self.batches.count("completed")
        return output

    def step_rates(self, interval: str, of: set[int] | None = None) -> None:
        """The schedulers of an interval, of some optimizers or of all; the loops step none of a manual module."""
        for rate, index in self.how.rates if self.how.automatic else ():
            if rate == interval and (of is None or index in of):
                self.happen("rate", f"{interval} {index}")

    def limit(self, name: str, count: int) -> int | None:
        limit = self.cell.limits.get(name)
        return int(limit * count) if isinstance(limit, float) else limit

    def window_size(self) -> int:
        windows = self.cell.windows
        if isinstance(windows, int):
            return windows
        sizes = [size for first, size in sorted(windows.items()) if first <= self.epoch]
        return sizes[-1] if sizes else 1

    # Optimization.

    def in_pieces(self, batch: int, is_last: bool) -> float | None:
        """Of a batch in pieces, each is told what the newest one before it with a loss remembers."""
        self.hidden = None
        output: float | None = None
        for _ in range(self.how.pieces):
            output = self.optimize(batch, is_last)
            if output is not None:
                self.hidden = 0 if self.hidden is None else self.hidden + 1
        return output

    def optimize(self, batch: int, is_last: bool) -> float | None:
        if self.how.optimizers == 0:
            return self.training_step(0, batch)
        if not self.how.automatic:
            return self.optimize_by_itself(batch)
        output: float | None = None
        for index in self.whose_turn_it_is(batch):
            own = self.one_turn(index, batch, is_last)
            if own is not None:
                self.newest[index] = output = own
        return output

    def whose_turn_it_is(self, batch: int) -> list[int]:
        if not self.how.frequencies:
            return list(range(self.how.optimizers))
        rota = [index for index, often in enumerate(self.how.frequencies) for _ in range(often)]
        return [rota[batch // self.window_size() % len(rota)]]

    def training_step(self, index: int, batch: int) -> float | None:
        detail = str(index) if self.how.optimizers > 1 else f"after {self.hidden}" if self.how.pieces > 1 else ""
        if self.happen("training_step", detail) == "gives None":
            return None
        others = sum(self.weights) - self.weights[index]
        return self.weights[index] * gradient(index, batch) + others

    def optimize_by_itself(self, batch: int) -> float | None:
        output = self.training_step(0, batch)
        if output is not None:
            self.take_step(0, [gradient(0, batch)])
        return output

    def one_turn(self, index: int, batch: int, is_last: bool) -> float | None:
        window = self.windows[index]
        if not window.closes(batch, is_last):
            return self.add_gradients(index, batch)
        if self.how.in_closures:
            return self.step_with_closure(index, batch)
        output = self.add_gradients(index, batch)
        if window.gradients:
            self.both("on_before_optimizer_step", detail=str(index))
            self.own_steps_of[index].count("ready")
            self.take_step(index, window.gradients)
            self.own_steps_of[index].count("completed")
        window.gradients = []
        return output

    def add_gradients(self, index: int, batch: int) -> float | None:
        output, window = self.training_step(index, batch), self.windows[index]
        if output is None:
            return None
        if not window.gradients:
            self.zero_grads_of[index].count("ready")
            self.both("on_before_zero_grad", detail=str(index))
            self.zero_grads_of[index].count("started", "completed")
        self.both("on_before_backward", "on_after_backward")
        window.gradients.append(gradient(index, batch))
        return output

    def step_with_closure(self, index: int, batch: int) -> float | None:
        """The optimizer computes the gradients within its step, which is left where there are none."""
        if self.how.own_step:
            self.happen("M.optimizer_step")
        self.begin_step(index)
        outputs, window = [], self.windows[index]
        gradients: list[float] = []
        for call in range(self.how.closures):
            outputs.append(self.add_gradients(index, batch))
            gradients, window.gradients = window.gradients, []
            if not gradients and call > 0:
                raise Broken("StepOutputError", "Model.training_step: it returned None for a batch that had a loss")
            if not gradients:
                return outputs[0]
            self.both("on_before_optimizer_step", detail=str(index))
            if call == 0:
                self.own_steps_of[index].count("ready")
        self.end_step(index, gradients)
        self.own_steps_of[index].count("completed")
        return outputs[0]

    def take_step(self, index: int, gradients: list[float]) -> None:
        self.begin_step(index)
        self.end_step(index, gradients)

    def begin_step(self, index: int) -> None:
        self.happen("step", str(index))
        self.steps.count("ready")
        self.steps_of[index].count("ready")

    def end_step(self, index: int, gradients: list[float]) -> None:
        self.weights[index] -= LEARNING_RATE * sum(gradients) / len(gradients)
        self.happen("stepped", str(index))
        self.steps.count("completed")
        self.steps_of[index].count("completed")

    # Validation.

    @property
    def cadence(self) -> Mapping[str, int | float | None] | None:
        """What the cadence says, or None where nothing is validated."""
        return CADENCES[self.cell.cadence]

    def is_epoch_for_it(self) -> bool:
        every = (self.cadence or {}).get("check_val_every_n_epoch", 1)
        return every is None or (self.epoch + 1) % every == 0

    def validates_at_end(self) -> bool:
        """However the epoch ended."""
        return self.cadence is not None and "val_check_interval" not in self.cadence and self.is_epoch_for_it()

    def validates_after_batch(self, ahead: int = 0) -> bool:
        """Whether the batch that was completed, or `ahead` of that, is followed by a validation."""
        interval = (self.cadence or {}).get("val_check_interval")
        if interval is None or not self.is_epoch_for_it():
            return False
        across = (self.cadence or {}).get("check_val_every_n_epoch", 1) is None
        batches = (self.batches.total if across else self.batches.current)["completed"] + ahead
        if isinstance(interval, float):
            length = self.limit("limit_train_batches", TRAIN_BATCHES)
            interval = max(1, int(interval * (TRAIN_BATCHES if length is None else length)))
        return batches % interval == 0

    def validate(self) -> None:
        self.evaluate(self.limit("limit_val_batches", VAL_BATCHES))
        self.step_rates("plateau", self.pending)
        self.pending = set()

    def evaluate(self, limit: int | None) -> None:
        self.training = False
        self.both("on_validation_start", "on_validation_epoch_start")
        self.val_loaders.begin()
        self.val_loaders.count("ready")
        self.val_batches.begin()
        feed = Feed(self, "val_fetch", VAL_BATCHES, limit)
        losses: list[float] = []
        try:
            while (batch := feed.take()) is not None:
                losses.append(self.evaluate_batch(batch))
            feed.check("validation")
            self.val_loaders.count("completed")
            self.outcome.metrics["val_loss"] = sum(losses) / len(losses)
            self.both("validation_epoch_end", "on_validation_epoch_end", "on_validation_end")
        finally:
            self.training = True

    def evaluate_batch(self, batch: int) -> float:
        self.each(TRANSFERS)
        self.val_batches.count("ready")
        self.both("on_validation_batch_start")
        self.val_batches.count("started")
        self.happen("validation_step")
        self.val_batches.count("processed")
        self.both("on_validation_batch_end")
        self.val_batches.count("completed")
        return self.weights[0] * gradient(0, batch)

    # What is left in the end.

    def take_metrics(self, output: float | None) -> None:
        """The losses of the epoch's last batch."""
        if output is not None:
            self.outcome.metrics["train_loss"] = output
        if self.how.optimizers > 1:
            for index, loss in self.newest.items():
                self.outcome.metrics[f"train_loss/optimizer_idx_{index}"] = loss

    def conclude(self) -> None:
        self.outcome.result = (
            str(self.reason()),
            self.epochs.total["completed"],
            self.batches.total["completed"],
            self.steps.total["completed"],
            tuple(steps.total["completed"] for steps in self.steps_of),
        )

    def counts(self) -> dict[str, Mapping[str, int]]:
        counts: dict[str, Mapping[str, int]] = {
            "epochs": self.epochs.total,
            "steps": self.steps.total,
            "batches": self.batches.total,
            "batches of the last epoch": self.batches.current,
            "val batches": self.val_batches.total,
            "val batches of the last validation": self.val_batches.current,
            "val loaders": self.val_loaders.total,
        }
        for index in range(len(self.steps_of)):
            counts[f"steps of {index}"] = self.own_steps_of[index].total
            counts[f"zero_grads of {index}"] = self.zero_grads_of[index].total
        return counts


def gradient(index: int, batch: int) -> float:
    """By which the loss of a batch depends on the weight of an optimizer."""
    return (batch + 1.0) * (index + 1.0)
