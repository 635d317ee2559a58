"""Finding the loss in what a training step returned."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import cast

from torch import Tensor

from typedloops._core.escape import name_of
from typedloops.errors import StepOutputError
from typedloops.loops.run.hidden import HIDDENS, SWITCH

REMEDY = "a scalar loss, a mapping with the key 'loss', or None to skip the optimization of this batch."


class LossFinder:
    """Knows the step that it finds the losses of.

    Args:
        step: The module's `training_step`, which returns a loss or yields several.
        remembers: Whether the hidden state that it may return is given to it for the next piece.
    """

    def __init__(self, step: object, *, remembers: bool = False) -> None:
        yields = inspect.isgeneratorfunction(step)
        self._where = name_of(step)
        self._gave, self._remedy = "yielded" if yields else "returned", f"{'Yield' if yields else 'Return'} {REMEDY}"
        self._remembers = remembers

    def find(self, output: object) -> Tensor:
        """The loss in `output`, which is not None.

        Raises:
            StepOutputError: There is none.
        """
        if isinstance(output, Tensor):
            return output
        loss = output
        if isinstance(output, Mapping):
            if "loss" not in output:
                keys = sorted(map(str, cast("Mapping[str, object]", output)))
                problem = f"it {self._gave} a mapping without the key 'loss'; it has {keys}"
                raise StepOutputError(self._where, problem, self._remedy)
            if HIDDENS in output and not self._remembers:
                raise StepOutputError(
                    self._where,
                    f"it {self._gave} a hidden state, and {SWITCH} is not set",
                    f"Set `{SWITCH}` on the module, or leave '{HIDDENS}' out.",
                )
            loss = output["loss"]
        if not isinstance(loss, Tensor):
            raise StepOutputError(self._where, f"it {self._gave} a {type(loss).__name__} as the loss", self._remedy)
        return loss

    def explain(self, loss: Tensor, error: RuntimeError) -> None:
        """Raise a better error for a loss that cannot be differentiated.

        Raises:
            StepOutputError: The loss has no gradient, or is not a scalar.
        """
        if not loss.requires_grad:
            raise StepOutputError(
                self._where,
                "its loss does not depend on any parameter that requires a gradient",
                "Was it detached, computed under no_grad, or are all parameters frozen? " + self._remedy,
            ) from error
        if loss.numel() != 1:
            raise StepOutputError(
                self._where, f"its loss has shape {tuple(loss.shape)}", "Reduce it: loss.mean()."
            ) from error
