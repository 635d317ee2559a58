"""Cross-validation: folds that know nothing of each other, whatever happens on the way."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import typedloops
from tests.recipes.kills import killed_and_resumed, seed_all
from typedloops import (
    Callback,
    FitLoop,
    FitResult,
    Loop,
    ModelCheckpoint,
    Slot,
    StopReason,
    TrainerView,
    verify_resume,
)
from typedloops.errors import (
    CheckpointError,
    ConfigurationError,
    LoaderError,
    ModuleError,
    StateError,
    UnattachedLoopError,
)
from typedloops.recipes.k_fold import (
    BatchLoaders,
    EnsembleModule,
    FoldResult,
    KFoldLoop,
    KFoldLoopOf,
    KFoldResult,
    Part,
    RandomFolds,
)
from typedloops.recipes.k_fold.folds import Fold, folds_of
from typedloops.recipes.k_fold.settings import seed_of
from typedloops.testing import check_loop_contract

# Much here goes where it does not belong.
Trainer: Any = typedloops.Trainer
Item = tuple[Tensor, Tensor]
torch.set_num_threads(1)


@cache
def items(count: int = 96) -> list[Item]:
    """Handwritten digits."""
    digits = load_digits()
    pixels = torch.as_tensor(digits.images, dtype=torch.float32).div(16).flatten(1)
    return list(zip(pixels, torch.as_tensor(digits.target), strict=True))[:count]


def labels() -> list[int]:
    return [int(label) for _, label in items()]


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Item, batch_idx: int) -> dict[str, Tensor]:
        logits = self.net(batch[0])
        accuracy = (logits.argmax(1) == batch[1]).float().mean()
        return {"val_loss": nn.functional.cross_entropy(logits, batch[1]), "accuracy": accuracy}

    def predict_step(self, batch: Item, batch_idx: int) -> Tensor:
        probabilities: Tensor = self.net(batch[0]).softmax(1)
        return probabilities

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.02)


def make(fold: int) -> Digits:
    return Digits()


def told(result: KFoldResult[Any]) -> list[Any]:
    """Everything in a result, as values that can be compared."""
    return [told_of(fold) for fold in result.folds]


def told_of(fold: FoldResult[Any]) -> Any:
    weights = None if fold.weights is None else {name: as_list(value) for name, value in fold.weights.items()}
    fit = fold.fit
    counts = (str(fit.stop_reason), fit.epochs, fit.batches, fit.optimizer_steps, fit.steps_by_optimizer)
    predictions = None if fold.predictions is None else fold.predictions.tolist()
    return fold.fold, counts, dict(fold.metrics), dict(fit.metrics), weights, predictions, fold.val_indices


def as_list(value: object) -> object:
    return value.tolist() if isinstance(value, Tensor) else value


def fit(loop: Any, **options: Any) -> KFoldResult[Any]:
    result: KFoldResult[Any] = Trainer(max_epochs=2, fit_loop=loop, **options).fit(make, items())
    return result


def message(call: Callable[[], object], kind: type[Exception] = ConfigurationError) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# What it comes to


def test_every_fold_is_a_fit_of_a_module_of_its_own() -> None:
    made: list[int] = []

    def counting(fold: int) -> Digits:
        made.append(fold)
        return Digits()

    result = Trainer(max_epochs=2, fit_loop=KFoldLoop(3)).fit(counting, items(), BatchLoaders(16))
    assert made == [0, 1, 2]
    assert [fold.fit.batches for fold in result.folds] == [8, 8, 8]
    assert [fold.train_items for fold in result.folds] == [64, 64, 64]
    assert sorted(index for fold in result.folds for index in fold.val_indices) == [*range(96)]
    assert len({str(fold.weights) for fold in result.folds}) == 3
    summary = result.metrics["accuracy"]
    assert summary.mean == pytest.approx(np.mean(summary.values))
    assert summary.std == pytest.approx(np.std(summary.values, ddof=1))
    assert summary.mean > 0.3, "ten classes"


def test_a_fold_is_what_a_fit_by_hand_comes_to() -> None:
    result = fit(KFoldLoop(3, seed=7))
    fold = folds_of(RandomFolds(3, seed=7), 96, None, None)[1]
    seed_all(seed_of(7, 1))
    module = Digits()
    data: Any = items()
    loaders = DataLoader(Subset(data, fold.train), 32, shuffle=True), DataLoader(Subset(data, fold.val), 32)
    alone = Trainer(max_epochs=2).fit(module, *loaders)
    assert dict(alone.metrics) == dict(result.folds[1].metrics)
    assert {name: value.tolist() for name, value in module.state_dict().items()} == told(result)[1][4]


def test_it_works_without_a_trainer() -> None:
    alone = KFoldLoop(3, fit_loop=FitLoop(max_epochs=2)).run(make, items())
    assert told(alone) == told(fit(KFoldLoop(3)))


def test_a_result_is_told_as_a_table() -> None:
    fits: Any = None
    folds = tuple(
        FoldResult(fold, 3, (0,), fits, {"val_loss": loss} | ({"extra": 1.0} if fold else {}))
        for fold, loss in enumerate([0.25, 0.75])
    )
    assert str(KFoldResult(folds, 4)).splitlines() == [
        "fold  val_loss         extra",
        "0     0.2500",
        "1     0.7500           1.0000",
        "mean  0.5000 ± 0.3536  1.0000 ± nan",
    ]
    assert math.isnan(KFoldResult(folds, 4).metrics["extra"].std)


# Nothing leaks from one fold to another


@cache
def complete() -> list[Any]:
    return told(fit(KFoldLoop(4)))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(4)).flatmap(lambda order: st.integers(1, 4).map(lambda count: tuple(order[:count]))))
def test_a_fold_does_not_depend_on_the_others_nor_on_their_order(only: tuple[int, ...]) -> None:
    torch.manual_seed(sum(only))
    assert told(fit(KFoldLoop(4, only=only))) == [complete()[fold] for fold in only]


def test_a_stop_that_one_fold_asks_for_does_not_end_the_next() -> None:
    class Stops(Callback[nn.Module]):
        def on_train_batch_end(
            self, trainer: TrainerView, module: nn.Module, outputs: object, batch: object, batch_idx: int
        ) -> None:
            trainer.should_stop = True

    result = fit(KFoldLoop(3, make_callbacks=lambda fold: [Stops()] if fold == 1 else []))
    assert [str(fold.fit.stop_reason) for fold in result.folds] == ["max_epochs", "requested", "max_epochs"]
    assert [fold.fit.batches for fold in result.folds] == [4, 1, 4]


class Patience(Callback[nn.Module]):
    """Stops after so many epochs: a counter that must begin anew."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
        self.left -= 1
        trainer.should_stop = self.left == 0

    def state_dict(self) -> dict[str, object]:
        return {"left": self.left}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.left = state_dict["left"]


