"""What holds for every format of checkpoints: what is read is what was written, or an error."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from tests.checkpoint.contents import CONTENT, FORMATS, NEWER, in_child, same, states
from typedloops.checkpoint import Manifest, describe, durable
from typedloops.checkpoint.copying import copied
from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat


def test_each_is_a_format(form: CheckpointFormat) -> None:
    assert isinstance(form, CheckpointFormat)


@pytest.mark.parametrize("name", FORMATS)
@given(state=states)
@settings(max_examples=150, deadline=None)
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, name: str, state: object) -> None:
    path = tmp_path_factory.mktemp("checkpoints") / "a.ckpt"
    FORMATS[name].save(path, {"part": state, "module": {"more": 1}})
    assert same(FORMATS[name].load(path), {"part": state, "module": {"more": 1}})
    assert same(FORMATS[name].load_part(path, "part"), state)


def test_tensors_that_share_memory_are_each_whole(form: CheckpointFormat, tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    state = {"a": weight, "tied": weight, "turned": weight.t(), "row": weight[1], "part": weight[:, :2]}
    lazy = torch.randn(3, dtype=torch.complex64)
    content = {"module": state, "other": [weight, weight, weight.expand(2, 4, 6), lazy, lazy.conj(), lazy.imag]}
    form.save(tmp_path / "a.ckpt", content)
    loaded = form.load(tmp_path / "a.ckpt")
    assert same(loaded, content)
    module = loaded["module"]
    assert isinstance(module, dict)
    assert module["a"] is module["tied"]


def test_numbers_that_json_has_not(form: CheckpointFormat, tmp_path: Path) -> None:
    content = {"a": [10**5000, -(2**64), 2**63, float("-inf"), -0.0, 5e-324, "\ud800"]}
    form.save(tmp_path / "a.ckpt", content)
    assert same(form.load(tmp_path / "a.ckpt"), content)


def test_numbers_of_numpy_become_those_of_python(form: CheckpointFormat, tmp_path: Path) -> None:
    content = {
        "a": [np.float64(1e-3), np.float32(0.1), np.float16("inf"), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)],
        "b": {np.int64(2): np.float64("nan")},
    }
    form.save(tmp_path / "a.ckpt", content)
    inexact = float(np.float32(0.1))
    expected = {"a": [1e-3, inexact, float("inf"), -3, 2**64 - 1, True], "b": {2: float("nan")}}
    assert same(form.load(tmp_path / "a.ckpt"), expected)


def test_a_counter_stays_one(form: CheckpointFormat, tmp_path: Path) -> None:
    content = {"a": {"milestones": Counter({3: 1, 5: 2}), "words": Counter("hello"), "none": Counter[str]()}}
    for one in (content, copied(content)):
        form.save(tmp_path / "a.ckpt", one)
        assert same(form.load(tmp_path / "a.ckpt"), content)


class Pair(NamedTuple):
    """Two numbers."""

    first: int
    second: int


class Level(IntEnum):
    """One number."""

    HIGH = 1


def test_what_would_come_back_as_something_else_is_refused(form: CheckpointFormat, tmp_path: Path) -> None:
    keeps: list[Callable[[dict[str, object]], dict[str, object]]] = [dict, copied]
    for keep in keeps:
        with pytest.raises(CheckpointError) as told:
            form.save(tmp_path / "a.ckpt", keep({"callbacks": {"best": [Pair(1, 2)]}}))
        assert str(told.value) == (
            "callbacks: best/0: an object of type Pair cannot be saved. Save its _asdict(), and make it again of that."
        )
    for value, kind in ((Level.HIGH, "Level"), (Fraction(1, 3), "Fraction"), (Decimal(1), "Decimal")):
        with pytest.raises(CheckpointError, match=f"part: a: an object of type {kind} cannot be saved"):
            form.save(tmp_path / "a.ckpt", {"part": {"a": value}})
    assert list(tmp_path.iterdir()) == []


def test_one_part_alone(form: CheckpointFormat, saved: Path) -> None:
    (saved / "loops.json").write_text("damaged")
    assert same(form.load_part(saved, "module"), CONTENT["module"])
    with pytest.raises(CheckpointError, match="damaged"):
        form.load_part(saved, "loops")
    with pytest.raises(CheckpointError) as told:
        form.load_part(saved, "scaler")
    assert str(told.value) == f"{saved}: it has no part 'scaler'. Ask for one of these: module, loops."


def test_another_format_is_told(form: CheckpointFormat, saved: Path) -> None:
    (other,) = (other for other in FORMATS.values() if other is not form)
    assert form.holds(saved)
    assert not other.holds(saved)
    with pytest.raises(CheckpointError, match=r"it is in the format typedloops.*, not typedloops"):
        other.load(saved)
    other.save(saved, NEWER)
    assert other.holds(saved)


def files(saved: Path) -> list[Path]:
    return sorted(saved.iterdir())


def test_a_file_cut_short_anywhere_is_told(form: CheckpointFormat, saved: Path) -> None:
    for file in files(saved):
        whole = file.read_bytes()
        for length in sorted({*range(0, len(whole), 1024), 1, len(whole) // 2, len(whole) - 1}):
            file.write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match=r"damaged"):
                form.load(saved)
        file.write_bytes(whole)
    assert same(form.load(saved), CONTENT)


def test_a_single_flipped_bit_is_told(form: CheckpointFormat, saved: Path) -> None:
    generator = random.Random(0)
    for file in files(saved):
        whole = file.read_bytes()
        header = 8 * min(len(whole), 300)
        for bit in [generator.randrange(8 * len(whole)) for _ in range(100)] + random.sample(range(header), 100):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            file.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                form.load(saved)
        file.write_bytes(whole)


def test_a_missing_file_is_told(form: CheckpointFormat, saved: Path) -> None:
    for file in files(saved):
        whole = file.read_bytes()
        file.unlink()
        with pytest.raises(CheckpointError, match=r"there is no(thing| checkpoint)|it is not there, or no file"):
            form.load(saved)
        file.write_bytes(whole)


def test_a_link_is_not_followed(form: CheckpointFormat, saved: Path, tmp_path: Path) -> None:
    for file in files(saved):
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CheckpointError, match=r"there is no(thing| checkpoint)|it is not there, or no file"):
            form.load(saved)
        (tmp_path / "elsewhere").rename(file)
    assert same(form.load(saved), CONTENT)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_is_not_waited_for(form: CheckpointFormat, saved: Path) -> None:
    (saved / "module.json").unlink()
    os.mkfifo(saved / "module.json")
    with pytest.raises(CheckpointError, match="it is not there, or no file"):
        form.load(saved)


def test_a_link_to_a_checkpoint(form: CheckpointFormat, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "last").symlink_to(saved)
    assert form.holds(tmp_path / "last")
    assert same(form.load(tmp_path / "last"), CONTENT)
    form.delete(tmp_path / "last")
    assert same(form.load(saved), CONTENT)


def test_where_there_is_no_checkpoint(form: CheckpointFormat, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert not form.holds(nothing)
    form.delete(nothing)
    form.delete(nothing / "deeper")
    with pytest.raises(CheckpointError) as told:
        form.load(nothing)
    assert str(told.value) == (f"{nothing}: there is nothing. Give the folder that was saved.")


def test_a_deleted_one_is_gone(form: CheckpointFormat, saved: Path) -> None:
    form.delete(saved)
    assert not form.holds(saved)
    assert list(saved.parent.iterdir()) == []


def test_a_damaged_one_can_be_deleted_and_replaced(form: CheckpointFormat, saved: Path) -> None:
    for file in files(saved):
        file.write_bytes(file.read_bytes()[:40])
    assert form.holds(saved)
    form.save(saved, NEWER)
    assert same(form.load(saved), NEWER)
    (saved / "manifest.json").write_bytes((saved / "manifest.json").read_bytes()[:40])
    form.delete(saved)
    assert not saved.exists()


def others(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine"
    path.write_text("all my work")
    yield path
    path.unlink()
    path.mkdir()
    (path / "thesis.tex").write_text("all my work")
    yield path
    (path / "manifest.json").write_text('{"format": "conference"}')
    yield path
    (path / "manifest.json").unlink()
    (path / "manifest.json").mkdir()
    yield path


def test_what_is_no_checkpoint_is_neither_deleted_nor_written_over(form: CheckpointFormat, tmp_path: Path) -> None:
    for path in others(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(CheckpointError) as told:
            form.delete(path)
        assert str(told.value) == (
            f"{path}: what is there is no checkpoint, and is not deleted. Give another path, or remove it by hand."
        )
        with pytest.raises(CheckpointError, match="what is there is no checkpoint, and is not written over"):
            form.save(path, CONTENT)
        assert not form.holds(path)
        with pytest.raises(CheckpointError, match=r"no checkpoint|no manifest of typedloops|it is a file"):
            form.load(path)
        assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_may_become_one(form: CheckpointFormat, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="and is not deleted"):
        form.delete(tmp_path / "empty")
    form.save(tmp_path / "empty", CONTENT)
    assert same(form.load(tmp_path / "empty"), CONTENT)


def test_what_cannot_be_saved_is_named(form: CheckpointFormat, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as told:
        form.save(tmp_path / "a.ckpt", {"callbacks": {"first": [1, {"model": nn.Linear(1, 1)}]}})
    assert str(told.value) == (
        "callbacks: first/1/model: an object of type Linear cannot be saved. "
        "Save what it is made of: numbers, strings, tensors, and lists, tuples and dicts of them."
    )
    assert list(tmp_path.iterdir()) == []


UNWRITABLE = {
    "a tensor on the meta device has no numbers. Give it some before": torch.empty(2, device="meta"),
    r"a tensor of the layout torch.sparse_coo cannot be saved. Save its to_dense\(\).": torch.eye(2).to_sparse(),
    "a tensor of torch.complex128 has no place in a safetensors file.": torch.zeros(2, dtype=torch.complex128),
}


@pytest.mark.parametrize("message", UNWRITABLE)
def test_tensors_that_cannot_be_saved_are_named(form: CheckpointFormat, tmp_path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"part: a/0: {message}"):
        form.save(tmp_path / "a.ckpt", {"part": {"a": [UNWRITABLE[message]]}})


def test_what_contains_itself_is_told(form: CheckpointFormat, tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(CheckpointError, match="part: it is nested deeper than 100 levels, or contains itself"):
        form.save(tmp_path / "a.ckpt", {"part": endless})
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    form.save(tmp_path / "a.ckpt", {"part": deep})
    assert same(form.load(tmp_path / "a.ckpt"), {"part": deep})


@pytest.mark.parametrize("part", ["../up", "a/b", "", "Module", ".hidden", "manifest", "a\n"])
def test_a_part_whose_name_is_a_path_is_refused(form: CheckpointFormat, tmp_path: Path, part: str) -> None:
    with pytest.raises(CheckpointError, match="its name is no file's name"):
        form.save(tmp_path / "a.ckpt", {part: 1})


def test_it_says_what_it_is(form: CheckpointFormat, saved: Path) -> None:
    manifest = describe(saved)
    assert isinstance(manifest, Manifest)
    assert list(manifest.parts) == ["module", "loops"]
    assert manifest.parts["module"]["weight"].shape == (3000,)
    assert manifest.size == sum(file.stat().st_size for file in files(saved) if file.name != "manifest.json")


def failing(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The disk is full, or gone, at the n-th flush or rename."""
    calls = 0

    def failing_at(function: Callable[..., object]) -> Callable[..., object]:
        def replaced(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call + 1:
                raise OSError(28, "No space left on device")
            return function(*args)

        return replaced

    monkeypatch.setattr(durable, "flush", failing_at(durable.flush))
    monkeypatch.setattr(Path, "rename", failing_at(Path.rename))


@pytest.mark.parametrize("call", range(10))
def test_whatever_fails_in_writing_the_older_checkpoint_stays(
    form: CheckpointFormat, saved: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    failing(monkeypatch, call)
    try:
        form.save(saved, NEWER)
    except CheckpointError as error:
        assert "it cannot be written: [Errno 28] No space left on device" in str(error)  # noqa: PT017
    monkeypatch.undo()
    loaded = form.load(saved)
    assert same(loaded, CONTENT) or same(loaded, NEWER)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_cannot_be_deleted_is_told(form: CheckpointFormat, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 0)
    with pytest.raises(CheckpointError, match=r"it cannot be deleted: \[Errno 28\] No space left on device"):
        form.delete(saved)
    monkeypatch.undo()
    assert same(form.load(saved), CONTENT)


@pytest.mark.parametrize("point", ["before", "between", "after"])
def test_killed_between_the_renames_there_is_one_checkpoint(form: CheckpointFormat, saved: Path, point: str) -> None:
    """The process is gone at once: nothing is cleaned up."""

    def dying_work() -> None:
        rename, seen = Path.rename, []

        def dying(source: Path, target: Path) -> Path:
            seen.append(source)
            if (point, len(seen)) in (("before", 1), ("between", 2)):
                os._exit(7)
            renamed = rename(source, target)
            if (point, len(seen)) == ("after", 2):
                os._exit(7)
            return renamed

        Path.rename = dying  # type: ignore[method-assign, assignment]
        form.save(saved, NEWER)

    assert in_child(dying_work) == 7
    assert len(list(saved.parent.iterdir())) == 2
    assert form.holds(saved)
    assert same(form.load(saved), NEWER if point == "after" else CONTENT)
    assert len(describe(saved).parts) == (1 if point == "after" else 2)


@pytest.mark.parametrize("deleted", [False, True])
def test_what_a_killed_writer_left_goes_with_the_next_one(form: CheckpointFormat, saved: Path, deleted: bool) -> None:
    def dying_work() -> None:
        Path.rename = lambda source, target: os._exit(7)  # type: ignore[method-assign, assignment]
        form.save(saved, NEWER)

    other = saved.with_name(f"{saved.name}.b")
    form.save(other, NEWER)
    assert in_child(dying_work) == 7
    assert len(list(saved.parent.iterdir())) == 3
    if deleted:
        form.delete(saved)
    else:
        form.save(saved, NEWER)
    assert {path.name for path in saved.parent.iterdir()} == {other.name} | (set() if deleted else {saved.name})
    assert same(form.load(other), NEWER)


def as_nobody(work: Callable[[], object]) -> Callable[[], object]:
    def done() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        work()

    return done


def test_no_permission(form: CheckpointFormat, saved: Path) -> None:
    saved.chmod(0o000)
    saved.parent.chmod(0o500)

    def work() -> None:
        with pytest.raises(CheckpointError, match=r"it cannot be written: .*Permission denied"):
            form.save(saved.parent / "b.ckpt", NEWER)
        with pytest.raises(CheckpointError, match=r"it cannot be read: .*Permission denied"):
            form.load(saved)
        assert not form.holds(saved)

    try:
        assert in_child(as_nobody(work)) == 0
    finally:
        saved.parent.chmod(0o700)
        saved.chmod(0o700)


def test_a_file_in_the_place_of_the_folder(form: CheckpointFormat, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(CheckpointError, match="it cannot be written"):
        form.save(tmp_path / "models" / "a.ckpt", NEWER)
    form.delete(tmp_path / "models" / "a.ckpt")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_a_disk_that_is_full(form: CheckpointFormat, saved: Path) -> None:
    """The system lets no file grow beyond a size: the write itself fails, in the middle of a tensor."""

    def work() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(CheckpointError, match=r"it cannot be written: \[Errno 27\] File too large"):
            form.save(saved, {"module": torch.randn(100_000)})

    assert in_child(work) == 0
    assert same(form.load(saved), CONTENT)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_many_checkpoints_leave_nothing_behind(form: CheckpointFormat, tmp_path: Path) -> None:
    for _ in range(3):
        form.save(tmp_path / "deep" / "er" / "a.ckpt", NEWER)
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["a.ckpt"]
