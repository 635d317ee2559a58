"""The typed loader is torch's in everything but its type."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tests.modules import Batch, Classifier
from typedloops import BatchLoader, Trainer

DATASET = TensorDataset(torch.randn(10, 4), torch.arange(10) % 3)


def collate(items: list[tuple[Tensor, ...]]) -> Batch:
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def test_it_gives_what_torchs_gives() -> None:
    torch.manual_seed(5)
    ours: BatchLoader[Batch] = BatchLoader(DATASET, batch_size=4, shuffle=True)
    got = list(ours)
    torch.manual_seed(5)
    theirs = list(DataLoader(DATASET, batch_size=4, shuffle=True))
    assert isinstance(ours, DataLoader)
    assert len(ours) == len(got) == 3
    for (x, y), (other_x, other_y) in zip(got, theirs, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_a_collate_function_and_workers() -> None:
    loader = BatchLoader(DATASET, collate_fn=collate, batch_size=4, num_workers=1)
    assert [x.shape[0] for x, _ in loader] == [4, 4, 2]
    assert Trainer(max_epochs=2).fit(Classifier(), loader, loader).batches == 6
