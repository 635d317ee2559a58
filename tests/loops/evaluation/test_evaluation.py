"""Validating and testing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.modules import Batch, Classifier, Loader, batches
from typedloops import (
    Callback,
    EvaluationLoop,
    EvaluationResult,
    LoaderResult,
    TestLoop,
    Trainer,
    TrainerView,
    ValidationLoop,
)
from typedloops.errors import ConfigurationError


def test_metrics_are_means_weighted_by_the_size_of_the_batches() -> None:
    model = Classifier().eval()
    loader = [*batches(2, size=6), *batches(1, size=2)]
    result = Trainer().validate(model, loader)
    every = torch.cat([batch[0] for batch in loader]), torch.cat([batch[1] for batch in loader])
    assert result.batches == 3
    assert result.metrics["val_loss"] == pytest.approx(model.loss(every).item(), rel=1e-6)


def test_result_of_several_loaders() -> None:
    model = Classifier()
    first, second = Loader(batches(1)), Loader(batches(3))
    result = Trainer().test(model, [first, second])
    assert [loader.batches for loader in result.dataloaders] == [1, 3]
    assert result.batches == 4
    assert result.metrics == {
        "accuracy/dataloader_idx_0": Trainer().test(model, first).metrics["accuracy"],
        "accuracy/dataloader_idx_1": Trainer().test(model, second).metrics["accuracy"],
    }


def test_a_list_of_batches_is_one_loader() -> None:
    assert len(Trainer().validate(Classifier(), batches(3)).dataloaders) == 1
    as_lists = [list(batch) for batch in batches(3)]
    trainer: Any = Trainer()
    assert trainer.validate(Classifier(), as_lists).batches == 3


def test_a_step_is_given_the_index_of_its_loader_when_there_are_several() -> None:
    class Model(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[int, int]] = []

        def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 9) -> None:  # type: ignore[override]
            self.seen.append((batch_idx, dataloader_idx))

    model = Model()
    Trainer().validate(model, [Loader(batches(1)), Loader(batches(2))])
    Trainer().validate(model, batches(1))
    assert model.seen == [(0, 0), (0, 1), (1, 1), (0, 9)]


def untyped(**settings: Any) -> Any:
    return Trainer(**settings)


class Asking(Classifier):
    """Its step cannot be called without the index of the loader."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []


class ByPlaceOrName(Asking):
    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:  # type: ignore[override]
        self.seen.append((batch_idx, dataloader_idx))


class ByPlace(Asking):
    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int, /) -> None:  # type: ignore[override]
        self.seen.append((batch_idx, dataloader_idx))


class ByName(Asking):
    def validation_step(self, batch: Batch, batch_idx: int, *, dataloader_idx: int) -> None:  # type: ignore[override]
        self.seen.append((batch_idx, dataloader_idx))


@pytest.mark.parametrize("kind", [ByPlaceOrName, ByPlace, ByName])
def test_a_step_that_needs_the_index_of_its_loader_is_always_given_it(kind: Callable[[], Asking]) -> None:
    # A type checker cannot know how many loaders there will be and wants a default; here it is left out.
    model, trainer = kind(), untyped()
    trainer.validate(model, [Loader(batches(1)), Loader(batches(2))])
    trainer.validate(model, batches(1))
    assert model.seen == [(0, 0), (0, 1), (1, 1), (0, 0)]


def test_a_limit_that_one_of_several_loaders_cannot_be_given_is_told_before_anything_runs() -> None:
    model = ByName()
    trainer = untyped(limit_val_batches=0.3)
    with pytest.raises(ConfigurationError, match=r"^the limit on validation dataloader 1: a share of 0.3 of 2 batches"):
        trainer.validate(model, [Loader(batches(4)), Loader(batches(2))])
    assert model.seen == []
    with pytest.raises(ConfigurationError, match=r"^the limit on validation dataloader: a share of 0.3 of 2 batches"):
        trainer.fit(model, batches(4), batches(2))
    assert trainer.global_step == 0


def test_the_number_of_batches_in_a_fit_is_that_of_training_again_after_a_validation() -> None:
    seen: list[tuple[str, int | None]] = []

    class Watching(Callback[Classifier, Batch]):
        def on_validation_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            seen.append(("validation", trainer.num_batches))

        def on_train_epoch_end(self, trainer: TrainerView, module: Classifier) -> None:
            seen.append(("training", trainer.num_batches))

    Trainer(max_epochs=1, callbacks=[Watching()]).fit(Classifier(), batches(4), batches(2))
    assert seen == [("validation", 2), ("training", 4)]


