"""What a run is told by default; a loop that has its own value for something uses that."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeAlias

from typedloops._core.counting import LARGEST_COUNT
from typedloops.errors import ConfigurationError

BatchLimit: TypeAlias = int | float
"""How many batches at most: an int counts them, a float from 0.0 to 1.0 is a share of the loader."""

EPOCHS_WITHOUT_LIMITS = 1000


@dataclass(frozen=True)
class RunConfig:
    """The settings of a trainer that its loops use where they have none of their own.

    Args:
        max_epochs: Stop after so many epochs; -1 is no limit; None is 1000 epochs, or no
            limit when `max_steps` is given.
        max_steps: Stop after so many optimizer steps; -1 is no limit.
        limit_train_batches: Batches of an epoch of training.
        limit_val_batches: Batches of each validation loader.
        limit_test_batches: Batches of each test loader.
        limit_predict_batches: Batches of each prediction loader.
        check_val_every_n_epoch: Validate after every n-th epoch.
        inference_mode: Evaluate under `torch.inference_mode`, which is faster; False is `torch.no_grad`.

    Raises:
        ConfigurationError: A value can never work.
    """

    max_epochs: int | None = None
    max_steps: int = -1
    limit_train_batches: BatchLimit = field(default=1.0, metadata={"check": "limit"})
    limit_val_batches: BatchLimit = field(default=1.0, metadata={"check": "limit"})
    limit_test_batches: BatchLimit = field(default=1.0, metadata={"check": "limit"})
    limit_predict_batches: BatchLimit = field(default=1.0, metadata={"check": "limit"})
    check_val_every_n_epoch: int = 1
    inference_mode: bool = True

    def __post_init__(self) -> None:
        check_count("max_epochs", self.max_epochs)
        check_count("max_steps", self.max_steps)
        if check_int("check_val_every_n_epoch", self.check_val_every_n_epoch) < 1:
            raise ConfigurationError(
                "check_val_every_n_epoch",
                f"{self.check_val_every_n_epoch} epochs never come round",
                "Give 1 or more; limit_val_batches=0 switches validation off.",
            )
        for setting in fields(self):
            if setting.metadata.get("check") == "limit":
                check_limit(setting.name, getattr(self, setting.name))


def check_int(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(name, f"{value!r} is not a number of things", "Give an int.")
    if value > LARGEST_COUNT:
        raise ConfigurationError(name, f"{value!r} is more than can be counted", "Give -1 or 1.0 for no limit.")
    return value


def check_count(name: str, value: object) -> None:
    """Raise unless `value` is None, -1 for no limit, or a count."""
    if value is not None and check_int(name, value) < -1:
        raise ConfigurationError(name, f"{value!r} is negative", "Give a count, or -1 for no limit.")


def check_limit(name: str, value: object) -> None:
    """Raise unless `value` is None or a `BatchLimit`."""
    if value is None:
        return
    remedy = "Give a number of batches, or a share from 0.0 to 1.0."
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(name, f"{value!r} is no limit", remedy)
    if isinstance(value, int):
        check_int(name, value)
    if value < 0:
        raise ConfigurationError(name, f"{value!r} is negative", remedy)
    if isinstance(value, float) and not value <= 1.0:
        raise ConfigurationError(
            name, f"a share of {value!r} is above the whole", f"Give an int for a number of batches: {value:.0f}."
        )


def epochs_of(max_epochs: int | None, max_steps: int) -> int | None:
    """How many epochs at most, once it is known what else limits the run."""
    if max_epochs is None:
        return EPOCHS_WITHOUT_LIMITS if max_steps == -1 else None
    return None if max_epochs == -1 else max_epochs
