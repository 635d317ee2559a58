"""A limit for each of several loaders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import typedloops
from tests.modules import Classifier, Loader, batches
from typedloops import PredictionLoop, TestLoop, ValidationLoop
from typedloops.errors import ConfigurationError

# Much here is wrong on purpose.
Trainer: Any = typedloops.Trainer
Validation: Any = ValidationLoop


def loaders() -> list[Loader]:
    return [Loader(batches(4)), Loader(batches(6)), Loader(batches(2))]


LIMITS: dict[str, tuple[Any, list[int]]] = {
    "batches": ([1, 3, 9], [1, 3, 2]),
    "shares": ((0.5, 1.0, 0.5), [2, 6, 1]),
    "both": ([0.25, 2, 1.0], [1, 2, 2]),
    "with units": (["1ba", "2ba", 1.0], [1, 2, 2]),
    "none of one": ([0, 2, 0.0], [0, 2, 0]),
    "one for all": (3, [3, 3, 2]),
}


@pytest.mark.parametrize("case", LIMITS)
def test_every_entry_point(case: str) -> None:
    limits, expected = LIMITS[case]
    trainer = Trainer(limit_val_batches=limits, limit_test_batches=limits, limit_predict_batches=limits)
    model = Classifier()
    for entry in (trainer.validate, trainer.test):
        given = loaders()
        assert [loader.batches for loader in entry(model, given).dataloaders] == expected
        assert [loader.fetched for loader in given] == expected
    assert [len(part) for part in trainer.predict(model, loaders())] == expected


def test_limits_of_a_loop_go_before_those_of_the_trainer() -> None:
    model = Classifier()
    trainer = Trainer(
        limit_val_batches=[9, 9],
        validate_loop=ValidationLoop([1, 2, 1]),
        test_loop=TestLoop(limit_batches=(2, 2, 2)),
        predict_loop=PredictionLoop([1, 1, 0]),
    )
    assert [loader.batches for loader in trainer.validate(model, loaders()).dataloaders] == [1, 2, 1]
    assert [loader.batches for loader in trainer.test(model, loaders()).dataloaders] == [2, 2, 2]
    assert [len(part) for part in trainer.predict(model, loaders())] == [1, 1, 0]
    assert [loader.batches for loader in ValidationLoop([1, 2, 1]).run(model, loaders()).dataloaders] == [1, 2, 1]


def test_validation_within_a_fit() -> None:
    given = loaders()
    Trainer(max_epochs=2, limit_val_batches=[1, 0, 2]).fit(Classifier(), batches(1), given)
    assert [loader.fetched for loader in given] == [2, 0, 4]


def test_limits_of_0_for_all_ask_for_no_validation_step() -> None:
    class Training(Classifier):
        validation_step = None  # type: ignore[assignment]

    given = loaders()
    assert Trainer(max_epochs=1, limit_val_batches=[0, 0.0, 0]).fit(Training(), batches(2), given).batches == 2
    assert [loader.iterations for loader in given] == [0, 0, 0]


def test_a_rehearsal_knows_no_limits() -> None:
    trainer = Trainer(fast_dev_run=2, limit_val_batches=[1], validate_loop=ValidationLoop([1]))
    assert [loader.batches for loader in trainer.validate(Classifier(), loaders()).dataloaders] == [2, 2, 2]


def test_a_list_that_is_changed_later_changes_nothing() -> None:
    limits = [1, 1, 1]
    trainer = Trainer(limit_val_batches=limits)
    limits.append(1)
    assert trainer.validate(Classifier(), loaders()).batches == 3


CASES: dict[str, tuple[Callable[[], object], str]] = {
    "too few": (
        lambda: Trainer(limit_val_batches=[1, 2]).validate(Classifier(), loaders()),
        r"limit_val_batches: the number of limits is 2, and that of loaders 3\. Give one limit for each loader, or",
    ),
    "too many": (
        lambda: Trainer(limit_test_batches=[1, 2]).test(Classifier(), batches(1)),
        "limit_test_batches: the number of limits is 2, and that of loaders 1",
    ),
    "of a prediction": (
        lambda: Trainer(limit_predict_batches=[1]).predict(Classifier(), loaders()),
        "limit_predict_batches: the number of limits is 1, and that of loaders 3",
    ),
    "of a loop": (
        lambda: ValidationLoop([1]).run(Classifier(), loaders()),
        r"ValidationLoop\.limit_batches: the number of limits is 1, and that of loaders 3",
    ),
    "of a fit, before it trains": (
        lambda: Trainer(max_epochs=1, limit_val_batches=[1]).fit(Classifier(), Unasked(), loaders()),
        "limit_val_batches: the number of limits is 1, and that of loaders 3",
    ),
    "an empty list": (
        lambda: Trainer(limit_val_batches=[]),
        r"limit_val_batches: it is empty\. Give one limit for each loader, or one for all\.",
    ),
    "a negative one": (lambda: Trainer(limit_val_batches=[1, -1]), r"limit_val_batches\[1\]: -1 is negative"),
    "None among them": (
        lambda: Trainer(limit_test_batches=[None]),
        r"limit_test_batches\[0\]: None is no limit\. Give 1\.0 for all batches\.",
    ),
    "optimizer steps": (
        lambda: Validation(["2st"]),
        r"ValidationLoop\.limit_batches\[0\]: 2st counts optimizer steps",
    ),
    "a list to train with": (lambda: Trainer(limit_train_batches=[1]), r"limit_train_batches: \[1\] is no limit"),
    "a share that one cannot be given": (
        lambda: Trainer(limit_val_batches=[1.0, 0.5, 0.1]).validate(Classifier(), loaders()),
        "the limit on validation dataloader 2: a share of 0.1 of 2 batches is less than one batch",
    ),
}


class Unasked(Loader):
    def __init__(self) -> None:
        super().__init__(batches(1))

    def __iter__(self) -> Any:
        raise AssertionError("it was asked for batches")


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    run, message = CASES[case]
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        run()
