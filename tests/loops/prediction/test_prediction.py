"""Predicting."""

from __future__ import annotations

import torch

from tests.modules import Batch, Classifier, Loader, Stream, batches
from typedloops import PredictionLoop, Trainer


def expected(model: Classifier, loader: list[Batch]) -> list[list[int]]:
    model.eval()
    return [model.net(batch[0]).argmax(1).tolist() for batch in loader]


def test_one_prediction_for_each_batch() -> None:
    model, loader = Classifier(), batches(3)
    assert [p.tolist() for p in Trainer().predict(model, loader)] == expected(model, loader)
    assert [p.tolist() for p in Trainer().predict(model, Stream(loader))] == expected(model, loader)


def test_several_loaders_give_lists_of_lists() -> None:
    model = Classifier()
    first, second = batches(1), batches(2)
    predictions = Trainer().predict(model, [Loader(first), Loader(second)])
    assert [[p.tolist() for p in part] for part in predictions] == [expected(model, first), expected(model, second)]


def test_a_prediction_may_be_none() -> None:
    class Silent(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> tuple[int, int] | None:  # type: ignore[override]
            return (batch_idx, dataloader_idx) if batch_idx else None

    assert Trainer().predict(Silent(), batches(2)) == [None, (1, 0)]
    assert Trainer().predict(Silent(), [Loader(batches(1)), Loader(batches(2))]) == [[None], [None, (1, 1)]]


def test_the_loop_without_a_trainer() -> None:
    model, loader = Classifier(), batches(2)
    predictions = PredictionLoop(limit_batches=1).run(model, loader)
    assert [p.tolist() for p in predictions] == expected(model, loader[:1])


def test_what_was_predicted_before_is_not_kept() -> None:
    trainer = Trainer()
    first = trainer.predict(Classifier(), batches(2))
    second = trainer.predict(Classifier(), batches(1))
    assert (len(first), len(second)) == (2, 1)
    assert not torch.is_inference_mode_enabled()
