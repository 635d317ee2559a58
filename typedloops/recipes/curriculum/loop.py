"""A curriculum: stages of one training, each with its own data, loops and length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeAlias, cast, overload

from typing_extensions import Never, TypeVar

from typedloops._core.escape import call
from typedloops.errors import ConfigurationError, InternalError
from typedloops.loops.base import Loop, SlotList, typed_connect
from typedloops.loops.fit import FitResult
from typedloops.loops.fit.stopping import StopReason
from typedloops.loops.run.begin_anew import begin_anew
from typedloops.loops.run.context import RunContext, find_context
from typedloops.loops.run.opening import open_run
from typedloops.loops.run.saving.sources import CheckpointPath, resumed_from
from typedloops.protocols.anything import Anything
from typedloops.protocols.data import LoaderSource, LoadersSource
from typedloops.protocols.loop import LoopProtocol
from typedloops.protocols.module import FitModule, StepOutput, TrainingModule
from typedloops.protocols.trainer import Stage
from typedloops.recipes.curriculum.stage_rules import StageRule

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
V = TypeVar("V")
W_co = TypeVar("W_co", covariant=True, default=None)

AnyFit: TypeAlias = LoopProtocol[[Anything, Anything, Anything], FitResult[Anything]]


class CurriculumStage(Generic[B_co, W_co]):
    """What one stage trains on, and when it is over.

    `W_co` is the type of its loaders to validate on, None where there are none.

    Args:
        train_dataloaders: Batches to train on, or a function that makes such a loader when the stage begins.
        val_dataloaders: Loaders to validate on, or None.
        prepare: Called with the module before the stage: freezes or unfreezes parts of it, sets what it is to do
            from here on, adds layers.  A process that goes on in a later stage calls it once more, before
            the weights are loaded.
        until: Looked at after each epoch: whether the stage is over before its loop says so.
        name: What it is called in the result, and where metrics go; by default `stage_0` and so on.
    """

    def __init__(
        self,
        train_dataloaders: LoaderSource[B_co],
        val_dataloaders: W_co | None = None,
        *,
        prepare: Callable[[Never], object] | None = None,
        until: StageRule | None = None,
        name: str = "",
    ) -> None:
        self._train_dataloaders = train_dataloaders
        self._val_dataloaders = val_dataloaders
        self.prepare: Callable[[Never], object] | None = prepare
        self.until: StageRule | None = until
        self.name: str = name

    @property
    def train_dataloaders(self) -> LoaderSource[B_co]:
        return self._train_dataloaders

    @property
    def val_dataloaders(self) -> W_co | None:
        return self._val_dataloaders


@dataclass(frozen=True)
class StageResult:
    """What one stage came to.

    Args:
        name: Its name.
        stop_reason: Why its fit ended; `requested` where its rule ended it.
        epochs: How many epochs were run.
        optimizer_steps: How many steps the optimizers took.
        metrics: The newest values at its end.
    """

    name: str
    stop_reason: StopReason
    epochs: int
    optimizer_steps: int
    metrics: Mapping[str, float]


class CurriculumLoop(Loop[[Anything, Sequence[CurriculumStage[Anything, Anything]]], tuple[StageResult, ...]]):
    """Trains a module in stages: small images first, easy examples first, the last layers first.

    ```
    advance, for each stage:
        stage.prepare(model)
        C/M.on_stage_start(index)
        stages[index].run(model, stage.train_dataloaders, stage.val_dataloaders)
            stage.until(history)                    # after each epoch, behind C.on_train_epoch_end
        C/M.on_stage_end(result)
    ```

    ```
    CurriculumLoop
    ├─ stages.0: FitLoop
    └─ stages.1: FitLoop
    ```

    All of it is one run of the module, and each stage a fit, whose metrics loggers get as `stage_0/val_loss` and so
    on: its epochs and steps count from zero, and
    `configure_optimizers` is called anew, so that it can leave out what is frozen.  An optimizer that is to
    keep its moments over several stages is one that the module keeps, and returns again.  Whoever sets
    `trainer.should_stop` ends the stage; Ctrl-C ends everything.

    A checkpoint has what the fit under way needs, which stages were begun, the metrics of the stage's epochs where
    it has a rule, and the results of those before; it goes on in any stage.

    Args:
        stages: The loop of each stage: how many epochs, in which way.

    Its output has a result for each stage.

    Raises:
        ConfigurationError: There are no stages.

    Source:
        Bengio, Louradour, Collobert, Weston: Curriculum Learning, ICML 2009.  Howard, Ruder: Universal Language
        Model Fine-tuning for Text Classification, ACL 2018 (gradual unfreezing).
    """

    stages: SlotList[AnyFit] = SlotList()
    opens_run = True
    iteration_unit = "stages"
    state_fields: ClassVar[tuple[str, ...]] = ("begun", "history", "results")
    transient_fields: ClassVar[tuple[str, ...]] = ("_inputs", "_rule")

    _inputs: tuple[object, Sequence[CurriculumStage[object, object]]] | None = None
    _rule: StageRule | None = None

    def __init__(self, stages: Iterable[AnyFit]) -> None:
        self.stages = list(stages)
        self.begun: int = 0
        self.history: list[dict[str, float]] = []
        self.results: list[dict[str, object]] = []
        if not len(self.stages):
            raise ConfigurationError("CurriculumLoop.stages", "there are none", "Give a fit loop for each stage.")

    @typed_connect
    def connect(self, *, stages: Sequence[AnyFit] | None = None) -> None:
        """Put loops into the slot; None leaves it as it is."""

    @property
    def done(self) -> bool:
        return len(self.results) >= len(self.stages)

    def reset(self) -> None:
        if not self.restarting:
            self.begun, self.history, self.results = 0, [], []

    def on_run_start(self, model: object, stages: Sequence[CurriculumStage[object, object]]) -> None:
        self.total_iterations: int | None = len(stages)

    def advance(self, model: object, stages: Sequence[CurriculumStage[object, object]]) -> None:
        index = len(self.results)
        stage, fit = stages[index], self.stages[index]
        if self.begun == index:
            begin_anew(fit)
            self._prepare(model, stage)
            self.begun, self.history = index + 1, []
            self._run.hook("on_stage_start")(index)
        self._rule = stage.until
        name = stage.name or f"stage_{index}"
        with self._run.called(name):
            result = fit.run(model, stage.train_dataloaders, stage.val_dataloaders)
        self.results.append(
            {
                "name": name,
                "stop_reason": str(result.stop_reason),
                "epochs": result.epochs,
                "optimizer_steps": result.optimizer_steps,
                "metrics": dict(result.metrics),
            }
        )
        self._run.hook("on_stage_end")(self._stage_results[-1])

    def on_run_end(self) -> tuple[StageResult, ...]:
        return self._stage_results

    @property
    def _stage_results(self) -> tuple[StageResult, ...]:
        return tuple(
            StageResult(
                name=cast("str", each["name"]),
                stop_reason=StopReason(cast("str", each["stop_reason"])),
                epochs=cast("int", each["epochs"]),
                optimizer_steps=cast("int", each["optimizer_steps"]),
                metrics=cast("Mapping[str, float]", each["metrics"]),
            )
            for each in self.results
        )

    def on_load_checkpoint(self, state: Mapping[str, object]) -> None:
        self._prepare_again()

    def _prepare_again(self) -> None:
        """Bring the module to the stage that was loaded, before its weights are loaded: they are to fit."""
        if self._inputs is not None:
            (model, stages), self._inputs = self._inputs, None
            for stage in stages[: self.begun]:
                self._prepare(model, stage)

    def _prepare(self, model: object, stage: CurriculumStage[object, object]) -> None:
        if stage.prepare is not None:
            call(stage.prepare, model)
            if (context := find_context(self)) is not None and context.module is model:
                context.place_module()  # what was added

    def _end_of_epoch(self) -> None:
        """Ask the rule of the stage under way."""
        if self._rule is not None:
            self.history.append(dict(self._run.current_metrics()))
            if call(self._rule, tuple(self.history)):
                self._run.stop.request(True)

    @property
    def _run(self) -> RunContext:
        context = find_context(self)
        if context is None:
            raise InternalError("CurriculumLoop is not in a run")
        return context

    @overload
    def run(
        self,
        model: TrainingModule[B, StepOutput],
        stages: Sequence[CurriculumStage[B]],
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> tuple[StageResult, ...]: ...
    @overload
    def run(
        self,
        model: FitModule[B, V, StepOutput],
        stages: Sequence[CurriculumStage[B, LoadersSource[V] | None]],
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> tuple[StageResult, ...]: ...
    def run(
        self,
        model: TrainingModule[Anything, StepOutput] | FitModule[Anything, Anything, StepOutput],
        stages: Sequence[CurriculumStage[Anything, Anything]],
        *,
        ckpt_path: CheckpointPath | None = None,
        exact: bool = False,
    ) -> tuple[StageResult, ...]:
        check_stages(len(self.stages), [stage.name for stage in stages])
        # Whether it can be validated, each fit finds out: it knows its limits.
        unused = [path for path, _ in self.walk() if path.endswith("val_loop")]
        self._inputs = model, stages
        if self.restarting:  # the state is there already: a run that goes on by a checkpoint of its own loads it later
            self._prepare_again()
        try:
            with (
                open_run(self, Stage.FIT, model, unused, resumed_from(ckpt_path, exact)) as context,
                context.listeners.joined_by([EndOfEpoch(self._end_of_epoch)]),
            ):
                return super().run(model, stages)
        finally:
            self._inputs = self._rule = None


class EndOfEpoch:
    """Listens to the end of an epoch, behind the other callbacks.

    Args:
        told: Called there.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told

    def on_train_epoch_end(self, trainer: object, module: object) -> None:
        self._told()


def check_stages(loops: int, names: Sequence[str]) -> None:
    """Raise `ConfigurationError` unless there is a loop for each stage, and they can be told apart."""
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise ConfigurationError(
            "CurriculumStage.name",
            f"two stages are called {twice!r}, and their metrics would be one curve",
            "Give each a name of its own, or none.",
        )
    if loops != (stages := len(names)):
        raise ConfigurationError(
            "CurriculumLoop.stages",
            f"it has {loops} loops, and {stages} stages were given",
            "Give a CurriculumStage for each of its loops.",
        )
