"""When learning-rate schedulers step: the order of steps, hooks, metrics and validations, and what rates come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, OptimizerLoop, StepLoop, TrainerView, TrainingEpochLoop
from typedloops.errors import OptimizerError

# Settings are taken from tables here, and schedulers are changed on purpose.
Trainer: Any = typedloops.Trainer


class Unfused(OptimizerLoop):
    def on_run_end(self) -> Any:
        return super().on_run_end()


class UnfusedEpoch(TrainingEpochLoop):
    def on_advance_end(self) -> None:
        super().on_advance_end()


def trainer_of(fused: bool = True, **settings: Any) -> Any:
    trainer = Trainer(**{"max_epochs": 2, **settings})
    if not fused:
        trainer.fit_loop.replace(epoch_loop=UnfusedEpoch)
        trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Unfused())
    return trainer


MAKE: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "StepLR": lambda o: StepLR(o, 2, 0.5),
    "OneCycleLR": lambda o: OneCycleLR(o, max_lr=0.5, total_steps=20),
    "CyclicLR": lambda o: CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 3, 2),
    "LambdaLR": lambda o: LambdaLR(o, lambda n: 1 / (1 + n)),
    "SequentialLR": lambda o: SequentialLR(o, [LinearLR(o, 0.1, 1, 3), CosineAnnealingLR(o, 10)], milestones=[3]),
    "ChainedScheduler": lambda o: ChainedScheduler([ConstantLR(o, 0.5, 4), ExponentialLR(o, 0.9)], optimizer=o),
    "SWALR": lambda o: SWALR(o, swa_lr=0.05, anneal_epochs=4),
}


class Scheduled(Classifier):
    """Notes the rate, and the momentum where it is cycled, of each batch."""

    def __init__(self, kind: str, interval: str) -> None:
        super().__init__()
        self.kind = kind
        self.interval = interval
        self.rates: list[tuple[float, float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        group = self.optimizer.param_groups[0]
        self.rates.append((group["lr"], group["momentum"]))
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        self.optimizer = SGD(self.parameters(), lr=0.1, momentum=0.9)
        scheduler = MAKE[self.kind](self.optimizer)
        return {"optimizer": self.optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.filterwarnings("ignore:.*epoch parameter in `scheduler.step:UserWarning")
def test_the_same_rates_and_bits_as_by_hand(kind: str, interval: str, size: int) -> None:
    torch.manual_seed(0)
    ours, theirs = Scheduled(kind, interval), Scheduled(kind, interval)
    theirs.load_state_dict(ours.state_dict())
    torch.manual_seed(1)
    Trainer(max_epochs=3, accumulate_grad_batches=size).fit(ours, batches(4))
    torch.manual_seed(1)
    configured = theirs.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for _ in range(3):
        for batch_idx, batch in enumerate(batches(4)):
            if batch_idx % size == 0:
                optimizer.zero_grad()
            loss = theirs.training_step(batch, batch_idx)
            (loss / size if size > 1 else loss).backward()
            if batch_idx % size == size - 1:
                optimizer.step()
                if interval == "step":
                    scheduler.step()
        if interval == "epoch":
            scheduler.step()
    assert ours.rates == theirs.rates
    assert len(set(ours.rates)) > 1
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


class Traced(Classifier):
    """Writes down what happens: four schedulers of one optimizer, steps, hooks, validations."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:  # type: ignore[override]
        return {"loss": self.loss(batch)}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.events.append(f"batch {batch_idx}")

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self.events.append("batch end")

    def on_validation_end(self) -> None:
        self.events.append("validation")

    def on_train_epoch_end(self) -> None:
        self.events.append("epoch end")

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.events.append(f"log {', '.join(sorted(metrics))}")

    def finalize(self, status: str) -> None: ...

    def configure_optimizers(self) -> Any:
        events, optimizer = self.events, SGD(self.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: events.append("step"))

        def traced(name: str, scheduler: Any) -> Any:
            own = scheduler.step

            def step(*metrics: float) -> None:
                events.append(name)
                own(*metrics)

            scheduler.step = step
            return scheduler

        return [optimizer], [
            {"scheduler": traced("epoch plateau", ReduceLROnPlateau(optimizer)), "monitor": "val_loss"},
            traced("epoch rate", StepLR(optimizer, 1)),
            {
                "scheduler": traced("step plateau", ReduceLROnPlateau(optimizer)),
                "monitor": "train_loss",
                "interval": "step",
            },
            {"scheduler": traced("step rate", StepLR(optimizer, 1)), "interval": "step"},
        ]


BATCH = ["step", "step rate", "batch end"]
PLATEAU, VALIDATION = ["step plateau"], ["log val_loss", "validation"]
EPOCH = ["epoch end", "epoch plateau", "epoch rate", "log train_loss"]
ORDERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "validation at the end": (
        {},
        ["batch 0", *BATCH, *PLATEAU, "batch 1", *BATCH, *VALIDATION, *PLATEAU, *EPOCH],
    ),
    "validation within": (
        {"val_check_interval": 1},
        ["batch 0", *BATCH, *VALIDATION, *PLATEAU, "batch 1", *BATCH, *VALIDATION, *PLATEAU, *EPOCH],
    ),
    "validation across epochs": (
        {"val_check_interval": 1, "check_val_every_n_epoch": None},
        ["batch 0", *BATCH, *VALIDATION, *PLATEAU, "batch 1", *BATCH, *VALIDATION, *PLATEAU, *EPOCH],
    ),
    "windows": (
        {"accumulate_grad_batches": 2},
        ["batch 0", "batch end", "batch 1", *BATCH, *VALIDATION, *PLATEAU, *EPOCH],
    ),
    "a stop in the epoch": (
        {"max_steps": 1, "max_epochs": -1},
        ["batch 0", *BATCH, *PLATEAU, *VALIDATION, *EPOCH],
    ),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("case", ORDERS)
