"""Fits of many kinds, all small: the digits of scikit-learn, and text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, Subset, TensorDataset, random_split

from tests.by_hand.trainer import unfuse
from tests.loops.fit.test_truncated import TEXT
from tests.modules import Batch
from tests.resuming.recording import Make, Parts
from typedloops import Callback, ManualModule, MicroBatchOptimization, StepLoop, TrainerView


@cache
def digits(count: int = 44) -> TensorDataset:
    """So many images of digits, 64 pixels from 0 to 1, and their labels."""
    data = load_digits()
    images = torch.as_tensor(data.data[:count], dtype=torch.float32).div(16)
    return TensorDataset(images, torch.as_tensor(data.target[:count]))


class Digits(nn.Module):
    """Classifies digits, with dropout and batch normalization, and a buffer that no checkpoint of weights has."""

    seen: Tensor

    def __init__(self, make: Callable[[Digits], Any] | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 10))
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.make = make
        self.made: list[Any] = []

    def loss(self, batch: Batch) -> Tensor:
        if self.training:
            self.seen += len(batch[0])
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch), "noise": torch.rand(())}

    def configure_optimizers(self) -> Any:
        configured = AdamW(self.parameters(), lr=0.02) if self.make is None else self.make(self)
        self.made = list(things_in(configured))
        return configured


def things_in(configured: Any) -> Iterator[Any]:
    """The optimizers and schedulers in what `configure_optimizers` returns."""
    if hasattr(configured, "state_dict"):
        yield configured
    elif isinstance(configured, dict):
        for value in configured.values():
            yield from things_in(value)
    elif isinstance(configured, (list, tuple)):
        for value in configured:
            yield from things_in(value)


def shuffled(size: int = 8, **settings: Any) -> DataLoader[Any]:
    return DataLoader(digits(), batch_size=size, shuffle=True, **settings)


def ordered(size: int = 18) -> DataLoader[Any]:
    return DataLoader(digits(), batch_size=size)


def fit(make_module: Callable[[], nn.Module] = Digits, *, val: bool = True, epochs: int = 2, **settings: Any) -> Make:
    """A fit on shuffled batches, five full ones and a smaller one, and a validation on three."""
    return lambda: Parts(
        make_module(), [shuffled(), ordered()] if val else [shuffled()], {"max_epochs": epochs, **settings}
    )


def scheduled(make_scheduler: Callable[[Optimizer], object], **settings: object) -> Callable[[], Digits]:
    def make(module: Digits) -> dict[str, object]:
        optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make_scheduler(optimizer), **settings}}

    return partial(Digits, make)


class TwoOptimizers(Digits):
    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Any:  # type: ignore[override]
        return {"loss": self.loss(batch) * (1 + optimizer_idx), "part": torch.rand(())}


def two(module: Digits, *frequencies: int) -> Any:
    first, second = AdamW(module.net[0].parameters(), lr=0.02), SGD(module.net[4].parameters(), lr=0.1, momentum=0.9)
    if not frequencies:
        return [first, second], [StepLR(first, 1, 0.5), {"scheduler": StepLR(second, 2), "interval": "step"}]
    return [{"optimizer": each, "frequency": n} for each, n in zip((first, second), frequencies, strict=True)]


class ByHand(Digits, ManualModule):
    """Adds up the gradients of two batches, and clips them."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.manual_backward(loss / 2)
        if batch_idx % 2:
            self.clip_gradients(self.optimizer(), 1.0)
            self.optimizer().step()
            self.optimizer().zero_grad()
            rate: Any = self.lr_schedulers()[0]
            rate.step()
        return {"loss": loss.detach(), "noise": torch.rand(())}


class Text(nn.Module):
    """Predicts the letters of a text, a few at a time."""

    truncated_bptt_steps = 4

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 6)
        self.cell = nn.LSTM(6, 8, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, 64)
        self.made: list[Any] = []

    def training_step(self, batch: Batch, batch_idx: int, hiddens: Any) -> Any:
        out, hiddens = self.cell(self.embed(batch[0]), hiddens)
        loss = nn.functional.cross_entropy(self.head(self.dropout(out)).flatten(0, 1), batch[1].flatten())
        return {"loss": loss, "hiddens": hiddens}

    def configure_optimizers(self) -> Any:
        self.made = [AdamW(self.parameters(), lr=0.02)]
        return self.made


