"""Trackers of an optimizer's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from typedloops._core import Progress, ReadyCompleted, Started
from typedloops._core.counting import check_keys
from typedloops._core.shapes import is_mapping
from typedloops.errors import StateError
from typedloops.loops.run.each import Each


def _steps() -> Progress[ReadyCompleted]:
    return Progress(ReadyCompleted(), ReadyCompleted())


def _zero_grads() -> Progress[Started]:
    return Progress(Started(), Started())


@dataclass
class OptimizerProgress:
    """The steps of an optimizer and its calls of `zero_grad`."""

    step: Progress[ReadyCompleted] = field(default_factory=_steps)
    zero_grad: Progress[Started] = field(default_factory=_zero_grads)

    def reset(self) -> None:
        self.step.reset()
        self.zero_grad.reset()

    def reset_on_run(self) -> None:
        self.step.reset_on_run()
        self.zero_grad.reset_on_run()

    def reset_on_restart(self) -> None:
        self.step.reset_on_restart()
        self.zero_grad.reset_on_restart()

    def become_sum_of(self, others: Sequence[OptimizerProgress]) -> None:
        """Count what `others` have counted together."""
        for name in ("total", "current"):
            _add_up(getattr(self.step, name), [getattr(other.step, name) for other in others])
            _add_up(getattr(self.zero_grad, name), [getattr(other.zero_grad, name) for other in others])

    def state_dict(self) -> dict[str, object]:
        return {"step": self.step.state_dict(), "zero_grad": self.zero_grad.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        parts = check_keys(type(self).__name__, ("step", "zero_grad"), state_dict)
        step, zero_grad = _steps(), _zero_grads()
        step.load_state_dict(_as_mapping("step", parts["step"]))
        zero_grad.load_state_dict(_as_mapping("zero_grad", parts["zero_grad"]))
        # In place: whoever counts with these trackers goes on counting with them.
        self.step.load_state_dict(step.state_dict())
        self.zero_grad.load_state_dict(zero_grad.state_dict())


class OptimizationProgress:
    """The progress of the optimizers, and which of them is at work.

    Args:
        optimizer: That of all of them together, which with several is the sum of `each`.
        optimizer_position: The index of the one at work; 0 between two batches.
    """

    def __init__(self, optimizer: OptimizerProgress | None = None, optimizer_position: int = 0) -> None:
        self._together = OptimizerProgress() if optimizer is None else optimizer
        self.optimizer_position: int = optimizer_position
        self._each: Each[OptimizerProgress] = Each(OptimizerProgress)

    @property
    def optimizer(self) -> OptimizerProgress:
        """The progress of all optimizers together."""
        if self._each.trackers:
            self._together.become_sum_of(self._each.trackers)
        return self._together

    @property
    def each(self) -> Sequence[OptimizerProgress]:
        """The progress of each optimizer."""
        return tuple(self._each.trackers) or (self._together,)

    @property
    def optimizer_steps(self) -> int:
        """How many steps have been taken in all."""
        return self.optimizer.step.total.completed

    def of(self, count: int) -> Sequence[OptimizerProgress]:
        """The trackers to count with for `count` optimizers.

        Raises:
            StateError: A state of another number of optimizers was loaded.
        """
        if count > 1 and not self._each.trackers and self._together != OptimizerProgress():
            raise StateError(
                type(self).__name__,
                f"the state is that of one optimizer, and the module has {count}",
                "Return from configure_optimizers as many as there were.",
            )
        return self._each.of(count) or (self._together,)

    def reset(self) -> None:
        self._together.reset()
        self._each.reset()
        self.optimizer_position = 0

    def reset_on_run(self) -> None:
        self._together.reset_on_run()
        self._each.reset_on_run()
        self.optimizer_position = 0

    def reset_on_restart(self) -> None:
        self._together.reset_on_restart()
        self._each.reset_on_restart()

    def state_dict(self) -> dict[str, object]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "optimizer_position": self.optimizer_position,
            "each": self._each.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        parts = check_keys(type(self).__name__, ("optimizer", "optimizer_position", "each"), state_dict)
        position = parts["optimizer_position"]
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            raise StateError(
                f"{type(self).__name__}.optimizer_position", f"{position!r} is not a position", "Give an int from 0."
            )
        # Both are read before either changes.
        Each(OptimizerProgress).load_state_dict(_as_mapping("each", parts["each"]))
        self._together.load_state_dict(_as_mapping("optimizer", parts["optimizer"]))
        self._each.load_state_dict(_as_mapping("each", parts["each"]))
        self.optimizer_position = position

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OptimizationProgress) and self.state_dict() == other.state_dict()

    # Mutable, and compared by value.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        return f"OptimizationProgress({self.optimizer!r}, optimizer_position={self.optimizer_position})"


def _add_up(into: ReadyCompleted, parts: Sequence[ReadyCompleted]) -> None:
    for counter in into.fields:
        setattr(into, counter, sum(getattr(part, counter) for part in parts))


def _as_mapping(name: str, value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise StateError(name, f"its state is a mapping, got {value!r}", "Load what `state_dict()` returned.")
    return value
