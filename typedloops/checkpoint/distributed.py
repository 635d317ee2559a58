"""A checkpoint as a folder whose tensors are kept by `torch.distributed.checkpoint`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, final

from torch import Tensor
from typing_extensions import override

from typedloops.checkpoint.layout import Span, spans_of
from typedloops.checkpoint.sealed import Parts, Records, SealedFolder
from typedloops.checkpoint.streams import batches
from typedloops.checkpoint.tensors import (
    Checksums,
    TensorRecord,
    check_checksums,
    check_spans,
    damaged,
    empty,
    opened,
    unreadable,
)
from typedloops.checkpoint.threads import THREADS
from typedloops.errors import MissingExtraError

SUFFIX = ".safetensors"


@final
class DistributedFormat(SealedFolder):
    """The format of `torch.distributed.checkpoint`, in its storage for Hugging Face: a folder with

    ```
    manifest.json                        version, checksums
    <part>.json                          everything but tensors
    model-00001-of-00001.safetensors     the tensors of all parts, as <part>.<place>
    model.safetensors.index.json         which tensor is in which file
    ```

    `torch.distributed.checkpoint` reads it with its `HuggingFaceStorageReader`.  Nothing is pickled:
    the default storage of `torch.distributed.checkpoint` keeps its `.metadata` as a pickle, and is
    neither written nor read here.  One process writes and reads it, without a process group.

    Raises:
        MissingExtraError: This torch has no such storage.

    Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
    """

    format: ClassVar[str] = "typedloops.distributed"

    def __init__(self) -> None:
        # Looked for here, not at the top: importing it takes longer than all of this library.
        if find_spec("torch.distributed.checkpoint.hf_storage") is None:
            raise MissingExtraError(
                "DistributedFormat",
                "this torch keeps no distributed checkpoints without pickles",
                "Install a later torch, or use the FolderFormat.",
            )

    @override
    def _write_tensors(self, folder: Path, parts: Parts) -> Records:
        named = {_joined(part, name): tensor for part, own in parts.items() for name, tensor in own.items()}
        if named:
            _save(folder, _alone(named))
        sums = _checksums(named)
        return {
            part: {name: TensorRecord.of(tensor, sums[_joined(part, name)]) for name, tensor in own.items()}
            for part, own in parts.items()
        }

    @override
    def _read_tensors(self, folder: Path, part: str, records: Mapping[str, TensorRecord]) -> dict[str, Tensor]:
        if not records:
            return {}
        named = {_joined(part, name): record for name, record in records.items()}
        spans = {name: span for name, span in _spans(folder).items() if name.startswith(_joined(part, ""))}
        check_spans(folder, spans, named)
        try:
            tensors = {name: empty(span.shape, span.dtype) for name, span in spans.items()}
            _load(folder, tensors)
        except Exception as error:  # torch raises now this, now that
            raise damaged(folder, str(error)) from error
        check_checksums(folder, _checksums(tensors), named)
        return {name: tensors[_joined(part, name)] for name in records}


# torch's `save` and `load` warn each time that there is no process group, and what they do without
# one is this.


def _save(folder: Path, tensors: dict[str, Tensor]) -> None:
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    writer = HuggingFaceStorageWriter(str(folder))
    planner = DefaultSavePlanner(flatten_state_dict=False)
    writer.set_up_storage_writer(is_coordinator=True)
    planner.set_up_planner(tensors, is_coordinator=True)  # pyright: ignore[reportUnknownMemberType]  # torch says no more
    plans, metadata = planner.create_global_plan([writer.prepare_local_plan(planner.create_local_plan())])
    plan = planner.finish_plan(writer.prepare_global_plan(plans)[0])
    writer.finish(metadata, [writer.write_data(plan, planner).wait()])


def _load(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill `tensors`."""
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    reader = HuggingFaceStorageReader(str(folder))
    planner = DefaultLoadPlanner(flatten_state_dict=False)
    metadata = reader.read_metadata()
    planner.set_up_planner(tensors, metadata, is_coordinator=True)  # pyright: ignore[reportUnknownMemberType]  # nor here
    reader.set_up_storage_reader(metadata, is_coordinator=True)
    plans = planner.create_global_plan([reader.prepare_local_plan(planner.create_local_plan())])
    reader.read_data(planner.finish_plan(reader.prepare_global_plan(plans)[0]), planner).wait()


def _joined(part: str, name: str) -> str:
    # A part's name has no dot in it.
    return f"{part}.{name}"


def _alone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: none is in the memory of another, or in a larger one."""
    alone: dict[str, Tensor] = {}
    memories: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage()
        shared = memory.nbytes() != tensor.nbytes or memory.data_ptr() in memories
        alone[name] = tensor.clone() if shared else tensor
        memories.add(memory.data_ptr())
    return alone


def _checksums(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    with Checksums(THREADS) as checksums:
        for batch in batches(tensors):
            checksums.put(batch)
    return checksums.by_name


def _spans(folder: Path) -> dict[str, Span]:
    """The tensors of the one file that there may be; torch's reader reads whatever it finds."""
    try:
        files = [file for file in folder.iterdir() if file.name.endswith(SUFFIX)]
    except OSError as error:
        raise unreadable(folder, error) from error
    if len(files) != 1:
        raise damaged(folder, f"it has {len(files)} files of tensors, not one")
    with opened(files[0]) as stream:
        return spans_of(stream, os.fstat(stream.fileno()).st_size)
