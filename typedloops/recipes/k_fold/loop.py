"""The loop above the fit: one for each fold."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Generic, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from typedloops.errors import ConfigurationError, ModuleError, StateError
from typedloops.loops.base.connect import typed_connect
from typedloops.loops.base.loop import Loop
from typedloops.loops.base.node import LoopNode
from typedloops.loops.base.slot import Slot
from typedloops.loops.fit.result import FitResult
from typedloops.loops.prediction import PredictionLoop
from typedloops.loops.run.begin_anew import begin_anew
from typedloops.loops.run.computing.seeding import seed_generators
from typedloops.loops.run.context import InRun, find_context
from typedloops.loops.run.requirements import check_module
from typedloops.protocols.anything import Anything
from typedloops.protocols.hooks import CallbackProtocol
from typedloops.protocols.loop import LoopProtocol
from typedloops.protocols.module import PredictModule
from typedloops.recipes.k_fold.best_weights import BestWeights, Mode, copied_weights
from typedloops.recipes.k_fold.folds import Fold, Labels, Splitter, chosen, digest_of, folds_of
from typedloops.recipes.k_fold.loaders import Items, MakesLoaders, Part, check_order
from typedloops.recipes.k_fold.result import FoldResult, KFoldResult, result_of, state_of
from typedloops.recipes.k_fold.settings import (
    check_has_items,
    check_makes_modules,
    checked_choice,
    checked_only,
    checked_splitter,
    seed_of,
)

M = TypeVar("M", default=object)
B = TypeVar("B", default=object)
V = TypeVar("V", default=object)
S = TypeVar("S", default=object)
T = TypeVar("T")

Keep: TypeAlias = Literal["last", "best", "nothing"]
OneFit: TypeAlias = LoopProtocol[[M, Iterable[B], Iterable[V]], FitResult[S]]
"""What fits the module of a fold: a `FitLoop`, or any loop that takes a module and two loaders."""


class KFoldLoopOf(
    Loop[
        [
            "Callable[[int], M]",
            "Items[Anything]",
            "MakesLoaders[Anything, B, V]",
            "Labels | None",
            "Labels | None",
        ],
        KFoldResult[S],
    ],
    Generic[M, B, V, S],
):
    """Cross-validates, whatever its fit loop asks of a module; `KFoldLoop` is the one for `FitLoop`.

    ```
    on_run_start:
        the splitter makes the folds
    advance, for each fold:
        the random numbers are seeded by `seed` and the fold
        module = make_module(fold)
        train, val = make_loaders(Part(data, train), Part(data, val))
        make_callbacks(fold)
        fit_loop.run(module, train, val)
        the best weights back into the module                 # with keep="best"
        predict_loop.run(module, val)                         # with out_of_fold=True
    on_run_end:
        the mean and standard deviation of each metric to the loggers: mean/val_loss, std/val_loss
    ```

    Nothing goes from one fold to another: module, loaders, optimizers and callbacks are made anew, random numbers
    begin with the number of the fold, a request to stop ends the fit of its fold.  So a fold comes to the same
    whether it is run alone, first or last.  The trainer's own callbacks hear all folds; loggers get
    the metrics of fold 2 as `fold_2/val_loss`.

    A checkpoint has the results and the weights of the folds that are done, and the fit under way; it goes
    on in the middle of a fold or between two: `trainer.load_checkpoint(path)`, and the same `fit` again.

    Args:
        fit_loop: Fits the module of a fold.
        folds: How many, or what makes them: `RandomFolds`, or a splitter of scikit-learn.
        only: Which folds are run, by their numbers from 0; None is all.
        seed: From 0; what random numbers of each fold begin with, and of the folds if `folds` is a number.
        keep: Which weights of each fold are kept, on the CPU: those at the end of the fit (`last`), those of the
            `best` validation (for which it needs a trainer), or `nothing`.
        monitor: The metric that says which are the best.
        mode: Whether the smallest (`min`) or the largest (`max`) is the best.
        make_callbacks: Makes further callbacks for each fold, which hear it alone.
        out_of_fold: Whether the items that a fold is validated on are predicted by its `predict_step`.

    Raises:
        ConfigurationError: A setting can never work.

    Its output has the result of each fold, and of all.

    Source: Stone, Cross-validatory choice and assessment of statistical predictions, Journal of the Royal
    Statistical Society B 36 (1974).
    """

    fit_loop: Slot[OneFit[M, B, V, S]] = Slot()
    predict_loop: Slot[PredictionLoop | None] = Slot(required=False)
    iteration_unit = "folds"
    transient_fields: ClassVar[tuple[str, ...]] = ("_callbacks", "_previous")

    _callbacks: tuple[object, ...] = ()
    _previous: Callable[[], object] | None = None

    def __init__(
        self,
        fit_loop: OneFit[M, B, V, S],
        folds: int | Splitter = 5,
        *,
        only: Collection[int] | None = None,
        seed: int = 0,
        keep: Keep = "last",
        monitor: str = "val_loss",
        mode: Mode = "min",
        make_callbacks: Callable[[int], Iterable[CallbackProtocol]] | None = None,
        out_of_fold: bool = False,
    ) -> None:
        self.fit_loop = fit_loop
        self.predict_loop = PredictionLoop() if out_of_fold else None
        self.folds: int | Splitter = folds
        self.splitter: Splitter = checked_splitter(folds, seed)
        self.only: tuple[int, ...] | None = checked_only(only)
        self.seed = seed
        self.keep: Keep = checked_choice("keep", keep, ("last", "best", "nothing"))
        self.monitor = monitor
        self.mode: Mode = checked_choice("mode", mode, ("min", "max"))
        self.make_callbacks = make_callbacks
        self.out_of_fold = out_of_fold
        self._folds: list[Fold] = []
        self._items = 0
        self._digest = ""
        self._loaded: list[Mapping[str, object]] = []
        self._results: list[FoldResult[S]] = []

    @typed_connect
    def connect(
        self, *, fit_loop: OneFit[M, B, V, S] | None = None, predict_loop: PredictionLoop | None = None
    ) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    @property
    def fold(self) -> int | None:
        """Which fold is under way; None when none is."""
        index = len(self._results)
        return self._folds[index].index if index < len(self._folds) else None

    @property
    def run_name(self) -> str:
        return f"fold_{self.fold}"

    def configure_callbacks(self) -> Iterable[object]:
        return self._callbacks

    @property
    def done(self) -> bool:
        return len(self._results) >= len(self._folds)

    def reset(self) -> None:
        self._results, self._folds, self._callbacks, self._previous = [], [], (), None
        if not self.restarting:
            self._digest, self._loaded = "", []

    def on_run_start(
        self,
        make_module: Callable[[int], M],
        data: Items[Anything],
        make_loaders: MakesLoaders[Anything, B, V],
        labels: Labels | None,
        groups: Labels | None,
    ) -> None:
        check_makes_modules(make_module)
        check_has_items(data)
        self._items = len(data)
        # A splitter of scikit-learn without a `random_state` draws from the numbers of the process.
        seed_generators(seed_of(self.seed, "folds"))
        folds = folds_of(self.splitter, self._items, labels, groups)
        self._folds = chosen(folds, self.only)
        self.total_iterations: int | None = len(self._folds)
        digest = digest_of(self._folds)
        if self._digest not in ("", digest):
            raise StateError(
                f"{type(self).__name__}.folds",
                "they are not the folds of the run that was saved",
                "Go on with the same items, labels, groups and splitter; give it a `random_state` if it takes one.",
            )
        self._digest = digest
        done = zip(self._folds, self._loaded)  # noqa: B905  # those that are not done have no state
        self._results = [result_of(state, fold.train, fold.val) for fold, state in done]
        self._loaded = []
        if self.restarting and not _goes_on_within(self.fit_loop):
            begin_anew(self.fit_loop)

    def advance(
        self,
        make_module: Callable[[int], M],
        data: Items[Anything],
        make_loaders: MakesLoaders[Anything, B, V],
        labels: Labels | None,
        groups: Labels | None,
    ) -> None:
        fold = self._folds[len(self._results)]
        seed_generators(seed_of(self.seed, fold.index))
        module = self._new(make_module, fold.index)
        train, val = make_loaders(Part(data, fold.train), Part(data, fold.val))
        if self.predict_loop is not None:
            check_module(module, PredictModule, f"{type(self).__name__}(out_of_fold=True)")
            check_order(val)
        best = BestWeights(self.monitor, self.mode) if self.keep == "best" else None
        given = [] if self.make_callbacks is None else list(self.make_callbacks(fold.index))
        self._callbacks = (*given, *([] if best is None else [best]))
        fit = self.fit_loop.run(module, train, val)
        self._results.append(self._result(fold, module, val, fit, best))

    def on_advance_end(self) -> None:
        self._callbacks = ()

    def on_run_end(self) -> KFoldResult[S]:
        result = KFoldResult(tuple(self._results), self._items)
        context = find_context(self)
        if context is not None and context.opened_by is self:
            summaries = result.metrics
            context.publish({f"mean/{name}": summary.mean for name, summary in summaries.items()})
            several = {name: summary for name, summary in summaries.items() if len(summary.values) > 1}
            context.publish({f"std/{name}": summary.std for name, summary in several.items()})
        return result

    def teardown(self) -> None:
        self._results, self._folds, self._loaded, self._callbacks, self._previous = [], [], [], (), None

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"digest": self._digest, "folds": [state_of(result) for result in self._results] or self._loaded}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        self._digest = str(state["digest"])
        self._loaded = list(cast("Sequence[Mapping[str, object]]", state["folds"]))

    def run(
        self,
        make_module: Callable[[int], M],
        data: Items[T],
        make_loaders: MakesLoaders[T, B, V],
        labels: Labels | None = None,
        groups: Labels | None = None,
    ) -> KFoldResult[S]:
        """Cross-validate.

        Args:
            make_module: Makes the module of a fold, given its number; a new one each time.
            data: The items, with a length and indices.
            make_loaders: Makes the two loaders of a fold of its parts.  What is learnt of the data (a scale, say)
                is to be learnt here, of the part to train on.
            labels: The class of each item, for folds that are stratified.
            groups: The group of each item, for a splitter that keeps groups together.
        """
        return super().run(make_module, data, make_loaders, labels, groups)

    def _new(self, make_module: Callable[[int], M], fold: int) -> M:
        """The module of a fold, which must not be that of the fold before, trained already."""
        module = make_module(fold)
        if self._previous is not None and self._previous() is module:
            raise ConfigurationError(
                f"{type(self).__name__}.run: make_module",
                f"for fold {fold} it gave the module of the fold before, which is trained already",
                "Make a new one for each fold, or copy one: lambda fold: copy.deepcopy(module).",
            )
        self._previous = None
        with suppress(TypeError):  # there may be no weak references to it
            self._previous = weakref.ref(module)
        return module

    def _result(
        self, fold: Fold, module: M, val: Iterable[V], fit: FitResult[S], best: BestWeights | None
    ) -> FoldResult[S]:
        metrics, weights = fit.metrics, None
        if best is not None and best.weights is not None:
            metrics, weights = best.metrics, best.weights
            if isinstance(module, nn.Module):
                module.load_state_dict(weights)
        elif self.keep != "nothing":
            weights = copied_weights(module)
        return FoldResult(
            fold=fold.index,
            train_items=len(fold.train),
            val_indices=fold.val,
            fit=fit,
            metrics=dict(metrics),
            weights=weights,
            predictions=None if self.predict_loop is None else self._predicted(self.predict_loop, module, val),
        )

    def _predicted(self, loop: PredictionLoop, module: M, val: Iterable[V]) -> Tensor:
        predictions = cast("Sequence[object]", loop.run(cast("PredictModule[V, object]", module), val))
        if not all(isinstance(prediction, Tensor) for prediction in predictions):
            raise ModuleError(
                f"{type(module).__name__}.predict_step",
                "it returned no tensor, and predictions out of fold are rows of one",
                "Return a tensor with a row for each item, or leave out_of_fold out.",
            )
        return torch.cat(cast("list[Tensor]", list(predictions))).cpu()


def _goes_on_within(loop: object) -> bool:
    """Whether a checkpoint was taken in the middle of a loop, so that it finds its place again."""
    nodes = [node for _, node in loop.walk()] if isinstance(loop, LoopNode) else []
    return any(isinstance(node, InRun) and node.place.resumed is not None for node in nodes)
