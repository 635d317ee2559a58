"""Successive halving with what does not fit."""

from __future__ import annotations

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoopOf, Trainer, ValidationLoop
from typedloops.recipes.successive_halving import SuccessiveHalvingLoop, SuccessiveHalvingLoopOf, rungs


class Bare(nn.Module):
    """No step."""


def make(rate: float) -> Classifier:
    return Classifier()


def make_bare(rate: float) -> Bare:
    return Bare()


data, trainer = batches(), Trainer(fit_loop=SuccessiveHalvingLoop("val_loss"))
trainer.fit(make, ["a"], data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
trainer.fit(make_bare, [0.1], data)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
wrong: str = trainer.fit(make, [0.1], data).best.configuration  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
SuccessiveHalvingLoop("val_loss", mode="best")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
SuccessiveHalvingLoop("val_loss", fit_loop=ValidationLoop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
SuccessiveHalvingLoop("val_loss", make_callbacks=lambda index: [3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
rungs("9")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def own(tree: FitLoopOf[Classifier, Batch, Tensor]) -> None:
    loop = SuccessiveHalvingLoopOf(tree, "val_loss")
    loop.run(make, [0.1], [1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    loop.run(make_bare, [0.1], data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
