"""What a cross-validation is given, looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from torch import nn
from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError
from typedloops.recipes.k_fold.folds import RandomFolds, Splitter


def seed_of(seed: int, what: object) -> int:
    """A seed for one of the things that a run with this seed does."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=4).digest(), "big")


def checked_splitter(folds: object, seed: int) -> Splitter:
    if isinstance(folds, int) and not isinstance(folds, bool):
        return RandomFolds(folds, seed=seed)
    if isinstance(folds, (type, str)) or not isinstance(folds, Splitter):
        raise ConfigurationError(
            "KFoldLoop.folds",
            f"{folds!r} makes no folds",
            "Give a number, or an object with `split(X, y, groups)`: RandomFolds(5), or a splitter of scikit-learn.",
        )
    return folds


def checked_only(only: Collection[int] | None) -> tuple[int, ...] | None:
    if only is None:
        return None
    if not only or len(set(only)) != len(only):
        raise ConfigurationError("KFoldLoop.only", f"it is {only!r}", "Name one fold or several, each once.")
    return tuple(only)


K = TypeVar("K", bound=str)


def checked_choice(name: str, value: K, known: Sequence[str]) -> K:
    if value not in known:
        raise ConfigurationError(f"KFoldLoop.{name}", f"{value!r} is none", f"Give one of {', '.join(known)}.")
    return value


def check_makes_modules(make_module: object) -> None:
    if isinstance(make_module, nn.Module) or not callable(make_module):
        raise ConfigurationError(
            "KFoldLoop.run: make_module",
            f"a {type(make_module).__name__} makes no modules, and each fold needs one of its own",
            "Give a function: lambda fold: Classifier(), or lambda fold: copy.deepcopy(module).",
        )


def check_has_items(data: object) -> None:
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise ConfigurationError(
            "KFoldLoop.run: data",
            f"a {type(data).__name__} has no number of items, or none can be asked for by its index",
            "Give a list or a map-style dataset: list(data).",
        )
