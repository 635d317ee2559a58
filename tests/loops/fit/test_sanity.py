"""A few validation batches before training, of which nothing is kept."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, Loop, StopReason, TrainerView
from typedloops.errors import ConfigurationError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class Watching(Callback[Classifier]):
    """What there is to be seen at each end of a validation."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, int]] = []
        self.batches = 0
        self.metrics_at_train_start: Mapping[str, float] = {}

    def on_validation_batch_end(self, *args: object, **kwargs: object) -> None:
        self.batches += 1

    def on_validation_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.seen.append((trainer.sanity_checking, self.batches))
        assert "val_loss" in trainer.metrics or "val_loss/dataloader_idx_1" in trainer.metrics
        self.batches = 0

    def on_sanity_check_start(self, trainer: TrainerView, module: Classifier) -> None:
        assert trainer.sanity_checking
        trainer.log("of the check", 1.0)

    def on_sanity_check_end(self, trainer: TrainerView, module: Classifier) -> None:
        assert trainer.sanity_checking

    def on_train_start(self, trainer: TrainerView, module: Classifier) -> None:
        assert not trainer.sanity_checking
        self.metrics_at_train_start = dict(trainer.metrics)


@pytest.mark.parametrize(
    ("settings", "checked"),
    [
        ({"num_sanity_val_steps": 2}, [(True, 2 + 2)]),
        ({"num_sanity_val_steps": 4}, [(True, 4 + 3)]),
        ({"num_sanity_val_steps": -1}, [(True, 5 + 3)]),
        ({"num_sanity_val_steps": 2, "limit_val_batches": 1}, [(True, 1 + 1)]),
        ({"num_sanity_val_steps": -1, "limit_val_batches": 0.4}, [(True, 2 + 1)]),
        ({"num_sanity_val_steps": 0}, []),
        ({}, []),
        ({"num_sanity_val_steps": 2, "fast_dev_run": True}, []),
        ({"num_sanity_val_steps": 2, "max_epochs": 0}, []),
    ],
)
def test_so_many_batches_of_each_loader(settings: dict[str, Any], checked: list[tuple[bool, int]]) -> None:
    watching = Watching()
    trainer = Trainer(**{"max_epochs": 1, **settings}, callbacks=[watching])
    trainer.fit(Classifier(), batches(2), [Loader(batches(5)), Loader(batches(3))])
    assert [each for each in watching.seen if each[0]] == checked
    assert watching.seen[len(checked) :] == [each for each in watching.seen if not each[0]]
    assert watching.metrics_at_train_start == {}


def test_nothing_of_it_is_kept() -> None:
    class Logged:
        steps: list[int] = []

        def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
            assert "of the check" not in metrics
            self.steps.append(step)

        def finalize(self, status: str) -> None: ...

    def fitted(**settings: Any) -> tuple[Any, dict[str, object], list[int]]:
        Logged.steps = []
        torch.manual_seed(1)
        model, val = Classifier(), Stream(batches(3))
        model.net[1].eval()
        trainer = Trainer(max_epochs=2, loggers=[Logged()], callbacks=[Watching()], **settings)
        result = trainer.fit(model, batches(3), val)
        assert not model.net[1].training
        return result, trainer.fit_loop.state_dict(), Logged.steps

    plain, checked = fitted(), fitted(num_sanity_val_steps=2)
    assert checked[0].metrics == plain[0].metrics
    assert checked[1:] == plain[1:]


def test_random_numbers_are_those_of_a_fit_without_it() -> None:
    class Drawing(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            random.random()
            np.random.rand()
            return {"val_loss": self.loss(batch) + torch.rand(())}

    class Drawn(Callback):
        numbers: tuple[float, ...] = ()

        def on_train_start(self, trainer: TrainerView, module: Any) -> None:
            self.numbers = (random.random(), float(np.random.rand()), torch.rand(()).item())

    def fitted(steps: int) -> tuple[tuple[float, ...], dict[str, Tensor]]:
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(3)
        model, drawn = Drawing(), Drawn()
        dataset = TensorDataset(torch.randn(20, 4), torch.randint(0, 3, (20,)))
        train = DataLoader(dataset, batch_size=4, shuffle=True)
        val = DataLoader(dataset, batch_size=4, shuffle=True)
        Trainer(max_epochs=2, num_sanity_val_steps=steps, callbacks=[drawn]).fit(model, train, val)
        return drawn.numbers, dict(model.state_dict())

    plain, checked = fitted(0), fitted(2)
    assert plain[0] == checked[0]
    assert all(torch.equal(plain[1][name], checked[1][name]) for name in plain[1])


def test_it_finds_before_training_what_is_wrong_with_the_validation() -> None:
    class Wrong(Classifier):
        trained = 0

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.trained += 1
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            raise ZeroDivisionError

    model = Wrong()
    trainer = Trainer(max_epochs=1, num_sanity_val_steps=1)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, batches(1), batches(1))
    assert model.trained == 0
    assert not trainer.sanity_checking


def test_a_fit_that_goes_on_is_not_checked_again() -> None:
    trainer = Trainer(max_epochs=1, num_sanity_val_steps=1)
    trainer.fit(Classifier(), batches(2), batches(1))
    state = trainer.fit_loop.state_dict()
    watching = Watching()
    trainer = Trainer(max_epochs=2, num_sanity_val_steps=1, callbacks=[watching])
    trainer.fit_loop.load_state_dict(state)
    trainer.fit(Classifier(), batches(2), batches(1))
    assert watching.seen == [(False, 1)]


def test_a_stop_asked_for_in_it() -> None:
    class Asking(Callback):
        def on_sanity_check_end(self, trainer: TrainerView, module: Any) -> None:
            trainer.should_stop = True

    trainer = Trainer(max_epochs=2, num_sanity_val_steps=1, callbacks=[Asking()])
    result = trainer.fit(Classifier(), batches(2), batches(1))
    assert (result.stop_reason, result.batches) == (StopReason.REQUESTED, 0)


def test_any_loop_may_validate() -> None:
    class Own(Loop[[object, object], None]):
        ran = 0
        done = False

        def reset(self) -> None:
            self.done = False

        def advance(self, model: object, loaders: object) -> None:
            self.ran += 1
            self.done = True

    trainer = Trainer(max_epochs=1, num_sanity_val_steps=1)
    own = trainer.fit_loop.epoch_loop.val_loop = Own()
    trainer.fit(Classifier(), batches(1), batches(1))
    assert own.ran == 2


def test_a_negative_number_of_steps() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trainer(num_sanity_val_steps=-2)
    assert str(refused.value) == "num_sanity_val_steps: -2 is negative. Give a count, or -1 for all."
