"""A checkpoint as a folder: JSON, and a safetensors file for each part with tensors."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from typedloops._core.shapes import is_mapping
from typedloops.checkpoint.durable import settled, written_whole
from typedloops.checkpoint.encoding import Json, decode, encode
from typedloops.checkpoint.manifest import FileRecord, Manifest
from typedloops.checkpoint.tensors import damaged, read_tensors, write_tensors
from typedloops.errors import CheckpointError

PART = re.compile(r"[a-z][a-z0-9_]*")


class FolderFormat:
    """The format of typedloops: a folder with

    ```
    manifest.json            version, checksums
    <part>.json              everything but tensors
    <part>.safetensors       the tensors of the part, each under its place in it
    ```

    `module.safetensors` has a module's weights under their own names, so that
    `module.load_state_dict(safetensors.torch.load_file(...))` reads them.  Nothing is pickled.

    Source: https://huggingface.co/docs/safetensors
    """

    def save(self, path: Path, content: Mapping[str, object]) -> None:
        """Write a checkpoint; see `CheckpointFormat`.

        Raises:
            CheckpointError: Something in it cannot be saved, or nothing can be written there.
        """
        encoded = {part: encode(_checked(part), state) for part, state in content.items()}
        with written_whole(path) as folder:
            files: dict[str, FileRecord] = {}
            for part, (state, tensors) in encoded.items():
                files |= _write_part(folder, part, state, tensors)
            Manifest(files).write(folder)

    def load(self, path: Path) -> dict[str, object]:
        """Read a checkpoint; see `CheckpointFormat`.

        Raises:
            CheckpointError: There is none, or it is not what was written.
        """
        folder = settled(path)
        manifest = Manifest.read(folder)
        manifest.check_sizes(folder)
        parts = [name.removesuffix(".json") for name in manifest.files if name.endswith(".json")]
        return {part: _read_part(folder, part, manifest.files) for part in parts}

    def manifest(self, path: Path) -> Manifest:
        """What a checkpoint says of itself, without reading its tensors."""
        return Manifest.read(settled(path))


def _checked(part: str) -> str:
    if not PART.fullmatch(part):
        raise CheckpointError(
            f"part {part!r}", "its name is no file's name", "Use lower-case letters, digits and underscores."
        )
    return part


def _write_part(folder: Path, part: str, state: Json, tensors: Mapping[str, Tensor]) -> dict[str, FileRecord]:
    own, aliases = _without_aliases(tensors)
    text = json.dumps({"state": state, "aliases": aliases}, allow_nan=False).encode()
    (folder / f"{part}.json").write_bytes(text)
    files = {f"{part}.json": FileRecord(len(text), hashlib.sha256(text).hexdigest())}
    if own:
        file = folder / f"{part}.safetensors"
        records = write_tensors(file, own)
        files[file.name] = FileRecord(file.stat().st_size, tensors=records)
    return files


def _read_part(folder: Path, part: str, files: Mapping[str, FileRecord]) -> object:
    file = folder / f"{part}.json"
    text = file.read_bytes()
    if hashlib.sha256(text).hexdigest() != files[file.name].sha256:
        raise damaged(file, "it is not what was written")
    body: object = json.loads(text)
    if not is_mapping(body) or not is_mapping(aliases := body.get("aliases")):
        raise damaged(file, "it is no part of a checkpoint")
    record = files.get(f"{part}.safetensors")
    tensors = {} if record is None else read_tensors(folder / f"{part}.safetensors", record.tensors)
    tensors |= {name: tensors[str(original)] for name, original in aliases.items()}
    return decode(str(file), cast("Json", body.get("state")), tensors)


def _without_aliases(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors on the CPU, each of its own memory, and for further names of the same tensor the first one."""
    own: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    memories: set[int] = set()
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first = seen.setdefault(place, name) if tensor.numel() else name
        if first != name:
            aliases[name] = first
            continue
        value = tensor.detach().cpu()
        memory = value.untyped_storage()
        # safetensors takes no tensors that overlap, nor parts of larger ones.
        alone = value.is_contiguous() and memory.nbytes() == value.nbytes and memory.data_ptr() not in memories
        own[name] = value if alone else value.clone(memory_format=torch.contiguous_format)
        memories.add(memory.data_ptr())
    return own, aliases
