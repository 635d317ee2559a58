"""What the optimizer step asks of a loss and of an optimizer: the core itself never imports torch."""

from __future__ import annotations

from typing_extensions import Protocol


class Loss(Protocol):
    """What can be differentiated: a `torch.Tensor`."""

    def backward(self) -> None: ...


class SteppingOptimizer(Protocol):
    """What the step does with an optimizer: a `torch.optim.Optimizer`."""

    def zero_grad(self) -> None: ...
    def step(self) -> object: ...
