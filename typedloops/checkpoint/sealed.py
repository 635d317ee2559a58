"""What the formats have in common: a folder with a sealed manifest, and everything but tensors as JSON."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Final, TypeAlias, cast

from torch import Tensor
from typing_extensions import TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.checkpoint.durable import locked, removed, settled, stat_of, written_whole
from typedloops.checkpoint.encoding import Json, decode, encode
from typedloops.checkpoint.manifest import LARGEST_PART, NAME, FileRecord, Manifest, calls_itself, parsed, read_bytes
from typedloops.checkpoint.own import without_aliases
from typedloops.checkpoint.tensors import TensorRecord, damaged, unreadable
from typedloops.errors import CheckpointError

T = TypeVar("T")

Parts: TypeAlias = Mapping[str, Mapping[str, Tensor]]
State: TypeAlias = tuple[Path, tuple[int, int, int] | None]
Records: TypeAlias = dict[str, dict[str, TensorRecord]]

PART: Final = re.compile(r"[a-z][a-z0-9_]*")
WRITTEN_OVER: Final = "written over"
MODULE: Final = "module"
"""The part whose tensors other programs read: each is there under every name that it has."""


class SealedFolder(ABC):
    """A checkpoint as a folder:

    ```
    manifest.json            version, checksums
    <part>.json              everything but tensors
    ...                      the tensors, as the format keeps them
    ```

    Nothing is pickled.  A format says how tensors are kept, by `_write_tensors` and `_read_tensors`.
    """

    format: ClassVar[str]
    """What its manifests say."""

    def save(self, path: Path, content: Mapping[str, object]) -> None:
        """Write a checkpoint; see `CheckpointFormat`.

        Raises:
            CheckpointError: Something in it cannot be saved, nothing can be written there, or
                something else is there that is no checkpoint.
        """
        _refuse_others(path, WRITTEN_OVER)
        texts: dict[str, bytes] = {}
        parts: dict[str, Mapping[str, Tensor]] = {}
        for part, state in content.items():
            texts[f"{_checked(part)}.json"], parts[part] = _encoded(part, state)
        with written_whole(path) as folder:
            for name, text in texts.items():
                (folder / name).write_bytes(text)
            records = self._write_tensors(folder, parts)
            files = {file.name: FileRecord.of(file) for file in sorted(folder.iterdir())}
            Manifest(files, records, self.format).write(folder)

    def load(self, path: Path) -> dict[str, object]:
        """Read a checkpoint; see `CheckpointFormat`.

        Raises:
            CheckpointError: There is none, or it is not what was written.
        """
        return self._read(
            path, lambda folder, manifest: {part: self._read_part(folder, manifest, part) for part in manifest.parts}
        )

    def load_part(self, path: Path, part: str) -> object:
        """Read one part of a checkpoint; see `CheckpointFormat`.

        Raises:
            CheckpointError: There is no checkpoint, it has no such part, or that is not what was written.
        """

        def read(folder: Path, manifest: Manifest) -> object:
            if part not in manifest.parts:
                raise CheckpointError(
                    str(path), f"it has no part {part!r}", f"Ask for one of these: {', '.join(manifest.parts)}."
                )
            return self._read_part(folder, manifest, part)

        return self._read(path, read)

    def holds(self, path: Path) -> bool:
        """Whether a checkpoint of this format is at `path`, be it damaged."""
        try:
            return calls_itself(settled(Path(path))) == self.format
        except OSError:
            return False

    def delete(self, path: Path) -> None:
        """Remove a checkpoint, and what was left by writers of it that were stopped.

        Raises:
            CheckpointError: Something else is there that is no checkpoint, or it cannot be deleted.
        """
        _refuse_others(path, "deleted")
        removed(path)

    @abstractmethod
    def _write_tensors(self, folder: Path, parts: Parts) -> Records:
        """Write the tensors of all parts and say what they are."""

    @abstractmethod
    def _read_tensors(self, folder: Path, part: str, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
        """Read the tensors of a part and see to it that they are what `records` tell."""

    def _read(self, path: Path, read: Callable[[Path, Manifest], T]) -> T:
        while True:
            before = _state(path)
            folder = before[0]
            try:
                return read(folder, self._manifest(folder))
            except CheckpointError:
                # A newer one may have taken its place meanwhile.
                if _state(path) == before:
                    raise

    def _manifest(self, folder: Path) -> Manifest:
        manifest = Manifest.read(folder)
        if manifest.format != self.format:
            raise CheckpointError(
                str(folder), f"it is in the format {manifest.format}, not {self.format}", "Load it with that format."
            )
        return manifest

    def _read_part(self, folder: Path, manifest: Manifest, part: str) -> object:
        manifest.check_tensors(folder, part)
        file = folder / f"{part}.json"
        # Read once: what is checked is what is used, whoever writes meanwhile.
        text = read_bytes(file)
        manifest.files[file.name].check_text(file, text)
        body = parsed(file, text)
        if not is_mapping(body) or not is_mapping(aliases := body.get("aliases")):
            raise damaged(file, "it is no part of a checkpoint")
        tensors = self._read_tensors(folder, part, manifest.parts[part])
        try:
            tensors |= {name: tensors[str(original)] for name, original in aliases.items()}
            return decode(str(file), cast("Json", body.get("state")), tensors)
        except (KeyError, RecursionError) as error:
            raise damaged(file, str(error)) from error


def _checked(part: str) -> str:
    if not PART.fullmatch(part) or f"{part}.json" == NAME:
        raise CheckpointError(
            f"part {part!r}",
            "its name is no file's name",
            "Use lower-case letters, digits and underscores, and not the word manifest.",
        )
    return part


def _encoded(part: str, state: object) -> tuple[bytes, Mapping[str, Tensor]]:
    body, tensors = encode(part, state)
    own, aliases = without_aliases(part, tensors)
    text = json.dumps({"state": body, "aliases": aliases}, allow_nan=False).encode()
    if len(text) > LARGEST_PART:
        raise CheckpointError(
            part,
            f"its JSON would have {len(text):,} bytes, and at most {LARGEST_PART:,} are read",
            "Save it as tensors.",
        )
    if part == MODULE:
        own |= {name: own[first] for name, first in aliases.items()}
    return text, own


def _refuse_others(path: Path, verb: str) -> None:
    """Raise `CheckpointError` if something is at `path` that is not to be lost."""
    if not os.path.lexists(path):
        return
    try:
        # Under the lock no writer is just putting one in the place of another.
        with locked(path.parent):
            lost = os.path.lexists(path) and not calls_itself(path) and not (verb == WRITTEN_OVER and _is_empty(path))
    except OSError as error:
        raise unreadable(path, error) from error
    if lost:
        raise CheckpointError(
            str(path), f"what is there is no checkpoint, and is not {verb}", "Give another path, or remove it by hand."
        )


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not os.listdir(path)


def _state(path: Path) -> State:
    """Where a checkpoint is, and what tells it from one that takes its place.

    Raises:
        CheckpointError: It may not be looked at.
    """
    try:
        folder = settled(path)
        found = stat_of(folder)
    except OSError as error:
        raise unreadable(path, error) from error
    return folder, None if found is None else (found.st_dev, found.st_ino, found.st_mtime_ns)


def describe(path: str | os.PathLike[str]) -> Manifest:
    """What a checkpoint of any format says of itself, without reading its tensors.

    Args:
        path: The folder of the checkpoint.

    Raises:
        CheckpointError: There is none, or its manifest is damaged.
    """
    return Manifest.read(settled(Path(path)))
