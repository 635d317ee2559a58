"""Passes through torchdata's `StatefulDataLoader`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader  # type: ignore[import-untyped]

from tests.loops.run.passes.journeys import check_again, check_everywhere, draw, seeded, travel

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it


class Indexed(Dataset[int]):
    def __len__(self) -> int:
        return 17

    def __getitem__(self, index: int) -> int:
        return index


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        info = torch.utils.data.get_worker_info()
        return Reading(range(17) if info is None else range(info.id, 17, info.num_workers))


class Reading(Iterator[int]):
    """Knows where it is."""

    def __init__(self, items: range) -> None:
        self.items = items
        self.at = 0

    def __next__(self) -> int:
        if self.at == len(self.items):
            raise StopIteration
        self.at += 1
        return self.items[self.at - 1]

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Drawn(Indexed):
    """With random numbers beside the index."""

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        return torch.tensor([index, *draw()])


def maker(dataset: Callable[[], object], **options: Any) -> Callable[[], Any]:
    return lambda: StatefulDataLoader(dataset(), batch_size=2, **options)


@pytest.mark.parametrize("dataset", [Drawn, Indexed, Stream])
def test_without_workers(dataset: Callable[[], object]) -> None:
    check_everywhere(maker(dataset, shuffle=dataset is not Stream or None))


def test_with_a_generator_that_also_gives_seeds() -> None:
    def make() -> Any:
        return maker(Drawn, shuffle=True, generator=torch.Generator().manual_seed(4))()

    check_everywhere(make)


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}], ids=str)
@pytest.mark.parametrize("dataset", [Indexed, Stream])
def test_with_workers(dataset: Callable[[], object], options: dict[str, Any]) -> None:
    make = maker(dataset, num_workers=2, shuffle=dataset is not Stream or None, **options)
    seeded(1)
    loader = make()
    seeded(2)
    whole = travel(loader)
    for place in (0, 3, -2, -1):
        check_again(make, whole, whole.marks[place])
    rest = check_again(make, whole, whole.marks[3])
    check_again(make, whole, rest.marks[2])
