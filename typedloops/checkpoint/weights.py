"""The weights of a module alone, from whatever they were saved in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Final, cast

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from typedloops._core.shapes import is_mapping
from typedloops.checkpoint.distributed import DistributedFormat
from typedloops.checkpoint.folder import FolderFormat
from typedloops.checkpoint.sealed import MODULE, describe
from typedloops.checkpoint.tensors import opened, read_file, size_of
from typedloops.errors import CheckpointError

ZIP: Final = b"PK\x03\x04"
PICKLE: Final = b"\x80"
MANY: Final = 20
"""More names than an error should tell."""

EXTRA: Final = "_extra_state"
"""The last part of the name by which torch keeps what a module adds to its weights."""

STATE_DICT: Final = "state_dict"
"""Where Lightning keeps the weights."""

SAFE: Final = "2.6"
"""The first torch whose `weights_only=True` is known to run nothing (CVE-2025-32434)."""


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the weights of a module, for its `load_state_dict`.

    What modules add to their weights by `get_extra_state` is left out where it is no tensor, and then
    `load_state_dict(weights, strict=False)` does not ask for it.

    Args:
        path: A checkpoint of typedloops, a safetensors file, a checkpoint of Lightning, or what
            `torch.save` made of a `state_dict`; what it is, is seen from its content.

    Raises:
        CheckpointError: There is nothing, it is none of these, or it could only be read by
            running what is in it.
    """
    place = Path(path)
    if place.is_dir():
        return _weights(place, _of_folder(place))
    if size_of(place.resolve()) is None:
        raise CheckpointError(str(place), "there is nothing", "Give a checkpoint or a file of weights.")
    return _weights(place, _of_file(place.resolve()))


def _of_folder(folder: Path) -> object:
    form = FolderFormat() if describe(folder).format == FolderFormat.format else DistributedFormat()
    return form.load_part(folder, MODULE)


def _of_file(file: Path) -> object:
    with opened(file) as stream:
        start = stream.read(9)
    if start.startswith((ZIP, PICKLE)):
        state = _unpickled(file, mmap=start.startswith(ZIP))
        return state[STATE_DICT] if is_mapping(state) and STATE_DICT in state else state
    if start[8:] == b"{":
        return read_file(file)
    raise CheckpointError(
        str(file),
        "it is neither a safetensors file nor one that torch.save made",
        "Give a checkpoint of typedloops or of Lightning, or a file of weights.",
    )


def _unpickled(file: Path, mmap: bool) -> object:
    if TorchVersion(torch.__version__) < SAFE:
        raise CheckpointError(
            str(file),
            f"with torch {torch.__version__} a file made by torch.save may run code when it is read",
            "Install torch 2.6 or later, or save the weights with safetensors.",
        )
    try:
        # Mapped, so that the states of optimizers are left on the disk; but not by a name that
        # makes torch take it for another kind of file.
        if mmap and file.suffix != ".safetensors":
            return _load(file, mmap=True)
        with opened(file) as stream:
            return _load(stream, mmap=False)
    except UnpicklingError as error:
        raise _refused(file, str(error)) from error
    except Exception as error:  # torch raises now this, now that
        raise CheckpointError(str(file), f"it is damaged: {_first_line(error)}", "Give another file.") from error


def _load(source: Path | FileIO, mmap: bool) -> object:
    state: object = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    return state


def _refused(file: Path, told: str) -> CheckpointError:
    found = re.search(r"GLOBAL ([\w.]+)", told)
    if found is None:
        return CheckpointError(str(file), "it is damaged, or no weights are in it", "Give another file.")
    name = found[1]
    return CheckpointError(
        str(file),
        f"a {name} is in it, which is made by running what the file says, so it is not read",
        f"If you trust the file, call torch.serialization.add_safe_globals([{name}]) before; "
        "or load it with torch.load(..., weights_only=False) and save its state_dict() alone.",
    )


def _weights(path: Path, state: object) -> dict[str, Tensor]:
    if not is_mapping(state):
        raise CheckpointError(
            str(path), f"a {type(state).__qualname__} is in it, not the weights of a module", "Save a state_dict()."
        )
    pairs = cast("Mapping[object, object]", state)
    weights = {name: value for name, value in pairs.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if others := [name for name in pairs if name not in weights and not _is_extra(name)]:
        raise CheckpointError(
            str(path),
            f"not only weights are in it, {others[0]!r} is a {type(pairs[others[0]]).__qualname__}",
            f"Load it with torch.load(..., weights_only=True) and take what you need of: {', '.join(map(repr, pairs))}."
            if len(pairs) < MANY
            else "Save a state_dict() of tensors alone.",
        )
    return weights


def _is_extra(name: object) -> bool:
    """Whether `get_extra_state` gave what goes by this name."""
    return isinstance(name, str) and name.rpartition(".")[2] == EXTRA


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__qualname__
