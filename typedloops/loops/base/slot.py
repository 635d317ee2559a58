"""Where a loop keeps its children: one in a `Slot`, any number in a `SlotList`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, cast, overload

from typing_extensions import Protocol, Self, TypeVar

from typedloops.errors import LoopTreeError
from typedloops.protocols.loop import AnyLoop

L = TypeVar("L")


class SlotOwner(Protocol):
    """What a slot asks of the loop that it belongs to."""

    def adopt(self, slot: str, loop: AnyLoop) -> None:
        """Become the parent of `loop`, or raise `LoopTreeError`."""

    def check_may_leave(self, slot: str, loop: AnyLoop) -> None:
        """Raise `LoopTreeError` unless `loop` can be taken out of `slot`."""

    def release(self, loop: AnyLoop) -> None:
        """Stop being the parent of `loop`."""


class BaseSlot:
    """What every kind of slot can tell of its contents."""

    name: str

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    def contents(self, owner: SlotOwner) -> Iterator[tuple[str, AnyLoop]]:
        """The children here, each with the last part of its path."""
        raise NotImplementedError

    def take(self, owner: SlotOwner) -> list[AnyLoop]:
        """Empty the slot; what was in it has no parent any more."""
        children = [child for _, child in self.contents(owner)]
        for child in children:
            owner.check_may_leave(self.name, child)
        owner.__dict__.pop(self.name, None)
        for child in children:
            owner.release(child)
        return children

    def put(self, owner: SlotOwner, children: list[AnyLoop]) -> None:
        """Fill the slot with what another one gave."""
        raise NotImplementedError


class Slot(BaseSlot, Generic[L]):
    """A typed place for one child loop, declared in the class body of its parent.

    ```
    class Folds(Loop[[Data], Score]):
        fit_loop: Slot[LoopProtocol[[Module, Data], FitResult]] = Slot()
    ```

    Assigning to it links the tree: the new child gets its parent, and with it path
    and trainer; the old one is released.

    Args:
        required: Whether reading the empty slot is an error; otherwise it is None.
    """

    def __init__(self, *, required: bool = True) -> None:
        self.required = required

    @overload
    def __get__(self, owner: None, kind: type[object]) -> Self: ...
    @overload
    def __get__(self, owner: SlotOwner, kind: type[object]) -> L: ...
    def __get__(self, owner: SlotOwner | None, kind: type[object]) -> Self | L:
        if owner is None:
            return self
        child = owner.__dict__.get(self.name)
        if child is None and self.required:
            raise LoopTreeError(
                f"{kind.__name__}.{self.name}",
                "no loop is connected",
                f"Assign one to `{self.name}`.",
            )
        return cast("L", child)

    def __set__(self, owner: SlotOwner, child: L) -> None:
        old = self._child(owner)
        if child is old:
            return
        if old is not None:
            owner.check_may_leave(self.name, old)
        if child is None and not self.required:
            owner.__dict__.pop(self.name)
        else:
            owner.adopt(self.name, cast("AnyLoop", child))
            owner.__dict__[self.name] = child
        if old is not None:
            owner.release(old)

    def _child(self, owner: SlotOwner) -> AnyLoop | None:
        return cast("AnyLoop | None", owner.__dict__.get(self.name))

    def contents(self, owner: SlotOwner) -> Iterator[tuple[str, AnyLoop]]:
        if (child := self._child(owner)) is not None:
            yield self.name, child

    def put(self, owner: SlotOwner, children: list[AnyLoop]) -> None:
        for child in children:
            self.__set__(owner, cast("L", child))


class SlotList(BaseSlot, Generic[L]):
    """A typed place for any number of child loops; reads as a `LoopList`.

    ```
    class Stages(Loop[[Data], None]):
        stages: SlotList[LoopProtocol[[Data], None]] = SlotList()
    ```
    """

    @overload
    def __get__(self, owner: None, kind: type[object]) -> Self: ...
    @overload
    def __get__(self, owner: SlotOwner, kind: type[object]) -> LoopList[L]: ...
    def __get__(self, owner: SlotOwner | None, kind: type[object]) -> Self | LoopList[L]:
        return self if owner is None else LoopList(owner, self.name)

    def __set__(self, owner: SlotOwner, children: Iterable[L]) -> None:
        LoopList[L](owner, self.name).refill(children)

    def contents(self, owner: SlotOwner) -> Iterator[tuple[str, AnyLoop]]:
        loops: LoopList[AnyLoop] = LoopList(owner, self.name)
        for position, child in enumerate(loops):
            yield f"{self.name}.{position}", child

    def put(self, owner: SlotOwner, children: list[AnyLoop]) -> None:
        self.__set__(owner, cast("list[L]", children))


class LoopList(Generic[L]):
    """The children in a `SlotList`, in order; every change keeps the tree consistent."""

    def __init__(self, owner: SlotOwner, name: str) -> None:
        self._owner = owner
        self._name = name

    @property
    def _loops(self) -> list[L]:
        """The list itself, which the owner may exchange for another."""
        return cast("list[L]", vars(self._owner).setdefault(self._name, []))

    def __getitem__(self, index: int) -> L:
        return self._loops[index]

    def __iter__(self) -> Iterator[L]:
        return iter(self._loops)

    def __len__(self) -> int:
        return len(self._loops)

    def __setitem__(self, index: int, loop: L) -> None:
        old = self._loops[index]
        if loop is not old:
            self._owner.check_may_leave(self._name, cast("AnyLoop", old))
            self._owner.adopt(self._name, cast("AnyLoop", loop))
            self._loops[index] = loop
            self._owner.release(cast("AnyLoop", old))

    def __delitem__(self, index: int) -> None:
        self._owner.check_may_leave(self._name, cast("AnyLoop", self._loops[index]))
        self._owner.release(cast("AnyLoop", self._loops.pop(index)))

    def append(self, loop: L) -> None:
        self._owner.adopt(self._name, cast("AnyLoop", loop))
        self._loops.append(loop)

    def refill(self, loops: Iterable[L]) -> None:
        """Have these loops and no others; when one of them is refused, those that there were."""
        loops, before = list(loops), list(self._loops)
        self.clear()
        try:
            for loop in loops:
                self.append(loop)
        except LoopTreeError:
            self.refill(before)
            raise

    def clear(self) -> None:
        for loop in self._loops:
            self._owner.check_may_leave(self._name, cast("AnyLoop", loop))
        while self._loops:
            del self[-1]

    def __repr__(self) -> str:
        return repr(self._loops)
