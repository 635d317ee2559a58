"""Which items each fold trains on, and which it validates on."""

from __future__ import annotations

import hashlib
import operator
import random
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import SupportsIndex, TypeAlias

from typing_extensions import Protocol, runtime_checkable

from typedloops.errors import ConfigurationError
from typedloops.loops.run.settings.config import check_count

Indices: TypeAlias = Iterable[SupportsIndex]


class Labels(Protocol):
    """One value for each item, its class or the group that it must not be parted from: a list, an array, a tensor."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[object]: ...


@runtime_checkable
class Array(Protocol):
    """What gives its values as those of Python, which are equal where they look the same."""

    def tolist(self) -> list[object]: ...


@runtime_checkable
class Splitter(Protocol):
    """What makes the folds: a splitter of scikit-learn fits, and so does `RandomFolds`."""

    # The names are those of scikit-learn.
    def split(
        self, X: Sequence[int], y: Sequence[object] | None = None, groups: Sequence[object] | None = None
    ) -> Iterable[tuple[Indices, Indices]]:
        """For each fold the indices to train on and those to validate on."""
        ...


@dataclass(frozen=True)
class Fold:
    """The items of a fold.

    Args:
        index: Which fold it is, from 0.
        train: The indices of the items to train on.
        val: Those of the items to validate on.
    """

    index: int
    train: tuple[int, ...]
    val: tuple[int, ...]


class RandomFolds:
    """Folds of items drawn at random, each item in the validation of one of them.

    The folds of scikit-learn's `KFold` and `StratifiedKFold` (shuffled) in a few lines, so that the usual
    case needs nothing to be installed; for groups, or an order in time, give one of scikit-learn's splitters.

    Args:
        folds: How many.
        stratified: Whether each class has its share of every fold.
        repeats: How many times all of that, each time drawn anew: with 3 there are three times as many folds.
        seed: Says which; the same seed gives the same folds.

    Raises:
        ConfigurationError: Fewer than 2 folds, or fewer than 1 repeat.
    """

    def __init__(self, folds: int = 5, *, stratified: bool = False, repeats: int = 1, seed: int = 0) -> None:
        for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
            check_count(f"RandomFolds.{name}", value)
            if value < least:
                raise ConfigurationError(f"RandomFolds.{name}", f"it is {value}", f"Give {least} or more.")
        self.folds = folds
        self.stratified = stratified
        self.repeats = repeats
        self.seed = seed

    def split(
        self, X: Sequence[int], y: Sequence[object] | None = None, groups: Sequence[object] | None = None
    ) -> Iterator[tuple[list[int], list[int]]]:
        """The folds of the items; `y` has the classes where they are stratified.

        Raises:
            ConfigurationError: There are fewer items than folds, no classes, or groups, which it does not know.
        """
        if groups is not None:
            raise ConfigurationError(
                "RandomFolds", "it does not know of groups", "Give a splitter that does: scikit-learn's GroupKFold."
            )
        if len(X) < self.folds:
            raise ConfigurationError(
                "RandomFolds.folds", f"it is {self.folds}, and there are {len(X)} items", "Give fewer folds."
            )
        classes = self._classes(X, y)
        for repeat in range(self.repeats):
            fold_of = self._dealt(classes, random.Random(f"{self.seed}/{repeat}"), len(X))
            for fold in range(self.folds):
                yield (
                    [item for item in range(len(X)) if fold_of[item] != fold],
                    [item for item in range(len(X)) if fold_of[item] == fold],
                )

    def _classes(self, items: Sequence[int], labels: Sequence[object] | None) -> list[list[int]]:
        """The items of each class; all are of one where they are not stratified."""
        if not self.stratified:
            return [list(range(len(items)))]
        if labels is None:
            raise ConfigurationError(
                "RandomFolds(stratified=True)", "there are no labels", "Give them: fit(..., labels=labels)."
            )
        members: dict[object, list[int]] = {}
        for item, label in enumerate(labels):
            members.setdefault(label.tolist() if isinstance(label, Array) else label, []).append(item)
        if small := {label: len(items) for label, items in members.items() if len(items) < self.folds}:
            label, size = next(iter(small.items()))
            warnings.warn(
                f"RandomFolds(stratified=True): the class {label!r} has {size} items, and there are {self.folds} "
                "folds: it is not in the validation of each.",
                UserWarning,
                stacklevel=2,
            )
        # Not as they come in the data: classes of one item each would be dealt out in its order.
        shuffled = random.Random(f"{self.seed}/classes")
        return shuffled.sample(list(members.values()), len(members))

    def _dealt(self, classes: Iterable[list[int]], rng: random.Random, items: int) -> list[int]:
        """Deal out the items of one class after the other, as one deals cards: the fold of each."""
        fold_of, turn = [0] * items, count()
        for members in classes:
            for item in rng.sample(members, len(members)):
                fold_of[item] = next(turn) % self.folds
        return fold_of


def folds_of(splitter: Splitter, items: int, labels: Labels | None, groups: Labels | None) -> list[Fold]:
    """The folds that a splitter makes.

    Args:
        splitter: Makes them.
        items: How many items there are.
        labels: The class of each item, or None.
        groups: The group of each item, or None.

    Raises:
        ConfigurationError: There are not as many labels as items; or a fold has an item that is none, one in both
            of its parts, or nothing in one of them.
    """
    told = [_values("labels", labels, items), _values("groups", groups, items)]
    folds = [
        Fold(index, _plain(train), _plain(val))
        for index, (train, val) in enumerate(splitter.split(range(items), *told))
    ]
    for fold in folds:
        _check(f"{type(splitter).__name__}.split: fold {fold.index}", fold, items)
    return folds


def chosen(folds: Sequence[Fold], only: Collection[int] | None) -> list[Fold]:
    """The folds that are to be run, in the order in which they are named.

    Raises:
        ConfigurationError: There is none of that number.
    """
    if only is None:
        return list(folds)
    if unknown := [index for index in only if index not in range(len(folds))]:
        raise ConfigurationError(
            "KFoldLoop.only", f"there is no fold {unknown[0]}", f"The folds are 0 to {len(folds) - 1}."
        )
    return [folds[index] for index in only]


def digest_of(folds: Iterable[Fold]) -> str:
    """What tells whether folds are the same ones."""
    digest = hashlib.sha256()
    for part in chain.from_iterable((fold.train, fold.val) for fold in folds):
        digest.update(len(part).to_bytes(8, "little") + array("q", part).tobytes())
    return digest.hexdigest()


def _values(name: str, values: Labels | None, items: int) -> Sequence[object] | None:
    if values is None:
        return None
    # Tensors and NumPy's values one by one: they are told apart by what they are, not by what they equal.
    told = [value.tolist() if isinstance(value, Array) else value for value in values]
    if len(told) != items:
        raise ConfigurationError(
            f"KFoldLoop.run: {name}", f"there are {len(told)}, and {items} items", "Give one for each item."
        )
    return told


def _plain(indices: Indices) -> tuple[int, ...]:
    return tuple(operator.index(index) for index in indices)


def _check(where: str, fold: Fold, items: int) -> None:
    train, val = set(fold.train), set(fold.val)
    if not train or not val:
        raise ConfigurationError(
            where, f"it has nothing to {'validate' if train else 'train'} on", "Give fewer folds, or more items."
        )
    if outside := next((item for item in train | val if item not in range(items)), None):
        raise ConfigurationError(where, f"there is no item {outside}", f"The items are 0 to {items - 1}.")
    if both := train & val:
        raise ConfigurationError(
            where,
            f"item {min(both)} is trained on and validated on",
            "Give a splitter whose parts have nothing in common.",
        )
