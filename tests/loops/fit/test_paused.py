"""Fits that take turns in one loop, each as if it had run alone and in one go."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import (
    Callback,
    FitLoop,
    FitLoopOf,
    OptimizerLoop,
    StopReason,
    TrainerView,
    TrainingBatchLoop,
    TrainingEpochLoop,
    seed_everything,
)
from typedloops.checkpoint import FolderFormat
from typedloops.errors import MisuseError, StateError
from typedloops.loops.fit.paused import PausedFit

# Settings are taken from tables here, and a paused fit is of any module.
Trainer: Any = typedloops.Trainer
Paused: Any = PausedFit


class Digits(Classifier):
    """Dropout, momentum, a part that is frozen on the way, hooks that draw random numbers, and a count in no state."""

    def __init__(self, scheduled: str) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 10))
        self.scheduled = scheduled
        self.steps = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.steps += 1
        return super().training_step(batch, batch_idx) * (1 + 0.01 * self.steps)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        if self.scheduled == "plateau":
            return {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": ReduceLROnPlateau(optimizer, patience=0),
                    "monitor": "val_loss",
                    "strict": False,
                },
            }
        return [optimizer], [{"scheduler": StepLR(optimizer, 3), "interval": "step"}]

    def on_train_epoch_end(self) -> None:
        self.net[1].eval()

    def on_train_start(self) -> None:
        torch.rand(3)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["steps"] = self.steps

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self.steps = checkpoint["steps"]


def loaders(kind: str) -> tuple[Any, list[Batch]]:
    digits = load_digits()
    images = torch.as_tensor(digits.data[:100], dtype=torch.float32).div(16)
    labels = torch.as_tensor(digits.target[:100])

    def make() -> DataLoader[Any]:
        mine = torch.Generator().manual_seed(int(torch.randint(100, ()))) if kind == "made" else torch.Generator()
        order = torch.randperm(100)[:64] if kind == "made" else torch.arange(64)
        generator = None if kind == "shared" else mine
        dataset = TensorDataset(images[order], labels[order])
        return DataLoader(dataset, batch_size=16, shuffle=True, generator=generator)

    return make if kind == "made" else make(), [(images[64:], labels[64:])]


def begin(seed: int, scheduled: str) -> Digits:
    seed_everything(seed)
    return Digits(scheduled)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize("kind", ["shared", "own", "made"])
@pytest.mark.parametrize("scheduled", ["plateau", "steps"])
@pytest.mark.parametrize("saved", [False, True])
def test_two_that_take_turns_are_as_each_alone(kind: str, scheduled: str, saved: bool, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"check_val_every_n_epoch": 2}
    alone = list[Digits]()
    results = list[Any]()
    for seed in (1, 2):
        alone.append(begin(seed, scheduled))
        results.append(Trainer(max_epochs=5, **settings).fit(alone[-1], *loaders(kind)))

    waiting = dict[int, Any]()
    data: Any = {seed: loaders(kind) for seed in (1, 2)}
    trainer = Trainer(**settings)
    for epochs in (1, 3, 5):
        for seed in (1, 2):
            trainer.fit_loop.max_epochs = epochs
            if seed not in waiting:
                module = begin(seed, scheduled)
                result = trainer.fit(module, *data[seed])
            else:
                paused = waiting[seed]
                if saved:
                    FolderFormat().save(tmp_path / f"{seed}-{epochs}", {"paused": paused.state_dict()})
                    content: Any = FolderFormat().load(tmp_path / f"{seed}-{epochs}")
                    paused = Paused.of_state("here", Digits(scheduled), content["paused"])
                    trainer, data[seed] = Trainer(**settings), loaders(kind)
                    trainer.fit_loop.max_epochs = epochs
                torch.rand(7)
                paused.take_up(trainer.fit_loop)
                module = paused.module
                result = trainer.fit(module, *data[seed], resume=True)
            waiting[seed] = paused = Paused.after(trainer.fit_loop, module)
            assert (paused.epochs, paused.stop_reason) == (epochs, StopReason.MAX_EPOCHS)
            if epochs == 5:
                expected = results[seed - 1]
                assert same(module, alone[seed - 1])
                assert module.steps == alone[seed - 1].steps == 20
                assert (result.epochs, result.batches, result.metrics) == (5, 20, expected.metrics)
                assert paused.metrics == expected.metrics


def test_the_fit_alone_is_not_changed_by_going_on_from_itself() -> None:
    """`resume=True` without a pause goes on with the random numbers of now."""
    loop, module = FitLoop(max_epochs=1), Classifier()
    loop.run(module, batches())
    torch.manual_seed(5)
    expected = copy.deepcopy(torch.get_rng_state())
    seen = list[Tensor]()

    class Sees(Callback[nn.Module]):
        def on_train_epoch_start(self, trainer: TrainerView, module: nn.Module) -> None:
            seen.append(torch.get_rng_state())

    loop.max_epochs = 2
    Trainer(fit_loop=loop, callbacks=[Sees()]).fit(module, batches(), resume=True)
    assert torch.equal(seen[0], expected)


def test_it_goes_on_without_a_trainer() -> None:
    torch.manual_seed(1)
    whole = Classifier()
    FitLoop(max_epochs=3).run(whole, batches())
    torch.manual_seed(1)
    module, loop = Classifier(), FitLoop(max_epochs=1)
    loop.run(module, batches())
    paused = PausedFit.after(loop, module)
    other = Classifier()
    loop.run(other, batches())
    paused.take_up(loop)
    loop.max_epochs = 3
    assert loop.run(module, batches(), resume=True).batches == 12
    assert same(module, whole)
    assert loop.run(Classifier(), batches()).batches == 12, "the next fit begins anew"
    assert refused(lambda: paused.take_up(loop)) == (
        "PausedFit.take_up: FitLoop: it was taken up before, and has trained on since. "
        "Keep what `PausedFit.after` gives when that fit has ended, and take that up."
    )


def test_a_fit_that_had_nothing_left_to_do_still_knows_its_loaders() -> None:
    trainer, module = Trainer(max_epochs=1), begin(1, "steps")
    train, val = loaders("own")
    trainer.fit(module, train, val)
    paused = PausedFit.after(trainer.fit_loop, module)
    where = train.generator.get_state()
    trainer.fit_loop.max_epochs = 1
    paused.take_up(trainer.fit_loop)
    with pytest.warns(UserWarning, match="nothing is left to do"):
        trainer.fit(module, train, val, resume=True)
    paused = PausedFit.after(trainer.fit_loop, module)
    trainer.fit(Digits("steps"), train, val)
    paused.take_up(trainer.fit_loop)
    trainer.fit_loop.max_epochs = 2
    seen = list[bool]()
    module.on_train_epoch_start = lambda: seen.append(torch.equal(train.generator.get_state(), where))  # type: ignore[assignment]
    trainer.fit(module, train, val, resume=True)
    assert seen == [True]


def test_time_goes_on() -> None:
    module, loop = Classifier(), FitLoop(max_epochs=1)
    trainer = Trainer(fit_loop=loop, max_time="00:00:10:00")
    trainer.fit(module, batches())
    paused = PausedFit.after(loop, module)
    state: Any = paused.state_dict()["continuation"]
    state["run"]["elapsed"] = 601.0
    loop.max_epochs = 3
    paused.take_up(loop)
    result = trainer.fit(module, batches(), resume=True)
    assert (result.epochs, result.stop_reason) == (1, StopReason.MAX_TIME)


def test_callbacks_of_its_own_are_saved_with_it() -> None:
    class Counts(Callback[nn.Module]):
        batches = 0

        def on_train_batch_end(self, t: TrainerView, m: nn.Module, o: object, b: object, batch_idx: int) -> None:
            self.batches += 1

        def state_dict(self) -> dict[str, object]:
            return {"batches": self.batches}

        def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
            self.batches = state_dict["batches"]

    counts, module, again = Counts(), Classifier(), Counts()
    trainer = Trainer(max_epochs=1, callbacks=[counts])
    trainer.fit(module, batches())
    state = Paused.after(trainer.fit_loop, module, [counts]).state_dict()
    assert Paused.of_state("here", Classifier(), state, [again]).callbacks == [again]
    assert again.batches == 4


def test_nothing_is_kept_alive_by_a_fit_that_is_let_go_of() -> None:
    loop = FitLoop(max_epochs=1)
    alive = list[Any]()

    def run() -> Iterable[Any]:
        for _ in range(2):
            module = Classifier()
            loop.run(module, batches())
            alive.append(weakref.ref(module))
            yield Paused.after(loop, module)

    first, second = run()
    del first
    gc.collect()
    assert [ref() is None for ref in alive] == [True, False]
    del second


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(MisuseError) as error:
        call()
    return str(error.value)


def test_there_is_nothing_to_pause() -> None:
    loop = FitLoop(max_epochs=1)
    told = (
        "PausedFit.after: FitLoop: it has not just ended a fit of this module, or one that can be gone on from. Fit "
        "the module first; where that was done, the log says what could not be kept."
    )
    assert refused(lambda: Paused.after(loop, Classifier())) == told
    module = Classifier()
    loop.run(module, batches())
    assert refused(lambda: Paused.after(loop, Classifier())) == told


def test_it_is_taken_up_by_the_loops_that_it_was_fitted_by() -> None:
    module, loop = Classifier(), FitLoop(max_epochs=1)
    loop.run(module, batches())
    paused = PausedFit.after(loop, module)
    other: Any = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop())), max_epochs=1)
    with pytest.raises(StateError, match="unknown loops"):
        paused.take_up(other)
