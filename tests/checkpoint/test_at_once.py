"""Several writers and readers of the same checkpoint at once, and a disk without room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.checkpoint.contents import CONTENT, in_child, same
from typedloops.checkpoint.durable import locked
from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat

TIMES = 15


def content(writer: int) -> dict[str, object]:
    """What a writer writes: all of it says which one it is."""
    return {"module": {"weight": torch.full((2000 + writer,), writer)}, "loops": {"writer": writer}}


def is_whole(found: dict[str, object]) -> bool:
    loops = found["loops"]
    assert isinstance(loops, dict)
    return same(found, content(loops["writer"]))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write(form: CheckpointFormat, path: Path, writer: int) -> None:
    for _ in range(TIMES):
        form.save(path, content(writer))


def test_writers_in_threads_and_a_reader(form: CheckpointFormat, tmp_path: Path) -> None:
    path = tmp_path / "last"
    form.save(path, content(0))
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, form, path, writer) for writer in range(3)]
        while not all(writer.done() for writer in writers):
            assert is_whole(form.load(path))
    for writer in writers:
        writer.result()
    assert is_whole(form.load(path))
    assert names(tmp_path) == ["last"]


def test_writers_in_processes_and_a_reader(form: CheckpointFormat, tmp_path: Path) -> None:
    path = tmp_path / "last"
    form.save(path, content(0))
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(in_child, partial(write, form, path, writer)) for writer in range(2)]
        while not all(writer.done() for writer in writers):
            assert is_whole(form.load(path))
    assert [writer.result() for writer in writers] == [0, 0]
    assert is_whole(form.load(path))
    assert names(tmp_path) == ["last"]


def test_what_a_living_writer_has_begun_is_not_taken_from_it(
    form: CheckpointFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one comes and goes, and one that deletes, while a checkpoint is being written."""
    path = tmp_path / "last"
    flush = os.fsync
    seen: list[int] = []

    def others_come(descriptor: int) -> None:
        flush(descriptor)
        if not seen:
            seen.append(descriptor)
            form.save(path, content(2))
            form.delete(path)

    monkeypatch.setattr(os, "fsync", others_come)
    form.save(path, content(1))
    assert seen
    assert same(form.load(path), content(1))
    assert names(tmp_path) == ["last"]


def test_a_lock_is_one_holders(tmp_path: Path) -> None:
    with locked(tmp_path) as first, locked(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path, wait=False) as third:
        assert third


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A disk of one megabyte, where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_without_room(form: CheckpointFormat, small_disk: Path) -> None:
    path = small_disk / "last"
    form.save(path, CONTENT)
    with pytest.raises(CheckpointError, match=r"it cannot be written: .*No space left on device"):
        form.save(path, {"module": torch.ones(2**20)})
    assert same(form.load(path), CONTENT)
    assert names(small_disk) == ["last"]
    form.save(path, content(1))
    assert same(form.load(path), content(1))
