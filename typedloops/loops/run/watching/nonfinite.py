"""Losses, gradients and outputs of submodules that are not finite: found as they come up."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from typing_extensions import TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.loops.run.optimization import Optimization
from typedloops.loops.run.watching.lookout import GRADIENTS, LOSS, MODULES, Lookout, Place
from typedloops.loops.run.watching.sighting import largest, numbers_in
from typedloops.protocols.trainer import NonFinite

B = TypeVar("B")
O = TypeVar("O")


class NonFiniteGuard:
    """Looks at what a training step comes to, without waiting for the device.

    What was seen is kept there and looked at after each step, on the CPU at once, elsewhere as
    soon as a copy has arrived, and at the end of an epoch in any case.

    Args:
        what: What to look at.
        module: Whose parameters and submodules.
        optimization: Whose gradients and steps.
    """

    def __init__(self, what: NonFinite, module: object, optimization: Optimization) -> None:
        self._optimization = optimization
        self._gradients = what != "loss" and optimization.scaler is None
        self._names = _names_of(module, optimization.optimizers)
        self._modules: dict[str, nn.Module] = {}
        if what == "modules" and isinstance(module, nn.Module):
            self._modules.update(cast("Iterator[tuple[str, nn.Module]]", module.named_modules()))
        self._lookout = Lookout([_called(name, submodule) for name, submodule in self._modules.items()])
        self._inside = self._loss_seen = False
        self._checked: set[int] = set()
        self._handles: list[RemovableHandle] = []
        if what != "loss" and optimization.scaler is not None:
            warnings.warn(
                f"detect_nonfinite={what!r} does not look at gradients with precision '16-mixed': those that are not "
                "finite are skipped by the scaler.",
                UserWarning,
                stacklevel=2,
            )

    def install(self) -> None:
        """Let optimizers and submodules tell."""
        for index, submodule in enumerate(self._modules.values()):
            self._handles.append(submodule.register_forward_hook(self._listener(index)))
        if self._gradients:
            for optimizer in self._optimization.optimizers:
                self._handles.append(optimizer.register_step_pre_hook(self._before_step))

    def remove(self) -> None:
        """Leave optimizers and submodules as they were."""
        while self._handles:
            self._handles.pop().remove()

    def watch(self, step: Callable[[B, int], O], epoch: int) -> WatchedStep[B, O]:
        """`step`, watched."""
        return WatchedStep(self, step, epoch)

    def begin(self, epoch: int, batch_idx: int) -> None:
        """A step begins."""
        self._lookout.begin(Place(epoch, batch_idx, self._optimization.steps.total.completed))
        self._loss_seen = False
        self._checked.clear()
        self._inside = True

    def leave(self) -> None:
        """It is over."""
        self._inside = False

    def see_output(self, output: object) -> None:
        """Look at the loss in what a step returned, unless it was seen on the way."""
        if not self._loss_seen:
            self.see_loss(output["loss"] if is_mapping(output) and "loss" in output else output)

    def see_loss(self, loss: object) -> None:
        """Look at a loss; anything but a tensor is none."""
        self._loss_seen = True
        for tensor in numbers_in(loss) if isinstance(loss, Tensor) else ():
            self._lookout.see((LOSS, tensor.device, None, ()), [largest(tensor)])
            self._look_at_once(tensor.device)

    def before_clipping(self, optimizer: Optimizer, clip: Callable[[], object] | None) -> Callable[[], object] | None:
        """`clip` after a look at the gradients, which it may change: a single one that is not finite spoils all."""
        if not self._gradients:
            return clip

        def look_and_clip() -> None:
            self.see_gradients(optimizer)
            self._checked.add(id(optimizer))
            if clip is not None:
                clip()

        return look_and_clip

    def see_gradients(self, optimizer: Optimizer) -> None:
        """Look at the gradients that an optimizer is about to follow."""
        norms: defaultdict[tuple[torch.device, torch.dtype], list[tuple[str, Tensor]]] = defaultdict(list)
        for parameter in _parameters(optimizer):
            if parameter.grad is not None:
                norm = largest(parameter.grad)
                name = self._names.get(id(parameter), "a parameter")
                norms[norm.device, norm.dtype].append((name, norm))
        for (device, dtype), named in norms.items():
            self._lookout.see((GRADIENTS, device, dtype, tuple(name for name, _ in named)), [norm for _, norm in named])
            self._look_at_once(device)

    def look(self, *, wait: bool = False) -> None:
        """Raise if it is known that something was not finite.

        Args:
            wait: Whether to wait until it is known.

        Raises:
            NonFiniteError: Something was.
        """
        self._lookout.tell(wait=wait)

    def _look_at_once(self, device: torch.device) -> None:
        """On the CPU, before anything is spoilt by it."""
        if device.type == "cpu" and self._inside:
            self.look()

    def _before_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        if self._inside and id(optimizer) not in self._checked:
            self.see_gradients(optimizer)

    def _listener(self, index: int) -> Callable[[nn.Module, object, object], None]:
        def listen(submodule: nn.Module, inputs: object, output: object) -> None:
            # What runs without gradients, a teacher say, may be of no consequence.
            if self._inside and torch.is_grad_enabled():
                for tensor in numbers_in(output):
                    self._lookout.see((MODULES, tensor.device, None, ()), [largest(tensor)], index)

        return listen


class WatchedStep(Generic[B, O]):
    """A step of which a guard is told.

    Args:
        guard: Who is told.
        step: What is called.
        epoch: The epoch under way.
    """

    def __init__(self, guard: NonFiniteGuard, step: Callable[[B, int], O], epoch: int) -> None:
        self.__wrapped__ = step
        self._guard = guard
        self._epoch = epoch

    def __call__(self, batch: B, batch_idx: int) -> O:
        self._guard.begin(self._epoch, batch_idx)
        try:
            output = self.__wrapped__(batch, batch_idx)
        finally:
            self._guard.leave()
        self._guard.see_output(output)
        self._guard.look()
        return output


def _called(name: str, submodule: nn.Module) -> str:
    return f"{f'`{name}`' if name else 'the module itself'}, a {type(submodule).__name__}"


def _names_of(module: object, optimizers: Sequence[Optimizer]) -> dict[int, str]:
    """What each parameter is called."""
    names = {
        id(parameter): f"parameter {i} of optimizer {j}"
        for j, optimizer in enumerate(optimizers)
        for i, parameter in enumerate(_parameters(optimizer))
    }
    if isinstance(module, nn.Module):
        names.update({id(parameter): name for name, parameter in module.named_parameters()})
    return names


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in cast("list[Tensor]", group["params"]))
