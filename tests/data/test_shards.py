"""Predictions in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import typedloops
from tests.modules import Batch, Classifier, Loader, batches
from typedloops import ShardWriter, read_shards
from typedloops.errors import ConfigurationError

# The predictions are of many kinds, and much is wrong on purpose.
Trainer: Any = typedloops.Trainer


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_is_read_is_what_would_be_returned(tmp_path: Path, size: int) -> None:
    model, loader = Classifier(), batches(5)
    directory = tmp_path / "new" / "out"
    Trainer().predict(model, loader, writer=ShardWriter(directory, batches_per_shard=size))
    assert names(directory) == [f"predictions-000-{first:09d}.pt" for first in range(0, 5, size)]
    read: list[Any] = list(read_shards(directory))
    expected = Trainer().predict(model, loader)
    assert len(read) == 5
    for ours, theirs in zip(read, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_several_loaders(tmp_path: Path) -> None:
    class Placed(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Any:
            return {"place": (dataloader_idx, batch_idx), "text": ["x", None], "value": batch[0].sum()}

    writer = ShardWriter(str(tmp_path), batches_per_shard=2)
    Trainer().predict(Placed(), [Loader(batches(3)), Loader(batches(1))], writer=writer)
    assert names(tmp_path) == [
        "predictions-000-000000000.pt",
        "predictions-000-000000002.pt",
        "predictions-001-000000000.pt",
    ]
    first: list[Any] = list(read_shards(tmp_path))
    second: list[Any] = list(read_shards(tmp_path, dataloader_idx=1))
    assert [read["place"] for read in first] == [(0, 0), (0, 1), (0, 2)]
    assert [(read["place"], read["text"]) for read in second] == [((1, 0), ["x", None])]


def test_what_was_predicted_before_an_error_is_there(tmp_path: Path) -> None:
    class Failing(Classifier):
        def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
            if batch_idx == 3:
                raise ZeroDivisionError
            return torch.tensor(batch_idx)

    with pytest.raises(ZeroDivisionError):
        Trainer().predict(Failing(), batches(5), writer=ShardWriter(tmp_path, batches_per_shard=2))
    read: list[Any] = list(read_shards(tmp_path))
    assert [int(value) for value in read] == [0, 1, 2]


def test_a_second_run_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path)
    Trainer().predict(Classifier(), batches(2), writer=writer)
    with pytest.raises(ConfigurationError, match=r"it has the predictions of an earlier run\. Give another directory"):
        Trainer().predict(Classifier(), batches(1), writer=writer)
    assert len(list(read_shards(tmp_path))) == 2


class Named(NamedTuple):
    label: int


@pytest.mark.parametrize("prediction", [object(), Named(1), {"a": [{1}]}, (torch.device("cpu"),)])
def test_what_could_not_be_read_back_is_refused_when_it_is_written(tmp_path: Path, prediction: object) -> None:
    writer = ShardWriter(tmp_path)
    kind = "object|Named|set|device"
    with pytest.raises(ConfigurationError, match=rf"^ShardWriter: a prediction has a ({kind}) in it, which could not"):
        writer.write(prediction, None, 0, 0)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_shard_has_a_batch_at_least(tmp_path: Path, size: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^ShardWriter: batches_per_shard: .* is no number of batches\. Give"):
        ShardWriter(tmp_path, batches_per_shard=size)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there are no predictions of loader 2\. Is it the directory that"):
        read_shards(tmp_path, dataloader_idx=2)


def test_of_a_part_of_a_tensor_the_part_is_written(tmp_path: Path) -> None:
    whole = torch.arange(100_000.0).view(1000, 100)
    with ShardWriter(tmp_path) as writer:
        for index in range(3):
            writer.write({"column": whole[:, index], "rows": [whole[index]]}, None, index, 0)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * 4 * 1100 + 5000
    first: Any = next(iter(read_shards(tmp_path)))
    assert torch.equal(first["column"], whole[:, 0])
