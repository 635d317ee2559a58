"""A loop over the parts of one batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, cast

from typing_extensions import Protocol, TypeVar, runtime_checkable

from typedloops.loops.base.loop import CONTRACT
from typedloops.loops.run.context import InRun
from typedloops.protocols.loop import LoopProtocol

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
S = TypeVar("S", default=object)

M_contra = TypeVar("M_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
S_co = TypeVar("S_co", covariant=True)


@runtime_checkable
class Binds(Protocol[M_contra, B_contra, S_co]):
    """A loop that can say beforehand what is to be called for each batch."""

    def bind(self, model: M_contra, /) -> Callable[[B_contra, int], S_co]: ...


class StepLoop(InRun[[M, B, int], S], Generic[M, B, S]):
    """A loop whose run is one batch: its inputs are the module, the batch and its index."""

    def bind(self, model: M) -> Callable[[B, int], S]:
        """What to call for each batch of an epoch: `run` with the module filled in."""
        return partial(self.run, model)

    def run(self, model: M, batch: B, batch_idx: int) -> S:
        return super().run(model, batch, batch_idx)

    def teardown(self) -> None:
        # What `bind` gives does not pass through `run`, which would have done this.
        self.restarting = False


def bind(loop: LoopProtocol[[M, B, int], S], model: M) -> Callable[[B, int], S]:
    """`loop.bind(model)` where the loop can do that, otherwise `loop.run` with the module filled in."""
    if isinstance(loop, Binds):
        return cast("Binds[M, B, S]", loop).bind(model)
    return partial(loop.run, model)


def keeps_contract(loop: object, base: type) -> bool:
    """Whether `loop` runs as `base` says: nothing since then changes a method of the contract."""
    cls = type(loop)
    later = (*(vars(kind) for kind in cls.__mro__[: cls.__mro__.index(base)]), vars(loop))
    return all(names.keys().isdisjoint(CONTRACT) for names in later)
