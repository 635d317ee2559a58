"""What is measured: steps that do nothing, a tiny real step, a loop of one's own, and each of them by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from typedloops import Callback, Loop, TrainerView
from typedloops.protocols.trainer import Reduction

# The null step is meant to train nothing.
warnings.filterwarnings("ignore", message=".*took no optimizer step")

B = TypeVar("B")

NullBatch: TypeAlias = tuple[int]
Batch: TypeAlias = tuple[Tensor, Tensor]


class Loader(Generic[B]):
    """The smallest loader: the batches of a list, and their number."""

    def __init__(self, batches: Sequence[B]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[B]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class NullModule:
    """Steps that do nothing, and an optimizer: what takes time is the framework."""

    def training_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def validation_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def predict_step(self, batch: NullBatch, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


class ManualNullModule(NullModule):
    """The same with manual optimization."""

    automatic_optimization = False


def null_batches(count: int) -> list[NullBatch]:
    return [(0,)] * count


def bare_loop(step: Callable[[B, int], object], loader: Iterable[B]) -> None:
    """What a fit, a validation and a prediction are held against where the step does nothing."""
    for batch_idx, batch in enumerate(loader):
        step(batch, batch_idx)


class TinyStep(nn.Module):
    """A step that does little: `Linear(32, 2)` and cross-entropy.

    Args:
        net: The layer, to share it with another module.
    """

    def __init__(self, net: nn.Linear | None = None) -> None:
        super().__init__()
        self.net = net or nn.Linear(32, 2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)


class TinyModule(TinyStep):
    """The same with SGD."""

    def configure_optimizers(self) -> Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class LoggingModule(TinyModule):
    """The same with three `log` calls in each step."""

    def __init__(self, net: nn.Linear | None, trainer: TrainerView, reduce: Reduction | None = None) -> None:
        super().__init__(net)
        self.trainer = trainer
        self.reduce = reduce

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.trainer.log("first", loss, reduce=self.reduce)
        self.trainer.log("second", loss, reduce=self.reduce)
        self.trainer.log("third", loss, reduce=self.reduce)
        return loss


class HandWritten:
    """The loop that one writes for a tiny module; it has an optimizer of its own."""

    def __init__(self, module: TinyModule) -> None:
        self.module = module
        self.optimizer = module.configure_optimizers()

    def __call__(self, loader: Iterable[Batch]) -> None:
        module, optimizer = self.module, self.optimizer
        for batch_idx, batch in enumerate(loader):
            loss = module.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


WINDOW = 4
LARGEST_NORM = 1.0


class ScheduledModule(TinyStep):
    """The same with SGD and a scheduler for each step, for a fit that accumulates and clips."""

    def configure_optimizers(self) -> tuple[list[Optimizer], list[dict[str, object]]]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        return [optimizer], [{"scheduler": StepLR(optimizer, 1000), "interval": "step"}]


class HandWrittenWindows:
    """The loop that one writes to accumulate, clip and step a scheduler."""

    def __init__(self, module: TinyModule) -> None:
        self.module = module
        self.optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        self.scheduler = StepLR(self.optimizer, 1000)

    def __call__(self, loader: Iterable[Batch]) -> None:
        module, optimizer, scheduler = self.module, self.optimizer, self.scheduler
        for batch_idx, batch in enumerate(loader):
            loss = module.training_step(batch, batch_idx)
            (loss / WINDOW).backward()
            if (batch_idx + 1) % WINDOW == 0:
                nn.utils.clip_grad_norm_(module.parameters(), LARGEST_NORM)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()


def tiny_batches(count: int) -> list[Batch]:
    """Batches of 8: floats of shape (8, 32), classes of shape (8,)."""
    return [(torch.randn(8, 32), torch.randint(0, 2, (8,))) for _ in range(count)]


class Elsewhere(Callback):
    """Listens, but to nothing that happens in a fit without validation."""

    def on_validation_start(self, trainer: TrainerView, module: nn.Module) -> None:
        raise AssertionError

    def on_test_start(self, trainer: TrainerView, module: nn.Module) -> None:
        raise AssertionError


def elsewhere(count: int) -> list[Callback]:
    return [Elsewhere() for _ in range(count)]


class Counting(Loop[[], int]):
    """A loop of one's own that does nothing but count to `n`."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.i = 0

    @property
    def done(self) -> bool:
        return self.i >= self.n

    def reset(self) -> None:
        self.i = 0

    def advance(self) -> None:
        self.i += 1

    def on_run_end(self) -> int:
        return self.i

    def by_hand(self) -> int:
        """What `run` is held against."""
        self.reset()
        while not self.done:
            self.advance()
        return self.i

    def methods_alone(self) -> int:
        """Its two methods, called in turn by a function that does nothing else: less than this no dispatch can cost."""
        done, advance = getter(type(self), "done"), type(self).advance
        self.reset()
        while not done(self):
            advance(self)
        return self.i


def getter(cls: type[object], name: str) -> Callable[[object], object]:
    """The function behind a property."""
    prop: object = vars(cls)[name]
    assert isinstance(prop, property)
    assert prop.fget is not None
    return prop.fget
