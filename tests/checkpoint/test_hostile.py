"""Checkpoints that somebody made on purpose: nothing of them is run, and no memory is taken for what they claim."""

from __future__ import annotations

import hashlib
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint.contents import CONTENT, same
from typedloops.checkpoint import DistributedFormat, manifest
from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat

Object = dict[str, Any]


def forge(saved: Path, change: Callable[[Object], object]) -> None:
    """Change the manifest, seal and all."""
    body = json.loads((saved / "manifest.json").read_text())
    del body["sha256"]
    change(body)
    body["sha256"] = vars(manifest)["_seal"](body)
    (saved / "manifest.json").write_text(json.dumps(body))


def forge_json(saved: Path, name: str, text: bytes) -> None:
    """Put other JSON in the place of a file, and into the manifest."""
    (saved / name).write_bytes(text)
    record = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    forge(saved, lambda body: body["files"].update({name: record}))


def tensor_file(saved: Path) -> Path:
    (file,) = saved.glob("*.safetensors")
    return file


def forge_header(saved: Path, change: Callable[[Object], object]) -> None:
    """Change the header of the tensors, and what the manifest says of the file."""
    file = tensor_file(saved)
    whole = file.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + whole[end:])
    record = {"size": file.stat().st_size, "sha256": hashlib.sha256(text).hexdigest()}
    forge(saved, lambda body: body["files"].update({file.name: record}))


def weight(entries: Object) -> Object:
    """What a header or a manifest says of the module's weight."""
    return next(entries[name] for name in ("weight", "module.weight") if name in entries)


def refused(form: CheckpointFormat, saved: Path, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message):
            form.load(saved)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_file_elsewhere(form: CheckpointFormat, saved: Path) -> None:
    for name in ("../../etc/passwd.json", "/etc/passwd", "a/b.json", "..", "a\\b.json", "c:x.json", ""):
        whole = (saved / "manifest.json").read_bytes()
        forge(saved, lambda body, name=name: body["files"].update({name: body["files"]["loops.json"]}))  # type: ignore[misc]
        refused(form, saved, "which is not in its folder")
        (saved / "manifest.json").write_bytes(whole)


def test_a_later_version(form: CheckpointFormat, saved: Path) -> None:
    forge(saved, lambda body: body.update(version=99))
    with pytest.raises(CheckpointError) as told:
        form.load(saved)
    assert str(told.value) == (
        f"{saved}: it has version 99 of the format, this release reads up to 1. "
        "Load it with the release that saved it, or a newer one."
    )


@pytest.mark.parametrize("key", ["version", "files", "parts", "format"])
@pytest.mark.parametrize("value", [None, [], {"a": 1}, "x", {"module": {"weight": {"dtype": "float32"}}}])
def test_a_manifest_of_something_else(form: CheckpointFormat, saved: Path, key: str, value: object) -> None:
    forge(saved, lambda body: body.update({key: value}))
    refused(form, saved, "damaged|it has version")


def test_an_absurd_manifest_is_not_read(form: CheckpointFormat, saved: Path) -> None:
    with (saved / "manifest.json").open("r+b") as file:
        file.truncate(2**40)
    refused(form, saved, "larger than any manifest")


def test_an_absurd_part_is_not_read(form: CheckpointFormat, saved: Path) -> None:
    with (saved / "loops.json").open("r+b") as file:
        file.truncate(2**40)
    forge(saved, lambda body: body["files"]["loops.json"].update(size=2**40))
    refused(form, saved, r"it has 1,099,511,627,776 bytes, and no file of its kind has more than 1,073,741,824")


@pytest.mark.parametrize("name", ["manifest.json", "loops.json"])
def test_json_of_any_depth(form: CheckpointFormat, saved: Path, name: str) -> None:
    text = b"[" * 200_000 + b"]" * 200_000
    if name == "manifest.json":
        (saved / name).write_bytes(text)
    else:
        forge_json(saved, name, text)
    refused(form, saved, "it is damaged: maximum recursion depth exceeded")


@pytest.mark.parametrize(
    "state",
    [
        {"$": "code"},
        {"$": ["float"]},
        {"$": "float", "value": "x"},
        {"$": "int", "value": "x"},
        {"$": "bytes", "value": "?"},
        {"$": "tensor", "name": "elsewhere"},
        {"$": "tuple", "items": 3},
        {"$": "mapping", "items": [[1]]},
        {"$": "mapping", "items": [[[], 1]]},
        {"$": "tensor"},
    ],
)
def test_states_that_nobody_wrote(form: CheckpointFormat, saved: Path, state: object) -> None:
    forge_json(saved, "loops.json", json.dumps({"state": [state], "aliases": {}}).encode())
    refused(form, saved, "damaged or of a later version")


@pytest.mark.parametrize("body", [[], {}, {"aliases": []}, {"state": 1, "aliases": {"a": "nothing"}}])
def test_parts_that_nobody_wrote(form: CheckpointFormat, saved: Path, body: object) -> None:
    forge_json(saved, "loops.json", json.dumps(body).encode())
    refused(form, saved, "it is damaged")


