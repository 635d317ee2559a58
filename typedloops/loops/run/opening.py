"""Opening a run of a module: who is called before it and after it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Collection, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import cast

from typedloops.errors import MisuseError, add_note
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.computing.torch_settings import torch_settings
from typedloops.loops.run.context import Host, InRun, RunContext, find_context, running
from typedloops.loops.run.given import check_savers
from typedloops.loops.run.misnamed import warn_of_misnamed_hooks
from typedloops.loops.run.requirements import check_tree
from typedloops.loops.run.saving.occasions import paths_after_exception
from typedloops.loops.run.saving.saver import Saver
from typedloops.loops.run.saving.sources import ResumeFrom
from typedloops.loops.run.settings.config import RunConfig
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.checkpoint import CheckpointFormat
from typedloops.protocols.loop import AnyLoop
from typedloops.protocols.trainer import Stage

logger: logging.Logger = logging.getLogger("typedloops")


@contextmanager
def open_run(
    loop: LoopNode, stage: Stage, module: object, unused: Collection[str] = (), resume: ResumeFrom | None = None
) -> Generator[RunContext]:
    """The run of `module` that `loop` is a part of: the one under way, or a new one.

    A new one checks the module against the tree, and then:

    ```
    configure_callbacks of the loops above, M.configure_callbacks, M.prepare_data, C/M.setup(stage), M.configure_model
    the module moved to its device, in the precision of the run
    ...                                   # on an exception: C/M.on_exception
    C/M.teardown(stage); teardown of every loop, children first
    ```

    Args:
        loop: The loop that is about to run.
        stage: What a new run is for.
        module: What is to be run.
        unused: Paths, relative to `loop`, of loops that will not be run.
        resume: What a new run goes on from, or None.
    """
    if loop.at_work:
        raise MisuseError(
            type(loop).__name__, "it is already running", "Run another loop from here: a run cannot be inside itself."
        )
    current = find_context(loop)
    check_tree(unwrapped(module), loop, unused)
    with running(loop):
        if current is not None and current.module is module and current.takes_in(stage):
            _check_not_resumed(loop, resume)
            yield current
        else:
            with _new_run(loop, stage, module, resume) as context:
                yield context
    for node in _below(loop):
        if isinstance(node, Loop):
            node.restarting = False  # in what was not run this time as well


@contextmanager
def _new_run(loop: LoopNode, stage: Stage, module: object, resume: ResumeFrom | None) -> Generator[RunContext]:
    trainer, around = loop.root._trainer, find_context(loop)  # pyright: ignore[reportPrivateUsage]
    context = RunContext(stage, module, trainer if isinstance(trainer, Host) else None, loop, around)
    vars(loop)["_context"] = context
    at_start = _below(loop)
    if around is None and context.host is not None:
        resume = _the_one(resume, context.host.take_resumption())
    try:
        with _settings_of(context.config), _hosted(context), _saved(context, around, loads=resume is not None):
            _set_up(context)
            _resume(context, around, resume)
            _begin_saving(context)
            yield context
    finally:
        # Last in, first out: loops are torn down while they know their run, those put into the tree since as well.
        with ExitStack() as ending:
            ending.callback(vars(loop).pop, "_context", None)
            ending.callback(context.optimization.stop_counting)
            for node in dict.fromkeys([*at_start, *_below(loop)]):
                if isinstance(node, Loop):
                    ending.callback(node.teardown)
        if around is None and context.resuming is not None:
            context.resuming.give_up()
        if around is None and context.requests.ended_by not in (None, signal.SIGINT):
            signal.raise_signal(context.requests.ended_by)


def _settings_of(config: RunConfig) -> AbstractContextManager[None]:
    return torch_settings(config.float32_matmul_precision, config.deterministic, config.benchmark)


def _below(loop: LoopNode) -> list[AnyLoop]:
    return [node for _, node in loop.walk()]


@contextmanager
def _hosted(context: RunContext) -> Generator[None]:
    if context.host is not None:
        context.host.run_began(context)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        _save_after(context, error)
        _tell(context, error)
        _save_after(context, error)
        raise
    finally:
        with noted_on(failure, "teardown"):
            context.hook("teardown")(str(context.stage))
            if isinstance(context.saver, Saver):
                context.saver.finish()
        if context.host is not None:
            with noted_on(failure, "the end of the run"):
                context.host.run_ended(context, failure)


@contextmanager
def noted_on(failure: BaseException | None, what: str) -> Generator[None]:
    """Let an error become a note of `failure`, which is the one to be told; without a failure it is raised."""
    try:
        yield
    except Exception as second:
        if failure is None:
            raise
        add_note(failure, f"{what} raised as well: {second!r}")


def _save_after(context: RunContext, error: BaseException) -> None:
    """Save what is wanted of a run that ends with an error, when that came and when it has been told."""
    with noted_on(error, "saving after it"):
        context.saver.after_exception(error, paths_after_exception(context))
    if isinstance(context.saver, Saver):
        with noted_on(error, "saving after it"):
            context.saver.finish()


def _tell(context: RunContext, error: BaseException) -> None:
    """Call `on_exception`; the error that ended the run is the one to be raised, whatever the hook does."""
    with noted_on(error, "on_exception"):
        context.hook("on_exception")(error)


def _set_up(context: RunContext) -> None:
    configure_callbacks = context.listeners.of_module("configure_callbacks")
    if configure_callbacks is not None:
        callbacks = configure_callbacks()
        context.listeners.add_callbacks(_several(callbacks))
    context.listeners.check()
    if context.stage is Stage.FIT:
        check_savers(context.own_callbacks)
    warn_of_misnamed_hooks(context.listeners.everybody)
    for event in ("prepare_data", "configure_model"):
        own = context.listeners.of_module(event)
        if event == "configure_model":
            context.hook("setup")(str(context.stage))
        if own is not None:
            own()
    context.place_module()


def _several(callbacks: object) -> Iterable[object]:
    """What `configure_callbacks` returned as callbacks: several, one, or None for none."""
    if callbacks is None:
        return ()
    one = isinstance(callbacks, type) or not isinstance(callbacks, Iterable)
    return [callbacks] if one else cast("Iterable[object]", callbacks)


@contextmanager
def _saved(context: RunContext, around: RunContext | None, *, loads: bool) -> Generator[None]:
    """Let a run be saved: by itself, or with the run around it."""
    if around is not None:
        context.requests, context.saver, context.resuming = around.requests, around.saver, around.resuming
        yield
        return
    for node in _below(context.opened_by):
        if isinstance(node, InRun):
            node.place.leave()
    saver = Saver(context.opened_by, context.requests, partial(_format_of, context.host), loads=loads)
    context.saver = saver
    yield
    saver.finish()  # after an exception, when it has been told
    if context.resuming is not None:
        context.resuming.end(context)


def _begin_saving(context: RunContext) -> None:
    if isinstance(context.saver, Saver):
        context.saver.begun = True


def _the_one(own: ResumeFrom | None, told: ResumeFrom | None) -> ResumeFrom | None:
    """What a run goes on from: what it was given itself, or what the trainer was told before."""
    if own is not None and told is not None:
        raise MisuseError(
            "ckpt_path",
            f"it is {os.fspath(own.path)!r}, and `trainer.load_checkpoint({os.fspath(told.path)!r})` was called before",
            "Give one of the two.",
        )
    return told if own is None else own


def _format_of(host: Host | None) -> CheckpointFormat:
    from typedloops.checkpoint import FolderFormat  # only now: a run that is not saved needs none of it

    return FolderFormat() if host is None else host.checkpoint_format


def _resume(context: RunContext, around: RunContext | None, resume: ResumeFrom | None) -> None:
    """Load what the run goes on from."""
    if around is not None:
        _check_not_resumed(context.opened_by, resume)
        if context.resuming is not None and _goes_on(context.opened_by):
            context.resuming.begin_within(context)
        return
    if resume is None:
        return
    from typedloops.loops.run.saving.loading import load  # only now: a run that begins anew needs none of it

    order = load(context, resume, _format_of(context.host))
    if isinstance(context.saver, Saver):
        context.saver.loads, context.saver.order = False, order


def _goes_on(loop: LoopNode) -> bool:
    """Whether a loop that opens a run within another was in the middle of it when that was saved."""
    if isinstance(loop, InRun):
        return loop.place.resumed is not None
    return isinstance(loop, Loop) and loop.restarting


def _check_not_resumed(loop: LoopNode, resume: ResumeFrom | None) -> None:
    if resume is not None:
        raise MisuseError(
            f"{loop.path or type(loop).__name__}: ckpt_path",
            "it runs within another loop, whose state would not be that of the checkpoint",
            "Call `trainer.load_checkpoint(path)` before the run of the whole.",
        )
