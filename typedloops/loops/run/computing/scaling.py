"""Losses scaled up, so that their gradients do not vanish in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from typedloops._core import Progress, ReadyCompleted
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import OptimizerError, StateError

if TYPE_CHECKING:
    from typedloops._core.optimizing import Loss


class LossScaler:
    """torch's `GradScaler` for all optimizers of a fit.

    The scale is adapted when the next loss is scaled and no optimizer has gradients left that are
    to be divided by the one of now.

    Args:
        device: Where the run computes.
        skipped: Counts the steps that are left out because a gradient is not finite.
    """

    def __init__(self, device: torch.device, skipped: Progress[ReadyCompleted]) -> None:
        self.grad_scaler: torch.amp.GradScaler = torch.amp.GradScaler(device.type)
        self._skipped = skipped
        self._unscaled: set[int] = set()
        self._pending: set[int] = set()
        self._due = False
        self._has_scaled = False

    def scale(self, loss: Tensor, optimizer: Optimizer | None = None) -> Tensor:
        """What to differentiate for `loss`.

        Args:
            loss: A scalar.
            optimizer: Whose next step its gradients are for, if that is known.
        """
        if not self._pending or id(optimizer) in self._unscaled:
            self._adapt()
        if optimizer is not None:
            self._pending.add(id(optimizer))
        self._has_scaled = True
        return self.grad_scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Make gradients those of the loss itself; once, however often it is called for one step.

        Raises:
            OptimizerError: They are of no loss that was scaled.
        """
        # torch looks only at gradients that are there, and would then take this for the unscaling of the next ones.
        if id(optimizer) in self._unscaled or not _has_gradients(optimizer):
            return
        if not self._has_scaled:
            raise OptimizerError(
                f"{type(optimizer).__name__}.step",
                "'16-mixed' scales losses, and its gradients are of one that was not",
                "Differentiate with `self.manual_backward(loss)`.",
            )
        self.grad_scaler.unscale_(optimizer)
        self._unscaled.add(id(optimizer))

    def may_step(self, optimizer: Optimizer) -> bool:
        """Whether the gradients are finite; otherwise the step counts as skipped.  This waits for the device."""
        self.unscale(optimizer)
        self._pending.discard(id(optimizer))
        # What `GradScaler.step` asks before it steps.  That leaves it to some fused optimizers, which then
        # count the step as taken, and cannot be used with a closure.
        found = self.grad_scaler._found_inf_per_device(optimizer)  # pyright: ignore[reportPrivateUsage]
        self._due = self._due or bool(found)
        finite = not any(cast("Tensor", flag).item() for flag in found.values())
        if not finite:
            self._skipped.increment_ready()
            self._skipped.increment_completed()
        return finite

    def of(self, optimizer: Optimizer) -> OptimizerScaler:
        """This scaler for one optimizer."""
        return OptimizerScaler(self, optimizer)

    def state_of(self, optimizers: Sequence[Optimizer]) -> dict[str, object]:
        """The scale, and what is known of gradients that wait for their step.

        Args:
            optimizers: All that it scales for.
        """
        if not self._pending:
            self._adapt()  # as it would be before the next loss is scaled: nothing is in between
        return {
            "scaler": self.grad_scaler.state_dict(),
            "due": self._due,
            "has_scaled": self._has_scaled,
            "pending": [index for index, each in enumerate(optimizers) if id(each) in self._pending],
            "found": {index: self._found(each) for index, each in enumerate(optimizers) if id(each) in self._unscaled},
        }

    def load_state_of(self, optimizers: Sequence[Optimizer], state: Mapping[str, object]) -> None:
        """Load what `state_of` gave for as many optimizers.

        Raises:
            StateError: It is no such state.
        """
        scaler, pending, found = state.get("scaler"), state.get("pending"), state.get("found")
        if not (is_mapping(scaler) and is_list_or_tuple(pending) and is_mapping(found)):
            raise StateError("the loss scaler", f"{state!r:.60} is no state of it", "Load what was saved.")
        self.grad_scaler.load_state_dict(dict(scaler))
        self._due, self._has_scaled = bool(state.get("due")), bool(state.get("has_scaled"))
        self._pending = {id(optimizers[index]) for index in pending if isinstance(index, int)}
        self._unscaled.clear()
        for index, flags in cast("Mapping[int, Mapping[str, float]]", found).items():
            self._unscaled.add(id(optimizers[index]))
            self._find(optimizers[index], flags)

    def _found(self, optimizer: Optimizer) -> dict[str, float]:
        """Whether gradients that were unscaled had an infinite one, by their device."""
        found = self.grad_scaler._found_inf_per_device(optimizer)  # pyright: ignore[reportPrivateUsage]
        return {str(device): float(cast("Tensor", flag)) for device, flag in found.items()}

    def _find(self, optimizer: Optimizer, flags: Mapping[str, float]) -> None:
        found = {torch.device(name): torch.tensor(flag, device=name) for name, flag in flags.items()}
        states = self.grad_scaler._per_optimizer_states  # pyright: ignore[reportPrivateUsage]
        states[id(optimizer)] = {"stage": OptState.UNSCALED, "found_inf_per_device": found}

    def _adapt(self) -> None:
        if self._due:
            self._due = False
            self._unscaled.clear()
            self.grad_scaler.update()


def _has_gradients(optimizer: Optimizer) -> bool:
    groups = (cast("list[Tensor]", group["params"]) for group in optimizer.param_groups)
    return any(parameter.grad is not None for parameters in groups for parameter in parameters)


class OptimizerScaler:
    """A scaler for one optimizer, as the step of automatic optimization uses it.

    Args:
        scaler: The scaler of the fit.
        optimizer: What steps.
    """

    def __init__(self, scaler: LossScaler, optimizer: Optimizer) -> None:
        self._scaler = scaler
        self._optimizer = optimizer

    def scale(self, loss: Loss) -> Loss:
        return self._scaler.scale(cast("Tensor", loss), self._optimizer)

    def unscale(self) -> None:
        self._scaler.unscale(self._optimizer)

    def may_step(self) -> bool:
        return self._scaler.may_step(self._optimizer)

    def step(self) -> bool:
        if not self.may_step():
            return False
        self._optimizer.step()
        return True
