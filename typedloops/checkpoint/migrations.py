"""Contents of earlier releases, brought up to this one step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from typedloops._core.shapes import is_mapping
from typedloops.errors import CheckpointError

Migration: TypeAlias = Callable[[dict[str, object]], dict[str, object]]
"""Makes a content of the next version from one of its own, which it may change."""

CONTENT_VERSION: Final = 1
"""The version of the contents that this release makes."""

MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""The step from each earlier version to the one after it."""

ABOUT: Final = "about"
"""The part that has the version of a content."""


def migrated(
    content: Mapping[str, object],
    migrations: Mapping[int, Migration] = MIGRATIONS,
    version: int = CONTENT_VERSION,
) -> dict[str, object]:
    """A content of this release, made from one of any release up to it.

    Args:
        content: What was loaded; it is left as it is, apart from what is in its parts.
        migrations: The steps by the version that they begin with.
        version: The version to end with.

    Raises:
        CheckpointError: It has no version, a later one, or one from which a step is missing.
    """
    found = version_of(content)
    if found > version:
        raise CheckpointError(
            "checkpoint",
            f"its content has version {found}, this release knows up to {version}",
            "Load it with the release that saved it, or a newer one.",
        )
    result = dict(content)
    for step in range(found, version):
        if step not in migrations:
            raise CheckpointError(
                "checkpoint",
                f"its content has version {found}, and nothing leads from version {step} to {step + 1}",
                "Load and save it with a release between the one that saved it and this one.",
            )
        result = migrations[step](result)
        about = result.get(ABOUT)
        result[ABOUT] = {**(about if is_mapping(about) else {}), "version": step + 1}
    return result


def version_of(content: Mapping[str, object]) -> int:
    """The version of a content.

    Raises:
        CheckpointError: It has none.
    """
    about = content.get(ABOUT)
    version = about.get("version") if is_mapping(about) else None
    if type(version) is not int or version < 1:
        raise CheckpointError(
            "checkpoint",
            f"its part {ABOUT!r} says no version of its content",
            "Give a checkpoint that a run saved; load_weights reads the weights of others.",
        )
    return version
