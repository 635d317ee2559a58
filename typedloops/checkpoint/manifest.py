"""What a checkpoint says of itself: its version, and what each of its files must turn out to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from typing_extensions import Self

from typedloops._core.shapes import is_mapping
from typedloops.checkpoint.tensors import TensorRecord, damaged
from typedloops.errors import CheckpointError

VERSION: Final = 1
NAME: Final = "manifest.json"
LARGEST: Final = 2**26
"""No honest manifest has so many bytes."""


@dataclass(frozen=True)
class FileRecord:
    """What a file must turn out to be.

    Args:
        size: Its bytes.
        sha256: The checksum of a file of JSON, or None for tensors, which have their own.
        tensors: The tensors in it by name.
    """

    size: int
    sha256: str | None = None
    tensors: Mapping[str, TensorRecord] = field(default_factory=dict[str, TensorRecord])

    def to_json(self) -> dict[str, object]:
        tensors = {name: record.to_json() for name, record in self.tensors.items()}
        return {"size": self.size, "sha256": self.sha256, "tensors": tensors}

    @classmethod
    def from_json(cls, value: object) -> Self:
        if not is_mapping(value) or set(value) != {"size", "sha256", "tensors"} or not is_mapping(value["tensors"]):
            raise ValueError("a file's record is none")
        size, sha256 = value["size"], value["sha256"]
        if not isinstance(size, int) or not isinstance(sha256, str | None):
            raise ValueError("a file's record is none")
        tensors = {str(name): TensorRecord.from_json(record) for name, record in value["tensors"].items()}
        return cls(size, sha256, tensors)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself; `str` of it is for people.

    Args:
        files: What each file must turn out to be.
        created: When it was made, in UTC.
        version: That of the format.
    """

    files: Mapping[str, FileRecord]
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: int = VERSION

    def write(self, folder: Path) -> None:
        body = {
            "format": "typedloops",
            "version": self.version,
            "created": self.created,
            "files": {name: record.to_json() for name, record in self.files.items()},
        }
        text = json.dumps({**body, "sha256": _seal(body)}, indent=1)
        (folder / NAME).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a checkpoint.

        Raises:
            CheckpointError: There is none, it is damaged, or it is of a later version.
        """
        file = folder / NAME
        try:
            if file.stat().st_size > LARGEST:
                raise damaged(file, "it is larger than any manifest")
            body: object = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(
                str(folder), f"there is no checkpoint: it has no {NAME}", "Give the folder that was saved."
            ) from error
        except (OSError, ValueError) as error:
            raise damaged(file, str(error)) from error
        if not is_mapping(body) or body.get("format") != "typedloops":
            raise damaged(file, "it is no manifest of typedloops")
        seal = {name: value for name, value in body.items() if name != "sha256"}
        if body.get("sha256") != _seal(seal):
            raise damaged(file, "it is not what was written")
        return cls._of(folder, body)

    @classmethod
    def _of(cls, folder: Path, body: Mapping[str, object]) -> Self:
        version, files = body["version"], body["files"]
        if not isinstance(version, int) or version > VERSION:
            raise CheckpointError(
                str(folder),
                f"it has version {version} of the format, this release reads up to {VERSION}",
                "Load it with the release that saved it, or a newer one.",
            )
        try:
            records = {str(name): FileRecord.from_json(record) for name, record in _mapping(files).items()}
        except ValueError as error:
            raise damaged(folder / NAME, str(error)) from error
        if strange := [name for name in records if Path(name).name != name or name.startswith(".")]:
            raise damaged(folder / NAME, f"it names the file {strange[0]!r}, which is not in its folder")
        return cls(records, str(body["created"]), version)

    def check_sizes(self, folder: Path) -> None:
        """Raise `CheckpointError` unless each file is there with its number of bytes."""
        for name, record in self.files.items():
            file = folder / name
            size = file.stat().st_size if file.is_file() else None
            if size is None:
                raise damaged(file, "it is not there")
            if size != record.size:
                raise damaged(file, f"it has {size} bytes, not {record.size}")

    def __str__(self) -> str:
        lines = [f"checkpoint of typedloops, version {self.version}, {self.created}"]
        for name, record in self.files.items():
            lines.append(f"{name}: {record.size:,} bytes")
            lines += (
                f"  {tensor}: {found.dtype} {list(found.shape)}" for tensor, found in sorted(record.tensors.items())
            )
        return "\n".join(lines)


def _seal(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _mapping(value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise ValueError("its files are no mapping")
    return value
