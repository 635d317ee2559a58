"""Each thing that a target is about, measured side by side with what it is held against."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from statistics import median
from typing import TypeAlias

from benchmarks.cores import CoreName, drive_batches, run_loop
from benchmarks.timing import TimedBlocks, least, least_ratio
from benchmarks.workloads import (
    LARGEST_NORM,
    WINDOW,
    Batch,
    Counting,
    HandWritten,
    HandWrittenWindows,
    Loader,
    LoggingModule,
    NullBatch,
    NullModule,
    ScheduledModule,
    TinyModule,
    bare_loop,
    elsewhere,
    null_batches,
    tiny_batches,
)
from typedloops import Trainer
from typedloops.protocols.trainer import Reduction

TinyFit: TypeAlias = Callable[[TinyModule, TimedBlocks[Batch]], object]
Rival: TypeAlias = Callable[[TinyModule], Callable[[Iterable[Batch]], object]]

ROUNDS = 25
ROUNDS_OF: dict[CoreName, int] = {"compiled": ROUNDS, "reference": 5}
NULL_STEPS = 100_000
TINY_BLOCK = 40
TINY_BLOCKS = 16
FITS = 12


def own_loop(core: CoreName) -> float:
    """A loop of one's own under `run_loop`, against its own `while`."""
    loop = Counting(NULL_STEPS)
    return least_ratio(lambda: run_loop(core, loop), loop.by_hand, ROUNDS_OF[core])


def own_loop_dispatch() -> float:
    """A loop of one's own under `run_loop`, against its two methods called with nothing between them."""
    loop = Counting(NULL_STEPS)
    return least_ratio(lambda: run_loop("compiled", loop), loop.methods_alone, ROUNDS)


def batch_driver(core: CoreName) -> float:
    """The batch driver without a trainer, against the bare `for`."""
    step, loader = NullModule().training_step, Loader(null_batches(NULL_STEPS))
    return least_ratio(lambda: drive_batches(core, step, loader), lambda: bare_loop(step, loader), ROUNDS_OF[core])


def null_fit(module: NullModule) -> float:
    """A whole fit, against the bare `for` over the same loader."""
    trainer, loader = Trainer(max_epochs=1), Loader(null_batches(NULL_STEPS))
    return _null_ratio(lambda: trainer.fit(module, loader), module.training_step, loader)


def null_validate(loader: Iterable[NullBatch]) -> float:
    """A whole validation, against the bare `for` over the same loader."""
    trainer, module = Trainer(), NullModule()
    return _null_ratio(lambda: trainer.validate(module, loader), module.validation_step, loader)


def null_predict(loader: Iterable[NullBatch]) -> float:
    """A whole prediction, against the bare `for` over the same loader."""
    trainer, module = Trainer(), NullModule()
    return _null_ratio(lambda: trainer.predict(module, loader), module.predict_step, loader)


def _null_ratio(
    run: Callable[[], object], step: Callable[[NullBatch, int], object], loader: Iterable[NullBatch]
) -> float:
    return least_ratio(run, lambda: bare_loop(step, loader), ROUNDS)


def hand_written_again() -> float:
    """The hand-written loop against itself: how far the ratios of the tiny step can be trusted."""
    return _tiny_ratio(lambda module, loader: HandWritten(module)(loader))


def tiny_fit(callbacks: int = 0) -> float:
    """A step of a fit with a tiny module, against the hand-written loop."""
    return _tiny_ratio(lambda module, loader: Trainer(max_epochs=1, callbacks=elsewhere(callbacks)).fit(module, loader))


def tiny_fit_of_windows() -> float:
    """A step of a fit that accumulates, clips and steps a scheduler, against the hand-written loop that does."""

    def fit(module: TinyModule, loader: TimedBlocks[Batch]) -> None:
        trainer = Trainer(max_epochs=1, accumulate_grad_batches=WINDOW, gradient_clip_val=LARGEST_NORM)
        trainer.fit(ScheduledModule(module.net), loader)

    return _tiny_ratio(fit, HandWrittenWindows)


def hand_written_windows_again() -> float:
    """That hand-written loop against itself."""
    return _tiny_ratio(lambda module, loader: HandWrittenWindows(module)(loader), HandWrittenWindows)


def tiny_fit_logging(reduce: Reduction | None = None) -> float:
    """The same with three `log` calls, against the hand-written loop without any."""

    def fit(module: TinyModule, loader: TimedBlocks[Batch]) -> None:
        trainer = Trainer(max_epochs=1)
        trainer.fit(LoggingModule(module.net, trainer, reduce), loader)

    return _tiny_ratio(fit)


def _tiny_ratio(fit: TinyFit, rival: Rival = HandWritten) -> float:
    """The median over many modules: where its tensors happen to lie makes one faster than another."""
    return median(_tiny_ratio_of_one_module(fit, rival) for _ in range(FITS))


def _tiny_ratio_of_one_module(fit: TinyFit, rival: Rival) -> float:
    module = TinyModule()
    loader = TimedBlocks(tiny_batches(TINY_BLOCK), TINY_BLOCKS, rival=rival(module))
    fit(module, loader)
    return loader.ratio


def late_steps() -> float:
    """The last steps of a million, against the first."""
    loader = TimedBlocks(null_batches(1000), 1000)
    Trainer(max_epochs=1).fit(NullModule(), loader)
    return min(loader.seconds[-100:]) / min(loader.seconds[1:101])


def steps_with_callbacks(callbacks: int) -> float:
    """A step with callbacks that listen to other events, against one without callbacks."""
    pairs = [(_null_step(callbacks), _null_step(0)) for _ in range(ROUNDS)]
    return min(many for many, _ in pairs) / min(none for _, none in pairs)


def _null_step(callbacks: int) -> float:
    loader = TimedBlocks(null_batches(5000), 10)
    Trainer(max_epochs=1, callbacks=elsewhere(callbacks)).fit(NullModule(), loader)
    return loader.least_per_batch


def kept_bytes() -> float:
    """What a fit holds after 100,000 more steps and did not hold before them."""
    kept: list[int] = []
    loader = TimedBlocks(null_batches(50_000), 3, rival=lambda _: kept.append(tracemalloc.get_traced_memory()[0]))
    tracemalloc.start()
    try:
        Trainer(max_epochs=1).fit(NullModule(), loader)
    finally:
        tracemalloc.stop()
    return float(kept[-1] - kept[1])


def fixed_costs() -> dict[str, float]:
    """What does not depend on the number of steps, in microseconds."""
    module, one_batch = NullModule(), Loader(null_batches(1))
    fit_once, fit_often, trainer = Trainer(max_epochs=1), Trainer(max_epochs=101), Trainer()
    crowded = Trainer(max_epochs=1, callbacks=elsewhere(100))
    fit = 1e6 * least(lambda: fit_once.fit(module, one_batch), 100)
    often = 1e6 * least(lambda: fit_often.fit(module, one_batch), 20)
    return {
        "making a Trainer": 1e6 * least(Trainer, 100),
        "a fit": fit,
        "a fit with 100 callbacks": 1e6 * least(lambda: crowded.fit(module, one_batch), 50),
        "each further epoch of a fit": (often - fit) / 100,
        "a validation": 1e6 * least(lambda: trainer.validate(module, one_batch), 100),
        "a prediction": 1e6 * least(lambda: trainer.predict(module, one_batch), 100),
    }
