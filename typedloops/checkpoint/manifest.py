"""What a checkpoint says of itself: its version, and what each of its files must turn out to be."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from typing_extensions import Self

from typedloops._core.shapes import is_mapping
from typedloops.checkpoint.layout import header_in
from typedloops.checkpoint.tensors import TensorRecord, damaged, opened, size_of
from typedloops.errors import CheckpointError

VERSION: Final = 1
NAME: Final = "manifest.json"
LARGEST: Final = 2**26
"""No honest manifest has so many bytes."""
LARGEST_PART: Final = 2**30
"""Nor has the file of a part, which is JSON."""
FORMATS: Final = ("typedloops", "typedloops.distributed")
SHOWN: Final = 4
"""How many tensors of a part `str` shows."""


@dataclass(frozen=True)
class FileRecord:
    """What a file must turn out to be.

    Args:
        size: Its bytes.
        sha256: The checksum of its JSON: of all of it, or of the header if it has tensors, which have their own.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Self:
        """What a file is.

        Raises:
            CheckpointError: It is not there, or is not what its name says.
        """
        size = size_of(file)
        if size is None:
            raise damaged(file, "it is not there, or no file")
        return cls(size, hashlib.sha256(_text_of(file, size)).hexdigest())

    def to_json(self) -> dict[str, object]:
        return {"size": self.size, "sha256": self.sha256}

    def check(self, file: Path) -> None:
        """Raise `CheckpointError` unless a file is what it must be; its tensors are not looked at."""
        self._check_size(file, size_of(file))
        if self.of(file) != self:
            raise damaged(file, "it is not what was written")

    def check_text(self, file: Path, text: bytes) -> None:
        """Raise `CheckpointError` unless the text of a file is what it must be."""
        self._check_size(file, len(text))
        if hashlib.sha256(text).hexdigest() != self.sha256:
            raise damaged(file, "it is not what was written")

    def _check_size(self, file: Path, size: int | None) -> None:
        if size is not None and size != self.size:
            raise damaged(file, f"it has {size} bytes, not {self.size}")

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Raises ValueError unless `value` is a record."""
        if not is_mapping(value) or set(value) != {"size", "sha256"}:
            raise ValueError("a file's record is none")
        size, sha256 = value["size"], value["sha256"]
        if not isinstance(size, int) or not isinstance(sha256, str):
            raise ValueError("a file's record is none")
        return cls(size, sha256)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself; `str` of it is for people, and `details` has every tensor.

    Args:
        files: What each file must turn out to be.
        parts: For each part its tensors by name.
        format: Which format it is in.
        created: When it was made, in UTC.
        version: That of the format.
    """

    files: Mapping[str, FileRecord]
    parts: Mapping[str, Mapping[str, TensorRecord]]
    format: str = FORMATS[0]
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: int = VERSION

    def write(self, folder: Path) -> None:
        """Write it as the last file of a checkpoint.

        Raises:
            CheckpointError: It would be larger than any that is read.
        """
        body = {
            "format": self.format,
            "version": self.version,
            "created": self.created,
            "files": {name: record.to_json() for name, record in self.files.items()},
            "parts": {
                part: {name: record.to_json() for name, record in tensors.items()}
                for part, tensors in self.parts.items()
            },
        }
        text = json.dumps({**body, "sha256": _seal(body)}, indent=1).encode()
        if len(text) > LARGEST:
            raise CheckpointError(
                str(folder), f"its manifest would have {len(text):,} bytes", "Save fewer and larger tensors."
            )
        (folder / NAME).write_bytes(text)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a checkpoint.

        Raises:
            CheckpointError: There is none, it is damaged, or it is of a later version.
        """
        file = folder / NAME
        size = size_of(file)
        if size is None:
            raise _none(folder)
        if size > LARGEST:
            raise damaged(file, "it is larger than any manifest")
        body = parsed(file, read_bytes(file))
        if not is_mapping(body) or body.get("format") not in FORMATS:
            raise damaged(file, "it is no manifest of typedloops")
        seal = {name: value for name, value in body.items() if name != "sha256"}
        if body.get("sha256") != _seal(seal):
            raise damaged(file, "it is not what was written")
        return cls._of(folder, body)

    @classmethod
    def _of(cls, folder: Path, body: Mapping[str, object]) -> Self:
        version = body.get("version")
        if not isinstance(version, int) or version > VERSION:
            raise CheckpointError(
                str(folder),
                f"it has version {version} of the format, this release reads up to {VERSION}",
                "Load it with the release that saved it, or a newer one.",
            )
        try:
            files = {name: FileRecord.from_json(record) for name, record in _mapping(body.get("files")).items()}
            parts = {
                part: {name: TensorRecord.from_json(record) for name, record in _mapping(tensors).items()}
                for part, tensors in _mapping(body.get("parts")).items()
            }
        except ValueError as error:
            raise damaged(folder / NAME, str(error)) from error
        if strange := [name for name in files if not _is_in_folder(name)]:
            raise damaged(folder / NAME, f"it names the file {strange[0]!r}, which is not in its folder")
        if lacking := [part for part in parts if f"{part}.json" not in files]:
            raise damaged(folder / NAME, f"it has no file for the part {lacking[0]!r}")
        return cls(files, parts, str(body["format"]), str(body.get("created")), version)

    def check_tensors(self, folder: Path, part: str) -> None:
        """Raise `CheckpointError` unless the files that a part's tensors may be in are what they must be."""
        others = {f"{other}.{kind}" for other in self.parts for kind in ("json", "safetensors")}
        for name, record in self.files.items():
            if name not in others - {f"{part}.safetensors"}:
                record.check(folder / name)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(record.size for record in self.files.values())

    def __str__(self) -> str:
        return "\n".join(self._lines(SHOWN))

    def details(self) -> str:
        """What `str` tells, with every tensor."""
        return "\n".join(self._lines(None))

    def _lines(self, shown: int | None) -> Iterator[str]:
        yield (
            f"checkpoint of typedloops, format {self.format} version {self.version}, "
            f"{self.created}, {readable(self.size)}"
        )
        for part, tensors in self.parts.items():
            nbytes = sum(record.nbytes for record in tensors.values())
            plural = "tensor" if len(tensors) == 1 else "tensors"
            count = f", {len(tensors):,} {plural} of {readable(nbytes)}" if tensors else ""
            yield f"{part}: {readable(self.files[f'{part}.json'].size)} of JSON{count}"
            for name, record in list(tensors.items())[:shown]:
                yield f"  {name}: {record.dtype} {list(record.shape)}"
            if shown is not None and len(tensors) > shown:
                yield f"  and {len(tensors) - shown:,} more (details() has all)"


