"""One loader made of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Literal, TypeAlias, cast, get_args, overload

from typing_extensions import TypeVar

from typedloops._core.shapes import is_mapping
from typedloops.data.children import ROUNDS, Child, children_of, one_after_another
from typedloops.data.combined_pass import CombinedPass
from typedloops.errors import ConfigurationError, LoaderError
from typedloops.loops.run.loaders import check_loader, length_of

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
B_co = TypeVar("B_co", covariant=True)

Mode: TypeAlias = Literal["min_size", "max_size_cycle", "max_size", "sequential"]
AtATime: TypeAlias = Literal["min_size", "max_size_cycle"]

LENGTHS: dict[str, Callable[[Iterable[int]], int]] = {
    "min_size": min,
    "max_size_cycle": max,
    "max_size": max,
    "sequential": sum,
}


class CombinedLoader(Generic[B_co]):
    """A loader made of several loaders.

    A batch has one batch of each, in the shape in which the loaders were given: a tuple, a
    list, or a dict with the keys of a mapping.  With `sequential` it is that of one loader.

    | mode             | ends with     | what has ended before                                 |
    |------------------|---------------|-------------------------------------------------------|
    | `min_size`       | the shortest  |                                                       |
    | `max_size_cycle` | the longest   | begins anew, as in a new epoch: it is shuffled again  |
    | `max_size`       | the longest   | gives None                                            |
    | `sequential`     | the last      | one is gone through after another                     |

    A type checker keeps the batches of different loaders apart in a tuple of two, three or
    four; a list or a mapping is for loaders of one class with the same batches.  A loader is asked for nothing before
    its first batch is due.  The combination has a length when all of them have one, and may
    itself be one of several.

    Args:
        loaders: A tuple, a list or a mapping of loaders.
        mode: How they are gone through.

    Raises:
        ConfigurationError: There is no such mode.
        LoaderError: There is no loader, or something that is none.  While it is gone through: one of them is
            empty, or has a batch that is None.
    """

    @overload
    def __init__(
        self: CombinedLoader[tuple[A, B]], loaders: tuple[Iterable[A], Iterable[B]], mode: AtATime = "min_size"
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A, B, C]],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C]],
        mode: AtATime = "min_size",
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A, B, C, D]],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C], Iterable[D]],
        mode: AtATime = "min_size",
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A, ...]], loaders: tuple[Iterable[A], ...], mode: AtATime = "min_size"
    ) -> None: ...
    @overload
    def __init__(self: CombinedLoader[list[A]], loaders: Sequence[Iterable[A]], mode: AtATime = "min_size") -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[dict[str, A]], loaders: Mapping[str, Iterable[A]], mode: AtATime = "min_size"
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A | None, B | None]],
        loaders: tuple[Iterable[A], Iterable[B]],
        mode: Literal["max_size"],
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A | None, B | None, C | None]],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C]],
        mode: Literal["max_size"],
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A | None, B | None, C | None, D | None]],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C], Iterable[D]],
        mode: Literal["max_size"],
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[tuple[A | None, ...]], loaders: tuple[Iterable[A], ...], mode: Literal["max_size"]
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[list[A | None]], loaders: Sequence[Iterable[A]], mode: Literal["max_size"]
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[dict[str, A | None]], loaders: Mapping[str, Iterable[A]], mode: Literal["max_size"]
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[A | B], loaders: tuple[Iterable[A], Iterable[B]], mode: Literal["sequential"]
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[A | B | C],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C]],
        mode: Literal["sequential"],
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[A | B | C | D],
        loaders: tuple[Iterable[A], Iterable[B], Iterable[C], Iterable[D]],
        mode: Literal["sequential"],
    ) -> None: ...
    @overload
    def __init__(
        self: CombinedLoader[A],
        loaders: Sequence[Iterable[A]] | Mapping[str, Iterable[A]],
        mode: Literal["sequential"],
    ) -> None: ...
    def __init__(
        self, loaders: Sequence[Iterable[object]] | Mapping[str, Iterable[object]], mode: Mode = "min_size"
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigurationError(
                "CombinedLoader: mode", f"{mode!r} is none", f"Give one of {', '.join(map(repr, get_args(Mode)))}."
            )
        self.mode: Mode = mode
        self.named_loaders: Mapping[str, Iterable[object]] = _named_loaders(loaders)
        self._pack = _packer(loaders)

    @property
    def child_loaders(self) -> Sequence[Iterable[object]]:
        """The loaders that it is made of."""
        return tuple(self.named_loaders.values())

    def __iter__(self) -> Iterator[B_co]:
        return iter(self.begin_pass(None))

    def begin_pass(self, resumed: Mapping[str, object] | None, *, exact: bool = False) -> CombinedPass[B_co]:
        """A pass, from the beginning or from the middle, where each of the loaders is where it was.

        Args:
            resumed: The `state_dict` of such a pass, or None.
            exact: Whether to refuse what may not give the batches that the pass would have given.
        """
        # What comes of which mode and shape is said by the constructor's types.
        return CombinedPass(
            self.mode,
            children_of(self.named_loaders, exact=exact),
            cast("Callable[[Sequence[Child]], Iterator[B_co]]", self._rounds),
            resumed,
        )

    def _rounds(self, children: Sequence[Child]) -> Iterator[object]:
        if self.mode == "sequential":
            return (batch for _, batch in one_after_another(children))
        return map(self._pack, ROUNDS[self.mode](children))

    def __len__(self) -> int:
        """How many batches it has.

        Raises:
            TypeError: One of the loaders does not know how many it has.
        """
        lengths = {name: length_of(loader) for name, loader in self.named_loaders.items()}
        known = [length for length in lengths.values() if length is not None]
        if len(known) < len(lengths):
            unsized = next(name for name, length in lengths.items() if length is None)
            raise TypeError(f"this CombinedLoader has no length: {unsized} has none")
        return LENGTHS[self.mode](known)

    def indexed(self) -> IndexedLoader[B_co]:
        """The same loader with each batch in a pair, after the index of the loader that it is from.

        Raises:
            ConfigurationError: A batch is made of those of all loaders.
        """
        if self.mode != "sequential":
            raise ConfigurationError(
                f"CombinedLoader(..., {self.mode!r}).indexed",
                "a batch of it is of every loader",
                "It is for the mode 'sequential'.",
            )
        return IndexedLoader(self)


class IndexedLoader(Generic[B_co]):
    """The batches of several loaders one after another, each with the index of its loader.

    Args:
        combined: The loaders.
    """

    def __init__(self, combined: CombinedLoader[B_co]) -> None:
        self._combined = combined

    @property
    def child_loaders(self) -> Sequence[Iterable[object]]:
        """The loaders that it is made of."""
        return self._combined.child_loaders

    def __iter__(self) -> Iterator[tuple[int, B_co]]:
        return iter(self.begin_pass(None))

    def begin_pass(
        self, resumed: Mapping[str, object] | None, *, exact: bool = False
    ) -> CombinedPass[tuple[int, B_co]]:
        """A pass; see `CombinedLoader.begin_pass`."""
        return CombinedPass(
            self._combined.mode,
            children_of(self._combined.named_loaders, exact=exact),
            cast("Callable[[Sequence[Child]], Iterator[tuple[int, B_co]]]", one_after_another),
            resumed,
        )

    def __len__(self) -> int:
        return len(self._combined)


def _named_loaders(loaders: Sequence[object] | Mapping[str, object]) -> dict[str, Iterable[object]]:
    """The loaders by what they are called in an error.

    Raises:
        LoaderError: There are none, or something that is none.
    """
    named: dict[str, object]
    if is_mapping(loaders):
        named = {f"CombinedLoader[{key!r}]": loader for key, loader in loaders.items()}
    elif isinstance(loaders, Sequence) and not isinstance(loaders, str):
        named = {f"CombinedLoader[{index}]": loader for index, loader in enumerate(loaders)}
    else:
        raise LoaderError(
            "CombinedLoader",
            f"a {type(loaders).__name__} is no group of loaders",
            "Give a tuple, a list or a mapping of loaders.",
        )
    if not named:
        raise LoaderError("CombinedLoader", "it is given no loader", "Give a tuple, a list or a mapping of loaders.")
    for name, loader in named.items():
        check_loader(name, loader)
    return cast("dict[str, Iterable[object]]", named)


def _packer(loaders: object) -> Callable[[list[object]], object]:
    """What makes a batch of the batches of all loaders."""
    if is_mapping(loaders):
        return _Keyed(tuple(loaders))
    return tuple if isinstance(loaders, tuple) else list


class _Keyed:
    """Makes a dict of a list; no function, so that it can be pickled."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys

    def __call__(self, batches: list[object]) -> dict[str, object]:
        return dict(zip(self._keys, batches, strict=True))
