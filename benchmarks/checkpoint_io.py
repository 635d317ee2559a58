"""Saving and loading a checkpoint, against plain safetensors with the same bytes on the same disk.

    python -m benchmarks.checkpoint_io [--megabytes 500] [--rounds 7] [--folder .]

Each round has both sides in turn, the one that begins changing with every round; the figures are
medians.  The clock is that of the wall: a disk takes no time of a processor.  A checkpoint is
checked in full when it is loaded, and is on the disk when it is saved; so `save_file` is followed by
an fsync, and every tensor of `load_file`, which only maps the file, is copied into memory of its own.

From the system's cache, where nothing is read from a disk, there is no target: the checksums (about
4 GB a second and thread) then are most of the work, and what is copied costs next to nothing.

The exit status is 1 when a ratio is above its target: 70% of the speed of plain safetensors.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter
from typing import Final, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.machine import machine
from typedloops.checkpoint import DistributedFormat, FolderFormat, Staging, copied
from typedloops.protocols.checkpoint import CheckpointFormat

TARGET: Final = 1 / 0.7
MEGABYTE: Final = 2**20
TENSOR: Final = 20 * MEGABYTE

Weights: TypeAlias = dict[str, Tensor]
Action: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Duel:
    """Two ways to do the same.

    Args:
        what: What is done.
        own: With this library.
        rival: Without it.
        before: What comes before each of the two, and is not timed.
        target: How many times as long its own may take; None is for information.
    """

    what: str
    own: Action
    rival: Action
    before: Action
    target: float | None = None


def seconds(action: Action, before: Action) -> float:
    before()
    start = perf_counter()
    action()
    return perf_counter() - start


def fight(duel: Duel, rounds: int) -> bool:
    """Measure, print a line, and say whether the target is met."""
    own: list[float] = []
    rival: list[float] = []
    for number in range(rounds):
        sides = [(own, duel.own), (rival, duel.rival)]
        for times, action in sides if number % 2 else reversed(sides):
            times.append(seconds(action, duel.before))
    ratio = median(own) / median(rival)
    target = "" if duel.target is None else f"{duel.target:6.2f} {'met' if ratio <= duel.target else 'MISSED'}"
    print(f"{duel.what:58} {median(own):7.3f} {median(rival):7.3f} {ratio:6.2f} {target}", flush=True)
    return duel.target is None or ratio <= duel.target


def forget(folder: Path) -> None:
    """Have the system drop what it holds of the files of a folder, which then come from the disk."""
    for file in folder.rglob("*.safetensors"):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def clear(folder: Path) -> None:
    """Remove what was saved, and wait until the disk has nothing to do."""
    for path in folder.iterdir():
        rmtree(path) if path.is_dir() else path.unlink()
    os.sync()


def save_plain(file: Path, weights: Weights) -> None:
    save_file(weights, file)
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def load_plain(file: Path) -> Weights:
    return {name: tensor.clone() for name, tensor in load_file(file).items()}


def clones(weights: Weights) -> Weights:
    return {name: tensor.clone() for name, tensor in weights.items()}


def staged(staging: Staging, weights: Weights) -> None:
    staging.copied({"module": weights}).release()


def longest_stop(action: Action) -> float:
    """For how many seconds at most a second thread, which only counts, stands still meanwhile."""
    longest, ended, begun = 0.0, Event(), Event()

    def count() -> None:
        nonlocal longest
        last = perf_counter()
        while not ended.is_set():
            now = perf_counter()
            longest, last = max(longest, now - last), now
            begun.set()

    thread = Thread(target=count)
    thread.start()
    begun.wait()
    longest = 0.0
    action()
    ended.set()
    thread.join()
    return longest


@dataclass(frozen=True)
class Places:
    """Where things are saved."""

    folder: Path

    @property
    def plain(self) -> Path:
        return self.folder / "plain.safetensors"

    @property
    def own(self) -> Path:
        return self.folder / "own"

    @property
    def distributed(self) -> Path:
        return self.folder / "distributed"


def saving(places: Places, weights: Weights) -> list[Duel]:
    def against_plain(what: str, form: CheckpointFormat, target: float | None) -> Duel:
        own, rival = partial(form.save, places.own, {"module": weights}), partial(save_plain, places.plain, weights)
        return Duel(what, own, rival, partial(clear, places.folder), target)

    return [
        against_plain("save / save_file and fsync", FolderFormat(), TARGET),
        against_plain("  with torch.distributed.checkpoint", DistributedFormat(), None),
    ]


def loading(places: Places) -> list[Duel]:
    own, distributed = partial(FolderFormat().load, places.own), partial(DistributedFormat().load, places.distributed)
    rival, from_disk = partial(load_plain, places.plain), partial(forget, places.folder)
    return [
        Duel("load, from the disk / load_file and copy", own, rival, from_disk, TARGET),
        Duel("  with torch.distributed.checkpoint", distributed, rival, from_disk),
        Duel("load, from the system's cache / load_file and copy", own, rival, nothing),
        Duel("  with torch.distributed.checkpoint", distributed, rival, nothing),
    ]


def copying(weights: Weights) -> list[Duel]:
    content, staging = {"module": weights}, Staging()
    return [
        Duel("copied / clone of every tensor", partial(copied, content), partial(clones, weights), nothing),
        Duel("  in released memory", partial(staged, staging, weights), partial(clones, weights), nothing),
    ]


def nothing() -> None:
    pass


def main() -> int:
    parser = argparse.ArgumentParser(description="Saving and loading, against plain safetensors.")
    parser.add_argument("--megabytes", type=int, default=500, help="how large the checkpoint is")
    parser.add_argument("--rounds", type=int, default=7, help="how often each side has its turn")
    parser.add_argument("--folder", type=Path, default=Path(), help="where, and so on which disk")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = {
        f"layers.{i}.weight": torch.randn(1024, TENSOR // 4096) for i in range(arguments.megabytes * MEGABYTE // TENSOR)
    }
    print(f"{machine()}; {arguments.megabytes} MB\n{'':58} {'own s':>7} {'rival s':>7} {'ratio':>6} {'target':>6}")
    with TemporaryDirectory(dir=arguments.folder) as name:
        places = Places(Path(name))
        met = [fight(duel, arguments.rounds) for duel in (*copying(weights), *saving(places, weights))]
        clear(places.folder)
        save_plain(places.plain, weights)
        FolderFormat().save(places.own, {"module": weights})
        DistributedFormat().save(places.distributed, {"module": weights})
        met += [fight(duel, arguments.rounds) for duel in loading(places)]
        print("\nLongest stop of another thread of Python meanwhile, in milliseconds:")
        for what, action in (
            ("save", partial(FolderFormat().save, places.own, {"module": weights})),
            ("save_file", partial(save_file, weights, places.plain)),
            ("load", partial(FolderFormat().load, places.own)),
        ):
            print(f"{what:58} {1e3 * median(longest_stop(action) for _ in range(3)):7.1f}", flush=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
