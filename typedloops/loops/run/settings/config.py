"""What a run is told by default; a loop that has its own value for something uses that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias, cast, get_args

from torch import Tensor

from typedloops._core.counting import LARGEST_COUNT
from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import ConfigurationError
from typedloops.loops.run.computing.devices import check_accelerator
from typedloops.loops.run.computing.precision import Precision, number_type
from typedloops.loops.run.computing.torch_settings import MatmulPrecision, check_torch_settings
from typedloops.loops.run.settings.cadence import Cadence, Interval, cadence_of
from typedloops.loops.run.settings.durations import Duration, Time, seconds_of
from typedloops.protocols.anything import Anything
from typedloops.protocols.trainer import ClipAlgorithm, NonFinite

BatchLimit: TypeAlias = int | float
"""How many batches at most: an int counts them, a float from 0.0 to 1.0 is a share of the loader."""

BatchCount: TypeAlias = BatchLimit | str | Duration
"""Such a limit as it may be given: `5`, `"5ba"`, `Duration.batches(5)`, `0.5`."""

BatchLimits: TypeAlias = BatchLimit | Sequence[BatchLimit]
"""The limit on every loader, or one for each."""

BatchCounts: TypeAlias = BatchCount | Sequence[BatchCount]
"""Such limits as they may be given."""

Weigh: TypeAlias = Callable[[Anything], Tensor | float]
"""How much a batch counts: its items or tokens, say."""

EPOCHS_WITHOUT_LIMITS = 1000


@dataclass(frozen=True)
class RunConfig:
    """The settings of a trainer that its loops use where they have none of their own.

    Args:
        max_epochs: Stop after so many epochs; -1 is no limit; None is 1000 epochs, or no
            limit when `max_steps` or `max_time` is given.
        max_steps: Stop after so many optimizer steps; -1 is no limit.
        max_time: Stop after so much time: a `timedelta`, or `"DD:HH:MM:SS"`; None is no limit.
        min_epochs: Honour a request to stop only after so many epochs.
        min_steps: Honour a request to stop only after so many optimizer steps.
        limit_train_batches: Batches of an epoch of training.
        limit_val_batches: Batches of each validation loader; a list has one limit for each.
        limit_test_batches: Batches of each test loader, likewise.
        limit_predict_batches: Batches of each prediction loader, likewise.
        check_val_every_n_epoch: Validate in every n-th epoch; None counts `val_check_interval` across epochs.
        val_check_interval: Validate after so many batches (int), such a share of the epoch (float; 1.0 is its end),
            so many epochs (`"2ep"`), or so much time (`timedelta`, `"DD:HH:MM:SS"`).
        overfit_batches: Train and validate on the first so many batches, the same in each epoch; 0 is off.
        reload_dataloaders_every_n_epochs: Let the functions that make loaders make them anew so often; 0 is once.
        num_sanity_val_steps: Validate on so many batches of each loader before training; -1 is all, 0 none.
        accumulate_grad_batches: How many batches there are to an optimizer step, or from which epoch on how many.
        accumulation_weight: How much a batch counts among those of a step; None is all the same.
        gradient_clip_val: The largest size of gradients, or None.
        gradient_clip_algorithm: What is not to be larger: the `norm` of all, or each `value`.
        detect_anomaly: Let autograd say which operation made a gradient that is not a number; slow.
        detect_nonfinite: What is to be finite: the `loss`, also `gradients`, or also what `modules` return.
        fast_dev_run: Rehearse with so many batches of everything; True is one, 0 or False no rehearsal.
        precision: The type of numbers, as Lightning names it.
        accelerator: Where to compute: `auto`, `cpu`, `gpu`, or a device as in `cuda:1`.
        float32_matmul_precision: `highest`, `high` or `medium`, see torch; None leaves it.
        deterministic: Use deterministic algorithms only; `warn` says where there is none; None leaves it.
        benchmark: Let cuDNN look for the fastest algorithms; None leaves it.
        inference_mode: Evaluate under `torch.inference_mode`, which is faster; False is `torch.no_grad`.

    Raises:
        ConfigurationError: A value can never work.
    """

    max_epochs: int | None = None
    max_steps: int = -1
    max_time: Time | None = None
    min_epochs: int = 0
    min_steps: int = 0
    limit_train_batches: BatchLimit = field(default=1.0, metadata={"check": "limit"})
    limit_val_batches: BatchLimits = field(default=1.0, metadata={"check": "limits"})
    limit_test_batches: BatchLimits = field(default=1.0, metadata={"check": "limits"})
    limit_predict_batches: BatchLimits = field(default=1.0, metadata={"check": "limits"})
    check_val_every_n_epoch: int | None = 1
    val_check_interval: Interval = 1.0
    overfit_batches: BatchLimit = field(default=0, metadata={"check": "limit"})
    reload_dataloaders_every_n_epochs: int = 0
    num_sanity_val_steps: int = 0
    inference_mode: bool = True
    accumulate_grad_batches: int | Mapping[int, int] = 1
    accumulation_weight: Weigh | None = None
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: ClipAlgorithm = "norm"
    detect_anomaly: bool = False
    detect_nonfinite: NonFinite | None = None
    fast_dev_run: int | bool = False
    precision: Precision = "32-true"
    accelerator: str = "auto"
    float32_matmul_precision: MatmulPrecision | None = None
    deterministic: bool | Literal["warn"] | None = None
    benchmark: bool | None = None

    def __post_init__(self) -> None:
        check_count("max_epochs", self.max_epochs)
        check_count("max_steps", self.max_steps)
        for name in ("min_epochs", "min_steps", "reload_dataloaders_every_n_epochs"):
            if check_int(name, getattr(self, name)) < 0:
                raise ConfigurationError(name, f"{getattr(self, name)} is negative", "Give 0 or more.")
        check_minimum("epochs", self.min_epochs, self.max_epochs)
        check_minimum("steps", self.min_steps, self.max_steps)
        seconds_of(self.max_time)
        if not isinstance(self.fast_dev_run, bool) and check_int("fast_dev_run", self.fast_dev_run) < 0:
            raise ConfigurationError("fast_dev_run", f"{self.fast_dev_run} is negative", "Give a number of batches.")
        every = self.check_val_every_n_epoch
        if every is not None and check_int("check_val_every_n_epoch", every) < 1:
            raise ConfigurationError(
                "check_val_every_n_epoch",
                f"{self.check_val_every_n_epoch} epochs never come round",
                "Give 1 or more; limit_val_batches=0 switches validation off.",
            )
        cadence_of(self.val_check_interval, every)
        if check_int("num_sanity_val_steps", self.num_sanity_val_steps) < -1:
            raise ConfigurationError(
                "num_sanity_val_steps", f"{self.num_sanity_val_steps} is negative", "Give a count, or -1 for all."
            )
        check_schedule("accumulate_grad_batches", self.accumulate_grad_batches)
        check_clipping(self.gradient_clip_val, self.gradient_clip_algorithm)
        number_type(self.precision)
        check_accelerator(self.accelerator)
        check_nonfinite(self.detect_nonfinite)
        check_torch_settings(self.float32_matmul_precision, self.deterministic, self.benchmark)
        for setting in fields(self):
            if setting.metadata.get("check") == "limit":
                check_limit(setting.name, getattr(self, setting.name))
            if setting.metadata.get("check") == "limits":
                check_limits(setting.name, getattr(self, setting.name))
        if self.overfit_batches and not takes_all(self.limit_train_batches):
            raise ConfigurationError(
                "overfit_batches",
                f"it is {self.overfit_batches}, and limit_train_batches is {self.limit_train_batches}",
                "Give one of the two.",
            )

    @property
    def cadence(self) -> Cadence:
        """When to validate."""
        return cadence_of(self.val_check_interval, self.check_val_every_n_epoch)

    def rehearsal(self) -> RunConfig:
        """These settings cut down to `fast_dev_run` batches of everything, in one epoch, or to `overfit_batches`."""
        batches = int(self.fast_dev_run)
        if batches == 0:
            alike = self.overfit_batches and takes_all(self.limit_val_batches)
            return replace(self, limit_val_batches=self.overfit_batches) if alike else self
        return replace(
            self,
            max_epochs=1,
            max_steps=-1,
            min_epochs=0,
            min_steps=0,
            limit_train_batches=batches,
            limit_val_batches=batches,
            limit_test_batches=batches,
            limit_predict_batches=batches,
            check_val_every_n_epoch=1,
            val_check_interval=1.0,
            num_sanity_val_steps=0,
            overfit_batches=0,
        )


def takes_all(limit: object) -> bool:
    """Whether a limit is none; the int 1 is one batch."""
    return isinstance(limit, float) and limit == 1.0


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


def check_limits(name: str, value: object) -> None:
    """Raise unless `value` is a `BatchLimit`, or a list or tuple with at least one."""
    if not is_list_or_tuple(value):
        check_limit(name, value)
        return
    if not value:
        raise ConfigurationError(name, "it is empty", "Give one limit for each loader, or one for all.")
    for index, limit in enumerate(value):
        if limit is None:
            raise ConfigurationError(f"{name}[{index}]", "None is no limit", "Give 1.0 for all batches.")
        check_limit(f"{name}[{index}]", limit)


def check_nonfinite(what: object) -> None:
    """Raise `ConfigurationError` unless it can be looked at."""
    if what is not None and what not in get_args(NonFinite):
        raise ConfigurationError(
            "detect_nonfinite",
            f"{what!r} cannot be looked at",
            "Give 'loss', 'gradients' (and the loss), 'modules' (and both), or None.",
        )


def check_schedule(name: str, schedule: object) -> None:
    """Raise unless `schedule` is a number of batches, or a mapping from first epochs to such numbers."""
    if not isinstance(schedule, Mapping):
        _check_size(name, schedule)
        return
    for epoch, size in cast("Mapping[object, object]", schedule).items():
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ConfigurationError(name, f"{epoch!r} is not an epoch", "Its keys are the first epochs, from 0.")
        _check_size(f"{name}[{epoch}]", size)


def _check_size(name: str, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigurationError(name, f"{size!r} is no number of batches", "Give 1 or more.")


def check_clipping(value: object, algorithm: object) -> None:
    """Raise unless gradients can be clipped so."""
    if algorithm not in get_args(ClipAlgorithm):
        raise ConfigurationError(
            "gradient_clip_algorithm", f"{algorithm!r} is no way to clip", "Give 'norm' or 'value'."
        )
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
        raise ConfigurationError(
            "gradient_clip_val", f"{value!r} is no largest size", "Give a number above 0, or None not to clip."
        )


def check_minimum(what: str, minimum: int, maximum: int | None) -> None:
    """Raise if a fit would have to go on after its end."""
    if maximum is not None and 0 <= maximum < minimum:
        raise ConfigurationError(
            f"min_{what}", f"{minimum} is more than max_{what}, {maximum}", f"Lower it, or raise max_{what}."
        )


def epochs_of(max_epochs: int | None, max_steps: int, max_time: Time | None = None) -> int | None:
    """How many epochs at most, once it is known what else limits the run."""
    if max_epochs is None:
        return EPOCHS_WITHOUT_LIMITS if max_steps == -1 and max_time is None else None
    return None if max_epochs == -1 else max_epochs
