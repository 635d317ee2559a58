"""torchtnt: units without callbacks."""
# mypy: disable-error-code="import-not-found, misc, no-any-unimported"
# It is installed in an environment of its own.

from __future__ import annotations

import warnings
from collections.abc import Iterable

from torchtnt.framework.evaluate import evaluate
from torchtnt.framework.predict import predict
from torchtnt.framework.state import State
from torchtnt.framework.train import train
from torchtnt.framework.unit import EvalUnit, PredictUnit, TrainUnit

from benchmarks.peers.measure import Batch, NullBatch, Tasks, TinyNet


class NullUnit(TrainUnit[NullBatch], EvalUnit[NullBatch], PredictUnit[NullBatch]):
    def train_step(self, state: State, data: NullBatch) -> None:
        return None

    def eval_step(self, state: State, data: NullBatch) -> None:
        return None

    def predict_step(self, state: State, data: NullBatch) -> None:
        return None


class TinyUnit(TrainUnit[Batch]):
    def __init__(self) -> None:
        super().__init__()
        self.module = TinyNet()
        self.optimizer = self.module.sgd()

    def train_step(self, state: State, data: Batch) -> None:
        loss = self.module.loss(data)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def fit_null(loader: Iterable[NullBatch]) -> None:
    train(NullUnit(), loader, max_epochs=1)


def validate_null(loader: Iterable[NullBatch]) -> None:
    evaluate(NullUnit(), loader)


def predict_null(loader: Iterable[NullBatch]) -> None:
    predict(NullUnit(), loader)


def tiny(loader: Iterable[Batch]) -> None:
    train(TinyUnit(), loader, max_epochs=1)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Tasks("torchtnt", fit=fit_null, validate=validate_null, predict=predict_null, tiny=tiny).main()
