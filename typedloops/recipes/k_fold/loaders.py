"""The loaders of a fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset
from typing_extensions import Protocol, TypeVar

from typedloops.data import BatchLoader
from typedloops.errors import LoaderError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
B = TypeVar("B")
V = TypeVar("V")


class Items(Protocol[T_co]):
    """What is divided into folds: a dataset with a length and indices, a list."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> T_co: ...


MakesLoaders: TypeAlias = Callable[[Subset[T], Subset[T]], tuple[Iterable[B], Iterable[V]]]
"""Makes the loader to train on and the one to validate on; each has its part of the items."""


class BatchLoaders:
    """Makes a loader of each part with torch's collation, shuffled to train on and in order to validate on.

    Its batches count as items with one axis more: of pairs of tensors, pairs of tensors.

    Args:
        batch_size: Items in a batch.
        num_workers: Processes that load; 0 is the main process.
    """

    def __init__(self, batch_size: int = 32, *, num_workers: int = 0) -> None:
        self.batch_size = batch_size
        self.num_workers = num_workers

    def __call__(self, train: Subset[T], val: Subset[T]) -> tuple[Iterable[T], Iterable[T]]:
        return self._loader(train, shuffle=True), self._loader(val, shuffle=False)

    def _loader(self, part: Subset[T], *, shuffle: bool) -> BatchLoader[T]:
        return BatchLoader(part, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers)


def part_of(items: Items[T], indices: Iterable[int]) -> Subset[T]:
    """The items with these indices."""
    return Subset(cast("Dataset[T]", items), list(indices))


def check_order(loader: object) -> None:
    """Refuse a loader whose predictions could not be told apart.

    Raises:
        LoaderError: It shuffles.
    """
    sampler: object = getattr(loader, "sampler", None) if isinstance(loader, DataLoader) else None
    if isinstance(sampler, RandomSampler):
        raise LoaderError(
            "KFoldLoop(out_of_fold=True)",
            "the loader to validate on shuffles, so that nobody would know of which item a prediction is",
            "Let it give its items in their order: shuffle=False.",
        )
