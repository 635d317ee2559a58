"""The trainer: its loops, what it tells of a run, logging."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.modules import Batch, Classifier, Loader, batches
from typedloops import (
    Callback,
    FitLoop,
    Loop,
    OptimizerLoop,
    PredictionLoop,
    Stage,
    TestLoop,
    Trainer,
    TrainerView,
    ValidationLoop,
)
from typedloops.errors import LoopTreeError, MisuseError, UnattachedLoopError


class Recording(Callback[Classifier, Batch]):
    """What the trainer says at each hook of interest."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.seen.append(
            (trainer.stage, trainer.current_epoch, trainer.max_epochs, trainer.num_batches, trainer.global_step)
        )

    def on_fit_start(self, trainer: TrainerView, module: Classifier) -> None:
        assert trainer.optimizers[0].param_groups[0]["params"][0] is next(module.parameters())
        assert len(trainer.schedulers) == 1
        assert trainer.callbacks == (self,)


class Scheduled(Classifier):
    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


def test_what_the_trainer_tells() -> None:
    recording = Recording()
    trainer = Trainer(max_epochs=2, callbacks=[recording])
    trainer.fit(Scheduled(), batches(2))
    assert recording.seen == [
        (Stage.FIT, 0, 2, 2, 1),
        (Stage.FIT, 0, 2, 2, 2),
        (Stage.FIT, 1, 2, 2, 3),
        (Stage.FIT, 1, 2, 2, 4),
    ]
    assert (trainer.stage, trainer.global_step, trainer.num_batches) == (None, 4, None)


def test_entry_points_take_lightnings_names() -> None:
    trainer, model = Trainer(max_epochs=1), Classifier()
    assert trainer.fit(model=model, train_dataloaders=batches(2), val_dataloaders=batches(1)).batches == 2
    assert trainer.validate(model=model, dataloaders=batches(2)).batches == 2
    assert trainer.test(model=model, dataloaders=batches(2)).batches == 2
    assert len(trainer.predict(model=model, dataloaders=batches(2))) == 2


class Counting(Loop[[Classifier, list[Batch]], int]):
    """An entry loop of one's own."""

    requires = None

    def __init__(self) -> None:
        self.count = 0

    @property
    def done(self) -> bool:
        return self.count == 3

    def reset(self) -> None:
        self.count = 0

    def advance(self, model: Classifier, data: list[Batch]) -> None:
        self.trainer.call_hook("on_count", self.count)
        self.trainer.log("count", self.count)
        self.count += 1

    def on_run_end(self) -> int:
        return self.count


def test_an_entry_loop_of_ones_own() -> None:
    """It gets setup, hooks, logging and teardown without a word of its own."""
    told: list[object] = []

    class Model(Classifier):
        def setup(self, stage: str) -> None:
            told.append(("setup", stage))

        def on_count(self, count: int) -> None:
            told.append(count)

        def teardown(self, stage: str) -> None:
            told.append(("teardown", stage))

    trainer = Trainer(fit_loop=Counting())
    assert trainer.fit(Model(), batches(1)) == 3
    assert told == [("setup", "fit"), 0, 1, 2, ("teardown", "fit")]
    assert trainer.metrics == {"count": 2.0}
    assert trainer.fit_loop.path == "fit_loop"


class Foreign:
    """A loop by its shape alone."""

    done = False

    def reset(self) -> None: ...

    def advance(self, *args: object) -> None: ...

    def run(self, *args: object) -> object:
        return args


def test_any_loop_that_satisfies_the_contract_may_be_assigned() -> None:
    trainer: Any = Trainer()
    trainer.fit_loop = Foreign()
    assert trainer.fit(1, 2) == (1, 2)
    trainer.fit_loop = FitLoop(max_epochs=1)
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=Foreign())
    assert trainer.fit(Classifier(), batches(2)).batches == 2


def test_with_another_loop_is_another_trainer() -> None:
    trainer = Trainer(max_epochs=1)
    counting = trainer.with_fit_loop(Counting())
    assert counting.fit(Classifier(), batches(1)) == 3
    assert trainer.fit(Classifier(), batches(1)).epochs == 1
    assert counting.validate_loop is trainer.validate_loop
    assert counting.config == trainer.config
    assert counting.validate(Classifier(), batches(2)).batches == 2
    loops = ValidationLoop(1), TestLoop(1), PredictionLoop(1)
    other = trainer.with_validate_loop(loops[0]).with_test_loop(loops[1]).with_predict_loop(loops[2])
    assert (other.validate_loop, other.test_loop, other.predict_loop) == loops
    assert len(other.predict(Classifier(), batches(2))) == 1