class TextOfTwo(Text):
    """With an optimizer for each of two parts, each of which remembers its own state."""

    def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int, hiddens: Any) -> Any:  # type: ignore[override]
        return super().training_step(batch, batch_idx, hiddens)

    def configure_optimizers(self) -> Any:
        self.made = [AdamW(self.cell.parameters(), lr=0.02), SGD(self.head.parameters(), lr=0.1)]
        return self.made


def text(count: int = 12, time: int = 14) -> DataLoader[Any]:
    """Pieces of a text, and the letter after each of theirs."""
    codes = torch.tensor([ord(letter) % 64 for letter in TEXT])[: count * (time + 1)].view(count, time + 1)
    return DataLoader(TensorDataset(codes[:, :-1], codes[:, 1:]), batch_size=4, shuffle=True)


class Endless:
    """Random batches without an end, from a generator of its own for each pass."""

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(int(torch.randint(1000, ())))
        while True:
            yield torch.rand(6, 64, generator=generator), torch.randint(0, 10, (6,), generator=generator)


class Streamed(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from (digits()[int(index)] for index in torch.randperm(len(digits()))[:28])


class Descent(StepLoop[Any, Any, Any]):
    """A loop of one's own in place of the optimizer loop: a step on the batch and one on noise."""

    def advance(self, model: Any, batch: Batch, batch_idx: int) -> None:
        (optimizer,) = self.trainer.optimizers
        for images in (batch[0], torch.rand_like(batch[0])):
            optimizer.zero_grad()
            self.output = model.training_step((images, batch[1]), batch_idx)
            self.output.backward()
            optimizer.step()


def with_optimizer_loop(make: Callable[[], Any]) -> Callable[[Any], None]:
    return lambda trainer: trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=make())


class Freezing(Callback[Digits]):
    """Freezes the first layer in the second epoch, and lets the batch statistics be."""

    def on_train_epoch_start(self, trainer: TrainerView, module: Digits) -> None:
        if trainer.current_epoch == 1:
            module.net[0].requires_grad_(False)
            module.net[1].eval()


class Impatient(Callback[Digits]):
    """Asks for a stop in the first epoch."""

    def on_train_batch_end(self, trainer: TrainerView, *args: object) -> None:
        if trainer.current_epoch == 0 and trainer.global_step == 2:
            trainer.should_stop = True


def half() -> DataLoader[Any]:
    """Batches of a random half of the digits."""
    return DataLoader(random_split(digits(), [0.5, 0.5])[0], batch_size=8, shuffle=True)


def own_generator() -> list[Any]:
    """Loaders that draw from generators of their own; the second one for its sampler."""
    train = shuffled(generator=torch.Generator().manual_seed(5))
    sampler = RandomSampler(digits(), generator=torch.Generator().manual_seed(3))
    return [train, DataLoader(digits(), batch_size=18, sampler=sampler)]


def plateau(optimizer: Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.5)