def test_outputs_of_every_kind() -> None:
    class Bare(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:  # type: ignore[override]
            return torch.tensor(float(batch_idx))

        def test_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:  # type: ignore[override]
            return {"number": batch_idx, "flag": True, "text": "x", "vector": batch[0], "one": torch.ones(1, 1)}

    assert Trainer().validate(Bare(), batches(3)).metrics == {"val_loss": 1.0}
    assert Trainer().test(Bare(), batches(3)).metrics == {"number": 1.0, "one": 1.0}


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("entry", ["validate", "test", "predict"])
def test_no_gradients_and_eval_mode_restored(entry: str, inference_mode: bool) -> None:
    class Watching(Classifier):
        def watch(self, batch: Batch, batch_idx: int) -> None:
            assert not torch.is_grad_enabled()
            assert torch.is_inference_mode_enabled() is inference_mode
            assert not any(part.training for part in self.modules())
            self.watched = True

        validation_step = test_step = predict_step = watch  # type: ignore[assignment]

    model = Watching()
    model.net[2].eval()
    modes = [part.training for part in model.modules()]
    getattr(Trainer(inference_mode=inference_mode), entry)(model, batches(1))
    assert model.watched
    assert [part.training for part in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_modes_are_restored_after_an_error() -> None:
    class Failing(Classifier):
        def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
            raise ZeroDivisionError

    model = Failing()
    with pytest.raises(ZeroDivisionError):
        Trainer().validate(model, batches(1))
    assert model.training
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(("limit", "expected"), [(2, 2), (0.5, 2), (1.0, 4), (1, 1), (9, 4), (0, 0)])
def test_limits(limit: float, expected: int) -> None:
    model = Classifier()
    trainer = Trainer(limit_val_batches=limit, limit_test_batches=limit, limit_predict_batches=limit)
    assert trainer.validate(model, batches(4)).batches == expected
    assert trainer.test(model, batches(4)).batches == expected
    assert len(trainer.predict(model, batches(4))) == expected


def test_a_limit_of_the_loop_goes_before_that_of_the_trainer() -> None:
    trainer = Trainer(limit_val_batches=1, validate_loop=ValidationLoop(limit_batches=3))
    assert trainer.validate(Classifier(), batches(4)).batches == 3


def test_validation_comes_round_every_n_epochs() -> None:
    epochs: list[int] = []

    class Watch(Callback[Classifier]):
        def on_validation_start(self, trainer: TrainerView, module: Classifier) -> None:
            epochs.append(trainer.current_epoch)

    Trainer(max_epochs=5, check_val_every_n_epoch=2, callbacks=[Watch()]).fit(Classifier(), batches(1), batches(1))
    assert epochs == [1, 3]


def test_the_kinds() -> None:
    trainer = Trainer()
    assert isinstance(trainer.validate_loop, EvaluationLoop)
    assert isinstance(trainer.test_loop, EvaluationLoop)
    assert isinstance(trainer.fit_loop.epoch_loop.val_loop, ValidationLoop)
    assert not issubclass(type(trainer.validate_loop), TestLoop)


def test_result_with_nothing_in_it() -> None:
    assert EvaluationResult().metrics == {}
    assert EvaluationResult((LoaderResult(),)).batches == 0


def test_a_metric_that_is_not_there() -> None:
    result = Trainer().validate(Classifier(), [Loader(batches(1)), Loader(batches(1))])
    there = r"\['val_loss/dataloader_idx_0', 'val_loss/dataloader_idx_1'\]"
    with pytest.raises(KeyError, match=f"there is no metric 'val_loss'; there are {there}"):
        result.metrics["val_loss"]
    with pytest.raises(KeyError, match=r"there is no metric 'loss'; there are \['val_loss'\]"):
        result.dataloaders[0].metrics["loss"]
    assert result.dataloaders[1].metrics["val_loss"] == result.metrics["val_loss/dataloader_idx_1"]


def test_counters() -> None:
    trainer = Trainer()
    for _ in range(2):
        trainer.validate(Classifier(), [Loader(batches(2)), Loader(batches(3))])
    progress = trainer.validate_loop.dataloader_progress
    assert (progress.current.completed, progress.total.completed) == (2, 4)
    batch_progress = trainer.validate_loop.epoch_loop.batch_progress
    assert (batch_progress.current.completed, batch_progress.total.completed) == (3, 10)
