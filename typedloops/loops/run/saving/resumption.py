"""Going on from a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

from torch import nn

from typedloops._core.shapes import is_list_or_tuple, is_mapping
from typedloops.checkpoint.migrations import migrated
from typedloops.errors import CheckpointError, StateError
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.state import SavableLoop, load_state
from typedloops.loops.run.computing.modes import load_modes_into
from typedloops.loops.run.computing.rng import RngStates
from typedloops.loops.run.context import InRun, RunContext, contexts_of
from typedloops.loops.run.saving.callback_states import load_states_into
from typedloops.loops.run.saving.content import named, settings_of, tree_of
from typedloops.loops.run.saving.custom import Custom
from typedloops.loops.run.saving.module_state import (
    has_weights,
    load_gradients_into,
    load_rest_into,
    load_weights_into,
)
from typedloops.loops.run.saving.optimization_state import load_optimization
from typedloops.loops.run.saving.place import SavedPlace
from typedloops.loops.run.unwrapped import unwrapped


class Resumption:
    """A run that goes on from a checkpoint, until it is where it was.

    Args:
        path: Where the checkpoint is.
        content: What is in it.
        root: The loop at the top of the run.
        exact: Whether anything that cannot go on exactly is an error.

    Raises:
        CheckpointError: It is of another tree, or the weights alone, or exact it cannot be.
    """

    def __init__(self, path: Path, content: Mapping[str, object], root: LoopNode, *, exact: bool = False) -> None:
        self.path = path
        self.exact = exact
        self._content = migrated(content)
        self._root = root
        self._at = ""
        self.about: Mapping[str, object] = self.part("about")

    @property
    def order(self) -> int:
        """How many checkpoints the run has had, this one included."""
        order = self.about.get("order")
        return order if isinstance(order, int) else 0

    def part(self, name: str, depth: int = 0) -> Mapping[str, object]:
        """One part of the content; of a run within others, by how many those are."""
        part = self._content.get(named(name, depth))
        if not is_mapping(part):
            raise CheckpointError(str(self.path), f"it has no {named(name, depth)}", "Load another checkpoint.")
        return part

    def begin(self, context: RunContext) -> None:
        """Load what is loaded before anything has run: the loops, the callbacks, the module.

        Raises:
            CheckpointError: It does not fit.
        """
        self._check_kind(context)
        loops = self.part("loops")
        self._check_tree(loops)
        self._check_settings(context)
        self._load_loops(loops)
        states = self.part("callbacks")
        load_states_into(str(self.path), context.listeners.callbacks, states, exact=self.exact)
        context.hook("on_load_checkpoint")(Custom(self.part("custom")))
        self.load_module(context)
        if not self._at:
            self._finish(context)

    def begin_within(self, context: RunContext) -> None:
        """Load what belongs to a run within the run: the callbacks that only it has, the module.

        Raises:
            CheckpointError: It does not fit.
        """
        depth = self._depth(context)
        has_states = named("callbacks", depth) in self._content
        states = self.part("callbacks", depth) if has_states else dict[str, object]()
        load_states_into(str(self.path), context.own_callbacks, states, exact=self.exact)
        self.load_module(context)
        for listener in context.own_listeners("on_load_checkpoint"):
            listener(Custom(self.part("custom")))

    def load_module(self, context: RunContext) -> None:
        """Load weights and whatever else belongs to the module of a run, if it was under way."""
        depth, module = self._depth(context), unwrapped(context.module)
        if named("module", depth) not in self._content:
            return
        if (weights := self.part("module", depth)) or has_weights(module):
            load_weights_into(str(self.path), module, weights)
        load_rest_into(str(self.path), module, self.part("rest", depth))
        # What was saved before the run had converted the module is in other numbers.
        context.number_type.convert(module)

    def load_optimization(self, context: RunContext) -> None:
        """Load the states of optimizers, schedulers and scaler."""
        state = self.part("optimizers", self._depth(context))
        load_optimization(context.optimization, unwrapped(context.module), state)
        windows = cast("Mapping[int, Mapping[str, object]]", state.get("windows") or {})
        context.optimization.resumed_windows = dict(windows)

    def arrived(self, loop: LoopNode, context: RunContext) -> None:
        """A loop is where it was; when it is the innermost, the run goes on from here."""
        if loop is self._innermost():
            self._finish(context)

    def give_up(self) -> None:
        """The run has failed before it was where it goes on: the next one begins anew."""
        for _, loop in self._root.walk():
            if isinstance(loop, InRun):
                loop.place.leave()
            if isinstance(loop, SavableLoop):
                loop.restarting = False

    def end(self, context: RunContext) -> None:
        """The run is over and has not come to where it was: say so, unless that was the end of the loop at the top."""
        root = self._root
        if isinstance(root, InRun) and root is self._innermost() and root.done and root.place.ends:
            self._finish(context)
            return
        warnings.warn(
            f"{self.path}: it was saved in {self._at!r}, and the run that was to go on did not come there: what it "
            "did was not the same. Give it the loaders that it had, those to validate on too; and let loops of your "
            "own keep in their state what they have done.",
            UserWarning,
            stacklevel=2,
        )

    def _innermost(self) -> object:
        return next((loop for path, loop in self._root.walk() if (path or ".") == self._at), None)

    def _finish(self, context: RunContext) -> None:
        for depth, run in enumerate(contexts_of(context.opened_by)):
            module, rest = unwrapped(run.module), self.part("rest", depth)
            if isinstance(module, nn.Module):
                load_modes_into(module, rest)
            gradients = rest.get("gradients")
            if is_mapping(gradients):
                load_gradients_into(module, run.optimization.optimizers, gradients)
            run.resuming = None
        RngStates(self.part("rng")).restore(exact=self.exact)

    def _depth(self, context: RunContext) -> int:
        return contexts_of(context.opened_by).index(context)

    def load_weights(self, context: RunContext) -> None:
        """Load the weights alone: what an evaluation wants of a fit."""
        module = unwrapped(context.module)
        if "custom" in self._content and (hook := context.listeners.of_module("on_load_checkpoint")) is not None:
            hook(Custom(self.part("custom")))
        load_weights_into(str(self.path), module, self.part("module"))

    def _place_of(self, path: str, points: Collection[str], place: Mapping[str, object]) -> SavedPlace:
        point, state = place.get("point"), place.get("state")
        if not isinstance(point, str) or point not in points or not is_mapping(state):
            raise CheckpointError(
                str(self.path),
                f"the loop {path!r} was at {point!r}, and its points here are {', '.join(points)}",
                "Go on with the release, and the loops, that it was saved with.",
            )
        return SavedPlace(point, state)

    def _check_kind(self, context: RunContext) -> None:
        if self.about.get("weights_only"):
            raise CheckpointError(
                str(self.path),
                "it has the weights alone, which is nothing to go on from",
                "Load them into the module, `load_weights(path)`, and begin a new fit.",
            )
        if self.about.get("stage") != str(context.stage):
            raise CheckpointError(
                str(self.path),
                f"it is of a run of {self.about.get('stage')}, and this one is of {context.stage}",
                "Give a checkpoint of such a run.",
            )
        if note := self.about.get("note"):
            if self.exact:
                raise CheckpointError(str(self.path), f"no run goes on from it exactly: {note}", "Give an older one.")
            warnings.warn(f"{self.path}: the run does not go on from it exactly: {note}.", UserWarning, stacklevel=2)

    def _check_tree(self, loops: Mapping[str, object]) -> None:
        there, here = loops.get("tree"), tree_of(self._root)
        if not is_mapping(there):
            raise CheckpointError(str(self.path), "it has no tree of loops", "Load another checkpoint.")
        lines = [f"- {path}: {kind}" for path, kind in there.items() if here.get(path) != kind]
        lines += [f"+ {path}: {kind}" for path, kind in here.items() if there.get(path) != kind]
        if lines:
            lines.sort(key=lambda line: (line[2:].partition(":")[0], line[0] == "+"))
            raise CheckpointError(
                str(self.path),
                "it is of another tree of loops (-: only in the checkpoint, +: only here):\n" + "\n".join(lines),
                "Connect the loops that were there.",
            )

    def _check_settings(self, context: RunContext) -> None:
        """Say which settings of the trainer are others, that change what is computed."""
        there, here = self.about.get("settings"), settings_of(context.config)
        if not is_mapping(there):
            return
        others = [
            f"{name} was {there.get(name)} and is {value}" for name, value in here.items() if there.get(name) != value
        ]
        if others and self.exact:
            raise CheckpointError(
                str(self.path), f"the trainer has other settings: {'; '.join(others)}", "Give it those that it had."
            )
        if others:
            warnings.warn(
                f"{self.path}: the trainer has other settings, so the run does not go on as it would have: "
                f"{'; '.join(others)}.",
                UserWarning,
                stacklevel=2,
            )

    def _load_loops(self, loops: Mapping[str, object]) -> None:
        state, places = loops.get("state"), loops.get("places")
        if is_mapping(state) and state and isinstance(self._root, SavableLoop):
            try:
                load_state(self._root, state)
            except StateError as error:
                raise CheckpointError(str(self.path), str(error), "Load another checkpoint.") from error
        nodes = {path or ".": loop for path, loop in self._root.walk()}
        saved: Mapping[str, object] = places if is_mapping(places) else {}
        for path, place in saved.items():
            loop = nodes.get(path)
            if isinstance(loop, InRun) and is_mapping(place):
                loop.place.resumed = self._place_of(path, loop.points, place)
        under_way: object = loops.get("under_way")
        were_under_way = under_way if is_list_or_tuple(under_way) else ()
        for path, loop in nodes.items():
            placed = isinstance(loop, InRun) and loop.place.resumed is not None
            if isinstance(loop, SavableLoop) and not placed and path not in were_under_way:
                loop.restarting = False  # its next run begins anew
        self._at = str(loops.get("at", ""))
