"""When a fit validates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from typedloops.errors import ConfigurationError
from typedloops.loops.run.settings.durations import Duration, Unit, seconds_of, share_of, time_in

Interval: TypeAlias = int | float | str | timedelta | Duration
"""Batches (an int, `"100ba"`), a share of the epoch (a float), epochs (`"2ep"`), or time (a `timedelta`,
`"DD:HH:MM:SS"`)."""

REMEDY = "Give a number of batches, a share of the epoch from 0.0 to 1.0, '2ep', or a timedelta."


@dataclass(frozen=True)
class Cadence:
    """When a fit validates; without `batches` and `seconds` after each share of an epoch.

    Args:
        epochs: Only in every n-th epoch; None counts across epochs.
        share: A share of an epoch's batches; 1.0 is at its end, however it came to it.
        batches: After so many batches, or None.
        seconds: After the batch at whose end the last validation is so long ago, or None.
    """

    epochs: int | None = 1
    share: float = 1.0
    batches: int | None = None
    seconds: float | None = None

    @property
    def at_end(self) -> bool:
        """Whether epochs are validated at their end, and not within."""
        return self.batches is None and self.seconds is None and self.share == 1.0

    def includes(self, epoch: int) -> bool:
        """Whether there are validations in this epoch, from 0."""
        return self.epochs is None or (epoch + 1) % self.epochs == 0

    def every(self, batches: int | None) -> int | None:
        """After how many batches to validate each time, in an epoch of so many; None is not by batches.

        Raises:
            ConfigurationError: It cannot be known, or would never be.
        """
        if self.batches is None and self.share < 1.0:
            if batches is None:
                raise ConfigurationError(
                    "val_check_interval",
                    f"a share of {self.share} cannot be taken of an epoch without a length",
                    "Give an int, a timedelta, or 1.0 for the end of the epoch.",
                )
            return max(1, share_of(batches, self.share))
        if self.batches is not None and self.epochs is not None and batches is not None and self.batches > batches:
            raise ConfigurationError(
                "val_check_interval",
                f"{self.batches} batches are more than the {batches} of an epoch",
                "Lower it, or count across epochs: check_val_every_n_epoch=None.",
            )
        return self.batches


def cadence_of(interval: object, every_n_epoch: int | None) -> Cadence:
    """What `val_check_interval` and `check_val_every_n_epoch` say together.

    Raises:
        ConfigurationError: One of them can never work, or both cannot together.
    """
    duration = Duration.parse(interval) if isinstance(interval, str) else interval
    if isinstance(duration, Duration) and duration.unit is Unit.EPOCHS:
        return Cadence(epochs=_epochs(duration, every_n_epoch))
    cadence = _within(duration if isinstance(duration, Duration) else interval, every_n_epoch)
    if every_n_epoch is None and cadence.batches is None and cadence.seconds is None:
        raise ConfigurationError(
            "check_val_every_n_epoch",
            f"None counts across epochs, and val_check_interval is {interval!r}, a share of one",
            "Give val_check_interval as a number of batches or as a time.",
        )
    return cadence


def _epochs(duration: Duration, every_n_epoch: int | None) -> int:
    if every_n_epoch not in (1, duration.count):
        raise ConfigurationError(
            "val_check_interval",
            f"it is {duration}, and check_val_every_n_epoch is {every_n_epoch}",
            "Give one of the two.",
        )
    if duration.count < 1:
        raise _never(duration)
    return duration.count


def _within(interval: object, every_n_epoch: int | None) -> Cadence:
    if isinstance(interval, timedelta) or (isinstance(interval, str) and time_in(interval) is not None):
        return Cadence(every_n_epoch, seconds=seconds_of(interval, "val_check_interval"))
    if isinstance(interval, Duration):
        if interval.unit is not Unit.BATCHES:
            raise ConfigurationError(
                "val_check_interval",
                f"{interval} counts {interval.unit.things}, and it batches, epochs or time",
                REMEDY,
            )
        interval = interval.count
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise ConfigurationError("val_check_interval", f"{interval!r} is no interval", REMEDY)
    if not interval > 0:
        raise _never(interval)
    if isinstance(interval, int):
        return Cadence(every_n_epoch, batches=interval)
    if interval > 1.0:
        raise ConfigurationError(
            "val_check_interval",
            f"a share of {interval!r} is above the whole",
            f"Give an int for a number of batches: {interval:.0f}.",
        )
    return Cadence(every_n_epoch, interval)


def _never(interval: object) -> ConfigurationError:
    return ConfigurationError(
        "val_check_interval", f"{interval} never comes round", "Give more; limit_val_batches=0 switches validation off."
    )