def test_callbacks_begin_anew_with_each_fold_and_the_trainers_hear_all() -> None:
    heard: list[str] = []

    class Hears(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            heard.append(f"{trainer.current_epoch}")

    loop = KFoldLoop(3, make_callbacks=lambda fold: [Patience(2)])
    result = Trainer(max_epochs=5, fit_loop=loop, callbacks=[Hears()]).fit(make, items())
    assert [fold.fit.epochs for fold in result.folds] == [2, 2, 2]
    assert heard == ["0", "1"] * 3


def test_each_fold_has_checkpoints_of_its_own(tmp_path: Path) -> None:
    savers: list[ModelCheckpoint] = []

    def callbacks(fold: int) -> list[ModelCheckpoint]:
        savers.append(ModelCheckpoint(tmp_path / f"fold_{fold}", monitor="val_loss", mode="min"))
        return savers[-1:]

    result = fit(KFoldLoop(3, make_callbacks=callbacks))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["fold_0", "fold_1", "fold_2"]
    for saver, fold in zip(savers, result.folds, strict=True):
        assert saver.best_model_path is not None
        assert saver.best_model_path.parent == tmp_path / f"fold_{fold.fold}"
        assert [*saver.best_k_models] == [*saver.dirpath.iterdir()]


@pytest.mark.parametrize("batch", [3, 6, 8])
def test_the_checkpoints_of_folds_go_on_with_them(tmp_path: Path, batch: int) -> None:
    def make_trainer(folder: Path, **options: Any) -> Any:
        def callbacks(fold: int) -> list[ModelCheckpoint]:
            return [ModelCheckpoint(folder / f"{fold}", monitor="val_loss", save_top_k=2, save_last=True)]

        return Trainer(max_epochs=3, fit_loop=KFoldLoop(3, make_callbacks=callbacks), **options)

    run(make_trainer(tmp_path / "whole"))
    killed_and_resumed(partial(make_trainer, tmp_path / "killed"), run, tmp_path / "c", batch)
    kept = [
        sorted(str(path.relative_to(tmp_path / folder)) for path in (tmp_path / folder).glob("*/*"))
        for folder in ("whole", "killed")
    ]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 9


class Logs:
    def __init__(self) -> None:
        self.names: list[tuple[str, int]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.names += [(name, step) for name in metrics if "val_loss" in name]

    def finalize(self, status: str) -> None: ...


def test_loggers_can_tell_the_folds_apart() -> None:
    logs = Logs()
    trainer = Trainer(max_epochs=2, fit_loop=KFoldLoop(2), loggers=[logs])
    result = trainer.fit(make, items())
    assert logs.names == [
        *[("fold_0/val_loss", 2), ("fold_0/val_loss", 4), ("fold_1/val_loss", 2), ("fold_1/val_loss", 4)],
        *[("mean/val_loss", 0), ("std/val_loss", 0)],
    ]
    assert trainer.metrics["mean/val_loss"] == result.metrics["val_loss"].mean
    logs.names.clear()
    Trainer(max_epochs=1, fit_loop=KFoldLoop(2, only=[1]), loggers=[logs]).fit(make, items())
    assert logs.names == [("fold_1/val_loss", 2), ("mean/val_loss", 0)]


# Killed, and gone on with


def run(trainer: Any) -> list[Any]:
    return told(trainer.fit(make, items()))


def loop_with_everything() -> KFoldLoop:
    return KFoldLoop(3, keep="best", out_of_fold=True, make_callbacks=lambda fold: [Patience(2)])


@cache
def expected() -> list[Any]:
    return run(Trainer(max_epochs=3, fit_loop=loop_with_everything()))


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 7, 12])
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path, batch: int) -> None:
    def make_trainer(**options: Any) -> Any:
        return Trainer(max_epochs=3, fit_loop=loop_with_everything(), **options)

    assert killed_and_resumed(make_trainer, run, tmp_path / "c", batch) == expected()


