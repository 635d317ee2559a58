"""What `ModelCheckpoint` is told, looked at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError
from typedloops.loops.run.settings.durations import Count, Unit, counted

SaveLast: TypeAlias = bool | Literal["link"]

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP")
"""What a system or a person sends to a run that is to end or to be saved."""


def wrong(setting: str, value: object, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"ModelCheckpoint({setting}={value!r})", problem, remedy)


def checked_folder(dirpath: object) -> Path:
    """The folder as an absolute path.

    Raises:
        ConfigurationError: It is none on this machine.
    """
    remedy = "Give a folder, as in dirpath='checkpoints'."
    if not isinstance(dirpath, str | os.PathLike):
        raise wrong("dirpath", dirpath, "it is no path", remedy)
    text = os.fspath(dirpath)
    if not isinstance(text, str) or not text:
        raise wrong("dirpath", dirpath, "it is no path", remedy)
    if "://" in text:
        raise wrong("dirpath", dirpath, "it is an address, and checkpoints are kept on this machine", remedy)
    return Path(os.path.abspath(Path(text).expanduser()))


def make_folder(folder: Path) -> None:
    """Make the folder.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise wrong(
            "dirpath", str(folder), f"it cannot be made: {error}", "Give a folder that may be written to."
        ) from error


def checked_every(setting: str, value: Count | None, unit: Unit) -> int | None:
    """Of how many things each one is due; None is not by them.

    Raises:
        ConfigurationError: It is no number of them from 1.
    """
    if value is None:
        return None
    number: object = counted(f"ModelCheckpoint.{setting}", value, unit)
    remedy = f"Give a number of {unit.things} from 1, or None."
    if isinstance(number, bool) or not isinstance(number, int):
        raise wrong(setting, value, f"it is no number of {unit.things}", remedy)
    if number < 1:
        raise wrong(setting, value, "it never comes round", remedy)
    return number


def check_ranking(monitor: object, mode: object, save_top_k: object) -> None:
    """Raise `ConfigurationError` unless checkpoints can be ranked so."""
    if monitor is not None and (not isinstance(monitor, str) or not monitor):
        raise wrong("monitor", monitor, "it is no metric's name", "Give a string, or None to keep the newest.")
    if mode not in ("min", "max"):
        raise wrong("mode", mode, "there is no such mode", "Give 'min' or 'max'.")
    if monitor is None and mode == "max":
        raise wrong("mode", mode, "nothing is monitored that could be largest", "Give a `monitor` as well.")
    if isinstance(save_top_k, bool) or not isinstance(save_top_k, int) or save_top_k < -1:
        raise wrong("save_top_k", save_top_k, "it is no number of checkpoints", "Give a count, or -1 to keep all.")


def check_flags(flags: Mapping[str, object]) -> None:
    """Raise `ConfigurationError` unless each is True or False."""
    for setting, value in flags.items():
        if not isinstance(value, bool):
            raise wrong(setting, value, "it is neither True nor False", "Give one of them.")


def check_last(save_last: object) -> None:
    """Raise `ConfigurationError` unless the last checkpoint can be kept so."""
    if not isinstance(save_last, bool) and save_last != "link":
        raise wrong("save_last", save_last, "there is no such way", "Give True, False, or 'link'.")


def checked_signals(signals: object) -> tuple[signal.Signals, ...]:
    """The signals, each once.

    Raises:
        ConfigurationError: One of them is none at which a run could be saved.
    """
    if not is_list_or_tuple(signals):
        raise wrong("save_on_signals", signals, "it is no list of signals", "Give a list, as in ['SIGTERM'].")
    return tuple(dict.fromkeys(checked_signal("save_on_signals", each) for each in signals))


def checked_signal(setting: str, given: object) -> signal.Signals:
    """A signal, given itself, as its number (which is what a handler gets) or as its name.

    Raises:
        ConfigurationError: It is none at which a run could be saved.
    """
    found = _signal(given)
    if found is None or found.name not in SIGNALS:
        raise wrong(
            setting,
            getattr(given, "name", given),
            "it is no signal at which a run is saved",
            f"Give some of {', '.join(name for name in SIGNALS if hasattr(signal, name))}.",
        )
    return found


def _signal(given: object) -> signal.Signals | None:
    if isinstance(given, str):
        return signal.Signals.__members__.get(given)
    try:
        return signal.Signals(given) if isinstance(given, int) and not isinstance(given, bool) else None
    except ValueError:
        return None
