"""Folds whose items, loaders and modules do not fit each other."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier
from typedloops import FitLoop, Trainer, ValidationLoop
from typedloops.recipes.k_fold import EnsembleModule, KFoldLoop, KFoldLoopOf, KFoldResult, Part, RandomFolds


def make(fold: int) -> Classifier:
    return Classifier()


def unnumbered() -> Classifier:
    return Classifier()


def text_loaders(train: Part[Batch], val: Part[Batch]) -> tuple[Iterable[str], Iterable[str]]:
    return ["one"], ["two"]


def loaders_of_text(train: Part[str], val: Part[str]) -> tuple[Iterable[Batch], Iterable[Batch]]:
    return [], []


def evaluated(result: KFoldResult[Tensor], items: list[Batch], texts: list[str]) -> None:
    trainer = Trainer(fit_loop=KFoldLoop(2))
    trainer.fit(make, texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trainer.fit(make, items, text_loaders)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    trainer.fit(make, items, loaders_of_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    trainer.fit(unnumbered, items)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    trainer.fit(make, iter(items))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    trainer.fit(make, items, labels=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    KFoldLoop("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    KFoldLoop(RandomFolds)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    KFoldLoop(keep="all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    KFoldLoop(fit_loop=ValidationLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    KFoldLoopOf(FitLoop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EnsembleModule([nn.Linear(2, 2)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    result.folds[0].fit.metrics["val_loss"] = 0.0  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    result.modules(unnumbered)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
