"""When a fit validates: at the end of epochs, within them, across them, and by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, Duration, StopReason, TrainerView, TrainingEpochLoop
from typedloops.errors import ConfigurationError
from typedloops.loops.fit import epoch_loop, fit_loop, validations
from typedloops.loops.run.settings.cadence import Cadence, cadence_of

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class Validated(Callback[Classifier, Batch]):
    """After how many batches in all each validation came."""

    def __init__(self) -> None:
        self.batches = 0
        self.at: list[int] = []

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.batches += 1

    def on_validation_start(self, trainer: TrainerView, module: Classifier) -> None:
        self.at.append(self.batches)


class PlainEpoch(TrainingEpochLoop[Any, Any, Any]):
    """Goes batch by batch."""

    def on_advance_end(self) -> None:
        super().on_advance_end()


def fitted(settings: Mapping[str, Any], *, count: int = 10, fused: bool = True, stream: bool = False) -> list[int]:
    """When the validations of two epochs came."""
    validated = Validated()
    trainer = Trainer(**{"max_epochs": 2, **settings}, callbacks=[validated])
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    loader = Stream(batches(count)) if stream else batches(count)
    result = trainer.fit(Classifier(), loader, batches(1))
    assert result.batches == validated.batches
    return validated.at


CADENCES: dict[str, tuple[dict[str, object], list[int]]] = {
    "the end": ({}, [10, 20]),
    "the whole": ({"val_check_interval": 1.0}, [10, 20]),
    "halves": ({"val_check_interval": 0.5}, [5, 10, 15, 20]),
    "with a remainder": ({"val_check_interval": 0.3}, [3, 6, 9, 13, 16, 19]),
    "less than a batch": ({"val_check_interval": 0.01}, [*range(1, 21)]),
    "batches": ({"val_check_interval": 4}, [4, 8, 14, 18]),
    "batches with their unit": ({"val_check_interval": "4ba"}, [4, 8, 14, 18]),
    "all batches": ({"val_check_interval": 10}, [10, 20]),
    "each batch": ({"val_check_interval": 1, "limit_train_batches": 2}, [1, 2, 3, 4]),
    "a limited epoch": ({"val_check_interval": 0.5, "limit_train_batches": 4}, [2, 4, 6, 8]),
    "every second epoch": ({"check_val_every_n_epoch": 2}, [20]),
    "every second epoch, said otherwise": ({"val_check_interval": "2ep"}, [20]),
    "within every second epoch": ({"check_val_every_n_epoch": 2, "val_check_interval": 0.5}, [15, 20]),
    "across epochs": ({"check_val_every_n_epoch": None, "val_check_interval": 7}, [7, 14]),
    "more than an epoch": ({"check_val_every_n_epoch": None, "val_check_interval": 15}, [15]),
    "stopped by steps": ({"val_check_interval": 4, "max_steps": 13}, [4, 8]),
    "the end, stopped by steps": ({"max_steps": 13}, [10, 13]),
    "with accumulation": ({"val_check_interval": 3, "accumulate_grad_batches": 2}, [3, 6, 9, 13, 16, 19]),
    "a rehearsal": ({"val_check_interval": 3, "fast_dev_run": 2}, [2]),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("case", CADENCES)
def test_when_it_validates(case: str, fused: bool) -> None:
    settings, expected = CADENCES[case]
    assert fitted(settings, fused=fused) == expected


@pytest.mark.parametrize("fused", [True, False])
def test_an_epoch_without_a_length(fused: bool) -> None:
    assert fitted({"val_check_interval": 4}, fused=fused, stream=True) == [4, 8, 14, 18]
    assert fitted({"val_check_interval": 5}, fused=fused, stream=True) == [5, 10, 15, 20]
    assert fitted({"val_check_interval": 11}, fused=fused, stream=True) == []
    assert fitted({"val_check_interval": 0.5, "limit_train_batches": 1.0, "max_epochs": 0}, stream=True) == []


@given(
    count=st.integers(1, 12),
    interval=st.integers(1, 12) | st.floats(0.01, 1.0),
    every=st.integers(1, 3),
    epochs=st.integers(1, 3),
)
def test_the_closed_form(count: int, interval: float, every: int, epochs: int) -> None:
    each = interval if isinstance(interval, int) else max(1, int(count * interval + 1e-9))
    if isinstance(interval, int) and interval > count:
        return
    expected = [
        epoch * count + batch
        for epoch in range(epochs)
        if (epoch + 1) % every == 0
        for batch in range(1, count + 1)
        if batch % each == 0
    ]
    settings = {"max_epochs": epochs, "val_check_interval": interval, "check_val_every_n_epoch": every}
    assert fitted(settings, count=count) == expected


@pytest.mark.parametrize("fused", [True, False])
def test_training_is_the_same_bit_for_bit_and_so_are_the_metrics(fused: bool) -> None:
    """With dropout, an open window of gradients at each validation, and a part that its author froze."""

    class Model(Classifier):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.05)

    train, val = batches(7), batches(3)
    torch.manual_seed(5)
    expected = Model()
    optimizer = expected.configure_optimizers()
    losses: list[float] = []
    for epoch in range(2):
        expected.train()
        expected.net[1].eval()
        for index, batch in enumerate(train):
            window = min(2, len(train) - index // 2 * 2)
            if index % 2 == 0:
                optimizer.zero_grad()
            (expected.loss(batch) / window).backward()
            if index % 2 == 1 or index == len(train) - 1:
                optimizer.step()
            if (index + 1) % 3 == 0:
                expected.eval()
                with torch.no_grad():
                    losses.append(sum(expected.loss(each).double().item() for each in val) / 3)
                expected.train()
                expected.net[1].eval()
        assert epoch < 2

    class Logged:
        seen: list[tuple[int, float]] = []

        def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
            if "val_loss" in metrics:
                self.seen.append((step, metrics["val_loss"]))

        def finalize(self, status: str) -> None: ...

    torch.manual_seed(5)
    model = Model()
    model.net[1].eval()
    trainer = Trainer(max_epochs=2, accumulate_grad_batches=2, val_check_interval=3, loggers=[logged := Logged()])
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    result = trainer.fit(model, train, val)
    assert (result.batches, result.optimizer_steps) == (14, 8)
    assert model.training
    assert not model.net[1].training
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert [step for step, _ in logged.seen] == [1, 3, 5, 7]
    assert [loss for _, loss in logged.seen] == pytest.approx(losses, rel=1e-6)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Ticking(Validated):
    """Each batch takes ten seconds, each validation a hundred."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_train_batch_start(self, trainer: TrainerView, module: Classifier, batch: Batch, batch_idx: int) -> None:
        self.clock.seconds += 10

    def on_validation_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.clock.seconds += 100


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("interval", [timedelta(seconds=35), "00:00:00:35"])
@pytest.mark.parametrize(("every", "expected"), [(1, [4, 8, 12]), (None, [4, 8, 12]), (2, [6, 10])])
def test_by_the_clock(
    interval: object, every: int | None, expected: list[int], fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (epoch_loop, fit_loop, validations):
        monkeypatch.setattr(module, "monotonic", clock)
    ticking = Ticking(clock)
    trainer = Trainer(
        max_epochs=2, val_check_interval=interval, check_val_every_n_epoch=every, callbacks=[ticking], max_steps=12
    )
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    trainer.fit(Classifier(), batches(5 if every == 2 else 6), batches(1))
    assert ticking.at == expected


class AskAt(Validated):
    """Asks for a stop after so many batches, or in so manieth validation."""

    def __init__(self, after: int | None = None, validation: int | None = None) -> None:
        super().__init__()
        self.after = after
        self.validation = validation

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
        if self.batches == self.after:
            trainer.should_stop = True

    def on_validation_end(self, trainer: TrainerView, module: Classifier) -> None:
        if len(self.at) == self.validation:
            trainer.should_stop = True


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("asking", "settings", "ran", "validated"),
    [
        (AskAt(after=5), {}, 5, [2, 4]),
        (AskAt(after=4), {}, 4, [2, 4]),
        (AskAt(validation=2), {}, 4, [2, 4]),
        (AskAt(after=1), {"min_steps": 5}, 5, [2, 4]),
        (AskAt(after=1), {"min_epochs": 1}, 6, [2, 4, 6]),
        (AskAt(after=3), {"val_check_interval": 1.0}, 3, [3]),
    ],
)
def test_a_request_to_stop(
    asking: AskAt, settings: dict[str, Any], ran: int, validated: list[int], fused: bool
) -> None:
    asking.batches, asking.at = 0, []
    trainer = Trainer(**{"max_epochs": 3, "val_check_interval": 2, "callbacks": [asking], **settings})
    if not fused:
        trainer.fit_loop.replace(epoch_loop=PlainEpoch)
    result = trainer.fit(Classifier(), batches(6), batches(1))
    assert (result.stop_reason, result.batches) == (StopReason.REQUESTED, ran)
    assert asking.at == validated


