"""A loop over the batches of one loader: what the epoch loops of all families are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, cast

import torch
from torch import Tensor
from typing_extensions import ParamSpec, TypeVar

from typedloops._core import BatchDriver, BatchProgress, BatchStatus, BatchTransfer, ReadyCompleted, StopFlag
from typedloops._core.calls import AnyCallable
from typedloops._core.shapes import is_mapping
from typedloops.errors import InternalError
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.run.context import InRun, RunContext, running
from typedloops.loops.run.loaders import check_end, check_ran, length_of, resolve_limit
from typedloops.loops.run.saving.data import is_data
from typedloops.loops.run.settings.config import BatchLimit
from typedloops.protocols.trainer import Stage

if TYPE_CHECKING:
    from typedloops.loops.run.passes import LoaderPass

P = ParamSpec("P")
R = TypeVar("R", default=None)
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
O = TypeVar("O")


@dataclass(frozen=True)
class BatchSource(Generic[B_co]):
    """A loader, and how many of its batches are to be driven.

    Args:
        name: What to call it in an error.
        loader: Where the batches come from.
        length: How many batches it says it has, or None.
        limit: How many of them at most, or None.
    """

    name: str
    loader: Iterable[B_co]
    length: int | None = None
    limit: int | None = None

    @property
    def batches(self) -> int | None:
        """How many batches there will be; None when that is not known."""
        return min((n for n in (self.length, self.limit) if n is not None), default=None)


GOES_ON = (BatchStatus.RUNNING, BatchStatus.EXHAUSTED)
"""Where a pass through a loader has a position: it was not left."""

NO_SOURCE: BatchSource[object] = BatchSource("", ())


@dataclass
class BatchEvents:
    """What to call around each step; see `BatchDriver`."""

    before: tuple[AnyCallable, ...] = ()
    gate: AnyCallable | None = None
    consume: AnyCallable | None = None
    after_step: AnyCallable | None = None
    after: tuple[AnyCallable, ...] = ()


class BatchesLoop(InRun[P, R], Generic[P, R]):
    """A loop whose iterations are batches.

    A subclass makes the driver in `on_run_start`; one batch at a time (`advance`) or all
    in one call (`advance_all`) is then the same work by the same code.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("batch_progress",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_driver", "_source", "_pass", "_gives_back")
    points: ClassVar[tuple[str, ...]] = ("begun", "batch")

    binds_children: ClassVar[bool] = True

    _driver: BatchDriver[object, object] | None = None
    _source: BatchSource[object] = NO_SOURCE
    _pass: LoaderPass[object] | None = None
    _gives_back: bool = False
    _num_batches: int | None = None

    def __init__(self) -> None:
        self.batch_progress: BatchProgress = BatchProgress()

    @property
    def completed_iterations(self) -> int:
        return self.batch_progress.current.completed

    def _progress_to_show(self) -> RunProgress | None:
        return None if self._iterations is None else self.run_progress

    @property
    def run_progress(self) -> RunProgress:
        return RunProgress(self.completed_iterations, self._num_batches, "batches")

    @property
    def done(self) -> bool:
        return self._driver is None or self._driver.status is not BatchStatus.RUNNING

    def reset(self) -> None:
        if self.place.resumed is None:
            self.batch_progress.reset_on_run()

    def advance(self, *args: P.args, **kwargs: P.kwargs) -> None:
        completed = self.batch_progress.current.completed
        self.driver.run(1)
        if self.batch_progress.current.completed == completed:
            raise StopIteration
        self.on_batches()

    def advance_all(self, *args: P.args, **kwargs: P.kwargs) -> None:
        while not self.done:
            completed = self.batch_progress.current.completed
            self.driver.run(1 if self.restarting else self.batches_to_go)
            if self.batch_progress.current.completed > completed:
                self.restarting = False
                self.on_batches()

    @property
    def batches_to_go(self) -> int:
        """How many batches to drive at most before `on_batches`; -1 is all."""
        return -1

    def on_batches(self) -> None:
        """Called between two batches, and after the last: often enough for `batches_to_go` and for what is saved."""
        self.mark("batch")

    def run(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with running(self):
            result = super().run(*args, **kwargs)
        self.place.leave()
        return result

    @property
    def whereabouts(self) -> str:
        """Which batch of which loader this loop is at."""
        counted, context = self.batch_progress.current, self.context
        started = counted.ready > counted.completed
        batch = f"in batch {counted.ready - 1}" if started else f"before batch {counted.ready}"
        epoch = f", epoch {context.epoch}" if context.stage is Stage.FIT else ""
        return f", {batch} of the {self._source.name}{epoch}"

    def teardown(self) -> None:
        self._driver = None
        self._source = NO_SOURCE
        self._pass = None
        self._gives_back = False

    @property
    def driver(self) -> BatchDriver[object, object]:
        """What drives the batches of the run under way."""
        if self._driver is None:
            raise InternalError(f"{type(self).__name__} has no batches to drive outside a run")
        return self._driver

    def open(self, name: str, loader: Iterable[B], limit: BatchLimit) -> BatchSource[B]:
        """Look at what is to be driven, so that the run knows of it before the step is made.

        Args:
            name: What to call the loader in an error.
            loader: Where the batches come from; not asked for anything when `limit` is 0.
            limit: How many batches at most.
        """
        length = None if limit == 0 else length_of(loader)
        most = self.context.most_batches
        resolved = resolve_limit(f"the limit on {name}", limit, length)
        at_most = resolved if most is None else most if resolved is None else min(resolved, most)
        source = BatchSource(name, loader, length, at_most)
        if self.place.resumed is None:
            self.place.point = "begun"
        self._source = source
        self.context.batch_progress = self.batch_progress
        self.context.num_batches = self._num_batches = source.batches
        return source

    def drive(
        self,
        source: BatchSource[B],
        step: Callable[[B, int], O],
        *,
        events: BatchEvents,
        dataloader_idx: int = 0,
        outputs: list[O] | None = None,
        stop_flag: StopFlag | None = None,
        steps: ReadyCompleted | None = None,
        max_steps: int | None = None,
    ) -> None:
        """Make ready to drive the batches of `source` through `step`.

        Args:
            source: What `open` gave.
            step: What to do with a batch.
            events: What to call around each step.
            dataloader_idx: Which loader this is, for the module's transfer hooks.
            outputs: Where every output goes, or None.
            stop_flag: What ends the epoch early; None is an interrupt alone.
            steps: The counter that `max_steps` limits, or None.
            max_steps: How many optimizer steps to take at most, or None.
        """
        resumed = self.resumed_state
        status = BatchStatus(cast("int", resumed.get("status", BatchStatus.RUNNING)))
        begun, upcoming = cast("tuple[B | None, B | None]", resumed.get("fetched", (None, None)))
        batches = self._batches_of(source, status, resumed)
        if resumed.get("again"):
            batches = iter(batches)
            from typedloops.loops.run.passes.ahead import fetched_again

            upcoming = fetched_again(source.name, source.loader, batches, exact=self._is_exact)
        driver: BatchDriver[B, O] = BatchDriver(
            batches,
            step,
            self.batch_progress,
            stop_flag or self.context.stop.leave,
            source=source.name,
            length=source.length,
            limit=source.limit,
            transform=transform_of(self.context, dataloader_idx),
            before=events.before,
            gate=events.gate,
            outputs=outputs,
            consume=events.consume,
            after_step=events.after_step,
            after=events.after,
            steps=steps,
            max_steps=max_steps,
            on_exhausted=self._exhausted,
            pause=self.context.requests.flag,
            begun=self.context.on_device(begun),
            upcoming=upcoming,
        )
        if status is not BatchStatus.RUNNING:
            driver.status = status
        self._driver = cast("BatchDriver[object, object]", driver)

    def _batches_of(self, source: BatchSource[B], status: BatchStatus, resumed: Mapping[str, object]) -> Iterable[B]:
        """What to drive: the batches of a pass, from where it was if the run goes on in its middle."""
        if source.limit == 0 or status not in GOES_ON:
            return ()
        from typedloops.loops.run.passes import LoaderPass  # with the first batch, not with the library

        position = resumed.get("loader")
        loader_pass = LoaderPass(
            source.name,
            source.loader,
            resumed=position if is_mapping(position) else None,
            exact=self._is_exact,
            tells_end=True,
        )
        self._pass = cast("LoaderPass[object]", loader_pass)
        return loader_pass

    @property
    def _is_exact(self) -> bool:
        """Whether a run that goes on is to do so exactly or not at all."""
        resuming = self.context.resuming
        return resuming is not None and resuming.exact

    def _exhausted(self, stop: StopIteration) -> None:
        check_end(stop)
        if self._pass is not None:
            self._pass.end()

    def run_state(self) -> dict[str, object]:
        """Where the driver and its loader are."""
        driver, counted = self.driver, self.batch_progress.current
        at_hand = counted.started > counted.completed and driver.status is BatchStatus.RUNNING
        upcoming = self._upcoming()
        state: dict[str, object] = {
            "status": int(driver.status),
            "fetched": (self.batch_at_hand if at_hand else None, upcoming),
            "again": driver.upcoming is not None and upcoming is None and not self._gives_back,
        }
        if self._pass is not None and driver.status in GOES_ON:
            state["loader"] = self._pass.state_dict(counted.ready + (upcoming is not None))
        return state

    def _upcoming(self) -> object:
        """The batch that is fetched ahead; None where there is none, or it is to be fetched again.

        Raises:
            CheckpointError: It can neither be saved nor be fetched again.
        """
        upcoming, goes_back = self.driver.upcoming, self._pass is None or self._pass.goes_back
        if goes_back and (self._gives_back or not is_data(upcoming)):
            return None
        if not is_data(upcoming):
            from typedloops.loops.run.passes.ahead import lost

            raise lost(self._source.name, upcoming)
        return upcoming

    def give_back(self) -> bool:
        """The batch under way was not done, and the loader is to give it once more: what was fetched after it too.

        Returns:
            Whether it can; a loader that saves its place by itself is past that batch.
        """
        self._gives_back = self._pass is None or self._pass.goes_back
        return self._gives_back

    @property
    def batch_at_hand(self) -> object:
        """The batch that a step is in the middle of, where that can be saved; otherwise None."""
        return None

    def check_ran(self) -> None:
        """Say so when the loader gave no batches, or not as many as it said."""
        check_ran(
            self._source.name,
            self._source.loader,
            batches=self.batch_progress.current.ready,
            length=self._source.length,
            exhausted=self.driver.status is BatchStatus.EXHAUSTED,
        )


def transform_of(context: RunContext, dataloader_idx: int) -> Callable[[B], B] | None:
    """What is done to a batch before its step: the module's transfer hooks, and around them the move to the device.

    None when there is nothing to do: no hooks, on the CPU, in 32 bits.
    """
    before = context.listeners.of_module("on_before_batch_transfer")
    own = context.listeners.of_module("transfer_batch_to_device")
    after = context.listeners.of_module("on_after_batch_transfer")
    transfer = transfer_of(context.device, context.number_type.converts_to, moves=own is None)
    if before is None and own is None and after is None:
        return transfer
    calls: list[tuple[AnyCallable, tuple[object, ...]]] = [
        (hook, arguments)
        for hook, arguments in (
            (before, (dataloader_idx,)),
            (own, (context.device, dataloader_idx)),
            (transfer, ()),
            (after, (dataloader_idx,)),
        )
        if hook is not None
    ]

    def transform(batch: B) -> B:
        for function, rest in calls:
            batch = cast("B", function(batch, *rest))
        return batch

    return transform


def transfer_of(device: torch.device, dtype: torch.dtype | None, *, moves: bool = True) -> BatchTransfer | None:
    """What brings batches to a device and makes their numbers of a type, or None when that is nothing.

    Args:
        device: Where the run computes.
        dtype: The type of its numbers, or None for that which they have.
        moves: Whether batches are moved; otherwise the module does that.
    """
    goes = moves and device.type != "cpu"
    if not goes and dtype is None:
        return None
    # Apple's devices may read before the copy is complete.
    return BatchTransfer(Tensor, device if goes else None, dtype, non_blocking=device.type not in ("cpu", "mps"))
