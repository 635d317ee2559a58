"""A checkpoint in the format of typedloops, as other programs and people see it."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.checkpoint.contents import CONTENT, NEWER, same, tensors
from typedloops.checkpoint import FolderFormat, Manifest, describe, streams
from typedloops.checkpoint.layout import CODES
from typedloops.checkpoint.manifest import FileRecord
from typedloops.checkpoint.streams import AT_ONCE, BATCH
from typedloops.checkpoint.tensors import LOCKED, SMALL, TensorRecord, checksum, read_tensors, write_tensors
from typedloops.errors import CheckpointError

FORMAT = FolderFormat()


def test_weights_are_read_by_safetensors_alone(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    FORMAT.save(tmp_path / "a.ckpt", {"module": model.state_dict()})
    other.load_state_dict(load_file(tmp_path / "a.ckpt" / "module.safetensors"))
    assert same(list(model.state_dict().values()), list(other.state_dict().values()))


class Tied(nn.Module):
    """The weights of its last layer are those of its first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)
        self.head = nn.Linear(8, 30, bias=False)
        self.head.weight = self.embedding.weight


def test_tied_weights_are_there_under_every_name(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    FORMAT.save(tmp_path / "a.ckpt", {"module": model.state_dict(), "ema": {"shadow": model.state_dict()}})
    other.load_state_dict(load_file(tmp_path / "a.ckpt" / "module.safetensors"))
    assert torch.equal(other.head.weight, model.embedding.weight)
    assert other.head.weight is other.embedding.weight
    # Where nobody else reads, once is enough.
    assert list(load_file(tmp_path / "a.ckpt" / "ema.safetensors")) == ["shadow/embedding.weight"]


same_bytes = st.dictionaries(st.text(min_size=1, max_size=6).filter(lambda name: name != "__metadata__"), tensors)


@given(content=same_bytes)
@settings(max_examples=100, deadline=None)
def test_files_are_those_of_the_library(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Tensor]) -> None:
    folder = tmp_path_factory.mktemp("files")
    ours, theirs = folder / "ours", folder / "theirs"
    records = write_tensors(ours, content)
    assert same(dict(sorted(load_file(ours).items())), dict(sorted(content.items())))
    save_file(content, theirs, metadata={"format": "pt"})
    assert same(read_tensors(theirs, records), content)


def test_tensors_lie_at_multiples_of_their_width(tmp_path: Path) -> None:
    content = {str(dtype): torch.zeros(3, dtype=dtype) for dtype in CODES}
    write_tensors(tmp_path / "a", content)
    with safe_open(tmp_path / "a", framework="pt") as file:
        for name, dtype in zip(content, CODES, strict=True):
            tensor: Tensor = file.get_tensor(name)
            assert tensor.data_ptr() % dtype.itemsize == 0


def test_what_is_loaded_is_in_memory_of_its_own(tmp_path: Path) -> None:
    """A model goes on when the checkpoint that it came from is gone, or is changed."""
    FORMAT.save(tmp_path / "a.ckpt", CONTENT)
    loaded = FORMAT.load(tmp_path / "a.ckpt")
    with (tmp_path / "a.ckpt" / "module.safetensors").open("r+b") as file:
        file.truncate(0)
    assert same(loaded, CONTENT)


def test_a_manifest_for_people(tmp_path: Path) -> None:
    manifest = Manifest(
        {
            "module.json": FileRecord(1200, ""),
            "module.safetensors": FileRecord(10**10, ""),
            "loops.json": FileRecord(7, ""),
        },
        {"module": {f"w{i}": TensorRecord("bfloat16", (10**6, 50 * (i + 1)), 0) for i in range(6)}, "loops": {}},
        created="2026-01-02T03:04:05+00:00",
    )
    assert str(manifest) == (
        "checkpoint of typedloops, format typedloops version 1, 2026-01-02T03:04:05+00:00, 10.0 GB\n"
        "module: 1.2 kB of JSON, 6 tensors of 2.1 GB\n"
        "  w0: bfloat16 [1000000, 50]\n"
        "  w1: bfloat16 [1000000, 100]\n"
        "  w2: bfloat16 [1000000, 150]\n"
        "  w3: bfloat16 [1000000, 200]\n"
        "  and 2 more (details() has all)\n"
        "loops: 7 B of JSON"
    )
    assert "\n  w5: bfloat16 [1000000, 300]\n" in manifest.details()


