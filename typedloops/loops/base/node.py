"""A loop's place in a tree: children, parent, path and trainer."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, cast

from typing_extensions import Self, get_protocol_members

from typedloops._core.shapes import is_list_or_tuple
from typedloops.errors import LoopTreeError, UnattachedLoopError
from typedloops.loops.base.links import all_or_nothing
from typedloops.loops.base.rebuild import rebuild
from typedloops.loops.base.run_progress import RunProgress
from typedloops.loops.base.slot import BaseSlot, SlotList
from typedloops.loops.base.tree import LoopTree
from typedloops.protocols.loop import AnyLoop, LoopProtocol

if TYPE_CHECKING:
    from typedloops.protocols.trainer import TrainerView


class LoopNode:
    """What makes a loop a node of a tree; `Loop` adds the contract.

    Nothing here is set by `__init__`: a subclass that forgets to call it is sound.
    """

    transient_fields: ClassVar[tuple[str, ...]] = ("_parent", "_slot", "_trainer", "_root_name", "_context", "_running")
    """Attributes that belong to a place or a run: neither pickled nor copied."""

    _parent: LoopNode | None = None
    _slot: str = ""
    _trainer: TrainerView | None = None
    _root_name: str = ""
    _slots: ClassVar[Mapping[str, BaseSlot]]

    binds_children: ClassVar[bool] = False
    """Whether a run looks its children up once, at the start: then they cannot be changed before it ends."""

    @property
    def trainer(self) -> TrainerView:
        """The trainer that the root of this tree is attached to.

        Raises:
            UnattachedLoopError: There is none.
        """
        trainer = self.root._trainer
        if trainer is None:
            raise UnattachedLoopError(
                type(self).__name__,
                "it is not attached to a trainer, so it has no `trainer`",
                f"Give its tree to one: Trainer(fit_loop={type(self.root).__name__}(...)).",
            )
        return trainer

    @property
    def root(self) -> LoopNode:
        """The top of the tree that this loop is in."""
        node = self
        while node._parent is not None:
            node = node._parent
        return node

    @property
    def parent(self) -> LoopNode | None:
        """The loop that this one is a child of, or None for a root."""
        return self._parent

    @property
    def path(self) -> str:
        """Where this loop is: the names of the slots from the root, as in `fit_loop.epoch_loop`.

        The root's own name is what the trainer calls it; it is empty while unattached.
        """
        if self._parent is None:
            return self._root_name
        for name, child in self._parent.children():
            if same(child, self):
                return f"{self._parent.path}.{name}" if self._parent.path else name
        return self._slot

    def attach(self, trainer: TrainerView, name: str) -> None:
        """Make this loop the root called `name` of a tree of `trainer`.

        Raises:
            LoopTreeError: It is a child of another loop.
        """
        if self._parent is not None:
            raise LoopTreeError(
                f"{name}: {type(self).__name__}",
                f"it is already the child {self.path!r} of a {type(self.root).__name__}",
                "A loop has one place: build another, or `copy.deepcopy` it.",
            )
        if vars(self).get("_context") is not None and self._trainer is not trainer:
            raise LoopTreeError(
                f"{name}: {type(self).__name__}", "it is running", "Give it to another trainer when its run is over."
            )
        self._trainer = trainer
        self._root_name = name

    def detach(self, trainer: TrainerView) -> None:
        """Stop being a root of `trainer`; nothing happens when it is another's."""
        if self._trainer is trainer:
            self._trainer = None
            self._root_name = ""

    @classmethod
    def slots(cls) -> Mapping[str, BaseSlot]:
        """The declared slots by name, those of base classes first; looked for once for each class."""
        slots: Mapping[str, BaseSlot] | None = vars(cls).get("_slots")
        if slots is None:
            members = (member for kind in reversed(cls.__mro__) for member in vars(kind).items())
            found = {name: slot for name, slot in members if isinstance(slot, BaseSlot)}
            slots = cls._slots = MappingProxyType(found)
        return slots

    def children(self) -> Iterator[tuple[str, AnyLoop]]:
        """The connected children, each with the last part of its path."""
        for slot in self.slots().values():
            yield from slot.contents(self)

    def idle_children(self, module: object) -> Collection[str]:
        """The children that will not run for this module, so that it need not fit them."""
        return ()

    def walk(self) -> Iterator[tuple[str, AnyLoop]]:
        """Every loop of this tree with its path relative to here, parents first; "" is this loop."""
        yield "", cast("AnyLoop", self)
        for name, child in self.children():
            if isinstance(child, LoopNode):
                yield from ((f"{name}.{path}" if path else name, loop) for path, loop in child.walk())
            else:
                yield name, child

    def tree(self) -> LoopTree:
        """The tree below this loop, to print."""
        return self._tree(self.path or type(self).__name__)

    def _tree(self, name: str) -> LoopTree:
        branches = (
            child._tree(name) if isinstance(child, LoopNode) else LoopTree(name, type(child).__name__)
            for name, child in self.children()
        )
        return LoopTree(name, type(self).__name__, tuple(branches), self._progress_to_show())

    def _progress_to_show(self) -> RunProgress | None:
        """How far the loop has come; None before its first run."""
        return None

    def adopt(self, slot: str, loop: AnyLoop) -> None:
        """Become the parent of `loop`, which is put into `slot`.

        Raises:
            LoopTreeError: It is no loop, has another parent, or would close a cycle.
        """
        where = f"{type(self).__name__}.{slot}"
        check_is_loop(where, loop)
        if any(same(loop, node) for node in self.ancestry()):
            raise LoopTreeError(
                where,
                f"connecting this {type(loop).__name__} would make it its own descendant",
                "Connect another loop: a tree has no cycles.",
            )
        check_is_free(where, loop)
        check_is_idle(where, loop)
        below = [node for _, node in loop.walk()] if isinstance(loop, LoopNode) else [loop]
        if twice := next((node for node in below if any(same(node, other) for _, other in self.root.walk())), None):
            raise LoopTreeError(
                where,
                f"this {type(twice).__name__} is already in the tree",
                "A loop has one place: build another, or `copy.deepcopy` it.",
            )
        if isinstance(loop, LoopNode):
            loop._parent, loop._slot = self, slot
            loop._trainer, loop._root_name = None, ""

    @property
    def at_work(self) -> bool:
        """Whether this loop is in the middle of a run that it cannot be taken out of."""
        return bool(vars(self).get("_running"))

    def check_may_leave(self, slot: str, loop: AnyLoop) -> None:
        """Raise unless `loop` can be taken out of `slot`.

        Raises:
            LoopTreeError: It is running, or a loop above it has already looked it up.
        """
        where = f"{type(self).__name__}.{slot}"
        check_is_idle(where, loop)
        for node in self.ancestry():
            if node.binds_children and node.at_work:
                raise LoopTreeError(
                    where,
                    f"{type(node).__name__} is in the middle of its run",
                    "Change its loops between two runs.",
                )

    def release(self, loop: AnyLoop) -> None:
        """Stop being the parent of `loop`."""
        if isinstance(loop, LoopNode) and loop._parent is self:
            loop._parent = None
            loop._slot = ""

    def ancestry(self) -> Iterator[LoopNode]:
        """This loop, the one that it is a child of, and so on up to the root."""
        node: LoopNode | None = self
        while node is not None:
            yield node
            node = node._parent

    def put_in_slots(self, loops: Mapping[str, object]) -> None:
        """Put each loop into the slot of its name; None leaves the slot as it is.  This is what `connect` does."""
        self.check_slot_names("connect", loops)
        with all_or_nothing(self, *loops.values()):
            for name, loop in loops.items():
                if loop is not None:
                    setattr(self, name, loop)

    def replace(self, **loops: AnyLoop | type[AnyLoop]) -> None:
        """Replace children by slot name.

        Given a class, one is built with the values that the old loop has for the
        parameters of the class's `__init__`, and gets all children of the old loop.
        Given a loop, it gets those for which it has an empty slot.

        Raises:
            LoopTreeError: No such slot; the old loop lacks a value that `__init__` needs; or a
                child of the old loop has no slot in the new one.
        """
        self.check_slot_names("replace", loops)
        with all_or_nothing(self, *loops.values()):
            for name, new in loops.items():
                self._replace_child(name, new)

    def _replace_child(self, name: str, new: AnyLoop | type[AnyLoop]) -> None:
        where = f"{type(self).__name__}.{name}"
        if isinstance(self.slots()[name], SlotList):
            raise LoopTreeError(where, "it is a list of loops", f"Assign the loop: {name}[0] = ...")
        old: object = getattr(self, name)
        replacement: object = new
        self.check_may_leave(name, cast("AnyLoop", old))
        if isinstance(new, type):
            check_is_loop_class(where, new)
            replacement = rebuild(where, old, new)
        check_is_loop(where, replacement)
        if isinstance(old, LoopNode) and not same(old, replacement):
            check_is_free(where, replacement)
            _move_children(where, old, cast("AnyLoop", replacement), overwrite=isinstance(new, type))
        setattr(self, name, replacement)

    def check_slot_names(self, method: str, loops: Mapping[str, object]) -> None:
        """Raise `LoopTreeError` unless every key of `loops` is the name of a slot."""
        if unknown := sorted(loops.keys() - self.slots().keys()):
            raise LoopTreeError(
                f"{type(self).__name__}.{method}",
                f"it has no slot {', '.join(map(repr, unknown))}",
                f"Its slots are: {', '.join(self.slots()) or 'none'}.",
            )

    if not TYPE_CHECKING:  # each class with slots may have its own, typed; this one would make them all overrides

        def connect(self, **loops):
            self.put_in_slots(loops)

    def __getstate__(self) -> dict[str, object]:
        transient = {name for kind in type(self).__mro__ for name in vars(kind).get("transient_fields", ())}
        return {name: value for name, value in vars(self).items() if name not in transient}

    def __copy__(self) -> Self:
        """A copy that shares everything but its children, which have one parent and so are copied too."""
        twin = type(self).__new__(type(self))
        state = self.__getstate__()
        for name in state.keys() & self.slots().keys():
            children = state[name]
            state[name] = [copy.copy(c) for c in children] if is_list_or_tuple(children) else copy.copy(children)
        if "_iterations" in state:
            state["_iterations"] = copy.copy(state["_iterations"])
        twin.__setstate__(state)
        return twin

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        for name, child in self.children():
            if isinstance(child, LoopNode):
                child._parent = self
                child._slot = name.partition(".")[0]


