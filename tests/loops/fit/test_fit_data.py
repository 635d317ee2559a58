"""Loaders that are made by functions, and the same few batches again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import typedloops
from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import BatchLoader, Callback, FitLoop, StopReason, TrainerView
from typedloops.errors import ConfigurationError, EscapedStopIteration, LoaderError, MisuseError

# Settings are taken from tables here.
Trainer: Any = typedloops.Trainer


class Making:
    """Makes loaders of a size that grows, and remembers in which epoch it was asked."""

    def __init__(self, trainer: Any = None) -> None:
        self.trainer = trainer
        self.asked: list[int] = []

    def __call__(self) -> list[Batch]:
        self.asked.append(self.trainer.current_epoch)
        return batches(len(self.asked))


@pytest.mark.parametrize(
    ("every", "asked", "ran"),
    [(0, [0], 5), (1, [0, 1, 2, 3, 4], 15), (2, [0, 2, 4], 1 + 1 + 2 + 2 + 3), (5, [0], 5), (9, [0], 5)],
)
def test_functions_are_called_at_the_start_and_every_n_epochs(every: int, asked: list[int], ran: int) -> None:
    trainer = Trainer(max_epochs=5, reload_dataloaders_every_n_epochs=every)
    train, val = Making(trainer), Making(trainer)
    result = trainer.fit(Classifier(), train, val)
    assert train.asked == val.asked == asked
    assert result.batches == ran
    assert trainer.fit_loop.epoch_loop.val_loop.epoch_loop.batch_progress.total.completed == ran


def test_one_of_the_two_may_be_made() -> None:
    trainer = Trainer(max_epochs=4, reload_dataloaders_every_n_epochs=2)
    val = Making(trainer)
    assert trainer.fit(Classifier(), batches(2), val).batches == 8
    assert val.asked == [0, 2]
    assert FitLoop(max_epochs=2).run(Classifier(), lambda: batches(2), batches(1)).batches == 4


def test_several_validation_loaders_may_be_made() -> None:
    trainer = Trainer(max_epochs=1)
    result = trainer.fit(Classifier(), batches(1), lambda: [Loader(batches(1)), Loader(batches(2))])
    assert sorted(result.metrics) == ["train_loss", "val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"]


def test_they_are_called_after_setup_and_before_the_optimizers_are_made() -> None:
    told: list[str] = []

    class Model(Classifier):
        def setup(self, stage: str) -> None:
            told.append("setup")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            told.append("optimizers")
            return super().configure_optimizers()

    def make() -> list[Batch]:
        told.append("loader")
        return batches(1)

    Trainer(max_epochs=1).fit(Model(), make)
    assert told == ["setup", "loader", "optimizers"]


@pytest.mark.parametrize("settings", [{"limit_train_batches": 0}, {"max_epochs": 0}, {"max_steps": 0}])
def test_where_nothing_is_trained_nothing_is_made(settings: dict[str, int]) -> None:
    trainer = Trainer(**settings)
    train, val = Making(trainer), Making(trainer)
    assert trainer.fit(Classifier(), train, val).batches == 0
    assert train.asked == val.asked == []


def test_where_nothing_is_validated_nothing_is_made() -> None:
    trainer = Trainer(max_epochs=1, limit_val_batches=0)
    val = Making(trainer)
    assert trainer.fit(Classifier(), batches(1), val).batches == 1
    assert val.asked == []


def test_what_goes_on_makes_them_at_its_first_epoch() -> None:
    trainer, model = Trainer(max_epochs=3, reload_dataloaders_every_n_epochs=2), Classifier()
    train = Making(trainer)
    trainer.fit(model, train)
    trainer.fit_loop.max_epochs = 6
    trainer.fit(model, train, resume=True)
    # In `resume` the fit begins at epoch 3, of which the trainer tells while the loaders are made.
    assert train.asked == [0, 2, 3, 5]


@pytest.mark.parametrize("entry", ["validate", "test"])
def test_an_evaluation_takes_them_as_well(entry: str) -> None:
    run = getattr(Trainer(), entry)
    assert run(Classifier(), lambda: batches(2)).batches == 2
    several = run(Classifier(), lambda: [Loader(batches(2)), Loader(batches(3))])
    assert [each.batches for each in several.dataloaders] == [2, 3]
    with pytest.raises(LoaderError, match=r" dataloaders: no_loader returned None\. Return the loader that it made\."):
        run(Classifier(), no_loader)


def test_a_prediction_takes_them_as_well() -> None:
    trainer = Trainer()
    assert len(trainer.predict(Classifier(), lambda: batches(2))) == 2
    several = trainer.predict(Classifier(), lambda: [Loader(batches(2)), Loader(batches(3))])
    assert [len(each) for each in several] == [2, 3]


@pytest.mark.parametrize(
    ("entry", "setting"),
    [("validate", "limit_val_batches"), ("test", "limit_test_batches"), ("predict", "limit_predict_batches")],
)
def test_with_a_limit_of_0_no_loader_is_requested_nor_made(entry: str, setting: str) -> None:
    def never() -> list[Batch]:
        raise AssertionError

    loader = Loader(batches(2))
    run = getattr(Trainer(**{setting: 0}), entry)
    for source in (loader, never):
        result = run(Classifier(), source)
        assert (len(result) if entry == "predict" else result.batches) == 0
    assert loader.iterations == 0


class IteratedAndCalled(Loader):
    def __call__(self) -> None:
        raise AssertionError


def test_a_loader_that_can_be_called_is_a_loader() -> None:
    assert Trainer(max_epochs=1).fit(Classifier(), IteratedAndCalled(batches(2))).batches == 2


def test_a_class_makes_its_instances() -> None:
    class Two(Loader):
        def __init__(self) -> None:
            super().__init__(batches(2))

    assert Trainer(max_epochs=1).fit(Classifier(), Two).batches == 2


def stops() -> list[Batch]:
    return next(iter(()))


def no_loader() -> None: ...


WRONG: dict[str, tuple[Callable[[], object], type[MisuseError], str]] = {
    "nothing makes them": (
        lambda: Trainer(max_epochs=1, reload_dataloaders_every_n_epochs=2).fit(Classifier(), batches(1), batches(1)),
        ConfigurationError,
        "reload_dataloaders_every_n_epochs: it is 2, and the loaders were given as such, so that nothing can make the",
    ),
    "a negative number": (
        lambda: Trainer(reload_dataloaders_every_n_epochs=-1),
        ConfigurationError,
        "reload_dataloaders_every_n_epochs: -1 is negative. Give 0 or more.",
    ),
    "no loader": (
        lambda: Trainer(max_epochs=1).fit(Classifier(), no_loader),
        LoaderError,
        "train dataloader: no_loader returned None. Return the loader that it made.",
    ),
    "no validation loader": (
        lambda: Trainer(max_epochs=1).fit(Classifier(), batches(1), no_loader),
        LoaderError,
        "validation dataloaders: no_loader returned None. Return the loader that it made.",
    ),
    "no iterable": (
        lambda: Trainer(max_epochs=1).fit(Classifier(), lambda: 3),
        LoaderError,
        "train dataloader: an object of type int is not iterable. Give a loader: a DataLoader, or any",
    ),
    "an escape": (
        lambda: Trainer(max_epochs=1).fit(Classifier(), stops),
        EscapedStopIteration,
        "stops: StopIteration escaped from it",
    ),
    "two limits": (
        lambda: Trainer(overfit_batches=2, limit_train_batches=3),
        ConfigurationError,
        "overfit_batches: it is 2, and limit_train_batches is 3. Give one of the two.",
    ),
    "a negative share": (
        lambda: Trainer(overfit_batches=-0.5),
        ConfigurationError,
        "overfit_batches: -0.5 is negative. Give a number of batches, or a share from 0.0 to 1.0.",
    ),
    "less than a batch": (
        lambda: Trainer(max_epochs=1, overfit_batches=0.1).fit(Classifier(), batches(4)),
        ConfigurationError,
        "overfit_batches: a share of 0.1 of 4 batches is less than one batch. Give at least 0.25, or an int.",
    ),
    "a share of an unknown length": (
        lambda: Trainer(max_epochs=1, overfit_batches=0.5).fit(Classifier(), Stream(batches(4))),
        ConfigurationError,
        "overfit_batches: a share of 0.5 cannot be taken of a loader without a length. Give an int, or 1.0 for all.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be(case: str) -> None:
    run, kind, message = WRONG[case]
    with pytest.raises(kind) as refused:
        run()
    assert str(refused.value).startswith(message)


class Seen(Classifier):
    """Keeps what it is trained and validated on."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Tensor] = []
        self.validated = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.trained.append(batch[0].clone())
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.validated += 1
        return super().validation_step(batch, batch_idx)


