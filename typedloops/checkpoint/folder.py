"""A checkpoint as a folder: JSON, and a safetensors file for each part with tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, final

from torch import Tensor
from typing_extensions import override

from typedloops.checkpoint.sealed import Parts, Records, SealedFolder
from typedloops.checkpoint.tensors import TensorRecord, read_tensors, write_tensors


@final
class FolderFormat(SealedFolder):
    """The format of typedloops: a folder with

    ```
    manifest.json            version, checksums
    <part>.json              everything but tensors
    <part>.safetensors       the tensors of the part, each under its place in it
    ```

    `module.safetensors` has a module's weights under their own names, so that
    `module.load_state_dict(safetensors.torch.load_file(...))` reads them; tied weights are in it
    under every name.  Nothing is pickled.

    Source: https://huggingface.co/docs/safetensors
    """

    format: ClassVar[str] = "typedloops"

    @override
    def _write_tensors(self, folder: Path, parts: Parts) -> Records:
        return {part: write_tensors(_file(folder, part), own) if own else {} for part, own in parts.items()}

    @override
    def _read_tensors(self, folder: Path, part: str, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
        return read_tensors(_file(folder, part), records) if records else {}


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.safetensors"
