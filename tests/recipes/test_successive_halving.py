"""Successive halving: who goes on, that each trains as it would alone, and that it can be killed anywhere."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import typedloops
from tests.modules import Batch, batches
from tests.recipes.kills import KillAfter, Killed, killed_and_resumed, seed_all
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
    verify_resume,
)
from typedloops.errors import ConfigurationError, MisuseError
from typedloops.recipes.successive_halving import (
    Candidate,
    Rung,
    SuccessiveHalvingLoop,
    SuccessiveHalvingLoopOf,
    SuccessiveHalvingResult,
    rungs,
)

# Settings and modules are taken from tables here.
Trainer: Any = typedloops.Trainer


@dataclass(frozen=True)
class Config:
    lr: float
    width: int


GRID = [Config(lr, width) for width in (4, 16) for lr in (1e-4, 1e-2)]


class Net(nn.Module):
    """A classifier of digits with dropout, momentum and a scheduler."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.net = nn.Sequential(nn.Linear(64, width), nn.BatchNorm1d(width), nn.Dropout(0.1), nn.Linear(width, 10))

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": self.loss(batch)}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.config.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

    def on_train_epoch_start(self) -> None:
        """A hook: a class with hooks is itself no module."""


def loaders(*, own: bool = False) -> tuple[DataLoader[Any], list[Batch]]:
    digits = load_digits()
    images = torch.as_tensor(digits.data[:128], dtype=torch.float32).div(16)
    labels = torch.as_tensor(digits.target[:128])
    generator = torch.Generator().manual_seed(3) if own else None
    dataset = TensorDataset(images[:64], labels[:64])
    return DataLoader(dataset, batch_size=16, shuffle=True, generator=generator), [(images[64:], labels[64:])]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def halving(**settings: Any) -> Any:
    return SuccessiveHalvingLoop("val_loss", **{"eta": 2, **settings})


