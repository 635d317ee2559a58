"""Who listens to what, worked out once at the start of a run."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial

from typedloops._core import Hook
from typedloops._core.calls import AnyCallable
from typedloops._core.escape import name_of
from typedloops.errors import HookError
from typedloops.loops.run.asked import check_call

FRAMEWORK_PLACEHOLDERS = (
    "lightning.pytorch.core.",
    "lightning.pytorch.callbacks.callback",
    "pytorch_lightning.core.",
    "pytorch_lightning.callbacks.callback",
)
"""Modules whose classes define hooks that do nothing until they are overridden."""


def defining_class(kind: type[object], name: str) -> type[object] | None:
    """The class that `kind` has the attribute `name` from, or None."""
    return next((base for base in kind.__mro__ if name in vars(base)), None)


def is_placeholder(kind: type[object]) -> bool:
    """Whether what the class itself defines is there to be overridden and does nothing."""
    return bool(vars(kind).get("placeholder_hooks")) or f"{kind.__module__}.".startswith(FRAMEWORK_PLACEHOLDERS)


def listener(thing: object, name: str) -> AnyCallable | None:
    """The method `name` of `thing`, unless it has none or a base class's that does nothing."""
    if isinstance(thing, type):  # what makes modules, and is none: its methods are those of its instances
        return None
    if name not in getattr(thing, "__dict__", {}):
        kind = defining_class(type(thing), name)
        if kind is None or is_placeholder(kind):
            return None
    method: object = getattr(thing, name)
    return method if callable(method) else None


def _arguments() -> dict[str, tuple[str, ...]]:
    """What the listeners of each event are given, after the trainer and the module."""
    batch = ("batch", "batch_idx")
    given: dict[str, tuple[str, ...]] = {
        "setup": ("stage",),
        "teardown": ("stage",),
        "on_exception": ("exception",),
        "on_save_checkpoint": ("checkpoint",),
        "on_load_checkpoint": ("checkpoint",),
        "on_before_zero_grad": ("optimizer",),
        "on_before_backward": ("loss",),
        "on_before_optimizer_step": ("optimizer",),
        "on_before_batch_transfer": ("batch", "dataloader_idx"),
        "transfer_batch_to_device": ("batch", "device", "dataloader_idx"),
        "on_after_batch_transfer": ("batch", "dataloader_idx"),
    }
    for event in ("on_after_backward", "on_fit_start", "on_fit_end", "configure_callbacks", "prepare_data"):
        given[event] = ()
    for event in ("on_sanity_check_start", "on_sanity_check_end"):
        given[event] = ()
    for phase in ("training", "validation", "test"):
        given[f"{phase}_epoch_end"] = ("outputs",)
    for phase in ("train", "validation", "test", "predict"):
        for event in ("start", "end", "epoch_start", "epoch_end"):
            given[f"on_{phase}_{event}"] = ()
        given[f"on_{phase}_batch_start"] = batch
        given[f"on_{phase}_batch_end"] = ("outputs", *batch)
    return given


ARGUMENTS = _arguments()
ARGUMENTS_OF_MODULE: dict[str, tuple[str, ...]] = {
    **ARGUMENTS,
    "optimizer_step": ("epoch", "batch_idx", "optimizer", "optimizer_closure"),
    "optimizer_zero_grad": ("epoch", "batch_idx", "optimizer"),
    "configure_gradient_clipping": ("optimizer", "gradient_clip_val", "gradient_clip_algorithm"),
    "lr_scheduler_step": ("scheduler", "metric"),
}
"""Those and what a module alone may do in place of the loops."""


