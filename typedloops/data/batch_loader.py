"""A `DataLoader` that says what its batches are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, overload

from torch import Generator
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import TypeVar

from typedloops.protocols.anything import Anything

Item = TypeVar("Item")
B_co = TypeVar("B_co", covariant=True)


class BatchLoader(DataLoader[Anything], Generic[B_co]):  # torch's parameter is the item, not the batch
    """A `torch.utils.data.DataLoader` whose type parameter is the type of its *batches*.

    torch's own `DataLoader[T]` is parametrized by the items of its dataset and iterates
    as `Any`, so a loader that does not fit a module goes unseen.  Here the batch type
    is what `collate_fn` returns; without one it must be said:
    `loader: BatchLoader[Batch] = BatchLoader(dataset)`.

    Args:
        dataset: The items.
        collate_fn: Makes a batch of a list of items; by default torch's, which stacks.
        batch_size: Items in a batch.
        shuffle: Whether to go through the items in a new order each epoch.
        sampler: Says the order instead of `shuffle`.
        batch_sampler: Says the batches instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
        num_workers: Processes that load; 0 is the main process.
        pin_memory: Whether batches are copied to page-locked memory.
        drop_last: Whether a smaller last batch is left out.
        timeout: Seconds to wait for a batch from a worker; 0 is no limit.
        worker_init_fn: Called in each worker with its index.
        generator: Gives the order and the workers' seeds.
        prefetch_factor: Batches loaded in advance by each worker.
        persistent_workers: Whether workers live on after an epoch.
    """

    if TYPE_CHECKING:

        @overload
        def __init__(
            self,
            dataset: Dataset[Item],
            *,
            collate_fn: Callable[[list[Item]], B_co],
            batch_size: int | None = 1,
            shuffle: bool | None = None,
            sampler: Sampler[int] | Iterable[int] | None = None,
            batch_sampler: Sampler[list[int]] | Iterable[list[int]] | None = None,
            num_workers: int = 0,
            pin_memory: bool = False,
            drop_last: bool = False,
            timeout: float = 0,
            worker_init_fn: Callable[[int], None] | None = None,
            generator: Generator | None = None,
            prefetch_factor: int | None = None,
            persistent_workers: bool = False,
        ) -> None: ...
        @overload
        def __init__(
            self,
            dataset: Dataset[object],
            *,
            batch_size: int | None = 1,
            shuffle: bool | None = None,
            sampler: Sampler[int] | Iterable[int] | None = None,
            batch_sampler: Sampler[list[int]] | Iterable[list[int]] | None = None,
            num_workers: int = 0,
            pin_memory: bool = False,
            drop_last: bool = False,
            timeout: float = 0,
            worker_init_fn: Callable[[int], None] | None = None,
            generator: Generator | None = None,
            prefetch_factor: int | None = None,
            persistent_workers: bool = False,
        ) -> None: ...
        def __init__(self, dataset: Dataset[object], **options: object) -> None: ...
        # torch's iterator is of Any, and a class of its own.
        def __iter__(self) -> Iterator[B_co]: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