ITEMS = TensorDataset(torch.arange(48.0).reshape(12, 4), torch.arange(12) % 3)


class Items(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(12)
        return iter([ITEMS[int(index)] for index in order])


SHUFFLING: dict[str, Callable[[], DataLoader[Any]]] = {
    "shuffle": lambda: DataLoader(ITEMS, batch_size=3, shuffle=True),
    "a sampler": lambda: DataLoader(ITEMS, batch_size=3, sampler=RandomSampler(ITEMS)),
    "a batch sampler": lambda: DataLoader(ITEMS, batch_sampler=BatchSampler(RandomSampler(ITEMS), 3, drop_last=True)),
    "typed": lambda: BatchLoader[Any](ITEMS, batch_size=3, shuffle=True),
}


@pytest.mark.parametrize("name", SHUFFLING)
@pytest.mark.parametrize("overfit", [2, 0.5, "2ba"])
def test_a_shuffling_loader_is_read_in_order(name: str, overfit: object) -> None:
    model = Seen()
    said = "^overfit_batches: the train dataloader shuffles, and is read in order here: its batches are to be the same"
    with pytest.warns(UserWarning, match=said):
        result = Trainer(max_epochs=3, overfit_batches=overfit).fit(model, SHUFFLING[name](), batches(6))
    assert result.batches == 6
    for index, seen in enumerate(model.trained):
        assert torch.equal(seen, ITEMS.tensors[0][3 * (index % 2) : 3 * (index % 2) + 3])
    assert model.validated == 3 * (3 if overfit == 0.5 else 2)


def test_items_that_are_shuffled_one_by_one() -> None:
    model = Seen()
    with pytest.warns(UserWarning, match="the train dataloader shuffles"):
        Trainer(max_epochs=2, overfit_batches=1).fit(model, DataLoader(batches(4), batch_size=None, shuffle=True))  # type: ignore[arg-type]
    assert all(torch.equal(seen, batches(1)[0][0]) for seen in model.trained)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(Items(), batch_size=3),
        lambda: DataLoader(ITEMS, batch_size=3, sampler=WeightedRandomSampler([1.0] * 12, 12)),
        lambda: Stream(batches(4)),
        lambda: Loader(batches(4)),
    ],
)
def test_any_other_loader_is_gone_through_once(make: Callable[[], Any]) -> None:
    model = Seen()
    assert Trainer(max_epochs=3, overfit_batches=2).fit(model, make()).batches == 6
    for index, seen in enumerate(model.trained):
        assert torch.equal(seen, model.trained[index % 2])
    assert not torch.equal(model.trained[0], model.trained[1])