def check_signature(event: str, method: AnyCallable, *before: str) -> None:
    """Raise `HookError` unless `method` can be called as the loops call it; hooks of one's own are not known here.

    Args:
        event: What the hook is called.
        method: The hook.
        before: The parameters before those of the event: the trainer and the module, for a callback.

    Raises:
        HookError: It takes other parameters.
    """
    if event not in ARGUMENTS_OF_MODULE:
        return
    arguments = (*before, *ARGUMENTS_OF_MODULE[event])
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # written in C: it cannot be asked
        return
    try:
        check_call(event, signature, arguments)
    except TypeError as mismatch:
        parameters = "".join(f", {name}" for name in arguments)
        raise HookError(
            name_of(method), f"it cannot be called as a hook is: {mismatch}", f"Define `def {event}(self{parameters})`."
        ) from None


class Listeners:
    """The callbacks and the module of a run, asked once for each event.

    Args:
        callbacks: Called with the trainer, the module and the event's arguments.
        module: Called after them, with the event's arguments.
        trainer: What callbacks get as their trainer.

    Raises:
        HookError: A callback is a class, or has no hook.
    """

    def __init__(self, callbacks: Sequence[object], module: object, trainer: object) -> None:
        self._callbacks = checked_callbacks(callbacks)
        self._module = module
        self._trainer = trainer
        self._hooks: dict[str, Hook] = {}

    def add_callbacks(self, callbacks: Iterable[object]) -> None:
        """Add callbacks of the module's own; events that were asked for before are asked for anew."""
        self._callbacks += checked_callbacks(callbacks)
        self._hooks.clear()

    @contextmanager
    def joined_by(self, callbacks: Iterable[object]) -> Generator[None]:
        """For a while, have further callbacks, which are called before the module."""
        before = self._callbacks
        self.add_callbacks(callbacks)
        try:
            yield
        finally:
            self._callbacks = before
            self._hooks.clear()

    def check(self) -> None:
        """Look at every hook that the loops may call, so that a wrong one is told before anything runs.

        Raises:
            HookError: One cannot be called.
        """
        for event in ARGUMENTS:
            self.of_callbacks(event)
        for event in ARGUMENTS_OF_MODULE:
            self.of_module(event)

    @property
    def callbacks(self) -> tuple[object, ...]:
        """The callbacks, in the order in which they are called."""
        return self._callbacks

    @property
    def everybody(self) -> tuple[object, ...]:
        """The callbacks and the module."""
        return (*self._callbacks, self._module)

    def of_callbacks(self, event: str, callbacks: Sequence[object] | None = None) -> tuple[AnyCallable, ...]:
        """The listeners of all callbacks, or of some of them."""
        asked = self._callbacks if callbacks is None else callbacks
        found = [method for callback in asked if (method := listener(callback, event)) is not None]
        for method in found:
            check_signature(event, method, "trainer", "module")
        return tuple(partial(method, self._trainer, self._module) for method in found)

    def of_module(self, event: str) -> AnyCallable | None:
        method = listener(self._module, event)
        if method is not None:
            check_signature(event, method)
        return method

    def hook(self, event: str) -> Hook:
        """The callbacks' listeners, then the module's."""
        hook = self._hooks.get(event)
        if hook is None:
            own = self.of_module(event)
            hook = self._hooks[event] = Hook(event, [*self.of_callbacks(event), *([own] if own else [])])
        return hook


def checked_callbacks(callbacks: object) -> tuple[object, ...]:
    """The callbacks, each of them an object with a hook.

    Raises:
        HookError: One of them is a class or has no hook, or they are no iterable.
    """
    if not isinstance(callbacks, Iterable) or isinstance(callbacks, str):
        raise HookError("callbacks", f"a {type(callbacks).__name__} is no list of callbacks", "Write [callback].")
    checked: tuple[object, ...] = tuple(callbacks)
    for callback in checked:
        if isinstance(callback, type):
            raise HookError(
                f"callbacks: {callback.__name__}", "it is a class", f"Give an instance: {callback.__name__}()."
            )
        if not any(name in ARGUMENTS or name.startswith("on_") for name in dir(callback)):
            raise HookError(
                f"callbacks: {callback!r}",
                "it has no hook",
                "Subclass typedloops.Callback, or define a hook.",
            )
    return checked
