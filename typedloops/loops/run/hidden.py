"""The hidden state that goes from one piece of a batch to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from torch import Tensor
from typing_extensions import ParamSpec, TypeVar

from typedloops._core.calls import AnyCallable
from typedloops._core.counting import check_keys
from typedloops._core.escape import name_of
from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.errors import ModuleError, StepOutputError
from typedloops.loops.run.asked import asks_for, needs

P = ParamSpec("P")
R = TypeVar("R")

HIDDENS: Final = "hiddens"
"""The parameter of a step, and the key of its output, that a hidden state goes by."""

SWITCH: Final = "truncated_bptt_steps"


class HiddenStates:
    """What the steps of a batch's pieces remember, those of each optimizer their own, and which piece is at hand."""

    def __init__(self) -> None:
        self.split_idx: int = 0
        self.states: dict[int, object] = {}
        self._returned: dict[int, object] = {}

    def forget(self) -> None:
        """A new batch begins."""
        self.split_idx = 0
        self.states.clear()
        self._returned.clear()

    def state_dict(self) -> dict[str, object]:
        return {"split_idx": self.split_idx, "states": dict(self.states), "returned": dict(self._returned)}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Go on in the middle of a batch.

        Raises:
            StateError: It is no state of these.
        """
        parts = check_keys(type(self).__name__, ("split_idx", "states", "returned"), state_dict)
        self.split_idx = cast("int", parts["split_idx"])
        self.states = dict(cast("Mapping[int, object]", parts["states"]))
        self._returned = dict(cast("Mapping[int, object]", parts["returned"]))

    def go_on(self, split_idx: int) -> None:
        """A piece begins: it is given what was returned for the one before."""
        self.split_idx = split_idx
        self.states.update(self._returned)
        self._returned.clear()

    def remember(self, position: int, hiddens: object) -> None:
        """Keep what a step returned; where an optimizer looks at a piece several times, what the first look gave.

        That is the state by the weights before its step, as it is for other optimizers.
        """
        self._returned.setdefault(position, hiddens)

    def give(self, step: Callable[P, R], position: int = 0) -> Callable[P, R]:
        """`step`, given as `hiddens` what it returned for the piece before.

        Args:
            step: The module's own.
            position: Which of several optimizers it is for.

        Raises:
            ModuleError: It has no parameter for that.
        """
        if not asks_for(step, HIDDENS):
            raise ModuleError(
                name_of(step),
                f"it has no parameter `{HIDDENS}`, and {SWITCH} is set",
                f"Take the hidden state of the piece before as `{HIDDENS}`, or leave {SWITCH} out.",
            )
        return cast("Callable[P, R]", _Remembering(step, self, position))


def check_without(step: AnyCallable) -> None:
    """Raise `ModuleError` for a step that cannot be called without a hidden state, where there is none."""
    if needs(step, HIDDENS):
        raise ModuleError(
            name_of(step),
            f"it has a parameter `{HIDDENS}`, and {SWITCH} is not set",
            f"Set `{SWITCH}` on the module, or give the parameter a default.",
        )


class _Remembering:
    def __init__(self, step: AnyCallable, hidden: HiddenStates, position: int) -> None:
        self.__wrapped__ = step
        self._hidden = hidden
        self._position = position

    def __call__(self, *args: object, **kwargs: object) -> object:
        hidden = self._hidden
        output: object = self.__wrapped__(*args, **kwargs, hiddens=hidden.states.get(self._position))
        if output is None:
            return None
        if not is_mapping(output) or HIDDENS not in output:
            raise StepOutputError(
                name_of(self.__wrapped__),
                f"it returned no hidden state, and {SWITCH} is set",
                f"Return {{'loss': ..., '{HIDDENS}': ...}}, or leave {SWITCH} out.",
            )
        hidden.remember(self._position, cut(output[HIDDENS]))
        return output


def cut(hiddens: object) -> object:
    """A hidden state without its graph: a tensor, or lists, tuples and mappings of such."""
    if isinstance(hiddens, Tensor):
        return hiddens.detach()
    if is_mapping(hiddens):
        return {key: cut(value) for key, value in hiddens.items()}
    if is_list_or_tuple(hiddens):
        return like(hiddens, [cut(value) for value in hiddens])
    return hiddens


def like(original: Sequence[object], items: list[object]) -> object:
    """The items in a list, tuple or named tuple as the original is one."""
    return cast("AnyCallable", getattr(original, "_make", type(original)))(items)
