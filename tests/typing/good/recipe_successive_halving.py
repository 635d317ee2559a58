"""Successive halving: the configuration and the module come out as they went in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from torch import Tensor

from tests.typing.good.models import Batch, Classifier, batches
from typedloops import FitLoop, FitLoopOf, Trainer
from typedloops.recipes.successive_halving import (
    Candidate,
    Rung,
    SuccessiveHalvingLoop,
    SuccessiveHalvingLoopOf,
    SuccessiveHalvingResult,
    rungs,
)


@dataclass(frozen=True)
class Config:
    rate: float


def make(config: Config) -> Classifier:
    return Classifier()


configurations, data = [Config(0.1), Config(0.2)], batches()
trainer = Trainer(fit_loop=SuccessiveHalvingLoop("val_loss", eta=2, fit_loop=FitLoop()))
result = trainer.fit(make, configurations, data, data)
assert_type(result, SuccessiveHalvingResult[Config, Classifier])
assert_type(result.best, Candidate[Config])
assert_type(result.best.configuration, Config)
assert_type(result.best.scores, tuple[float, ...])
assert_type(result.best_module, Classifier)
assert_type(result.rungs, tuple[Rung, ...])
assert_type(rungs(9, eta=3), tuple[Rung, ...])
assert_type(
    SuccessiveHalvingLoop("train_loss").run(lambda rate: Classifier(), [0.1, 0.2], lambda: data),
    SuccessiveHalvingResult[float, Classifier],
)


def own(tree: FitLoopOf[Classifier, Batch, Tensor]) -> None:
    loop = SuccessiveHalvingLoopOf(tree, "val_loss")
    assert_type(loop, SuccessiveHalvingLoopOf[Classifier, Batch, Tensor])
    found = Trainer(fit_loop=loop).fit(make, configurations, data, data)
    assert_type(found, SuccessiveHalvingResult[Config, Classifier])
    assert_type(loop.fit_loop, FitLoopOf[Classifier, Batch, Tensor])