def test_connecting_under_a_trainer() -> None:
    trainer = Trainer(max_epochs=1)
    loop: OptimizerLoop[Any, Any] = OptimizerLoop()
    trainer.fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)
    assert loop.path == "fit_loop.epoch_loop.batch_loop.optimizer_loop"
    assert loop.trainer is trainer
    trainer.fit(Classifier(), batches(3))
    assert loop.optim_progress.optimizer_steps == 3
    with pytest.raises(LoopTreeError):
        Trainer().fit_loop.epoch_loop.batch_loop.connect(optimizer_loop=loop)


def test_a_loop_after_a_run_is_pickled_and_copied_without_its_trainer() -> None:
    trainer = Trainer(max_epochs=2)
    trainer.fit(Classifier(), batches(3), batches(1))
    for again in (copy.deepcopy(trainer.fit_loop), pickle.loads(pickle.dumps(trainer.fit_loop))):
        assert again.state_dict() == trainer.fit_loop.state_dict()
        with pytest.raises(MisuseError):
            _ = again.trainer
        assert Trainer(max_epochs=2, fit_loop=again).fit(Classifier(), batches(3)).batches == 6


def test_a_loop_is_copied_and_pickled_in_the_middle_of_a_run() -> None:
    copies: list[FitLoop] = []

    class Copying(Callback):
        def on_train_batch_end(self, trainer: Any, *args: object) -> None:
            copies.append(pickle.loads(pickle.dumps(copy.deepcopy(trainer.fit_loop))))

    Trainer(max_epochs=1, callbacks=[Copying()]).fit(Classifier(), batches(2))
    assert [loop.epoch_loop.batch_progress.current.processed for loop in copies] == [1, 2]
    assert Trainer(max_epochs=1, fit_loop=copies[0]).fit(Classifier(), batches(2)).batches == 2


class Logging(Callback[Classifier]):
    def on_train_batch_end(
        self, trainer: TrainerView, module: Classifier, outputs: object, batch: object, batch_idx: int
    ) -> None:
        trainer.log("last", torch.tensor([float(batch_idx)]))
        for reduce in ("mean", "sum", "min", "max"):
            trainer.log(reduce, batch_idx + 1.0, reduce=reduce)
        trainer.log("weighted", float(batch_idx), reduce="mean", batch_size=batch_idx)

    def on_validation_batch_end(
        self,
        trainer: TrainerView,
        module: Classifier,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        trainer.log("seen", batch_idx)


def test_log() -> None:
    result = Trainer(max_epochs=2, callbacks=[Logging()]).fit(Classifier(), batches(4), batches(2))
    logged = {name: value for name, value in result.metrics.items() if "loss" not in name}
    assert logged == {
        "last": 3.0,
        "mean": 2.5,
        "sum": 10.0,
        "min": 1.0,
        "max": 4.0,
        "weighted": pytest.approx((1 + 4 + 9) / 6),
        "seen": 0.5,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("x", torch.zeros(2)), r"log\('x'\): its value has shape \(2,\)"),
        (("x", 1.0, "median"), r"log\('x'\): 'median' is not a reduction"),
        (("twice", 1.0, "sum"), r"log\('twice'\): it is reduced by 'last' and now by 'sum'"),
    ],
)
def test_what_cannot_be_logged(arguments: tuple[Any, ...], problem: str) -> None:
    class Bad(Callback):
        def on_train_start(self, trainer: TrainerView, module: nn.Module) -> None:
            trainer.log("twice", 1.0)
            trainer.log(*arguments[:2], reduce=arguments[2] if len(arguments) > 2 else None)

    with pytest.raises(MisuseError, match=problem):
        Trainer(max_epochs=1, callbacks=[Bad()]).fit(Classifier(), batches(1))


class ListLogger:
    def __init__(self) -> None:
        self.logged: list[tuple[list[str], int]] = []
        self.status: list[str] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        assert all(isinstance(value, float) for value in metrics.values())
        self.logged.append((sorted(metrics), step))

    def finalize(self, status: str) -> None:
        self.status.append(status)


def test_loggers() -> None:
    logger = ListLogger()
    trainer = Trainer(max_epochs=2, loggers=[logger])
    model = Classifier()
    trainer.fit(model, batches(3), batches(1))
    trainer.test(model, Loader(batches(1)))
    epoch = [(["val_loss"], 3), (["train_loss"], 3), (["val_loss"], 6), (["train_loss"], 6)]
    assert logger.logged == [*epoch, (["accuracy"], 6)]
    assert logger.status == ["success", "success"]

    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trainer.fit(Failing(), batches(1))
    assert logger.status[-1] == "failed"


