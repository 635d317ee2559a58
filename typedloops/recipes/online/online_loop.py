"""Collecting and learning as sibling loops."""

from __future__ import annotations

from typing import Generic

from typing_extensions import TypeVar

from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.step_loop import StepLoop
from typedloops.protocols.loop import LoopProtocol

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
D = TypeVar("D", default=object)
S = TypeVar("S", default=object)


class OnlineLoop(StepLoop[M, B, S], Generic[M, B, D, S]):
    """One iteration of online learning: data is made with the module as it is, and learnt on.

    ```
    advance:
        data = collect_loop.run(model, batch, batch_idx)
        output = learn_loop.run(model, data, batch_idx)
    ```

    It takes the place of the optimizer loop, so that a batch of the fit is an iteration:

    ```
    online = OnlineLoop(CollectLoop(environments), PolicyGradientLoop(OptimizerLoop()))
    trainer = Trainer(max_epochs=10, fit_loop=FitLoopOf(TrainingEpochLoop(TrainingBatchLoop(online))))
    trainer.fit(policy, range(20))                        # 200 iterations, 20 to an epoch
    ```

    ```
    fit_loop: FitLoopOf
    └─ epoch_loop: TrainingEpochLoop
       ├─ batch_loop: TrainingBatchLoop
       │  └─ optimizer_loop: OnlineLoop
       │     ├─ collect_loop: CollectLoop
       │     └─ learn_loop: PolicyGradientLoop
       │        └─ optimizer_loop: OptimizerLoop
       └─ val_loop: ValidationLoop
    ```

    Epochs, limits, validations, schedulers, checkpoints and callbacks are those of the fit: schedulers with
    the interval `step` step once an iteration, `on_train_batch_end` comes after one, and what is asked
    for within is saved after it.  A fit that reaches `max_steps` finishes the iteration.  What goes
    from one iteration to the next is the state of the two loops.

    Args:
        collect_loop: Makes data of a batch; what a batch is, the loader says: with a `range` a number.
        learn_loop: Learns on that data.

    Its output is that of `learn_loop`.
    """

    collect_loop: Slot[LoopProtocol[[M, B, int], D]] = Slot()
    learn_loop: Slot[LoopProtocol[[M, D, int], S]] = Slot()

    def __init__(self, collect_loop: LoopProtocol[[M, B, int], D], learn_loop: LoopProtocol[[M, D, int], S]) -> None:
        self.collect_loop = collect_loop
        self.learn_loop = learn_loop

    @typed_connect
    def connect(
        self,
        *,
        collect_loop: LoopProtocol[[M, B, int], D] | None = None,
        learn_loop: LoopProtocol[[M, D, int], S] | None = None,
    ) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    def advance(self, model: M, batch: B, batch_idx: int) -> None:
        self.output = self.learn_loop.run(model, self.collect_loop.run(model, batch, batch_idx), batch_idx)