def test_the_order(case: str, fused: bool) -> None:
    settings, expected = ORDERS[case]
    model = Traced()
    trainer_of(fused, **{"max_epochs": 1, "loggers": [model], **settings}).fit(model, batches(2), batches(1))
    assert model.events == expected


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("settings", [{}, {"val_check_interval": 0.5}])
def test_a_plateau_in_steps_follows_the_validation_that_was_due(fused: bool, settings: dict[str, Any]) -> None:
    """It sees every second step the metric of the validation that came right before, not of the one before that."""
    seen: list[float] = []
    validated: list[float] = []
    every = 2 if settings else 4

    class Model(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            validated.append(len(validated))
            return {"val_loss": torch.tensor(float(validated[-1]))}

        def lr_scheduler_step(self, scheduler: object, metric: float) -> None:
            seen.append(metric)

        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.1)
            plateau = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val_loss"}
            return [optimizer], [{**plateau, "interval": "step", "frequency": every}]

    trainer_of(fused, **settings).fit(Model(), batches(4), batches(1))
    assert seen == validated
    assert len(seen) == 8 // every


@pytest.mark.parametrize(("strict", "interval"), [(True, "step"), (True, "epoch"), (False, "step"), (False, "epoch")])
def test_a_metric_that_is_not_there(strict: bool, interval: str) -> None:
    class Model(Classifier):
        def configure_optimizers(self) -> Any:
            self.optimizer = SGD(self.parameters(), lr=0.1)
            plateau = ReduceLROnPlateau(self.optimizer, patience=0)
            config = {"scheduler": plateau, "monitor": "nothing", "strict": strict, "interval": interval}
            return {"optimizer": self.optimizer, "lr_scheduler": config}

    model = Model()
    if strict:
        with pytest.raises(OptimizerError) as told:
            trainer_of().fit(model, batches(2))
        assert str(told.value) == (
            f"ReduceLROnPlateau(monitor='nothing'): there is no such metric after this {interval}; there are "
            "['train_loss']. Return it from a step, log it, monitor another one, or set strict=False."
        )
    else:
        assert trainer_of().fit(model, batches(2)).epochs == 2
        assert model.optimizer.param_groups[0]["lr"] == 0.1


def test_what_is_logged_at_the_end_of_an_epoch_can_be_monitored() -> None:
    class Logging(Callback[Classifier, Batch]):
        def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            trainer.log("badness", 1.0 + trainer.current_epoch)

    class Model(Classifier):
        def configure_optimizers(self) -> Any:
            self.optimizer = SGD(self.parameters(), lr=0.1)
            plateau = ReduceLROnPlateau(self.optimizer, patience=0)
            return {"optimizer": self.optimizer, "lr_scheduler": plateau, "monitor": "badness"}

    model = Model()
    trainer_of(callbacks=[Logging()], max_epochs=3).fit(model, batches(1))
    assert model.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


def test_each_of_several_optimizers_has_its_schedulers() -> None:
    """Whatever the order in which they are returned, a scheduler in steps goes with its own optimizer."""
    stepped: list[int] = []

    class Model(Classifier):
        def training_step(self, batch: Batch, batch_idx: int, optimizer_idx: int) -> Tensor | None:  # type: ignore[override]
            return None if batch_idx % 2 == optimizer_idx else self.loss(batch)

        def lr_scheduler_step(self, scheduler: LRScheduler, metric: None, optimizer_idx: int) -> None:
            stepped.append(optimizer_idx)
            scheduler.step()

        def configure_optimizers(self) -> Any:
            optimizers = [Adam(self.net[0].parameters()), SGD(self.net[3].parameters(), lr=0.1)]
            schedulers: list[LRScheduler] = [MultiStepLR(optimizers[1], [1]), MultiStepLR(optimizers[0], [1])]
            return optimizers, [{"scheduler": scheduler, "interval": "step"} for scheduler in schedulers]

    trainer_of(max_epochs=1).fit(Model(), batches(5))
    assert stepped == [1, 0, 1, 0, 1]


def test_a_scheduler_steps_once_for_a_batch_in_which_its_optimizer_stepped_twice() -> None:
    """One for each batch, as the epochs of it are counted in batches."""

    class Twice(StepLoop[Any, Batch, Tensor]):
        def advance(self, model: Any, batch: Batch, batch_idx: int) -> None:
            for _ in range(2):
                self.trainer.optimizers[0].step()

    model = Scheduled("StepLR", "step")
    trainer = trainer_of(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Twice())
    assert trainer.fit(model, batches(3)).optimizer_steps == 6
    assert model.optimizer.param_groups[0]["lr"] == 0.05
