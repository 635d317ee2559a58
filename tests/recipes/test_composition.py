"""Recipes within each other: any loop in any slot that its type fits, under a trainer and alone, after a kill too."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer

import typedloops
from tests.recipes.kills import KillAfter, Killed, killed_and_resumed, seed_all
from typedloops import Callback, FitLoopOf, Loop, LoopProtocol, Slot, TrainerView, TrainingBatchLoop, TrainingEpochLoop
from typedloops.recipes import (
    BatchLoaders,
    CurriculumLoop,
    CurriculumStage,
    KFoldLoopOf,
    SuccessiveHalvingLoopOf,
    YieldLoop,
)

# Trees are given to each other from tables here.
Trainer: Any = typedloops.Trainer
Batch = tuple[Tensor, Tensor]


@cache
def items() -> list[Batch]:
    """Handwritten digits."""
    digits = load_digits()
    pixels = torch.as_tensor(digits.images, dtype=torch.float32).div(16).flatten(1)
    return list(zip(pixels, torch.as_tensor(digits.target), strict=True))[:72]


def batches(size: int = 12) -> list[Batch]:
    groups = [items()[i : i + size] for i in range(0, len(items()), size)]
    return [(torch.stack([x for x, _ in group]), torch.stack([y for _, y in group])) for group in groups]


LOADERS = BatchLoaders(12)


class Yielding(nn.Module):
    """Two parts with an optimizer each, whose losses are yielded one after the other."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.lr = lr
        self.body = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 10)

    def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
        yield cross_entropy(self.head(self.body(batch[0])), batch[1])
        yield cross_entropy(self.head(self.body(batch[0])), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return {"val_loss": cross_entropy(self.head(self.body(batch[0])), batch[1])}

    def configure_optimizers(self) -> Sequence[Optimizer]:
        return [SGD(self.body.parameters(), lr=self.lr), Adam(self.head.parameters(), lr=0.01)]


def yielding_fit(max_epochs: int = 2) -> FitLoopOf[Any, Any, Any]:
    loop: Any = YieldLoop()
    return FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(loop)), max_epochs=max_epochs)


class Retried(Loop[[Any, Any, Any], Any]):
    """Runs a fit again when it fails; it knows nothing of what the fit is."""

    iteration_unit: ClassVar[str] = "attempts"
    fit_loop: Slot[LoopProtocol[[Any, Any, Any], Any]] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("failures",)

    def __init__(self, fit_loop: LoopProtocol[[Any, Any, Any], Any]) -> None:
        self.fit_loop = fit_loop
        self.total_iterations = 3
        self.failures = 0
        self.result: Any = None

    @property
    def done(self) -> bool:
        return self.result is not None

    def reset(self) -> None:
        self.result = None
        if not self.restarting:
            self.failures = 0

    def advance(self, model: Any, train: Any, val: Any) -> None:
        try:
            self.result = self.fit_loop.run(model, train, val)
        except ConnectionError:
            self.failures += 1

    def on_run_end(self) -> Any:
        return self.result


class Repeated(Loop[[int], list[Any]]):
    """Cross-validates several times: a loop above a loop above fits."""

    iteration_unit: ClassVar[str] = "repeats"
    inner: Slot[KFoldLoopOf[Any, Any, Any, Any]] = Slot()
    state_fields: ClassVar[tuple[str, ...]] = ("scores",)

    def __init__(self, repeats: int = 2) -> None:
        self.inner = KFoldLoopOf(yielding_fit(), 2)
        self.repeats = self.total_iterations = repeats
        self.scores: list[list[float]] = []

    @property
    def run_name(self) -> str:
        return f"repeat_{self.completed_iterations}"

    @property
    def done(self) -> bool:
        return self.completed_iterations == self.repeats

    def reset(self) -> None:
        if not self.restarting:
            self.scores = []

    def advance(self, seed: int) -> None:
        shift = seed + self.completed_iterations

        def make(fold: int) -> Yielding:
            return Yielding(lr=0.05 * (1 + shift))

        result = self.inner.run(make, items(), LOADERS)
        self.scores.append([fold.metrics["val_loss"] for fold in result.folds])

    def on_run_end(self) -> list[Any]:
        return self.scores


def make(fold: int) -> Yielding:
    return Yielding()


def of_folds(trainer: Any) -> Any:
    result = trainer.fit(make, items(), LOADERS)
    return [(dict(fold.metrics), {k: v.tolist() for k, v in fold.weights.items()}) for fold in result.folds]


def of_candidates(trainer: Any) -> Any:
    result = trainer.fit(Yielding, [0.3, 0.01, 0.1], batches(), batches(36))
    best = {name: value.tolist() for name, value in result.best_module.state_dict().items()}
    return [candidate.configuration for candidate in result.ranking], best


def of_stages(trainer: Any) -> Any:
    torch.manual_seed(5)
    model = Yielding()
    stages = [CurriculumStage(batches(12), batches(36)), CurriculumStage(batches(6), batches(36), name="small")]
    results = trainer.fit(model, stages)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    return [(each.name, each.epochs, dict(each.metrics)) for each in results], weights