def test_every_boundary_validations_included() -> None:
    def make_trainer() -> Any:
        return Trainer(max_epochs=2, fit_loop=KFoldLoop(2, keep="best", make_callbacks=lambda fold: [Patience(2)]))

    report = verify_resume(make_trainer, lambda trainer: trainer.fit(make, items(64)), at=[3, 16, 22, 25, 27, 33])
    report.check()
    loops = {place.loop for place in report.places}
    assert loops == {"fit_loop.fit_loop", "fit_loop.fit_loop.epoch_loop", "fit_loop.fit_loop.epoch_loop.val_loop"}


class Died(Exception):
    pass


def test_a_run_that_is_saved_between_two_folds(tmp_path: Path) -> None:
    def dying(fold: int) -> Digits:
        if fold == 2:
            trainer.save_checkpoint(tmp_path / "c")
            raise Died
        return Digits()

    trainer = Trainer(max_epochs=3, fit_loop=loop_with_everything())
    with pytest.raises(Died):
        trainer.fit(dying, items())
    made: list[int] = []

    def counting(fold: int) -> Digits:
        made.append(fold)
        return Digits()

    torch.manual_seed(99)
    again = Trainer(max_epochs=3, fit_loop=loop_with_everything())
    again.load_checkpoint(tmp_path / "c", exact=True)
    assert told(again.fit(counting, items())) == expected()
    assert made == [2]
    assert told(again.fit(counting, items())) == expected(), "the next run begins anew"
    assert made == [2, 0, 1, 2]


@pytest.mark.parametrize("batch", [3, 8])
def test_a_model_checkpoint_of_the_whole_goes_on_from_its_last(tmp_path: Path, batch: int) -> None:
    class Dies(Callback[nn.Module]):
        seen = 0

        def on_train_batch_start(self, trainer: TrainerView, module: nn.Module, batch_: object, batch_idx: int) -> None:
            self.seen += 1
            if self.seen == batch + 1:
                raise Died

    def make_trainer(*callbacks: object) -> Any:
        saver = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
        return Trainer(max_epochs=2, fit_loop=KFoldLoop(3), callbacks=[saver, *callbacks])

    with pytest.raises(Died):
        run(make_trainer(Dies()))
    torch.manual_seed(99)
    trainer = make_trainer()
    trainer.load_checkpoint("last", exact=True)
    assert run(trainer) == told(fit(KFoldLoop(3)))


