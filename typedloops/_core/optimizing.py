"""What the optimizer step asks of a loss and of an optimizer: the core itself never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import Protocol, TypeVar

B_contra = TypeVar("B_contra", contravariant=True)


class Loss(Protocol):
    """What can be differentiated: a `torch.Tensor`."""

    def backward(self) -> None: ...


class Differentiated(Protocol):
    """What has a gradient: a parameter."""

    grad: object | None


class Window(Protocol[B_contra]):
    """Batches whose gradients are added up before the optimizer steps once."""

    @property
    def is_open(self) -> bool:
        """Whether gradients of earlier batches of it are there, to be added to."""
        ...

    def share(self, loss: Loss, batch: B_contra, /) -> Loss:
        """What to differentiate for a batch whose loss this is."""
        ...

    def closes_at(self, batch_idx: int, /) -> bool:
        """Whether this batch is the last before the step."""
        ...

    def close(self) -> bool:
        """Make the gradients those of the window's mean; False when no batch had a loss, and there is no step."""
        ...


class Scaler(Protocol):
    """Keeps small gradients from vanishing in 16 bits: losses are multiplied, and gradients divided again."""

    def scale(self, loss: Loss, /) -> Loss:
        """What to differentiate for this loss."""
        ...

    def unscale(self) -> None:
        """Make the gradients those of the loss itself."""
        ...

    def step(self) -> bool:
        """Let the optimizer step; False when a gradient is not finite, and it did not."""
        ...


class SteppingOptimizer(Protocol):
    """What the step does with an optimizer: a `torch.optim.Optimizer`."""

    @property
    def param_groups(self) -> Sequence[Mapping[str, object]]: ...
    def step(self) -> object: ...