def test_a_validation_within_counts_and_reads_as_one_at_the_end() -> None:
    seen: list[tuple[int | None, int]] = []

    class Watching(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            assert torch.is_inference_mode_enabled()
            return super().validation_step(batch, batch_idx)

    class Watch(Callback):
        def on_train_batch_end(self, trainer: TrainerView, *args: object) -> None:
            seen.append((trainer.num_batches, trainer.global_step))
            assert torch.is_grad_enabled()

    trainer = Trainer(max_epochs=1, val_check_interval=2, callbacks=[Watch()])
    trainer.fit(Watching(), batches(5), [Loader(batches(2)), Loader(batches(3))])
    assert seen == [(5, step) for step in range(1, 6)]
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 5
    assert trainer.fit_loop.epoch_loop.val_loop.epoch_loop.batch_progress.total.completed == 2 * 5


def test_without_validation_loaders_the_interval_is_not_looked_at() -> None:
    assert Trainer(max_epochs=1, val_check_interval=50).fit(Classifier(), batches(2)).batches == 2
    trainer = Trainer(max_epochs=1, val_check_interval=0.5, limit_val_batches=0)
    assert trainer.fit(Classifier(), Stream(batches(2)), batches(2)).batches == 2


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no batches": (
        {"val_check_interval": 0},
        "val_check_interval: 0 never comes round. Give more; limit_val_batches=0 switches validation off.",
    ),
    "no share": ({"val_check_interval": 0.0}, "val_check_interval: 0.0 never comes round."),
    "negative": ({"val_check_interval": -3}, "val_check_interval: -3 never comes round."),
    "no epochs": ({"val_check_interval": "0ep"}, "val_check_interval: 0ep never comes round."),
    "above the whole": (
        {"val_check_interval": 3.0},
        "val_check_interval: a share of 3.0 is above the whole. Give an int for a number of batches: 3.",
    ),
    "no interval": (
        {"val_check_interval": "often"},
        "val_check_interval: 'often' is no interval. Give a number of batches, a share of the epoch from 0.0 to 1.0,",
    ),
    "a switch": ({"val_check_interval": True}, "val_check_interval: True is no interval."),
    "steps": (
        {"val_check_interval": "10st"},
        "val_check_interval: 10st counts optimizer steps, and it batches, epochs or time.",
    ),
    "no time": ({"val_check_interval": timedelta(0)}, "val_check_interval: 0:00:00 is no time at all."),
    "a share across epochs": (
        {"check_val_every_n_epoch": None},
        "check_val_every_n_epoch: None counts across epochs, and val_check_interval is 1.0, a share of one. Give val",
    ),
    "epochs twice": (
        {"val_check_interval": Duration.epochs(2), "check_val_every_n_epoch": 3},
        "val_check_interval: it is 2ep, and check_val_every_n_epoch is 3. Give one of the two.",
    ),
    "epochs across epochs": (
        {"val_check_interval": "2ep", "check_val_every_n_epoch": None},
        "val_check_interval: it is 2ep, and check_val_every_n_epoch is None.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_never_work(case: str) -> None:
    settings, message = BAD[case]
    with pytest.raises(ConfigurationError) as refused:
        Trainer(**settings)
    assert str(refused.value).startswith(message)


def test_more_batches_than_an_epoch_has() -> None:
    with pytest.raises(ConfigurationError) as refused:
        fitted({"val_check_interval": 11})
    assert str(refused.value) == (
        "val_check_interval: 11 batches are more than the 10 of an epoch. Lower it, or count across epochs: "
        "check_val_every_n_epoch=None."
    )


def test_a_share_of_an_epoch_without_a_length() -> None:
    with pytest.raises(ConfigurationError) as refused:
        fitted({"val_check_interval": 0.5}, stream=True)
    assert str(refused.value) == (
        "val_check_interval: a share of 0.5 cannot be taken of an epoch without a length. Give an int, a timedelta, "
        "or 1.0 for the end of the epoch."
    )
    assert fitted({"val_check_interval": 0.5, "limit_train_batches": 4}, stream=True) == [2, 4, 6, 8]


def test_both_settings_come_to_one_cadence() -> None:
    assert cadence_of(1.0, 1) == Cadence() == cadence_of("1ep", 1)
    assert cadence_of("3ep", 1) == Cadence(epochs=3) == cadence_of(1.0, 3)
    assert cadence_of(Duration.batches(5), None) == Cadence(epochs=None, batches=5)
    assert cadence_of("00:00:01:00", None) == Cadence(epochs=None, seconds=60.0)
