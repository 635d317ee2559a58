"""What modules, callbacks and loaders keep besides what is saved of them."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import TypeGuard

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.loops.base.node import LoopNode
from typedloops.loops.run.context import RunContext
from typedloops.loops.run.saving.module_state import rest_of
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.trainer import Trainer
from typedloops.verification.values import Fingerprint, drawn_from, fingerprint, is_array, is_generator

PART = "attributes: "

MOST = 20_000
"""So many values are looked at at most."""

DEEPEST = 8

OF_MODULES = frozenset(vars(nn.Module()))
"""What every module has; parameters, buffers and modes are state."""

OF_LOADERS = frozenset({"_iterator", "_IterableDataset_len_called", "multiprocessing_context"})
"""What a torch `DataLoader` has of the pass under way."""

NO_DATA = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.GeneratorType,
    partial,
    torch.device,
    torch.dtype,
    Trainer,
    LoopNode,
    RunContext,
    Optimizer,
    LRScheduler,
)
"""What is not looked into: it is no data, or its state is looked at elsewhere."""


def attributes_of(
    runs: Iterable[RunContext], callbacks: Iterable[object], loaders: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    """Values by path, `attributes: Net.count`: what is no parameter and no buffer, and what callbacks and loaders have.

    Args:
        runs: Those under way.
        callbacks: Those of the trainer.
        loaders: Loaders by how they are to be called.
    """
    walk = _Walk()
    for run in runs:
        module = unwrapped(run.module)
        if isinstance(module, nn.Module):
            yield from walk.module(module)
        else:
            yield from walk.owner(type(module).__name__, module)
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, 0) + 1
        yield from walk.owner(kind if counts[kind] == 1 else f"{kind}#{counts[kind]}", callback)
    for name, loader in loaders.items():
        yield from walk.value(name, loader)


class _Walk:
    """Goes through attributes, each object once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._left = MOST
        # What was seen is kept alive: another object could have its identity.
        self._alive: list[object] = []

    def module(self, module: nn.Module) -> Iterator[tuple[str, object]]:
        parts = list(cast("Iterator[tuple[str, nn.Module]]", module.named_modules()))
        for thing in (*(part for _, part in parts), *module.parameters(), *module.buffers()):
            self._saw(thing)
        metrics = cast("Mapping[str, object]", rest_of(module).get("metrics", {}))
        root = type(module).__name__
        for name, part in parts:
            if name not in metrics:
                own = {key: value for key, value in vars(part).items() if key not in OF_MODULES}
                yield from self._named(f"{root}.{name}" if name else root, own, 0)

    def owner(self, name: str, thing: object) -> Iterator[tuple[str, object]]:
        if self._saw(thing):
            yield from self._named(name, _attributes_of(thing), 0)

    def value(self, path: str, value: object, depth: int = 0) -> Iterator[tuple[str, object]]:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST or isinstance(value, NO_DATA):
            return
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield PART + path, value
        elif not self._saw(value):
            return
        elif is_generator(value):
            yield PART + path, drawn_from(value)
        elif isinstance(value, Tensor) or is_array(value) or _is_set(value):
            yield PART + path, fingerprint(value)
        elif is_list_or_tuple(value) or _is_deque(value):
            yield from self._items(path, {str(index): item for index, item in enumerate(value)}, depth)
        elif is_mapping(value):
            yield from self._items(path, {str(key): item for key, item in value.items()}, depth)
        else:
            yield from self._named(path, _attributes_of(value), depth)

    def _items(self, path: str, items: Mapping[str, object], depth: int) -> Iterator[tuple[str, object]]:
        count = f"{len(items)} items"
        yield PART + path, Fingerprint(count, count)
        yield from self._named(path, items, depth)

    def _named(self, path: str, values: Mapping[str, object], depth: int) -> Iterator[tuple[str, object]]:
        for name, value in values.items():
            if name not in OF_LOADERS:
                yield from self.value(f"{path}.{name}", value, depth + 1)

    def _saw(self, thing: object) -> bool:
        """Whether this is the first time."""
        if id(thing) in self._seen:
            return False
        self._seen.add(id(thing))
        self._alive.append(thing)
        return True


def _attributes_of(thing: object) -> Mapping[str, object]:
    own: object = getattr(thing, "__dict__", None)
    return dict(own) if is_mapping(own) else {}


def _is_set(value: object) -> TypeGuard[set[object] | frozenset[object]]:
    return isinstance(value, (set, frozenset))


def _is_deque(value: object) -> TypeGuard[deque[object]]:
    return isinstance(value, deque)