CONFIGURATIONS: dict[str, Make] = {
    "plain": fit(),
    "no validation": fit(val=False, epochs=3),
    "windows": fit(accumulate_grad_batches=4, gradient_clip_val=0.5),
    "weighed windows": fit(
        accumulate_grad_batches=4,
        accumulation_weight=lambda batch: len(batch[0]),
        gradient_clip_val=0.01,
        gradient_clip_algorithm="value",
    ),
    "windows from an epoch on": fit(accumulate_grad_batches={1: 3}, val_check_interval=2),
    "scheduler of steps": fit(
        scheduled(lambda o: OneCycleLR(o, 0.3, total_steps=8), interval="step"), accumulate_grad_batches=2
    ),
    "scheduler of epochs": fit(scheduled(lambda o: StepLR(o, 1, 0.5)), epochs=3),
    "plateau of epochs": fit(scheduled(plateau, monitor="val_loss"), epochs=3),
    "plateau of steps": fit(
        scheduled(plateau, monitor="val_loss", interval="step", frequency=2, strict=False), val_check_interval=2
    ),
    "plateau of the loss": fit(scheduled(plateau, monitor="train_loss", interval="step"), accumulate_grad_batches=2),
    "two optimizers": fit(partial(TwoOptimizers, two)),
    "two optimizers with windows": fit(partial(TwoOptimizers, two), accumulate_grad_batches=3),
    "optimizers taking turns": fit(partial(TwoOptimizers, lambda module: two(module, 2, 1)), val_check_interval=4),
    "turns with windows": fit(
        partial(TwoOptimizers, lambda module: two(module, 3, 2)), accumulate_grad_batches=2, epochs=3, val=False
    ),
    "LBFGS": fit(partial(Digits, lambda module: LBFGS(module.parameters(), lr=0.1, max_iter=2, history_size=3))),
    "16-mixed": fit(precision="16-mixed", accumulate_grad_batches=2, gradient_clip_val=1.0),
    "bf16-mixed": fit(precision="bf16-mixed", val_check_interval=3),
    "bf16-true": fit(precision="bf16-true"),
    "64-true": fit(precision="64-true"),
    "validation within, by share": fit(val_check_interval=0.5),
    "validation across epochs": fit(val_check_interval=4, check_val_every_n_epoch=None, epochs=3),
    "validation each second epoch": fit(check_val_every_n_epoch=2, epochs=3),
    "sanity check": fit(num_sanity_val_steps=1, val_check_interval=4),
    "several validation loaders": lambda: Parts(
        SeveralLoaders(),
        [shuffled(), [ordered(), shuffled(30), ordered(44)]],
        {"max_epochs": 2, "val_check_interval": 3},
    ),
    "loaders cut short": fit(limit_train_batches=4, limit_val_batches=2, accumulate_grad_batches=3),
    "a share of the loaders": fit(limit_train_batches=0.7, limit_val_batches=0.5),
    "a few steps": fit(max_steps=8, epochs=-1, val_check_interval=3),
    "time enough": fit(max_time="01:00:00:00"),
    "overfitting": fit(overfit_batches=3),
    "loaders made anew": lambda: Parts(
        Digits(), [half, ordered], {"max_epochs": 4, "reload_dataloaders_every_n_epochs": 2}
    ),
    "generators of loaders": lambda: Parts(Digits(), own_generator(), {"max_epochs": 2}),
    "no length": lambda: Parts(
        Digits(), [Endless(), ordered()], {"max_epochs": 2, "limit_train_batches": 5, "accumulate_grad_batches": 2}
    ),
    "a stream": lambda: Parts(Digits(), [DataLoader(Streamed(), batch_size=5), ordered()], {"max_epochs": 2}),
    "a list": lambda: Parts(Digits(), [list(ordered(8)), list(ordered(20))], {"max_epochs": 2}),
    "an image at a time": lambda: Parts(
        WithoutNorm(), [DataLoader(Subset(digits(), range(5)), batch_size=None, shuffle=True)], {"max_epochs": 2}
    ),
    "text in pieces": lambda: Parts(Text(), [text()], {"max_epochs": 2, "gradient_clip_val": 0.5}),
    "text in pieces, two optimizers": lambda: Parts(TextOfTwo(), [text()], {"max_epochs": 2}),
    "by hand": fit(partial(ByHand, scheduled(lambda o: StepLR(o, 2, 0.5))().make)),
    "by hand, 16-mixed": fit(partial(ByHand, scheduled(lambda o: StepLR(o, 2, 0.5))().make), precision="16-mixed"),
    "micro-batches": lambda: Parts(
        Digits(), [shuffled(), ordered()], {"max_epochs": 2}, with_optimizer_loop(lambda: MicroBatchOptimization(4))
    ),
    "a loop of one's own": lambda: Parts(
        Digits(), [shuffled(), ordered()], {"max_epochs": 2}, with_optimizer_loop(Descent)
    ),
    "unfused": lambda: Parts(
        Digits(),
        [shuffled(), ordered()],
        {"max_epochs": 2, "val_check_interval": 4, "accumulate_grad_batches": 3},
        unfuse,
    ),
    "frozen layers": lambda: Parts(Digits(), [shuffled(), ordered()], {"max_epochs": 3}, extra=[Freezing()]),
    "asked to stop": lambda: Parts(
        Digits(), [shuffled(), ordered()], {"max_epochs": 5, "min_epochs": 2}, extra=[Impatient()]
    ),
}
"""Fits by what is special about them."""

WITH_OUTPUTS = ("plain", "several validation loaders", "windows", "validation within, by share", "unfused")
"""Those in which somebody wants the outputs of whole epochs."""


class SeveralLoaders(Digits):
    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch) * (1 + dataloader_idx)}


class WithoutNorm(Digits):
    """For images that come alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net[1] = nn.Identity()

    def loss(self, batch: Batch) -> Tensor:
        return super().loss((batch[0].unsqueeze(0), batch[1].unsqueeze(0)))