def test_one_tensor_is_no_plural(tmp_path: Path) -> None:
    FORMAT.save(tmp_path / "a.ckpt", NEWER)
    assert "1 tensor of 8 B\n" in str(describe(tmp_path / "a.ckpt"))


def test_a_checksum_is_the_usual_one() -> None:
    assert checksum(torch.tensor(list(b"123456789"), dtype=torch.uint8)) == 0xCBF43926
    assert checksum(torch.empty(0)) == 0


def test_many_small_tensors_and_checksums_in_pieces(tmp_path: Path) -> None:
    """Of every size about which something is decided."""
    sizes = [0, 1, LOCKED - 1, LOCKED, LOCKED + 1, SMALL - 1, SMALL, SMALL + 1, BATCH, BATCH + 3, *range(3 * AT_ONCE)]
    content = {str(n): torch.randint(0, 256, (size,), dtype=torch.uint8) for n, size in enumerate(sizes)}
    records = write_tensors(tmp_path / "a", content)
    assert all(records[name].crc32 == zlib.crc32(bytes(tensor.tolist())) for name, tensor in content.items())
    assert all(torch.equal(tensor, content[name]) for name, tensor in read_tensors(tmp_path / "a", records).items())
    assert load_file(tmp_path / "a").keys() == content.keys()


@pytest.mark.parametrize("most", [1, 7, 4096])
@pytest.mark.parametrize("vectors", [True, False])
def test_a_system_that_does_less_than_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, vectors: bool
) -> None:
    """It writes and reads some bytes at a time; or has no calls for several pieces at once."""
    content = {str(size): torch.randint(0, 256, (size,), dtype=torch.uint8) for size in (0, 5, 0, 20, 300)}
    if vectors:
        writev, readv = os.writev, os.readv
        monkeypatch.setattr(os, "writev", lambda fd, pieces: writev(fd, [pieces[0][:most]]))
        monkeypatch.setattr(os, "readv", lambda fd, pieces: readv(fd, [pieces[0][:most]]))
    else:
        monkeypatch.delattr(os, "writev")
        monkeypatch.delattr(os, "readv")
    records = write_tensors(tmp_path / "a", content)
    assert same(read_tensors(tmp_path / "a", records), content)


def test_an_error_of_the_disk_while_there_is_more_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells of it once."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.setattr(streams, "FLUSH", 1000)
    with pytest.raises(CheckpointError, match=r"it cannot be written: \[Errno 5\] Input/output error"):
        FORMAT.save(tmp_path / "a.ckpt", CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_of_a_place_without_a_checkpoint(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(CheckpointError) as error:
            FORMAT.load(path)
        return str(error.value)

    (tmp_path / "weights.ckpt").touch()
    (tmp_path / "runs").mkdir()
    assert told(tmp_path / "nope") == f"{tmp_path / 'nope'}: there is nothing. Give the folder that was saved."
    assert told(tmp_path / "weights.ckpt") == (
        f"{tmp_path / 'weights.ckpt'}: it is a file, and a checkpoint is a folder. Weights in a file: "
        "`load_weights(path)`."
    )
    where = f"{tmp_path / 'runs'}: there is no checkpoint: it has no manifest.json."
    assert told(tmp_path / "runs") == f"{where} Give the folder that was saved."
    for name in ("last", "epoch=1"):
        FORMAT.save(tmp_path / "runs" / name, {"about": {"version": 1}})
    assert told(tmp_path / "runs") == f"{where} Give one of those in it: epoch=1, last."
