"""One batch of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Generic

from typing_extensions import TypeVar

from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.step_loop import StepLoop, bind, keeps_contract
from typedloops.loops.fit.truncated import TruncatedSteps, checked_steps, pieces_of, split_size
from typedloops.loops.run.hidden import SWITCH, HiddenStates
from typedloops.loops.run.saving.data import is_data
from typedloops.protocols.loop import LoopProtocol

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)


class TrainingBatchLoop(StepLoop[M, B, S], Generic[M, B, S]):
    """Hands a batch to the loop that optimizes on it.

    ```
    advance:
        optimizer_loop.run(model, batch, batch_idx)
        or, if M.automatic_optimization is False, manual_loop.run(model, batch, batch_idx)
    ```

    With truncated backpropagation through time it does so for each piece of the batch, one after
    the other: `training_step` has a parameter `hiddens`, which is None for the first piece and then
    what it returned under this key for the piece before, without its graph; the optimizer steps
    after each piece.  A module may split its batches itself, `tbptt_split_batch(batch, split_size)`;
    otherwise their second axis is their time.  `hidden` has the state and the index of the piece.

    Args:
        optimizer_loop: Optimizes a module that leaves it to the loops.
        manual_loop: Runs a module that optimizes by itself; by default `optimizer_loop`
            serves for both.
        truncated_bptt_steps: How many time steps a piece of a batch has; 0 is whole batches; None
            is what the module's attribute of this name says, and 0 without one.

    Its output is that of the loop that ran, for the last piece; a batch is finished even if `max_steps`
    steps are taken before its last piece.
    """

    points: ClassVar[tuple[str, ...]] = ("piece",)
    transient_fields: ClassVar[tuple[str, ...]] = ("_steps",)
    optimizer_loop: Slot[LoopProtocol[[M, B, int], S]] = Slot()
    manual_loop: Slot[LoopProtocol[[M, B, int], S] | None] = Slot(required=False)

    _steps: TruncatedSteps[B, S] | None = None

    def __init__(
        self,
        optimizer_loop: LoopProtocol[[M, B, int], S],
        manual_loop: LoopProtocol[[M, B, int], S] | None = None,
        *,
        truncated_bptt_steps: int | None = None,
    ) -> None:
        self.optimizer_loop = optimizer_loop
        self.manual_loop = manual_loop
        self.truncated_bptt_steps: int | None = (
            None if truncated_bptt_steps is None else checked_steps(SWITCH, truncated_bptt_steps)
        )
        self.hidden: HiddenStates = HiddenStates()

    @typed_connect
    def connect(
        self,
        *,
        optimizer_loop: LoopProtocol[[M, B, int], S] | None = None,
        manual_loop: LoopProtocol[[M, B, int], S] | None = None,
    ) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    def advance(self, model: M, batch: B, batch_idx: int) -> None:
        self.output = self._in_pieces(model, lambda: partial(self.loop_for(model).run, model))(batch, batch_idx)

    def bind(self, model: M) -> Callable[[B, int], S]:
        if not keeps_contract(self, TrainingBatchLoop):
            return super().bind(model)
        return self._in_pieces(model, lambda: bind(self.loop_for(model), model))

    def teardown(self) -> None:
        super().teardown()
        self.hidden.forget()
        self._steps = None

    @property
    def batch_at_hand(self) -> object:
        """The batch whose pieces are under way; None between batches."""
        return None if self._steps is None else self._steps.batch

    def run_state(self) -> dict[str, object]:
        return self.hidden.state_dict()

    def _between_pieces(self) -> None:
        if self.context.requests.flag.requested and not self._can_be_saved:
            return  # it is saved after the batch
        self.mark("piece")
        self.place.leave()

    @property
    def _can_be_saved(self) -> bool:
        """Whether a checkpoint can hold the batch at hand and what is remembered of its pieces."""
        return is_data(self.batch_at_hand) and is_data(self.hidden.state_dict())

    def _resumed_pieces(self) -> int:
        """How many pieces of the batch at hand were done when the run was saved."""
        state = self.resumed_state
        if not state:
            return 0
        self.hidden.load_state_dict(self.context.on_device(state))
        self.passed("piece")
        self.place.leave()
        return self.hidden.split_idx + 1

    def _in_pieces(self, model: M, step: Callable[[], Callable[[B, int], S]]) -> Callable[[B, int], S]:
        """What `step` makes, called with each piece of a batch where batches are split."""
        steps = split_size(self.truncated_bptt_steps, model)
        self.context.hidden = self.hidden if steps else None
        if not steps:
            return step()
        self._steps = TruncatedSteps(
            step(), pieces_of(model, steps), self.hidden, between=self._between_pieces, done=self._resumed_pieces
        )
        return self._steps

    def loop_for(self, model: M) -> LoopProtocol[[M, B, int], S]:
        """The child that optimizes this module; asked once an epoch."""
        return self.optimizer_loop if _is_automatic(model) or self.manual_loop is None else self.manual_loop

    def idle_children(self, module: object) -> tuple[str, ...]:
        if self.manual_loop is None:
            return ()
        return ("manual_loop",) if _is_automatic(module) else ("optimizer_loop",)


def _is_automatic(module: object) -> bool:
    return bool(getattr(module, "automatic_optimization", True))