def test_a_number_of_many_digits(form: CheckpointFormat, saved: Path) -> None:
    forge_json(saved, "loops.json", b'{"aliases": {}, "state": ' + b"9" * 10**6 + b"}")
    refused(form, saved, "it is damaged: Exceeds the limit")


def test_a_header_longer_than_the_file(form: CheckpointFormat, saved: Path) -> None:
    for length in (10**15, 2**64 - 1, tensor_file(saved).stat().st_size - 7):
        with tensor_file(saved).open("r+b") as file:
            file.write(length.to_bytes(8, "little"))
        refused(form, saved, f"its header claims {length:,} bytes")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [10**15]}, "claims a shape of 1,000,000,000,000,000 numbers and 12,000 bytes"),
        ({"shape": [2**62, 2**62]}, "claims a shape of .* numbers and 12,000 bytes"),
        ({"shape": [-3000]}, "no place for the tensor"),
        ({"shape": [1.5]}, "no place for the tensor"),
        ({"shape": 3000}, "no place for the tensor"),
        ({"shape": [True] * 9}, "claims a shape|not what was written"),
        ({"dtype": "F1"}, "no place for the tensor"),
        ({"dtype": ["F32"]}, "no place for the tensor"),
        ({"data_offsets": [0, 2**60], "shape": [2**58]}, "is not where the one before it ends|end at byte"),
        ({"data_offsets": [-12_000, 0]}, "no place for the tensor"),
        ({"data_offsets": [4, 12_004]}, "is not where the one before it ends|end at byte"),
        ({"data_offsets": [0]}, "no place for the tensor"),
        ({"data_offsets": None}, "no place for the tensor"),
        ({"shape": [1500, 2]}, "not what was written"),
    ],
)
def test_a_header_that_claims_too_much(form: CheckpointFormat, saved: Path, change: Object, message: str) -> None:
    forge_header(saved, lambda header: weight(header).update(change))
    refused(form, saved, message)


def test_a_header_and_a_manifest_that_claim_too_much(form: CheckpointFormat, saved: Path) -> None:
    """The file has holes, so that it is as long as it says, and there is no such memory."""
    size = 2**43
    order = [entry["data_offsets"] for entry in [{"data_offsets": [0, size]}, {"data_offsets": [size, size + 20]}]]

    def change(header: Object) -> None:
        for name, entry in header.items():
            if name.endswith("weight"):
                entry.update(shape=[size // 4], data_offsets=order[0])
            elif name.endswith("bias"):
                entry.update(data_offsets=order[1])

    forge_header(saved, change)
    file = tensor_file(saved)
    length = int.from_bytes(file.read_bytes()[:8], "little")
    with file.open("r+b") as stream:
        stream.truncate(8 + length + size + 20)

    def claim(body: Object) -> None:
        body["files"][file.name]["size"] = 8 + length + size + 20
        body["parts"]["module"]["weight"]["shape"] = [size // 4]

    forge(saved, claim)
    refused(form, saved, "needs more memory than there is")


def test_tensors_that_are_not_in_the_manifest(form: CheckpointFormat, saved: Path) -> None:
    forge(saved, lambda body: body["parts"]["module"].pop("bias"))
    refused(form, saved, "it has other tensors than the manifest says")


class Runs:
    """A pickle that would run code."""

    ran = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return run, ()


def run() -> None:
    Runs.ran = True


def test_the_pickle_would_run() -> None:
    pickle.loads(pickle.dumps(Runs()))
    assert Runs.ran
    Runs.ran = False


def test_a_pickle_is_never_loaded(form: CheckpointFormat, saved: Path) -> None:
    code = pickle.dumps(Runs())
    (saved / ".metadata").write_bytes(code)
    (saved / "module.pt").write_bytes(code)
    (saved / "__0_0.distcp").write_bytes(code)
    assert same(form.load(saved), CONTENT)
    file = tensor_file(saved)
    file.write_bytes(code)
    forge(saved, lambda body: body["files"][file.name].update(size=len(code)))
    refused(form, saved, "it is damaged")
    torch.save({"weight": Runs()}, file)
    forge(saved, lambda body: body["files"][file.name].update(size=file.stat().st_size))
    refused(form, saved, "it is damaged")
    (saved / "manifest.json").write_bytes(code)
    refused(form, saved, "it is damaged")
    assert not Runs.ran


def test_further_files_of_tensors_are_not_read(tmp_path: Path) -> None:
    """Torch's reader takes whatever it finds in the folder."""
    path = tmp_path / "a.ckpt"
    DistributedFormat().save(path, CONTENT)
    (path / "more.safetensors").write_bytes(tensor_file(path).read_bytes())
    with pytest.raises(CheckpointError, match="it has 2 files of tensors, not one"):
        DistributedFormat().load(path)
