"""Predictions in files, a number of batches in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from typing_extensions import Self

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ConfigurationError

PLAIN = (Tensor, torch.nn.Parameter, bool, int, float, complex, str, bytes, type(None))
"""What can be read back without running code from the file; and lists, tuples and dicts of that."""


class ShardWriter:
    """Writes predictions to files in a directory: `trainer.predict(model, loader, writer=ShardWriter("out"))`.

    A prediction is made of tensors, numbers and strings, in lists, tuples and dicts.  What was
    predicted before an error is written, too.  `read_shards` reads them, in constant memory as well.

    Args:
        directory: Where; it is made if it is not there.
        batches_per_shard: How many predictions there are in a file, and in memory.

    Raises:
        ConfigurationError: There are shards already, or a prediction could not be read back.
    """

    def __init__(self, directory: str | os.PathLike[str], *, batches_per_shard: int = 100) -> None:
        size: object = batches_per_shard
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigurationError(
                "ShardWriter: batches_per_shard", f"{size!r} is no number of batches", "Give 1 or more."
            )
        self.directory: Path = Path(directory)
        self.batches_per_shard = batches_per_shard
        self._pending: list[object] = []
        self._place = (0, 0)

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        if next(self.directory.glob("predictions-*.pt"), None) is not None:
            raise ConfigurationError(
                f"ShardWriter({str(self.directory)!r})",
                "it has the predictions of an earlier run",
                "Give another directory, or remove its predictions-*.pt.",
            )
        self._pending = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._flush()

    def write(self, prediction: object, batch: object, batch_idx: int, dataloader_idx: int) -> None:
        """Add a prediction to those that are written together."""
        check_plain(prediction)
        if len(self._pending) == self.batches_per_shard or dataloader_idx != self._place[0]:
            self._flush()
        if not self._pending:
            self._place = (dataloader_idx, batch_idx)
        self._pending.append(without_surroundings(prediction))

    def _flush(self) -> None:
        if not self._pending:
            return
        loader, batch = self._place
        path = self.directory / f"predictions-{loader:03d}-{batch:09d}.pt"
        unfinished = path.with_suffix(".tmp")
        torch.save(self._pending, unfinished)
        unfinished.replace(path)
        self._pending = []


def read_shards(directory: str | os.PathLike[str], dataloader_idx: int = 0) -> Iterator[object]:
    """The predictions that a `ShardWriter` wrote of a loader, one for each batch and in their order, on the CPU.

    Args:
        directory: Where they are.
        dataloader_idx: Of which loader.

    Raises:
        ConfigurationError: There are none.
    """
    paths = sorted(Path(directory).glob(f"predictions-{dataloader_idx:03d}-*.pt"))
    if not paths:
        raise ConfigurationError(
            f"read_shards({str(directory)!r})",
            f"there are no predictions of loader {dataloader_idx}",
            "Is it the directory that a ShardWriter was given?",
        )
    return _predictions_in(paths)


def _predictions_in(paths: list[Path]) -> Iterator[object]:
    for path in paths:
        shard: list[object] = torch.load(path, map_location="cpu", weights_only=True)
        yield from shard


def without_surroundings(prediction: object) -> object:
    """A prediction whose tensors are no parts of larger ones, which would be kept and written with them."""
    if isinstance(prediction, Tensor):
        own = prediction.untyped_storage().nbytes() == prediction.nbytes
        return prediction if own else prediction.clone()
    if is_mapping(prediction):
        return {key: without_surroundings(value) for key, value in prediction.items()}
    if is_list_or_tuple(prediction):
        return type(prediction)(map(without_surroundings, prediction))
    return prediction


def check_plain(prediction: object) -> None:
    """Raise unless a prediction can be read back from a file without running code from it.

    Raises:
        ConfigurationError: There is something else in it.
    """
    kind = type(prediction)
    if kind in PLAIN:
        return
    if kind is dict and is_mapping(prediction):
        for key, value in prediction.items():
            check_plain(key)
            check_plain(value)
    elif kind in (list, tuple) and is_list_or_tuple(prediction):
        for item in prediction:
            check_plain(item)
    else:
        raise ConfigurationError(
            "ShardWriter",
            f"a prediction has a {kind.__name__} in it, which could not be read back",
            "Return tensors, numbers and strings, in lists, tuples and dicts; or write a writer of your own.",
        )
