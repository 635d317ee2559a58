"""What probably makes two runs differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from typedloops.verification.recorder import OF_THE_PROCESS
from typedloops.verification.values import Mismatch

ATTRIBUTE = "attributes: "

LOADER = (
    "The loader gives other batches once it is resumed: it keeps something that is not saved. Give it `state_dict` and "
    "`load_state_dict`, or draw the order from torch's random numbers."
)
HOOKS = "A hook is called that should not be, or is not: something that decides which is not saved."
RANDOM = (
    "Something draws random numbers in one run and not in the other: a hook or a module that does otherwise once it is "
    "resumed."
)
PLAIN = (
    "It is neither a parameter nor a buffer, and is not saved. Make it a buffer, or save it in `on_save_checkpoint` "
    "and load it in `on_load_checkpoint`."
)
OF_CALLBACK = "The callback does not save it. Give it `state_dict` and `load_state_dict` that do."
OF_LOADER = "The loader keeps it, and it is not saved. Give it `state_dict` and `load_state_dict`."
OF_CLOCK = "If it is not meant to be the same, this says nothing about the run."
UNKNOWN = "Something outside of the module, the optimizers, the callbacks and the loaders is not as it was."
NOT_DETERMINISTIC = (
    "Nothing was interrupted: the run is not the same twice, with the same seed. Look for a seed of its own, a clock, "
    "something that one run leaves to the next, or an operation that is not deterministic."
)
ENDED = "The run that goes on ends with this error."
UNSAVED = "The run cannot be saved there."


def changed_by(path: str, prepared: Mapping[str, Collection[str]]) -> str:
    """Which of the hooks that each process calls changed what is at `path`, or nothing.

    Args:
        path: What is not as it was when the run goes on.
        prepared: What was not before each of these hooks.
    """
    asked = [hook for hook in OF_THE_PROCESS if hook in prepared]
    unchanged = [hook for hook in asked if path not in prepared[hook]]
    return unchanged[-1] if unchanged else ""


def hint_for(
    first: Mismatch, prepared: Mapping[str, Collection[str]], start: Sequence[Mismatch], callbacks: Collection[str]
) -> str:
    """What to say of the first difference.

    Args:
        first: That.
        prepared: What was not as it was before each hook that each process calls.
        start: What is not as it was when the run goes on.
        callbacks: The names of the classes of callbacks.
    """
    part = first.path.partition(":")[0]
    if first.path.startswith(ATTRIBUTE):
        return _of_attribute(first.path.removeprefix(ATTRIBUTE), callbacks)
    also = [each.path.removeprefix(ATTRIBUTE) for each in start if each.path.startswith(ATTRIBUTE)]
    named = f" Not as it was: {', '.join(also[:3])}." if also else ""
    if part == "batch":
        return LOADER + named
    if any(each.path == first.path for each in start) and (hook := changed_by(first.path, prepared)):
        return (
            f"`{hook}` or what comes right after it changes it. Each process calls this hook, also one that goes on: "
            "let it change things only where `trainer.global_step == 0`."
        )
    if part == "rng":
        return RANDOM + named
    if part == "hooks":
        return HOOKS + named
    return UNKNOWN + named


def _of_attribute(path: str, callbacks: Collection[str]) -> str:
    owner = path.partition(".")[0].partition("#")[0]
    if owner in callbacks:
        return OF_CALLBACK
    return OF_LOADER if owner.endswith("dataloaders") else PLAIN