class Scripted(nn.Module):
    """Its scores are written beforehand, one for each epoch."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.scores = scores
        self.epoch = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.weight**2

    def on_train_epoch_end(self) -> None:
        self.epoch += 1

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, float]:
        return {"score": self.scores[min(self.epoch, len(self.scores) - 1)]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def scripted(*scores: Sequence[float], make: Any = Scripted, callbacks: Sequence[object] = (), **settings: Any) -> Any:
    loop = SuccessiveHalvingLoop("score", **{"eta": 2, "mode": "max", **settings})
    return Trainer(fit_loop=loop, callbacks=callbacks).fit(make, scores, batches(2), batches(1))


def order(result: Any) -> list[int]:
    return [candidate.index for candidate in result.ranking]


# The plan


@pytest.mark.parametrize(
    ("count", "settings", "expected"),
    [
        (9, {}, [(9, 1), (3, 3), (1, 9)]),
        (10, {"eta": 2, "min_epochs": 3}, [(10, 3), (5, 6), (2, 12), (1, 24)]),
        (9, {"max_epochs": 20}, [(9, 1), (3, 3), (1, 20)]),
        (27, {"max_epochs": 5}, [(27, 1), (9, 3), (3, 5)]),
        (2, {}, [(2, 1), (1, 3)]),
        (1, {}, [(1, 1)]),
        (1, {"max_epochs": 7}, [(1, 7)]),
        (4, {"min_epochs": 5, "max_epochs": 5}, [(4, 5)]),
    ],
)
def test_rungs(count: int, settings: Any, expected: list[tuple[int, int]]) -> None:
    assert rungs(count, **settings) == tuple(Rung(*rung) for rung in expected)


@given(st.integers(1, 500), st.integers(2, 6), st.integers(1, 5), st.none() | st.integers(5, 200))
def test_any_rungs(count: int, eta: int, least: int, most: int | None) -> None:
    planned = rungs(count, eta=eta, min_epochs=least, max_epochs=most)
    assert planned[0].candidates == count
    for before, after in pairwise(planned):
        assert after.candidates == max(1, before.candidates // eta)
        assert before.epochs < after.epochs
        assert after.epochs == before.epochs * eta or after is planned[-1]
    assert planned[-1].candidates == 1 or planned[-1].epochs == most
    assert most is None or planned[-1].epochs == most


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"eta": 1}, "successive halving: eta: it is 1. Give an int from 2 on."),
        ({"eta": 2.5}, "successive halving: eta: it is 2.5. Give an int from 2 on."),
        ({"min_epochs": 0}, "successive halving: min_epochs: it is 0. Give an int from 1 on."),
        (
            {"min_epochs": 4, "max_epochs": 3},
            "successive halving: max_epochs: it is 3. Give an int from 4 on.",
        ),
        ({"mode": "best"}, "SuccessiveHalvingLoop.mode: it is 'best'. Give one of 'min', 'max'."),
        ({"on_error": "skip"}, "SuccessiveHalvingLoop.on_error: it is 'skip'. Give one of 'raise', 'worst'."),
    ],
)
def test_a_wrong_setting_is_told_at_once(settings: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        halving(**settings)
    assert str(error.value) == told


# Who goes on


def test_the_best_go_on_and_the_ranking_is_by_rung_and_score() -> None:
    result = scripted([5, 1], [4, 9, 9, 9], [3], [2], [1])
    assert result.rungs == (Rung(5, 1), Rung(2, 2), Rung(1, 4))
    assert order(result) == [1, 0, 2, 3, 4]
    assert [candidate.scores for candidate in result.ranking] == [(4, 9, 9), (5, 1), (3,), (2,), (1,)]
    assert [candidate.epochs for candidate in result.ranking] == [4, 2, 1, 1, 1]
    assert (result.epochs, result.epochs_saved) == (9, 11)
    assert result.best == Candidate(1, [4, 9, 9, 9], (4.0, 9.0, 9.0), 4)
    assert (result.best.score, result.best.rung) == (9, 2)
    assert (result.best_module.scores, result.best_module.epoch) == ([4, 9, 9, 9], 4)


def test_lower_is_better_unless_it_is_said() -> None:
    assert order(scripted([5], [4], [3], mode="min", eta=3)) == [2, 1, 0]


def test_of_equal_ones_the_first_is_better() -> None:
    assert order(scripted([1], [1], [1], [1])) == [0, 1, 2, 3]
    assert order(scripted([1], [1], [1], [1], mode="min")) == [0, 1, 2, 3]


def test_nan_is_worse_than_any_number_and_does_not_go_on() -> None:
    result = scripted([math.nan], [-math.inf], [math.nan], [0])
    assert order(result) == [3, 1, 0, 2]
    assert [len(candidate.scores) for candidate in result.ranking] == [3, 2, 1, 1]
    alone = scripted([math.nan], [2, math.nan], [math.nan], [math.nan])
    assert order(alone) == [1, 0, 2, 3]
    assert [len(candidate.scores) for candidate in alone.ranking] == [2, 1, 1, 1]
    assert alone.best_module.epoch == 2, "where it became NaN there is nothing to go on for"
    assert order(scripted([math.nan], [math.nan])) == [0, 1]


def test_a_candidate_that_stops_by_itself_keeps_its_score_and_trains_no_further() -> None:
    class Stops(Callback[Scripted]):
        def on_train_epoch_end(self, trainer: TrainerView, module: Scripted) -> None:
            trainer.should_stop = module.scores == [8]

    result = scripted([9, 1], [8], [0], [0], callbacks=[Stops()])
    assert [(c.index, c.scores, c.epochs) for c in result.ranking[:2]] == [(1, (8, 8, 8), 1), (0, (9, 1), 2)]


def test_a_rehearsal() -> None:
    loop = SuccessiveHalvingLoop("score", eta=2)
    result = Trainer(fit_loop=loop, fast_dev_run=True).fit(Scripted, [[1], [2]], batches(2), batches(1))
    assert [candidate.epochs for candidate in result.ranking] == [1, 1]


class Breaks(Scripted):
    """Fails in the epoch whose score is None, in the middle of a validation."""

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, float]:
        if self.scores[min(self.epoch, len(self.scores) - 1)] is None:
            raise ArithmeticError("diverged")
        return super().validation_step(batch, batch_idx)


def test_an_error_names_its_candidate() -> None:
    with pytest.raises(ArithmeticError) as error:
        scripted([1], [2, None], [3, 4], make=Breaks, min_epochs=2)  # type: ignore[list-item]
    notes = " ".join(getattr(error.value, "__notes__", ()))
    assert "SuccessiveHalvingLoop: candidate 1 ([2, None]), rung 0 (until epoch 2)" in notes


def test_an_error_may_count_as_the_worst() -> None:
    result = scripted([9, None], [2, 3], [None], [1], make=Breaks, on_error="worst")  # type: ignore[list-item]
    assert [(c.index, str(c.scores), c.epochs, c.error) for c in result.ranking] == [
        (1, "(2.0, 3.0, 3.0)", 4, None),
        (0, "(9.0, nan)", 1, "ArithmeticError: diverged"),
        (3, "(1.0,)", 1, None),
        (2, "(nan,)", 0, "ArithmeticError: diverged"),
    ]
    assert "(ArithmeticError: diverged)" in str(result)
    with pytest.raises(MisuseError) as error:
        scripted([None], [None], make=Breaks, on_error="worst")  # type: ignore[list-item]
    assert str(error.value) == (
        "SuccessiveHalvingLoop: every candidate of rung 0 failed: candidate 0 ArithmeticError: diverged; candidate 1 "
        "ArithmeticError: diverged. See `on_error`."
    )


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(ConfigurationError) as error:
        scripted()
    assert str(error.value) == "SuccessiveHalvingLoop: configurations: there are none. Give at least one."
    with pytest.raises(ConfigurationError) as error:
        Trainer(fit_loop=SuccessiveHalvingLoop("loss", on_error="worst")).fit(Scripted, [[1]], batches(1), batches(1))
    assert str(error.value) == (
        "SuccessiveHalvingLoop(monitor='loss'): candidate 0 has no such metric at the end of a rung; there are "
        "['score', 'train_loss']. Monitor one of those, and give loaders to validate on for those of a validation."
    )


def test_the_table() -> None:
    ranking = (Candidate(1, "wide", (0.5, 0.25), 3), Candidate(0, "narrow", (1.0,), 1))
    result = SuccessiveHalvingResult(ranking, None, rungs(2), "val_loss")
    assert str(result) == (
        "rank  candidate  epochs  val_loss at epoch 1  val_loss at epoch 3  configuration\n"
        "1     1          3       0.5                  0.25                 wide\n"
        "2     0          1       1                                         narrow"
    )


# Each as alone


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("hosted", [False, True])
def test_every_candidate_trains_as_it_would_alone_and_in_one_go(own: bool, hosted: bool) -> None:
    trained = dict[int, tuple[int, Net]]()

    class Seen(Net):
        def on_fit_end(self) -> None:
            trained[GRID.index(self.config)] = (loop.fit_loop.epoch_progress.total.completed, self)

    loop = halving(seed=5)
    run: Any = Trainer(fit_loop=loop).fit if hosted else loop.run
    result = run(Seen, GRID, *loaders(own=own))
    assert sorted(epochs for epochs, _ in trained.values()) == [1, 1, 2, 4]
    assert trained[result.best.index] == (4, result.best_module)
    for index, (epochs, module) in trained.items():
        seed_everything(5 + index)
        alone = Net(GRID[index])
        fitted = FitLoop(max_epochs=epochs).run(alone, *loaders(own=own))
        assert same(alone, module)
        scores = next(candidate.scores for candidate in result.ranking if candidate.index == index)
        assert scores[-1] == fitted.metrics["val_loss"]
    assert same(run(Seen, GRID, *loaders(own=own)).best_module, result.best_module), "the next run begins anew"


def test_the_memory_of_those_who_cannot_win_is_let_go_of() -> None:
    alive = list["weakref.ref[Scripted]"]()
    most = 0

    class Counted(Scripted):
        def __init__(self, scores: Sequence[float]) -> None:
            nonlocal most
            super().__init__(scores)
            alive.append(weakref.ref(self))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))

    result = scripted(*([score] for score in (9, 8, 1, 7, 2, 3, 4, 5)), make=Counted)
    assert most == 5, "of eight the best four, and the one that trains"
    gc.collect()
    assert [ref() for ref in alive if ref() is not None] == [result.best_module]


# Callbacks and loggers


class Counts(Callback[nn.Module]):
    """Counts batches in a state."""

    def __init__(self, told: list[tuple[int, int]], index: int) -> None:
        self.told = told
        self.index = index
        self.batches = 0

    def on_train_batch_end(self, t: TrainerView, m: nn.Module, o: object, b: object, batch_idx: int) -> None:
        self.batches += 1

    def on_fit_end(self, trainer: TrainerView, module: nn.Module) -> None:
        self.told.append((self.index, self.batches))

    def state_dict(self) -> dict[str, object]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        self.batches = state_dict["batches"]


class Logs:
    def __init__(self) -> None:
        self.logged: list[tuple[str, int]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.logged += [(name, step) for name in metrics if name.endswith("score")]

    def finalize(self, status: str) -> None: ...


def test_callbacks_and_metrics_of_each_candidate() -> None:
    told, logs = list[tuple[int, int]](), Logs()
    loop = SuccessiveHalvingLoop("score", eta=2, make_callbacks=lambda index: [Counts(told, index)])
    heard = Counts(told, -1)
    trainer = Trainer(fit_loop=loop, loggers=[logs], callbacks=[heard])
    trainer.fit(Scripted, [[3], [2], [1], [4]], batches(2), batches(1))
    assert [entry for entry in told if entry[0] != -1] == [(0, 2), (1, 2), (2, 2), (3, 2), (1, 4), (2, 4), (2, 8)]
    assert heard.batches == 16
    assert logs.logged == [
        *((f"candidate_{index}/score", 2) for index in range(4)),
        *((f"candidate_{index}/score", 4) for index in (1, 2)),
        *(("candidate_2/score", step) for step in (6, 8)),
    ]


# Killed and gone on with


def run_grid(trainer: Any) -> tuple[object, ...]:
    result = trainer.fit(Net, GRID, *loaders(own=True))
    return (result.ranking, *(tensor.tolist() for tensor in result.best_module.state_dict().values()))


def make_trainer(told: list[tuple[int, int]] | None = None) -> Callable[..., Any]:
    noted = list[tuple[int, int]]() if told is None else told

    def make(callbacks: Sequence[object]) -> Any:
        noted.clear()
        return Trainer(fit_loop=halving(make_callbacks=lambda index: [Counts(noted, index)]), callbacks=callbacks)

    return make


@pytest.mark.parametrize("batch", [1, 6, 16, 18, 20, 23, 24, 27])
def test_a_run_that_is_killed_goes_on_to_the_bit(tmp_path: Path, batch: int) -> None:
    """There are 16 batches in the first rung, 8 in the second and 8 in the third."""
    seed_all(0)
    told = list[tuple[int, int]]()
    expected = run_grid(make_trainer(told)([]))
    heard = dict(told)
    assert killed_and_resumed(make_trainer(told), run_grid, tmp_path / "c", batch) == expected
    assert {index: count for index, count in told if heard[index] != count and count > heard[index]} == {}
    assert dict(told).items() <= heard.items()


def test_it_is_killed_again_and_again(tmp_path: Path) -> None:
    expected = run_grid(make_trainer()([]))
    path: Path | None = None
    for number, batch in enumerate((3, 10, 5, 4, 2, 3)):
        killer = KillAfter(tmp_path / f"{number}", batch)
        trainer = make_trainer()([killer])
        if path is not None:
            trainer.load_checkpoint(path, exact=True)
        with pytest.raises(Killed):
            run_grid(trainer)
        path = killer.path
    trainer = make_trainer()([])
    trainer.load_checkpoint(path, exact=True)
    assert run_grid(trainer) == expected


class SavesInHook(Callback[nn.Module]):
    """Saves in a hook around a fit, in the n-th of all fits, and leaves when that is written."""

    def __init__(self, path: Path, hook: str, number: int) -> None:
        self.path = path
        self.hook = hook
        self.number = number
        self.seen = 0

    def _see(self, trainer: TrainerView, hook: str) -> None:
        if hook == self.hook:
            self.seen += 1
            if self.seen == self.number:
                trainer.save_checkpoint(self.path, when_written=self._leave)

    def _leave(self, path: Path) -> None:
        raise Killed

    def on_fit_start(self, trainer: TrainerView, module: nn.Module) -> None:
        self._see(trainer, "on_fit_start")

    def on_fit_end(self, trainer: TrainerView, module: nn.Module) -> None:
        self._see(trainer, "on_fit_end")

    def on_validation_end(self, trainer: TrainerView, module: nn.Module) -> None:
        self._see(trainer, "on_validation_end")

    def setup(self, trainer: TrainerView, module: nn.Module, stage: str) -> None:
        if isinstance(module, nn.Module):
            self._see(trainer, "setup")

    def teardown(self, trainer: TrainerView, module: nn.Module, stage: str) -> None:
        if isinstance(module, nn.Module):
            self._see(trainer, "teardown")


@pytest.mark.parametrize("number", [1, 4, 6, 7])
@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_validation_end", "on_fit_end", "teardown"])
def test_it_may_be_saved_around_a_fit(tmp_path: Path, hook: str, number: int) -> None:
    expected = run_grid(make_trainer()([]))
    with pytest.raises(Killed):
        run_grid(make_trainer()([SavesInHook(tmp_path / "c", hook, number)]))
    seed_all(77)
    trainer = make_trainer()([])
    trainer.load_checkpoint(tmp_path / "c")
    assert run_grid(trainer) == expected


def test_a_candidate_that_failed_and_a_score_that_is_no_number_are_saved(tmp_path: Path) -> None:
    grid: Any = [[None], [math.nan], [1], [2]]

    def run(trainer: Any) -> str:
        return str(trainer.fit(Breaks, grid, batches(2), batches(1)))

    def make(callbacks: Sequence[object]) -> Any:
        return Trainer(fit_loop=SuccessiveHalvingLoop("score", eta=2, on_error="worst"), callbacks=callbacks)

    expected = run(make([]))
    saver = make([SavesInHook(tmp_path / "c", "on_validation_end", 4)])
    saver.callbacks[0]._leave = lambda path: None
    assert run(saver) == expected
    trainer = make([])
    trainer.load_checkpoint(tmp_path / "c", exact=True)
    assert run(trainer) == expected


def test_other_configurations_do_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run_grid(make_trainer()([KillAfter(tmp_path / "c", 6)]))
    trainer = make_trainer()([])
    trainer.load_checkpoint(tmp_path / "c")
    with pytest.raises(ConfigurationError) as error:
        trainer.fit(Net, GRID[:3], *loaders(own=True))
    assert str(error.value) == (
        "SuccessiveHalvingLoop: configurations: there are 3, and 4 in the run that goes on. Give those that it had."
    )


def test_it_is_verified() -> None:
    def make() -> Any:
        return Trainer(fit_loop=halving(), limit_train_batches=1)

    verify_resume(make, lambda trainer: trainer.fit(Net, GRID[:2], *loaders()), at=3).check()


# As a loop


def test_a_tree_of_ones_own() -> None:
    tree: Any = FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(OptimizerLoop())))
    loop: Any = SuccessiveHalvingLoopOf(tree, "val_loss", eta=2)
    assert str(loop.tree()).splitlines()[:3] == [
        "SuccessiveHalvingLoopOf",
        "└─ fit_loop: FitLoopOf",
        "   └─ epoch_loop: TrainingEpochLoop",
    ]
    default = Trainer(fit_loop=halving()).fit(Net, GRID, *loaders())
    assert Trainer(fit_loop=loop).fit(Net, GRID, *loaders()).ranking == default.ranking
    assert loop.fit_loop.stop_reason is StopReason.MAX_EPOCHS
