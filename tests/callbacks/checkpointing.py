"""A trainer that saves when the test says so, a format of JSON, and a disk that can be killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from unittest import mock

from typedloops.callbacks import ModelCheckpoint
from typedloops.errors import CheckpointError
from typedloops.protocols.trainer import Stage, TrainerView


class Killed(BaseException):
    """The process is gone."""


class Kill:
    """Ends the process before or after the so-manieth change to the disk; none if there are fewer."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.changes = 0

    def tick(self) -> None:
        if self.changes == self.at:
            raise Killed
        self.changes += 1

    @contextmanager
    def armed(self) -> Generator[None]:
        """Every change to the disk counts."""

        def counted(name: str) -> Callable[..., object]:
            original = getattr(Path, name)

            def change(path: Path, *args: Any, **kwargs: Any) -> object:
                self.tick()
                return original(path, *args, **kwargs)

            return change

        names = ("unlink", "rename", "replace", "symlink_to", "write_text", "mkdir")
        with ExitStack() as patches:
            for name in names:
                patches.enter_context(mock.patch.object(Path, name, counted(name)))
            yield


class JsonFormat:
    """Each checkpoint is a file."""

    def __init__(self) -> None:
        self.durable: list[dict[str, object]] = []
        """The contents that have come to the disk."""

    def save(self, path: Path, content: Mapping[str, object]) -> None:
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps({"format": "json", **content}))
        partial.replace(path)
        self.durable.append(dict(content))

    def load(self, path: Path) -> dict[str, object]:
        try:
            return cast("dict[str, object]", json.loads(path.read_text()))
        except (OSError, ValueError) as error:
            raise CheckpointError(str(path), "it is damaged", "Load another.") from error

    def load_part(self, path: Path, part: str) -> object:
        content = self.load(path)
        if part not in content:
            raise CheckpointError(str(path), f"it has no {part}", "Load another.")
        return content[part]

    def holds(self, path: Path) -> bool:
        return path.is_file() and path.read_text().startswith('{"format": "json"')

    def delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)


