"""Predictions have the type of what `predict_step` returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_type

from torch import Tensor, nn

from tests.typing.good.models import Batch, Classifier, Prediction, batches, loader
from typedloops import PredictionLoop, PredictionWriter, ShardWriter, Trainer, WrittenPredictions, read_shards
from typedloops.protocols import PredictModule

data = batches()
trainer = Trainer()


class Labels(nn.Module):
    """A prediction of one's own, and a module that can only predict."""

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        return Prediction(batch[1], batch_idx)


class Nothing(nn.Module):
    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        return None


predictions = trainer.predict(Labels(), data)
assert_type(predictions, list[Prediction])
assert_type(predictions[0].labels, Tensor)

several = trainer.predict(Labels(), [loader(), loader()])
assert_type(several, list[list[Prediction]])
assert_type(several[1][0].batch_idx, int)
assert_type(trainer.predict(Classifier(), (loader(), loader())), list[list[Tensor]])
assert_type(trainer.predict(Nothing(), data), list[None])


def endless() -> Iterator[Batch]:
    while True:
        yield from data


assert_type(Trainer(limit_predict_batches=1).predict(Labels(), endless()), list[Prediction])
assert_type(Trainer(limit_predict_batches=1).predict(Labels(), [endless(), endless()]), list[list[Prediction]])
assert_type(PredictionLoop(limit_batches=1).run(Labels(), data), list[Prediction])


class Labelling:
    """Takes predictions of one kind, and knows the batch."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, prediction: Prediction, batch: Batch, batch_idx: int, dataloader_idx: int) -> None:
        assert_type(prediction.labels, Tensor)
        self.written += len(batch[0])


class Counting:
    """Takes anything."""

    def write(self, prediction: object, batch: object, batch_idx: int, dataloader_idx: int) -> int:
        return batch_idx


labelling = Labelling()
assert_type(trainer.predict(Labels(), data, writer=labelling), WrittenPredictions)
assert_type(trainer.predict(Labels(), [loader(), loader()], writer=labelling), WrittenPredictions)
assert_type(trainer.predict(Labels(), data, writer=Counting()).batches, int)
assert_type(trainer.predict(Labels(), data, writer=None), list[Prediction])
assert_type(PredictionLoop().run(Classifier(), data, writer=Counting()).dataloaders, tuple[int, ...])
assert_type(trainer.predict(Labels(), loader), list[Prediction])
assert_type(trainer.predict(Labels(), lambda: [loader(), loader()]), list[list[Prediction]])
assert_type(trainer.predict(Labels(), loader, writer=Counting()), WrittenPredictions)
takes_labels: PredictionWriter[Prediction, Batch] = Counting()
takes_any: PredictionWriter[object] = Counting()


def to_files(directory: str) -> Iterator[object]:
    assert_type(trainer.predict(Classifier(), data, writer=ShardWriter(directory)), WrittenPredictions)
    return read_shards(directory)


def predict(module: PredictModule[Batch, Prediction], source: Iterable[Batch]) -> list[Prediction]:
    return trainer.predict(module, source)


assert len(predict(Labels(), data)) == len(data)
assert [len(part) for part in several] == [2, 2]
