"""Checkpoints written at once and beside the run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread, current_thread
from threading import enumerate as threads

import pytest
import torch

from tests.checkpoint.contents import same
from typedloops.checkpoint import FolderFormat, Writer
from typedloops.errors import CheckpointError
from typedloops.protocols.checkpoint import CheckpointFormat


class Held:
    """A format that begins to write when it is let, and fails where it is told to."""

    def __init__(self) -> None:
        self.form = FolderFormat()
        self.go = Event()
        self.begun: list[Path] = []
        self.threads: list[Thread] = []
        self.failing: dict[str, Exception] = {}

    def save(self, path: Path, content: Mapping[str, object], /) -> None:
        self.begun.append(path)
        self.threads.append(current_thread())
        assert self.go.wait(30)
        if path.name in self.failing:
            raise self.failing[path.name]
        self.form.save(path, content)

    def load(self, path: Path, /) -> dict[str, object]:
        return self.form.load(path)

    def load_part(self, path: Path, part: str, /) -> object:
        return self.form.load_part(path, part)

    def holds(self, path: Path, /) -> bool:
        return self.form.holds(path)

    def delete(self, path: Path, /) -> None:
        self.form.delete(path)


@pytest.fixture
def held() -> Held:
    held = Held()
    assert isinstance(held, CheckpointFormat)
    return held


def test_at_once(held: Held, tmp_path: Path) -> None:
    held.go.set()
    writer, written = Writer(), list[Path]()
    writer.write(held, tmp_path / "a", {"part": 1}, written.append)
    assert written == [tmp_path / "a"]
    assert held.threads == [current_thread()]
    writer.write(held, tmp_path / "b", {"part": 1})
    assert held.holds(tmp_path / "b")


def test_later(held: Held, tmp_path: Path) -> None:
    writer, written = Writer(), list[tuple[Path, Thread]]()
    content = {"part": {"weight": torch.zeros(3), "steps": [1]}}
    writer.write_later(held, tmp_path / "a", content, lambda path: written.append((path, current_thread())))
    content["part"] = {}
    writer.poll()
    assert written == []
    assert not held.holds(tmp_path / "a")
    held.go.set()
    writer.finish()
    assert written == [(tmp_path / "a", current_thread())]
    assert held.threads != [current_thread()]
    assert not held.threads[0].daemon
    assert same(held.load(tmp_path / "a"), {"part": {"weight": torch.zeros(3), "steps": [1]}})
    writer.poll()
    writer.finish()
    assert len(written) == 1


def test_the_run_changes_what_it_gave(held: Held, tmp_path: Path) -> None:
    """Three times, so that memory is used again."""
    writer, weight = Writer(), torch.zeros(1000)
    for step in range(3):
        held.go.clear()
        writer.write_later(held, tmp_path / str(step), {"part": weight})
        weight += 1
        held.go.set()
    writer.finish()
    for step in range(3):
        assert same(held.load(tmp_path / str(step)), {"part": torch.full((1000,), float(step))})


def test_a_further_write_waits_for_the_one_before(held: Held, tmp_path: Path) -> None:
    writer = Writer()
    writer.write_later(held, tmp_path / "a", {"part": 1})
    asked = Event()

    def ask() -> None:
        asked.set()
        writer.write_later(held, tmp_path / "b", {"part": 2})

    further = Thread(target=ask)
    further.start()
    asked.wait(30)
    assert tmp_path / "b" not in held.begun
    held.go.set()
    further.join()
    writer.finish()
    assert held.begun == [tmp_path / "a", tmp_path / "b"]
    assert held.load(tmp_path / "b") == {"part": 2}


def test_in_the_order_asked_for(held: Held, tmp_path: Path) -> None:
    held.go.set()
    writer, written = Writer(), list[Path]()
    writer.write_later(held, tmp_path / "a", {"part": 1}, written.append)
    writer.write_later(held, tmp_path / "b", {"part": 1}, written.append)
    writer.write(held, tmp_path / "c", {"part": 1}, written.append)
    assert written == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]


def test_what_goes_wrong_is_told_and_nothing_else_is_lost(held: Held, tmp_path: Path) -> None:
    held.failing["a"] = RuntimeError("the disk is gone")
    held.go.set()
    writer, written = Writer(), list[Path]()
    writer.write_later(held, tmp_path / "a", {"part": 1}, written.append)
    writer.write_later(held, tmp_path / "b", {"part": 2}, written.append)
    with pytest.raises(CheckpointError) as told:
        writer.finish()
    assert str(told.value) == (
        f"{tmp_path / 'a'}: it was not written: the disk is gone. "
        "Those before it are as they were: a run can go on from the newest."
    )
    assert isinstance(told.value.__cause__, RuntimeError)
    assert written == [tmp_path / "b"]
    writer.write_later(held, tmp_path / "c", {"part": 3}, written.append)
    writer.finish()
    assert written == [tmp_path / "b", tmp_path / "c"]
    assert held.load(tmp_path / "c") == {"part": 3}


def test_an_error_of_an_earlier_write_comes_after_the_write_at_once(held: Held, tmp_path: Path) -> None:
    held.failing["a"] = RuntimeError("the disk is gone")
    held.go.set()
    writer, written = Writer(), list[Path]()
    writer.write_later(held, tmp_path / "a", {"part": 1}, written.append)
    with pytest.raises(CheckpointError, match="a: it was not written"):
        writer.write(held, tmp_path / "b", {"part": 2}, written.append)
    assert held.holds(tmp_path / "b")
    writer.poll()
    assert written == [tmp_path / "b"]


def test_several_errors(held: Held, tmp_path: Path) -> None:
    held.failing.update(a=ValueError("no"), b=CheckpointError(str(tmp_path / "b"), "it is full", "Make room."))
    held.go.set()
    writer = Writer()
    writer.write_later(held, tmp_path / "a", {"part": 1})
    writer.write_later(held, tmp_path / "b", {"part": 1})
    with pytest.raises(CheckpointError, match="a: it was not written: no") as told:
        writer.finish()
    assert told.value.__notes__ == [f"Neither was this one: {tmp_path / 'b'}: it is full. Make room."]
    writer.finish()


def test_a_content_that_cannot_be_saved_names_the_path(tmp_path: Path) -> None:
    writer = Writer()
    writer.write_later(FolderFormat(), tmp_path / "a", {"part": object()})
    with pytest.raises(CheckpointError) as told:
        writer.finish()
    assert str(told.value).startswith(
        f"{tmp_path / 'a'}: it was not written: part: it: an object of type object cannot be saved."
    )


def test_what_the_caller_raises_is_the_callers(held: Held, tmp_path: Path) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    held.go.set()
    writer, written = Writer(), list[Path]()
    writer.write_later(held, tmp_path / "a", {"part": 1}, stop)
    writer.write_later(held, tmp_path / "b", {"part": 1}, written.append)
    with pytest.raises(KeyboardInterrupt):
        writer.finish()
    writer.finish()
    assert written == [tmp_path / "b"]


def test_no_thread_is_left(held: Held, tmp_path: Path) -> None:
    held.go.set()
    writer = Writer()
    writer.write_later(held, tmp_path / "a", {"module": torch.randn(100)})
    writer.finish()
    assert not [thread for thread in threads() if thread.name.startswith("typedloops")]


ENDING = """
import sys, threading, torch
from pathlib import Path
from typedloops.checkpoint import FolderFormat, Writer

class Slow:
    def __init__(self):
        self.form = FolderFormat()
    def save(self, path, content):
        threading.main_thread().join()  # the program's last line is behind us
        self.form.save(path, content)

writer = Writer()
writer.write_later(Slow(), Path(sys.argv[1]), {"module": {"weight": torch.arange(100_000)}})
{end}
"""


@pytest.mark.parametrize("end", ["", "raise ValueError('the run failed')", "sys.exit(3)"])
def test_a_process_that_ends_writes_what_was_begun(tmp_path: Path, end: str) -> None:
    code = ENDING.replace("{end}", end)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=False)
    assert done.returncode == {"": 0, "sys.exit(3)": 3}.get(end, 1), done.stderr
    assert same(FolderFormat().load(tmp_path / "a"), {"module": {"weight": torch.arange(100_000)}})


def test_where_no_thread_can_be_started_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Python 3.12 when the main thread has ended."""

    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    content = {"module": {str(i): torch.randn(10) for i in range(5)}}
    monkeypatch.setattr(Thread, "start", refuse)
    FolderFormat().save(tmp_path / "a", content)
    assert same(FolderFormat().load(tmp_path / "a"), content)
