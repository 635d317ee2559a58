"""Sources of batches: how many there are, how long they are, and where they end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import cast

from torch.utils.data import Dataset, IterableDataset
from typing_extensions import TypeVar

from typedloops._core.escape import escaped_from
from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError, LoaderError
from typedloops.loops.run.computing.seeding import seed_workers_of
from typedloops.loops.run.settings.config import BatchLimit
from typedloops.loops.run.settings.durations import share_of
from typedloops.protocols.data import Loaders

B = TypeVar("B")

FETCH = "torch.utils.data._utils.fetch"


def as_loaders(where: str, source: Loaders[B]) -> list[Iterable[B]]:
    """The loaders that are meant: those in a list or tuple of loaders, or `source` itself.

    A list of *batches* is one loader.  What tells the two apart is that a batch is a
    tensor, an array, a number, a string, a mapping, a list, a tuple, or anything that
    can be moved with `.to`; a loader is any other iterable.

    Raises:
        LoaderError: `source` mixes loaders and batches.
    """
    if not isinstance(source, (list, tuple)) or not source:
        return [cast("Iterable[B]", source)]
    if not _is_loader(source[0]):
        return [cast("Iterable[B]", source)]
    # Only a list of loaders, which is short, is looked through; a list of batches may be long.
    others = [item for item in source if not _is_loader(item)]
    if others:
        raise LoaderError(
            where,
            f"some of its items are loaders and others ({type(others[0]).__name__}) are not",
            "Give one loader, or a list in which every item is one.",
        )
    return [cast("Iterable[B]", loader) for loader in source]


def _is_loader(item: object) -> bool:
    batch_like = (
        isinstance(item, (list, tuple, Mapping, str, bytes)) or hasattr(item, "to") or hasattr(item, "__array__")
    )
    return isinstance(item, Iterable) and not batch_like


def iterate(where: str, loader: Iterable[B]) -> Iterator[B]:
    """`iter(loader)`, with an error that names the place.

    Raises:
        LoaderError: It is not iterable.
    """
    check_source(where, loader)
    seed_workers_of(loader)
    return iter(loader)


def check_source(where: str, loader: object) -> None:
    """Raise unless `loader` is one that can be gone through.

    Raises:
        LoaderError: It is not iterable, gives samples, or is several loaders.
    """
    check_loader(where, loader)
    if isinstance(loader, Mapping) or (is_list_or_tuple(loader) and loader and _is_loader(loader[0])):
        raise LoaderError(
            where,
            f"it is a {type(cast('object', loader)).__name__} of loaders, and one is taken",
            "Give one loader: CombinedLoader makes one of several.",
        )


def check_loader(where: str, loader: object) -> None:
    """Raise unless `loader` can give batches.

    Raises:
        LoaderError: It is not iterable, or gives samples.
    """
    kind = type(loader).__name__
    if not _can_be_iterated(loader):
        raise LoaderError(
            where,
            f"an object of type {kind} is not iterable",
            "Give a loader: a DataLoader, or any iterable of batches.",
        )
    if _is_dataset(loader):
        raise LoaderError(
            where,
            f"a {kind} is a dataset: it gives samples, not batches",
            "Put it into a loader: BatchLoader(dataset, batch_size=...), or batch_size=None if its items are batches.",
        )


def _is_dataset(thing: object) -> bool:
    return isinstance(thing, Dataset) and not isinstance(thing, IterableDataset)


def _can_be_iterated(thing: object) -> bool:
    return isinstance(thing, Iterable) or hasattr(thing, "__getitem__")


def length_of(loader: object) -> int | None:
    """How many batches the loader says it has, or None."""
    try:
        # What has no length says so with one of these errors.
        return len(loader)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    except (TypeError, NotImplementedError):
        return None


def resolve_limit(where: str, limit: BatchLimit, length: int | None) -> int | None:
    """How many batches to take at most, or None for all there are.

    Raises:
        ConfigurationError: A share of a loader without a length, or a share below one batch.
    """
    if isinstance(limit, int):
        return limit
    if limit == 1.0 or length == 0:  # of an empty loader, that it is empty is told when it is asked
        return None
    if limit == 0.0:
        return 0
    if length is None:
        raise ConfigurationError(
            where, f"a share of {limit} cannot be taken of a loader without a length", "Give an int, or 1.0 for all."
        )
    batches = share_of(length, limit)
    if batches == 0:
        raise ConfigurationError(
            where,
            f"a share of {limit} of {length} batches is less than one batch",
            f"Give at least {math.ceil(1e4 / length) / 1e4}, or an int.",
        )
    return batches


def check_ran(where: str, loader: object, *, batches: int, length: int | None, exhausted: bool) -> None:
    """Say so when a loader gave another number of batches than it said it has.

    Raises:
        LoaderError: It gave none at all.
    """
    if exhausted and batches == 0 and isinstance(loader, Iterator):
        raise LoaderError(
            where,
            f"it gave no batches: a {type(loader).__name__} is an iterator, which can be gone through only once",
            "Give what can be iterated anew for each epoch: a DataLoader, a list.",
        )
    if exhausted and batches == 0:
        raise LoaderError(
            where,
            "it gave no batches",
            "Is the dataset empty, or smaller than a batch with drop_last=True?",
        )
    if length is not None and (batches > length or (exhausted and batches < length)):
        warnings.warn(
            f"{where}: its length is {length} and it gave {batches} batches. Correct its `__len__`: the last batch "
            "was taken to be another one than it was.",
            UserWarning,
            stacklevel=2,
        )


def check_end(stop: StopIteration) -> None:
    """Tell the end of a torch `DataLoader` from a `StopIteration` that its dataset or collate function let out.

    Raises:
        EscapedStopIteration: The latter.
    """
    frames = list(_frames(stop.__traceback__))
    for position, frame in enumerate(frames):
        module, function = frame.f_globals.get("__name__"), frame.f_code.co_name
        if (module, function) == ("torch._utils", "reraise"):
            raise escaped_from(_Named("a worker of the DataLoader")) from stop
        if (module, function) == (FETCH, "fetch"):
            inner = [frame for frame in frames[position + 1 :] if frame.f_globals.get("__name__") != FETCH]
            if inner and inner[0].f_code is not _end_of_dataset(frame.f_locals.get("self")):
                raise escaped_from(_Named(inner[0].f_code.co_qualname)) from stop


def _end_of_dataset(fetcher: object) -> object:
    """The only code from which a `StopIteration` means the end: the `__next__` of an iterable dataset's iterator."""
    iterator: object = getattr(fetcher, "dataset_iter", None)
    return getattr(getattr(type(iterator), "__next__", None), "__code__", None)


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


class _Named:
    def __init__(self, name: str) -> None:
        self.__qualname__ = name
