"""A fit that waits while others run in its loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, cast

from typing_extensions import Self, TypeVar

from typedloops.errors import MisuseError
from typedloops.loops.base.state import collect_state, load_state
from typedloops.loops.fit.continuation import Continuation
from typedloops.loops.fit.fit_loop import FitLoopOf
from typedloops.loops.fit.stopping import StopReason
from typedloops.loops.run.begin_anew import begin_anew
from typedloops.loops.run.listeners import listener
from typedloops.loops.run.saving.callback_states import load_states_into, states_of
from typedloops.loops.run.saving.custom import Custom
from typedloops.loops.run.saving.module_state import load_rest_into, load_weights_into, rest_of, weights_of
from typedloops.loops.run.unwrapped import unwrapped

M = TypeVar("M")
B = TypeVar("B")
S = TypeVar("S")


class PausedFit(Generic[M]):
    """A fit that has come to its limits and is to go on later, in its loop, where others may run in between.

    ```
    fit_loop.run(module, loader)
    paused = PausedFit.after(fit_loop, module)
    ...                                             # fits of other modules, or another process
    paused.take_up(fit_loop)
    fit_loop.max_epochs = 5
    fit_loop.run(paused.module, loader, resume=True)
    ```

    It goes on as if it had never ended: with the counters of all loops below, the optimizers and schedulers, metrics
    and times, the modes of the module's parts, the generators of its loaders, and the random numbers, which are put
    back when everything is set up.  The hooks of the beginning and the end of a fit are called each time.

    Each is taken up once: what the optimizers keep is not copied.

    Args:
        module: What was fitted.
        loops: The state of the fit loop and those below it.
        continuation: What else the fit left behind.
        callbacks: Those that the fit had for itself, whose states are saved with it.
    """

    def __init__(
        self, module: M, loops: Mapping[str, object], continuation: Continuation, callbacks: Sequence[object] = ()
    ) -> None:
        self.module: M = module
        self.callbacks: Sequence[object] = callbacks
        self._loops = loops
        self._continuation = continuation
        self._taken_up = False

    @classmethod
    def after(cls, fit_loop: FitLoopOf[M, B, S], module: M, callbacks: Sequence[object] = ()) -> Self:
        """The fit of `module` that `fit_loop` has just ended.

        Raises:
            MisuseError: There is none, or nothing could be kept of it.
        """
        ended = fit_loop.ended
        if ended is None or not ended.is_of(module):
            raise MisuseError(
                f"PausedFit.after: {fit_loop.path or type(fit_loop).__name__}",
                "it has not just ended a fit of this module, or one that can be gone on from",
                "Fit the module first; where that was done, the log says what could not be kept.",
            )
        return cls(module, collect_state(fit_loop), ended, callbacks)

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return cast("int", self._continuation.came_to["epochs"])

    @property
    def stop_reason(self) -> StopReason:
        """Why the fit ended."""
        return StopReason(cast("str", self._continuation.came_to["stop_reason"]))

    @property
    def metrics(self) -> Mapping[str, float]:
        """The newest value of every metric."""
        return cast("Mapping[str, float]", self._continuation.state_dict()["run"]["metrics"])

    def take_up(self, fit_loop: FitLoopOf[M, B, S]) -> None:
        """Let the next `fit_loop.run(module, ..., resume=True)` go on with it.

        Raises:
            MisuseError: It was taken up before.
            StateError: The loops are others than those that it was fitted by.
        """
        if self._taken_up:
            raise MisuseError(
                f"PausedFit.take_up: {fit_loop.path or type(fit_loop).__name__}",
                "it was taken up before, and has trained on since",
                "Keep what `PausedFit.after` gives when that fit has ended, and take that up.",
            )
        load_state(fit_loop, self._loops)
        self._taken_up = True
        begin_anew(fit_loop)
        fit_loop.go_on_from(Continuation.of_state(self.module, self._continuation.state_dict()))

    def state_dict(self) -> dict[str, object]:
        """All of it with the module's weights, made of what a checkpoint can hold; nothing is copied."""
        module, custom = unwrapped(self.module), Custom()
        if (hook := listener(module, "on_save_checkpoint")) is not None:
            hook(custom)
        return {
            "module": dict(weights_of(module)),
            "rest": rest_of(module),
            "custom": dict(custom),
            "callbacks": states_of(self.callbacks),
            "loops": self._loops,
            "continuation": self._continuation.state_dict(),
        }

    @classmethod
    def of_state(cls, where: str, module: M, state: Mapping[str, object], callbacks: Sequence[object] = ()) -> Self:
        """The fit that `state_dict` gave, with a module that was made anew.

        Args:
            where: What the state is called in errors.
            module: Made as the one that was saved; the weights are loaded into it.
            state: What `state_dict` gave.
            callbacks: Made as those that were saved; their states are loaded into them.

        Raises:
            CheckpointError: The module is another.
        """
        own, parts = unwrapped(module), cast("Mapping[str, Mapping[str, object]]", state)
        if (hook := listener(own, "on_load_checkpoint")) is not None:
            hook(Custom(parts["custom"]))
        load_weights_into(where, own, parts["module"])
        load_rest_into(where, own, parts["rest"])
        continuation = cast("Mapping[str, Mapping[str, object]]", parts["continuation"])
        load_states_into(where, callbacks, parts["callbacks"], exact=False)
        return cls(module, parts["loops"], Continuation.of_state(module, continuation), callbacks)
