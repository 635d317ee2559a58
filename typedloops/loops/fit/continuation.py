"""Going on where the last fit of a module ended."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from typing import cast

from torch import nn

from typedloops.errors import MisuseError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.fit.stopping import FitLimits, FitPosition, StopReason
from typedloops.loops.run.computing.modes import load_modes_into, modes_of
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.listeners import Listeners
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.saving.optimization_state import load_optimization, optimization_state
from typedloops.loops.run.saving.place import SavedPlace
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.trainer import Stage

logger: logging.Logger = logging.getLogger("typedloops")


class Continuation:
    """What a later fit needs to go on where one ended: the states of its optimizers, schedulers and loss scaler.

    Neither the module nor anything that it was fitted with is kept alive, and what is kept goes with
    the module.

    Args:
        module: What was fitted.
        optimization: The state of its optimizers and schedulers when that was over.
        run_state: What the fit knew besides.
        modes: Those of the module's parts then: somebody may evaluate it before it is saved.
        rng: The random numbers then.
        came_to: How many `epochs` were done then, and the `stop_reason`.
        exact: Whether the later fit begins just there, with these random numbers, modes, metrics and times; otherwise
            it goes on with those of its own time.
    """

    def __init__(
        self,
        module: object,
        optimization: Mapping[str, object],
        run_state: Mapping[str, object],
        modes: Mapping[str, object],
        rng: Mapping[str, object],
        came_to: Mapping[str, object],
        *,
        exact: bool = False,
    ) -> None:
        self._state = dict(optimization)
        self._run_state = dict(run_state)
        self._modes = modes
        self._rng = rng
        self.came_to: Mapping[str, object] = came_to
        self._exact = exact
        self._module = weakref.ref(unwrapped(module), self._forget)

    @classmethod
    def after(
        cls,
        module: object,
        optimization: Optimization,
        run_state: Callable[[], Mapping[str, object]],
        came_to: Mapping[str, object],
    ) -> Continuation | None:
        """What a fit leaves behind; None, with a line in the log, where there is no going on from that.

        The module may be of a class that cannot be recognized later (`__slots__` without `__weakref__`), a scheduler
        without a state.  The fit, which is over, does not fail for that.
        """
        try:
            own = unwrapped(module)
            state = optimization_state(optimization, own)
            return cls(module, state, run_state(), modes_of(own), RngStates().state_dict(), came_to)
        except Exception as error:
            logger.warning("this fit cannot be gone on from with resume=True: %r", error)
            return None

    @classmethod
    def of_state(cls, module: object, state: Mapping[str, Mapping[str, object]]) -> Continuation:
        """One from which the fit of `module` goes on exactly where it was when `state_dict` gave this."""
        parts = (state[part] for part in ("optimizers", "run", "modes", "rng", "came_to"))
        return cls(module, *parts, exact=True)

    def state_dict(self) -> dict[str, Mapping[str, object]]:
        """All of it but the module, made of what a checkpoint can hold; nothing is copied."""
        return {
            "optimizers": self._state,
            "run": self._run_state,
            "modes": self._modes,
            "rng": self._rng,
            "came_to": self.came_to,
        }

    def _forget(self, module: object) -> None:
        self._state.clear()
        self._run_state.clear()

    @property
    def module(self) -> object:
        """What was fitted; None when it is gone."""
        return self._module()

    @property
    def order(self) -> int:
        """How many checkpoints the fit has had."""
        return cast("int", self._run_state["order"])

    def content(self, root: LoopNode, listeners: Listeners, *, weights_only: bool) -> dict[str, object]:
        """A checkpoint of the end of the fit; see `content_of`."""
        from typedloops.loops.run.saving.content import about, of_the_whole
        from typedloops.loops.run.saving.custom import Custom
        from typedloops.loops.run.saving.module_state import rest_of, weights_of

        module, counts = self._module(), self._run_state
        epoch, step = (cast("int", counts[name]) for name in ("epoch", "step"))
        told = about(Stage.FIT, epoch, step, self.order + 1, weights_only=weights_only)
        if weights_only:
            return {"about": told, "module": dict(weights_of(module))}
        custom = Custom()
        listeners.hook("on_save_checkpoint")(custom)
        places = {".": {"point": "idle", "state": counts}}
        return {
            **of_the_whole(told, root, places, ".", listeners),
            "module": dict(weights_of(module)),
            "rest": {**rest_of(module), **self._modes, "gradients": {}},
            "optimizers": {**self._state, "windows": {}},
            "custom": dict(custom),
        }

    @property
    def place(self) -> SavedPlace | None:
        """Where the later fit begins; None where it only has the states of optimizers and schedulers."""
        return SavedPlace("idle", self._run_state) if self._exact else None

    def arrived(self) -> None:
        """The later fit is set up: whatever that has drawn or set leaves no trace, if it goes on exactly."""
        if self._exact:
            module = self._module()
            if isinstance(module, nn.Module):
                load_modes_into(module, self._modes)
            RngStates(self._rng).restore()

    def is_of(self, module: object) -> bool:
        return self._module() is unwrapped(module)

    def restore(self, optimization: Optimization) -> None:
        """Give optimizers and schedulers that were made anew the states of those before.

        Raises:
            OptimizerError: They are others.
        """
        load_optimization(optimization, self._module(), self._state)


def check_continuation(
    where: str, continuation: Continuation | None, module: object, *, restarting: bool
) -> Continuation:
    """The continuation, once it is known to be one of this module.

    Raises:
        MisuseError: There is nothing to go on from.
    """
    if restarting:
        raise MisuseError(
            f"{where}: resume=True", "state was loaded, from which it goes on by itself", "Leave resume out."
        )
    if continuation is None:
        raise MisuseError(
            f"{where}: resume=True",
            "there is no fit to go on from: this loop has run none, or its last one did not come to its end",
            "Fit without resume first.",
        )
    if not continuation.is_of(module):
        raise MisuseError(
            f"{where}: resume=True",
            "the last fit of this loop was of another module",
            "Give the same module, or start anew: resume=False.",
        )
    return continuation


def nothing_left(where: str, reason: StopReason, limits: FitLimits, position: FitPosition) -> str:
    """What to say of a fit that was to go on and has nothing left to do."""
    done: Mapping[StopReason, tuple[str, str]] = {
        StopReason.MAX_EPOCHS: ("max_epochs", f"is {limits.max_epochs}, and {position.epochs} epochs are done"),
        StopReason.MAX_STEPS: ("max_steps", f"is {limits.max_steps}, and {position.steps} optimizer steps are taken"),
        StopReason.NO_BATCHES: ("limit_train_batches", "is 0"),
    }
    name, problem = done.get(reason, (str(reason), "ends it at once"))
    where_to_raise = (
        "the epoch loop's `limit_batches`" if reason is StopReason.NO_BATCHES else f"the fit loop's `{name}`"
    )
    return f"{where}: nothing is left to do: {name} {problem}. Raise {where_to_raise} to go on, or start anew."
