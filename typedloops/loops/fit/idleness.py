"""Epochs without an optimizer step: what to say of them, and when to give up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from typedloops.errors import ConfigurationError

IDLE_EPOCHS = 10
"""After so many epochs without an optimizer step in a row, a fit that only steps can end is given up."""


class Idleness:
    """How many epochs in a row have taken no step."""

    def __init__(self) -> None:
        self._steps = 0
        self.epochs: int = 0

    def begin(self, steps: int) -> None:
        """A fit begins that has taken so many steps before."""
        self._steps, self.epochs = steps, 0

    def see(self, steps: int) -> None:
        """An epoch is over, after which so many steps are taken."""
        self.epochs = self.epochs + 1 if steps == self._steps else 0
        self._steps = steps

    def check(self, max_steps: int) -> None:
        """Refuse to go on for ever, where steps are the only limit.

        Raises:
            ConfigurationError: None was taken in so many epochs.
        """
        if self.epochs == IDLE_EPOCHS:
            raise ConfigurationError(
                "max_steps",
                f"it is {max_steps} and the only limit, and {IDLE_EPOCHS} epochs took no optimizer step",
                "Return an optimizer from configure_optimizers and a loss from the training step, or set max_epochs.",
            )

    def state_dict(self) -> dict[str, int]:
        return {"steps": self._steps, "epochs": self.epochs}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        self._steps, self.epochs = cast("int", state_dict["steps"]), cast("int", state_dict["epochs"])
