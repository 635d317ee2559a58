"""What the optimizer step asks of a loss and of an optimizer: the core itself never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import Protocol


class Loss(Protocol):
    """What can be differentiated: a `torch.Tensor`."""

    def backward(self) -> None: ...


class Differentiated(Protocol):
    """What has a gradient: a parameter."""

    grad: object | None


class SteppingOptimizer(Protocol):
    """What the step does with an optimizer: a `torch.optim.Optimizer`."""

    @property
    def param_groups(self) -> Sequence[Mapping[str, object]]: ...
    def step(self) -> object: ...