class FakeTrainer:
    """What `ModelCheckpoint` sees of a trainer; it saves at `boundary()`, and writes later what may be late."""

    def __init__(self, *callbacks: ModelCheckpoint, format_: JsonFormat | None = None) -> None:
        self.callbacks: Sequence[object] = callbacks
        self.checkpoint_format = JsonFormat() if format_ is None else format_
        self.metrics: dict[str, float] = {}
        self.global_step = 0
        self.current_epoch = 0
        self.stage: Stage | None = Stage.FIT
        self.sanity_checking = False
        self.interrupted = False
        self.order = 0
        self.cursor = 0
        self.waiting: list[tuple[Path, bool, bool, Callable[[Path], object] | None]] = []
        self.in_flight: list[Callable[[], None]] = []
        self.asked: list[str] = []
        self.asked_weights_only: list[bool] = []

    @property
    def view(self) -> TrainerView:
        return cast("TrainerView", self)

    def save_checkpoint(
        self,
        path: Path,
        *,
        weights_only: bool = False,
        asynchronous: bool = False,
        when_written: Callable[[Path], object] | None = None,
    ) -> None:
        self.asked.append(path.name)
        self.asked_weights_only.append(weights_only)
        self.waiting.append((path, weights_only, asynchronous, when_written))

    def boundary(self) -> None:
        """Save what was asked for."""
        waiting, self.waiting = self.waiting, []
        self.order += bool(waiting)
        contents = {weights_only: self._content(weights_only) for weights_only in (False, True)}
        for path, weights_only, asynchronous, when_written in waiting:
            self.in_flight.append(self._writing(path, contents[weights_only], when_written))
            if not asynchronous:
                self.write()

    def write(self, count: int | None = None) -> None:
        """Let so many of those that are under way come to the disk, or all."""
        for _ in range(len(self.in_flight) if count is None else min(count, len(self.in_flight))):
            self.in_flight.pop(0)()

    def _writing(self, path: Path, content: str, when_written: Callable[[Path], object] | None) -> Callable[[], None]:
        def write() -> None:
            self.checkpoint_format.save(path, json.loads(content))
            if when_written is not None:
                when_written(path)

        return write

    def _content(self, weights_only: bool) -> str:
        about = {"step": self.global_step, "epoch": self.current_epoch, "order": self.order}
        content: dict[str, object] = {"about": {**about, "weights_only": weights_only}}
        if not weights_only:
            saved = [callback for callback in self.callbacks if isinstance(callback, ModelCheckpoint)]
            content["callbacks"] = {callback.state_key: callback.state_dict() for callback in saved}
            content["cursor"], content["metrics"] = self.cursor, self.metrics
        return json.dumps(content)

    def call(self, hook: str, *args: object) -> None:
        """Call a hook of every callback, and save what they ask for."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, object(), *args)
        self.boundary()

    def begin(self) -> None:
        for hook, args in (("setup", ("fit",)), ("on_fit_start", ()), ("on_train_start", ())):
            self.call(hook, *args)

    def step(self, steps: int = 1) -> None:
        """A batch."""
        self.global_step += steps
        self.call("on_train_batch_end", None, None, 0)

    def validate(self, **metrics: float) -> None:
        self.call("on_validation_start")
        self.metrics.update(metrics)
        self.call("on_validation_end")

    def end_epoch(self, **metrics: float) -> None:
        self.metrics.update(metrics)
        self.call("on_train_epoch_end")
        self.current_epoch += 1

    def end(self) -> None:
        self.call("on_train_end")
        self.write()
        self.call("teardown", "fit")

    def resume(self, content: Mapping[str, object]) -> None:
        """Go on from what a checkpoint has in it."""
        about = cast("dict[str, int]", content["about"])
        self.global_step, self.current_epoch, self.order = about["step"], about["epoch"], about["order"]
        self.cursor = cast("int", content["cursor"])
        self.metrics = dict(cast("dict[str, float]", content["metrics"]))
        states = cast("dict[str, dict[str, object]]", content["callbacks"])
        for callback in self.callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.state_key in states:
                callback.load_state_dict(states[callback.state_key])


def fit(
    trainer: FakeTrainer,
    scores: Iterable[float],
    *,
    steps: int = 2,
    writes_of: Callable[[int], int | None] = lambda cursor: None,
) -> None:
    """Epochs of so many steps and a validation each; goes on at the trainer's cursor.

    Args:
        trainer: The trainer.
        scores: What each validation gives as `val_loss`.
        steps: Of an epoch.
        writes_of: How many of the writes under way come to the disk at each place; None is all.
    """
    trainer.begin()
    events: list[Callable[[], None]] = []
    for epoch, score in enumerate(scores):
        events += [lambda epoch=epoch: _step(trainer, epoch)] * steps  # type: ignore[misc]
        events.append(lambda score=score: _validate(trainer, score))  # type: ignore[misc]
        events.append(lambda: trainer.call("on_train_epoch_end"))
    while trainer.cursor < len(events):
        place, trainer.cursor = trainer.cursor, trainer.cursor + 1
        events[place]()
        trainer.write(writes_of(place))
    trainer.end()


def _step(trainer: FakeTrainer, epoch: int) -> None:
    trainer.current_epoch = epoch
    trainer.step()


def _validate(trainer: FakeTrainer, score: float) -> None:
    trainer.validate(val_loss=score)


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden things and all."""
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, object]:
    """What is in a folder: of each checkpoint its step, of a link where it leads."""
    found: dict[str, object] = {}
    for path in sorted(folder.iterdir()):
        found[path.name] = (
            f"-> {path.readlink()}" if path.is_symlink() else json.loads(path.read_text())["about"]["step"]
        )
    return found
