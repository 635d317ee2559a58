"""A loop over loaders, without training: what evaluation and prediction are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import ClassVar, Generic

from typing_extensions import TypeVar

from typedloops._core import DataLoaderProgress
from typedloops._core.shapes import is_list_or_tuple
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.run.computing.modes import eval_parts_of, evaluating, load_eval_parts_into
from typedloops.loops.run.context import InRun
from typedloops.loops.run.epochs import tell_epoch
from typedloops.loops.run.kind import LoadersKind
from typedloops.loops.run.loaders import as_loaders, length_of, resolve_limit
from typedloops.loops.run.metrics import MetricStore
from typedloops.loops.run.opening import open_run
from typedloops.loops.run.position import LoaderPosition
from typedloops.loops.run.saving.occasions import saved_when_it_fails
from typedloops.loops.run.saving.sources import CheckpointPath, weights_from
from typedloops.loops.run.settings.config import BatchCounts, BatchLimits
from typedloops.loops.run.settings.limits import counted_limits, each_limit, leaves_nothing
from typedloops.loops.run.sources import is_factory, made_several
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.data import Loaders, LoadersSource
from typedloops.protocols.trainer import Stage

M = TypeVar("M")
B = TypeVar("B")
T = TypeVar("T")
R = TypeVar("R")


class LoadersLoop(InRun[[M, LoadersSource[B]], R], Generic[M, B, T, R]):
    """A loop whose iterations are loaders; `T` is what one loader gives, `R` what all of them give.

    Args:
        limit_batches: How many batches of each loader at most, or a list with a limit for each; None is what
            the trainer says.
    """

    opens_run: ClassVar[bool] = True
    state_fields: ClassVar[tuple[str, ...]] = ("dataloader_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_loaders", "_positions", "_results", "_logged", "_eval_before")
    points: ClassVar[tuple[str, ...]] = (
        "begun",
        "start",
        "epoch_start",
        "loader",
        "loader_end",
        "results",
        "epoch_end",
    )

    kind: ClassVar[LoadersKind]

    given_several: bool = False
    """Whether the run under way was given a list of loaders, if only of one."""

    _loaders: Sequence[Iterable[B]] = ()
    _num_loaders: int | None = None
    _positions: Sequence[LoaderPosition] = ()
    _eval_before: Sequence[str] = ()
    _results: list[T]
    _logged: MetricStore

    def __init__(self, limit_batches: BatchCounts | None = None) -> None:
        where = f"{type(self).__name__}.limit_batches"
        self.limit_batches: BatchLimits | None = None if limit_batches is None else counted_limits(where, limit_batches)
        self.dataloader_progress: DataLoaderProgress = DataLoaderProgress()

    @property
    def limit(self) -> BatchLimits:
        """How many batches of each loader at most: this loop's own limit, or the trainer's."""
        own = self._own_limit
        return self.kind.limit(self.config) if own is None else own

    @property
    def _own_limit(self) -> BatchLimits | None:
        return None if self.config.fast_dev_run else self.limit_batches

    def positions(self, count: int) -> Sequence[LoaderPosition]:
        """The places of so many loaders, each with its limit.

        Raises:
            ConfigurationError: There is another number of limits.
        """
        where = self.kind.setting if self._own_limit is None else f"{type(self).__name__}.limit_batches"
        limits = each_limit(where, self.limit, count)
        return [LoaderPosition(index, count, limit) for index, limit in enumerate(limits)]

    @property
    def completed_iterations(self) -> int:
        """How many loaders of the present or last run are completed."""
        return self.dataloader_progress.current.completed

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.dataloader_progress.current.completed, self._num_loaders, "loaders")

    @property
    def done(self) -> bool:
        return self.dataloader_progress.current.completed >= len(self._loaders)

    def reset(self) -> None:
        if self.place.resumed is None:
            self.dataloader_progress.reset_on_run()

    def loaders(self, dataloaders: Loaders[B]) -> Sequence[Iterable[B]]:
        """The loaders that are meant, of each of which the limit leaves something.

        Raises:
            LoaderError: Some of them are batches.
            ConfigurationError: There are not as many limits, or a limit is a share that its loader cannot be given.
        """
        loaders = as_loaders(f"{self.kind.name} dataloaders", dataloaders)
        for loader, position in zip(loaders, self.positions(len(loaders)), strict=True):
            if position.limit:
                resolve_limit(f"the limit on {self.kind.name} {position}", position.limit, length_of(loader))
        return loaders

    def on_run_start(self, model: M, dataloaders: LoadersSource[B]) -> None:
        unused = is_factory(dataloaders) and leaves_nothing(self.limit)
        given: Loaders[B] = () if unused else made_several(f"{self.kind.name} dataloaders", dataloaders)
        self._loaders = self.loaders(given)
        self._num_loaders = len(self._loaders)
        self._positions = self.positions(self._num_loaders)
        self.given_several = not any(loader is given for loader in self._loaders)
        self._results = self.resumed_results
        self._tell_epoch()
        self.passed("begun")
        for event, point in (("start", "start"), ("epoch_start", "epoch_start")):
            if not self.passed(point):
                self.context.hook(f"on_{self.kind.name}_{event}")()
                self.mark(point)
        self.passed("loader_end")

    @property
    def resumed_results(self) -> list[T]:
        """What the loaders gave that were done when the run was saved."""
        return []

    def _tell_epoch(self) -> None:
        """Within a fit the loaders are told which epoch it is."""
        for loader, position in zip(self._loaders, self._positions, strict=True):
            if self.context.stage is Stage.FIT and position.limit:
                tell_epoch(loader, self.context.epoch)

    def advance(self, model: M, dataloaders: LoadersSource[B]) -> None:
        index = self.dataloader_progress.current.completed
        if not self.passed("loader"):
            self.dataloader_progress.increment_ready()
            self.place.point = "loader"
        result = self.run_loader(model, self._loaders[index], self._positions[index])
        self.context.stop.check_left()
        self._results.append(result)
        self.dataloader_progress.increment_completed()
        self.mark("loader_end")

    def on_run_end(self) -> R:
        context = self.context
        if not self.passed("results"):
            self.on_results(self._results)
            self.mark("results")
        if not self.passed("epoch_end"):
            context.hook(f"on_{self.kind.name}_epoch_end")()
            self.mark("epoch_end")
        result = self.result(self._results)
        self.on_result(result)
        context.logging_to.close()
        context.hook(f"on_{self.kind.name}_end")()
        return result

    def run(
        self,
        model: M,
        dataloaders: LoadersSource[B],
        *,
        ckpt_path: CheckpointPath | None = None,
    ) -> R:
        with (
            open_run(self, self.kind.stage, model, resume=weights_from(ckpt_path)) as context,
            self._modes_kept(unwrapped(model)),
            evaluating(model, context.config.inference_mode),
            context.log_to(MetricStore(default="mean")),
        ):
            before = context.num_batches, context.batch_progress
            self._logged = context.logging_to
            self._logged.load_state_of(context.on_device(self.resumed_state.get("logged")))
            if self.place.resumed is None:
                self.place.point = "begun"
            try:
                with saved_when_it_fails(context):
                    result = super().run(model, dataloaders)
            finally:
                context.num_batches, context.batch_progress = before
            self.place.leave()
            return result

    def run_state(self) -> dict[str, object]:
        return {"logged": self._logged.state_dict(), "eval_before": list(self._eval_before)}

    @contextmanager
    def _modes_kept(self, module: object) -> Generator[None]:
        """Know the modes before this evaluation, which it ends with, also when it was resumed in its middle."""
        before = self.resumed_state.get("eval_before")
        if is_list_or_tuple(before):
            load_eval_parts_into(module, before)
        self._eval_before = eval_parts_of(module)
        try:
            yield
        finally:
            self._eval_before = ()

    def teardown(self) -> None:
        self._loaders = ()
        self._positions = ()
        self._results = []
        vars(self).pop("_logged", None)

    @abstractmethod
    def run_loader(self, model: M, loader: Iterable[B], position: LoaderPosition) -> T:
        """Run the batches of one loader."""

    @abstractmethod
    def result(self, results: Sequence[T]) -> R:
        """Make the output of what the loaders gave."""

    def on_results(self, results: Sequence[T]) -> None:
        """Called before the two last hooks."""

    def on_result(self, result: R) -> None:
        """Called between the two last hooks."""
