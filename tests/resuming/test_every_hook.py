"""A fit that is saved at any hook, and left, goes on from there as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.resuming.configurations import CONFIGURATIONS, WITH_OUTPUTS
from tests.resuming.recording import OF_RUNS, Act, Journal, Left, Process, changes, differences, quiet
from typedloops import COMPILED
from typedloops.checkpoint import FolderFormat

PLACES = 12 if COMPILED else 4
"""At how many hooks of each fit it is saved; they are spread over it.  What saves them knows nothing of the core."""

Place = tuple[int, str]
"""How many hooks there were, those of earlier processes included, and the last of them."""


def run(name: str, **arguments: Any) -> Process:
    return quiet(CONFIGURATIONS[name], outputs=name in WITH_OUTPUTS, **arguments)


def whole_fit(name: str) -> tuple[Process, list[Place]]:
    """An uninterrupted fit, and where it can be saved and gone on with."""
    places: list[Place] = []
    act: Act = lambda trainer, journal, hook: places.append((journal.seen, hook))  # noqa: E731
    whole = run(name, act=act)
    result: Any = whole.end["result"]
    if result["stop_reason"] == "requested":
        # From such an end a fit goes on.
        places = [place for place in places if place[1] not in ("on_train_end", "on_fit_end")]
    return whole, places


def spread(places: Sequence[Place], count: int) -> list[Place]:
    """So many of them, the first and the last included."""
    last = len(places) - 1
    return [places[round(index * last / (count - 1))] for index in range(count)]


class Saving:
    """Saves at certain hooks.

    Args:
        folder: Where the checkpoints go.
        places: The hooks.
        leaves: Whether the process is gone once the first of them is on the disk.
    """

    def __init__(self, folder: Path, places: Sequence[Place], *, leaves: bool = False) -> None:
        self._folder, self._places, self._leaves = folder, set(places), leaves
        self.lines: dict[Place, int] = {}
        """How many lines the journal had when each checkpoint was on the disk."""

    def __call__(self, trainer: Any, journal: Journal, hook: str) -> None:
        place = journal.seen, hook
        if place not in self._places:
            return

        def written(path: Path) -> None:
            self.lines[place] = len(journal.lines)
            if self._leaves:
                raise Left

        trainer.save_checkpoint(self.path(place), when_written=written)

    def path(self, place: Place) -> Path:
        return self._folder / f"{place[0]} {place[1]}"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_goes_on_from_any_hook(name: str, tmp_path: Path) -> None:
    """With the same hooks, batches, metrics and random numbers, to the same end, by the same later checkpoints."""
    whole, hooks = whole_fit(name)
    places = spread(hooks, PLACES)
    saving = Saving(tmp_path / "first", places)
    assert changes(whole, [run(name, act=saving)]) == []  # saving changes nothing
    assert set(saving.lines) == set(places)
    wrong: list[str] = []
    for number, place in enumerate(places):
        done = saving.lines[place]
        later = [other for other in places[number + 1 :: 3] if other[1] not in OF_RUNS and other[0] > done]
        again = Saving(tmp_path / f"from {number}", later)
        resumed = run(name, seed=2, resume=saving.path(place), act=again)
        found = changes(whole, [resumed], whole.journal.lines[:done])
        for other in later:
            before, after = (FolderFormat().load(each.path(other)) for each in (saving, again))
            found += differences(before, after, f"checkpoint at {other}")
        wrong += [f"from {place}: {line}" for line in found[:4]]
    assert wrong == []


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_interrupted_twice(name: str, tmp_path: Path) -> None:
    whole, hooks = whole_fit(name)
    chosen = random.Random(name)
    for attempt in range(2):
        stops = sorted(chosen.sample([place for place in hooks if place[1] not in OF_RUNS], 2))
        processes: list[Process] = []
        path = None
        while not processes or not processes[-1].end:
            # The batch at whose end a process is left may have gone by the next place.
            stop = stops[len(processes) : len(processes) + 1]
            saving = Saving(tmp_path / str(attempt), stop, leaves=True)
            processes.append(run(name, seed=len(processes) + 1, resume=path, act=saving))
            path = saving.path(stop[0]) if stop else path
        assert len(processes) > 1
        assert changes(whole, processes) == [], stops


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
@pytest.mark.parametrize("name", ["windows", "text in pieces"])
def test_saved_before_it_is_where_it_goes_on(name: str, hook: str, tmp_path: Path) -> None:
    """What is asked for then waits until the run is there."""
    whole, hooks = whole_fit(name)
    first = Saving(tmp_path / "first", [hooks[len(hooks) // 2]], leaves=True)
    left = run(name, act=first)
    (place,) = first.lines

    def act(trainer: Any, journal: Journal, event: str) -> None:
        if event == hook:
            trainer.save_checkpoint(tmp_path / "second", when_written=leave)

    def leave(path: Path) -> None:
        raise Left

    second = run(name, seed=2, resume=first.path(place), act=act)
    last = run(name, seed=3, resume=tmp_path / "second")
    assert changes(whole, [left, second, last]) == []


def test_checkpoints_are_numbered_on(tmp_path: Path) -> None:
    _, hooks = whole_fit("plain")
    within = [place for place in spread(hooks, 9) if place[1] not in OF_RUNS]
    saving = Saving(tmp_path / "first", within)
    run("plain", act=saving)
    again = Saving(tmp_path / "again", within[3:])
    run("plain", seed=2, resume=saving.path(within[2]), act=again)
    orders = [FolderFormat().load(again.path(place))["about"]["order"] for place in within[3:]]  # type: ignore[index]
    assert orders == list(range(4, len(within) + 1))