def test_a_loop_alone_goes_on_with_the_fold_that_was_under_way() -> None:
    class Dies(Digits):
        def training_step(self, batch: Item, batch_idx: int) -> Tensor:
            if batch_idx == 1:
                raise Died
            return super().training_step(batch, batch_idx)

    def alone() -> KFoldLoop:
        return KFoldLoop(3, fit_loop=FitLoop(max_epochs=2))

    first, second = alone(), alone()
    with pytest.raises(Died):
        first.run(lambda fold: Dies() if fold == 1 else Digits(), items())
    second.load_state_dict(first.state_dict())
    made: list[int] = []

    def counting(fold: int) -> Digits:
        made.append(fold)
        return Digits()

    assert told(second.run(counting, items())) == told(alone().run(make, items()))
    assert made == [1, 2]


def test_other_folds_than_those_that_were_saved(tmp_path: Path) -> None:
    def make_trainer(**options: Any) -> Any:
        return Trainer(max_epochs=1, fit_loop=KFoldLoop(RandomFolds(3, seed=len(options["callbacks"]))), **options)

    assert message(lambda: killed_and_resumed(make_trainer, run, tmp_path / "c", 3), StateError) == (
        "KFoldLoop.folds: they are not the folds of the run that was saved. Go on with the same items, labels, groups "
        "and splitter; give it a `random_state` if it takes one."
    )


def test_a_loop_around_cross_validations(tmp_path: Path) -> None:
    class Rates(Loop[[], list[Any]]):
        """Cross-validates with two batch sizes."""

        folds: Slot[KFoldLoop] = Slot()
        state_fields = ("index",)

        def __init__(self) -> None:
            self.folds = KFoldLoop(2)
            self.index = 0
            self.results: list[Any] = []

        @property
        def done(self) -> bool:
            return self.index == 2

        @property
        def run_name(self) -> str:
            return f"size_{self.index}"

        def reset(self) -> None:
            if not self.restarting:
                self.index, self.results = 0, []

        def advance(self) -> None:
            result: Any = self.folds.run(make, items(), BatchLoaders((16, 32)[self.index]))
            self.results.append(told(result))
            self.index += 1

        def on_run_end(self) -> list[Any]:
            return self.results

        def on_save_checkpoint(self) -> dict[str, object]:
            return {"results": self.results}

        def on_load_checkpoint(self, state: Mapping[str, Any]) -> None:
            self.results = state["results"]

    def make_trainer(**options: Any) -> Any:
        return Trainer(max_epochs=1, fit_loop=Rates(), **options)

    logs = Logs()
    whole = make_trainer(loggers=[logs]).fit()
    assert [name for name, _ in logs.names] == [f"size_{s}/fold_{f}/val_loss" for s in range(2) for f in range(2)]
    for batch in (2, 4, 8):
        assert killed_and_resumed(make_trainer, lambda trainer: trainer.fit(), tmp_path / f"{batch}", batch) == whole


# The best weights, predictions, ensembles


def test_the_best_weights_are_those_of_the_best_validation() -> None:
    class Worse(Digits):
        """Is at its best after the first epoch."""

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=50.0)

    loop = KFoldLoop(3, keep="best", monitor="accuracy", mode="max", out_of_fold=True)
    result = Trainer(max_epochs=4, fit_loop=loop).fit(lambda fold: Worse(), items())
    assert any(fold.metrics["accuracy"] > fold.fit.metrics["accuracy"] for fold in result.folds)
    data: Any = items()
    for module, fold in zip(result.modules(lambda fold: Worse()), result.folds, strict=True):
        loader = DataLoader(Subset(data, fold.val_indices), 32)
        assert Trainer().validate(module, loader).metrics["accuracy"] == fold.metrics["accuracy"]
        assert torch.equal(torch.cat(Trainer().predict(module, loader)), fold.predictions)


