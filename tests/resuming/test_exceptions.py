"""A fit that an exception ends at a hook goes on from its last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.resuming.recording import Act, Journal, Left, changes
from tests.resuming.test_every_hook import Saving, run, whole_fit
from typedloops import COMPILED


def failing_at(number: int, path: Path, saved: list[int]) -> Act:
    """Save after every batch, in one place, and raise at a hook."""

    def act(trainer: Any, journal: Journal, hook: str) -> None:
        if journal.calls == number:
            raise Left
        if hook in ("on_train_batch_end", "on_validation_batch_end") and not trainer.sanity_checking:
            trainer.save_checkpoint(path, when_written=lambda _: saved.append(len(journal.lines)))

    return act


EVERY = 3 if COMPILED else 6
"""At which calls of hooks; what goes on from there knows nothing of the core."""

FAILING = (
    "plain",
    "two optimizers",
    "windows from an epoch on",
    "several validation loaders",
    "text in pieces",
    "unfused",
)


@pytest.mark.parametrize("name", FAILING)
def test_an_exception_at_any_hook(name: str, tmp_path: Path) -> None:
    """What was done since the last checkpoint is done anew."""
    whole, _ = whole_fit(name)
    wrong: list[str] = []
    # Each fit at other calls than the one before it: together they leave none out.
    begin = 1 + FAILING.index(name) % EVERY
    for number in range(begin, whole.journal.calls + 1, EVERY):
        path, saved = tmp_path / str(number), [0]
        process = run(name, act=failing_at(number, path, saved))
        assert process.end == {}
        resumed = run(name, seed=2 if path.exists() else 1, resume=path if path.exists() else None)
        found = changes(whole, [resumed], process.journal.lines[: saved[-1]])
        wrong += [f"exception at call {number}: {line}" for line in found[:4]]
    assert wrong == []


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
def test_an_exception_before_it_is_where_it_goes_on(hook: str, tmp_path: Path) -> None:
    """The checkpoint that it goes on from stays the last one."""
    whole, hooks = whole_fit("plain")
    saving = Saving(tmp_path, [hooks[len(hooks) // 2]], leaves=True)
    left = run("plain", act=saving)
    (place,) = saving.lines
    path = saving.path(place)

    def act(trainer: Any, journal: Journal, event: str) -> None:
        if event == hook:
            trainer.save_checkpoint(path)
            raise Left

    failed = run("plain", seed=2, resume=path, act=act)
    assert failed.journal.lines == []
    assert changes(whole, [left, run("plain", seed=3, resume=path)]) == []