def of_repeats(trainer: Any) -> Any:
    return trainer.fit(1)


Case = tuple[Callable[[], Any], Callable[[Any], Any]]
TREES: dict[str, Case] = {
    "folds of a yielding step": (lambda: KFoldLoopOf(yielding_fit(), 3), of_folds),
    "folds of retried fits": (lambda: KFoldLoopOf(Retried(yielding_fit()), 3), of_folds),
    "halving of a yielding step": (lambda: SuccessiveHalvingLoopOf(yielding_fit(), "val_loss", eta=3), of_candidates),
    "stages of a yielding step": (lambda: CurriculumLoop([yielding_fit(), yielding_fit(1)]), of_stages),
    "repeated folds of a yielding step": (Repeated, of_repeats),
}


def trainer_of(tree: Callable[[], Any], **options: Any) -> Any:
    return Trainer(fit_loop=tree(), **options)


@pytest.mark.parametrize("batch", [1, 5, 8, 13])
@pytest.mark.parametrize("name", TREES)
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path, name: str, batch: int) -> None:
    tree, run = TREES[name]
    seed_all(0)
    expected = run(trainer_of(tree))
    assert expected == killed_and_resumed(lambda **o: trainer_of(tree, **o), run, tmp_path / "c", batch)


def test_a_tree_of_recipes_runs_alone() -> None:
    under_a_trainer = Trainer(fit_loop=Repeated()).fit(1)
    assert Repeated().run(1) == under_a_trainer


class Flaky(Yielding):
    """Fails in the first batch that it sees, once."""

    left = 1

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if self.left:
            self.left -= 1
            raise ConnectionError("flaky")


def test_a_loop_between_two_recipes_sees_what_fails_below_it() -> None:
    loop: Any = KFoldLoopOf(Retried(yielding_fit()), 2)
    modules: list[Flaky] = []

    def make_flaky(fold: int) -> Flaky:
        modules.append(Flaky())
        return modules[-1]

    result = Trainer(fit_loop=loop).fit(make_flaky, items(), LOADERS)
    assert [module.left for module in modules] == [0, 0]
    assert [fold.fit.epochs for fold in result.folds] == [2, 2]
    assert loop.fit_loop.failures == 1


class Logger:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def log_metrics(self, metrics: Any, step: int) -> None:
        self.names += metrics

    def finalize(self, status: str) -> None: ...


def test_callbacks_progress_and_loggers_follow_the_tree() -> None:
    paths: list[list[str]] = []

    class Looks(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            paths.append([f"{loop.path} {loop.run_progress}" for loop in trainer.running_loops])

    logger = Logger()
    trainer = Trainer(fit_loop=Repeated(), callbacks=[Looks()], loggers=[logger])
    trainer.fit(1)
    assert paths[0] == [
        "fit_loop 0/2 repeats",
        "fit_loop.inner 0/2 folds",
        "fit_loop.inner.fit_loop 0/2 epochs",
    ]
    assert paths[-1] == [
        "fit_loop 1/2 repeats",
        "fit_loop.inner 1/2 folds",
        "fit_loop.inner.fit_loop 1/2 epochs",
    ]
    assert {f"repeat_{r}/fold_{f}/val_loss" for r in (0, 1) for f in (0, 1)} <= set(logger.names)
    assert str(trainer.fit_loop.tree()).splitlines()[:3] == [
        "fit_loop: Repeated  2/2 repeats",
        "└─ inner: KFoldLoopOf  2/2 folds",
        "   └─ fit_loop: FitLoopOf  2/2 epochs",
    ]


def test_an_error_deep_in_the_tree_says_where() -> None:
    class Breaks(Yielding):
        def training_step(self, batch: Batch, batch_idx: int) -> Generator[Tensor, None, None]:
            yield cross_entropy(self.head(self.body(batch[0])), batch[1])
            raise ArithmeticError("deep")

    with pytest.raises(ArithmeticError, match="deep") as caught:
        Trainer(fit_loop=KFoldLoopOf(Retried(yielding_fit()), 3)).fit(lambda fold: Breaks(), items(), LOADERS)
    (note,) = caught.value.__notes__
    assert [line.partition(" (")[0] for line in note.splitlines()] == [
        "in fit_loop.fit_loop.fit_loop.epoch_loop",
        "in fit_loop.fit_loop.fit_loop",
        "in fit_loop.fit_loop",
        "in fit_loop",
    ]
    assert note.splitlines()[-1] == "in fit_loop (KFoldLoopOf): 0/3 folds completed"


def test_what_another_tree_saved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Trainer(fit_loop=KFoldLoopOf(yielding_fit(), 3), callbacks=[KillAfter(tmp_path / "c", 2)]).fit(
            make, items(), LOADERS
        )
    trainer = Trainer(fit_loop=KFoldLoopOf(Retried(yielding_fit()), 3))
    trainer.load_checkpoint(tmp_path / "c")
    with pytest.raises(typedloops.errors.CheckpointError, match="it is of another tree of loops"):
        trainer.fit(make, items(), LOADERS)
