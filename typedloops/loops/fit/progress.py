"""Trackers of an optimizer's work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from typedloops._core import Progress, ReadyCompleted, Started
from typedloops._core.counting import check_keys
from typedloops._core.shapes import is_mapping
from typedloops.errors import StateError


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


@dataclass
class OptimizationProgress:
    """The progress of the optimizers, and which of them is at work."""

    optimizer: OptimizerProgress = field(default_factory=OptimizerProgress)
    optimizer_position: int = 0

    @property
    def optimizer_steps(self) -> int:
        """How many steps have been taken in all."""
        return self.optimizer.step.total.completed

    def reset(self) -> None:
        self.optimizer.reset()
        self.optimizer_position = 0

    def reset_on_run(self) -> None:
        self.optimizer.reset_on_run()
        self.optimizer_position = 0

    def reset_on_restart(self) -> None:
        self.optimizer.reset_on_restart()

    def state_dict(self) -> dict[str, object]:
        return {"optimizer": self.optimizer.state_dict(), "optimizer_position": self.optimizer_position}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        parts = check_keys(type(self).__name__, ("optimizer", "optimizer_position"), state_dict)
        position = parts["optimizer_position"]
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            raise StateError(
                f"{type(self).__name__}.optimizer_position", f"{position!r} is not a position", "Give an int from 0."
            )
        self.optimizer.load_state_dict(_as_mapping("optimizer", parts["optimizer"]))
        self.optimizer_position = position


def _as_mapping(name: str, value: object) -> Mapping[str, object]:
    if not is_mapping(value):
        raise StateError(name, f"its state is a mapping, got {value!r}", "Load what `state_dict()` returned.")
    return value
