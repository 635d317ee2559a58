"""Whether a run goes on from its checkpoints as if nothing had happened."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast, overload

from torch import nn
from typing_extensions import Protocol, TypeVar

from typedloops.errors import ConfigurationError
from typedloops.loops.fit import FitLoop
from typedloops.loops.run.computing.rng import isolated_rng
from typedloops.loops.run.computing.seeding import LARGEST_SEED, seed_generators
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.module import (
    FitModule,
    SeveralOptimizersFitModule,
    SeveralOptimizersModule,
    StepOutput,
    TrainingModule,
    TruncatedFitModule,
    TruncatedModule,
)
from typedloops.verification.cases import CopiedFit, MadeRun, Prepared
from typedloops.verification.hints import ATTRIBUTE, ENDED, NOT_DETERMINISTIC, UNSAVED, hint_for
from typedloops.verification.observers import Comparing, Departure, Interrupted, Left, Resumed, Uninterrupted
from typedloops.verification.places import Place, chosen
from typedloops.verification.recorder import AnyTrainer, others, watch
from typedloops.verification.report import ResumeDifference, ResumeReport
from typedloops.verification.values import Mismatch

T = TypeVar("T")
V = TypeVar("V")
H = TypeVar("H")
O = TypeVar("O", bound=StepOutput)
Tr = TypeVar("Tr", bound="Resumes")

Folder: TypeAlias = str | os.PathLike[str]


class Resumes(Protocol):
    """A trainer, whatever its loops."""

    @property
    def callbacks(self) -> Sequence[object]: ...
    def load_checkpoint(self, path: Folder, *, exact: bool = False) -> None: ...


class Fits(Protocol):
    """A trainer with the default fit."""

    @property
    def fit_loop(self) -> FitLoop: ...


class NotGiven:
    """Stands for loaders that are not given."""


NOT_GIVEN = NotGiven()


@overload
def verify_resume(
    trainer: Tr | Callable[[], Tr],
    run: Callable[[Tr], object],
    /,
    *,
    at: Sequence[int] | int = 5,
    seed: int = 0,
    dirpath: Folder | None = None,
    exact: bool = False,
) -> ResumeReport: ...
@overload
def verify_resume(
    trainer: Fits | Callable[[], Fits],
    module: TrainingModule[T, O] | SeveralOptimizersModule[T, O] | TruncatedModule[T, H],
    train_dataloaders: LoaderSource[T],
    val_dataloaders: None = None,
    *,
    at: Sequence[int] | int = 5,
    seed: int = 0,
    dirpath: Folder | None = None,
    exact: bool = False,
) -> ResumeReport: ...
@overload
def verify_resume(
    trainer: Fits | Callable[[], Fits],
    module: FitModule[T, V, O] | SeveralOptimizersFitModule[T, V, O] | TruncatedFitModule[T, V, H],
    train_dataloaders: LoaderSource[T],
    val_dataloaders: LoadersSource[V],
    *,
    at: Sequence[int] | int = 5,
    seed: int = 0,
    dirpath: Folder | None = None,
    exact: bool = False,
) -> ResumeReport: ...
def verify_resume(
    trainer: object,
    module: object,
    train_dataloaders: object = NOT_GIVEN,
    val_dataloaders: object = None,
    *,
    at: Sequence[int] | int = 5,
    seed: int = 0,
    dirpath: Folder | None = None,
    exact: bool = False,
) -> ResumeReport:
    """Run a fit uninterrupted, and interrupted at several places, and say where the two differ.

    ```
    verify_resume(trainer, module, train_loader, val_loader).check()
    verify_resume(make_trainer, lambda trainer: trainer.fit(make_module(), make_loader())).check()
    ```

    For each place a fit is saved and left there by an exception, and another one, with the random numbers
    of another seed, goes on from the checkpoint.  Compared with the uninterrupted fit are: each batch,
    the order of hooks, logged values, and in the end the state: weights, buffers, optimizers, schedulers,
    scaler, loops, callbacks, random numbers, the result, and what modules, callbacks and loaders have as
    plain attributes.  What two uninterrupted runs do not have in common is left out there.

    Given a module and loaders, `trainer.fit` runs with a deep copy of everything in each run; nothing of
    the caller's changes.  Given a function, that is called with the trainer for each run, and makes module
    and loaders anew: so any entry loop can be verified, one of your own, or `trainer.validate`.  It is the
    first run it begins that is saved.  What callbacks and loggers write, they write in each run.

    The hooks of a run itself (`setup`, `on_fit_start`, `on_train_start`, `on_train_end`, ...) are called in
    each process, and not compared.  In memory are, besides the run, its state at the end of the
    uninterrupted run and, until the run goes on, that at the place; one checkpoint is on the disk at a time.

    Args:
        trainer: A trainer, or a function that makes one.
        module: What is fitted; or the function that runs something.
        train_dataloaders: What to train on, or a function that makes it.
        val_dataloaders: What to validate on, likewise.
        at: How many places, spread evenly over all boundaries of the run, or which: their numbers from 0.
        seed: That of every run but those that go on.
        dirpath: Where the checkpoints go, and stay; None is a temporary folder.
        exact: Whether what cannot go on exactly is an error when the run goes on; see `Trainer.load_checkpoint`.

    Returns:
        What was found: true if every place is exact; `check()` raises otherwise.

    Raises:
        ConfigurationError: There is nothing to run, it cannot be copied, or a place is not there.
    """
    verification = _Verification(_case(trainer, module, train_dataloaders, val_dataloaders), seed, exact)
    with isolated_rng(), _folder(dirpath) as folder:
        return verification.report(at, folder)


def _case(trainer: object, module: object, train: object, val: object) -> CopiedFit | MadeRun:
    if train is not NOT_GIVEN:
        return CopiedFit(trainer, module, {"train_dataloaders": train, "val_dataloaders": val})
    if isinstance(module, (nn.Module, type)) or not callable(module):
        raise ConfigurationError(
            "verify_resume",
            "there are no loaders",
            "Write verify_resume(trainer, module, loader), or give a function that runs the trainer it is given.",
        )
    return MadeRun(trainer, cast("Callable[[AnyTrainer], object]", module))


@contextmanager
def _folder(dirpath: Folder | None) -> Generator[Callable[[int], Path]]:
    """Where each checkpoint goes."""
    if dirpath is not None:
        yield lambda index: Path(dirpath) / f"boundary-{index}"
        return
    with TemporaryDirectory(prefix="verify-resume-") as folder:
        # One after the other: there is room for one.
        yield lambda index: Path(folder) / "checkpoint"


@dataclass
class _Verification:
    """The runs of a case.

    Args:
        case: What is run.
        seed: The seed of all runs but those that go on.
        exact: Whether what cannot go on exactly is an error.
    """

    case: CopiedFit | MadeRun
    seed: int
    exact: bool

    def report(self, at: Sequence[int] | int, folder: Callable[[int], Path]) -> ResumeReport:
        """Run, and compare."""
        reference = self._uninterrupted()
        places: list[Place] = []
        found: list[ResumeDifference] = []
        noise: set[str] | None = None
        for index in chosen(at, reference.boundaries):
            place, difference = self._try(reference, index, folder(index), noise or set())
            if difference is not None and noise is None:
                noise, uninterrupted = self._noise(reference)
                if uninterrupted is not None:
                    return ResumeReport(reference.boundaries, (), (uninterrupted,))
                if noise:
                    place, difference = self._try(reference, index, folder(index), noise)
            places.append(place)
            found += [] if difference is None else [difference]
        return ResumeReport(reference.boundaries, tuple(places), tuple(found))

    def _uninterrupted(self) -> Uninterrupted:
        prepared = self._prepared()
        reference = Uninterrupted(prepared.trainer, prepared.loaders)
        self._go(prepared, reference, self.seed)
        reference.let_go()
        return reference

    def _prepared(self) -> Prepared:
        seed_generators(self.seed)
        return self.case.prepare()

    def _go(self, prepared: Prepared, observer: Uninterrupted | Comparing, seed: int) -> None:
        watch(prepared.trainer, observer)
        seed_generators(seed)
        observer.take_result(prepared.run())

    def _noise(self, reference: Uninterrupted) -> tuple[set[str], ResumeDifference | None]:
        """The attributes that two uninterrupted runs do not have in common, and whatever else they have not."""
        prepared = self._prepared()
        again = Comparing(prepared.trainer, prepared.loaders, reference)
        with warnings.catch_warnings(action="ignore"):
            self._go(prepared, again, self.seed)
        noise = {each.path for each in again.end if each.path.startswith(ATTRIBUTE)}
        different = [each for each in again.end if each.path not in noise]
        first = again.event or next(iter(different), None)
        return noise, None if first is None else _told(None, first, NOT_DETERMINISTIC)

    def _try(
        self, reference: Uninterrupted, index: int, path: Path, noise: set[str]
    ) -> tuple[Place, ResumeDifference | None]:
        """Save and leave a run at a boundary, go on from there, and compare."""
        # Whatever there is to warn of, the uninterrupted run has.
        with warnings.catch_warnings(action="ignore"):
            left = self._interrupt(reference, index, path)
            if isinstance(left, Departure):
                return left.place, self._resume(reference, left, path, noise)
            return left.place or Place(index), left

    def _interrupt(self, reference: Uninterrupted, index: int, path: Path) -> Departure | ResumeDifference:
        prepared = self._prepared()
        interrupted = Interrupted(prepared.trainer, prepared.loaders, reference, index, path)
        watch(prepared.trainer, interrupted)
        seed_generators(self.seed)
        try:
            prepared.run()
        except Left:
            pass
        except Exception as error:
            failure = Mismatch("saving", "the run goes on", f"{type(error).__name__}: {error}")
            return _told(interrupted.place, failure, UNSAVED)
        if (before := interrupted.event) is None and not interrupted.saved:
            before = Mismatch("boundaries", str(reference.boundaries), str(interrupted.boundaries))
        return interrupted.departure if before is None else _told(interrupted.place, before, NOT_DETERMINISTIC)

    def _resume(
        self, reference: Uninterrupted, departure: Departure, path: Path, noise: set[str]
    ) -> ResumeDifference | None:
        prepared = self._prepared()
        resumed = Resumed(prepared.trainer, prepared.loaders, reference, departure)
        callbacks = {type(callback).__name__ for callback in others(prepared.trainer)}
        prepared.trainer.load_checkpoint(path, exact=self.exact)
        try:
            self._go(prepared, resumed, (self.seed + 1_000_003) % (LARGEST_SEED + 1))
        except Exception as error:
            failure = Mismatch("resuming", "the run goes on", f"{type(error).__name__}: {error}")
            return _told(departure.place, failure, ENDED)
        return _first(departure.place, resumed, callbacks, noise)


def _first(place: Place, resumed: Resumed, callbacks: set[str], noise: set[str]) -> ResumeDifference | None:
    """The first difference of a run that went on: what was not as it was left, or else what came of it."""
    end = [each for each in resumed.end if each.path not in noise]
    outside = resumed.event or next(iter(end), None)
    if outside is None:
        return None
    start = [each for each in resumed.start if each.path not in noise]
    saved = [each for each in start if not each.path.startswith(ATTRIBUTE)]
    # A batch may differ because of what was drawn before, and that because of what was kept; a loader comes last.
    of_loader = outside.path.startswith("batch") and resumed.drawn is None
    first = saved[0] if saved else outside if of_loader else start[0] if start else resumed.drawn or outside
    hint = hint_for(first, resumed.prepared, start, callbacks)
    return _told(place, first, hint, "" if first.path == outside.path else outside.path)


def _told(place: Place | None, first: Mismatch, hint: str, seen: str = "") -> ResumeDifference:
    return ResumeDifference(place, first.path, first.expected, first.found, hint, seen)
