"""Finding the loss in what a training step returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor

from typedloops._core.escape import name_of
from typedloops.errors import StepOutputError
from typedloops.loops.run.hidden import HIDDENS, SWITCH

REMEDY = "Return a scalar loss, a mapping with the key 'loss', or None to skip the optimization of this batch."


class LossFinder:
    """Knows the step that it finds the losses of.

    Args:
        step: The module's `training_step`.
        remembers: Whether the hidden state that it may return is given to it for the next piece.
    """

    def __init__(self, step: object, *, remembers: bool = False) -> None:
        self._where = name_of(step)
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
                problem = f"it returned a mapping without the key 'loss'; it has {keys}"
                raise StepOutputError(self._where, problem, REMEDY)
            if HIDDENS in output and not self._remembers:
                raise StepOutputError(
                    self._where,
                    f"it returned a hidden state, and {SWITCH} is not set",
                    f"Set `{SWITCH}` on the module, or leave '{HIDDENS}' out.",
                )
            loss = output["loss"]
        if not isinstance(loss, Tensor):
            raise StepOutputError(self._where, f"it returned a {type(loss).__name__} as the loss", REMEDY)
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
                "Was it detached, computed under no_grad, or are all parameters frozen? " + REMEDY,
            ) from error
        if loss.numel() != 1:
            raise StepOutputError(
                self._where, f"its loss has shape {tuple(loss.shape)}", "Reduce it: loss.mean()."
            ) from error
