"""The names of checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from string import Formatter

from typedloops.errors import ConfigurationError

SEPARATORS = re.compile(r"[/\\]")
COUNTS = ("epoch", "step")
"""What every name may have in it; any other field is a metric."""


@dataclass(frozen=True)
class Piece:
    """Some text, and what comes after it.

    Args:
        text: Stands as it is.
        field: The count or metric whose value follows; None for nothing.
        spec: How that is formatted.
    """

    text: str
    field: str | None
    spec: str


class Template:
    """A name with fields in it, `{epoch}-{val_loss:.3f}` say.

    Args:
        text: The template.
        insert_names: Whether `{epoch}` becomes `epoch=3`, or `3`.

    Raises:
        ConfigurationError: It can never give a name.
    """

    def __init__(self, text: str, *, insert_names: bool = True) -> None:
        self.text = text
        self._where = f"ModelCheckpoint(filename={text!r})"
        self._insert_names = insert_names
        self._pieces = self._parsed(text)
        for piece in self._pieces:
            self._check(piece)
        if text.startswith("."):
            raise self._wrong("what begins with a dot is hidden", "Begin with another letter.")

    @property
    def needs_metrics(self) -> bool:
        """Whether there are fields besides the epoch and the step."""
        return any(piece.field is not None and piece.field not in COUNTS for piece in self._pieces)

    def fill(self, epoch: int, step: int, metrics: Mapping[str, float]) -> str:
        """The name of a checkpoint.

        Raises:
            ConfigurationError: A metric is not there.
        """
        values: dict[str, float] = {**metrics, "epoch": epoch, "step": step}
        return "".join(piece.text + self._filled(piece, values) for piece in self._pieces)

    def could_give(self, name: str) -> bool:
        """Whether this might be one of its names, with a version or without."""
        pattern = "".join(re.escape(piece.text) + ("" if piece.field is None else ".*") for piece in self._pieces)
        return re.fullmatch(rf"{pattern}(-v\d+)?", name) is not None

    def _parsed(self, text: object) -> tuple[Piece, ...]:
        if not isinstance(text, str) or not text:
            raise self._wrong("it is no name", "Give a string, as in '{epoch}-{step}'.")
        try:
            return tuple(
                Piece(literal, field, _checked_conversion(spec or "", conversion))
                for literal, field, spec, conversion in Formatter().parse(text)
            )
        except ValueError as error:
            raise self._wrong(str(error), "Write fields as in '{epoch}-{val_loss:.3f}'.") from None

    def _check(self, piece: Piece) -> None:
        if SEPARATORS.search(piece.text):
            raise self._wrong("there is a folder in it", "Give the folder as `dirpath`.")
        if piece.field is None:
            return
        if not piece.field:
            raise self._wrong("a field has no name", "Name it, as in '{epoch}'.")
        try:
            format(1 if piece.field in COUNTS else 0.5, piece.spec)
        except ValueError:
            raise self._wrong(
                f"{piece.field} is a number, which cannot be formatted with {piece.spec!r}",
                "Give a format as in '{epoch:03d}' or '{val_loss:.3f}'.",
            ) from None

    def _filled(self, piece: Piece, values: Mapping[str, float]) -> str:
        if piece.field is None:
            return ""
        if piece.field not in values:
            raise self._wrong(
                f"there is no metric {piece.field!r}; there are {sorted(values)}",
                "Log it before the checkpoint is due, or leave it out of the name.",
            )
        value = format(values[piece.field], piece.spec)
        # A metric's name may have a slash in it, and so may the filling of a format.
        return SEPARATORS.sub("_", f"{piece.field}={value}" if self._insert_names else value)

    def _wrong(self, problem: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(self._where, problem, remedy)


def _checked_conversion(spec: str, conversion: str | None) -> str:
    if conversion:
        raise ValueError(f"numbers have no conversion !{conversion}")
    if "{" in spec:
        raise ValueError("there is a field within a field")
    return spec


def free_name(name: str, is_taken: Callable[[str], bool]) -> str:
    """`name`, or with the first version that is free: `name-v1`."""
    if not is_taken(name):
        return name
    return next(version for number in count(1) if not is_taken(version := f"{name}-v{number}"))
