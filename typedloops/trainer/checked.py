"""What a trainer is given, looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from typedloops.errors import ConfigurationError
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.logger import Logger


def checked_loggers(loggers: object) -> tuple[Logger, ...]:
    """The loggers, each of them one.

    Raises:
        ConfigurationError: One is none, or they are no iterable.
    """
    if not isinstance(loggers, Iterable):
        raise ConfigurationError("loggers", f"a {type(loggers).__name__} is no list of loggers", "Write [logger].")
    checked: tuple[object, ...] = tuple(loggers)
    for logger in checked:
        if isinstance(logger, type) or not isinstance(logger, Logger):
            raise ConfigurationError(
                f"loggers: {logger!r}",
                "it is no logger",
                "Give an object with `log_metrics(metrics, step)` and `finalize(status)`.",
            )
    return cast("tuple[Logger, ...]", checked)


def checked_format(format_: object) -> CheckpointFormat | None:
    """The format, or None for the default one.

    Raises:
        ConfigurationError: It is none.
    """
    if format_ is None:
        return None
    if isinstance(format_, type) or not isinstance(format_, CheckpointFormat):
        raise ConfigurationError(
            f"checkpoint_format: {format_!r}",
            "it is no format of checkpoints",
            "Give an object with save, load, load_part, holds and delete: FolderFormat().",
        )
    return format_
