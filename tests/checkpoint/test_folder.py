"""A checkpoint on the disk: what is read is what was written, or an error."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from typedloops.checkpoint import FolderFormat, describe, durable
from typedloops.errors import CheckpointError

FORMAT = FolderFormat()

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)

tensors = st.builds(
    lambda dtype, shape, seed: (
        torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        if dtype in (torch.bool, torch.uint8)
        else torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(50).to(dtype)
    ),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 1000),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | tensors
)
keys = st.text(max_size=4) | st.integers(-3, 3) | st.sampled_from(["$", "$tensor", "a/b", "1"]) | st.booleans()
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = zip(a.items(), b.items(), strict=False)
        return len(a) == len(b) and all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    return type(a) is type(b) and a == b


@given(state=states)
@settings(max_examples=200, deadline=None)
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, state: object) -> None:
    path = tmp_path_factory.mktemp("checkpoints") / "a.ckpt"
    FORMAT.save(path, {"part": state})
    assert same(FORMAT.load(path), {"part": state})


def test_weights_are_read_by_safetensors_alone(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    FORMAT.save(tmp_path / "a.ckpt", {"module": model.state_dict()})
    other.load_state_dict(load_file(tmp_path / "a.ckpt" / "module.safetensors"))
    assert same(list(model.state_dict().values()), list(other.state_dict().values()))


def test_tensors_that_share_memory_are_each_whole(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    content = {"module": {"a": weight, "tied": weight, "turned": weight.t(), "row": weight[1], "part": weight[:, :2]}}
    FORMAT.save(tmp_path / "a.ckpt", content)
    assert same(FORMAT.load(tmp_path / "a.ckpt"), content)
    assert (tmp_path / "a.ckpt" / "module.safetensors").stat().st_size < 4 * (24 + 24 + 24 + 6 + 8) + 500


CONTENT = {"module": {"weight": torch.arange(3000.0), "bias": torch.ones(5)}, "loops": {"epoch": 3, "left": (1, 2.5)}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    FORMAT.save(path, CONTENT)
    return path


def test_a_manifest_for_people(saved: Path) -> None:
    shown = str(describe(saved))
    assert "module: 112 B of JSON, 2 tensors of 12.0 kB" in shown
    assert "weight: float32 [3000]" in shown


FILES = ("manifest.json", "module.json", "module.safetensors", "loops.json")


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_anywhere_is_told(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for length in sorted({*range(0, len(whole), 1024), 1, len(whole) // 2, len(whole) - 1}):
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"damaged"):
            FORMAT.load(saved)
    (saved / name).write_bytes(whole)
    assert same(FORMAT.load(saved), CONTENT)


@pytest.mark.parametrize("name", FILES)
def test_a_single_flipped_bit_is_told(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    generator = random.Random(name)
    for _ in range(200):
        bit = generator.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (saved / name).write_bytes(damaged)
        with pytest.raises(CheckpointError):
            FORMAT.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_told(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint|it is not there"):
        FORMAT.load(saved)


def test_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as told:
        FORMAT.load(tmp_path / "nothing")
    assert str(told.value) == (
        f"{tmp_path / 'nothing'}: there is no checkpoint: it has no manifest.json. Give the folder that was saved."
    )


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as told:
        FORMAT.save(tmp_path / "a.ckpt", {"callbacks": {"first": [1, {"model": nn.Linear(1, 1)}]}})
    assert str(told.value) == (
        "callbacks: first/1/model: a Linear cannot be saved. "
        "Save what it is made of: numbers, strings, tensors, and lists, tuples and dicts of them."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["../up", "a/b", "", "Module", ".hidden"])
def test_a_part_whose_name_is_a_path_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(CheckpointError, match="its name is no file's name"):
        FORMAT.save(tmp_path / "a.ckpt", {part: 1})


def forged(saved: Path, change: Callable[[dict[str, object]], None]) -> None:
    """A manifest that somebody wrote on purpose, seal and all."""
    from typedloops.checkpoint import manifest

    body = json.loads((saved / "manifest.json").read_text())
    del body["sha256"]
    change(body)
    body["sha256"] = vars(manifest)["_seal"](body)
    (saved / "manifest.json").write_text(json.dumps(body))


def test_a_manifest_that_names_files_elsewhere_is_refused(saved: Path) -> None:
    def elsewhere(body: dict[str, object]) -> None:
        files = body["files"]
        assert isinstance(files, dict)
        files["../../etc/passwd.json"] = files.pop("loops.json")

    forged(saved, elsewhere)
    with pytest.raises(CheckpointError, match="which is not in its folder"):
        FORMAT.load(saved)


def test_a_later_version_is_refused(saved: Path) -> None:
    forged(saved, lambda body: body.update(version=99))
    with pytest.raises(CheckpointError, match="it has version 99 of the format, this release reads up to 1"):
        FORMAT.load(saved)


def test_an_absurd_manifest_is_not_read(saved: Path) -> None:
    with (saved / "manifest.json").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="larger than any manifest"):
        FORMAT.load(saved)


def test_a_pickle_is_never_loaded(saved: Path) -> None:
    torch.save({"weight": torch.ones(3)}, saved / "module.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        FORMAT.load(saved)


NEWER = {"module": {"weight": torch.zeros(2)}}


@pytest.mark.parametrize("call", range(12))
def test_whatever_fails_in_writing_the_older_checkpoint_stays(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The disk is full, or gone, at the n-th flush or rename."""
    calls = 0

    def failing(function: Callable[..., object]) -> Callable[..., object]:
        def replaced(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call + 1:
                raise OSError(28, "No space left on device")
            return function(*args)

        return replaced

    monkeypatch.setattr(durable, "flush", failing(durable.flush))
    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    try:
        FORMAT.save(saved, NEWER)
    except CheckpointError as error:
        assert "it cannot be written: [Errno 28] No space left on device" in str(error)  # noqa: PT017
    monkeypatch.undo()
    loaded = FORMAT.load(saved)
    assert same(loaded, CONTENT) or same(loaded, NEWER)
    assert [path.name for path in saved.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("point", ["before", "between", "after"])
def test_killed_between_the_renames_there_is_one_checkpoint(saved: Path, point: str) -> None:
    """The process is gone at once: nothing is cleaned up."""
    pid = os.fork()
    if pid == 0:
        rename, seen = Path.rename, []

        def dying(source: Path, target: Path) -> Path:
            seen.append(source)
            if (point, len(seen)) in (("before", 1), ("between", 2)):
                os._exit(0)
            renamed = rename(source, target)
            if (point, len(seen)) == ("after", 2):
                os._exit(0)
            return renamed

        Path.rename = dying  # type: ignore[method-assign, assignment]
        FORMAT.save(saved, NEWER)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert same(FORMAT.load(saved), NEWER if point == "after" else CONTENT)
    FORMAT.save(saved, NEWER)
    assert same(FORMAT.load(saved), NEWER)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="it cannot be written"):
        FORMAT.save(tmp_path / "a.ckpt", NEWER)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(CheckpointError, match="it cannot be written"):
        FORMAT.save(tmp_path / "models" / "a.ckpt", NEWER)


def test_many_checkpoints_leave_nothing_behind(tmp_path: Path) -> None:
    for _ in range(3):
        FORMAT.save(tmp_path / "deep" / "a.ckpt", NEWER)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.ckpt"]
    shutil.rmtree(tmp_path / "deep")
