"""Contents of earlier releases are brought up to this one."""

from __future__ import annotations

import pytest

from typedloops.checkpoint import CONTENT_VERSION, MIGRATIONS, Migration, migrated
from typedloops.errors import CheckpointError


def renamed(content: dict[str, object]) -> dict[str, object]:
    content["loops"] = content.pop("loop")
    return content


def counted(content: dict[str, object]) -> dict[str, object]:
    return {**content, "steps": 2}


STEPS: dict[int, Migration] = {1: renamed, 2: counted}


def test_a_content_of_this_release_is_as_it_is() -> None:
    content = {"about": {"version": CONTENT_VERSION}, "loops": 1}
    assert migrated(content) == content


def test_there_is_a_step_from_every_version() -> None:
    assert set(MIGRATIONS) == set(range(1, CONTENT_VERSION))


def test_one_step_after_another() -> None:
    content = {"about": {"version": 1, "by": "0.1"}, "loop": 5}
    assert migrated(content, STEPS, 3) == {"about": {"version": 3, "by": "0.1"}, "loops": 5, "steps": 2}
    assert content == {"about": {"version": 1, "by": "0.1"}, "loop": 5}
    assert migrated({"about": {"version": 2}}, STEPS, 3) == {"about": {"version": 3}, "steps": 2}


def test_a_later_one_is_refused() -> None:
    with pytest.raises(CheckpointError) as told:
        migrated({"about": {"version": 4}}, STEPS, 3)
    assert str(told.value) == (
        "checkpoint: its content has version 4, this release knows up to 3. "
        "Load it with the release that saved it, or a newer one."
    )


def test_a_missing_step_is_told() -> None:
    with pytest.raises(CheckpointError) as told:
        migrated({"about": {"version": 1}, "loop": 1}, {1: renamed}, 4)
    assert str(told.value) == (
        "checkpoint: its content has version 1, and nothing leads from version 2 to 3. "
        "Load and save it with a release between the one that saved it and this one."
    )


@pytest.mark.parametrize("about", [None, {}, {"version": "1"}, {"version": 0}, {"version": True}, [1]])
def test_a_content_without_a_version(about: object) -> None:
    with pytest.raises(CheckpointError) as told:
        migrated({"about": about})
    assert str(told.value) == (
        "checkpoint: its part 'about' says no version of its content. "
        "Give a checkpoint that a run saved; load_weights reads the weights of others."
    )
