"""A fit that is saved at any hook, and left, goes on from there as if nothing had happened."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.resuming.configurations import CONFIGURATIONS, WITH_OUTPUTS
from tests.resuming.recording import OF_RUNS, Act, Journal, Left, Process, differences, quiet
from typedloops.checkpoint import FolderFormat

FORMAT = FolderFormat()
PLACES = 12
"""At how many hooks of each fit it is saved; they are spread over it."""

Place = tuple[int, str]
"""How many hooks there were before, those of earlier processes included, and which one it is."""


def spread(places: Sequence[Place], count: int) -> list[Place]:
    """So many of them, the first and the last included."""
    last = len(places) - 1
    return [places[round(index * last / (count - 1))] for index in range(count)]


class Saved:
    """A fit that goes on from one checkpoint or from the beginning, and saves some more.

    Args:
        name: Which fit.
        folder: Where its checkpoints are.
        places: Where to save.
        leaves: Whether it is left at the first of them.
        arguments: Those of `run`.
    """

    def __init__(
        self, name: str, folder: Path, places: Sequence[Place], *, leaves: bool = False, **arguments: Any
    ) -> None:
        self._folder, self._places, self._leaves = folder, set(places), leaves
        self.noted: dict[Place, int] = {}
        self.process = quiet(CONFIGURATIONS[name], act=self._act, outputs=name in WITH_OUTPUTS, **arguments)

    def _act(self, trainer: Any, journal: Journal, hook: str) -> None:
        place = journal.seen, hook
        if place not in self._places:
            return

        def written(path: Path) -> None:
            self.noted[place] = len(journal.lines)
            if self._leaves:
                raise Left

        trainer.save_checkpoint(at(self._folder, place), when_written=written)


def at(folder: Path, place: Place) -> Path:
    return folder / f"{place[0]}-{place[1]}"


def places_of(name: str) -> tuple[Process, list[Place]]:
    """An uninterrupted fit, and its hooks."""
    places: list[Place] = []
    act: Act = lambda trainer, journal, hook: places.append((journal.seen, hook))  # noqa: E731
    whole = quiet(CONFIGURATIONS[name], act=act, outputs=name in WITH_OUTPUTS)
    # A fit that was asked to stop goes on from its end.
    stays = [place for place in places if place[1] not in ("on_train_end", "on_fit_end")]
    return whole, places if whole.end["result"]["stop_reason"] != "requested" else stays


def check_end(whole: Process, last: Process, before: Sequence[str], logged: int) -> list[str]:
    """What is not as in the whole fit: the hooks, what was logged, the end."""
    lines = [*before, *last.journal.lines]
    pairs = itertools.zip_longest(whole.journal.lines, lines)
    first = next((f"hook {number}: {one} and {other}" for number, (one, other) in enumerate(pairs) if one != other), "")
    return [
        *([first] if first else []),
        *differences(whole.log.values[len(whole.log.values) - len(last.log.values) :], last.log.values, "log"),
        *differences(whole.end, last.end),
    ]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_goes_on_from_any_hook(name: str, tmp_path: Path) -> None:
    whole, hooks = places_of(name)
    places = spread(hooks, PLACES)
    saved = Saved(name, tmp_path, places)
    assert check_end(whole, saved.process, [], 0) == []  # saving changes nothing
    assert set(saved.noted) == set(places)
    wrong: list[str] = []
    for number, place in enumerate(places):
        later = [place for place in places[number + 1 :: 3] if place[1] not in OF_RUNS]
        folder = tmp_path / f"from {place[0]} {place[1]}"
        resumed = Saved(name, folder, later, seed=2, resume=at(tmp_path, place))
        found = check_end(whole, resumed.process, whole.journal.lines[: saved.noted[place]], 0)
        for other in later:
            found += differences(
                FORMAT.load(at(tmp_path, other)), FORMAT.load(at(folder, other)), f"checkpoint at {other}"
            )
        wrong += [f"from {place}: {line}" for line in found[:4]]
    assert wrong == []