def _none(folder: Path) -> CheckpointError:
    """What is wrong with a place where there is no checkpoint."""
    if folder.is_file():
        problem, remedy = "it is a file, and a checkpoint is a folder", "Weights in a file: `load_weights(path)`."
    elif not folder.exists():
        problem, remedy = "there is nothing", "Give the folder that was saved."
    else:
        inside = sorted(each.name for each in folder.iterdir() if (each / NAME).is_file() and each.name[0] != ".")
        problem = f"there is no checkpoint: it has no {NAME}"
        remedy = f"Give one of those in it: {', '.join(inside[:5])}." if inside else "Give the folder that was saved."
    return CheckpointError(str(folder), problem, remedy)


def readable(nbytes: int) -> str:
    """A number of bytes for people."""
    size = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{nbytes} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def calls_itself(folder: Path) -> str | None:
    """The format that a folder claims to be in; a damaged checkpoint still does, as long as its manifest begins."""
    try:
        with opened(folder / NAME) as stream:
            found = re.match(rb'\{\s*"format":\s*"([a-z.]+)"', stream.read(100))
    except CheckpointError:
        return None
    claimed = found and found[1].decode()
    return claimed if claimed in FORMATS else None


def _text_of(file: Path, size: int) -> bytes:
    if file.suffix == ".json":
        return read_bytes(file)
    with opened(file) as stream:
        return header_in(stream, size)


def read_bytes(file: Path) -> bytes:
    """What is in a file that is not large.

    Raises:
        CheckpointError: It cannot be read.
    """
    size = size_of(file)
    if size is not None and size > LARGEST_PART:
        raise damaged(file, f"it has {size:,} bytes, and no file of its kind has more than {LARGEST_PART:,}")
    with opened(file) as stream:
        return stream.readall()


def parsed(file: Path, text: bytes) -> object:
    """What JSON says.

    Raises:
        CheckpointError: It says nothing that this program could have written.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from error


def _seal(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _mapping(value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise ValueError("what should be a mapping is none")
    return value


def _is_in_folder(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is not None