def same(a: object, b: object) -> bool:
    return a is b


def check_is_loop(where: str, loop: object) -> None:
    """Raise `LoopTreeError` unless `loop` has the shape of one."""
    if isinstance(loop, type):
        raise LoopTreeError(
            where, f"it needs a loop, got the class {loop.__name__}", f"Build one: {loop.__name__}(...)."
        )
    if not isinstance(loop, LoopProtocol):
        raise LoopTreeError(
            where,
            f"it needs a loop, got {type(loop).__name__}",
            "A loop has `done`, `reset`, `advance` and `run`: subclass typedloops.Loop.",
        )


def check_is_free(where: str, loop: object) -> None:
    """Raise `LoopTreeError` if `loop` has a parent."""
    if isinstance(loop, LoopNode) and loop._parent is not None:  # pyright: ignore[reportPrivateUsage]
        raise LoopTreeError(
            where,
            f"this {type(loop).__name__} is already connected as {loop.path!r} of a {type(loop.root).__name__}",
            "A loop has one parent: build another, or `copy.deepcopy` it.",
        )


def check_is_idle(where: str, loop: object) -> None:
    """Raise `LoopTreeError` if `loop` or one below it is in the middle of a run."""
    for _, node in loop.walk() if isinstance(loop, LoopNode) else ():
        if isinstance(node, LoopNode) and node.at_work:
            raise LoopTreeError(
                where, f"this {type(node).__name__} is running", "Change the tree between two runs of this loop."
            )


def check_is_loop_class(where: str, kind: type[object]) -> None:
    """Raise `LoopTreeError` unless instances of `kind` have the shape of a loop."""
    if not all(hasattr(kind, name) for name in get_protocol_members(LoopProtocol)):
        raise LoopTreeError(
            where,
            f"it needs a loop, and {kind.__name__} is no class of loops",
            "A loop has `done`, `reset`, `advance` and `run`: subclass typedloops.Loop.",
        )


def _move_children(where: str, old: LoopNode, new: AnyLoop, *, overwrite: bool) -> None:
    """Move the children of `old` into the slots of `new`: all of them, or into the empty ones."""
    filled = {name: slot for name, slot in old.slots().items() if any(slot.contents(old))}
    receiving: Mapping[str, BaseSlot] = new.slots() if isinstance(new, LoopNode) else {}
    if stranded := sorted(filled.keys() - receiving.keys()):
        raise LoopTreeError(
            where,
            f"{type(new).__name__} has no slot for {', '.join(stranded)} of {type(old).__name__}",
            "Declare the slot, or disconnect the child first.",
        )
    for name, slot in filled.items():
        if isinstance(new, LoopNode) and (overwrite or not any(receiving[name].contents(new))):
            receiving[name].put(new, slot.take(old))