def test_predictions_out_of_fold_are_of_modules_that_had_not_seen_the_item() -> None:
    result = fit(KFoldLoop(RandomFolds(3, repeats=2), out_of_fold=True))
    assert [fold.fold for fold in result.folds] == [0, 1, 2, 3, 4, 5]
    predictions = result.out_of_fold()
    assert predictions.shape == (96, 10)
    for index in (0, 50, 95):
        by = [fold for fold in result.folds if index in fold.val_indices]
        rows = [fold.predictions[fold.val_indices.index(index)] for fold in by if fold.predictions is not None]
        assert len(rows) == 2
        torch.testing.assert_close(predictions[index], torch.stack(rows).mean(0))
    accuracy = (predictions.argmax(1) == torch.tensor(labels())).float().mean()
    assert accuracy > 0.3


def test_an_ensemble_predicts_the_mean_of_its_modules() -> None:
    result = fit(KFoldLoop(3))
    before = torch.get_rng_state()
    modules = result.modules(make)
    assert torch.equal(torch.get_rng_state(), before), "making them draws nothing"
    data: Any = items()
    loader: Any = DataLoader(data, 32)
    together = torch.cat(Trainer().predict(EnsembleModule(modules), loader))
    each = [torch.cat(Trainer().predict(module, loader)) for module in modules]
    torch.testing.assert_close(together, torch.stack(each).mean(0))

    def vote(predictions: Sequence[Tensor]) -> Tensor:
        return torch.stack([prediction.argmax(1) for prediction in predictions]).mode(0).values

    votes = torch.cat(Trainer().predict(EnsembleModule(modules, vote), loader))
    assert (votes == torch.tensor(labels())).float().mean() > 0.5


def test_what_an_ensemble_cannot_be_made_of() -> None:
    class Classes(Digits):
        def predict_step(self, batch: Item, batch_idx: int) -> Tensor:
            return super().predict_step(batch, batch_idx).argmax(1)

        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = self.net(pixels)
            return logits

    class Bare:
        def predict_step(self, batch: Item, batch_idx: int) -> Tensor:
            return batch[0]

    pixels = torch.stack([pixels for pixels, _ in items(4)])
    ensemble = EnsembleModule([Classes().eval(), Classes().eval()])
    assert ensemble(pixels).shape == (4, 10)
    assert message(lambda: ensemble.predict_step((pixels, pixels), 0), ModuleError) == (
        "EnsembleModule: its modules predict torch.int64, of which there is no mean. Let them predict scores (logits, "
        "probabilities), or give `combine=`: a vote, say."
    )
    empty: list[Digits] = []
    assert message(lambda: EnsembleModule(empty), ModuleError) == (
        "EnsembleModule: there are no modules. Give one or more."
    )
    assert message(lambda: EnsembleModule([Bare()]), ModuleError) == (
        "EnsembleModule: a Bare is no nn.Module. Give modules of torch."
    )


# Which folds


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=8, max_size=40), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2**31)
)
@pytest.mark.filterwarnings("ignore:RandomFolds")
def test_random_folds(classes: list[int], count: int, repeats: int, seed: int) -> None:
    for stratified in (False, True):
        splitter = RandomFolds(count, stratified=stratified, repeats=repeats, seed=seed)
        folds = folds_of(splitter, len(classes), torch.tensor(classes), None)
        assert folds == folds_of(splitter, len(classes), classes, None)
        assert len(folds) == count * repeats
        for repeat in range(repeats):
            parts = folds[repeat * count : (repeat + 1) * count]
            assert sorted(item for fold in parts for item in fold.val) == [*range(len(classes))]
            assert all(sorted((*fold.train, *fold.val)) == [*range(len(classes))] for fold in parts)
            sizes = [len(fold.val) for fold in parts]
            assert max(sizes) - min(sizes) <= 1
            shares = [Counter(classes[item] for item in fold.val) for fold in parts]
            for label in set(classes) if stratified else ():
                assert max(share[label] for share in shares) - min(share[label] for share in shares) <= 1