def test_the_default_trees() -> None:
    trainer = Trainer()
    assert str(trainer.fit_loop.tree()).splitlines() == [
        "fit_loop: FitLoop",
        "└─ epoch_loop: TrainingEpochLoop",
        "   ├─ batch_loop: TrainingBatchLoop",
        "   │  ├─ optimizer_loop: OptimizerLoop",
        "   │  └─ manual_loop: ManualOptimization",
        "   └─ val_loop: ValidationLoop",
        "      └─ epoch_loop: EvaluationEpochLoop",
    ]
    assert str(trainer.validate_loop.tree()) == "validate_loop: ValidationLoop\n└─ epoch_loop: EvaluationEpochLoop"
    assert str(trainer.test_loop.tree()) == "test_loop: TestLoop\n└─ epoch_loop: EvaluationEpochLoop"
    assert str(trainer.predict_loop.tree()) == "predict_loop: PredictionLoop\n└─ epoch_loop: PredictionEpochLoop"
    assert trainer.fit_loop.epoch_loop.val_loop.epoch_loop.path == "fit_loop.epoch_loop.val_loop.epoch_loop"


class LoggingAtEdges(Callback[Classifier]):
    """Logs in the hooks around the batches, as evaluation code does."""

    def on_train_start(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.log("at train start", 1.0)

    def on_validation_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.log("at validation epoch end", 2.0)

    def on_train_end(self, trainer: TrainerView, module: Classifier) -> None:
        trainer.log("at train end", 3.0)


def test_what_is_logged_at_the_edges_of_a_phase_is_kept() -> None:
    trainer = Trainer(max_epochs=1, callbacks=[LoggingAtEdges()])
    result = trainer.fit(Classifier(), batches(1), batches(1))
    edges = {name: value for name, value in result.metrics.items() if name.startswith("at ")}
    assert edges == {"at train start": 1.0, "at validation epoch end": 2.0, "at train end": 3.0}
    assert trainer.metrics == result.metrics
    assert trainer.validate(Classifier(), batches(1)).metrics["at validation epoch end"] == 2.0


def test_a_value_logged_by_hand_is_not_counted_again_when_the_step_returns_it() -> None:
    class Both(Callback[Classifier]):
        def on_validation_batch_start(
            self, trainer: TrainerView, module: Classifier, batch: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            trainer.log("val_loss", 5.0)

    assert Trainer(callbacks=[Both()]).validate(Classifier(), batches(3)).metrics == {"val_loss": 5.0}


def test_a_tensor_that_is_counted_up_in_place_is_logged_as_it_was() -> None:
    class InPlace(Callback[Classifier]):
        count: Tensor

        def on_validation_batch_start(
            self, trainer: TrainerView, module: Classifier, batch: object, batch_idx: int, dataloader_idx: int = 0
        ) -> None:
            self.count = torch.zeros(()) if batch_idx == 0 else self.count
            self.count += 1
            trainer.log("sum", self.count, reduce="sum")

    assert Trainer(callbacks=[InPlace()]).validate(Classifier(), batches(4)).metrics["sum"] == 10.0


def test_a_trainer_keeps_no_module_alive() -> None:
    import gc
    import weakref

    trainer, model = Trainer(max_epochs=1), Classifier()
    trainer.fit(model, batches(1), batches(1))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert copy.deepcopy(trainer).fit(Classifier(), batches(1)).epochs == 1


def test_optimizers_are_there_until_the_end_of_a_failed_fit() -> None:
    seen: list[int] = []

    class Failing(Classifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            raise ZeroDivisionError

    class Saving(Callback):
        def on_exception(self, trainer: TrainerView, module: nn.Module, exception: BaseException) -> None:
            seen.append(len(trainer.optimizers))
            raise ValueError("while saving")

    with pytest.raises(ZeroDivisionError) as caught:
        Trainer(max_epochs=1, callbacks=[Saving()]).fit(Failing(), batches(1))
    assert seen == [1]
    assert caught.value.__notes__[-1] == "on_exception raised as well: ValueError('while saving')"


def test_a_loop_that_its_trainer_gave_up_has_no_trainer_any_more() -> None:
    trainer = Trainer()
    old = trainer.fit_loop
    trainer.fit_loop = FitLoop()
    assert old.path == ""
    with pytest.raises(UnattachedLoopError):
        _ = old.trainer