def test_only_so_many_batches_are_taken_and_no_more() -> None:
    loader = Loader(batches(5))
    Trainer(max_epochs=4, overfit_batches=2).fit(Classifier(), loader)
    assert (loader.iterations, loader.fetched) == (1, 2)
    assert Trainer(max_epochs=2, overfit_batches=9).fit(Classifier(), batches(3)).batches == 6


def test_a_small_set_is_learned_by_heart() -> None:
    result = Trainer(max_epochs=150, overfit_batches=1).fit(Eager(), Loader(batches(4)), batches(1))
    assert result.metrics["train_loss"] < 0.2
    assert result.metrics["val_loss"] < 0.2


class Eager(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net[2] = torch.nn.Identity()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def test_validation_keeps_a_limit_of_its_own() -> None:
    model = Seen()
    Trainer(max_epochs=1, overfit_batches=2, limit_val_batches=1).fit(model, batches(4), batches(4))
    assert model.validated == 1


def test_a_rehearsal_goes_before_it() -> None:
    result = Trainer(fast_dev_run=1, overfit_batches=3).fit(Classifier(), batches(4))
    assert (result.batches, result.stop_reason) == (1, StopReason.MAX_EPOCHS)


def test_made_anew_they_are_taken_anew() -> None:
    class Watch(Callback):
        num: list[int | None] = []

        def on_train_batch_start(self, trainer: TrainerView, *args: object) -> None:
            self.num.append(trainer.num_batches)

    trainer = Trainer(
        max_epochs=4, overfit_batches=2, reload_dataloaders_every_n_epochs=2, callbacks=[watch := Watch()]
    )
    train = Making(trainer)
    assert trainer.fit(Classifier(), train).batches == 1 + 1 + 2 + 2
    assert watch.num == [1, 1, 2, 2, 2, 2]
    assert train.asked == [0, 2]
