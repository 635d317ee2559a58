"""The outputs of an epoch's steps, kept for the hooks that want them and for nobody else."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import Callback, FitLoop, ModuleHooks, TestLoop, TrainerView, ValidationLoop
from typedloops.errors import EscapedStopIteration, HookError

# The outputs are lists, or lists of lists.
Trainer: Any = typedloops.Trainer


class Keeping(Classifier):
    """Its steps return what can be told apart; its hooks keep what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, list[Any]] = {"training": [], "validation": [], "test": []}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
        loss = self.loss(batch)
        return {"loss": loss, "parts": [loss * 2, batch_idx]}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return None if batch_idx == 1 else {"place": (dataloader_idx, batch_idx), "val_loss": self.loss(batch)}

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        return torch.tensor(float(batch_idx))

    def training_epoch_end(self, outputs: list[Any]) -> None:
        self.given["training"].append(outputs)

    def validation_epoch_end(self, outputs: list[Any]) -> None:
        self.given["validation"].append(outputs)

    def test_epoch_end(self, outputs: list[Any]) -> None:
        self.given["test"].append(outputs)


def test_outputs_of_training_are_those_of_each_epoch_without_their_graphs() -> None:
    model = Keeping()
    result = Trainer(max_epochs=2).fit(model, batches(3))
    first, second = model.given["training"]
    assert [output["parts"][1] for output in first + second] == [0, 1, 2, 0, 1, 2]
    for output in first + second:
        assert not output["loss"].requires_grad
        assert not output["parts"][0].requires_grad
        assert output["parts"][0] == 2 * output["loss"]
    assert float(second[-1]["loss"]) == result.metrics["train_loss"]


@pytest.mark.parametrize("kind", [Loader, Stream])
def test_outputs_of_an_evaluation(kind: Any) -> None:
    model = Keeping()
    Trainer().validate(model, kind(batches(3)))
    ((zero, one, two),) = model.given["validation"]
    assert (zero["place"], one, two["place"]) == ((0, 0), None, (0, 2))
    assert [float(output) for output in Trainer().test(model, kind(batches(3))) and model.given["test"][0]] == [0, 1, 2]


def test_outputs_of_several_loaders_are_in_a_list_for_each() -> None:
    model = Keeping()
    Trainer(limit_val_batches=[1, 3]).validate(model, [Loader(batches(3)), Loader(batches(4))])
    ((first, second),) = model.given["validation"]
    assert [output["place"] for output in first] == [(0, 0)]
    assert [output and output["place"] for output in second] == [(1, 0), None, (1, 2)]
    Trainer().test(model, [Loader(batches(2))])
    assert [float(output) for output in model.given["test"][0]] == [0.0, 1.0]


def test_without_a_trainer() -> None:
    model = Keeping()
    FitLoop(max_epochs=1).run(model, batches(2), batches(1))
    ValidationLoop().run(model, batches(1))
    TestLoop().run(model, batches(2))
    assert {phase: [len(outputs) for outputs in given] for phase, given in model.given.items()} == {
        "training": [2],
        "validation": [1, 1],
        "test": [2],
    }


class Watching(Callback[Classifier]):
    """Listens as the module does, and looks at when."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def validation_epoch_end(self, trainer: TrainerView, module: Classifier, outputs: Sequence[object]) -> None:
        self.log.append(f"validation outputs {len(outputs)}, {sorted(trainer.metrics)}")
        trainer.log("spread", 2.0)

    def on_validation_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.log.append(f"validation end, {trainer.metrics['spread']}")

    def training_epoch_end(self, trainer: TrainerView, module: Classifier, outputs: Sequence[object]) -> None:
        self.log.append(f"training outputs {len(outputs)}")
        trainer.log("mean_loss", 3.0)

    def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
        self.log.append(f"training end, {trainer.metrics['mean_loss']}")


def test_a_callback_hears_of_them_before_the_epoch_ends_and_what_it_logs_counts_with_the_epoch() -> None:
    watching = Watching()
    trainer = Trainer(max_epochs=1, callbacks=[watching])
    result = trainer.fit(Classifier(), batches(2), batches(3))
    assert watching.log == [
        "validation outputs 3, ['val_loss']",
        "validation end, 2.0",
        "training outputs 2",
        "training end, 3.0",
    ]
    assert result.metrics == {
        "spread": 2.0,
        "mean_loss": 3.0,
        "train_loss": result.metrics["train_loss"],
        "val_loss": result.metrics["val_loss"],
    }
    evaluation = trainer.validate(Classifier(), [Loader(batches(1)), Loader(batches(2))])
    assert evaluation.logged == {"spread": 2.0}
    assert evaluation.metrics["spread"] == 2.0


def test_an_epoch_that_is_stopped_gives_the_outputs_that_there_are() -> None:
    model = Keeping()
    Trainer(max_steps=2).fit(model, batches(5))
    assert [len(outputs) for outputs in model.given["training"]] == [2]


class Alive:
    """An output that says how many of its kind there are."""

    count: ClassVar[weakref.WeakSet[Alive]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.count.add(self)


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("entry", ["fit", "validate", "test"])
def test_nothing_is_kept_unless_somebody_listens(entry: str, listens: bool) -> None:
    most: list[int] = []

    class Giving(Classifier):
        def give(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
            gc.collect()
            most.append(len(Alive.count))
            return {"loss": self.loss(batch), "alive": Alive()}

        training_step = validation_step = test_step = give  # type: ignore[assignment]

    class Listens(Giving):
        def heard(self, outputs: list[Any]) -> None:
            assert len(outputs) == len(Alive.count) == 5

        training_epoch_end = validation_epoch_end = test_epoch_end = heard

    trainer = Trainer(max_epochs=1)
    getattr(trainer, entry)(Listens() if listens else Giving(), batches(5))
    assert most == ([0, 1, 2, 3, 4] if listens else [0] * 5)
    gc.collect()
    assert len(Alive.count) == 0
    assert trainer.validate_loop._outputs is None
    assert trainer.fit_loop.epoch_loop._outputs is None


def test_the_placeholders_keep_nothing() -> None:
    class Plain(Classifier, ModuleHooks[Batch, Tensor]):
        pass

    class Deaf(Callback):
        pass

    trainer = Trainer(max_epochs=1, callbacks=[Deaf()])

    class Looking(Plain):
        def on_train_epoch_end(self) -> None:
            assert trainer.fit_loop.epoch_loop._outputs is None

        def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
            assert trainer.fit_loop.epoch_loop._outputs is None

    trainer.fit(Looking(), batches(2))


def test_a_hook_with_other_parameters_is_told() -> None:
    class Former(Classifier):
        def validation_epoch_end(self) -> None: ...

    with pytest.raises(HookError, match=r"^Former\.validation_epoch_end: .*Define `def validation_epoch_end\(self, ou"):
        Trainer().validate(Former(), batches(1))


@pytest.mark.parametrize("phase", ["training", "validation"])
def test_stop_iteration_out_of_it_is_named(phase: str) -> None:
    def stop(self: object, outputs: object) -> None:
        raise StopIteration

    model = type("Stopping", (Classifier,), {f"{phase}_epoch_end": stop})()
    with pytest.raises(EscapedStopIteration, match="StopIteration escaped from it"):
        Trainer(max_epochs=1).fit(model, batches(1), batches(1))
