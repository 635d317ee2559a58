"""The loaders of a fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Part(Subset[T]):
    """The part of the items that a fold trains or validates on: a dataset, and its items can be gone through.

    Args:
        items: All items.
        indices: Which of them.
    """

    def __init__(self, items: Items[T], indices: Sequence[int]) -> None:
        super().__init__(cast("Dataset[T]", items), indices)

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))


MakesLoaders: TypeAlias = Callable[[Part[T], Part[T]], tuple[Iterable[B], Iterable[V]]]
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

    def __call__(self, train: Part[T], val: Part[T]) -> tuple[Iterable[T], Iterable[T]]:
        return self._loader(train, shuffle=True), self._loader(val, shuffle=False)

    def _loader(self, part: Part[T], *, shuffle: bool) -> BatchLoader[T]:
        return BatchLoader(part, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers)


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
