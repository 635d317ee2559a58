"""The first batches of a loader, kept: a model that cannot learn even these by heart has something wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sized
from itertools import islice
from typing import TypeGuard, cast

from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, SequentialSampler
from typing_extensions import TypeVar

from typedloops.loops.run.loaders import iterate, length_of, resolve_limit
from typedloops.loops.run.settings.config import BatchLimit
from typedloops.protocols.anything import Anything

B = TypeVar("B")


def first_batches(where: str, loader: Iterable[B], overfit: BatchLimit) -> list[B]:
    """The first batches of a loader, and of a shuffling one those that it would give in order.

    Args:
        where: What to call the loader.
        loader: Where they are from.
        overfit: How many, or what share of them.
    """
    count = resolve_limit("overfit_batches", overfit, length_of(loader))
    return list(islice(iterate(where, in_order(where, loader)), count))


def in_order(where: str, loader: Iterable[B]) -> Iterable[B]:
    """A torch `DataLoader` that shuffles, without that; any other loader as it is."""
    shuffling: object = loader
    if not _is_data_loader(shuffling):
        return loader
    batches: object = getattr(shuffling, "batch_sampler", None)
    samples: object = getattr(shuffling if batches is None else batches, "sampler", None)
    if not isinstance(samples, RandomSampler):
        return loader
    warnings.warn(
        f"overfit_batches: the {where} shuffles, and is read in order here: its batches are to be the same each time.",
        UserWarning,
        stacklevel=2,
    )
    order = SequentialSampler(cast("Sized", shuffling.dataset))
    if isinstance(batches, BatchSampler):
        by_batches = BatchSampler(order, batches.batch_size, batches.drop_last)
        return _read_by(shuffling, by_batches)
    return _read_by(shuffling, order)


def _read_by(loader: DataLoader[Anything], sampler: Sampler[Anything]) -> Iterable[Anything]:
    """A loader of the same items that takes them in another order, in this process."""
    of_batches = isinstance(sampler, BatchSampler)
    return DataLoader(
        loader.dataset,
        batch_size=1 if of_batches else None,
        sampler=None if of_batches else sampler,
        batch_sampler=sampler if of_batches else None,
        collate_fn=cast("Callable[[list[Anything]], Anything]", getattr(loader, "collate_fn", None)),
    )


def _is_data_loader(thing: object) -> TypeGuard[DataLoader[Anything]]:
    return isinstance(thing, DataLoader)
