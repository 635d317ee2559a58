"""Sources of batches: how many there are, how long they are, and where they end."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import cast

from typing_extensions import TypeVar

from typedloops._core.escape import escaped_from
from typedloops.errors import ConfigurationError, LoaderError
from typedloops.loops.config import BatchLimit
from typedloops.protocols.data import Loaders

B = TypeVar("B")


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
    are_loaders = [_is_loader(item) for item in source]
    if all(are_loaders):
        return list(source)
    if any(are_loaders):
        raise LoaderError(
            where,
            f"some of its items are loaders and others ({type(source[are_loaders.index(False)]).__name__}) are not",
            "Give one loader, or a list in which every item is one.",
        )
    return [cast("Iterable[B]", source)]


def _is_loader(item: object) -> bool:
    batch_like = isinstance(item, (list, tuple, Mapping, str, bytes)) or hasattr(item, "to") or hasattr(item, "__array__")
    return isinstance(item, Iterable) and not batch_like


def iterate(where: str, loader: Iterable[B]) -> Iterator[B]:
    """`iter(loader)`, with an error that names the place.

    Raises:
        LoaderError: It is not iterable.
    """
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise LoaderError(
            where, f"a {type(loader).__name__} is not iterable", "Give a loader: a DataLoader, or any iterable of batches."
        )
    return iter(loader)


def length_of(loader: object) -> int | None:
    """How many batches the loader says it has, or None."""
    try:
        return len(loader)  # type: ignore[arg-type]  # what has no length says so with one of these errors
    except (TypeError, NotImplementedError):
        return None


def resolve_limit(where: str, limit: BatchLimit, length: int | None) -> int | None:
    """How many batches to take at most, or None for all there are.

    Raises:
        ConfigurationError: A share of a loader without a length, or a share below one batch.
    """
    if isinstance(limit, int):
        return limit
    if limit == 1.0:
        return None
    if limit == 0.0:
        return 0
    if length is None:
        raise ConfigurationError(
            where, f"a share of {limit} cannot be taken of a loader without a length", "Give an int, or 1.0 for all."
        )
    batches = int(length * limit)
    if batches == 0 and length > 0:
        raise ConfigurationError(
            where,
            f"a share of {limit} of {length} batches is less than one batch",
            f"Give at least {1 / length:.4g}, or an int.",
        )
    return batches


def check_ran(where: str, *, batches: int, length: int | None, exhausted: bool) -> None:
    """Say so when a loader gave another number of batches than it said it has.

    Raises:
        LoaderError: It gave none at all.
    """
    if exhausted and batches == 0:
        raise LoaderError(
            where,
            "it gave no batches",
            "Is the dataset empty, or smaller than a batch with drop_last=True? An iterator can be used only once.",
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
    for frame, inner in zip(frames, frames[1:] + [None], strict=True):
        fetcher = frame.tb_frame.f_locals.get("self")
        in_torch = frame.tb_frame.f_globals.get("__name__", "")
        if in_torch == "torch._utils" and frame.tb_frame.f_code.co_name == "reraise":
            raise escaped_from(_Named("a worker of the DataLoader")) from stop
        if in_torch == "torch.utils.data._utils.fetch" and frame.tb_frame.f_code.co_name == "fetch" and inner:
            collating = inner.tb_frame.f_code is getattr(getattr(fetcher, "collate_fn", None), "__code__", None)
            if collating or type(fetcher).__name__ == "_MapDatasetFetcher":
                raise escaped_from(_Named(inner.tb_frame.f_code.co_qualname)) from stop


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


class _Named:
    def __init__(self, name: str) -> None:
        self.__qualname__ = name
