"""Successive halving: many trainings begin, the weak are stopped early, the best goes to the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Generic, Literal, cast

from typing_extensions import Never, TypeVar

from typedloops.errors import ConfigurationError, MisuseError, add_note
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.fit_loop import FitLoopOf
from typedloops.loops.fit.paused import PausedFit
from typedloops.loops.fit.stopping import StopReason
from typedloops.loops.run.begin_anew import begin_anew
from typedloops.loops.run.computing.seeding import LARGEST_SEED, seed_generators
from typedloops.loops.run.loader_start import LoaderStart
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.hooks import CallbackProtocol
from typedloops.recipes.successive_halving.result import Candidate, Rung, SuccessiveHalvingResult, rungs

logger: Final = logging.getLogger("typedloops")

C = TypeVar("C")
M = TypeVar("M")
B = TypeVar("B")
S = TypeVar("S")

NONE: Final[Mapping[int, Never]] = MappingProxyType({})


class SuccessiveHalvingLoopOf(
    Loop[
        [Callable[[Never], M], Sequence[object], LoaderSource[B], "LoadersSource[object] | None"],
        SuccessiveHalvingResult[object, M],
    ],
    Generic[M, B, S],
):
    """Successive halving with any fit loop; `SuccessiveHalvingLoop` is the one for `training_step`.

    ```
    for each rung:                                     # 9 candidates, then 3, then 1
        for each candidate of it:                      # an iteration of this loop
            in the first rung: callbacks and module made anew, its random numbers seeded by `seed + index`
            in a later one: weights, optimizers, counters, random numbers where the candidate was
            fit_loop.run(module, train_dataloaders, val_dataloaders)     # until the epochs of the rung
            its score is the metric `monitor`
            whoever cannot be among the best of the rung any more is let go of
        the best 1 / eta go on
    ```

    A candidate trains as it would alone and in one go, to the bit, however many others train in between: after
    `seed_everything(seed + index)`, with a module made then and a loader that is in its first state. Only the hooks of
    the beginning and the end of a fit are called in each rung. A candidate that stops by itself, by
    `trainer.should_stop` or a limit of steps or time, keeps its score and takes part without training on.

    All of them share one fit loop, so the tree does not depend on how many there are. Saved are the rung, the turn, the
    scores, and of each candidate that is to go on or waits for its turn everything: weights, optimizers, schedulers,
    counters, random numbers, callbacks.

    Args:
        fit_loop: Trains a candidate; its `max_epochs` is set by the rungs.
        monitor: The metric that candidates are ranked by, as it is at the end of a rung.
        mode: Whether lower (`min`) or higher (`max`) is better. NaN is worse than any number, and does not go on; of
            equal scores the candidate that was given first is better.
        eta: The best `1 / eta` of a rung go on, to `eta` times the epochs.
        min_epochs: The epochs of the first rung.
        max_epochs: The epochs of the last; None is as many as the rungs come to, see `rungs`.
        seed: Candidate `index` is seeded by `seed + index`.
        on_error: What is done where the training of a candidate raises: `raise`, or count it as the `worst`.
        make_callbacks: Given the index of a candidate, makes callbacks for its training alone; the trainer's hear all.

    Source: Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016,
    https://arxiv.org/abs/1502.07943; as the inner loop of Hyperband: Li et al., JMLR 2018,
    https://arxiv.org/abs/1603.06560.
    """

    fit_loop: Slot[FitLoopOf[M, B, S]] = Slot()
    iteration_unit: ClassVar[str] = "trainings"
    state_fields: ClassVar[tuple[str, ...]] = ("rung", "turn", "running", "scores", "epochs", "errors", "loader_start")
    transient_fields: ClassVar[tuple[str, ...]] = (
        "_rungs",
        "_configurations",
        "_waiting",
        "_loaded",
        "_training",
        "_callbacks",
    )

    _rungs: Sequence[Rung] = ()
    _configurations: Sequence[object] = ()
    _waiting: Mapping[int, PausedFit[M]] = NONE
    _loaded: Mapping[int, Mapping[str, object]] = NONE
    _training: M | None = None
    _callbacks: Sequence[object] = ()

    def __init__(
        self,
        fit_loop: FitLoopOf[M, B, S],
        monitor: str,
        *,
        mode: Literal["min", "max"] = "min",
        eta: int = 3,
        min_epochs: int = 1,
        max_epochs: int | None = None,
        seed: int = 0,
        on_error: Literal["raise", "worst"] = "raise",
        make_callbacks: Callable[[int], Iterable[CallbackProtocol]] | None = None,
    ) -> None:
        rungs(1, eta=eta, min_epochs=min_epochs, max_epochs=max_epochs)
        for name, value, choices in (("mode", mode, ("min", "max")), ("on_error", on_error, ("raise", "worst"))):
            if value not in choices:
                where = f"{type(self).__name__}.{name}"
                raise ConfigurationError(where, f"it is {value!r}", f"Give one of {', '.join(map(repr, choices))}.")
        self.fit_loop = fit_loop
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode
        self.eta = eta
        self.min_epochs = min_epochs
        self.max_epochs = max_epochs
        self.seed = seed
        self.on_error: Literal["raise", "worst"] = on_error
        self.make_callbacks = make_callbacks
        self.rung: int = 0
        self.turn: int = 0
        self.running: list[int] = []
        self.scores: list[list[float]] = []
        self.epochs: list[int] = []
        self.errors: list[str] = []
        self.loader_start: LoaderStart = LoaderStart()

    @typed_connect
    def connect(self, *, fit_loop: FitLoopOf[M, B, S] | None = None) -> None:
        """Put a loop into the slot; None leaves it as it is."""

    @property
    def done(self) -> bool:
        return self.rung >= len(self._rungs)

    @property
    def run_name(self) -> str:
        """The candidate that trains: `candidate_4`."""
        return f"candidate_{self.running[self.turn]}" if self.turn < len(self.running) else ""

    def configure_callbacks(self) -> Iterable[object]:
        return self._callbacks

    def reset(self) -> None:
        self._waiting, self._training, self._callbacks = NONE, None, ()
        if not self.restarting:
            self._loaded = NONE
            self.rung = self.turn = 0
            self.running = []
            self.loader_start.forget()

    def on_run_start(
        self,
        make_module: Callable[[Never], M],
        configurations: Sequence[object],
        train_dataloaders: LoaderSource[B],
        val_dataloaders: LoadersSource[object] | None,
    ) -> None:
        count, where = len(configurations), type(self).__name__
        if not count:
            raise ConfigurationError(f"{where}: configurations", "there are none", "Give at least one.")
        if not self.restarting:
            self.running = [*range(count)]
            self.scores = [[] for _ in self.running]
            self.epochs = [0 for _ in self.running]
            self.errors = ["" for _ in self.running]
        elif count != len(self.scores):
            raise ConfigurationError(
                f"{where}: configurations",
                f"there are {count}, and {len(self.scores)} in the run that goes on",
                "Give those that it had.",
            )
        self._configurations = configurations
        self._rungs = rungs(count, eta=self.eta, min_epochs=self.min_epochs, max_epochs=self.max_epochs)
        self.total_iterations: int | None = sum(rung.candidates for rung in self._rungs)
        self.loader_start.see(train_dataloaders, val_dataloaders)
        make = cast("Callable[[object], M]", make_module)
        for index, state in self._loaded.items():
            where, callbacks = f"{type(self).__name__}: candidate {index}", self._made_callbacks(index)
            module = self._made(index, make, configurations[index])
            self._waiting = {**self._waiting, index: PausedFit[M].of_state(where, module, state, callbacks)}
        self._loaded = NONE

    def advance(
        self,
        make_module: Callable[[Never], M],
        configurations: Sequence[object],
        train_dataloaders: LoaderSource[B],
        val_dataloaders: LoadersSource[object] | None,
    ) -> None:
        index = self.running[self.turn]
        make = cast("Callable[[object], M]", make_module)
        try:
            paused = self._trained(index, make, train_dataloaders, val_dataloaders)
        except Exception as error:
            if self.on_error == "raise":
                add_note(error, f"{type(self).__name__}: {self._about(index)}")
                raise
            self._failed(index, error)
        else:
            self._take_score(index, paused)
        self._training, self._callbacks = None, ()

    def on_advance_end(self) -> None:
        self.turn += 1
        last = self.rung + 1 == len(self._rungs)
        best = self._best(1 if last else self._rungs[self.rung + 1].candidates)
        left = {*best, *self.running[self.turn :]}
        self._waiting = {index: paused for index, paused in self._waiting.items() if index in left}
        if self.turn == len(self.running):
            self._end_rung(sorted(best), last=last)

    def on_run_end(self) -> SuccessiveHalvingResult[object, M]:
        candidates = [
            Candidate(index, configuration, tuple(self.scores[index]), self.epochs[index], self.errors[index] or None)
            for index, configuration in enumerate(self._configurations)
        ]
        ranking = sorted(candidates, key=lambda candidate: (-candidate.rung, self._badness(candidate.index)))
        best = self._waiting[ranking[0].index].module
        result = SuccessiveHalvingResult(tuple(ranking), best, tuple(self._rungs), self.monitor)
        self._waiting, self._configurations = NONE, ()
        return result

    def on_save_checkpoint(self) -> dict[str, object]:
        """What waits; the candidate that trains is saved by its run, or waits as well when that has just ended."""
        states = {**self._loaded, **{index: paused.state_dict() for index, paused in self._waiting.items()}}
        if self._training is not None:
            index, ended = self.running[self.turn], self.fit_loop.ended
            if self.fit_loop.place.point:
                states.pop(index, None)
            elif ended is not None and ended.is_of(self._training):
                states[index] = PausedFit[M].after(self.fit_loop, self._training, self._callbacks).state_dict()
        return {"waiting": {str(index): state for index, state in states.items()}}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        saved = cast("Mapping[str, Mapping[str, object]]", state["waiting"])
        self._waiting = NONE
        self._loaded = {int(index): waiting for index, waiting in saved.items()}

    # Each call relates anew what modules are made of and the result: the base has no way to say that.
    def run(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        make_module: Callable[[C], M],
        configurations: Sequence[C],
        train_dataloaders: LoaderSource[B],
        val_dataloaders: LoadersSource[object] | None = None,
    ) -> SuccessiveHalvingResult[C, M]:
        result = super().run(make_module, configurations, train_dataloaders, val_dataloaders)
        return cast("SuccessiveHalvingResult[C, M]", result)

    def _trained(
        self,
        index: int,
        make_module: Callable[[object], M],
        train_dataloaders: LoaderSource[B],
        val_dataloaders: LoadersSource[object] | None,
    ) -> PausedFit[M]:
        """The candidate at the end of this rung."""
        self.fit_loop.max_epochs = self._rungs[self.rung].epochs
        resumed, waiting = self.fit_loop.place.resumed is not None, self._waiting.get(index)
        if waiting is not None and not self._goes_on(waiting):
            return waiting
        if waiting is None:
            if not resumed:
                begin_anew(self.fit_loop)
            self._callbacks = self._made_callbacks(index)
            module = self._made(index, make_module, self._configurations[index])
            self.loader_start.restore()
        else:
            waiting.take_up(self.fit_loop)
            module, self._callbacks = waiting.module, waiting.callbacks
        self._training = module
        self.fit_loop.run(module, train_dataloaders, val_dataloaders, resume=waiting is not None)
        return PausedFit[M].after(self.fit_loop, module, self._callbacks)

    def _goes_on(self, waiting: PausedFit[M]) -> bool:
        """Whether a candidate still has epochs of this rung to train, and did not stop by itself."""
        before, until = self._rungs[self.rung - 1].epochs if self.rung else 0, self.fit_loop.limits.max_epochs
        goes_on = until is None or waiting.epochs < until
        return goes_on and waiting.stop_reason is StopReason.MAX_EPOCHS and waiting.epochs == before

    def _made(self, index: int, make_module: Callable[[object], M], configuration: object) -> M:
        seed_generators((self.seed + index) % (LARGEST_SEED + 1))
        return make_module(configuration)

    def _made_callbacks(self, index: int) -> Sequence[object]:
        return () if self.make_callbacks is None else tuple(self.make_callbacks(index))

    def _take_score(self, index: int, paused: PausedFit[M]) -> None:
        if self.monitor not in paused.metrics:
            raise ConfigurationError(
                f"{type(self).__name__}(monitor={self.monitor!r})",
                f"candidate {index} has no such metric at the end of a rung; there are {sorted(paused.metrics)}",
                "Monitor one of those, and give loaders to validate on for those of a validation.",
            )
        self.scores[index].append(float(paused.metrics[self.monitor]))
        self.epochs[index] = paused.epochs
        self._waiting = {**self._waiting, index: paused}
        logger.info("%s: %s %s", self._about(index), self.monitor, self.scores[index][-1])

    def _failed(self, index: int, error: Exception) -> None:
        logger.warning("%s failed and counts as the worst: %r", self._about(index), error)
        self.errors[index] = f"{type(error).__name__}: {error}"
        self.scores[index].append(math.nan)
        self.epochs[index] = self.fit_loop.epoch_progress.total.completed
        self._waiting = {other: paused for other, paused in self._waiting.items() if other != index}
        begin_anew(self.fit_loop)

    def _end_rung(self, best: list[int], *, last: bool) -> None:
        if not best:
            told = "; ".join(f"candidate {index} {self.errors[index]}" for index in self.running)
            raise MisuseError(
                type(self).__name__, f"every candidate of rung {self.rung} failed: {told}", "See `on_error`."
            )
        over = last or math.isnan(self.scores[best[0]][-1])
        logger.info("rung %d is over: candidates %s %s", self.rung, best, "lead" if over else "go on")
        self.rung, self.turn, self.running = len(self._rungs) if over else self.rung + 1, 0, best

    def _best(self, count: int) -> list[int]:
        """The best of those that have had their turn in this rung; where none has a number, one that has not failed."""
        ranked = sorted(self.running[: self.turn], key=self._badness)
        good = [index for index in ranked if not math.isnan(self.scores[index][-1])]
        return good[:count] or [index for index in ranked if not self.errors[index]][:1]

    def _badness(self, index: int) -> tuple[bool, bool, float, int]:
        """What candidates of one rung are sorted by."""
        score = self.scores[index][-1]
        nan = math.isnan(score)
        return bool(self.errors[index]), nan, 0.0 if nan else score if self.mode == "min" else -score, index

    def _about(self, index: int) -> str:
        of = self._rungs[self.rung]
        return f"candidate {index} ({self._configurations[index]!r}), rung {self.rung} (until epoch {of.epochs})"