def test_splitters_of_scikit_learn() -> None:
    groups = [index // 10 for index in range(96)]

    def twice(splitter: Any, **given_: Any) -> KFoldResult[Any]:
        runs = [Trainer(max_epochs=1, fit_loop=KFoldLoop(splitter)).fit(make, items(), **given_) for _ in range(2)]
        assert told(runs[0]) == told(runs[1])
        result: KFoldResult[Any] = runs[0]
        return result

    twice(KFold(3))
    twice(KFold(3, shuffle=True))  # without a random_state: from the numbers of the process, which are seeded
    twice(StratifiedKFold(3, shuffle=True), labels=torch.tensor(labels()))
    by_group = [
        {groups[index] for index in fold.val_indices} for fold in twice(GroupKFold(3), groups=np.array(groups)).folds
    ]
    assert sum(map(len, by_group)) == len(set(groups)), "no group is in two folds"


def test_a_scale_is_learnt_of_the_part_to_train_on_alone() -> None:
    seen: list[tuple[int, int]] = []

    def standardized(train: Part[Item], val: Part[Item]) -> tuple[Iterable[Item], Iterable[Item]]:
        pixels = torch.stack([item[0] for item in train])
        mean, std = pixels.mean(0), pixels.std(0) + 1e-3
        seen.append((len(train), len(val)))

        def batch_of(part: Part[Item]) -> list[Item]:
            return [(torch.stack([(p - mean) / std for p, _ in part]), torch.stack([label for _, label in part]))]

        return batch_of(train), batch_of(val)

    result = Trainer(max_epochs=1, fit_loop=KFoldLoop(3)).fit(make, items(), standardized)
    assert seen == [(64, 32)] * 3
    assert len(result.folds) == 3


class Wrong:
    """A splitter that makes what it is told."""

    def __init__(self, *parts: tuple[list[int], list[int]]) -> None:
        self.parts = parts

    def split(self, X: object, y: object = None, groups: object = None) -> Iterator[tuple[list[int], list[int]]]:
        return iter(self.parts)


@pytest.mark.parametrize(
    ("part", "told_"),
    [
        (([0, 1], []), "it has nothing to validate on. Give fewer folds, or more items."),
        (([], [0, 1]), "it has nothing to train on. Give fewer folds, or more items."),
        (([0, 96], [1]), "there is no item 96. The items are 0 to 95."),
        (
            ([0, 1, 5], [5, 1]),
            "item 1 is trained on and validated on. Give a splitter whose parts have nothing in common.",
        ),
    ],
)
def test_folds_that_are_none(part: tuple[list[int], list[int]], told_: str) -> None:
    assert message(lambda: fit(KFoldLoop(Wrong(([0], [1]), part)))) == f"Wrong.split: fold 1: {told_}"


def test_the_metrics_of_the_best_are_those_of_its_epoch() -> None:
    """The worst validation is the best here: the first, so that those after it must leave no trace."""
    epochs: list[dict[str, float]] = []

    class Notes(Callback[nn.Module]):
        def on_train_epoch_end(self, trainer: TrainerView, module: nn.Module) -> None:
            epochs.append(dict(trainer.metrics))

    loop = KFoldLoop(2, only=[0], keep="best", mode="max")
    result = Trainer(max_epochs=4, fit_loop=loop, callbacks=[Notes()]).fit(make, items())
    best = max(epochs, key=lambda metrics: metrics["val_loss"])
    assert dict(result.folds[0].metrics) == best
    assert {"train_loss", "val_loss", "accuracy"} == best.keys()
    assert best != epochs[-1]


# What goes wrong


def test_settings_that_cannot_work() -> None:
    wrong: Any = KFoldLoop
    assert message(lambda: wrong(1)) == "RandomFolds.folds: it is 1. Give 2 or more."
    assert message(lambda: RandomFolds(2, repeats=0)) == "RandomFolds.repeats: it is 0. Give 1 or more."
    splitters = "Give a number, or an object with `split(X, y, groups)`: RandomFolds(5), or a splitter of scikit-learn."
    assert message(lambda: wrong(KFold)) == f"KFoldLoop.folds: {KFold!r} makes no folds. {splitters}"
    assert message(lambda: wrong("5")) == f"KFoldLoop.folds: '5' makes no folds. {splitters}"
    assert message(lambda: wrong(keep="all")) == "KFoldLoop.keep: 'all' is none. Give one of last, best, nothing."
    assert message(lambda: wrong(mode="less")) == "KFoldLoop.mode: 'less' is none. Give one of min, max."
    for only in ([], [1, 1]):
        assert message(lambda: wrong(only=only)) == (  # noqa: B023
            f"KFoldLoop.only: it is {only}. Name one fold or several, each once."
        )
    assert message(lambda: fit(wrong(3, only=[3]))) == "KFoldLoop.only: there is no fold 3. The folds are 0 to 2."


def test_inputs_that_cannot_work() -> None:
    trainer = Trainer(max_epochs=1, fit_loop=KFoldLoop(3))
    module = Digits()
    makes = "Give a function: lambda fold: Classifier(), or lambda fold: copy.deepcopy(module)."
    assert message(lambda: trainer.fit(module, items())) == (
        f"KFoldLoop.run: make_module: a Digits makes no modules, and each fold needs one of its own. {makes}"
    )
    assert message(lambda: trainer.fit(lambda fold: module, items())) == (
        "KFoldLoop.run: make_module: for fold 1 it gave the module of the fold before, which is trained already. "
        "Make a new one for each fold, or copy one: lambda fold: copy.deepcopy(module)."
    )
    trainer.fit(lambda fold: copy.deepcopy(module), items())
    assert message(lambda: trainer.fit(make, items(), labels=[1, 2])) == (
        "KFoldLoop.run: labels: there are 2, and 96 items. Give one for each item."
    )
    assert message(lambda: trainer.fit(make, items(), groups=labels())) == (
        "RandomFolds: it does not know of groups. Give a splitter that does: scikit-learn's GroupKFold."
    )
    assert message(lambda: trainer.fit(make, items(2))) == (
        "RandomFolds.folds: it is 3, and there are 2 items. Give fewer folds."
    )
    stratified = Trainer(max_epochs=1, fit_loop=KFoldLoop(RandomFolds(3, stratified=True)))
    assert message(lambda: stratified.fit(make, items())) == (
        "RandomFolds(stratified=True): there are no labels. Give them: fit(..., labels=labels)."
    )
    with pytest.warns(UserWarning, match="RandomFolds") as warned:
        stratified.fit(make, items(), labels=[0] * 94 + [7] * 2)
    assert str(warned[0].message) == (
        "RandomFolds(stratified=True): the class 7 has 2 items, and there are 3 folds: it is not in the validation of "
        "each."
    )


def test_what_was_not_asked_for() -> None:
    result = fit(KFoldLoop(3, keep="nothing"))
    assert [fold.weights for fold in result.folds] == [None, None, None]
    assert message(lambda: result.modules(make)) == (
        'KFoldResult.modules: no weights were kept. Keep them: KFoldLoop(keep="last"), or "best".'
    )
    assert message(result.out_of_fold) == (
        "KFoldResult.out_of_fold: no predictions were made. Ask for them: KFoldLoop(out_of_fold=True)."
    )
    assert message(fit(KFoldLoop(3, only=[1], out_of_fold=True)).out_of_fold) == (
        "KFoldResult.out_of_fold: 64 items have no prediction: not every fold was run, or no fold has them. Run all "
        "folds, of a splitter that validates on each item."
    )
    rehearsal = Trainer(fit_loop=KFoldLoop(3, out_of_fold=True), fast_dev_run=True)
    assert message(rehearsal.fit(make, items(), BatchLoaders(8)).out_of_fold) == (
        "KFoldResult.out_of_fold: fold 0: there are 8 predictions of 32 items. Let the loader to validate on give each "
        "item once, without a limit, and `predict_step` a row for each."
    )


def test_predictions_that_nobody_could_tell_apart() -> None:
    class Named(Digits):
        def predict_step(self, batch: Item, batch_idx: int) -> Any:
            return ["seven"]

    class Silent(nn.Module):
        training_step, validation_step = Digits.training_step, Digits.validation_step

    def shuffled(train: Any, val: Any) -> Any:
        return DataLoader(train, 32), DataLoader(val, 32, shuffle=True)

    trainer = Trainer(max_epochs=1, fit_loop=KFoldLoop(3, out_of_fold=True))
    assert message(lambda: trainer.fit(make, items(), shuffled), LoaderError) == (
        "KFoldLoop(out_of_fold=True): the loader to validate on shuffles, so that nobody would know of which item a "
        "prediction is. Let it give its items in their order: shuffle=False."
    )
    assert message(lambda: trainer.fit(lambda fold: Named(), items()), ModuleError) == (
        "Named.predict_step: it returned no tensor, and predictions out of fold are rows of one. Return a tensor with "
        "a row for each item, or leave out_of_fold out."
    )
    assert message(lambda: trainer.fit(lambda fold: Silent(), items()), ModuleError) == (
        "Silent.predict_step: there is no such method, and KFoldLoop(out_of_fold=True) needs a PredictModule. Define "
        "`def predict_step(self, batch, batch_idx)`."
    )


def test_the_best_needs_a_metric_and_a_trainer() -> None:
    assert message(lambda: fit(KFoldLoop(3, keep="best", monitor="loss"))).startswith(
        "KFoldLoop.monitor: there is no metric 'loss' after a validation; there are ['accuracy', "
    )
    alone = KFoldLoop(3, keep="best", fit_loop=FitLoop(max_epochs=1))
    assert message(lambda: alone.run(make, items()), UnattachedLoopError).startswith(
        "KFoldLoop.configure_callbacks: callbacks are called with a trainer, and there is none."
    )


def test_weights_of_another_module() -> None:
    result = fit(KFoldLoop(3, only=[0]))
    assert message(lambda: result.modules(lambda fold: nn.Linear(2, 2)), CheckpointError).startswith(
        "fold 0: the module has other weights than the checkpoint (-: only there, +: only here):"
    )


# The contract


class Counts(Loop[[int, Iterable[Item], Iterable[Item]], FitResult[None]]):
    """A fit of nothing, whose metric is the number of items."""

    state_fields = ("batches",)

    def __init__(self) -> None:
        self.batches = 0

    @property
    def done(self) -> bool:
        return self.batches > 0

    def reset(self) -> None:
        self.batches = 0

    def advance(self, module: int, train: Iterable[Item], val: Iterable[Item]) -> None:
        self.batches = len(list(train)) + module

    def on_run_end(self) -> FitResult[None]:
        return FitResult(StopReason.LEFT, 1, self.batches, 0, {"batches": float(self.batches)})


def contract_loop() -> KFoldLoopOf[int, Item, Item, None]:
    return KFoldLoopOf(Counts(), RandomFolds(3), keep="nothing")


def test_it_is_a_loop() -> None:
    check_loop_contract(contract_loop, lambda fold: fold, items(9), BatchLoaders(2))


def test_a_fold_is_where_its_items_are() -> None:
    assert folds_of(Wrong(([0, 2], [1])), 3, None, None) == [Fold(0, (0, 2), (1,))]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("broken", [[1], [0, 1, 2]])
def test_a_metric_that_is_no_number_loses_no_result(value: float, broken: list[int]) -> None:
    class Odd(Digits):
        def __init__(self, fold: int) -> None:
            super().__init__()
            self.fold = fold

        def validation_step(self, batch: Item, batch_idx: int) -> dict[str, Tensor]:
            told = super().validation_step(batch, batch_idx)
            return {**told, "val_loss": torch.tensor(value)} if self.fold in broken else told

    result = Trainer(max_epochs=1, fit_loop=KFoldLoop(3)).fit(Odd, items())
    summary = result.metrics["val_loss"]
    assert [not math.isfinite(each) for each in summary.values] == [fold in broken for fold in range(3)]
    assert not math.isfinite(summary.mean)
    assert math.isnan(summary.std)
    assert math.isfinite(result.metrics["accuracy"].std)
    assert str(result)


def test_labels_that_are_tensors_are_told_apart_by_their_values() -> None:
    labels = [torch.tensor(i % 3) for i in range(9)]
    for _, val in RandomFolds(3, stratified=True).split(range(9), labels):
        assert sorted(int(labels[i]) for i in val) == [0, 1, 2]
    loop = KFoldLoop(RandomFolds(3, stratified=True), keep="nothing")
    result = Trainer(max_epochs=1, fit_loop=loop).fit(make, items(30), labels=[torch.tensor(i % 3) for i in range(30)])
    counts = [sorted(Counter(i % 3 for i in fold.val_indices).values()) for fold in result.folds]
    assert all(max(count) - min(count) <= 1 for count in counts)


def test_classes_of_one_item_each_are_not_dealt_out_in_their_order() -> None:
    with pytest.warns(UserWarning, match="it is not in the validation of each"):
        folds = [val for _, val in RandomFolds(3, stratified=True).split(range(12), list(range(12)))]
    assert sorted(item for fold in folds for item in fold) == list(range(12))
    assert folds != [list(range(fold, 12, 3)) for fold in range(3)]


def test_data_that_has_no_number_of_items() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Trainer(fit_loop=KFoldLoop(3)).fit(make, iter(items()))
    assert str(refused.value) == (
        "KFoldLoop.run: data: a list_iterator has no number of items, or none can be asked for by its index. "
        "Give a list or a map-style dataset: list(data)."
    )
