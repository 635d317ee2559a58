"""How a run ends that goes wrong, and what a trainer keeps and copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import typedloops
from tests.modules import Batch, Classifier, batches
from typedloops import Callback, FitLoop, Loop, Progress, ReadyCompleted, Slot, TrainerView
from typedloops.errors import EscapedStopIteration, add_note
from typedloops.loops.fit import OptimizerProgress

# Much here goes where it does not belong.
Trainer: Any = typedloops.Trainer


class Failing(Classifier):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        raise ZeroDivisionError("the step")


class FailingTeardown(Failing):
    def teardown(self, stage: str) -> None:
        raise OSError("the teardown")


class Finalized:
    status = ""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def finalize(self, status: str) -> None:
        self.status = status


def test_an_error_of_teardown_does_not_hide_that_of_the_step() -> None:
    with pytest.raises(ZeroDivisionError, match="the step") as failed:
        Trainer(max_epochs=1).fit(FailingTeardown(), batches(1))
    assert failed.value.__notes__[-1] == "teardown raised as well: OSError('the teardown')"


def test_a_metric_that_cannot_be_read_does_not_hide_the_error_and_loggers_are_finalized() -> None:
    class LogsUnreadable(Callback[Classifier]):
        def on_train_start(self, trainer: TrainerView, module: Classifier) -> None:
            trainer.log("lost", torch.ones((), device="meta"))

    logger = Finalized()
    with pytest.raises(ZeroDivisionError, match="the step") as failed:
        Trainer(max_epochs=1, callbacks=[LogsUnreadable()], loggers=[logger]).fit(Failing(), batches(1))
    assert failed.value.__notes__[-1].startswith("the end of the run raised as well: ")
    assert logger.status == "failed"


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


def test_an_error_that_takes_no_notes_stays_what_it_is() -> None:
    error = Frozen(3)
    add_note(error, "more")
    assert not hasattr(error, "__notes__")


class Tracked(FitLoop):
    """Declares trackers of every kind."""

    state_fields: ClassVar[tuple[str, ...]] = ("optimizer", "bare", "progress")

    def __init__(self) -> None:
        super().__init__(max_epochs=1)
        self.optimizer = OptimizerProgress()
        self.bare = ReadyCompleted()
        self.progress: Progress[ReadyCompleted] = Progress(ReadyCompleted())

    def on_advance_end(self) -> None:
        super().on_advance_end()
        self.optimizer.step.increment_completed()
        self.bare.completed += 1
        self.progress.increment_completed()


def test_a_new_fit_sets_every_declared_tracker_to_zero() -> None:
    tracked = Tracked()
    for _ in range(2):
        Trainer(fit_loop=tracked).fit(Classifier(), batches(1))
        counts = (tracked.optimizer.step.total.completed, tracked.bare.completed, tracked.progress.total.completed)
        assert counts == (1, 1, 1)


def test_a_state_loaded_below_the_top_is_kept_by_the_next_fit() -> None:
    trainer = Trainer(max_epochs=1)
    trainer.fit(Classifier(), batches(3))
    state = trainer.fit_loop.epoch_loop.state_dict()
    trainer.fit(Classifier(), batches(2))
    trainer.fit_loop.epoch_loop.load_state_dict(state)
    assert trainer.fit(Classifier(), batches(2)).batches == 3 + 2


def test_nothing_is_restarting_after_a_fit_that_was_continued() -> None:
    trainer = Trainer(max_epochs=1)
    trainer.fit(Classifier(), batches(2), batches(1))
    trainer.fit_loop.load_state_dict(trainer.fit_loop.state_dict())
    with pytest.warns(UserWarning, match="^fit_loop: nothing is left to do: max_epochs is 1, and 1 epochs are done"):
        trainer.fit(Classifier(), batches(2))
    assert [loop for _, loop in trainer.fit_loop.walk() if isinstance(loop, Loop) and loop.restarting] == []


class History:
    """Gives its own list away as its state."""

    def __init__(self) -> None:
        self.values = [1]

    def state_dict(self) -> dict[str, object]:
        return {"values": self.values}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        values: Any = state_dict["values"]
        self.values = values
        if values == [9]:
            raise ValueError("nine")


class Remembering(Loop[[], None]):
    state_fields: ClassVar[tuple[str, ...]] = ("history",)
    done = True

    def __init__(self) -> None:
        self.history = History()

    def advance(self) -> None: ...


def test_a_saved_state_is_nobody_elses() -> None:
    loop = Remembering()
    saved = loop.state_dict()
    for value in (2, 3):
        loop.history.values.append(value)
        loop.load_state_dict(saved)
        assert loop.history.values == [1]


def test_a_refused_state_leaves_what_a_field_holds() -> None:
    loop = Remembering()
    state: Any = loop.state_dict()
    state["loops"]["."]["fields"]["history"]["values"] = [9]
    with pytest.raises(ValueError, match="nine"):
        loop.load_state_dict(state)
    assert loop.history.values == [1]


def by_pickle(trainer: Any) -> Any:
    return pickle.loads(pickle.dumps(trainer))


@pytest.mark.parametrize("way", [copy.deepcopy, by_pickle])
def test_a_copied_trainer_has_its_loops_and_settings(way: Callable[[Any], Any]) -> None:
    trainer = Trainer(max_epochs=7)
    twin = way(trainer)
    assert twin.fit_loop.trainer is twin
    assert twin.fit_loop.limits.max_epochs == 7
    assert trainer.fit_loop.trainer is trainer
    assert twin.fit_loop is not trainer.fit_loop


def test_a_shallow_copy_shares_the_loops() -> None:
    trainer = Trainer(max_epochs=1)
    twin = copy.copy(trainer)
    assert twin.fit_loop is trainer.fit_loop
    assert trainer.fit_loop.trainer is trainer
    assert twin.fit(Classifier(), batches(2)).batches == 2
    assert trainer.fit_loop.trainer is twin


class DataFirst(Loop[[list[Batch], Classifier], int]):
    """An entry loop that is given its module second."""

    fit_loop: Slot[FitLoop] = Slot()
    done = False

    def __init__(self) -> None:
        self.fit_loop = FitLoop(max_epochs=1)
        self.batches = 0

    def advance(self, data: list[Batch], net: Classifier) -> None:
        self.batches = self.fit_loop.run(net, data).batches
        self.done = True

    def on_run_end(self) -> int:
        return self.batches


def test_the_module_of_an_entry_loop_may_stand_anywhere() -> None:
    assert Trainer(fit_loop=DataFirst()).fit(batches(3), Classifier()) == 3
    assert Trainer(fit_loop=DataFirst()).fit(data=batches(2), net=Classifier()) == 2


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(5))


class Mapped(IterableDataset[int]):
    """Leaks a `StopIteration` from a function that it maps."""

    def __iter__(self) -> Any:
        return map(self.leak, range(5))

    def leak(self, item: int) -> int:
        if item == 2:
            raise StopIteration
        return item


class Collate:
    def __call__(self, items: list[int]) -> int:
        if items == [2]:
            raise StopIteration
        return items[0]


class ByHand(IterableDataset[int]):
    """Ends as an iterator written by hand does."""

    def __iter__(self) -> Any:
        self.left = 3
        return self

    def __next__(self) -> int:
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        return self.left


class Identity(Classifier):
    def predict_step(self, batch: int, batch_idx: int) -> int:  # type: ignore[override]
        return batch


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        (DataLoader(Stream(), batch_size=1, collate_fn=Collate()), "Collate.__call__"),
        (DataLoader(Mapped(), batch_size=None), "Mapped.leak"),
    ],
)
def test_a_leaked_stop_iteration_does_not_end_an_epoch(loader: object, name: str) -> None:
    with pytest.raises(EscapedStopIteration, match=f"^{name}: StopIteration escaped from it"):
        Trainer().predict(Identity(), loader)


def test_an_iterator_written_by_hand_ends_an_epoch() -> None:
    assert Trainer().predict(Identity(), DataLoader(ByHand(), batch_size=None)) == [2, 1, 0]


def test_an_epoch_without_a_step_need_not_be_the_last() -> None:
    class Late(Classifier):
        automatic_optimization = False
        trainer: Any
        seen = 0

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.seen += 1
            if self.seen % 6 == 0:
                self.trainer.optimizers[0].step()
            return torch.zeros(())

    model = Late()
    model.trainer = Trainer(max_steps=3)
    assert model.trainer.fit(model, batches(4)).batches == 18


class OwnValidation(Loop[[object, object], None]):
    """A validation that is no `ValidationLoop`."""

    done = False
    ran = 0

    def advance(self, model: object, loaders: object) -> None:
        self.ran += 1
        self.done = True


def test_any_loop_may_validate() -> None:
    trainer = Trainer(max_epochs=1)
    own = trainer.fit_loop.epoch_loop.val_loop = OwnValidation()
    trainer.fit(Classifier(), batches(1), batches(1))
    assert own.ran == 1
