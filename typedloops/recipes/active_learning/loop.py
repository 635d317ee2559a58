"""Active learning: the module itself says which items are to be labelled next."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Sized
from typing import ClassVar, Final, Generic, TypeAlias, cast, overload

import torch
from typing_extensions import Protocol, TypeVar

from typedloops._core.escape import call, name_of
from typedloops.errors import ConfigurationError, InternalError
from typedloops.loops.base import Loop, Slot, typed_connect
from typedloops.loops.fit import FitLoop, FitResult
from typedloops.loops.prediction import PredictionLoop
from typedloops.loops.run.begin_anew import begin_anew
from typedloops.loops.run.context import RunContext, find_context
from typedloops.loops.run.opening import open_run
from typedloops.loops.run.saving.module_state import weights_of
from typedloops.loops.run.saving.occasions import saving_on_signals
from typedloops.loops.run.saving.sources import CheckpointPath, resumed_from
from typedloops.loops.run.unwrapped import unwrapped
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoadersSource
from typedloops.protocols.loop import LoopProtocol
from typedloops.protocols.trainer import Stage
from typedloops.recipes.active_learning.acquisition import Acquisition
from typedloops.recipes.active_learning.checks import check_scores, check_settings, wrong_count
from typedloops.recipes.active_learning.label_pool import LabelPool, Oracle
from typedloops.recipes.active_learning.modules import LearningModule, ValidatedLearningModule
from typedloops.recipes.active_learning.result import ActiveLearningResult, LearningRound

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
U = TypeVar("U")
U_contra = TypeVar("U_contra", contravariant=True)
V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)
Q = TypeVar("Q")
Q_co = TypeVar("Q_co", covariant=True)
Y = TypeVar("Y")

AnyFit: TypeAlias = LoopProtocol[[Anything, Anything, Anything], FitResult[Anything]]
AnyPrediction: TypeAlias = LoopProtocol[[Anything, Anything], list[Anything]]

SCORING: Final = "scoring"
LABELLED: Final = "labelled"
FITTING: Final = "fitting"


class ActiveLearningLoop(
    Loop[
        [Anything, LabelPool[Anything, Anything, Anything], Oracle[Anything], LoadersSource[Anything] | None],
        ActiveLearningResult[Anything],
    ],
    Generic[Q],
):
    """Fits, scores what has no label, asks for the labels that would tell most, and fits again.

    ```
    advance, for each round:
        predict_loop.run(model, pool.unlabelled(...))          # not in the first round
        acquisition(predictions), oracle(the items with the highest scores)
        C/M.on_label(index, label)                             # for each, when it is kept
        model gets its initial weights                         # if `from_initial_weights`
        fit_loop.run(model, pool.labelled(...), val_dataloaders)
        C/M.on_learning_round_end(round)
    ```

    ```
    ActiveLearningLoop
    ├─ fit_loop: FitLoop
    └─ predict_loop: PredictionLoop
    ```

    A round ends with its fit, so that the last labels are trained on too.  Optimizers and schedulers are
    made anew for each fit.  It ends when `budget` items have a label, after `max_rounds`, or when every item has one.

    All of it is one run of the module.  Loggers get the metrics of its rounds as `round_0/val_loss` and so on,
    and `round_0/labels`.  Whoever sets `trainer.should_stop` ends the fit of a round; Ctrl-C ends everything.

    A checkpoint has what a fit or a prediction under way needs, the labels with the order in which they were
    given, the items whose labels are still to be given, the initial weights, and the metrics of the rounds.  No
    label is asked for twice: where an answer is dear, save in `on_label`, which is called between two
    answers.  A checkpoint holds labels that are numbers, strings, tensors, or lists and dicts of them.

    Args:
        acquisition: Scores the items without a label.
        initial: The items that are labelled first, or how many, which are then drawn at random.
        query: How many items are labelled before each further round.
        budget: How many labels there may be at most, the initial ones included; None is no limit.
        max_rounds: How many fits there are at most; None is no limit.
        from_initial_weights: Whether each round fits the weights anew that the module was given with;
            otherwise it goes on from those of the round before.
        fit_loop: Fits one round; by default as long as the trainer says.
        predict_loop: Predicts for the items without a label; a limit on its batches leaves the last ones out.

    Raises:
        ConfigurationError: A number is not positive, or there is no limit.

    Source:
        Settles: Active Learning Literature Survey, University of Wisconsin-Madison, 2009.
    """

    fit_loop: Slot[AnyFit] = Slot()
    predict_loop: Slot[AnyPrediction] = Slot()
    opens_run = True
    iteration_unit = "rounds"
    state_fields: ClassVar[tuple[str, ...]] = ("phase", "indices", "asked", "history")
    transient_fields: ClassVar[tuple[str, ...]] = ("_size",)

    _size: int | None = None

    def __init__(
        self,
        acquisition: Acquisition[Q],
        *,
        initial: int | Sequence[int],
        query: int,
        budget: int | None = None,
        max_rounds: int | None = None,
        from_initial_weights: bool = True,
        fit_loop: AnyFit | None = None,
        predict_loop: AnyPrediction | None = None,
    ) -> None:
        self.acquisition = acquisition
        self.initial: int | tuple[int, ...] = initial if isinstance(initial, int) else tuple(initial)
        self.query = query
        self.budget = budget
        self.max_rounds = max_rounds
        self.from_initial_weights = from_initial_weights
        self.fit_loop = FitLoop() if fit_loop is None else fit_loop
        self.predict_loop = PredictionLoop() if predict_loop is None else predict_loop
        self.phase: str = SCORING
        self.indices: list[int] = []
        self.labels: list[object] = []
        self.asked: list[int] = []
        self.history: list[dict[str, object]] = []
        self._initial_weights: Mapping[str, object] | None = None
        check_settings(self.initial, query, budget, max_rounds)

    @typed_connect
    def connect(self, *, fit_loop: AnyFit | None = None, predict_loop: AnyPrediction | None = None) -> None:
        """Put loops into the slots; None leaves a slot as it is."""

    @property
    def done(self) -> bool:
        if self.phase != SCORING or self.asked or not self.history:
            return False
        return self._wanted == 0 or (self.max_rounds is not None and len(self.history) >= self.max_rounds)

    @property
    def _wanted(self) -> int:
        """How many labels are wanted for the next round."""
        limits = [limit for limit in (self.budget, self._size) if limit is not None]
        return max(0, min([self.query, *(limit - len(self.indices) for limit in limits)]))

    def _most_rounds(self, size: int) -> int:
        first = self.initial if isinstance(self.initial, int) else len(self.initial)
        labels = size if self.budget is None else min(size, self.budget)
        rounds = 1 + -(-max(0, labels - first) // self.query)
        return rounds if self.max_rounds is None else min(rounds, self.max_rounds)

    def reset(self) -> None:
        if not self.restarting:
            self.phase = SCORING
            self.indices, self.labels, self.asked, self.history = [], [], [], []
            self._initial_weights = None

    def on_run_start(
        self,
        model: object,
        pool: LabelPool[object, object, object],
        oracle: Oracle[object],
        val_dataloaders: LoadersSource[object] | None,
    ) -> None:
        self._size = len(pool)
        self.total_iterations: int | None = self._most_rounds(len(pool))
        if self.from_initial_weights and self._initial_weights is None:
            self._initial_weights = copy.deepcopy(dict(weights_of(unwrapped(model))))

    def advance(
        self,
        model: object,
        pool: LabelPool[object, object, object],
        oracle: Oracle[object],
        val_dataloaders: LoadersSource[object] | None,
    ) -> None:
        with self._run.called(f"round_{len(self.history)}"):
            if self.phase == SCORING:
                self._label(model, pool, oracle)
            if self.phase == LABELLED:
                self._begin_fit(model)
                self.phase = FITTING
            data = pool.labelled(tuple(self.indices), tuple(self.labels))
            try:
                result = self.fit_loop.run(model, data, val_dataloaders)
            except KeyboardInterrupt:
                self.phase = LABELLED  # what was cut is done again
                raise
        self.history.append({"labels": len(self.indices), "metrics": dict(result.metrics)})
        self.phase = SCORING
        self._run.hook("on_learning_round_end")(self._rounds[-1])

    def on_run_end(self) -> ActiveLearningResult[Anything]:
        self._initial_weights = None
        return ActiveLearningResult(self._rounds, tuple(self.indices), tuple(self.labels))

    @property
    def _rounds(self) -> tuple[LearningRound, ...]:
        return tuple(
            LearningRound(cast("int", each["labels"]), cast("Mapping[str, float]", each["metrics"]))
            for each in self.history
        )

    def on_save_checkpoint(self) -> dict[str, object]:
        return {"labels": list(self.labels), "initial_weights": self._initial_weights}

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        self.labels = list(cast("list[object]", state["labels"]))
        self._initial_weights = cast("Mapping[str, object] | None", state["initial_weights"])

    def _label(self, model: object, pool: LabelPool[object, object, object], oracle: Oracle[object]) -> None:
        if not self.asked:
            self.asked = self._best(model, pool) if self.history else self._first(len(pool))
        self._ask(oracle)

    def _first(self, size: int) -> list[int]:
        """The items that are labelled first.

        Raises:
            ConfigurationError: They are not in the pool.
        """
        if isinstance(self.initial, int):
            if self.initial > size:
                raise ConfigurationError(
                    "ActiveLearningLoop.initial", f"it is {self.initial}, and the pool has {size} items", "Give fewer."
                )
            return [int(index) for index in torch.randperm(size)[: self.initial]]
        if outside := [index for index in self.initial if index >= size]:
            raise ConfigurationError(
                "ActiveLearningLoop.initial",
                f"there is no item {outside[0]}",
                f"The items of the pool are 0 to {size - 1}.",
            )
        return list(self.initial)

    def _best(self, model: object, pool: LabelPool[object, object, object]) -> list[int]:
        """The items without a label that score highest, the first of them first."""
        unlabelled = sorted(set(range(len(pool))) - set(self.indices))
        with saving_on_signals(self._run):
            predictions = self.predict_loop.run(model, pool.unlabelled(tuple(unlabelled)))
        if not predictions:
            raise ConfigurationError(
                "ActiveLearningLoop.predict_loop", "it predicts for no batch", "Raise `limit_predict_batches`."
            )
        scores = call(self.acquisition, predictions)
        limited = getattr(self.predict_loop, "limit", 1.0) != 1.0
        check_scores(name_of(self.acquisition), scores, len(unlabelled), limited=limited)
        order = scores.argsort(descending=True, stable=True)[: self._wanted]
        return [unlabelled[int(place)] for place in order]

    def _ask(self, oracle: Oracle[object]) -> None:
        """Have the labels that are asked for, each kept when it is given.

        Raises:
            ConfigurationError: The oracle gives another number of labels.
        """
        answers = call(oracle, tuple(self.asked))
        if isinstance(answers, Sized) and len(answers) != len(self.asked):
            raise wrong_count(oracle, len(answers), len(self.asked))
        given = iter(answers)
        for count, index in enumerate(tuple(self.asked)):
            try:
                label = next(given)
            except StopIteration:
                raise wrong_count(oracle, count, count + len(self.asked)) from None
            self.asked.remove(index)
            self.indices.append(index)
            self.labels.append(label)
            self.phase = SCORING if self.asked else LABELLED
            self._run.hook("on_label")(index, label)

    def _begin_fit(self, model: object) -> None:
        if self._initial_weights is not None and self.history:
            cast("Loadable", unwrapped(model)).load_state_dict(copy.deepcopy(self._initial_weights))
        begin_anew(self.fit_loop)
        self._run.publish({"labels": float(len(self.indices))})

    @property
    def _run(self) -> RunContext:
        context = find_context(self)
        if context is None:
            raise InternalError("ActiveLearningLoop is not in a run")
        return context

    @overload
    def run(
        self,
        model: LearningModule[B, U, Q],
        pool: LabelPool[B, U, Y],
        oracle: Oracle[Y],
        val_dataloaders: None = None,
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> ActiveLearningResult[Y]: ...
    @overload
    def run(
        self,
        model: ValidatedLearningModule[B, V, U, Q],
        pool: LabelPool[B, U, Y],
        oracle: Oracle[Y],
        val_dataloaders: LoadersSource[V],
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> ActiveLearningResult[Y]: ...
    def run(
        self,
        model: LearningModule[Anything, Anything, Q] | ValidatedLearningModule[Anything, Anything, Anything, Q],
        pool: LabelPool[Anything, Anything, Anything],
        oracle: Oracle[Anything],
        val_dataloaders: LoadersSource[Anything] | None = None,
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> ActiveLearningResult[Anything]:
        # Whether it can be validated, each fit finds out: it knows its limits.
        unused = [path for path, _ in self.walk() if path.endswith("val_loop")]
        with open_run(self, Stage.FIT, model, unused, resumed_from(ckpt_path, exact)):
            return super().run(model, pool, oracle, val_dataloaders)


class Loadable(Protocol):
    """What weights are loaded into."""

    def load_state_dict(self, state_dict: Mapping[str, object], /) -> object: ...
